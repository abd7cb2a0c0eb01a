//! What a CoreDNS says of its own configuration in its metrics.

/// What CoreDNS' `reload` plugin counts (coredns `plugin/reload/metrics.go`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reloads {
    /// The hash of the configuration that was read last, also where it could not be used.
    pub(crate) version: Option<String>,
    /// How many times a changed file could not be used.
    pub(crate) failed: u64,
}

impl Reloads {
    /// Reads the text format of Prometheus.
    pub(crate) fn parse(text: &str) -> Self {
        let mut seen = Self::default();
        for line in text.lines() {
            if let Some(labels) = line.strip_prefix("coredns_reload_version_info{") {
                let value = labels.split("value=\"").nth(1).and_then(|rest| rest.split('"').next());
                // A version that is no longer in force stays with the value 0 in some releases.
                if !line.trim_end().ends_with(" 0") {
                    seen.version = value.map(str::to_owned).or(seen.version);
                }
            } else if let Some(count) = line.strip_prefix("coredns_reload_failed_total ") {
                // A count is written as a float and is a small whole number.
                seen.failed = count.trim().split('.').next().and_then(|n| n.parse().ok()).unwrap_or(0);
            }
        }
        seen
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reload_plugins_metrics_are_read() {
        let text = "# HELP coredns_reload_failed_total Counter\n# TYPE coredns_reload_failed_total counter\n\
            coredns_reload_failed_total 2\ncoredns_reload_version_info{hash=\"sha512\",value=\"ab12\"} 1\nother 3\n";
        assert_eq!(Reloads::parse(text), Reloads { version: Some("ab12".into()), failed: 2 });
        assert_eq!(Reloads::parse(""), Reloads::default());
    }
}
