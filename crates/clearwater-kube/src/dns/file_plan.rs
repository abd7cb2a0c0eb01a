//! What is to be done with the lines in CoreDNS' file, and what must be answered then. Writes nothing.

use std::collections::BTreeSet;
use std::time::Duration;

use clearwater::component::Component;
use clearwater::config::DnsBackend;
use clearwater::dns::answer::{Expectation, Wanted, expectations};
use clearwater::dns::corefile::{Corefile, Owner, owned_lines};
use clearwater::dns::ownership::{ManagedBy, Place, WriteTarget, managed_by, write_target};
use clearwater::dns::{Name, RecordType, Rules, client_rules, rules};
use clearwater::remedy::{Advice, NamesDeed, Remedy};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ConfigMap;

use super::file::FileEdit;
use super::kept::{KeptFile, Left};
use super::{DnsAction, DnsEdit, DnsError, DnsOptions, DnsPlan, names, slices};
use crate::cluster::Cluster;
use crate::observe::cluster_dns::{ClusterDns, File, config_map, has_node_local};
use crate::owner;
use crate::rights::{Scope, Task, missing};

/// How long the kubelet may take to bring a changed ConfigMap into a pod, at most: it looks once a minute, and its
/// cache may be as old again (kubernetes `pkg/kubelet/kubelet.go`, syncFrequency).
const KUBELET: Duration = Duration::from_secs(90);
/// No wait is cut shorter than this.
const SHORTEST: Duration = Duration::from_secs(60);

/// The rules of a deployment, those for SIP clients among them where they are asked for.
pub(super) fn all_rules(options: &DnsOptions) -> Result<Rules, DnsError> {
    let mut all = rules(&options.deployment)?;
    if options.clients {
        let clients = client_rules(&options.deployment)?.ok_or_else(|| {
            DnsError::backend(
                DnsBackend::Coredns,
                format!(
                    "the home domain {} is not the namespace's own, and answers for it inside of the cluster would hide \
                     those that everybody else gets",
                    options.deployment.home_domain()
                ),
                Remedy::from(NamesDeed::PrintClients).then(" and put them into the DNS it lives in"),
            )
        })?;
        all.merge(clients);
    }
    Ok(all)
}

/// The longest that servers may take to read their file again, and why.
pub(super) fn wait(corefile: &Corefile) -> Option<(Duration, String)> {
    let (interval, jitter) = corefile.reload()?;
    let because = format!(
        "the kubelet brings it into the pods within {} s, and CoreDNS looks every {} s, give or take {} s",
        KUBELET.as_secs(),
        interval.as_secs(),
        jitter.as_secs()
    );
    Some((KUBELET + interval + jitter, because))
}

/// What an edit is made from.
struct Ground<'a> {
    file: &'a File,
    corefile: &'a Corefile,
    kept: &'a ManagedBy,
    owner: &'a Owner,
    domain: &'a Name,
}

