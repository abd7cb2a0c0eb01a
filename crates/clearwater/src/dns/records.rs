use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::Serialize;
use thiserror::Error;

use super::names::HOMESTEAD_ALIAS;
use super::{Cscf, InvalidName, Name, Names, RecordData, RecordType, Zone};
use crate::component::{Component, Release, port};
use crate::config::{Deployment, DnsBackend};

/// The lifetime of every record, in seconds: SkyDNS' and CoreDNS' own default for cluster names.
pub const TTL: u32 = 30;

/// The addresses that names have to lead to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Targets {
    components: BTreeMap<Component, Vec<IpAddr>>,
    cscfs: BTreeMap<Cscf, Vec<IpAddr>>,
}

impl Targets {
    /// The addresses that a component is reached at: its pods', or its Service's virtual one.
    #[must_use]
    pub fn with(mut self, component: Component, addresses: impl IntoIterator<Item = IpAddr>) -> Self {
        self.components.entry(component).or_default().extend(addresses);
        self
    }

    /// The addresses of the sprout pods that stand for one function, where pods are divided so.
    #[must_use]
    pub fn with_cscf(mut self, cscf: Cscf, addresses: impl IntoIterator<Item = IpAddr>) -> Self {
        self.cscfs.entry(cscf).or_default().extend(addresses);
        self
    }

    /// A component's addresses.
    pub fn of(&self, component: Component) -> &[IpAddr] {
        self.components.get(&component).map_or(&[], Vec::as_slice)
    }

    fn of_cscf(&self, cscf: Cscf) -> &[IpAddr] {
        self.cscfs.get(&cscf).map_or_else(|| self.of(Component::Sprout), Vec::as_slice)
    }
}

/// Records that cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RecordsError {
    /// Nobody said where a component is.
    #[error("{name}: no address of {component} is known; start it, or hand its addresses in")]
    NoAddress {
        /// The name that needs it.
        name: Name,
        /// The component.
        component: Component,
    },
    /// A name that is too long or malformed.
    #[error(transparent)]
    Name(#[from] InvalidName),
    /// A rule that another one contradicts.
    #[error("{name} cannot be answered by the Corefile: {why}")]
    Contradiction {
        /// The name.
        name: Name,
        /// Why not.
        why: String,
    },
}

/// The records that have to be in DNS for a deployment with the given backend, apart from those that Kubernetes gives
/// every Service; with [`DnsBackend::Print`] those too, because DNS elsewhere has nobody to give them.
///
/// With [`DnsBackend::Pods`] they are what cluster DNS makes of the pods' host names. With [`DnsBackend::Auto`] it is
/// the release's own choice: pods for classic, and nothing for hunter, which needs no further name.
///
/// What SIP clients look for at the home domain is not among them: see [`client_records`].
///
/// ```
/// # use clearwater::config::{DeploymentFile, DnsBackend};
/// use clearwater::component::Component;
/// use clearwater::dns::{Targets, records};
///
/// let yaml = "apiVersion: clearwater/v1\nrelease: classic\nimages: {registry: r.example/cw, tag: '2016'}\n";
/// let classic = DeploymentFile::parse(yaml, "clearwater.yaml")?.deploy("ims")?;
/// let targets = Targets::default().with(Component::Sprout, ["10.1.2.3".parse()?]);
/// let zone = records(&classic, DnsBackend::Coredns, &targets)?;
/// assert!(zone.to_string().contains("icscf.sprout.ims.svc.cluster.local. 30 IN A 10.1.2.3\n"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// A name that cannot be made, or a component without an address.
pub fn records(deployment: &Deployment, backend: DnsBackend, targets: &Targets) -> Result<Zone, RecordsError> {
    let names = deployment.names().for_backend(backend);
    let backend = names.backend();
    let mut zone = Zone::new();
    if backend == DnsBackend::Print || (backend == DnsBackend::Coredns && !names.zone_is_kubernetes()) {
        for (name, component, _) in component_names(deployment, &names)? {
            addresses(&mut zone, &name, component, targets.of(component))?;
        }
    }
    if backend == DnsBackend::Etcd {
        let sprout = names.sprout().parse()?;
        addresses(&mut zone, &sprout, Component::Sprout, targets.of(Component::Sprout))?;
    }
    for sub in sub_domains_of(deployment, &names)? {
        addresses(&mut zone, &sub.name, Component::Sprout, targets.of_cscf(sub.cscf))?;
        if !sub.publishes_srv {
            continue;
        }
        let service = sub.name.prepend("_sip._tcp")?;
        let srv = |weight, target| RecordData::Srv { priority: 10, weight, port: sub.cscf.port(), target };
        if backend == DnsBackend::Etcd {
            // SkyDNS answers SRV with the names of the keys it finds and addresses at these, and weights as shares of
            // a hundred.
            let share = 100 / u16::try_from(targets.of(Component::Sprout).len().clamp(1, 100)).unwrap_or(1);
            for ip in targets.of(Component::Sprout) {
                let host = service.prepend(&address_label(*ip))?;
                zone.insert(host.clone(), TTL, (*ip).into());
                zone.insert(service.clone(), TTL, srv(share, host));
            }
        } else {
            zone.insert(service.clone(), TTL, srv(10, sub.target.clone()));
        }
        if backend == DnsBackend::Print {
            zone.insert(sub.name.clone(), TTL, naptr(10, "SIP+D2T", service));
        }
    }
    Ok(zone)
}

