use std::collections::{BTreeMap, BTreeSet};

use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;

use super::*;

fn identity(n: usize) -> String {
    format!("sip:{n}@a.b")
}

/// Eight identities, each in a set and in a profile of it, or nowhere; sets may be registered by some of four.
fn sets() -> impl Strategy<Value = Vec<RegistrationSet>> {
    let places = vec(option::weighted(0.8, (0..4_usize, 0..2_usize)), 8);
    let privates = vec(proptest::collection::btree_set(0..4_usize, 1..3), 4);
    let criteria = vec(option::weighted(0.8, "<ServiceProfile>[ab]</ServiceProfile>"), 8);
    (places, privates, criteria).prop_map(|(places, privates, criteria)| {
        let mut profiles: BTreeMap<(usize, usize), ServiceProfile> = BTreeMap::new();
        for (n, place) in places.iter().enumerate() {
            let Some((set, profile)) = place else { continue };
            let of = profiles.entry((*set, *profile)).or_default();
            of.public_identities.insert(identity(n), None);
            of.filter_criteria.clone_from(&criteria[set * 2 + profile]);
        }
        let mut sets: BTreeMap<usize, RegistrationSet> = BTreeMap::new();
        for ((set, _), profile) in profiles {
            let of = sets.entry(set).or_default();
            of.private_identities = privates[set].iter().map(|p| format!("p{p}@a.b")).collect();
            of.profiles.push(profile);
        }
        sets.into_values().collect()
    })
}

fn holdings() -> impl Strategy<Value = Holdings> {
    let simservs = btree_map((0..8_usize).prop_map(identity), "<simservs>[ab]</simservs>", 0..8);
    let owners = btree_map((0..8_usize).prop_map(identity), (0..2_usize, any::<bool>()), 0..8);
    (sets(), simservs, owners, "[a-z]{0,8}").prop_map(|(sets, simservs, owners, digest)| {
        let record = |p: usize| PrivateRecord {
            digest_ha1: format!("{digest}{p}").into(),
            realm: Some("a.b".to_owned()),
            plaintext_password: (p == 1).then(|| "kept-quiet".to_owned().into()),
        };
        let mut accounts: BTreeMap<String, EllisAccount> = BTreeMap::new();
        for (number, (account, listed)) in owners {
            let of = accounts.entry(format!("ann{account}@a.b")).or_default();
            of.numbers.insert(number, EllisNumber { listed, pstn: false });
        }
        let private_identities = (0..4).map(|p| (format!("p{p}@a.b"), record(p))).collect();
        Holdings { private_identities, registration_sets: sets, simservs, accounts }.normalized()
    })
}

/// homestead-prov, as far as steps are concerned.
#[derive(Debug, Default)]
struct World {
    sets: Vec<StandingSet>,
    made: usize,
}

impl World {
    fn of(sets: &[RegistrationSet]) -> Self {
        let mut world = Self::default();
        for set in sets {
            world.make(set);
        }
        world
    }

    fn make(&mut self, set: &RegistrationSet) {
        self.made += 1;
        let named = |(n, p): (usize, &ServiceProfile)| StandingProfile {
            id: format!("profile-{}-{n}", self.made),
            public_identities: p
                .public_identities
                .iter()
                .map(|(i, d)| (i.clone(), Some(d.clone().unwrap_or_else(|| plain_document(i)))))
                .collect(),
            filter_criteria: p.filter_criteria.clone(),
        };
        self.sets.push(StandingSet {
            id: format!("set-{}", self.made),
            private_identities: set.private_identities.clone(),
            profiles: set.profiles.iter().enumerate().map(named).collect(),
            others: BTreeSet::new(),
        });
    }

    /// The sets in which identities of this one stand, as they are read.
    fn seen(&self, of: &RegistrationSet) -> Vec<StandingSet> {
        let meant: BTreeSet<&str> = of.public_identities().collect();
        let is_meant = |p: &StandingProfile| p.public_identities.keys().any(|i| meant.contains(i.as_str()));
        let mut seen = Vec::new();
        for set in &self.sets {
            let (profiles, others): (Vec<_>, Vec<_>) = set.profiles.iter().cloned().partition(is_meant);
            if !profiles.is_empty() {
                let others = others.into_iter().flat_map(|p| p.public_identities.into_keys()).collect();
                seen.push(StandingSet { profiles, others, ..set.clone() });
            }
        }
        seen
    }

