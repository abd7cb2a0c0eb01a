//! Exits of containers, gathered over time.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;

use crate::pod::object::containers;

/// Exits of containers, gathered from the pods as they change: the API keeps only the last one of each container.
#[derive(Clone, Debug, Default)]
pub struct Exits(BTreeMap<(String, String), Vec<Exit>>);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Exit {
    pub(crate) code: i32,
    pub(crate) reason: String,
    pub(crate) finished: Timestamp,
}

impl Exits {
    /// Takes note of the exits that a pod's status tells.
    pub fn observe(&mut self, pod: &Pod) {
        let uid = pod.metadata.uid.clone().unwrap_or_default();
        for (status, _) in containers(pod) {
            let states = [status.last_state.as_ref(), status.state.as_ref()];
            for ended in states.into_iter().flatten().filter_map(|s| s.terminated.as_ref()) {
                let Some(finished) = ended.finished_at.as_ref().map(|t| t.0) else { continue };
                let exit = Exit { code: ended.exit_code, reason: ended.reason.clone().unwrap_or_default(), finished };
                let known = self.0.entry((uid.clone(), status.name.clone())).or_default();
                if !known.contains(&exit) {
                    known.push(exit);
                    known.sort_by_key(|e| e.finished);
                }
            }
        }
    }

    /// Forgets a pod that is gone.
    pub fn forget(&mut self, uid: &str) {
        self.0.retain(|(pod, _), _| pod != uid);
    }

    pub(crate) fn of(&self, uid: &str, container: &str) -> &[Exit] {
        self.0.get(&(uid.to_owned(), container.to_owned())).map_or(&[], Vec::as_slice)
    }
}
