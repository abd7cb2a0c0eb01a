//! `test --live-test`: upstream's own suite, as a Job beside the deployment.

use std::time::{Duration, Instant};

use clearwater::component::Component;
use clearwater::text::counted;
use clearwater_kube::live_test::{LiveTest, LiveTestError, LiveTestPlan, SignUpCode};
use clearwater_kube::subscribers::ellis_keys;
use clearwater_sip::Transport;

use super::report::Tried;
use super::{TIDYING, TIDYING_IN_HASTE, Test, tidied, told};
use crate::advice::command;
use crate::context::Context;
use crate::error::CliError;
use crate::runtime::{block_on, unless_ended};
use crate::signal::Signals;

/// The image that those run who test the release hunter (functest-kubernetes `ims.py`).
pub(super) const IMAGE: &str = "docker.io/ollivier/clearwater-live-test:hunter";
/// How long all of it may take where nobody says how long.
const WHOLE: Duration = Duration::from_secs(30 * 60);

impl From<LiveTestError> for CliError {
    fn from(error: LiveTestError) -> Self {
        if error.is_of_rights() {
            let rbac = command("rbac live-test --for-user NAME");
            return Self::Connection(format!("{error}; `{rbac}` writes the Role that is needed"));
        }
        Self::Connection(error.to_string())
    }
}

impl Test {
    pub(super) fn run_live(
        &self,
        context: &mut Context,
        namespace: String,
        image: &str,
        transports: &[Transport],
    ) -> Result<u8, CliError> {
        let (signals, began, mut tried) = (context.signals(), Instant::now(), Vec::new());
        let done = block_on(self.follow_live(context, &signals, namespace.clone(), image, transports, &mut tried));
        self.tell(context, namespace, began, tried, done)
    }

    /// Runs it, and takes it away whatever became of it.
    async fn follow_live(
        &self,
        context: &mut Context,
        signals: &Signals,
        namespace: String,
        image: &str,
        transports: &[Transport],
        tried: &mut Vec<Tried>,
    ) -> Result<(), CliError> {
        let test = unless_ended(signals, async {
            let cluster = context.connection().cluster(namespace).await?;
            let keys = ellis_keys(&cluster).await?;
            if keys.home_domain.is_empty() {
                let why = "Ellis' pod was told no home domain, neither by ZONE nor in ADDITIONAL_SHARED_CONFIG";
                return Err(CliError::Connection(why.to_owned()));
            }
            let (gone, at_work) = LiveTest::sweep(&cluster).await?;
            if !gone.is_empty() {
                let count = counted(gone.len(), "Job");
                context.talk().note(format!("taken away: {count} that earlier runs left behind"));
            }
            for job in at_work {
                context.talk().note(format!("job/{job} of another run is at work"));
            }
            let transports: Vec<String> = transports.iter().map(ToString::to_string).collect();
            let sign_up = keys
                .secret
                .map_or(SignUpCode::Known(keys.sign_up_code), |(name, key)| SignUpCode::InSecret { name, key });
            let plan = LiveTestPlan {
                image: image.to_owned(),
                home_domain: keys.home_domain,
                sign_up,
                transports: transports.join(","),
                rounds: self.repeat,
                lasting: self.timeout.unwrap_or(WHOLE),
            };
            Ok(LiveTest::new(&cluster, plan))
        })
        .await?;
        let (mut last, mut broken) = (Instant::now(), None);
        let done = unless_ended(
            signals,
            Box::pin(async {
                let run = test.run(|case| {
                    let one = Tried::of_live(case, last.elapsed(), Component::Bono.name());
                    last = Instant::now();
                    if self.output.is_none() && broken.is_none() {
                        broken = told(context, &one.text()).err();
                    }
                    tried.push(one);
                });
                Ok(run.await?)
            }),
        )
        .await;
        let patience = if signals.came().is_some() { TIDYING_IN_HASTE } else { TIDYING };
        if let Some(why) = tidied(signals, patience, test.take_away()).await {
            let job = test.job();
            context.talk().warning(format!(
                "job/{job} is left behind, for a run that begins when it is over to take away: {why}"
            ));
        }
        done.and(broken.map_or(Ok(()), Err))
    }
}
