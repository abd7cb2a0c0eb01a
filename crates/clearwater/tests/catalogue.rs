//! What holds for every entry of the catalogue.

use std::collections::BTreeSet;

use clearwater::component::{
    AskedBy, Asks, Component, Entry, Program, Protocol, Release, Role, Rule, StartsWith, catalogue, entry, playing,
};

fn entries() -> impl Iterator<Item = (Release, &'static Entry)> {
    Release::ALL.into_iter().flat_map(|r| catalogue(r).iter().map(move |e| (r, e)))
}

fn repeated<T: Ord + Copy>(items: impl IntoIterator<Item = T>) -> Vec<T> {
    let mut seen = BTreeSet::new();
    items.into_iter().filter(|i| !seen.insert(*i)).collect()
}

#[test]
fn releases_have_their_components_in_listing_order() {
    assert_eq!(catalogue(Release::Hunter).len(), 11);
    assert_eq!(catalogue(Release::Classic).len(), 10);
    for release in Release::ALL {
        let listed: Vec<_> = catalogue(release).iter().map(|e| e.component).collect();
        let mut sorted = listed.clone();
        sorted.sort();
        sorted.dedup();
        assert_eq!(listed, sorted, "{release}");
    }
    assert!(entry(Release::Hunter, Component::Memcached).is_none());
    assert!(entry(Release::Classic, Component::HomesteadProv).is_none());
}

#[test]
fn every_entry_is_complete() {
    for (release, e) in entries() {
        let name = format!("{release} {}", e.component);
        assert!(!e.roles.is_empty(), "{name}: no role");
        assert!(!e.ports.is_empty(), "{name}: no port");
        assert!(!e.health.is_empty(), "{name}: no health question");
        assert!(!e.image.is_empty(), "{name}: no image");
        assert!(e.slowest_start_seconds > 0, "{name}: no start time");
        assert!(e.summary.ends_with('.'), "{name}: the summary is not a sentence");
        assert_eq!(e.programs.is_empty(), e.component == Component::Etcd, "{name}: programs");
        assert_eq!(e.logs.is_empty(), e.component == Component::Etcd, "{name}: logs");
        assert_eq!(e.env.is_empty(), e.component == Component::Etcd, "{name}: env");
        assert!(repeated(e.env.iter().map(|v| v.name)).is_empty(), "{name}: env twice");
        assert!(repeated(e.logs.iter().map(|l| (l.directory, l.pattern))).is_empty(), "{name}: log twice");
        assert!(e.logs.iter().all(|l| l.directory.starts_with("/var/log")), "{name}: log outside /var/log");
        if e.component != Component::Etcd {
            assert!(!e.image.contains(['/', ':']), "{name}: the image is a whole reference");
        }
    }
}

#[test]
fn every_fact_names_an_upstream_file() {
    for (release, e) in entries() {
        let sources = std::iter::once(e.source)
            .chain(e.ports.iter().map(|p| p.source))
            .chain(e.env.iter().map(|v| v.source))
            .chain(e.programs.iter().map(|p| p.source))
            .chain(e.logs.iter().map(|l| l.source))
            .chain(e.health.iter().map(|h| h.source))
            .chain(e.data.iter().map(|d| d.source))
            .chain(e.clustering.iter().map(|c| c.source))
            .chain(std::iter::once(e.scaling.source))
            .chain(e.pre_stop.iter().map(|p| p.source));
        for source in sources {
            let named = source.0.contains(['/', '.']) || source.0.contains("article");
            assert!(named, "{release} {}: {source:?} names no file", e.component);
        }
    }
}

#[test]
fn port_names_are_iana_service_names() {
    for (release, e) in entries() {
        let name = format!("{release} {}", e.component);
        for p in e.ports {
            let ok = (1..=15).contains(&p.name.len())
                && p.name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
                && p.name.bytes().any(|b| b.is_ascii_lowercase())
                && !p.name.starts_with('-')
                && !p.name.ends_with('-')
                && !p.name.contains("--");
            assert!(ok, "{name}: {:?} is not a port name", p.name);
            assert!(!(p.in_service && p.asked_by == AskedBy::Local), "{name}: {} is local and published", p.name);
        }
        assert!(repeated(e.ports.iter().map(|p| p.name)).is_empty(), "{name}: port name twice");
        assert!(repeated(e.ports.iter().map(|p| (p.number, p.protocol))).is_empty(), "{name}: port twice");
        assert!(e.ports.is_sorted_by_key(|p| (p.number, p.protocol)), "{name}: ports not in order");
        assert!(e.ports.iter().any(|p| p.in_service), "{name}: nothing published");
    }
}

