//! What of a backup is to be put back.

use std::collections::BTreeMap;

use super::compare::{ComparedItem, Comparison, ItemKind, ItemState};
use super::holdings::{EllisNumber, Holdings, PrivateRecord, RegistrationSet};

/// A registration set with all that hangs on it: what is put back together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestoreUnit {
    /// The set.
    pub set: RegistrationSet,
    /// Its private identities.
    pub private_identities: BTreeMap<String, PrivateRecord>,
    /// The settings of telephony services of each of its public identities; none where none were kept.
    pub simservs: BTreeMap<String, Option<String>>,
    /// The accounts of those of its public identities that belong to one.
    pub owners: BTreeMap<String, (String, EllisNumber)>,
    /// What of it stands otherwise than it was kept, so that putting it back replaces something. Empty where it does not.
    pub replaces: Vec<String>,
}

impl RestoreUnit {
    /// The public identity that it is named by.
    pub fn name(&self) -> &str {
        self.set.name()
    }

    /// Whether an item is a part of it.
    pub fn covers(&self, item: &ComparedItem) -> bool {
        match item.kind {
            ItemKind::PrivateIdentity => self.private_identities.contains_key(&item.name),
            ItemKind::RegistrationSet => self.name() == item.name,
            ItemKind::Simservs | ItemKind::Number => self.set.public_identities().any(|i| i == item.name),
            ItemKind::Account => false,
        }
    }
}

/// The units that are not as they were kept, in the order of their names.
///
/// What a unit would replace is said in it and left to whoever does the work. Items that stand and were not kept are touched
/// by none.
pub fn work(kept: &Holdings, comparison: &Comparison) -> Vec<RestoreUnit> {
    let states = comparison.states();
    let owners: BTreeMap<&str, (&str, &EllisNumber)> = kept
        .accounts
        .iter()
        .flat_map(|(email, account)| account.numbers.iter().map(move |(id, n)| (id.as_str(), (email.as_str(), n))))
        .collect();
    let state = |kind, name: &str| states.get(&(kind, name)).copied();
    let mut units = Vec::new();
    for set in kept.clone().normalized().registration_sets {
        let privates = set.private_identities.iter();
        let mut items: Vec<(ItemKind, String)> =
            privates.clone().map(|p| (ItemKind::PrivateIdentity, p.clone())).collect();
        items.push((ItemKind::RegistrationSet, set.name().to_owned()));
        for identity in set.public_identities() {
            items.extend([ItemKind::Simservs, ItemKind::Number].map(|kind| (kind, identity.to_owned())));
        }
        let stands = |of: &(ItemKind, String)| state(of.0, &of.1);
        // Settings that stand where none were kept are others.
        let other = |of: &(ItemKind, String)| match stands(of) {
            Some(ItemState::Different(_)) => true,
            Some(ItemState::Beyond) => of.0 == ItemKind::Simservs,
            _ => false,
        };
        let is_undone = |of: &(ItemKind, String)| {
            other(of) || matches!(stands(of), Some(ItemState::Missing | ItemState::Partial(_)))
        };
        if !items.iter().any(is_undone) {
            continue;
        }
        let mut replaces: Vec<String> =
            items.iter().filter(|of| other(of)).map(|(kind, name)| format!("{} {name}", kind.one())).collect();
        // Ellis gives a number away only with everything behind it made by itself.
        let is_there = !matches!(state(ItemKind::RegistrationSet, set.name()), Some(ItemState::Missing));
        let unowned = |identity: &&str| matches!(state(ItemKind::Number, identity), Some(ItemState::Missing));
        if is_there && let Some(identity) = set.public_identities().find(unowned) {
            replaces.push(format!("{identity}, which stands and is nobody's at Ellis"));
        }
        let record = |p: &String| Some((p.clone(), kept.private_identities.get(p)?.clone()));
        let simservs = set.public_identities().map(|i| (i.to_owned(), kept.simservs.get(i).cloned()));
        let owned = |i: &str| owners.get(i).map(|(email, n)| (i.to_owned(), ((*email).to_owned(), (*n).clone())));
        units.push(RestoreUnit {
            private_identities: privates.filter_map(record).collect(),
            simservs: simservs.collect(),
            owners: set.public_identities().filter_map(owned).collect(),
            replaces,
            set,
        });
    }
    units
}