impl Ground<'_> {
    /// The edit that puts the lines in, or takes them out, at the write target that was found.
    async fn edit(
        &self,
        cluster: &Cluster,
        found: &WriteTarget,
        options: &DnsOptions,
        lines: &[String],
        notes: &mut Vec<Advice>,
    ) -> Result<FileEdit, DnsError> {
        let Self { file, corefile, kept, owner, domain } = *self;
        let place = &file.place;
        match (found, options.action) {
            // By what means its keeper gives the names is told by the servers alone.
            (WriteTarget::Closed { instead }, DnsAction::Put) if options.look => {
                let reason =
                    format!("{place} is kept by {} ({}), which alone can put names in", kept.by, kept.shown_by);
                notes.push(Advice::new(reason, instead.clone()));
                let text = Some(corefile.to_string());
                Ok(FileEdit { before: text.clone(), after: text, ..FileEdit::new(place.clone(), owner.clone()) })
            }
            (WriteTarget::Closed { instead }, DnsAction::Put) => Err(DnsError::Closed {
                file: place.to_string(),
                manager: kept.by.clone(),
                shown_by: kept.shown_by.clone(),
                instead: instead.clone(),
            }),
            (WriteTarget::Custom { place: custom, import }, action) => {
                let standing = config_map(&cluster.client, custom).await?;
                let before = standing.as_ref().and_then(|m| m.data.as_ref()?.get(&custom.key).cloned());
                let text: String = lines.iter().map(|line| format!("{line} {owner}\n")).collect();
                // Read as it will be once it is imported.
                Corefile::parse(&format!(".:53 {{\n{text}}}\n"))
                    .map_err(|error| DnsError::Corefile { file: custom.to_string(), error })?;
                if !corefile.lines_of(owner).is_empty() {
                    notes.push(
                        format!("lines of this deployment stand in {place} too; {} may put its file back", kept.by)
                            .into(),
                    );
                }
                notes.push(format!("{place} is kept by {}, and imports {import}: that file is used", kept.by).into());
                let alone =
                    |m: &ConfigMap| owner::has_our_label(&m.metadata) && m.data.as_ref().is_none_or(|d| d.len() <= 1);
                Ok(FileEdit {
                    before,
                    after: (action == DnsAction::Put).then_some(text),
                    written: standing.as_ref().and_then(|m| names::last_written(&m.metadata)),
                    version: standing.as_ref().and_then(|m| m.metadata.resource_version.clone()),
                    sole: standing.as_ref().is_some_and(alone),
                    ..FileEdit::new(custom.clone(), owner.clone())
                })
            }
            (_, action) => {
                let after = match action {
                    DnsAction::Put => corefile
                        .with_lines(owner, domain, lines)
                        .map_err(|error| DnsError::Edit { file: place.to_string(), error })?
                        .to_string(),
                    DnsAction::Remove => corefile.without_lines(owner),
                };
                // Whatever is written has been read as a whole.
                Corefile::parse(&after).map_err(|error| DnsError::Corefile { file: place.to_string(), error })?;
                Ok(FileEdit {
                    before: Some(corefile.to_string()),
                    after: Some(after),
                    written: names::last_written(&file.config_map.metadata),
                    version: file.config_map.metadata.resource_version.clone(),
                    shared: true,
                    domain: Some(domain.clone()),
                    ..FileEdit::new(place.clone(), owner.clone())
                })
            }
        }
    }
}

/// Lines in CoreDNS' configuration.
pub(super) async fn plan(cluster: &Cluster, options: &DnsOptions, mut plan: DnsPlan) -> Result<DnsPlan, DnsError> {
    let deployment = &options.deployment;
    let domain = deployment.cluster_domain().parse()?;
    let rules = all_rules(options)?;
    if rules.is_empty() && options.action == DnsAction::Put {
        plan.notes.push(Advice::new(
            format!(
                "the release {} asks for no name that Kubernetes cannot give; SIP clients that know the home domain only \
                 look for more",
                deployment.release()
            ),
            NamesDeed::OfferClients,
        ));
        return Ok(plan);
    }
    let cluster_dns = ClusterDns::look(&cluster.client).await?;
    let Some(file) = &cluster_dns.file else {
        return Err(DnsError::NotCoreDns {
            namespace: cluster_dns.namespace,
            service: cluster_dns.service,
            image: cluster_dns.image,
        });
    };
    let place = &file.place;
    let owner = Owner::namespace(deployment.namespace());
    let corefile = file.corefile().map_err(|error| DnsError::Corefile { file: place.to_string(), error })?;
    let kept = managed_by(&file.config_map.metadata);
    let found = write_target(&kept, &corefile, &domain, place, &file.directory, &file.mounts, deployment.namespace());
    let lines = rules.corefile_lines()?;
    let ground = Ground { file, corefile: &corefile, kept: &kept, owner: &owner, domain: &domain };
    let edit = ground.edit(cluster, &found, options, &lines, &mut plan.notes).await?;
    let edit = FileEdit { metrics: corefile.metrics_port(), ..edit };
    plan.object = Some(format!("configmap/{} in namespace {}", edit.place.name, edit.place.namespace));
    plan.diff = edit.diff();
    plan.wait = wait(&corefile);
    plan.questions = expectations(&rules);
    if options.action == DnsAction::Remove {
        plan.questions = stood(edit.before.as_deref().unwrap_or_default(), &owner);
    }
    if !edit.is_change() {
        plan.means.patience = patience(edit.written, plan.wait.as_ref(), Timestamp::now() + cluster.clock_skew().await);
        if options.action == DnsAction::Remove {
            let left = KeptFile::new(cluster, &cluster_dns.namespace).left().await?;
            let texts = left.as_ref().map(|l| l.texts.as_slice()).unwrap_or_default();
            plan.questions = was_given(cluster, texts, &rules, &owner, edit.after.as_deref().unwrap_or_default()).await;
            finishing(&mut plan, left)?;
        }
    }
    if edit.is_change() {
        let reloads = plan.wait.is_some();
        may_write(cluster, options, reloads, place, &edit.place, Task::DnsCoredns).await?;
    }
    let most = corefile.cache(&domain).unwrap_or(30).clamp(5, 30);
    match has_node_local(&cluster.client).await {
        Ok(false) => {}
        Ok(true) => plan.notes.push(
            format!("NodeLocal DNSCache stands before the DNS pods and may keep an old answer for up to {most} s more")
                .into(),
        ),
        Err(error) => plan.notes.push(
            format!(
                "it was not seen whether NodeLocal DNSCache stands before the DNS pods, which may keep an old answer for \
                 up to {most} s more ({error})"
            )
            .into(),
        ),
    }
    let own = deployment.names();
    if options.action == DnsAction::Put && own.sprout() != own.for_backend(DnsBackend::Coredns).sprout() {
        plan.notes.push(Advice::new(
            format!(
                "the deployment file has dns.backend {}, so the containers ask for names below {}",
                own.backend().name(),
                own.sprout()
            ),
            Remedy::BringUp.after("change it, then "),
        ));
    }
    plan.means.timeout = plan.means.timeout.or(plan.wait.as_ref().map(|(most, _)| (*most * 2).max(SHORTEST)));
    plan.kept = Some(kept);
    plan.write_target = Some(found);
    plan.means.work = DnsEdit::File(Box::new(edit));
    plan.means.cluster_dns = Some(cluster_dns);
    Ok(plan)
}

