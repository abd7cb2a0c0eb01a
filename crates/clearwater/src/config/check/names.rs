//! Namespace, zone, home domain and HSS.

use std::net::IpAddr;
use std::str::FromStr;

use super::{Check, Fault, form, path};
use crate::component::{Component, Release};
use crate::config::problem::{KeyPath, Problem, ProblemKind};
use crate::config::{Deployment, DnsBackend};
use crate::dns::{Cscf, Name};

pub(super) fn check(check: &mut Check<'_>) {
    let file = check.file;
    if let Some(namespace) = &file.namespace {
        check.form(&path("namespace"), namespace, form::label);
    }
    let domains = [("clusterDomain", &file.cluster_domain), ("zone", &file.zone), ("homeDomain", &file.home_domain)];
    for (key, domain) in domains {
        if let Some(domain) = domain {
            check.form(&path(key), domain, form::domain);
        }
    }
    if let Some(hss) = &file.hss {
        if hss.hostname.parse::<IpAddr>().is_err() {
            check.form(&path("hss.hostname"), &hss.hostname, form::domain);
        }
        if let Some(realm) = &hss.realm {
            check.form(&path("hss.realm"), realm, form::domain);
        }
    }
    dns_backend(check);
}

fn dns_backend(check: &mut Check<'_>) {
    let file = check.file;
    let backend = path("dns.backend");
    let by_pods = matches!(file.dns.backend, DnsBackend::Pods | DnsBackend::Endpoints);
    if by_pods && file.release == Release::Hunter {
        check.refuse(
            &[backend, path("release")],
            "gives sub-domains of sprout, which hunter does not ask for: remove it, or write `backend: print` to have \
             the records for DNS elsewhere",
        );
    }
}

pub(super) fn check_namespace(check: &mut Check<'_>, deployment: &Deployment) {
    let file = check.file;
    if file.namespace.as_deref() != Some(deployment.namespace())
        && let Err(why) = form::label(deployment.namespace())
    {
        let message = format!("the namespace {:?} {why}", deployment.namespace());
        // It was written elsewhere: on the command line, in a kubeconfig, or in a program.
        let problem = Problem { kind: ProblemKind::WrongValue, place: None, key: KeyPath::default(), message };
        check.found.push(Fault { problem, about: Vec::new() });
        return;
    }
    let (zone, domain) = (deployment.zone(), deployment.cluster_domain().to_owned());
    if form::domain(&zone).is_err() || form::domain(&domain).is_err() {
        return;
    }
    let names = deployment.names();
    let mut hosts: Vec<(Component, String)> =
        deployment.components().map(|e| (e.component, names.host(e.component))).collect();
    hosts.extend(Cscf::ALL.map(|c| (Component::Sprout, names.cscf(c))));
    for (component, host) in &hosts {
        if let Err(e) = Name::from_str(host) {
            check.refuse(
                &[path("zone")],
                format!("the zone is too long: {component} would be called {host:?}, and {}; shorten it", e.why),
            );
            break;
        }
    }
    let home = deployment.home_domain();
    if let Some((component, _)) = hosts.iter().find(|(_, host)| *host == home) {
        check.refuse(
            &[path("homeDomain"), path("zone")],
            format!(
                "{home:?} is also the host name of {component}: sprout then takes what is meant for its own host for \
                 a subscriber of the domain; write a name that no component has, such as the zone {zone:?}"
            ),
        );
    }
    elsewhere(check, deployment, &zone, &domain);
}

/// A zone that is not the namespace's own is not answered by Kubernetes.
fn elsewhere(check: &mut Check<'_>, deployment: &Deployment, zone: &str, domain: &str) {
    let own = format!("{}.svc.{domain}", deployment.namespace());
    if zone == own {
        return;
    }
    let about = [path("zone"), path("dns.backend"), path("namespace"), path("clusterDomain")];
    let backend = check.file.dns.backend;
    let by_pods = matches!(backend, DnsBackend::Pods | DnsBackend::Endpoints)
        || (backend == DnsBackend::Auto && deployment.release() == Release::Classic);
    if by_pods && backend != DnsBackend::Auto {
        let message = format!(
            "the DNS backend chosen gives names below {own:?} only, not below {zone:?}: remove the zone, or write \
             `backend: coredns` or `backend: print`"
        );
        check.refuse(&about, message);
    } else if by_pods || backend == DnsBackend::Auto {
        let message = format!(
            "Kubernetes answers names below {own:?} and not below {zone:?}: the names must come from DNS elsewhere \
             (`dns: {{backend: print}}` prints them) or from `dns: {{backend: coredns}}`"
        );
        check.warn(&about, message);
    }
}
