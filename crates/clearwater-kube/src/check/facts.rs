//! What one look saw: plain data, which the rules judge.

use std::collections::{BTreeMap, BTreeSet};

use clearwater::component::{Component, Release, entry};
use clearwater::config::Keys;
use clearwater::event::{CheckId, CheckLine};
use clearwater::remedy::Remedy;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, PersistentVolumeClaim, Pod};
use kube::ResourceExt;

use super::Answers;
use super::doors::Tried;
use super::inside::Inside;
use crate::judge::renewal::Renewal;
use crate::judge::{self, About, Judged};
use crate::observe::finding::Part;
use crate::observe::given::ZoneSeen;
use crate::observe::snapshot::Snapshot;
use crate::observe::unasked::Unasked;
use crate::observe::{Observation, Subject};
use crate::pod::object::{own_container, running_since};

/// The domain that the images take where they are given no zone.
pub(super) const NO_ZONE: &str = "example.com";

/// A component as it was judged.
#[derive(Clone, Debug)]
pub(super) struct JudgedComponent {
    pub(super) component: Component,
    pub(super) judged: Judged,
    /// That somebody scaled it to 0, where somebody did: nothing of it runs that could be asked.
    pub(super) scaled_to_0: Option<String>,
    /// What to do about pods that do not come, where waiting cannot help.
    pub(super) fix: Option<Remedy>,
    /// Whether the API server did not let one of its pods be asked.
    pub(super) unreached: bool,
    /// Whether its list of members was read, be it what it may.
    pub(super) members_read: bool,
    /// What was not heard of its pods because the way into one of them broke before it was asked for, with why.
    pub(super) unheard: BTreeMap<CheckId, String>,
}

/// What a way that broke left unasked of a pod: each of these would be well by what was heard.
pub(super) fn unheard(subject: &Subject, seen: &Observation) -> BTreeMap<CheckId, String> {
    let mut unheard = BTreeMap::new();
    for pod in judge::pods(subject, seen) {
        let report = pod.metadata.uid.as_ref().and_then(|uid| seen.reports.get(uid));
        let broke = report.and_then(|r| Some((r, r.problems.iter().find(|p| p.about == Part::Reach)?)));
        let Some((report, why)) = broke else { continue };
        let text = format!("{}: {}", pod.metadata.name.as_deref().unwrap_or("?"), why.text);
        let says_nothing = |of: fn(&Part) -> bool| !report.problems.iter().any(|p| of(&p.about));
        let no_programs = report.programs_well == 0 && says_nothing(|a| matches!(a, Part::Programs | Part::Program(_)));
        if no_programs && !subject.entry.programs.is_empty() {
            unheard.insert(CheckId::Supervisor, text.clone());
            unheard.insert(CheckId::Programs, text.clone());
        }
        if report.names.put == 0 {
            unheard.insert(CheckId::Names, text);
        }
    }
    unheard
}

/// The zone that is right, where pods alone tell it: no name of the one that stands is found from inside of any of them, and
/// cluster DNS answers for another, the first domain of their search lists.
pub(super) fn told_by_pods(zone: &mut ZoneSeen, inside: &Answers, seen: &Observation, namespace: &str) {
    let (well, put) = seen.reports.values().fold((0, 0), |sum, r| (sum.0 + r.names.well, sum.1 + r.names.put));
    let said = inside.values().filter_map(|(_, said)| said.as_ref().ok());
    let mut searched = said.filter_map(|inside| inside.search.as_deref());
    let own = searched.find(|domain| domain.starts_with(&format!("{namespace}.svc.")));
    if zone.wanted.is_none() && (zone.is_missing() || zone.stands.is_some() && well == 0 && put > 1) {
        zone.wanted = own.map(str::to_owned);
    }
}

