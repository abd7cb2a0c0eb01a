//! How long it takes to read, check, plan and render a whole deployment.
#![allow(clippy::unwrap_used, missing_docs, reason = "a benchmark has no reader but its output")]

use std::hint::black_box;

use clearwater::config::DeploymentFile;
use clearwater::manifest::{Inputs, render};
use clearwater::order::{Graph, Policy};
use criterion::{Criterion, criterion_group, criterion_main};

const HUNTER: &str = "apiVersion: clearwater/v1\n";
const CLASSIC: &str =
    "apiVersion: clearwater/v1\nrelease: classic\nimages: {registry: registry.example.com, tag: '1'}\n";

fn whole(text: &str) -> (usize, usize) {
    let d = DeploymentFile::parse(text, "clearwater.yaml").unwrap().deploy("ims").unwrap();
    let plan = Graph::of(&d).plan(Policy::Dependency).unwrap();
    let manifest = render(&d, &Inputs::default()).unwrap();
    (plan.len(), manifest.items().len())
}

fn bench(c: &mut Criterion) {
    for (name, text) in [("hunter", HUNTER), ("classic", CLASSIC)] {
        c.bench_function(&format!("plan and render {name}"), |b| b.iter(|| whole(black_box(text))));
        let d = DeploymentFile::parse(text, "clearwater.yaml").unwrap().deploy("ims").unwrap();
        c.bench_function(&format!("render {name} as YAML"), |b| {
            b.iter(|| render(black_box(&d), &Inputs::default()).unwrap().to_yaml().unwrap().len());
        });
    }
}

criterion_group!(benches, bench);
criterion_main!(benches);
