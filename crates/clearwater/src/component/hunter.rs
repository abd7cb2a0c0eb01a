//! The eleven components of the images built since April 2017.

use super::common::{
    CLUSTER_MANAGER_LOG, DEFAULT_RETRIES, ETCD_PROXY_LOG, FREE, HUNTER_ENV, INFRASTRUCTURE, NGINX_ACCESS_LOG,
    NGINX_ERROR_LOG, NGINX_PING, SNMPD, SOCKET_FACTORY_MGMT, SOCKET_FACTORY_SIG, SUPERVISORD_LOG, access_log, cpp_log,
    log, member, member_in, python_log, served, tcp, udp,
};
use super::paths::{CASSANDRA_DATA, CASSANDRA_SETTINGS, CHRONOS_SETTINGS};
use super::{
    AskedBy, Asks, Clustering, Component, Data, Entry, FromJoining, HealthQuestion, Lifetime, LogGrammar, PreStop,
    ProgramHealth, Role, Rule, Scaling, Source, Store,
};

pub(super) const ENTRIES: &[Entry] =
    &[ETCD, ASTAIRE, CASSANDRA, CHRONOS, HOMESTEAD, HOMESTEAD_PROV, HOMER, RALF, SPROUT, BONO, ELLIS];

const ETCD_TEMPLATE: &str = "clearwater-docker kubernetes/templates/etcd-depl.tmpl";

pub(super) const ETCD: Entry = Entry {
    component: Component::Etcd,
    roles: &[Role::ClusterMembership],
    summary: "Key-value store (v2 API) that holds who is a member of which clustered store.",
    image: "quay.io/coreos/etcd:v3.2.32",
    ports: &[
        served(tcp("etcd-client", 2379, "etcd client API", AskedBy::Components, ETCD_TEMPLATE)),
        served(tcp(
            "etcd-server",
            2380,
            "etcd peer API; the one that every container's etcd proxy dials",
            AskedBy::Components,
            "clearwater-infrastructure debian/clearwater-auto-config-docker.init.d",
        )),
        served(tcp("etcd-legacy", 4001, "etcd client API on its old port", AskedBy::Components, ETCD_TEMPLATE)),
    ],
    env: &[],
    programs: &[],
    logs: &[],
    health: &[
        HealthQuestion {
            asks: Asks::Tcp(&[2380, 4001]),
            proves: "the peer port that the proxies dial, and the port that upstream's probe tries, are open",
            source: Source(ETCD_TEMPLATE),
        },
        HealthQuestion {
            asks: Asks::EtcdHealth(2379),
            proves: "it has a leader and accepts writes",
            source: Source("etcd-io/etcd etcdserver/api/etcdhttp/metrics.go"),
        },
    ],
    data: &[Data {
        what: "cluster membership",
        lifetime: Lifetime::Volume,
        loss: "nothing changes for calls that stand, but no store can gain or lose a member until the stores are \
               recreated with it",
        source: Source("clearwater-etcd src/metaswitch/clearwater/cluster_manager/etcd_synchronizer.py"),
    }],
    clustering: None,
    scaling: Scaling {
        up: Rule::Never,
        down: Rule::Never,
        reason: "a further member needs a discovery URL that every member was started with, not a higher replica count",
        source: Source(ETCD_TEMPLATE),
    },
    pre_stop: None,
    slowest_start_seconds: 10,
    source: Source("opnfv/functest-kubernetes functest_kubernetes/ims/etcd-depl.yaml"),
};

const ASTAIRE_TEMPLATE: &str = "clearwater-docker kubernetes/templates/astaire-depl.tmpl";
const MEMCACHED_PLUGIN: &str = "clearwater-etcd-plugins clearwater_memcached/memcached_plugin.py";

/// How long a member needs to leave: 30 s of delay, every member's acknowledgement, the resynchronisation. Upstream's
/// 120 s fit one leave of a quiet cluster and no more; the script itself waits up to 1200 s.
pub(super) const LEAVE_GRACE_SECONDS: u32 = 300;

