//! The columns of a ladder, and what they are called.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::LadderHop;
use crate::text::Printable;

/// How many columns peers may have, beside the programs that logged, and how many these: nobody reads a picture with more,
/// and a subscriber may have thousands of peers. What is too much shares a column.
const MOST_PEERS: usize = 30;
const FURTHER: &str = "further peers";
const MOST_PROGRAMS: usize = 60;
const FURTHER_PROGRAMS: &str = "further programs";

/// The names that occur, each kept once.
#[derive(Debug, Default)]
pub(super) struct Names(HashSet<Printable>);

impl Names {
    pub(super) fn of(&mut self, name: &str) -> Printable {
        if let Some(known) = self.0.get(name) {
            return known.clone();
        }
        let name = Printable::from(name);
        self.0.insert(name.clone());
        name
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

/// The host of `host:port`, as it was logged.
pub(super) fn host(peer: &str) -> &str {
    peer.rsplit_once(':').map_or(peer, |(host, _)| host).trim_matches(['[', ']'])
}

/// The columns that there are, as many as are allowed.
pub(super) struct Columns<'n, F> {
    lane_of: F,
    names: &'n mut Names,
    peers: HashSet<Printable>,
    programs: HashSet<Printable>,
    /// The phones by their addresses, in the order in which they appear.
    phones: HashMap<Printable, Printable>,
}

impl<'n, F: Fn(&str) -> Option<String>> Columns<'n, F> {
    pub(super) fn new(lane_of: F, names: &'n mut Names) -> Self {
        Self { lane_of, names, peers: HashSet::new(), programs: HashSet::new(), phones: HashMap::new() }
    }

    /// Names the parties of a hop by their columns; a peer of which nothing else is known by its address.
    pub(super) fn place(&mut self, hop: &mut LadderHop) {
        let (own, peer) = if hop.sent.is_some() { (&mut hop.from, &mut hop.to) } else { (&mut hop.to, &mut hop.from) };
        *own = self.program(own);
        if hop.function.is_some() {
            *peer = own.clone();
        } else if let Some(lane) = (self.lane_of)(host(peer)) {
            let lane = self.names.of(&lane);
            *peer = self.program(&lane);
        } else {
            hop.is_peer_unknown = true;
        }
    }

    /// The column of a program that logged.
    pub(super) fn program(&mut self, lane: &Printable) -> Printable {
        fitting(&mut self.programs, lane, MOST_PROGRAMS, self.names, FURTHER_PROGRAMS)
    }