    fn set(&mut self, id: &str) -> &mut StandingSet {
        self.sets.iter_mut().find(|s| s.id == id).unwrap()
    }

    fn profile(&mut self, set: &str, id: &str) -> &mut StandingProfile {
        self.set(set).profiles.iter_mut().find(|p| p.id == id).unwrap()
    }

    fn apply(&mut self, step: &MendStep, kept: &RegistrationSet) {
        match step {
            MendStep::RemoveSet { set } => self.sets.retain(|s| s.id != *set),
            MendStep::RemovePublic { set, profile, identity } => {
                assert!(self.profile(set, profile).public_identities.remove(identity).is_some());
            }
            MendStep::Make => {
                for identity in kept.public_identities() {
                    assert!(
                        self.sets
                            .iter()
                            .all(|s| s.profiles.iter().all(|p| !p.public_identities.contains_key(identity)))
                    );
                }
                self.make(kept);
            }
            MendStep::Associate { set, private_identity } => {
                assert!(self.set(set).private_identities.insert(private_identity.clone()));
            }
            MendStep::Dissociate { set, private_identity } => {
                assert!(self.set(set).private_identities.remove(private_identity));
            }
            MendStep::PutPublic { set, profile, identity, document } => {
                self.profile(set, profile).public_identities.insert(identity.clone(), Some(document.clone()));
            }
            MendStep::PutCriteria { set, profile, criteria } => {
                self.profile(set, profile).filter_criteria = Some(criteria.clone());
            }
        }
    }

    fn holdings(&self) -> Holdings {
        let profile = |p: &StandingProfile| ServiceProfile {
            public_identities: p.public_identities.clone(),
            filter_criteria: p.filter_criteria.clone(),
        };
        let set = |s: &StandingSet| RegistrationSet {
            private_identities: s.private_identities.clone(),
            profiles: s.profiles.iter().map(profile).collect(),
        };
        Holdings { registration_sets: self.sets.iter().map(set).collect(), ..Holdings::default() }.normalized()
    }
}

fn backup(holdings: Holdings) -> Backup {
    Backup {
        program: "0.1.0".to_owned(),
        namespace: "ims".to_owned(),
        home_domain: "a.b".to_owned(),
        release: "hunter".to_owned(),
        lacks: vec!["what etcd holds: no pod of etcd is there".to_owned()],
        holdings,
        deployment: Some("apiVersion: clearwater/v1\n".to_owned()),
        ..Backup::default()
    }
}

