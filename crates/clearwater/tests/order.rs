//! The ordering graph: its orders, its parts, its drawings.
#![allow(clippy::unwrap_used, reason = "helpers of tests are outside test functions")]

use std::collections::BTreeSet;

use clearwater::component::{Component, Release, catalogue};
use clearwater::config::DeploymentFile;
use clearwater::order::{
    Detail, Drawing, Graph, Link, Need, OrderError, Origin, Policy, Presence, StartPlan, Subscribers,
};
use clearwater::text::is_harmful;
use proptest::prelude::*;

fn graphs() -> impl Iterator<Item = (String, Graph)> {
    Release::ALL.into_iter().flat_map(|release| {
        [(Subscribers::BuiltIn, ""), (Subscribers::Hss, "-hss")]
            .map(|(s, suffix)| (format!("{release}{suffix}"), Graph::clearwater(release, s)))
    })
}

fn waves(plan: &StartPlan) -> Vec<String> {
    plan.waves().map(|w| w.join(" ")).collect()
}

/// Every gate is passed before what it gates, in the order and in the waves.
fn assert_ordered(plan: &StartPlan) {
    let order: Vec<_> = plan.order().collect();
    assert_eq!(order.len(), plan.len());
    assert_eq!(order.iter().collect::<BTreeSet<_>>().len(), plan.len());
    for (i, node) in order.iter().enumerate() {
        for gate in plan.gates(node) {
            assert!(order[..i].contains(&gate), "{node} stands before its gate {gate}");
            assert!(plan.wave(gate) < plan.wave(node));
        }
        let wave = plan.wave(node).unwrap();
        let deepest = plan.gates(node).filter_map(|g| plan.wave(g)).max();
        assert_eq!(deepest.map_or(0, |d| d + 1), wave, "{node} waits longer than its gates ask");
    }
}

#[test]
fn nodes_are_the_release_s_components() {
    for release in Release::ALL {
        let graph = Graph::clearwater(release, Subscribers::BuiltIn);
        let expected: Vec<_> = catalogue(release).iter().map(|e| e.component).collect();
        let nodes: Vec<_> = graph.nodes().filter_map(|n| graph.component(n)).collect();
        assert_eq!(nodes, expected);
    }
}

#[test]
fn every_edge_has_evidence_and_what_is_seen() {
    for (name, graph) in graphs() {
        for edge in graph.edges() {
            assert!(!edge.evidence.is_empty(), "{name}: {} on {}", edge.from, edge.to);
            assert_ne!(edge.from, edge.to);
            if edge.origin == Origin::Article {
                assert_eq!((edge.start, edge.run), (Need::None, Need::None));
            } else {
                let needs = [edge.start, edge.run, edge.leave];
                assert_ne!(needs, [Need::None; 3], "{name}: {} on {}", edge.from, edge.to);
                assert!(!edge.seen_when_missing.is_empty(), "{name}: {} on {}", edge.from, edge.to);
            }
        }
        let reached = graph.nodes().all(|n| graph.edges().any(|e| e.from == n || e.to == n));
        assert!(reached, "{name}: a node without edges");
    }
}

#[test]
fn what_has_itself_taken_off_a_list_needs_the_list_to_leave() {
    for release in Release::ALL {
        let graph = Graph::clearwater(release, Subscribers::BuiltIn);
        let leaving: BTreeSet<_> = graph.edges().filter(|e| e.leave == Need::Hard).map(|e| (e.from, e.to)).collect();
        let hooked = catalogue(release).iter().filter(|e| e.pre_stop.is_some()).map(|e| (e.component.name(), "etcd"));
        assert_eq!(leaving, hooked.collect());
    }
}

