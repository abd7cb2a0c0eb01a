//! The stores' lists of members that the cluster manager keeps in etcd (clearwater-etcd
//! `src/metaswitch/clearwater/cluster_manager`), as read over etcd's v2 API, and what takes a dead one off.
//!
//! Whoever reaches etcd's port can write anything there. A list is therefore read into addresses and known states, or
//! not at all ([`Members::parse`]).

use std::net::IpAddr;

use clearwater::component::Clustering;
use clearwater::scale::{MemberState, Members, MembersError};
use serde::Deserialize;
use thiserror::Error;

use crate::pod::Script;

/// What a store's members are known to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MembersSeen {
    /// etcd said so. A key that does not exist is an empty list.
    Read(Members),
    /// etcd could not be asked for now.
    Failed(String),
    /// No connection to etcd was to be had, which says nothing of it.
    Unreached(String),
    /// What stands in etcd is no list of members: somebody else wrote it, and it stays so until another is written.
    Wrong {
        /// The key in etcd.
        key: String,
        /// What is wrong with its value.
        error: MembersError,
    },
    /// etcd cannot be asked at all, for want of what is named.
    Unchecked(String),
}

impl MembersSeen {
    /// What the value of a key came to.
    pub(crate) fn of(key: &str, value: Result<String, Unreadable>) -> Self {
        match value.map(|value| Members::parse(&value)) {
            Ok(Ok(members)) => Self::Read(members),
            Ok(Err(error)) => Self::Wrong { key: key.to_owned(), error },
            Err(error) => Self::Failed(error.to_string()),
        }
    }

    /// The members, where they were read.
    pub fn members(&self) -> Option<&Members> {
        match self {
            Self::Read(members) => Some(members),
            _ => None,
        }
    }
}

/// An answer of etcd that does not tell a key's value. Another time it may.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("etcd's answer for {key} has no list of members: {why}")]
pub(crate) struct Unreadable {
    /// The key that was asked for.
    key: String,
    /// What is wrong with the answer.
    why: String,
}

#[derive(Deserialize)]
struct KeyAnswer {
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
    let answer: KeyAnswer = serde_json::from_str(body).map_err(|e| fail(e.to_string()))?;
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

/// Whether every one of these pods is a `normal` member and nobody else is a member; otherwise one line for each
/// thing that is not so, stale members of dead pods last.
pub fn judge(members: &Members, store: &str, pods: &[(&str, Vec<IpAddr>)]) -> Vec<String> {
    let mut lines = Vec::new();
    for (pod, addresses) in pods {
        match of(members, addresses) {
            Some((_, MemberState::Normal)) => {}
            Some((address, state)) => {
                lines.push(format!("{store} member {address} ({pod}) is {:?}", state.name()));
            }
            None => {
                let address = addresses.first().map_or_else(String::new, |a| format!("{a} "));
                lines.push(format!("{store} does not have {address}({pod}) as a member yet"));
            }
        }
    }
    lines.extend(dead(members, store, pods));
    lines
}

/// A line for each member that no pod stands behind: it keeps others from joining.
pub fn dead(members: &Members, store: &str, pods: &[(&str, Vec<IpAddr>)]) -> Vec<String> {
    let all: Vec<IpAddr> = pods.iter().flat_map(|(_, addresses)| addresses.iter().copied()).collect();
    let stale = members.stale(&all);
    stale
        .into_iter()
        .map(|(stale, state)| format!("{store} member {stale} is {:?} and no pod has that address", state.name()))
        .collect()
}

/// The member that a pod of these addresses is.
pub(crate) fn of(members: &Members, addresses: &[IpAddr]) -> Option<(IpAddr, MemberState)> {
    addresses.iter().find_map(|a| Some((*a, members.state(*a)?)))
}

/// Takes a dead member off a store's list: the kind of node, the store, the member. The images have the program in
/// `/usr/sbin`, under this name or, without the package's link, under its own (clearwater-etcd
/// `debian/clearwater-cluster-manager.links`).
const MARK_FAILED: &str = r#"PATH=$PATH:/usr/sbin
if command -v cw-mark_node_failed >/dev/null; then cw-mark_node_failed "$@"; else mark_node_failed "$@"; fi"#;

/// Takes a dead member off a store's list. To be run as root in a pod that knows the store, and for every dead member of
/// a store at once: each run ends only when none is left.
pub(crate) fn mark_failed(clustering: &Clustering, member: IpAddr) -> Script {
    Script::new(MARK_FAILED).arg(clustering.node_type).arg(clustering.datastore).arg(member)
}

/// The same as a person would type it.
pub(crate) fn mark_failed_text(clustering: &Clustering, member: IpAddr) -> String {
    format!("cw-mark_node_failed {} {} {member}", clustering.node_type, clustering.datastore)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "/clearwater/site1/node_type_chronos/clustering/chronos";

    fn parse(body: &str) -> MembersSeen {
        MembersSeen::of(KEY, value(KEY, body).map(|(value, _)| value))
    }

    fn read(body: &str) -> Members {
        parse(body).members().unwrap().clone()
    }

    fn said(body: &str) -> String {
        match parse(body) {
            MembersSeen::Wrong { key, error } => format!("{key} in etcd: {error}"),
            MembersSeen::Failed(text) => text,
            other => panic!("{other:?}"),
        }
    }

    fn ip(text: &str) -> Vec<IpAddr> {
        vec![text.parse().unwrap()]
    }

    #[test]
    fn a_map_is_read() {
        let body = r#"{"action":"get","node":{"key":"/x","value":"{\"10.0.0.1\": \"normal\", \"10.0.0.2\": \"joining\"}",
            "modifiedIndex":7,"createdIndex":4}}"#;
        let members = read(body);
        assert_eq!(
            judge(&members, "Chronos", &[("chronos-0", ip("10.0.0.1")), ("chronos-1", ip("10.0.0.2"))]),
            [r#"Chronos member 10.0.0.2 (chronos-1) is "joining""#]
        );
        assert_eq!(
            judge(&members, "Chronos", &[("chronos-1", ip("10.0.0.9"))]),
            [
                "Chronos does not have 10.0.0.9 (chronos-1) as a member yet",
                r#"Chronos member 10.0.0.1 is "normal" and no pod has that address"#,
                r#"Chronos member 10.0.0.2 is "joining" and no pod has that address"#,
            ]
        );
    }

