//! What is told beside what is taken down.

use clearwater::event::Whose;
use clearwater::remedy::{Advice, NamesDeed, Permission, Remedy};

use super::DownOptions;
use super::find::{Deletion, Found};
use crate::cluster::Cluster;

/// That names may remain in the cluster's DNS, which nobody could see.
pub(super) fn names_unseen(namespace: &str, why: &str) -> Advice {
    Advice::new(
        format!("whether names of this deployment stand in the cluster's DNS could not be looked at: {why}"),
        Remedy::from(NamesDeed::Remove { namespace: namespace.to_owned(), backend: None }).then(", now or later"),
    )
}

/// The objects, by name.
pub(super) fn named(all: &[Deletion]) -> String {
    all.iter().map(Deletion::object).collect::<Vec<_>>().join(", ")
}

/// What is worth knowing of what was found, beside what will be done.
pub(super) fn notices(
    cluster: &Cluster,
    options: &DownOptions,
    found: &Found,
    names: &Result<Option<String>, String>,
) -> Vec<Advice> {
    let namespace = &cluster.namespace;
    let mut said = Vec::new();
    match names {
        Ok(Some(object)) => said.push(Advice::new(
            format!("names of this deployment stand in {object} and stay there"),
            Remedy::from(NamesDeed::Remove { namespace: namespace.clone(), backend: None }).then(", now or later"),
        )),
        Ok(None) => {}
        Err(why) => said.push(names_unseen(namespace, why)),
    }
    if options.delete_namespace {
        return said;
    }
    let adopted: Vec<String> =
        found.deletion.iter().filter(|d| d.whose == Whose::Adopted).map(Deletion::object).collect();
    if !adopted.is_empty() {
        said.push(Advice::from(format!(
            "stood before this program wrote to it, and stays: {}. What only this program wrote is taken out; a value that \
             it was made to write over does not come back",
            adopted.join(", ")
        )));
    }
    if !found.kept.is_empty() {
        said.push(Advice::new(
            format!("kept, and found again by the next deployment here: {}", named(&found.kept)),
            Remedy::from(Permission::RemoveVolumes).after("to lose them, "),
        ));
    }
    if !found.strangers.is_empty() {
        let all = found.strangers.join(", ");
        said.push(format!("has this program's labels and was not made by it, so it stays as it is: {all}").into());
    }
    if !found.claims.is_empty() {
        let all = found.claims.join(" ");
        said.push(Advice::new(
            format!("claims that no StatefulSet of this program made stay: {all}"),
            format!("kubectl delete pvc -n {namespace} {all}, if they are not needed"),
        ));
    }
    said
}
