use serde_json::json;

use super::super::LastBackup;
use super::*;

fn seen() -> Status {
    serde_json::from_value(json!({
        "v": 1, "namespace": "ims", "release": "hunter", "at": "2026-11-23T10:00:00Z", "healthy": false,
        "partial": false, "unreached": false, "looks": 2, "notes": [],
        "lastBackup": {"at": "2026-11-22T03:30:00Z"},
        "components": [
            {"component": "chronos", "roles": [], "health": "serving", "image": "x", "ready": 2, "wanted": 2,
             "pods": [
                {"name": "chronos-0", "node": "n", "address": "10.0.0.1", "ready": true, "restarts": 1,
                 "programs": [3, 3], "answers": [2, 2], "names": [1, 1]},
                {"name": "chronos-1", "node": "n", "address": "10.0.0.2", "ready": true, "restarts": 2,
                 "programs": [2, 3], "answers": [1, 2]}
             ],
             "members": {"10.0.0.1": "normal", "10.0.0.2": "joining"}, "problems": [], "unchecked": [], "pending": 1},
            {"component": "sprout", "roles": [], "health": "absent", "image": "", "ready": 0, "wanted": 1,
             "pods": [], "members": {}, "problems": ["there is none"], "unchecked": [], "pending": 0},
            {"component": "cassandra", "roles": [], "health": "serving", "image": "x", "ready": 1, "wanted": 1,
             "pods": [
                {"name": "cassandra-0", "node": "n", "address": "10.0.0.3", "ready": true, "restarts": 0,
                 "data": {"claim": "data-cassandra-0", "class": "fast",
                    "room": {"capacity": 10240, "used": 4096, "available": 5120}}}
             ],
             "members": {}, "problems": [], "unchecked": [], "pending": 0},
            {"component": "ellis", "roles": [], "health": "serving", "image": "x", "ready": 1, "wanted": 1,
             "pods": [
                {"name": "ellis-0", "node": "n", "address": "10.0.0.4", "ready": true, "restarts": 0, "data": {}}
             ],
             "members": {}, "problems": [], "unchecked": [], "pending": 0}
        ]
    }))
    .unwrap()
}

#[test]
fn what_was_seen_is_told_whole_and_in_order() {
    let seen = seen();
    let looks = [("ims", Some(&seen)), ("lab", None)];
    insta::assert_snapshot!(metrics(&looks));
    assert_eq!(metrics(&looks), metrics(&looks));
}

/// Of a deployment of which no backup is known, and of one of which that is not known.
#[test]
fn no_backup_is_told_and_an_unknown_one_is_not() {
    let told = |last_backup| metrics(&[("ims", Some(&Status { last_backup, ..seen() }))]);
    assert!(
        told(Some(LastBackup { at: None })).contains("clearwater_last_backup_timestamp_seconds{namespace=\"ims\"} 0\n")
    );
    assert!(!told(None).contains("last_backup"));
}
