//! `backup` and `restore`: what the services tell of subscribers, kept in a file and put back.

pub(super) mod archive;
mod report;
mod restore;
mod schedule;
mod steps;

use std::io::{self, IsTerminal as _};
use std::path::{Path, PathBuf};

use clap::Args;
use clearwater_kube::backup::{BackupOptions, backup, note};
use jiff::Timestamp;

pub(super) use self::steps::Steps;
use crate::advice;
use crate::arguments::{PlaceArgs, USUAL};
use crate::bounded::{self, LARGEST};
use crate::context::Context;
use crate::drive::drive;
use crate::error::{CliError, spelled};
use crate::exit;
use crate::outfile;
use crate::output::Format;
use crate::runtime::block_on;

pub(super) use report::Kept;
#[cfg(test)]
pub(super) use report::PutBack;
pub(crate) use restore::Restore;
use schedule::{ScheduleArgs, Told};

/// The most that are asked about at the same time: each takes a connection of its own.
const MOST_AT_ONCE: i64 = 32;

/// Keep what the services tell of subscribers in a file: identities, digests, services, and whose numbers are
///
/// homestead-prov, homer and Ellis are asked by their own interfaces, over forwarded ports, and nothing is written but when
/// that was, for `status`: an annotation of ConfigMap env-vars. The file holds digests, and passwords where they are kept as
/// text: whoever has it can be any of the subscribers. It is made readable to its owner alone; `--to -` leads it into a
/// program that encrypts. Keys of the deployment are not in it. What could not be had is in its manifest, and said.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  kubectl clearwater backup -n ims
  kubectl clearwater backup --to /var/backups/ims
  kubectl clearwater backup --to - | age -r age1… > ims.zip.age
  kubectl clearwater backup --schedule '30 3 * * *' --image IMAGE > nightly.yaml")]
pub(crate) struct Backup {
    /// The deployment file, which is kept with the rest. Default: clearwater.yaml where that exists
    #[arg(short, long, visible_alias = "file", value_name = "FILE")]
    filename: Option<PathBuf>,
    /// The file to write, or a directory to write it into, or - for standard output; nothing is written over. Default:
    /// clearwater-backup-NAMESPACE-TIME.zip
    #[arg(long, value_name = "FILE|DIR")]
    to: Option<PathBuf>,
    /// An account of Ellis that its address book does not show. May be given more than once
    #[arg(long, value_name = "EMAIL")]
    account: Vec<String>,
    /// How many of its files stay in the directory of --to: the oldest go once the new one is there. Default: all; with
    /// --schedule 14
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    keep: Option<u32>,
    #[command(flatten)]
    schedule: ScheduleArgs,
    /// How many are asked about at the same time
    #[arg(long, value_name = "N", default_value_t = 4, conflicts_with = "schedule", value_parser = clap::value_parser!(u16).range(1..=MOST_AT_ONCE))]
    at_once: u16,
    /// The format of what is said of the file
    #[arg(short, long, value_enum)]
    output: Option<Format>,
}

impl Backup {
    pub(crate) fn run(self, context: &mut Context) -> Result<u8, CliError> {
        if self.schedule.schedule.is_some() {
            return self.scheduled(context);
        }
        if self.keep.is_some() && !self.to.as_ref().is_some_and(|path| path.is_dir()) {
            return Err(CliError::Usage("--keep counts the files of a directory, which --to names".to_owned()));
        }
        let is_piped = self.to.as_deref() == Some(Path::new("-"));
        if is_piped && io::stdout().is_terminal() {
            let text =
                "--to - writes a zip to standard output, which is a terminal here: lead it to a file or a program";
            return Err(CliError::Usage(text.to_owned()));
        }
        if is_piped && self.output.is_some() {
            return Err(CliError::Usage("--to - and --output both write to standard output".to_owned()));
        }
        let namespace = PlaceArgs::named(self.filename.clone()).namespace(context, self.output.is_none())?;
        if !is_piped {
            outfile::can_be_made(&self.place(&namespace, Timestamp::now()))?;
        }
        let mut options = BackupOptions::new().at_once(self.at_once);
        options.accounts.clone_from(&self.account);
        options.deployment = self.deployment()?;
        let signals = context.signals();
        let (kept, path, noted) = block_on(async {
            let cluster = context.connection().cluster(namespace.clone()).await?;
            let ended = drive(backup(&cluster, options), &mut Steps::default(), None, &signals).await?;
            let kept = ended.value?;
            let bytes = archive::packed(&kept)?;
            let path = (!is_piped).then(|| self.place(&namespace, kept.at));
            if let Some(path) = &path {
                archive::write(path, &bytes)?;
            } else {
                context.results().bytes(&bytes)?;
                context.results().flush()?;
            }
            let noted = note(&cluster, &kept).await;
            Ok((kept, path, noted))
        })?;
        if let Err(error) = &noted {
            context.talk().warning(advice::said(error));
        }
        if let (Some(most), Some(folder)) = (self.keep, &self.to) {
            for old in archive::prune(folder, &namespace, most)? {
                context.talk().note(format!("removed: {}", spelled(&old)));
            }
        }
        let Some(path) = path else { return Ok(exit::OK) };
        let report = Kept::new(namespace, &path, kept.manifest(), noted.is_ok());
        match self.output {
            Some(format) => context.results().value(format, &report)?,
            None => context.results().text(&format!("{}\n", report.file))?,
        }
        let text = "it holds digests and passwords, with which anybody can be these subscribers: keep it where nobody else reads";
        context.talk().note(text);
        Ok(exit::OK)
    }

    /// Writes the objects by which a cluster does it.
    fn scheduled(&self, context: &mut Context) -> Result<u8, CliError> {
        let namespace = PlaceArgs::named(self.filename.clone()).namespace(context, true)?;
        let told = Told { accounts: &self.account, keep: self.keep };
        let objects = self.schedule.objects(&namespace, &told).unwrap_or_default();
        match self.output.unwrap_or(Format::Yaml) {
            Format::Yaml => context.results().text(&clearwater::yaml::write_many(&objects)?)?,
            Format::Json => {
                let list = serde_json::json!({"apiVersion": "v1", "kind": "List", "items": objects});
                context.results().value(Format::Json, &list)?;
            }
        }
        context.talk().note("the files hold digests and passwords: who may read the claim can be these subscribers");
        Ok(exit::OK)
    }

    /// The text of the deployment file, where there is one. Standard input was read for the namespace.
    fn deployment(&self) -> Result<Option<String>, CliError> {
        match self.filename.as_deref() {
            Some(path) if path == Path::new("-") => Ok(None),
            Some(path) => bounded::text(path, LARGEST).map(Some),
            None if Path::new(USUAL).exists() => bounded::text(Path::new(USUAL), LARGEST).map(Some),
            None => Ok(None),
        }
    }

    fn place(&self, namespace: &str, at: Timestamp) -> PathBuf {
        let name = archive::name(namespace, at);
        match &self.to {
            None => name.into(),
            Some(path) if path.is_dir() => path.join(name),
            Some(path) => path.clone(),
        }
    }
}
