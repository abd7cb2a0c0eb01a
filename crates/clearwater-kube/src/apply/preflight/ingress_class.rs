//! Whether the class of an Ingress is there: the API server takes any name, and an Ingress of none is served by nobody.

use clearwater::event::{CheckId, CheckLine, CheckStatus, Operation};
use clearwater::manifest::Object;
use clearwater::remedy::{Permission, Remedy};
use k8s_openapi::api::networking::v1::IngressClass;
use kube::Api;

use super::super::checks::{line, unseen, with_fix};
use super::super::prepare::ApplyPlan;
use crate::cluster::Cluster;

const TITLE: &str = "class of the Ingress";

pub(super) async fn check(cluster: &Cluster, work: &ApplyPlan) -> Option<CheckLine> {
    let written = work.all().filter(|planned| planned.operation != Operation::Keep);
    let mut classes = written.filter_map(|planned| match &planned.item.object {
        Object::Ingress(ingress) => ingress.spec.as_ref()?.ingress_class_name.as_deref(),
        _ => None,
    });
    let class = classes.next()?;
    match Api::<IngressClass>::all(cluster.client.clone()).get_opt(class).await {
        Ok(Some(_)) => None,
        Ok(None) => {
            let fix = Remedy::any([
                "name one that there is (kubectl get ingressclass) as ellis.ingress.className in the deployment file"
                    .into(),
                "leave it out, for the cluster's default one".into(),
                Remedy::from(Permission::SkipCheck(CheckId::Objects.name())).after("where a controller needs none "),
            ]);
            let seen = format!("there is no IngressClass {class:?}: nobody would serve Ellis' Ingress");
            Some(with_fix(line(CheckId::Objects, TITLE, CheckStatus::Failed, seen), fix))
        }
        Err(error) => Some(unseen(CheckId::Objects, TITLE, "get ingressclasses", &error)),
    }
}

#[cfg(test)]
mod tests {
    use clearwater::config::DeploymentFile;
    use clearwater::manifest::{Inputs, render};
    use serde_json::{Value, json};

    use super::super::super::Planned;
    use super::*;
    use crate::fake_api;

    #[tokio::test]
    async fn a_class_that_is_not_there_is_found_before_the_ingress_is_made() {
        for (class, answer, expected) in [
            ("className: nginx", Some(json!({"metadata": {"name": "nginx"}})), None),
            ("className: nginx", None, Some(CheckStatus::Failed)),
            ("className: nginx", Some(Value::Null), Some(CheckStatus::Skipped)),
            ("", None, None),
        ] {
            let file = format!(
                "apiVersion: clearwater/v1\nellis: {{exposure: ingress, ingress: {{host: ellis.example.com, {class}}}}}\n"
            );
            let deployment = DeploymentFile::parse(&file, "clearwater.yaml").unwrap().deploy("ims").unwrap();
            let manifest = render(&deployment, &Inputs::default()).unwrap();
            let of = |item| Planned::new(item, None, Operation::Create);
            let shared = manifest.items().iter().cloned().map(of).collect();
            let work = ApplyPlan { shared, ..ApplyPlan::default() };
            let there = answer.clone();
            let (cluster, _) =
                fake_api::cluster(move |path| path.ends_with("/ingressclasses/nginx").then(|| there.clone())?);
            let line = check(&cluster, &work).await;
            assert_eq!(line.as_ref().map(|line| line.status), expected, "{class} {answer:?}: {line:?}");
        }
    }
}
