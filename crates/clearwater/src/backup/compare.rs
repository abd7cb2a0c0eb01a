//! Whether what stands is what was kept, item by item and field by field.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

#[cfg(feature = "schema")]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::holdings::{EllisNumber, Holdings, PrivateRecord, RegistrationSet, ServiceProfile};
use super::mend::plain_document;

/// What an item is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum ItemKind {
    /// A private identity with its digest.
    PrivateIdentity,
    /// An implicit registration set with its profiles and filter criteria.
    RegistrationSet,
    /// The settings of telephony services of a public identity.
    Simservs,
    /// An account at Ellis.
    Account,
    /// A number of an account.
    Number,
}

impl ItemKind {
    const ALL: [Self; 5] = [Self::PrivateIdentity, Self::RegistrationSet, Self::Simservs, Self::Account, Self::Number];

    /// One of them, before its name.
    pub(super) const fn one(self) -> &'static str {
        match self {
            Self::PrivateIdentity => "private identity",
            Self::RegistrationSet => "registration set of",
            Self::Simservs => "simservs of",
            Self::Account => "account",
            Self::Number => "number",
        }
    }

    /// Many of them, in words.
    pub const fn words(self) -> &'static str {
        match self {
            Self::PrivateIdentity => "private identities",
            Self::RegistrationSet => "registration sets",
            Self::Simservs => "simservs",
            Self::Account => "accounts",
            Self::Number => "numbers of accounts",
        }
    }
}

/// How an item stands against what was kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase", tag = "state", content = "fields")]
#[non_exhaustive]
pub enum ItemState {
    /// As it was kept.
    Equal,
    /// It is not there.
    Missing,
    /// What is there of it is as it was kept, and these are not there: a restore was ended in the middle of it.
    Partial(Vec<String>),
    /// These are not as they were kept.
    Different(Vec<String>),
    /// It is there and was not kept.
    Beyond,
}

/// One item.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct ComparedItem {
    /// What it is.
    pub kind: ItemKind,
    /// The identity, or the e-mail address, that it is named by.
    pub name: String,
    /// How it stands.
    #[serde(flatten)]
    pub state: ItemState,
}

impl fmt::Display for ComparedItem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, name) = (self.kind.one(), &self.name);
        match &self.state {
            ItemState::Equal => write!(f, "{what} {name}: as it was kept"),
            ItemState::Missing => write!(f, "{what} {name}: missing"),
            ItemState::Partial(fields) => write!(f, "{what} {name}: not whole, without {}", fields.join(", ")),
            ItemState::Different(fields) => write!(f, "{what} {name}: other {}", fields.join(", ")),
            ItemState::Beyond => write!(f, "{what} {name}: not in the backup"),
        }
    }
}

/// How many items stand how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct ItemCounts {
    /// As they were kept.
    pub equal: usize,
    /// Not there, or not whole.
    pub missing: usize,
    /// Otherwise than they were kept.
    pub different: usize,
    /// There, and not kept.
    pub beyond: usize,
}

/// All items, kind by kind, each kind in the order of the names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Comparison {
    /// The items.
    pub items: Vec<ComparedItem>,
}

impl Comparison {
    /// Whether everything that was kept stands as it was kept. What was not kept does not count.
    pub fn is_equal(&self) -> bool {
        self.items.iter().all(|i| matches!(i.state, ItemState::Equal | ItemState::Beyond))
    }

    /// How many of each kind stand how.
    pub fn tally(&self) -> BTreeMap<ItemKind, ItemCounts> {
        let mut all: BTreeMap<ItemKind, ItemCounts> = ItemKind::ALL.map(|kind| (kind, ItemCounts::default())).into();
        for item in &self.items {
            let of = all.entry(item.kind).or_default();
            match item.state {
                ItemState::Equal => of.equal += 1,
                ItemState::Missing | ItemState::Partial(_) => of.missing += 1,
                ItemState::Different(_) => of.different += 1,
                ItemState::Beyond => of.beyond += 1,
            }
        }
        all
    }

    /// How an item stands.
    pub(super) fn states(&self) -> BTreeMap<(ItemKind, &str), &ItemState> {
        self.items.iter().map(|i| ((i.kind, i.name.as_str()), &i.state)).collect()
    }
}

/// Compares what stands with what was kept. Both need not be [normalized](Holdings::normalized).
pub fn compare(kept: &Holdings, standing: &Holdings) -> Comparison {
    let (kept, standing) = (kept.clone().normalized(), standing.clone().normalized());
    let mut items = Vec::new();
    let mut put = |kind, name: &str, state| items.push(ComparedItem { kind, name: name.to_owned(), state });
    each(&kept.private_identities, &standing.private_identities, private_fields, |name, state| {
        put(ItemKind::PrivateIdentity, name, state);
    });
    let index = Index::of(&standing);
    for set in &kept.registration_sets {
        put(ItemKind::RegistrationSet, set.name(), index.state(set));
    }
    let known: BTreeSet<&str> = kept.registration_sets.iter().flat_map(RegistrationSet::public_identities).collect();
    for set in &standing.registration_sets {
        if set.public_identities().all(|identity| !known.contains(identity)) {
            put(ItemKind::RegistrationSet, set.name(), ItemState::Beyond);
        }
    }
    let document = |a: &String, b: &String| if a == b { vec![] } else { vec!["document".to_owned()] };
    each(&kept.simservs, &standing.simservs, document, |name, state| put(ItemKind::Simservs, name, state));
    // A name cannot be changed through Ellis, and numbers are items of their own.
    each(&kept.accounts, &standing.accounts, |_, _| vec![], |name, state| put(ItemKind::Account, name, state));
    let (ours, theirs) = (numbers(&kept), numbers(&standing));
    let owned = |a: &(&str, &EllisNumber), b: &(&str, &EllisNumber)| {
        let fields = [("account", a.0 != b.0), ("listing", a.1.listed != b.1.listed)];
        fields.into_iter().filter(|(_, other)| *other).map(|(name, _)| name.to_owned()).collect()
    };
    each(&ours, &theirs, owned, |name, state| put(ItemKind::Number, name, state));
    Comparison { items }
}

