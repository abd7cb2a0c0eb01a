use std::fmt;
use std::net::IpAddr;

use serde::Serialize;

use super::{Cscf, InvalidName, Name, Names, RecordType};
use crate::component::{Component, Release};
use crate::config::shell::Settings;
use crate::config::{Deployment, DnsBackend, HostSetting};
use crate::names::named;

/// How a program turns a name into an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Resolver {
    /// c-ares, with the servers of `signaling_dns_server`: only the literal name is asked for, search domains and
    /// `/etc/hosts` count for nothing (cpp-common `src/dnscachedresolver.cpp`).
    CAres,
    /// The system's: search domains and `/etc/hosts` count.
    System,
    /// One outside of the cluster: a subscriber's device or browser.
    Outside,
}

named! {
    /// The name used in listings.
    Resolver {
        CAres = "c-ares",
        System = "system",
        Outside = "outside",
    }
}

/// Who asks for a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Asker {
    /// The component; `None` for subscribers' devices and browsers.
    pub component: Option<Component>,
    /// The program in its container that asks.
    pub program: &'static str,
    /// How it asks.
    pub resolver: Resolver,
}

impl fmt::Display for Asker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.component {
            Some(component) if component.name() == self.program => write!(f, "{component}")?,
            Some(component) => write!(f, "{} in {component}", self.program)?,
            None => write!(f, "{}", self.program)?,
        }
        write!(f, " ({})", self.resolver)
    }
}

/// Where the answer comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum GivenBy {
    /// Kubernetes, because a Service of that name stands.
    Service,
    /// The DNS backend of the deployment.
    Backend,
    /// Nobody in the cluster: DNS elsewhere has to know it.
    Elsewhere,
}

/// A name that a deployment needs in DNS.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NeededName {
    /// The name. etcd's has one label: it is asked for through the search domains.
    pub name: Name,
    /// The record types that are asked for. A or AAAA, whichever family the pods have, where both are listed.
    pub types: &'static [RecordType],
    /// Who asks.
    pub askers: Vec<Asker>,
    /// What the name has to lead to; `None` where that is outside of the deployment.
    pub target: Option<Component>,
    /// Where the answer comes from.
    pub given_by: GivenBy,
    /// Whether the deployment works without it, less what `without` says.
    pub optional: bool,
    /// What it is asked for.
    pub why: &'static str,
    /// What is seen without it.
    pub without: &'static str,
    /// Where this was read.
    pub source: &'static str,
}

const ADDRESS: &[RecordType] = &[RecordType::A, RecordType::Aaaa];
const RESOLVER: &str = "cpp-common src/dnscachedresolver.cpp";

const fn daemon(component: Component) -> Asker {
    let resolver = match component {
        Component::HomesteadProv | Component::Homer | Component::Ellis => Resolver::System,
        _ => Resolver::CAres,
    };
    Asker { component: Some(component), program: component.name(), resolver }
}

const SIP_CLIENT: Asker = Asker { component: None, program: "SIP client", resolver: Resolver::Outside };
const BROWSER: Asker = Asker { component: None, program: "browser", resolver: Resolver::Outside };

struct NeedsList<'a> {
    deployment: &'a Deployment,
    names: Names,
    needs: Vec<NeededName>,
}

impl NeedsList<'_> {
    fn add(&mut self, need: NeededName) {
        if let Some(same) = self.needs.iter_mut().find(|n| n.name == need.name && n.types == need.types) {
            same.askers.extend(need.askers);
            same.askers.sort_unstable();
            same.askers.dedup();
            same.optional &= need.optional;
        } else {
            self.needs.push(need);
        }
    }

    /// A component's own name, asked for by those of the askers that the deployment runs.
    fn component(
        &mut self,
        target: Component,
        askers: &[Component],
        why: &'static str,
        without: &'static str,
        source: &'static str,
    ) -> Result<(), InvalidName> {
        let askers: Vec<_> = askers.iter().filter(|c| self.deployment.has(**c)).map(|c| daemon(*c)).collect();
        if askers.is_empty() || !self.deployment.has(target) {
            return Ok(());
        }
        let name: Name = self.names.host(target).parse()?;
        let given_by = self.giver(&name);
        let types = ADDRESS;
        self.add(NeededName {
            name,
            types,
            askers,
            target: Some(target),
            given_by,
            optional: false,
            why,
            without,
            source,
        });
        Ok(())
    }

    fn giver(&self, name: &Name) -> GivenBy {
        let below = |zone: String| zone.parse::<Name>().is_ok_and(|zone| name.is_within(&zone));
        if below(self.names.service_domain()) {
            return GivenBy::Service;
        }
        match self.names.backend() {
            DnsBackend::Coredns if below(self.names.zone().to_owned()) => GivenBy::Backend,
            DnsBackend::Etcd if below(format!("clearwater.{}", self.deployment.cluster_domain())) => GivenBy::Backend,
            _ => GivenBy::Elsewhere,
        }
    }
}

