//! The ten components of the images of 2016, which the article "Clearwater On Kubernetes" deploys.
//!
//! What these images share with the later ones is taken from there; only the differences are written out.

use super::common::{
    CLASSIC_ENV, CLUSTER_MANAGER_LOG, DEFAULT_RETRIES, ETCD_PROXY_LOG, INFRASTRUCTURE, NGINX_ACCESS_LOG,
    NGINX_ERROR_LOG, NGINX_PING, SUPERVISORD_LOG, access_log, cpp_log, log, member, member_in, python_log, served, tcp,
    udp,
};
use super::{
    AskedBy, Asks, Component, Data, Entry, HealthQuestion, Lifetime, LogGrammar, PreStop, ProgramHealth, Role, Rule,
    Scaling, Source, hunter,
};

pub(super) const ENTRIES: &[Entry] =
    &[ETCD, MEMCACHED, CASSANDRA, CHRONOS, HOMESTEAD, HOMER, RALF, SPROUT, BONO, ELLIS];

const ARTICLE: &str = "the article \"Clearwater On Kubernetes\"";

/// These images have no pre-stop script of their own, so its two commands are given; an image that has it keeps it.
const PRE_STOP: PreStop = PreStop {
    command: &[
        "/bin/bash",
        "-c",
        "if [ -x /usr/bin/pre-stop ]; then exec /usr/bin/pre-stop; fi; \
         supervisorctl stop all; exec /etc/init.d/clearwater-etcd decommission",
    ],
    grace_seconds: hunter::LEAVE_GRACE_SECONDS,
    source: Source("clearwater-docker base/pre-stop; clearwater-etcd debian/clearwater-etcd.init.d"),
};

const ETCD: Entry = Entry {
    image: "quay.io/coreos/etcd:v2.2.5",
    source: Source("clearwater-docker kubernetes/etcd-depl.yaml (2016)"),
    ..hunter::ETCD
};

const MEMCACHED_MANIFEST: &str = "clearwater-docker kubernetes/memcached-depl.yaml (2016)";

const MEMCACHED: Entry = Entry {
    component: Component::Memcached,
    roles: &[Role::SessionStore],
    summary: "memcached: registrations, authentication challenges, charging sessions.",
    image: "memcached",
    ports: &[served(tcp(
        "memcached",
        11211,
        "memcached; its clients know all members and keep the copies",
        AskedBy::Components,
        MEMCACHED_MANIFEST,
    ))],
    env: CLASSIC_ENV,
    programs: &[
        INFRASTRUCTURE,
        member("memcached", DEFAULT_RETRIES, "clearwater-docker memcached/memcached.supervisord.conf (2016)"),
    ],
    logs: &[
        log("/var/log", "memcached.log", None, LogGrammar::Plain, "Ubuntu memcached package, memcached.conf"),
        CLUSTER_MANAGER_LOG,
        ETCD_PROXY_LOG,
        SUPERVISORD_LOG,
    ],
    health: &[
        HealthQuestion { asks: Asks::Tcp(&[11211]), proves: "memcached is up", source: Source(MEMCACHED_MANIFEST) },
        HealthQuestion {
            asks: Asks::MemcachedVersion(11211),
            proves: "memcached answers requests",
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
            source: Source("sprout src/authentication.cpp (2016)"),
        },
        Data {
            what: "charging sessions",
            lifetime: Lifetime::Process,
            loss: "charging records of calls under way are incomplete",
            source: Source("ralf src/main.cpp"),
        },
    ],
    clustering: Some(hunter::MEMCACHED_CLUSTERING),
    // The later images' astaire would copy data to new members and from leaving ones; these do not have it
    // (clearwater-docker memcached/clearwater-group.supervisord.conf).
    scaling: Scaling {
        up: Rule::OneByOne,
        down: Rule::OneByOne,
        reason: "each datum has two copies and these images copy nothing when members change: two members that come or \
                 go together take both out of reach",
        source: Source(
            "clearwater-readthedocs docs/Clearwater_Elastic_Scaling.md; clearwater-docker \
             memcached/clearwater-group.supervisord.conf (2016)",
        ),
    },
    pre_stop: Some(PRE_STOP),
    slowest_start_seconds: 90,
    source: Source(MEMCACHED_MANIFEST),
};

const CASSANDRA: Entry = Entry {
    env: CLASSIC_ENV,
    programs: &[
        INFRASTRUCTURE,
        member("cassandra", DEFAULT_RETRIES, "clearwater-docker cassandra/cassandra.supervisord.conf (2016)"),
    ],
    source: Source("clearwater-docker kubernetes/cassandra-depl.yaml (2016)"),
    ..hunter::CASSANDRA
};

const CHRONOS: Entry = Entry {
    env: CLASSIC_ENV,
    programs: &[
        INFRASTRUCTURE,
        member("chronos", DEFAULT_RETRIES, "clearwater-docker chronos/chronos.supervisord.conf"),
    ],
    pre_stop: Some(PRE_STOP),
    source: Source("clearwater-docker kubernetes/chronos-depl.yaml (2016)"),
    ..hunter::CHRONOS
};

const HOMESTEAD_IMAGE: &str = "clearwater-docker homestead/Dockerfile (2016)";
const HOMESTEAD_PROGRAMS: &str =
    "clearwater-docker homestead/homestead.supervisord.conf, homestead/clearwater-group.supervisord.conf (2016)";

