//! The deployment's side of its names: pods, their addresses, and what they get to hear when they ask.

use std::net::IpAddr;
use std::time::Duration;

use clearwater::component::{Component, entry};
use clearwater::config::{Deployment, SPROUT_ADDRESS, ServiceKind};
use clearwater::dns::answer::{Expectation, Wanted};
use clearwater::dns::{Cscf, RecordType, Targets};
use clearwater::event::DnsStep;
use clearwater::manifest::SERVICE_LABEL;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt;
use kube::api::ListParams;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::{Answered, DnsError, DnsPlan, Proof, ServerProof, count, tell};
use crate::backoff::pause;
use crate::cluster::{Cluster, list_all};
use crate::observe::cluster_dns::within;
use crate::observe::unasked::Unasked;
use crate::pod::dns::{Server, ask_from, pauses};
use crate::pod::object::own_container;
use crate::pod::object::pod_is_ready;
use crate::pod::{AskError, OPEN, Script, Shell};

/// What stood for a while is answered within this.
pub(crate) const SOON: Duration = Duration::from_secs(10);

/// A pod of the deployment.
#[derive(Clone, Debug)]
pub(crate) struct OwnPod {
    pub(crate) name: String,
    pub(crate) container: String,
    pub(crate) host_name: Option<String>,
    pub(crate) address: Option<IpAddr>,
    pub(crate) ready: bool,
}

/// The pods of a component, those on their way out left out.
pub(crate) async fn pods_of(cluster: &Cluster, component: Component) -> Result<Vec<OwnPod>, DnsError> {
    let params = ListParams::default().labels(&format!("{SERVICE_LABEL}={component}"));
    let what = format!("the pods of {component} in namespace {}", cluster.namespace);
    let right = format!("list pods in {}", cluster.namespace);
    let all = within(&what, &right, list_all(&cluster.api::<Pod>(), &params)).await?;
    let pods = all.iter().filter(|p| p.metadata.deletion_timestamp.is_none());
    Ok(pods.filter_map(|p| own_pod(p, component)).collect())
}

fn own_pod(pod: &Pod, component: Component) -> Option<OwnPod> {
    let spec = pod.spec.as_ref()?;
    let own = own_container(spec, component)?;
    Some(OwnPod {
        name: pod.name_any(),
        container: own.name.clone(),
        host_name: spec.hostname.clone().filter(|_| spec.subdomain.is_some()),
        address: pod.status.as_ref().and_then(|s| s.pod_ip.as_ref()).and_then(|ip| ip.parse().ok()),
        ready: pod_is_ready(pod),
    })
}

/// The virtual address that all of sprout's names can lead to; none where no Service has one.
pub(super) async fn sprout_address(cluster: &Cluster) -> Result<Vec<IpAddr>, DnsError> {
    let own = virtual_addresses(cluster, SPROUT_ADDRESS).await?;
    if own.is_empty() { virtual_addresses(cluster, Component::Sprout.name()).await } else { Ok(own) }
}

/// Where the deployment's components are reached: at their pods, or at their Services' virtual addresses.
pub(crate) async fn targets(cluster: &Cluster, deployment: &Deployment) -> Result<Targets, DnsError> {
    let mut targets = Targets::default();
    for entry in deployment.components() {
        let component = entry.component;
        let addresses: Vec<IpAddr> = if deployment.file().services == ServiceKind::ClusterIp {
            virtual_addresses(cluster, component.name()).await?
        } else {
            let pods = pods_of(cluster, component).await?;
            if component == Component::Sprout {
                for cscf in Cscf::ALL {
                    let own = pods.iter().filter(|p| p.ready && p.host_name.as_deref() == Some(cscf.label()));
                    let own: Vec<IpAddr> = own.filter_map(|p| p.address).collect();
                    if !own.is_empty() {
                        targets = targets.with_cscf(cscf, own);
                    }
                }
            }
            pods.iter().filter(|p| p.ready).filter_map(|p| p.address).collect()
        };
        targets = targets.with(component, addresses);
    }
    Ok(targets)
}

/// The virtual addresses of a Service; none where it has none or is not there.
pub(crate) async fn virtual_addresses(cluster: &Cluster, service: &str) -> Result<Vec<IpAddr>, DnsError> {
    let what = format!("service {}/{service}", cluster.namespace);
    let right = format!("get services in {}", cluster.namespace);
    let found = within(&what, &right, cluster.api::<Service>().get_opt(service)).await?;
    let ips = found.and_then(|s| s.spec).and_then(|s| s.cluster_ips).unwrap_or_default();
    Ok(ips.iter().filter_map(|ip| ip.parse().ok()).collect())
}