proptest! {
    #[test]
    fn what_was_kept_is_read_again_and_nothing_else(holdings in holdings()) {
        let backup = backup(holdings);
        let parts = backup.parts();
        prop_assert_eq!(&Backup::of_parts(&parts).unwrap(), &backup);
        prop_assert_eq!(&parts, &backup.parts());
        prop_assert!(compare(&backup.holdings, &backup.holdings).is_equal());
        prop_assert!(work(&backup.holdings, &compare(&backup.holdings, &backup.holdings)).is_empty());
    }

    #[test]
    fn an_altered_part_is_refused_and_named(holdings in holdings(), which in any::<prop::sample::Index>(), at in any::<prop::sample::Index>(), bit in 0..8_u8) {
        let mut parts = backup(holdings).parts();
        let names: Vec<String> = parts.keys().filter(|n| *n != MANIFEST).cloned().collect();
        let name = which.get(&names).clone();
        let bytes = parts.get_mut(&name).unwrap();
        let n = at.index(bytes.len());
        bytes[n] ^= 1 << bit;
        let error = Backup::of_parts(&parts).unwrap_err();
        prop_assert!(error.to_string().starts_with(&format!("{name} was altered: its SHA-256 is ")), "{}", error);
        parts.get_mut(&name).unwrap().truncate(n);
        let error = Backup::of_parts(&parts).unwrap_err();
        prop_assert!(error.to_string().starts_with(&format!("{name} was altered: it has {n} bytes")), "{}", error);
        parts.remove(&name);
        let error = Backup::of_parts(&parts).unwrap_err();
        prop_assert!(error.to_string().starts_with(&format!("{name} is missing, ")), "{}", error);
    }

    #[test]
    fn a_mended_set_is_what_was_kept_and_what_was_not_meant_stays(kept in sets(), standing in sets(), anew in any::<bool>()) {
        let mut world = World::of(&standing);
        let before = world.holdings();
        for set in &kept {
            for step in mend(set, &world.seen(set), anew) {
                world.apply(&step, set);
            }
            prop_assert_eq!(mend(set, &world.seen(set), false), vec![]);
        }
        let after = world.holdings();
        let all = Holdings { registration_sets: kept.clone(), ..Holdings::default() };
        prop_assert!(compare(&all, &after).is_equal(), "{:?}", compare(&all, &after));
        let meant: BTreeSet<&str> = kept.iter().flat_map(RegistrationSet::public_identities).collect();
        let of = |holdings: &Holdings| {
            let mut all = BTreeMap::new();
            for profile in holdings.registration_sets.iter().flat_map(|s| s.profiles.clone()) {
                let others = profile.public_identities.keys().filter(|i| !meant.contains(i.as_str()));
                all.extend(others.map(|i| (i.clone(), profile.filter_criteria.clone())));
            }
            all
        };
        prop_assert_eq!(of(&before), of(&after));
    }

    #[test]
    fn steps_are_needed_where_and_only_where_something_is_not_as_it_was_kept(kept in sets(), standing in sets()) {
        let world = World::of(&standing);
        let all = Holdings { registration_sets: kept.clone(), ..Holdings::default() };
        let compared = compare(&all, &world.holdings());
        for set in &kept {
            let item = compared.items.iter().find(|i| i.name == set.name() && i.kind == ItemKind::RegistrationSet);
            let is_equal = item.unwrap().state == ItemState::Equal;
            prop_assert_eq!(mend(set, &world.seen(set), false).is_empty(), is_equal);
        }
    }

    #[test]
    fn every_item_that_was_kept_is_counted_once(kept in holdings(), standing in holdings()) {
        let compared = compare(&kept, &standing);
        let counts = kept.counts();
        let tally = compared.tally();
        let of = |kind| { let t: ItemCounts = tally[&kind]; t.equal + t.missing + t.different };
        prop_assert_eq!(of(ItemKind::PrivateIdentity), counts.private_identities);
        prop_assert_eq!(of(ItemKind::RegistrationSet), counts.registration_sets);
        prop_assert_eq!(of(ItemKind::Simservs), counts.simservs);
        prop_assert_eq!(of(ItemKind::Account), counts.accounts);
        prop_assert_eq!(of(ItemKind::Number), counts.numbers);
        // Into nothing, everything is to be made and nothing is replaced.
        let into_nothing = work(&kept, &compare(&kept, &Holdings::default()));
        prop_assert_eq!(into_nothing.len(), counts.registration_sets);
        prop_assert!(into_nothing.iter().all(|unit| unit.replaces.is_empty()));
    }
}

fn one() -> Holdings {
    let profile = ServiceProfile {
        public_identities: [(identity(1), None)].into(),
        filter_criteria: Some("<ServiceProfile/>".to_owned()),
    };
    let set = RegistrationSet { private_identities: ["1@a.b".to_owned()].into(), profiles: vec![profile] };
    let record = PrivateRecord {
        digest_ha1: "0a".to_owned().into(),
        realm: Some("a.b".to_owned()),
        plaintext_password: Some("kept-quiet".to_owned().into()),
    };
    let account = EllisAccount {
        full_name: Some("Ann".to_owned()),
        numbers: [(identity(1), EllisNumber { listed: true, pstn: false })].into(),
    };
    Holdings {
        private_identities: [("1@a.b".to_owned(), record)].into(),
        registration_sets: vec![set],
        simservs: [(identity(1), "<simservs/>".to_owned())].into(),
        accounts: [("ann@a.b".to_owned(), account)].into(),
    }
}