const HOMESTEAD: Entry = Entry {
    roles: &[Role::HssGateway, Role::Provisioning],
    summary: "Answers sprout's questions about subscribers, and lets Ellis and operators create them in Cassandra.",
    ports: &[
        NGINX_PING,
        served(tcp(
            "http",
            8888,
            "HTTP: authentication vectors, registration data, locations; /ping",
            AskedBy::Components,
            HOMESTEAD_IMAGE,
        )),
        served(tcp("http-prov", 8889, "HTTP: subscribers; /ping", AskedBy::Components, HOMESTEAD_IMAGE)),
    ],
    env: CLASSIC_ENV,
    programs: &[
        INFRASTRUCTURE,
        member("homestead", 10, HOMESTEAD_PROGRAMS),
        member("homestead-prov", DEFAULT_RETRIES, HOMESTEAD_PROGRAMS),
        member("nginx", DEFAULT_RETRIES, HOMESTEAD_PROGRAMS),
    ],
    logs: &[
        cpp_log("/var/log/homestead", "homestead_*.txt", "homestead_current.txt"),
        access_log("/var/log/homestead"),
        python_log("/var/log/homestead-prov", "homestead-prov*.txt"),
        NGINX_ACCESS_LOG,
        NGINX_ERROR_LOG,
        CLUSTER_MANAGER_LOG,
        ETCD_PROXY_LOG,
        SUPERVISORD_LOG,
    ],
    health: &[
        HealthQuestion {
            asks: Asks::Http { port: 8888, path: "/ping", body: Some("OK") },
            proves: "it has found Cassandra with its schema and answers",
            source: Source("homestead src/http_handlers.cpp, src/main.cpp"),
        },
        HealthQuestion {
            asks: Asks::Http { port: 8889, path: "/ping", body: Some("OK") },
            proves: "the provisioning interface reads from Cassandra",
            source: Source("crest src/metaswitch/crest/api/ping.py"),
        },
    ],
    source: Source("clearwater-docker kubernetes/homestead-svc.yaml (2016)"),
    ..hunter::HOMESTEAD
};

const HOMER: Entry = Entry {
    env: CLASSIC_ENV,
    programs: &[
        INFRASTRUCTURE,
        member("homer", 10, "clearwater-docker homer/homer.supervisord.conf (2016)"),
        member("nginx", DEFAULT_RETRIES, "clearwater-docker homer/nginx.supervisord.conf"),
    ],
    source: Source("clearwater-docker kubernetes/homer-depl.yaml (2016)"),
    ..hunter::HOMER
};

const RALF: Entry = Entry {
    env: CLASSIC_ENV,
    programs: &[INFRASTRUCTURE, member("ralf", DEFAULT_RETRIES, "clearwater-docker ralf/ralf.supervisord.conf")],
    source: Source("clearwater-docker kubernetes/ralf-depl.yaml (2016)"),
    ..hunter::RALF
};

const SPROUT: Entry = Entry {
    env: CLASSIC_ENV,
    programs: &[INFRASTRUCTURE, member("sprout", DEFAULT_RETRIES, "clearwater-docker sprout/sprout.supervisord.conf")],
    source: Source("clearwater-docker kubernetes/sprout-depl.yaml (2016)"),
    ..hunter::SPROUT
};

const BONO_INIT: &str = "sprout debian/bono.init.d";
const RESTUND: &str = "sprout restund.root/usr/share/clearwater/infrastructure/scripts/restund";

const BONO: Entry = Entry {
    ports: &[
        served(tcp("stun-tcp", 3478, "STUN and TURN", AskedBy::Clients, RESTUND)),
        served(udp("stun-udp", 3478, "STUN and TURN", AskedBy::Clients, RESTUND)),
        tcp("trusted-tcp", 5058, "SIP from sprout and other bonos", AskedBy::Components, BONO_INIT),
        udp("trusted-udp", 5058, "SIP from sprout and other bonos", AskedBy::Components, BONO_INIT),
        served(tcp("sip-tcp", 5060, "SIP from devices", AskedBy::Clients, BONO_INIT)),
        served(udp("sip-udp", 5060, "SIP from devices", AskedBy::Clients, BONO_INIT)),
        served(tcp("sip-ws", 5062, "SIP over WebSocket from browsers", AskedBy::Clients, BONO_INIT)),
        served(udp(
            "sip-ws-udp",
            5062,
            "listed by the manifests of 2016; nothing speaks it",
            AskedBy::Clients,
            ARTICLE,
        )),
        tcp("restund-http", 8080, "restund's status page, on 127.0.0.1 only", AskedBy::Local, RESTUND),
        udp("restund-status", 33000, "restund's status, on 127.0.0.1 only", AskedBy::Local, RESTUND),
    ],
    env: CLASSIC_ENV,
    programs: &[
        INFRASTRUCTURE,
        member("bono", DEFAULT_RETRIES, "clearwater-docker bono/bono.supervisord.conf"),
        member("restund", DEFAULT_RETRIES, "clearwater-docker bono/restund.supervisord.conf"),
    ],
    source: Source("clearwater-docker kubernetes/bono-svc.yaml (2016)"),
    ..hunter::BONO
};

const ELLIS: Entry = Entry {
    env: CLASSIC_ENV,
    programs: &[
        INFRASTRUCTURE,
        member("ellis", DEFAULT_RETRIES, "clearwater-docker ellis/ellis.supervisord.conf"),
        member("mysql", DEFAULT_RETRIES, "clearwater-docker ellis/mysql.supervisord.conf"),
        member("nginx", DEFAULT_RETRIES, "clearwater-docker ellis/nginx.supervisord.conf"),
        member_in("initsql", ProgramHealth::Exited, "clearwater-docker ellis/initsql.supervisord.conf"),
    ],
    source: Source("clearwater-docker kubernetes/ellis-depl.yaml (2016)"),
    ..hunter::ELLIS
};
