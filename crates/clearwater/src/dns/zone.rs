use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::record::words;
use super::{InvalidData, Name, RecordData, RecordType};

/// The records of one name and type: what one question is answered with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordSet {
    ttl: u32,
    data: BTreeSet<RecordData>,
}

impl RecordSet {
    /// How long the answer may be kept, in seconds.
    pub fn ttl(&self) -> u32 {
        self.ttl
    }

    /// What the records say, in their order. Never empty, never twice the same.
    pub fn data(&self) -> impl Iterator<Item = &RecordData> {
        self.data.iter()
    }
}

/// A set of DNS records.
///
/// Names are in the canonical order of RFC 4034 §6.1, so that parents precede their children and every text made of a
/// zone is the same on every machine. All records of a name and type share one lifetime, as RFC 2181 §5.2 asks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "Vec<JsonSet>", try_from = "Vec<JsonSet>")]
pub struct Zone(BTreeMap<(Name, RecordType), RecordSet>);

/// A name's records of one type, as JSON has them.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct JsonSet {
    name: String,
    r#type: RecordType,
    /// Seconds.
    ttl: u32,
    /// In the form that zone files have.
    data: Vec<String>,
}

impl From<Zone> for Vec<JsonSet> {
    fn from(zone: Zone) -> Self {
        zone.0
            .into_iter()
            .map(|((name, r#type), set)| JsonSet {
                name: name.to_string(),
                r#type,
                ttl: set.ttl,
                data: set.data.iter().map(ToString::to_string).collect(),
            })
            .collect()
    }
}

impl TryFrom<Vec<JsonSet>> for Zone {
    type Error = ZoneFileError;

    fn try_from(sets: Vec<JsonSet>) -> Result<Self, ZoneFileError> {
        let mut zone = Self::default();
        for (i, set) in sets.into_iter().enumerate() {
            let fail = |why: String| ZoneFileError { line: i + 1, why };
            let name: Name = set.name.parse().map_err(|e| fail(format!("{e}")))?;
            for data in set.data {
                let data = RecordData::parse(set.r#type, &data).map_err(|e| fail(e.to_string()))?;
                zone.insert(name.clone(), set.ttl, data);
            }
        }
        Ok(zone)
    }
}

/// A line that is not a record.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("line {line}: {why}")]
pub struct ZoneFileError {
    /// The line, or the element of a JSON list, counted from 1.
    pub line: usize,
    /// What is wrong with it.
    pub why: String,
}

impl Zone {
    /// A zone without records.
    pub const fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// Adds a record that may be kept for `ttl` seconds. Where others of its name and type have another lifetime, the
    /// shorter one holds for all.
    pub fn insert(&mut self, name: Name, ttl: u32, data: RecordData) {
        let set = self.0.entry((name, data.record_type())).or_insert(RecordSet { ttl, data: BTreeSet::new() });
        set.ttl = set.ttl.min(ttl);
        set.data.insert(data);
    }

    /// The records of a name and type.
    pub fn get(&self, name: &Name, record_type: RecordType) -> Option<&RecordSet> {
        self.0.get(&(name.clone(), record_type))
    }

    /// Every name and type with its records, in order.
    pub fn sets(&self) -> impl Iterator<Item = (&Name, RecordType, &RecordSet)> {
        self.0.iter().map(|((name, record_type), set)| (name, *record_type, set))
    }

    /// Every record, in order: name, lifetime in seconds, data.
    pub fn records(&self) -> impl Iterator<Item = (&Name, u32, &RecordData)> {
        self.sets().flat_map(|(name, _, set)| set.data.iter().map(move |data| (name, set.ttl, data)))
    }

    /// The names that have records, in order.
    pub fn names(&self) -> impl Iterator<Item = &Name> {
        let mut last = None;
        self.0.keys().map(|(name, _)| name).filter(move |name| last.replace(*name) != Some(name))
    }

    /// Whether there are no records.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The number of records.
    pub fn len(&self) -> usize {
        self.0.values().map(|set| set.data.len()).sum()
    }

    /// Adds all records of another zone.
    pub fn merge(&mut self, other: Self) {
        for ((name, _), set) in other.0 {
            for data in set.data {
                self.insert(name.clone(), set.ttl, data);
            }
        }
    }

    /// The zone as a file that a name server can load for `origin`: with the SOA and NS records that one needs. They
    /// name `localhost`, which needs no address in the zone; whoever delegates the zone puts in the server's own name.
    /// Secondary servers and reloads go by `serial`: it grows with each change (RFC 1982), as seconds since 1970 do.
    ///
    /// ```
    /// use clearwater::dns::Zone;
    ///
    /// let zone: Zone = "sprout.ims. 30 IN A 10.0.0.7\n".parse()?;
    /// let file = zone.loadable(&"ims".parse()?, 1_700_000_000);
    /// assert!(file.starts_with("ims. 30 IN SOA localhost. hostmaster.ims. 1700000000 "));
    /// assert_eq!(file.parse::<Zone>()?, zone);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn loadable(&self, origin: &Name, serial: u32) -> String {
        format!(
            "{origin}. 30 IN SOA localhost. hostmaster.{origin}. {serial} 7200 1800 86400 30\n{origin}. 30 IN NS \
             localhost.\n{self}"
        )
    }
}

impl fmt::Display for Zone {
    /// The zone as a zone file (RFC 1035 §5.1): one record a line, every name absolute.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.records().try_for_each(|(name, ttl, data)| writeln!(f, "{}", line(name, ttl, data)))
    }
}

