//! `subscriber`: lines made, shown and deleted.

mod create;
mod delete;
mod export;
mod import;
mod list;
mod password;
mod progress;
mod report;
mod show;

use std::collections::BTreeSet;
use std::pin::pin;
use std::time::Duration;

use clap::builder::{PossibleValuesParser, TypedValueParser as _};
use clap::{Args, Subcommand};
use clearwater::component::Component;
use clearwater::subscriber::{InvalidNumbers, Numbers, PublicIdentity, Subscriber as Line};
use clearwater_kube::subscribers::{AT_ONCE, Provisioning, ProvisioningOptions};
use futures::{Stream, StreamExt};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::arguments::PlaceArgs;
use crate::context::Context;
use crate::error::CliError;
use crate::runtime::unless_ended;
use crate::signal::Signals;

use report::Found;
#[cfg(test)]
pub(crate) use report::Report;

/// The account at Ellis of who names no other. No mail reaches it (RFC 2606).
const ACCOUNT: &str = "subscribers@kubectl-clearwater.invalid";

/// The most lines that are made at the same time: each takes a connection of its own.
const MOST_AT_ONCE: u16 = 32;

/// How long what is on its way is waited for after a signal.
const GRACE: Duration = Duration::from_millis(700);

/// Make, list, show and delete subscribers, through Ellis where it stands and else at homestead-prov
///
/// Lines belong to an account of Ellis, one of this program's own where --account names no other. Passwords are shown by
/// `create`, `password` and `import`, which make them, and elsewhere with --passwords only.
#[derive(Debug, Subcommand)]
#[command(
    disable_help_subcommand = true,
    after_help = "Examples:
  kubectl clearwater subscriber create --count 2 -n ims
  kubectl clearwater subscriber list
  kubectl clearwater subscriber show 6505550000 --passwords"
)]
pub(crate) enum Subscriber {
    Create(create::Create),
    List(list::List),
    Show(show::Show),
    Password(password::Password),
    Delete(delete::Delete),
    Export(export::Export),
    Import(import::Import),
}

impl Subscriber {
    pub(crate) fn run(self, context: &mut Context) -> Result<u8, CliError> {
        match self {
            Self::Create(command) => command.run(context),
            Self::List(command) => command.run(context),
            Self::Show(command) => command.run(context),
            Self::Password(command) => command.run(context),
            Self::Delete(command) => command.run(context),
            Self::Export(command) => command.run(context),
            Self::Import(command) => command.run(context),
        }
    }
}

/// Lines as they are named on a command line.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Which {
    /// Those of numbers in the home domain.
    Numbers(Numbers),
    /// The one of a whole identity.
    Identity(PublicIdentity),
}

impl std::str::FromStr for Which {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.contains([':', '@']) {
            PublicIdentity::of(text, "").map(Self::Identity).map_err(|e| e.to_string())
        } else {
            text.parse().map(Self::Numbers).map_err(|e: InvalidNumbers| e.to_string())
        }
    }
}

/// Whose lines, and whom to ask.
#[derive(Debug, Args)]
struct AccountArgs {
    #[command(flatten)]
    place: PlaceArgs,
    /// The account at Ellis that the lines belong to
    #[arg(long, value_name = "EMAIL", default_value = ACCOUNT, value_parser = email)]
    account: String,
    /// Whom to ask. Default: Ellis where it stands, else homestead-prov
    #[arg(long, value_name = "COMPONENT", value_parser = through())]
    through: Option<Component>,
    /// At homestead-prov, which has no accounts: what the lines' private identities begin with
    #[arg(long, value_name = "TEXT", default_value = "", value_parser = prefix)]
    private_prefix: String,
    /// How many are asked about at the same time
    #[arg(long, value_name = "N", default_value_t = AT_ONCE as u16, value_parser = clap::value_parser!(u16).range(1..=i64::from(MOST_AT_ONCE)))]
    at_once: u16,
}

fn through() -> impl clap::builder::TypedValueParser<Value = Component> {
    let known = [Component::Ellis, Component::HomesteadProv].map(Component::name);
    PossibleValuesParser::new(known).try_map(|name: String| name.parse::<Component>())
}

fn email(text: &str) -> Result<String, String> {
    let (user, domain) = text.split_once('@').unwrap_or_default();
    let is_whole = !user.is_empty() && !domain.is_empty() && text.len() <= 254;
    if is_whole && text.chars().all(|c| c.is_ascii_graphic() && !"<>\"'\\".contains(c)) {
        return Ok(text.to_owned());
    }
    Err("an account is named by an e-mail address, as in ann@example.com".to_owned())
}

