//! Records as SkyDNS keeps them in etcd: one JSON value a key, the name's labels reversed.
//!
//! CoreDNS' etcd plugin reads the same format over etcd v3 (coredns `plugin/etcd/etcd.go`), the SkyDNS of Kubernetes
//! 1.4's days over etcd v2. Both answer a name with everything that lies *below* its key and look at the key itself
//! only where nothing lies below. So each address gets a key of its own below the name, no key stands where others lie
//! below it, and a name's answer is that of its whole subtree: [`keys`] proves that this is what the zone says before
//! it gives a single key.
//!
//! ```
//! use clearwater::dns::{Zone, skydns};
//!
//! let zone: Zone = "icscf.sprout.ims.clearwater.cluster.local. 30 IN A 10.96.0.77\n".parse()?;
//! let keys = skydns::keys(&zone, &["svc.cluster.local".parse()?])?;
//! assert_eq!(keys[0].path, "/skydns/local/cluster/clearwater/ims/sprout/icscf/ip-10-96-0-77");
//! assert_eq!(keys[0].value, r#"{"host":"10.96.0.77","priority":10,"weight":10,"ttl":30,"targetstrip":0}"#);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::collections::BTreeSet;
use std::net::IpAddr;

use serde::Serialize;
use thiserror::Error;

use super::records::address_label;
use super::{InvalidName, Name, RecordData, RecordType, Zone};
use crate::config::shell::quote;

/// The key below which SkyDNS and CoreDNS keep everything, unless they are told otherwise.
pub const PREFIX: &str = "/skydns";

/// A key and its value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Key {
    /// The key.
    pub path: String,
    /// The value: JSON.
    pub value: String,
}

/// A zone that SkyDNS' format cannot carry.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SkyDnsError {
    /// A record type that the format does not know.
    #[error("{name}: SkyDNS' format has no {record_type} records; use the coredns backend for them")]
    Type {
        /// The name.
        name: Name,
        /// The type.
        record_type: RecordType,
    },
    /// A name that somebody else keeps in step with Services, and would sweep away.
    #[error(
        "{name} lies below {subtree}, whose keys are kept in step with the cluster's Services: a record put there is \
         swept away; choose a name outside of it"
    )]
    Owned {
        /// The name.
        name: Name,
        /// The subtree.
        subtree: Name,
    },
    /// A name would be answered with more, or less, than its records.
    #[error(
        "{name}: SkyDNS answers a name with everything below it, so {record_type} would come out as {found:?} instead \
         of {wanted:?}; give the name and all names below it the same addresses"
    )]
    Answer {
        /// The name.
        name: Name,
        /// The type.
        record_type: RecordType,
        /// What would come out.
        found: Vec<String>,
        /// What the zone says.
        wanted: Vec<String>,
    },
    /// A name that is too long for the label that each record adds.
    #[error(transparent)]
    Name(#[from] InvalidName),
}

struct KeyEntry {
    at: Name,
    host: Host,
    service: Option<(u16, u16, u16)>,
    ttl: u32,
}

enum Host {
    Address(IpAddr),
    Name(Name),
}

/// The keys that make SkyDNS answer as the zone says, in order.
///
/// `owned` are the subtrees that others write, such as `svc.cluster.local`, which a Service sync owns.
///
/// # Errors
/// A record that SkyDNS cannot hold.
pub fn keys(zone: &Zone, owned: &[Name]) -> Result<Vec<Key>, SkyDnsError> {
    if let Some((name, subtree)) =
        zone.names().find_map(|name| owned.iter().find(|o| name.is_within(o)).map(|subtree| (name, subtree)))
    {
        return Err(SkyDnsError::Owned { name: name.clone(), subtree: subtree.clone() });
    }
    let entries = entries(zone)?;
    for (name, record_type, set) in zone.sets() {
        let wanted: BTreeSet<&RecordData> = set.data().collect();
        let found = answers(&entries, name, record_type);
        if found.iter().collect::<BTreeSet<_>>() != wanted {
            let texts = |data: &mut dyn Iterator<Item = &RecordData>| data.map(ToString::to_string).collect();
            return Err(SkyDnsError::Answer {
                name: name.clone(),
                record_type,
                found: texts(&mut found.iter()),
                wanted: texts(&mut wanted.into_iter()),
            });
        }
    }
    let mut keys: Vec<Key> = entries.iter().map(KeyEntry::key).collect();
    keys.sort();
    Ok(keys)
}