/// The zone that pods were started with, by pod, of those that said so; nothing of one that has none.
pub(super) fn zones(zone: &ZoneSeen, inside: &Answers, seen: &Observation) -> BTreeMap<String, String> {
    let compared = seen.snapshot.pods.values().filter_map(|pod| {
        let with = seen.reports.get(pod.metadata.uid.as_ref()?)?.runs_with.as_ref()?;
        Some((pod.name_any(), with.zone.as_deref().or(with.other_zone())?.to_owned()))
    });
    // What is not there cannot be compared with.
    let without = inside.iter().filter(|(_, (_, said))| {
        zone.is_missing() && said.as_ref().is_ok_and(|inside| inside.shared.get("home_domain") == Some(NO_ZONE))
    });
    without.map(|(pod, _)| (pod.clone(), String::new())).chain(compared).collect()
}

/// The keys that pods take from Secrets which hold them as everybody knows them, each with its pod: whatever the pods were started
/// with, what is started next runs with these.
pub(super) fn public_keys(subjects: &[Subject], seen: &Observation) -> BTreeSet<(String, String)> {
    let upstream = Keys::upstream();
    let public = upstream.settings();
    let mut found = BTreeSet::new();
    for subject in subjects {
        for pod in judge::pods(subject, seen) {
            let own = pod.spec.as_ref().and_then(|spec| own_container(spec, subject.component()));
            for variable in own.iter().flat_map(|own| own.env.iter().flatten()) {
                let of = variable.value_from.as_ref().and_then(|from| from.secret_key_ref.as_ref());
                let held = of.and_then(|of| subject.secrets.value(&of.name, &of.key));
                let key = public.iter().find(|(key, value)| {
                    variable.name.eq_ignore_ascii_case(key)
                        && Keys::reader(key) == subject.component()
                        && held == Some(value)
                });
                found.extend(key.map(|(key, _)| (pod.name_any(), (*key).to_owned())));
            }
        }
    }
    found
}

/// What one look saw. An error of a part says why it could not be seen.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    pub(super) release: Release,
    /// When it was.
    pub(super) at: Timestamp,
    pub(super) snapshot: Snapshot,
    pub(super) parts: Vec<JudgedComponent>,
    /// What containers say of themselves, by pod; those without a shell are left out.
    pub(super) inside: BTreeMap<String, (Component, Result<Inside, Unasked>)>,
    /// Where phones are to reach bonos, as far as that could be tried.
    pub(super) doors: Vec<Tried>,
    pub(super) nodes: Result<Vec<Node>, String>,
    pub(super) claims: Result<Vec<PersistentVolumeClaim>, String>,
    /// Lines of what is not judged here: it is the same before a first write.
    pub(super) cluster: Vec<CheckLine>,
    /// The zone as it stands and as it should be.
    pub(super) zone: ZoneSeen,
    /// The zone that pods were started with, by pod, of those that said so.
    pub(super) zones: BTreeMap<String, String>,
    /// Why a Secret could not be read that pods take variables from.
    pub(super) secrets_unread: Option<String>,
    /// Keys that Secrets hold as everybody knows them, each with a pod that takes it from there.
    pub(super) public_keys: BTreeSet<(String, String)>,
    /// Checks that nobody asked for: they tell nothing.
    pub(super) left_out: BTreeSet<CheckId>,
}

impl Facts {
    /// Whether a check is made, so that another may leave a fault to it.
    pub(super) fn tells(&self, id: CheckId) -> bool {
        !self.left_out.contains(&id)
    }

    /// The pods of a component.
    pub(super) fn pods(&self, component: Component) -> Vec<&Pod> {
        self.snapshot.pods_of(component)
    }

    /// Every pod of a component.
    pub(super) fn all_pods(&self) -> impl Iterator<Item = (Component, &Pod)> {
        self.parts.iter().flat_map(|p| self.pods(p.component).into_iter().map(|pod| (p.component, pod)))
    }

    /// What a component was judged to be.
    pub(super) fn part(&self, component: Component) -> Option<&JudgedComponent> {
        self.parts.iter().find(|part| part.component == component)
    }

    /// The zone that a pod was started with, where it is not the right one.
    pub(super) fn other_zone(&self, pod: &str) -> Option<&str> {
        let right = self.zone.right()?;
        self.zones.get(pod).map(String::as_str).filter(|zone| *zone != right)
    }

