use super::Names;
use crate::component::Release;
use crate::config::{Deployment, DnsBackend};

/// What is known of a cluster when a way into DNS is chosen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Whether sprout's pods carry the names of its functions; `None` where there are no pods yet, or they could not be
    /// seen.
    pub pods_carry_names: Option<bool>,
    /// Why nothing may be written into CoreDNS' file; `None` where it may.
    pub corefile_closed: Option<String>,
    /// Why no EndpointSlices may be written; `None` where they may.
    pub slices_closed: Option<String>,
}

/// A way into DNS, and why it is taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackendChoice {
    /// The backend; `Auto` where none is needed.
    pub backend: DnsBackend,
    /// Why.
    pub because: String,
}

/// Chooses the backend: the one that is asked for, else the deployment file's, else the one that needs least.
///
/// ```
/// # use clearwater::config::{DeploymentFile, DnsBackend};
/// use clearwater::dns::{Facts, choose};
///
/// let hunter = DeploymentFile::default().deploy("ims")?;
/// assert_eq!(choose(&hunter, None, &Facts::default()).backend, DnsBackend::Auto);
/// assert_eq!(choose(&hunter, Some(DnsBackend::Print), &Facts::default()).because, "it is asked for");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn choose(deployment: &Deployment, asked: Option<DnsBackend>, facts: &Facts) -> BackendChoice {
    let choice = |backend, because: String| BackendChoice { backend, because };
    if let Some(asked) = asked.filter(|b| *b != DnsBackend::Auto) {
        return choice(asked, "it is asked for".to_owned());
    }
    let written = deployment.file().dns.backend;
    if written != DnsBackend::Auto {
        return choice(written, "the deployment file says so".to_owned());
    }
    if deployment.release() != Release::Classic {
        return choice(
            DnsBackend::Auto,
            format!("the release {} asks for no name that Kubernetes cannot give", deployment.release()),
        );
    }
    let names: Names = deployment.names();
    if names.zone_is_kubernetes() && facts.pods_carry_names != Some(false) {
        let seen = match facts.pods_carry_names {
            Some(_) => "sprout's pods carry the names of its functions",
            None => "sprout's pods will carry the names of its functions",
        };
        return choice(DnsBackend::Pods, format!("{seen}, which cluster DNS then answers by itself"));
    }
    let unnamed = if names.zone_is_kubernetes() {
        "sprout's pods carry no names".to_owned()
    } else {
        format!("Kubernetes does not answer for the zone {}", names.zone())
    };
    match (&facts.corefile_closed, &facts.slices_closed) {
        (None, _) => choice(DnsBackend::Coredns, format!("{unnamed}, and CoreDNS' file may be edited")),
        (Some(why), None) if names.zone_is_kubernetes() => {
            choice(DnsBackend::Endpoints, format!("{unnamed}, and CoreDNS' file is closed: {why}"))
        }
        (Some(why), other) => {
            let other = other.as_ref().map_or_else(String::new, |o| format!("; EndpointSlices: {o}"));
            choice(DnsBackend::Print, format!("{unnamed}, and CoreDNS' file is closed: {why}{other}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::DeploymentFile;

    fn classic(more: &str) -> Deployment {
        let yaml = format!(
            "apiVersion: clearwater/v1\nrelease: classic\nimages: {{registry: r.example/cw, tag: '2016'}}\n{more}"
        );
        DeploymentFile::parse(&yaml, "clearwater.yaml").unwrap().deploy("ims").unwrap()
    }

    #[test]
    fn what_needs_least_is_chosen_and_says_why() {
        let closed = || Some("k3s would put it back".to_owned());
        let seen =
            |pods, corefile, slices| Facts { pods_carry_names: pods, corefile_closed: corefile, slices_closed: slices };
        let text = |d: &Deployment, facts: &Facts| {
            let choice = choose(d, None, facts);
            format!("{:?}: {}", choice.backend, choice.because)
        };
        let d = classic("");
        let lines = [
            text(&d, &seen(None, None, None)),
            text(&d, &seen(Some(true), None, None)),
            text(&d, &seen(Some(false), None, None)),
            text(&d, &seen(Some(false), closed(), None)),
            text(&d, &seen(Some(false), closed(), Some("needs create endpointslices".to_owned()))),
            text(&classic("zone: ims.example.com\n"), &seen(Some(true), closed(), None)),
            text(&classic("dns: {backend: etcd}\n"), &seen(Some(true), None, None)),
        ];
        insta::assert_snapshot!(lines.join("\n"), @r"
        Pods: sprout's pods will carry the names of its functions, which cluster DNS then answers by itself
        Pods: sprout's pods carry the names of its functions, which cluster DNS then answers by itself
        Coredns: sprout's pods carry no names, and CoreDNS' file may be edited
        Endpoints: sprout's pods carry no names, and CoreDNS' file is closed: k3s would put it back
        Print: sprout's pods carry no names, and CoreDNS' file is closed: k3s would put it back; EndpointSlices: needs create endpointslices
        Print: Kubernetes does not answer for the zone ims.example.com, and CoreDNS' file is closed: k3s would put it back
        Etcd: the deployment file says so
        ");
    }
}
