//! What stands, what is wanted, and what would have to be done: everything before the first write.

mod workload;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use clearwater::component::Component;
use clearwater::config::{Deployment, KeyPolicy};
use clearwater::event::{Change, CheckLine, PlannedComponent, PlannedGate};
use clearwater::manifest::{
    self, Balance, HOLD, Inputs, Item, ItemOwner, KEYS_SECRET, ManifestError, PodSecurity, ServicesFirst, WorkloadKind,
    balance, held_by, provisional, services_first, workloads,
};
use clearwater::order::{Graph, NAMES, OrderError, Policy, StartPlan};
use clearwater::remedy::{Remedied, Remedy};
use futures::FutureExt;
use k8s_openapi::api::apps::v1::{Deployment as DeploymentObject, StatefulSet};
use k8s_openapi::api::core::v1::{ConfigMap, Secret, Service};
use k8s_openapi::api::storage::v1::StorageClass;
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use thiserror::Error;

use crate::apply::keys::random_keys;
use crate::apply::name_servers::NameServers;
use crate::apply::{self, ApplyError, Planned, PlannedPods, checks, storage_class};
use crate::cluster::{Cluster, FailedAt, NamespaceState, is_forbidden, list_all, visible};
use crate::observe::{Secrets, Subject, Workload};
use crate::rights::grant;
pub(crate) use workload::LiveWorkload;

/// Why nothing could be planned.
#[derive(Debug, Error)]
pub(crate) enum PrepareError {
    #[error(transparent)]
    Order(#[from] OrderError),
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    #[error("{source}")]
    Look { namespace: String, source: FailedAt },
    /// An object's plan could not be asked for.
    #[error(transparent)]
    Unseen(ApplyError),
    #[error("secret {KEYS_SECRET}: needs get secrets, because the keys are made once and kept there")]
    Keys { namespace: String },
    #[error("no random numbers for the keys: {0}")]
    Random(#[from] getrandom::Error),
}

impl PrepareError {
    /// Whether the user may not look at what stands.
    pub(crate) fn is_forbidden(&self) -> bool {
        matches!(self, Self::Look { source, .. } if is_forbidden(source.source.as_ref()))
    }
}

impl Remedied for PrepareError {
    fn remedy(&self) -> Option<Remedy> {
        match self {
            Self::Manifest(error) => error.remedy(),
            Self::Unseen(error) => error.remedy(),
            Self::Keys { namespace } => {
                Some(Remedy::any([grant(namespace), "write keys: {secret: NAME} into the deployment file".into()]))
            }
            Self::Look { namespace, .. } if self.is_forbidden() => Some(grant(namespace)),
            Self::Order(_) | Self::Look { .. } | Self::Random(_) => None,
        }
    }
}

/// What stands in the namespace, as far as planning needs it.
#[derive(Clone, Debug, Default)]
pub(crate) struct LiveState {
    pub(crate) namespace: Option<bool>,
    /// Whether the namespace is being removed.
    pub(crate) terminating: bool,
    pub(crate) deployments: BTreeMap<String, DeploymentObject>,
    pub(crate) stateful_sets: BTreeMap<String, StatefulSet>,
    pub(crate) services: BTreeMap<String, Service>,
    /// Whether the keys' Secret stands; `None` where it may not be read.
    pub(crate) keys: Option<bool>,
    /// The classes of storage that there are; `None` where they may not be seen.
    pub(crate) classes: Option<BTreeSet<String>>,
    /// The class that claims get which name none.
    pub(crate) default_class: Option<String>,
    /// Components that an earlier run holds, and until when, in seconds since 1970.
    pub(crate) held: BTreeMap<Component, i64>,
    pub(crate) name_servers: NameServers,
}

impl LiveState {
    /// Every workload that stands.
    pub(crate) fn workloads(&self) -> impl Iterator<Item = LiveWorkload<'_>> {
        let deployments = self.deployments.iter().map(|(name, o)| LiveWorkload::of_deployment(name, o));
        deployments.chain(self.stateful_sets.iter().map(|(name, o)| LiveWorkload::of_set(name, o)))
    }

    /// The one of a name, of whichever kind.
    pub(crate) fn named(&self, name: &str) -> Option<LiveWorkload<'_>> {
        self.workloads().find(|live| live.name == name)
    }

