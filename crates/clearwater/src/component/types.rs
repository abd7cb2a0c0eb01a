use std::fmt;

use serde::Serialize;

use super::Component;
use crate::names::named;

/// Where a fact was read: an upstream repository and file, or a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Source(pub &'static str);

/// A 3GPP or supporting function that a component plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Role {
    /// Proxy call session control function (3GPP TS 23.228).
    PCscf,
    /// Interrogating call session control function.
    ICscf,
    /// Serving call session control function.
    SCscf,
    /// Breakout gateway control function.
    Bgcf,
    /// Multimedia telephony application server (3GPP TS 24.173).
    MmtelAs,
    /// Interconnection border control function.
    Ibcf,
    /// Cache of and gateway to the home subscriber server (Cx).
    HssGateway,
    /// Provisioning interface of the built-in subscriber database.
    Provisioning,
    /// XML document management server (RFC 4825).
    Xdms,
    /// Charging trigger function (Rf).
    Ctf,
    /// Registration and session store.
    SessionStore,
    /// Subscriber database.
    SubscriberStore,
    /// Timer service.
    Timers,
    /// Membership of clustered stores.
    ClusterMembership,
    /// Self-care web pages.
    SelfCare,
    /// STUN and TURN server (RFC 5389, RFC 5766).
    StunTurn,
}

named! {
    /// The name by which people choose it, as `s-cscf`.
    Role, "role" {
        PCscf = "p-cscf",
        ICscf = "i-cscf",
        SCscf = "s-cscf",
        Bgcf = "bgcf",
        MmtelAs = "mmtel-as",
        Ibcf = "ibcf",
        HssGateway = "hss-gateway",
        Provisioning = "provisioning",
        Xdms = "xdms",
        Ctf = "ctf",
        SessionStore = "session-store",
        SubscriberStore = "subscriber-store",
        Timers = "timers",
        ClusterMembership = "cluster-membership",
        SelfCare = "self-care",
        StunTurn = "stun-turn",
    }
}

/// A transport protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum Protocol {
    /// TCP.
    #[serde(rename = "TCP")]
    Tcp,
    /// UDP.
    #[serde(rename = "UDP")]
    Udp,
}

named! {
    /// The name Kubernetes uses.
    Protocol {
        Tcp = "TCP",
        Udp = "UDP",
    }
}

/// Who connects to a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum AskedBy {
    /// Other components, through the Service.
    Components,
    /// Members of the same cluster, pod to pod.
    Peers,
    /// Subscribers' devices and browsers.
    Clients,
    /// Functions of other networks, such as a charging data function (3GPP TS 32.299).
    Network,
    /// Only processes in the same container.
    Local,
}

/// A port a component listens on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct PortUse {
    /// The port's name in Kubernetes objects (an IANA service name of at most 15 characters).
    pub name: &'static str,
    /// The port number.
    pub number: u16,
    /// The transport protocol.
    pub protocol: Protocol,
    /// What is spoken on it.
    pub meaning: &'static str,
    /// Who connects to it.
    pub asked_by: AskedBy,
    /// Whether the component's Service publishes it.
    pub in_service: bool,
    /// Where this was read.
    pub source: Source,
}

/// An environment variable that the container's configuration generator reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct EnvVar {
    /// The variable's name.
    pub name: &'static str,
    /// What it does.
    pub meaning: &'static str,
    /// Where this was read.
    pub source: Source,
}

/// How supervisord starts a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum StartsWith {
    /// By itself, when supervisord starts.
    Supervisord,
    /// As a member of `clearwater-group`, when the boot chain reaches its end.
    BootChain,
    /// By another program's script.
    Script,
}

/// The state in which supervisord shows a program of a healthy container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProgramHealth {
    /// RUNNING, and the component does not serve without it.
    Running,
    /// RUNNING where supervisord knows it. Older images of the release have no such program, and serve without.
    RunningWhereKnown,
    /// EXITED: a one-shot that has done its work. RUNNING while it works.
    Exited,
    /// Any state: the program says nothing about the component's health.
    Any,
}

/// A program that supervisord runs in the container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Program {
    /// The program's name, without the group.
    pub name: &'static str,
    /// The group it belongs to, where it does.
    pub group: Option<&'static str>,
    /// How it is started.
    pub starts: StartsWith,
    /// Failed starts after which supervisord gives up (FATAL), less one.
    pub start_retries: u32,
    /// The state that health means for it.
    pub health: ProgramHealth,
    /// Where this was read.
    pub source: Source,
}

impl Program {
    /// The name of the group whose members the boot chain starts.
    pub const GROUP: &'static str = "clearwater-group";

