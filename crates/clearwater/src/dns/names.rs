use crate::component::{Component, Release, entry, port};
use crate::config::{CLUSTER_DOMAIN, Deployment, DnsBackend, SPROUT_ADDRESS, ServiceKind};

/// A call session control function that sprout answers for under a name or port of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cscf {
    /// I-CSCF.
    Icscf,
    /// S-CSCF.
    Scscf,
    /// BGCF.
    Bgcf,
}

impl Cscf {
    /// All of them, in the order in which the generator writes them.
    pub const ALL: [Self; 3] = [Self::Scscf, Self::Icscf, Self::Bgcf];

    /// The sub-domain of sprout's name that upstream's code falls back to
    /// (sprout `include/sproutlet_options.h`).
    pub const fn label(self) -> &'static str {
        match self {
            Self::Icscf => "icscf",
            Self::Scscf => "scscf",
            Self::Bgcf => "bgcf",
        }
    }

    /// The SIP port.
    pub const fn port(self) -> u16 {
        match self {
            Self::Icscf => port(Component::Sprout, "icscf-tcp"),
            Self::Bgcf => port(Component::Sprout, "bgcf-tcp"),
            Self::Scscf => port(Component::Sprout, "scscf-tcp"),
        }
    }
}

/// The host names of a deployment: the one source from which both configuration and DNS records take them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    release: Release,
    namespace: String,
    cluster_domain: String,
    zone: String,
    home_domain: String,
    backend: DnsBackend,
}

/// The second name of homestead's Service: what restund asks for, and the 2016 generator's name for homestead.
pub(crate) const HOMESTEAD_ALIAS: &str = "hs";

fn effective(backend: DnsBackend, release: Release) -> DnsBackend {
    match (backend, release) {
        (DnsBackend::Auto, Release::Classic) => DnsBackend::Pods,
        (backend, _) => backend,
    }
}

impl Deployment {
    /// The name model: every host name that configuration and DNS use.
    pub fn names(&self) -> Names {
        Names::of(self)
    }

    /// The Service with the one virtual address that names lead to in place of sprout's pods, where there is one.
    ///
    /// Requests come through by the names. One that carries the address itself in Route goes round until it ends in 483,
    /// unless sprout knows it as its own (`local_alias_list`).
    pub fn sprout_alias(&self) -> Option<&'static str> {
        if self.file().services == ServiceKind::ClusterIp {
            Some(Component::Sprout.name())
        } else {
            (self.names().backend() == DnsBackend::Etcd).then_some(SPROUT_ADDRESS)
        }
    }
}

impl Names {
    fn of(deployment: &Deployment) -> Self {
        Self {
            release: deployment.release(),
            namespace: deployment.namespace().to_owned(),
            cluster_domain: deployment.cluster_domain().to_owned(),
            zone: deployment.zone(),
            home_domain: deployment.home_domain(),
            backend: effective(deployment.file().dns.backend, deployment.release()),
        }
    }

    /// The names of a deployment of which only what stands is known: its release, its namespace and its zone.
    ///
    /// ```
    /// use clearwater::component::{Component, Release};
    /// use clearwater::dns::Names;
    ///
    /// let names = Names::standing(Release::Classic, "ims", "ims.svc.cluster.local");
    /// assert_eq!(names.host(Component::Homestead), "hs.ims.svc.cluster.local");
    /// assert_eq!(names.host(Component::Homer), "homer.ims.svc.cluster.local");
    /// ```
    pub fn standing(release: Release, namespace: &str, zone: &str) -> Self {
        let domain = zone.strip_prefix(namespace).and_then(|rest| rest.strip_prefix(".svc."));
        Self {
            release,
            namespace: namespace.to_owned(),
            cluster_domain: domain.unwrap_or(CLUSTER_DOMAIN).to_owned(),
            zone: zone.to_owned(),
            home_domain: zone.to_owned(),
            backend: effective(DnsBackend::Auto, release),
        }
    }

    /// The host names that others ask for to reach a component: of classic's sprout those of its functions too, which its
    /// configuration names (see [`Names::cscf`]). None of etcd, which is asked by its bare name.
    pub fn asked_of(&self, component: Component) -> Vec<String> {
        if component == Component::Etcd {
            return Vec::new();
        }
        let mut names = vec![self.host(component)];
        if component == Component::Sprout {
            names.extend(Cscf::ALL.map(|cscf| self.cscf(cscf)));
            names.sort_unstable();
            names.dedup();
        }
        names
    }

    /// Those of [`Names::asked_of`] that Kubernetes answers by itself as soon as the Service stands: none of a sub-domain,
    /// and none in a zone of one's own.
    ///
    /// ```
    /// use clearwater::component::{Component, Release};
    /// use clearwater::dns::Names;
    ///
    /// let names = Names::standing(Release::Classic, "ims", "ims.svc.cluster.local");
    /// assert_eq!(names.given_by_kubernetes(Component::Sprout), ["sprout.ims.svc.cluster.local"]);
    /// let elsewhere = Names::standing(Release::Classic, "ims", "ims.example");
    /// assert!(elsewhere.given_by_kubernetes(Component::Sprout).is_empty());
    /// ```
    pub fn given_by_kubernetes(&self, component: Component) -> Vec<String> {
        let domain = self.service_domain();
        let is_service = |name: &String| {
            let label = name.strip_suffix(&domain).and_then(|rest| rest.strip_suffix('.'));
            label.is_some_and(|label| !label.is_empty() && !label.contains('.'))
        };
        let mut names = self.asked_of(component);
        names.retain(is_service);
        names
    }