/// How long what stands may take to be answered: until the servers must have read what was written last, and a moment
/// where that is long ago.
pub(super) fn patience(written: Option<Timestamp>, wait: Option<&(Duration, String)>, now: Timestamp) -> Duration {
    let Some((most, _)) = wait else { return names::SOON };
    // A clock that is behind makes the last write the work of this moment.
    let age = written.map_or(Duration::ZERO, |at| Duration::try_from(now.duration_since(at)).unwrap_or_default());
    most.saturating_sub(age) + names::SOON
}

/// Makes the plan finish what an earlier run has left. Every server is asked something, whatever is known of the names.
pub(super) fn finishing(plan: &mut DnsPlan, left: Option<Left>) -> Result<(), DnsError> {
    let Some(left) = left else { return Ok(()) };
    if plan.questions.is_empty() {
        plan.questions.push(Expectation {
            name: format!("kubernetes.default.svc.{}", plan.means.domain).parse()?,
            record_type: RecordType::A,
            wanted: Wanted::Something,
        });
    }
    plan.notes.push(
        format!(
            "an earlier run did not come to its end: every DNS server is asked again, then {} is taken away",
            left.object
        )
        .into(),
    );
    plan.means.finishing = Some(left);
    Ok(())
}

/// What must not be answered any more once nothing of the deployment stands: what lines of the texts that were kept
/// gave, and what its own rules would give. Names that something else gives are left out.
async fn was_given(cluster: &Cluster, texts: &[String], rules: &Rules, owner: &Owner, now: &str) -> Vec<Expectation> {
    let own_pods = names::pods_of(cluster, Component::Sprout).await;
    let by_others =
        own_pods.map_or(true, |pods| pods.iter().any(|p| p.host_name.is_some())) || slices::stands(cluster).await;
    gone(texts, rules, owner, now, by_others)
}

fn gone(texts: &[String], rules: &Rules, owner: &Owner, now: &str, by_others: bool) -> Vec<Expectation> {
    let rewritten = texts.iter().flat_map(|text| rewritten(text, owner)).chain(rules.aliases.keys().cloned());
    let rewritten: BTreeSet<Name> = rewritten.filter(|name| !by_others && !now.contains(name.as_str())).collect();
    let mut questions: Vec<Expectation> = texts.iter().flat_map(|text| stood(text, owner)).collect();
    let nothing = |name| Expectation { name, record_type: RecordType::A, wanted: Wanted::Nothing };
    questions.extend(rewritten.into_iter().map(nothing));
    questions.dedup();
    questions
}