/// What SIP clients that are told nothing but the home domain look for (RFC 3263 §4): NAPTR, SRV and addresses that
/// lead to Bono. Clearwater itself asks for none of them.
///
/// # Errors
/// A name that cannot be made, or no address of Bono.
pub fn client_records(deployment: &Deployment, targets: &Targets) -> Result<Zone, RecordsError> {
    let names = deployment.names();
    let home: Name = names.home_domain().parse()?;
    let mut zone = client_statics(&names)?;
    addresses(&mut zone, &home, Component::Bono, targets.of(Component::Bono))?;
    let bono: Name = names.host(Component::Bono).parse()?;
    addresses(&mut zone, &bono, Component::Bono, targets.of(Component::Bono))?;
    Ok(zone)
}

/// The port that Bono writes into SIP routes.
const SIP: u16 = port(Component::Bono, "sip-tcp");

fn client_statics(names: &Names) -> Result<Zone, InvalidName> {
    let home: Name = names.home_domain().parse()?;
    let bono: Name = names.host(Component::Bono).parse()?;
    let mut zone = Zone::new();
    for (order, transport, service) in [(10, "_tcp", "SIP+D2T"), (20, "_udp", "SIP+D2U")] {
        let at = home.prepend(&format!("_sip.{transport}"))?;
        zone.insert(home.clone(), TTL, naptr(order, service, at.clone()));
        let srv = RecordData::Srv { priority: 10, weight: 10, port: SIP, target: bono.clone() };
        zone.insert(at, TTL, srv);
    }
    Ok(zone)
}

fn naptr(order: u16, service: &str, replacement: Name) -> RecordData {
    let (flags, service, regexp) = ("s".to_owned(), service.to_owned(), String::new());
    RecordData::Naptr { order, preference: 50, flags, service, regexp, replacement }
}

fn addresses(zone: &mut Zone, name: &Name, component: Component, ips: &[IpAddr]) -> Result<(), RecordsError> {
    if ips.is_empty() {
        return Err(RecordsError::NoAddress { name: name.clone(), component });
    }
    for ip in ips {
        zone.insert(name.clone(), TTL, (*ip).into());
    }
    Ok(())
}

/// A label for an address: `ip-10-96-0-77`.
pub(super) fn address_label(ip: IpAddr) -> String {
    let text: String = ip.to_string().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    // A label must not end in a hyphen, as `fd00::` would.
    format!("ip-{}", if text.ends_with('-') { format!("{text}0") } else { text })
}

