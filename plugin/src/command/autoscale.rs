use std::fmt::Write as _;
use std::time::Duration;

use anstyle::Style;
use clap::Args;
use clearwater::component::Component;
use clearwater::manifest::Elasticity;
use clearwater_kube::Cluster;
use clearwater_kube::autoscale::{AutoscaleError, Autoscalers, autoscale, list, remove};

use crate::advice;
use crate::arguments::PlaceArgs;
use crate::context::Context;
use crate::duration::duration;
use crate::error::CliError;
use crate::exit;
use crate::output::Format;
use crate::reporter::{WARN, plain};
use crate::runtime::{block_on, unless_ended};
use crate::table::Table;

/// Let the cluster choose how many members a component has, by the load on it
///
/// Writes a HorizontalPodAutoscaler that measures the component's own container. Components that would lose data or calls
/// each time they shrink are refused, with the way that works. `up` leaves the number to the autoscaler from then on.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  kubectl clearwater autoscale sprout --min 2 --max 6 --cpu 60
  kubectl clearwater autoscale --list
  kubectl clearwater autoscale sprout --remove")]
pub(crate) struct Autoscale {
    /// The component
    #[arg(required_unless_present = "list")]
    component: Option<Component>,
    #[command(flatten)]
    place: PlaceArgs,
    /// The fewest members
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = count())]
    min: u32,
    /// The most members
    #[arg(long, value_name = "N", required_unless_present_any = ["list", "remove"], value_parser = count())]
    max: Option<u32>,
    /// The CPU time to aim at on average, in percent of what the component's container requests
    #[arg(long, value_name = "PERCENT", default_value_t = 60)]
    cpu: u32,
    /// For how long more members must have been wanted before there are more
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "0s")]
    scale_up_window: Duration,
    /// For how long fewer members must have been wanted before there are fewer
    // Two of the registrations' default lifetimes of 300 s.
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "600s")]
    scale_down_window: Duration,
    /// Look at everything, show what would be written, and stop
    #[arg(long, conflicts_with_all = ["list", "remove"])]
    dry_run: bool,
    /// Show the autoscalers there are
    #[arg(long, conflicts_with_all = ["component", "remove"])]
    list: bool,
    /// Remove the component's autoscaler; the number of members stays as it is
    #[arg(long)]
    remove: bool,
    /// A format for programs
    #[arg(short, long, value_enum)]
    output: Option<Format>,
}

/// A number of members, as Kubernetes can write one.
fn count() -> clap::builder::RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(..=i64::from(i32::MAX))
}

impl Autoscale {
    pub(crate) fn run(self, context: &mut Context) -> Result<u8, CliError> {
        let namespace = self.place.namespace(context, self.output.is_none())?;
        let signals = context.signals();
        block_on(unless_ended(&signals, async {
            let cluster = context.connection().cluster(namespace).await?;
            match self.component {
                Some(component) if self.remove => self.removed(context, &cluster, component).await,
                Some(component) => self.written(context, &cluster, component).await,
                None => self.listed(context, &cluster).await,
            }
        }))
    }

    async fn written(&self, context: &mut Context, cluster: &Cluster, component: Component) -> Result<u8, CliError> {
        let seconds = |d: Duration| u32::try_from(d.as_secs()).unwrap_or(u32::MAX);
        let elasticity = Elasticity {
            min: self.min,
            max: self.max.unwrap_or(self.min),
            cpu_percent: self.cpu,
            up_window_seconds: seconds(self.scale_up_window),
            down_window_seconds: seconds(self.scale_down_window),
        };
        let written = autoscale(cluster, None, component, &elasticity, self.dry_run).await.map_err(wrong)?;
        for note in &written.notes {
            context.talk().note(note);
        }
        if let Some(format) = self.output {
            for object in &written.autoscalers {
                context.results().value(format, object)?;
            }
            return Ok(exit::OK);
        }
        for object in &written.autoscalers {
            let name = object.metadata.name.as_deref().unwrap_or_default();
            let dry = if self.dry_run { " (dry run)" } else { "" };
            context.results().text(&format!(
                "horizontalpodautoscaler/{name}: {} to {} members by {} % of the CPU that {component} requests, fewer only \
                 after {} s{dry}\n",
                elasticity.min, elasticity.max, elasticity.cpu_percent, elasticity.down_window_seconds
            ))?;
        }
        Ok(exit::OK)
    }

    async fn removed(&self, context: &mut Context, cluster: &Cluster, component: Component) -> Result<u8, CliError> {
        let removed = remove(cluster, component).await.map_err(wrong)?;
        if removed.is_empty() {
            context.talk().note(format!("{component} has no autoscaler"));
        }
        for name in removed {
            context.results().text(&format!("horizontalpodautoscaler/{name} removed\n"))?;
        }
        Ok(exit::OK)
    }

    async fn listed(&self, context: &mut Context, cluster: &Cluster) -> Result<u8, CliError> {
        let seen = list(cluster).await.map_err(|error| match error {
            // Nothing was to become ready: it could not be looked.
            AutoscaleError::Rights(_) => CliError::Connection(advice::said(&error)),
            error => wrong(error),
        })?;
        match self.output {
            Some(format) => context.results().value(format, &seen)?,
            None => context.results().styled(&table(&seen))?,
        }
        Ok(exit::OK)
    }
}

#[expect(clippy::needless_pass_by_value, reason = "the form that map_err asks for")]
fn wrong(error: AutoscaleError) -> CliError {
    let text = advice::said(&error);
    match error {
        AutoscaleError::Bounds(_) => CliError::Usage(text),
        AutoscaleError::Refused(_) | AutoscaleError::NoRequest { .. } | AutoscaleError::Owned { .. } => {
            CliError::Refused(text)
        }
        AutoscaleError::NoMetrics(_) | AutoscaleError::Rights(_) => CliError::Unready(text),
        _ => CliError::Connection(text),
    }
}

fn table(seen: &Autoscalers) -> String {
    if seen.autoscalers.is_empty() {
        return format!("no component in namespace {} has an autoscaler\n", seen.namespace);
    }
    let percent = |n: Option<u32>| n.map_or_else(|| "?".to_owned(), |n| format!("{n}%"));
    let rows = seen.autoscalers.iter().map(|one| {
        [
            one.component.name().to_owned(),
            one.workload.clone(),
            one.min.to_string(),
            one.max.to_string(),
            format!("{}/{}", percent(one.current_percent), percent(one.target_percent)),
            one.current.to_string(),
            one.desired.to_string(),
        ]
    });
    let head = ["COMPONENT", "WORKLOAD", "MIN", "MAX", "CPU", "MEMBERS", "WANTED"];
    let table = Table::new(head, rows.collect(), usize::MAX).least([13, 26, 4, 4, 10, 8, 0]);
    let mut text = table.head() + "\n";
    for (n, one) in seen.autoscalers.iter().enumerate() {
        let _ = writeln!(text, "{}", table.row(n, Style::new()));
        if !one.ours {
            let _ = writeln!(text, "  made by something else, as {}", one.name);
        }
        for trouble in &one.troubles {
            let _ = writeln!(text, "  {WARN}{}{WARN:#}", plain(trouble));
        }
    }
    text
}
