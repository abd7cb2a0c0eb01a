use std::collections::BTreeSet;
use std::net::IpAddr;

use clearwater::component::{Component, Release};
use clearwater::config::shell::Settings;
use clearwater::config::{Deployment, HostSetting, SPROUT_ADDRESS};
use clearwater::dns::answer::{Answer, Code};
use clearwater::dns::{GivenBy, Name, NeededName, RecordData, RecordType, Resolver, needs};
use clearwater::remedy::{Advice, NamesDeed, Remedied as _};
use futures::future::join_all;
use schemars::JsonSchema;
use serde::Serialize;

use super::check::settings;
use super::names::Inside;
use super::{DnsError, place};
use crate::cluster::Cluster;
use crate::observe::cluster_dns::{ClusterDns, ClusterDnsError};
use crate::observe::unasked::Unasked;
use crate::pod::dns::Server;

/// c-ares' users keep that a name is missing for so long at most, and for this long where the answer does not say
/// (cpp-common `src/dnscachedresolver.cpp`).
const NEGATIVE: u32 = 300;

/// Every name of a deployment, and what came back for it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Explained {
    /// The names.
    pub names: Vec<Explanation>,
    /// The name servers that components ask, beside those that their pods' resolvers have.
    pub resolvers: Vec<String>,
    /// What is worth knowing.
    pub notes: Vec<Advice>,
    /// Who could not be asked, or not to the end, and why. What is said of the names rests on the others.
    pub unasked: Vec<Advice>,
}

impl Explained {
    fn leave_out(&mut self, who: Unasked) {
        match who {
            Unasked::LeftOut(why) | Unasked::Forbidden(why) => self.notes.push(format!("not asked: {why}").into()),
            Unasked::Failed(why) => self.unasked.push(why.into()),
        }
    }

    /// Whether a name that the deployment needs is missing or wrong, as those say who were asked.
    pub fn is_unwell(&self) -> bool {
        self.names.iter().any(|n| !n.optional && !n.seen.is_empty() && (!n.found || !n.symptoms.is_empty()))
    }
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

/// Somebody who is asked.
struct Party {
    label: String,
    side: Side,
    /// Whether one question found no answer. Nobody is waited for twice.
    silent: bool,
}

enum Side {
    DnsPod(Box<Server>),
    Inside(Box<Inside>),
}

impl Party {
    fn dns_pod(label: String, server: Server) -> Self {
        Self { label, side: Side::DnsPod(Box::new(server)), silent: false }
    }

    fn inside(inside: Inside) -> Self {
        let label = format!("pod {} of {}, by UDP from {}", inside.pod, inside.component, inside.servers[0]);
        Self { label, side: Side::Inside(Box::new(inside)), silent: false }
    }

    fn is_dns_pod(&self) -> bool {
        matches!(self.side, Side::DnsPod(_))
    }

