//! Clearwater's own edges, and the article's sequence.

use super::graph::{EdgeData, Graph, Link, Need, Origin};
use crate::component::{Component, Release, catalogue};
use crate::config::{Deployment, DnsBackend};

use Component::{
    Astaire, Bono, Cassandra, Chronos, Ellis, Etcd, Homer, Homestead, HomesteadProv, Memcached, Ralf, Sprout,
};
use Need::{Hard, None as No, Soft};

/// Where subscribers come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Subscribers {
    /// The built-in provisioning, in Cassandra.
    #[default]
    BuiltIn,
    /// An external HSS: there is nothing to provision, so homestead-prov goes, and ellis with it.
    Hss,
}

struct Fact {
    from: Component,
    to: Component,
    start: Need,
    run: Need,
    leave: Need,
    evidence: &'static str,
    seen: &'static str,
}

const fn fact(
    from: Component,
    to: Component,
    start: Need,
    run: Need,
    evidence: &'static str,
    seen: &'static str,
) -> Fact {
    Fact { from, to, start, run, leave: No, evidence, seen }
}

/// What leaving cannot do without.
const fn leaving(from: Component, to: Component, evidence: &'static str, seen: &'static str) -> Fact {
    Fact { from, to, start: No, run: No, leave: Hard, evidence, seen }
}

const PROXY: &str = "clearwater-etcd debian/clearwater-etcd.init.d; etcd-io/etcd etcdmain/etcd.go";
const PROXY_SEEN: &str = "the cluster manager keeps polling and nothing joins a cluster";

const LEAVE: &str = "clearwater-docker base/pre-stop; clearwater-etcd debian/clearwater-etcd.init.d (decommission), \
                     src/metaswitch/clearwater/cluster_manager/synchronization_fsm.py";
const LEAVE_SEEN: &str = "the pre-stop hook waits for a cluster manager that cannot write to etcd, until the pod's grace \
                          is over and the pod is killed";

const HUNTER: &[Fact] = &[
    fact(
        Astaire,
        Etcd,
        Hard,
        Soft,
        "astaire src/resync_main.cpp, src/proxy_main.cpp; clearwater-etcd-plugins clearwater_memcached",
        "astaire and rogers exit with status 3 for want of /etc/clearwater/cluster_settings: BACKOFF, after a hundred \
         tries FATAL",
    ),
    fact(
        Cassandra,
        Etcd,
        Hard,
        Soft,
        "clearwater-etcd-plugins clearwater_cassandra/cassandra_plugin.py; clearwater-cassandra \
         etc/init.d/cassandra.clearwater",
        "there is no cassandra.yaml: the program restarts every two seconds and no port opens",
    ),
    fact(
        Chronos,
        Etcd,
        Soft,
        Soft,
        "chronos src/globals.cpp, src/main.cpp",
        "each chronos is a cluster of itself alone",
    ),
    fact(Chronos, Ralf, No, Soft, "ralf src/main.cpp", "interim charging records come late"),
    fact(
        Chronos,
        Sprout,
        No,
        Soft,
        "chronos src/http_callback.cpp",
        "timers that pop are not taken and are tried again",
    ),
    fact(Homestead, Etcd, Soft, Soft, PROXY, PROXY_SEEN),
    fact(
        Homestead,
        Astaire,
        Soft,
        Hard,
        "homestead src/main.cpp",
        "the cache of public identities cannot be written: 5xx to sprout",
    ),
    fact(
        Homestead,
        Cassandra,
        Hard,
        Hard,
        "homestead src/main.cpp; cpp-common src/cassandra_store.cpp; clearwater-docker \
         homestead/homestead.supervisord.conf",
        "homestead exits with status 2 and supervisord shows BACKOFF",
    ),
    fact(
        Homestead,
        Sprout,
        No,
        Soft,
        "homestead debian/homestead.init.d",
        "deregistrations that an HSS asks for do not reach sprout",
    ),
    fact(HomesteadProv, Etcd, Soft, Soft, PROXY, PROXY_SEEN),
    fact(
        HomesteadProv,
        Cassandra,
        Hard,
        Hard,
        "crest src/metaswitch/homestead_prov/cassandra.py, src/metaswitch/crest/api/ping.py",
        "Cassandra's name does not resolve: the process dies, after four tries FATAL; later, /ping never answers and \
         requests get 503",
    ),
    fact(Homer, Etcd, Soft, Soft, PROXY, PROXY_SEEN),
    fact(
        Homer,
        Cassandra,
        Soft,
        Hard,
        "crest src/metaswitch/crest/api/lastvaluecache.py, passthrough.py, ping.py",
        "the port is open, but /ping and requests hang or get 5xx",
    ),
    fact(Ralf, Etcd, Soft, Soft, PROXY, PROXY_SEEN),
    fact(Ralf, Astaire, Soft, Hard, "ralf src/main.cpp", "5xx to charging messages, which their senders do not mind"),
    fact(Ralf, Chronos, Soft, Hard, "ralf src/main.cpp", "5xx to charging messages, which their senders do not mind"),
    fact(Sprout, Etcd, Soft, Soft, PROXY, PROXY_SEEN),
    fact(
        Sprout,
        Astaire,
        Soft,
        Hard,
        "sprout src/main.cpp",
        "500 or 504 to REGISTER; 480 to calls, because nobody is registered",
    ),
    fact(
        Sprout,
        Chronos,
        Soft,
        Soft,
        "sprout src/authenticationsproutlet.cpp, src/main.cpp",
        "registrations succeed but nothing makes them expire",
    ),
    fact(
        Sprout,
        Homestead,
        Soft,
        Hard,
        "sprout src/hssconnection.cpp, src/icscfrouter.cpp",
        "403 or 480 to REGISTER; 404, 480 or 504 to INVITE",
    ),
    fact(
        Sprout,
        Homer,
        Soft,
        Soft,
        "sprout src/mmtel.cpp, src/xdmconnection.cpp",
        "calls go through with every supplementary service off",
    ),
    fact(Sprout, Ralf, Soft, Soft, "sprout sprout-base.root/etc/init.d/sprout", "charging records are lost"),
    fact(Bono, Etcd, Soft, Soft, PROXY, PROXY_SEEN),
    fact(
        Bono,
        Homestead,
        Soft,
        Soft,
        "sprout restund.root/usr/share/clearwater/infrastructure/scripts/restund",
        "TURN users are not authenticated; STUN works",
    ),
    fact(Bono, Ralf, Soft, Soft, "sprout debian/bono.init.d", "charging records are lost"),
    fact(Bono, Sprout, Soft, Hard, "sprout src/bono.cpp, debian/bono.init.d", "408 or 503 to every device"),
    fact(Ellis, Etcd, Soft, Soft, PROXY, PROXY_SEEN),
    fact(
        Ellis,
        HomesteadProv,
        Soft,
        Hard,
        "ellis src/metaswitch/ellis/remote/homestead.py",
        "one \"Failed to ping Homestead\" at start; 502 when a number is created",
    ),
    fact(Ellis, Homer, Soft, Hard, "ellis src/metaswitch/ellis/remote/xdm.py", "502 when a number is created"),
    leaving(Astaire, Etcd, LEAVE, LEAVE_SEEN),
    leaving(Chronos, Etcd, LEAVE, LEAVE_SEEN),
];

