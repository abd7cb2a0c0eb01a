//! What a container says of itself: clocks, limits, room, and the configuration that its daemons read. One script, whose
//! answer is parsed here and nowhere else.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use clearwater::component::{CASSANDRA_SETTINGS, Component, Entry, NUMBERS_LOG, SETTINGS_FILES};
use clearwater::config::shell::Settings;
use clearwater::dns::questions;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, ResourceExt};

use crate::exposure::SIP;
use crate::observe::unasked::Unasked;
use crate::pod::object::{own_container, pod_is_ready};
use crate::pod::{OPEN, Script, Shell};

/// The longest that the answer may take.
const ANSWER: Duration = Duration::from_secs(8);

/// A line for each thing: its name, a blank, its value. The arguments are [`SETTINGS_FILES`], Cassandra's settings, the log
/// of what fills Ellis' pool, and directories whose room is wanted.
const TELL: &str = r#"(
  lines() { local line; while IFS= read -r line || [ -n "$line" ]; do printf '%s %s\n' "$1" "$line"; done 2>/dev/null <"$2"; }
  word() { local key value rest; while read -r key value rest; do [ "$key" != "$2" ] || printf '%s %s\n' "$1" "$value"; done 2>/dev/null <"$3"; }
  printf 'time %(%s)T\n' -1
  while read -r a b c soft rest; do [ "$a $b $c" != 'Max open files' ] || printf 'nofile %s\n' "$soft"; done </proc/1/limits
  lines ipv6-off /proc/sys/net/ipv6/conf/lo/disable_ipv6
  word nameserver nameserver /etc/resolv.conf
  word rpc rpc_address: "$4"
  lines shared "$1"
  lines local "$2"
  lines user "$3"
  cgroup=/sys/fs/cgroup
  lines memory $cgroup/memory.current
  word cache inactive_file $cgroup/memory.stat
  lines memory-limit $cgroup/memory.max
  word cpu-us usage_usec $cgroup/cpu.stat
  lines memory $cgroup/memory/memory.usage_in_bytes
  word cache total_inactive_file $cgroup/memory/memory.stat
  lines memory-limit $cgroup/memory/memory.limit_in_bytes
  lines cpu-ns $cgroup/cpuacct/cpuacct.usage
  tail -n 1 "$5" 2>/dev/null | { IFS= read -r line && printf 'numbers %s\n' "$line"; }
  for dir in "${@:6}"; do
    [ ! -d "$dir" ] || df -P "$dir" 2>/dev/null | { read -r head; read -r fs all used free percent rest && printf 'disk %s %s\n' "${percent%\%}" "$dir"; }
  done
  printf 'end\n'
)"#;

/// Asks for every name at once, and tells of those that are not found: `missing`, a blank, the name. A dot at the end keeps
/// search domains out, which Clearwater's own resolver knows nothing of. What asks through the pod's `resolv.conf` puts them
/// behind a name with fewer dots than its `ndots` first: of a name that leads elsewhere that way it tells `astray`, the name,
/// where to, and the search domain, where one is seen to lead there.
const ASK_NAMES: &str = r#"
  addresses() { "${@:2}" getent ahosts "$1" 2>/dev/null | while read -r address rest; do printf '%s\n' "$address"; done; }
  leads() { case $'\n'"$1"$'\n' in *$'\n'"$2"$'\n'*) ;; *) return 1 ;; esac; }
  look() {
    local own address domain
    own=$(addresses "$1.")
    [ -n "$own" ] || { printf 'missing %s\n' "$1"; return; }
    for address in $(addresses "$1" timeout 2); do
      leads "$own" "$address" && continue
      while read -r key rest; do
        [ "$key" = search ] || continue
        for domain in $rest; do
          leads "$(addresses "$1.${domain%.}." timeout 2)" "$address" && { printf 'astray %s %s %s\n' "$1" "$address" "$domain"; return; }
        done
      done </etc/resolv.conf
      printf 'astray %s %s\n' "$1" "$address"
      return
    done
  }
  for name; do look "$name" & done
  wait
  printf 'end\n'
"#;

