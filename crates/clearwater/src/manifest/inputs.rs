use std::collections::BTreeMap;
use std::net::IpAddr;
use std::str::FromStr;

use super::ManifestError;
use crate::component::Component;
use crate::config::{Keys, PortRange};

/// What a rendering needs beyond the deployment file: secrets that were made, and what was seen on the cluster.
///
/// The default knows nothing, which is what an offline rendering has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inputs {
    /// The keys to put into the Secret, where it is to be created. Without them the Secret is referred to only.
    pub keys: Option<Keys>,
    /// The virtual addresses of the components' Services. They win over those in the file.
    pub cluster_ips: BTreeMap<Component, Vec<IpAddr>>,
    /// For Bono behind load balancers: the address that each pod's Service was given, by ordinal. They win over those
    /// in the file.
    pub bono_addresses: Vec<IpAddr>,
    /// Whether the cluster has a default StorageClass; `None` where it was not asked.
    pub default_storage_class: Option<bool>,
    /// Of components that stand and could keep what they hold on a volume: whether they do. Where the file leaves it open
    /// it stays so, because a StatefulSet's claims cannot be changed any more, and a new pod of Ellis would lose what the old one holds.
    pub volumes: BTreeMap<Component, bool>,
    /// The counts of workloads that stand already, by workload name. Where a workload has one it is rendered with it,
    /// not with the file's.
    pub live_replicas: BTreeMap<String, u32>,
    /// The one name server to give chronos' pods, where pods of the cluster get several: of several it reads none.
    pub chronos_name_server: Option<IpAddr>,
    /// The range of node ports, as the API server names it when it refuses a port. It wins over the file's.
    pub node_port_range: Option<PortRange>,
}

impl FromStr for PortRange {
    type Err = ManifestError;

    /// Reads `FIRST-LAST`, as the API server's flag and its error messages write it.
    fn from_str(s: &str) -> Result<Self, ManifestError> {
        Self::read(s).ok_or_else(|| ManifestError::PortRange { found: s.to_owned() })
    }
}
