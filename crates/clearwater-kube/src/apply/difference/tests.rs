use super::*;
use serde_json::json;

fn object(value: Value) -> DynamicObject {
    serde_json::from_value(value).unwrap()
}

#[test]
fn what_the_server_writes_is_no_difference() {
    let live = object(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "uid": "1",
        "resourceVersion": "5", "managedFields": [{"manager": "x"}]}, "data": {"a": "1"}}));
    let dry = object(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "uid": "1",
        "resourceVersion": "6", "managedFields": [{"manager": "y"}]}, "data": {"a": "1"}}));
    assert_eq!(difference(&Object::ConfigMap(Box::default()), &live, &dry), "");
}

#[test]
fn a_difference_is_shown_as_yaml_and_secrets_are_hidden() {
    let of = |kind: &str, value: &str| {
        object(json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": "c"}, "data": {"a": value, "b": "same"}}))
    };
    let shown =
        difference(&Object::ConfigMap(Box::default()), &of("ConfigMap", "old-value"), &of("ConfigMap", "new-value"));
    assert!(shown.contains("-  a: old-value\n+  a: new-value"), "{shown}");
    let shown = difference(&Object::Secret(Box::default()), &of("Secret", "b2xk"), &of("Secret", "bmV3"));
    assert!(shown.contains("differs") && !shown.contains("b2xk") && !shown.contains("bmV3"), "{shown}");
}

#[test]
fn what_is_new_is_shown_whole_and_a_secret_without_its_values() {
    let shown = whole(&Object::ConfigMap(Box::default()), &json!({"kind": "ConfigMap", "data": {"a": "1"}}));
    assert!(shown.starts_with("--- /dev/null\n+++ configmap/ (after)\n"), "{shown}");
    assert!(shown.ends_with("+data:\n+  a: \"1\"\n+kind: ConfigMap\n"), "{shown}");
    let shown = whole(&Object::Secret(Box::default()), &json!({"kind": "Secret", "data": {"a": "bmV3"}}));
    assert!(shown.contains("+  a: (hidden)\n") && !shown.contains("bmV3"), "{shown}");
}

#[test]
fn a_new_template_replaces_pods_at_once_and_those_of_stores_on_demand() {
    let of = |image: &str, update: &str| {
        object(json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "s"}, "spec": {
            "replicas": 2, "template": {"image": image}, "updateStrategy": {"type": update}}}))
    };
    let pods = |at_once, on_demand| Replaced { at_once, on_demand };
    assert_eq!(replaced(&of("a", "OnDelete"), &of("b", "OnDelete")), pods(0, 2));
    assert_eq!(replaced(&of("a", "RollingUpdate"), &of("b", "RollingUpdate")), pods(2, 0));
    assert_eq!(replaced(&of("a", "RollingUpdate"), &of("a", "OnDelete")), pods(0, 0));
}