    /// One of them.
    pub(crate) fn workload(&self, workload: &Workload) -> Option<LiveWorkload<'_>> {
        self.workloads().find(|live| (live.kind, live.name) == (workload.kind, workload.name.as_str()))
    }

    pub(crate) async fn look(cluster: &Cluster) -> Result<Self, PrepareError> {
        let fail = |what| {
            let namespace = cluster.namespace.clone();
            move |error: kube::Error| PrepareError::Look { namespace, source: FailedAt::new(what, error) }
        };
        let all = ListParams::default();
        let (namespace, deployments, stateful_sets, services, keys, hold, classes, name_servers) = futures::join!(
            cluster.namespace_state(),
            async { list_all(&cluster.api::<DeploymentObject>(), &all).await.map_err(fail("listing deployments")) },
            async { list_all(&cluster.api::<StatefulSet>(), &all).await.map_err(fail("listing statefulsets")) },
            async { list_all(&cluster.api::<Service>(), &all).await.map_err(fail("listing services")) },
            async { cluster.api::<Secret>().get_opt(KEYS_SECRET).await },
            async { cluster.api::<ConfigMap>().get_opt(HOLD).await },
            async { list_all(&Api::<StorageClass>::all(cluster.client.clone()), &all).await },
            NameServers::look(&cluster.client).boxed(),
        );
        // Who may not read the namespace itself may still work in it.
        let namespace =
            namespace.map_err(|source| PrepareError::Look { namespace: cluster.namespace.clone(), source })?;
        // It matters only where the keys are kept there.
        let keys = visible(keys).map_err(fail("reading the keys' secret"))?.map(|found| found.is_some());
        let hold = visible(hold).map_err(fail("reading what is held"))?.flatten();
        // Whether there is a default one is then left to whoever makes the volume.
        let classes = visible(classes).map_err(fail("listing storageclasses"))?;
        let default_class = classes.as_deref().and_then(storage_class::default);
        Ok(Self {
            namespace: namespace.map(|state| state != NamespaceState::Absent),
            terminating: namespace == Some(NamespaceState::Terminating),
            deployments: deployments?.into_iter().map(|o| (o.name_any(), o)).collect(),
            stateful_sets: stateful_sets?.into_iter().map(|o| (o.name_any(), o)).collect(),
            services: services?.into_iter().map(|o| (o.name_any(), o)).collect(),
            keys,
            classes: classes.map(|all| all.iter().map(ResourceExt::name_any).collect()),
            default_class,
            held: hold.as_ref().map(held_by).unwrap_or_default(),
            name_servers,
        })
    }

    /// The one name server that chronos' pods are to have, where those of the cluster get several.
    pub(crate) fn chronos_name_server(&self) -> Option<IpAddr> {
        let chronos = Workload { kind: WorkloadKind::StatefulSet, name: Component::Chronos.name().to_owned() };
        self.name_servers.for_chronos(self.workload(&chronos).and_then(|live| live.pod()))
    }

    /// What rendering needs to know of the cluster.
    pub(crate) fn inputs(&self, deployment: &Deployment) -> Result<Inputs, PrepareError> {
        let mut inputs = Inputs {
            chronos_name_server: self.chronos_name_server(),
            default_storage_class: self.classes.as_ref().map(|_| self.default_class.is_some()),
            volumes: self.workloads().filter_map(|live| Some((live.name.parse().ok()?, live.has_volumes()))).collect(),
            ..Inputs::default()
        };
        for entry in deployment.components() {
            for workload in workloads(deployment, entry.component) {
                if let Some(live) = self.named(workload.name) {
                    inputs.live_replicas.insert(workload.name.to_owned(), live.count());
                }
            }
            let alias = deployment.sprout_alias().filter(|_| entry.component == Component::Sprout);
            let spec = self.services.get(alias.unwrap_or(entry.component.name())).and_then(|s| s.spec.as_ref());
            let addresses: Vec<IpAddr> =
                spec.iter().flat_map(|s| s.cluster_ips.iter().flatten()).filter_map(|ip| ip.parse().ok()).collect();
            if !addresses.is_empty() {
                inputs.cluster_ips.insert(entry.component, addresses);
            }
        }
        if deployment.file().keys == KeyPolicy::Random {
            match self.keys {
                Some(true) => {}
                Some(false) => inputs.keys = Some(random_keys()?),
                None => {
                    return Err(PrepareError::Keys { namespace: deployment.namespace().to_owned() });
                }
            }
        }
        Ok(inputs)
    }
}

/// One component of a run.
#[derive(Clone, Debug)]
pub(crate) struct ComponentPlan {
    pub(crate) subject: Subject,
    /// What starting and working need, whatever the policy gates by.
    pub(crate) needs: Vec<Component>,
}

/// The components of a run and their order.
#[derive(Clone, Debug)]
pub(crate) struct Scope {
    pub(crate) plan: StartPlan,
    pub(crate) parts: Vec<ComponentPlan>,
    /// Components of the release that are left out, each with why.
    pub(crate) left_out: Vec<(Component, String)>,
    graph: Graph,
}