/// Takes a member out of its store before its container goes.
const PRE_STOP: PreStop = PreStop {
    command: &["/bin/bash", "-c", "/usr/bin/pre-stop"],
    grace_seconds: LEAVE_GRACE_SECONDS,
    source: Source("clearwater-docker base/pre-stop, kubernetes/templates/astaire-depl.tmpl, chronos-depl.tmpl"),
};

pub(super) const MEMCACHED_CLUSTERING: Clustering = Clustering {
    store: Store::Memcached,
    etcd_key: "/clearwater/site1/node_type_memcached/clustering/memcached",
    node_type: "node_type_memcached",
    datastore: "memcached",
    title: "Memcached",
    replication_factor: 2,
    from_joining: None,
    source: Source(MEMCACHED_PLUGIN),
};

pub(super) const ASTAIRE: Entry = Entry {
    component: Component::Astaire,
    roles: &[Role::SessionStore],
    summary: "memcached with the proxy that replicates it (rogers) and the process that refills it after a change of \
              members (astaire).",
    image: "astaire",
    ports: &[
        tcp(
            "memcached",
            11211,
            "memcached itself, for the proxies and for resynchronisation",
            AskedBy::Peers,
            "clearwater-docker astaire/memcached.supervisord.conf",
        ),
        served(tcp(
            "rogers",
            11311,
            "the replicating proxy (memcached binary protocol), on [::]",
            AskedBy::Components,
            "astaire src/proxy_server.cpp",
        )),
    ],
    env: HUNTER_ENV,
    programs: &[
        INFRASTRUCTURE,
        SNMPD,
        member("memcached", DEFAULT_RETRIES, "clearwater-docker astaire/memcached.supervisord.conf"),
        member("astaire", 100, "clearwater-docker astaire/astaire.supervisord.conf"),
        member("rogers", 100, "clearwater-docker astaire/rogers.supervisord.conf"),
    ],
    logs: &[
        cpp_log("/var/log/astaire", "astaire_*.txt", "astaire_current.txt"),
        cpp_log("/var/log/rogers", "rogers_*.txt", "rogers_current.txt"),
        CLUSTER_MANAGER_LOG,
        ETCD_PROXY_LOG,
        SUPERVISORD_LOG,
    ],
    health: &[
        HealthQuestion {
            asks: Asks::Tcp(&[11311]),
            proves: "the cluster's settings were written and the proxy has read them",
            source: Source("astaire src/proxy_main.cpp"),
        },
        HealthQuestion {
            asks: Asks::MemcachedVersion(11311),
            proves: "the proxy answers requests",
            source: Source("astaire src/proxy_server.cpp"),
        },
        HealthQuestion {
            asks: Asks::MemcachedVersion(11211),
            proves: "memcached, which holds what the proxy hands out, answers requests",
            source: Source("memcached doc/protocol-binary.txt"),
        },
    ],
    data: &[
        Data {
            what: "registrations",
            lifetime: Lifetime::Process,
            loss: "every device must register again before it can be called",
            source: Source("sprout src/main.cpp"),
        },
        Data {
            what: "authentication challenges",
            lifetime: Lifetime::Process,
            loss: "registrations under way are challenged once more",
            source: Source("sprout src/authenticationsproutlet.cpp"),
        },
        Data {
            what: "homestead's cache of public identities",
            lifetime: Lifetime::Process,
            loss: "it is read again from the subscriber database",
            source: Source("homestead src/main.cpp"),
        },
        Data {
            what: "charging sessions",
            lifetime: Lifetime::Process,
            loss: "charging records of calls under way are incomplete",
            source: Source("ralf src/main.cpp"),
        },
    ],
    clustering: Some(MEMCACHED_CLUSTERING),
    scaling: Scaling {
        up: Rule::OneBatch,
        down: Rule::OneByOne,
        reason: "each datum has two copies: a second member that leaves before the first one's data are copied again \
                 takes the last copy with it",
        source: Source("clearwater-docker README.md; clearwater-readthedocs docs/Clearwater_Elastic_Scaling.md"),
    },
    pre_stop: Some(PRE_STOP),
    slowest_start_seconds: 90,
    source: Source(ASTAIRE_TEMPLATE),
};

