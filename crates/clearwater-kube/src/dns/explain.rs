use std::collections::BTreeSet;
use std::net::IpAddr;

use clearwater::component::{Component, Release};
use clearwater::config::{Deployment, SPROUT_ADDRESS};
use clearwater::dns::answer::{Answer, Code};
use clearwater::dns::{GivenBy, Name, NeededName, RecordData, RecordType, Resolver, needs};
use clearwater::remedy::{Advice, NamesDeed, Remedied as _};
use schemars::JsonSchema;
use serde::Serialize;

use super::DnsError;
use super::check::settings;
use super::names::Inside;
use crate::cluster::Cluster;
use crate::observe::cluster_dns::{ClusterDns, LookError};
use crate::pod::dns::Server;

/// c-ares' users keep that a name is missing for so long at most, and for this long where the answer does not say
/// (cpp-common `src/dnscachedresolver.cpp`).
const NEGATIVE: u32 = 300;

/// Every name of a deployment, and what came back for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Explained {
    /// The names.
    pub names: Vec<Explanation>,
    /// The name servers that components ask, beside those that their pods' resolvers have.
    pub resolvers: Vec<String>,
    /// What is worth knowing.
    pub notes: Vec<Advice>,
}

/// One name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// The name, fully qualified.
    pub name: String,
    /// The types that are asked for.
    pub types: Vec<String>,
    /// Who asks, and how.
    pub askers: Vec<String>,
    /// What it is asked for.
    pub why: String,
    /// Who has to answer: `service`, `backend` or `elsewhere`.
    #[schemars(with = "String")]
    pub given_by: GivenBy,
    /// Whether the deployment works without it.
    pub optional: bool,
    /// What came back from whom.
    pub seen: Vec<SeenAnswer>,
    /// Whether somebody gave a record.
    pub found: bool,
    /// What will be seen, where it is missing or wrong.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub symptoms: Vec<String>,
}

/// One answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SeenAnswer {
    /// The server, or the pod that asked.
    pub server: String,
    /// The name as it was asked for.
    pub asked: String,
    /// The type.
    pub r#type: String,
    /// What came back.
    pub answer: String,
}

/// Asks for every name that the deployment needs, from every side, and says what follows. Writes nothing.
pub async fn explain(cluster: &Cluster, deployment: &Deployment) -> Result<Explained, DnsError> {
    let mut explained = Explained { names: Vec::new(), resolvers: Vec::new(), notes: Vec::new() };
    let cluster_dns = match ClusterDns::look(&cluster.client).await {
        // Nobody can be asked anything.
        Err(error @ LookError::Unreachable { .. }) => return Err(error.into()),
        other => other.map_err(DnsError::from),
    };
    let mut servers: Vec<(String, Server)> = Vec::new();
    match &cluster_dns {
        Ok(cluster_dns) => {
            let ready = cluster_dns.pods.iter().filter(|p| p.ready);
            servers.extend(ready.map(|p| {
                let name = format!("DNS pod {} on {}", p.name, p.node);
                (name, Server::new(cluster_dns.api(&cluster.client), &p.name, cluster_dns.port))
            }));
        }
        Err(error) => explained.notes.push(error.advice().after("the DNS servers themselves were not asked: ")),
    }
    let mut inside = Vec::new();
    let mut aliases: Vec<IpAddr> = Vec::new();
    for component in [Component::Sprout, Component::Bono] {
        if !deployment.has(component) {
            continue;
        }
        match Inside::open(cluster, deployment, component).await {
            Ok(mut opened) => {
                resolver(&mut opened, cluster_dns.as_ref().ok(), &mut explained, &mut aliases).await;
                inside.push(opened);
            }
            Err(why) => explained.notes.push(format!("not asked from {component}: {why}").into()),
        }
    }
    let mut foreign = virtual_addresses(cluster).await;
    foreign.retain(|ip| !aliases.contains(ip));
    let sprout: Name = deployment.names().sprout().parse()?;
    let mut id = 0;
    for need in needs(deployment)? {
        let (mut explanation, leads_to) =
            one(deployment, &need, &mut servers, &mut inside, &mut id, &mut explained.notes).await?;
        if let Some(ip) = foreign.iter().find(|ip| leads_to.contains(ip) && need.name.is_within(&sprout)) {
            explanation.symptoms.push(format!(
                "{ip} is a Service's virtual address and not in local_alias_list: sprout sends requests for it to itself \
                 until their hops are used up (483 Too many hops)"
            ));
        }
        explained.names.push(explanation);
    }
    explained.notes.dedup();
    // Nobody's silence says that a name is missing.
    if explained.names.iter().all(|name| name.seen.is_empty()) && !explained.names.is_empty() {
        let message = explained.notes.iter().map(|note| note.reason.clone()).collect::<Vec<_>>().join("; ");
        let what = format!("the names of namespace {}", cluster.namespace);
        return Err(DnsError::Unreachable { what, message: format!("nobody was asked: {message}") });
    }
    if deployment.release() == Release::Hunter {
        explained.notes.push(Advice::new(
            "the release hunter needs no name that Kubernetes cannot give; SIP clients that know the home domain only look \
             for more",
            NamesDeed::OfferClients,
        ));
    }
    Ok(explained)
}

/// Services' virtual addresses, which sprout takes for its own only where `local_alias_list` names them.
async fn virtual_addresses(cluster: &Cluster) -> Vec<IpAddr> {
    let mut all = Vec::new();
    for service in [Component::Sprout.name(), SPROUT_ADDRESS] {
        all.extend(super::names::virtual_addresses(cluster, service).await.unwrap_or_default());
    }
    all
}

