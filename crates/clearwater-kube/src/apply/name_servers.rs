//! How many name servers the pods will get. Of several chronos reads none (see `Asks::OneNameServer`), so that its pods
//! are given one where there are more.

use std::net::IpAddr;

use clearwater::event::{CheckId, CheckLine, CheckStatus};
use clearwater::remedy::Remedy;
use k8s_openapi::api::core::v1::PodSpec;
use kube::Client;

use crate::apply::checks::{line, with_fix};
use crate::observe::kubelets;
use crate::observe::unasked::Unasked;

/// The name servers that pods get from their kubelet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NameServers {
    /// As kubelets say.
    Known(Vec<IpAddr>),
    /// Nobody could be asked, and why.
    Unknown(Unasked),
}

impl Default for NameServers {
    fn default() -> Self {
        Self::Unknown(Unasked::left_out("not asked"))
    }
}

impl NameServers {
    /// Asks a few kubelets for their configuration.
    pub(crate) async fn look(client: &Client) -> Self {
        Self::together(kubelets::cluster_dns(client).await)
    }

    /// One node with several is enough: a pod may land there.
    fn together(answers: Vec<Result<Vec<IpAddr>, Unasked>>) -> Self {
        match answers.into_iter().max_by_key(|one| one.as_ref().map_or(0, Vec::len)) {
            Some(Ok(servers)) => Self::Known(servers),
            Some(Err(why)) => Self::Unknown(why),
            None => Self::Unknown(Unasked::left_out("there is no node to ask")),
        }
    }

    /// The one name server to give chronos' pods. Where nobody may be asked it stays as it is with what stands, so that
    /// another user's run does not take it away.
    pub(crate) fn for_chronos(&self, standing: Option<&PodSpec>) -> Option<IpAddr> {
        match self {
            Self::Known(servers) => servers.first().filter(|_| servers.len() > 1).copied(),
            Self::Unknown(_) => {
                let spec = standing.filter(|s| s.dns_policy.as_deref() == Some("None"))?;
                let servers = spec.dns_config.as_ref()?.nameservers.as_ref()?;
                servers.first().filter(|_| servers.len() == 1)?.parse().ok()
            }
        }
    }

    /// The line of the preflight.
    pub(crate) fn line(&self, given: Option<IpAddr>) -> CheckLine {
        let title = "name servers of the pods";
        let of = |status, detail: String| line(CheckId::NameServers, title, status, detail);
        match (self, given) {
            (Self::Known(servers), None) => {
                of(CheckStatus::Ok, servers.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))
            }
            (Self::Known(servers), Some(given)) => of(
                CheckStatus::Ok,
                format!("{}, of which chronos could read none: its pods get {given} alone", servers.len()),
            ),
            (Self::Unknown(unasked), Some(given)) => {
                of(unasked.status(), format!("{}; chronos' pods keep {given} alone", unasked.why()))
            }
            (Self::Unknown(unasked), None) => with_fix(
                of(unasked.status(), unasked.why().to_owned()),
                Remedy::BringUp.after(
                    "of several chronos reads none: where the kubelets' clusterDNS has more than one address, have somebody \
                     who may get nodes/proxy do this once: ",
                ),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::PodDNSConfig;
    use serde_json::json;

    use super::*;

    fn said(servers: &[&str]) -> Result<Vec<IpAddr>, Unasked> {
        kubelets::read(&json!({"kubeletconfig": {"clusterDNS": servers, "clusterDomain": "cluster.local"}}))
    }

    fn known(servers: &[&str]) -> NameServers {
        NameServers::together(vec![said(servers)])
    }

    fn standing(policy: &str, servers: &[&str]) -> PodSpec {
        PodSpec {
            dns_policy: Some(policy.to_owned()),
            dns_config: Some(PodDNSConfig {
                nameservers: Some(servers.iter().map(ToString::to_string).collect()),
                ..PodDNSConfig::default()
            }),
            ..PodSpec::default()
        }
    }

    #[test]
    fn several_are_cut_to_the_first() {
        let ip = |text: &str| Some(text.parse::<IpAddr>().unwrap());
        assert_eq!(known(&["10.96.0.10"]).for_chronos(None), None);
        assert_eq!(known(&["10.96.0.10", "fd00::a"]).for_chronos(None), ip("10.96.0.10"));
        let mixed =
            NameServers::together(vec![Err(Unasked::left_out("not asked")), said(&["::1"]), said(&["::2", "::3"])]);
        assert_eq!(mixed.for_chronos(None), ip("::2"));
        // What was given once and is no longer needed goes.
        assert_eq!(known(&["10.96.0.10"]).for_chronos(Some(&standing("None", &["10.96.0.10"]))), None);
    }

    #[test]
    fn what_cannot_be_known_is_left_as_it_stands() {
        for unknown in [
            known(&[]),
            known(&["dns"]),
            NameServers::together(vec![kubelets::read(&json!({"kubeletconfig": {}}))]),
            NameServers::together(vec![]),
        ] {
            assert_eq!(unknown.for_chronos(None), None);
            assert_eq!(unknown.for_chronos(Some(&standing("ClusterFirst", &["::1"]))), None);
            assert_eq!(unknown.for_chronos(Some(&standing("None", &["::1", "::2"]))), None);
            assert_eq!(unknown.for_chronos(Some(&standing("None", &["::1"]))), "::1".parse().ok());
            assert_eq!(unknown.line(None).status, CheckStatus::Skipped);
        }
        // What is no kubelet's answer tells nothing.
        let untold = NameServers::together(vec![kubelets::read(&json!({}))]);
        assert_eq!(untold.line(None).status, CheckStatus::Unseen);
    }

    #[test]
    fn the_line_names_what_chronos_gets() {
        let several = known(&["10.96.0.10", "10.96.0.11"]);
        let line = several.line(several.for_chronos(None));
        assert_eq!(line.status, CheckStatus::Ok);
        assert_eq!(line.detail, "2, of which chronos could read none: its pods get 10.96.0.10 alone");
    }
}
