//! Whether the components serve: what their pods, their programs and the stores' lists say.

use std::collections::{BTreeMap, BTreeSet};

use clearwater::component::{Component, catalogue, entry};
use clearwater::config::HostSetting;
use clearwater::event::{CheckId, CheckLine, CheckStatus};
use clearwater::order::{Graph, Subscribers};
use clearwater::remedy::{NamesDeed, Remedy, StoppedProgram};
use clearwater::text::counted;
use k8s_openapi::api::core::v1::{Node, Pod};

use super::super::facts::{Facts, JudgedComponent};
use super::objects::{no_services, no_workloads, old_kernel, services};
use super::{Said, hung};
use crate::judge::said::Meaning;
use crate::judge::{About, Stage, rollout};
use crate::observe::finding::{Finding, Part};
use crate::observe::report::is_kept_out;
use crate::observe::snapshot::Kind;
use crate::pod::is_silence;
use crate::pod::object::pod_is_ready;

/// Which check a problem belongs to.
const fn check(about: &About) -> CheckId {
    match about {
        About::Pods => CheckId::Workloads,
        About::Members => CheckId::Members,
        About::Pod(_, Part::Programs) => CheckId::Supervisor,
        About::Pod(_, Part::Program(_)) => CheckId::Programs,
        About::Pod(_, Part::Name(_)) => CheckId::Names,
        About::Pod(_, Part::Zone) => CheckId::Zone,
        About::Pod(_, Part::Question(_) | Part::Reach | Part::NotAsked) => CheckId::Answers,
    }
}

/// Which checks one that could not be made belongs to, by its first word.
fn unmade(what: &str) -> &'static [CheckId] {
    match what.split([':', ' ']).next() {
        // It is supervisord that says of the programs whether they run.
        Some("programs") => &[CheckId::Supervisor, CheckId::Programs],
        Some("name") => &[CheckId::Names],
        Some("members") => &[CheckId::Members],
        Some("endpoints") => &[CheckId::Workloads],
        _ => &[CheckId::Answers],
    }
}

/// Whether a pod's node has a kernel whose overlay file systems break supervisord's socket.
fn has_old_kernel(facts: &Facts, pod: &str) -> bool {
    let node = facts.pod(pod).and_then(|pod| pod.spec.as_ref()?.node_name.as_deref());
    let nodes = facts.nodes.as_deref().unwrap_or_default();
    nodes.iter().any(|n| n.metadata.name.as_deref() == node && old_kernel(n).is_some())
}

/// What a component answers by: where that is broken, so is it.
const fn grounds(component: Component) -> &'static [Component] {
    match component {
        Component::Homestead | Component::HomesteadProv | Component::Homer => &[Component::Cassandra],
        Component::Ellis => &[Component::HomesteadProv, Component::Homer],
        _ => &[],
    }
}

/// What a component stands on that is broken by itself, and which check tells that.
fn broken_ground(component: Component, facts: &Facts) -> Option<(Component, CheckId)> {
    grounds(component).iter().find_map(|ground| {
        let part = facts.part(*ground)?;
        let is_broken = |p: &&Finding<About>| {
            !is_unseen(part, &p.about, facts)
                && !matches!(p.about, About::Members | About::Pod(_, Part::Name(_) | Part::Zone))
        };
        let problem = part.judged.problems.iter().find(is_broken)?;
        let told = || told_by(part, problem, facts).unwrap_or_else(|| check(&problem.about));
        Some(broken_ground(*ground, facts).unwrap_or_else(|| (*ground, told())))
    })
}

/// What to do first where a component is unwell by what it stands on.
fn stands_on(component: Component, facts: &Facts) -> Option<Remedy> {
    let is_well = |other: &Component| {
        facts.parts.iter().any(|part| part.component == *other && part.judged.problems.is_empty() && !part.unreached)
    };
    let unwell: Vec<&str> = grounds(component).iter().filter(|c| !is_well(c)).map(|c| c.name()).collect();
    (!unwell.is_empty()).then(|| format!("it stands on {}: put that right first", unwell.join(" and ")).into())
}

/// The nodes that somebody cordoned, as far as they are seen.
fn cordoned(facts: &Facts) -> Vec<&str> {
    let nodes = facts.nodes.as_deref().unwrap_or_default();
    let is = |node: &&Node| node.spec.as_ref().is_some_and(|spec| spec.unschedulable == Some(true));
    nodes.iter().filter(is).filter_map(|node| node.metadata.name.as_deref()).collect()
}

