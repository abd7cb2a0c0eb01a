//! What DNS servers have to answer once the names are in, and whether they do.

use std::collections::BTreeSet;
use std::fmt;

use serde::Serialize;

use super::{Name, RecordData, RecordType, Rules, Zone};

/// The response code of an answer (RFC 1035 §4.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Code {
    /// The name exists.
    NoError,
    /// It does not.
    NxDomain,
    /// The server could not tell.
    ServFail,
    /// The server does not want to tell.
    Refused,
    /// Another code.
    Other(u16),
}

impl From<u16> for Code {
    fn from(code: u16) -> Self {
        match code {
            0 => Self::NoError,
            2 => Self::ServFail,
            3 => Self::NxDomain,
            5 => Self::Refused,
            other => Self::Other(other),
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoError => f.pad("NOERROR"),
            Self::NxDomain => f.pad("NXDOMAIN"),
            Self::ServFail => f.pad("SERVFAIL"),
            Self::Refused => f.pad("REFUSED"),
            Self::Other(code) => f.pad(&format!("code {code}")),
        }
    }
}

impl Serialize for Code {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// What a server answered to one question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The response code.
    pub code: Code,
    /// The records of the answer section that are of types this crate knows, by their owners.
    pub records: Zone,
    /// How long a resolver may keep that there is nothing, in seconds: the lesser of the SOA record's own lifetime and
    /// of its last field (RFC 2308 §5). `None` without a SOA record.
    pub negative_ttl: Option<u32>,
}

impl Answer {
    /// What the records of one name and type say.
    pub fn data(&self, name: &Name, record_type: RecordType) -> BTreeSet<RecordData> {
        self.records.get(name, record_type).map(|set| set.data().cloned().collect()).unwrap_or_default()
    }

    /// The answer to a question in one line: addresses or other data, or the code.
    pub fn say(&self, name: &Name, record_type: RecordType) -> String {
        let data = self.data(name, record_type);
        if !data.is_empty() {
            return list(&data);
        }
        let ttl = self.negative_ttl.map_or_else(String::new, |ttl| format!(", kept as missing for {ttl} s"));
        match self.code {
            Code::NoError if self.records.is_empty() => format!("no {record_type} record{ttl}"),
            // A CNAME, or an answer under another name.
            Code::NoError => self.records.to_string().trim_end().replace('\n', "; "),
            code => format!("{code}{ttl}"),
        }
    }
}

fn list(data: &BTreeSet<RecordData>) -> String {
    data.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// What the answer to a question must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// What the same server answers for another name.
    SameAs(Name),
    /// These records.
    Data(BTreeSet<RecordData>),
    /// Some record, whatever it says.
    Something,
    /// The name is not known, or has no records of the type.
    Nothing,
}

/// A question and what must come of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expectation {
    /// The name.
    pub name: Name,
    /// The type.
    pub record_type: RecordType,
    /// What must be answered.
    pub wanted: Wanted,
}

impl fmt::Display for Expectation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name, self.record_type)
    }
}

/// What CoreDNS must answer when it follows the rules.
///
/// Records come first: they are there whether or not a pod stands behind the names, so that they show whether a server
/// has read its file again.
pub fn expectations(rules: &Rules) -> Vec<Expectation> {
    let records = of_zone(&rules.records);
    let aliases = rules.aliases.iter().flat_map(|(name, target)| {
        [RecordType::A, RecordType::Aaaa].map(|record_type| Expectation {
            name: name.clone(),
            record_type,
            wanted: Wanted::SameAs(target.clone()),
        })
    });
    records.into_iter().chain(aliases).collect()
}

/// What a server must answer that knows the records of a zone.
pub fn of_zone(zone: &Zone) -> Vec<Expectation> {
    zone.sets()
        .map(|(name, record_type, set)| Expectation {
            name: name.clone(),
            record_type,
            wanted: Wanted::Data(set.data().cloned().collect()),
        })
        .collect()
}

impl Expectation {
    /// The same question once the names are gone.
    #[must_use]
    pub fn gone(&self) -> Self {
        Self { wanted: Wanted::Nothing, ..self.clone() }
    }

