use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use super::DeploymentFile;
use crate::component::{Component, Entry, Release, catalogue, entry};

/// The domain that Kubernetes answers for where nothing else is said.
pub const CLUSTER_DOMAIN: &str = "cluster.local";

/// The Service whose one virtual address all of sprout's names lead to where they stand in etcd.
pub const SPROUT_ADDRESS: &str = "sprout-address";

/// A deployment file put on a namespace and checked as a whole: what every renderer takes.
#[derive(Clone, Debug, PartialEq)]
pub struct Deployment {
    file: DeploymentFile,
    namespace: String,
}

/// The keys that protect sign-up and Ellis.
#[derive(Clone, PartialEq, Eq)]
pub struct Keys {
    /// `signup_key`.
    pub signup_key: String,
    /// `turn_workaround`.
    pub turn_workaround: String,
    /// `ellis_api_key`.
    pub ellis_api_key: String,
    /// `ellis_cookie_key`.
    pub ellis_cookie_key: String,
}

impl Keys {
    /// Upstream's public defaults.
    pub fn upstream() -> Self {
        let secret = || "secret".to_owned();
        Self { signup_key: secret(), turn_workaround: secret(), ellis_api_key: secret(), ellis_cookie_key: secret() }
    }

    /// The keys by the names of their settings, in alphabetical order.
    pub fn settings(&self) -> BTreeMap<&'static str, &str> {
        BTreeMap::from([
            ("ellis_api_key", self.ellis_api_key.as_str()),
            ("ellis_cookie_key", self.ellis_cookie_key.as_str()),
            ("signup_key", self.signup_key.as_str()),
            ("turn_workaround", self.turn_workaround.as_str()),
        ])
    }

    /// The component that reads a key or a password, by the name of its setting: Ellis, but for the one that restund lets
    /// clients in with (sprout `restund.root/usr/share/clearwater/infrastructure/scripts/restund`; clearwater-readthedocs
    /// `docs/Clearwater_Configuration_Options_Reference.md`). In the configuration of others it keeps the image's value.
    pub fn reader(setting: &str) -> Component {
        if setting == "turn_workaround" { Component::Bono } else { Component::Ellis }
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keys(…)")
    }
}

impl Deployment {
    pub(crate) fn new_unchecked(file: DeploymentFile, namespace: String) -> Self {
        Self { file, namespace }
    }

    /// The file it was made from.
    pub fn file(&self) -> &DeploymentFile {
        &self.file
    }

    /// The namespace it is put on.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The release.
    pub fn release(&self) -> Release {
        self.file.release
    }

    /// The cluster's DNS domain, without a trailing dot.
    pub fn cluster_domain(&self) -> &str {
        self.file.cluster_domain.as_deref().unwrap_or(CLUSTER_DOMAIN)
    }

    /// `ZONE`: the file's zone, or `NAMESPACE.svc.CLUSTERDOMAIN`.
    pub fn zone(&self) -> String {
        self.file.zone.clone().unwrap_or_else(|| format!("{}.svc.{}", self.namespace, self.cluster_domain()))
    }

    /// The SIP home domain.
    pub fn home_domain(&self) -> String {
        self.file.home_domain.clone().unwrap_or_else(|| self.zone())
    }

    /// The components that this deployment runs, in listing order: the release's, less homestead-prov and ellis where
    /// an HSS provides the subscribers.
    pub fn components(&self) -> impl Iterator<Item = &'static Entry> + '_ {
        catalogue(self.release()).iter().filter(|e| self.has(e.component))
    }

    /// Whether this deployment runs the component.
    pub fn has(&self, component: Component) -> bool {
        let provisioning = matches!(component, Component::HomesteadProv | Component::Ellis);
        entry(self.release(), component).is_some() && !(provisioning && self.file.hss.is_some())
    }

    /// How many pods the component is created with.
    pub fn replicas(&self, component: Component) -> u32 {
        self.file.components.get(&component).and_then(|c| c.replicas).unwrap_or(1)
    }

    /// The virtual addresses of the component's Service, where the file gives them.
    pub fn cluster_ips(&self, component: Component) -> &[IpAddr] {
        self.file.cluster_ips.get(&component).map_or(&[], Vec::as_slice)
    }
}
