//! Logs of a deployment's pods: container output and files inside containers as one stream of records in time order.
//!
//! [`read`] watches the pods and reads every source that [`Choice`] names: container output through the API, files
//! through one small follower a container that ends by itself when its reader is gone. Streams that break are resumed
//! so that nothing which is still served is lost or doubled; what is no longer served is said as [`Said::Gap`].
//!
//! The records of all sources pass through a [`Merge`](clearwater::log::Merge). What is read and not yet let go is
//! bounded for each source, so that a slow reader slows the sources down and nothing grows.
//!
//! ```no_run
//! # async fn example(cluster: clearwater_kube::Cluster) -> Result<(), Box<dyn std::error::Error>> {
//! use clearwater_kube::clearwater::component::Component::{Bono, Sprout};
//! use clearwater_kube::logs::{Options, Said, read};
//!
//! let mut logs = read(&cluster, Options::of([Sprout, Bono]).follow());
//! while let Some(said) = logs.next().await {
//!     if let Said::Record(entry) = said {
//!         println!("{} {}: {}", entry.time, entry.source.pod, String::from_utf8_lossy(entry.record.bytes()));
//!     }
//! }
//! # Ok(()) }
//! ```

mod container;
mod feed;
mod files;
mod hub;
mod patience;
mod pods;
mod trace;

pub use trace::{TracedCall, trace};

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use clearwater::component::Component;
use clearwater::log::{Gap, Record};
use clearwater::manifest::SERVICE_LABEL;
use clearwater::named;
use clearwater::text::Printable;
use futures::Stream;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::ListParams;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::cluster::{is_forbidden, list_all};
use crate::options::setters;
use crate::{Cluster, RequestPolicy, owner};

/// The pauses between words about one source that cannot be read.
const REMINDERS: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(600));

/// The pauses before something is read again that broke.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

/// Where records come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogSource {
    /// The component, by the pod's label; empty where it has none.
    pub component: String,
    /// The pod's namespace.
    pub namespace: String,
    /// The pod.
    pub pod: String,
    /// The node that the pod runs on.
    pub node: String,
    /// The pod's address; empty where it has none yet.
    pub address: String,
    /// The container.
    pub container: String,
    /// The pod's labels.
    pub labels: BTreeMap<String, String>,
    /// The pod's annotations.
    pub annotations: BTreeMap<String, String>,
    /// What of the container it is.
    pub origin: LogOrigin,
}

impl LogSource {
    /// The address from which the source's component speaks SIP; none where it has none yet. What speaks SIP in the pod of a
    /// component that does not is somebody else, such as a test's phone.
    pub fn sip_address(&self) -> Option<&str> {
        let is_silent = self.component.parse::<Component>().is_ok_and(|component| !component.speaks_sip());
        Some(self.address.as_str()).filter(|address| !address.is_empty() && !is_silent)
    }
}

/// What of a container a source is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum LogOrigin {
    /// What it writes to standard output and standard error.
    Output,
    /// What the container before it wrote there.
    Previous,
    /// A file inside it, by its path.
    File(String),
    /// Its files, where it is not about one of them: whoever follows them in the container comes and goes.
    Files,
}

/// Which sources are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Choice {
    /// The files of each container that is known to write files and runs, the output of every other container: nothing
    /// shows twice.
    #[default]
    Auto,
    /// Container output only.
    Output,
    /// The components' files only.
    Files,
    /// supervisord's own log and what its programs print.
    Supervisor,
    /// Everything, even where files and output repeat each other.
    All,
}

named! {
    /// The name, as people type it.
    Choice, "source" {
        Auto = "auto",
        Output = "stdout",
        Files = "files",
        Supervisor = "supervisor",
        All = "all",
    }
}

/// A container that may be read.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    /// The pod.
    pub pod: &'a k8s_openapi::api::core::v1::Pod,
    /// The container's name.
    pub container: &'a str,
    /// Whether it is an init container.
    pub init: bool,
    /// What became of it.
    pub status: &'a k8s_openapi::api::core::v1::ContainerStatus,
}

