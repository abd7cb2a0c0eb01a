//! What a container says of itself: clocks, limits, room, and the configuration that its daemons read. One script, whose
//! answer is parsed here and nowhere else.

use std::collections::{BTreeMap, BTreeSet};
use std::iter;
use std::time::Duration;

use clearwater::component::{CASSANDRA_SETTINGS, CHRONOS_SETTINGS, NUMBERS_LOG, SETTINGS_FILES};
use clearwater::config::shell::Settings;
use clearwater::dns::questions;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, Pod, Volume};
use kube::Api;

use crate::observe::unasked::Unasked;
use crate::pod::{OPEN, Room, Script, Shell, ask_room, read_room};

/// Where each container has its own etcd proxy (clearwater-etcd `debian/clearwater-etcd.init.d`).
const ETCD_PROXY: u16 = 4000;

/// The longest that the answer may take.
const ANSWER: Duration = Duration::from_secs(8);

/// A line for each thing: its name, a blank, its value. The arguments are [`SETTINGS_FILES`], Cassandra's settings, the log
/// of what fills Ellis' pool, chronos' settings, and the port of the container's etcd proxy.
const TELL: &str = r#"(
  lines() { local line; while IFS= read -r line || [ -n "$line" ]; do printf '%s %s\n' "$1" "$line"; done 2>/dev/null <"$2"; }
  word() { local key value rest; while read -r key value rest; do [ "$key" != "$2" ] || printf '%s %s\n' "$1" "$value"; done 2>/dev/null <"$3"; }
  printf 'time %(%s)T\n' -1
  while read -r a b c soft rest; do [ "$a $b $c" != 'Max open files' ] || printf 'nofile %s\n' "$soft"; done </proc/1/limits
  section() { local at line; while IFS= read -r line || [ -n "$line" ]; do case $line in '['*) at=$line ;; "$3"*=*) [ "$at" != "$2" ] || printf '%s %s\n' "$1" "${line#*=}" ;; esac; done 2>/dev/null <"$4"; }
  lines ipv6-off /proc/sys/net/ipv6/conf/lo/disable_ipv6
  word nameserver nameserver /etc/resolv.conf
  word search search /etc/resolv.conf
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
  {
    printf 'GET /v2/keys HTTP/1.0\r\nHost: localhost\r\n\r\n' >&3
    IFS= read -r -t 3 line <&3
    case $? in 0) printf 'proxy %s\n' "${line%$'\r'}" ;; 1) echo 'proxy closed' ;; *) echo 'proxy silent' ;; esac
  } 2>/dev/null 3<>"/dev/tcp/127.0.0.1/$7" || echo 'proxy refused'
  section chronos-level '[logging]' level "$6"
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
    /// The first search domain of its `resolv.conf`, which Kubernetes makes that of its namespace's Services.
    pub(super) search: Option<String>,
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
    /// What its own etcd proxy makes of a read.
    pub(super) proxy: Option<Proxy>,
    /// chronos' log level, which it reads from its own settings alone.
    pub(super) chronos_level: Option<u32>,
    /// The last line of the log of the script that makes Ellis' numbers.
    pub(super) numbers: Option<String>,
    /// How full the file systems of directories are, in per cent.
    pub(super) full: BTreeMap<String, u8>,
    /// What its control group counts.
    pub(super) usage: Usage,
}

/// What an etcd proxy makes of a read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Proxy {
    /// It takes the connection and says nothing: it hangs.
    Silent,
    /// Nobody takes the connection, or it is closed without a word.
    Closed,
    /// The first line of its answer.
    Answers(String),
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
            "search" => inside.search = Some(value.to_owned()),
            "rpc" => inside.rpc_address = Some(value.trim_matches(['"', '\'']).to_owned()),
            "shared" => shared.extend([value, "\n"]),
            "local" => local.extend([value, "\n"]),
            "user" => user.extend([value, "\n"]),
            "proxy" => {
                inside.proxy = Some(match value {
                    "silent" => Proxy::Silent,
                    "refused" | "closed" => Proxy::Closed,
                    line => Proxy::Answers(line.to_owned()),
                });
            }
            "chronos-level" => inside.chronos_level = value.trim().parse().ok(),
            "numbers" => inside.numbers = Some(value.to_owned()),
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