    #[test]
    fn a_member_is_found_by_any_address_of_its_pod() {
        let members = Members::parse(r#"{"fd00::0:4": "normal"}"#).unwrap();
        let both = [ip("10.0.0.4"), ip("fd00::4")].concat();
        assert_eq!(judge(&members, "Chronos", &[("chronos-0", both)]), Vec::<String>::new());
    }

    #[test]
    fn a_missing_key_is_an_empty_map() {
        let body = r#"{"errorCode":100,"message":"Key not found","cause":"/x","index":3}"#;
        assert_eq!(read(body), Members::default());
        let body = r#"{"node":{"value":""}}"#;
        assert_eq!(read(body), Members::default());
    }

    #[test]
    fn other_answers_are_named() {
        assert!(said("404 page not found").contains(KEY));
        assert!(said(r#"{"errorCode":300,"message":"Raft"}"#).contains("300"));
        assert!(said(r#"{"node":{"dir":true}}"#).contains("no value"));
        assert!(matches!(parse(r#"{"node":{"value":"[]"}}"#), MembersSeen::Wrong { .. }));
    }

    #[test]
    fn what_somebody_else_wrote_is_shown_and_never_read() {
        let wrote = |value: &str| said(&serde_json::json!({"node": {"value": value}}).to_string());
        let said = wrote(r#"{"; id > /tmp/x #": "normal"}"#);
        assert!(said.contains(KEY) && said.contains(r#""; id > /tmp/x #""#), "{said}");
        for hostile in ["10.0.0.1\\n10.0.0.2", "10.0.0.1 ", "10.0.0.1; id", "\\u001b[2J", "\\u202e", ""] {
            let said = wrote(&format!(r#"{{"10.0.0.1": "normal", "{hostile}": "normal"}}"#));
            assert!(said.contains("not an IP address") && !said.contains(['\n', '\u{1b}', '\u{202e}']), "{said:?}");
        }
        let said = wrote(r#"{"10.0.0.1": "normal\u001b[2J"}"#);
        assert!(said.contains("10.0.0.1") && !said.contains('\u{1b}'), "{said:?}");
    }

    /// The program as the images have it, and as it is called without the package's link.
    #[test]
    fn a_dead_member_is_marked_by_whichever_name_the_image_has() {
        let chronos = clearwater::component::entry(
            clearwater::component::Release::Hunter,
            clearwater::component::Component::Chronos,
        );
        let clustering = chronos.unwrap().clustering.unwrap();
        let member: IpAddr = "10.0.0.9".parse().unwrap();
        let line = mark_failed(&clustering, member).line().unwrap();
        for name in ["cw-mark_node_failed", "mark_node_failed"] {
            let as_function = format!("{name}() {{ echo {name} \"$@\"; }}; {line}");
            let output = std::process::Command::new("bash").args(["-c", &as_function]).output().unwrap();
            let wanted = format!("{name} node_type_chronos chronos 10.0.0.9\n");
            assert_eq!(String::from_utf8(output.stdout).unwrap(), wanted);
        }
        assert_eq!(mark_failed_text(&clustering, member), "cw-mark_node_failed node_type_chronos chronos 10.0.0.9");
    }
}
