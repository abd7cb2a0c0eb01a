//! Volumes, and how a store finds on one what an earlier pod of it left there.
//!
//! etcd needs nothing but its directory. The others' images keep more than their data in the container: a text that runs
//! before everything else puts that on the volume too ([`STORAGE`]).

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    PersistentVolumeClaim, PersistentVolumeClaimSpec, PersistentVolumeClaimVolumeSource, Volume, VolumeMount,
    VolumeResourceRequirements,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::extras::Extras;
use super::meta::metadata;
use super::shared::config_map;
use super::{Deployment, Inputs, Item, ItemOwner, Note};
use crate::component::{
    CASSANDRA_DATA, CASSANDRA_FOLDER, CASSANDRA_SETTINGS, Component, MYSQL_DATA, OF_CASSANDRA_MEMBER, entry, port,
};

/// The ConfigMap with the texts by which stores find what they kept.
pub const STORAGE: &str = "clearwater-storage";
/// The claim of Ellis, whose pod is a Deployment's. Those of StatefulSets' pods have their own names.
pub const ELLIS_CLAIM: &str = "data-ellis";

/// The volume's name in a pod, and what the names of claims begin with.
pub(super) const DATA: &str = "data";

const FOLDER: &str = "/opt/clearwater/storage";
const VOLUME: &str = "/opt/clearwater/volume";
const TAKE_OFF: &str = "take-off.py";

/// Whether what a component holds outlives its pod.
pub fn persistent(d: &Deployment, inputs: &Inputs, component: Component) -> bool {
    if !component.keeps_on_volume(d.release()) {
        return false;
    }
    let storage = d.file().storage(component);
    let open = || match inputs.volumes.get(&component) {
        Some(&stands) => stands,
        None => inputs.default_storage_class == Some(true),
    };
    storage.persistent.unwrap_or_else(|| storage.storage_class.is_some() || open())
}

fn claim_spec(d: &Deployment, component: Component) -> PersistentVolumeClaimSpec {
    let storage = d.file().storage(component);
    let usual = if component == Component::Cassandra { "10Gi" } else { "1Gi" };
    let size = Quantity(storage.size.unwrap_or_else(|| usual.to_owned()));
    PersistentVolumeClaimSpec {
        access_modes: Some(vec!["ReadWriteOnce".to_owned()]),
        storage_class_name: storage.storage_class,
        resources: Some(VolumeResourceRequirements {
            requests: Some(BTreeMap::from([("storage".to_owned(), size)])),
            ..VolumeResourceRequirements::default()
        }),
        ..PersistentVolumeClaimSpec::default()
    }
}

/// The claims that the pods of a StatefulSet get.
pub(super) fn claims(d: &Deployment, inputs: &Inputs, component: Component) -> Option<Vec<PersistentVolumeClaim>> {
    if !component.is_store() || !persistent(d, inputs, component) {
        return None;
    }
    let metadata = ObjectMeta { name: Some(DATA.to_owned()), ..ObjectMeta::default() };
    let spec = Some(claim_spec(d, component));
    Some(vec![PersistentVolumeClaim { metadata, spec, ..PersistentVolumeClaim::default() }])
}

/// What is said of a component whose data is in its pod.
pub(super) fn note(d: &Deployment, inputs: &Inputs, component: Component) -> Option<Note> {
    if !component.keeps_on_volume(d.release()) || persistent(d, inputs, component) {
        return None;
    }
    let kind = if component.is_store() { "StatefulSet" } else { "Deployment" };
    let cost = if component == Component::Etcd {
        ", and then the stores must be recreated with it".to_owned()
    } else {
        let data = entry(d.release(), component).map(|e| e.data).unwrap_or_default();
        format!(" ({})", data.iter().map(|d| d.what).collect::<Vec<_>>().join(", "))
    };
    Some(Note {
        about: format!("{kind}/{component}"),
        text: format!(
            "what it holds is gone with its pod{cost}: set components.{component}.storage.persistent to keep it on a volume"
        ),
    })
}

/// The objects that volumes take beside the workloads.
pub(super) fn items(d: &Deployment, inputs: &Inputs) -> Vec<Item> {
    let texts: BTreeMap<String, String> = d
        .components()
        .filter(|e| persistent(d, inputs, e.component))
        .filter_map(|e| Some((format!("{}.sh", e.component), starter(d, e.component)?)))
        .collect();
    if texts.is_empty() {
        return Vec::new();
    }
    let take_off = texts.contains_key("cassandra.sh").then(|| (TAKE_OFF.to_owned(), TAKES_OFF.to_owned()));
    vec![config_map(d, ItemOwner::Shared, STORAGE, texts.into_iter().chain(take_off).collect())]
}

