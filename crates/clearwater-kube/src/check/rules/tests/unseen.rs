//! What could not be seen is said by who needed it, and hides nothing.

use super::*;

#[test]
fn what_could_not_be_seen_is_said_by_the_check_that_needs_it() {
    #[expect(clippy::type_complexity, reason = "a table")]
    let cannot: [(fn(&mut Facts), &[CheckId]); 17] = [
        (
            |f| {
                f.snapshot.denied.insert(Kind::StatefulSet);
            },
            &[CheckId::Workloads, CheckId::Revision],
        ),
        (
            |f| {
                f.snapshot.denied.insert(Kind::Event);
            },
            &[CheckId::Workloads],
        ),
        // What stands and does not run could not be asked.
        (
            |f| {
                f.inside.remove("ellis-0");
            },
            &[CheckId::Numbers],
        ),
        // Who cannot say which programs run is wrong itself.
        (
            |f| {
                is_wrong(f, Component::Homer, of_pod(Part::Programs));
                part(f, Component::Homer).unchecked.push("programs: the socket is gone".to_owned());
            },
            &[CheckId::Supervisor, CheckId::Programs],
        ),
        (|f| f.nodes = Err("needs list nodes".to_owned()), &[CheckId::Nodes, CheckId::Kernel]),
        (|f| f.secrets_unread = Some("needs get secrets".to_owned()), &[CheckId::Revision]),
        (|f| f.claims = Err("needs list persistentvolumeclaims".to_owned()), &[CheckId::Leftovers]),
        (
            |f| {
                f.snapshot.denied.insert(Kind::Service);
            },
            &[CheckId::LoadBalancer, CheckId::Turn, CheckId::Alias],
        ),
        (
            |f| part(f, Component::Homer).unchecked.push("programs: needs get pods/exec".to_owned()),
            &[CheckId::Supervisor, CheckId::Programs],
        ),
        (
            |f| {
                is_wrong(f, Component::Homer, of_pod(Part::Reach));
            },
            &[CheckId::Answers],
        ),
        (|f| is_wrong(f, Component::Homer, of_pod(Part::NotAsked)), &[CheckId::Answers]),
        // No pod of etcd is ready to be asked.
        (
            |f| {
                is_wrong(f, Component::Astaire, About::Members);
                f.parts.iter_mut().for_each(|p| p.members_read = false);
            },
            &[CheckId::Members],
        ),
        // Who is inside of the cluster does not see what whoever is outside does.
        (|f| f.doors = vec![tried(DoorKind::Given, Knocked::Closed)], &[CheckId::PublicAddress]),
        (|f| f.doors = vec![tried(DoorKind::Given, Knocked::Silent)], &[CheckId::PublicAddress]),
        (
            |f| {
                let door = tried(DoorKind::Given, Knocked::Closed).door;
                f.doors = vec![Tried { door, knocked: Err("no answer in time".to_owned()) }];
            },
            &[CheckId::PublicAddress],
        ),
        (
            |f| {
                let all = [CheckId::Supervisor, CheckId::Programs, CheckId::Names];
                f.parts[3].unheard = all.map(|id| (id, "the way is broken".to_owned())).into();
            },
            &[CheckId::Supervisor, CheckId::Programs, CheckId::Names],
        ),
        (
            |f| {
                let mute = Unasked::left_out("needs get and create pods/exec");
                f.inside.insert("ellis-0".to_owned(), (Component::Ellis, Err(mute)));
            },
            &[
                CheckId::Names,
                CheckId::Nofile,
                CheckId::Clock,
                CheckId::Disk,
                CheckId::Usage,
                CheckId::Resolver,
                CheckId::Zone,
                CheckId::Hostnames,
                CheckId::Keys,
                CheckId::LogLevel,
                CheckId::Numbers,
            ],
        ),
    ];
    for (hide, ids) in cannot {
        let mut facts = health();
        hide(&mut facts);
        let seen: BTreeSet<_> = found(&facts).into_iter().filter(|(_, status)| !status.is_known()).collect();
        assert_eq!(seen, ids.iter().map(|id| (*id, CheckStatus::Skipped)).collect());
    }
}

