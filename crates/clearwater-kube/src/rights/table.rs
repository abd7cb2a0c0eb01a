//! What each task asks of a cluster, rule by rule. The table in docs/rights.md, the Roles and the checks are all made from it.

use clearwater::manifest::ENV_VARS;
use clearwater::named;

/// What somebody wants done on a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Task {
    /// Bring a deployment up, or show what that would change.
    Up,
    /// Make the namespace as well.
    CreateNamespace,
    /// Judge a deployment.
    Status,
    /// Look for known pitfalls.
    Check,
    /// Gather what a bug report needs.
    Report,
    /// Change how many pods components have.
    Scale,
    /// Have components scaled by their load.
    Autoscale,
    /// Take a deployment down.
    Down,
    /// Remove the namespace as well.
    DeleteNamespace,
    /// Read logs and trace calls.
    Logs,
    /// Make, list and delete subscribers.
    Subscribers,
    /// Keep what the services tell of subscribers, and put it back.
    Backup,
    /// Reach Ellis' pages.
    Ellis,
    /// Try whether calls go through.
    Test,
    /// Run upstream's own tests.
    LiveTest,
    /// Put names into CoreDNS' file.
    DnsCoredns,
    /// Put names into an EndpointSlice.
    DnsEndpoints,
    /// Put names into the etcd that CoreDNS reads.
    DnsEtcd,
    /// Ask for the names that pods have of themselves.
    DnsPods,
}

/// Where a rule must hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// In the deployment's namespace.
    Namespace,
    /// In the namespace of the cluster's DNS.
    ClusterDns,
    /// For objects of no namespace, or of all.
    Cluster,
}

/// When a rule is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// Whatever is done.
    Always,
    /// On Kubernetes 1.N and later.
    Since(u32),
    /// In the case that these words name.
    If(&'static str),
}

/// A rule as a Role has it, with where and when it is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccessRule {
    /// As the API server names them.
    pub verbs: &'static [&'static str],
    /// The API group; empty for the core.
    pub group: &'static str,
    /// Plural, with the subresource: `pods`, `pods/exec`.
    pub resources: &'static [&'static str],
    /// The one object that is meant; `None` for all of them.
    pub name: Option<&'static str>,
    /// Where.
    pub scope: Scope,
    /// When.
    pub when: When,
    /// What a run goes without where the rule does not hold; `None` where it cannot go on.
    pub without: Option<&'static str>,
    /// Whether a check of its own says that it is missing.
    pub(super) has_own_check: bool,
}

const fn rule(verbs: &'static [&'static str], group: &'static str, resources: &'static [&'static str]) -> AccessRule {
    AccessRule {
        verbs,
        group,
        resources,
        name: None,
        scope: Scope::Namespace,
        when: When::Always,
        without: None,
        has_own_check: false,
    }
}

impl AccessRule {
    const fn of(self, name: &'static str) -> Self {
        Self { name: Some(name), ..self }
    }

    const fn cluster(self) -> Self {
        Self { scope: Scope::Cluster, ..self }
    }

    const fn cluster_dns(self) -> Self {
        Self { scope: Scope::ClusterDns, ..self }
    }

    const fn only_if(self, case: &'static str) -> Self {
        Self { when: When::If(case), ..self }
    }

    const fn since(self, minor: u32) -> Self {
        Self { when: When::Since(minor), ..self }
    }

    const fn or_without(self, what: &'static str) -> Self {
        Self { without: Some(what), ..self }
    }

    /// The same, where the check that needs it says so itself.
    const fn or_unchecked(self, what: &'static str) -> Self {
        Self { has_own_check: true, ..self.or_without(what) }
    }
}

const GET: &[&str] = &["get"];
const LIST: &[&str] = &["list"];
const CREATE: &[&str] = &["create"];
const DELETE: &[&str] = &["delete"];
const PATCH: &[&str] = &["patch"];
const WATCH: &[&str] = &["list", "watch"];
const WRITE: &[&str] = &["get", "create", "patch"];