/// What makes a container tell of itself.
fn tell() -> Script {
    let files = [CASSANDRA_SETTINGS, NUMBERS_LOG, CHRONOS_SETTINGS];
    Script::new(TELL).args(SETTINGS_FILES).args(files).arg(ETCD_PROXY)
}

/// How full each disk is, in per cent. What is as large as the first, which is that of `/`, lies on it.
fn full(rooms: &[(String, Room)]) -> BTreeMap<String, u8> {
    let root = rooms.first().map(|(_, room)| room.capacity);
    let others = rooms.iter().skip(1).filter(|(_, room)| Some(room.capacity) != root);
    rooms.iter().take(1).chain(others).filter_map(|(at, room)| Some((at.clone(), room.percent()?))).collect()
}

/// Where a container has volumes that fill up: data, logs. What only hands files in is none of them.
pub(super) fn volumes(pod: &Pod, container: &Container) -> Vec<String> {
    let holds = |volume: &&Volume| {
        let hands_in = volume.config_map.is_some() || volume.secret.is_some() || volume.downward_api.is_some();
        !(hands_in || volume.projected.is_some() || volume.image.is_some())
    };
    let all = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    let names: BTreeSet<&str> = all.filter(holds).map(|volume| volume.name.as_str()).collect();
    let mounts = container.volume_mounts.iter().flatten().filter(|mount| names.contains(mount.name.as_str()));
    mounts.map(|mount| mount.mount_path.clone()).collect()
}

/// The hosts of which a container's settings make a daemon ask for addresses, by key.
fn hosts(inside: &Inside) -> Vec<(String, String)> {
    let settings = inside.shared.clone().then(inside.local.clone());
    // One without a domain is told as such.
    let asked = questions(&settings).into_iter().filter(|q| q.is_for_addresses() && q.name.labels().nth(1).is_some());
    asked.map(|question| (question.setting, question.name.to_string())).collect()
}