/// Whether a pod finds no node because of those.
fn is_cordoned(problem: &Finding<About>, facts: &Facts) -> bool {
    Meaning::Cordoned.is_in(&problem.text) && !cordoned(facts).is_empty()
}

fn uncordon(facts: &Facts) -> Remedy {
    let nodes = cordoned(facts);
    let which = if nodes.len() > 1 { ", one of them or all" } else { "" };
    format!("kubectl uncordon {}{which}: somebody cordoned it, and no other node has room", nodes.join(" ")).into()
}

fn fix(id: CheckId, part: &JudgedComponent, problem: &Finding<About>, facts: &Facts) -> Remedy {
    let told_by = |words: &str| Remedy::sentence([words.into(), Remedy::Status]);
    match id {
        CheckId::Workloads if is_cordoned(problem, facts) => uncordon(facts),
        CheckId::Workloads if part.fix.is_some() => part.fix.clone().unwrap_or(Remedy::Status),
        CheckId::Workloads => {
            let why = told_by("see why: ");
            Remedy::any([why, Remedy::BringUp.then(", which says why and repairs what it can")])
        }
        CheckId::Members => Remedy::sentence([
            "a member that went without leaving keeps others from joining: ".into(),
            Remedy::BringUp,
            " marks each that no pod stands behind as failed, and says so".into(),
        ]),
        CheckId::Supervisor if is_silence(&problem.text) => match &problem.about {
            About::Pod(pod, _) => hung::of_container(facts, part.component, pod),
            _ => told_by("see what its container says: "),
        },
        CheckId::Supervisor if !matches!(&problem.about, About::Pod(pod, _) if has_old_kernel(facts, pod)) => {
            told_by("see what its container says: ")
        }
        CheckId::Supervisor => {
            "supervisord's socket does not work on overlay file systems of kernels before 4: take nodes \
            with a newer kernel and overlay2"
                .into()
        }
        CheckId::Programs if problem.is_stopped => match &problem.about {
            About::Pod(pod, Part::Program(program)) => {
                let namespace = facts.pod(pod).and_then(|p| p.metadata.namespace.clone()).unwrap_or_default();
                Remedy::StartProgram(Box::new(StoppedProgram { namespace, pod: pod.clone(), program: program.clone() }))
            }
            _ => told_by("see what its container says: "),
        },
        CheckId::Programs if is_kept_out(&problem.text) => match &problem.about {
            About::Pod(pod, Part::Program(program)) => hung::at_program(facts, part.component, pod, program),
            _ => told_by("see the last lines of its log: "),
        },
        CheckId::Programs => {
            stands_on(part.component, facts).unwrap_or_else(|| told_by("see the last lines of its log: "))
        }
        CheckId::Names => NamesDeed::Explain.into(),
        // Its other question is not answered by what hangs.
        _ if part.component == Component::Cassandra && matches!(problem.about, About::Pod(_, Part::Question(0))) => {
            "9160 never opens where rpc_address is ::0 and IPv6 is off, or while it cannot join".into()
        }
        _ => stands_on(part.component, facts).unwrap_or_else(|| {
            let look = told_by("see what it stands on: ");
            match &problem.about {
                About::Pod(pod, Part::Question(place)) => {
                    let end = hung::at_question(facts, part.component, pod, *place);
                    if is_silence(&problem.text) { end } else { Remedy::any([look, end.after("where it hangs, ")]) }
                }
                _ => look,
            }
        }),
    }
}

/// Whether a question was not put, or not to its end: that says nothing of whom it was for, and hides nothing of the others.
fn is_unseen(part: &JudgedComponent, about: &About, facts: &Facts) -> bool {
    match about {
        About::Pod(_, Part::Reach | Part::NotAsked) => true,
        About::Members => !part.members_read && (part.unreached || facts.snapshot.etcd_pod().is_none()),
        _ => false,
    }
}

