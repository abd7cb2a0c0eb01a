//! Names by an EndpointSlice of our own: for sprout's pods that may not be rendered anew with host names.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use clearwater::component::Component;
use clearwater::config::DnsBackend;
use clearwater::dns::answer::{Expectation, Wanted};
use clearwater::dns::{RecordData, SubDomain, sub_domains};
use clearwater::event::DnsStep;
use clearwater::manifest::{MANAGED_BY, MANAGED_BY_LABEL};
use clearwater::remedy::{Advice, NamesDeed, Remedied as _, Remedy};
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::Api;
use kube::api::{DeleteParams, PostParams, Preconditions};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::names::{OwnPod, from_inside, pods_of, prove_within};
use super::transaction::{Target, Unanswered, transact};
use super::{ClusterDnsError, DnsAction, DnsEdit, DnsError, DnsOptions, DnsPlan, Proof, tell, unless_cancelled};
use crate::backoff::{before, unless_lasting};
use crate::cluster::{Cluster, FIELD_MANAGER};
use crate::observe::cluster_dns::{ClusterDns, within};
use crate::observe::snapshot::{SLICE_SERVICE_LABEL, SLICE_WRITER_LABEL};
use crate::pod::dns::pauses;
use crate::rights::{Scope, Task, missing};
use crate::unified::unified;

/// The EndpointSlice.
pub(super) const NAME: &str = "clearwater-sprout-names";
/// An answer that a name is missing is kept so long by CoreDNS, at most (30 s by default), and by what stands before it.
const PATIENCE: Duration = Duration::from_secs(75);

/// A change of the EndpointSlice.
#[derive(Clone, Debug)]
pub(crate) struct SliceEdit {
    pub(super) before: Option<EndpointSlice>,
    pub(super) after: Option<EndpointSlice>,
}

impl SliceEdit {
    pub(crate) fn is_change(&self) -> bool {
        bare(self.before.as_ref()) != bare(self.after.as_ref())
    }

    fn diff(&self) -> String {
        if !self.is_change() {
            return String::new();
        }
        let text = |slice: Option<&EndpointSlice>| {
            bare(slice).map(|s| clearwater::yaml::write_one(&s).unwrap_or_default()).unwrap_or_default()
        };
        let (old, new) = (text(self.before.as_ref()), text(self.after.as_ref()));
        let names = [format!("endpointslice/{NAME} (live)"), format!("endpointslice/{NAME} (after)")];
        unified(&old, &new, 2, [&names[0], &names[1]])
    }
}

/// The slice without what only the API server writes.
fn bare(slice: Option<&EndpointSlice>) -> Option<EndpointSlice> {
    slice.map(|s| EndpointSlice {
        metadata: ObjectMeta {
            name: s.metadata.name.clone(),
            labels: s.metadata.labels.clone(),
            ..ObjectMeta::default()
        },
        // A port without a name has an empty one as soon as it stands.
        ports: s.ports.as_ref().map(|ports| {
            let named = |p: &EndpointPort| EndpointPort { name: p.name.clone().or(Some(String::new())), ..p.clone() };
            ports.iter().map(named).collect()
        }),
        ..s.clone()
    })
}

