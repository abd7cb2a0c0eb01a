//! Which sources are read.

use std::sync::Arc;
use std::time::Duration;

use clap::{ArgAction, Args, ValueEnum};
use clearwater::component::{Component, Release, Role, UnknownName, playing};
use clearwater::manifest::SERVICE_LABEL;
use clearwater_kube::Cluster;
use clearwater_kube::logs::{Candidate, Choice, LogEntry, Logs as Stream, Options, Select, read};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use regex::Regex;

use crate::arguments::PlaceArgs;
use crate::context::Context;
use crate::duration::duration;
use crate::error::CliError;

/// Which pods and containers are read, and how far back. Shared by logs and trace.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub(in crate::command) struct Selection {
    /// Only components that play this role, as s-cscf or hss-gateway
    #[arg(long, value_name = "ROLE", value_delimiter = ',', value_parser = role)]
    role: Vec<Component>,
    /// Only pods with these labels
    #[arg(short = 'l', long, value_name = "SELECTOR", default_value = "", hide_default_value = true)]
    selector: String,
    /// Only pods with these fields
    #[arg(long, value_name = "SELECTOR", default_value = "", hide_default_value = true)]
    field_selector: String,
    /// Only pods on this node
    #[arg(long, value_name = "NODE")]
    node: Option<String>,
    /// Only pods whose name matches
    #[arg(long, value_name = "REGEX")]
    pod: Option<Regex>,
    /// The pods of all namespaces
    #[arg(short = 'A', long)]
    pub(super) all_namespaces: bool,
    /// Only containers whose name matches
    #[arg(short = 'c', long, value_name = "REGEX")]
    container: Option<Regex>,
    /// No containers whose name matches. May be given more than once
    #[arg(short = 'E', long, value_name = "REGEX")]
    exclude_container: Vec<Regex>,
    /// No pods whose name matches. May be given more than once
    #[arg(long, value_name = "REGEX")]
    exclude_pod: Vec<Regex>,
    /// Only containers in this state: running, waiting, terminated or all
    #[arg(long, value_name = "STATE", value_delimiter = ',', value_enum, default_value = "all")]
    container_state: Vec<RunState>,
    /// Only pods with this condition, as ready or ready=false
    #[arg(long, value_name = "NAME[=VALUE]")]
    condition: Option<String>,
    /// Whether init containers are read
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value_t = true,
          default_missing_value = "true", action = ArgAction::Set, hide_short_help = true)]
    init_containers: bool,
    /// Whether ephemeral containers are read
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value_t = true,
          default_missing_value = "true", action = ArgAction::Set, hide_short_help = true)]
    ephemeral_containers: bool,
    /// What of each container is read: auto (its files where it is known to write files, else its output), stdout,
    /// files, supervisor or all
    #[arg(long, value_name = "SOURCE", default_value_t)]
    source: Choice,
    /// Nothing older than this, as 5m or 2h
    #[arg(long, value_name = "DURATION", value_parser = duration, conflicts_with = "since_time")]
    since: Option<Duration>,
    /// Nothing older than this time (RFC 3339)
    #[arg(long, value_name = "TIME")]
    since_time: Option<Timestamp>,
    /// At most so many records of the past of each source, of one line or many; -1 for all of them
    #[arg(long, value_name = "RECORDS", default_value_t = -1, allow_negative_numbers = true,
          value_parser = clap::value_parser!(i64).range(-1..))]
    tail: i64,
    /// The containers before the present ones as well
    #[arg(short = 'p', long)]
    previous: bool,
    /// How long lines are held at most so that older lines of other sources can go before them; they are held for as long as
    /// the sources come late, for some milliseconds mostly
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "1s")]
    pub(super) window: Duration,
    /// How long a source whose stream broke may hold back all others while it resumes
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "5s")]
    max_hold: Duration,
}

/// What a container does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum RunState {
    Running,
    Waiting,
    Terminated,
    All,
}

impl RunState {
    fn is_of(self, status: &ContainerStatus) -> bool {
        let state = status.state.as_ref();
        match self {
            Self::Running => state.is_some_and(|s| s.running.is_some()),
            Self::Waiting => state.is_some_and(|s| s.waiting.is_some()),
            Self::Terminated => state.is_some_and(|s| s.terminated.is_some()),
            Self::All => true,
        }
    }
}

/// Whether a pod has a condition, given as `name` or `name=value`; both are compared without case.
fn meets(pod: &Pod, condition: &str) -> bool {
    let (name, value) = condition.split_once('=').unwrap_or((condition, "true"));
    let conditions = pod.status.as_ref().and_then(|s| s.conditions.as_deref()).unwrap_or_default();
    conditions.iter().any(|c| c.type_.eq_ignore_ascii_case(name) && c.status.eq_ignore_ascii_case(value))
}

/// The component that plays a role, by the role's name. Every release has every role.
fn role(text: &str) -> Result<Component, String> {
    let role: Role = text.parse().map_err(|unknown: UnknownName| unknown.to_string())?;
    Release::ALL.into_iter().find_map(|release| playing(release, role)).ok_or_else(|| format!("nobody plays {role}"))
}

impl Selection {
    /// Whether nobody said which sources of a container are read.
    pub(super) fn is_source_chosen_here(&self) -> bool {
        self.source == Choice::default()
    }

