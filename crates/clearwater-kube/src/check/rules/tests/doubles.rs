//! One fault is told once: by the check that is about it, and the others say where.

use super::*;

/// What is said beside what is well: the check, how grave, and what is said of it.
fn told(facts: &Facts) -> Vec<(CheckId, CheckStatus)> {
    let mut found = found(facts);
    found.dedup();
    found
}

fn homer(part: Part) -> About {
    About::Pod("homer-0".to_owned(), part)
}

#[test]
fn what_does_not_run_is_told_by_the_check_of_programs_alone() {
    let mut facts = health();
    is_wrong(&mut facts, Component::Homer, homer(Part::Program("clearwater-group:homer".to_owned())));
    is_wrong(&mut facts, Component::Homer, homer(Part::Question(0)));
    is_wrong(&mut facts, Component::Homer, About::Pods);
    add(
        &mut facts,
        json!({"metadata": {"name": "homer-0", "uid": "homer-0", "labels": {"service": "homer"}},
            "spec": {"nodeName": "one", "containers": [{"name": "homer", "image": "x:hunter"}]},
            "status": {"phase": "Running", "containerStatuses": [{"name": "homer", "image": "", "imageID": "", "ready": false,
                "restartCount": 1, "state": {"running": {"startedAt": "1969-12-31T23:58:20Z"}},
                "lastState": {"terminated": {"exitCode": 137, "finishedAt": "1970-01-01T00:00:00Z"}}}]}}),
    );
    let aside = |id| (id, CheckStatus::NotApplicable);
    assert_eq!(
        told(&facts),
        [
            aside(CheckId::Workloads),
            aside(CheckId::Restarts),
            (CheckId::Programs, CheckStatus::Failed),
            aside(CheckId::Answers)
        ]
    );
    let line = lines(&facts).into_iter().find(|l| l.id == CheckId::Answers).unwrap();
    assert_eq!(line.detail, "what is not well here is told by programs");
    // Who is not asked tells nothing: then each says by itself what it sees.
    facts.left_out = [CheckId::Programs].into();
    let alone: Vec<CheckId> =
        told(&facts).into_iter().filter(|(_, s)| *s == CheckStatus::Failed).map(|(id, _)| id).collect();
    assert!(alone.contains(&CheckId::Answers) && alone.contains(&CheckId::Workloads), "{alone:?}");
    assert!(!told(&facts).iter().any(|(_, status)| *status == CheckStatus::NotApplicable));
    facts.left_out.clear();
    // What another pod does not answer is no part of it.
    is_wrong(&mut facts, Component::Homer, About::Pod("homer-1".to_owned(), Part::Question(0)));
    assert!(told(&facts).contains(&(CheckId::Answers, CheckStatus::Failed)));
    // Where there is more to say of the pods, it is said.
    facts.parts.iter_mut().filter(|p| p.component == Component::Homer).for_each(|p| p.fix = Some("push it".into()));
    assert!(told(&facts).contains(&(CheckId::Workloads, CheckStatus::Failed)));
}

/// What ends because of what it stands on points there.
#[test]
fn what_stands_on_what_is_broken_points_to_it() {
    let mut facts = health();
    let program = |pod: &str, name: &str| About::Pod(pod.to_owned(), Part::Program(format!("clearwater-group:{name}")));
    is_wrong(&mut facts, Component::Homestead, program("homestead-0", "homestead"));
    let fix = |facts: &Facts| {
        let of = |l: &clearwater::event::CheckLine| l.id == CheckId::Programs && l.title.contains("homestead-0");
        lines(facts).into_iter().find(of).unwrap().fix.unwrap().to_string()
    };
    assert!(fix(&facts).contains("last lines of its log"), "{}", fix(&facts));
    is_wrong(&mut facts, Component::Cassandra, program("cassandra-0", "cassandra"));
    assert_eq!(fix(&facts), "it stands on Cassandra: put that right first");
}

#[test]
fn a_service_that_is_missing_is_told_once() {
    let mut facts = health();
    facts.snapshot.services.remove("sprout");
    part(&mut facts, Component::Sprout).stage = Stage::Settling;
    is_wrong(&mut facts, Component::Sprout, About::Pods);
    is_wrong(&mut facts, Component::Sprout, About::Pod("sprout-0".to_owned(), Part::Name("sprout.ims".to_owned())));
    inside(&mut facts, "bono-0").missing = vec![("upstream_hostname".to_owned(), "sprout.ims".to_owned())];
    let failed: Vec<_> = lines(&facts).into_iter().filter(|l| l.status == CheckStatus::Failed).collect();
    let [line] = &failed[..] else { panic!("{failed:?}") };
    assert!(line.id == CheckId::Workloads && line.detail.contains("no Service leads to its pods"), "{line:?}");
    assert!(told(&facts).contains(&(CheckId::Names, CheckStatus::NotApplicable)));
}

#[test]
fn an_end_for_want_of_memory_is_told_by_the_check_of_memory() {
    let mut facts = health();
    add(
        &mut facts,
        json!({"metadata": {"name": "homer-0", "uid": "homer-0", "labels": {"service": "homer"}},
            "spec": {"nodeName": "one", "containers": [{"name": "homer", "image": "x:hunter"}]},
            "status": {"phase": "Running", "containerStatuses": [{"name": "homer", "image": "", "imageID": "", "ready": true,
                "restartCount": 1, "state": {"running": {"startedAt": "1969-12-31T23:58:20Z"}},
                "lastState": {"terminated": {"exitCode": 137, "reason": "OOMKilled", "finishedAt": "1970-01-01T00:00:00Z"}}}]}}),
    );
    assert_eq!(
        told(&facts),
        [(CheckId::Memory, CheckStatus::Warning), (CheckId::Restarts, CheckStatus::NotApplicable)]
    );
}

/// etcd that hangs is told as that, and no list of a store.
#[test]
fn lists_that_etcd_does_not_tell_are_told_with_etcd() {
    let mut facts = health();
    is_wrong(&mut facts, Component::Etcd, About::Pod("etcd-0".to_owned(), Part::Question(1)));
    is_wrong(&mut facts, Component::Astaire, About::Members);
    facts.parts.iter_mut().filter(|p| p.component == Component::Astaire).for_each(|p| p.members_read = false);
    assert_eq!(told(&facts), [(CheckId::Answers, CheckStatus::Failed), (CheckId::Members, CheckStatus::NotApplicable)]);
}

/// A bono that answers nowhere is no matter of the address that it gives.
#[test]
fn a_bono_that_does_not_answer_is_told_once() {
    let mut facts = health();
    is_wrong(&mut facts, Component::Bono, About::Pod("bono-0".to_owned(), Part::Question(1)));
    facts.doors = vec![tried(DoorKind::Node, Knocked::Silent)];
    assert_eq!(
        told(&facts),
        [(CheckId::Answers, CheckStatus::Failed), (CheckId::PublicAddress, CheckStatus::NotApplicable)]
    );
    facts.doors = vec![tried(DoorKind::Node, Knocked::Answers)];
    facts.parts.iter_mut().for_each(|p| p.judged.problems.clear());
    let line = lines(&facts).into_iter().find(|l| l.id == CheckId::PublicAddress).unwrap();
    assert_eq!((line.status, line.detail.as_str()), (CheckStatus::Ok, "SIP is answered at 192.0.2.7:5060"));
}