const CASSANDRA_TEMPLATE: &str = "clearwater-docker kubernetes/templates/cassandra-depl.tmpl";
const CASSANDRA_PLUGIN: &str = "clearwater-etcd-plugins clearwater_cassandra/cassandra_plugin.py";

pub(super) const CASSANDRA: Entry = Entry {
    component: Component::Cassandra,
    roles: &[Role::SubscriberStore],
    summary: "Cassandra 2.1 with the subscribers and their supplementary service settings.",
    image: "cassandra",
    ports: &[
        served(tcp("gossip", 7000, "gossip between members", AskedBy::Peers, CASSANDRA_TEMPLATE)),
        served(tcp("gossip-tls", 7001, "encrypted gossip between members", AskedBy::Peers, CASSANDRA_TEMPLATE)),
        tcp("jmx", 7199, "JMX for nodetool", AskedBy::Local, "Cassandra 2.1 conf/cassandra-env.sh"),
        served(tcp(
            "cql",
            9042,
            "CQL, for the schema scripts and for tools",
            AskedBy::Components,
            "clearwater-cassandra scripts/cassandra_schemas/run_cassandra_schemas",
        )),
        served(tcp(
            "thrift",
            9160,
            "Thrift, for homestead, homestead-prov and homer",
            AskedBy::Components,
            "cpp-common src/cassandra_store.cpp; crest src/metaswitch/homestead_prov/cassandra.py",
        )),
    ],
    env: HUNTER_ENV,
    programs: &[
        INFRASTRUCTURE,
        SNMPD,
        // While cassandra.yaml is missing each try lasts two seconds, which supervisord counts as a start: RUNNING
        // says little here and the ports say all.
        member("cassandra", 5000, "clearwater-docker cassandra/cassandra.supervisord.conf"),
    ],
    logs: &[
        log(
            "/var/log/cassandra",
            "system.log",
            Some("system.log"),
            LogGrammar::Cassandra,
            "Cassandra 2.1 conf/logback.xml",
        ),
        CLUSTER_MANAGER_LOG,
        ETCD_PROXY_LOG,
        SUPERVISORD_LOG,
    ],
    health: &[
        HealthQuestion {
            asks: Asks::Tcp(&[7000, 9042, 9160]),
            proves: "it has joined its ring and answers its clients; Thrift opens last",
            source: Source(CASSANDRA_TEMPLATE),
        },
        HealthQuestion {
            asks: Asks::CqlOptions(9042),
            proves: "it is the program that answers, and not its kernel alone, which takes connections for one that hangs",
            source: Source("Apache Cassandra doc/native_protocol_v3.spec, 4.1.3"),
        },
    ],
    data: &[
        Data {
            what: "subscribers, their passwords and identities",
            lifetime: Lifetime::Container,
            loss: "nobody can register until all are provisioned again",
            source: Source("homestead src/hsprov_store.cpp"),
        },
        Data {
            what: "supplementary service settings",
            lifetime: Lifetime::Container,
            loss: "call barring, diversion and the like fall back to off",
            source: Source("crest src/metaswitch/homer/routes.py"),
        },
    ],
    clustering: Some(Clustering {
        store: Store::Cassandra,
        etcd_key: "/clearwater/node_type_cassandra/clustering/cassandra",
        node_type: "node_type_cassandra",
        datastore: "cassandra",
        title: "Cassandra",
        replication_factor: 2,
        from_joining: Some(FromJoining {
            file: CASSANDRA_SETTINGS,
            data: CASSANDRA_DATA,
            source: Source(CASSANDRA_PLUGIN),
        }),
        source: Source(CASSANDRA_PLUGIN),
    }),
    scaling: Scaling {
        up: Rule::OneByOne,
        down: Rule::Never,
        reason: "no image tells Cassandra to hand over its part of the ring before it stops, so a member that leaves \
                 takes its data with it",
        source: Source("clearwater-docker README.md"),
    },
    pre_stop: None,
    slowest_start_seconds: 600,
    source: Source(CASSANDRA_TEMPLATE),
};