/// The older images' edges: the store is a plain memcached, and homestead provisions too.
const CLASSIC: &[Fact] = &[
    fact(
        Memcached,
        Etcd,
        Soft,
        Soft,
        "clearwater-docker memcached/Dockerfile (2016)",
        "each memcached is a cluster of itself alone",
    ),
    fact(Ralf, Memcached, Soft, Hard, "ralf src/main.cpp", "5xx to charging messages, which their senders do not mind"),
    fact(
        Sprout,
        Memcached,
        Soft,
        Hard,
        "sprout src/main.cpp",
        "500 or 504 to REGISTER; 480 to calls, because nobody is registered",
    ),
    fact(
        Ellis,
        Homestead,
        Soft,
        Hard,
        "ellis src/metaswitch/ellis/remote/homestead.py",
        "one \"Failed to ping Homestead\" at start; 502 when a number is created",
    ),
    leaving(Memcached, Etcd, LEAVE, LEAVE_SEEN),
];

/// The article's sequence; within a stage the order is open.
const ARTICLE: &[&[Component]] = &[
    &[Etcd],
    &[Astaire, Memcached],
    &[Cassandra],
    &[Chronos, Ralf, Homer],
    &[Homestead, HomesteadProv],
    &[Sprout],
    &[Bono, Ellis],
];

fn facts(release: Release) -> impl Iterator<Item = &'static Fact> {
    let classic: &[Fact] = if release == Release::Classic { CLASSIC } else { &[] };
    HUNTER.iter().chain(classic)
}

/// The node of the names that Kubernetes cannot give and `up` puts into DNS; see [`Graph::with_names_of`].
pub const NAMES: &str = "names";

/// The backend by which `up` puts names into DNS and has Bono wait for them; `None` where the deployment's names need
/// nothing but its own pods and Services, or are left to DNS elsewhere.
pub fn names_gate(deployment: &Deployment) -> Option<DnsBackend> {
    let backend = deployment.file().dns.backend;
    let ours = matches!(backend, DnsBackend::Coredns | DnsBackend::Etcd | DnsBackend::Endpoints);
    (ours && deployment.release() == Release::Classic).then_some(backend)
}

