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

/// The one line that is said.
fn judged(wanted: &[Wanted], nodes: &[Node], pods: &[Pod]) -> CheckLine {
    let [line] = <[CheckLine; 1]>::try_from(judge(wanted, nodes, pods)).unwrap();
    line
}

#[test]
fn pods_that_take_ports_of_their_node_need_one_each() {
    use CheckStatus::{Failed, Ok, Warning};
    let two = || vec![node("a", 4000, 4000, 10, &json!([])), node("b", 4000, 4000, 10, &json!([]))];
    let sip = json!([{"containerPort": 5060, "hostPort": 5060}]);
    let bonos = |count: u32| {
        let mut one = wanted(count, 10, 10);
        one.component = "bono".to_owned();
        one.spec.containers[0].ports = serde_json::from_value(sip.clone()).unwrap();
        one
    };
    let mut taken = pod("a", "Running", 10, 10);
    taken.spec.as_mut().unwrap().containers[0].ports = serde_json::from_value(sip.clone()).unwrap();
    let mut cloud = two();
    cloud[0].spec.as_mut().unwrap().provider_id = Some("gce://p/z/a".to_owned());
    for (count, nodes, pods, status) in [
        (2, two(), vec![], Ok),
        (3, two(), vec![], Failed),
        (2, two(), vec![taken.clone()], Failed),
        (1, two(), vec![taken], Ok),
        (3, cloud, vec![], Warning),
    ] {
        let line = judged(&[bonos(count)], &nodes, &pods);
        assert_eq!(line.status, status, "{count}: {line:?}");
    }
    let line = judged(&[bonos(3)], &two(), &[]);
    let told = "3 of bono take ports of their node (5060/TCP), each on a node of its own: 2 nodes may run one and have";
    assert!(line.detail.starts_with(told) && line.fix.unwrap().to_string().contains("bono.exposure"));
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
        let line = judged(std::slice::from_ref(&asked), &two, pods);
        assert_eq!(line.status, status, "{asked:?}: {line:?}");
    }
    let line = judged(&[wanted(3, 500, 100)], &two, &taken);
    assert_eq!(
        line.detail,
        "3 pods request 1500m processors and 300Mi of memory; 1400m and 1900Mi are free, and places for 19"
    );
    let nowhere = judged(&[wanted(1, 100, 100)], &[], &[]);
    assert!(
        nowhere.status == Warning && nowhere.detail.contains("0 and 0 are free, and places for 0"),
        "the line of selectors and taints refuses: {nowhere:?}"
    );
    // Where nobody may run is no room.
    let tainted = [node("a", 4000, 4000, 10, &json!([{"key": "team", "effect": "NoSchedule"}]))];
    assert_eq!(judged(&[wanted(1, 100, 100)], &tainted, &[]).status, Failed);
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
    going.metadata.deletion_timestamp = serde_json::from_value(json!({"deletionTimestamp": "2026-01-01T00:00:00Z"}))
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
        let line = judged(&[wanted(1, 500, 100)], &nodes, &pods);
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
        (of(json!({"containers": [cpu("requests", "1")], "initContainers": [stays], "overhead": {"cpu": "1"}})) - 3.0)
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
        let line = judged(&wants, &all, &pods);
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
