use std::collections::{BTreeMap, BTreeSet};

use clearwater::component::{Component, Release};
use clearwater::config::DnsBackend;
use clearwater::dns::answer::{Expectation, Wanted};
use clearwater::dns::{Facts, RecordData, RecordType, choose, sub_domains};
use clearwater::remedy::{Advice, NamesDeed, Remedied as _, Remedy};

use super::{DnsAction, DnsEdit, DnsError, DnsOptions, DnsPlan, Means, file_plan, names, slices};
use crate::cluster::Cluster;
use crate::observe::cluster_dns::{ClusterDns, ClusterDnsError};
use crate::rights::{Scope, Task, missing};

pub(super) async fn plan(cluster: &Cluster, options: &DnsOptions) -> Result<DnsPlan, DnsError> {
    let deployment = &options.deployment;
    cluster.is_of(deployment).map_err(|message| DnsError::Elsewhere { message })?;
    let asked = options.backend.filter(|b| *b != DnsBackend::Auto);
    if options.action == DnsAction::Remove && asked.is_none() {
        return Box::pin(removal(cluster, options)).await;
    }
    let undecided = asked.is_none()
        && deployment.file().dns.backend == DnsBackend::Auto
        && deployment.release() == Release::Classic;
    let facts = if undecided { facts(cluster, options).await } else { Facts::default() };
    let choice = choose(deployment, asked, &facts);
    let mut plan = blank(options, choice.backend, choice.because);
    match choice.backend {
        DnsBackend::Auto if options.clients || options.action == DnsAction::Remove => {
            plan.backend = DnsBackend::Coredns;
            file_plan::plan(cluster, options, plan).await
        }
        DnsBackend::Auto => {
            plan.notes.push(Advice::new(
                "nothing is needed; SIP clients that know the home domain only look for more",
                NamesDeed::OfferClients,
            ));
            Ok(plan)
        }
        DnsBackend::Pods => pods(cluster, options, plan).await,
        DnsBackend::Coredns => file_plan::plan(cluster, options, plan).await,
        DnsBackend::Endpoints => slices::plan(cluster, options, plan).await,
        DnsBackend::Print => Ok(plan),
        #[cfg(feature = "etcd")]
        _ => super::etcd::plan(cluster, options, plan).await,
        #[cfg(not(feature = "etcd"))]
        other => Err(DnsError::backend(
            other,
            "it is not part of this build",
            Remedy::any([
                "build with `cargo xtask build`, which brings protoc and turns the feature `etcd` on".into(),
                Remedy::from(NamesDeed::Print).then(", which writes the commands for etcdctl"),
            ]),
        )),
    }
}

pub(super) fn blank(options: &DnsOptions, backend: DnsBackend, because: String) -> DnsPlan {
    DnsPlan {
        namespace: options.deployment.namespace().to_owned(),
        backend,
        because,
        action: options.action,
        object: None,
        kept: None,
        write_target: None,
        diff: String::new(),
        notes: Vec::new(),
        wait: None,
        questions: Vec::new(),
        means: Means {
            work: DnsEdit::Nothing,
            finishing: None,
            lacking: Vec::new(),
            unasked: Vec::new(),
            patience: names::SOON,
            cluster_dns: None,
            timeout: options.timeout,
            restart: options.restart,
            clients: options.clients,
            domain: options.deployment.cluster_domain().to_owned(),
        },
    }
}