/// What was scaled to 0 is told with its workload, and nothing that would be asked of it waits for an answer.
#[test]
fn what_was_scaled_to_0_has_nothing_to_look_at() {
    for (component, asked) in [
        (Component::Cassandra, &[CheckId::Ipv6][..]),
        (Component::Ellis, &[CheckId::Numbers]),
        (Component::Sprout, &[CheckId::Uris, CheckId::Alias]),
    ] {
        let mut facts = health();
        facts.inside.remove(&format!("{component}-0"));
        facts.zones.remove(&format!("{component}-0"));
        let of = |facts: &Facts, id| lines(facts).into_iter().find(|l| l.id == id).unwrap();
        for id in asked {
            assert_eq!(of(&facts, *id).status, CheckStatus::Skipped, "it stands and does not run: {id}");
        }
        let told = format!("scaled to 0, so that nothing of it runs: statefulset/{component}");
        facts.parts.iter_mut().find(|p| p.component == component).unwrap().scaled_to_0 = Some(told.clone());
        for id in asked {
            let line = of(&facts, *id);
            assert_eq!((line.status, line.detail), (CheckStatus::NotApplicable, told.clone()), "{id}");
        }
        assert!(lines(&facts).iter().all(|l| l.status.is_known()), "{component}");
    }
    // Nor can an etcd be asked for members that is not to run.
    let mut facts = health();
    is_wrong(&mut facts, Component::Astaire, About::Members);
    facts.parts.iter_mut().for_each(|p| p.members_read = false);
    assert!(found(&facts).contains(&(CheckId::Members, CheckStatus::Skipped)));
    let etcd = facts.parts.iter_mut().find(|p| p.component == Component::Etcd).unwrap();
    etcd.scaled_to_0 = Some("scaled to 0".to_owned());
    assert_eq!(found(&facts), [(CheckId::Members, CheckStatus::NotApplicable)]);
}

/// A name without a ready pod behind it leads nowhere by right.
#[test]
fn a_name_of_what_has_no_ready_pod_is_no_fault_of_who_holds_it() {
    let mut facts = health();
    inside(&mut facts, "bono-0").missing = vec![("upstream_hostname".to_owned(), "icscf.sprout.x".to_owned())];
    part(&mut facts, Component::Sprout).ready = 1;
    assert!(found(&facts).contains(&(CheckId::Names, CheckStatus::Failed)));
    part(&mut facts, Component::Sprout).ready = 0;
    assert!(!found(&facts).contains(&(CheckId::Names, CheckStatus::Failed)));
}

/// That one pod could not be asked says nothing of another that was.
#[test]
fn what_is_unseen_hides_nothing_that_was_seen() {
    let mut facts = health();
    is_wrong(&mut facts, Component::Homer, About::Pod("homer-0".to_owned(), Part::Reach));
    is_wrong(&mut facts, Component::Homer, About::Pod("homer-1".to_owned(), Part::Program("homer".to_owned())));
    is_wrong(&mut facts, Component::Homer, About::Pod("homer-2".to_owned(), Part::Question(0)));
    let failed = |id| (id, CheckStatus::Failed);
    let (programs, answers) = (failed(CheckId::Programs), failed(CheckId::Answers));
    assert_eq!(found(&facts), [programs, answers, (CheckId::Answers, CheckStatus::Skipped)]);
}

/// Who could not be heard may be heard at another look; who may not be asked may not.
#[test]
fn a_lost_word_is_asked_for_again() {
    let mut facts = health();
    assert!(!facts.lost_a_word());
    facts.inside.insert("ellis-0".to_owned(), (Component::Ellis, Err(Unasked::left_out("needs create pods/exec"))));
    assert!(!facts.lost_a_word());
    facts.inside.insert("ellis-0".to_owned(), (Component::Ellis, Err(Unasked::failed("the shell ended"))));
    assert!(facts.lost_a_word());
    let mut facts = health();
    is_wrong(&mut facts, Component::Homer, of_pod(Part::Reach));
    assert!(facts.lost_a_word());
}

/// Each reason counts, and is told once.
#[test]
fn several_reasons_are_counted() {
    let mut facts = health();
    let late = |pod: &str| Err(Unasked::failed(format!("pod {pod}: no answer in time")));
    for (pod, component) in [("bono-0", Component::Bono), ("ellis-0", Component::Ellis), ("homer-0", Component::Homer)]
    {
        facts.inside.insert(pod.to_owned(), (component, late(pod)));
    }
    let said = lines(&facts).into_iter().find(|l| l.id == CheckId::Disk).unwrap();
    assert_eq!(said.detail, "pod bono-0: no answer in time (and 2 more)");
}