/// Tries to connect to each address by TCP, all at once, and tells of those that take it: `open`, the address, the port. The
/// arguments are addresses and ports in turn.
const REACH: &str = r#"
  reach() { timeout 3 bash -c '{ :; } 3<>"/dev/tcp/$1/$2"' - "$1" "$2" 2>/dev/null && printf 'open %s %s\n' "$1" "$2"; }
  while [ $# -gt 1 ]; do reach "$1" "$2" & shift 2; done
  wait
  printf 'end\n'
"#;

/// A port of a node that should lead to a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct HostPort {
    pub(super) pod: String,
    pub(super) at: SocketAddr,
}

/// The ports by which phones reach bonos at their nodes.
pub(super) fn host_ports<'p>(bonos: impl IntoIterator<Item = &'p Pod>) -> Vec<HostPort> {
    let of = |pod: &Pod| {
        let own = own_container(pod.spec.as_ref()?, Component::Bono)?;
        let mut ports = own.ports.iter().flatten().filter(|p| p.container_port == i32::from(SIP));
        let taken = ports.find(|p| p.protocol.as_deref().unwrap_or("TCP") == "TCP")?.host_port?;
        let node = pod.status.as_ref()?.host_ip.as_ref()?.parse().ok()?;
        Some(HostPort { pod: pod.name_any(), at: SocketAddr::new(node, u16::try_from(taken).ok()?) })
    };
    bonos.into_iter().filter(|pod| pod_is_ready(pod)).filter_map(of).collect()
}

/// What a container has taken, by its control group (Linux Documentation/admin-guide/cgroup-v2.rst, and cgroup-v1/).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Usage {
    /// Bytes of memory, those of files that nobody reads any more (`inactive_file`) among them.
    pub(super) memory: Option<u64>,
    /// How many of these bytes are such files', which a kubelet does not count either.
    pub(super) cache: u64,
    /// The most bytes that it may have; `None` where there is no limit.
    pub(super) limit: Option<u64>,
    /// Processor time since the container was started.
    pub(super) cpu: Option<Duration>,
}

impl Usage {
    /// The bytes that it cannot do without: the working set, as kubelets count it.
    pub(super) fn working_set(self) -> Option<u64> {
        self.memory.map(|all| all.saturating_sub(self.cache))
    }
}

/// No machine has more memory: cgroup v1 says a greater number where there is no limit.
const NO_LIMIT: u64 = 1 << 60;

/// What a container said of itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Inside {
    /// How far its clock is ahead of ours, in seconds.
    pub(super) ahead: Option<f64>,
    /// By how much that may be wrong: nobody knows when in between the answer was made.
    pub(super) unsure: f64,
    /// Files that its first process may open; `None` where it may open any number.
    pub(super) nofile: Option<u64>,
    /// Whether IPv6 is off on its loopback; `None` where its kernel has none.
    pub(super) ipv6_off: Option<bool>,
    /// The name servers of its `resolv.conf`.
    pub(super) name_servers: Vec<String>,
    /// Cassandra's `rpc_address`.
    pub(super) rpc_address: Option<String>,
    /// `shared_config`, and what is sourced after it.
    pub(super) shared: Settings,
    /// `local_config`.
    pub(super) local: Settings,
    /// `user_settings`.
    pub(super) user: Settings,
    /// Hosts that its settings name, by key, and that are not found from inside of it.
    pub(super) missing: Vec<(String, String)>,
    /// Hosts that its settings name, and that lead elsewhere where search domains are put behind them.
    pub(super) astray: Vec<Astray>,
    /// Ports of nodes that it was to try, and that nothing answers at.
    pub(super) closed: Vec<HostPort>,
    /// The last line of the log of the script that makes Ellis' numbers.
    pub(super) numbers: Option<String>,
    /// How full the file systems of directories are, in per cent.
    pub(super) full: BTreeMap<String, u8>,
    /// What its control group counts.
    pub(super) usage: Usage,
}

/// A full name that leads to somebody else where the pod's `resolv.conf` is followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Astray {
    pub(super) name: String,
    /// Where it leads to.
    pub(super) address: String,
    /// The search domain that leads there, where one was seen to.
    pub(super) domain: Option<String>,
}

