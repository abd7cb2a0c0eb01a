//! Control groups: what holds the cluster's processes together, so that `down` finds every one of them.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};

use crate::host::{Attempt, wait_for};

/// The group in which the control plane and the nodes' daemons run; below the cluster's group.
const SYSTEM: &str = "system";

/// The group tree of one cluster in every hierarchy of this machine.
#[derive(Debug)]
pub(crate) struct Groups {
    name: String,
    hierarchies: Vec<Hierarchy>,
}

#[derive(Debug)]
struct Hierarchy {
    mount: PathBuf,
    unified: bool,
    controllers: String,
}

impl Groups {
    pub(crate) fn of(name: &str) -> Result<Self> {
        let text = fs::read_to_string("/proc/self/mountinfo").context("cannot read /proc/self/mountinfo")?;
        Ok(Self { name: name.to_owned(), hierarchies: hierarchies(&text) })
    }

    /// Makes the group of the daemons and one for each node.
    pub(crate) fn create(&self, nodes: &[String]) -> Result<()> {
        for hierarchy in &self.hierarchies {
            let top = hierarchy.mount.join(&self.name);
            hierarchy.create(&top)?;
            hierarchy.create(&top.join(SYSTEM))?;
            for node in nodes {
                hierarchy.create(&top.join(node))?;
            }
        }
        Ok(())
    }

    /// Files that put the process whose id is written to them into the daemons' group.
    pub(crate) fn system_entries(&self) -> Vec<PathBuf> {
        self.hierarchies
            .iter()
            .map(|hierarchy| hierarchy.mount.join(&self.name).join(SYSTEM).join("cgroup.procs"))
            .collect()
    }

    /// Every process of the cluster.
    pub(crate) fn processes(&self) -> BTreeSet<i32> {
        let mut found = BTreeSet::new();
        for hierarchy in &self.hierarchies {
            for group in tree(&hierarchy.mount.join(&self.name)) {
                let text = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
                found.extend(text.lines().filter_map(|line| line.parse::<i32>().ok()).filter(|pid| *pid > 1));
            }
        }
        found
    }

    /// Ends every process of the cluster and waits until they are gone.
    pub(crate) fn kill_all(&self) -> Result<()> {
        wait_for("the cluster's processes to end", Duration::from_secs(30), || {
            let processes = self.processes();
            for pid in &processes {
                if let Some(pid) = Pid::from_raw(*pid) {
                    let _ = kill_process(pid, Signal::KILL);
                }
            }
            Ok(match processes.len() {
                0 => Attempt::Done(()),
                left => Attempt::not_yet(format!("{left} of them are alive: {processes:?}")),
            })
        })
    }

    /// Removes the groups; they must be empty.
    pub(crate) fn remove(&self) -> Result<()> {
        wait_for("control groups to go away", Duration::from_secs(10), || {
            let mut left = None;
            for hierarchy in &self.hierarchies {
                for group in tree(&hierarchy.mount.join(&self.name)) {
                    if fs::remove_dir(&group).is_err() && group.exists() {
                        left = Some(group);
                    }
                }
            }
            Ok(match left {
                None => Attempt::Done(()),
                Some(group) => Attempt::not_yet(format!("{} cannot be removed", group.display())),
            })
        })
    }
}

impl Hierarchy {
    fn create(&self, group: &Path) -> Result<()> {
        if group.exists() {
            return Ok(());
        }
        fs::create_dir(group).with_context(|| format!("cannot create the control group {}", group.display()))?;
        let Some(parent) = group.parent() else {
            return Ok(());
        };
        if self.unified {
            // Children get only the controllers that their parent hands down.
            let available = fs::read_to_string(parent.join("cgroup.controllers")).unwrap_or_default();
            for controller in available.split_whitespace() {
                let _ = fs::write(parent.join("cgroup.subtree_control"), format!("+{controller}"));
            }
        } else if self.controllers.split(',').any(|controller| controller == "cpuset") {
            // A new cpuset has no processor and no memory, and no process may enter it.
            for file in ["cpuset.mems", "cpuset.cpus"] {
                let value = fs::read_to_string(parent.join(file))
                    .with_context(|| format!("cannot read {} of {}", file, parent.display()))?;
                fs::write(group.join(file), value.trim())
                    .with_context(|| format!("cannot set {} of {}", file, group.display()))?;
            }
        }
        Ok(())
    }
}

/// `top` and all groups below it, the deepest first.
fn tree(top: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![top.to_owned()];
    while let Some(group) = open.pop() {
        let Ok(entries) = fs::read_dir(&group) else {
            continue;
        };
        open.extend(
            entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|e| e.path()),
        );
        found.push(group);
    }
    found.reverse();
    found
}

fn hierarchies(mountinfo: &str) -> Vec<Hierarchy> {
    let mut found: Vec<Hierarchy> = Vec::new();
    for line in mountinfo.lines() {
        let Some((before, after)) = line.split_once(" - ") else {
            continue;
        };
        let mut after = after.split(' ');
        let (Some(kind), _, Some(options)) = (after.next(), after.next(), after.next()) else {
            continue;
        };
        let Some(mount) = before.split(' ').nth(4) else {
            continue;
        };
        if kind != "cgroup" && kind != "cgroup2" {
            continue;
        }
        found.push(Hierarchy { mount: mount.into(), unified: kind == "cgroup2", controllers: options.to_owned() });
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hierarchies_of_a_hybrid_machine_are_found() {
        let found = hierarchies(
            "30 29 0:26 / /sys/fs/cgroup/cpuset rw,relatime - cgroup cgroup rw,cpuset\n\
             31 29 0:27 / /sys/fs/cgroup/unified rw,relatime shared:3 - cgroup2 cgroup2 rw\n\
             32 29 0:28 / /sys rw,relatime - sysfs sysfs rw\n",
        );
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].controllers, "rw,cpuset");
        assert!(found[1].unified);
        assert_eq!(found[1].mount, Path::new("/sys/fs/cgroup/unified"));
    }

    #[test]
    fn a_tree_is_listed_with_the_deepest_first() {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir_all(directory.path().join("a/b")).unwrap();
        let found = tree(directory.path());
        assert_eq!(found.last().unwrap(), directory.path());
        assert_eq!(found[0], directory.path().join("a/b"));
    }
}