const CHRONOS_TEMPLATE: &str = "clearwater-docker kubernetes/templates/chronos-depl.tmpl";
const CHRONOS_PLUGIN: &str = "clearwater-etcd-plugins chronos/chronos_plugin.py";

pub(super) const CHRONOS: Entry = Entry {
    component: Component::Chronos,
    roles: &[Role::Timers],
    summary: "Replicated timers: expiry of registrations and challenges, interim charging records.",
    image: "chronos",
    ports: &[served(tcp(
        "http",
        7253,
        "HTTP: timers, resynchronisation, /ping",
        AskedBy::Components,
        "chronos doc/api.md",
    ))],
    env: HUNTER_ENV,
    programs: &[
        INFRASTRUCTURE,
        member("chronos", DEFAULT_RETRIES, "clearwater-docker chronos/chronos.supervisord.conf"),
        // A daemon that leaves the foreground at once: supervisord ends up calling it FATAL while it works.
        member_in("snmpd", ProgramHealth::Any, "clearwater-docker chronos/snmpd.supervisord.conf"),
    ],
    logs: &[
        cpp_log("/var/log/chronos", "chronos_*.txt", "chronos_current.txt"),
        log("/var/log/chronos", "chronos_err.log", None, LogGrammar::Plain, "chronos debian/chronos.init.d"),
        CLUSTER_MANAGER_LOG,
        ETCD_PROXY_LOG,
        SUPERVISORD_LOG,
    ],
    health: &[
        HealthQuestion {
            asks: Asks::Http { port: 7253, path: "/ping", body: Some("OK") },
            proves: "it takes timers",
            source: Source("chronos doc/api.md"),
        },
        HealthQuestion {
            asks: Asks::OneNameServer { file: CHRONOS_SETTINGS },
            proves: "it has a name server to ask for those whom its timers call back",
            source: Source(
                "cpp-common src/dnscachedresolver.cpp; clearwater-docker base/clearwater-auto-config-docker",
            ),
        },
    ],
    data: &[Data {
        what: "timers",
        lifetime: Lifetime::Process,
        loss: "registrations that should expire stay, and interim charging records are not sent",
        source: Source("chronos src/main.cpp"),
    }],
    clustering: Some(Clustering {
        store: Store::Chronos,
        etcd_key: "/clearwater/site1/node_type_chronos/clustering/chronos",
        node_type: "node_type_chronos",
        datastore: "chronos",
        title: "Chronos",
        replication_factor: 2,
        from_joining: None,
        source: Source(CHRONOS_PLUGIN),
    }),
    scaling: Scaling {
        up: Rule::OneBatch,
        down: Rule::OneByOne,
        reason: "each timer has two copies: a second member that leaves before the first one's timers are copied again \
                 takes the last copy with it",
        source: Source("clearwater-docker README.md; clearwater-readthedocs docs/Clearwater_Elastic_Scaling.md"),
    },
    pre_stop: Some(PRE_STOP),
    slowest_start_seconds: 90,
    source: Source(CHRONOS_TEMPLATE),
};

