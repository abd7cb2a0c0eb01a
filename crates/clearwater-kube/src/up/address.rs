//! The addresses that load balancers give Bono, as its gate, and who may still be sent to one that goes. Pure.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use clearwater::component::Component;
use clearwater::config::{BonoExposure, Deployment};
use clearwater::event::{Change, FailureKind};
use clearwater::manifest::{Balance, Balanced, balance};
use clearwater::remedy::Remedy;
use clearwater::scale::STALE_DATAGRAMS;
use k8s_openapi::api::core::v1::{Event, Service};

use crate::judge::failure::Failure;
use crate::observe::snapshot::event_time;

/// How long a load balancer may say nothing at all. Clouds take one to three minutes.
pub(super) const PATIENCE: Duration = Duration::from_secs(300);

const FIX: &str = "set bono.addresses in the deployment file, one address for each pod, that lead to its Service";

/// How far the addresses are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Addresses {
    /// Every Bono's, by ordinal.
    Known(Vec<IpAddr>),
    /// Not yet, with the live cause.
    Awaited(String),
    /// They will not come.
    Failing(Failure),
}

/// Looks at the Services of all Bonos. `events` are those about these Services; `waited` is how long they have stood.
pub(super) fn addresses(
    balanced: &[Balanced],
    services: &BTreeMap<String, Service>,
    events: &[&Event],
    waited: Duration,
) -> Addresses {
    let failure = |service: &str, reason: &str, causes: Vec<String>, fix: Remedy| {
        Addresses::Failing(Failure {
            component: Component::Bono,
            kind: FailureKind::NoAddress,
            object: format!("service/{service}"),
            container: None,
            reason: reason.to_owned(),
            causes,
            fix,
        })
    };
    let mut known = Vec::new();
    let mut awaited: Vec<&str> = Vec::new();
    let all: Vec<Balance> = balanced.iter().map(|b| balance(b, services)).collect();
    for one in &all {
        match one {
            Balance::Known(address) => known.push(*address),
            Balance::Awaited { service } => awaited.push(service),
            Balance::NameOnly { service, host } => {
                let causes = vec![
                    format!("service/{service}: its load balancer gave the host name {host} and no address"),
                    "Bono writes its own address into SIP routes, and phones do not look names up there".to_owned(),
                ];
                return failure(service, "NoAddress", causes, FIX.into());
            }
            Balance::Differ { services } => {
                let seen: Vec<String> = services.iter().map(|(name, ip)| format!("{name} {ip}")).collect();
                let causes = vec![
                    format!("the Services of one Bono were given different addresses: {}", seen.join(", ")),
                    "Bono can tell subscribers only one".to_owned(),
                ];
                let fix = Remedy::any([
                    "write `service: combined`",
                    "let the load balancer share one address between both",
                    FIX,
                ]);
                return failure(services.first().map_or("bono", |(name, _)| name), "NoAddress", causes, fix);
            }
        }
    }
    let Some(first) = awaited.first() else { return Addresses::Known(known) };
    let told = events
        .iter()
        .filter(|e| e.type_.as_deref() == Some("Warning"))
        .max_by_key(|e| event_time(e))
        .and_then(|e| Some(format!(": {}", e.message.as_deref()?.trim())));
    let names: Vec<String> = awaited.iter().map(|s| format!("service/{s}")).collect();
    if waited >= PATIENCE {
        let causes = vec![
            format!("{}: no load balancer has given an address for {} s", names.join(", "), waited.as_secs()),
            told.map_or_else(
                || "no event tells why: does the cluster have a load balancer controller?".to_owned(),
                |t| t.trim_start_matches(": ").to_owned(),
            ),
        ];
        let fix = Remedy::any([
            "install a load balancer controller (MetalLB, the cloud's own)",
            "choose another bono.exposure",
            FIX,
        ]);
        return failure(first, "NoAddress", causes, fix);
    }
    Addresses::Awaited(format!(
        "{} has no address from a load balancer yet{}",
        names.join(", "),
        told.unwrap_or_default()
    ))
}