/// Every component's name in the zone, with the name its Service has from Kubernetes.
fn component_names(d: &Deployment, names: &Names) -> Result<Vec<(Name, Component, Name)>, InvalidName> {
    let mut list = Vec::new();
    let mut add = |name: String, component, service: String| -> Result<(), InvalidName> {
        let entry = (name.parse()?, component, service.parse()?);
        if !list.contains(&entry) {
            list.push(entry);
        }
        Ok(())
    };
    for entry in d.components() {
        let component = entry.component;
        if matches!(component, Component::Etcd | Component::Memcached) {
            continue;
        }
        // The classic release has one name, and one Service, for both parts of homestead.
        let service = match component {
            Component::Homestead | Component::HomesteadProv if d.release() == Release::Classic => HOMESTEAD_ALIAS,
            other => other.name(),
        };
        let target = if service == HOMESTEAD_ALIAS { Component::Homestead } else { component };
        add(names.host(component), target, names.service(service))?;
    }
    add(names.in_zone(HOMESTEAD_ALIAS), Component::Homestead, names.service(HOMESTEAD_ALIAS))?;
    Ok(list)
}

/// A sub-domain of sprout's name that stands for one of its functions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SubDomain {
    /// The function.
    #[serde(skip)]
    pub cscf: Cscf,
    /// The label before sprout's name: the host name of a pod or of an endpoint.
    pub label: &'static str,
    /// The whole name.
    pub name: Name,
    /// The name whose addresses it has to have.
    pub target: Name,
    /// The function's SIP port.
    pub port: u16,
    /// Whether the backend can publish SRV records below it.
    pub publishes_srv: bool,
}

/// The sub-domains that a deployment's configuration names: none for hunter. They are the host names that endpoints
/// must have with [`DnsBackend::Endpoints`] and that pods have with [`DnsBackend::Pods`].
///
/// # Errors
/// A zone of which no name can be made.
pub fn sub_domains(deployment: &Deployment, backend: DnsBackend) -> Result<Vec<SubDomain>, InvalidName> {
    sub_domains_of(deployment, &deployment.names().for_backend(backend))
}

fn sub_domains_of(deployment: &Deployment, names: &Names) -> Result<Vec<SubDomain>, InvalidName> {
    if deployment.release() != Release::Classic {
        return Ok(Vec::new());
    }
    let sprout = names.sprout();
    let publishes_srv = matches!(names.backend(), DnsBackend::Coredns | DnsBackend::Etcd | DnsBackend::Print);
    let target: Name = match names.backend() {
        DnsBackend::Coredns => names.service(Component::Sprout.name()).parse()?,
        _ => sprout.parse()?,
    };
    Cscf::ALL
        .into_iter()
        .filter(|cscf| names.cscf(*cscf) != sprout)
        .map(|cscf| {
            let (name, port) = (names.cscf(cscf).parse()?, cscf.port());
            Ok(SubDomain { cscf, label: cscf.label(), name, target: target.clone(), port, publishes_srv })
        })
        .collect()
}

/// What CoreDNS has to be told: names to answer as if others had been asked for, and records that are always the same.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// Names, and the names in whose place they stand.
    pub aliases: BTreeMap<Name, Name>,
    /// Records; where they stand at an alias they are given at the name in its place.
    pub records: Zone,
}

/// The rules by which CoreDNS gives a deployment's names. Empty for hunter in the namespace's own zone.
///
/// # Errors
/// A zone of which no name can be made.
pub fn rules(deployment: &Deployment) -> Result<Rules, InvalidName> {
    let names = deployment.names().for_backend(DnsBackend::Coredns);
    let mut rules = Rules::default();
    if !names.zone_is_kubernetes() {
        rules
            .aliases
            .extend(component_names(deployment, &names)?.into_iter().map(|(name, _, service)| (name, service)));
    }
    for sub in sub_domains_of(deployment, &names)? {
        let service = sub.name.prepend("_sip._tcp")?;
        let data = RecordData::Srv { priority: 10, weight: 10, port: sub.port, target: sub.target.clone() };
        rules.records.insert(service, TTL, data);
        rules.aliases.insert(sub.name, sub.target);
    }
    Ok(rules)
}