const APPS: &str = "apps";
const DISCOVERY: &str = "discovery.k8s.io";
const AUTOSCALING: &str = "autoscaling";
const NETWORKING: &str = "networking.k8s.io";
const POLICY: &str = "policy";

/// Connections into pods that begin with a GET need to be allowed to create as well since then
/// (kubernetes/kubernetes#136550).
const CONNECTS_BY_CREATE: u32 = 35;

const INSIDE: &str = "programs, answers and names inside the pods";
const MEMBERS: &str = "etcd's health and the members of the stores";

const EXEC: &[&str] = &["pods/exec"];
const FORWARD: &[&str] = &["pods/portforward"];

/// Connections into pods of one kind.
const fn connect(resource: &'static [&'static str], scope: Scope, without: Option<&'static str>) -> [AccessRule; 2] {
    let get = AccessRule { scope, without, ..rule(GET, "", resource) };
    [get, AccessRule { verbs: CREATE, ..get }.since(CONNECTS_BY_CREATE)]
}

const LOOK_INSIDE: &[AccessRule] = &connect(EXEC, Scope::Namespace, Some(INSIDE));
const LOOK_AT_MEMBERS: &[AccessRule] = &connect(FORWARD, Scope::Namespace, Some(MEMBERS));

/// What is watched to see how a deployment stands.
const OBSERVE: &[AccessRule] = &[
    rule(WATCH, "", &["pods", "services"]),
    rule(WATCH, APPS, &["deployments", "statefulsets"]),
    rule(WATCH, "", &["events"]).or_without("events: why pods wait and what was refused"),
    rule(WATCH, DISCOVERY, &["endpointslices"]).or_without("endpoints behind the Services"),
];

const LAST_LINES: AccessRule = rule(GET, "", &["pods/log"]).or_without("last lines of the logs of what failed");
const ADMISSION: AccessRule = rule(CREATE, "", &["pods"]).or_unchecked("pods as admission takes them (a dry run)");
const QUOTAS: AccessRule = rule(LIST, "", &["resourcequotas"]).or_unchecked("quotas");
const NODES: AccessRule = rule(LIST, "", &["nodes"]).cluster().or_without("room on the nodes");
const NAMESPACE: AccessRule = rule(GET, "", &["namespaces"]).cluster().or_unchecked("whether the namespace is there");
/// What is not there looks like what is empty.
const NAMESPACE_OF_NOTHING: AccessRule = NAMESPACE.only_if("nothing is found in it");
const DOMAIN: &str = "the cluster's own domain";

/// How the cluster's DNS is found, with the file that it reads.
const fn find_dns(without: Option<&'static str>) -> [AccessRule; 2] {
    let rules = [rule(LIST, "", &["services", "pods"]).cluster_dns(), rule(GET, "", &["configmaps"]).cluster_dns()];
    [AccessRule { without, ..rules[0] }, AccessRule { without, ..rules[1] }]
}

