//! Where components keep what they hold.

use super::{Check, form, path};
use crate::component::{Component, Release};
use crate::config::problem::{KeyPath, quoted};
use crate::config::{ComponentOverrides, Storage};

pub(super) fn check(check: &mut Check<'_>) {
    let file = check.file;
    let key = path("etcdStorage");
    if !file.etcd_storage.is_default() {
        let own = path("components.etcd.storage");
        if file.components.get(&Component::Etcd).is_some_and(|o| !o.storage.is_default()) {
            check.refuse(&[key.clone(), own], "the same as components.etcd.storage, which is given too: remove this");
        } else {
            check.warn(
                std::slice::from_ref(&key),
                "its name is components.etcd.storage now, and this one is read still",
            );
        }
    }
    one(check, &file.etcd_storage, &key);
    for (component, overrides) in &file.components {
        of(check, *component, overrides, &path("components").key(component.name()).key("storage"));
    }
}

fn of(check: &mut Check<'_>, component: Component, overrides: &ComponentOverrides, key: &KeyPath) {
    let storage = &overrides.storage;
    if storage.is_default() {
        return;
    }
    let release = check.file.release;
    let why = match component {
        // clearwater-etcd-plugins `plugins/cassandra_plugin.py` (2016), which has no mark of having joined before.
        Component::Cassandra if release == Release::Classic && storage.persistent != Some(false) => {
            Some("its images empty /var/lib/cassandra each time that a pod joins, so a volume would keep nothing")
        }
        Component::Etcd | Component::Ellis | Component::Cassandra => None,
        Component::Astaire | Component::Memcached | Component::Chronos => Some("what it holds is in memory alone"),
        _ => Some("it holds nothing"),
    };
    match why {
        Some(why) => check.refuse(std::slice::from_ref(key), format!("{component} takes none: {why}; remove this")),
        None => one(check, storage, key),
    }
}

fn one(check: &mut Check<'_>, storage: &Storage, key: &KeyPath) {
    if storage.persistent == Some(false) {
        for (name, given) in [("storageClass", storage.storage_class.is_some()), ("size", storage.size.is_some())] {
            if given {
                check.refuse(
                    &[key.key(name), key.key("persistent")],
                    "not used with `persistent: false`: remove it, or remove that",
                );
            }
        }
    }
    if let Some(class) = &storage.storage_class {
        check.form(&key.key("storageClass"), class, form::object_name);
    }
    if let Some(size) = &storage.size {
        let why = match form::quantity(size) {
            Ok(amount) if amount > 0.0 => None,
            Ok(_) => Some("holds nothing, and the API server refuses such a claim: write one like 1Gi".to_owned()),
            Err(why) => Some(why),
        };
        if let Some(why) = why {
            check.wrong(&key.key("size"), format!("{} {why}", quoted(size)));
        }
    }
}
