//! Lines as people and programs read them.

use clap::ValueEnum;
use clearwater::component::Component;
use clearwater::subscriber::{Subscriber as Line, injection};
use clearwater_kube::subscribers::Provisioning;
use schemars::JsonSchema;
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};

use crate::context::Context;
use crate::error::CliError;
use crate::output::Format;
use crate::reporter::plain;
use crate::table::Table;

/// The version of what `-o json` writes.
pub(super) const VERSION: u32 = 1;

/// A format of lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LineFormat {
    /// For people
    Table,
    /// For programs
    Json,
    /// sipp's injection file (-inf), without passwords where none are shown
    Csv,
}

/// What `subscriber -o json` writes, and what `subscriber import` reads.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Report {
    /// The version of this format.
    pub(super) v: u32,
    /// The deployment's namespace.
    pub(super) namespace: String,
    /// Who was asked: ellis or homestead-prov.
    pub(super) through: String,
    /// The account at Ellis, where it was Ellis.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) account: Option<String>,
    /// The SIP home domain.
    pub(super) home_domain: String,
    /// The lines.
    pub(super) subscribers: Vec<Entry>,
    /// What was not done, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) problems: Vec<String>,
}

/// One line.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Entry {
    /// By which it is called (IMPU).
    pub(super) public_identity: String,
    /// By which it registers (IMPI).
    pub(super) private_identity: String,
    /// What stands before the domain.
    pub(super) number: String,
    /// The password, where it was asked for and is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) password: Option<String>,
}

impl Entry {
    fn of(line: &Line) -> Self {
        Self {
            public_identity: line.public_identity.to_string(),
            private_identity: line.private_identity.clone(),
            number: line.number().to_owned(),
            password: line.password.as_ref().map(|p| p.expose_secret().to_owned()),
        }
    }
}

/// What a command found or did.
pub(super) struct Found {
    pub(super) namespace: String,
    pub(super) account: String,
    pub(super) lines: Vec<Line>,
    pub(super) problems: Vec<String>,
}

impl Found {
    /// Whose lines are meant: an account's, where there are accounts.
    fn owner(&self, subscribers: &Provisioning) -> String {
        match subscribers.through() {
            Component::Ellis => format!("account {}", self.account),
            other => other.name().to_owned(),
        }
    }

    /// Writes it in one format. Problems go where a program looks for them, and to standard error for people.
    pub(super) fn write(
        mut self,
        context: &mut Context,
        subscribers: &Provisioning,
        format: LineFormat,
    ) -> Result<(), CliError> {
        self.lines.sort_by(|a, b| a.public_identity.cmp(&b.public_identity));
        for problem in &self.problems {
            context.talk().warning(problem);
        }
        if self.lines.is_empty() && self.problems.is_empty() && format == LineFormat::Table {
            context.talk().note(format!("{} has no lines here", self.owner(subscribers)));
        }
        match format {
            LineFormat::Table => context.results().text(&table(&self.lines)),
            LineFormat::Csv => {
                let text = injection(&self.lines).map_err(|e| CliError::Refused(e.to_string()))?;
                context.results().text(&text)
            }
            LineFormat::Json => {
                let through = subscribers.through();
                let account = subscribers.ellis().is_some().then(|| self.account.clone());
                let report = Report {
                    v: VERSION,
                    namespace: self.namespace,
                    through: through.name().to_owned(),
                    account,
                    home_domain: subscribers.home_domain().to_owned(),
                    subscribers: self.lines.iter().map(Entry::of).collect(),
                    problems: self.problems,
                };
                context.results().value(Format::Json, &report)
            }
        }
    }
}

fn table(lines: &[Line]) -> String {
    let row = |line: &Line| {
        let password = line.password.as_ref().map_or("-", |p| p.expose_secret());
        [line.number(), line.public_identity.as_str(), &line.private_identity, password].map(plain)
    };
    let has_passwords = lines.iter().any(|l| l.password.is_some());
    let mut text = String::new();
    let mut put = |line: String| {
        text += line.trim_end();
        text.push('\n');
    };
    // A password is copied from the screen: no line is cut.
    if has_passwords {
        let table = Table::new(
            ["NUMBER", "PUBLIC IDENTITY", "PRIVATE IDENTITY", "PASSWORD"],
            lines.iter().map(row).collect(),
            usize::MAX,
        );
        put(table.head());
        (0..lines.len()).for_each(|n| put(table.row(n, anstyle::Style::new())));
    } else if !lines.is_empty() {
        let rows = lines.iter().map(row).map(|[a, b, c, _]| [a, b, c]).collect();
        let table = Table::new(["NUMBER", "PUBLIC IDENTITY", "PRIVATE IDENTITY"], rows, usize::MAX);
        put(table.head());
        (0..lines.len()).for_each(|n| put(table.row(n, anstyle::Style::new())));
    }
    text
}

#[cfg(test)]
mod tests {
    use clearwater::subscriber::PublicIdentity;

    use super::*;

    fn line(number: &str, password: Option<&str>) -> Line {
        let public_identity = PublicIdentity::of(number, "a.b").unwrap();
        let private_identity = public_identity.private_identity().to_owned();
        Line { public_identity, private_identity, password: password.map(Into::into) }
    }

    #[test]
    fn passwords_have_a_column_where_there_are_any() {
        assert_eq!(
            table(&[line("1", None)]),
            "NUMBER  PUBLIC IDENTITY  PRIVATE IDENTITY\n1       sip:1@a.b        1@a.b\n"
        );
        assert_eq!(
            table(&[line("1", Some("x")), line("22", None)]),
            "NUMBER  PUBLIC IDENTITY  PRIVATE IDENTITY  PASSWORD\n\
             1       sip:1@a.b        1@a.b             x\n\
             22      sip:22@a.b       22@a.b            -\n"
        );
        assert_eq!(table(&[]), "");
    }
}
