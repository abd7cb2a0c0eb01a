//! Whether the user may do what the run needs.

use std::collections::BTreeSet;

use clearwater::event::{CheckLine, Operation};

use super::super::prepare::{ApplyPlan, LiveState};
use crate::cluster::Cluster;
use crate::kinds::ObjectKind;
use crate::rights::{self, Right, Task};

/// What writing takes: server-side apply that makes an object needs create as well.
fn writes(standing: &LiveState, work: &ApplyPlan) -> BTreeSet<Right> {
    let mut writes = BTreeSet::new();
    if standing.namespace == Some(false) {
        writes.extend(["patch", "create"].map(|verb| Right::new(verb, "", "namespaces")));
    }
    for planned in work.all().filter(|p| p.operation != Operation::Keep) {
        let Some(kind) = ObjectKind::of(&planned.item.object) else { continue };
        let verbs: &[&str] =
            if planned.operation == Operation::Create { &["get", "patch", "create"] } else { &["get", "patch"] };
        writes.extend(verbs.iter().map(|verb| Right::new(verb, kind.group(), kind.plural)));
    }
    writes
}

pub(super) async fn check(
    cluster: &Cluster,
    create_namespace: bool,
    standing: &LiveState,
    work: &ApplyPlan,
) -> Vec<CheckLine> {
    let tasks: &[Task] = if create_namespace { &[Task::Up, Task::CreateNamespace] } else { &[Task::Up] };
    let mut lines = rights::check(cluster, tasks, &writes(standing, work)).await;
    if standing.namespace == Some(false) {
        for line in &mut lines {
            line.fix = line.fix.take().map(|fix| fix.then(", once the namespace exists"));
        }
    }
    lines
}
