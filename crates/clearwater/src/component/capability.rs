//! Linux capabilities that the images' programs use, for `securityContext: hardened`.
//!
//! All of it was read in upstream's packaging and none of it was tried on upstream's images, which take a registry. The
//! stand-ins of the test bed come up with exactly these.

use super::{Component, Source};

/// A Linux capability that a component's programs use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CapabilityUse {
    /// Its name as Kubernetes writes it, without `CAP_`.
    pub name: &'static str,
    /// What for.
    pub meaning: &'static str,
    /// Where this was read.
    pub source: Source,
}

const fn uses(name: &'static str, meaning: &'static str, source: &'static str) -> CapabilityUse {
    CapabilityUse { name, meaning, source: Source(source) }
}

/// What supervisord, as root, does in every image of Clearwater's.
const CHOWN: CapabilityUse = uses(
    "CHOWN",
    "give run and log directories to the daemons' users",
    "clearwater-etcd debian/clearwater-etcd.init.d",
);
const DAC_OVERRIDE: CapabilityUse = uses(
    "DAC_OVERRIDE",
    "write, as root, what the daemons' users own: process ids, configuration, logs",
    "sprout debian/bono.init.d; clearwater-etcd debian/clearwater-etcd.init.d",
);
const FOWNER: CapabilityUse = uses(
    "FOWNER",
    "set the mode of what the daemons' users own",
    "clearwater-etcd debian/clearwater-etcd.init.d (install -m -o)",
);
const KILL: CapabilityUse =
    uses("KILL", "stop and signal daemons of other users", "sprout debian/bono.init.d (start-stop-daemon --stop)");
const SETGID: CapabilityUse = uses("SETGID", "become the daemons' groups", "sprout debian/bono.init.d (--chuid)");
const SETUID: CapabilityUse = uses("SETUID", "become the daemons' users", "sprout debian/bono.init.d (--chuid)");
const NET_BIND_SERVICE: CapabilityUse =
    uses("NET_BIND_SERVICE", "listen on port 80", "clearwater-docker ellis/nginx.supervisord.conf");

const CLEARWATER: &[CapabilityUse] = &[CHOWN, DAC_OVERRIDE, FOWNER, KILL, SETGID, SETUID];
const WITH_LOW_PORT: &[CapabilityUse] = &[CHOWN, DAC_OVERRIDE, FOWNER, KILL, NET_BIND_SERVICE, SETGID, SETUID];

/// The capabilities that a component's programs use, in alphabetical order. Unproved on upstream's images.
///
/// ```
/// use clearwater::component::{Component, capabilities};
///
/// assert!(capabilities(Component::Etcd).is_empty());
/// assert!(capabilities(Component::Ellis).iter().any(|c| c.name == "NET_BIND_SERVICE"));
/// ```
pub const fn capabilities(component: Component) -> &'static [CapabilityUse] {
    match component {
        Component::Etcd => &[],
        Component::Ellis => WITH_LOW_PORT,
        Component::Astaire
        | Component::Memcached
        | Component::Cassandra
        | Component::Chronos
        | Component::Homestead
        | Component::HomesteadProv
        | Component::Homer
        | Component::Ralf
        | Component::Sprout
        | Component::Bono => CLEARWATER,
    }
}
