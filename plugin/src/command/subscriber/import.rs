use std::collections::HashSet;
use std::path::PathBuf;

use clap::Args;
use clearwater::subscriber::{PublicIdentity, Subscriber as Line, read_injection};
use clearwater_kube::subscribers::{Provisioning, SubscriberError};
use futures::future::ready;
use futures::{StreamExt, stream};
use secrecy::SecretString;

use super::progress::Progress;
use super::report::{Found, LineFormat, Report};
use super::{AccountArgs, take_all};
use crate::advice;
use crate::bounded;
use crate::context::Context;
use crate::error::{CliError, spelled};
use crate::exit;
use crate::runtime::{block_on, unless_ended};

/// The longest file that is read: a hundred thousand lines.
const LONGEST: u64 = 64 << 20;

/// Make the lines of a file: what `subscriber export` wrote, or sipp's injection file
///
/// A line that stands already is kept, and given the file's password where it has one; an import that was interrupted is
/// completed by the same one again. Lines without a password get a new one, which is shown.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  kubectl clearwater subscriber import lines.json -n ims
  kubectl clearwater subscriber import lines.csv --no-passwords")]
pub(crate) struct Import {
    /// The file; - reads standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Do not show passwords
    #[arg(long, visible_alias = "no-password")]
    no_passwords: bool,
    #[command(flatten)]
    account: AccountArgs,
    /// The format
    #[arg(short, long, value_enum, default_value = "table")]
    output: LineFormat,
}

impl Import {
    pub(crate) fn run(self, context: &mut Context) -> Result<u8, CliError> {
        let wanted = parse(&bounded::text(&self.file, LONGEST)?, &spelled(&self.file))?;
        let namespace = self.account.place.namespace(context, self.output == LineFormat::Table)?;
        let signals = context.signals();
        block_on(async {
            let looking = async {
                let subscribers = self.account.open(context, namespace.clone()).await?;
                let standing = subscribers.list().await?;
                Ok((subscribers, standing))
            };
            let (subscribers, standing) = unless_ended(&signals, looking).await?;
            let account = self.account.account.clone();
            let mut found = Found { namespace, account, lines: Vec::new(), problems: Vec::new() };
            let mut progress = Progress::new("imported", wanted.len());
            let (of, standing) = (&subscribers, &standing);
            let importing = |line: Line| async move {
                let identity = line.public_identity.clone();
                (identity, one(of, standing, line).await)
            };
            let cancel = subscribers.cancellation();
            let all = stream::iter(wanted).take_while(|_| ready(!cancel.is_cancelled())).map(importing);
            let all = all.buffer_unordered(self.account.at_once.into());
            let ended = take_all(all, &signals, cancel, |(identity, imported)| match imported {
                Ok(line) => {
                    progress.one();
                    found.lines.push(line);
                }
                Err(error) => found.problems.push(format!("{identity}: {}", advice::said(&error))),
            })
            .await;
            drop(progress);
            if self.no_passwords {
                found.lines = found.lines.into_iter().map(Line::without_password).collect();
            }
            let well = found.problems.is_empty();
            found.write(context, &subscribers, self.output)?;
            ended?;
            Ok(if well { exit::OK } else { exit::FAILURE })
        })
    }
}

/// Makes a line where it does not stand, and gives it the file's password.
async fn one(subscribers: &Provisioning, standing: &[Line], wanted: Line) -> Result<Line, SubscriberError> {
    // A number of another deployment becomes one of this.
    let identity = subscribers.identity(wanted.number())?;
    let line = if let Some(line) = standing.iter().find(|l| l.public_identity == identity) {
        line.clone()
    } else {
        subscribers.create_line(&identity, &rehomed(&wanted, &identity)).await?
    };
    let Some(password) = wanted.password else { return Ok(line) };
    let password = subscribers.set_password(&line, Some(password)).await?;
    Ok(Line { password: Some(password), ..line })
}

/// The file's private identity, in the domain that the line has now.
fn rehomed(wanted: &Line, identity: &PublicIdentity) -> String {
    let old = wanted.public_identity.domain();
    match wanted.private_identity.split_once('@') {
        Some((user, domain)) if domain == old => format!("{user}@{}", identity.domain()),
        _ => wanted.private_identity.clone(),
    }
}

/// The lines of a file of either form.
fn parse(text: &str, name: &str) -> Result<Vec<Line>, CliError> {
    let wrong = |message: String| CliError::Usage(format!("{name}: {message}"));
    let lines = if text.trim_start().starts_with('{') {
        of_json(text, &wrong)
    } else {
        read_injection(text).map_err(|e| wrong(e.to_string()))
    }?;
    let mut numbers = HashSet::new();
    match lines.iter().find(|line| !numbers.insert(line.number())) {
        // Both would become one line of this deployment, with either's password.
        Some(twice) => Err(wrong(format!("{} stands in it twice", twice.number()))),
        None => Ok(lines),
    }
}

fn of_json(text: &str, wrong: &impl Fn(String) -> CliError) -> Result<Vec<Line>, CliError> {
    let report: Report = serde_json::from_str(text).map_err(|e| wrong(e.to_string()))?;
    if report.v != super::report::VERSION {
        return Err(wrong(format!("version {} of this format is not known to this program", report.v)));
    }
    let line = |entry: super::report::Entry| {
        let public_identity: PublicIdentity = entry.public_identity.parse().map_err(|e| wrong(format!("{e}")))?;
        let password = entry.password.map(SecretString::from);
        Ok(Line { public_identity, private_identity: entry.private_identity, password })
    };
    report.subscribers.into_iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_private_identity_keeps_its_name_and_comes_into_the_home_domain() {
        let line = |private: &str| Line {
            public_identity: "sip:1@a.b".parse().unwrap(),
            private_identity: private.to_owned(),
            password: None,
        };
        let here = "sip:1@c.d".parse().unwrap();
        for (of_file, now) in [("1@a.b", "1@c.d"), ("lab-1@a.b", "lab-1@c.d"), ("1@hss", "1@hss"), ("one", "one")] {
            assert_eq!(rehomed(&line(of_file), &here), now);
        }
    }

    #[test]
    fn both_forms_are_read() {
        let json = r#"{"v": 1, "namespace": "ims", "through": "ellis", "homeDomain": "a.b", "subscribers":
            [{"publicIdentity": "sip:1@a.b", "privateIdentity": "1@a.b", "number": "1", "password": "x"}]}"#;
        let csv = "SEQUENTIAL\nsip:1@a.b;[authentication username=1@a.b password=x];sip:2@a.b\n";
        for text in [json, csv] {
            let lines = parse(text, "f").unwrap();
            assert_eq!((lines.len(), lines[0].number()), (1, "1"));
            assert!(lines[0].password.is_some());
        }
        let told = |text: &str| parse(text, "lines.json").unwrap_err().to_string();
        assert!(told(&json.replace("\"v\": 1", "\"v\": 2")).contains("version 2"));
        assert!(told(&format!("{csv}sip:1@c.d;\n")).ends_with("lines.json: 1 stands in it twice"));
        assert!(told("{").starts_with("lines.json: "));
        assert!(told("nobody\n").starts_with("lines.json: line 1: "));
    }
}