/// The claim of a component whose pods no StatefulSet makes.
pub(super) fn claim(d: &Deployment, inputs: &Inputs, component: Component) -> Option<Item> {
    if component != Component::Ellis || !persistent(d, inputs, component) {
        return None;
    }
    let metadata = metadata(d, ItemOwner::Component(component), None, ELLIS_CLAIM);
    let spec = Some(claim_spec(d, component));
    Some(Item::applied(component, PersistentVolumeClaim { metadata, spec, ..PersistentVolumeClaim::default() }))
}

/// Gives a pod its volume, and what finds its way about on it.
pub(super) fn kept(d: &Deployment, inputs: &Inputs, component: Component, mut extras: Extras) -> Extras {
    if starter(d, component).is_none() || !persistent(d, inputs, component) {
        return extras;
    }
    if component == Component::Ellis {
        let claim_name = ELLIS_CLAIM.to_owned();
        let source = PersistentVolumeClaimVolumeSource { claim_name, ..PersistentVolumeClaimVolumeSource::default() };
        let name = DATA.to_owned();
        extras.volumes.push(Volume { name, persistent_volume_claim: Some(source), ..Volume::default() });
    }
    let mount = |path: &str, below: Option<&str>| VolumeMount {
        name: DATA.to_owned(),
        mount_path: path.to_owned(),
        sub_path: below.map(str::to_owned),
        ..VolumeMount::default()
    };
    extras.mounts.push(mount(VOLUME, None));
    if component == Component::Cassandra {
        // What empties this directory before a first join takes the directory itself for granted: no link.
        extras.mounts.push(mount(CASSANDRA_DATA, Some("data")));
    }
    extras.mount(STORAGE, FOLDER);
    extras.starters.push(format!("{FOLDER}/{component}.sh"));
    extras
}

/// What runs first in a pod with a volume.
fn starter(d: &Deployment, component: Component) -> Option<String> {
    let own = match component {
        Component::Cassandra => cassandra(d)?,
        Component::Ellis => ellis(),
        _ => return None,
    };
    Some(format!(
        "#!/bin/sh\n\
         # Finds what an earlier pod left on this volume, then starts what follows.\n\
         set -e\n\
         volume={VOLUME}\n\
         # One at a time: a pod that was removed by force may be running still. supervisord keeps this descriptor for itself\n\
         # and leaves it open, so the lock ends with it.\n\
         exec 3>> \"$volume/lock\"\n\
         if ! flock -n 3; then\n  \
           echo 'waiting for the pod that has the volume to end' >&2\n  \
           flock 3 || echo 'the volume cannot be locked' >&2\n\
         fi\n\
         {own}\
         exec \"$@\"\n"
    ))
}

/// The tables that the image was made with are where the first pod's begin.
fn ellis() -> String {
    format!(
        "kept=$volume/mysql\n\
         if [ ! -L {MYSQL_DATA} ]; then\n  \
           if [ ! -d $kept ]; then\n    \
             rm -rf $kept.new\n    \
             mkdir -p {MYSQL_DATA}\n    \
             cp -a {MYSQL_DATA} $kept.new\n    \
             mv $kept.new $kept\n  \
           fi\n  \
           rm -rf {MYSQL_DATA}\n  \
           ln -s $kept {MYSQL_DATA}\n\
         fi\n\
         # Another image may have given its user another number.\n\
         if id -u mysql > /dev/null 2>&1 && [ \"$(stat -c %U $kept)\" != mysql ]; then\n  \
           chown -R mysql: $kept\n\
         fi\n"
    )
}