    /// Whether an answer is as it must be. `other` is what the same server answered for the name of
    /// [`Wanted::SameAs`].
    ///
    /// # Errors
    /// What was seen and what was wanted, in one line.
    pub fn judge(&self, answer: &Answer, other: Option<&Answer>) -> Result<(), String> {
        let said = || answer.say(&self.name, self.record_type);
        let found = answer.data(&self.name, self.record_type);
        match &self.wanted {
            Wanted::Nothing if found.is_empty() && matches!(answer.code, Code::NoError | Code::NxDomain) => Ok(()),
            Wanted::Nothing => Err(format!("{self} still gives {}", said())),
            Wanted::Something if !found.is_empty() => Ok(()),
            Wanted::Something => Err(format!("{self} gives {}", said())),
            Wanted::Data(data) if found == *data => Ok(()),
            Wanted::Data(data) => Err(format!("{self} gives {}, and must give {}", said(), list(data))),
            Wanted::SameAs(target) => {
                let Some(other) = other else { return Err(format!("{target} was not asked")) };
                let same = other.data(target, self.record_type);
                if found == same && answer.code == other.code {
                    Ok(())
                } else {
                    let other = other.say(target, self.record_type);
                    Err(format!("{self} gives {}, and must give what {target} gives: {other}", said()))
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(code: Code, records: &str) -> Answer {
        Answer { code, records: records.parse().unwrap(), negative_ttl: Some(5) }
    }

    fn rules() -> Rules {
        let mut rules = Rules::default();
        rules.aliases.insert("icscf.sprout.ims".parse().unwrap(), "sprout.ims".parse().unwrap());
        let srv = RecordData::parse(RecordType::Srv, "10 10 5052 sprout.ims").unwrap();
        rules.records.insert("_sip._tcp.icscf.sprout.ims".parse().unwrap(), 30, srv);
        rules
    }

    #[test]
    fn a_record_that_tells_of_the_reload_is_asked_for_first() {
        let all: Vec<String> = expectations(&rules()).iter().map(ToString::to_string).collect();
        assert_eq!(all, ["_sip._tcp.icscf.sprout.ims SRV", "icscf.sprout.ims A", "icscf.sprout.ims AAAA"]);
    }

    #[test]
    fn an_alias_must_give_what_its_target_gives() {
        let alias = &expectations(&rules())[1];
        let target = answer(Code::NoError, "sprout.ims. 5 IN A 10.0.0.1\nsprout.ims. 5 IN A 10.0.0.2\n");
        let right = answer(Code::NoError, "icscf.sprout.ims. 5 IN A 10.0.0.2\nicscf.sprout.ims. 5 IN A 10.0.0.1\n");
        assert_eq!(alias.judge(&right, Some(&target)), Ok(()));
        let half = answer(Code::NoError, "icscf.sprout.ims. 5 IN A 10.0.0.2\n");
        insta::assert_snapshot!(alias.judge(&half, Some(&target)).unwrap_err(), @"icscf.sprout.ims A gives 10.0.0.2, and must give what sprout.ims gives: 10.0.0.1, 10.0.0.2");
        let missing = answer(Code::NxDomain, "");
        insta::assert_snapshot!(alias.judge(&missing, Some(&target)).unwrap_err(), @"icscf.sprout.ims A gives NXDOMAIN, kept as missing for 5 s, and must give what sprout.ims gives: 10.0.0.1, 10.0.0.2");
        // Nothing stands behind either of them yet.
        assert_eq!(alias.judge(&missing, Some(&missing)), Ok(()));
        // An answer under the name that stands in its place is no answer to the question.
        assert!(alias.judge(&target, Some(&target)).is_err());
    }

    #[test]
    fn what_is_gone_must_not_be_answered_any_more() {
        let gone = expectations(&rules())[0].gone();
        assert_eq!(gone.judge(&answer(Code::NxDomain, ""), None), Ok(()));
        let still = answer(Code::NoError, "_sip._tcp.icscf.sprout.ims. 30 IN SRV 10 10 5052 sprout.ims.\n");
        insta::assert_snapshot!(gone.judge(&still, None).unwrap_err(), @"_sip._tcp.icscf.sprout.ims SRV still gives 10 10 5052 sprout.ims.");
        assert!(gone.judge(&answer(Code::ServFail, ""), None).is_err());
    }
}
