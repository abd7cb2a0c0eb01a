use std::fmt::Write as _;
use std::pin::pin;

use clap::Args;
use clearwater::component::Component;
use clearwater::subscriber::PublicIdentity;
use clearwater::text::counted;
use futures::StreamExt;

use super::progress::Progress;
use super::{AccountArgs, Which, chosen};
use crate::advice;
use crate::context::Context;
use crate::error::CliError;
use crate::exit;
use crate::question::answered;
use crate::runtime::{block_on, unless_ended};

/// How many lines the question names one by one.
const NAMED: usize = 10;

/// Delete lines: their numbers go back to the pool
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  kubectl clearwater subscriber delete 6505551000..6505551099
  kubectl clearwater subscriber delete --all --yes     and the account at Ellis")]
pub(crate) struct Delete {
    /// Numbers, ranges of them, as FROM..TO with both ends, or whole public identities
    #[arg(value_name = "NUMBER|FROM..TO|IDENTITY", required_unless_present = "all", conflicts_with = "all")]
    numbers: Vec<Which>,
    /// Every line of the account, and the account
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    account: AccountArgs,
    /// Go on without asking
    #[arg(short, long)]
    yes: bool,
}

impl Delete {
    pub(crate) fn run(self, context: &mut Context) -> Result<u8, CliError> {
        let namespace = self.account.place.namespace(context, true)?;
        let signals = context.signals();
        block_on(async {
            let looking = async {
                let subscribers = self.account.open(context, namespace.clone()).await?;
                let has_owner = subscribers.through() == Component::Ellis || !self.account.private_prefix.is_empty();
                if self.all && !has_owner {
                    return Err(CliError::Refused(
                        "homestead-prov knows no accounts: every line of the deployment would go, whoever made it. What works: \
                         --private-prefix TEXT; or name numbers and ranges"
                            .to_owned(),
                    ));
                }
                let found = chosen(&subscribers, &self.numbers).await?;
                Ok((subscribers, found))
            };
            let (subscribers, (lines, missing)) = unless_ended(&signals, looking).await?;
            for identity in &missing {
                context.talk().note(format!("{identity}: it is not there"));
            }
            if lines.is_empty() && !self.all {
                return Ok(exit::OK);
            }
            let identities: Vec<PublicIdentity> = lines.into_iter().map(|l| l.public_identity).collect();
            if !self.yes && !identities.is_empty() {
                let text = question(&identities, &namespace);
                match answered(&text, "yes", "--yes", &signals).await {
                    Ok(true) => {}
                    Ok(false) => return Err(CliError::Refused("nothing was deleted".to_owned())),
                    Err(reason) => return Err(CliError::Ended(reason)),
                }
            }
            let count = identities.len();
            let deleting = async {
                let mut progress = Progress::new("deleted", count);
                let mut all = pin!(subscribers.delete_all(identities));
                let (mut deleted, mut problems) = (0, Vec::new());
                while let Some((identity, gone)) = all.next().await {
                    match gone {
                        Ok(was_there) => deleted += usize::from(was_there),
                        Err(error) => problems.push(format!("{identity}: {}", advice::said(&error))),
                    }
                    progress.one();
                }
                if self.all && problems.is_empty() {
                    subscribers.delete_account().await?;
                }
                Ok((deleted, problems))
            };
            let (deleted, problems) = unless_ended(&signals, deleting).await?;
            for problem in &problems {
                context.talk().warning(problem);
            }
            context.talk().line(format!("deleted {}", counted(deleted, "line")));
            Ok(if problems.is_empty() { exit::OK } else { exit::FAILURE })
        })
    }
}

fn question(identities: &[PublicIdentity], namespace: &str) -> String {
    let mut text = String::new();
    for identity in identities.iter().take(NAMED) {
        let _ = writeln!(text, "  {identity}");
    }
    if identities.len() > NAMED {
        let _ = writeln!(text, "  and {} more", identities.len() - NAMED);
    }
    let _ = write!(text, "Delete {} of namespace {namespace}? Type yes to go on: ", counted(identities.len(), "line"));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_question_names_some_and_counts_the_rest() {
        let all: Vec<_> = (0..12).map(|n| PublicIdentity::of(&n.to_string(), "a.b").unwrap()).collect();
        let text = question(&all, "ims");
        assert!(text.starts_with("  sip:0@a.b\n") && text.contains("  and 2 more\n"), "{text}");
        assert!(text.ends_with("Delete 12 lines of namespace ims? Type yes to go on: "), "{text}");
    }
}
