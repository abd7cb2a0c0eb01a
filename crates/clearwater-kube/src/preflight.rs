//! What is looked at before the first write.

use clearwater::event::{CheckLine, CheckStatus};
use k8s_openapi::api::core::v1::Namespace;
use kube::Api;
use kube::api::{ObjectMeta, Patch, PatchParams};

use crate::apply::ApplyError;
use crate::cluster::{Cluster, FIELD_MANAGER, say};
use crate::up::{Scope, Standing, UpOptions, Work};

fn line(
    id: &str,
    title: impl Into<String>,
    status: CheckStatus,
    detail: impl Into<String>,
    fix: Option<String>,
) -> CheckLine {
    CheckLine { id: id.to_owned(), title: title.into(), status, detail: detail.into(), fix }
}

/// Looks at everything, and yields a line for each.
pub(crate) async fn check(
    cluster: &Cluster,
    options: &UpOptions,
    _scope: &Scope,
    standing: &Standing,
    _work: &Work,
) -> Vec<CheckLine> {
    let mut lines = Vec::new();
    lines.push(match cluster.client.apiserver_version().await {
        Ok(version) => line("version", "Kubernetes version", CheckStatus::Ok, version.git_version, None),
        Err(error) => line("version", "Kubernetes version", CheckStatus::Skipped, say(&error), None),
    });
    lines.push(namespace(cluster, options, standing));
    lines
}

fn namespace(cluster: &Cluster, options: &UpOptions, standing: &Standing) -> CheckLine {
    let title = format!("namespace {}", cluster.namespace);
    match standing.namespace {
        Some(true) => line("namespace", title, CheckStatus::Ok, "", None),
        Some(false) if options.create_namespace => line("namespace", title, CheckStatus::Ok, "will be created", None),
        Some(false) => {
            let fix = format!("add --create-namespace, or: kubectl create namespace {}", cluster.namespace);
            line("namespace", title, CheckStatus::Failed, "it does not exist", Some(fix))
        }
        None => line("namespace", title, CheckStatus::Skipped, "needs get namespaces", None),
    }
}

/// Makes the namespace.
pub(crate) async fn create_namespace(cluster: &Cluster) -> Result<(), ApplyError> {
    let namespace = Namespace {
        metadata: ObjectMeta { name: Some(cluster.namespace.clone()), ..ObjectMeta::default() },
        ..Namespace::default()
    };
    let api: Api<Namespace> = Api::all(cluster.client.clone());
    let params = PatchParams::apply(FIELD_MANAGER);
    api.patch(&cluster.namespace, &params, &Patch::Apply(&namespace)).await.map(|_| ()).map_err(|e| {
        ApplyError::Refused {
            object: format!("namespace/{}", cluster.namespace),
            message: say(&e),
            forbidden: matches!(&e, kube::Error::Api(s) if s.is_forbidden()),
        }
    })
}