/// What is to be known where these changes replace a bono behind a Service of its own.
pub(super) fn stale_datagrams(deployment: &Deployment, changes: &[Change]) -> Option<&'static str> {
    let replaces = |c: &Change| c.component.as_deref() == Some(Component::Bono.name()) && c.restarts > 0;
    let is_behind_service = !matches!(deployment.file().bono.exposure, BonoExposure::Headless | BonoExposure::HostPort);
    (is_behind_service && changes.iter().any(replaces)).then_some(STALE_DATAGRAMS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clearwater::config::DeploymentFile;
    use clearwater::event::{Operation, Whose};
    use serde_json::{Value, json};

    fn look(ingress: &Value, events: &[&Event], waited: u64) -> Addresses {
        let service: Service = serde_json::from_value(
            json!({"metadata": {"name": "bono-0"}, "status": {"loadBalancer": {"ingress": ingress}}}),
        )
        .unwrap();
        let bono = [Balanced { pod: "bono-0".into(), services: vec!["bono-0".into()] }];
        addresses(&bono, &BTreeMap::from([("bono-0".to_owned(), service)]), events, Duration::from_secs(waited))
    }

    #[test]
    fn who_is_replaced_behind_a_service_may_still_be_sent_datagrams() {
        let change = |component: &str, restarts| Change {
            object: format!("statefulset/{component}"),
            component: Some(component.to_owned()),
            operation: Operation::Change,
            whose: Whose::Ours,
            diff: String::new(),
            restarts,
        };
        for (exposure, component, restarts, told) in [
            ("nodePort", "bono", 1, true),
            ("loadBalancer", "bono", 1, true),
            ("nodePort", "bono", 0, false),
            ("nodePort", "sprout", 1, false),
            ("hostPort", "bono", 1, false),
        ] {
            let text = format!("apiVersion: clearwater/v1\nbono: {{exposure: {exposure}}}\n");
            let deployment = DeploymentFile::parse(&text, "clearwater.yaml").unwrap().deploy("ims").unwrap();
            let said = stale_datagrams(&deployment, &[change(component, restarts)]);
            assert_eq!(
                said.is_some_and(|s| s.contains("conntrack -D -p udp")),
                told,
                "{exposure} {component} {restarts}"
            );
        }
    }

    #[test]
    fn an_address_opens_the_gate() {
        assert_eq!(
            look(&json!([{"ip": "198.51.100.9"}]), &[], 1),
            Addresses::Known(vec!["198.51.100.9".parse().unwrap()])
        );
    }

    #[test]
    fn a_host_name_fails_at_once_and_asks_for_addresses() {
        let Addresses::Failing(failure) = look(&json!([{"hostname": "lb.example.com"}]), &[], 0) else { panic!() };
        assert!(
            failure.fix.to_string().contains("bono.addresses") && failure.causes[0].contains("lb.example.com"),
            "{failure:?}"
        );
    }

    #[test]
    fn silence_is_borne_for_a_while_with_the_controllers_own_words() {
        let event: Event = serde_json::from_value(json!({"metadata": {"name": "e"}, "type": "Warning",
            "reason": "SyncLoadBalancerFailed", "message": "quota of addresses exceeded",
            "involvedObject": {"kind": "Service", "name": "bono-0"}}))
        .unwrap();
        let Addresses::Awaited(cause) = look(&json!([]), &[&event], 10) else { panic!() };
        assert!(cause.contains("service/bono-0") && cause.contains("quota of addresses"), "{cause}");
        let Addresses::Failing(failure) = look(&json!([]), &[&event], PATIENCE.as_secs()) else { panic!() };
        assert!(failure.causes[1].contains("quota of addresses"), "{failure:?}");
        assert!(matches!(look(&json!([]), &[], PATIENCE.as_secs() - 1), Addresses::Awaited(_)));
    }
}