/// Which check tells the fault that this problem comes of, where another one does.
fn told_by(part: &JudgedComponent, problem: &Finding<About>, facts: &Facts) -> Option<CheckId> {
    let by_zone = |pod: &String| facts.is_told_by_zone(pod);
    // Whoever stops a program does so whatever it stands on, and pods that do not come have reasons of their own.
    let by_ground = || broken_ground(part.component, facts).map(|(_, id)| id).filter(|_| !problem.is_stopped);
    match &problem.about {
        // It looks for others where nobody is.
        About::Pod(pod, Part::Question(_) | Part::Program(_)) if by_zone(pod) => Some(CheckId::Zone),
        About::Pod(pod, Part::Name(_)) if by_zone(pod) || facts.zone.is_wrong() => Some(CheckId::Zone),
        // What waits for a member that is gone runs when it has joined.
        About::Pods if part.fix.is_none() && waits_to_join(part) => Some(CheckId::Members),
        About::Pod(pod, _)
            if !problem.is_stopped && waits_to_join(part) && facts.pod(pod).is_some_and(|p| !pod_is_ready(p)) =>
        {
            Some(CheckId::Members)
        }
        About::Pods if part.fix.is_none() && !part.component.is_store() && lacks_zone(part, facts) => {
            Some(CheckId::Zone)
        }
        About::Pod(pod, Part::Question(_)) => by_ground().or_else(|| facts.broken(pod)),
        About::Pod(_, Part::Program(_)) => by_ground(),
        About::Pod(_, Part::Name(_)) => is_led_past(facts, part.component).then_some(CheckId::Workloads),
        // That no Service leads there is told by itself.
        About::Pods if part.judged.stage >= Stage::Settling && lacks_service(facts, part.component) => {
            Some(CheckId::Workloads)
        }
        // A pod is not ready by what does not run in it.
        About::Pods if part.fix.is_none() => {
            let others = || part.judged.problems.iter();
            // They run, and cannot answer.
            let runs = |pod: &&Pod| pod.status.as_ref().is_some_and(|s| s.phase.as_deref() == Some("Running"));
            let all_run = facts.pods(part.component).iter().all(runs);
            let by_ground = by_ground().filter(|_| all_run && !others().any(|other| other.is_stopped));
            by_ground.or_else(|| {
                others().find_map(|other| match &other.about {
                    About::Pod(pod, _) => facts.broken(pod),
                    _ => None,
                })
            })
        }
        About::Members => {
            let etcd = facts.part(Component::Etcd).filter(|_| !part.members_read)?;
            if etcd.scaled_to_0.is_some() {
                return Some(CheckId::Workloads);
            }
            let is_mute = etcd.judged.problems.iter().any(|p| check(&p.about) == CheckId::Answers);
            is_mute.then_some(CheckId::Answers)
        }
        _ => None,
    }
}

/// Whether pods of a store do not come because a member keeps them from joining.
fn waits_to_join(part: &JudgedComponent) -> bool {
    part.judged.stage == Stage::Starting && part.judged.problems.iter().any(|p| p.about == About::Members)
}

/// Whether a pod of a component looks names up in another zone.
fn lacks_zone(part: &JudgedComponent, facts: &Facts) -> bool {
    facts
        .pods(part.component)
        .iter()
        .any(|pod| facts.other_zone(pod.metadata.name.as_deref().unwrap_or_default()).is_some())
}

/// Who does not serve because of what is broken in a component.
fn also_broken(ground: Component, facts: &Facts) -> String {
    if ground == Component::Etcd {
        let clustered = |c: Component| entry(facts.release, c).is_some_and(|e| e.clustering.is_some());
        let unread = facts.parts.iter().filter(|part| clustered(part.component) && !part.members_read);
        let all: Vec<&str> = unread.map(|part| part.component.name()).collect();
        let who = all.join(", ");
        return if all.is_empty() {
            who
        } else {
            format!("; by it no member of {who} joins, leaves or hears of others")
        };
    }
    let by_it = |part: &&JudgedComponent| {
        !part.judged.problems.is_empty() && broken_ground(part.component, facts).is_some_and(|(of, _)| of == ground)
    };
    let all: Vec<&str> = facts.parts.iter().filter(by_it).map(|part| part.component.name()).collect();
    if all.is_empty() { String::new() } else { format!("; by it {} cannot serve", all.join(", ")) }
}

/// What a component is asked for its health, by its place in the catalogue.
fn asked(facts: &Facts, component: Component, place: usize) -> String {
    let question = entry(facts.release, component).and_then(|entry| entry.health.get(place));
    question.map_or_else(|| "its health".to_owned(), |question| question.asks.to_string())
}