impl Scope {
    pub(crate) fn of(
        deployment: &Deployment,
        policy: Policy,
        only: &[Component],
        skip: &[Component],
    ) -> Result<Self, OrderError> {
        let whole = Graph::of(deployment);
        let mut graph = whole.clone();
        let mut reasons: BTreeMap<String, String> = BTreeMap::new();
        if !only.is_empty() {
            graph = graph.only(only.iter().map(|c| c.name()))?.graph;
        }
        if !skip.is_empty() {
            let selection = graph.skip(skip.iter().map(|c| c.name()))?;
            if let Some(gone) = only.iter().find(|c| !selection.graph.contains(c.name())) {
                let along = selection.along.iter().find(|a| a.node == gone.name());
                let needs = along.map(|a| a.with.clone());
                return Err(OrderError::LeftOut { node: gone.name().to_owned(), needs });
            }
            for along in selection.along {
                reasons.insert(along.node.clone(), format!("{} is skipped, and it needs it", along.with));
            }
            graph = selection.graph;
        }
        let mut left_out: Vec<(Component, String)> = whole
            .nodes()
            .filter(|n| !graph.contains(n))
            .filter_map(|n| {
                let component = whole.component(n)?;
                let by_name =
                    if skip.contains(&component) { "to be left out" } else { "not among those that were named" };
                Some((component, reasons.get(n).cloned().unwrap_or_else(|| by_name.to_owned())))
            })
            .collect();
        for entry in clearwater::component::catalogue(deployment.release()) {
            if !deployment.has(entry.component) {
                left_out.push((entry.component, "an HSS provides the subscribers".to_owned()));
            }
        }
        let plan = graph.plan(policy)?;
        let names = deployment.names();
        let parts = deployment
            .components()
            .filter(|e| graph.contains(e.component.name()))
            .map(|entry| ComponentPlan {
                subject: Subject {
                    entry,
                    workloads: workloads(deployment, entry.component).iter().map(Workload::from).collect(),
                    service: Some(entry.component.name().to_owned()),
                    // Names in a zone of one's own, and of sprout's functions, are put into DNS after it stands.
                    names: names.given_by_kubernetes(entry.component),
                    // They are known when they are written.
                    settings: BTreeMap::new(),
                    secrets: Secrets::default(),
                },
                needs: graph
                    .edges()
                    .filter(|e| e.from == entry.component.name() && e.is_hard())
                    .filter_map(|e| graph.component(e.to))
                    .collect::<BTreeSet<_>>()
                    .into_iter()
                    .collect(),
            })
            .collect();
        Ok(Self { plan, parts, left_out, graph })
    }

    /// The components as the first event tells them; `names` says why Bono waits for names in DNS, where it does.
    pub(crate) fn planned(&self, names: Option<&str>) -> Vec<PlannedComponent> {
        self.parts
            .iter()
            .map(|part| {
                let name = part.subject.entry.component.name();
                let gates = self.plan.gates(name).map(|on| PlannedGate {
                    on: on.to_owned(),
                    because: self
                        .graph
                        .between(name, on)
                        .map(|e| if e.seen_when_missing.is_empty() { e.evidence } else { e.seen_when_missing })
                        .next()
                        .unwrap_or_default()
                        .to_owned(),
                });
                let names = names.filter(|_| part.subject.entry.component == Component::Bono);
                let names = names.map(|because| PlannedGate { on: NAMES.to_owned(), because: because.to_owned() });
                PlannedComponent { component: name.to_owned(), gates: gates.chain(names).collect() }
            })
            .collect()
    }

    pub(crate) fn has(&self, component: Component) -> bool {
        self.parts.iter().any(|p| p.subject.entry.component == component)
    }
}

/// What will be done, object by object.
#[derive(Clone, Debug, Default)]
pub(crate) struct ApplyPlan {
    /// Services that must stand before the rest can be rendered for good.
    pub(crate) first: Vec<Planned>,
    /// Why they must.
    pub(crate) services_first: ServicesFirst,
    /// What the rest is rendered with, as far as it is known.
    pub(crate) inputs: Inputs,
    /// What the namespace can enforce for all pods of the deployment, those that this run leaves out included.
    pub(crate) pod_security: PodSecurity,
    /// Objects of the deployment as a whole.
    pub(crate) shared: Vec<Planned>,
    /// The components of which nodes lack images.
    pub(crate) lacking: BTreeSet<Component>,
    /// Objects of each component.
    pub(crate) of: BTreeMap<Component, Vec<Planned>>,
}