/// The names that a deployment needs in DNS: who asks for each, how, and what breaks without it.
///
/// ```
/// # use clearwater::config::DeploymentFile;
/// use clearwater::dns::{GivenBy, needs};
///
/// let hunter = DeploymentFile::default().deploy("ims")?;
/// for need in needs(&hunter)? {
///     println!("{}: {}", need.name, need.why);
/// }
/// // The April 2017 images ask for no name that Kubernetes cannot give.
/// assert!(needs(&hunter)?.iter().all(|n| n.given_by == GivenBy::Service || n.optional));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// A zone or namespace of which no name can be made.
pub fn needs(deployment: &Deployment) -> Result<Vec<NeededName>, InvalidName> {
    use Component::{Bono, Cassandra, Chronos, Ellis, Homer, Homestead, HomesteadProv, Ralf, Sprout};
    let mut list = NeedsList { deployment, names: deployment.names(), needs: Vec::new() };
    let classic = deployment.release() == Release::Classic;

    etcd(&mut list)?;
    let built_in = deployment.file().hss.is_none();
    list.component(
        Cassandra,
        if built_in { &[Homestead, HomesteadProv, Homer] } else { &[Homer] },
        "the subscriber database",
        "homestead restarts for ever (BACKOFF), homestead-prov gives up (FATAL)",
        "homestead src/main.cpp; crest src/metaswitch/homestead_prov/cassandra.py",
    )?;
    if !classic {
        list.component(
            Component::Astaire,
            &[Sprout, Homestead, Ralf],
            "registrations, authentication challenges, homestead's cache and billing sessions",
            "REGISTER is answered 500",
            "cpp-common src/astaire_resolver.cpp",
        )?;
    }
    if classic && built_in {
        // The image of 2016 runs both parts of homestead, and its provisioning part resolves as the later one does.
        let asker = Asker { component: Some(Homestead), program: "homestead-prov", resolver: Resolver::System };
        let database = list.names.host(Cassandra);
        if let Some(need) = list.needs.iter_mut().find(|n| n.name.as_str() == database) {
            need.askers.push(asker);
            need.askers.sort_unstable();
        }
    }
    list.component(
        Chronos,
        &[Sprout, Ralf],
        "timers for registrations and challenges",
        "registrations do not expire, interim billing records come late",
        RESOLVER,
    )?;
    list.component(
        Homestead,
        &[Sprout],
        "subscribers and their authentication vectors",
        "REGISTER is answered 403, calls 404",
        "sprout src/hssconnection.cpp",
    )?;
    list.component(
        if classic { Homestead } else { HomesteadProv },
        &[Ellis],
        "subscribers are created there",
        "Ellis says \"Failed to update the server\"",
        "ellis src/metaswitch/ellis/remote/homestead.py",
    )?;
    list.component(
        Homer,
        &[Sprout, Ellis],
        "supplementary service settings",
        "calls go without call services, Ellis creates no numbers",
        "sprout src/xdmconnection.cpp; ellis src/metaswitch/ellis/remote/xdm.py",
    )?;
    list.component(
        Ralf,
        &[Sprout, Bono, Chronos],
        "billing records, and timers that call back",
        "billing records are lost",
        "sprout sprout-base.root/etc/init.d/sprout; ralf src/main.cpp",
    )?;
    list.component(
        Sprout,
        if classic { &[Chronos, Homestead] } else { &[Bono, Sprout, Chronos, Homestead] },
        if classic {
            "the timers and de-registrations that call back on port 9888"
        } else {
            "Bono's upstream, sprout's own URIs, and the timers and de-registrations that call back on port 9888"
        },
        if classic {
            "timers fail: registrations do not expire in time"
        } else {
            "Bono answers 408 to every REGISTER and call, timers fail"
        },
        "sprout debian/bono.init.d, sprout-base.root/etc/init.d/sprout; homestead debian/homestead.init.d",
    )?;
    sub_domains(&mut list)?;
    if deployment.has(Bono) {
        outside(&mut list)?;
    }
    if let Some(hss) = deployment.file().hss.as_ref().filter(|hss| hss.hostname.parse::<IpAddr>().is_err()) {
        list.needs.push(NeededName {
            name: list.names.hss(&hss.hostname).parse()?,
            types: ADDRESS,
            askers: vec![daemon(Homestead)],
            target: None,
            given_by: GivenBy::Elsewhere,
            optional: false,
            why: "the home subscriber server",
            without: "REGISTER is answered 480",
            source: "homestead src/main.cpp; cpp-common src/diameterresolver.cpp",
        });
    }
    Ok(list.needs)
}