fn take(said: &mut Said, part: &JudgedComponent, facts: &Facts) {
    let id = said.id;
    let mut whole: Option<Finding<About>> = None;
    let also = also_broken(part.component, facts);
    for problem in part.judged.problems.iter().filter(|p| check(&p.about) == id) {
        if let Some(other) = told_by(part, problem, facts).filter(|other| facts.tells(*other)) {
            said.told_by(other);
            continue;
        }
        if is_unseen(part, &problem.about, facts) {
            said.unseen(problem.text.clone());
            continue;
        }
        let about = match &problem.about {
            // Why pods do not come, and how many lack for it, are one fault; so are a member that is gone and who waits for it.
            About::Pods | About::Members => {
                match &mut whole {
                    Some(told) => told.text = format!("{}; {}", told.text, problem.text),
                    None => whole = Some(problem.clone()),
                }
                continue;
            }
            About::Pod(pod, Part::Program(program)) => format!("{pod}, {program}"),
            About::Pod(pod, Part::Question(n)) => format!("{pod}, {}", asked(facts, part.component, *n)),
            About::Pod(pod, Part::Name(asked)) => format!("{pod}, {asked}"),
            About::Pod(pod, _) => pod.clone(),
        };
        said.wrong(CheckStatus::Failed, &about, format!("{}{also}", problem.text), fix(id, part, problem, facts));
    }
    if let Some(told) = whole {
        said.wrong(
            CheckStatus::Failed,
            part.component.name(),
            format!("{}{also}", told.text),
            fix(id, part, &told, facts),
        );
    }
    if let Some(why) = part.unheard.get(&id) {
        said.unseen(why.clone());
    }
    for what in part.judged.unchecked.iter().filter(|what| unmade(what).contains(&id)) {
        said.unseen(what.clone());
    }
    if id == CheckId::Programs
        && let Some(mute) = part.judged.problems.iter().find(|p| check(&p.about) == CheckId::Supervisor)
    {
        said.unseen(format!("supervisord does not say: {}", mute.text));
    }
}

/// Whether no call goes through without it: billing, provisioning, service settings and self-care are aside.
const fn is_for_calls(component: Component) -> bool {
    !matches!(component, Component::Ralf | Component::HomesteadProv | Component::Homer | Component::Ellis)
}

/// What the workloads are to be, where that may not be seen, and Services that nobody is led by any more.
fn workloads(said: &mut Said, facts: &Facts) {
    if let Some(why) = no_workloads(facts) {
        said.unseen(why);
    }
    if let Some(why) = facts.snapshot.blind(Kind::Event) {
        said.unseen(format!("why pods wait and what was refused: {why}"));
    }
    // An `up` that was interrupted, or a `down` of a part, leaves something behind in which all is well.
    let stands = |component: &Component| facts.parts.iter().any(|part| part.component == *component);
    let components = catalogue(facts.release).iter().map(|e| e.component);
    let missing: Vec<&str> = components.filter(|c| is_for_calls(*c) && !stands(c)).map(Component::name).collect();
    if !missing.is_empty() && !facts.parts.is_empty() {
        let detail = format!("calls need what does not stand: {}", missing.join(", "));
        said.wrong(CheckStatus::Warning, "a part of an exchange", detail, Remedy::BringUp);
    }
    for component in facts.parts.iter().map(|part| part.component).filter(|c| lacks_service(facts, *c)) {
        let detail = "no Service leads to its pods: nobody finds them";
        said.wrong(CheckStatus::Failed, component.name(), detail, Remedy::BringUp);
    }
}

/// Whether it is seen that no Service leads to a component.
fn lacks_service(facts: &Facts, component: Component) -> bool {
    no_services(facts).is_none()
        && !services(facts).any(|(_, of, _)| of == component)
        && !facts.snapshot.services.contains_key(component.name())
}

/// Whether no Service leads to a component's pods, or one that leads past all of them: its name has no address then.
fn is_led_past(facts: &Facts, component: Component) -> bool {
    let lacks = |part: &JudgedComponent| part.judged.problems.iter().any(|problem| problem.about == About::Pods);
    let leads_nowhere = || rollout::ready_endpoints(facts.snapshot.slices_of(component.name())) == 0;
    lacks_service(facts, component) || facts.part(component).is_some_and(lacks) && leads_nowhere()
}

