//! The cluster's DNS before, during and after a change: each server asked by itself.

use std::collections::BTreeMap;
use std::time::Duration;

use clearwater::dns::answer::{Answer, Expectation};
use clearwater::dns::{Name, RecordType};
use clearwater::event::DnsStep;
use k8s_openapi::api::core::v1::{Pod, Service};
use kube::api::{DeleteParams, ListParams};
use kube::{Api, ResourceExt};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::metrics::Reloads;
use super::names::{ask_all, by};
use super::{Answered, DnsError, DnsPlan, ServerProof, count, millis, tell};
use crate::backoff::{Backoff as _, pause};
use crate::cluster::{Cluster, list_all, say};
use crate::deadline::no_answer;
use crate::observe::cluster_dns::{ClusterDns, DnsPod};
use crate::pod::dns::{Server, pauses};
use crate::pod::{AskError, Forward};

/// The longest that one look at the metrics may take.
const METRICS: Duration = Duration::from_secs(5);
/// The longest that one look at a server may take.
const LOOK: Duration = Duration::from_secs(8);
/// A server that has read our change answers rightly within this.
const SETTLE: Duration = Duration::from_secs(4);
/// So many rounds in a row without the usual answers to unrelated names are too many.
const MOST_ODD_ROUNDS: u32 = 4;
/// A server that does not become ready again within this is taken to be broken.
const UNREADY: Duration = Duration::from_secs(30);
/// Where nothing says how long to wait.
const USUAL: Duration = Duration::from_secs(180);
/// How many unrelated Services of the deployment's namespace are asked for.
const NEIGHBOURS: usize = 3;

const NOT_READ: &str = "it has not read its file again";

/// A name that has nothing to do with the change, and what it was answered before.
#[derive(Clone, Debug)]
struct Unrelated {
    name: Name,
    before: Answer,
}

impl Unrelated {
    fn judge(&self, answer: &Answer) -> Result<(), String> {
        let same = |a: &Answer| (a.code, a.data(&self.name, RecordType::A));
        if same(answer) == same(&self.before) {
            return Ok(());
        }
        Err(format!(
            "{} A, which has nothing to do with the change, gives {}, and gave {} before",
            self.name,
            answer.say(&self.name, RecordType::A),
            self.before.say(&self.name, RecordType::A)
        ))
    }
}

/// One server.
struct One {
    pod: DnsPod,
    server: Server,
    metrics: Option<u16>,
    forward: Option<Forward>,
    /// What it counted before the change; `None` where it does not say.
    before: Option<Reloads>,
    reloaded: Option<Instant>,
    proof: Option<ServerProof>,
    odd_rounds: u32,
    unready: Option<Instant>,
    /// Whether it started after the change.
    fresh: bool,
    /// Why it is not done yet.
    state: String,
}

/// What one look at a server showed.
enum ServerLook {
    Waiting(String),
    Reloaded,
    Proved(ServerProof),
    Failed(String),
}

pub(crate) struct Watch {
    pods: Api<Pod>,
    cluster_dns: ClusterDns,
    unrelated: Vec<Unrelated>,
    all: BTreeMap<String, One>,
    metrics: Option<u16>,
    /// How many servers there were at first.
    wanted: usize,
    client: kube::Client,
}

impl One {
    fn new(pods: &Api<Pod>, pod: DnsPod, port: u16, metrics: Option<u16>) -> Self {
        Self {
            server: Server::new(pods.clone(), &pod.name, port),
            metrics,
            forward: None,
            before: None,
            reloaded: None,
            proof: None,
            odd_rounds: 0,
            unready: None,
            fresh: false,
            state: "not asked yet".to_owned(),
            pod,
        }
    }

    async fn reloads(&mut self, pods: &Api<Pod>) -> Option<Reloads> {
        let port = self.metrics?;
        let mut forward = match self.forward.take() {
            Some(forward) => forward,
            None => Forward::open(pods, &self.pod.name, port, METRICS).await.ok()?,
        };
        let (code, body) = forward.get("/metrics", METRICS).await.ok()?;
        self.forward = Some(forward);
        if code == 200 { Reloads::parse(&body) } else { None }
    }