pub(super) const HOMESTEAD: Entry = Entry {
    component: Component::Homestead,
    roles: &[Role::HssGateway],
    summary: "Answers sprout's questions about subscribers, from Cassandra or from an external HSS over Diameter Cx.",
    image: "homestead",
    ports: &[
        NGINX_PING,
        served(tcp(
            "http",
            8888,
            "HTTP: authentication vectors, registration data, locations; /ping",
            AskedBy::Components,
            "homestead src/http_handlers.cpp",
        )),
    ],
    env: HUNTER_ENV,
    programs: &[
        INFRASTRUCTURE,
        SNMPD,
        SOCKET_FACTORY_MGMT,
        SOCKET_FACTORY_SIG,
        member("homestead", 5000, "clearwater-docker homestead/homestead.supervisord.conf"),
        member("nginx", DEFAULT_RETRIES, "clearwater-docker homestead/nginx.supervisord.conf"),
    ],
    logs: &[
        cpp_log("/var/log/homestead", "homestead_*.txt", "homestead_current.txt"),
        access_log("/var/log/homestead"),
        NGINX_ERROR_LOG,
        CLUSTER_MANAGER_LOG,
        ETCD_PROXY_LOG,
        SUPERVISORD_LOG,
    ],
    health: &[HealthQuestion {
        asks: Asks::Http { port: 8888, path: "/ping", body: Some("OK") },
        proves: "it has found Cassandra with its schema (without an HSS) and answers",
        source: Source("homestead src/http_handlers.cpp, src/main.cpp"),
    }],
    data: &[],
    clustering: None,
    scaling: FREE,
    pre_stop: None,
    slowest_start_seconds: 90,
    source: Source("clearwater-docker kubernetes/templates/homestead-depl.tmpl"),
};

pub(super) const HOMESTEAD_PROV: Entry = Entry {
    component: Component::HomesteadProv,
    roles: &[Role::Provisioning],
    summary: "HTTP interface through which Ellis and operators create subscribers in Cassandra.",
    image: "homestead-prov",
    ports: &[
        NGINX_PING,
        served(tcp(
            "http",
            8889,
            "HTTP: subscribers; /ping",
            AskedBy::Components,
            "crest homestead.root/usr/share/clearwater/infrastructure/scripts/create-homestead-prov-nginx-config",
        )),
    ],
    env: HUNTER_ENV,
    programs: &[
        INFRASTRUCTURE,
        SNMPD,
        SOCKET_FACTORY_MGMT,
        SOCKET_FACTORY_SIG,
        member("homestead-prov", DEFAULT_RETRIES, "clearwater-docker homestead-prov/homestead-prov.supervisord.conf"),
        member("nginx", DEFAULT_RETRIES, "clearwater-docker homestead-prov/nginx.supervisord.conf"),
    ],
    logs: &[
        python_log("/var/log/homestead-prov", "homestead-prov*.txt"),
        NGINX_ACCESS_LOG,
        NGINX_ERROR_LOG,
        CLUSTER_MANAGER_LOG,
        ETCD_PROXY_LOG,
        SUPERVISORD_LOG,
    ],
    health: &[HealthQuestion {
        asks: Asks::Http { port: 8889, path: "/ping", body: Some("OK") },
        proves: "it reads from Cassandra",
        source: Source("crest src/metaswitch/crest/api/ping.py"),
    }],
    data: &[],
    clustering: None,
    scaling: FREE,
    pre_stop: None,
    slowest_start_seconds: 90,
    source: Source("clearwater-docker kubernetes/templates/homestead-prov-depl.tmpl"),
};