/// Every part of Clearwater's graph that may be taken down, with any of its stores left half gone by an earlier run: etcd
/// is there until the last member has left, and nothing goes before what needs it.
#[test]
fn etcd_is_there_until_the_last_member_has_left() {
    for (name, graph) in graphs() {
        let nodes: Vec<&str> = graph.nodes().collect();
        let stores: Vec<&str> = graph.edges().filter(|e| e.leave == Need::Hard).map(|e| e.from).collect();
        for (goes, leaves) in (0..1_u32 << nodes.len()).flat_map(|g| (0..1_u32 << stores.len()).map(move |l| (g, l))) {
            let bit =
                |all: &[&str], of: u32, n: &str| all.iter().position(|x| *x == n).is_some_and(|i| of >> i & 1 == 1);
            let presence = |n: &str| match (bit(&nodes, goes, n), bit(&stores, leaves, n)) {
                (true, _) => Presence::Goes,
                (_, true) => Presence::Leaves,
                _ => Presence::Aside,
            };
            let held = !graph.held_by("etcd", presence).is_empty();
            let members = stores.iter().any(|s| presence(s) != Presence::Aside);
            assert!(held || !members, "{name}: etcd may go: {goes:b} {leaves:b}");
            let others =
                nodes.iter().any(|n| *n != "etcd" && presence(n) == Presence::Goes && reaches(&graph, n, "etcd"));
            assert_eq!(held, members || others, "{name}: {goes:b} {leaves:b}");
        }
    }
}

/// Whether `from` cannot start, work or leave without `to`, through whatever stands between them.
fn reaches(graph: &Graph, from: &str, to: &str) -> bool {
    let last = |e: &clearwater::order::Edge<'_>| e.is_hard() || e.leave == Need::Hard;
    graph.edges().any(|e| e.from == from && last(&e) && (e.to == to || reaches(graph, e.to, to)))
}