fn prefix(text: &str) -> Result<String, String> {
    if text.len() <= 64 && text.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c)) {
        return Ok(text.to_owned());
    }
    Err("only letters, digits and - . _ may stand in it, 64 at most".to_owned())
}

impl AccountArgs {
    /// Opens the deployment's subscribers.
    async fn open(&self, context: &Context, namespace: String) -> Result<Provisioning, CliError> {
        let cluster = context.connection().cluster(namespace).await?;
        let mut options =
            ProvisioningOptions::for_account(self.account.as_str()).with_private_prefix(self.private_prefix.as_str());
        options.through = self.through;
        options.at_once = self.at_once.into();
        Ok(Provisioning::open(&cluster, options).await?)
    }

    /// Opens them and finds the lines of these ranges, or all; what is not there is a problem.
    async fn found(
        &self,
        context: &Context,
        namespace: String,
        which: &[Which],
    ) -> Result<(Provisioning, Found), CliError> {
        let subscribers = self.open(context, namespace.clone()).await?;
        let (lines, missing) = chosen(&subscribers, which).await?;
        let problems = missing.iter().map(|i| format!("{i}: there is no such line")).collect();
        Ok((subscribers, Found { namespace, account: self.account.clone(), lines, problems }))
    }
}

/// The public identities that are meant, each once, in their order.
fn identities(subscribers: &Provisioning, which: &[Which]) -> Result<BTreeSet<PublicIdentity>, CliError> {
    let mut all = BTreeSet::new();
    for one in which {
        match one {
            Which::Identity(identity) => all.extend([identity.clone()]),
            Which::Numbers(numbers) => {
                for number in numbers.iter() {
                    all.extend([subscribers.identity(&number)?]);
                }
            }
        }
    }
    Ok(all)
}

/// Takes what comes until it ends. After a signal nothing more is begun, and what is on its way is taken for as long as one
/// may wait for the end: a password is told once.
async fn take_all<T>(
    all: impl Stream<Item = T>,
    signals: &Signals,
    cancel: &CancellationToken,
    mut take: impl FnMut(T),
) -> Result<(), CliError> {
    let mut all = pin!(all);
    loop {
        match unless_ended(signals, async { Ok(all.next().await) }).await {
            Ok(Some(one)) => take(one),
            Ok(None) => return Ok(()),
            Err(ended) => {
                cancel.cancel();
                let rest = async {
                    while let Some(one) = all.next().await {
                        take(one);
                    }
                };
                let _ = timeout(GRACE, rest).await;
                return Err(ended);
            }
        }
    }
}

/// The account's lines of these ranges, or all where none is given; and the identities that are not there.
async fn chosen(subscribers: &Provisioning, which: &[Which]) -> Result<(Vec<Line>, Vec<PublicIdentity>), CliError> {
    let all = subscribers.list().await?;
    if which.is_empty() {
        return Ok((all, Vec::new()));
    }
    let mut wanted = identities(subscribers, which)?;
    let lines: Vec<Line> = all.into_iter().filter(|line| wanted.remove(&line.public_identity)).collect();
    Ok((lines, wanted.into_iter().collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_named_by_its_number_or_its_identity() {
        let identity = |text: &str| Which::Identity(text.parse().unwrap());
        for (text, which) in [
            ("650", Ok(Which::Numbers("650".parse().unwrap()))),
            ("sip:alice@x", Ok(identity("sip:alice@x"))),
            ("alice@x", Ok(identity("sip:alice@x"))),
            ("tel:+650", Ok(identity("tel:+650"))),
        ] {
            assert_eq!(text.parse::<Which>(), which);
        }
        assert!("alice".parse::<Which>().is_err() && "sip:alice".parse::<Which>().is_err());
    }

    #[test]
    fn an_account_is_an_address_and_a_prefix_is_harmless() {
        assert!(email("ann@example.com").is_ok() && email(ACCOUNT).is_ok());
        for text in ["ann", "@b", "a@", "a b@c", "a@b\n", ""] {
            assert!(email(text).is_err(), "{text:?}");
        }
        assert!(prefix("").is_ok() && prefix("clearwater-test-").is_ok());
        assert!(prefix("a/b").is_err() && prefix("a@b").is_err());
    }
}
