use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

#[cfg(feature = "schema")]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A text that lets somebody be somebody else: written where it is kept, and never shown.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Confidential(String);

impl Confidential {
    /// The text itself.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for Confidential {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for Confidential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[hidden]")
    }
}

/// What homestead-prov keeps of a private identity (crest `docs/homestead_prov_api.md`, `/private/<private ID>`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PrivateRecord {
    /// MD5 of `impi:realm:password` (RFC 2617 §3.2.2.2).
    pub digest_ha1: Confidential,
    /// The realm of the digest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub realm: Option<String>,
    /// The password, where it is kept as text beside the digest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plaintext_password: Option<Confidential>,
}

/// A service profile: public identities that share filter criteria.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceProfile {
    /// The public identities, each with its `PublicIdentity` document where that was told.
    pub public_identities: BTreeMap<String, Option<String>>,
    /// The `ServiceProfile` document with the initial filter criteria; none where none were set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter_criteria: Option<String>,
}

/// An implicit registration set (3GPP TS 23.228 §5.2.1a). Its name is homestead-prov's own and another in every deployment:
/// a set is known by its public identities, each of which is in one set alone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RegistrationSet {
    /// The private identities that may register it.
    pub private_identities: BTreeSet<String>,
    /// Its service profiles.
    pub profiles: Vec<ServiceProfile>,
}

impl RegistrationSet {
    /// Its public identities, in the order of its profiles.
    pub fn public_identities(&self) -> impl Iterator<Item = &str> {
        self.profiles.iter().flat_map(|p| p.public_identities.keys()).map(String::as_str)
    }

    /// The public identity that it is named by: its first. Empty where it has none.
    pub fn name(&self) -> &str {
        self.public_identities().min().unwrap_or_default()
    }
}

/// A number as its account at Ellis has it (ellis `src/metaswitch/ellis/data/numbers.py`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EllisNumber {
    /// Whether the address book shows it.
    pub listed: bool,
    /// Whether it is one of the public telephone network's. Ellis tells it and takes it for numbers of its pool alone.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub pstn: bool,
}

/// An account at Ellis. Its password is not told, and so not kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EllisAccount {
    /// Its owner's name, where it is told: the address book has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub full_name: Option<String>,
    /// Its numbers, by their public identity.
    pub numbers: BTreeMap<String, EllisNumber>,
}

/// What the services of a deployment tell of its subscribers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Holdings {
    /// Private identities, by name.
    pub private_identities: BTreeMap<String, PrivateRecord>,
    /// Implicit registration sets, in the order of their names.
    pub registration_sets: Vec<RegistrationSet>,
    /// Settings of telephony services, as homer keeps them, by public identity.
    pub simservs: BTreeMap<String, String>,
    /// Accounts at Ellis, by e-mail address.
    pub accounts: BTreeMap<String, EllisAccount>,
}

/// How much there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct BackupCounts {
    /// Private identities.
    pub private_identities: usize,
    /// Implicit registration sets.
    pub registration_sets: usize,
    /// Public identities in them.
    pub public_identities: usize,
    /// Service profiles with filter criteria.
    pub filter_criteria: usize,
    /// Documents of telephony services.
    pub simservs: usize,
    /// Accounts at Ellis.
    pub accounts: usize,
    /// Numbers that belong to accounts.
    pub numbers: usize,
}

impl Holdings {
    /// The same in the one order in which it is written and compared, without sets and profiles that hold no identity.
    #[must_use]
    pub fn normalized(mut self) -> Self {
        for set in &mut self.registration_sets {
            set.profiles.retain(|p| !p.public_identities.is_empty());
            set.profiles.sort_by(|a, b| a.public_identities.keys().next().cmp(&b.public_identities.keys().next()));
        }
        self.registration_sets.retain(|s| !s.profiles.is_empty());
        self.registration_sets.sort_by(|a, b| a.name().cmp(b.name()));
        self
    }

    /// How much there is.
    pub fn counts(&self) -> BackupCounts {
        let profiles = || self.registration_sets.iter().flat_map(|s| &s.profiles);
        BackupCounts {
            private_identities: self.private_identities.len(),
            registration_sets: self.registration_sets.len(),
            public_identities: profiles().map(|p| p.public_identities.len()).sum(),
            filter_criteria: profiles().filter(|p| p.filter_criteria.is_some()).count(),
            simservs: self.simservs.len(),
            accounts: self.accounts.len(),
            numbers: self.accounts.values().map(|a| a.numbers.len()).sum(),
        }
    }

    /// The account that a number belongs to.
    pub fn owner(&self, identity: &str) -> Option<(&str, &EllisNumber)> {
        self.accounts.iter().find_map(|(email, account)| Some((email.as_str(), account.numbers.get(identity)?)))
    }
}
