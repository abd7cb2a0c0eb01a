//! What was seen, as metrics in Prometheus' text format.

use std::fmt;

use clearwater::scale::MemberState;
use jiff::Timestamp;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _, prometheus_text};
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use super::{ComponentStatus, Health, PodData, PodStatus, Status};

/// What was seen of some namespaces, none where nothing could be looked at, as metrics in Prometheus' text format (0.0.4).
///
/// All are gauges: what is counted is counted anew at each look, over the pods that there are.
///
/// ```
/// use clearwater_kube::status::metrics;
///
/// assert!(metrics(&[("ims", None)]).contains("clearwater_looked{namespace=\"ims\"} 0\n"));
/// ```
pub fn metrics(looks: &[(&str, Option<&Status>)]) -> String {
    let mut registry = Registry::with_prefix("clearwater");
    registry.register_collector(Box::new(Gauges(gauges(looks))));
    let mut text = String::new();
    // A String takes whatever it is given.
    let _ = prometheus_text::encode(&mut text, &registry);
    text
}

type Labels = Vec<(&'static str, String)>;

#[derive(Debug)]
struct Gauge {
    name: &'static str,
    help: &'static str,
    samples: Vec<(Labels, i64)>,
}

/// They are kept in order: the same look gives the same bytes.
#[derive(Debug)]
struct Gauges(Vec<Gauge>);

impl Collector for Gauges {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for Gauge { name, help, samples } in self.0.iter().filter(|gauge| !gauge.samples.is_empty()) {
            let value = |value: i64| ConstGauge::new(value);
            let mut family = encoder.encode_descriptor(name, help, None, value(0).metric_type())?;
            for (labels, number) in samples {
                value(*number).encode(family.encode_family(labels)?)?;
            }
        }
        Ok(())
    }
}

fn gauges(looks: &[(&str, Option<&Status>)]) -> Vec<Gauge> {
    let looked =
        looks.iter().map(|(namespace, seen)| (vec![("namespace", (*namespace).to_owned())], seen.is_some().into()));
    let looked = Gauge { name: "looked", help: "Whether the namespace could be looked at.", samples: looked.collect() };
    let seen: Vec<&Status> = looks.iter().filter_map(|(_, seen)| *seen).collect();
    let whole = |name, help, of: fn(&Status) -> i64| Gauge {
        name,
        help,
        samples: seen.iter().map(|s| (vec![("namespace", s.namespace.clone())], of(s))).collect(),
    };
    let each = |name, help, of: fn(&ComponentStatus) -> Vec<(Labels, i64)>| Gauge {
        name,
        help,
        samples: seen
            .iter()
            .flat_map(|s| s.components.iter().map(move |c| (s.namespace.clone(), c)))
            .flat_map(|(namespace, c)| {
                let labels = vec![("namespace", namespace), ("component", c.component.name().to_owned())];
                of(c).into_iter().map(move |(more, value)| ([labels.clone(), more].concat(), value))
            })
            .collect(),
    };
    let last = |s: &&Status| {
        let at = s.last_backup.as_ref()?.at;
        Some((vec![("namespace", s.namespace.clone())], at.map_or(0, Timestamp::as_second)))
    };
    let last_backup = Gauge {
        name: "last_backup_timestamp_seconds",
        help: "When the last backup was made, in seconds since 1970; 0 where none is known of.",
        samples: seen.iter().filter_map(last).collect(),
    };
    vec![
        looked,
        whole("healthy", "Whether everything that stands serves.", |s| s.healthy.into()),
        whole("partial", "Whether something had not answered when the time was up.", |s| s.partial.into()),
        whole("unreached", "Whether something could not be asked.", |s| s.unreached.into()),
        whole("complete", "Whether all was looked at that tells how the deployment does.", |s| s.complete.into()),
        whole("look_timestamp_seconds", "When the look began, in seconds since 1970.", |s| s.at.as_second()),
        each("component_health", "How far the component is: 1 for the state that it is in.", health),
        each("component_pods_ready", "Pods of the component that are ready.", |c| one(c.ready)),
        each("component_pods_wanted", "Pods of the component that are wanted.", |c| one(c.wanted)),
        each("component_pods_pending", "Pods of an older revision that only their replacement renews.", |c| {
            one(c.pending)
        }),
        each("component_restarts", "Restarts of the containers of the pods that there are.", |c| {
            one(c.pods.iter().map(|p| p.restarts).sum())
        }),
        each("component_programs", "Programs in the component's pods, by whether they are as they should be.", |c| {
            tally(c, |p| p.programs)
        }),
        each("component_answers", "Questions put to the component, by whether the answer was right.", |c| {
            tally(c, |p| p.answers)
        }),
        each("component_names", "Names looked up inside the component's pods, by whether they were found.", |c| {
            tally(c, |p| p.names)
        }),
        each("store_members", "Members on the store's list in etcd, by state.", members),
        each("data_persistent", "Whether what the pod keeps is on a volume, and does not die with it.", |c| {
            data(c, |data| Some(data.claim.is_some().into()))
        }),
        each("data_capacity_bytes", "The size of the file system that the pod keeps its data on.", |c| {
            data(c, |data| bytes(data.room?.capacity))
        }),
        each("data_used_bytes", "What is taken of the file system that the pod keeps its data on.", |c| {
            data(c, |data| bytes(data.room?.used))
        }),
        each(
            "data_available_bytes",
            "What can still be taken of the file system that the pod keeps its data on.",
            |c| data(c, |data| bytes(data.room?.available)),
        ),
        last_backup,
    ]
}

