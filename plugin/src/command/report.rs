use std::collections::BTreeMap;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;
use clearwater::config::Deployment;
use clearwater::text::counted;
use clearwater_kube::check::{CheckOptions, check};
use clearwater_kube::contract::{ContractOptions, contract};
use clearwater_kube::report::{Gathered, ReportOptions, gather};
use clearwater_kube::status::{StatusOptions, status};
use jiff::Timestamp;
use serde::Serialize;

use super::reported::{VERSION, folded, last_cut};
use super::trace::failed_ladders;
use crate::advice;
use crate::arguments::FileArgs;
use crate::context::Context;
use crate::duration::limit;
use crate::error::{CliError, spelled};
use crate::exit;
use crate::outfile;
use crate::runtime::{block_on, unless_ended};
use crate::zipped::zipped;

/// Write a zip for a bug report: objects, events, logs, programs, members, names, checks, ladders of what failed
///
/// It has what the containers find in DNS, what `status`, `check` and `check --images` say, and the last calls that failed, drawn.
/// Data of Secrets, keys and passwords are left out. What could not be had is listed in the zip and said. Look through it
/// before it is handed on: logs name subscribers, numbers and addresses, where --anonymize puts no others in their place.
/// `status`, `logs` and `trace` read it with --from, where there is no cluster.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  kubectl clearwater report -n ims
  kubectl clearwater report --to night.zip --limit 4Mi
  kubectl clearwater report --anonymize
  kubectl clearwater status --from night.zip")]
pub(crate) struct Report {
    /// The deployment file to compare with. Default: clearwater.yaml where that exists, else what is there tells
    #[arg(short, long, visible_alias = "file", value_name = "FILE")]
    filename: Option<PathBuf>,
    /// Where to write it, - for standard output; nothing is written over. Default: clearwater-NAMESPACE-TIME.zip
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
    /// How much of the end of each log is taken
    #[arg(long, value_name = "BYTES", value_parser = bytes, default_value = "512Ki")]
    limit: u64,
    /// Put others in the place of subscribers' numbers, identities and names and of addresses, the same for the same in all
    /// files. Names of components, pods and hosts stay
    #[arg(long)]
    anonymize: bool,
    /// How long the whole may take
    #[arg(long, value_name = "DURATION", value_parser = limit, default_value = "60s")]
    timeout: Duration,
}

/// A number of bytes, as Kubernetes writes quantities.
fn bytes(text: &str) -> Result<u64, String> {
    let parsed = clearwater::quantity::parse(text).filter(|n| (1.0..=1e10).contains(n));
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is within these bounds")]
    parsed.map(|n| n as u64).ok_or_else(|| "a number of bytes is needed, as 512Ki or 2Mi".to_owned())
}

/// Where its pods are.
const PODS: &str = "objects/pods/";

/// The first file of a report.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Contents<'a> {
    /// The version of the layout.
    v: u32,
    at: Timestamp,
    namespace: &'a str,
    plugin: &'static str,
    /// Whether numbers, users and addresses are others.
    anonymized: bool,
    /// What could not be had, each with what it needs.
    lacked: Vec<String>,
    /// The logs of which only the end is in it, each with the time before which lines of it may be missing. No call that began
    /// before is judged.
    cut: &'a BTreeMap<String, Timestamp>,
    files: Vec<&'a str>,
}

impl Report {
    pub(crate) fn run(self, context: &mut Context) -> Result<u8, CliError> {
        let is_piped = self.to.as_deref() == Some(Path::new("-"));
        if is_piped && std::io::stdout().is_terminal() {
            let text =
                "--to - writes a zip to standard output, which is a terminal here: lead it to a file or a program";
            return Err(CliError::Usage(text.to_owned()));
        }
        let file = FileArgs::named(self.filename.clone());
        let (deployment, namespace) = file.deployment_or_namespace(context, true)?;
        let (at, began) = (Timestamp::now(), Instant::now());
        let named = || PathBuf::from(format!("clearwater-{namespace}-{}.zip", at.strftime("%Y%m%dT%H%M%SZ")));
        let to = (!is_piped).then(|| self.to.clone().unwrap_or_else(named));
        to.as_deref().map_or(Ok(()), outfile::can_be_made)?;
        let signals = context.signals();
        let mut gathered = block_on(unless_ended(&signals, self.gather(context, &namespace, deployment)))?;
        let is_over = began.elapsed() >= self.timeout;
        draw(&mut gathered, at, context)?;
        if self.anonymize {
            gathered.anonymize();
        }
        let contents = Contents {
            v: VERSION,
            at,
            namespace: &namespace,
            plugin: env!("CARGO_PKG_VERSION"),
            anonymized: self.anonymize,
            lacked: gathered.lacked.iter().cloned().collect(),
            cut: &gathered.cut,
            files: gathered.files.keys().map(String::as_str).collect(),
        };
        let contents = serde_json::to_vec_pretty(&contents)?;
        gathered.files.insert("report.json".to_owned(), contents);
        let zip = zipped(&gathered.files)?;
        if let Some(to) = to {
            outfile::write_private(&to, &zip)?;
            let shown = spelled(&to);
            context.results().text(&format!("{shown}\n"))?;
        } else {
            context.results().bytes(&zip)?;
            context.results().flush()?;
        }
        Ok(self.tell(&gathered, &namespace, is_over, context))
    }

