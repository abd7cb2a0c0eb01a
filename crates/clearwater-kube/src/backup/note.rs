//! When a backup was made, noted in the deployment: `status` tells it.

use clearwater::backup::Backup;
use clearwater::manifest::{ENV_VARS, LAST_BACKUP_ANNOTATION};
use clearwater::remedy::{Remedied, Remedy};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Patch, PatchParams};
use serde_json::json;
use thiserror::Error;
use tower::BoxError;

use crate::cluster::{Cluster, lacks_right, say};
use crate::judge::policy::exception;

/// Not the field manager of every other write: by that one an object is known to be this program's, and a note makes none so.
const MANAGER: &str = "kubectl-clearwater-backup";

/// When a backup was made could not be noted. The backup is whole all the same.
#[derive(Debug, Error)]
#[error(
    "when it was made could not be noted on configmap/{}, so it does not count as the last backup: {}",
    ENV_VARS,
    say(.source.as_ref())
)]
pub struct NotNoted {
    /// What was seen, or the right that is missing.
    pub source: BoxError,
    fix: Option<Remedy>,
}

impl Remedied for NotNoted {
    fn remedy(&self) -> Option<Remedy> {
        self.fix.clone()
    }
}

/// Notes in the deployment that this is its last backup. To be called once the backup is where it stays: who only has it in
/// memory has none.
///
/// # Errors
/// It could not be noted, and why: the backup is whole all the same.
pub async fn note(cluster: &Cluster, kept: &Backup) -> Result<(), NotNoted> {
    let patch = json!({"metadata": {"annotations": {LAST_BACKUP_ANNOTATION: kept.at}}});
    let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
    match cluster.api::<ConfigMap>().patch(ENV_VARS, &params, &Patch::Merge(&patch)).await {
        Ok(_) => Ok(()),
        Err(error) if lacks_right(&error) => {
            let fix = format!("ask for the right patch configmaps/{ENV_VARS}");
            Err(NotNoted { source: "needs patch configmaps".into(), fix: Some(fix.into()) })
        }
        Err(error) => {
            let fix = exception(&say(&error)).map(Remedy::from);
            Err(NotNoted { source: error.into(), fix })
        }
    }
}

#[cfg(test)]
mod tests {
    use clearwater::remedy::Remedied as _;

    use super::*;
    use crate::fake_api;

    const PATH: &str = "/api/v1/namespaces/ims/configmaps/env-vars";

    fn backup() -> Backup {
        Backup { at: "2026-11-22T03:30:00Z".parse().unwrap(), ..Backup::default() }
    }

    #[tokio::test]
    async fn one_object_is_written_to_and_nothing_of_it_but_the_note() {
        let (cluster, asked) = fake_api::cluster(|path| (path == PATH).then(|| json!({"metadata": {}})));
        note(&cluster, &backup()).await.unwrap();
        assert_eq!(asked.all(), [format!("PATCH {PATH}")]);
    }

    #[tokio::test]
    async fn without_the_right_it_is_said_what_is_missing() {
        let (cluster, _) = fake_api::cluster(|_| Some(serde_json::Value::Null));
        let error = note(&cluster, &backup()).await.unwrap_err();
        let text = error.to_string();
        assert!(text.ends_with("needs patch configmaps") && text.contains("configmap/env-vars"), "{text}");
        assert!(error.advice().to_string().contains("ask for the right"), "{}", error.advice());
        // What nobody may write is no right of anybody's.
        let said = "ValidatingAdmissionPolicy 'frozen' with binding 'b' denied request: not before Monday";
        let error = note(&fake_api::refusing(403, said), &backup()).await.unwrap_err();
        let fix = "have whoever keeps ValidatingAdmissionPolicy frozen let this through";
        assert_eq!(error.remedy(), Some(Remedy::from(fix)), "{error}");
        let (cluster, _) = fake_api::cluster(|_| None);
        assert!(note(&cluster, &backup()).await.unwrap_err().remedy().is_none());
    }
}