    /// The zone: what the generator calls ZONE.
    pub fn zone(&self) -> &str {
        &self.zone
    }

    /// The SIP home domain.
    pub fn home_domain(&self) -> &str {
        &self.home_domain
    }

    /// The component's host name, fully qualified. etcd alone is asked by its bare name, through the search list
    /// (clearwater-infrastructure clearwater-auto-config-docker.init.d).
    pub fn host(&self, component: Component) -> String {
        match component {
            Component::Etcd => component.name().to_owned(),
            Component::Sprout => self.sprout(),
            Component::Homestead | Component::HomesteadProv if self.release == Release::Classic => {
                self.in_zone(HOMESTEAD_ALIAS)
            }
            other => self.in_zone(other.name()),
        }
    }

    /// Sprout's host name: below the zone, or below `clearwater.DOMAIN` where the etcd backend gives it.
    pub fn sprout(&self) -> String {
        if self.backend == DnsBackend::Etcd {
            format!("sprout.{}.clearwater.{}", self.namespace, self.cluster_domain)
        } else {
            self.in_zone(Component::Sprout.name())
        }
    }

    /// The host name of one of sprout's functions: sprout's own in hunter, a sub-domain of it in classic.
    ///
    /// Where the sub-domains come from pods' host names there are pods for the I-CSCF and the S-CSCF only, and the
    /// BGCF keeps sprout's own name.
    pub fn cscf(&self, cscf: Cscf) -> String {
        match (self.release, self.backend, cscf) {
            (Release::Classic, DnsBackend::Pods, Cscf::Bgcf) => self.sprout(),
            (Release::Classic, ..) => format!("{}.{}", cscf.label(), self.sprout()),
            _ => self.sprout(),
        }
    }

    /// The host name that Bono sends requests to: sprout's own in hunter, the S-CSCF's in classic
    /// (clearwater-infrastructure `debian/clearwater-auto-config-docker.init.d` and its history).
    pub fn upstream(&self) -> String {
        self.cscf(Cscf::Scscf)
    }

    /// How names that Kubernetes cannot give get into DNS; `Auto` where the release needs no such name.
    pub fn backend(&self) -> DnsBackend {
        self.backend
    }

    /// The names of the same deployment with another backend. Its configuration must be rendered with the same one.
    #[must_use]
    pub fn for_backend(&self, backend: DnsBackend) -> Self {
        Self { backend: effective(backend, self.release), ..self.clone() }
    }

    /// The domain that Kubernetes answers for: `NAMESPACE.svc.CLUSTERDOMAIN`.
    pub fn service_domain(&self) -> String {
        format!("{}.svc.{}", self.namespace, self.cluster_domain)
    }

    /// The name that Kubernetes gives a Service of the deployment.
    pub fn service(&self, service: &str) -> String {
        format!("{service}.{}", self.service_domain())
    }

    /// Whether Kubernetes answers names below the zone by itself.
    pub fn zone_is_kubernetes(&self) -> bool {
        self.zone == self.service_domain()
    }

    /// The name that restund asks for when a client wants a TURN relay: below the home domain, whatever the zone is
    /// (sprout `restund.root/usr/share/clearwater/infrastructure/scripts/restund`).
    pub(crate) fn turn_credentials(&self) -> String {
        format!("{HOMESTEAD_ALIAS}.{}", self.home_domain)
    }

    /// The component's host name with the port of its HTTP interface.
    pub(crate) fn host_and_port(&self, component: Component) -> String {
        let host = self.host(component);
        let http = http_port(self.release, component);
        http.map_or_else(|| host.clone(), |port| format!("{host}:{port}"))
    }

    /// The SIP URI of one of sprout's functions. It carries a port, because no cluster DNS publishes SRV records below
    /// a sub-domain by itself.
    pub(crate) fn cscf_uri(&self, cscf: Cscf) -> String {
        format!("sip:{}:{};transport=tcp", self.cscf(cscf), cscf.port())
    }

    /// The name of the HSS: a full name or an address as it is given, else a name in the zone.
    pub fn hss(&self, given: &str) -> String {
        if given.contains(['.', ':']) { given.to_owned() } else { self.in_zone(given) }
    }

    /// `LABEL.ZONE`.
    pub fn in_zone(&self, label: &str) -> String {
        if self.zone.is_empty() { label.to_owned() } else { format!("{label}.{}", self.zone) }
    }
}

/// The port of a component's HTTP interface. The classic release has the provisioning interface in homestead's container.
fn http_port(release: Release, component: Component) -> Option<u16> {
    let port = match entry(release, component) {
        Some(entry) => entry.port("http"),
        None if component == Component::HomesteadProv => entry(release, Component::Homestead)?.port("http-prov"),
        None => None,
    };
    port.map(|p| p.number)
}
