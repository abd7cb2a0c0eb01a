use super::*;
use proptest::prelude::*;

const MADE: &str = "2026-11-01T10:00:00Z";
const SOON: &str = "2026-11-01T10:00:05Z";
const LATER: &str = "2026-11-01T11:00:00Z";
const LAST: &str = "2026-11-01T12:00:00Z";

fn meta(value: Value) -> ObjectMeta {
    serde_json::from_value(value).unwrap()
}

fn entry(manager: &str, time: &str, fields: &Value) -> Value {
    json!({"manager": manager, "operation": "Update", "apiVersion": "v1", "fieldsType": "FieldsV1", "time": time,
           "fieldsV1": fields})
}

fn data() -> Value {
    json!({"f:data": {"f:MINE": {}}})
}

fn with(annotation: Option<&str>, entries: &[Value]) -> ObjectMeta {
    let annotations = annotation.map(|a| json!({ORIGIN_ANNOTATION: a}));
    meta(json!({"name": "env-vars", "creationTimestamp": MADE, "annotations": annotations, "managedFields": entries}))
}

fn marked() -> Value {
    json!({"f:metadata": {"f:annotations": {format!("f:{ORIGIN_ANNOTATION}"): {}}}, "f:data": {"f:a": {}}})
}

#[test]
fn a_mark_counts_where_we_set_it() {
    let ours = entry(FIELD_MANAGER, MADE, &marked());
    assert_eq!(whose(&with(Some(CREATED), std::slice::from_ref(&ours))), Whose::Ours);
    // Somebody who adds a key later does not make it his.
    assert_eq!(whose(&with(Some(CREATED), &[ours.clone(), entry("kubectl-edit", LATER, &data())])), Whose::Ours);
    assert_eq!(whose(&with(Some(ADOPTED), std::slice::from_ref(&ours))), Whose::Adopted);
    // All of theirs was written over: it stood before all the same.
    assert_eq!(whose(&with(Some(ADOPTED), &[entry(FIELD_MANAGER, LAST, &marked())])), Whose::Adopted);
    // A copy by hand, annotations and all.
    assert_eq!(whose(&with(Some(CREATED), &[entry("kubectl-create", MADE, &marked())])), Whose::Foreign);
}

#[test]
fn without_a_mark_the_record_of_fields_tells() {
    let own = json!({"f:data": {"f:a": {}}});
    let ours = |time| entry(FIELD_MANAGER, time, &own);
    let theirs = |time| entry("kubectl-create", time, &data());
    let controller =
        entry("kube-controller-manager", MADE, &json!({"f:metadata": {"f:annotations": {"f:deployment": {}}}}));
    for (entries, expected) in [
        (vec![], Whose::Foreign),
        (vec![theirs(MADE)], Whose::Foreign),
        (vec![ours(MADE)], Whose::Ours),
        (vec![ours(LATER)], Whose::Ours),
        (vec![ours(MADE), controller.clone()], Whose::Ours),
        (vec![ours(MADE), theirs(LATER)], Whose::Ours),
        (vec![ours(LATER), theirs(MADE)], Whose::Adopted),
        (vec![ours(LATER), theirs(SOON)], Whose::Adopted),
        (vec![ours(LATER), theirs(LAST)], Whose::Ours),
        (vec![controller], Whose::Foreign),
    ] {
        assert_eq!(whose(&with(None, &entries)), expected, "{entries:?}");
    }
    // Counts that were set through `scale`, and status, are nobody's content.
    let mut scaled = entry("kubectl", MADE, &json!({"f:spec": {"f:replicas": {}}}));
    scaled["subresource"] = "scale".into();
    assert_eq!(whose(&with(None, &[ours(LATER), scaled])), Whose::Ours);
}

fn set(annotated: bool) -> Value {
    let mut template = json!({"metadata": {"name": "data"}, "spec": {}});
    if annotated {
        template["metadata"]["annotations"] = json!({ORIGIN_ANNOTATION: "created by statefulset ims/etcd"});
    }
    json!({"kind": "StatefulSet", "metadata": {"name": "etcd", "namespace": "ims"},
           "spec": {"volumeClaimTemplates": [template]}})
}

#[test]
fn claims_of_a_set_that_stands_are_left_as_they_are() {
    for (live, expected) in [(None, true), (Some(set(true)), true), (Some(set(false)), false)] {
        let mut body = set(false);
        set_mark(&mut body, Whose::Ours, live.as_ref());
        assert_eq!(body["spec"], set(expected)["spec"], "{live:?}");
        assert_eq!(body["metadata"]["annotations"][ORIGIN_ANNOTATION], CREATED);
    }
    let mut map = json!({"kind": "ConfigMap", "metadata": {"name": "env-vars"}});
    set_mark(&mut map, Whose::Foreign, Some(&json!({})));
    assert_eq!(map["metadata"]["annotations"][ORIGIN_ANNOTATION], ADOPTED);
}

#[test]
fn claims_are_ours_by_their_mark_or_by_a_set_of_ours() {
    let etcd = meta(json!({"name": "etcd", "creationTimestamp": SOON}));
    let sets = [ClaimMaker { meta: &etcd, templates: vec!["data".to_owned()] }];
    let claim = |name: &str, mark: Option<&str>, made: &str, manager: &str| {
        let annotations = mark.map(|m| json!({ORIGIN_ANNOTATION: m}));
        meta(json!({"name": name, "creationTimestamp": made, "annotations": annotations,
                    "labels": {"service": "etcd"}, "managedFields": [entry(manager, made, &data())]}))
    };
    let controller = "kube-controller-manager";
    let by_etcd = Some("created by statefulset ims/etcd");
    for (claim, with_set, without) in [
        (claim("data-etcd-0", by_etcd, MADE, controller), true, true),
        (claim("data-etcd-0", None, LATER, controller), true, false),
        (claim("data-etcd-0", None, LATER, "k3s"), true, false),
        // It stood before the set did.
        (claim("data-etcd-0", None, MADE, controller), false, false),
        (claim("data-etcd-0", None, LATER, "kubectl-create"), false, false),
        (claim("data-chronos-0", None, LATER, controller), false, false),
        (claim("data-etcd-copy", by_etcd, LATER, controller), false, false),
        // Whoever copies a claim copies its mark.
        (claim("data-etcd-7", by_etcd, LATER, "kubectl-create"), false, false),
        (claim("data-other-0", by_etcd, LATER, controller), false, false),
        (claim("data-etcd-0", Some("created by statefulset lab/etcd"), LATER, controller), false, false),
    ] {
        assert_eq!(is_claim_of_ours("ims", &claim, &sets), with_set, "{claim:?}");
        assert_eq!(is_claim_of_ours("ims", &claim, &[]), without, "{claim:?}");
    }
}

proptest! {
    /// Whatever the times are: an object that somebody else's fields are not younger in than ours is never taken for ours.
    #[test]
    fn what_somebody_wrote_before_us_is_never_ours(made in 0_i64..100, theirs in 0_i64..100, ours in 0_i64..200) {
        let at = |s: i64| jiff::Timestamp::from_second(1_700_000_000 + s).unwrap().to_string();
        let meta = meta(json!({"name": "x", "creationTimestamp": at(made), "managedFields": [
            entry("somebody", &at(made + theirs), &data()),
            entry(FIELD_MANAGER, &at(made + theirs + ours), &json!({"f:data": {"f:a": {}}})),
        ]}));
        prop_assert_eq!(whose(&meta), Whose::Adopted);
    }
}