    /// Asks for all of it at once.
    async fn gather(
        &self,
        context: &mut Context,
        namespace: &str,
        deployment: Option<Deployment>,
    ) -> Result<Gathered, CliError> {
        let (cluster, left) = context.connection().cluster_within(namespace.to_owned(), self.timeout).await?;
        let mut options = ReportOptions::new().limit(self.limit).timeout(left);
        options.deployment.clone_from(&deployment);
        let within = left.min(Duration::from_secs(20));
        let mut checks = CheckOptions::new().timeout(within);
        checks.deployment.clone_from(&deployment);
        let mut claims = ContractOptions::new().timeout(left);
        claims.deployment.clone_from(&deployment);
        let mut state = StatusOptions::new().timeout(within);
        state.deployment = deployment;
        let (gathered, checks, images, state) = futures::join!(
            gather(&cluster, &options),
            check(&cluster, &checks),
            contract(&cluster, &claims),
            status(&cluster, &state)
        );
        let mut gathered = gathered.map_err(|error| CliError::Connection(error.to_string()))?;
        // What is not there looks like what is empty.
        if !gathered.files.keys().any(|name| name.starts_with(PODS))
            && let Some(why) = cluster.absence().await
        {
            return Err(CliError::Connection(format!("{why}: nothing was written")));
        }
        match checks {
            Ok(mut checks) => {
                advice::word_lines(checks.groups.iter_mut().flat_map(|g| &mut g.checks));
                let unseen = checks.groups.iter().flat_map(|g| &g.checks);
                let unseen = unseen.filter(|line| !line.status.is_known());
                unseen.for_each(|line| gathered.lack(&format!("check.json: {}", line.title), &line.detail));
                put(&mut gathered, "check.json", &checks)?;
            }
            Err(error) => gathered.miss("check.json", &error.to_string()),
        }
        match images {
            Ok(images) => {
                images.unseen().for_each(|(name, why)| gathered.lack(&format!("check-images.json: {name}"), why));
                put(&mut gathered, "check-images.json", &images)?;
            }
            Err(error) => gathered.miss("check-images.json", &error.to_string()),
        }
        match state {
            Ok(state) => {
                gathered.failed |= state.unreached;
                put(&mut gathered, "status.json", &advice::status_worded(state))?;
            }
            Err(error) => gathered.miss("status.json", &error.to_string()),
        }
        Ok(gathered)
    }

    /// Says what is in it and what is not. Yields the exit code.
    fn tell(&self, gathered: &Gathered, namespace: &str, is_over: bool, context: &mut Context) -> u8 {
        for lacked in folded(&gathered.lacked) {
            context.talk().note(format!("not in it: {lacked}"));
        }
        if !gathered.cut.is_empty() {
            let of = counted(gathered.cut.len(), "log");
            let calls = last_cut(&gathered.cut).map(|time| format!("; calls that began before {time} are not judged"));
            context.talk().note(format!("of {of} only the end is in it (--limit){}", calls.unwrap_or_default()));
        }
        let named = if self.anonymize {
            "numbers, names, users and addresses are others, but names of hosts and pods are not"
        } else {
            "but logs name subscribers and addresses"
        };
        let count = counted(gathered.files.len(), "file");
        context.talk().line(format!("{count} in it; secrets are left out, {named}: look through it first"));
        let of_pods = |name: &str| name.starts_with("logs/") || name.starts_with("inside/");
        if gathered.lacked.iter().any(|name| of_pods(name)) && !gathered.files.keys().any(|name| of_pods(name)) {
            context.talk().error("nothing that the pods say could be had: neither their logs nor what is inside of them is in the report");
            return exit::FAILURE;
        }
        if !gathered.files.keys().any(|name| name.starts_with(PODS)) {
            let text = format!("there is no pod in namespace {namespace}: the report holds nothing of a deployment");
            context.talk().error(text);
            return exit::FAILURE;
        }
        if gathered.failed {
            let longer = if is_over { " (--timeout gives it longer)" } else { "" };
            context.talk().error(format!("not everything answered that was asked: the report is not whole{longer}"));
            return exit::FAILURE;
        }
        exit::OK
    }
}

/// Draws what failed.
fn draw(gathered: &mut Gathered, at: Timestamp, context: &mut Context) -> Result<(), CliError> {
    let (ladders, count) = failed_ladders(&gathered.files, (last_cut(&gathered.cut), at), context)?;
    if count > ladders.len() {
        let why = format!(
            "{count} calls, registrations and messages failed or are not whole, and the last {} are drawn",
            ladders.len()
        );
        gathered.lack("ladders", &why);
    }
    let named = ladders.into_iter().enumerate();
    gathered.files.extend(named.map(|(n, ladder)| (format!("ladders/{:02}.txt", n + 1), ladder.into_bytes())));
    Ok(())
}

fn put<T: Serialize>(gathered: &mut Gathered, name: &str, value: &T) -> Result<(), CliError> {
    gathered.files.insert(name.to_owned(), serde_json::to_vec_pretty(value)?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_quantities() {
        assert_eq!((bytes("512Ki"), bytes("2M")), (Ok(512 * 1024), Ok(2_000_000)));
        assert!(["0", "x", "-1", "1e30", "NaN"].into_iter().all(|text| bytes(text).is_err()));
    }
}
