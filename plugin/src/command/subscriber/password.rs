use clap::Args;
use clearwater::subscriber::Subscriber as Line;
use clearwater_kube::subscribers::{Provisioning, SubscriberError};
use futures::future::ready;
use futures::{StreamExt, stream};

use super::progress::Progress;
use super::report::{Found, LineFormat};
use super::{AccountArgs, Which, take_all};
use crate::advice;
use crate::context::Context;
use crate::error::CliError;
use crate::exit;
use crate::runtime::{block_on, unless_ended};
use crate::signal::Signals;

/// How many are asked about at the same time.
const AT_ONCE: usize = clearwater_kube::subscribers::AT_ONCE;

/// Give lines new passwords, and show them
///
/// Phones that know the old ones cannot register any more.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  kubectl clearwater subscriber password 6505550000
  kubectl clearwater subscriber password 6505551000..6505551099 -o csv")]
pub(crate) struct Password {
    /// Numbers, ranges of them, as FROM..TO with both ends, or whole public identities
    #[arg(value_name = "NUMBER|FROM..TO|IDENTITY", required = true)]
    numbers: Vec<Which>,
    #[command(flatten)]
    account: AccountArgs,
    /// The format
    #[arg(short, long, value_enum, default_value = "table")]
    output: LineFormat,
}

impl Password {
    pub(crate) fn run(self, context: &mut Context) -> Result<u8, CliError> {
        let namespace = self.account.place.namespace(context, self.output == LineFormat::Table)?;
        let signals = context.signals();
        block_on(async {
            let looking = self.account.found(context, namespace, &self.numbers);
            let (subscribers, mut found) = unless_ended(&signals, looking).await?;
            let lines = std::mem::take(&mut found.lines);
            // What was changed is told whatever came then.
            let ended = renew(&subscribers, lines, &mut found.lines, &mut found.problems, &signals).await;
            let well = found.problems.is_empty();
            found.write(context, &subscribers, self.output)?;
            ended?;
            Ok(if well { exit::OK } else { exit::FAILURE })
        })
    }
}

/// Gives lines new passwords, several at a time.
pub(super) async fn renew(
    subscribers: &Provisioning,
    lines: Vec<Line>,
    done: &mut Vec<Line>,
    problems: &mut Vec<String>,
    signals: &Signals,
) -> Result<(), CliError> {
    let mut progress = Progress::new("changed", lines.len());
    let renewing = |line: Line| async move {
        let password = subscribers.set_password(&line, None).await;
        (line, password)
    };
    let cancel = subscribers.cancellation();
    let all = stream::iter(lines).take_while(|_| ready(!cancel.is_cancelled())).map(renewing).buffer_unordered(AT_ONCE);
    take_all(all, signals, cancel, |(line, renewed)| match renewed {
        Ok(password) => {
            progress.one();
            done.push(Line { password: Some(password), ..line });
        }
        Err(error) => problems.push(format!("{}: {}", line.public_identity, advice::said(&error))),
    })
    .await
}

/// Adds the passwords that homestead-prov tells, and says of how many it has none.
pub(super) async fn look_up(subscribers: &Provisioning, found: &mut Found) -> Result<(), SubscriberError> {
    let lines = std::mem::take(&mut found.lines);
    let asking = |line: Line| async move {
        let password = subscribers.password(&line).await?;
        Ok::<_, SubscriberError>(Line { password, ..line })
    };
    let all: Vec<_> = stream::iter(lines).map(asking).buffer_unordered(AT_ONCE).collect().await;
    found.lines = all.into_iter().collect::<Result<_, _>>()?;
    let unknown = found.lines.iter().filter(|l| l.password.is_none()).count();
    if unknown > 0 {
        found.problems.push(format!(
            "homestead-prov keeps {unknown} of {} passwords as digests alone, which no phone can use; subscriber \
             password gives new ones",
            found.lines.len()
        ));
    }
    Ok(())
}
