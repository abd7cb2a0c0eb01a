//! What etcd holds of a deployment, for the record (its interface of version 2).

use std::collections::BTreeMap;
use std::time::Duration;

use clearwater::component::Component;
use kube::ResourceExt as _;
use serde_json::Value;

use crate::cluster::Cluster;
use crate::observe::etcd::CLIENT_PORT;
use crate::pod::Forward;
use crate::pod::object::pod_is_ready;
use crate::subscribers::pods;

const ANSWER: Duration = Duration::from_secs(8);
/// Below it stand the lists of members and the shared configuration, where there is one (clearwater-etcd
/// `config_manager`).
const ALL: &str = "/v2/keys/clearwater?recursive=true&sorted=true";

/// The keys below `/clearwater`, or why they could not be read.
pub(super) async fn keys(cluster: &Cluster) -> Result<BTreeMap<String, String>, String> {
    let all = pods(cluster, Component::Etcd).await.map_err(|e| e.to_string())?;
    let Some(pod) = all.iter().find(|p| pod_is_ready(p)) else { return Err("no pod of etcd is ready".to_owned()) };
    let asking = async {
        let mut forward = Forward::open(&cluster.api(), &pod.name_any(), CLIENT_PORT, cluster.policy.timeout()).await?;
        forward.get(ALL, ANSWER).await
    };
    let (status, body) = asking.await.map_err(|e| e.to_string())?;
    match status {
        200 => leaves(&body).ok_or_else(|| "etcd's answer cannot be read".to_owned()),
        404 => Ok(BTreeMap::new()),
        other => Err(format!("etcd answered {other}")),
    }
}

fn leaves(body: &str) -> Option<BTreeMap<String, String>> {
    let answer: Value = serde_json::from_str(body).ok()?;
    let (mut left, mut found) = (vec![&answer["node"]], BTreeMap::new());
    while let Some(node) = left.pop() {
        if let Some(nodes) = node["nodes"].as_array() {
            left.extend(nodes);
        } else if let (Some(key), Some(value)) = (node["key"].as_str(), node["value"].as_str()) {
            found.insert(key.to_owned(), value.to_owned());
        }
    }
    answer["node"].is_object().then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_found_however_deep() {
        let body = r#"{"action": "get", "node": {"key": "/clearwater", "dir": true, "nodes": [
            {"key": "/clearwater/site1", "dir": true, "nodes": [{"key": "/clearwater/site1/a", "value": "{}"}]},
            {"key": "/clearwater/empty", "dir": true}]}}"#;
        assert_eq!(leaves(body).unwrap(), [("/clearwater/site1/a".to_owned(), "{}".to_owned())].into());
        assert_eq!((leaves("{}"), leaves("x")), (None, None));
    }
}
