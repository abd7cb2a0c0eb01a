//! Where the outside finds Bono and Ellis: what the check of a file and the rendering of its Services must agree on.

use std::fmt;

use crate::component::{PortUse, Protocol};

/// The node port of one of the first Bono's ports, as the article "Clearwater On Kubernetes" lays them out: Bono writes
/// itself into routes with port 5060, so that one at least must be the same outside.
pub(crate) const fn bono_node_port(port: &PortUse) -> u16 {
    match (port.number, port.protocol) {
        (5062, Protocol::Tcp) => 30002,
        (number, _) => number,
    }
}

/// Ports as a sentence names them.
pub(crate) fn listed_ports<'a>(ports: impl IntoIterator<Item = &'a u16>) -> String {
    ports.into_iter().map(u16::to_string).collect::<Vec<_>>().join(", ")
}

/// A range of port numbers, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortRange {
    /// The lowest port.
    pub first: u16,
    /// The highest port.
    pub last: u16,
}

impl PortRange {
    /// Kubernetes' default `--service-node-port-range`.
    pub const DEFAULT: Self = Self { first: 30000, last: 32767 };

    /// Whether the port lies in the range.
    pub const fn contains(self, port: u16) -> bool {
        self.first <= port && port <= self.last
    }

    /// Reads `FIRST-LAST`, as the API server's flag and its error messages write it.
    pub(crate) fn read(text: &str) -> Option<Self> {
        let (first, last) = text.split_once('-')?;
        let range = Self { first: first.trim().parse().ok()?, last: last.trim().parse().ok()? };
        (range.first <= range.last && range.first > 0).then_some(range)
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}
