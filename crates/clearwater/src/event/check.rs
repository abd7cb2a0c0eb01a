//! What is looked at, before a first write and on demand: one list of ids for all.

#[cfg(feature = "schema")]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::names::named;
use crate::remedy::Remedy;

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum CheckStatus {
    /// Looked, and it is well.
    Ok,
    /// Tells nothing here, and need not: what it is about is not there yet, or another check tells it. A run goes on.
    NotApplicable,
    /// Did not look: it was left out, may not be looked at, or tells nothing here. A run goes on without knowing.
    Skipped,
    /// Could not look: whoever was asked did not answer as it should. A run goes on without knowing; one that was only to
    /// look has not seen everything.
    Unseen,
    /// Looked, and it may cause trouble; a run goes on.
    Warning,
    /// Looked, and it is not well: a run writes nothing before it is repaired.
    Failed,
    /// Looked, and nothing will be written, because it would harm what is there.
    Refused,
    /// One that this version of the format does not know.
    #[serde(other)]
    Unknown,
}

impl CheckStatus {
    /// Whether something is known of what was to be looked at.
    ///
    /// ```
    /// use clearwater::event::CheckStatus;
    ///
    /// assert!(CheckStatus::Failed.is_known() && !CheckStatus::Unseen.is_known());
    /// ```
    pub const fn is_known(self) -> bool {
        !matches!(self, Self::Skipped | Self::Unseen | Self::Unknown)
    }
}

/// What a check is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum CheckGroup {
    /// The cluster, its nodes and its DNS.
    Cluster,
    /// The user's rights and the namespace.
    Namespace,
    /// The objects of the deployment.
    Objects,
    /// What runs in the pods.
    Pods,
    /// The stores and their members.
    Stores,
    /// Names.
    Names,
    /// What the containers are configured with.
    Configuration,
    /// A group that this version of the format does not know.
    #[serde(other)]
    Unknown,
}

named! {
    /// The name, as JSON has it.
    CheckGroup {
        Cluster = "cluster",
        Namespace = "namespace",
        Objects = "objects",
        Pods = "pods",
        Stores = "stores",
        Names = "names",
        Configuration = "configuration";
        Unknown = "unknown"
    }
}

/// Gives each check its name, its group and its words.
macro_rules! checks {
    ($($(#[$doc:meta])* $id:ident = $name:literal in $group:ident),+ $(,)?) => {
        /// What a check looks at: a name that stays the same between versions.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[cfg_attr(feature = "schema", derive(JsonSchema))]
        #[serde(rename_all = "kebab-case")]
        #[non_exhaustive]
        pub enum CheckId {
            $($(#[$doc])* $id,)+
            /// A check that this version of the format does not know.
            #[serde(other)]
            Unknown,
        }

        named! {
            /// The name, as JSON has it.
            CheckId, "check" { $($id = $name),+; Unknown = "unknown" }
        }

        impl CheckId {
            /// What it is about.
            pub const fn group(self) -> CheckGroup {
                match self {
                    $(Self::$id => CheckGroup::$group,)+
                    Self::Unknown => CheckGroup::Unknown,
                }
            }
        }
    };
}

checks! {
    /// The version of Kubernetes.
    Version = "version" in Cluster,
    /// The namespace.
    Namespace = "namespace" in Namespace,
    /// The user's rights.
    Rights = "rights" in Namespace,
    /// The objects of the deployment, as the API server takes them.
    Objects = "objects" in Objects,
    /// Workloads of somebody else under the labels by which components are found.
    Foreign = "foreign" in Namespace,
    /// The Secrets that the deployment file names.
    Secrets = "secrets" in Objects,
    /// Pods, as admission takes them.
    Admission = "admission" in Objects,
    /// Resource quotas.
    Quota = "quota" in Namespace,
    /// Nodes that take the pods, or carry them.
    Nodes = "nodes" in Cluster,
    /// The domain that the cluster's DNS serves.
    Domain = "domain" in Cluster,
    /// The name servers that chronos' pods get.
    NameServers = "name-servers" in Names,
    /// Whether etcd knows the members that run.
    Etcd = "etcd" in Stores,
    /// A store's list of members in etcd.
    Members = "members" in Stores,
    /// The names in DNS, those that Kubernetes cannot give among them.
    Names = "names" in Names,
    /// Autoscalers of the same workloads.
    Autoscaler = "autoscaler" in Objects,
    /// Disruption budgets.
    Budget = "budget" in Objects,
    /// The kernels of the nodes.
    Kernel = "kernel" in Cluster,
    /// Whether every component has the pods that it is to have, all of them ready.
    Workloads = "workloads" in Objects,
    /// The images, of one release.
    Images = "images" in Objects,
    /// Pods of an older revision than their workload.
    Revision = "revision" in Objects,
    /// Addresses that load balancers give.
    LoadBalancer = "load-balancer" in Objects,
    /// Pods in the network of their node.
    HostNetwork = "host-network" in Objects,
    /// Limits of memory, and containers that were ended for them.
    Memory = "memory" in Objects,
    /// The Service by which restund finds TURN's credentials.
    Turn = "turn" in Objects,
    /// What an earlier deployment left.
    Leftovers = "leftovers" in Objects,
    /// Containers that were started again.
    Restarts = "restarts" in Pods,
    /// supervisord, by its socket.
    Supervisor = "supervisor" in Pods,
    /// Programs under supervisord.
    Programs = "programs" in Pods,
    /// What components answer for themselves.
    Answers = "answers" in Pods,
    /// How many files a container's processes may open.
    Nofile = "nofile" in Pods,
    /// IPv6 on the loopback of Cassandra's containers.
    Ipv6 = "ipv6" in Pods,
    /// The clocks of the nodes, as the pods see them.
    Clock = "clock" in Pods,
    /// Room in the containers' file systems.
    Disk = "disk" in Pods,
    /// What the containers have taken of memory and processors.
    Usage = "usage" in Pods,
    /// Where etcd keeps the lists of members.
    EtcdData = "etcd-data" in Stores,
    /// The name servers that the daemons ask.
    Resolver = "resolver" in Names,
    /// The zone that the containers complete names with.
    Zone = "zone" in Configuration,
    /// Where the daemons look for each other.
    Hostnames = "hostnames" in Configuration,
    /// The URIs of the I-CSCF and the S-CSCF.
    Uris = "uris" in Configuration,
    /// Virtual addresses of Services among sprout's own names.
    Alias = "alias" in Configuration,
    /// The address that each Bono gives to phones.
    PublicAddress = "public-address" in Configuration,
    /// Keys that everybody knows.
    Keys = "keys" in Configuration,
    /// Log levels that cost calls.
    LogLevel = "log-level" in Configuration,
    /// Ellis' pool of numbers.
    Numbers = "numbers" in Configuration,
}

/// One line of what was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct CheckLine {
    /// What was looked at.
    pub id: CheckId,
    /// The same in words.
    pub title: String,
    /// How it ended.
    pub status: CheckStatus,
    /// What was seen.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fix: Option<Remedy>,
}