/// Whether the names can be put in before there is a sprout behind them.
pub fn before_sprout(backend: DnsBackend) -> bool {
    backend == DnsBackend::Coredns
}

impl Graph {
    /// The graph of a release of Clearwater.
    ///
    /// ```
    /// use clearwater::component::Release;
    /// use clearwater::order::{Graph, Policy, Subscribers};
    ///
    /// let plan = Graph::clearwater(Release::Classic, Subscribers::BuiltIn).plan(Policy::Article)?;
    /// let waves: Vec<_> = plan.waves().map(|w| w.join(" ")).collect();
    /// assert_eq!(
    ///     waves,
    ///     ["etcd", "memcached", "cassandra", "chronos homer ralf", "homestead", "sprout", "bono ellis"]
    /// );
    /// # Ok::<(), clearwater::order::OrderError>(())
    /// ```
    pub fn clearwater(release: Release, subscribers: Subscribers) -> Self {
        let mut graph = Self::new();
        let has = |c: Component| {
            let provisioning = matches!(c, HomesteadProv | Ellis);
            catalogue(release).iter().any(|e| e.component == c) && !(provisioning && subscribers == Subscribers::Hss)
        };
        for entry in catalogue(release).iter().filter(|e| has(e.component)) {
            graph.add_component(entry.component);
        }
        for f in facts(release).filter(|f| has(f.from) && has(f.to)) {
            // With an HSS homestead asks it, over Diameter, and never opens Cassandra.
            if subscribers == Subscribers::Hss && (f.from, f.to) == (Homestead, Cassandra) {
                continue;
            }
            let link = Link { leave: f.leave, ..Link::new(f.start, f.run) }.evidence(f.evidence).seen(f.seen);
            graph.join(f.from, f.to, Link { origin: Origin::Upstream, ..link });
        }
        let stages = ARTICLE.iter().map(|stage| stage.iter().copied().filter(|&c| has(c)).collect::<Vec<_>>());
        let stages: Vec<_> = stages.filter(|stage| !stage.is_empty()).collect();
        for pair in stages.windows(2) {
            for &from in &pair[1] {
                for &to in &pair[0] {
                    let link = Link::default().evidence("article");
                    graph.join(from, to, Link { origin: Origin::Article, ..link });
                }
            }
        }
        graph
    }

    /// The graph of a deployment.
    pub fn of(deployment: &Deployment) -> Self {
        let subscribers = if deployment.file().hss.is_some() { Subscribers::Hss } else { Subscribers::BuiltIn };
        Self::clearwater(deployment.release(), subscribers)
    }

    /// The graph with the [`NAMES`] that `up` puts into DNS, where the deployment's backend has it put any.
    ///
    /// ```
    /// use clearwater::config::DeploymentFile;
    /// use clearwater::order::{Graph, NAMES, Policy};
    ///
    /// let file = "\
    /// apiVersion: clearwater/v1
    /// release: classic
    /// images: {registry: registry.example.com, tag: '1'}
    /// dns: {backend: endpoints}
    /// ";
    /// let deployment = DeploymentFile::parse(file, "clearwater.yaml")?.deploy("ims")?;
    /// let plan = Graph::of(&deployment).with_names_of(&deployment).plan(Policy::Dependency)?;
    /// assert_eq!(plan.gates(NAMES).collect::<Vec<_>>(), ["sprout"]);
    /// assert!(plan.gates("bono").any(|gate| gate == NAMES));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn with_names_of(mut self, deployment: &Deployment) -> Self {
        let Some((backend, bono)) = names_gate(deployment).zip(self.index(Bono.name()).ok()) else { return self };
        let names = self.intern(NAMES.into(), None);
        let because =
            "it is made after they are answered: a name that was asked for too early is remembered as missing";
        let link = Link::new(Hard, Hard).evidence(because).seen("503 to every request that bono sends on");
        self.edges.push(EdgeData { from: bono, to: names, link });
        if let Some(sprout) = self.index(Sprout.name()).ok().filter(|_| !before_sprout(backend)) {
            let because = format!("dns.backend {} leads to the address that sprout has once it serves", backend.name());
            self.edges.push(EdgeData { from: names, to: sprout, link: Link::new(Hard, No).evidence(because) });
        }
        self
    }

    fn join(&mut self, from: Component, to: Component, link: Link) {
        let from = self.intern(from.name().into(), Some(from));
        let to = self.intern(to.name().into(), Some(to));
        self.edges.push(EdgeData { from, to, link });
    }
}