/// The names that containers' own settings hold, of components that stand and that they connect to.
fn configured_names(said: &mut Said, facts: &Facts) {
    let graph = Graph::clearwater(facts.release, Subscribers::BuiltIn);
    // A Service without a ready pod has no address: that is told of the component, and no fault of who names it.
    let is_there =
        |component: Component| facts.parts.iter().any(|part| part.component == component && part.judged.ready > 0);
    let connects = |from: Component, to: Component| {
        // Its functions find each other by URIs.
        from == to || graph.edges().any(|e| e.from == from.name() && e.to == to.name() && e.is_hard())
    };
    for (pod, from, inside) in facts.said(|_| true) {
        for (key, name) in &inside.missing {
            if facts.is_told_by_zone(pod) {
                said.told_by(CheckId::Zone);
                continue;
            }
            let named = HostSetting::component(key).filter(|to| is_there(*to) && connects(from, *to));
            if facts.tells(CheckId::Workloads) && named.is_some_and(|to| is_led_past(facts, to)) {
                said.told_by(CheckId::Workloads);
            } else if named.is_some() {
                let detail = format!("{name}, which it names, is not found from inside of the pod");
                let fix = "correct it in shared_config, or delete the pod: one that starts writes it anew";
                said.wrong(CheckStatus::Failed, &format!("{pod}, {key}"), detail, fix);
            }
        }
    }
    facts.unsaid(|_| true).for_each(|why| said.unseen(why));
}

/// Names that lead elsewhere where search domains are put behind them: a wildcard in a domain of the nodes answers for
/// whatever stands before it.
fn astray_names(said: &mut Said, facts: &Facts) {
    let mut seen: BTreeMap<&str, (&str, &str, BTreeSet<&str>)> = BTreeMap::new();
    for (pod, _, inside) in facts.said(|_| true) {
        for astray in &inside.astray {
            let domain = astray.domain.as_deref().unwrap_or("a search domain of the pods");
            let (.., names) = seen.entry(domain).or_insert((pod, &astray.address, BTreeSet::new()));
            names.insert(&astray.name);
        }
    }
    for (domain, (pod, address, names)) in seen {
        let names: Vec<&str> = names.into_iter().collect();
        let detail = format!(
            "it answers for {}, which lead to {address} where what asks follows the pod's resolv.conf (nginx, Python, Java): \
             seen in pod {pod}",
            names.join(", ")
        );
        let fix = Remedy::any([
            format!(
                "take {domain} out of the search list of the nodes (the kubelets' resolvConf), and delete the pods"
            ),
            "take the wildcard record out of that domain".to_owned(),
        ]);
        said.wrong(CheckStatus::Failed, domain, detail, fix);
    }
}

fn well(id: CheckId, facts: &Facts) -> String {
    match id {
        CheckId::Workloads => {
            let ready: u32 = facts.parts.iter().map(|p| p.judged.ready).sum();
            format!("{}, {}", counted(facts.parts.len(), "component"), counted(ready, "pod"))
        }
        CheckId::Members => {
            let clustered = |c: Component| entry(facts.release, c).is_some_and(|e| e.clustering.is_some());
            match facts.parts.iter().filter(|p| clustered(p.component) && p.members_read).count() {
                0 => "there are none".to_owned(),
                lists => format!("{}, every member normal", counted(lists, "list")),
            }
        }
        _ => String::new(),
    }
}

pub(super) fn lines(facts: &Facts) -> Vec<CheckLine> {
    let checks = [
        (CheckId::Workloads, "pods are there and ready"),
        (CheckId::Supervisor, "supervisord answers"),
        (CheckId::Programs, "programs run"),
        (CheckId::Answers, "components answer for themselves"),
        (CheckId::Members, "lists of members"),
        (CheckId::Names, "names are found from inside the pods"),
    ];
    let mut lines = Vec::new();
    for (id, title) in checks {
        let mut said = Said::new(id, title);
        facts.parts.iter().for_each(|part| take(&mut said, part, facts));
        if id == CheckId::Workloads {
            workloads(&mut said, facts);
        }
        if id == CheckId::Names {
            configured_names(&mut said, facts);
            astray_names(&mut said, facts);
        }
        lines.extend(said.lines(well(id, facts)));
    }
    lines
}
