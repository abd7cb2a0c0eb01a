use super::*;
use crate::component::Component;
use crate::remedy::{Advice, NamesDeed, Remedy};

fn event(what: EventKind) -> Event {
    Event { v: VERSION, seq: 3, at: "2026-11-22T10:00:00.5Z".parse().unwrap(), elapsed: 42, what }
}

#[test]
fn an_event_survives_json() {
    let all = [
        EventKind::RunStarted {
            command: Command::Up,
            namespace: "ims".into(),
            order: "dependency".into(),
            components: vec![PlannedComponent {
                component: "cassandra".into(),
                gates: vec![PlannedGate { on: "etcd".into(), because: "no cassandra.yaml without it".into() }],
            }],
        },
        EventKind::Waiting {
            component: "cassandra".into(),
            awaited: vec![Awaited { component: "etcd".into(), state: "starting".into() }],
            cause: "etcd: 0 of 1 pods ready".into(),
            held: Some("its image is there".into()),
        },
        EventKind::Failed {
            component: "sprout".into(),
            failure: FailureKind::ImageNotFound,
            causes: vec!["image x:y: not found".into()],
            fix: "correct images.tag".into(),
            evidence: vec![Evidence { object: "pod/sprout-1".into(), ..Evidence::default() }],
        },
        EventKind::RunFinished {
            outcome: Outcome::Done,
            summary: "11 of 11 components serve".into(),
            stats: RunStats::default(),
            critical_path: vec![Hop { component: "etcd".into(), took: 900 }],
            pending: vec![],
        },
    ];
    for what in all {
        let event = event(what);
        let text = serde_json::to_string(&event).unwrap();
        assert!(!text.contains('\n'));
        assert_eq!(serde_json::from_str::<Event>(&text).unwrap(), event, "{text}");
    }
}