pub(super) const HOMER: Entry = Entry {
    component: Component::Homer,
    roles: &[Role::Xdms],
    summary: "XDM server with each subscriber's supplementary service settings.",
    image: "homer",
    ports: &[
        served(tcp("http", 7888, "HTTP: simservs documents; /ping", AskedBy::Components, "crest docs/homer_api.md")),
        NGINX_PING,
    ],
    env: HUNTER_ENV,
    programs: &[
        INFRASTRUCTURE,
        SNMPD,
        member("homer", 5000, "clearwater-docker homer/homer.supervisord.conf"),
        member("nginx", DEFAULT_RETRIES, "clearwater-docker homer/nginx.supervisord.conf"),
    ],
    logs: &[
        python_log("/var/log/homer", "homer*.txt"),
        NGINX_ACCESS_LOG,
        NGINX_ERROR_LOG,
        CLUSTER_MANAGER_LOG,
        ETCD_PROXY_LOG,
        SUPERVISORD_LOG,
    ],
    health: &[HealthQuestion {
        asks: Asks::Http { port: 7888, path: "/ping", body: Some("OK") },
        proves: "it reads from Cassandra",
        source: Source("crest src/metaswitch/crest/api/ping.py"),
    }],
    data: &[],
    clustering: None,
    scaling: FREE,
    pre_stop: None,
    slowest_start_seconds: 90,
    source: Source("clearwater-docker kubernetes/templates/homer-depl.tmpl"),
};

pub(super) const RALF: Entry = Entry {
    component: Component::Ralf,
    roles: &[Role::Ctf],
    summary: "Turns charging messages of sprout and bono into Diameter Rf.",
    image: "ralf",
    ports: &[
        tcp("diameter", 3869, "Diameter Rf", AskedBy::Network, "ralf debian/ralf.init.d"),
        served(tcp("http", 10888, "HTTP: charging messages; /ping", AskedBy::Components, "ralf src/main.cpp")),
    ],
    env: HUNTER_ENV,
    programs: &[
        INFRASTRUCTURE,
        SNMPD,
        SOCKET_FACTORY_MGMT,
        SOCKET_FACTORY_SIG,
        member("ralf", DEFAULT_RETRIES, "clearwater-docker ralf/ralf.supervisord.conf"),
    ],
    logs: &[
        cpp_log("/var/log/ralf", "ralf_*.txt", "ralf_current.txt"),
        access_log("/var/log/ralf"),
        CLUSTER_MANAGER_LOG,
        ETCD_PROXY_LOG,
        SUPERVISORD_LOG,
    ],
    health: &[HealthQuestion {
        asks: Asks::Http { port: 10888, path: "/ping", body: Some("OK") },
        proves: "it takes charging messages",
        source: Source("ralf src/main.cpp"),
    }],
    data: &[],
    clustering: None,
    scaling: FREE,
    pre_stop: None,
    slowest_start_seconds: 90,
    source: Source("clearwater-docker kubernetes/templates/ralf-depl.tmpl"),
};

const SPROUT_MAIN: &str = "sprout sprout-base.root/etc/init.d/sprout, src/main.cpp";

pub(super) const SPROUT: Entry = Entry {
    component: Component::Sprout,
    roles: &[Role::ICscf, Role::SCscf, Role::Bgcf, Role::MmtelAs],
    summary: "I-CSCF, S-CSCF, BGCF and MMTEL application server in one process.",
    image: "sprout",
    ports: &[
        served(tcp("icscf-tcp", 5052, "SIP: I-CSCF", AskedBy::Components, SPROUT_MAIN)),
        udp("icscf-udp", 5052, "SIP: I-CSCF", AskedBy::Components, SPROUT_MAIN),
        served(tcp("bgcf-tcp", 5053, "SIP: BGCF", AskedBy::Components, SPROUT_MAIN)),
        udp("bgcf-udp", 5053, "SIP: BGCF", AskedBy::Components, SPROUT_MAIN),
        served(tcp("scscf-tcp", 5054, "SIP: S-CSCF", AskedBy::Components, SPROUT_MAIN)),
        udp("scscf-udp", 5054, "SIP: S-CSCF", AskedBy::Components, SPROUT_MAIN),
        tcp("mmtel-tcp", 5055, "SIP: MMTEL application server", AskedBy::Components, SPROUT_MAIN),
        udp("mmtel-udp", 5055, "SIP: MMTEL application server", AskedBy::Components, SPROUT_MAIN),
        served(tcp(
            "http",
            9888,
            "HTTP: timers that chronos pops, deregistrations from homestead; /ping",
            AskedBy::Components,
            "sprout src/main.cpp",
        )),
    ],
    env: HUNTER_ENV,
    programs: &[
        INFRASTRUCTURE,
        SNMPD,
        SOCKET_FACTORY_MGMT,
        SOCKET_FACTORY_SIG,
        member("sprout", DEFAULT_RETRIES, "clearwater-docker sprout/sprout.supervisord.conf"),
    ],
    logs: &[
        cpp_log("/var/log/sprout", "sprout_*.txt", "sprout_current.txt"),
        access_log("/var/log/sprout"),
        CLUSTER_MANAGER_LOG,
        ETCD_PROXY_LOG,
        SUPERVISORD_LOG,
    ],
    health: &[
        HealthQuestion {
            asks: Asks::Http { port: 9888, path: "/ping", body: Some("OK") },
            proves: "it takes timers and deregistrations",
            source: Source("sprout src/main.cpp"),
        },
        HealthQuestion {
            asks: Asks::SipOptions(&[5052, 5053, 5054]),
            proves: "I-CSCF, BGCF and S-CSCF answer SIP",
            source: Source("sprout src/options.cpp, sprout-base.root/usr/share/clearwater/bin/poll_sprout_sip.sh"),
        },
    ],
    data: &[],
    clustering: None,
    scaling: FREE,
    pre_stop: None,
    slowest_start_seconds: 90,
    source: Source("clearwater-docker kubernetes/templates/sprout-depl.tmpl"),
};