    /// Asks, or says why that could not be done. `None` where it was silent before.
    async fn ask(&mut self, id: u16, name: &Name, record_type: RecordType) -> Option<Result<Answer, Unasked>> {
        if self.silent {
            return None;
        }
        let answer = match &mut self.side {
            Side::DnsPod(server) => server.ask(name, record_type).await,
            Side::Inside(inside) => inside.ask(id, name, record_type).await,
        };
        self.silent = answer.is_err();
        Some(answer.map_err(|error| Unasked::from(error).of(&format!("{}, which was asked nothing more", self.label))))
    }
}

/// Asks for every name that the deployment needs, from every side, and says what follows. Writes nothing.
///
/// # Errors
///
/// [`DnsError`] where the API server could not be asked, or nobody answered anything. Who else could not be asked stands
/// in [`Explained::unasked`].
pub async fn explain(cluster: &Cluster, deployment: &Deployment) -> Result<Explained, DnsError> {
    let mut explained = Explained::default();
    match place(cluster, deployment).await {
        // Others can be asked without.
        Err(error) if error.missing_right().is_none() => return Err(error),
        _ => {}
    }
    let cluster_dns = match ClusterDns::look(&cluster.client).await {
        // Nobody can be asked anything.
        Err(error @ ClusterDnsError::Unreachable(_)) => return Err(error.into()),
        other => other,
    };
    let mut parties = Vec::new();
    match &cluster_dns {
        Ok(cluster_dns) => {
            let ready = cluster_dns.pods.iter().filter(|p| p.ready);
            parties.extend(ready.map(|p| {
                let server = Server::new(cluster_dns.api(&cluster.client), &p.name, cluster_dns.port);
                Party::dns_pod(format!("DNS pod {} on {}", p.name, p.node), server)
            }));
        }
        Err(error @ ClusterDnsError::Right { .. }) => {
            explained.notes.push(error.advice().after("the DNS servers themselves were not asked: "));
        }
        Err(error) => explained.unasked.push(error.advice().after("the DNS servers themselves: ")),
    }
    let mut routes = RouteAddresses::default();
    for component in [Component::Sprout, Component::Bono] {
        if !deployment.has(component) {
            continue;
        }
        match Inside::open(cluster, deployment, component).await {
            Ok(mut opened) => {
                resolver(&mut opened, cluster_dns.as_ref().ok(), &mut explained, &mut routes).await;
                parties.push(Party::inside(opened));
            }
            Err(why) => explained.leave_out(why.of(component.name())),
        }
    }
    let mut foreign = virtual_addresses(cluster).await;
    foreign.retain(|ip| routes.go_round(ip));
    let sprout: Name = deployment.names().sprout().parse()?;
    let mut id = 0;
    for need in needs(deployment)? {
        let (mut explanation, leads_to) = one(deployment, &need, &mut parties, &mut id, &mut explained).await?;
        if let Some(ip) = foreign.iter().find(|ip| leads_to.contains(ip) && need.name.is_within(&sprout)) {
            explanation.symptoms.push(format!(
                "{ip} is a Service's virtual address, which stands in the settings' own URIs and not in local_alias_list: sprout \
                 sends requests that carry it in Route to itself until their hops are used up (483 Too many hops)"
            ));
        }
        explained.names.push(explanation);
    }
    // Nobody's silence says that a name is missing.
    if explained.names.iter().all(|name| name.seen.is_empty()) && !explained.names.is_empty() {
        let message = explained
            .unasked
            .iter()
            .chain(&explained.notes)
            .map(|note| note.reason.clone())
            .collect::<Vec<_>>()
            .join("; ");
        let what = format!("the names of namespace {}", cluster.namespace);
        return Err(DnsError::unreachable(what, format!("nobody could be asked: {message}")));
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

/// Addresses in settings of the containers that come into Routes, and those that sprout takes for its own. A name in a
/// Route is served whatever it leads to.
#[derive(Default)]
struct RouteAddresses {
    written: Vec<IpAddr>,
    own: Vec<IpAddr>,
}

impl RouteAddresses {
    fn take(&mut self, settings: &Settings) {
        let address = |text: &str| text.trim().trim_matches(['[', ']']).parse::<IpAddr>().ok();
        let own = settings.get("local_alias_list").unwrap_or_default();
        self.own.extend(own.split(',').filter_map(address));
        for key in ["upstream_hostname", "sprout_hostname"].into_iter().chain(HostSetting::Uri.keys()) {
            let value = settings.get(key).unwrap_or_default();
            let value =
                value.split_once(':').filter(|(scheme, _)| scheme.starts_with("sip")).map_or(value, |(_, rest)| rest);
            let host = value.split(';').next().unwrap_or_default();
            self.written.extend(address(host).or_else(|| address(host.rsplit_once(':')?.0)));
        }
    }

    /// Whether a request with this address in Route goes round in sprout.
    fn go_round(&self, ip: &IpAddr) -> bool {
        self.written.contains(ip) && !self.own.contains(ip)
    }
}

/// The virtual addresses of sprout's Services.
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
    routes: &mut RouteAddresses,
) {
    let component = inside.component;
    let settings = match settings(inside).await {
        Ok(settings) => settings,
        Err(why) => {
            explained.leave_out(why.of(component.name()));
            return;
        }
    };
    routes.take(&settings);
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
    parties: &mut [Party],
    id: &mut u16,
    explained: &mut Explained,
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
        *id = id.wrapping_add(1);
        let asked = parties.iter_mut().map(|party| async {
            let answer = party.ask(*id, &name, *record_type).await;
            (party.label.as_str(), answer)
        });
        for (label, answer) in join_all(asked).await {
            match answer {
                Some(Ok(answer)) => take(label, &name, *record_type, &answer, true),
                Some(Err(why)) => explained.leave_out(why),
                None => {}
            }
        }
        let first = parties.iter_mut().find(|party| party.is_dns_pod());
        if let (Some(short), true, Some(party)) = (&short, literal, first)
            && let Some(Ok(answer)) = party.ask(*id, short, *record_type).await
        {
            let label = format!("{}, the short name as c-ares would ask it", party.label);
            take(&label, short, *record_type, &answer, false);
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Of eight names each silent pod would be waited for anew.
    #[tokio::test]
    async fn who_is_silent_is_not_waited_for_twice() {
        let reason = |unasked| match unasked {
            Unasked::LeftOut(why) | Unasked::Forbidden(why) | Unasked::Failed(why) => why,
        };
        let pods = crate::fake_api::refusing(500, "InternalError").api();
        let mut party = Party::dns_pod("DNS pod coredns-1".to_owned(), Server::new(pods, "coredns-1", 53));
        let name = "sprout.ims.svc.cluster.local".parse().unwrap();
        let said = reason(party.ask(1, &name, RecordType::A).await.unwrap().unwrap_err());
        assert!(said.contains("coredns-1") && said.contains("asked nothing more"), "{said}");
        assert!(party.ask(2, &name, RecordType::A).await.is_none());
    }

    #[test]
    fn an_address_goes_round_only_where_it_stands_in_a_route_itself() {
        let goes_round = |text: &str| {
            let mut routes = RouteAddresses::default();
            routes.take(&Settings::parse(text).unwrap());
            routes.go_round(&"10.96.0.77".parse().unwrap())
        };
        assert!(!goes_round("upstream_hostname=sprout.ims\nscscf_uri=\"sip:sprout.ims:5054;transport=tcp\"\n"));
        for written in [
            "upstream_hostname=10.96.0.77",
            "icscf_uri=\"sip:10.96.0.77:5052;transport=tcp\"",
            "bgcf_uri=sip:10.96.0.77",
        ] {
            assert!(goes_round(written), "{written}");
            assert!(!goes_round(&format!("{written}\nlocal_alias_list=10.96.0.1,10.96.0.77")), "{written}");
        }
    }

    #[test]
    fn what_nobody_was_asked_for_is_not_missing() {
        let name = |seen: bool, found: bool, optional: bool| Explanation {
            name: "scscf.sprout".to_owned(),
            types: Vec::new(),
            askers: Vec::new(),
            why: String::new(),
            given_by: GivenBy::Backend,
            optional,
            seen: Vec::from_iter(seen.then(|| SeenAnswer {
                server: "coredns-1".to_owned(),
                asked: "scscf.sprout.".to_owned(),
                r#type: "A".to_owned(),
                answer: "NXDOMAIN".to_owned(),
            })),
            found,
            symptoms: Vec::new(),
        };
        let unwell = |name| Explained { names: vec![name], ..Explained::default() }.is_unwell();
        assert!(unwell(name(true, false, false)));
        assert!(
            !unwell(name(true, true, false)) && !unwell(name(true, false, true)) && !unwell(name(false, false, false))
        );
    }
}