/// The slice that gives every ready pod of sprout each of the names.
#[allow(clippy::useless_conversion, reason = "some versions of Kubernetes' types may leave the endpoints out")]
fn slice(subs: &[SubDomain], pods: &[IpAddr], service: &Service) -> EndpointSlice {
    let ports = service.spec.iter().flat_map(|s| s.ports.iter().flatten());
    let ports = ports.map(|p| EndpointPort {
        name: p.name.clone(),
        port: match &p.target_port {
            Some(IntOrString::Int(port)) => Some(*port),
            _ => Some(p.port),
        },
        protocol: p.protocol.clone().or_else(|| Some("TCP".to_owned())),
        app_protocol: None,
    });
    let endpoints = subs.iter().flat_map(|sub| {
        pods.iter().map(|ip| Endpoint {
            addresses: vec![ip.to_string()],
            hostname: Some(sub.label.to_owned()),
            conditions: Some(EndpointConditions { ready: Some(true), ..EndpointConditions::default() }),
            ..Endpoint::default()
        })
    });
    let v6 = pods.iter().any(IpAddr::is_ipv6);
    EndpointSlice {
        address_type: if v6 { "IPv6" } else { "IPv4" }.to_owned(),
        endpoints: endpoints.collect::<Vec<_>>().into(),
        metadata: ObjectMeta {
            name: Some(NAME.to_owned()),
            labels: Some(
                [
                    (SLICE_SERVICE_LABEL.to_owned(), Component::Sprout.name().to_owned()),
                    (SLICE_WRITER_LABEL.to_owned(), MANAGED_BY.to_owned()),
                    (MANAGED_BY_LABEL.to_owned(), MANAGED_BY.to_owned()),
                ]
                .into(),
            ),
            ..ObjectMeta::default()
        },
        ports: Some(ports.collect()),
    }
}

/// The addresses of the ready pods, of the family that the first of them has, in order.
fn addresses(pods: &[OwnPod]) -> Vec<IpAddr> {
    let all: BTreeSet<IpAddr> = pods.iter().filter(|p| p.ready).filter_map(|p| p.address).collect();
    let v6 = all.first().is_some_and(IpAddr::is_ipv6);
    all.into_iter().filter(|ip| ip.is_ipv6() == v6).collect()
}

pub(super) async fn plan(cluster: &Cluster, options: &DnsOptions, mut plan: DnsPlan) -> Result<DnsPlan, DnsError> {
    let deployment = &options.deployment;
    let unable = |message: String| DnsError::unable(DnsBackend::Endpoints, message);
    let unready = |message: String| DnsError::lacking(DnsBackend::Endpoints, message, "bring sprout up first");
    if options.clients {
        return Err(DnsError::backend(
            DnsBackend::Endpoints,
            "endpoints cannot be what SIP clients look for",
            NamesDeed::Choose(DnsBackend::Coredns),
        ));
    }
    let subs = sub_domains(deployment, DnsBackend::Endpoints)?;
    let before = standing(cluster).await?;
    let after = if options.action == DnsAction::Remove {
        let others = pods_of(cluster, Component::Sprout).await?.iter().any(|p| p.host_name.is_some());
        if !others {
            plan.questions = subs.iter().map(|s| expect(s, &[]).gone()).collect();
        }
        None
    } else {
        if subs.is_empty() {
            plan.notes.push(format!("the release {} asks for no such name", deployment.release()).into());
            return Ok(plan);
        }
        if !deployment.names().zone_is_kubernetes() {
            return Err(unable(format!(
                "endpoints get names below {} only, and the zone is {}",
                deployment.names().service_domain(),
                deployment.zone()
            )));
        }
        let service = within(
            &format!("service {}/sprout", cluster.namespace),
            &format!("get services in {}", cluster.namespace),
            cluster.api::<Service>().get_opt(Component::Sprout.name()),
        )
        .await?;
        let Some(service) = service else {
            return plan.lacking(options, unready(format!("there is no service {}/sprout", cluster.namespace)));
        };
        let pods = pods_of(cluster, Component::Sprout).await?;
        let ips = addresses(&pods);
        if ips.is_empty() {
            let none = unready("no pod of sprout is ready, and the names need their addresses".to_owned());
            return plan.lacking(options, none);
        }
        plan.questions = subs.iter().map(|s| expect(s, &ips)).collect();
        plan.notes.push(Advice::new(
            "the addresses are those of sprout's pods as they are now",
            Remedy::sentence([
                Remedy::Again,
                " when a pod was replaced (".into(),
                NamesDeed::Check { backend: Some(DnsBackend::Endpoints) }.into(),
                " to see whether one was)".into(),
            ]),
        ));
        Some(slice(&subs, &ips, &service))
    };
    let edit = SliceEdit { before, after };
    if edit.is_change() && !options.look {
        let missing = missing(&cluster.client, &cluster.namespace, Task::DnsEndpoints, Scope::Namespace).await;
        if !missing.is_empty() {
            return Err(DnsError::right(
                named(cluster),
                format!("{} in namespace {}", missing.join(", "), cluster.namespace),
                "nothing was written. The ClusterRoles edit and admin do not hold it",
                Some(Remedy::any([
                    "ask for a Role that does",
                    "use `dns: {backend: pods}`, which needs no such right",
                ])),
            ));
        }
    }
    if edit.is_change() {
        plan.object = Some(format!("endpointslice/{NAME} in namespace {}", cluster.namespace));
        plan.wait = Some((
            PATIENCE,
            "DNS servers see it at once, and keep for up to 30 s that a name was missing if it was asked for"
                .to_owned(),
        ));
    }
    plan.diff = edit.diff();
    plan.means.work = DnsEdit::Slices(Box::new(edit));
    plan.means.cluster_dns = ClusterDns::look(&cluster.client)
        .await
        .map_err(|e| plan.notes.push(e.advice().after("the DNS servers themselves cannot be asked: ")))
        .ok();
    Ok(plan)
}