    /// Asks the unrelated names. The first error is what is wrong.
    async fn usual(&mut self, unrelated: &[Unrelated]) -> Result<(), String> {
        for one in unrelated {
            let answer = self.server.ask(&one.name, RecordType::A).await.map_err(|e| e.to_string())?;
            one.judge(&answer)?;
        }
        Ok(())
    }

    async fn look(
        &mut self,
        pods: &Api<Pod>,
        questions: &[Expectation],
        unrelated: &[Unrelated],
        began: Instant,
        late: bool,
    ) -> ServerLook {
        if self.reloaded.is_none() {
            match self.has_reloaded(pods, questions).await {
                Ok(true) => {
                    self.reloaded = Some(Instant::now());
                    return ServerLook::Reloaded;
                }
                Ok(false) => {}
                Err(failed) => return ServerLook::Failed(failed),
            }
            return match self.usual(&unrelated[..unrelated.len().min(1)]).await {
                Ok(()) => {
                    self.odd_rounds = 0;
                    if late {
                        return self.as_it_stands(questions, unrelated, began).await;
                    }
                    ServerLook::Waiting(NOT_READ.to_owned())
                }
                Err(why) => self.odd_round(&why),
            };
        }
        let since = self.reloaded.unwrap_or(began);
        let problem = match ask_all(&mut self.server, questions).await {
            Ok((answers, problems)) => match problems.into_iter().next() {
                None => match self.usual(unrelated).await {
                    Ok(()) => return ServerLook::Proved(self.prove(answers, began, since)),
                    Err(why) if since.elapsed() > SETTLE => {
                        return ServerLook::Failed(format!("DNS pod {} has read the change, and {why}", self.pod.name));
                    }
                    Err(why) => return ServerLook::Waiting(why),
                },
                Some(problem) => problem,
            },
            Err(error) => error.to_string(),
        };
        if since.elapsed() > SETTLE {
            // What it read was an earlier change of the file, by this program or another: the next one is ours.
            if let Err(why) = self.usual(unrelated).await {
                return ServerLook::Failed(format!("DNS pod {} has read its file again, and {why}", self.pod.name));
            }
            self.before = self.reloads(pods).await.or_else(|| self.before.take());
            self.reloaded = None;
        }
        ServerLook::Waiting(problem)
    }

    /// A server that has not read its file again when it must have, and answers as it must, never read what stood in
    /// between: a change that was taken back by the next one is no change to it.
    async fn as_it_stands(&mut self, questions: &[Expectation], unrelated: &[Unrelated], began: Instant) -> ServerLook {
        match ask_all(&mut self.server, questions).await {
            Ok((answers, problems)) if problems.is_empty() && self.usual(unrelated).await.is_ok() => {
                ServerLook::Proved(self.prove(answers, began, began))
            }
            _ => ServerLook::Waiting(NOT_READ.to_owned()),
        }
    }

    fn prove(&self, answers: Vec<Answered>, began: Instant, since: Instant) -> ServerProof {
        ServerProof {
            server: self.pod.name.clone(),
            by: by(self.server.port()),
            reloaded: Some(millis(since.duration_since(began))),
            verified: Some(millis(since.elapsed())),
            answers,
            problems: Vec::new(),
        }
    }

    fn odd_round(&mut self, why: &str) -> ServerLook {
        self.odd_rounds += 1;
        if self.odd_rounds >= MOST_ODD_ROUNDS {
            ServerLook::Failed(format!("DNS pod {} stopped answering as before: {why}", self.pod.name))
        } else {
            ServerLook::Waiting(why.to_owned())
        }
    }

