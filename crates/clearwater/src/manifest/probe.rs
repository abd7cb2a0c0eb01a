use k8s_openapi::api::core::v1::{HTTPGetAction, Probe, TCPSocketAction};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::hold;
use crate::component::{Component, Entry};

/// What a probe asks. Nothing is ever run in the container: starting a process there costs more than the answer.
#[derive(Clone, Copy)]
enum Ask {
    Tcp(u16),
    Http(u16, &'static str),
}

pub(super) struct Probes {
    pub(super) startup: Option<Probe>,
    pub(super) readiness: Option<Probe>,
    pub(super) liveness: Option<Probe>,
}

/// The probes of a component.
///
/// * Startup and readiness ask the last port to open. The kubelet asks for readiness the moment startup succeeds, so a
///   startup period of one second finds the container within a second and costs nothing afterwards.
/// * Now and then that first question comes before the kubelet has written down that the container has started, and is
///   dropped: `generateAPIPodStatus` triggers it and `SetPodStatus` follows later (kubernetes `pkg/kubelet/kubelet.go`,
///   `prober/worker.go`). The next comes a whole period later, so that readiness has a short one.
/// * Liveness is a connection, never `/ping`: under load the daemons' HTTP stack answers 503 to it, which upstream's own
///   poll takes for life (clearwater-infrastructure `poll-http`) and the kubelet would take for death.
/// * homestead-prov is ready when its `/ping` has read from Cassandra (crest `api/ping.py`), and alive when nginx
///   accepts connections: restarting it does not bring Cassandra back.
pub(super) fn probes(entry: &Entry, holdable: bool) -> Probes {
    let port = |name: &str| entry.port(name).map(|p| p.number);
    let tcp = |name: &str| port(name).map(Ask::Tcp);
    let http = |name: &str, path| port(name).map(|number| Ask::Http(number, path));
    let (ready, alive) = match entry.component {
        Component::Etcd => (http("etcd-client", "/health"), tcp("etcd-client")),
        Component::Astaire => (tcp("rogers"), tcp("rogers")),
        Component::Memcached => (tcp("memcached"), tcp("memcached")),
        // Thrift opens last. A container restarted in place never gets its cassandra.yaml back, because etcd still calls
        // the member normal (clearwater-etcd-plugins cassandra_plugin.py): a restart would be the end of the member.
        Component::Cassandra => (tcp("thrift"), None),
        Component::HomesteadProv => (http("http", "/ping"), tcp("http")),
        // WebSockets are set up after the SIP listeners (sprout src/main.cpp).
        Component::Bono => (tcp("sip-ws"), tcp("sip-tcp")),
        // Sprout's HTTP stack is started after its SIP stack (sprout src/main.cpp).
        _ => (tcp("http"), tcp("http")),
    };
    let waits = if holdable { hold::LONGEST_SECONDS } else { 0 };
    let budget = match entry.component {
        Component::Cassandra => CASSANDRA_BUDGET_SECONDS,
        _ => (3 * entry.slowest_start_seconds).max(LEAST_BUDGET_SECONDS) + waits,
    };
    Probes {
        startup: ready.map(|ask| probe(ask, 1, i32::try_from(budget).unwrap_or(i32::MAX))),
        readiness: ready
            .map(|ask| probe(ask, READINESS_PERIOD_SECONDS, UNREADY_AFTER_SECONDS / READINESS_PERIOD_SECONDS)),
        liveness: alive.map(|ask| probe(ask, 10, 3)),
    }
}

/// An hour: a restart would not help a Cassandra that is late, and the first start on a slow disk takes minutes.
const CASSANDRA_BUDGET_SECONDS: u32 = 3600;
const READINESS_PERIOD_SECONDS: i32 = 2;
/// A component that has not answered for so long gets no traffic any more.
const UNREADY_AFTER_SECONDS: i32 = 30;
/// No component is given up sooner, however quick it usually is: nodes can be busy.
const LEAST_BUDGET_SECONDS: u32 = 60;

fn probe(ask: Ask, period: i32, failures: i32) -> Probe {
    let port = |port: u16| IntOrString::Int(port.into());
    let mut probe = Probe {
        period_seconds: Some(period),
        failure_threshold: Some(failures),
        timeout_seconds: Some(5),
        ..Probe::default()
    };
    match ask {
        Ask::Tcp(number) => {
            probe.tcp_socket = Some(TCPSocketAction { port: port(number), ..TCPSocketAction::default() });
        }
        Ask::Http(number, path) => {
            probe.http_get =
                Some(HTTPGetAction { port: port(number), path: Some(path.to_owned()), ..HTTPGetAction::default() });
        }
    }
    probe
}