/// The rules by which CoreDNS answers SIP clients that ask for the home domain.
///
/// `None` where the home domain is not the namespace's own: inside the cluster its answers would hide those that
/// everybody else gets.
///
/// # Errors
/// A home domain of which no name can be made.
pub fn client_rules(deployment: &Deployment) -> Result<Option<Rules>, InvalidName> {
    let names = deployment.names();
    let home: Name = names.home_domain().parse()?;
    if !home.is_within(&names.service_domain().parse()?) {
        return Ok(None);
    }
    let bono: Name = names.service(Component::Bono.name()).parse()?;
    let aliases = BTreeMap::from([(home, bono)]);
    Ok(Some(Rules { aliases, records: client_statics(&names)? }))
}

impl Rules {
    /// Whether there is nothing to tell.
    pub fn is_empty(&self) -> bool {
        self.aliases.is_empty() && self.records.is_empty()
    }

    /// These rules and others.
    pub fn merge(&mut self, other: Self) {
        self.aliases.extend(other.aliases);
        self.records.merge(other.records);
    }

    /// The rules as lines of a server block of a Corefile, each a line of its own: `rewrite` for names, whose answers
    /// CoreDNS gives the asked name again, `template` for records.
    ///
    /// CoreDNS rewrites before it looks at templates (`plugin.cfg`), so that a record at an alias is put at the name
    /// in its place. Two aliases of one name cannot have records of one type, therefore.
    ///
    /// ```
    /// use clearwater::dns::Rules;
    ///
    /// let mut rules = Rules::default();
    /// rules.aliases.insert("icscf.sprout.ims.svc.cluster.local".parse()?, "sprout.ims.svc.cluster.local".parse()?);
    /// assert_eq!(
    ///     rules.corefile_lines()?,
    ///     ["rewrite name exact icscf.sprout.ims.svc.cluster.local. sprout.ims.svc.cluster.local."]
    /// );
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// A record that no line of a Corefile can give.
    pub fn corefile_lines(&self) -> Result<Vec<String>, RecordsError> {
        let mut lines = Vec::new();
        for (name, target) in &self.aliases {
            let contradiction = |why: String| RecordsError::Contradiction { name: name.clone(), why };
            if self.aliases.contains_key(target) {
                return Err(contradiction(format!("{target}, which stands in its place, is itself rewritten")));
            }
            let address = [RecordType::A, RecordType::Aaaa, RecordType::Cname];
            if address.into_iter().any(|t| self.records.get(name, t).is_some()) {
                return Err(contradiction(format!("it is rewritten to {target} and has addresses of its own")));
            }
            lines.push(format!("rewrite name exact {name}. {target}."));
        }
        let mut seen = BTreeMap::new();
        for (name, record_type, set) in self.records.sets() {
            let asked = self.aliases.get(name).unwrap_or(name);
            if let Some(other) = seen.insert((asked, record_type), name) {
                let why = format!("{other} is rewritten to the same name and has {record_type} records too");
                return Err(RecordsError::Contradiction { name: name.clone(), why });
            }
            let pattern = asked.as_str().replace('.', "[.]");
            lines.push(format!("template IN {record_type} {asked} {{"));
            lines.push(format!("    match \"^{pattern}[.]$\""));
            for data in set.data() {
                let answer = format!("{{{{ .Name }}}} {} IN {record_type} {data}", set.ttl());
                lines.push(format!("    answer \"{}\"", answer.replace('"', "\\\"")));
            }
            lines.push("    fallthrough".to_owned());
            lines.push("}".to_owned());
        }
        Ok(lines)
    }
}
