//! Pods whose programs are held until what they need serves.
//!
//! The last step of the images' boot chain starts the group of the component's own programs by `supervisorctl`, which it
//! finds by its name alone. A text of that name is mounted where the container looks first: it puts this one step off
//! while the component is held, and hands on every other call. So what needs no neighbour (the pod's place, its volumes,
//! its image, its configuration, its etcd proxy, joining a cluster) is done by then. An image with another boot chain
//! starts as it always does.

use std::collections::BTreeMap;
use std::iter;

use k8s_openapi::api::core::v1::{ConfigMap, ConfigMapVolumeSource, KeyToPath, Volume, VolumeMount};

use super::extras::Extras;
use super::meta::metadata;
use super::shared::config_map;
use super::{Deployment, Item, ItemOwner, Object};
use crate::component::{
    ASKS_NOBODY, CASSANDRA_SETTINGS, CLUSTER_SETTINGS, Component, Entry, Program, ProgramHealth, SUPERVISORCTL,
};

/// The ConfigMap that says which components are held: a key each, whose value begins with when that ends by itself, in
/// seconds since 1970. `up` writes it; where it is missing, or has no key of a component, nothing of that is held.
pub const HOLD: &str = "clearwater-hold";
/// The ConfigMap with the text that stands in front of `supervisorctl`.
pub const START: &str = "clearwater-start";

/// A file that lets the container's programs go, whatever the ConfigMap says: it takes a kubelet up to a minute or so to
/// bring a change of that.
pub const LET_GO: &str = "/tmp/clearwater-hold.let-go";
/// A pipe by which who waits is woken at once.
pub const WAKE: &str = "/tmp/clearwater-hold.wake";

/// The key of [`START`], and the program's name.
const KEY: &str = "supervisorctl";
/// Where a container's shell looks first.
const IN_FRONT: &str = "/usr/local/sbin/supervisorctl";
/// Has one folder, of the component's name, by which the text knows where it is.
const FOLDER: &str = "/opt/clearwater/hold";
const FILE: &str = "until";

/// What a held container may take longer than others until it serves: as long as the slowest start that it waits for.
pub(super) const LONGEST_SECONDS: u32 = 600;

/// A member that has not joined after so long starts its programs all the same.
const JOINS_WITHIN_SECONDS: u32 = 120;

/// Whether a component's pods are made so that their programs can be held.
pub fn is_holdable(d: &Deployment, entry: &Entry) -> bool {
    d.file().start.hold && entry.programs.iter().any(|p| p.group == Some(Program::GROUP))
}

/// What stands in front of `supervisorctl`.
pub(super) fn item(d: &Deployment) -> Option<Item> {
    let holdable = d.components().any(|entry| is_holdable(d, entry));
    holdable.then(|| config_map(d, ItemOwner::Shared, START, BTreeMap::from([(KEY.to_owned(), script())])))
}

/// Whether no program of a component has to be held, because none asks anybody when it starts.
pub fn starts_alone(entry: &Entry) -> bool {
    let mut own = entry.programs.iter().filter(|p| p.group.is_some() && p.health == ProgramHealth::Running);
    own.all(|program| asks_nobody(entry.component, program))
}

fn asks_nobody(component: Component, program: &Program) -> bool {
    ASKS_NOBODY.iter().any(|alone| (alone.component, alone.program) == (component, program.name))
}

/// What a component's own programs cannot start without, and get when it has joined its cluster.
const FROM_JOINING: [(Component, &str); 2] =
    [(Component::Astaire, CLUSTER_SETTINGS), (Component::Cassandra, CASSANDRA_SETTINGS)];

/// What is said of a component that is held: until when, and those of its programs that need not wait, unless all are to.
fn told(entry: &Entry, until: i64, all: bool) -> String {
    let alone = entry.programs.iter().filter(|program| !all && asks_nobody(entry.component, program));
    let words: Vec<String> = iter::once(until.to_string()).chain(alone.map(Program::full_name)).collect();
    format!("{}\n", words.join(" "))
}

