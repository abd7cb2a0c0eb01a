//! Whether somebody answers where phones are told to find each bono. Tried from a pod of another component: bono's own would ask
//! itself.

use std::time::Duration;

use clearwater::component::Component;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use tokio::time::timeout;

use super::Answers;
use super::inside::Inside;
use crate::cluster::Cluster;
use crate::exposure::SIP;
use crate::observe::snapshot::Snapshot;
use crate::pod::object::{addresses, own_container, pod_is_ready};
use crate::pod::{OPEN, Script, Shell};

/// The longest that the answer may take.
const ANSWER: Duration = Duration::from_secs(8);

/// Connects to each address by TCP and asks OPTIONS there, all at once, and tells of those that take the connection: `open`, the
/// address, the port, and of those that answer as SIP does: `sip`, and the same. The arguments are addresses and ports in turn.
/// The rest of an answer is read, for a connection that is closed before is reset, and the server logs an error.
const KNOCK: &str = r#"
  knock() {
    timeout 6 bash -c '
      case $1 in *:*) host="[$1]" ;; *) host=$1 ;; esac
      {
        printf "open %s %s\n" "$1" "$2"
        printf "%s\r\n" "OPTIONS sip:$host:$2 SIP/2.0" "Via: SIP/2.0/TCP $host;rport;branch=z9hG4bK-check-$RANDOM$RANDOM" \
          "Max-Forwards: 2" "To: <sip:$host:$2>" "From: <sip:poll@$host>;tag=$RANDOM" "Call-ID: check-$RANDOM$RANDOM" \
          "CSeq: 1 OPTIONS" "Content-Length: 0" "" >&3
        IFS= read -r -t 4 line <&3
        case $line in "SIP/2.0 "*) printf "sip %s %s\n" "$1" "$2" ;; esac
        while IFS= read -r -t 1 rest <&3; do ((${#rest} > 1)) || break; done
      } 3<>"/dev/tcp/$1/$2"' - "$1" "$2" 2>/dev/null
  }
  while [ $# -gt 1 ]; do knock "$1" "$2" & shift 2; done
  wait
  printf 'end\n'
"#;

/// Whose address a door has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DoorKind {
    /// The node's, of which a port leads to the pod.
    Node,
    /// One that leads to the pod by what nobody of the cluster needs to know.
    Given,
}

/// A place where phones are to reach a bono.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Door {
    pub(super) pod: String,
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) kind: DoorKind,
}

impl std::fmt::Display for Door {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// What came of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Knocked {
    /// SIP was answered.
    Answers,
    /// The connection was taken, and nothing that is SIP came.
    Silent,
    /// No connection was taken.
    Closed,
}

/// A door, and what came of it: from which pod it was tried, or why it was not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tried {
    pub(super) door: Door,
    pub(super) knocked: Result<(String, Knocked), String>,
}

/// The address that a bono gives to phones.
pub(super) fn given(inside: &Inside) -> Option<&str> {
    let address = inside.local.get("public_hostname").or_else(|| inside.local.get("public_ip"))?;
    let bare = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(address);
    Some(bare).filter(|address| !address.is_empty())
}

/// The doors of bonos that are ready. At its pod's own address a bono is asked for its health.
fn doors(snapshot: &Snapshot, said: &Answers) -> Vec<Door> {
    let mut doors = Vec::new();
    for pod in snapshot.pods_of(Component::Bono).into_iter().filter(|pod| pod_is_ready(pod)) {
        let name = pod.name_any();
        let node = of_node(pod);
        if let Some((_, Ok(inside))) = said.get(&name)
            && let Some(address) = given(inside)
        {
            let is_own = address.parse().is_ok_and(|ip| addresses(pod).contains(&ip));
            let is_nodes = node.as_ref().is_some_and(|door| door.host == address && door.port == SIP);
            let is_host = !address.contains(|c: char| c.is_whitespace() || c == '/');
            if is_host && !is_own && !is_nodes {
                let (pod, host) = (name, address.to_owned());
                doors.push(Door { pod, host, port: SIP, kind: DoorKind::Given });
            }
        }
        doors.extend(node);
    }
    doors
}

/// The port of its node by which phones reach a bono.
fn of_node(pod: &Pod) -> Option<Door> {
    let own = own_container(pod.spec.as_ref()?, Component::Bono)?;
    let mut ports = own.ports.iter().flatten().filter(|p| p.container_port == i32::from(SIP));
    let taken = ports.find(|p| p.protocol.as_deref().unwrap_or("TCP") == "TCP")?.host_port?;
    let host = pod.status.as_ref()?.host_ip.clone()?;
    Some(Door { pod: pod.name_any(), host, port: u16::try_from(taken).ok()?, kind: DoorKind::Node })
}

/// The pod that tries them, and its container: one that has answered. What has sprout's address is trusted by bono.
fn asker(snapshot: &Snapshot, said: &Answers) -> Option<(String, String)> {
    let able = said.iter().filter(|(_, (of, said))| *of != Component::Bono && said.is_ok());
    let (name, (component, _)) = able.min_by_key(|(_, (of, _))| *of == Component::Sprout)?;
    let pod = snapshot.pods_of(*component).into_iter().find(|pod| pod.name_any() == *name)?;
    Some((name.clone(), own_container(pod.spec.as_ref()?, *component)?.name.clone()))
}

