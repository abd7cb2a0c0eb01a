//! Whether somebody serves the Ingress: the API server takes any name of a class, and one of none where none is the default.

use clearwater::event::{CheckId, CheckLine, CheckStatus, Operation};
use clearwater::manifest::Object;
use clearwater::remedy::{Permission, Remedy};
use k8s_openapi::api::networking::v1::{Ingress, IngressClass};
use kube::api::ListParams;
use kube::{Api, ResourceExt};

use super::super::checks::{line, unseen, with_fix};
use super::super::prepare::ApplyPlan;
use crate::cluster::{Cluster, list_all};

const TITLE: &str = "class of the Ingress";
/// What marks the class of those that name none (kubernetes `k8s.io/api/networking/v1/well_known_annotations.go`).
const DEFAULT_CLASS: &str = "ingressclass.kubernetes.io/is-default-class";
/// How a class was named before there was a field for it.
const EARLIER: &str = "kubernetes.io/ingress.class";

fn judge(class: Option<&str>, classes: &[IngressClass]) -> Option<CheckLine> {
    let default = classes.iter().find(|class| class.annotations().get(DEFAULT_CLASS).is_some_and(|is| is == "true"));
    let is_there = class.map_or(default.is_some(), |name| classes.iter().any(|class| class.name_any() == name));
    if is_there {
        return None;
    }
    // Controllers of clouds serve what names none, and mark none (GKE's).
    let (status, seen) = match class {
        Some(class) => {
            (CheckStatus::Failed, format!("there is no IngressClass {class:?}: nobody would serve Ellis' Ingress"))
        }
        None => (
            CheckStatus::Warning,
            "Ellis' Ingress names no class, and no IngressClass is the default one: who serves it is not seen"
                .to_owned(),
        ),
    };
    let names: Vec<String> = classes.iter().map(ResourceExt::name_any).collect();
    let name = match &*names {
        [] => "install a controller of Ingresses, and name its class".to_owned(),
        _ => format!("name one that there is ({})", names.join(", ")),
    };
    let leave_out =
        default.map(|class| format!("leave it out, for the cluster's default one, {}", class.name_any()).into());
    let skip = || Remedy::from(Permission::SkipCheck(CheckId::Objects.name())).after("where a controller needs none: ");
    let ways = [
        Some(format!("{name} as ellis.ingress.className in the deployment file").into()),
        leave_out,
        (status == CheckStatus::Failed).then(skip),
    ];
    Some(with_fix(line(CheckId::Objects, TITLE, status, seen), Remedy::any(ways.into_iter().flatten())))
}

/// The class that an Ingress names, in whichever way.
fn class_of(ingress: &Ingress) -> Option<&str> {
    let field = ingress.spec.as_ref().and_then(|spec| spec.ingress_class_name.as_deref());
    field.or_else(|| ingress.annotations().get(EARLIER).map(String::as_str))
}

pub(super) async fn check(cluster: &Cluster, work: &ApplyPlan) -> Option<CheckLine> {
    let mut written = work.all().filter(|planned| planned.operation != Operation::Keep);
    let ingress = written.find_map(|planned| match &planned.item.object {
        Object::Ingress(ingress) => Some(ingress),
        _ => None,
    })?;
    match list_all(&Api::<IngressClass>::all(cluster.client.clone()), &ListParams::default()).await {
        Ok(classes) => judge(class_of(ingress), &classes),
        Err(error) => Some(unseen(CheckId::Objects, TITLE, "list ingressclasses", &error)),
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
    async fn who_serves_an_ingress_is_asked_before_it_is_made() {
        let class = |name: &str, is_default: bool| json!({"metadata": {"name": name, "annotations": {DEFAULT_CLASS: is_default.to_string()}}});
        let of_default = "leave it out, for the cluster's default one, traefik";
        let named = "className: nginx";
        for (file, classes, expected, says, says_not) in [
            (named, json!([class("nginx", false)]), None, "", ""),
            (named, json!([]), Some(CheckStatus::Failed), "install a controller", "leave it out"),
            (named, json!([class("public", false)]), Some(CheckStatus::Failed), "(public)", "leave it out"),
            (named, json!([class("traefik", true)]), Some(CheckStatus::Failed), of_default, "install"),
            (named, Value::Null, Some(CheckStatus::Skipped), "", "fix"),
            ("", json!([]), Some(CheckStatus::Warning), "install a controller", "leave it out"),
            ("", json!([class("public", false)]), Some(CheckStatus::Warning), "(public) as ellis", "leave it out"),
            ("", json!([class("traefik", true)]), None, "", ""),
        ] {
            let file = format!(
                "apiVersion: clearwater/v1\nellis: {{exposure: ingress, ingress: {{host: ellis.example.com, {file}}}}}\n"
            );
            let deployment = DeploymentFile::parse(&file, "clearwater.yaml").unwrap().deploy("ims").unwrap();
            let manifest = render(&deployment, &Inputs::default()).unwrap();
            let of = |item| Planned::new(item, None, Operation::Create);
            let shared = manifest.items().iter().cloned().map(of).collect();
            let work = ApplyPlan { shared, ..ApplyPlan::default() };
            let there = if classes.is_null() { Value::Null } else { json!({"metadata": {}, "items": classes}) };
            let (cluster, _) = fake_api::cluster(move |path| path.ends_with("/ingressclasses").then(|| there.clone()));
            let line = check(&cluster, &work).await;
            assert_eq!(line.as_ref().map(|line| line.status), expected, "{file} {classes}: {line:?}");
            let fix = line.and_then(|line| line.fix).map(|fix| fix.to_string()).unwrap_or_default();
            assert!(fix.contains(says) && (says_not.is_empty() || !fix.contains(says_not)), "{file} {classes}: {fix}");
        }
    }
}