const UP: &[AccessRule] = &[
    rule(WRITE, "", &["configmaps", "secrets", "services"]),
    rule(WRITE, APPS, &["deployments", "statefulsets"]),
    rule(WRITE, POLICY, &["poddisruptionbudgets"]),
    rule(WRITE, "", &["persistentvolumeclaims"]).only_if("Ellis has a volume"),
    rule(WRITE, NETWORKING, &["ingresses"]).only_if("Ellis has an Ingress"),
    rule(WRITE, NETWORKING, &["networkpolicies"]).only_if("networkPolicy is isolate"),
    rule(DELETE, "", &["pods"]).or_without("repair of members and pods that stand in the way"),
    ADMISSION,
    QUOTAS,
    rule(LIST, "", &["persistentvolumeclaims"])
        .only_if("a quota or what claims ask for stands in the way, or cassandra is made on volumes")
        .or_without("claims that stand already: they count as if they were to be made, and none as left over"),
    rule(LIST, "", &["pods"])
        .cluster_dns()
        .only_if("Bono waits for load balancers")
        .or_without("whether these wait for Bono"),
    LAST_LINES,
    NAMESPACE,
    rule(LIST, "storage.k8s.io", &["storageclasses"])
        .cluster()
        .only_if("a component has a volume")
        .or_without("whether its class of storage is there"),
    rule(LIST, "", &["persistentvolumes"])
        .cluster()
        .only_if("a class of storage is not there")
        .or_without("whether somebody made the volumes by hand"),
    rule(LIST, "", &["limitranges"])
        .only_if("a component has a volume, or a quota counts processors or memory")
        .or_without("limits for its claims, and what containers are given by default"),
    rule(LIST, AUTOSCALING, &["horizontalpodautoscalers"])
        .only_if("the file sets another number of pods than there is")
        .or_without("autoscalers that would set the number back"),
    rule(LIST, NETWORKING, &["ingressclasses"])
        .cluster()
        .only_if("Ellis has an Ingress")
        .or_without("whether its class is there"),
    rule(GET, "", &["nodes/proxy"]).cluster().or_without("how many name servers pods get"),
    NODES,
    rule(LIST, "", &["pods"]).cluster().only_if("pods are made").or_without("room on the nodes"),
    rule(LIST, "", &["pods"])
        .cluster_dns()
        .only_if("node ports are asked for")
        .or_without("which node ports the API server gives"),
];

const ZONE: &str = "the zone, where it is not Kubernetes' own";

const STATUS: &[AccessRule] = &[
    rule(WATCH, "", &["pods"]),
    rule(WATCH, "", &["services"]).or_without("Services"),
    rule(WATCH, APPS, &["deployments", "statefulsets"]).or_without("how many pods there are to be"),
    rule(WATCH, "", &["events"]).or_without("why pods wait and what was refused"),
    rule(WATCH, DISCOVERY, &["endpointslices"]).or_without("endpoints behind the Services"),
    rule(GET, "", &["configmaps"]).or_unchecked("the zone, and the other settings that pods are to run with"),
    LAST_LINES,
    NAMESPACE,
];

/// What `status` alone tells: where data lives, and when it was kept.
const STATUS_OF_DATA: &[AccessRule] = &[
    rule(LIST, "", &["persistentvolumeclaims"])
        .only_if("a component has a volume")
        .or_without("the classes of volumes"),
    rule(GET, "", &["configmaps"]).of(ENV_VARS).or_without("when the last backup was"),
];

const CHECK: &[AccessRule] = &[
    rule(GET, "", &["secrets"]).or_unchecked("whether pods run with what their Secrets hold now"),
    rule(LIST, "", &["persistentvolumeclaims"]).or_without("what earlier deployments left"),
    rule(LIST, "", &["nodes"]).cluster().or_without("the nodes and their kernels"),
];

const REPORTED: &str = "objects of that kind in the report";
const REPORT: &[AccessRule] = &[
    rule(LIST, "", &["configmaps", "secrets", "resourcequotas", "limitranges"]).or_without(REPORTED),
    rule(LIST, APPS, &["replicasets"]).or_without(REPORTED),
    rule(LIST, POLICY, &["poddisruptionbudgets"]).or_without(REPORTED),
    rule(LIST, AUTOSCALING, &["horizontalpodautoscalers"]).or_without(REPORTED),
    rule(LIST, NETWORKING, &["networkpolicies", "ingresses"]).or_without(REPORTED),
];

