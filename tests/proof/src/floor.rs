//! What a cluster takes for one component whatever is done: measured with a pod that does nothing but open a port.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clearwater_testbed::{Attempt, Local, Namespace, wait_for};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::common::{endpoints, now};

/// Of one hop, in microseconds.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
pub(crate) struct Floor {
    /// From the apply that creates it to its PID 1.
    pub(crate) start: u64,
    /// From the open port to the endpoint in the slice.
    pub(crate) seen: u64,
}

/// The mean of `count` pods.
pub(crate) fn measure(local: &Local, namespace: &Namespace<'_>, count: u64) -> Result<Floor> {
    let mut sum = Floor::default();
    for i in 0..count {
        // 0 to 2 s without a pattern, and the same in every run: golden ratio, so the phases of the probe are met evenly.
        let one = once(local, namespace, i, i * 1_236_068 % 2_000_000).with_context(|| format!("pod {i}"))?;
        sum.start += one.start;
        sum.seen += one.seen;
    }
    Ok(Floor { start: sum.start / count, seen: sum.seen / count })
}

fn once(local: &Local, namespace: &Namespace<'_>, i: u64, delay: u64) -> Result<Floor> {
    let kubectl = namespace.kubectl();
    let name = format!("floor-{i}");
    let probe = |period: u32| json!({"tcpSocket": {"port": 8080}, "periodSeconds": period, "timeoutSeconds": 5, "failureThreshold": 60});
    let script = format!(
        "date +%s%6N; sleep {}.{:06}; busybox httpd -p 8080 -h /tmp; date +%s%6N; exec sleep 3600",
        delay / 1_000_000,
        delay % 1_000_000
    );
    let objects = json!({"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
         "spec": {"clusterIP": "None", "selector": {"floor": name}, "ports": [{"name": "http", "port": 8080}]}},
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
         "spec": {"selector": {"matchLabels": {"floor": name}},
                  "template": {"metadata": {"labels": {"floor": name}},
                    "spec": {"enableServiceLinks": false, "terminationGracePeriodSeconds": 0, "containers": [{
                        "name": "floor", "image": "docker.io/ollivier/clearwater-homer:hunter",
                        "imagePullPolicy": "IfNotPresent", "command": ["bash", "-c", script],
                        "startupProbe": probe(1), "readinessProbe": probe(2)}]}}}},
    ]});
    let selector = format!("--selector=kubernetes.io/service-name={name}");
    let line = "{.endpoints[*].conditions.ready}{\"\\n\"}";
    let (mut watch, lines) = endpoints(kubectl, line, &[&selector])?;
    let (ready_out, ready) = std::sync::mpsc::channel();
    let reader = std::thread::spawn(move || {
        for line in lines.map_while(Result::ok) {
            if line.trim() == "true" {
                let _ = ready_out.send(now());
                break;
            }
        }
    });
    let mark = local.audit_mark()?;
    kubectl.apply(&objects.to_string())?;
    let ready = ready.recv_timeout(Duration::from_secs(120));
    watch.kill()?;
    watch.wait()?;
    let _ = reader.join();
    let ready = ready.context("it was never ready")??;

    let stamps = kubectl.run(["logs", &format!("deployment/{name}")])?;
    let stamps: Vec<u64> = stamps.lines().filter_map(|l| l.trim().parse().ok()).collect();
    ensure!(stamps.len() == 2, "its stamps are {stamps:?}");
    // kubectl's own start is no part of it: the API server's clock says when the request came.
    let applied = wait_for("the request in the audit log", Duration::from_secs(10), || {
        let events = local.audit_since(&mark, "kubectl")?;
        let found =
            events.iter().find(|e| e.object_ref.resource == "deployments" && e.object_ref.name == name && e.is_write());
        Ok(match found {
            Some(event) => Attempt::Done(event.request_received_timestamp.clone()),
            None => Attempt::not_yet("not there"),
        })
    })?;
    let applied: jiff::Timestamp = applied.parse().with_context(|| format!("not a time: {applied}"))?;
    let applied = u64::try_from(applied.as_microsecond())?;
    kubectl.run(["delete", "--wait=false", &format!("deployment/{name}"), &format!("service/{name}")])?;
    Ok(Floor { start: stamps[0].saturating_sub(applied), seen: ready.saturating_sub(stamps[1]) })
}