/// Tries every door.
pub(super) async fn tried(cluster: &Cluster, snapshot: &Snapshot, said: &Answers, within: Duration) -> Vec<Tried> {
    let doors = doors(snapshot, said);
    if doors.is_empty() {
        return Vec::new();
    }
    let answer = match asker(snapshot, said) {
        None => Err("no container but bono's answers that could try it".to_owned()),
        Some((pod, container)) => {
            let asking = async {
                let mut shell = Shell::open(&cluster.api(), &pod, &container, OPEN).await?;
                let words = doors.iter().flat_map(|door| [door.host.clone(), door.port.to_string()]);
                shell.run(&Script::new(KNOCK).args(words), ANSWER).await
            };
            match timeout(within, asking).await {
                Ok(Ok(output)) if output.text.lines().any(|line| line == "end") => Ok((pod, output.text)),
                Ok(Ok(_)) => Err(format!("pod {pod}, which was to try it: the answer has no end")),
                Ok(Err(error)) => Err(error.to_string()),
                Err(_) => Err(format!("pod {pod}, which was to try it: no answer in time")),
            }
        }
    };
    let judged = |door: &Door| {
        let (pod, text) = answer.as_ref().map_err(Clone::clone)?;
        let told = |word: &str| text.lines().any(|line| line == format!("{word} {} {}", door.host, door.port));
        let knocked = match (told("sip"), told("open")) {
            (true, _) => Knocked::Answers,
            (false, true) => Knocked::Silent,
            (false, false) => Knocked::Closed,
        };
        Ok((pod.clone(), knocked))
    };
    doors.into_iter().map(|door| Tried { knocked: judged(&door), door }).collect()
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Write};
    use std::net::TcpListener;

    use clearwater::config::shell::Settings;
    use serde_json::{Value, json};

    use super::*;
    use crate::observe::snapshot::{Update, WatchEvent};

    /// The script on this machine's own bash: a proxy that answers, one that takes the connection and says nothing, and a port
    /// at which nobody is.
    #[test]
    fn doors_are_tried() {
        let answers = TcpListener::bind("127.0.0.1:0").unwrap();
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let port = |listener: &TcpListener| listener.local_addr().unwrap().port();
        let (well, mute) = (port(&answers), port(&silent));
        let server = std::thread::spawn(move || {
            let (mut stream, _) = answers.accept().unwrap();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let mut asked = String::new();
            while !asked.ends_with("\r\n\r\n") && reader.read_line(&mut asked).unwrap() > 0 {}
            stream.write_all(b"SIP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n").unwrap();
            asked
        });
        let words = [well, mute, closed].into_iter().flat_map(|port| ["127.0.0.1".to_owned(), port.to_string()]);
        let line = Script::new(KNOCK).args(words).line().unwrap();
        let output = std::process::Command::new("bash").args(["-c", &line]).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let mut lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.pop(), Some("end"));
        lines.sort_unstable();
        let (open, sip) = (format!("open 127.0.0.1 {well}"), format!("sip 127.0.0.1 {well}"));
        let mut expected = [open, format!("open 127.0.0.1 {mute}"), sip];
        expected.sort_unstable();
        assert_eq!(lines, expected);
        assert!(server.join().unwrap().starts_with(&format!("OPTIONS sip:127.0.0.1:{well} SIP/2.0\r\nVia: ")));
    }

    fn bono(name: &str, ready: &str, ports: &Value) -> Pod {
        serde_json::from_value(json!({"metadata": {"name": name, "uid": name, "labels": {"service": "bono"}},
            "spec": {"containers": [{"name": "bono", "ports": ports}]},
            "status": {"hostIP": "192.0.2.7", "podIP": "10.0.0.9", "conditions": [{"type": "Ready", "status": ready}]}}))
        .unwrap()
    }

    #[test]
    fn doors_are_those_of_bonos_that_are_ready_and_not_their_own() {
        let host = json!([{"containerPort": 5062}, {"containerPort": 5060, "protocol": "UDP", "hostPort": 5060},
            {"containerPort": 5060, "hostPort": 5060}]);
        let found = |pod: Pod, address: &str| {
            let name = pod.name_any();
            let mut snapshot = Snapshot::default();
            snapshot.absorb(WatchEvent::Pod(Update::All(vec![pod])));
            let local = Settings::parse(&format!("public_hostname={address}\n")).unwrap();
            let inside = Inside { local, ..Inside::default() };
            let said = Answers::from([(name, (Component::Bono, Ok(inside)))]);
            let all = doors(&snapshot, &said);
            all.iter().map(|door| (door.to_string(), door.kind)).collect::<Vec<_>>()
        };
        let given = |at: &str| (at.to_owned(), DoorKind::Given);
        let node = ("192.0.2.7:5060".to_owned(), DoorKind::Node);
        assert_eq!(found(bono("bono-0", "True", &json!([])), "10.0.0.9"), []);
        assert_eq!(found(bono("bono-0", "True", &json!([])), "203.0.113.9"), [given("203.0.113.9:5060")]);
        assert_eq!(found(bono("bono-0", "True", &json!([])), "[2001:db8::9]"), [given("[2001:db8::9]:5060")]);
        assert_eq!(found(bono("bono-0", "True", &host), "192.0.2.7"), std::slice::from_ref(&node));
        assert_eq!(found(bono("bono-0", "True", &host), "203.0.113.9"), [given("203.0.113.9:5060"), node]);
        assert_eq!(found(bono("bono-0", "False", &host), "203.0.113.9"), []);
    }
}