const SCALE: &[AccessRule] = &[
    rule(&["get", "patch"], APPS, &["deployments/scale", "statefulsets/scale"]),
    rule(GET, "", &["pods/portforward"]).only_if("a store is scaled"),
    rule(GET, "", &["configmaps"]).or_unchecked(ZONE),
    rule(LIST, AUTOSCALING, &["horizontalpodautoscalers"]).or_unchecked("autoscalers that would set the number back"),
    rule(LIST, POLICY, &["poddisruptionbudgets"]).or_unchecked("disruption budgets that still fit"),
    rule(&["get", "create", "patch", "delete"], POLICY, &["poddisruptionbudgets"])
        .or_without("a disruption budget for as many members as there are"),
    rule(&["get", "create", "patch", "delete"], "", &["services"]).only_if("components are exposed by pod"),
    ADMISSION,
    QUOTAS,
    rule(LIST, "", &["limitranges"])
        .only_if("a quota counts processors or memory")
        .or_without("what containers are given by default"),
    LAST_LINES,
    NODES,
    rule(LIST, "", &["pods"]).cluster().or_without("room on the nodes"),
    NAMESPACE,
];

const AUTOSCALE: &[AccessRule] = &[
    rule(LIST, APPS, &["deployments", "statefulsets"]),
    rule(&["list", "create", "patch", "delete"], AUTOSCALING, &["horizontalpodautoscalers"]),
    rule(LIST, "metrics.k8s.io", &["pods"]).or_without("whether there are metrics to scale by"),
    NAMESPACE_OF_NOTHING,
];

const LEFT_BY_OTHERS: &str = "names that stay in the cluster's DNS";

const DOWN: &[AccessRule] = &[
    rule(WATCH, "", &["pods"]),
    rule(WATCH, APPS, &["deployments", "statefulsets"]),
    rule(&["list", "delete"], "", &["configmaps", "secrets", "services"]),
    rule(DELETE, APPS, &["deployments", "statefulsets"]),
    rule(&["list", "delete"], POLICY, &["poddisruptionbudgets"]),
    rule(&["list", "delete"], NETWORKING, &["ingresses", "networkpolicies"]),
    rule(&["list", "delete"], AUTOSCALING, &["horizontalpodautoscalers"]),
    rule(LIST, "", &["persistentvolumeclaims"]),
    rule(DELETE, "", &["persistentvolumeclaims"]).only_if("volumes are removed"),
    rule(DELETE, "", &["pods"]).only_if("pods are killed, or were left behind"),
    rule(PATCH, "", &["configmaps", "secrets", "services", "persistentvolumeclaims"]).only_if("they stood before"),
    rule(PATCH, APPS, &["deployments", "statefulsets"]).only_if("they stood before"),
    rule(PATCH, POLICY, &["poddisruptionbudgets"]).only_if("they stood before"),
    rule(PATCH, NETWORKING, &["ingresses", "networkpolicies"]).only_if("they stood before"),
    rule(PATCH, AUTOSCALING, &["horizontalpodautoscalers"]).only_if("they stood before"),
    rule(GET, DISCOVERY, &["endpointslices"]).or_without(LEFT_BY_OTHERS),
    rule(LIST, APPS, &["daemonsets"]).cluster_dns().or_without("whether NodeLocal DNSCache runs"),
    NAMESPACE_OF_NOTHING,
];

const DELETE_NAMESPACE: &[AccessRule] = &[
    rule(&["get", "delete"], "", &["namespaces"]).cluster(),
    rule(LIST, "", &["serviceaccounts", "replicationcontrollers"]).or_without(COUNTS_AS_THERE),
    rule(LIST, APPS, &["daemonsets", "replicasets"]).or_without(COUNTS_AS_THERE),
    rule(LIST, "batch", &["jobs", "cronjobs"]).or_without(COUNTS_AS_THERE),
    rule(LIST, "rbac.authorization.k8s.io", &["roles", "rolebindings"]).or_without(COUNTS_AS_THERE),
];

/// What may not be listed counts as being there, so that nothing of others goes unseen.
const COUNTS_AS_THERE: &str = "what others have there: it counts as being there";

const LOGS: &[AccessRule] = &[rule(WATCH, "", &["pods"]), rule(GET, "", &["pods/log"]), NAMESPACE_OF_NOTHING];
const READ_INSIDE: &[AccessRule] = &connect(EXEC, Scope::Namespace, Some("files inside the containers"));

