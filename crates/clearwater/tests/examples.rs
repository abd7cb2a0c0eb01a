//! The programs in `examples/` say what they said before.

#[path = "../examples/shared_config.rs"]
mod shared_config;
#[path = "../examples/start_plan.rs"]
mod start_plan;
#[path = "../examples/zone_file.rs"]
mod zone_file;

#[test]
fn shared_config_for_a_namespace() {
    insta::assert_snapshot!(shared_config::shared_config("lab").unwrap());
}

#[test]
fn the_start_plan_of_a_topology_of_ones_own() {
    insta::assert_snapshot!(start_plan::start_plan().unwrap());
}

#[test]
fn the_records_a_deployment_needs_as_a_zone_file() {
    insta::assert_snapshot!(zone_file::zone_file("ims.example.com").unwrap());
}
