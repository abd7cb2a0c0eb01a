//! Reading all that the services tell.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;

use clearwater::backup::{EllisAccount, Holdings, PrivateRecord, RegistrationSet, ServiceProfile};
use clearwater::component::Component;
use futures::{StreamExt as _, TryStreamExt as _, stream};

use super::tell::{Teller, identities};
use crate::subscribers::{Document, Stores, SubscriberError};

/// How many identities are named where there are more.
const NAMED: usize = 5;

/// What was read.
pub(super) struct Read {
    pub(super) holdings: Holdings,
    /// The public identities that were listed.
    pub(super) listed: Vec<String>,
    /// Those of them that went away before they were read.
    pub(super) gone: Vec<String>,
    /// What the services do not tell, each with why.
    pub(super) lacks: Vec<String>,
}

/// Reads it.
pub(super) struct Reader<'s> {
    pub(super) stores: &'s Stores,
    pub(super) at_once: usize,
    /// Accounts that are looked for besides those of the address book.
    pub(super) accounts: &'s [String],
}

/// A set and a profile by their own names.
type Place = (String, String);

/// What changed while it was read: identities that came, and those that went.
pub(super) fn changed(before: &[String], after: &[String], gone: &[String]) -> Vec<String> {
    let (old, new): (BTreeSet<&String>, BTreeSet<&String>) = (before.iter().collect(), after.iter().collect());
    let came: Vec<&str> = new.difference(&old).map(|i| i.as_str()).collect();
    let mut went: BTreeSet<&str> = old.difference(&new).map(|i| i.as_str()).collect();
    went.extend(gone.iter().map(String::as_str));
    let went: Vec<&str> = went.into_iter().collect();
    let told = |all: &[&str], what: &str| {
        let more = if all.len() > NAMED { ", …" } else { "" };
        let named = all.iter().take(NAMED).copied().collect::<Vec<_>>().join(", ");
        (!all.is_empty()).then(|| format!("{} {what} while it was read: {named}{more}", identities(all.len())))
    };
    told(&came, "came").into_iter().chain(told(&went, "went away")).collect()
}