/// Ellis and homestead-prov are asked over forwarded ports.
const REACH: &[AccessRule] = &connect(FORWARD, Scope::Namespace, None);

/// The keys stand where Ellis' pods take them from.
const READ_KEYS: &[AccessRule] =
    &[rule(GET, "", &["configmaps"]), rule(GET, "", &["secrets"]).only_if("it goes through Ellis")];

/// Phones stand in a pod, unless they come from outside.
const STAND: &[AccessRule] = &[
    rule(GET, "", EXEC).only_if("phones stand in pods and not outside"),
    rule(CREATE, "", EXEC).only_if("phones stand in pods and not outside"),
];

/// Upstream's live tests are a Job, whose log is read.
const RUN_LIVE: &[AccessRule] = &[
    rule(&["list", "create", "delete"], "batch", &["jobs"]),
    rule(GET, "", &["pods/log"]),
    rule(&["create", "delete"], "", &["secrets"]).only_if("no Secret holds the sign-up code"),
];

/// A backup is noted in the deployment.
const NOTE: &[AccessRule] =
    &[rule(PATCH, "", &["configmaps"]).of(ENV_VARS).or_without("a note in the deployment of when it was")];

const CODE: &str = "the sign-up code";
const SHOW_CODE: &[AccessRule] = &[rule(GET, "", &["configmaps", "secrets"]).or_without(CODE)];

const ANSWERS: &str = "what the cluster's DNS answers";

/// DNS servers are asked over a forwarded port, where that may be done.
const ASK_SERVERS: &[AccessRule] = &connect(FORWARD, Scope::ClusterDns, Some(ANSWERS));

/// Every DNS server is asked over a forwarded port.
const ASK_DNS: &[AccessRule] = &connect(FORWARD, Scope::ClusterDns, None);
const WATCH_DNS: &[AccessRule] = &[rule(WATCH, "", &["pods"]).cluster_dns()];

/// The pods of who knows subscribers.
const FIND_SERVICES: &[AccessRule] = &[rule(LIST, "", &["pods"]), NAMESPACE_OF_NOTHING];

const OWN_PODS: &[AccessRule] = &[rule(LIST, "", &["pods"]), NAMESPACE_OF_NOTHING];
const ASK_INSIDE: &[AccessRule] = &connect(EXEC, Scope::Namespace, Some("names as the containers look them up"));

const DNS_FILE: &[AccessRule] = &[
    // What stood before is kept beside the file.
    rule(&["create", "patch", "delete"], "", &["configmaps"]).cluster_dns(),
    rule(DELETE, "", &["pods"]).cluster_dns().only_if("CoreDNS does not reload by itself"),
    rule(LIST, APPS, &["daemonsets"]).cluster_dns().or_without("whether NodeLocal DNSCache runs"),
    rule(GET, "", &["services"]),
    rule(GET, DISCOVERY, &["endpointslices"]).or_unchecked("whether an EndpointSlice gives the names as well"),
    rule(LIST, "", &["services"]).or_unchecked("whether names of other Services go on being answered"),
];

/// What an earlier release left, whose names are asked for no more.
const LEFT: &str = "names that were put into DNS before";
const FIND_LEFT: &[AccessRule] = &[
    rule(GET, DISCOVERY, &["endpointslices"]).or_without(LEFT),
    rule(LIST, APPS, &["daemonsets"]).cluster_dns().or_without("whether NodeLocal DNSCache runs"),
];

/// What cannot be done without running programs in pods.
pub(super) const RUN_INSIDE: &[AccessRule] = &connect(EXEC, Scope::Namespace, None);

const DNS_ENDPOINTS: &[AccessRule] = &[
    // The ClusterRoles edit and admin do not hold them (CVE-2021-25740).
    rule(&["get", "create", "update", "delete"], DISCOVERY, &["endpointslices"]),
    rule(GET, "", &["services"]),
];

