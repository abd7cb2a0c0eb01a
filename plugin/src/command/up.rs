mod through;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use clap::builder::PossibleValue;
use clearwater::component::Component;
use clearwater::config::{BonoExposure, Deployment, EllisExposure, KeyPolicy};
use clearwater::event::{CheckId, Operation, Outcome};
use clearwater::manifest::KEYS_SECRET;
use clearwater::order::Policy;
use clearwater_kube::exposure::bono_addresses;
use clearwater_kube::up::{UpOptions, up};
use tokio::time::timeout;

use crate::advice::{self, command_in, kubectl};
use crate::arguments::{FileArgs, one_of};
use crate::context::Context;
use crate::drive::{ConsentQuestion, drive};
use crate::duration::limit;
use crate::error::CliError;
use crate::exit;
use crate::outfile;
use crate::reporter::{EventFormat, changes, choose};
use crate::runtime::block_on;
use crate::timeline;

/// How long is looked for bono's addresses once all serves.
const LOOK: Duration = Duration::from_secs(5);
/// How long a run may take where nobody says otherwise.
const TIMEOUT: Duration = Duration::from_mins(15);

/// Which components are meant, and in which order.
#[derive(Clone, Debug, Args)]
pub(crate) struct Scope {
    /// Only these components and what they need
    #[arg(long, value_name = "COMPONENT", value_delimiter = ',')]
    pub(crate) only: Vec<Component>,
    /// Not these components, nor what needs them
    #[arg(long, value_name = "COMPONENT", value_delimiter = ',')]
    pub(crate) skip: Vec<Component>,
    /// What a component waits for before it is started
    #[arg(long, value_name = "ORDER", value_parser = one_of::<Policy>(policies()), default_value_t)]
    pub(crate) order: Policy,
}

/// What `--order` takes, with what the help page says of each.
fn policies() -> [PossibleValue; Policy::ALL.len()] {
    Policy::ALL.map(|policy| {
        PossibleValue::new(policy.name()).help(match policy {
            Policy::Earliest => "What it cannot start without",
            Policy::Article => "The sequence of the article \"Clearwater On Kubernetes\"",
            _ => "What it cannot start or work without",
        })
    })
}

/// Bring a deployment up, in dependency order, until every component serves
///
/// What stands is kept, so it can be run again and again: after an edit of the file, after an interruption, or to see
/// that nothing has to be done.
#[derive(Debug, Args)]
#[command(
    alias = "install",
    after_help = "Examples:
  kubectl clearwater up -n ims --create-namespace
  kubectl clearwater up -f clearwater.yaml --set logLevel=4 --yes
  kubectl clearwater up --only homer --dry-run"
)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own on the command line")]
pub(crate) struct Up {
    #[command(flatten)]
    file: FileArgs,
    #[command(flatten)]
    scope: Scope,
    /// How long the whole may take
    #[arg(long, value_name = "DURATION", value_parser = limit, default_value = "15m")]
    timeout: Duration,
    /// Go on without asking
    #[arg(short, long)]
    yes: bool,
    /// Make the namespace where it is missing
    #[arg(long)]
    create_namespace: bool,
    /// Go on past a check before the first write. May be given more than once
    #[arg(long, value_name = "CHECK", value_delimiter = ',', hide_short_help = true,
          value_parser = one_of::<CheckId>(CheckId::ALL.map(|id| PossibleValue::new(id.name()))))]
    skip_check: Vec<CheckId>,
    /// Look at everything, show what would be written, and stop
    #[arg(long)]
    dry_run: bool,
    /// Replace stores' pods of an older revision, member by member
    #[arg(long)]
    replace_stores: bool,
    /// With --replace-stores: go through a backup where stores would lose what they hold. FILE is made, they are taken down
    /// and brought up anew, and what was kept is put back and compared. The same command again goes on where it was interrupted
    #[arg(long, value_name = "FILE", requires = "replace_stores", conflicts_with_all = ["Scope", "dry_run", "output", "timeline"])]
    through_backup: Option<PathBuf>,
    /// Repair what is broken even where data is lost for it
    #[arg(long)]
    accept_loss: bool,
    /// Take over fields that somebody else set
    #[arg(long)]
    force_conflicts: bool,
    /// The format of the events on standard output
    #[arg(short, long, value_enum)]
    output: Option<EventFormat>,
    /// Write a drawing of where the time went
    #[arg(long, value_name = "FILE.svg")]
    timeline: Option<PathBuf>,
}

impl Up {
    /// Of these components and what they need, with nothing else asked for.
    pub(crate) fn only(file: FileArgs, only: Vec<Component>, yes: bool) -> Self {
        Self {
            file,
            scope: Scope { only, skip: Vec::new(), order: Policy::default() },
            timeout: TIMEOUT,
            yes,
            create_namespace: false,
            skip_check: Vec::new(),
            dry_run: false,
            replace_stores: false,
            through_backup: None,
            accept_loss: false,
            force_conflicts: false,
            output: None,
            timeline: None,
        }
    }

    /// What the engine is told, without how long it may take.
    fn options(&self, deployment: &Deployment) -> UpOptions {
        let mut options = UpOptions::new(deployment.clone())
            .policy(self.scope.order)
            .only(self.scope.only.clone())
            .skip(self.scope.skip.clone())
            .skip_checks(self.skip_check.clone());
        options.create_namespace = self.create_namespace;
        options.dry_run = self.dry_run;
        options.force_conflicts = self.force_conflicts;
        options.replace_stores = self.replace_stores;
        options.accept_loss = self.accept_loss;
        options.ask = !self.yes && !self.dry_run;
        options
    }