/// When an object was last written, as its managed fields tell.
pub(crate) fn last_written(metadata: &ObjectMeta) -> Option<Timestamp> {
    metadata.managed_fields.iter().flatten().filter_map(|m| m.time.as_ref().map(|t| t.0)).max()
}

/// Asks one server everything, once. The answers come with what is wrong with them.
pub(crate) async fn ask_all(
    server: &mut Server,
    questions: &[Expectation],
) -> Result<(Vec<Answered>, Vec<String>), AskError> {
    let (mut answers, mut problems) = (Vec::new(), Vec::new());
    for question in questions {
        let other = match &question.wanted {
            Wanted::SameAs(target) => Some(server.ask(target, question.record_type).await?),
            _ => None,
        };
        let answer = server.ask(&question.name, question.record_type).await?;
        problems.extend(question.judge(&answer, other.as_ref()).err());
        answers.push(Answered::to(question, &answer));
    }
    Ok((answers, problems))
}

/// Asks every DNS pod, and from inside of the deployment, without writing anything.
pub(crate) async fn prove(
    cluster: &Cluster,
    plan: &DnsPlan,
    steps: &mpsc::UnboundedSender<DnsStep>,
) -> Result<Proof, DnsError> {
    if plan.means.patience > SOON {
        let because = "what was written a moment ago may not have come to all servers yet".to_owned();
        tell(steps, DnsStep::Waiting { at_most: super::millis(plan.means.patience), because });
    }
    let mut proof = prove_within(cluster, plan, steps, plan.means.patience).await?;
    if !plan.questions.is_empty() {
        from_inside(cluster, plan, &mut proof).await;
    }
    Ok(proof)
}

/// Asks every DNS pod until all answer as they must, or the time is up.
pub(crate) async fn prove_within(
    cluster: &Cluster,
    plan: &DnsPlan,
    steps: &mpsc::UnboundedSender<DnsStep>,
    limit: Duration,
) -> Result<Proof, DnsError> {
    let proof = Proof { servers: ask_servers(cluster, plan, limit).await?, ..Proof::default() };
    for server in &proof.servers {
        if let Some(problem) = server.problems.first() {
            return Err(DnsError::Failed(format!("DNS pod {}: {problem}", server.server)));
        }
        let (pod, after) = (server.server.clone(), server.verified.unwrap_or_default());
        tell(steps, DnsStep::Verified { pod, questions: count(server.answers.len()), after });
    }
    Ok(proof)
}

/// Asks every DNS pod, again and again until the time is up where an answer is not as it must be.
pub(crate) async fn ask_servers(
    cluster: &Cluster,
    plan: &DnsPlan,
    limit: Duration,
) -> Result<Vec<ServerProof>, DnsError> {
    let Some(cluster_dns) = plan.means.cluster_dns.as_ref().filter(|_| !plan.questions.is_empty()) else {
        return Ok(Vec::new());
    };
    let pods = cluster_dns.pods_now(&cluster.client).await?;
    let api = cluster_dns.api(&cluster.client);
    let until = Instant::now() + limit;
    let asked = pods.iter().filter(|p| p.ready).map(|pod| {
        let api = api.clone();
        async move {
            let began = Instant::now();
            let mut server = Server::new(api, &pod.name, cluster_dns.port);
            let mut pauses = pauses();
            let (answers, problems) = loop {
                let (answers, problems) = match ask_all(&mut server, &plan.questions).await {
                    Ok(asked) => asked,
                    Err(AskError::Forbidden { right }) => {
                        return Err(DnsError::right(
                            format!("asking DNS pod {}", pod.name),
                            format!("{right} in {}", cluster_dns.namespace),
                            "they cannot be asked without it",
                            Some("ask whoever keeps the cluster's DNS".into()),
                        ));
                    }
                    Err(error) => (Vec::new(), vec![error.to_string()]),
                };
                if problems.is_empty() || Instant::now() >= until {
                    break (answers, problems);
                }
                // Endpoints that are new take a moment to be known.
                pause(&mut pauses).await;
            };
            let verified = problems.is_empty().then(|| super::millis(began.elapsed()));
            Ok(ServerProof {
                server: pod.name.clone(),
                by: by(cluster_dns.port),
                reloaded: None,
                verified,
                answers,
                problems,
            })
        }
    });
    futures::future::try_join_all(asked).await
}

/// How a DNS pod is asked.
pub(crate) fn by(port: u16) -> String {
    format!("TCP, forwarded to its port {port}")
}

/// A shell in a pod that asks as the deployment's programs do, and the name servers that its resolver has.
pub(crate) struct Inside {
    pub(crate) pod: String,
    pub(crate) component: Component,
    pub(crate) shell: Shell,
    pub(crate) servers: Vec<IpAddr>,
}

