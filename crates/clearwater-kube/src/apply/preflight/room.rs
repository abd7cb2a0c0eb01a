//! Whether what would be made fits onto the nodes, by what its pods request.

use clearwater::event::{CheckId, CheckLine, CheckStatus, Operation};
use clearwater::remedy::{Permission, Remedy};
use clearwater::text::counted;
use k8s_openapi::api::core::v1::{Container, Node, Pod, PodSpec};
use kube::api::ListParams;
use kube::{Api, ResourceExt};

use super::super::Planned;
use super::super::checks::{line, unseen, with_fix};
use super::super::prepare::ApplyPlan;
use super::nodes::{Wants, is_open, is_usable};
use super::quota::short;
use crate::cluster::{Cluster, list_all};

const TITLE: &str = "room on the nodes for all of it";
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

/// What a node has left.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Left<'n> {
    node: &'n Node,
    size: Size,
    pods: f64,
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
        let none = Left { node, size: Size::by(has), pods: has("pods") };
        pods.iter().filter(runs).filter_map(|pod| pod.spec.as_ref()).fold(none, |left, spec| Left {
            size: left.size.plus(size(spec), -1.0),
            pods: left.pods - 1.0,
            ..left
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
        for placed in 0..one.count {
            let places = left.iter_mut().filter(|l| l.pods >= 1.0 && each.fits(l.size) && may_run(&one.spec, l.node));
            let Some(place) = places.max_by(|a, b| a.size.cpu.total_cmp(&b.size.cpu)) else {
                // Room only becomes less.
                let count = one.count - placed;
                without.push(Unplaced { component: one.component.clone(), count, of: one.count });
                break;
            };
            place.size = place.size.plus(each, -1.0);
            place.pods -= 1.0;
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
fn judge(wanted: &[Wanted], nodes: &[Node], pods: &[Pod]) -> CheckLine {
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
    if !all.fits(free) || f64::from(count) > places {
        let (status, detail) = match hope(wanted, nodes, pods) {
            Some(hope) => (CheckStatus::Warning, format!("{detail}; {hope}")),
            None => (CheckStatus::Failed, detail),
        };
        return with_fix(line(CheckId::Nodes, TITLE, status, detail), fix);
    }
    if let Some(one) = place(wanted, &mut left).first() {
        let detail = format!("{detail}; no node was found that takes all of {}", one.component);
        return with_fix(line(CheckId::Nodes, TITLE, CheckStatus::Warning, detail), fix);
    }
    line(CheckId::Nodes, TITLE, CheckStatus::Ok, detail)
}

/// Whether the nodes have room for all pods that are made beside those that stand. What rolls does so one by one, and is
/// given its time.
pub(super) async fn check(
    cluster: &Cluster,
    work: &ApplyPlan,
    nodes: &Result<Vec<Node>, kube::Error>,
) -> Option<CheckLine> {
    let created = work.all().filter(|p| p.operation == Operation::Create).filter_map(Planned::pods);
    let wanted: Vec<Wanted> = created
        .filter(|pods| pods.more > 0)
        .map(|pods| Wanted { component: pods.owner.to_owned(), spec: pods.spec.clone(), count: pods.more })
        .collect();
    // Where nodes may not be listed another line says so.
    let nodes = nodes.as_ref().ok().filter(|_| !wanted.is_empty())?;
    Some(match running(cluster).await {
        Ok(pods) => judge(&wanted, nodes, &pods),
        Err(error) => unseen(CheckId::Nodes, TITLE, ALL_PODS, &error),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn node(name: &str, milli: u32, mebi: u32, pods: u32, taints: &Value) -> Node {
        serde_json::from_value(json!({"metadata": {"name": name}, "spec": {"taints": taints},
            "status": {"conditions": [{"type": "Ready", "status": "True"}], "allocatable":
                {"cpu": format!("{milli}m"), "memory": format!("{mebi}Mi"), "pods": pods.to_string()}}}))
        .unwrap()
    }

    fn spec(milli: u32, mebi: u32) -> Value {
        json!({"containers": [{"name": "a", "resources": {"requests": {"cpu": format!("{milli}m"), "memory": format!("{mebi}Mi")}}}]})
    }

    fn wanted(count: u32, milli: u32, mebi: u32) -> Wanted {
        Wanted { component: "sprout".to_owned(), spec: serde_json::from_value(spec(milli, mebi)).unwrap(), count }
    }

    fn pod(node: &str, phase: &str, milli: u32, mebi: u32) -> Pod {
        let mut spec = spec(milli, mebi);
        spec["nodeName"] = node.into();
        serde_json::from_value(json!({"metadata": {"name": "x"}, "spec": spec, "status": {"phase": phase}})).unwrap()
    }

    #[test]
    fn what_is_requested_is_compared_with_what_is_left() {
        use CheckStatus::{Failed, Ok, Warning};
        let two = [node("a", 1000, 1000, 10, &json!([])), node("b", 1000, 1000, 10, &json!([]))];
        let taken =
            [pod("a", "Running", 600, 100), pod("a", "Succeeded", 1000, 1000), pod("elsewhere", "Running", 900, 900)];
        for (asked, pods, status) in [
            (wanted(4, 500, 500), &[][..], Ok),
            (wanted(5, 500, 100), &[], Failed),
            (wanted(3, 100, 700), &[], Failed),
            (wanted(2, 500, 100), &taken, Ok),
            (wanted(3, 500, 100), &taken, Failed),
            // Together there is room, and on no node of its own.
            (wanted(1, 1200, 100), &taken[1..], Warning),
            (wanted(20, 1, 1), &[], Ok),
            (wanted(21, 1, 1), &[], Failed),
        ] {
            let line = judge(std::slice::from_ref(&asked), &two, pods);
            assert_eq!(line.status, status, "{asked:?}: {line:?}");
        }
        let line = judge(&[wanted(3, 500, 100)], &two, &taken);
        assert_eq!(
            line.detail,
            "3 pods request 1500m processors and 300Mi of memory; 1400m and 1900Mi are free, and places for 19"
        );
        let nowhere = judge(&[wanted(1, 100, 100)], &[], &[]);
        assert!(
            nowhere.status == Warning && nowhere.detail.contains("0 and 0 are free, and places for 0"),
            "the line of selectors and taints refuses: {nowhere:?}"
        );
        // Where nobody may run is no room.
        let tainted = [node("a", 4000, 4000, 10, &json!([{"key": "team", "effect": "NoSchedule"}]))];
        assert_eq!(judge(&[wanted(1, 100, 100)], &tainted, &[]).status, Failed);
    }

    /// What may still come, or give way, is no reason to write nothing.
    #[test]
    fn nothing_is_refused_for_room_that_may_come() {
        use CheckStatus::{Failed, Ok, Warning};
        let plain = node("a", 1000, 1000, 10, &json!([]));
        let changed = |change: &dyn Fn(&mut Node)| {
            let mut node = plain.clone();
            change(&mut node);
            node
        };
        let of = |id: &str| {
            let id = id.to_owned();
            changed(&move |node| node.spec.as_mut().unwrap().provider_id = Some(id.clone()))
        };
        let away = changed(&|node| {
            node.metadata.name = Some("away".to_owned());
            node.status.as_mut().unwrap().conditions.as_mut().unwrap()[0].status = "Unknown".to_owned();
        });
        let silent = changed(&|node| node.status.as_mut().unwrap().allocatable = None);
        let with_priority = |priority: i32| {
            let mut pod = pod("a", "Running", 900, 100);
            pod.spec.as_mut().unwrap().priority = Some(priority);
            pod
        };
        let mut going = with_priority(0);
        going.metadata.deletion_timestamp =
            serde_json::from_value(json!({"deletionTimestamp": "2026-01-01T00:00:00Z"}))
                .map(|m: k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta| m.deletion_timestamp)
                .unwrap();
        for (nodes, pods, status) in [
            (vec![plain.clone()], vec![with_priority(0)], Failed),
            (vec![of("kind://docker/a")], vec![with_priority(0)], Failed),
            (vec![of("aws:///eu-west-1a/i-1")], vec![with_priority(0)], Warning),
            (vec![plain.clone(), away], vec![with_priority(0)], Warning),
            (vec![silent], vec![], Warning),
            // Placeholders that keep room for others, and what goes.
            (vec![plain.clone()], vec![with_priority(-10)], Ok),
            (vec![plain.clone()], vec![going], Ok),
            (vec![plain.clone()], vec![with_priority(1000)], Warning),
            (vec![plain.clone()], vec![with_priority(2_000_000_000)], Failed),
        ] {
            let line = judge(&[wanted(1, 500, 100)], &nodes, &pods);
            assert_eq!(line.status, status, "{nodes:?} {pods:?}: {line:?}");
        }
    }

    #[test]
    fn pods_are_placed_by_what_they_request() {
        let nodes = [node("a", 1000, 1000, 10, &json!([])), node("b", 200, 1000, 10, &json!([]))];
        let running = [pod("a", "Running", 500, 0)];
        let place = |count: u32| place(&[wanted(count, 250, 0)], &mut left(&nodes, &running));
        assert_eq!(place(2), []);
        let unplaced = |count, of| Unplaced { component: "sprout".to_owned(), count, of };
        assert_eq!(place(3), [unplaced(1, 3)]);
        // Counted at once, however many there are.
        assert_eq!(place(u32::MAX), [unplaced(u32::MAX - 2, u32::MAX)]);
    }

    #[test]
    fn a_pod_runs_where_selector_taints_and_node_allow_it() {
        let runs = |pod: Value, change: Value| {
            let mut node = json!({"metadata": {"name": "a", "labels": {"zone": "a"}}, "spec": {},
                "status": {"conditions": [{"type": "Ready", "status": "True"}]}});
            for (key, value) in change.as_object().unwrap() {
                node[key] = value.clone();
            }
            let mut spec = json!({"containers": []});
            for (key, value) in pod.as_object().unwrap() {
                spec[key] = value.clone();
            }
            may_run(&serde_json::from_value(spec).unwrap(), &serde_json::from_value(node).unwrap())
        };
        let tainted = json!({"spec": {"taints": [{"key": "k", "value": "v", "effect": "NoSchedule"}]}});
        assert!(runs(json!({}), json!({})));
        assert!(!runs(json!({}), json!({"spec": {"unschedulable": true}})));
        assert!(!runs(json!({}), json!({"status": {"conditions": [{"type": "Ready", "status": "Unknown"}]}})));
        assert!(!runs(json!({"nodeSelector": {"zone": "b"}}), json!({})));
        assert!(!runs(json!({}), tainted.clone()));
        assert!(runs(json!({"tolerations": [{"key": "k", "value": "v"}]}), tainted.clone()));
        assert!(!runs(json!({"tolerations": [{"key": "k", "value": "w"}]}), tainted));
    }

    #[test]
    fn a_pod_requests_what_the_scheduler_counts() {
        let of = |value: Value| request(&serde_json::from_value(value).unwrap(), "cpu");
        let cpu = |kind: &str, cpu: &str| json!({"name": "a", "resources": {kind: {"cpu": cpu}}});
        let stays = json!({"name": "b", "restartPolicy": "Always", "resources": {"requests": {"cpu": "1"}}});
        assert!((of(json!({"containers": [cpu("limits", "2"), cpu("requests", "500m")]})) - 2.5).abs() < 1e-9);
        assert!(
            (of(json!({"containers": [cpu("requests", "1")], "initContainers": [cpu("requests", "3")]})) - 3.0).abs()
                < 1e-9
        );
        assert!(
            (of(json!({"containers": [cpu("requests", "1")], "initContainers": [stays], "overhead": {"cpu": "1"}}))
                - 3.0)
                .abs()
                < 1e-9
        );
        assert!(of(json!({"containers": [{"name": "a"}]})).abs() < 1e-9);
    }

    proptest! {
        /// Whatever is asked: where it is said to fit, no sum is more than what is left.
        #[test]
        fn nothing_fits_that_is_more_than_there_is(
            asked in prop::collection::vec((1..4_u32, 0..2000_u32, 0..2000_u32), 1..5),
            nodes in prop::collection::vec((0..4000_u32, 0..4000_u32, 0..8_u32), 0..4),
            taken in prop::collection::vec((0..4_usize, 0..1500_u32, 0..1500_u32), 0..5),
        ) {
            let name = |n: usize| format!("node-{n}");
            let all: Vec<Node> = nodes.iter().enumerate().map(|(n, (cpu, memory, pods))| node(&name(n), *cpu, *memory, *pods, &json!([]))).collect();
            let pods: Vec<Pod> = taken.iter().map(|(n, cpu, memory)| pod(&name(*n), "Running", *cpu, *memory)).collect();
            let wants: Vec<Wanted> = asked.iter().map(|(count, cpu, memory)| wanted(*count, *cpu, *memory)).collect();
            let line = judge(&wants, &all, &pods);
            let left = |of: fn(&(u32, u32, u32)) -> u32, used: fn(&(usize, u32, u32)) -> u32| -> i64 {
                let each = nodes.iter().enumerate().map(|(n, node)| {
                    i64::from(of(node)) - taken.iter().filter(|t| t.0 == n).map(|t| i64::from(used(t))).sum::<i64>()
                });
                each.map(|left| left.max(0)).sum()
            };
            let sum = |of: fn(&(u32, u32, u32)) -> u32| asked.iter().map(|one| i64::from(one.0 * of(one))).sum::<i64>();
            let fits = sum(|a| a.1) <= left(|n| n.0, |t| t.1) && sum(|a| a.2) <= left(|n| n.1, |t| t.2) && sum(|_| 1) <= left(|n| n.2, |_| 1);
            // Where there are no nodes another line refuses.
            let refused = if nodes.is_empty() { CheckStatus::Warning } else { CheckStatus::Failed };
            prop_assert!(fits || line.status == refused, "{line:?}");
            prop_assert!(!fits || line.status != CheckStatus::Failed, "{line:?}");
        }
    }
}