#[test]
fn what_is_not_as_it_was_kept_is_named_field_by_field() {
    let kept = one();
    let said = |change: &dyn Fn(&mut Holdings)| -> (Vec<String>, Vec<String>) {
        let mut standing = kept.clone();
        change(&mut standing);
        let compared = compare(&kept, &standing);
        let told = compared.items.iter().filter(|i| i.state != ItemState::Equal).map(ToString::to_string).collect();
        (told, work(&kept, &compared).into_iter().flat_map(|u| u.replaces).collect())
    };
    let (told, replaces) =
        said(&|h| h.private_identities.get_mut("1@a.b").unwrap().digest_ha1 = "0b".to_owned().into());
    assert_eq!(
        (told, replaces),
        (vec!["private identity 1@a.b: other digest".to_owned()], vec!["private identity 1@a.b".to_owned()])
    );
    let (told, replaces) = said(&|h| h.registration_sets[0].profiles[0].filter_criteria = None);
    assert_eq!(told, ["registration set of sip:1@a.b: not whole, without filter criteria"]);
    assert_eq!(replaces, Vec::<String>::new());
    let (told, replaces) = said(&|h| h.simservs.clear());
    assert_eq!((told.as_slice(), replaces.len()), (&["simservs of sip:1@a.b: missing".to_owned()][..], 0));
    let (told, replaces) = said(&|h| h.accounts.clear());
    assert_eq!(told, ["account ann@a.b: missing", "number sip:1@a.b: missing"]);
    assert_eq!(replaces, ["sip:1@a.b, which stands and is nobody's at Ellis"]);
    let (told, _) = said(&|h| {
        h.registration_sets[0].private_identities.insert("2@a.b".to_owned());
    });
    assert_eq!(told, ["registration set of sip:1@a.b: other private identities"]);
    let (told, replaces) = said(&|h| {
        h.simservs.insert("sip:9@a.b".to_owned(), String::new());
    });
    assert_eq!((told.as_slice(), replaces.len()), (&["simservs of sip:9@a.b: not in the backup".to_owned()][..], 0));
}

/// What is done to the files of an archive.
type Change<'c> = dyn Fn(&mut BTreeMap<String, Vec<u8>>) + 'c;

#[test]
fn what_is_no_backup_is_told_from_one_that_was_altered() {
    let parts = backup(one()).parts();
    let said = |change: &Change| {
        let mut parts = parts.clone();
        change(&mut parts);
        Backup::of_parts(&parts).unwrap_err().to_string()
    };
    let replaced = |from: &'static str, to: &'static str| {
        said(&|p| {
            let text = String::from_utf8(p[MANIFEST].clone()).unwrap();
            assert!(text.contains(from), "{text}");
            p.insert(MANIFEST.to_owned(), text.replace(from, to).into_bytes());
        })
    };
    let foreign = "it is no backup of a Clearwater deployment: ";
    assert_eq!(said(&BTreeMap::clear), format!("{foreign}it has no manifest.json"));
    assert_eq!(replaced("clearwater-backup", "other"), format!("{foreign}manifest.json does not say that it is one"));
    assert_eq!(
        replaced("\"v\": 1", "\"v\": 2"),
        "it is a backup of version 2, and this program reads version 1: take a newer one"
    );
    assert!(replaced("\"simservs\": 1", "\"simservs\": 2").starts_with("manifest.json was altered: it counts "));
    assert_eq!(
        said(&|p| drop(p.insert("more.sh".to_owned(), vec![]))),
        format!("{foreign}it holds more.sh, which its manifest does not name")
    );
    assert_eq!(
        said(&|p| drop(p.remove("simservs.json"))),
        "simservs.json is missing, which its manifest names: the archive is not whole"
    );
    let mut lost = one();
    lost.private_identities.clear();
    let error = Backup::of_parts(&backup(lost).parts()).unwrap_err().to_string();
    assert_eq!(
        error,
        "subscribers.json cannot be read: the set of sip:1@a.b names private identity 1@a.b, which is not in it"
    );
}

#[test]
fn secrets_are_kept_and_never_shown() {
    let holdings = one();
    assert!(!format!("{holdings:?}").contains("kept-quiet"));
    let parts = backup(holdings).parts();
    assert!(String::from_utf8_lossy(&parts["subscribers.json"]).contains("kept-quiet"));
    assert!(!String::from_utf8_lossy(&parts[MANIFEST]).contains("kept-quiet"));
}

#[test]
fn the_form_of_the_manifest_is_this() {
    insta::assert_snapshot!(String::from_utf8(backup(one()).parts()[MANIFEST].clone()).unwrap());
}