    /// Names the peers that are left: phones by their number, of which several may stand behind one address, and others by
    /// the program that other messages tell for their address, or else by that.
    pub(super) fn name_peers(&mut self, hops: &mut [LadderHop], legend: &mut Vec<(Printable, Printable)>) {
        let (phones, programs) = (phones(hops), programs(hops));
        for hop in hops.iter_mut().filter(|hop| hop.is_peer_unknown && (hop.sent.is_none() || hop.received.is_none())) {
            let peer = if hop.sent.is_some() { &mut hop.to } else { &mut hop.from };
            let address = peer.clone();
            if phones.contains(&address) {
                if let Some(phone) = self.phones.get(&address) {
                    *peer = phone.clone();
                    continue;
                }
                let name = self.names.of(&format!("phone {}", self.phones.len() + 1));
                *peer = fitting(&mut self.peers, &name, MOST_PEERS, self.names, FURTHER);
                if *peer == name {
                    legend.push((name.clone(), address.clone()));
                }
                self.phones.insert(address, peer.clone());
            } else if let Some(Some(program)) = programs.get(host(&address)) {
                *peer = program.clone();
            } else {
                let name = self.names.of(host(&address));
                *peer = fitting(&mut self.peers, &name, MOST_PEERS, self.names, FURTHER);
            }
        }
    }
}

/// The addresses of phones: those that bono speaks with as with one, and never as with a server.
fn phones(hops: &[LadderHop]) -> HashSet<Printable> {
    let mut all: HashMap<&Printable, bool> = HashMap::new();
    for hop in hops.iter().filter(|hop| hop.is_peer_unknown) {
        let peer = match (hop.sent, hop.received) {
            (Some(_), None) => &hop.to,
            (None, Some(_)) => &hop.from,
            _ => continue,
        };
        if let Some(is_phone) = hop.is_of_phone {
            *all.entry(peer).or_insert(true) &= is_phone;
        }
    }
    all.into_iter().filter(|(_, is_phone)| *is_phone).map(|(peer, _)| peer.clone()).collect()
}

/// The programs by their addresses, as messages tell that both ends logged; `None` where they tell several for one.
fn programs(hops: &[LadderHop]) -> HashMap<String, Option<Printable>> {
    let mut all: HashMap<String, Option<Printable>> = HashMap::new();
    for hop in hops.iter().filter(|hop| hop.sent.is_some() && hop.received.is_some()) {
        for (address, lane) in [(&hop.source, &hop.from), (&hop.target, &hop.to)] {
            let Some(address) = address else { continue };
            let told = all.entry(host(address).to_owned()).or_insert_with(|| Some(lane.clone()));
            if told.as_ref() != Some(lane) {
                *told = None;
            }
        }
    }
    all
}

/// The name itself, where it is among the first so many.
fn fitting(
    known: &mut HashSet<Printable>,
    name: &Printable,
    most: usize,
    names: &mut Names,
    further: &str,
) -> Printable {
    if known.contains(name) {
        return name.clone();
    }
    if known.len() >= most {
        return names.of(further);
    }
    known.insert(name.clone());
    name.clone()
}

/// The workload of a pod and the pod's own part, where its name is one that a Deployment gives
/// (`bono-8664965f7d-br5z2`).
fn of_deployment(pod: &str) -> Option<(&str, &str)> {
    let is_random = |part: &str| part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let (rest, own) = pod.rsplit_once('-').filter(|(_, own)| own.len() == 5 && is_random(own))?;
    let (workload, hash) = rest.rsplit_once('-')?;
    let is_hash = (8..=10).contains(&hash.len()) && is_random(hash) && hash.contains(|c: char| c.is_ascii_digit());
    (is_hash && !workload.is_empty()).then_some((workload, own))
}

/// Shorter names for columns, where they are still told apart: the workload's for its only pod, and with the pod's own part
/// for one of several.
pub(super) fn short_names<'l>(lanes: impl IntoIterator<Item = &'l Printable>) -> BTreeMap<Printable, Printable> {
    let all: HashSet<&Printable> = lanes.into_iter().collect();
    let mut pods: HashMap<&str, usize> = HashMap::new();
    for (workload, _) in all.iter().filter_map(|lane| of_deployment(lane)) {
        *pods.entry(workload).or_default() += 1;
    }
    let mut short = BTreeMap::new();
    let mut taken: HashSet<Printable> = all.iter().map(|lane| (*lane).clone()).collect();
    for lane in all {
        let Some((workload, own)) = of_deployment(lane) else { continue };
        let name = if pods.get(workload) == Some(&1) { workload.to_owned() } else { format!("{workload}-{own}") };
        let name = Printable::from(name);
        if taken.insert(name.clone()) {
            short.insert(lane.clone(), name);
        }
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_shortened_and_told_apart() {
        // (columns, what they are called)
        let rows: [(&[&str], &[&str]); 5] = [
            (&["bono-8664965f7d-br5z2", "sprout-76d6cbb9b4-4mhp8"], &["bono", "sprout"]),
            (&["bono-8664965f7d-br5z2", "bono-8664965f7d-aaaaa"], &["bono-br5z2", "bono-aaaaa"]),
            (&["sprout-scscf-76d6cbb9b4-4mhp8", "bono-2"], &["sprout-scscf", "bono-2"]),
            // Names that are none of a Deployment's pods, and one whose short name is another's.
            (
                &["10.244.1.4", "bono-0", "a-b-c", "homestead-prov"],
                &["10.244.1.4", "bono-0", "a-b-c", "homestead-prov"],
            ),
            (&["bono-8664965f7d-br5z2", "bono"], &["bono-8664965f7d-br5z2", "bono"]),
        ];
        for (lanes, expected) in rows {
            let lanes: Vec<Printable> = lanes.iter().map(|lane| (*lane).into()).collect();
            let short = short_names(&lanes);
            let named: Vec<_> = lanes.iter().map(|lane| short.get(lane).unwrap_or(lane).as_str()).collect();
            assert_eq!(named, expected);
        }
    }
}