#[test]
fn health_is_asked_on_ports_that_exist() {
    for (release, e) in entries() {
        for question in e.health {
            let protocol = if matches!(question.asks, Asks::Stun(_)) { Protocol::Udp } else { Protocol::Tcp };
            let ports = question.asks.ports();
            let of_a_file = matches!(question.asks, Asks::OneNameServer { .. });
            assert!(ports.is_empty() == of_a_file, "{release} {}: {question:?}", e.component);
            for number in ports {
                assert!(
                    e.ports
                        .iter()
                        .any(|p| p.number == number && p.protocol == protocol && p.asked_by != AskedBy::Local),
                    "{release} {}: nothing listens on {number}/{}",
                    e.component,
                    protocol.name()
                );
            }
        }
    }
}

#[test]
fn programs_are_as_the_boot_chain_needs_them() {
    for (release, e) in entries().filter(|(_, e)| e.component != Component::Etcd) {
        let name = format!("{release} {}", e.component);
        assert!(repeated(e.programs.iter().map(|p| p.name)).is_empty(), "{name}: program twice");
        assert!(e.program("clearwater-infrastructure").is_some(), "{name}: no boot chain");
        for p in e.programs {
            assert_eq!(p.group == Some(Program::GROUP), p.starts == StartsWith::BootChain, "{name}: {}", p.name);
        }
        assert!(e.programs.iter().any(|p| p.group.is_some()), "{name}: an empty group");
    }
    let chronos = entry(Release::Hunter, Component::Chronos).unwrap();
    assert_eq!(chronos.program("snmpd").unwrap().full_name(), "clearwater-group:snmpd");
}

#[test]
fn stores_cluster_and_the_rest_do_not() {
    for (release, e) in entries() {
        let name = format!("{release} {}", e.component);
        let clusters = e.component.is_store() && e.component != Component::Etcd;
        assert_eq!(e.clustering.is_some(), clusters, "{name}: clustering");
        assert_eq!(e.pre_stop.is_some(), e.scaling.down == Rule::OneByOne, "{name}: pre-stop");
        if let Some(c) = e.clustering {
            assert!(c.etcd_key.starts_with("/clearwater/"), "{name}");
            assert!(c.etcd_key.contains(c.node_type), "{name}");
            assert!(c.etcd_key.ends_with(c.datastore), "{name}");
            assert_eq!(c.store.name(), c.datastore, "{name}");
        }
        if e.scaling.up == Rule::Free {
            assert!(e.data.is_empty(), "{name}: scales freely and holds {:?}", e.data[0].what);
        }
    }
}

#[test]
fn every_role_is_played_once() {
    for release in Release::ALL {
        let roles: Vec<_> = catalogue(release).iter().flat_map(|e| e.roles).copied().collect();
        assert!(repeated(roles.iter().copied()).is_empty());
        assert_eq!(roles.len(), 16, "{release}");
        for role in roles {
            assert!(playing(release, role).is_some());
        }
    }
    assert_eq!(playing(Release::Classic, Role::SessionStore), Some(Component::Memcached));
}

#[test]
fn sprout_publishes_what_a_virtual_address_needs() {
    for release in Release::ALL {
        let sprout = entry(release, Component::Sprout).unwrap();
        let published: Vec<_> = sprout.ports.iter().filter(|p| p.in_service).map(|p| p.number).collect();
        assert_eq!(published, [5052, 5053, 5054, 9888]);
    }
}

/// A daemon that answers HTTP by itself keeps a log of it beside its own, chronos excepted; its own log comes first, as
/// it is the one that a failing program is known by.
#[test]
fn access_logs_are_read_of_every_cpp_daemon_that_keeps_one() {
    use clearwater::component::LogGrammar;
    for release in Release::ALL {
        let of = |e: &Entry, grammar| e.logs.iter().position(|l| l.grammar == grammar);
        let mut keep: Vec<&str> = Vec::new();
        for entry in catalogue(release) {
            let Some(access) = of(entry, LogGrammar::CppAccess) else { continue };
            keep.push(entry.component.name());
            let (own, access_log) = (of(entry, LogGrammar::Cpp), entry.logs[access]);
            assert!(own.is_some_and(|own| own < access && entry.logs[own].directory == access_log.directory));
            assert_eq!((access_log.pattern, access_log.current), ("access_*.txt", Some("access_current.txt")));
        }
        keep.sort_unstable();
        assert_eq!(keep, ["homestead", "ralf", "sprout"], "{release}");
    }
}

#[test]
fn a_port_has_one_number_in_both_releases() {
    for e in catalogue(Release::Classic) {
        let Some(hunter) = entry(Release::Hunter, e.component) else { continue };
        for port in hunter.ports {
            let number = e.port(port.name).map_or(port.number, |p| p.number);
            assert_eq!(number, port.number, "{} {}", e.component, port.name);
        }
    }
}