fn numbers(holdings: &Holdings) -> BTreeMap<String, (&str, &EllisNumber)> {
    let mut all = BTreeMap::new();
    for (email, account) in &holdings.accounts {
        all.extend(account.numbers.iter().map(|(identity, number)| (identity.clone(), (email.as_str(), number))));
    }
    all
}

/// Tells of each of both maps how it stands.
fn each<T>(
    kept: &BTreeMap<String, T>,
    standing: &BTreeMap<String, T>,
    fields: impl Fn(&T, &T) -> Vec<String>,
    mut tell: impl FnMut(&str, ItemState),
) {
    for (name, one) in kept {
        let state = match standing.get(name) {
            None => ItemState::Missing,
            Some(other) => match fields(one, other) {
                same if same.is_empty() => ItemState::Equal,
                others => ItemState::Different(others),
            },
        };
        tell(name, state);
    }
    standing.keys().filter(|name| !kept.contains_key(*name)).for_each(|name| tell(name, ItemState::Beyond));
}

fn private_fields(kept: &PrivateRecord, standing: &PrivateRecord) -> Vec<String> {
    let fields = [
        ("digest", kept.digest_ha1 != standing.digest_ha1),
        // Where none is given, homestead-prov takes the home domain.
        ("realm", kept.realm.is_some() && kept.realm != standing.realm),
        ("password", kept.plaintext_password != standing.plaintext_password),
    ];
    fields.into_iter().filter(|(_, other)| *other).map(|(name, _)| name.to_owned()).collect()
}

/// Where each public identity stands.
struct Index<'a> {
    sets: &'a [RegistrationSet],
    places: BTreeMap<&'a str, (usize, usize)>,
}

impl<'a> Index<'a> {
    fn of(holdings: &'a Holdings) -> Self {
        let sets = holdings.registration_sets.as_slice();
        let mut places = BTreeMap::new();
        for (s, set) in sets.iter().enumerate() {
            for (p, profile) in set.profiles.iter().enumerate() {
                places.extend(profile.public_identities.keys().map(|identity| (identity.as_str(), (s, p))));
            }
        }
        Self { sets, places }
    }

    fn state(&self, kept: &RegistrationSet) -> ItemState {
        let places: Vec<Option<(usize, usize)>> =
            kept.public_identities().map(|identity| self.places.get(identity).copied()).collect();
        let Some((first, _)) = places.iter().flatten().next() else { return ItemState::Missing };
        let mut missing: Vec<String> = Vec::new();
        let mut other: Vec<String> = Vec::new();
        if places.iter().flatten().any(|(set, _)| set != first) {
            return ItemState::Different(vec!["sets".to_owned()]);
        }
        let Some(standing) = self.sets.get(*first) else { return ItemState::Missing };
        let own: BTreeSet<&str> = kept.public_identities().collect();
        if standing.public_identities().any(|identity| !own.contains(identity)) {
            other.push("public identities".to_owned());
        } else if places.iter().any(Option::is_none) {
            missing.push("public identities".to_owned());
        }
        if standing.private_identities != kept.private_identities {
            let lacks = standing.private_identities.is_subset(&kept.private_identities);
            let fields = if lacks { &mut missing } else { &mut other };
            fields.push("private identities".to_owned());
        }
        for profile in &kept.profiles {
            self.profile(profile, standing, &mut missing, &mut other);
        }
        match (other.is_empty(), missing.is_empty()) {
            (true, true) => ItemState::Equal,
            (true, false) => ItemState::Partial(once(missing)),
            (false, _) => ItemState::Different(once([other, missing].concat())),
        }
    }

    fn profile(
        &self,
        kept: &ServiceProfile,
        set: &RegistrationSet,
        missing: &mut Vec<String>,
        other: &mut Vec<String>,
    ) {
        let places = kept.public_identities.keys().filter_map(|identity| self.places.get(identity.as_str()));
        let profiles: BTreeSet<usize> = places.map(|(_, profile)| *profile).collect();
        let mut standing = profiles.iter().filter_map(|p| set.profiles.get(*p));
        let Some(one) = standing.next() else { return };
        let beyond = one.public_identities.keys().any(|identity| !kept.public_identities.contains_key(identity));
        if standing.next().is_some() || beyond {
            other.push("service profiles".to_owned());
            return;
        }
        match (&kept.filter_criteria, &one.filter_criteria) {
            (a, b) if a == b => {}
            (Some(_), None) => missing.push("filter criteria".to_owned()),
            _ => other.push("filter criteria".to_owned()),
        }
        for (identity, document) in &kept.public_identities {
            let told = one.public_identities.get(identity).and_then(Option::as_ref);
            // What is not told cannot be compared.
            let Some(told) = told else { continue };
            let plain = plain_document(identity);
            if document.as_ref().unwrap_or(&plain) != told {
                other.push(format!("document of {identity}"));
            }
        }
    }
}

fn once(mut fields: Vec<String>) -> Vec<String> {
    let mut seen = BTreeSet::new();
    fields.retain(|field| seen.insert(field.clone()));
    fields
}