/// The name of etcd, which alone is asked for without a zone.
fn etcd(list: &mut NeedsList<'_>) -> Result<(), InvalidName> {
    use Component::Etcd;
    let proxies = list.deployment.components().map(|e| e.component).filter(|c| *c != Etcd);
    let askers =
        proxies.map(|c| Asker { component: Some(c), program: "etcd proxy", resolver: Resolver::System }).collect();
    list.add(NeededName {
        name: Etcd.name().parse()?,
        types: ADDRESS,
        askers,
        target: Some(Etcd),
        given_by: GivenBy::Service,
        optional: false,
        why: "each container's etcd proxy finds its server by it, through the pod's search domains",
        without: "no store forms a cluster: Cassandra and the session store never open their ports",
        source: "clearwater-infrastructure debian/clearwater-auto-config-docker.init.d",
    });
    Ok(())
}

/// The sub-domains of sprout that the classic release's configuration names.
fn sub_domains(list: &mut NeedsList<'_>) -> Result<(), InvalidName> {
    use Component::{Bono, Sprout};
    if list.deployment.release() != Release::Classic {
        return Ok(());
    }
    let by_itself = |backend| matches!(backend, DnsBackend::Pods | DnsBackend::Endpoints);
    for cscf in Cscf::ALL {
        let (why, without) = match cscf {
            Cscf::Scscf => (
                "Bono's upstream and the URI of the S-CSCF, which clients get as Service-Route",
                "Bono answers 408 to every REGISTER; where it has another upstream, REGISTER is answered 200 and calls 408",
            ),
            Cscf::Icscf => (
                "the URI of the I-CSCF, where calls to a subscriber enter",
                "nothing is seen where one sprout is I-CSCF and S-CSCF: it hands requests on inside, and nobody asks",
            ),
            Cscf::Bgcf => (
                "the URI of the BGCF, where calls leave for other networks",
                "nothing is seen where one sprout is BGCF and S-CSCF: it hands requests on inside, and nobody asks",
            ),
        };
        let askers = match cscf {
            Cscf::Scscf => vec![daemon(Sprout), daemon(Bono)],
            Cscf::Icscf | Cscf::Bgcf => vec![daemon(Sprout)],
        };
        let name: Name = list.names.cscf(cscf).parse()?;
        let given_by = match list.giver(&name) {
            // Below a Service's name Kubernetes answers only what pods and EndpointSlices are named.
            GivenBy::Service if name.as_str() != list.names.sprout() && !by_itself(list.names.backend()) => {
                match list.names.backend() {
                    DnsBackend::Coredns => GivenBy::Backend,
                    _ => GivenBy::Elsewhere,
                }
            }
            GivenBy::Service if name.as_str() != list.names.sprout() => GivenBy::Backend,
            giver => giver,
        };
        list.add(NeededName {
            name,
            types: ADDRESS,
            askers,
            target: Some(Sprout),
            given_by,
            optional: false,
            why,
            without,
            source: "sprout include/sproutlet_options.h, src/sipresolver.cpp",
        });
    }
    Ok(())
}