/// Asks one container of itself, and for the room on volumes.
pub(super) async fn ask(pods: &Api<Pod>, pod: &str, container: &str, volumes: &[String]) -> Result<Inside, Unasked> {
    let mut shell = Shell::open(pods, pod, container, OPEN).await?;
    let asked = Timestamp::now();
    let output = shell.run(&tell(), ANSWER).await?;
    let told = parse(&output.text, asked, Timestamp::now());
    let mut inside = told.map_err(|why| Unasked::failed(format!("pod {pod}: {why}")))?;
    let answer = shell.run(&ask_room(iter::once("/").chain(volumes.iter().map(String::as_str))), ANSWER).await?;
    let rooms = read_room(&answer.text);
    inside.full = full(
        &rooms.ok_or_else(|| Unasked::failed(format!("pod {pod}: how full its disks are: the answer has no end")))?,
    );
    let hosts = hosts(&inside);
    let names: BTreeSet<&String> = hosts.iter().map(|(_, name)| name).collect();
    let answer = shell.run(&Script::new(ASK_NAMES).args(names), ANSWER).await?.text;
    if !answer.lines().any(|line| line == "end") {
        return Err(Unasked::failed(format!("pod {pod}: the names that its settings hold: the answer has no end")));
    }
    let missing: BTreeSet<&str> = answer.lines().filter_map(|line| line.strip_prefix("missing ")).collect();
    inside.astray = answer.lines().filter_map(Astray::read).collect();
    inside.missing = hosts.iter().filter(|(_, name)| missing.contains(name.as_str())).cloned().collect();
    Ok(inside)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ANSWER: &str = "time 1000\nnofile 20000\nipv6-off 0\nnameserver 10.96.0.10\nrpc \"::0\"\nshared # text\n\
        shared home_domain=ims.svc\nshared signup_key=secret\nlocal public_hostname=10.0.0.1\nuser log_level=5\n\
        chronos-level  5\nnumbers Created 1000 numbers\n\
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
        assert_eq!(inside.chronos_level, Some(5));
        assert_eq!(inside.numbers.as_deref(), Some("Created 1000 numbers"));
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
        let line = tell().line().unwrap();
        let asked = Timestamp::now();
        let output = std::process::Command::new("bash").args(["-c", &line]).output().unwrap();
        let inside = parse(&String::from_utf8(output.stdout).unwrap(), asked, Timestamp::now()).unwrap();
        assert!(inside.ahead.unwrap().abs() < 2.0, "{inside:?}");
    }

    /// The scripts on this machine's own bash, with a `df` that has a volume of logs, and one on the disk of `/`.
    #[test]
    fn volumes_are_told_once_each_and_chronos_level_is_read_where_chronos_reads_it() {
        let folder = tempfile::tempdir().unwrap();
        let (logs, same) = (folder.path().join("logs"), folder.path().join("same"));
        std::fs::create_dir(&logs).unwrap();
        std::fs::create_dir(&same).unwrap();
        let df = folder.path().join("df");
        let row = |place: &std::path::Path, size: u32, used: u32| {
            let (at, free) = (place.display(), size - used);
            format!("{at}) echo 'x {size} {used} {free} 1% {at}' ;;\n")
        };
        let rows = [row("/".as_ref(), 1000, 400), row(&logs, 500, 485), row(&same, 1000, 400)].concat();
        std::fs::write(&df, format!("#!/bin/sh\necho head\ncase $2 in\n{rows}esac\n")).unwrap();
        std::fs::set_permissions(&df, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let settings = folder.path().join("chronos.conf");
        std::fs::write(&settings, "[http]\nlevel = 9\n[logging]\nfolder = x\nlevel = 5\n[alarms]\n").unwrap();
        let path = format!("{}:{}", folder.path().display(), std::env::var("PATH").unwrap());
        let said = |script: &Script| {
            let line = script.line().unwrap();
            let output = std::process::Command::new("bash").args(["-c", &line]).env("PATH", &path).output().unwrap();
            String::from_utf8(output.stdout).unwrap()
        };
        let places = [logs.to_str().unwrap(), same.to_str().unwrap()];
        let rooms = read_room(&said(&ask_room(["/", places[0], places[1]]))).unwrap();
        assert_eq!(full(&rooms), BTreeMap::from([("/".to_owned(), 40), (places[0].to_owned(), 97)]));
        // The kernel takes connections for a program that hangs.
        let hangs = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let silent = hangs.local_addr().unwrap().port();
        let told = said(&Script::new(TELL).args(["none"; 5]).arg(settings.display()).arg(silent));
        let inside = parse(&told, at(0), at(0)).unwrap();
        assert_eq!((inside.chronos_level, inside.proxy), (Some(5), Some(Proxy::Silent)));
    }

    #[test]
    fn volumes_that_fill_are_those_that_hold_something() {
        let pod: Pod = serde_json::from_value(serde_json::json!({"spec": {"containers": [{"name": "bono", "volumeMounts": [
                {"name": "logs", "mountPath": "/var/log"}, {"name": "settings", "mountPath": "/etc/clearwater/user_settings"},
                {"name": "claim", "mountPath": "/data"}]}],
            "volumes": [{"name": "logs", "emptyDir": {}}, {"name": "settings", "configMap": {"name": "x"}},
                {"name": "claim", "persistentVolumeClaim": {"claimName": "x"}}]}}))
        .unwrap();
        let container = &pod.spec.as_ref().unwrap().containers[0];
        assert_eq!(volumes(&pod, container), ["/var/log", "/data"]);
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
