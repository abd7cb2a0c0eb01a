//! One fault is told once: by the check that is about it, and the others say where.

use clearwater::event::CheckLine;
use jiff::SignedDuration;

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

/// What does not serve because of what it stands on is told there.
#[test]
fn what_stands_on_what_is_broken_is_told_with_it() {
    let mut facts = health();
    let program = |pod: &str, name: &str| About::Pod(pod.to_owned(), Part::Program(format!("clearwater-group:{name}")));
    is_wrong(&mut facts, Component::Homestead, program("homestead-0", "homestead"));
    is_wrong(&mut facts, Component::HomesteadProv, About::Pod("homestead-prov-0".to_owned(), Part::Question(0)));
    is_wrong(&mut facts, Component::Ellis, About::Pod("ellis-0".to_owned(), Part::Question(0)));
    let failed = |facts: &Facts| -> Vec<CheckLine> {
        lines(facts).into_iter().filter(|l| l.status == CheckStatus::Failed).collect()
    };
    // homestead and homestead-prov each by itself; Ellis by homestead-prov.
    let ids: Vec<CheckId> = failed(&facts).iter().map(|l| l.id).collect();
    assert_eq!(ids, [CheckId::Programs, CheckId::Answers]);
    let fix = failed(&facts)[0].fix.clone().unwrap().to_string();
    assert!(fix.contains("last lines of its log"), "{fix}");
    assert!(failed(&facts)[1].detail.ends_with("; by it ellis cannot serve"), "{:?}", failed(&facts));
    is_wrong(&mut facts, Component::HomesteadProv, About::Pods);
    is_wrong(&mut facts, Component::Cassandra, program("cassandra-0", "cassandra"));
    let [one] = &failed(&facts)[..] else { panic!("{:#?}", failed(&facts)) };
    assert!(one.title.contains("cassandra-0"), "{one:?}");
    assert!(one.detail.ends_with("; by it homestead, homestead-prov, ellis cannot serve"), "{one:?}");
    // What somebody stopped is no consequence.
    part(&mut facts, Component::Homestead).problems[0].is_stopped = true;
    assert_eq!(failed(&facts).len(), 2, "{:#?}", failed(&facts));
}

