use std::collections::HashSet;

use clap::Args;
use clearwater::component::Component;
use clearwater::subscriber::{PublicIdentity, Subscriber as Line};
use clearwater_kube::subscribers::{Provisioning, SubscriberError};
use futures::{Stream, StreamExt};

use super::progress::Progress;
use super::report::{Found, LineFormat};
use super::{AccountArgs, Which, identities, take_all};
use crate::advice;
use crate::context::Context;
use crate::error::CliError;
use crate::exit;
use crate::runtime::{block_on, unless_ended};
use crate::signal::Signals;

/// Make lines, with numbers of Ellis' pool or of your choice, and show their passwords
///
/// A range that was made in part is completed: lines that stand already stay as they are. Ellis tells a password once;
/// --new-passwords gives those that stand already new ones, so that all are shown.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  kubectl clearwater subscriber create     the next number of the pool
  kubectl clearwater subscriber create --count 200 -o csv > lines.csv
  kubectl clearwater subscriber create 6505551000..6505551099 -n ims")]
pub(crate) struct Create {
    /// Numbers, ranges of them, as FROM..TO with both ends, or whole public identities
    #[arg(value_name = "NUMBER|FROM..TO|IDENTITY", conflicts_with = "count")]
    numbers: Vec<Which>,
    /// How many lines to make with numbers that are free. Default: 1
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    count: Option<u32>,
    /// Do not show the new passwords
    #[arg(long, visible_alias = "no-password")]
    no_passwords: bool,
    /// Give lines that stand already new passwords: phones that know the old ones cannot register any more
    #[arg(long)]
    new_passwords: bool,
    #[command(flatten)]
    account: AccountArgs,
    /// The format
    #[arg(short, long, value_enum, default_value = "table")]
    output: LineFormat,
}

/// What came of it so far.
#[derive(Default)]
struct Made {
    lines: Vec<Line>,
    problems: Vec<String>,
}

impl Create {
    pub(crate) fn run(self, context: &mut Context) -> Result<u8, CliError> {
        let namespace = self.account.place.namespace(context, self.output == LineFormat::Table)?;
        let signals = context.signals();
        block_on(async {
            let opening = self.account.open(context, namespace.clone());
            let subscribers = unless_ended(&signals, opening).await?;
            let mut made = Made::default();
            let ended = self.make(context, &subscribers, &mut made, &signals).await;
            if made.lines.is_empty() && made.problems.is_empty() {
                ended?;
                return Ok(exit::OK);
            }
            // What was made is told whatever came then: a password is told once.
            if self.no_passwords {
                made.lines = made.lines.into_iter().map(Line::without_password).collect();
            }
            let well = made.problems.is_empty();
            let account = self.account.account.clone();
            let found = Found { namespace, account, lines: made.lines, problems: made.problems };
            found.write(context, &subscribers, self.output)?;
            ended?;
            Ok(if well { exit::OK } else { exit::FAILURE })
        })
    }

    async fn make(
        &self,
        context: &mut Context,
        subscribers: &Provisioning,
        made: &mut Made,
        signals: &Signals,
    ) -> Result<(), CliError> {
        if self.numbers.is_empty() {
            let count = self.count.unwrap_or(1) as usize;
            let behind = unless_ended(signals, forgotten(subscribers)).await?;
            let all = subscribers.create(count).map(|made| (None, made));
            let ended = collect(subscribers, all, count, made, signals).await;
            for line in made.lines.iter().filter(|l| behind.contains(&l.public_identity)) {
                made.problems.push(format!(
                    "{}: homestead-prov had it from an Ellis that was replaced; it is the new line's now, and the old password \
                     is worth nothing",
                    line.public_identity
                ));
            }
            return ended;
        }
        let mut wanted = identities(subscribers, &self.numbers)?;
        let listing = async { Ok(subscribers.list().await?) };
        let standing = unless_ended(signals, listing).await?;
        let (old, count) =
            (standing.into_iter().filter(|l| wanted.remove(&l.public_identity)).collect::<Vec<_>>(), wanted.len());
        if !old.is_empty() {
            let (stand, missing) = (old.len(), wanted.len());
            context.talk().note(format!("{stand} of these lines stand already, {missing} are missing"));
        }
        let all = subscribers.create_numbers(wanted).map(|(identity, made)| (Some(identity), made));
        let ended = collect(subscribers, all, count, made, signals).await;
        if !self.new_passwords || ended.is_err() {
            made.lines.extend(old);
            return ended;
        }
        super::password::renew(subscribers, old, &mut made.lines, &mut made.problems, signals).await
    }
}

/// What homestead-prov has already, where numbers are given by Ellis, which may know less.
async fn forgotten(subscribers: &Provisioning) -> Result<HashSet<PublicIdentity>, CliError> {
    match subscribers.prov().filter(|_| subscribers.through() == Component::Ellis) {
        Some(prov) => Ok(prov.public_identities().await?.into_iter().collect()),
        None => Ok(HashSet::new()),
    }
}

/// Takes what comes. What keeps one line from being made is a problem; what would keep all
/// is one, too, and the end.
async fn collect(
    subscribers: &Provisioning,
    all: impl Stream<Item = (Option<PublicIdentity>, Result<Line, SubscriberError>)>,
    count: usize,
    made: &mut Made,
    signals: &Signals,
) -> Result<(), CliError> {
    let mut progress = Progress::new("made", count);
    let mut last = None;
    let taken = take_all(all, signals, subscribers.cancellation(), |(identity, one)| match one {
        Ok(line) => {
            progress.one();
            made.lines.push(line);
        }
        Err(error) if error.is_of_one() => {
            let of = identity.map_or_else(String::new, |i| format!("{i}: "));
            let said = advice::said(&error);
            made.problems.push(if said.contains(of.trim_end_matches(": ")) { said } else { of + &said });
        }
        // Those that were on their way meet the same.
        Err(error) => last = last.take().or(Some(error)),
    })
    .await;
    drop(progress);
    taken?;
    let Some(error) = last else { return Ok(()) };
    if made.lines.is_empty() {
        return Err(error.into());
    }
    made.problems.push(format!("made {} of {count}: {}", made.lines.len(), advice::said(&error)));
    Ok(())
}