/// What of this deployment stands in DNS, whoever asked for it.
async fn removal(cluster: &Cluster, options: &DnsOptions) -> Result<DnsPlan, DnsError> {
    let blank = |backend| blank(options, backend, "that is what stands".to_owned());
    // Keys go together with the server block that was made for them.
    #[cfg(feature = "etcd")]
    if options.deployment.file().dns.backend == DnsBackend::Etcd {
        return super::etcd::plan(cluster, options, blank(DnsBackend::Etcd)).await;
    }
    let by_file = file_plan::plan(cluster, options, blank(DnsBackend::Coredns)).await;
    let by_slices = slices::plan(cluster, options, blank(DnsBackend::Endpoints)).await;
    let slices_change = matches!(&by_slices, Ok(plan) if plan.is_change());
    if let Ok(plan) = &by_file
        && (plan.is_change() || plan.means.finishing.is_some())
    {
        let mut plan = plan.clone();
        if slices_change {
            plan.notes.push(Advice::new(
                "an EndpointSlice holds names of this deployment too",
                Remedy::Again.then(" afterwards"),
            ));
        }
        return Ok(plan);
    }
    if slices_change {
        return by_slices;
    }
    // Not having been able to look is not the same as nothing being there.
    let (by_file, by_slices) = (by_file?, by_slices?);
    let because = "neither CoreDNS' file nor an EndpointSlice holds a name of this deployment".to_owned();
    let mut plan = DnsPlan { because, ..blank(DnsBackend::Auto) };
    plan.means.cluster_dns = by_file.means.cluster_dns;
    // What an earlier run took out must be gone by now; what somebody put in by hand stays.
    if options.deployment.file().dns.backend != DnsBackend::Print {
        plan.questions = by_slices.questions;
        plan.means.patience = by_file.means.patience;
    }
    Ok(plan)
}

/// What has to be known to choose.
async fn facts(cluster: &Cluster, options: &DnsOptions) -> Facts {
    let pods_carry_names = match names::pods_of(cluster, Component::Sprout).await {
        Ok(pods) if !pods.is_empty() => Some(pods.iter().any(|p| p.host_name.is_some())),
        _ => None,
    };
    if pods_carry_names != Some(false) && options.deployment.names().zone_is_kubernetes() {
        return Facts { pods_carry_names, ..Facts::default() };
    }
    // Who looks chooses as if he were to write.
    let tried = DnsOptions { action: DnsAction::Put, restart: true, look: false, ..options.clone() };
    let by_file = file_plan::plan(cluster, &tried, blank(&tried, DnsBackend::Coredns, String::new())).await;
    let slices = missing(&cluster.client, &cluster.namespace, Task::DnsEndpoints, Scope::Namespace).await;
    Facts {
        pods_carry_names,
        corefile_closed: by_file.err().map(|e| e.to_string()),
        slices_closed: (!slices.is_empty()).then(|| format!("needs {}", slices.join(", "))),
    }
}

/// The names of sprout's pods, which cluster DNS answers by itself.
async fn pods(cluster: &Cluster, options: &DnsOptions, mut plan: DnsPlan) -> Result<DnsPlan, DnsError> {
    if options.clients {
        return Err(DnsError::backend(
            DnsBackend::Pods,
            "pods' names cannot be what SIP clients look for",
            NamesDeed::Choose(DnsBackend::Coredns),
        ));
    }
    let found = names::pods_of(cluster, Component::Sprout).await?;
    let mut addresses: BTreeMap<&str, BTreeSet<RecordData>> = BTreeMap::new();
    for pod in found.iter().filter(|p| p.ready) {
        if let (Some(host), Some(address)) = (pod.host_name.as_deref(), pod.address) {
            addresses.entry(host).or_default().insert(address.into());
        }
    }
    for sub in sub_domains(&options.deployment, DnsBackend::Pods)? {
        match addresses.get(sub.label) {
            Some(data) => plan.questions.push(Expectation {
                name: sub.name,
                record_type: data.first().map_or(RecordType::A, RecordData::record_type),
                wanted: Wanted::Data(data.clone()),
            }),
            None if found.is_empty() => {
                plan.notes.push(Advice::new(
                    format!("{}: no pod of sprout yet", sub.name),
                    Remedy::BringUp.then(", which makes them"),
                ));
            }
            None => {
                let why = format!("{}: no ready pod of sprout has the host name {}", sub.name, sub.label);
                plan.means.lacking.push(why.into());
            }
        }
    }
    if found.is_empty() {
        plan.means.unasked.push("the names that sprout's pods carry: there is no pod of sprout".to_owned());
    }
    match ClusterDns::look(&cluster.client).await {
        Ok(seen) => plan.means.cluster_dns = Some(seen),
        Err(error) => {
            // Who may not ask goes without.
            if !plan.questions.is_empty() && !matches!(error, ClusterDnsError::Right { .. }) {
                plan.means.unasked.push(error.to_string());
            }
            plan.notes.push(error.advice());
        }
    }
    Ok(plan)
}
