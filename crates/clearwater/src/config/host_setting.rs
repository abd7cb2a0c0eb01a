//! The keys of `shared_config` whose values name hosts: one table for what is written, checked and asked for.

use crate::component::Component;

/// What a setting's value names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostSetting {
    /// A component that others look for, with or without a port.
    Component,
    /// The store of sessions and registrations; hunter alone has these keys.
    Store,
    /// A SIP URI of one of sprout's functions.
    Uri,
    /// A host that is no part of the deployment.
    Outside,
}

/// Every such key, in the order in which they are written.
const ALL: [(&str, HostSetting, Option<Component>); 16] = [
    ("sprout_hostname", HostSetting::Component, Some(Component::Sprout)),
    ("hs_hostname", HostSetting::Component, Some(Component::Homestead)),
    ("hs_provisioning_hostname", HostSetting::Component, Some(Component::HomesteadProv)),
    ("xdms_hostname", HostSetting::Component, Some(Component::Homer)),
    ("ralf_hostname", HostSetting::Component, Some(Component::Ralf)),
    ("chronos_hostname", HostSetting::Component, Some(Component::Chronos)),
    ("cassandra_hostname", HostSetting::Component, Some(Component::Cassandra)),
    ("sprout_registration_store", HostSetting::Store, Some(Component::Astaire)),
    ("homestead_impu_store", HostSetting::Store, Some(Component::Astaire)),
    ("ralf_session_store", HostSetting::Store, Some(Component::Astaire)),
    ("upstream_hostname", HostSetting::Component, Some(Component::Sprout)),
    ("scscf_uri", HostSetting::Uri, Some(Component::Sprout)),
    ("icscf_uri", HostSetting::Uri, Some(Component::Sprout)),
    ("bgcf_uri", HostSetting::Uri, Some(Component::Sprout)),
    ("hss_hostname", HostSetting::Outside, None),
    ("smtp_smarthost", HostSetting::Outside, None),
];

impl HostSetting {
    /// What a setting names; `None` for one that names no host.
    ///
    /// ```
    /// use clearwater::config::HostSetting;
    ///
    /// assert_eq!(HostSetting::of("scscf_uri"), Some(HostSetting::Uri));
    /// assert_eq!(HostSetting::of("log_level"), None);
    /// ```
    pub fn of(key: &str) -> Option<Self> {
        ALL.into_iter().find(|(known, ..)| *known == key).map(|(_, setting, _)| setting)
    }

    /// The keys of this kind, in the order in which they are written.
    pub fn keys(self) -> impl Iterator<Item = &'static str> {
        ALL.into_iter().filter(move |(_, setting, _)| *setting == self).map(|(key, ..)| key)
    }

    /// The component that a setting names; `None` for one that names no component.
    ///
    /// ```
    /// use clearwater::component::Component;
    /// use clearwater::config::HostSetting;
    ///
    /// assert_eq!(HostSetting::component("upstream_hostname"), Some(Component::Sprout));
    /// assert_eq!(HostSetting::component("hss_hostname"), None);
    /// ```
    pub fn component(key: &str) -> Option<Component> {
        ALL.into_iter().find(|(known, ..)| *known == key).and_then(|(.., component)| component)
    }
}