    /// Whether it has read the change, by its own count, else by what it answers.
    async fn has_reloaded(&mut self, pods: &Api<Pod>, questions: &[Expectation]) -> Result<bool, String> {
        if let Some(before) = self.before.clone()
            && let Some(now) = self.reloads(pods).await
        {
            if now.failed > before.failed {
                return Err(format!(
                    "DNS pod {} cannot use the new file and goes on with the old one (its \
                     coredns_reload_failed_total rose from {} to {}; kubectl logs -n NAMESPACE {0} says why)",
                    self.pod.name, before.failed, now.failed
                ));
            }
            return Ok(now.version != before.version);
        }
        let Some(first) = questions.first() else { return Ok(true) };
        let asked = ask_all(&mut self.server, std::slice::from_ref(first)).await;
        Ok(asked.is_ok_and(|(_, problems)| problems.is_empty()))
    }
}

impl Watch {
    /// Looks whether DNS is well, and remembers how it answers.
    pub(crate) async fn begin(
        cluster: &Cluster,
        plan: &DnsPlan,
        cluster_dns: &ClusterDns,
        metrics: Option<u16>,
    ) -> Result<Self, DnsError> {
        let pods = cluster_dns.api(&cluster.client);
        let now = cluster_dns.pods_now(&cluster.client).await?;
        if now.is_empty() {
            let message = format!("no DNS pod runs behind service {}/{}", cluster_dns.namespace, cluster_dns.service);
            return Err(DnsError::Unwell { message, fix: "repair DNS first".into() });
        }
        if let Some(pod) = now.iter().find(|p| !p.ready) {
            let why = pod.waiting.clone().map_or_else(String::new, |w| format!(" ({w})"));
            return Err(DnsError::Unwell {
                message: format!("DNS pod {}/{} is not ready{why}", cluster_dns.namespace, pod.name),
                fix: format!("repair it first (kubectl describe pod -n {} {})", cluster_dns.namespace, pod.name).into(),
            });
        }
        let names = unrelated_names(cluster, plan, cluster_dns).await;
        let mut all = BTreeMap::new();
        let mut unrelated = Vec::new();
        for (i, pod) in now.into_iter().enumerate() {
            let mut one = One::new(&pods, pod, cluster_dns.port, metrics);
            let ask = async {
                let mut before = Vec::new();
                for name in &names {
                    let answer = one.server.ask(name, RecordType::A).await?;
                    before.push(Unrelated { name: name.clone(), before: answer });
                }
                Ok::<_, AskError>(before)
            };
            let before = ask.await.map_err(|error| match error {
                AskError::Forbidden { right } => DnsError::right(
                    format!("asking DNS pod {}/{}", cluster_dns.namespace, one.pod.name),
                    format!("{right} in {}", cluster_dns.namespace),
                    "a change that cannot be proved is not made",
                    None,
                ),
                error => DnsError::Unwell { message: error.to_string(), fix: "repair DNS first".into() },
            })?;
            if i == 0 {
                unrelated = before;
            }
            one.before = one.reloads(&pods).await;
            all.insert(one.pod.uid.clone(), one);
        }
        if let Some(bad) = unrelated.first().filter(|u| u.before.data(&u.name, RecordType::A).is_empty()) {
            return Err(DnsError::Unwell {
                message: format!("{} gives {}", bad.name, bad.before.say(&bad.name, RecordType::A)),
                fix: "repair DNS first".into(),
            });
        }
        let wanted = all.len();
        Ok(Self {
            pods,
            cluster_dns: cluster_dns.clone(),
            unrelated,
            all,
            metrics,
            wanted,
            client: cluster.client.clone(),
        })
    }

    /// How many servers there are.
    pub(crate) fn servers(&self) -> usize {
        self.all.len()
    }