    /// The name as `supervisorctl status` prints it.
    pub fn full_name(&self) -> String {
        self.group.map_or_else(|| self.name.to_owned(), |g| format!("{g}:{}", self.name))
    }
}

/// The grammar of a log file's lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum LogGrammar {
    /// `DD-MM-YYYY HH:MM:SS.mmm UTC Level file.cpp:line: text`, Level a capitalised word.
    Cpp,
    /// The same with upper-case Python level names and Python files.
    Python,
    /// supervisord's own log.
    Supervisord,
    /// nginx access log.
    NginxAccess,
    /// nginx error log.
    NginxError,
    /// Cassandra's `system.log`.
    Cassandra,
    /// An access log of a C++ daemon.
    CppAccess,
    /// Anything else.
    Plain,
}

/// A log file inside the container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct LogFile {
    /// The directory it lies in.
    pub directory: &'static str,
    /// The file's name; `*` stands for the part that rotation changes.
    pub pattern: &'static str,
    /// The link to the current file, where one is kept.
    pub current: Option<&'static str>,
    /// The grammar of its lines.
    pub grammar: LogGrammar,
    /// Where this was read.
    pub source: Source,
}

/// What to ask a component, and what it answers when it serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Asks {
    /// A TCP connection is accepted on every one of these ports.
    Tcp(&'static [u16]),
    /// `GET path` on `port` answers 200, with exactly `body` where one is given.
    Http {
        /// The port.
        port: u16,
        /// The path.
        path: &'static str,
        /// The body's first line.
        body: Option<&'static str>,
    },
    /// SIP OPTIONS on each of these ports answers 200.
    SipOptions(&'static [u16]),
    /// A memcached `version` request of the *binary* protocol (opcode 0x0b) is answered on the port. The text protocol
    /// will not do: astaire's proxy does not speak it.
    MemcachedVersion(u16),
    /// CQL's `OPTIONS`, of version 3 of its native protocol, is answered on the port: it needs no login and reads no row.
    CqlOptions(u16),
    /// `GET /health` on the port answers a JSON object whose `health` is `"true"` (a string; white space varies with
    /// etcd's version).
    EtcdHealth(u16),
    /// A STUN binding request over UDP is answered on the port.
    Stun(u16),
    /// In this file of the container, the section `[dns]` has a `servers` that is one address. Nobody is asked over the
    /// network.
    OneNameServer {
        /// The file.
        file: &'static str,
    },
}

/// A question whose answer tells whether the component serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct HealthQuestion {
    /// What is asked.
    pub asks: Asks,
    /// What a good answer proves.
    pub proves: &'static str,
    /// Where this was read.
    pub source: Source,
}

impl Asks {
    /// The ports that the question goes to, in the order in which they are asked.
    pub fn ports(&self) -> Vec<u16> {
        match *self {
            Self::Tcp(ports) | Self::SipOptions(ports) => ports.to_vec(),
            Self::Http { port, .. }
            | Self::MemcachedVersion(port)
            | Self::CqlOptions(port)
            | Self::EtcdHealth(port)
            | Self::Stun(port) => vec![port],
            Self::OneNameServer { .. } => Vec::new(),
        }
    }
}

/// As an operator would say it.
impl fmt::Display for Asks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |ports: &[u16]| ports.iter().map(u16::to_string).collect::<Vec<_>>().join(", ");
        match self {
            Self::Tcp(ports) => write!(f, "TCP connect to {}", list(ports)),
            Self::Http { port, path, .. } => write!(f, "HTTP GET {path} on {port}"),
            Self::SipOptions(ports) => write!(f, "SIP OPTIONS on {}", list(ports)),
            Self::MemcachedVersion(port) => write!(f, "memcached version on {port}"),
            Self::CqlOptions(port) => write!(f, "CQL OPTIONS on {port}"),
            Self::EtcdHealth(port) => write!(f, "HTTP GET /health on {port}"),
            Self::Stun(port) => write!(f, "STUN binding on UDP {port}"),
            Self::OneNameServer { file } => write!(f, "[dns] servers in {file}"),
        }
    }
}

/// How long data lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Lifetime {
    /// As long as the process: memory.
    Process,
    /// As long as the container: its file system.
    Container,
    /// As long as the volume it is put on.
    Volume,
}

/// Data that a component holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Data {
    /// What it is, as a person would say it ("registrations").
    pub what: &'static str,
    /// How long it lives.
    pub lifetime: Lifetime,
    /// What losing it means to subscribers.
    pub loss: &'static str,
    /// Where this was read.
    pub source: Source,
}

/// A store clustered through etcd.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Store {
    /// memcached behind astaire.
    Memcached,
    /// Chronos.
    Chronos,
    /// Cassandra.
    Cassandra,
}