/// Whether a slice of ours gives the names; not knowing counts as yes.
pub(super) async fn stands(cluster: &Cluster) -> bool {
    standing(cluster).await.map_or(true, |slice| slice.is_some())
}

fn expect(sub: &SubDomain, ips: &[IpAddr]) -> Expectation {
    let data: BTreeSet<RecordData> = ips.iter().map(|ip| (*ip).into()).collect();
    let record_type = data.first().map_or(clearwater::dns::RecordType::A, RecordData::record_type);
    Expectation { name: sub.name.clone(), record_type, wanted: Wanted::Data(data) }
}

/// The slice that stands.
async fn standing(cluster: &Cluster) -> Result<Option<EndpointSlice>, DnsError> {
    let right = format!("get endpointslices.discovery.k8s.io in {}", cluster.namespace);
    Ok(within(&named(cluster), &right, cluster.api::<EndpointSlice>().get_opt(NAME)).await?)
}

fn named(cluster: &Cluster) -> String {
    format!("endpointslice {}/{NAME}", cluster.namespace)
}

fn moved(cluster: &Cluster) -> DnsError {
    DnsError::Moved { object: named(cluster), by: "somebody".to_owned() }
}

/// Makes the slice what `to` says, where it is what `from` says.
async fn write(cluster: &Cluster, from: Option<&EndpointSlice>, to: Option<&EndpointSlice>) -> Result<(), DnsError> {
    let api: Api<EndpointSlice> = cluster.api();
    let right = format!("create, update and delete endpointslices.discovery.k8s.io in {}", cluster.namespace);
    let params = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
    let version = from.and_then(|s| s.metadata.resource_version.clone());
    let request = async {
        let done = match (from, to) {
            (None, None) => Ok(()),
            (None, Some(to)) => api.create(&params, to).await.map(drop),
            (Some(_), Some(to)) => {
                let mut to = to.clone();
                to.metadata.resource_version = version;
                api.replace(NAME, &params, &to).await.map(drop)
            }
            (Some(_), None) => {
                let params = DeleteParams {
                    preconditions: Some(Preconditions { resource_version: version, uid: None }),
                    ..DeleteParams::default()
                };
                api.delete(NAME, &params).await.map(drop)
            }
        };
        match done {
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(Err(moved(cluster))),
            done => done.map(Ok),
        }
    };
    within(&named(cluster), &right, request).await?
}

/// A change of the slice.
pub(super) struct SliceChange<'a> {
    pub(super) cluster: &'a Cluster,
    pub(super) edit: &'a SliceEdit,
    pub(super) object: String,
}