fn entries(zone: &Zone) -> Result<Vec<KeyEntry>, SkyDnsError> {
    let mut entries: Vec<KeyEntry> = Vec::new();
    for (name, ttl, data) in zone.records() {
        match data {
            RecordData::Srv { priority, weight, port, target } => {
                let service = Some((*priority, *weight, *port));
                let addresses: Vec<_> = addresses(zone, target).collect();
                if target.parent().as_ref() == Some(name) && addresses.len() == 1 {
                    // A host right below the service's name is the key that both are answered from.
                    let host = addresses.into_iter().next().map(Host::Address);
                    entries.extend(host.map(|host| KeyEntry { at: target.clone(), host, service, ttl }));
                } else {
                    let at = name.prepend(&format!("srv-{}", entries.len()))?;
                    entries.push(KeyEntry { at, host: Host::Name(target.clone()), service, ttl });
                }
            }
            RecordData::Naptr { .. } => {
                return Err(SkyDnsError::Type { name: name.clone(), record_type: RecordType::Naptr });
            }
            RecordData::A(_) | RecordData::Aaaa(_) | RecordData::Cname(_) => {}
        }
    }
    let services = entries.len();
    for (name, ttl, data) in zone.records() {
        let (label, host) = match data {
            RecordData::Cname(target) => ("cname".to_owned(), Host::Name(target.clone())),
            data => match data.address() {
                Some(ip) => (address_label(ip), Host::Address(ip)),
                None => continue,
            },
        };
        let has_key = entries.iter().take(services).any(|e| e.at == *name);
        if !has_key {
            entries.push(KeyEntry { at: name.prepend(&label)?, host, service: None, ttl });
        }
    }
    Ok(entries)
}

fn addresses(zone: &Zone, name: &Name) -> impl Iterator<Item = IpAddr> {
    [RecordType::A, RecordType::Aaaa]
        .into_iter()
        .filter_map(|t| zone.get(name, t))
        .flat_map(|set| set.data().filter_map(RecordData::address).collect::<Vec<_>>())
}

/// What SkyDNS answers: every key below the name, or the name's own where there is none below. Weights become shares
/// of a hundred among records of one priority (coredns `plugin/backend_lookup.go`, SRV).
fn answers(entries: &[KeyEntry], name: &Name, record_type: RecordType) -> BTreeSet<RecordData> {
    let below = || entries.iter().filter(|e| e.at.is_within(name));
    let share = |priority: u16, weight: u16| {
        let same = below().map(|e| e.service.unwrap_or((10, 10, 0))).filter(|(p, ..)| *p == priority);
        let total: u32 = same.map(|(_, w, _)| u32::from(w)).sum();
        (u32::from(weight) * 100).checked_div(total).and_then(|s| u16::try_from(s).ok()).unwrap_or_default()
    };
    below()
        .filter_map(|e| match (record_type, &e.host, e.service) {
            (RecordType::A, Host::Address(ip @ IpAddr::V4(_)), _)
            | (RecordType::Aaaa, Host::Address(ip @ IpAddr::V6(_)), _) => Some((*ip).into()),
            // Asked for an address, SkyDNS gives a name as CNAME.
            (RecordType::Cname | RecordType::A | RecordType::Aaaa, Host::Name(target), _) => {
                Some(RecordData::Cname(target.clone()))
            }
            (RecordType::Srv, host, service) => {
                let (priority, weight, port) = service.unwrap_or((10, 10, 0));
                let target = match host {
                    Host::Address(_) => e.at.clone(),
                    Host::Name(target) => target.clone(),
                };
                Some(RecordData::Srv { priority, weight: share(priority, weight), port, target })
            }
            _ => None,
        })
        .collect()
}

impl KeyEntry {
    fn key(&self) -> Key {
        let host = match &self.host {
            Host::Address(ip) => ip.to_string(),
            Host::Name(name) => name.to_string(),
        };
        let (priority, weight, port) = match self.service {
            Some((priority, weight, port)) => (priority, weight, format!(",\"port\":{port}")),
            None => (10, 10, String::new()),
        };
        let ttl = self.ttl;
        // Every part is a number, an address or a DNS name: none needs escaping.
        let json =
            format!(r#"{{"host":"{host}"{port},"priority":{priority},"weight":{weight},"ttl":{ttl},"targetstrip":0}}"#);
        Key { path: path(&self.at), value: json }
    }
}

/// The key of a name: `/skydns/local/cluster/…`.
pub fn path(name: &Name) -> String {
    name.labels().rev().fold(PREFIX.to_owned(), |path, label| path + "/" + label)
}

/// Commands that put the keys into etcd v3, one a line.
pub fn etcd_v3_put(keys: &[Key]) -> String {
    lines(keys, |k| format!("ETCDCTL_API=3 etcdctl put {} {}", k.path, quote(&k.value)))
}

/// Commands that put the keys into the etcd v2 server at `endpoint` (`http://HOST:2379`), one a line: what the SkyDNS
/// of 2016 reads.
pub fn etcd_v2_put(keys: &[Key], endpoint: &str) -> String {
    lines(keys, |k| {
        let value = quote(&format!("value={}", k.value));
        format!("curl -sSf -X PUT {} --data-urlencode {value}", v2_url(endpoint, k))
    })
}

fn v2_url(endpoint: &str, key: &Key) -> String {
    quote(&format!("{}/v2/keys{}", endpoint.trim_end_matches('/'), key.path))
}

fn lines(keys: &[Key], line: impl Fn(&Key) -> String) -> String {
    let mut text = String::new();
    for key in keys {
        text.push_str(&line(key));
        text.push('\n');
    }
    text
}
