//! The Services by which the pods of a component are reached from outside, one for each.

use std::net::IpAddr;

use clearwater::event::Whose;
use clearwater::manifest::{self, Inputs, ItemOwner, Object};
use clearwater::remedy::{Advice, Remedied as _, Remedy};
use k8s_openapi::api::core::v1::Service;
use kube::{Api, ResourceExt};
use tokio::time::Instant;

use super::{Execution, Stop};
use crate::apply::{apply_now, refusal};
use crate::cluster::only;
use crate::observe::Observation;
use crate::owner;
use crate::scale::situation::{balancer_address, cluster_ips};
use crate::scale::target::ScaleTarget;

impl Execution {
    /// The Services that `count` members need, or, where their addresses are known, the table that gives each its own.
    fn rendered(&self, count: u32, addresses: Option<Vec<IpAddr>>) -> Result<Vec<Object>, Stop> {
        let component = self.target.component();
        let Some(deployment) = &self.context.deployment else {
            let reason = format!(
                "{component}: its pods have Services of their own, and only the deployment file says with which addresses"
            );
            return Err(Stop::Refused(Advice::new(reason, Remedy::NameFile)));
        };
        let table = addresses.is_some();
        let mut inputs = Inputs { bono_addresses: addresses.unwrap_or_default(), ..Inputs::default() };
        for workload in &self.target.subject.workloads {
            inputs.live_replicas.insert(workload.name.clone(), count);
        }
        inputs.cluster_ips = self.look(|seen, _| cluster_ips(&seen.snapshot));
        let manifest =
            if table { manifest::render(deployment, &inputs) } else { manifest::services(deployment, &inputs) };
        let manifest = manifest.map_err(|e| Stop::Refused(e.advice().after(&format!("{component}: "))))?;
        let kind = if table { "ConfigMap" } else { "Service" };
        let own = manifest.of(ItemOwner::Component(component)).map(|i| i.object.clone());
        Ok(own.filter(|o| o.kind() == kind).collect())
    }

    pub(super) async fn publish(&mut self, to: u32) -> Result<(), Stop> {
        for object in self.rendered(to, None)? {
            self.apply(&object).await?;
        }
        if self.target.reach.addresses > 0 {
            for object in self.rendered(to, Some(Vec::new()))? {
                self.apply(&object).await?;
            }
        }
        Ok(())
    }

    async fn apply(&mut self, object: &Object) -> Result<(), Stop> {
        apply_now(&self.context.cluster, object).await?;
        self.writes += 1;
        Ok(())
    }

    pub(super) async fn addresses(&mut self, from: u32, to: u32, deadline: Instant) -> Result<(), Stop> {
        let component = self.target.component();
        let given = move |seen: &Observation, _: &ScaleTarget| {
            let pods = (0..to).map(|ordinal| format!("{component}-{ordinal}"));
            Ok(pods.map(|pod| balancer_address(&seen.snapshot, &pod)).collect::<Option<Vec<IpAddr>>>())
        };
        let text = format!("waiting for the load balancers' addresses of {component}-{from} and later");
        let given = self.until(deadline, given, &text).await?;
        for object in self.rendered(to, Some(given))? {
            self.apply(&object).await?;
        }
        Ok(())
    }

    /// Removes the Services of pods by ordinal, from `from` up to and without `to`.
    pub(super) async fn withdraw(&mut self, from: u32, to: u32) -> Result<(), Stop> {
        let services: Api<Service> = self.context.cluster.api();
        for ordinal in from..to {
            let own = format!("{}-{ordinal}", self.target.name());
            let names: Vec<String> = self.look(|seen, _| {
                seen.snapshot
                    .services
                    .values()
                    .map(ResourceExt::name_any)
                    .filter(|n| *n == own || n.starts_with(&format!("{own}-")))
                    .collect()
            });
            for name in names {
                let broken = |error| Stop::from(refusal(&format!("service/{name}"), error));
                // Labels say nothing of whose it is, and the watch keeps no record of fields.
                let live = services.get_opt(&name).await.map_err(broken)?;
                let Some(live) = live.filter(|s| owner::whose(&s.metadata) == Whose::Ours) else { continue };
                match services.delete(&name, &only(live.metadata.uid)).await {
                    Ok(_) => self.writes += 1,
                    Err(kube::Error::Api(status)) if status.is_not_found() => {}
                    Err(error) => return Err(broken(error)),
                }
            }
        }
        Ok(())
    }
}
