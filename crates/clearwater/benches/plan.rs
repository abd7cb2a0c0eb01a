//! How long it takes to plan: Clearwater's own graph, ten thousand nodes, a scaling plan.
#![allow(clippy::unwrap_used, missing_docs, reason = "a benchmark has no reader but its output")]

use std::hint::black_box;
use std::time::Duration;

use clearwater::component::{Component, Release};
use clearwater::order::{Detail, Drawing, Graph, Link, Need, Policy, Subscribers};
use clearwater::scale::{MemberList, MemberState, PodState, Situation};
use criterion::{Criterion, criterion_group, criterion_main};

/// Ten thousand nodes with thirty thousand edges, each to an earlier node that a small generator picks.
fn large() -> Graph {
    let mut graph = Graph::new();
    let mut state = 1_u64;
    let mut pick = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap() % below
    };
    for i in 0..10_000_usize {
        graph.add(format!("node-{i}"));
        for _ in 0..3_usize.min(i) {
            let to = format!("node-{}", pick(i));
            graph.depend(&format!("node-{i}"), &to, Link::new(Need::Hard, Need::Hard).evidence("bench")).unwrap();
        }
    }
    graph
}

fn order(c: &mut Criterion) {
    c.bench_function("graph and plan of hunter", |b| {
        b.iter(|| {
            Graph::clearwater(black_box(Release::Hunter), Subscribers::BuiltIn).plan(Policy::Dependency).unwrap()
        });
    });
    let hunter = Graph::clearwater(Release::Hunter, Subscribers::BuiltIn);
    for drawing in Drawing::ALL {
        c.bench_function(&format!("{drawing} of hunter"), |b| {
            b.iter(|| hunter.draw(drawing, Policy::Dependency, Detail::All).unwrap());
        });
    }
    let graph = large();
    let plan = graph.plan(Policy::Dependency).unwrap();
    c.bench_function("plan of 10000 nodes", |b| b.iter(|| black_box(&graph).plan(Policy::Dependency).unwrap()));
    c.bench_function("plan of 10000 nodes backwards", |b| b.iter(|| black_box(&plan).reversed()));
    c.bench_function("run through 10000 nodes", |b| {
        b.iter(|| {
            let mut run = plan.schedule();
            let mut ready = run.ready();
            while let Some(node) = ready.pop() {
                ready.extend(run.complete(&node));
            }
            assert!(run.is_finished());
        });
    });
    c.bench_function("critical path of 10000 nodes", |b| {
        b.iter(|| plan.critical_path(|node| Duration::from_millis(node.len() as u64)));
    });
}

fn scale(c: &mut Criterion) {
    let mut situation = Situation::new(Release::Hunter, Component::Chronos, 100, 50);
    let address = |i: u8| [10, 1, 0, i].into();
    situation.pods = (0..100)
        .map(|i| PodState {
            name: format!("chronos-{i}"),
            addresses: vec![address(i)],
            ready_for: Some(Duration::from_secs(600)),
            terminating: false,
            ends_within: None,
        })
        .collect();
    situation.members = MemberList::Read((0..100).map(|i| (address(i), MemberState::Normal)).collect());
    c.bench_function("scaling plan of a hundred members", |b| b.iter(|| black_box(&situation).plan().unwrap()));
}

criterion_group!(benches, order, scale);
criterion_main!(benches);