/// The image's own configuration is taken from the image each time, and what a member has by joining from the volume. The
/// settings name the member's address. In a new pod, which has another one, it joins anew, is given others, and finds its
/// rows because the flags say that it has joined before; the old address is taken off the list, where nobody lives any
/// more. In a container that was restarted in its pod the address is the same, so that nothing joins and the settings count.
fn cassandra(d: &Deployment) -> Option<String> {
    let key = entry(d.release(), Component::Cassandra)?.clustering.as_ref()?.etcd_key;
    let etcd = d.names().host(Component::Etcd);
    let client = port(Component::Etcd, "etcd-client");
    let gossip = port(Component::Cassandra, "gossip");
    let files = OF_CASSANDRA_MEMBER.join(" ");
    Some(format!(
        "kept=$volume/etc\n\
         if [ ! -L {CASSANDRA_FOLDER} ]; then\n  \
           mkdir -p {CASSANDRA_FOLDER}\n  \
           [ -d $kept ] || [ ! -d $kept.old ] || mv $kept.old $kept\n  \
           rm -rf $kept.new $kept.old\n  \
           cp -a {CASSANDRA_FOLDER} $kept.new\n  \
           for file in {files}; do\n    \
             [ ! -e $kept/$file ] || cp -p $kept/$file $kept.new/$file\n  \
           done\n  \
           [ ! -d $kept ] || mv $kept $kept.old\n  \
           mv $kept.new $kept\n  \
           rm -rf $kept.old {CASSANDRA_FOLDER}\n  \
           ln -s $kept {CASSANDRA_FOLDER}\n\
         fi\n\
         if [ -e {CASSANDRA_SETTINGS} ]; then\n  \
           address=$(sed -n \"s/^listen_address: *['\\\"]*\\([0-9A-Fa-f.:]*\\).*/\\1/p\" {CASSANDRA_SETTINGS})\n  \
           case \" $(hostname -I) \" in\n    \
             *\" ${{address:-none}} \"*) ;;\n    \
             *)\n      \
               [ -z \"$address\" ] || echo \"$address\" >> $volume/former\n      \
               rm {CASSANDRA_SETTINGS}\n      \
               ;;\n  \
           esac\n\
         fi\n\
         if [ -s $volume/former ]; then\n  \
           for python in python3 python2 python python2.7; do\n    \
             command -v $python > /dev/null || continue\n    \
             $python {FOLDER}/{TAKE_OFF} $volume/former {etcd} {client} {key} {gossip} || true\n    \
             break\n  \
           done\n\
         fi\n"
    ))
}

/// Takes former addresses of this member off the list in etcd, each unless somebody else lives there by now. Python, 2.7 or
/// 3, because supervisord is one. After a while (ten seconds) it goes on beside what follows.
const TAKES_OFF: &str = r#"# Takes former addresses of a member off its store's list: FILE ETCD PORT KEY GOSSIP [SECONDS]
import json, os, socket, sys, time
try:
    from http.client import HTTPConnection
    from urllib.parse import urlencode
except ImportError:
    from httplib import HTTPConnection
    from urllib import urlencode

path, etcd, port, key, gossip = sys.argv[1], sys.argv[2], int(sys.argv[3]), "/v2/keys" + sys.argv[4], int(sys.argv[5])
patience = float(sys.argv[6]) if len(sys.argv) > 6 else 10
PROXY = 4000


def ask(method, at, body=None):
    connection = HTTPConnection(etcd, port, timeout=3)
    try:
        connection.request(method, at, body, {"Content-Type": "application/x-www-form-urlencoded"} if body else {})
        answer = connection.getresponse()
        return answer.status, answer.read().decode("utf-8")
    finally:
        connection.close()


def lives(address, state):
    # A member of the ring answers its fellows; one that joins has its etcd proxy only.
    try:
        socket.create_connection((address, gossip if state.startswith("normal") else PROXY), 2).close()
        return True
    except (socket.error, OSError):
        return False


def is_off(address):
    status, text = ask("GET", key)
    if status == 404:
        return True
    node = json.loads(text)["node"]
    members = json.loads(node["value"])
    if address not in members:
        return True
    if lives(address, members[address]):
        return False
    state = members.pop(address)
    body = urlencode({"value": json.dumps(members)})
    status, _ = ask("PUT", "%s?prevIndex=%d" % (key, node["modifiedIndex"]), body)
    if status == 200:
        sys.stderr.write("took %s off the list of members, where it was %s\n" % (address, state))
    return status == 200


def is_done():
    try:
        with open(path) as file:
            return all([is_off(address) for address in set(file.read().split())])
    except Exception as error:
        sys.stderr.write("former addresses: %s\n" % error)
        return False


began = time.time()
beside = False
while time.time() - began < 900:
    if is_done():
        os.remove(path)
        break
    if not os.path.exists(path):
        break
    if not beside and time.time() - began > patience:
        if os.fork():
            os._exit(0)
        beside = True
    time.sleep(0.5)
"#;

#[cfg(test)]
mod tests;