/// Decides which containers are read.
pub type Select = Arc<dyn Fn(&Candidate<'_>) -> bool + Send + Sync>;

/// What is read, and how.
///
/// ```
/// use clearwater::component::Component::{Bono, Sprout};
/// use clearwater_kube::logs::Options;
///
/// let options = Options::of([Sprout, Bono]).follow();
/// assert_eq!((options.labels.as_str(), options.follow), ("service in (sprout,bono)", true));
/// ```
#[derive(Clone)]
#[non_exhaustive]
pub struct Options {
    /// The pods of every namespace, not only of the cluster's.
    pub all_namespaces: bool,
    /// A label selector for pods; empty for all.
    pub labels: String,
    /// A field selector for pods; empty for all.
    pub fields: String,
    /// Which of their containers.
    pub select: Select,
    /// Which of their sources.
    pub choice: Choice,
    /// Whether to go on when the present is reached.
    pub follow: bool,
    /// Nothing that was written before.
    pub since: Option<Timestamp>,
    /// At most so many records of the past of each source.
    pub tail: Option<i64>,
    /// The containers before the present ones as well.
    pub previous: bool,
    /// How long records are held at most for others that were written before them: they are for as long as others came later
    /// than they did.
    pub window: Duration,
    /// How long a source that resumes may hold back all others.
    pub max_hold: Duration,
}

impl Options {
    /// Every container of every pod of the namespace, from its beginning to the present.
    pub fn new() -> Self {
        Self {
            all_namespaces: false,
            labels: String::new(),
            fields: String::new(),
            select: Arc::new(|_| true),
            choice: Choice::default(),
            follow: false,
            since: None,
            tail: None,
            previous: false,
            window: Duration::from_secs(1),
            max_hold: Duration::from_secs(5),
        }
    }

    /// The pods of these components.
    pub fn of(components: impl IntoIterator<Item = Component>) -> Self {
        let names: Vec<&str> = components.into_iter().map(Component::name).collect();
        Self { labels: format!("{SERVICE_LABEL} in ({})", names.join(",")), ..Self::new() }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self::new()
    }
}

setters! { Options {
    /// The pods of every namespace, not only of the cluster's.
    flag all_namespaces,
    /// The pods that a label selector names.
    value labels: String,
    /// The pods that a field selector names.
    value fields: String,
    /// These containers alone.
    value select: Select,
    /// These sources of them.
    value choice: Choice,
    /// Goes on when the present is reached.
    flag follow,
    /// Nothing that was written before.
    some since: Timestamp,
    /// At most so many records of the past of each source.
    some tail: i64,
    /// The containers before the present ones as well.
    flag previous,
    /// Holds records no longer than that for others that were written before them.
    value window: Duration,
    /// Lets a source that resumes hold back all others for no longer than that.
    value max_hold: Duration,
} }

/// What [`read`] says.
#[derive(Clone, Debug)]
pub enum Said {
    /// It is known which pods there are: what there is to be read of them was said to be opened before. Said once more after a watch
    /// was begun anew.
    Listed,
    /// A source is read from now on.
    Opened(Arc<LogSource>),
    /// Nothing more comes from a source.
    Closed(Arc<LogSource>),
    /// A record.
    Record(LogEntry),
    /// Something could not be read.
    Gap(Arc<LogSource>, Gap),
    /// A stream broke and is being resumed, or something is gone without.
    Trouble(Option<Arc<LogSource>>, Printable),
    /// A source was asked for and is given up before its end; without a source nothing more can be read, and it is the
    /// last word.
    Unread(Option<Arc<LogSource>>, Printable),
}

/// A record with its place in time.
#[derive(Clone, Debug)]
pub struct LogEntry {
    /// Where it comes from.
    pub source: Arc<LogSource>,
    /// When it was written: the container runtime's time for output, the line's own time for files.
    pub time: Timestamp,
    /// The lines.
    pub record: Record,
    /// Whether it came too late for its place.
    pub late: bool,
}

/// A stream of [`Said`]. Dropping it ends all reading; followers inside containers end within ten seconds.
#[derive(Debug)]
pub struct Logs {
    said: mpsc::Receiver<Vec<Said>>,
    batch: std::vec::IntoIter<Said>,
    /// Who hears of waiting, where an end is waited for.
    policy: Option<RequestPolicy>,
    _tasks: JoinSet<()>,
}

impl Logs {
    /// The next thing said; `None` at the end, which a followed deployment has none of. Nothing is lost where the
    /// future is dropped before it is ready.
    pub async fn next(&mut self) -> Option<Said> {
        loop {
            if let Some(said) = self.batch.next() {
                return Some(said);
            }
            let said = match &self.policy {
                Some(policy) => policy.awaited("what the pods have written", self.said.recv()).await,
                None => self.said.recv().await,
            };
            self.batch = said?.into_iter();
        }
    }

    /// The next thing said, where something waits already.
    pub fn try_next(&mut self) -> Option<Said> {
        loop {
            if let Some(said) = self.batch.next() {
                return Some(said);
            }
            self.batch = self.said.try_recv().ok()?.into_iter();
        }
    }
}

/// The same as [`Logs::next`], but for the word of what is waited for ([`RequestPolicy::telling`]).
impl Stream for Logs {
    type Item = Said;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Said>> {
        loop {
            if let Some(said) = self.batch.next() {
                return Poll::Ready(Some(said));
            }
            match std::task::ready!(self.said.poll_recv(cx)) {
                Some(batch) => self.batch = batch.into_iter(),
                None => return Poll::Ready(None),
            }
        }
    }
}

/// A pod as it is now. Who may only list pods may look too.
async fn look(pods: &Api<Pod>, name: &str) -> kube::Result<Option<Pod>> {
    match pods.get_opt(name).await {
        Err(error) if is_forbidden(&error) => {
            let only = ListParams::default().fields(&format!("metadata.name={name}"));
            Ok(pods.list(&only).await?.items.into_iter().next())
        }
        seen => seen,
    }
}

/// Reads the logs of pods. Must be called inside a tokio runtime.
pub fn read(cluster: &Cluster, options: Options) -> Logs {
    let cluster = cluster.clone();
    let (out, said) = mpsc::channel(8);
    let (updates, news) = mpsc::channel(256);
    let mut tasks = JoinSet::new();
    tasks.spawn(hub::run(news, out, options.window, options.follow.then_some(options.max_hold)));
    let policy = (!options.follow).then(|| cluster.policy.clone());
    tasks.spawn(pods::run(cluster, options, updates));
    Logs { said, batch: Vec::new().into_iter(), policy, _tasks: tasks }
}

/// Whether the pods of these components were made by this program, so that bringing the deployment up changes them; `None` where
/// there are none, or they may not be listed.
pub async fn made_here(cluster: &Cluster, components: &[Component]) -> Option<bool> {
    let names: Vec<&str> = components.iter().map(|component| component.name()).collect();
    let params = ListParams::default().labels(&format!("{SERVICE_LABEL} in ({})", names.join(",")));
    let pods = list_all(&cluster.api::<Pod>(), &params).await.ok()?;
    (!pods.is_empty()).then(|| pods.iter().all(|pod| owner::has_our_label(&pod.metadata)))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::fake_api;

    #[tokio::test]
    async fn what_another_tool_made_is_told_apart() {
        let pod = |by: &str| json!({"metadata": {"name": by, "labels": {"service": "bono", "app.kubernetes.io/managed-by": by}}});
        let (ours, foreign) = (pod("kubectl-clearwater"), pod("Helm"));
        for (pods, expected) in
            [(json!([ours]), Some(true)), (json!([ours, foreign]), Some(false)), (json!([]), None), (Value::Null, None)]
        {
            let told = pods.clone();
            let (cluster, _) = fake_api::cluster(move |_| {
                Some(if told.is_null() { Value::Null } else { json!({"metadata": {}, "items": told}) })
            });
            assert_eq!(made_here(&cluster, &[Component::Bono, Component::Sprout]).await, expected, "{pods}");
        }
    }

    #[test]
    fn a_test_phone_in_a_pod_of_ellis_is_not_ellis() {
        let at = |component: &str, address: &str| {
            let source = LogSource {
                component: component.to_owned(),
                namespace: String::new(),
                pod: String::new(),
                node: String::new(),
                address: address.to_owned(),
                container: String::new(),
                labels: BTreeMap::new(),
                annotations: BTreeMap::new(),
                origin: LogOrigin::Output,
            };
            source.sip_address().map(str::to_owned)
        };
        for (component, address, expected) in [
            ("bono", "10.0.0.1", Some("10.0.0.1")),
            ("sprout", "10.0.0.1", Some("10.0.0.1")),
            ("my-edge-proxy", "10.0.0.1", Some("10.0.0.1")),
            ("", "10.0.0.1", Some("10.0.0.1")),
            ("bono", "", None),
            ("ellis", "10.0.0.1", None),
        ] {
            assert_eq!(at(component, address).as_deref(), expected, "{component} {address}");
        }
    }
}