impl Astray {
    /// One of a line's words.
    fn read(line: &str) -> Option<Self> {
        let mut words = line.strip_prefix("astray ")?.split(' ').map(str::to_owned);
        Some(Self { name: words.next()?, address: words.next()?, domain: words.next() })
    }
}

/// Reads the answer. `asked` and `answered` are this machine's time around it. An error says what is no answer.
fn parse(text: &str, asked: Timestamp, answered: Timestamp) -> Result<Inside, String> {
    let mut inside = Inside::default();
    let (mut shared, mut local, mut user) = (String::new(), String::new(), String::new());
    let mut whole = false;
    for line in text.lines() {
        let (key, value) = line.split_once(' ').unwrap_or((line, ""));
        match key {
            "time" => {
                // It is cut to whole seconds: half a second more is as near as it can be known.
                let seconds = |time: Timestamp| time.duration_since(Timestamp::UNIX_EPOCH).as_secs_f64();
                let middle = f64::midpoint(seconds(asked), seconds(answered));
                inside.unsure = (seconds(answered) - seconds(asked)).abs() / 2.0 + 0.5;
                inside.ahead = value.parse::<u32>().ok().map(|seconds| f64::from(seconds) + 0.5 - middle);
            }
            "nofile" => inside.nofile = value.parse().ok(),
            "ipv6-off" => inside.ipv6_off = Some(value == "1"),
            "nameserver" => inside.name_servers.push(value.to_owned()),
            "rpc" => inside.rpc_address = Some(value.trim_matches(['"', '\'']).to_owned()),
            "shared" => shared.extend([value, "\n"]),
            "local" => local.extend([value, "\n"]),
            "user" => user.extend([value, "\n"]),
            "numbers" => inside.numbers = Some(value.to_owned()),
            "disk" => {
                if let Some((percent, dir)) = value.split_once(' ')
                    && let Ok(percent) = percent.parse()
                {
                    inside.full.insert(dir.to_owned(), percent);
                }
            }
            "memory" => inside.usage.memory = value.parse().ok(),
            "cache" => inside.usage.cache = value.parse().unwrap_or_default(),
            "memory-limit" => inside.usage.limit = value.parse().ok().filter(|limit| *limit < NO_LIMIT),
            "cpu-us" => inside.usage.cpu = value.parse().ok().map(Duration::from_micros),
            "cpu-ns" => inside.usage.cpu = value.parse().ok().map(Duration::from_nanos),
            "end" => whole = true,
            _ => {}
        }
    }
    if !whole {
        return Err("the answer has no end".to_owned());
    }
    let read = |name: &str, text: &str| Settings::parse(text).map_err(|e| format!("{name}, {e}"));
    inside.shared = read("shared_config", &shared)?;
    inside.local = read("local_config", &local)?;
    inside.user = read("user_settings", &user)?;
    Ok(inside)
}

/// What makes a container tell of itself and of the room in directories.
fn tell<'d>(directories: impl IntoIterator<Item = &'d str>) -> Script {
    Script::new(TELL).args(SETTINGS_FILES).arg(CASSANDRA_SETTINGS).arg(NUMBERS_LOG).args(directories)
}

/// The hosts of which a container's settings make a daemon ask for addresses, by key.
fn hosts(inside: &Inside) -> Vec<(String, String)> {
    let settings = inside.shared.clone().then(inside.local.clone());
    // One without a domain is told as such.
    let asked = questions(&settings).into_iter().filter(|q| q.is_for_addresses() && q.name.labels().nth(1).is_some());
    asked.map(|question| (question.setting, question.name.to_string())).collect()
}

