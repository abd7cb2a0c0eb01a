//! What entries of both releases are made of.

use super::paths::SUPERVISOR_LOGS;
use super::{
    AskedBy, EnvVar, LogFile, LogGrammar, PortUse, Program, ProgramHealth, Protocol, Rule, Scaling, Source, StartsWith,
};

pub(super) const fn port(
    name: &'static str,
    number: u16,
    protocol: Protocol,
    meaning: &'static str,
    asked_by: AskedBy,
    source: &'static str,
) -> PortUse {
    PortUse { name, number, protocol, meaning, asked_by, in_service: false, source: Source(source) }
}

/// A TCP port.
pub(super) const fn tcp(
    name: &'static str,
    number: u16,
    meaning: &'static str,
    asked_by: AskedBy,
    source: &'static str,
) -> PortUse {
    port(name, number, Protocol::Tcp, meaning, asked_by, source)
}

/// A UDP port.
pub(super) const fn udp(
    name: &'static str,
    number: u16,
    meaning: &'static str,
    asked_by: AskedBy,
    source: &'static str,
) -> PortUse {
    port(name, number, Protocol::Udp, meaning, asked_by, source)
}

/// The port, published by the component's Service.
pub(super) const fn served(port: PortUse) -> PortUse {
    PortUse { in_service: true, ..port }
}

/// The status page that clearwater-nginx configures in every image that has nginx.
pub(super) const NGINX_PING: PortUse = tcp(
    "nginx-ping",
    8000,
    "HTTP /ping of nginx itself, on 127.0.0.1 only",
    AskedBy::Local,
    "clearwater-nginx clearwater-nginx.root/etc/nginx/sites-available/ping",
);

const GENERATOR: &str = "clearwater-infrastructure debian/clearwater-auto-config-docker.init.d";

const fn env(name: &'static str, meaning: &'static str, source: &'static str) -> EnvVar {
    EnvVar { name, meaning, source: Source(source) }
}

const ZONE: EnvVar = env(
    "ZONE",
    "the DNS zone that every component name is put under; also the home domain; without it names have no zone and the \
     home domain is example.com",
    GENERATOR,
);

const PUBLIC_IP: EnvVar =
    env("PUBLIC_IP", "the address that Bono tells subscribers to use; default: the container's own", GENERATOR);

/// What the images since 2017 read.
pub(super) const HUNTER_ENV: &[EnvVar] = &[
    ZONE,
    PUBLIC_IP,
    env(
        "PUBLIC_HOSTNAME",
        "the host name of the public address, without the zone; default: the public address",
        GENERATOR,
    ),
    env(
        "HSS",
        "the host name of an external HSS, without the zone; takes the provisioning settings out of shared_config",
        GENERATOR,
    ),
    env("ADDITIONAL_SHARED_CONFIG", "further shared_config lines, separated by a literal backslash-n", GENERATOR),
    env("ETCD_PROXY", "another etcd_proxy setting; removes shared_config altogether", GENERATOR),
    env(
        "MY_POD_IP",
        "the address that liveness.sh tries, default 127.0.0.1; nothing else reads it",
        "clearwater-docker base/liveness.sh",
    ),
];

/// What the images of 2016 read: ZONE since 2015-06-18, PUBLIC_IP since 2016-10-03.
pub(super) const CLASSIC_ENV: &[EnvVar] = &[ZONE, PUBLIC_IP];

const fn program(
    name: &'static str,
    group: Option<&'static str>,
    starts: StartsWith,
    start_retries: u32,
    health: ProgramHealth,
    source: &'static str,
) -> Program {
    Program { name, group, starts, start_retries, health, source: Source(source) }
}

/// supervisord's own `startretries` where the program's configuration gives none.
pub(super) const DEFAULT_RETRIES: u32 = 3;

/// A member of `clearwater-group` that must be RUNNING.
pub(super) const fn member(name: &'static str, start_retries: u32, source: &'static str) -> Program {
    program(name, Some(Program::GROUP), StartsWith::BootChain, start_retries, ProgramHealth::Running, source)
}

/// A member of `clearwater-group` with another healthy state.
pub(super) const fn member_in(name: &'static str, health: ProgramHealth, source: &'static str) -> Program {
    program(name, Some(Program::GROUP), StartsWith::BootChain, DEFAULT_RETRIES, health, source)
}