    /// Waits until every server has read the change, and answers as it must.
    pub(crate) async fn until_proved(
        &mut self,
        plan: &DnsPlan,
        steps: &mpsc::UnboundedSender<DnsStep>,
        cancel: &CancellationToken,
    ) -> Result<Vec<ServerProof>, DnsError> {
        let began = Instant::now();
        let cancelled = || DnsError::Interrupted { state: String::new() };
        let limit = plan.means.timeout.unwrap_or(USUAL);
        let until = began + limit;
        let mut pauses = pauses();
        let mut replacing = plan.wait.is_none() && plan.means.restart;
        loop {
            if cancel.is_cancelled() {
                return Err(cancelled());
            }
            self.follow_pods(replacing).await.map_err(DnsError::Failed)?;
            replacing = replacing && self.replace_one(steps).await.map_err(DnsError::Failed)?;
            let late = Instant::now() >= until;
            let (pods, unrelated, questions) = (&self.pods, &self.unrelated, &plan.questions);
            let looks = self.all.values_mut().filter(|o| o.proof.is_none() && o.pod.running).map(|one| async move {
                // One that takes connections and says nothing must not keep the others waiting.
                let seen = match timeout(LOOK, one.look(pods, questions, unrelated, began, late)).await {
                    Ok(seen) => seen,
                    Err(_) => one.odd_round(&no_answer(LOOK)),
                };
                (one, seen)
            });
            let looks = futures::future::join_all(looks);
            let seen = tokio::select! {
                () = cancel.cancelled() => return Err(cancelled()),
                seen = looks => seen,
            };
            let mut moved = false;
            for (one, seen) in seen {
                match seen {
                    ServerLook::Waiting(state) => one.state = state,
                    ServerLook::Reloaded => moved = true,
                    ServerLook::Proved(proof) => {
                        let after = proof.reloaded.unwrap_or_default();
                        tell(steps, DnsStep::Reloaded { pod: one.pod.name.clone(), after });
                        let (pod, after) = (proof.server.clone(), proof.verified.unwrap_or_default());
                        tell(steps, DnsStep::Verified { pod, questions: count(proof.answers.len()), after });
                        one.proof = Some(proof);
                        moved = true;
                    }
                    ServerLook::Failed(why) => return Err(DnsError::Failed(why)),
                }
            }
            if !replacing && !self.all.is_empty() && self.all.values().all(|o| o.proof.is_some()) {
                return self.last_look().await;
            }
            if late {
                let late = self.all.values().find(|o| o.proof.is_none());
                let who =
                    late.map_or_else(|| "no DNS pod".to_owned(), |o| format!("DNS pod {}: {}", o.pod.name, o.state));
                let why = plan.wait.as_ref().map_or(String::new(), |(_, because)| format!(" ({because})"));
                return Err(DnsError::Failed(format!("not done within {} s{why}: {who}", limit.as_secs())));
            }
            if moved {
                pauses.reset();
            }
            tokio::select! {
                () = cancel.cancelled() => return Err(cancelled()),
                () = pause(&mut pauses) => {}
            }
        }
    }

    /// A server that ends right after it answered is not proved.
    async fn last_look(&mut self) -> Result<Vec<ServerProof>, DnsError> {
        self.follow_pods(false).await.map_err(DnsError::Failed)?;
        Ok(self.all.values().filter_map(|o| o.proof.clone()).collect())
    }

    /// Looks at the pods: one that ended is a failure, one that is new is asked like the others.
    async fn follow_pods(&mut self, replacing: bool) -> Result<(), String> {
        // The API server may be away for a moment; the servers themselves are what counts.
        let Ok(now) = self.cluster_dns.pods_now(&self.client).await else { return Ok(()) };
        for pod in &now {
            let Some(one) = self.all.get_mut(&pod.uid) else {
                // What starts now reads the change at its start.
                let mut one = One::new(&self.pods, pod.clone(), self.cluster_dns.port, self.metrics);
                one.fresh = true;
                self.all.insert(pod.uid.clone(), one);
                continue;
            };
            if pod.restarts > one.pod.restarts {
                let why = pod.waiting.clone().map_or_else(String::new, |w| format!(": {w}"));
                return Err(format!(
                    "CoreDNS in DNS pod {} ended and was started again after the change{why} (kubectl logs -n {} {0} \
                     --previous says why)",
                    pod.name, self.cluster_dns.namespace
                ));
            }
            if pod.ready {
                one.unready = None;
            } else {
                let since = *one.unready.get_or_insert_with(Instant::now);
                if since.elapsed() > UNREADY {
                    let why = pod.waiting.clone().map_or_else(String::new, |w| format!(": {w}"));
                    return Err(format!("DNS pod {} does not become ready{why}", pod.name));
                }
            }
            one.pod = pod.clone();
        }
        self.all.retain(|uid, _| now.iter().any(|p| p.uid == *uid));
        if self.all.is_empty() && !replacing {
            return Err("no DNS pod is left".to_owned());
        }
        Ok(())
    }

