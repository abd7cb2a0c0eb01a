//! The keys of `shared_config` whose values name hosts: one table for what is written, checked and asked for.

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
const ALL: [(&str, HostSetting); 16] = [
    ("sprout_hostname", HostSetting::Component),
    ("hs_hostname", HostSetting::Component),
    ("hs_provisioning_hostname", HostSetting::Component),
    ("xdms_hostname", HostSetting::Component),
    ("ralf_hostname", HostSetting::Component),
    ("chronos_hostname", HostSetting::Component),
    ("cassandra_hostname", HostSetting::Component),
    ("sprout_registration_store", HostSetting::Store),
    ("homestead_impu_store", HostSetting::Store),
    ("ralf_session_store", HostSetting::Store),
    ("upstream_hostname", HostSetting::Component),
    ("scscf_uri", HostSetting::Uri),
    ("icscf_uri", HostSetting::Uri),
    ("bgcf_uri", HostSetting::Uri),
    ("hss_hostname", HostSetting::Outside),
    ("smtp_smarthost", HostSetting::Outside),
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
        ALL.into_iter().find(|(known, _)| *known == key).map(|(_, setting)| setting)
    }

    /// The keys of this kind, in the order in which they are written.
    pub fn keys(self) -> impl Iterator<Item = &'static str> {
        ALL.into_iter().filter(move |(_, setting)| *setting == self).map(|(key, _)| key)
    }
}