    /// Whether what such a pod does not do is told with its zone.
    pub(super) fn is_told_by_zone(&self, pod: &str) -> bool {
        self.tells(CheckId::Zone) && self.other_zone(pod).is_some()
    }

    /// Which check tells that what is to run in a pod does not.
    pub(super) fn broken(&self, pod: &str) -> Option<CheckId> {
        let problems = self.parts.iter().flat_map(|part| &part.judged.problems);
        problems.into_iter().find_map(|problem| match &problem.about {
            About::Pod(name, Part::Programs) if name == pod => Some(CheckId::Supervisor),
            About::Pod(name, Part::Program(_)) if name == pod => Some(CheckId::Programs),
            _ => None,
        })
    }

    /// Whether a pod does not answer a question for its health.
    pub(super) fn is_mute(&self, pod: &str) -> bool {
        let problems = self.parts.iter().flat_map(|part| &part.judged.problems);
        let is_question = |about: &About| matches!(about, About::Pod(name, Part::Question(_)) if name == pod);
        problems.into_iter().any(|problem| is_question(&problem.about)) || self.broken(pod).is_some()
    }

    /// What starts a component's pods anew.
    pub(super) fn renewal(&self, component: Component) -> Renewal {
        let entry = entry(self.release, component);
        entry.map_or(Renewal::ByUp, |entry| Renewal::of(entry, &self.pods(component)))
    }

    /// The namespace of the pods.
    pub(super) fn namespace(&self) -> &str {
        self.snapshot.pods.values().find_map(|pod| pod.metadata.namespace.as_deref()).unwrap_or_default()
    }

    /// Whether somebody was asked and was not heard, as one whose container just ended: another look may hear it.
    pub(super) fn lost_a_word(&self) -> bool {
        let mut problems = self.parts.iter().flat_map(|part| &part.judged.problems);
        problems.any(|problem| matches!(problem.about, About::Pod(_, Part::Reach)))
            || self.inside.values().any(|(_, said)| matches!(said, Err(Unasked::Failed(_))))
    }

    /// A pod by its name.
    pub(super) fn pod(&self, name: &str) -> Option<&Pod> {
        self.all_pods().map(|(_, pod)| pod).find(|pod| pod.metadata.name.as_deref() == Some(name))
    }

    /// What containers of a component said, by pod.
    pub(super) fn said(&self, of: impl Fn(Component) -> bool) -> impl Iterator<Item = (&str, Component, &Inside)> {
        let all = self.inside.iter().filter(move |(_, (component, _))| of(*component));
        all.filter_map(|(pod, (component, said))| Some((pod.as_str(), *component, said.as_ref().ok()?)))
    }

    /// Why containers of these components said nothing.
    pub(super) fn unsaid(&self, of: impl Fn(Component) -> bool) -> impl Iterator<Item = &str> {
        let all = self.inside.values().filter(move |(component, _)| of(*component));
        all.filter_map(|(_, said)| said.as_ref().err().map(Unasked::why))
    }

    /// When the container of a pod was started.
    pub(super) fn running_since(&self, pod: &str) -> Option<Timestamp> {
        let (component, pod) = self.all_pods().find(|(_, p)| p.metadata.name.as_deref() == Some(pod))?;
        let container = own_container(pod.spec.as_ref()?, component)?;
        let statuses = pod.status.as_ref()?.container_statuses.as_ref()?;
        running_since(statuses.iter().find(|c| c.name == container.name)?)
    }

    /// The names of the nodes that carry its pods.
    pub(super) fn nodes_used(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.all_pods().filter_map(|(_, p)| p.spec.as_ref()?.node_name.as_deref()).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// The nodes that matter: those that carry its pods, or all where there is none.
    pub(super) fn nodes(&self) -> Result<Vec<&Node>, &str> {
        let used = self.nodes_used();
        let all = self.nodes.as_ref().map_err(String::as_str)?;
        Ok(all.iter().filter(|n| used.is_empty() || used.contains(&n.name_any().as_str())).collect())
    }
}
