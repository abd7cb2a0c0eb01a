//! Putting a registration set back, with all that hangs on it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use clearwater::backup::{
    EllisAccount, Holdings, MendStep, RegistrationSet, RestoreUnit, ServiceProfile, StandingProfile, StandingSet, mend,
    plain_document,
};
use clearwater::subscriber::PublicIdentity;
use tokio::sync::Mutex;

use crate::subscribers::{Document, Ellis, HomerClient, ProvClient, Stores, SubscriberError, new_password};

/// Puts things back.
pub(super) struct Putter<'s> {
    stores: &'s Stores,
    /// What stood when the run began.
    standing: &'s Holdings,
    /// Sets that share a private identity are put back one after the other.
    locks: HashMap<&'s str, Mutex<()>>,
}

impl<'s> Putter<'s> {
    pub(super) fn new(stores: &'s Stores, standing: &'s Holdings, units: &'s [RestoreUnit]) -> Self {
        let all = units.iter().flat_map(|unit| unit.set.private_identities.iter());
        Self { stores, standing, locks: all.map(|p| (p.as_str(), Mutex::new(()))).collect() }
    }

    /// Makes an account. Its password is a new one that nobody knows: the API key acts for every account, and its owner
    /// asks Ellis for another.
    pub(super) async fn account(&self, email: &str, account: &EllisAccount) -> Result<(), SubscriberError> {
        let Some(Ellis { client, keys }) = &self.stores.ellis else { return Ok(()) };
        let name = account.full_name.as_deref().unwrap_or(email);
        client.sign_up(email, name, &new_password()?, &keys.sign_up_code).await.map(drop)
    }

    /// Puts one back. Done twice it does no more than once, and what an earlier try left half done is completed.
    pub(super) async fn unit(&self, unit: &RestoreUnit) -> Result<(), SubscriberError> {
        let mut held = Vec::new();
        // In the one order of their names, so that no two wait for each other.
        for lock in unit.set.private_identities.iter().filter_map(|p| self.locks.get(p.as_str())) {
            held.push(lock.lock().await);
        }
        let prov = &self.stores.prov;
        if let Some(ellis) = &self.stores.ellis {
            for (identity, (email, number)) in &unit.owners {
                self.own(ellis, unit, &identity.parse()?, email, number.listed).await?;
            }
        }
        for (private_identity, record) in &unit.private_identities {
            if prov.record(private_identity).await?.as_ref() != Some(record) {
                prov.put_record(private_identity, record).await?;
            }
        }
        let steps = mend(&unit.set, &seen(prov, &unit.set).await?, false);
        for step in &steps {
            carry_out(prov, step, &unit.set).await?;
        }
        if steps.contains(&MendStep::Make) {
            for private_identity in unit.private_identities.keys() {
                prov.remove_empty_sets(private_identity).await?;
            }
        }
        if let Some(homer) = &self.stores.homer {
            for (identity, document) in &unit.simservs {
                put_simservs(homer, identity, document.as_deref()).await?;
            }
        }
        Ok(())
    }

    /// Lets a number be an account's. Ellis makes everything behind it anew when it gives one away, so that what stands of it is
    /// taken away before, and is put back after.
    async fn own(
        &self,
        ellis: &Ellis,
        unit: &RestoreUnit,
        identity: &PublicIdentity,
        email: &str,
        listed: bool,
    ) -> Result<(), SubscriberError> {
        let prov = &self.stores.prov;
        let client = &ellis.client;
        match self.standing.owner(identity.as_str()) {
            Some((owner, number)) if owner == email => {
                if number.listed != listed {
                    client.list_number(email, identity, listed).await?;
                }
                return Ok(());
            }
            Some((other, _)) => drop(client.delete(other, identity).await?),
            None => {}
        }
        let alone = alone(unit, identity);
        for step in mend(&alone, &seen(prov, &alone).await?, true) {
            if step != MendStep::Make {
                carry_out(prov, &step, &alone).await?;
            }
        }
        let private_identity = unit.set.private_identities.first();
        let private_identity = private_identity.map_or(identity.private_identity(), String::as_str);
        client.create_chosen(email, identity, private_identity, true).await?;
        if !listed {
            client.list_number(email, identity, false).await?;
        }
        Ok(())
    }
}

