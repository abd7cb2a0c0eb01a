//! The membership maps that the cluster manager keeps in etcd (clearwater-etcd
//! `src/metaswitch/clearwater/cluster_manager`), as read over etcd's v2 API.

use std::collections::BTreeMap;

use serde::Deserialize;
use thiserror::Error;

/// The members of one store by address, each with the state that the cluster manager gives it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Members(pub BTreeMap<String, String>);

/// An answer of etcd that is not a membership map.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("etcd's answer for {key} is not a membership map: {why}")]
pub struct Unreadable {
    /// The key that was asked for.
    pub key: String,
    /// What is wrong with the answer.
    pub why: String,
}

#[derive(Deserialize)]
struct Answer {
    node: Option<Node>,
    #[serde(rename = "errorCode")]
    error_code: Option<i64>,
    message: Option<String>,
    index: Option<u64>,
}

#[derive(Deserialize)]
struct Node {
    value: Option<String>,
    #[serde(rename = "modifiedIndex")]
    modified_index: Option<u64>,
}

/// etcd's error code for a key that does not exist (etcd `error/error.go`, `EcodeKeyNotFound`).
const KEY_NOT_FOUND: i64 = 100;

/// Reads the body of `GET /v2/keys/KEY`, with or without `wait`: the key's value, empty where it does not exist, and
/// etcd's index of the last change that it tells of.
pub(crate) fn value(key: &str, body: &str) -> Result<(String, u64), Unreadable> {
    let fail = |why: String| Unreadable { key: key.to_owned(), why };
    let answer: Answer = serde_json::from_str(body).map_err(|e| fail(e.to_string()))?;
    if answer.error_code == Some(KEY_NOT_FOUND) {
        return Ok((String::new(), answer.index.unwrap_or(0)));
    }
    if let Some(code) = answer.error_code {
        return Err(fail(format!("error {code}: {}", answer.message.unwrap_or_default())));
    }
    let node = answer.node.ok_or_else(|| fail("it has no value".to_owned()))?;
    let index = node.modified_index.unwrap_or(0);
    Ok((node.value.ok_or_else(|| fail("it has no value".to_owned()))?, index))
}

impl Members {
    /// Reads the body of `GET /v2/keys/KEY`. A key that does not exist is an empty map.
    pub fn parse(key: &str, body: &str) -> Result<Self, Unreadable> {
        let fail = |why: String| Unreadable { key: key.to_owned(), why };
        let (value, _) = value(key, body)?;
        if value.trim().is_empty() {
            return Ok(Self::default());
        }
        serde_json::from_str(&value).map(Self).map_err(|e| fail(e.to_string()))
    }

    /// Whether every one of these pods is a `normal` member and nobody else is a member; otherwise one line for each
    /// thing that is not so, stale members of dead pods last.
    pub fn judge(&self, store: &str, pods: &[(&str, &str)]) -> Vec<String> {
        let mut lines = Vec::new();
        for (pod, address) in pods {
            match self.0.get(*address).map(String::as_str) {
                Some("normal") => {}
                Some(state) => lines.push(format!("{store} member {address} ({pod}) is {state:?}")),
                None => lines.push(format!("{store} does not have {address} ({pod}) as a member yet")),
            }
        }
        for stale in self.stale(pods.iter().map(|(_, address)| *address)) {
            let state = &self.0[stale];
            lines.push(format!("{store} member {stale} is {state:?} and no pod has that address"));
        }
        lines
    }

    /// Members that no pod of these addresses stands behind.
    pub fn stale<'a>(&'a self, addresses: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
        let addresses: Vec<&str> = addresses.into_iter().collect();
        self.0.keys().map(String::as_str).filter(|member| !addresses.contains(member)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "/clearwater/site1/node_type_chronos/clustering/chronos";

    #[test]
    fn a_map_is_read() {
        let body = r#"{"action":"get","node":{"key":"/x","value":"{\"10.0.0.1\": \"normal\", \"10.0.0.2\": \"joining\"}",
            "modifiedIndex":7,"createdIndex":4}}"#;
        let members = Members::parse(KEY, body).unwrap();
        assert_eq!(
            members.judge("Chronos", &[("chronos-0", "10.0.0.1"), ("chronos-1", "10.0.0.2")]),
            [r#"Chronos member 10.0.0.2 (chronos-1) is "joining""#]
        );
        assert_eq!(
            members.judge("Chronos", &[("chronos-1", "10.0.0.9")]),
            [
                "Chronos does not have 10.0.0.9 (chronos-1) as a member yet",
                r#"Chronos member 10.0.0.1 is "normal" and no pod has that address"#,
                r#"Chronos member 10.0.0.2 is "joining" and no pod has that address"#,
            ]
        );
    }

    #[test]
    fn a_missing_key_is_an_empty_map() {
        let body = r#"{"errorCode":100,"message":"Key not found","cause":"/x","index":3}"#;
        assert_eq!(Members::parse(KEY, body).unwrap(), Members::default());
        let body = r#"{"node":{"value":""}}"#;
        assert_eq!(Members::parse(KEY, body).unwrap(), Members::default());
    }

    #[test]
    fn other_answers_are_named() {
        assert!(Members::parse(KEY, "404 page not found").unwrap_err().to_string().contains(KEY));
        assert!(Members::parse(KEY, r#"{"errorCode":300,"message":"Raft"}"#).unwrap_err().why.contains("300"));
        assert!(Members::parse(KEY, r#"{"node":{"dir":true}}"#).unwrap_err().why.contains("no value"));
        assert!(Members::parse(KEY, r#"{"node":{"value":"[]"}}"#).is_err());
    }
}