/// What a component asks beside what its pod's resolver asks.
async fn resolver(
    inside: &mut Inside,
    cluster_dns: Option<&ClusterDns>,
    explained: &mut Explained,
    aliases: &mut Vec<IpAddr>,
) {
    let component = inside.component;
    let settings = match settings(inside).await {
        Ok(settings) => settings,
        Err(why) => {
            explained.notes.push(format!("{component}: {why}").into());
            return;
        }
    };
    let own_names = settings.get("local_alias_list").unwrap_or_default();
    aliases.extend(own_names.split(',').filter_map(|a| a.trim().parse::<IpAddr>().ok()));
    let own: Vec<String> = inside.servers.iter().map(ToString::to_string).collect();
    let asked = settings.get("signaling_dns_server").unwrap_or_default();
    let same = asked.split([',', ' ']).filter(|s| !s.is_empty()).eq(own.iter().map(String::as_str));
    let verdict = if asked.is_empty() {
        "signaling_dns_server is not set: 127.0.0.1 is asked, where nobody answers".to_owned()
    } else if same {
        "the same".to_owned()
    } else {
        "they differ: the setting was copied when the container started; restart the pod".to_owned()
    };
    let mut line = format!(
        "{component}: signaling_dns_server={asked}, resolv.conf of pod {} names {}: {verdict}",
        inside.pod,
        own.join(", ")
    );
    if let Some(cluster_dns) = cluster_dns
        && !inside.servers.iter().any(|s| cluster_dns.addresses.contains(s))
    {
        line.push_str(&format!(
            "; that is not service {}/{}: something stands between, such as NodeLocal DNSCache",
            cluster_dns.namespace, cluster_dns.service
        ));
    }
    explained.resolvers.push(line);
}

/// Asks for one name from every side. Yields the addresses that it leads to as well.
async fn one(
    deployment: &Deployment,
    need: &NeededName,
    servers: &mut [(String, Server)],
    inside: &mut [Inside],
    id: &mut u16,
    notes: &mut Vec<Advice>,
) -> Result<(Explanation, BTreeSet<IpAddr>), DnsError> {
    // etcd's name alone is asked for through the search domains.
    let suffix = deployment.names().service_domain();
    let name: Name =
        if need.name.labels().count() == 1 { format!("{}.{suffix}", need.name).parse()? } else { need.name.clone() };
    let short: Option<Name> = name.as_str().strip_suffix(&format!(".{suffix}")).and_then(|s| s.parse().ok());
    let literal = need.askers.iter().any(|a| a.resolver == Resolver::CAres);
    let (mut seen, mut leads_to) = (Vec::new(), BTreeSet::new());
    let mut found = false;
    let mut negative: Option<u32> = None;
    let mut take = |server: &str, asked: &Name, record_type: RecordType, answer: &Answer, counts: bool| {
        let data = answer.data(asked, record_type);
        let has = answer.code == Code::NoError && !data.is_empty();
        leads_to.extend(data.iter().filter_map(|data| match data {
            RecordData::A(ip) => Some(IpAddr::V4(*ip)),
            RecordData::Aaaa(ip) => Some(IpAddr::V6(*ip)),
            _ => None,
        }));
        if counts {
            found |= has;
            if !has {
                negative = Some(answer.negative_ttl.unwrap_or(NEGATIVE).min(NEGATIVE)).max(negative);
            }
        }
        seen.push(SeenAnswer {
            server: server.to_owned(),
            asked: format!("{asked}."),
            r#type: record_type.to_string(),
            answer: answer.say(asked, record_type),
        });
    };
    // Of two address families one is enough to tell.
    let types: &[RecordType] = if need.types.contains(&RecordType::A) { &[RecordType::A] } else { need.types };
    for record_type in types {
        for (label, server) in servers.iter_mut() {
            match server.ask(&name, *record_type).await {
                Ok(answer) => take(label, &name, *record_type, &answer, true),
                Err(error) => notes.push(format!("{label}: {error}").into()),
            }
        }
        for pod in inside.iter_mut() {
            let label = format!("pod {} of {}, by UDP from {}", pod.pod, pod.component, pod.servers[0]);
            *id += 1;
            match pod.ask(*id, &name, *record_type).await {
                Ok(answer) => take(&label, &name, *record_type, &answer, true),
                Err(error) => notes.push(format!("{label}: {error}").into()),
            }
        }
        if let (Some(short), true, Some((label, server))) = (&short, literal, servers.first_mut())
            && let Ok(answer) = server.ask(short, *record_type).await
        {
            take(&format!("{label}, the short name as c-ares would ask it"), short, *record_type, &answer, false);
        }
    }
    let mut symptoms = Vec::new();
    if !found && !seen.is_empty() {
        symptoms.push(need.without.to_owned());
        if let Some(ttl) = negative.filter(|_| literal) {
            symptoms
                .push(format!("a program that asked keeps that it is missing for up to {ttl} s after it is repaired"));
        }
    }
    let explanation = Explanation {
        name: name.to_string(),
        types: need.types.iter().map(ToString::to_string).collect(),
        askers: need.askers.iter().map(ToString::to_string).collect(),
        why: need.why.to_owned(),
        given_by: need.given_by,
        optional: need.optional,
        seen,
        found,
        symptoms,
    };
    Ok((explanation, leads_to))
}