const BONO_INIT: &str = "sprout debian/bono.init.d";
const RESTUND: &str = "sprout restund.root/usr/share/clearwater/infrastructure/scripts/restund";
const BONO_TEMPLATE: &str = "clearwater-docker kubernetes/templates/bono-depl.tmpl";

pub(super) const BONO: Entry = Entry {
    component: Component::Bono,
    roles: &[Role::PCscf, Role::Ibcf, Role::StunTurn],
    summary: "P-CSCF that subscribers' devices connect to, with a STUN and TURN server beside it.",
    image: "bono",
    ports: &[
        served(tcp("stun-tcp", 3478, "STUN and TURN", AskedBy::Clients, RESTUND)),
        served(udp("stun-udp", 3478, "STUN and TURN", AskedBy::Clients, RESTUND)),
        tcp("trusted-tcp", 5058, "SIP from sprout and other bonos", AskedBy::Components, BONO_INIT),
        udp("trusted-udp", 5058, "SIP from sprout and other bonos", AskedBy::Components, BONO_INIT),
        served(tcp("sip-tcp", 5060, "SIP from devices", AskedBy::Clients, BONO_INIT)),
        served(udp("sip-udp", 5060, "SIP from devices", AskedBy::Clients, BONO_INIT)),
        served(tcp("sip-ws", 5062, "SIP over WebSocket from browsers", AskedBy::Clients, BONO_INIT)),
        tcp("restund-http", 8080, "restund's status page, on 127.0.0.1 only", AskedBy::Local, RESTUND),
        udp("restund-status", 33000, "restund's status, on 127.0.0.1 only", AskedBy::Local, RESTUND),
    ],
    env: HUNTER_ENV,
    programs: &[
        INFRASTRUCTURE,
        SNMPD,
        SOCKET_FACTORY_MGMT,
        SOCKET_FACTORY_SIG,
        member("bono", DEFAULT_RETRIES, "clearwater-docker bono/bono.supervisord.conf"),
        member("restund", DEFAULT_RETRIES, "clearwater-docker bono/restund.supervisord.conf"),
    ],
    logs: &[
        cpp_log("/var/log/bono", "bono_*.txt", "bono_current.txt"),
        CLUSTER_MANAGER_LOG,
        ETCD_PROXY_LOG,
        SUPERVISORD_LOG,
    ],
    health: &[
        HealthQuestion {
            asks: Asks::Tcp(&[3478, 5060, 5062]),
            proves: "devices and browsers can connect",
            source: Source(BONO_TEMPLATE),
        },
        HealthQuestion {
            asks: Asks::SipOptions(&[5058, 5060]),
            proves: "it answers SIP from devices and from sprout",
            source: Source("sprout src/options.cpp, bono.root/usr/share/clearwater/bin/poll_bono.sh"),
        },
        HealthQuestion {
            asks: Asks::Stun(3478),
            proves: "devices can learn their public address",
            source: Source("sprout restund.root/usr/share/clearwater/bin/poll_restund.sh"),
        },
    ],
    data: &[Data {
        what: "connections to devices",
        lifetime: Lifetime::Process,
        loss: "devices connected to that bono must register again; their calls cannot be changed or ended until then",
        source: Source("sprout src/bono.cpp"),
    }],
    clustering: None,
    scaling: Scaling {
        up: Rule::NeedsAddresses,
        down: Rule::NeedsAddresses,
        reason: "a device must reach the same bono each time: each pod needs an address of its own that leads to it \
                 on port 5060",
        source: Source("clearwater-docker README.md"),
    },
    pre_stop: None,
    slowest_start_seconds: 90,
    source: Source(BONO_TEMPLATE),
};

