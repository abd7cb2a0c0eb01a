#[cfg(feature = "schema")]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::names::named;

/// A Clearwater component: one container image and the workload that runs it.
///
/// The order of the variants is the order in which components are listed everywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Component {
    /// The key-value store that holds the membership of the clustered stores.
    Etcd,
    /// memcached with its replicating proxy: registrations, authentication challenges, sessions.
    Astaire,
    /// The plain memcached store of the classic release, in the place of astaire.
    Memcached,
    /// The subscriber database.
    Cassandra,
    /// The distributed timer service.
    Chronos,
    /// The HSS cache and gateway.
    Homestead,
    /// The provisioning interface of the subscriber database.
    HomesteadProv,
    /// The XDM server that stores supplementary service settings.
    Homer,
    /// The charging trigger function.
    Ralf,
    /// I-CSCF, S-CSCF, BGCF and MMTEL application server in one process.
    Sprout,
    /// P-CSCF and the STUN/TURN server beside it.
    Bono,
    /// The self-care web pages that create accounts and numbers.
    Ellis,
}

named! {
    /// The name used for the workload, its Service, its `service` label and on the command line.
    Component, "component" {
        Etcd = "etcd",
        Astaire = "astaire",
        Memcached = "memcached",
        Cassandra = "cassandra",
        Chronos = "chronos",
        Homestead = "homestead",
        HomesteadProv = "homestead-prov",
        Homer = "homer",
        Ralf = "ralf",
        Sprout = "sprout",
        Bono = "bono",
        Ellis = "ellis",
    }
}

impl Component {
    /// Whether the component keeps data or membership and is therefore never rolled by Kubernetes.
    pub const fn is_store(self) -> bool {
        matches!(self, Self::Etcd | Self::Astaire | Self::Memcached | Self::Cassandra | Self::Chronos)
    }

    /// Whether the component of a release can keep what it holds on a volume. The images of 2016 empty Cassandra's data
    /// each time that a member joins (clearwater-etcd-plugins `plugins/cassandra_plugin.py` of July 2016).
    pub const fn keeps_on_volume(self, release: Release) -> bool {
        match self {
            Self::Etcd | Self::Ellis => true,
            Self::Cassandra => matches!(release, Release::Hunter),
            _ => false,
        }
    }

    /// Whether the component takes and sends SIP messages.
    pub const fn speaks_sip(self) -> bool {
        matches!(self, Self::Sprout | Self::Bono)
    }
}

/// A release of Clearwater: a set of images that belong together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Release {
    /// The images built since April 2017: eleven components, explicit-port URIs on plain `sprout`.
    #[default]
    Hunter,
    /// The images of 2016 that the article "Clearwater On Kubernetes" used: ten components, CSCF sub-domains.
    Classic,
}

named! {
    /// The name used in the deployment file.
    Release, "release" {
        Hunter = "hunter",
        Classic = "classic",
    }
}