    /// Replaces the next pod that started before the change, once all that started after it are proved. Yields whether
    /// there is more to do.
    async fn replace_one(&mut self, steps: &mpsc::UnboundedSender<DnsStep>) -> Result<bool, String> {
        let count = self.all.len();
        if count < self.wanted || self.all.values().any(|o| o.fresh && o.proof.is_none()) {
            return Ok(true);
        }
        let Some(old) = self.all.values().find(|o| !o.fresh).map(|o| o.pod.name.clone()) else { return Ok(false) };
        tell(steps, DnsStep::Replacing { pod: old.clone() });
        let deleted = self.pods.delete(&old, &DeleteParams::default()).await;
        deleted.map_err(|error| format!("DNS pod {old} cannot be replaced: {}", say(&error)))?;
        self.all.retain(|_, o| o.pod.name != old);
        Ok(true)
    }

    /// What the servers do once the old file stands again, as the end of a sentence.
    pub(crate) async fn after_taking_back(&mut self, cluster: &Cluster, restarted: bool) -> String {
        const PATIENCE: Duration = Duration::from_secs(10);
        let until = Instant::now() + PATIENCE;
        let mut pauses = pauses();
        loop {
            let now = self.cluster_dns.pods_now(&cluster.client).await.unwrap_or_default();
            let mut bad = Vec::new();
            for pod in &now {
                if !pod.ready {
                    let why = pod.waiting.clone().map_or_else(|| "is not ready".to_owned(), |w| format!("waits ({w})"));
                    bad.push(format!("DNS pod {} {why}", pod.name));
                    continue;
                }
                let mut one = One::new(&self.pods, pod.clone(), self.cluster_dns.port, self.metrics);
                if let Err(why) = one.usual(&self.unrelated).await {
                    bad.push(format!("DNS pod {}: {why}", pod.name));
                }
            }
            if bad.is_empty() {
                let again = if restarted { "" } else { " Each reads the old file again in its own time." };
                return format!(", and {} DNS pods answer as before.{again}", now.len());
            }
            if Instant::now() >= until {
                return format!("; not everything answers yet: {}", bad.join("; "));
            }
            pause(&mut pauses).await;
        }
    }
}

/// Names that no change of ours has to do with: the API's, the DNS Service's own, one that nobody has, and some of the
/// namespace's Services that have a virtual address, whose answers do not change by themselves.
async fn unrelated_names(cluster: &Cluster, plan: &DnsPlan, cluster_dns: &ClusterDns) -> Vec<Name> {
    let domain = &plan.means.domain;
    let mut texts = vec![
        format!("kubernetes.default.svc.{domain}"),
        format!("{}.{}.svc.{domain}", cluster_dns.service, cluster_dns.namespace),
        format!("clearwater-nobody.{}.svc.{domain}", plan.namespace),
    ];
    let services: Api<Service> = cluster.api();
    if let Ok(all) = list_all(&services, &ListParams::default()).await {
        let fixed = all.iter().filter(|s| {
            let ip = s.spec.as_ref().and_then(|s| s.cluster_ip.as_deref()).unwrap_or_default();
            !ip.is_empty() && ip != "None"
        });
        texts.extend(fixed.take(NEIGHBOURS).map(|s| format!("{}.{}.svc.{domain}", s.name_any(), plan.namespace)));
    }
    texts.iter().filter_map(|t| t.parse().ok()).collect()
}