/// The one-shot that writes the configuration, starts the etcd proxy and the cluster manager, then the group.
pub(super) const INFRASTRUCTURE: Program = program(
    "clearwater-infrastructure",
    None,
    StartsWith::Supervisord,
    DEFAULT_RETRIES,
    ProgramHealth::Exited,
    "clearwater-docker base/clearwater-infrastructure.supervisord.conf",
);

/// The one-shot that starts the SNMP agent.
pub(super) const SNMPD: Program = program(
    "snmpd",
    None,
    StartsWith::Supervisord,
    DEFAULT_RETRIES,
    ProgramHealth::Exited,
    "clearwater-docker base/snmpd.supervisord.conf",
);

/// Opens sockets in the management network for the daemons beside it.
pub(super) const SOCKET_FACTORY_MGMT: Program = program(
    "socket-factory-mgmt",
    None,
    StartsWith::Supervisord,
    DEFAULT_RETRIES,
    ProgramHealth::RunningWhereKnown,
    "clearwater-docker base/socket-factory.supervisord.conf",
);

/// Opens sockets in the signalling network for the daemons beside it.
pub(super) const SOCKET_FACTORY_SIG: Program = program(
    "socket-factory-sig",
    None,
    StartsWith::Supervisord,
    DEFAULT_RETRIES,
    ProgramHealth::RunningWhereKnown,
    "clearwater-docker base/socket-factory.supervisord.conf",
);

pub(super) const fn log(
    directory: &'static str,
    pattern: &'static str,
    current: Option<&'static str>,
    grammar: LogGrammar,
    source: &'static str,
) -> LogFile {
    LogFile { directory, pattern, current, grammar, source: Source(source) }
}

const CPP_LOGGER: &str = "cpp-common src/logger.cpp";
const CPP_ACCESS: &str = "cpp-common src/accesslogger.cpp";
const PYTHON_LOGGER: &str = "python-common metaswitch/common/logging_config.py";

/// The hourly log of a C++ daemon, with the link that it keeps to the current one.
pub(super) const fn cpp_log(directory: &'static str, pattern: &'static str, current: &'static str) -> LogFile {
    log(directory, pattern, Some(current), LogGrammar::Cpp, CPP_LOGGER)
}

/// The hourly access log of a C++ daemon with an HTTP port, with its link. chronos has the port, but gives its server no
/// access log (chronos `src/main.cpp`).
pub(super) const fn access_log(directory: &'static str) -> LogFile {
    log(directory, "access_*.txt", Some("access_current.txt"), LogGrammar::CppAccess, CPP_ACCESS)
}

/// The hourly log of a Python daemon, which keeps no link.
pub(super) const fn python_log(directory: &'static str, pattern: &'static str) -> LogFile {
    log(directory, pattern, None, LogGrammar::Python, PYTHON_LOGGER)
}

pub(super) const NGINX_ACCESS_LOG: LogFile =
    log("/var/log/nginx", "access.log", None, LogGrammar::NginxAccess, "Ubuntu nginx package, nginx.conf");
pub(super) const NGINX_ERROR_LOG: LogFile =
    log("/var/log/nginx", "error.log", None, LogGrammar::NginxError, "Ubuntu nginx package, nginx.conf");
pub(super) const SUPERVISORD_LOG: LogFile =
    log(SUPERVISOR_LOGS, "supervisord.log", None, LogGrammar::Supervisord, "clearwater-docker base/Dockerfile");
pub(super) const ETCD_PROXY_LOG: LogFile = log(
    "/var/log/clearwater-etcd",
    "clearwater-etcd.log",
    None,
    LogGrammar::Plain,
    "clearwater-etcd debian/clearwater-etcd.init.d",
);
pub(super) const CLUSTER_MANAGER_LOG: LogFile =
    log("/var/log/clearwater-cluster-manager", "cluster-manager_*.txt", None, LogGrammar::Python, PYTHON_LOGGER);

/// Grows and shrinks at once.
pub(super) const FREE: Scaling = Scaling {
    up: Rule::Free,
    down: Rule::Free,
    reason: "it keeps nothing that another pod could not read again",
    source: Source("clearwater-docker README.md; clearwater-readthedocs docs/Clearwater_Elastic_Scaling.md"),
};
