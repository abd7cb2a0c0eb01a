use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::names::named;

/// A Clearwater component: one container image and the workload that runs it.
///
/// The order of the variants is the order in which components are listed everywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
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
}

/// A name that is not known, with the nearest one that is.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("unknown {what} {found:?}{} known: {}", .nearest.map_or_else(|| ";".to_owned(), |n| format!(", did you mean {n:?}?")), .known.join(", "))]
pub struct UnknownName {
    /// What kind of name was looked for.
    pub what: &'static str,
    /// The name as it was given.
    pub found: String,
    /// The nearest known name, where one is near enough to be a likely slip.
    pub nearest: Option<&'static str>,
    /// Every known name.
    pub known: Vec<&'static str>,
}

impl UnknownName {
    pub(crate) fn new(what: &'static str, found: &str, known: Vec<&'static str>) -> Self {
        Self { what, found: found.to_owned(), nearest: nearest(found, known.iter().copied()), known }
    }
}

/// The candidate nearest to `found`, where it is near enough to be a likely slip of the finger.
pub(crate) fn nearest<'a>(found: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let found_lower = found.to_lowercase();
    candidates
        .into_iter()
        .map(|c| (strsim::damerau_levenshtein(&found_lower, &c.to_lowercase()), c))
        .filter(|(distance, c)| *distance <= 1 + c.len() / 4)
        .min()
        .map(|(_, c)| c)
}

/// A release of Clearwater: a set of images that belong together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
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