/// Each pod finds nobody by it, which shows in every check.
#[test]
fn a_wrong_zone_is_told_once() {
    let wrong = "old.svc.cluster.local";
    let plant = |stands: &str| {
        let mut facts = health();
        facts.zone = ZoneSeen::of("ims", Some(stands.to_owned()), None);
        keep_on_volume(&mut facts, Component::Ellis);
        let all: Vec<Component> = facts.parts.iter().map(|part| part.component).collect();
        for component in all.into_iter().filter(|c| !c.is_store()) {
            let pod = format!("{component}-0");
            facts.zones.insert(pod.clone(), wrong.to_owned());
            inside(&mut facts, &pod).missing = vec![("sprout_hostname".to_owned(), format!("sprout.{wrong}"))];
            is_wrong(&mut facts, component, About::Pod(pod.clone(), Part::Zone));
            is_wrong(&mut facts, component, About::Pod(pod.clone(), Part::Name(format!("{component}.{wrong}"))));
            is_wrong(&mut facts, component, About::Pod(pod.clone(), Part::Question(0)));
            is_wrong(&mut facts, component, About::Pod(pod.clone(), Part::Program("group:it".to_owned())));
            is_wrong(&mut facts, component, About::Pods);
        }
        facts
    };
    let failed = |facts: &Facts| -> Vec<CheckLine> {
        lines(facts).into_iter().filter(|l| l.status >= CheckStatus::Warning).collect()
    };
    // What stands is wrong, and all run with it.
    let [one] = &failed(&plant(wrong))[..] else { panic!("{:#?}", failed(&plant(wrong))) };
    assert_eq!((one.id, one.title.as_str()), (CheckId::Zone, "a zone is set: configmap/env-vars, key ZONE"));
    assert!(
        one.detail.starts_with(&format!("it is {wrong}, and should be {ZONE}: these pods were started with {wrong}, ")),
        "{one:?}"
    );
    let fix = one.fix.clone().unwrap().to_string();
    assert!(
        fix.starts_with("bring the deployment up, and take over what others have changed, which writes it"),
        "{fix}"
    );
    assert!(
        fix.contains(&format!(r#"-p '{{"data":{{"ZONE":"{ZONE}"}}}}', then kubectl delete pod -n ims bono-0"#)),
        "{fix}"
    );
    // It was put right, and pods go on with what they were started with.
    let [one] = &failed(&plant(ZONE))[..] else { panic!("{:#?}", failed(&plant(ZONE))) };
    assert!(one.id == CheckId::Zone && one.detail.contains(&format!("were started with {wrong}")), "{one:?}");
    assert!(
        one.fix.clone().unwrap().to_string().starts_with("bring the deployment up, which starts them anew"),
        "{one:?}"
    );
    // The only member of a store is made anew, as nothing else would be done; one whose data is on a volume is replaced.
    let mut facts = plant(ZONE);
    facts.zones.insert("chronos-0".to_owned(), wrong.to_owned());
    facts.zones.insert("cassandra-0".to_owned(), wrong.to_owned());
    keep_on_volume(&mut facts, Component::Cassandra);
    let fix = failed(&facts)[0].fix.clone().unwrap().to_string();
    assert!(fix.contains("; chronos by take chronos down, then bring the deployment up (replacing its pods"), "{fix}");
    assert!(fix.contains("; cassandra by bring the deployment up, and have its stores replaced"), "{fix}");
    assert!(!fix.contains("kubectl delete pod"), "{fix}");
    // Who is not asked tells nothing.
    facts.left_out = [CheckId::Zone].into();
    assert!(failed(&facts).iter().any(|l| l.id == CheckId::Programs), "{:#?}", failed(&facts));
}

fn keep_on_volume(facts: &mut Facts, component: Component) {
    let mut kept = serde_json::to_value(pod(component, 0)).unwrap();
    kept["spec"]["volumes"] = json!([{"name": "data", "persistentVolumeClaim": {"claimName": "x"}}]);
    add(facts, kept);
}

/// Pods that were started without one hold names that nobody completes.
#[test]
fn a_zone_that_is_not_there_is_told_once() {
    let mut facts = health();
    facts.zone = ZoneSeen { stands: Some(String::new()), wanted: Some(ZONE.to_owned()) };
    facts.zones.clear();
    for pod in ["bono-0", "sprout-0", "homer-0"] {
        facts.zones.insert(pod.to_owned(), String::new());
        inside(&mut facts, pod).shared = settings(
            "home_domain=example.com\nsprout_hostname=sprout\ncassandra_hostname=cassandra\nhs_hostname=homestead:8888\n",
        );
    }
    is_wrong(&mut facts, Component::Bono, About::Pod("bono-0".to_owned(), Part::Question(1)));
    is_wrong(&mut facts, Component::Homer, About::Pod("homer-0".to_owned(), Part::Program("group:homer".to_owned())));
    is_wrong(&mut facts, Component::Homer, About::Pods);
    let bad = |facts: &Facts| -> Vec<CheckLine> {
        lines(facts).into_iter().filter(|l| l.status >= CheckStatus::Warning).collect()
    };
    let [one] = &bad(&facts)[..] else { panic!("{:#?}", bad(&facts)) };
    assert_eq!(
        one.detail,
        format!(
            "it is not there, and should be {ZONE}: these pods were started with none, and find nobody: bono-0, homer-0, sprout-0"
        )
    );
    // Whatever it should be, it is one fault.
    let mut facts = health();
    facts.zone = ZoneSeen { stands: Some(String::new()), wanted: None };
    facts.zones.clear();
    let [one] = &bad(&facts)[..] else { panic!("{:#?}", bad(&facts)) };
    assert!(
        one.id == CheckId::Zone && one.detail.starts_with("it is not there: no pod was started with it yet"),
        "{one:?}"
    );
    assert!(!one.fix.clone().unwrap().to_string().contains("kubectl patch"), "{one:?}");
}

/// The others wait for it: that their pods are not ready, and what does not run in these, follows.
#[test]
fn a_dead_member_is_told_once() {
    let mut facts = health();
    let problems = [
        (About::Pods, "0 of 1 pod ready"),
        (About::Pod("chronos-0".to_owned(), Part::Program("group:chronos".to_owned())), "it does not run"),
        (About::Members, "Chronos does not have 10.0.0.9 (chronos-0) as a member yet"),
        (About::Members, "Chronos member 10.0.0.1 is \"normal\" and no pod has that address"),
    ];
    let judged = part(&mut facts, Component::Chronos);
    judged.stage = Stage::Starting;
    judged.problems = problems.map(|(about, text)| Finding::new(about, text)).into();
    let bad: Vec<CheckLine> = lines(&facts).into_iter().filter(|l| l.status >= CheckStatus::Warning).collect();
    let [one] = &bad[..] else { panic!("{bad:#?}") };
    assert_eq!((one.id, one.title.as_str()), (CheckId::Members, "lists of members: chronos"));
    assert!(one.detail.contains("(chronos-0) as a member yet; Chronos member 10.0.0.1 is"), "{one:?}");
    assert!(one.fix.clone().unwrap().to_string().contains("bring the deployment up marks each"), "{one:?}");
}

/// A zone that is not below the cluster's own domain may be one's own, unless nothing of it is found.
#[test]
fn pods_tell_which_zone_is_right_where_nothing_is_found_in_the_one_that_stands() {
    use crate::check::facts::told_by_pods;
    use crate::observe::Observation;
    use crate::observe::report::{Report, Tally};

    let wanted = |well: u32| {
        let mut seen = Observation::default();
        let report = Report { names: Tally { well, put: 10 }, ..Report::default() };
        seen.reports.insert("u".to_owned(), report);
        let mut zone = ZoneSeen::of("ims", Some("ims.svc.cluster.lokal".to_owned()), None);
        told_by_pods(&mut zone, &health().inside, &seen, "ims");
        zone.wanted
    };
    assert_eq!(wanted(0).as_deref(), Some(ZONE));
    assert_eq!(wanted(1), None);
}

/// Why a pod does not come, how many lack for it, and what its image is called are one fault.
#[test]
fn an_image_that_cannot_be_pulled_is_told_once() {
    let mut facts = health();
    is_wrong(&mut facts, Component::Bono, About::Pods);
    part(&mut facts, Component::Bono).problems.push(Finding::new(About::Pods, "0 of 1 pod ready"));
    facts.parts.iter_mut().filter(|p| p.component == Component::Bono).for_each(|p| p.fix = Some("push it".into()));
    add(
        &mut facts,
        json!({"metadata": {"name": "bono-1", "uid": "bono-1", "labels": {"service": "bono"}},
            "spec": {"nodeName": "one", "containers": [{"name": "bono", "image": "x:mistyped"}]},
            "status": {"phase": "Pending", "containerStatuses": [{"name": "bono", "image": "x:mistyped", "imageID": "",
                "ready": false, "restartCount": 0, "state": {"waiting": {"reason": "ImagePullBackOff"}}}]}}),
    );
    let bad: Vec<CheckLine> = lines(&facts).into_iter().filter(|l| l.status >= CheckStatus::Warning).collect();
    let [one] = &bad[..] else { panic!("{bad:#?}") };
    assert_eq!((one.id, one.detail.as_str()), (CheckId::Workloads, "what was seen; 0 of 1 pod ready"));
    assert_eq!(one.fix, Some("push it".into()));
}

#[test]
fn a_pod_that_waits_for_a_cordoned_node_is_told_once_with_what_lets_it_run() {
    let mut facts = health();
    let why = "not scheduled: 0/2 nodes are available: 2 node(s) were unschedulable.";
    part(&mut facts, Component::Bono).problems.push(Finding::new(About::Pods, why));
    is_wrong(&mut facts, Component::Bono, About::Pods);
    let mut cordoned = node("two", "6.1.0", "True");
    cordoned.spec = Some(object(json!({"unschedulable": true})));
    facts.nodes = Ok(vec![node("one", "6.1.0", "True"), cordoned]);
    let bad: Vec<CheckLine> = lines(&facts).into_iter().filter(|l| l.status >= CheckStatus::Warning).collect();
    let [one] = &bad[..] else { panic!("{bad:#?}") };
    let fix = one.fix.clone().unwrap().to_string();
    assert!(one.id == CheckId::Workloads && fix.starts_with("kubectl uncordon two"), "{one:?}");
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

/// A Service whose selector was changed leads nowhere, and its name has no address: what names it is right.
#[test]
fn a_service_that_leads_to_nobody_is_told_once() {
    let mut facts = health();
    part(&mut facts, Component::Sprout).stage = Stage::Settling;
    part(&mut facts, Component::Sprout)
        .problems
        .push(Finding::new(About::Pods, "0 of 1 endpoint of Service sprout is ready"));
    is_wrong(&mut facts, Component::Sprout, About::Pod("sprout-0".to_owned(), Part::Name("sprout.ims".to_owned())));
    inside(&mut facts, "bono-0").missing = vec![("upstream_hostname".to_owned(), "sprout.ims".to_owned())];
    assert_eq!(told(&facts), [(CheckId::Workloads, CheckStatus::Failed), (CheckId::Names, CheckStatus::NotApplicable)]);
    // What names another than the Service that leads there is wrong by itself.
    facts.parts.iter_mut().for_each(|p| p.judged.problems.clear());
    assert_eq!(told(&facts), [(CheckId::Names, CheckStatus::Failed)]);
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
    let told_of_etcd = lines(&facts).into_iter().find(|l| l.status == CheckStatus::Failed).unwrap();
    assert!(
        told_of_etcd.detail.ends_with("; by it no member of astaire joins, leaves or hears of others"),
        "{told_of_etcd:?}"
    );
    assert_eq!(told(&facts), [(CheckId::Answers, CheckStatus::Failed), (CheckId::Members, CheckStatus::NotApplicable)]);
}

/// What one writes another does not know, with or without volumes.
#[test]
fn several_etcds_of_their_own_are_told_as_that() {
    let several = |cluster: &str| {
        let mut facts = health();
        for n in 0..3 {
            let mut etcd = serde_json::to_value(pod(Component::Etcd, n)).unwrap();
            etcd["spec"]["containers"][0]["args"] = json!([format!("--initial-cluster={cluster}"), "--name=etcd0"]);
            add(&mut facts, etcd);
        }
        lines(&facts).into_iter().find(|l| l.id == CheckId::EtcdData).unwrap()
    };
    let own = several("etcd0=http://etcd:2380");
    assert_eq!((own.status, own.fix.unwrap().to_string().as_str()), (CheckStatus::Failed, "scale etcd to 1"));
    assert_eq!(several("etcd-0=http://a:2380,etcd-1=http://b:2380,etcd-2=http://c:2380").status, CheckStatus::Warning);
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

/// An `up` makes the claim first: to delete it then would harm what is coming.
#[test]
fn a_claim_that_is_being_made_is_no_leftover() {
    let mut facts = health();
    facts.snapshot.absorb(WatchEvent::StatefulSet(Update::All(Vec::new())));
    let of = |phase: &str, made: Timestamp| -> PersistentVolumeClaim {
        object(json!({"metadata": {"name": "data-etcd-0", "labels": {"service": "etcd"},
            "creationTimestamp": made.to_string()}, "status": {"phase": phase}}))
    };
    let old = facts.at - SignedDuration::from_hours(1);
    for (phase, made, is_left) in
        [("Bound", old, true), ("Bound", facts.at - SignedDuration::from_mins(1), false), ("Pending", old, false)]
    {
        facts.claims = Ok(vec![of(phase, made)]);
        let told = lines(&facts).iter().any(|l| l.id == CheckId::Leftovers && l.status == CheckStatus::Warning);
        assert_eq!(told, is_left, "{phase} since {made}");
    }
}