pub(super) const ELLIS: Entry = Entry {
    component: Component::Ellis,
    roles: &[Role::SelfCare],
    summary: "Web pages on which people make an account and get telephone numbers.",
    image: "ellis",
    ports: &[
        served(tcp(
            "http",
            80,
            "HTTP: web pages, accounts and numbers; /ping",
            AskedBy::Clients,
            "clearwater-docker kubernetes/templates/ellis-depl.tmpl",
        )),
        tcp("mysql", 3306, "MySQL with accounts and numbers", AskedBy::Local, "clearwater-docker ellis/Dockerfile"),
        NGINX_PING,
    ],
    env: HUNTER_ENV,
    programs: &[
        INFRASTRUCTURE,
        SNMPD,
        member("ellis", DEFAULT_RETRIES, "clearwater-docker ellis/ellis.supervisord.conf"),
        member("mysql", DEFAULT_RETRIES, "clearwater-docker ellis/mysql.supervisord.conf"),
        member("nginx", DEFAULT_RETRIES, "clearwater-docker ellis/nginx.supervisord.conf"),
        member_in("initsql", ProgramHealth::Exited, "clearwater-docker ellis/initsql.supervisord.conf"),
    ],
    logs: &[
        python_log("/var/log/ellis", "ellis_*.txt"),
        log(
            "/var/log",
            "create_numbers.log",
            None,
            LogGrammar::Plain,
            "collivier/clearwater-docker ellis/create_numbers.sh",
        ),
        NGINX_ACCESS_LOG,
        NGINX_ERROR_LOG,
        CLUSTER_MANAGER_LOG,
        ETCD_PROXY_LOG,
        SUPERVISORD_LOG,
    ],
    health: &[HealthQuestion {
        asks: Asks::Http { port: 80, path: "/ping", body: Some("OK") },
        proves: "the web application answers",
        source: Source("ellis src/metaswitch/ellis/main.py"),
    }],
    data: &[Data {
        what: "accounts and the numbers they hold",
        lifetime: Lifetime::Container,
        loss: "people must sign up again; subscribers already in the database keep working, and new numbers may collide \
               with theirs",
        source: Source("clearwater-docker ellis/Dockerfile, ellis/create_numbers.sh"),
    }],
    clustering: None,
    scaling: Scaling {
        up: Rule::Never,
        down: Rule::Never,
        reason: "its accounts and numbers are in a MySQL inside its own container, which a second pod would not share",
        source: Source("clearwater-docker ellis/Dockerfile, ellis/mysql.supervisord.conf"),
    },
    pre_stop: None,
    slowest_start_seconds: 120,
    source: Source("clearwater-docker kubernetes/templates/ellis-depl.tmpl"),
};