/// One public identity of a set, by itself.
fn alone(unit: &RestoreUnit, identity: &PublicIdentity) -> RegistrationSet {
    let of = |profile: &ServiceProfile| {
        let own = profile.public_identities.get_key_value(identity.as_str())?;
        Some(ServiceProfile {
            public_identities: BTreeMap::from([(own.0.clone(), own.1.clone())]),
            filter_criteria: None,
        })
    };
    RegistrationSet {
        private_identities: unit.set.private_identities.clone(),
        profiles: unit.set.profiles.iter().filter_map(of).collect(),
    }
}

async fn put_simservs(homer: &HomerClient, identity: &str, kept: Option<&str>) -> Result<(), SubscriberError> {
    let standing = homer.services(identity).await?;
    match kept {
        same if same == standing.as_deref() => Ok(()),
        Some(document) => homer.put_services(identity, document).await,
        None => homer.delete_services(identity).await,
    }
}

/// The sets in which identities of this one stand.
async fn seen(prov: &ProvClient, of: &RegistrationSet) -> Result<Vec<StandingSet>, SubscriberError> {
    let mut places: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for identity in of.public_identities() {
        if let Some((set, profile)) = prov.place(identity).await? {
            places.entry(set).or_default().insert(profile);
        }
    }
    let mut sets = Vec::new();
    for (id, ids) in places {
        let private_identities = prov.registering(&id).await?;
        let mut others: BTreeSet<String> = prov.public_of_set(&id).await?.into_iter().collect();
        let mut profiles = Vec::new();
        for profile in ids {
            let mut public_identities = BTreeMap::new();
            for identity in prov.identities_in(&id, &profile).await? {
                others.remove(&identity);
                let told = match prov.document(&id, &profile, &identity).await? {
                    Document::Told(text) => Some(text),
                    _ => None,
                };
                public_identities.insert(identity, told);
            }
            let filter_criteria = prov.criteria(&id, &profile).await?;
            profiles.push(StandingProfile { id: profile, public_identities, filter_criteria });
        }
        sets.push(StandingSet { id, private_identities, profiles, others });
    }
    Ok(sets)
}

async fn carry_out(prov: &ProvClient, step: &MendStep, kept: &RegistrationSet) -> Result<(), SubscriberError> {
    match step {
        MendStep::RemoveSet { set } => prov.remove_set(set).await,
        MendStep::RemovePublic { set, profile, identity } => prov.remove_public(set, profile, identity).await,
        MendStep::Make => make(prov, kept).await,
        MendStep::Associate { set, private_identity } => prov.associate(private_identity, set).await,
        MendStep::Dissociate { set, private_identity } => prov.dissociate(private_identity, set).await,
        MendStep::PutPublic { set, profile, identity, document } => {
            prov.put_public(set, profile, identity, document).await
        }
        MendStep::PutCriteria { set, profile, criteria } => {
            prov.put_criteria(set, profile, criteria, kept.name()).await
        }
        _ => Ok(()),
    }
}

/// Makes a set, in the order in which Ellis' own tools do it (ellis `src/metaswitch/ellis/remote/homestead.py`): one that is
/// not whole is found again by its private identity.
async fn make(prov: &ProvClient, kept: &RegistrationSet) -> Result<(), SubscriberError> {
    let id = prov.new_set(kept.name()).await?;
    let mut registering = kept.private_identities.iter();
    if let Some(first) = registering.next() {
        prov.associate(first, &id).await?;
    }
    for profile in &kept.profiles {
        let place = prov.new_profile(&id, kept.name()).await?;
        for (identity, document) in &profile.public_identities {
            let document = document.clone().unwrap_or_else(|| plain_document(identity));
            prov.put_public(&id, &place, identity, &document).await?;
        }
        if let Some(criteria) = &profile.filter_criteria {
            prov.put_criteria(&id, &place, criteria, kept.name()).await?;
        }
    }
    for other in registering {
        prov.associate(other, &id).await?;
    }
    Ok(())
}