impl ApplyPlan {
    /// Plans the objects of a scope. The second part are lines for objects that the API server would not take: these are in the
    /// plan where they are to be tried all the same.
    pub(crate) async fn plan(
        cluster: &Cluster,
        deployment: &Deployment,
        scope: &Scope,
        standing: &LiveState,
        force: bool,
        try_refused: bool,
    ) -> Result<(Self, Vec<CheckLine>), PrepareError> {
        let mut inputs = standing.inputs(deployment)?;
        let mut first = services_first(deployment, &inputs);
        let filled = provisional(&inputs, &first, &standing.services);
        if first.balanced.iter().all(|b| matches!(balance(b, &standing.services), Balance::Known(_))) {
            inputs.bono_addresses.clone_from(&filled.bono_addresses);
            first.balanced.clear();
        }
        let manifest = manifest::render(deployment, &filled)?;
        let is_first = |item: &Item| item.object.kind() == "Service" && first.names(item.object.name());
        let items: Vec<Item> = manifest
            .items()
            .iter()
            .filter(|i| match i.owner {
                ItemOwner::Shared => true,
                ItemOwner::Component(c) => scope.has(c) || is_first(i),
            })
            .cloned()
            .collect();
        let mut work = Self { inputs, pod_security: manifest.pod_security(), ..Self::default() };
        let mut refused = Vec::new();
        let stands = standing.namespace != Some(false) && !standing.terminating;
        for (item, planned) in items.iter().cloned().zip(apply::plan(cluster, &items, stands, force).await) {
            let planned = match planned {
                Ok(planned) => planned,
                Err(error) if error.is_unseen() => return Err(PrepareError::Unseen(error)),
                Err(error) => {
                    refused.push(error);
                    let Some(tried) = try_refused.then(|| apply::unproved(cluster, item)) else { continue };
                    tried.await.map_err(PrepareError::Unseen)?
                }
            };
            match planned.item.owner {
                _ if is_first(&planned.item) => work.first.push(planned),
                ItemOwner::Shared => work.shared.push(planned),
                ItemOwner::Component(c) => work.of.entry(c).or_default().push(planned),
            }
        }
        work.services_first = first;
        Ok((work, checks::refused(&refused)))
    }

    /// Takes the virtual addresses in that Services were given when they were made: what was planned with something in
    /// their place is planned anew.
    pub(crate) async fn settle(
        &mut self,
        cluster: &Cluster,
        deployment: &Deployment,
        given: BTreeMap<Component, Vec<IpAddr>>,
        force: bool,
    ) -> Result<(), ApplyError> {
        self.inputs.cluster_ips.extend(given);
        // Bonos behind load balancers still wait for theirs.
        let filled = provisional(
            &self.inputs,
            &ServicesFirst { balanced: self.services_first.balanced.clone(), ..ServicesFirst::default() },
            &BTreeMap::new(),
        );
        let manifest = manifest::render(deployment, &filled)?;
        for planned in self.shared.iter_mut().chain(self.of.values_mut().flatten()) {
            let wanted = manifest.items().iter().find(|i| {
                (i.object.kind(), i.object.name()) == (planned.item.object.kind(), planned.item.object.name())
            });
            if let Some(item) = wanted.filter(|i| i.object != planned.item.object) {
                *planned = planned.again(cluster, item.clone(), force).await?;
            }
        }
        Ok(())
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Planned> {
        self.first.iter().chain(&self.shared).chain(self.of.values().flatten())
    }

    /// The pods that are made, or made anew.
    pub(crate) fn pods(&self) -> impl Iterator<Item = PlannedPods<'_>> {
        self.all().filter_map(Planned::pods)
    }

    /// Every object with what will be done to it.
    pub(crate) fn changes(&self) -> Vec<Change> {
        self.all()
            .map(|planned| Change {
                object: planned.name(),
                component: match planned.item.owner {
                    ItemOwner::Shared => None,
                    ItemOwner::Component(c) => Some(c.name().to_owned()),
                },
                operation: planned.operation,
                whose: planned.whose,
                diff: planned.diff.clone(),
                restarts: planned.replaced.at_once,
            })
            .collect()
    }
}

/// Plans the objects of a component whose addresses are known only now.
pub(crate) async fn plan_late(
    cluster: &Cluster,
    deployment: &Deployment,
    inputs: &Inputs,
    component: Component,
    force: bool,
) -> Result<Vec<Planned>, ApplyError> {
    let manifest = manifest::render(deployment, inputs)?;
    let items: Vec<Item> = manifest.of(ItemOwner::Component(component)).cloned().collect();
    apply::plan(cluster, &items, true, force).await.into_iter().collect()
}

#[cfg(test)]
mod tests;