fn bytes(count: u64) -> Option<i64> {
    i64::try_from(count).ok()
}

/// A sample for each pod that keeps something, by the name that kubelets give to the claim of a volume in their own metrics.
fn data(c: &ComponentStatus, of: impl Fn(&PodData) -> Option<i64>) -> Vec<(Labels, i64)> {
    let kept = c.pods.iter().filter_map(|pod| Some((pod, pod.data.as_ref()?)));
    let sample = |(pod, data): (&PodStatus, &PodData)| {
        let claim = data.claim.iter().map(|claim| ("persistentvolumeclaim", claim.clone()));
        Some((std::iter::once(("pod", pod.name.clone())).chain(claim).collect(), of(data)?))
    };
    kept.filter_map(sample).collect()
}

fn one(count: u32) -> Vec<(Labels, i64)> {
    vec![(Vec::new(), count.into())]
}

fn health(c: &ComponentStatus) -> Vec<(Labels, i64)> {
    let all = [
        (Health::Absent, "absent"),
        (Health::Stalled, "stalled"),
        (Health::Starting, "starting"),
        (Health::Unwell, "unwell"),
        (Health::Unseen, "unseen"),
        (Health::Serving, "serving"),
    ];
    all.into_iter().map(|(health, name)| (vec![("health", name.to_owned())], (c.health == health).into())).collect()
}

/// A sum over the pods; nothing where nothing could be asked.
fn tally(c: &ComponentStatus, of: fn(&PodStatus) -> Option<(u32, u32)>) -> Vec<(Labels, i64)> {
    let known: Vec<(u32, u32)> = c.pods.iter().filter_map(of).collect();
    if known.is_empty() {
        return Vec::new();
    }
    let well: u32 = known.iter().map(|k| k.0).sum();
    let all: u32 = known.iter().map(|k| k.1).sum();
    let of = |result: &str, count: u32| (vec![("result", result.to_owned())], count.into());
    vec![of("right", well), of("wrong", all.saturating_sub(well))]
}

fn members(c: &ComponentStatus) -> Vec<(Labels, i64)> {
    let count = |state: MemberState| c.members.values().filter(|s| **s == state).count();
    let of = |state: MemberState| (vec![("state", state.to_string())], i64::try_from(count(state)).unwrap_or(i64::MAX));
    if c.members.is_empty() { Vec::new() } else { MemberState::ALL.into_iter().map(of).collect() }
}

#[cfg(test)]
mod tests;