/// Asks one container, and has it try ports of nodes.
pub(super) async fn ask(
    pods: &Api<Pod>,
    pod: &str,
    container: &str,
    entry: &Entry,
    ports: Vec<HostPort>,
) -> Result<Inside, Unasked> {
    let mut shell = Shell::open(pods, pod, container, OPEN).await?;
    let data = entry.clustering.as_ref().and_then(|c| c.from_joining.as_ref()).map(|j| j.data);
    let script = tell(["/"].into_iter().chain(data));
    let asked = Timestamp::now();
    let output = shell.run(&script, ANSWER).await?;
    let told = parse(&output.text, asked, Timestamp::now());
    let mut inside = told.map_err(|why| Unasked::failed(format!("pod {pod}: {why}")))?;
    let hosts = hosts(&inside);
    let names: BTreeSet<&String> = hosts.iter().map(|(_, name)| name).collect();
    let answer = shell.run(&Script::new(ASK_NAMES).args(names), ANSWER).await?.text;
    if !answer.lines().any(|line| line == "end") {
        return Err(Unasked::failed(format!("pod {pod}: the names that its settings hold: the answer has no end")));
    }
    let missing: BTreeSet<&str> = answer.lines().filter_map(|line| line.strip_prefix("missing ")).collect();
    inside.astray = answer.lines().filter_map(Astray::read).collect();
    inside.missing = hosts.iter().filter(|(_, name)| missing.contains(name.as_str())).cloned().collect();
    if !ports.is_empty() {
        let words = ports.iter().flat_map(|p| [p.at.ip().to_string(), p.at.port().to_string()]);
        let answer = shell.run(&Script::new(REACH).args(words), ANSWER).await?.text;
        if !answer.lines().any(|line| line == "end") {
            return Err(Unasked::failed(format!("pod {pod}: ports of the nodes: the answer has no end")));
        }
        inside.closed = ports;
        inside.closed.retain(|p| !answer.lines().any(|l| l == format!("open {} {}", p.at.ip(), p.at.port())));
    }
    Ok(inside)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ANSWER: &str = "time 1000\nnofile 20000\nipv6-off 0\nnameserver 10.96.0.10\nrpc \"::0\"\nshared # text\n\
        shared home_domain=ims.svc\nshared signup_key=secret\nlocal public_hostname=10.0.0.1\nuser log_level=5\n\
        numbers Created 1000 numbers\ndisk 68 /\ndisk 99 /var/lib/a b\n\
        memory 34377728\ncache 69632\nmemory-limit 9223372036854771712\ncpu-ns 1157803131\nend\n";

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    #[test]
    fn an_answer_is_read() {
        let inside = parse(ANSWER, at(990), at(992)).unwrap();
        assert!((inside.ahead.unwrap() - 9.5).abs() < 0.001, "{inside:?}");
        assert_eq!((inside.nofile, inside.ipv6_off), (Some(20000), Some(false)));
        assert_eq!(inside.name_servers, ["10.96.0.10"]);
        assert_eq!(inside.rpc_address.as_deref(), Some("::0"));
        assert_eq!(inside.shared.get("home_domain"), Some("ims.svc"));
        assert_eq!(inside.local.get("public_hostname"), Some("10.0.0.1"));
        assert_eq!(inside.user.get("log_level"), Some("5"));
        assert_eq!(inside.numbers.as_deref(), Some("Created 1000 numbers"));
        assert_eq!(inside.full, BTreeMap::from([("/".to_owned(), 68), ("/var/lib/a b".to_owned(), 99)]));
        let cpu = Some(Duration::from_nanos(1_157_803_131));
        assert_eq!(inside.usage, Usage { memory: Some(34_377_728), cache: 69_632, limit: None, cpu });
    }

    #[test]
    fn half_an_answer_is_none() {
        assert!(parse("time 1000\n", at(0), at(0)).is_err());
        assert!(parse("shared a=$(id)\nend\n", at(0), at(0)).unwrap_err().starts_with("shared_config, line 1"));
    }

    /// The script on this machine's own bash.
    #[test]
    fn the_script_tells_what_is_read() {
        let line = tell(["/", "/no such directory"]).line().unwrap();
        let asked = Timestamp::now();
        let output = std::process::Command::new("bash").args(["-c", &line]).output().unwrap();
        let inside = parse(&String::from_utf8(output.stdout).unwrap(), asked, Timestamp::now()).unwrap();
        assert!(inside.ahead.unwrap().abs() < 2.0, "{inside:?}");
        assert!(inside.full.contains_key("/") && inside.full.len() == 1, "{inside:?}");
    }

    /// The script on this machine's own bash.
    #[test]
    fn ports_are_tried() {
        let open = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = open.local_addr().unwrap().port();
        let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let script = Script::new(REACH).args([
            "127.0.0.1".to_owned(),
            port.to_string(),
            "127.0.0.1".to_owned(),
            closed.to_string(),
        ]);
        let output = std::process::Command::new("bash").args(["-c", &script.line().unwrap()]).output().unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap(), format!("open 127.0.0.1 {port}\nend\n"));
    }

    #[test]
    fn host_ports_are_those_of_bonos_that_are_ready() {
        let pod = |ports: serde_json::Value, ready: &str| -> Pod {
            serde_json::from_value(serde_json::json!({"metadata": {"name": "bono-x"},
                "spec": {"containers": [{"name": "bono", "ports": ports}]},
                "status": {"hostIP": "192.0.2.7", "conditions": [{"type": "Ready", "status": ready}]}}))
            .unwrap()
        };
        let sip = |host: serde_json::Value| {
            serde_json::json!([{"containerPort": 5062}, {"containerPort": 5060, "protocol": "UDP",
            "hostPort": host}, {"containerPort": 5060, "hostPort": host}])
        };
        let found = host_ports([&pod(sip(5060.into()), "True")]);
        assert_eq!(found, [HostPort { pod: "bono-x".to_owned(), at: "192.0.2.7:5060".parse().unwrap() }]);
        assert!(host_ports([&pod(sip(5060.into()), "False"), &pod(sip(serde_json::Value::Null), "True")]).is_empty());
    }

    /// The script on this machine's own bash, with a `getent` that knows what a wildcard in a search domain makes of names.
    #[test]
    fn names_are_asked_for_both_ways() {
        let folder = tempfile::tempdir().unwrap();
        let getent = folder.path().join("getent");
        let script = "#!/bin/sh\ncase $2 in\n\
            well.ims.|well.ims) printf '10.0.0.1 STREAM x\\n10.0.0.1 DGRAM\\n10.0.0.2 STREAM\\n' ;;\n\
            wild.ims.) echo '10.0.0.3 STREAM x' ;;\n\
            wild.ims) echo '198.51.100.7 STREAM x' ;;\n\
            slow.ims.) echo '10.0.0.4 STREAM x' ;;\n\
            *) exit 2 ;;\nesac\n";
        std::fs::write(&getent, script).unwrap();
        std::fs::set_permissions(&getent, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let names = Script::new(ASK_NAMES).args(["well.ims", "wild.ims", "slow.ims", "gone.ims"]);
        let path = format!("{}:{}", folder.path().display(), std::env::var("PATH").unwrap());
        let bash = std::process::Command::new("bash").args(["-c", &names.line().unwrap()]).env("PATH", path).output();
        let answer = String::from_utf8(bash.unwrap().stdout).unwrap();
        let mut lines: Vec<&str> = answer.lines().collect();
        assert_eq!(lines.pop(), Some("end"));
        lines.sort_unstable();
        assert_eq!(lines, ["astray wild.ims 198.51.100.7", "missing gone.ims"]);
        let domain = Some("corp.example".to_owned());
        let astray = Astray { name: "a.b".to_owned(), address: "::1".to_owned(), domain };
        assert_eq!(Astray::read("astray a.b ::1 corp.example"), Some(astray));
        assert_eq!(Astray::read("missing a.b"), None);
    }

    proptest! {
        #[test]
        fn whatever_is_answered_is_read_or_refused(text in "([a-z]{1,8} [ -~]{0,20}\n){0,8}(end\n)?") {
            match parse(&text, at(0), at(1)) {
                // What follows the end is read, too, but nothing stands for an end.
                Ok(_) => prop_assert!(text.lines().any(|l| l.split(' ').next() == Some("end")), "{}", text),
                Err(reason) => prop_assert!(
                    reason == "the answer has no end" || ["shared_config", "local_config", "user_settings"].iter().any(|f| reason.starts_with(f)),
                    "{}", reason
                ),
            }
        }
    }
}
