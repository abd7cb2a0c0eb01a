//! `up --through-backup`: stores that would lose what they hold are replaced, and what they held is put back.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use clearwater::backup::Backup;
use clearwater::component::Component;
use clearwater::config::Deployment;
use clearwater::event::EventKind;
use clearwater_kube::Cluster;
use clearwater_kube::backup::{BackupOptions, RestoreOptions, backup, note, restore};
use clearwater_kube::down::{DownOptions, down};
use clearwater_kube::up::up;
use tokio::time::Instant;

use super::Up;
use crate::advice;
use crate::command::backup::{Steps, archive};
use crate::connection::typed;
use crate::context::Context;
use crate::drive::drive;
use crate::error::{CliError, spelled};
use crate::exit;
use crate::question::answered;
use crate::reporter::{choose, plain};
use crate::runtime::block_on;
use crate::signal::Signals;

/// The backup and, beside it, the file that stands there until all of it is put back: by it a run that was interrupted is
/// told from a backup that somebody made earlier, which would put back what was true then.
#[derive(Debug)]
struct Passage {
    backup: PathBuf,
    mark: PathBuf,
}

/// How far an earlier run came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// There was none, or it kept nothing yet.
    Begin,
    /// What the services told is kept.
    Kept,
}

/// What stands on the disk tells how far an earlier run came; `None` where the backup is of no such run.
fn stage(backup: bool, mark: bool) -> Option<Stage> {
    match (backup, mark) {
        (false, _) => Some(Stage::Begin),
        (true, true) => Some(Stage::Kept),
        (true, false) => None,
    }
}

impl Passage {
    fn new(backup: &Path) -> Self {
        let mut mark = backup.as_os_str().to_owned();
        mark.push(".unfinished");
        Self { backup: backup.to_owned(), mark: mark.into() }
    }

    /// What an earlier run kept.
    fn kept(&self) -> Result<Option<Backup>, CliError> {
        match stage(self.backup.exists(), self.mark.exists()) {
            Some(Stage::Begin) => Ok(None),
            Some(Stage::Kept) => archive::read(&self.backup).map(Some),
            None => Err(CliError::Refused(format!(
                "{} is there, and no run through it was interrupted: name a file that does not exist, for what is in this one may be old",
                spelled(&self.backup)
            ))),
        }
    }

    fn begin(&self) -> Result<(), CliError> {
        File::create(&self.mark).map(drop).map_err(|source| CliError::Write { path: self.mark.clone(), source })
    }

    fn end(&self) -> Result<(), CliError> {
        match fs::remove_file(&self.mark) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(CliError::Write { path: self.mark.clone(), source })
            }
            _ => Ok(()),
        }
    }
}

/// What is taken down: stores that would lose what they hold where they are replaced one by one. Without etcd no store's
/// member could leave or join: with it everything goes.
fn taken_down(losing: &[Component]) -> Vec<Component> {
    if losing.contains(&Component::Etcd) { Vec::new() } else { losing.to_vec() }
}

/// What will be done, and the question.
fn question(passage: &Passage, kept: Option<&Backup>, losing: &[(Component, String)]) -> String {
    let file = spelled(&passage.backup);
    let mut steps = Vec::new();
    steps.push(match kept {
        None => format!("keep in {file} what the services tell of subscribers"),
        Some(kept) => format!("go on from {file}, which an earlier run made at {}", kept.at),
    });
    for (component, what) in losing {
        steps.push(format!("take {component} down: {}", plain(what)));
    }
    steps.push("bring up what the deployment file says".to_owned());
    steps.push(format!("put back what {file} keeps, and compare"));
    let mut text = String::new();
    for (n, step) in (1..).zip(&steps) {
        let _ = writeln!(text, "{n}. {step}");
    }
    text + "Go on? [y/N] "
}

pub(super) fn run(command: &Up, file: &Path, context: &mut Context) -> Result<u8, CliError> {
    let deployment = command.file.deployment(context, true)?;
    let passage = Passage::new(file);
    let kept = passage.kept()?;
    let signals = context.signals();
    let code = block_on(async {
        let (cluster, left) = context.connection().cluster_within(deployment.namespace(), command.timeout).await?;
        let deadline = Instant::now() + left;
        passed(command, &deployment, &cluster, deadline, &passage, kept, &signals).await
    })?;
    if code == exit::OK {
        context.results().text(&format!("{} may be kept or removed: all of it stands\n", spelled(file)))?;
    } else {
        let same = advice::up(&format!(" --replace-stores --through-backup {}", typed(&file.to_string_lossy())));
        context.talk().note(format!("`{same}` goes on from here"));
    }
    Ok(code)
}

