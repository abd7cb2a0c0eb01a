//! What a CoreDNS says of its own configuration in its metrics.

/// What CoreDNS' `reload` plugin counts (coredns `plugin/reload/metrics.go`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reloads {
    /// The hash of the configuration that was read last, also where it could not be used. `None` until the file is read
    /// for the second time: a CoreDNS that has only been started says nothing.
    pub(crate) version: Option<String>,
    /// How many times a changed file could not be used.
    pub(crate) failed: u64,
}

impl Reloads {
    /// Reads the text format of Prometheus; `None` where the plugin counts nothing.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut seen = Self::default();
        let mut counts = false;
        for line in text.lines() {
            if let Some(labels) = line.strip_prefix("coredns_reload_version_info{") {
                let value = labels.split("value=\"").nth(1).and_then(|rest| rest.split('"').next());
                // A version that is no longer in force stays with the value 0 in some releases.
                if !line.trim_end().ends_with(" 0") {
                    seen.version = value.map(str::to_owned).or(seen.version);
                }
            } else if let Some(count) = line.strip_prefix("coredns_reload_failed_total ") {
                // A count is written as a float and is a small whole number.
                counts = true;
                seen.failed = count.trim().split('.').next().and_then(|n| n.parse().ok()).unwrap_or(0);
            }
        }
        (counts || seen.version.is_some()).then_some(seen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reload_plugins_metrics_are_read() {
        let text = "# HELP coredns_reload_failed_total Counter\n# TYPE coredns_reload_failed_total counter\n\
            coredns_reload_failed_total 2\ncoredns_reload_version_info{hash=\"sha512\",value=\"ab12\"} 1\nother 3\n";
        assert_eq!(Reloads::parse(text), Some(Reloads { version: Some("ab12".into()), failed: 2 }));
        let fresh = "coredns_hosts_reload_timestamp_seconds 0\ncoredns_reload_failed_total 0\n";
        assert_eq!(Reloads::parse(fresh), Some(Reloads::default()));
        assert_eq!(Reloads::parse("coredns_build_info 1\n"), None);
    }
}
