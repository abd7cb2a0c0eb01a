//! The API server's audit log: who asked what.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

/// A place in the audit log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuditMark {
    inode: u64,
    offset: u64,
}

/// One request that the API server answered, or began to answer in case of a watch.
///
/// The fields are those of `audit.k8s.io/v1`. Requests of the cluster's own parts are not in the log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AuditEvent {
    /// `ResponseComplete`; for watches, exec and the like `ResponseStarted` comes first.
    pub stage: String,
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`.
    pub verb: String,
    /// Path and query.
    #[serde(rename = "requestURI")]
    pub request_uri: String,
    /// The program that asked.
    pub user_agent: String,
    /// Who asked.
    pub user: AuditUser,
    /// What was asked about.
    pub object_ref: AuditObject,
    /// What was answered.
    pub response_status: AuditStatus,
    /// When the request came, RFC 3339 with microseconds.
    pub request_received_timestamp: String,
}

/// Who asked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct AuditUser {
    /// The user's name.
    pub username: String,
}

/// What was asked about; fields are empty where they do not apply.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct AuditObject {
    /// Empty for the core.
    #[serde(rename = "apiGroup")]
    pub api_group: String,
    /// Plural, as in the path.
    pub resource: String,
    /// For example `exec` or `status`.
    pub subresource: String,
    /// The object's namespace.
    pub namespace: String,
    /// The object's name.
    pub name: String,
}

/// What was answered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct AuditStatus {
    /// HTTP status.
    pub code: u16,
}

impl AuditEvent {
    /// Whether the request changes objects.
    ///
    /// Dry runs, access reviews and what a pod's connections are made with are not counted as writes, although their
    /// verb is `create` or `patch`.
    pub fn is_write(&self) -> bool {
        const CONNECTIONS: [&str; 4] = ["exec", "attach", "portforward", "proxy"];
        let (resource, subresource) = (self.object_ref.resource.as_str(), self.object_ref.subresource.as_str());
        let asks_only = self.request_uri.contains("dryRun=All")
            || resource.ends_with("reviews")
            || CONNECTIONS.contains(&subresource)
            || (resource, subresource) == ("serviceaccounts", "token");
        !asks_only && matches!(self.verb.as_str(), "create" | "update" | "patch" | "delete" | "deletecollection")
    }
}

/// Counts by verb.
pub fn verbs<'a>(events: impl IntoIterator<Item = &'a AuditEvent>) -> BTreeMap<String, usize> {
    events.into_iter().fold(BTreeMap::new(), |mut counts, event| {
        *counts.entry(event.verb.clone()).or_default() += 1;
        counts
    })
}

/// The log's end as it is now.
pub(crate) fn mark(log: &Path) -> Result<AuditMark> {
    let meta = std::fs::metadata(log).with_context(|| format!("cannot read {}", log.display()))?;
    Ok(AuditMark { inode: meta.ino(), offset: meta.len() })
}

/// What was logged since `mark`. A request is in it once: where it was complete, or where a watch began.
pub(crate) fn since(log: &Path, mark: &AuditMark) -> Result<Vec<AuditEvent>> {
    let mut file = File::open(log).with_context(|| format!("cannot open {}", log.display()))?;
    ensure!(
        file.metadata()?.ino() == mark.inode,
        "the audit log was rotated since the mark was set: set marks later, or count less"
    );
    file.seek(SeekFrom::Start(mark.offset))?;
    let mut events = Vec::new();
    for line in BufReader::new(file).lines() {
        let line = line?;
        // The last line may be half written.
        let Ok(event) = serde_json::from_str::<AuditEvent>(&line) else {
            continue;
        };
        events.push(event);
    }
    Ok(once(events))
}

fn once(events: Vec<AuditEvent>) -> Vec<AuditEvent> {
    let long = |event: &AuditEvent| {
        event.verb == "watch" || matches!(event.object_ref.subresource.as_str(), "exec" | "attach" | "portforward")
    };
    events
        .into_iter()
        .filter(|event| {
            let wanted =
                if long(event) && event.response_status.code < 400 { "ResponseStarted" } else { "ResponseComplete" };
            event.stage == wanted
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn line(stage: &str, verb: &str, resource: &str, subresource: &str, code: u16) -> String {
        format!(
            r#"{{"stage":"{stage}","verb":"{verb}","requestURI":"/api","userAgent":"x/1","user":{{"username":"me"}},"objectRef":{{"resource":"{resource}","subresource":"{subresource}"}},"responseStatus":{{"code":{code}}}}}"#
        )
    }

    #[test]
    fn a_request_is_counted_once_and_only_what_comes_after_the_mark() {
        let mut log = tempfile::NamedTempFile::new().unwrap();
        writeln!(log, "{}", line("ResponseComplete", "get", "pods", "", 200)).unwrap();
        let at = mark(log.path()).unwrap();
        for text in [
            line("ResponseComplete", "create", "pods", "", 201),
            line("ResponseStarted", "watch", "pods", "", 200),
            line("ResponseComplete", "watch", "pods", "", 200),
            line("ResponseComplete", "watch", "pods", "", 403),
            line("ResponseStarted", "get", "pods", "exec", 101),
        ] {
            writeln!(log, "{text}").unwrap();
        }
        write!(log, "{{\"stage\":").unwrap();
        let events = since(log.path(), &at).unwrap();
        let counts = verbs(&events);
        assert_eq!(counts.get("create"), Some(&1));
        assert_eq!(counts.get("watch"), Some(&2));
        assert_eq!(counts.get("get"), Some(&1));
    }

    #[test]
    fn what_only_asks_is_no_write() {
        let event = |verb: &str, resource: &str, subresource: &str, uri: &str| AuditEvent {
            verb: verb.into(),
            request_uri: uri.into(),
            object_ref: AuditObject {
                resource: resource.into(),
                subresource: subresource.into(),
                ..AuditObject::default()
            },
            ..AuditEvent::default()
        };
        assert!(event("patch", "services", "", "/x").is_write());
        assert!(!event("patch", "services", "", "/x?dryRun=All&force=true").is_write());
        assert!(!event("create", "selfsubjectaccessreviews", "", "/x").is_write());
        assert!(!event("create", "pods", "portforward", "/x").is_write());
        assert!(!event("list", "pods", "", "/x").is_write());
    }
}