const DNS_ETCD: &[AccessRule] = &[
    rule(LIST, "", &["services"]).cluster().only_if("the Corefile names etcd by its virtual address"),
    // One that stands in another namespace takes the same there, and its pods listed.
    rule(GET, "", FORWARD).only_if("etcd stands in this namespace"),
    rule(CREATE, "", FORWARD).since(CONNECTS_BY_CREATE),
];

const FIND_DNS: &[AccessRule] = &find_dns(None);
const FIND_DOMAIN: &[AccessRule] = &find_dns(Some(DOMAIN));
const FIND_NAMES: &[AccessRule] = &find_dns(Some(LEFT_BY_OTHERS));
const FIND_SERVERS: &[AccessRule] = &find_dns(Some(ANSWERS));

named! {
    /// Its name.
    Task, "task" {
        Up = "up",
        CreateNamespace = "create-namespace",
        Status = "status",
        Check = "check",
        Report = "report",
        Scale = "scale",
        Autoscale = "autoscale",
        Down = "down",
        DeleteNamespace = "delete-namespace",
        Logs = "logs",
        Subscribers = "subscriber",
        Backup = "backup",
        Ellis = "ellis",
        Test = "test",
        LiveTest = "live-test",
        DnsCoredns = "dns-coredns",
        DnsEndpoints = "dns-endpoints",
        DnsEtcd = "dns-etcd",
        DnsPods = "dns-pods",
    }
}

impl Task {
    fn parts(self) -> &'static [&'static [AccessRule]] {
        match self {
            Self::Up => &[OBSERVE, UP, LOOK_INSIDE, LOOK_AT_MEMBERS, FIND_DOMAIN],
            Self::CreateNamespace => {
                const ALONE: &[AccessRule] = &[rule(&["get", "create", "patch"], "", &["namespaces"]).cluster()];
                &[ALONE]
            }
            Self::Status => &[STATUS, STATUS_OF_DATA, LOOK_INSIDE, LOOK_AT_MEMBERS],
            Self::Check => &[STATUS, LOOK_INSIDE, LOOK_AT_MEMBERS, CHECK, FIND_DOMAIN],
            Self::Report => &[STATUS, STATUS_OF_DATA, REPORT, LOOK_INSIDE, LOOK_AT_MEMBERS, CHECK, FIND_DOMAIN],
            Self::Scale => &[OBSERVE, SCALE, LOOK_INSIDE, LOOK_AT_MEMBERS, FIND_SERVERS, ASK_SERVERS],
            Self::Autoscale => &[AUTOSCALE],
            Self::Down => &[DOWN, FIND_NAMES],
            Self::DeleteNamespace => &[DELETE_NAMESPACE],
            Self::Logs => &[LOGS, READ_INSIDE],
            Self::Subscribers => &[FIND_SERVICES, REACH, READ_KEYS],
            Self::Backup => &[FIND_SERVICES, REACH, READ_KEYS, NOTE],
            Self::Ellis => &[FIND_SERVICES, REACH, SHOW_CODE],
            Self::Test => &[FIND_SERVICES, REACH, READ_KEYS, STAND],
            Self::LiveTest => &[FIND_SERVICES, READ_KEYS, RUN_LIVE],
            Self::DnsCoredns => &[FIND_DNS, WATCH_DNS, ASK_DNS, DNS_FILE, OWN_PODS, ASK_INSIDE],
            Self::DnsEndpoints => &[DNS_ENDPOINTS, RUN_INSIDE, FIND_SERVERS, ASK_SERVERS, OWN_PODS, FIND_LEFT],
            Self::DnsEtcd => &[FIND_DNS, WATCH_DNS, ASK_DNS, DNS_FILE, DNS_ETCD, OWN_PODS, ASK_INSIDE],
            Self::DnsPods => &[RUN_INSIDE, OWN_PODS, FIND_SERVERS, ASK_SERVERS, FIND_LEFT],
        }
    }

    /// The rules that it takes, those that it cannot do without among others that it can.
    pub fn rules(self) -> impl Iterator<Item = &'static AccessRule> {
        self.parts().iter().copied().flatten()
    }
}