    fn select(&self, components: &[Component]) -> Select {
        let wanted: Vec<&'static str> = components.iter().chain(&self.role).map(|c| c.name()).collect();
        let (container, node, pod) = (self.container.clone(), self.node.clone(), self.pod.clone());
        let (without, without_pods) = (self.exclude_container.clone(), self.exclude_pod.clone());
        let (states, condition) = (self.container_state.clone(), self.condition.clone());
        let (init, ephemeral) = (self.init_containers, self.ephemeral_containers);
        // Pods that other manifests made carry upstream's label as well; what carries another label was asked for.
        let any_pod = !self.selector.is_empty() || self.pod.is_some();
        Arc::new(move |c: &Candidate<'_>| {
            let service = c.pod.metadata.labels.as_ref().and_then(|l| l.get(SERVICE_LABEL)).map(String::as_str);
            let ours = service.is_some_and(|s| s.parse::<Component>().is_ok());
            let name = c.pod.metadata.name.as_deref().unwrap_or_default();
            let on = c.pod.spec.as_ref().and_then(|s| s.node_name.as_deref());
            let is_ephemeral = || {
                let all = c.pod.status.as_ref().and_then(|s| s.ephemeral_container_statuses.as_deref());
                all.unwrap_or_default().iter().any(|s| s.name == c.container)
            };
            (if wanted.is_empty() { ours || any_pod } else { service.is_some_and(|s| wanted.contains(&s)) })
                && pod.as_ref().is_none_or(|r| r.is_match(name))
                && container.as_ref().is_none_or(|r| r.is_match(c.container))
                && !without.iter().any(|r| r.is_match(c.container))
                && !without_pods.iter().any(|r| r.is_match(name))
                && node.as_deref().is_none_or(|n| on == Some(n))
                && states.iter().any(|s| s.is_of(c.status))
                && condition.as_deref().is_none_or(|condition| meets(c.pod, condition))
                && (init || !c.init)
                && (ephemeral || !is_ephemeral())
        })
    }

    /// Whether a component was asked for: by its own name, or by a role that it plays.
    pub(super) fn has(&self, components: &[Component], name: &str) -> bool {
        let mut wanted = components.iter().chain(&self.role).peekable();
        wanted.peek().is_none() || wanted.any(|c| c.name() == name)
    }

    /// Whether a record of what was saved is wanted, as far as that tells: by its time, its component and its pod.
    pub(in crate::command) fn has_saved(&self, entry: &LogEntry, since: Option<Timestamp>) -> bool {
        since.is_none_or(|since| entry.time >= since)
            && self.has(&[], &entry.source.component)
            && self.has_pod(&entry.source.pod)
    }

    /// Whether a pod is one that was asked for, by its name.
    pub(super) fn has_pod(&self, pod: &str) -> bool {
        self.pod.as_ref().is_none_or(|wanted| wanted.is_match(pod))
            && !self.exclude_pod.iter().any(|unwanted| unwanted.is_match(pod))
    }

    /// Says which flags were given that pick nothing of what was saved.
    pub(in crate::command) fn warn_of_pods_only(&self, context: &mut Context) {
        let flags = self.of_pods_only();
        if !flags.is_empty() {
            let flags = flags.join(", ");
            context.talk().warning(format!("{flags} picks pods of a cluster, and nothing of what was saved"));
        }
    }

    /// The flags that were given and that nothing of what was saved can tell.
    fn of_pods_only(&self) -> Vec<&'static str> {
        let given = [
            ("--selector", !self.selector.is_empty()),
            ("--field-selector", !self.field_selector.is_empty()),
            ("--node", self.node.is_some()),
            ("--container", self.container.is_some()),
            ("--exclude-container", !self.exclude_container.is_empty()),
            ("--container-state", self.container_state != [RunState::All]),
            ("--source", self.source != Choice::default()),
            ("--all-namespaces", self.all_namespaces),
            ("--condition", self.condition.is_some()),
            ("--tail", self.tail >= 0),
            ("--previous", self.previous),
        ];
        given.into_iter().filter(|(_, is_given)| *is_given).map(|(flag, _)| flag).collect()
    }

    pub(in crate::command) fn since(&self) -> Option<Timestamp> {
        self.since.and_then(|s| Timestamp::now().checked_sub(s).ok()).or(self.since_time)
    }

    /// The namespace of the pods, which is the command's first line where `says`.
    pub(in crate::command) fn namespace(
        &self,
        place: &PlaceArgs,
        context: &mut Context,
        says: bool,
    ) -> Result<String, CliError> {
        if says && self.all_namespaces {
            context.talk().line("all namespaces");
        }
        place.namespace(context, says && !self.all_namespaces)
    }

    /// Why there is nothing to read, where it is that there is no such namespace.
    pub(in crate::command) async fn no_place(&self, cluster: &Cluster) -> Option<String> {
        if self.all_namespaces { None } else { cluster.absence().await }
    }

    /// Begins to read. Must be called inside the runtime.
    pub(in crate::command) fn read(
        &self,
        cluster: &Cluster,
        components: &[Component],
        follow: bool,
        since: Option<Timestamp>,
    ) -> Stream {
        let mut options = Options::new()
            .labels(self.selector.as_str())
            .fields(self.field_selector.as_str())
            .select(self.select(components))
            .choice(self.source)
            .window(self.window)
            .max_hold(self.max_hold);
        options.all_namespaces = self.all_namespaces;
        options.follow = follow;
        options.since = since;
        options.tail = (self.tail >= 0).then_some(self.tail);
        options.previous = self.previous;
        read(cluster, options)
    }
}
