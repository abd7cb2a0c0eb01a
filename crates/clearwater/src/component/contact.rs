//! Which ports a component asks another one on: what the ordering graph's edges mean on the network, and the connections
//! that are no need of either side.

use super::{AskedBy, Component, Entry, PortUse, Release, Source, entry};

use Component::{Bono, Cassandra, Chronos, Ellis, Etcd, Homestead, Memcached, Sprout};

/// Ports of a component that one other component, or all, ask, where these are not all that components may ask.
struct Narrowed {
    from: &'static [Component],
    to: Component,
    ports: &'static [&'static str],
    source: Source,
}

/// Upstream's own list of what must be open between nodes.
const PORT_USAGE: Source = Source("clearwater-readthedocs docs/Clearwater_IP_Port_Usage.md");

const NARROWED: &[Narrowed] = &[
    // A proxy asks for the members on the peer port and then speaks to the address that a member advertises.
    Narrowed {
        from: &[],
        to: Etcd,
        ports: &["etcd-client", "etcd-server"],
        source: Source("clearwater-etcd debian/clearwater-etcd.init.d; etcd-io/etcd etcdmain/etcd.go, startProxy"),
    },
    Narrowed { from: &[], to: Cassandra, ports: &["thrift"], source: PORT_USAGE },
    Narrowed { from: &[Chronos, Homestead], to: Sprout, ports: &["http"], source: PORT_USAGE },
    Narrowed { from: &[Bono], to: Sprout, ports: &["icscf-tcp", "scscf-tcp"], source: PORT_USAGE },
    // The classic release's homestead provisions too.
    Narrowed { from: &[Sprout, Bono], to: Homestead, ports: &["http"], source: PORT_USAGE },
    Narrowed { from: &[Ellis], to: Homestead, ports: &["http-prov"], source: PORT_USAGE },
];

/// A connection that neither side needs in order to start or to work, so that it is no edge of the ordering graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Contact {
    /// The component that opens the connection.
    pub from: Component,
    /// The component that it opens it to; another pod of its own where the two are the same.
    pub to: Component,
    /// The names of the ports.
    pub ports: &'static [&'static str],
    /// Where this was read.
    pub source: Source,
}

/// The connections between components that are no edges of the ordering graph. Members of a store reach each other
/// besides, on the ports that the catalogue says peers ask.
pub const CONTACTS: &[Contact] = &[
    Contact { from: Sprout, to: Bono, ports: &["trusted-tcp"], source: PORT_USAGE },
    Contact { from: Bono, to: Bono, ports: &["trusted-tcp"], source: PORT_USAGE },
    // A Route may name another sprout than the one that has the request.
    Contact {
        from: Sprout,
        to: Sprout,
        ports: &["icscf-tcp", "bgcf-tcp", "scscf-tcp", "mmtel-tcp"],
        source: Source("sprout src/icscfsproutlet.cpp, src/scscfsproutlet.cpp, src/bgcfsproutlet.cpp"),
    },
    Contact { from: Chronos, to: Chronos, ports: &["http"], source: PORT_USAGE },
    // The classic images are everybody's own: a homestead that is later than 2016 keeps its public identities here.
    Contact { from: Homestead, to: Memcached, ports: &["memcached"], source: Source("homestead src/main.cpp") },
];

/// The ports of `to` that `from` asks where it needs `to`: those that are known for the two, else all that components
/// ask.
///
/// ```
/// use clearwater::component::{Component, Release, asked_ports};
///
/// let ports: Vec<_> = asked_ports(Release::Hunter, Component::Homer, Component::Cassandra).map(|p| p.number).collect();
/// assert_eq!(ports, [9160]);
/// ```
pub fn asked_ports(release: Release, from: Component, to: Component) -> impl Iterator<Item = &'static PortUse> {
    let known = NARROWED.iter().find(|n| n.to == to && (n.from.is_empty() || n.from.contains(&from)));
    let ports = entry(release, to).map_or(&[][..], |e| e.ports);
    ports.iter().filter(move |p| match known {
        Some(known) => known.ports.contains(&p.name),
        None => p.asked_by == AskedBy::Components,
    })
}

/// Where it was read on which ports `from` asks `to`, if it is narrower than all that components ask: for whoever doubts a
/// policy.
pub fn narrowed_by(from: Component, to: Component) -> Option<Source> {
    NARROWED.iter().find(|n| n.to == to && (n.from.is_empty() || n.from.contains(&from))).map(|n| n.source)
}

impl Entry {
    /// The ports on which its own pods ask each other.
    pub(crate) fn peer_ports(&self) -> impl Iterator<Item = &'static PortUse> {
        self.ports.iter().filter(|p| p.asked_by == AskedBy::Peers)
    }
}

/// The first and last UDP port that restund relays media on: it is given no range, and takes what the system has.
pub const TURN_RELAY_PORTS: (u16, u16) = (32768, 65535);