/// The ConfigMap that holds these components until then: `all` of their programs, or those that ask others when they start.
pub fn hold(d: &Deployment, until: &BTreeMap<Component, i64>, all: bool) -> Object {
    let of = |entry: &Entry| Some((entry.component.name().to_owned(), told(entry, *until.get(&entry.component)?, all)));
    let data = d.components().filter_map(of).collect();
    let metadata = metadata(d, ItemOwner::Shared, None, HOLD);
    ConfigMap { metadata, data: Some(data), ..ConfigMap::default() }.into()
}

/// Which components such a ConfigMap holds, and until when.
pub fn held_by(map: &ConfigMap) -> BTreeMap<Component, i64> {
    let until = |told: &String| told.split_whitespace().next()?.parse().ok();
    map.data.iter().flatten().filter_map(|(name, told)| Some((name.parse().ok()?, until(told)?))).collect()
}

/// Lets a component's containers be held.
pub(super) fn holdable(entry: &Entry, mut extras: Extras) -> Extras {
    let own = KeyToPath { key: entry.component.name().to_owned(), path: FILE.to_owned(), ..KeyToPath::default() };
    // Optional, the key too: what is not there holds nothing, and the template is the same whether it is there or not.
    let source = ConfigMapVolumeSource {
        name: HOLD.to_owned(),
        items: Some(vec![own]),
        optional: Some(true),
        ..ConfigMapVolumeSource::default()
    };
    extras.volumes.push(Volume { name: HOLD.to_owned(), config_map: Some(source), ..Volume::default() });
    extras.mounts.push(VolumeMount {
        name: HOLD.to_owned(),
        mount_path: format!("{FOLDER}/{}", entry.component),
        read_only: Some(true),
        ..VolumeMount::default()
    });
    extras.mount_file(START, KEY, IN_FRONT);
    if let Some(source) = extras.volumes.last_mut().and_then(|v| v.config_map.as_mut()) {
        source.default_mode = Some(0o755);
    }
    extras
}

/// bash alone, and no process while it waits: a dozen of these wait beside what is to serve first. What a member gets when it
/// joins is awaited by each pod, held or not: without it the programs would end at once, and be started ever later.
fn script() -> String {
    let group = Program::GROUP;
    let files: String =
        FROM_JOINING.iter().map(|(component, file)| format!("{component}) file={file} ;;\n  ")).collect();
    format!(
        "#!/bin/bash\n\
         # The last step of this container's start waits here while the deployment is being brought up and what it needs\n\
         # does not serve yet, or a member has not joined; every other call goes straight through.\n\
         folder=({FOLDER}/*)\n\
         case ${{folder##*/}} in\n  \
           {files}*) file=/ ;;\n\
         esac\n\
         told() {{\n  \
           local now\n  \
           ends=\n  \
           {{ read -r ends alone < \"$folder/{FILE}\"; }} 2> /dev/null\n  \
           [[ $ends =~ ^[0-9]+$ ]] && printf -v now '%(%s)T' -1 && (( now < ends ))\n\
         }}\n\
         held() {{\n  \
           [ ! -e {LET_GO} ] && told\n\
         }}\n\
         rest() {{\n  \
           if [ -p {WAKE} ]; then read -r -t \"$1\" -u 3; else sleep 1; fi\n\
         }}\n\
         if [ \"$*\" = \"start {group}:*\" ] && {{ held || [ ! -e $file ]; }}; then\n  \
           {{ [ -p {WAKE} ] || mkfifo {WAKE}; }} 2> /dev/null && exec 3<> {WAKE}\n  \
           if held && [ -n \"$alone\" ]; then {SUPERVISORCTL} start $alone > /dev/null & fi\n  \
           while held; do rest 1; done\n  \
           since=$SECONDS\n  \
           until [ -e $file ] || (( SECONDS - since > {JOINS_WITHIN_SECONDS} )); do rest 0.1; done\n\
         fi\n\
         exec {SUPERVISORCTL} \"$@\"\n"
    )
}

#[cfg(test)]
mod tests;