fn line(name: &Name, ttl: u32, data: &RecordData) -> String {
    format!("{name}. {ttl} IN {} {data}", data.record_type())
}

impl FromStr for Zone {
    type Err = ZoneFileError;

    /// Reads what [`Zone`]'s `Display` and [`Zone::loadable`] write: absolute names, a lifetime, class IN, one record a
    /// line; comments, blank lines and the records of the zone itself (SOA, NS) are passed over. Directives and records over several lines are errors.
    fn from_str(text: &str) -> Result<Self, ZoneFileError> {
        let mut zone = Self::new();
        for (i, line) in text.lines().enumerate() {
            let fail = |why: String| ZoneFileError { line: i + 1, why };
            let head = words(line).map_err(fail)?;
            let [name, ttl, class, record_type, ..] = head.as_slice() else {
                if head.is_empty() {
                    continue;
                }
                return Err(fail("a record reads NAME TTL IN TYPE DATA".to_owned()));
            };
            let Some(absolute) = name.strip_suffix('.') else {
                return Err(fail(format!("the name {name:?} does not end in a dot; only absolute names are read")));
            };
            let name: Name = absolute.parse().map_err(|e| fail(format!("{e}")))?;
            let ttl: u32 = ttl.parse().map_err(|_| fail(format!("{ttl:?} is not a number of seconds")))?;
            if class != "IN" {
                return Err(fail(format!("the class is {class:?}; only IN is read")));
            }
            if ["SOA", "NS"].contains(&record_type.as_str()) {
                continue;
            }
            let Some(record_type) = RecordType::ALL.into_iter().find(|t| t.name() == record_type) else {
                return Err(fail(format!("{record_type:?} is not a type that is read here")));
            };
            let rest = after_words(line, 4);
            let data = RecordData::parse(record_type, rest).map_err(|e: InvalidData| fail(e.to_string()))?;
            zone.insert(name, ttl, data);
        }
        Ok(zone)
    }
}

/// What follows the first `n` words, none of which is quoted in a record that is read.
fn after_words(line: &str, n: usize) -> &str {
    (0..n).fold(line, |rest, _| {
        let rest = rest.trim_start_matches([' ', '\t']);
        rest.find([' ', '\t']).and_then(|end| rest.get(end..)).unwrap_or_default()
    })
}

/// What became of the records of one name and type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecordChange {
    /// They were not there before.
    Added(RecordSet),
    /// They are gone.
    Removed(RecordSet),
    /// They say something else, or may be kept for another time.
    Changed {
        /// As they were.
        before: RecordSet,
        /// As they are.
        after: RecordSet,
    },
}

/// The difference between two zones: [`ZoneDiff::between`]`(a, b).apply(&a) == b`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ZoneDiff(BTreeMap<(Name, RecordType), RecordChange>);

impl ZoneDiff {
    /// What has to be done to `before` to have `after`.
    pub fn between(before: &Zone, after: &Zone) -> Self {
        let mut changes = BTreeMap::new();
        for (key, old) in &before.0 {
            match after.0.get(key) {
                Some(new) if new == old => {}
                Some(new) => {
                    changes.insert(key.clone(), RecordChange::Changed { before: old.clone(), after: new.clone() });
                }
                None => {
                    changes.insert(key.clone(), RecordChange::Removed(old.clone()));
                }
            }
        }
        for (key, new) in &after.0 {
            if !before.0.contains_key(key) {
                changes.insert(key.clone(), RecordChange::Added(new.clone()));
            }
        }
        Self(changes)
    }

    /// The zone with the changes made. What the diff does not speak of stays.
    #[must_use]
    pub fn apply(&self, zone: &Zone) -> Zone {
        let mut sets = zone.0.clone();
        for (key, change) in &self.0 {
            match change {
                RecordChange::Added(set) | RecordChange::Changed { after: set, .. } => {
                    sets.insert(key.clone(), set.clone());
                }
                RecordChange::Removed(_) => {
                    sets.remove(key);
                }
            }
        }
        Zone(sets)
    }

    /// Every change, in the order of the names.
    pub fn changes(&self) -> impl Iterator<Item = (&Name, RecordType, &RecordChange)> {
        self.0.iter().map(|((name, record_type), change)| (name, *record_type, change))
    }

    /// Whether nothing changes.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for ZoneDiff {
    /// Zone file lines: `-` before records that go, `+` before those that come.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for ((name, _), change) in &self.0 {
            let (before, after) = match change {
                RecordChange::Added(set) => (None, Some(set)),
                RecordChange::Removed(set) => (Some(set), None),
                RecordChange::Changed { before, after } => (Some(before), Some(after)),
            };
            let stays = |data: &RecordData| {
                before.zip(after).is_some_and(|(b, a)| b.ttl == a.ttl && b.data.contains(data) && a.data.contains(data))
            };
            for (sign, set) in [('-', before), ('+', after)] {
                for data in set.iter().flat_map(|s| &s.data).filter(|d| !stays(d)) {
                    writeln!(f, "{sign} {}", line(name, set.map_or(0, |s| s.ttl), data))?;
                }
            }
        }
        Ok(())
    }
}
