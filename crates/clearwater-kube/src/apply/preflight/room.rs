//! Whether what would be made fits onto the nodes, by what its pods request.

use std::collections::BTreeSet;

use clearwater::event::{CheckId, CheckLine, CheckStatus, Operation};
use clearwater::remedy::{Permission, Remedy};
use clearwater::text::counted;
use k8s_openapi::api::core::v1::{Container, Node, Pod, PodSpec};
use kube::api::ListParams;
use kube::{Api, ResourceExt};

use super::super::Planned;
use super::super::checks::{line, unseen, with_fix};
use super::super::prepare::ApplyPlan;
use super::host_ports::{HostPort, are_free, host_ports, listed};
use super::nodes::{Wants, is_open, is_usable};
use super::quota::short;
use crate::cluster::{Cluster, list_all};

const TITLE: &str = "room on the nodes for all of it";
const APART: &str = "a node for each pod that takes ports of its node";
/// How nodes are named (`providerID`) that no autoscaler makes: those of clusters on one machine, or of machines that somebody
/// set up.
const WITHOUT_AUTOSCALER: [&str; 4] = ["kind", "k3s", "rke2", "minikube"];
/// Pods of the system have this priority or a higher one (kubernetes `pkg/apis/scheduling/types.go`, `HighestUserDefinablePriority`).
const SYSTEM_PRIORITY: i32 = 1_000_000_000;

/// Processors and bytes of memory.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Size {
    cpu: f64,
    memory: f64,
}

impl Size {
    fn by(of: impl Fn(&str) -> f64) -> Self {
        Self { cpu: of("cpu"), memory: of("memory") }
    }

    fn plus(self, other: Self, times: f64) -> Self {
        Self { cpu: self.cpu + other.cpu * times, memory: self.memory + other.memory * times }
    }

    /// Whether it goes into a room of this size. Sums of quantities are not exact.
    fn fits(self, room: Self) -> bool {
        self.cpu <= room.cpu + 1e-9 && self.memory <= room.memory + 1.0
    }
}

/// Pods of one template that would be made.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(crate) component: String,
    pub(crate) spec: PodSpec,
    pub(crate) count: u32,
}

/// Pods of one template for which no place was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unplaced {
    pub(crate) component: String,
    pub(crate) count: u32,
    /// How many would be made.
    pub(crate) of: u32,
}

/// What a node has left, and the ports of it that are taken.
#[derive(Clone, Debug)]
pub(crate) struct Left<'n> {
    node: &'n Node,
    size: Size,
    pods: f64,
    ports: BTreeSet<HostPort>,
}

impl Left<'_> {
    fn take(&mut self, size: Size, ports: BTreeSet<HostPort>) {
        self.size = self.size.plus(size, -1.0);
        self.pods -= 1.0;
        self.ports.extend(ports);
    }
}

/// What a pod requests (kubernetes `component-helpers/resource`, `PodRequests`): a container with a limit alone requests that, and
/// what runs before its containers runs alone.
fn request(spec: &PodSpec, of: &str) -> f64 {
    let quantity = |c: &Container| {
        let resources = c.resources.as_ref()?;
        let asked = resources.requests.iter().chain(&resources.limits).find_map(|map| map.get(of))?;
        clearwater::quantity::parse(&asked.0)
    };
    let before = || spec.init_containers.iter().flatten();
    let stays = |c: &&Container| c.restart_policy.as_deref() == Some("Always");
    let beside = sum(before().filter(stays).filter_map(quantity));
    let together = sum(spec.containers.iter().filter_map(quantity));
    let first = before().filter(|c| !stays(c)).filter_map(quantity).fold(0.0, f64::max);
    let overhead = spec.overhead.as_ref().and_then(|o| clearwater::quantity::parse(&o.get(of)?.0)).unwrap_or(0.0);
    together.max(first) + beside + overhead
}

/// The sum, which is 0 where there is nothing: that of the standard library is -0.
fn sum(all: impl Iterator<Item = f64>) -> f64 {
    all.fold(0.0, |sum, one| sum + one)
}

fn size(spec: &PodSpec) -> Size {
    Size::by(|of| request(spec, of))
}

/// Whether a pod of this template may run on the node, whatever room there is.
pub(crate) fn may_run(spec: &PodSpec, node: &Node) -> bool {
    is_usable(node) && Wants::of(spec).fit(node)
}

/// How many nodes can run a pod of this template, where they may be seen.
pub(crate) async fn nodes_for(cluster: &Cluster, spec: &PodSpec) -> Option<u32> {
    let nodes: Vec<Node> = list_all(&Api::all(cluster.client.clone()), &ListParams::default()).await.ok()?;
    u32::try_from(nodes.iter().filter(|n| may_run(spec, n)).count()).ok()
}