/// The names that the owner's lines give in another's place.
fn rewritten(text: &str, owner: &Owner) -> Vec<Name> {
    let lines = owned_lines(text, owner).filter_map(|line| line.strip_prefix("rewrite name exact "));
    lines.filter_map(|line| line.split_whitespace().next()?.trim_end_matches('.').parse().ok()).collect()
}

/// What must be gone once the owner's lines are: the records that they gave. A rewritten name may be given by pods as
/// well.
fn stood(text: &str, owner: &Owner) -> Vec<Expectation> {
    let lines = owned_lines(text, owner).filter_map(|line| line.strip_prefix("template IN "));
    lines
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            let (kind, name) = (words.next()?, words.next()?);
            let record_type = RecordType::ALL.into_iter().find(|t| t.name() == kind)?;
            Some(Expectation { name: name.parse().ok()?, record_type, wanted: Wanted::Nothing })
        })
        .collect()
}

/// Whether everything that will be done may be done, and comes to CoreDNS, whose file this is. Who only looks is not asked.
pub(super) async fn may_write(
    cluster: &Cluster,
    options: &DnsOptions,
    reloads: bool,
    file: &Place,
    place: &Place,
    task: Task,
) -> Result<(), DnsError> {
    if options.look {
        return Ok(());
    }
    if !reloads && !options.restart {
        return Err(DnsError::NoReload { file: file.to_string() });
    }
    let missing = missing(&cluster.client, &place.namespace, task, Scope::ClusterDns).await;
    if missing.is_empty() {
        return Ok(());
    }
    Err(DnsError::right(
        place.to_string(),
        format!("{} in namespace {}", missing.join(", "), place.namespace),
        "nothing was written",
        Some(Remedy::any([
            Remedy::Again.after("ask whoever keeps the cluster's DNS for this: "),
            Remedy::from(NamesDeed::Print).then(" and give them to whoever keeps it"),
            "`dns: {backend: pods}`, which needs no such right".into(),
        ])),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_our_lines_gave_must_be_gone_with_them() {
        let text = ".:53 {\n  template IN SRV _sip._tcp.a.b { # kubectl-clearwater ims\n    match x # kubectl-clearwater \
            ims\n  } # kubectl-clearwater ims\n  template IN NAPTR c.d { # kubectl-clearwater other\n  }\n}\n";
        let asked: Vec<String> = stood(text, &Owner::namespace("ims")).iter().map(ToString::to_string).collect();
        assert_eq!(asked, ["_sip._tcp.a.b SRV"]);
    }

    #[test]
    fn what_was_kept_tells_what_must_be_gone() {
        let text = ".:53 {\n  rewrite name exact x.ims.svc. y. # kubectl-clearwater ims\n  rewrite name exact z. y. # \
            kubectl-clearwater ims\n  rewrite name exact other. y. # kubectl-clearwater other\n  template IN SRV _sip._tcp.a \
            { # kubectl-clearwater ims\n  } # kubectl-clearwater ims\n}\n";
        let asked = |now: &str, by_others| {
            let all = gone(&[text.to_owned()], &Rules::default(), &Owner::namespace("ims"), now, by_others);
            assert!(all.iter().all(|q| q.wanted == Wanted::Nothing), "{all:?}");
            all.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(asked("", false), ["_sip._tcp.a SRV", "x.ims.svc A", "z A"]);
        // Pods or a slice give rewritten names as well, and so may somebody's own lines.
        assert_eq!(asked("", true), ["_sip._tcp.a SRV"]);
        assert_eq!(asked(".:53 {\n  hosts {\n 10.0.0.1 x.ims.svc\n }\n}", false), ["_sip._tcp.a SRV", "z A"]);
    }

    #[test]
    fn what_was_just_written_gets_the_time_that_it_takes() {
        let wait = (Duration::from_secs(100), String::new());
        let now: Timestamp = "2026-01-01T00:01:00Z".parse().unwrap();
        let of = |written: Option<&str>| patience(written.map(|w| w.parse().unwrap()), Some(&wait), now).as_secs();
        assert_eq!(of(Some("2026-01-01T00:00:30Z")), 80);
        assert_eq!(of(Some("2025-01-01T00:00:00Z")), 10);
        // One that nobody dated, and one of a clock that is ahead.
        assert_eq!(of(None), 110);
        assert_eq!(of(Some("2026-01-01T00:05:00Z")), 110);
        assert_eq!(patience(None, None, now), names::SOON);
    }
}