impl Target for SliceChange<'_> {
    fn object(&self) -> &str {
        &self.object
    }

    /// What stood before is kept nowhere.
    fn by_hand(&self) -> Remedy {
        let (namespace, backend) = (self.cluster.namespace.clone(), Some(DnsBackend::Endpoints));
        NamesDeed::Remove { namespace, backend }.into()
    }

    async fn write(&self) -> Result<(), Unanswered> {
        Ok(write(self.cluster, self.edit.before.as_ref(), self.edit.after.as_ref()).await?)
    }

    async fn put_back(&self) -> Result<(), DnsError> {
        let now = standing(self.cluster).await?;
        let (now, before) = (now.as_ref(), self.edit.before.as_ref());
        if bare(now) == bare(before) {
            return Ok(());
        }
        // What somebody else wrote since is not written over.
        if bare(now) != bare(self.edit.after.as_ref()) {
            return Err(moved(self.cluster));
        }
        write(self.cluster, now, before).await
    }
}

pub(super) async fn carry_out(
    cluster: &Cluster,
    plan: &DnsPlan,
    edit: &SliceEdit,
    steps: &mpsc::UnboundedSender<DnsStep>,
    cancel: &CancellationToken,
) -> Result<Proof, DnsError> {
    let limit = plan.means.timeout.unwrap_or(PATIENCE);
    if !edit.is_change() {
        return proved(cluster, plan, steps, limit).await;
    }
    let object = plan.object.clone().unwrap_or_else(|| format!("endpointslice/{NAME}"));
    let proving = Box::pin(async {
        if let Some((most, because)) = &plan.wait {
            tell(steps, DnsStep::Waiting { at_most: super::millis(*most), because: because.clone() });
        }
        unless_cancelled(cancel, proved(cluster, plan, steps, limit)).await
    });
    transact(&SliceChange { cluster, edit, object }, steps, cancel, proving).await
}

/// Asks the DNS servers where that may be done, else from inside of the deployment.
async fn proved(
    cluster: &Cluster,
    plan: &DnsPlan,
    steps: &mpsc::UnboundedSender<DnsStep>,
    limit: Duration,
) -> Result<Proof, DnsError> {
    let mut proof = match prove_within(cluster, plan, steps, limit).await {
        Ok(proof) => proof,
        Err(DnsError::Cluster(ClusterDnsError::Right { right, .. })) => {
            let mut proof = Proof::default();
            proof.notes.push(format!("the DNS servers themselves were not asked: needs {right}").into());
            proof
        }
        Err(error) => return Err(error),
    };
    if proof.servers.is_empty() && !plan.questions.is_empty() {
        let mut pauses = before(tokio::time::Instant::now() + limit, pauses());
        loop {
            let mut tried = Proof::default();
            from_inside(cluster, plan, &mut tried).await;
            let problem = match tried.servers.first() {
                Some(server) => server.problems.first().cloned(),
                None => Some(tried.notes.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")),
            };
            let Some(problem) = problem else {
                proof.servers = tried.servers;
                proof.notes.extend(tried.notes);
                return Ok(proof);
            };
            unless_lasting(problem, |_| true, &mut pauses).await.map_err(DnsError::Failed)?;
        }
    }
    from_inside(cluster, plan, &mut proof).await;
    Ok(proof)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clearwater::config::DeploymentFile;
    use k8s_openapi::api::core::v1::{ServicePort, ServiceSpec};

    #[test]
    fn each_pod_gets_each_name() {
        let yaml = "apiVersion: clearwater/v1\nrelease: classic\nimages: {registry: r.example/cw, tag: '2016'}\ndns: {backend: endpoints}\n";
        let deployment = DeploymentFile::parse(yaml, "clearwater.yaml").unwrap().deploy("ims").unwrap();
        let subs = sub_domains(&deployment, DnsBackend::Endpoints).unwrap();
        let port = ServicePort { name: Some("5054".into()), port: 5054, ..ServicePort::default() };
        let service = Service {
            spec: Some(ServiceSpec { ports: Some(vec![port]), ..ServiceSpec::default() }),
            ..Service::default()
        };
        let slice = slice(&subs, &["10.0.0.2".parse().unwrap()], &service);
        insta::assert_snapshot!(clearwater::yaml::write_one(&slice).unwrap());
        assert!(!SliceEdit { before: Some(slice.clone()), after: Some(slice) }.is_change());
    }
}
