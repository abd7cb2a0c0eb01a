//! How a container begins: supervisord, its programs, and what it is helped by.

use clearwater::component::{Component, ProgramHealth};

use super::{Book, look};

const BASE: &str = "clearwater-docker base/Dockerfile";

pub(super) fn put(book: &mut Book<'_>) {
    let place = book.place;
    book.read(
        "etcd-proxy",
        "has an etcd proxy on 4000 that reaches the server",
        "clearwater-etcd debian/clearwater-etcd.init.d",
        look!(place, r#"seen=$(curl -s -m 5 http://127.0.0.1:4000/v2/keys); echo "$seen"; [[ $seen == *'"node"'* ]]"#),
    );
    book.read(
        "supervisord",
        "has supervisord as PID 1",
        BASE,
        look!(place, r#"seen=$(tr '\0' ' ' < /proc/1/cmdline); echo "$seen"; [[ $seen == *supervisord* ]]"#),
    );
    programs(book);
    book.read(
        "boot-chain",
        "starts the members of clearwater-group only by the boot chain",
        "clearwater-docker */clearwater-group.supervisord.conf",
        look!(
            place,
            r#"cd /etc/supervisor/conf.d || exit 1; members=$(sed -n 's/^programs=//p' *group* | tr ',' ' ')
for m in $members; do
  sed -n "/^\[program:$m\]/,/^\[/p" *.conf | grep -q '^autostart=false' || { echo "$m is started by supervisord itself"; exit 1; }
done
[ -n "$members" ] || { echo "there is no group"; exit 1; }"#
        ),
    );
    book.read(
        "group-start",
        "ends its boot chain with supervisorctl, found by its name where /usr/local/sbin comes first",
        "clearwater-docker base/clearwater-infrastructure.supervisord.conf",
        look!(
            place,
            r#"seen=$(cat /etc/supervisor/conf.d/*.conf | sed -n '/^\[program:clearwater-infrastructure\]/,/^\[group/s/^command=//p')
echo "$seen"; grep -Eq '(^|[^/[:alnum:]])supervisorctl[[:space:]]+start[[:space:]]+clearwater-group:\*' <<< "$seen" || exit 1
path=$(tr '\0' '\n' < /proc/1/environ | sed -n 's/^PATH=//p'); echo "$path"; [[ $path == /usr/local/sbin:* ]]"#
        ),
    );
    book.read(
        "xml-rpc",
        "answers XML-RPC on the supervisor's unix socket",
        "supervisor docs/api.rst; Debian supervisord.conf",
        look!(
            place,
            r#"body='<methodCall><methodName>supervisor.getAllProcessInfo</methodName></methodCall>'
seen=$(printf 'POST /RPC2 HTTP/1.1\r\nHost: x\r\nContent-Type: text/xml\r\nContent-Length: %s\r\nConnection: close\r\n\r\n%s' \
  ${#body} "$body" | timeout 5 nc -U /var/run/supervisor.sock | tr -d '\0')
[[ $seen == *statename* ]] || { echo "$seen"; exit 1; }"#
        ),
    );
    helpers(book);
}

/// What the catalogue says, against what supervisord says.
fn programs(book: &mut Book<'_>) {
    let wanted = book.entry.programs.iter().filter_map(|program| {
        let states = match program.health {
            ProgramHealth::Running => "RUNNING",
            ProgramHealth::Exited => "EXITED",
            ProgramHealth::Any => "[A-Z]+",
            // Whether it is there depends on the image's age.
            ProgramHealth::RunningWhereKnown => return None,
        };
        Some(format!("{} {states}", program.full_name()))
    });
    let script = look!(
        book.place,
        r#"seen=$(timeout 10 supervisorctl status 2>&1); echo "$seen"; seen=$(awk '$2 { print $1, $2 }' <<< "$seen")
for want in "$@"; do
  grep -Eqx -- "$want" <<< "$seen" || { echo "there is no line: $want"; exit 1; }
done
# snmpd and the socket factories stand beside a component's programs; those that matter are in the catalogue.
more=$(grep -Evx -f <(printf '%s\n' "$@") <<< "$seen" | grep -Ev '^(clearwater-group:)?(snmpd|socket-factory-(mgmt|sig)) ')
[ -z "$more" ] || { echo "there is more: $more"; exit 1; }"#
    );
    book.read(
        "programs",
        "has exactly its programs, each in the state it has in health",
        "clearwater-docker */*.supervisord.conf",
        script.args(wanted),
    );
}

fn helpers(book: &mut Book<'_>) {
    let mut files = vec![
        "/usr/bin/supervisorctl",
        "/usr/share/kubernetes/liveness.sh",
        "/usr/bin/pre-stop",
        "/etc/clearwater/config",
        "/usr/bin/cw-check_cluster_state",
        "/usr/sbin/cw-mark_node_failed",
    ];
    if book.component() == Component::HomesteadProv {
        files.push("/usr/share/clearwater/bin/poll_homestead-prov.sh");
    }
    let script = look!(
        book.place,
        r#"bad=0
for f in "$@"; do [ -e "$f" ] || { echo "$f is missing"; bad=1; }; done
for c in bash nc curl; do type "$c" > /dev/null 2>&1 || { echo "there is no $c"; bad=1; }; done
exit $bad"#
    );
    book.read("helpers", "holds the helpers that probes and people call", BASE, script.args(files));
    book.read(
        "liveness",
        "has a liveness.sh that ends non-zero at a closed port",
        "clearwater-docker base/liveness.sh",
        look!(
            book.place,
            "MY_POD_IP=127.0.0.1 /usr/share/kubernetes/liveness.sh 4000 || exit
! MY_POD_IP=127.0.0.1 /usr/share/kubernetes/liveness.sh '4000 1'"
        ),
    );
}
