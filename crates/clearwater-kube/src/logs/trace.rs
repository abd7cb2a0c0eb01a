//! A call over all components, drawn of what is still in the pods.

use std::collections::BTreeMap;

use clearwater::log::{Ladder, Logged, SipMessage, Sketch, Traced};
use clearwater::manifest::SERVICE_LABEL;
use clearwater::text::Printable;

use super::{Options, Said, read};
use crate::cluster::{Cluster, FailedAt};

/// A call, and what of the logs could not be read for it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TracedCall {
    /// The messages, and the lines between them that say something of the call.
    pub ladder: Ladder,
    /// What could not be read, each with why: messages may be missing.
    pub unread: Vec<Printable>,
}

/// The SIP messages of a call or of a subscriber, as the deployment's components have logged them until now (from log level 4
/// on). Must be called inside a tokio runtime.
///
/// ```no_run
/// # async fn example(cluster: clearwater_kube::Cluster) -> Result<(), Box<dyn std::error::Error>> {
/// use clearwater_kube::clearwater::log::Traced;
/// use clearwater_kube::logs::trace;
///
/// let call = trace(&cluster, Traced::Call("8f3a@192.0.2.7".to_owned())).await?;
/// for hop in call.ladder.hops() {
///     println!("{}", hop.label());
/// }
/// # Ok(()) }
/// ```
///
/// # Errors
///
/// Where nothing at all can be read.
pub async fn trace(cluster: &Cluster, subject: Traced) -> Result<TracedCall, FailedAt> {
    let mut logs = read(cluster, Options::new().labels(SERVICE_LABEL));
    let mut sketch = Sketch::new([subject]);
    let mut lanes: BTreeMap<String, String> = BTreeMap::new();
    let mut unread = Vec::new();
    while let Some(said) = logs.next().await {
        match said {
            Said::Opened(source) => {
                lanes.extend(source.sip_address().map(|address| (address.to_owned(), source.pod.clone())));
            }
            Said::Record(entry) => {
                let (lane, component) = (entry.source.pod.as_str(), entry.source.component.as_str());
                let message = SipMessage::of(&entry.record);
                sketch.take(Logged { lane, component, time: entry.time, record: &entry.record }, message.as_ref());
            }
            Said::Unread(None, why) => {
                return Err(FailedAt::new(format!("the logs of namespace {}", cluster.namespace), why.to_string()));
            }
            Said::Unread(Some(source), why) => {
                unread.push(Printable::from(format!("{} › {}: {why}", source.pod, source.container).as_str()));
            }
            Said::Listed | Said::Closed(_) | Said::Gap(..) | Said::Trouble(..) => {}
        }
    }
    Ok(TracedCall { ladder: sketch.finish(|host| lanes.get(host).cloned()), unread })
}
