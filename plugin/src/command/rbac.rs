use clap::Args;
use clap::builder::PossibleValue;
use clearwater::text::is_harmful;
use clearwater_kube::rights::{Grantee, Task, roles};

use crate::arguments::{PlaceArgs, one_of};
use crate::context::Context;
use crate::error::CliError;
use crate::exit;
use crate::output::Format;

/// Show the Roles that let somebody do something, and nothing more
///
/// Nothing is asked of the cluster. Roles of the namespace, of kube-system where the cluster's DNS is meant, and of the
/// whole cluster are written with their bindings, to be applied by whoever may give these rights.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  kubectl clearwater rbac up status -n ims --for-user ann
  kubectl clearwater rbac scale --for-service-account ci:deployer --minimal")]
pub(crate) struct Rbac {
    /// What is to be done
    #[arg(required = true, value_name = "TASK", value_parser = one_of::<Task>(Task::ALL.map(Task::name).map(PossibleValue::new)))]
    tasks: Vec<Task>,
    #[command(flatten)]
    place: PlaceArgs,
    #[command(flatten)]
    subject: SubjectArgs,
    /// Only what cannot be done without: what is left out is told as skipped
    #[arg(long)]
    minimal: bool,
    /// The format
    #[arg(short, long, value_enum, default_value = "yaml")]
    output: Format,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct SubjectArgs {
    /// The user who is to do it
    #[arg(id = "for-user", long = "for-user", value_name = "NAME", value_parser = name)]
    user: Option<String>,
    /// The group that is to do it
    #[arg(id = "for-group", long = "for-group", value_name = "NAME", value_parser = name)]
    group: Option<String>,
    /// The service account that is to do it, of this namespace or of the one before the colon
    #[arg(id = "for-service-account", long = "for-service-account", value_name = "[NAMESPACE:]NAME", value_parser = account)]
    service_account: Option<String>,
}

impl SubjectArgs {
    fn subject(self, namespace: &str) -> Grantee {
        if let Some(user) = self.user {
            return Grantee::User(user);
        }
        if let Some(group) = self.group {
            return Grantee::Group(group);
        }
        let account = self.service_account.unwrap_or_default();
        let (namespace, name) = account.split_once(':').unwrap_or((namespace, &account));
        Grantee::ServiceAccount { namespace: namespace.to_owned(), name: name.to_owned() }
    }
}

/// A name that somebody can have: it is seen, as a whole.
fn name(text: &str) -> Result<String, String> {
    match text.chars().find(|c| is_harmful(*c)) {
        _ if text.trim().is_empty() => Err("it is empty".to_owned()),
        Some(c) => Err(format!("it holds the character {c:?}, which no name has")),
        None => Ok(text.to_owned()),
    }
}

/// The name of a service account, after a namespace and a colon or alone.
fn account(text: &str) -> Result<String, String> {
    let is_inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.');
    let is_name = |name: &str| !name.is_empty() && name.chars().all(is_inner);
    if text.split(':').count() <= 2 && text.split(':').all(is_name) {
        Ok(text.to_owned())
    } else {
        Err("it is no name of a service account, as deployer or ci:deployer".to_owned())
    }
}

impl Rbac {
    pub(crate) fn run(self, context: &mut Context) -> Result<u8, CliError> {
        let namespace = self.place.namespace(context, true)?;
        let subject = self.subject.subject(&namespace);
        let objects = roles(&self.tasks, &namespace, !self.minimal, &subject);
        if self.tasks.contains(&Task::CreateNamespace) {
            context.talk().note(format!("the Roles of {namespace} can be applied only once that namespace stands"));
        }
        match self.output {
            Format::Yaml => context.results().text(&clearwater::yaml::write_many(&objects)?)?,
            Format::Json => {
                let list = serde_json::json!({"apiVersion": "v1", "kind": "List", "items": objects});
                context.results().value(Format::Json, &list)?;
            }
        }
        Ok(exit::OK)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_account_has_a_name() {
        for good in ["deployer", "ci:deployer", "ci:system.deployer-2"] {
            assert_eq!(account(good).as_deref(), Ok(good));
        }
        for bad in ["", ":", "ci:", ":deployer", "a:b:c", "Deployer", "a b"] {
            assert!(account(bad).is_err(), "{bad:?}");
        }
    }
}