/// What those outside look for, and what only they would miss.
fn outside(list: &mut NeedsList<'_>) -> Result<(), InvalidName> {
    use Component::{Bono, Ellis, Homestead};
    let clients = |name: Name, target, asker, why, without, list: &NeedsList<'_>| NeededName {
        given_by: list.giver(&name),
        name,
        types: ADDRESS,
        askers: vec![asker],
        target: Some(target),
        optional: true,
        why,
        without,
        source: "clearwater-docker README.md",
    };
    let name = list.names.host(Bono).parse()?;
    let need = clients(name, Bono, SIP_CLIENT, "clients' outbound proxy", "clients need Bono's address", list);
    list.add(need);
    if list.deployment.has(Ellis) {
        let name = list.names.host(Ellis).parse()?;
        let need = clients(name, Ellis, BROWSER, "the self-care pages", "browsers need Ellis' address", list);
        list.add(need);
    }
    let name: Name = list.names.turn_credentials().parse()?;
    list.add(NeededName {
        given_by: list.giver(&name),
        name,
        types: ADDRESS,
        askers: vec![Asker { component: Some(Bono), program: "restund", resolver: Resolver::System }],
        target: Some(Homestead),
        optional: true,
        why: "TURN passwords are checked there; the name is built into restund",
        without: "TURN relays are refused; STUN and calls work",
        source: "sprout restund.root/usr/share/clearwater/infrastructure/scripts/restund",
    });
    let home: Name = list.names.home_domain().parse()?;
    let in_namespace = home.is_within(&list.names.service_domain().parse()?);
    let home_given = match list.names.backend() {
        DnsBackend::Coredns if in_namespace => GivenBy::Backend,
        _ => GivenBy::Elsewhere,
    };
    let wanted: [(Name, &'static [RecordType], &'static str); 4] = [
        (home.clone(), &[RecordType::Naptr], "which transports there are, for a client that is told the domain only"),
        (home.prepend("_sip._tcp")?, &[RecordType::Srv], "host and port for a client that chose TCP"),
        (home.prepend("_sip._udp")?, &[RecordType::Srv], "host and port for a client that chose UDP"),
        (home, ADDRESS, "the address, for a client that knows neither NAPTR nor SRV"),
    ];
    for (name, types, why) in wanted {
        list.add(NeededName {
            name,
            types,
            askers: vec![SIP_CLIENT],
            target: Some(Bono),
            given_by: home_given,
            optional: true,
            why,
            without: "clients need an outbound proxy in their settings",
            source: "RFC 3263 §4",
        });
    }
    Ok(())
}

/// A question that a container's configuration makes its programs ask.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Question {
    /// The name.
    pub name: Name,
    /// The types, of which A or AAAA by the pods' address family.
    pub types: &'static [RecordType],
    /// The setting that names it.
    pub setting: String,
}

impl Question {
    /// Whether it asks for addresses, and for nothing that leads to them.
    pub fn is_for_addresses(&self) -> bool {
        self.types == ADDRESS
    }
}

/// What the settings of a running container make it ask DNS for, in the order of the names.
///
/// SIP URIs follow RFC 3263: with a port only addresses are asked for; without one, SRV for the transport; without a
/// transport, NAPTR first. Addresses and names that are none are passed over.
pub fn questions(settings: &Settings) -> Vec<Question> {
    let mut questions = Vec::new();
    let hosts = [HostSetting::Component, HostSetting::Store, HostSetting::Outside];
    for key in hosts.into_iter().flat_map(HostSetting::keys) {
        let Some(value) = settings.get(key) else { continue };
        let host = value.rsplit_once(':').map_or(value, |(host, _)| host);
        if let Some(name) = host_name(host) {
            questions.push(Question { name, types: ADDRESS, setting: key.to_owned() });
        }
    }
    for key in HostSetting::Uri.keys() {
        let uri = settings.get(key).unwrap_or_default();
        let Some(rest) = uri.strip_prefix("sip:").or_else(|| uri.strip_prefix("sips:")) else { continue };
        let mut parts = rest.split(';');
        let host = parts.next().unwrap_or_default();
        let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
        let transport = parts.find_map(|p| p.strip_prefix("transport=")).map(str::to_ascii_lowercase);
        let (host, port) = host.rsplit_once(':').map_or((host, false), |(host, _)| (host, true));
        let Some(name) = host_name(host) else { continue };
        let setting = key.to_owned();
        match (port, transport) {
            (true, _) => questions.push(Question { name, types: ADDRESS, setting }),
            (false, Some(transport)) => {
                if let Ok(name) = name.prepend(&format!("_sip._{transport}")) {
                    questions.push(Question { name, types: &[RecordType::Srv], setting });
                }
            }
            (false, None) => questions.push(Question { name, types: &[RecordType::Naptr], setting }),
        }
    }
    questions.sort();
    questions
}

fn host_name(host: &str) -> Option<Name> {
    let is_address = host.starts_with('[') || host.parse::<IpAddr>().is_ok();
    if is_address { None } else { host.parse().ok() }
}