/// The plan of a graph in which each edge that the rule picks is needed to start.
fn gated_by(graph: &Graph, gates: impl Fn(&clearwater::order::Edge<'_>) -> bool) -> Result<StartPlan, OrderError> {
    let mut hard = Graph::new();
    for node in graph.nodes() {
        hard.add(node);
    }
    for edge in graph.edges().filter(gates) {
        hard.depend(edge.from, edge.to, Link::new(Need::Hard, Need::None).evidence(edge.evidence.to_owned()))?;
    }
    hard.plan(Policy::Dependency)
}

#[test]
fn soft_needs_go_round_in_circles_and_gates_do_not() {
    for (name, graph) in graphs() {
        let soft = |e: &clearwater::order::Edge<'_>| e.start != Need::None || e.run != Need::None;
        let Err(OrderError::Cycle(cycle)) = gated_by(&graph, soft) else { panic!("{name}: no cycle") };
        for (edge, next) in cycle.edges.iter().zip(cycle.edges.iter().cycle().skip(1)) {
            assert_eq!(edge.to, next.from);
            assert!(graph.between(&edge.from, &edge.to).any(|e| e.evidence == edge.evidence));
        }
        for policy in Policy::ALL {
            assert_ordered(&graph.plan(policy).unwrap());
            assert_ordered(&graph.plan(policy).unwrap().reversed());
        }
    }
    let graph = Graph::clearwater(Release::Hunter, Subscribers::BuiltIn);
    let error = gated_by(&graph, |e| e.run != Need::None).unwrap_err();
    insta::assert_snapshot!(error, @"the ordering graph has a cycle: chronos waits for ralf waits for chronos; take out or soften one of: chronos on ralf (ralf src/main.cpp), ralf on chronos (ralf src/main.cpp)");
}

#[test]
fn the_policies_of_each_release() {
    let plan = |release, policy| Graph::clearwater(release, Subscribers::BuiltIn).plan(policy).unwrap();
    assert_eq!(
        waves(&plan(Release::Hunter, Policy::Earliest)),
        ["etcd chronos homer ralf sprout bono ellis", "astaire cassandra", "homestead homestead-prov"]
    );
    assert_eq!(
        waves(&plan(Release::Hunter, Policy::Article)),
        ["etcd", "astaire", "cassandra", "chronos homer ralf", "homestead homestead-prov", "sprout", "bono ellis"]
    );
    assert_eq!(
        waves(&plan(Release::Classic, Policy::Dependency)),
        ["etcd memcached chronos", "cassandra ralf", "homestead homer", "sprout ellis", "bono"]
    );
}

#[test]
fn backwards_what_was_last_goes_first() {
    for (_, graph) in graphs() {
        for policy in Policy::ALL {
            let up = graph.plan(policy).unwrap();
            let down = up.reversed();
            for node in graph.nodes() {
                assert_eq!(up.gates(node).collect::<Vec<_>>(), down.dependents(node).collect::<Vec<_>>());
            }
            let is_reversed = |plan: &StartPlan| serde_json::to_value(plan).unwrap()["reversed"] == true;
            assert!(is_reversed(&down) && !is_reversed(&down.reversed()));
        }
    }
}

/// The order in which OPNFV's functest brings Clearwater up: its init containers wait for other Services' names
/// (opnfv/functest-kubernetes functest_kubernetes/ims/*-depl.yaml).
const FUNCTEST: &[(&str, &[&str])] = &[
    ("etcd", &[]),
    ("cassandra", &["etcd"]),
    ("astaire", &["cassandra"]),
    ("chronos", &["cassandra"]),
    ("homer", &["cassandra"]),
    ("ralf", &["cassandra"]),
    ("homestead", &["cassandra", "astaire"]),
    ("homestead-prov", &["homestead"]),
    ("sprout", &["ralf", "chronos", "homestead"]),
    ("bono", &["sprout"]),
    ("ellis", &["homestead-prov", "sprout"]),
];

fn functest() -> Graph {
    let mut graph = Graph::new();
    for (node, _) in FUNCTEST {
        graph.add(*node);
    }
    for (node, waits_for) in FUNCTEST {
        for gate in *waits_for {
            graph.depend(node, gate, Link::new(Need::Hard, Need::None).evidence("functest")).unwrap();
        }
    }
    graph
}

#[test]
fn functest_s_order() {
    let theirs = functest().plan(Policy::Dependency).unwrap();
    assert_eq!(
        waves(&theirs),
        ["etcd", "cassandra", "astaire chronos homer ralf", "homestead", "homestead-prov sprout", "bono ellis"]
    );
    // What Clearwater needs to start is kept by it; of what it needs to work, two gates are left to retries.
    let position = |plan: &StartPlan, node: &str| plan.wave(node).unwrap();
    let ours = Graph::clearwater(Release::Hunter, Subscribers::BuiltIn);
    let mut left: Vec<_> = ours
        .edges()
        .filter(|e| e.is_hard() && position(&theirs, e.from) <= position(&theirs, e.to))
        .map(|e| (e.from, e.to, e.start))
        .collect();
    left.dedup();
    assert_eq!(left, [("ralf", "astaire", Need::Soft), ("ralf", "chronos", Need::Soft)]);
}

#[test]
fn an_hss_takes_provisioning_with_it() {
    for release in Release::ALL {
        let hss = Graph::clearwater(release, Subscribers::Hss);
        assert!(!hss.contains("homestead-prov") && !hss.contains("ellis"));
        assert!(hss.between("homestead", "cassandra").all(|e| !e.is_hard()));
    }
    let skipped = Graph::clearwater(Release::Hunter, Subscribers::BuiltIn).skip(["homestead-prov"]).unwrap();
    assert_eq!(skipped.along.len(), 1);
    assert_eq!(
        skipped.along[0].to_string(),
        "ellis goes too: ellis needs homestead-prov (without it: one \"Failed to ping Homestead\" at start; 502 when a \
         number is created)"
    );
}

#[test]
fn a_deployment_has_the_graph_of_its_components() {
    let deploy = |text: &str| DeploymentFile::parse(text, "clearwater.yaml").unwrap().deploy("ims").unwrap();
    for text in ["apiVersion: clearwater/v1", "apiVersion: clearwater/v1\nhss: {hostname: hss}"] {
        let deployment = deploy(text);
        let expected: Vec<_> = deployment.components().map(|e| e.component.name()).collect();
        assert_eq!(Graph::of(&deployment).nodes().collect::<Vec<_>>(), expected);
    }
}

#[test]
fn parts_say_what_came_along() {
    let graph = Graph::clearwater(Release::Hunter, Subscribers::BuiltIn);
    let only = graph.only(["sprout", "astaire"]).unwrap();
    assert_eq!(only.graph.nodes().collect::<Vec<_>>(), ["etcd", "astaire", "cassandra", "homestead", "sprout"]);
    let along: Vec<_> = only.along.iter().map(|a| (a.node.as_str(), a.with.as_str())).collect();
    assert_eq!(along, [("etcd", "astaire"), ("cassandra", "homestead"), ("homestead", "sprout")]);
    // The article's sequence closes over what is left out.
    assert_eq!(
        waves(&only.graph.plan(Policy::Article).unwrap()),
        ["etcd", "astaire", "cassandra", "homestead", "sprout"]
    );
    assert_eq!(graph.skip(["etcd"]).unwrap().graph.nodes().collect::<Vec<_>>(), ["chronos"]);
    assert_eq!(
        graph.only(["sprowt"]).unwrap_err().to_string(),
        "the ordering graph has no node \"sprowt\", did you mean \"sprout\"?"
    );
    assert_eq!(graph.only(["memcached"]).unwrap_err().to_string(), "the ordering graph has no node \"memcached\"");
}

#[test]
fn edges_explain_themselves() {
    let graph = Graph::clearwater(Release::Hunter, Subscribers::BuiltIn);
    let mut text = String::new();
    for edge in graph.edges().filter(|e| e.origin != Origin::Article) {
        text.push_str(&graph.explain(&edge));
        text.push('\n');
    }
    let article = graph.edges().find(|e| e.origin == Origin::Article).unwrap();
    text.push_str(&graph.explain(&article));
    insta::assert_snapshot!(text);
}

#[test]
fn drawings_of_each_policy_and_release() {
    for (name, graph) in graphs() {
        for policy in Policy::ALL {
            for drawing in Drawing::ALL {
                let detail = if drawing == Drawing::Tree { Detail::All } else { Detail::Gating };
                let drawn = graph.draw(drawing, policy, detail).unwrap();
                assert_eq!(drawn, graph.clone().draw(drawing, policy, detail).unwrap());
                insta::assert_snapshot!(format!("{drawing}-{name}-{policy}"), drawn);
            }
        }
    }
    let graph = Graph::clearwater(Release::Hunter, Subscribers::BuiltIn);
    for drawing in [Drawing::Dot, Drawing::Mermaid, Drawing::Svg] {
        let drawn = graph.draw(drawing, Policy::Dependency, Detail::All).unwrap();
        insta::assert_snapshot!(format!("{drawing}-hunter-dependency-all"), drawn);
    }
}

#[test]
fn names_that_mean_something_to_a_format_are_quoted() {
    let mut graph = Graph::new();
    graph.add("a\"b<&>\\#;").add("\u{7}ü");
    graph.depend("a\"b<&>\\#;", "\u{7}ü", Link::new(Need::Hard, Need::None).seen("\"]]>\n--")).unwrap();
    let drawn: Vec<_> =
        Drawing::ALL.map(|d| graph.draw(d, Policy::Dependency, Detail::All).unwrap()).into_iter().collect();
    insta::assert_snapshot!(drawn.join("\n"));
}

proptest! {
    /// Programs that embed this name their nodes as they like.
    #[test]
    fn a_drawing_holds_no_more_lines_than_it_has_parts_and_nothing_that_is_obeyed(
        a in any::<String>(), b in any::<String>(), seen in any::<String>(),
    ) {
        let (a, b) = (format!("a{a}"), format!("b{b}"));
        let mut graph = Graph::new();
        graph.add(a.as_str()).add(b.as_str());
        graph.depend(&b, &a, Link::new(Need::Hard, Need::None).seen(seen)).unwrap();
        let lines = |drawing| graph.draw(drawing, Policy::Dependency, Detail::All).unwrap().lines().count();
        let counts = Drawing::ALL.map(lines);
        let mut plain = Graph::new();
        plain.add("a").add("b");
        plain.depend("b", "a", Link::new(Need::Hard, Need::None).seen("x")).unwrap();
        let wanted = Drawing::ALL.map(|d| plain.draw(d, Policy::Dependency, Detail::All).unwrap().lines().count());
        prop_assert_eq!(counts, wanted);
        for drawing in Drawing::ALL {
            let drawn = graph.draw(drawing, Policy::Dependency, Detail::All).unwrap();
            prop_assert!(!drawn.contains(|c| is_harmful(c) && c != '\n'), "{drawn:?}");
        }
        let svg = graph.draw(Drawing::Svg, Policy::Dependency, Detail::All).unwrap();
        prop_assert!(roxmltree::Document::parse(&svg).is_ok(), "{svg}");
    }
}

#[test]
fn an_empty_graph_is_ordered_and_drawn() {
    let graph = Graph::new();
    let plan = graph.plan(Policy::Dependency).unwrap();
    assert!(plan.is_empty() && plan.schedule().is_finished());
    assert_eq!(plan.critical_path(|_| std::time::Duration::MAX).steps, []);
    for drawing in Drawing::ALL {
        graph.draw(drawing, Policy::Dependency, Detail::All).unwrap();
    }
}

#[test]
fn a_failure_loses_what_waits_for_it_and_nothing_else() {
    let plan = Graph::clearwater(Release::Hunter, Subscribers::BuiltIn).plan(Policy::Dependency).unwrap();
    let mut run = plan.schedule();
    run.complete("etcd");
    let lost = run.fail("cassandra");
    assert_eq!(lost, ["homestead", "homestead-prov", "homer", "sprout", "bono", "ellis"].map(Into::into));
    assert_eq!(run.fail("cassandra"), []);
    assert_eq!(run.complete("homestead"), []);
    assert_eq!(run.complete("astaire"), []);
    assert_eq!(run.complete("chronos"), ["ralf"].map(Into::into));
    assert!(!run.is_finished());
    run.complete("ralf");
    assert!(run.is_finished() && run.ready().is_empty());
}

#[test]
fn what_runs_already_opens_gates_too() {
    let plan = Graph::clearwater(Release::Hunter, Subscribers::BuiltIn).plan(Policy::Dependency).unwrap();
    let mut run = plan.schedule();
    assert_eq!(run.complete("sprout"), ["bono"].map(Into::into));
    assert_eq!(run.waiting_for("sprout"), ["astaire", "homestead"].map(Into::into));
    assert!(!run.complete("etcd").contains(&"sprout".into()));
    for node in ["astaire", "cassandra", "homestead"] {
        assert!(!run.complete(node).contains(&"sprout".into()), "sprout is started twice");
    }
}

#[test]
fn plans_and_graphs_serialise() {
    let graph = Graph::clearwater(Release::Hunter, Subscribers::BuiltIn).only(["homer"]).unwrap().graph;
    insta::assert_snapshot!(serde_json::to_string_pretty(&graph).unwrap());
    insta::assert_snapshot!(serde_json::to_string(&graph.plan(Policy::Dependency).unwrap()).unwrap(), @r#"{"policy":"dependency","reversed":false,"nodes":[{"name":"etcd","wave":0,"waitsFor":[]},{"name":"cassandra","wave":1,"waitsFor":["etcd"]},{"name":"homer","wave":2,"waitsFor":["cassandra"]}]}"#);
}

fn need() -> impl Strategy<Value = Need> {
    prop_oneof![Just(Need::None), Just(Need::Soft), Just(Need::Hard)]
}

/// An acyclic graph whose names are in no helpful order: edges lead from later to earlier in a shuffled order.
fn acyclic() -> impl Strategy<Value = Graph> {
    (2_usize..40)
        .prop_flat_map(|n| {
            let order = Just((0..n).collect::<Vec<_>>()).prop_shuffle();
            let edges = prop::collection::vec((0..n, 0..n, need(), need(), need(), any::<bool>()), 0..n * 4);
            (Just(n), order, edges)
        })
        .prop_map(|(n, order, edges)| {
            let mut graph = Graph::new();
            for i in 0..n {
                graph.add(format!("n{i}"));
            }
            for (a, b, start, run, leave, article) in edges {
                if a == b {
                    continue;
                }
                let (from, to) = (a.max(b), a.min(b));
                let mut link = Link { leave, ..Link::new(start, run) }.evidence(format!("e{from}-{to}"));
                if article {
                    link.origin = Origin::Article;
                }
                graph.depend(&format!("n{}", order[from]), &format!("n{}", order[to]), link).unwrap();
            }
            graph
        })
}

fn presence() -> impl Strategy<Value = Presence> {
    prop_oneof![Just(Presence::Aside), Just(Presence::Goes), Just(Presence::Leaves)]
}

proptest! {
    #[test]
    fn from_any_interrupted_state_all_goes_and_nothing_goes_too_early(
        graph in acyclic(),
        state in prop::collection::vec(presence(), 40),
        picks in prop::collection::vec(any::<prop::sample::Index>(), 80),
    ) {
        let nodes: Vec<&str> = graph.nodes().collect();
        let mut state: std::collections::HashMap<&str, Presence> = nodes.iter().copied().zip(state).collect();
        let mut picks = picks.into_iter();
        loop {
            let goes: Vec<&str> = nodes.iter().copied().filter(|n| state[n] == Presence::Goes).collect();
            let leaves: Vec<&str> = nodes.iter().copied().filter(|n| state[n] == Presence::Leaves).collect();
            let free: Vec<&str> = goes.iter().copied().filter(|n| graph.held_by(n, |m| state[m]).is_empty()).collect();
            for node in &goes {
                let needed = goes.iter().any(|m| m != node && reaches(&graph, m, node));
                let to_leave = graph.edges().any(|e| {
                    e.leave == Need::Hard && leaves.contains(&e.from) && (e.to == *node || reaches(&graph, e.to, node))
                });
                prop_assert_eq!(free.contains(node), !needed && !to_leave, "{}", node);
            }
            if goes.is_empty() {
                break;
            }
            // What leaves is gone at some time, by itself.
            let mut may_vanish = free.clone();
            may_vanish.extend(&leaves);
            prop_assert!(!may_vanish.is_empty(), "nothing may go: {:?}", state);
            let pick = picks.next().unwrap();
            state.insert(may_vanish[pick.index(may_vanish.len())], Presence::Aside);
        }
    }

    #[test]
    fn any_acyclic_graph_is_ordered_under_every_policy_and_backwards(graph in acyclic()) {
        for policy in Policy::ALL {
            let plan = graph.plan(policy).unwrap();
            assert_ordered(&plan);
            assert_ordered(&plan.reversed());
            for edge in graph.edges() {
                let gates = plan.gates(edge.from).any(|g| g == edge.to);
                prop_assert!(gates || !policy.gates(&edge));
            }
        }
    }

    #[test]
    fn a_run_starts_each_node_once_when_its_gates_are_open(graph in acyclic(), picks in prop::collection::vec(any::<prop::sample::Index>(), 40)) {
        let plan = graph.plan(Policy::Dependency).unwrap();
        let mut run = plan.schedule();
        let mut ready = run.ready();
        let mut done: Vec<std::sync::Arc<str>> = Vec::new();
        for pick in picks {
            if ready.is_empty() {
                break;
            }
            let node = ready.swap_remove(pick.index(ready.len()));
            prop_assert!(plan.gates(&node).all(|g| done.iter().any(|d| **d == *g)));
            let opened = run.complete(&node);
            done.push(node);
            for o in &opened {
                prop_assert!(!ready.contains(o) && !done.contains(o));
            }
            ready.extend(opened);
            let is_done = |node: &str| done.iter().any(|d| **d == *node);
            let after: BTreeSet<_> = plan.order().filter(|n| !is_done(n) && plan.gates(n).all(is_done)).collect();
            prop_assert_eq!(after, ready.iter().map(|r| &**r).collect());
        }
        prop_assert_eq!(run.is_finished(), done.len() == plan.len());
        prop_assert_eq!(ready.is_empty(), done.len() == plan.len());
    }

    #[test]
    fn parts_hold_all_that_is_needed(graph in acyclic(), pick in any::<prop::sample::Index>()) {
        let names: Vec<_> = graph.nodes().map(str::to_owned).collect();
        let name = names[pick.index(names.len())].as_str();
        let only = graph.only([name]).unwrap();
        prop_assert!(only.graph.contains(name));
        for edge in graph.edges().filter(clearwater::order::Edge::is_hard) {
            prop_assert!(!only.graph.contains(edge.from) || only.graph.contains(edge.to));
        }
        let skip = graph.skip([name]).unwrap();
        prop_assert!(!skip.graph.contains(name));
        for edge in graph.edges().filter(clearwater::order::Edge::is_hard) {
            prop_assert!(!skip.graph.contains(edge.from) || skip.graph.contains(edge.to));
        }
        for part in [only, skip] {
            for policy in Policy::ALL {
                assert_ordered(&part.graph.plan(policy).unwrap());
            }
        }
    }

    #[test]
    fn the_critical_path_is_the_longest_chain(graph in acyclic(), seconds in prop::collection::vec(0_u64..100, 40)) {
        let plan = graph.plan(Policy::Dependency).unwrap();
        let number = |node: &str| node[1..].parse::<usize>().unwrap();
        let duration = |node: &str| std::time::Duration::from_secs(seconds[number(node)]);
        let path = plan.critical_path(duration);
        let sum: std::time::Duration = path.steps.iter().map(clearwater::order::PathStep::took).sum();
        prop_assert_eq!(sum, path.total);
        for pair in path.steps.windows(2) {
            prop_assert!(plan.gates(&pair[1].node).any(|g| g == pair[0].node));
        }
        let mut longest = std::collections::HashMap::<&str, std::time::Duration>::new();
        for node in plan.order() {
            let before = plan.gates(node).map(|g| longest[g]).max().unwrap_or_default();
            longest.insert(node, before + duration(node));
        }
        prop_assert_eq!(longest.values().max().copied().unwrap_or_default(), path.total);
    }

    #[test]
    fn a_cycle_is_found_and_is_one(graph in acyclic(), extra in prop::collection::vec((0_usize..40, 0_usize..40), 1..20)) {
        let mut graph = graph;
        let n = graph.len();
        for (a, b) in extra {
            graph.depend(&format!("n{}", a % n), &format!("n{}", b % n), Link::new(Need::Hard, Need::None)).unwrap();
        }
        match graph.plan(Policy::Dependency) {
            Ok(plan) => assert_ordered(&plan),
            Err(OrderError::Cycle(cycle)) => {
                prop_assert!(!cycle.edges.is_empty());
                for (edge, next) in cycle.edges.iter().zip(cycle.edges.iter().cycle().skip(1)) {
                    prop_assert_eq!(&edge.to, &next.from);
                    prop_assert!(graph.between(&edge.from, &edge.to).any(|e| e.is_hard()));
                }
                let nodes: BTreeSet<_> = cycle.edges.iter().map(|e| &e.from).collect();
                prop_assert_eq!(nodes.len(), cycle.edges.len());
            }
            Err(other) => prop_assert!(false, "{}", other),
        }
    }
}

#[test]
fn components_parse_from_the_names_that_nodes_have() {
    for component in Component::ALL {
        assert_eq!(component.name().parse(), Ok(component));
    }
}