async fn passed(
    command: &Up,
    deployment: &Deployment,
    cluster: &Cluster,
    deadline: Instant,
    passage: &Passage,
    kept: Option<Backup>,
    signals: &Signals,
) -> Result<u8, CliError> {
    let left = || deadline.saturating_duration_since(Instant::now());
    let mut reporter = choose(None);
    // What would be lost, and whether all else is well: nothing is written yet.
    let mut dry = command.options(deployment).timeout(left());
    (dry.dry_run, dry.ask) = (true, false);
    let looked = drive(up(cluster, dry), reporter.as_mut(), None, signals).await?;
    if ![exit::OK, exit::PENDING].contains(&looked.code()) {
        return Ok(looked.code());
    }
    let losing: Vec<(Component, String)> = looked
        .events
        .iter()
        .filter_map(|event| if let EventKind::Planned { pending, .. } = &event.what { Some(pending) } else { None })
        .flatten()
        .filter_map(|pending| Some((pending.component.parse().ok()?, pending.what.clone())))
        .collect();
    if !command.yes {
        let text = question(passage, kept.as_ref(), &losing);
        let agreed = answered(&text, "y", "--yes to go on without being asked", signals).await;
        if !agreed.map_err(CliError::Ended)? {
            return Err(CliError::Refused("not confirmed, nothing was written".to_owned()));
        }
    }
    let kept = if let Some(kept) = kept {
        kept
    } else {
        passage.begin()?;
        let ended = drive(backup(cluster, BackupOptions::new()), &mut Steps::default(), None, signals).await?;
        let kept = ended.value?;
        archive::write(&passage.backup, &archive::packed(&kept)?)?;
        // Who brings a deployment up may write there; what hinders it is told by what follows.
        let _ = note(cluster, &kept).await;
        kept
    };
    // After this, what the stores hold is in the file alone.
    if kept.namespace != deployment.namespace() || kept.home_domain != deployment.home_domain() {
        return Err(CliError::Refused(format!(
            "{} is of namespace {} and home domain {}, and the deployment's are {} and {}: nothing was taken down",
            spelled(&passage.backup),
            kept.namespace,
            kept.home_domain,
            deployment.namespace(),
            deployment.home_domain()
        )));
    }
    if !losing.is_empty() {
        let losing: Vec<Component> = losing.into_iter().map(|(component, _)| component).collect();
        let mut options = DownOptions::new().only(taken_down(&losing)).timeout(left());
        options.keep_config = true;
        let ended = drive(down(cluster, options), choose(None).as_mut(), None, signals).await?;
        if ended.code() != exit::OK {
            return Ok(ended.code());
        }
    }
    let mut options = command.options(deployment).timeout(left());
    options.ask = false;
    let ended = drive(up(cluster, options), choose(None).as_mut(), None, signals).await?;
    if ended.code() != exit::OK {
        return Ok(ended.code());
    }
    let options = RestoreOptions::new().replace();
    let ended = drive(restore(cluster, kept, options), &mut Steps::default(), None, signals).await?;
    let code = ended.code();
    ended.value?;
    passage.end()?;
    Ok(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backup_that_no_run_was_interrupted_on_is_left_alone() {
        assert_eq!(stage(false, false), Some(Stage::Begin));
        assert_eq!(stage(false, true), Some(Stage::Begin));
        assert_eq!(stage(true, true), Some(Stage::Kept));
        assert_eq!(stage(true, false), None);
        let folder = tempfile::tempdir().unwrap();
        let passage = Passage::new(&folder.path().join("b.zip"));
        assert!(passage.kept().unwrap().is_none());
        passage.begin().unwrap();
        let kept = Backup { namespace: "ims".to_owned(), ..Backup::default() };
        archive::write(&passage.backup, &archive::packed(&kept).unwrap()).unwrap();
        assert_eq!(passage.kept().unwrap(), Some(kept));
        passage.end().unwrap();
        passage.end().unwrap();
        let refused = passage.kept().unwrap_err();
        assert_eq!(refused.exit_code(), exit::REFUSED);
        assert!(refused.to_string().contains("b.zip is there, and no run through it was interrupted"), "{refused}");
    }

    #[test]
    fn what_will_be_done_is_said_in_its_order() {
        let passage = Passage::new(Path::new("b.zip"));
        let losing = [(Component::Cassandra, "1 of its pods".to_owned())];
        assert_eq!(
            question(&passage, None, &losing),
            "1. keep in b.zip what the services tell of subscribers\n2. take cassandra down: 1 of its pods\n\
             3. bring up what the deployment file says\n4. put back what b.zip keeps, and compare\nGo on? [y/N] "
        );
        let again = question(&passage, Some(&Backup::default()), &[]);
        assert!(again.starts_with("1. go on from b.zip, which an earlier run made at ") && !again.contains("take"));
    }

    #[test]
    fn without_etcd_no_store_could_leave() {
        assert_eq!(taken_down(&[Component::Cassandra]), [Component::Cassandra]);
        assert_eq!(taken_down(&[Component::Etcd, Component::Cassandra]), []);
    }
}