/// What nodes that run pods have left. One that does not say what it has, has nothing.
pub(crate) fn left<'n>(nodes: &'n [Node], pods: &[Pod]) -> Vec<Left<'n>> {
    let usable = nodes.iter().filter(|node| is_usable(node));
    let of = |node: &'n Node| {
        let has = |what: &str| {
            let allocatable = node.status.as_ref().and_then(|s| s.allocatable.as_ref()?.get(what));
            allocatable.and_then(|q| clearwater::quantity::parse(&q.0)).unwrap_or(0.0)
        };
        let name = node.name_any();
        let runs = |pod: &&Pod| {
            let phase = pod.status.as_ref().and_then(|s| s.phase.as_deref());
            let here = pod.spec.as_ref().and_then(|s| s.node_name.as_deref()) == Some(name.as_str());
            // What goes leaves its place, and what only keeps one for others (its priority says so) gives way.
            let goes = pod.metadata.deletion_timestamp.is_some();
            let gives_way = pod.spec.as_ref().and_then(|s| s.priority).is_some_and(|priority| priority < 0);
            here && !goes && !gives_way && !matches!(phase, Some("Succeeded" | "Failed"))
        };
        let none = Left { node, size: Size::by(has), pods: has("pods"), ports: BTreeSet::new() };
        pods.iter().filter(runs).filter_map(|pod| pod.spec.as_ref()).fold(none, |mut left, spec| {
            left.take(size(spec), host_ports(spec));
            left
        })
    };
    usable.map(of).collect()
}

