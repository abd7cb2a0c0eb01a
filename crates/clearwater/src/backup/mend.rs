//! How an implicit registration set becomes what was kept.

use std::collections::{BTreeMap, BTreeSet};

use super::holdings::{RegistrationSet, ServiceProfile};
use crate::text::xml_escaped;

/// A service profile as it stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StandingProfile {
    /// Its own name at homestead-prov.
    pub id: String,
    /// Its public identities, each with its document where that is told.
    pub public_identities: BTreeMap<String, Option<String>>,
    /// Its filter criteria.
    pub filter_criteria: Option<String>,
}

/// An implicit registration set as it stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StandingSet {
    /// Its own name at homestead-prov.
    pub id: String,
    /// The private identities that may register it.
    pub private_identities: BTreeSet<String>,
    /// The profiles in which identities that are asked for stand.
    pub profiles: Vec<StandingProfile>,
    /// Public identities of its other profiles.
    pub others: BTreeSet<String>,
}

/// One step. Sets and profiles are named as homestead-prov does.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MendStep {
    /// Remove a set, all of whose identities are meant.
    RemoveSet {
        /// The set.
        set: String,
    },
    /// Remove a public identity from a set that has others, which stay.
    RemovePublic {
        /// The set.
        set: String,
        /// The profile.
        profile: String,
        /// The identity.
        identity: String,
    },
    /// Make the whole set anew.
    Make,
    /// Let a private identity register a set.
    Associate {
        /// The set.
        set: String,
        /// The private identity.
        private_identity: String,
    },
    /// Let a private identity not register a set any more.
    Dissociate {
        /// The set.
        set: String,
        /// The private identity.
        private_identity: String,
    },
    /// Put a public identity into a profile, or its document in the place of another.
    PutPublic {
        /// The set.
        set: String,
        /// The profile.
        profile: String,
        /// The identity.
        identity: String,
        /// Its document.
        document: String,
    },
    /// Put filter criteria into a profile.
    PutCriteria {
        /// The set.
        set: String,
        /// The profile.
        profile: String,
        /// The criteria.
        criteria: String,
    },
}

/// The `PublicIdentity` document of an identity that nothing else is known of, as Ellis and its tools write it (ellis
/// `src/metaswitch/ellis/remote/homestead.py`).
pub fn plain_document(identity: &str) -> String {
    format!("<PublicIdentity><Identity>{}</Identity></PublicIdentity>", xml_escaped(identity))
}

/// The steps that clear these identities away, wherever they stand. Sets keep what is not meant.
fn clear(identities: &BTreeSet<&str>, standing: &[StandingSet]) -> Vec<MendStep> {
    let mut steps = Vec::new();
    for set in standing {
        let all = || set.profiles.iter().flat_map(|p| p.public_identities.keys().map(move |i| (p, i)));
        let meant = all().filter(|(_, identity)| identities.contains(identity.as_str()));
        if set.others.is_empty() && all().all(|(_, identity)| identities.contains(identity.as_str())) {
            steps.push(MendStep::RemoveSet { set: set.id.clone() });
            continue;
        }
        steps.extend(meant.map(|(profile, identity)| MendStep::RemovePublic {
            set: set.id.clone(),
            profile: profile.id.clone(),
            identity: identity.clone(),
        }));
    }
    steps
}

/// The one set that stands, where it needs no more than things put in or taken out: the same profiles with the same identities.
fn alike<'a>(kept: &RegistrationSet, standing: &'a [StandingSet]) -> Option<Vec<&'a StandingProfile>> {
    let [set] = standing else { return None };
    if !set.others.is_empty() || set.profiles.len() != kept.profiles.len() {
        return None;
    }
    let same = |kept: &ServiceProfile| {
        set.profiles.iter().find(|p| p.public_identities.keys().eq(kept.public_identities.keys()))
    };
    let profiles: Option<Vec<_>> = kept.profiles.iter().map(same).collect();
    // Filter criteria can be put, and not be taken away (crest `handlers/service_profile.py`).
    let can_be_put = |profiles: &Vec<&StandingProfile>| {
        let mut both = kept.profiles.iter().zip(profiles);
        both.all(|(kept, stands)| kept.filter_criteria.is_some() || stands.filter_criteria.is_none())
    };
    profiles.filter(can_be_put)
}

/// The steps after which a set is what was kept, of all sets in which identities of it stand. Nothing where it is.
///
/// With `anew` it is made anew even so.
pub fn mend(kept: &RegistrationSet, standing: &[StandingSet], anew: bool) -> Vec<MendStep> {
    let profiles = alike(kept, standing).filter(|_| !anew);
    let (Some(profiles), Some(set)) = (profiles, standing.first()) else {
        let identities = kept.public_identities().collect();
        return [clear(&identities, standing), vec![MendStep::Make]].concat();
    };
    let id = || set.id.clone();
    let mut steps = Vec::new();
    let more = kept.private_identities.difference(&set.private_identities);
    steps.extend(more.map(|p| MendStep::Associate { set: id(), private_identity: p.clone() }));
    for (kept, stands) in kept.profiles.iter().zip(profiles) {
        for (identity, document) in &kept.public_identities {
            let document = document.clone().unwrap_or_else(|| plain_document(identity));
            let told = stands.public_identities.get(identity).and_then(Option::as_ref);
            if told.is_some_and(|told| *told != document) {
                let (profile, identity) = (stands.id.clone(), identity.clone());
                steps.push(MendStep::PutPublic { set: id(), profile, identity, document });
            }
        }
        if let Some(criteria) = kept.filter_criteria.clone().filter(|c| Some(c) != stands.filter_criteria.as_ref()) {
            steps.push(MendStep::PutCriteria { set: id(), profile: stands.id.clone(), criteria });
        }
    }
    // Last, so that there is always somebody who may register.
    let less = set.private_identities.difference(&kept.private_identities);
    steps.extend(less.map(|p| MendStep::Dissociate { set: id(), private_identity: p.clone() }));
    steps
}