named! {
    /// The store's name as `cw-mark_node_failed` takes it (clearwater-etcd `mark_node_failed.py`).
    Store {
        Memcached = "memcached",
        Chronos = "chronos",
        Cassandra = "cassandra",
    }
}

/// How a component forms a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Clustering {
    /// The store.
    pub store: Store,
    /// The etcd v2 key that holds the members and their states.
    pub etcd_key: &'static str,
    /// The node type, as `cw-mark_node_failed` takes it.
    pub node_type: &'static str,
    /// The store's name, as `cw-mark_node_failed` takes it.
    pub datastore: &'static str,
    /// The store's name as `cw-check_cluster_state` prints it.
    pub title: &'static str,
    /// How many copies of each datum are kept.
    pub replication_factor: u32,
    /// What a member has only from its joining, where that is needed to start again.
    pub from_joining: Option<FromJoining>,
    /// Where this was read.
    pub source: Source,
}

/// What a member of a store has only from its joining. It lies in the container's own file system, so a container that
/// is restarted in place has lost it, and its member, which is `normal` still, does not join again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct FromJoining {
    /// The file without which the program does not start.
    pub file: &'static str,
    /// The directory with the member's data. A file in it means that data outlived the container.
    pub data: &'static str,
    /// Where this was read.
    pub source: Source,
}

/// A program that looks another component up once, when it starts, and keeps to the address that it found: when the
/// other one gets a new address, it must be started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct LooksUpOnce {
    /// The component.
    pub component: Component,
    /// The program, without its group.
    pub program: &'static str,
    /// The component that it looks up.
    pub other: Component,
    /// Where this was read.
    pub source: Source,
}

/// Every program that looks another component up once. Homer, which uses the same library, connects anew.
pub const LOOKS_UP_ONCE: &[LooksUpOnce] = &[LooksUpOnce {
    component: Component::HomesteadProv,
    program: "homestead-prov",
    other: Component::Cassandra,
    source: Source("crest src/metaswitch/homestead_prov/cassandra.py; clearwater-docker README.md, \"Limitations\""),
}];

/// How the number of members may change in one direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rule {
    /// At once, any number.
    Free,
    /// Several members in one batch, then wait until all are normal.
    OneBatch,
    /// One member at a time, waiting until all are normal.
    OneByOne,
    /// Only where each member has an address of its own.
    NeedsAddresses,
    /// Never.
    Never,
}

/// The scaling rules of a component.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Scaling {
    /// The rule for growing.
    pub up: Rule,
    /// The rule for shrinking.
    pub down: Rule,
    /// Why, as a clause that completes "because …".
    pub reason: &'static str,
    /// Where this was read.
    pub source: Source,
}

/// What a container must be given before it is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct PreStop {
    /// The command of the `preStop` hook.
    pub command: &'static [&'static str],
    /// `terminationGracePeriodSeconds`, in seconds: hook and stop together.
    pub grace_seconds: u32,
    /// Where this was read.
    pub source: Source,
}

impl Entry {
    /// Whether the component plays the role.
    pub fn plays(&self, role: Role) -> bool {
        self.roles.contains(&role)
    }

    /// The port of that name.
    pub fn port(&self, name: &str) -> Option<&'static PortUse> {
        self.ports.iter().find(|p| p.name == name)
    }

    /// The program of that name, without its group.
    pub fn program(&self, name: &str) -> Option<&'static Program> {
        self.programs.iter().find(|p| p.name == name)
    }
}

/// Everything the catalogue knows of one component in one release.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Entry {
    /// The component.
    pub component: Component,
    /// The functions it plays.
    pub roles: &'static [Role],
    /// One sentence that says what it is for.
    pub summary: &'static str,
    /// The image's name without registry, prefix and tag, or the whole reference where it is not one of Clearwater's.
    pub image: &'static str,
    /// Ports, in ascending order of number.
    pub ports: &'static [PortUse],
    /// Environment variables that the image reads.
    pub env: &'static [EnvVar],
    /// Programs under supervisord; empty where PID 1 is the component itself.
    pub programs: &'static [Program],
    /// Log files.
    pub logs: &'static [LogFile],
    /// Questions whose good answers mean that it serves; all must be answered.
    pub health: &'static [HealthQuestion],
    /// Data it holds.
    pub data: &'static [Data],
    /// How it forms a cluster, where it does.
    pub clustering: Option<Clustering>,
    /// Its scaling rules.
    pub scaling: Scaling,
    /// Its pre-stop hook, where it needs one.
    pub pre_stop: Option<PreStop>,
    /// Seconds from container start to serving that were seen or can be expected, slowest known.
    pub slowest_start_seconds: u32,
    /// Where the entry as a whole was read.
    pub source: Source,
}