    pub(crate) fn run(self, context: &mut Context) -> Result<u8, CliError> {
        // Without a file the defaults are what is wanted.
        advice::made_of(self.file.typed());
        if let Some(file) = &self.through_backup {
            return through::run(&self, file, context);
        }
        self.timeline.as_deref().map_or(Ok(()), outfile::can_be_written)?;
        let deployment = self.file.deployment(context, self.output.is_none())?;
        let options = self.options(&deployment);
        let mut reporter = choose(self.output);
        let ask = |all: &[clearwater::event::Change]| {
            let fresh = all.iter().all(|c| c.operation == Operation::Create);
            let shown = if fresh { String::new() } else { changes(all) };
            format!("{shown}Go on? [y/N] ")
        };
        let question = options.ask.then_some(ConsentQuestion { ask: &ask, yes: "y" });
        let signals = context.signals();
        let ended = block_on(async {
            let (cluster, left) = context.connection().cluster_within(deployment.namespace(), self.timeout).await?;
            let ended = drive(up(&cluster, options.timeout(left)), reporter.as_mut(), question, &signals).await?;
            let serves = matches!(ended.outcome, Outcome::Done | Outcome::NothingToDo | Outcome::ChangesPending);
            if self.output.is_none() && serves && self.scope.only.is_empty() {
                let looked = timeout(LOOK, bono_addresses(&cluster, &deployment)).await;
                let proxies = looked.ok().and_then(Result::ok).unwrap_or_default();
                context.results().text(&how_to_go_on(&deployment, &proxies))?;
            }
            Ok::<_, CliError>(ended)
        })?;
        if let Some(path) = &self.timeline {
            outfile::write(path, timeline::draw(&ended.events))?;
        }
        let code = ended.code();
        if self.dry_run && self.output.is_none() && code == exit::OK {
            for event in &ended.events {
                if let clearwater::event::EventKind::Planned { changes: all, .. } = &event.what {
                    context.results().styled(&changes(all))?;
                }
            }
        }
        Ok(code)
    }
}

/// What a person does next: open Ellis, type an account into a softphone, look.
fn how_to_go_on(deployment: &Deployment, proxies: &[SocketAddr]) -> String {
    use std::fmt::Write;
    let ns = deployment.namespace();
    let file = deployment.file();
    let mut text = String::new();
    if deployment.has(Component::Ellis) {
        text.push_str("\nMake an account in Ellis:\n");
        match (&file.ellis.exposure, &file.ellis.ingress) {
            (EllisExposure::Ingress, Some(ingress)) => {
                let _ = writeln!(text, "  http://{}/", ingress.host);
            }
            (EllisExposure::NodePort | EllisExposure::LoadBalancer, _) => {
                let services = kubectl("get services -l service=ellis", ns);
                let _ = writeln!(text, "  {services}   shows its address and port");
            }
            _ => {
                let forward = kubectl("port-forward deployment/ellis 8080:80", ns);
                let _ = writeln!(text, "  {forward}   then http://localhost:8080/");
            }
        }
        let key = match &file.keys {
            KeyPolicy::Upstream => "secret".to_owned(),
            KeyPolicy::Random => secret(ns, KEYS_SECRET),
            KeyPolicy::Secret(name) => secret(ns, name),
        };
        let _ = writeln!(text, "  sign-up code: {key}");
    }
    if deployment.has(Component::Bono) {
        text.push_str(&softphone(deployment, proxies));
    }
    let [status, logs, down] = ["status", "logs", "down"].map(|command| command_in(command, ns));
    let _ = writeln!(text, "\nNext:\n  {status}\n  {logs}\n  {down}");
    text
}

/// What a softphone asks for, line by line.
fn softphone(deployment: &Deployment, proxies: &[SocketAddr]) -> String {
    let ns = deployment.namespace();
    let domain = deployment.home_domain();
    let proxy = match (proxies, deployment.file().bono.exposure) {
        ([], BonoExposure::Headless) => {
            format!("the address of bono ({})", kubectl("get pods -l service=bono -o wide", ns))
        }
        ([], BonoExposure::HostPort) => {
            format!("the node of bono ({})", kubectl("get pods -l service=bono -o wide", ns))
        }
        ([], BonoExposure::NodePort | BonoExposure::LoadBalancer | BonoExposure::ExternalIps) => {
            format!("the address of the Service bono-0 ({})", kubectl("get services -l service=bono", ns))
        }
        (proxies, _) => proxies.iter().map(ToString::to_string).collect::<Vec<_>>().join(" or "),
    };
    let inside = match deployment.file().bono.exposure {
        BonoExposure::Headless => {
            "   reached from inside of the cluster alone: bono.exposure in the deployment file opens it"
        }
        _ => "",
    };
    format!(
        "\nType into a softphone, for a number such as 6505550000 that Ellis shows:\n  \
         user            6505550000\n  \
         domain          {domain}\n  \
         outbound proxy  {proxy}{inside}\n  \
         transport       TCP\n  \
         auth name       6505550000@{domain}\n  \
         password        the one that Ellis shows\n"
    )
}

fn secret(namespace: &str, name: &str) -> String {
    format!("{} | base64 -d", kubectl(&format!("get secret {name} -o jsonpath='{{.data.signup_key}}'"), namespace))
}
