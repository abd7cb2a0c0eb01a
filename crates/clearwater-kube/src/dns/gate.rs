//! The names as a gate of `up`: Bono is not made before they are answered.

use std::time::Duration;

use clearwater::config::{Deployment, DnsBackend};
use clearwater::dns::answer::{Expectation, Wanted};
use clearwater::dns::{RecordType, sub_domains};
use clearwater::event::{CheckId, CheckLine, CheckStatus, DnsStep};
use clearwater::order::{before_sprout, names_gate};
use clearwater::remedy::{NamesDeed, Remedied as _, Remedy};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::names::from_inside;
use super::plan::{blank, plan};
use super::{ClusterDnsError, DnsError, DnsOptions, Proof, carry_out, unless_cancelled};
use crate::apply::ApplyError;
use crate::cluster::Cluster;

/// Names that somebody else has to put in are waited for so long.
const OTHERS: Duration = Duration::from_secs(30);

/// What `up` does about the names of a deployment.
#[derive(Clone, Debug)]
pub(crate) struct Gate(DnsOptions);

impl Gate {
    /// The gate of a deployment; `None` where its names need nothing but its own pods and Services, or are left to DNS
    /// elsewhere.
    pub(crate) fn of(deployment: &Deployment) -> Option<Self> {
        names_gate(deployment).map(|_| Self(DnsOptions::new(deployment.clone())))
    }

    fn backend(&self) -> DnsBackend {
        self.0.deployment.file().dns.backend
    }

    /// Whether the names can be put in before there is a pod behind them.
    pub(crate) fn is_early(&self) -> bool {
        before_sprout(self.backend())
    }

    /// Why something waits for it.
    pub(crate) fn because(&self) -> String {
        format!("the names of sprout's functions must be answered (backend {})", self.backend().name())
    }

    /// A look before anything is written.
    pub(crate) async fn preflight(&self, cluster: &Cluster) -> CheckLine {
        let line = |status, detail: String, fix: Option<Remedy>| CheckLine {
            id: CheckId::Names,
            title: format!("names in DNS, backend {}", self.backend().name()),
            status,
            detail,
            fix,
        };
        if !self.is_early() {
            return line(CheckStatus::Ok, "put in as soon as sprout serves".to_owned(), None);
        }
        match Box::pin(plan(cluster, &self.0)).await {
            Ok(plan) if plan.is_change() => {
                let object = plan.object.unwrap_or_default();
                line(CheckStatus::Ok, format!("{object} will be changed"), None)
            }
            Ok(_) => line(CheckStatus::Ok, "they stand".to_owned(), None),
            Err(error) if error.missing_right().is_some() => {
                line(CheckStatus::Warning, error.to_string(), Some(self.by_others()))
            }
            Err(error) if error.is_unreachable() => line(CheckStatus::Unseen, error.to_string(), None),
            Err(error) => {
                let fix = error.remedy().unwrap_or_else(|| "put right what the message names".into());
                line(CheckStatus::Failed, error.to_string(), Some(fix))
            }
        }
    }

    fn by_others(&self) -> Remedy {
        let (namespace, backend) = (Some(self.0.deployment.namespace().to_owned()), Some(self.backend()));
        Remedy::sentence([
            "ask whoever keeps the cluster's DNS for this: ".into(),
            NamesDeed::Put { namespace, backend, clients: false }.into(),
            "; bono waits until the names are answered".into(),
        ])
    }

    /// Puts the names in where they are missing, and proves them.
    pub(crate) async fn open(
        &self,
        cluster: &Cluster,
        notices: &mpsc::UnboundedSender<String>,
        cancel: &CancellationToken,
    ) -> Result<(), ApplyError> {
        let failed = |error: DnsError| ApplyError::Names {
            forbidden: error.missing_right().is_some(),
            instead: error.remedy(),
            source: error.into(),
        };
        let plan = match unless_cancelled(cancel, Box::pin(plan(cluster, &self.0))).await {
            Ok(plan) => plan,
            // Somebody else may have put them in, with rights or an access that are not at hand here.
            Err(
                error @ (DnsError::Cluster(ClusterDnsError::Right { .. })
                | DnsError::Etcd { .. }
                | DnsError::Lacking { .. }
                | DnsError::Backend { .. }),
            ) => {
                return if self.answered(cluster, cancel).await { Ok(()) } else { Err(failed(error)) };
            }
            Err(error) => return Err(failed(error)),
        };
        let (steps, mut told) = mpsc::unbounded_channel();
        let change = plan.is_change();
        let working = carry_out(cluster, &plan, &steps, cancel);
        tokio::pin!(working);
        loop {
            tokio::select! {
                Some(step) = told.recv() => {
                    if let (true, Some(text)) = (change, say(&step)) {
                        // Nobody has to listen.
                        let _ = notices.send(format!("names: {text}"));
                    }
                }
                done = &mut working => return done.map(drop).map_err(failed),
            }
        }
    }

    /// Whether the names are answered inside of the deployment, whoever put them in.
    async fn answered(&self, cluster: &Cluster, cancel: &CancellationToken) -> bool {
        let Ok(subs) = sub_domains(&self.0.deployment, self.backend()) else { return false };
        let mut plan = blank(&self.0, self.backend(), String::new());
        plan.questions = subs
            .into_iter()
            .map(|sub| Expectation { name: sub.name, record_type: RecordType::A, wanted: Wanted::Something })
            .collect();
        let until = Instant::now() + OTHERS;
        loop {
            let mut proof = Proof::default();
            tokio::select! {
                () = cancel.cancelled() => return false,
                () = from_inside(cluster, &plan, &mut proof) => {}
            }
            if proof.servers.iter().any(|s| s.problems.is_empty() && !s.answers.is_empty()) {
                return true;
            }
            if Instant::now() >= until {
                return false;
            }
        }
    }
}

/// A step in a few words; `None` for what is of no interest while a deployment comes up.
fn say(step: &DnsStep) -> Option<String> {
    Some(match step {
        DnsStep::Waiting { at_most, because } => {
            format!("until all servers know them can take {} s: {because}", at_most / 1000)
        }
        DnsStep::Verified { pod, .. } => format!("DNS pod {pod} answers as it must"),
        DnsStep::Kept { .. } | DnsStep::Written { .. } | DnsStep::TakingBack { .. } => return step.words(),
        _ => return None,
    })
}
