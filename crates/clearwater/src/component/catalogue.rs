use super::{Component, Entry, LogGrammar, Release, Role, classic, hunter};

/// The entries of a release, in listing order.
///
/// ```
/// use clearwater::component::{Component, Release, catalogue};
///
/// assert_eq!(catalogue(Release::Hunter).len(), 11);
/// assert_eq!(catalogue(Release::Classic).len(), 10);
/// assert!(catalogue(Release::Classic).iter().all(|e| e.component != Component::Astaire));
/// ```
pub const fn catalogue(release: Release) -> &'static [Entry] {
    match release {
        Release::Hunter => hunter::ENTRIES,
        Release::Classic => classic::ENTRIES,
    }
}

/// The entry of a component, or `None` where the release does not have it.
pub fn entry(release: Release, component: Component) -> Option<&'static Entry> {
    catalogue(release).iter().find(|e| e.component == component)
}

/// The component that plays a role, or `None` where none of the release does.
///
/// ```
/// use clearwater::component::{Component, Release, Role, playing};
///
/// assert_eq!(playing(Release::Hunter, Role::Provisioning), Some(Component::HomesteadProv));
/// assert_eq!(playing(Release::Classic, Role::Provisioning), Some(Component::Homestead));
/// ```
pub fn playing(release: Release, role: Role) -> Option<Component> {
    catalogue(release).iter().find(|e| e.plays(role)).map(|e| e.component)
}

/// etcd and the stores of a release whose members it knows: with an etcd that came back empty they are all made anew.
///
/// ```
/// use clearwater::component::{Component, Release, known_to_etcd};
///
/// let hunter = [Component::Etcd, Component::Astaire, Component::Cassandra, Component::Chronos];
/// assert_eq!(known_to_etcd(Release::Hunter), hunter);
/// assert!(known_to_etcd(Release::Classic).contains(&Component::Memcached));
/// ```
pub fn known_to_etcd(release: Release) -> Vec<Component> {
    let known = |e: &&Entry| e.component == Component::Etcd || e.clustering.is_some();
    catalogue(release).iter().filter(known).map(|e| e.component).collect()
}

/// Whether a file of this name is a log whose lines have no form and tell no time, of which nobody expects more: what scripts
/// print, and what supervisord keeps of programs' output. Before it, behind a hyphen, may stand where it lay.
///
/// ```
/// use clearwater::component::is_plain_log;
///
/// assert!(is_plain_log("create_numbers.log") && is_plain_log("log-create_numbers.log"));
/// assert!(is_plain_log("restund-stdout---supervisor-x8d2.log"));
/// assert!(!is_plain_log("sprout_current.txt") && !is_plain_log("now.log"));
/// ```
pub fn is_plain_log(file: &str) -> bool {
    let mut logs = Release::ALL.into_iter().flat_map(catalogue).flat_map(|entry| entry.logs);
    let is = |name: &str| file.strip_suffix(name).is_some_and(|place| place.is_empty() || place.ends_with('-'));
    logs.any(|log| log.grammar == LogGrammar::Plain && is(log.pattern))
        || file
            .split_once("-std")
            .is_some_and(|(program, rest)| !program.is_empty() && rest.strip_suffix(".log").is_some())
}

/// The number of a component's port, for constants: one that the catalogue does not have is found when this is compiled.
/// Both releases have the same numbers (`tests/catalogue.rs`).
///
/// # Panics
/// Where the component has no port of that name.
///
/// ```
/// use clearwater::component::{Component, port};
///
/// const ETCD: u16 = port(Component::Etcd, "etcd-client");
/// assert_eq!(ETCD, 2379);
/// ```
pub const fn port(component: Component, name: &str) -> u16 {
    let mut entries = catalogue(Release::Hunter);
    while let [entry, rest @ ..] = entries {
        entries = rest;
        if entry.component as u8 != component as u8 {
            continue;
        }
        let mut ports = entry.ports;
        while let [port, rest @ ..] = ports {
            ports = rest;
            if same(port.name.as_bytes(), name.as_bytes()) {
                return port.number;
            }
        }
    }
    panic!("no such port")
}

const fn same(mut a: &[u8], mut b: &[u8]) -> bool {
    while let ([x, after_x @ ..], [y, after_y @ ..]) = (a, b) {
        if *x != *y {
            return false;
        }
        (a, b) = (after_x, after_y);
    }
    a.is_empty() && b.is_empty()
}