impl Inside {
    /// Opens one in a ready pod of the component.
    pub(crate) async fn open(
        cluster: &Cluster,
        deployment: &Deployment,
        component: Component,
    ) -> Result<Self, Unasked> {
        if entry(deployment.release(), component).is_none() {
            return Err(Unasked::LeftOut(format!("{component} is no part of the release")));
        }
        let pods = pods_of(cluster, component).await.map_err(|e| Unasked::Failed(e.to_string()))?;
        match pods.iter().find(|p| p.ready) {
            Some(pod) => Self::open_in(cluster, pod, component).await,
            None if pods.is_empty() => Err(Unasked::LeftOut(format!("there is no pod of {component}"))),
            None => Err(Unasked::Failed(format!("no pod of {component} is ready"))),
        }
    }

    /// Asks the first of its name servers by UDP, once more where nothing came: a datagram may be lost.
    pub(crate) async fn ask(
        &mut self,
        id: u16,
        name: &clearwater::dns::Name,
        record_type: RecordType,
    ) -> Result<clearwater::dns::answer::Answer, AskError> {
        let server = self.servers[0];
        match ask_from(&mut self.shell, &self.pod, server, id, name, record_type).await {
            Err(error) if !error.is_lasting() => {
                ask_from(&mut self.shell, &self.pod, server, id, name, record_type).await
            }
            other => other,
        }
    }
}

/// Asks by UDP out of a pod of the deployment, through whatever stands between it and the DNS pods. What is wrong there
/// is a note and no failure: the DNS pods themselves answer, and what lies between may keep an old answer for a while.
pub(crate) async fn from_inside(cluster: &Cluster, plan: &DnsPlan, proof: &mut Proof) {
    const PATIENCE: Duration = Duration::from_secs(6);
    let mut inside = None;
    let mut whys = Vec::new();
    for component in [Component::Sprout, Component::Bono] {
        let pods = match pods_of(cluster, component).await {
            Ok(pods) => pods,
            Err(error) => {
                whys.push(error.to_string());
                continue;
            }
        };
        let Some(pod) = pods.iter().find(|p| p.ready) else {
            whys.push(format!("no pod of {component} is ready"));
            continue;
        };
        match Inside::open_in(cluster, pod, component).await {
            Ok(opened) => {
                inside = Some(opened);
                break;
            }
            Err(unasked) => whys.push(unasked.why().to_owned()),
        }
    }
    let Some(mut inside) = inside else {
        proof.notes.push(format!("not asked from inside of the deployment: {}", whys.join("; ")).into());
        return;
    };
    let until = Instant::now() + PATIENCE;
    let mut pauses = pauses();
    let mut id = 1;
    loop {
        let (mut answers, mut problems) = (Vec::new(), Vec::new());
        for question in &plan.questions {
            id += 2;
            let other = match &question.wanted {
                Wanted::SameAs(target) => inside.ask(id, target, question.record_type).await.ok(),
                _ => None,
            };
            match inside.ask(id + 1, &question.name, question.record_type).await {
                Ok(answer) => {
                    problems.extend(question.judge(&answer, other.as_ref()).err());
                    answers.push(Answered::to(question, &answer));
                }
                Err(error) => {
                    problems.push(error.to_string());
                    if error.is_lasting() {
                        break;
                    }
                }
            }
        }
        if problems.is_empty() || Instant::now() >= until {
            if let Some(problem) = problems.first() {
                proof.notes.push(format!("pod {} does not get it yet: {problem}", inside.pod).into());
            }
            let by = format!("UDP to {}", inside.servers[0]);
            proof.servers.push(ServerProof {
                server: format!("pod {} of {}", inside.pod, inside.component),
                by,
                reloaded: None,
                verified: None,
                answers,
                problems,
            });
            return;
        }
        pause(&mut pauses).await;
    }
}

impl Inside {
    async fn open_in(cluster: &Cluster, pod: &OwnPod, component: Component) -> Result<Self, Unasked> {
        let mut shell = Shell::open(&cluster.api(), &pod.name, &pod.container, OPEN).await?;
        let read = shell.run(&Script::new("cat /etc/resolv.conf"), OPEN).await?;
        let lines = read.text.lines().filter_map(|l| l.trim().strip_prefix("nameserver"));
        let servers: Vec<IpAddr> = lines.filter_map(|ip| ip.trim().parse().ok()).collect();
        if servers.is_empty() {
            return Err(Unasked::Failed(format!("pod {}: /etc/resolv.conf names no server", pod.name)));
        }
        Ok(Self { pod: pod.name.clone(), component, shell, servers })
    }
}