#[test]
fn json_names_are_camel_case_and_the_kind_is_a_tag() {
    let text = serde_json::to_string(&event(EventKind::RunFinished {
        outcome: Outcome::ChangesPending,
        summary: Advice::default(),
        stats: RunStats { pod_connections: 2, ..RunStats::default() },
        critical_path: vec![],
        pending: vec![],
    }))
    .unwrap();
    insta::assert_snapshot!(text, @r#"{"v":1,"seq":3,"at":"2026-11-22T10:00:00.5Z","elapsed":42,"what":{"kind":"runFinished","outcome":"changesPending","summary":"","stats":{"serving":0,"failed":0,"skipped":0,"unfinished":0,"writes":0,"podConnections":2},"criticalPath":[],"pending":[]}}"#);
}

#[test]
fn an_old_reader_survives_a_new_writer() {
    let line = r#"{"v":1,"seq":9,"at":"2026-11-22T10:00:00Z","elapsed":1,"later":true,
        "what":{"kind":"somethingNew","component":"sprout","more":{"a":[1]}}}"#;
    let event = serde_json::from_str::<Event>(line).unwrap();
    let EventKind::Unknown { kind, payload } = &event.what else { panic!("{event:?}") };
    assert_eq!((kind.as_str(), &payload["more"]), ("somethingNew", &serde_json::json!({"a": [1]})));
    let again = serde_json::to_value(&event).unwrap();
    assert_eq!(again["what"], serde_json::from_str::<serde_json::Value>(line).unwrap()["what"]);
    assert_eq!(serde_json::from_str::<Cost>(r#""somethingNew""#).unwrap(), Cost::Unknown);
    assert_eq!(serde_json::from_str::<CheckStatus>(r#""somethingNew""#).unwrap(), CheckStatus::Unknown);
    assert_eq!(serde_json::from_str::<CheckId>(r#""somethingNew""#).unwrap(), CheckId::Unknown);
    assert_eq!(serde_json::from_str::<Operation>(r#""somethingNew""#).unwrap(), Operation::Unknown);
    assert_eq!(serde_json::from_str::<Whose>(r#""somethingNew""#).unwrap(), Whose::Unknown);
    assert!(!CheckId::ALL.contains(&CheckId::Unknown) && "unknown".parse::<CheckId>().is_err());
    assert_eq!(serde_json::from_str::<FailureKind>(r#""somethingNew""#).unwrap(), FailureKind::Unknown);
    assert_eq!(serde_json::from_str::<Outcome>(r#""somethingNew""#).unwrap(), Outcome::Unknown);
}

#[test]
fn another_version_is_refused() {
    let line = r#"{"v":2,"seq":0,"at":"2026-11-22T10:00:00Z","elapsed":1,"what":{"kind":"notice","text":"a"}}"#;
    let error = serde_json::from_str::<Event>(line).unwrap_err().to_string();
    assert!(error.starts_with("this is version 2 of the format of events, and version 1 is known here"), "{error}");
}

#[test]
fn a_kind_that_is_known_and_not_whole_says_what_it_lacks() {
    let line = r#"{"kind":"skipped","component":"ellis"}"#;
    let error = serde_json::from_str::<EventKind>(line).unwrap_err().to_string();
    assert!(error.contains("missing field `because`"), "{error}");
}

#[test]
fn cancel_reasons_are_ordered() {
    assert!(CancelReason::Failure < CancelReason::Deadline);
    assert!(CancelReason::Terminated < CancelReason::Interrupted);
}

#[test]
fn the_schema_names_every_kind() {
    let value = schema();
    let schema = value.to_string();
    let kinds = value["$defs"]["EventKind"]["oneOf"].as_array().unwrap();
    let kinds: Vec<_> = kinds.iter().filter_map(|k| k["properties"]["kind"]["const"].as_str()).collect();
    assert_eq!(kinds, super::kind::KINDS);
    for kind in ["runStarted", "checked", "planned", "waiting", "serving", "failed", "progress", "runFinished"] {
        assert!(schema.contains(&format!("\"const\":\"{kind}\"")), "{kind} is missing: {schema}");
    }
}

#[test]
fn no_text_of_an_event_holds_what_a_terminal_obeys() {
    const BAD: &str = "a\u{1b}[2J\nb\u{202e}\u{9b}";
    let bad = || BAD.to_owned();
    let repair = Repair { component: bad(), object: bad(), action: bad(), because: bad(), cost: Cost::Data };
    let pending = || vec![Pending { component: bad(), what: bad(), command: bad().into() }];
    let all = [
        EventKind::RunStarted {
            command: Command::Up,
            namespace: bad(),
            order: bad(),
            components: vec![PlannedComponent {
                component: bad(),
                gates: vec![PlannedGate { on: bad(), because: bad() }],
            }],
        },
        EventKind::Checked {
            line: CheckLine {
                id: CheckId::Rights,
                title: bad(),
                status: CheckStatus::Ok,
                detail: bad(),
                fix: Some(bad().into()),
            },
        },
        EventKind::Planned {
            changes: vec![Change {
                object: bad(),
                component: Some(bad()),
                operation: Operation::Change,
                whose: Whose::default(),
                diff: "+\u{1b}[2Jb\u{202e}\u{9b}".to_owned(),
                restarts: 1,
            }],
            pending: pending(),
        },
        EventKind::Waiting {
            component: bad(),
            awaited: vec![Awaited { component: bad(), state: bad() }],
            cause: bad(),
            held: Some(bad()),
        },
        EventKind::Failed {
            component: bad(),
            failure: FailureKind::CrashLoop,
            causes: vec![bad()],
            fix: bad().into(),
            evidence: vec![Evidence {
                object: bad(),
                reason: bad(),
                events: vec![bad()],
                logs: vec![LogExcerpt { from: bad(), lines: vec![bad()] }],
            }],
        },
        EventKind::Repaired { repair: repair.clone() },
        EventKind::Asked { id: 1, loses: vec![bad()], repair },
        EventKind::StepsPlanned {
            component: bad(),
            from: 1,
            to: 2,
            steps: vec![PlannedStep { step: bad(), expected_seconds: 1, deadline_seconds: 2 }],
            notices: vec![bad()],
        },
        EventKind::MembersChanged { component: bad(), members: [(bad(), bad())].into(), violation: Some(bad()) },
        EventKind::Notice { text: Advice::new(bad(), bad()) },
        EventKind::RunFinished {
            outcome: Outcome::Done,
            summary: Advice::new(
                bad(),
                Remedy::from(NamesDeed::Remove { namespace: bad(), backend: None }).then(bad()),
            ),
            stats: RunStats::default(),
            critical_path: vec![Hop { component: bad(), took: 1 }],
            pending: pending(),
        },
    ];
    for what in all {
        let event = Event::new(1, Timestamp::UNIX_EPOCH, 1, what);
        let mut texts = Vec::new();
        texts_of(&serde_json::to_value(&event).unwrap(), &mut texts);
        assert!(texts.iter().any(|t| t.contains(r"\u{1b}[2J")), "{texts:?}");
        assert!(!texts.iter().any(|t| t.contains(crate::text::is_harmful)), "{texts:?}");
    }
}

/// Every text in a value, keys as well.
fn texts_of(value: &serde_json::Value, texts: &mut Vec<String>) {
    match value {
        serde_json::Value::String(text) => texts.push(text.clone()),
        serde_json::Value::Array(all) => all.iter().for_each(|v| texts_of(v, texts)),
        serde_json::Value::Object(all) => {
            for (key, value) in all {
                texts.push(key.clone());
                texts_of(value, texts);
            }
        }
        _ => {}
    }
}

#[test]
fn remedies_take_the_words_of_whoever_shows_them() {
    let words = |deed: &Remedy| matches!(deed, Remedy::BringUp).then(|| "press Start".to_owned());
    let pending = |command| vec![Pending { component: "etcd".into(), what: "a change".into(), command }];
    let again = Remedy::sentence([Remedy::TakeDown(vec![Component::Etcd]), ", then ".into(), Remedy::BringUp]);
    let what = EventKind::RunFinished {
        outcome: Outcome::ChangesPending,
        summary: Advice::new("one change waits", again.clone()),
        stats: RunStats::default(),
        critical_path: vec![],
        pending: pending(again),
    };
    let neutral = serde_json::to_value(&what).unwrap();
    assert_eq!(neutral["pending"][0]["command"], "take etcd down, then bring the deployment up");
    let worded = serde_json::to_value(what.worded(&words)).unwrap();
    assert_eq!(worded["pending"][0]["command"], "take etcd down, then press Start");
    assert_eq!(worded["summary"], "one change waits. What works: take etcd down, then press Start");
}
