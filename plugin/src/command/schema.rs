//! The published schema of what `-o json` and `-o yaml` write.

use schemars::generate::SchemaSettings;
use serde_json::{Value, json};

use super::everywhere::Everywhere;
use super::{backup, config, dns_patch, graph, subscriber, trace, version};

fn generate() -> Value {
    let mut generator = SchemaSettings::draft2020_12().into_generator();
    let outputs = [
        ("autoscale --list", generator.subschema_for::<clearwater_kube::autoscale::Autoscalers>()),
        ("backup", generator.subschema_for::<backup::Kept>()),
        ("check", generator.subschema_for::<clearwater_kube::check::Checks>()),
        ("check --images", generator.subschema_for::<clearwater_kube::contract::ContractReport>()),
        ("check --all-namespaces", generator.subschema_for::<Everywhere<clearwater_kube::check::Checks>>()),
        ("config check", generator.subschema_for::<config::Checked>()),
        ("graph", generator.subschema_for::<graph::View<'_>>()),
        ("diff", generator.subschema_for::<clearwater::event::Event>()),
        ("dns-patch", generator.subschema_for::<dns_patch::Report>()),
        ("dns-patch --explain", generator.subschema_for::<dns_patch::ExplainReport>()),
        ("down", generator.subschema_for::<clearwater::event::Event>()),
        ("restore", generator.subschema_for::<backup::PutBack>()),
        ("scale", generator.subschema_for::<clearwater::event::Event>()),
        ("test", generator.subschema_for::<super::test::Report>()),
        ("test --load", generator.subschema_for::<super::test::LoadReport>()),
        ("status", generator.subschema_for::<clearwater_kube::status::Status>()),
        ("status --all-namespaces", generator.subschema_for::<Everywhere<clearwater_kube::status::Status>>()),
        ("subscriber", generator.subschema_for::<subscriber::Report>()),
        ("trace", generator.subschema_for::<trace::Report>()),
        ("up", generator.subschema_for::<clearwater::event::Event>()),
        ("version", generator.subschema_for::<version::Facts>()),
    ];
    let outputs: serde_json::Map<_, _> = outputs.into_iter().map(|(name, s)| (name.to_owned(), s.to_value())).collect();
    let definitions = generator.take_definitions(true);
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "https://github.com/kubectl-clearwater/kubectl-clearwater/raw/main/plugin/schema/output.v1.json",
        "title": "kubectl clearwater",
        "description": "What commands write with -o json and -o yaml, by command.",
        "properties": outputs,
        "$defs": definitions,
    })
}

#[test]
fn the_committed_schema_is_the_generated_one() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/schema/output.v1.json");
    let generated = serde_json::to_string_pretty(&generate()).unwrap() + "\n";
    if std::env::var_os("INSTA_UPDATE").is_some_and(|v| v == "always") {
        std::fs::write(path, &generated).unwrap();
    }
    let committed = std::fs::read_to_string(path).unwrap_or_default();
    assert!(committed == generated, "{path} has drifted: run the tests with INSTA_UPDATE=always and commit it");
}

#[test]
fn graphs_and_plans_are_written_as_the_schema_says() {
    use clearwater::component::Release;
    use clearwater::order::{Graph, Policy, Subscribers};

    for release in Release::ALL {
        for policy in Policy::ALL {
            let graph = Graph::clearwater(release, Subscribers::BuiltIn);
            let plan = serde_json::to_value(graph.plan(policy).unwrap()).unwrap();
            serde_json::from_value::<graph::shape::StartPlan>(plan).unwrap();
            serde_json::from_value::<graph::shape::Graph>(serde_json::to_value(&graph).unwrap()).unwrap();
        }
    }
}