impl Reader<'_> {
    /// Asks about each, several at a time, and ends with the first error.
    async fn each<T, O, F>(
        &self,
        of: (Component, &str),
        all: Vec<T>,
        one: impl Fn(T) -> F,
        teller: &mut Teller<'_>,
    ) -> Result<Vec<O>, SubscriberError>
    where
        F: Future<Output = Result<O, SubscriberError>>,
    {
        let (count, mut found) = (all.len(), Vec::with_capacity(all.len()));
        let mut asking = stream::iter(all).map(one).buffered(self.at_once);
        while let Some(answer) = asking.try_next().await? {
            found.push(answer);
            teller.count(of.0, of.1, found.len(), count).await;
        }
        Ok(found)
    }

    pub(super) async fn all(&self, teller: &mut Teller<'_>) -> Result<Read, SubscriberError> {
        let mut lacks = Vec::new();
        let listed = self.stores.prov.all_identities().await?;
        let (registration_sets, gone) = self.sets(&listed, teller, &mut lacks).await?;
        let private_identities = self.private_identities(&registration_sets, teller).await?;
        let simservs = self.simservs(&registration_sets, teller, &mut lacks).await?;
        let accounts = self.ellis(teller, &mut lacks).await?;
        let mut holdings = Holdings { private_identities, registration_sets, simservs, accounts }.normalized();
        // One that went away meanwhile registers nothing any more.
        let known: BTreeSet<String> = holdings.private_identities.keys().cloned().collect();
        for set in &mut holdings.registration_sets {
            set.private_identities.retain(|p| known.contains(p));
        }
        Ok(Read { holdings, listed, gone, lacks })
    }

    async fn sets(
        &self,
        listed: &[String],
        teller: &mut Teller<'_>,
        lacks: &mut Vec<String>,
    ) -> Result<(Vec<RegistrationSet>, Vec<String>), SubscriberError> {
        let prov = &self.stores.prov;
        let component = prov.component();
        let place = |identity: String| async move { Ok((prov.place(&identity).await?, identity)) };
        let places = self.each((component, "public identities"), listed.to_vec(), place, teller).await?;
        let mut profiles: BTreeMap<Place, Vec<String>> = BTreeMap::new();
        let mut gone = Vec::new();
        for (place, identity) in places {
            match place {
                Some(place) => profiles.entry(place).or_default().push(identity),
                None => gone.push(identity),
            }
        }
        // Upstream's last program has no request for it: one is asked about first.
        let first = profiles.iter().next().and_then(|(place, all)| Some((place, all.first()?)));
        let told = match first {
            Some(((set, profile), identity)) => prov.document(set, profile, identity).await? != Document::Untold,
            None => true,
        };
        if !told {
            let what = "documents of public identities (barring, display names): homestead-prov does not tell them, and plain ones are put back";
            lacks.push(what.to_owned());
        }
        let ids: BTreeSet<String> = profiles.keys().map(|(set, _)| set.clone()).collect();
        let registering = |id: String| async move { Ok((prov.registering(&id).await?, id)) };
        let registering =
            self.each((component, "registration sets"), ids.into_iter().collect(), registering, teller).await?;
        let mut sets: BTreeMap<String, RegistrationSet> = registering
            .into_iter()
            .map(|(private_identities, id)| (id, RegistrationSet { private_identities, profiles: Vec::new() }))
            .collect();
        let one = |(place, identities): (Place, Vec<String>)| async move {
            let (set, profile) = &place;
            let filter_criteria = prov.criteria(set, profile).await?;
            let mut public_identities = BTreeMap::new();
            for identity in identities {
                let document = if told { prov.document(set, profile, &identity).await? } else { Document::Untold };
                let document = if let Document::Told(text) = document { Some(text) } else { None };
                public_identities.insert(identity, document);
            }
            Ok((place.0, ServiceProfile { public_identities, filter_criteria }))
        };
        let read = self.each((component, "service profiles"), profiles.into_iter().collect(), one, teller).await?;
        for (set, profile) in read {
            sets.entry(set).or_default().profiles.push(profile);
        }
        Ok((sets.into_values().collect(), gone))
    }

    async fn private_identities(
        &self,
        sets: &[RegistrationSet],
        teller: &mut Teller<'_>,
    ) -> Result<BTreeMap<String, PrivateRecord>, SubscriberError> {
        let prov = &self.stores.prov;
        let all: BTreeSet<String> = sets.iter().flat_map(|s| s.private_identities.iter().cloned()).collect();
        let record = |p: String| async move { Ok((prov.record(&p).await?, p)) };
        let of = (prov.component(), "private identities");
        let found = self.each(of, all.into_iter().collect(), record, teller).await?;
        Ok(found.into_iter().filter_map(|(record, p)| Some((p, record?))).collect())
    }

    async fn simservs(
        &self,
        sets: &[RegistrationSet],
        teller: &mut Teller<'_>,
        lacks: &mut Vec<String>,
    ) -> Result<BTreeMap<String, String>, SubscriberError> {
        let Some(homer) = &self.stores.homer else {
            lacks.push("settings of telephony services: no homer runs there".to_owned());
            return Ok(BTreeMap::new());
        };
        let all = sets.iter().flat_map(RegistrationSet::public_identities).map(str::to_owned).collect();
        let one = |identity: String| async move { Ok((homer.services(&identity).await?, identity)) };
        let found = self.each((Component::Homer, "settings of services"), all, one, teller).await?;
        Ok(found.into_iter().filter_map(|(document, identity)| Some((identity, document?))).collect())
    }

    async fn ellis(
        &self,
        teller: &mut Teller<'_>,
        lacks: &mut Vec<String>,
    ) -> Result<BTreeMap<String, EllisAccount>, SubscriberError> {
        let Some(ellis) = &self.stores.ellis else {
            lacks.push("accounts and whose numbers are: no ellis runs there".to_owned());
            return Ok(BTreeMap::new());
        };
        lacks.push(
            "passwords of accounts, and accounts of which the address book shows nothing: ellis does not tell them"
                .to_owned(),
        );
        let contacts = ellis.client.contacts().await?;
        let mut names: BTreeMap<String, Option<String>> = self.accounts.iter().map(|a| (a.clone(), None)).collect();
        names.extend(contacts.into_iter().map(|c| (c.email, c.full_name)));
        let one = |(email, full_name): (String, Option<String>)| async move {
            let numbers = ellis.client.owned(&email).await?;
            Ok(numbers.map(|numbers| (email, EllisAccount { full_name, numbers })))
        };
        let of = (Component::Ellis, "accounts");
        let found: Vec<_> = self.each(of, names.into_iter().collect(), one, teller).await?;
        Ok(found.into_iter().flatten().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_and_went_is_told_with_the_first_few() {
        let all = |n: std::ops::Range<u32>| n.map(|n| format!("sip:{n}@a.b")).collect::<Vec<_>>();
        assert!(changed(&all(0..3), &all(0..3), &[]).is_empty());
        assert_eq!(
            changed(&all(0..3), &all(2..9), &all(2..3)),
            [
                "6 public identities came while it was read: sip:3@a.b, sip:4@a.b, sip:5@a.b, sip:6@a.b, sip:7@a.b, …",
                "3 public identities went away while it was read: sip:0@a.b, sip:1@a.b, sip:2@a.b",
            ]
        );
    }
}