/// Puts the pods onto nodes one by one, the largest first, by what they request alone. Yields what finds no place; another
/// order might find one.
pub(crate) fn place(wanted: &[Wanted], left: &mut [Left<'_>]) -> Vec<Unplaced> {
    let mut by_size: Vec<(&Wanted, Size)> = wanted.iter().map(|one| (one, size(&one.spec))).collect();
    by_size.sort_by(|(_, a), (_, b)| b.cpu.total_cmp(&a.cpu).then(b.memory.total_cmp(&a.memory)));
    let mut without = Vec::new();
    for (one, each) in by_size {
        let ports = host_ports(&one.spec);
        for placed in 0..one.count {
            let has_room = |l: &Left<'_>| l.pods >= 1.0 && each.fits(l.size) && are_free(&ports, &l.ports);
            let places = left.iter_mut().filter(|l| has_room(l) && may_run(&one.spec, l.node));
            let Some(place) = places.max_by(|a, b| a.size.cpu.total_cmp(&b.size.cpu)) else {
                // Room only becomes less.
                let count = one.count - placed;
                without.push(Unplaced { component: one.component.clone(), count, of: one.count });
                break;
            };
            place.take(each, ports.clone());
        }
    }
    without
}

const ALL_PODS: &str = "list pods in all namespaces";

/// Every pod of the cluster.
async fn running(cluster: &Cluster) -> Result<Vec<Pod>, kube::Error> {
    let pods: Api<Pod> = Api::all(cluster.client.clone());
    list_all(&pods, &ListParams::default()).await
}

/// The nodes, and the pods that run on them; an error is the line that says what could not be seen.
pub(crate) async fn seen(cluster: &Cluster, title: &str) -> Result<(Vec<Node>, Vec<Pod>), CheckLine> {
    let (nodes, all): (Api<Node>, _) = (Api::all(cluster.client.clone()), ListParams::default());
    match futures::join!(list_all(&nodes, &all), running(cluster)) {
        (Ok(nodes), Ok(pods)) => Ok((nodes, pods)),
        (Err(error), _) => Err(unseen(CheckId::Nodes, title, "list nodes", &error)),
        (_, Err(error)) => Err(unseen(CheckId::Nodes, title, ALL_PODS, &error)),
    }
}

/// Why there may be room of which nothing is seen: what is only to be waited for is no reason to write nothing.
pub(crate) fn hope(wanted: &[Wanted], nodes: &[Node], pods: &[Pod]) -> Option<String> {
    let takes = |node: &&Node| wanted.iter().any(|one| Wants::of(&one.spec).fit(node));
    if let Some(away) = nodes.iter().find(|n| is_open(n) && !is_usable(n) && takes(n)) {
        return Some(format!("node {} may come back", away.name_any()));
    }
    // What makes nodes, cluster-autoscaler or Karpenter or a cloud's own, makes them at a provider. Where a cluster's nodes are of
    // none, nobody does.
    let provider = |node: &Node| {
        let id = node.spec.as_ref()?.provider_id.as_ref()?;
        let (provider, _) = id.split_once("://")?;
        (!WITHOUT_AUTOSCALER.contains(&provider)).then(|| provider.to_owned())
    };
    if let Some(provider) = nodes.iter().find_map(provider) {
        return Some(format!("an autoscaler may make nodes where these come from ({provider})"));
    }
    if nodes.is_empty()
        || nodes.iter().any(|n| is_usable(n) && n.status.as_ref().is_none_or(|s| s.allocatable.is_none()))
    {
        return Some("not every node says what it has".to_owned());
    }
    // The pods get the default class' priority, whatever it is, and may take the place of those of a lower one.
    let ranked =
        |pod: &&Pod| pod.spec.as_ref().and_then(|s| s.priority).is_some_and(|p| (1..SYSTEM_PRIORITY).contains(&p));
    pods.iter().find(ranked).map(|_| "pods of a lower priority may have to give way".to_owned())
}

/// Compares what is wanted with what is left: all together, and then one by one, the largest first. That finds no place where
/// another order might, so that what it does not find is a warning; where the sum is more than there is, nothing helps but what
/// may still come.
fn judge(wanted: &[Wanted], nodes: &[Node], pods: &[Pod]) -> Vec<CheckLine> {
    let mut left = left(nodes, pods);
    let count: u32 = wanted.iter().map(|one| one.count).sum();
    let all = wanted.iter().fold(Size::default(), |sum, one| sum.plus(size(&one.spec), f64::from(one.count)));
    let takes = |left: &&Left<'_>| wanted.iter().any(|one| may_run(&one.spec, left.node));
    // What a node has too little of is no room on another.
    let room = |left: &Left<'_>| Size { cpu: left.size.cpu.max(0.0), memory: left.size.memory.max(0.0) };
    let free = left.iter().filter(takes).fold(Size::default(), |free, one| free.plus(room(one), 1.0));
    let places = sum(left.iter().filter(takes).map(|one| one.pods.max(0.0)));
    let detail = format!(
        "{} request {} processors and {} of memory; {} and {} are free, and places for {places:.0}",
        counted(usize::try_from(count).unwrap_or(usize::MAX), "pod"),
        short(all.cpu),
        short(all.memory),
        short(free.cpu),
        short(free.memory)
    );
    let fix = Remedy::any([
        "add a node".into(),
        "make room".into(),
        "lower components.NAME.resources in the deployment file".into(),
        Remedy::from(Permission::SkipCheck(CheckId::Nodes.name())),
    ]);
    let hope = hope(wanted, nodes, pods);
    let mut lines = Vec::new();
    if !all.fits(free) || f64::from(count) > places {
        lines.push(short_of(TITLE, detail.clone(), fix.clone(), hope.as_deref()));
    }
    lines.extend(apart(wanted, &left, hope.as_deref()));
    if !lines.is_empty() {
        return lines;
    }
    if let Some(one) = place(wanted, &mut left).first() {
        let detail = format!("{detail}; no node was found that takes all of {}", one.component);
        return vec![with_fix(line(CheckId::Nodes, TITLE, CheckStatus::Warning, detail), fix)];
    }
    vec![line(CheckId::Nodes, TITLE, CheckStatus::Ok, detail)]
}

/// What there is too little of, where nothing is seen that may bring more.
fn short_of(title: &str, detail: String, fix: Remedy, hope: Option<&str>) -> CheckLine {
    let (status, detail) = match hope {
        Some(hope) => (CheckStatus::Warning, format!("{detail}; {hope}")),
        None => (CheckStatus::Failed, detail),
    };
    with_fix(line(CheckId::Nodes, title, status, detail), fix)
}

/// Pods that take ports of their node, where there are fewer nodes that have them free.
fn apart(wanted: &[Wanted], left: &[Left<'_>], hope: Option<&str>) -> impl Iterator<Item = CheckLine> {
    wanted.iter().filter_map(move |one| {
        let ports = host_ports(&one.spec);
        let takes = |left: &&Left<'_>| may_run(&one.spec, left.node) && are_free(&ports, &left.ports);
        let nodes = left.iter().filter(takes).count();
        if ports.is_empty() || usize::try_from(one.count).is_ok_and(|count| count <= nodes) {
            return None;
        }
        let Wanted { component, count, .. } = one;
        let detail = format!(
            "{count} of {component} take ports of their node ({}), each on a node of its own: {} may run one and {} them free",
            listed(&ports),
            counted(nodes, "node"),
            if nodes == 1 { "has" } else { "have" }
        );
        let fix = Remedy::any([
            "add a node".into(),
            format!("lower components.{component}.replicas in the deployment file").into(),
            format!("choose another {component}.exposure").into(),
            Remedy::from(Permission::SkipCheck(CheckId::Nodes.name())),
        ]);
        Some(short_of(APART, detail, fix, hope))
    })
}

/// Whether the nodes have room for all pods that are made beside those that stand. What rolls does so one by one, and is
/// given its time.
pub(super) async fn check(
    cluster: &Cluster,
    work: &ApplyPlan,
    nodes: &Result<Vec<Node>, kube::Error>,
) -> Vec<CheckLine> {
    let created = work.all().filter(|p| p.operation == Operation::Create).filter_map(Planned::pods);
    let wanted: Vec<Wanted> = created
        .filter(|pods| pods.more > 0)
        .map(|pods| Wanted { component: pods.owner.to_owned(), spec: pods.spec.clone(), count: pods.more })
        .collect();
    // Where nodes may not be listed another line says so.
    let Some(nodes) = nodes.as_ref().ok().filter(|_| !wanted.is_empty()) else { return Vec::new() };
    match running(cluster).await {
        Ok(pods) => judge(&wanted, nodes, &pods),
        // Whatever runs on the nodes, there are no more of them.
        Err(error) => {
            let unseen = unseen(CheckId::Nodes, TITLE, ALL_PODS, &error);
            let hope = hope(&wanted, nodes, &[]);
            [unseen].into_iter().chain(apart(&wanted, &left(nodes, &[]), hope.as_deref())).collect()
        }
    }
}

#[cfg(test)]
mod tests;
