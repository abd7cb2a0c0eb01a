//! Claims about a deployment in health.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::thread;

use anyhow::ensure;

use super::{Book, Finding, Site, calls};

/// A supervised program of an image.
struct Program {
    name: &'static str,
    /// States supervisord may report for it in health.
    healthy: &'static [&'static str],
}

const fn runs(name: &'static str) -> Program {
    Program { name, healthy: &["RUNNING"] }
}

const fn ended(name: &'static str) -> Program {
    Program { name, healthy: &["EXITED"] }
}

fn programs(component: &str, classic: bool) -> Vec<Program> {
    let mut programs = match component {
        "astaire" => {
            vec![runs("clearwater-group:memcached"), runs("clearwater-group:astaire"), runs("clearwater-group:rogers")]
        }
        "memcached" => vec![runs("clearwater-group:memcached")],
        "cassandra" => vec![runs("clearwater-group:cassandra")],
        "chronos" => vec![
            runs("clearwater-group:chronos"),
            Program { name: "clearwater-group:snmpd", healthy: &["FATAL", "BACKOFF", "EXITED"] },
        ],
        "homestead" if classic => vec![
            runs("clearwater-group:homestead"),
            runs("clearwater-group:homestead-prov"),
            runs("clearwater-group:nginx"),
        ],
        "homestead" => vec![runs("clearwater-group:homestead"), runs("clearwater-group:nginx")],
        "homestead-prov" => vec![runs("clearwater-group:homestead-prov"), runs("clearwater-group:nginx")],
        "homer" => vec![runs("clearwater-group:homer"), runs("clearwater-group:nginx")],
        "ralf" => vec![runs("clearwater-group:ralf")],
        "sprout" => vec![runs("clearwater-group:sprout")],
        "bono" => vec![runs("clearwater-group:bono"), runs("clearwater-group:restund")],
        "ellis" => vec![
            runs("clearwater-group:ellis"),
            runs("clearwater-group:mysql"),
            runs("clearwater-group:nginx"),
            ended("clearwater-group:initsql"),
        ],
        _ => Vec::new(),
    };
    programs.push(ended("clearwater-infrastructure"));
    if component != "chronos" {
        programs.push(ended("snmpd"));
    }
    if ["bono", "homestead", "homestead-prov", "ralf", "sprout"].contains(&component) {
        programs.extend([runs("socket-factory-mgmt"), runs("socket-factory-sig")]);
    }
    programs
}

pub(super) fn components(site: &Site) -> Vec<&'static str> {
    let mut all = vec![site.store(), "cassandra", "chronos", "homestead"];
    if !site.is_classic() {
        all.push("homestead-prov");
    }
    all.extend(["homer", "ralf", "sprout", "bono", "ellis"]);
    all
}

/// Puts every claim about a deployment in health to it.
pub fn healthy(site: &Site) -> Vec<Finding> {
    let mut book = Book::default();
    put(&mut book, site);
    book.findings
}

pub(super) fn put(book: &mut Book, site: &Site) {
    etcd(book, site);
    let of_components = thread::scope(|scope| {
        let asked: Vec<_> = components(site)
            .into_iter()
            .map(|component| {
                let mut book = book.beside();
                scope.spawn(move || {
                    proxy(&mut book, site, component);
                    supervisor(&mut book, site, component);
                    helpers(&mut book, site, component);
                    configuration(&mut book, site, component);
                    ports(&mut book, site, component);
                    super::lines::put(&mut book, site, component);
                    book.findings
                })
            })
            .collect();
        asked
            .into_iter()
            .flat_map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect::<Vec<_>>()
    });
    book.findings.extend(of_components);
    clusters(book, site);
    calls::sip(book, site);
    calls::provisioning(book, site);
}

fn etcd(book: &mut Book, site: &Site) {
    const SERVER: &str = "etcd-io/etcd etcdmain/etcd.go";
    let ask = |path: &str, wanted: &str| {
        let etcd = site.pod("etcd")?;
        site.holds(
            site.store(),
            &format!(
                "answer=$(curl -s -m 5 'http://{}:{path}'); echo \"$answer\"; [[ $answer == *'{wanted}'* ]]",
                etcd.ip
            ),
        )
    };
    book.claim("etcd", "answers /health on 2379", SERVER, || ask("2379/health", "\"health\""));
    book.claim("etcd", "serves the v2 keys on 4001", SERVER, || ask("4001/v2/keys", "\"node\""));
    book.claim("etcd", "lists its members on 2380, where proxies look", SERVER, || ask("2380/members", "clientURLs"));
    for (key, component) in [
        ("site1/node_type_memcached/clustering/memcached", site.store()),
        ("site1/node_type_chronos/clustering/chronos", "chronos"),
        ("node_type_cassandra/clustering/cassandra", "cassandra"),
    ] {
        book.claim(
            component,
            format!("is `normal` in the map /clearwater/{key}"),
            "clearwater-etcd-plugins *_plugin.py",
            || {
                let ip = &site.pod(component)?.ip;
                let script = format!(
                    "answer=$(curl -s -m 5 http://127.0.0.1:4000/v2/keys/clearwater/{key}); echo \"$answer\"; \
                     grep -E '\\\\\"{ip}\\\\\": ?\\\\\"normal\\\\\"' <<< \"$answer\""
                );
                site.holds(component, &script)
            },
        );
    }
}

fn proxy(book: &mut Book, site: &Site, component: &'static str) {
    book.claim(
        component,
        "has an etcd proxy on 4000 that reaches the server",
        "clearwater-etcd debian/clearwater-etcd.init.d",
        || site.holds(component, "curl -s -m 5 http://127.0.0.1:4000/v2/keys | grep '\"node\"'"),
    );
}

fn supervisor(book: &mut Book, site: &Site, component: &'static str) {
    const BASE: &str = "clearwater-docker base/Dockerfile";
    book.claim(component, "has supervisord as PID 1", BASE, || {
        site.holds(component, "tr '\\0' ' ' < /proc/1/cmdline; tr '\\0' ' ' < /proc/1/cmdline | grep -q supervisord")
    });
    let wanted = programs(component, site.is_classic());
    book.claim(
        component,
        "has exactly its programs, each in the state it has in health",
        "clearwater-docker */*.supervisord.conf",
        || {
            let ran = site.run(component, "supervisorctl status")?;
            let mut seen: BTreeMap<&str, &str> = BTreeMap::new();
            for line in ran.text.lines() {
                let mut words = line.split_whitespace();
                if let (Some(name), Some(state)) = (words.next(), words.next()) {
                    seen.insert(name, state);
                }
            }
            let right = seen.len() == wanted.len()
                && wanted
                    .iter()
                    .all(|program| seen.get(program.name).is_some_and(|state| program.healthy.contains(state)));
            Ok((!right).then_some(ran.text))
        },
    );
    book.claim(
        component,
        "starts the members of clearwater-group only by the boot chain",
        "clearwater-docker */clearwater-group.supervisord.conf",
        || {
            site.holds(
                component,
                "cd /etc/supervisor/conf.d; members=$(sed -n 's/^programs=//p' *group* | tr ',' ' '); \
                 for m in $members; do \
                   sed -n \"/^\\[program:$m\\]/,/^\\[/p\" *.conf | grep -q '^autostart=false' || { echo \"$m\"; exit 1; }; \
                 done; [ -n \"$members\" ]",
            )
        },
    );
    book.claim(
        component,
        "answers XML-RPC on the supervisor's unix socket",
        "supervisor docs/api.rst; Debian supervisord.conf",
        || {
            site.holds(
                component,
                "body='<methodCall><methodName>supervisor.getAllProcessInfo</methodName></methodCall>'; \
                 printf 'POST /RPC2 HTTP/1.1\\r\\nHost: x\\r\\nContent-Type: text/xml\\r\\nContent-Length: %s\\r\\nConnection: close\\r\\n\\r\\n%s' \
                   ${#body} \"$body\" | timeout 5 nc -U /var/run/supervisor.sock | grep -a statename",
            )
        },
    );
}

fn helpers(book: &mut Book, site: &Site, component: &'static str) {
    let mut files = vec![
        "/usr/bin/supervisorctl",
        "/usr/share/kubernetes/liveness.sh",
        "/usr/bin/pre-stop",
        "/etc/clearwater/config",
    ];
    files.push("/usr/bin/cw-check_cluster_state");
    files.push("/usr/sbin/cw-mark_node_failed");
    if component == "homestead-prov" {
        files.push("/usr/share/clearwater/bin/poll_homestead-prov.sh");
    }
    book.claim(component, "holds the helpers that probes and people call", "clearwater-docker base/Dockerfile", || {
        site.holds(
            component,
            &format!(
                "for f in {}; do [ -e $f ] || {{ echo \"$f is missing\"; exit 1; }}; done; \
                 for c in bash nc curl; do type $c > /dev/null || exit 1; done",
                files.join(" ")
            ),
        )
    });
    book.claim(
        component,
        "has a liveness.sh that ends non-zero at a closed port",
        "clearwater-docker base/liveness.sh",
        || {
            site.holds(
                component,
                "MY_POD_IP=127.0.0.1 /usr/share/kubernetes/liveness.sh 4000 && \
                 ! MY_POD_IP=127.0.0.1 /usr/share/kubernetes/liveness.sh '4000 1'",
            )
        },
    );
}

fn configuration(book: &mut Book, site: &Site, component: &'static str) {
    const GENERATOR: &str = "clearwater-infrastructure debian/clearwater-auto-config-docker.init.d";
    let mut keys: Vec<(&str, &str)> = vec![
        ("home_domain", "${ZONE:-example.com}"),
        ("sprout_hostname", "sprout$z"),
        ("xdms_hostname", "homer$z:7888"),
        ("ralf_hostname", "ralf$z:10888"),
        ("chronos_hostname", "chronos$z"),
        ("cassandra_hostname", "cassandra$z"),
    ];
    if site.is_classic() {
        keys.extend([("hs_hostname", "hs$z:8888"), ("hs_provisioning_hostname", "hs$z:8889")]);
    } else {
        keys.extend([
            ("hs_hostname", "homestead$z:8888"),
            ("sprout_registration_store", "astaire$z"),
            ("homestead_impu_store", "astaire$z"),
            ("ralf_session_store", "astaire$z"),
            ("upstream_hostname", "sprout$z"),
            ("scscf_uri", "sip:sprout$z:5054;transport=tcp"),
            ("icscf_uri", "sip:sprout$z:5052;transport=tcp"),
            ("bgcf_uri", "sip:sprout$z:5053;transport=tcp"),
        ]);
    }
    book.claim(component, "has shared_config made from ZONE", GENERATOR, || {
        let mut script = "z=${ZONE:+.$ZONE}; wrong=0\n\
             # Lines added on purpose come later in the file and win, so the first assignment is judged.\n\
             is() { seen=$(sed -n \"s/^$1=//p\" /etc/clearwater/shared_config | head -1 | tr -d '\"'); \
               [ \"$seen\" = \"$2\" ] || { echo \"$1 is '$seen', not '$2'\"; wrong=1; }; }\n"
            .to_owned();
        for (key, value) in &keys {
            let _ = writeln!(script, "is {key} \"{value}\"");
        }
        script.push_str("exit $wrong");
        site.holds(component, &script)
    });
    if !site.is_classic() {
        book.fact("generator-order", component, "has ralf_session_store before homestead_impu_store", GENERATOR, || {
            site.holds(
                component,
                "seen=$(grep -Eo '^(ralf_session|homestead_impu)_store=' /etc/clearwater/shared_config); echo \"$seen\"; \
                 [ \"$seen\" = $'ralf_session_store=\\nhomestead_impu_store=' ]",
            )
        });
    }
    book.claim(component, "asks the name servers of its resolv.conf", GENERATOR, || {
        site.holds(
            component,
            "want=$(grep nameserver /etc/resolv.conf | cut -d ' ' -f 2 | paste -sd ,); \
             seen=$(sed -n 's/^signaling_dns_server=//p' /etc/clearwater/shared_config | tail -1); \
             echo \"signaling_dns_server is $seen, resolv.conf has $want\"; [ \"$seen\" = \"$want\" ]",
        )
    });
    book.claim(component, "has local_config made from its address and PUBLIC_IP", GENERATOR, || {
        site.holds(
            component,
            "cat /etc/clearwater/local_config; f=/etc/clearwater/local_config; \
             grep -qx \"local_ip=$ip\" $f && grep -qx \"public_ip=${PUBLIC_IP:-$ip}\" $f && \
             grep -qx 'etcd_proxy=etcd0=http://etcd:2380' $f && ! grep -q '^etcd_cluster=' $f",
        )
    });
}

/// Ports a component listens on: on its own address, and whether the loopback answers too.
fn listens(component: &str, classic: bool) -> &'static [(u16, bool)] {
    match component {
        "astaire" => &[(11211, true), (11311, true)],
        "memcached" => &[(11211, true)],
        "cassandra" => &[(7000, false), (9042, true), (9160, true)],
        "chronos" => &[(7253, false)],
        "homestead" if classic => &[(8888, false), (8889, true)],
        "homestead" => &[(8888, false)],
        "homestead-prov" => &[(8889, true)],
        "homer" => &[(7888, true)],
        "ralf" => &[(10888, false)],
        "sprout" => &[(5052, false), (5053, false), (5054, false), (9888, false)],
        "bono" => &[(5058, false), (5060, false), (5062, false), (3478, false)],
        "ellis" => &[(80, true)],
        _ => &[],
    }
}

fn ports(book: &mut Book, site: &Site, component: &'static str) {
    for (port, everywhere) in listens(component, site.is_classic()) {
        let (claim, loopback) = if *everywhere {
            (format!("listens on {port}, on the loopback too"), "nc -z -w 2 127.0.0.1")
        } else {
            (format!("listens on {port} on its own address only"), "! nc -z -w 2 127.0.0.1")
        };
        book.claim(component, claim, "packaging of each component, */Dockerfile EXPOSE", || {
            site.holds(component, &format!("nc -z -w 2 $ip {port} && {loopback} {port}"))
        });
    }
    let ping = match component {
        "chronos" => Some("$ip:7253"),
        "homestead" => Some("$ip:8888"),
        "homestead-prov" => Some("127.0.0.1:8889"),
        "homer" => Some("127.0.0.1:7888"),
        "ralf" => Some("$ip:10888"),
        "sprout" => Some("$ip:9888"),
        "ellis" => Some("127.0.0.1:80"),
        _ => None,
    };
    if let Some(address) = ping {
        book.claim(component, "answers /ping with exactly OK", "crest api/ping.py; cpp-common httpstack_utils", || {
            site.holds(
                component,
                &format!("seen=$(curl -s -m 5 http://{address}/ping); echo \"$seen\"; [ \"$seen\" = OK ]"),
            )
        });
    }
    if let Some(address) = ping.filter(|_| ["homestead-prov", "homer", "ellis"].contains(&component)) {
        front(book, site, component, &address.replace(':', "/"));
    }
    if component == "astaire" {
        let source = "astaire src/proxy_server.cpp";
        book.claim(component, "answers memcached's binary protocol on 11311", source, || {
            let request = format!("\\x80\\x0b{}", "\\x00".repeat(22));
            site.holds(
                component,
                &format!("printf '{request}' | timeout 3 nc -w 1 127.0.0.1 11311 | grep -aE '[0-9]+[.][0-9]+'"),
            )
        });
        book.fact("rogers", component, "does not answer memcached's text protocol on 11311", source, || {
            site.holds(
                component,
                "seen=$(printf 'version\\r\\n' | timeout 2 nc -w 1 127.0.0.1 11311 | tr -d '\\0'); [ -z \"$seen\" ]",
            )
        });
    }
}

/// What nginx does before a Python program, at an address that bash can open.
fn front(book: &mut Book, site: &Site, component: &'static str, address: &str) {
    let nginx = "nginx src/http/ngx_http_request.c, ngx_http_request_body.c";
    book.claim(component, "answers a request whose head and body come apart", nginx, || {
        site.holds(
            component,
            &format!(
                "exec 3<> /dev/tcp/{address}; printf 'POST /ping HTTP/1.1\\r\\nHost: x\\r\\nContent-Length: 5\\r\\n\\r\\n' >&3; \
                 sleep 0.5; printf 'a=b&c' >&3; IFS= read -r -t 8 seen <&3; echo \"$seen\"; [[ $seen == 'HTTP/1.1 '[2-5]* ]]"
            ),
        )
    });
    book.claim(component, "answers two requests over one connection", nginx, || {
        site.holds(
            component,
            &format!(
                "exec 3<> /dev/tcp/{address}; for n in 1 2; do printf 'GET /ping HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n' >&3; sleep 0.5; done; \
                 seen=$(timeout 3 cat <&3 | tr -d '\\0'); echo \"$seen\"; [ $(grep -c 'HTTP/1.1 200' <<< \"$seen\") = 2 ]"
            ),
        )
    });
}

fn clusters(book: &mut Book, site: &Site) {
    let store = site.store();
    book.claim(
        store,
        "prints the clusters with cw-check_cluster_state and ends 0 when all are normal",
        "clearwater-etcd src/metaswitch/clearwater/etcd_tests, check_cluster_state.py",
        || {
            let ip = &site.pod(store)?.ip;
            site.holds(
                store,
                &format!(
                    "out=$(cw-check_cluster_state); code=$?; echo \"$out\"; \
                     grep -q '^This script prints the status of the data store clusters' <<< \"$out\" && \
                     grep -q '^Describing the Memcached cluster:' <<< \"$out\" && \
                     grep -q '^  The cluster is stable.' <<< \"$out\" && \
                     grep -q '^    {ip} is in state normal.' <<< \"$out\" && exit $code"
                ),
            )
        },
    );
    book.claim(
        store,
        "has its member list in cluster_settings",
        "clearwater-etcd-plugins clearwater_memcached/memcached_utils.py",
        || site.holds(store, "cat /etc/clearwater/cluster_settings; grep -q \"^servers=.*$ip:11211\" /etc/clearwater/cluster_settings"),
    );
    book.claim(
        "chronos",
        "has its member list in chronos_cluster.conf",
        "clearwater-etcd-plugins chronos/chronos_plugin.py",
        || {
            site.holds(
                "chronos",
                "cat /etc/chronos/chronos_cluster.conf; grep -q \"^node *= *$ip\" /etc/chronos/chronos_cluster.conf",
            )
        },
    );
    book.claim(
        "cassandra",
        "has a cassandra.yaml written when it joined",
        "clearwater-etcd-plugins clearwater_cassandra/cassandra_plugin.py",
        || site.holds("cassandra", "grep -q \"^listen_address: *$ip\" /etc/cassandra/cassandra.yaml"),
    );
    book.fact(
        "mark-unlisted",
        "chronos",
        "has no work with an address that is not listed, and says so",
        "clearwater-etcd src/metaswitch/clearwater/cluster_manager/mark_node_failed.py",
        || {
            site.holds(
                "chronos",
                "out=$(timeout 30 /usr/sbin/cw-mark_node_failed node_type_chronos chronos 192.0.2.254 2>&1); code=$?; \
                 echo \"$out\"; [[ $out == *'Not in cluster - no work required'* ]] && exit $code",
            )
        },
    );
    for component in [store, "chronos", "cassandra"] {
        let manager = "clearwater-etcd src/metaswitch/clearwater/cluster_manager/synchronization_fsm.py";
        book.fact("join-pause", component, "paused for others before it joined", manager, || {
            let ran = site.run(
                component,
                "cat /var/log/clearwater-cluster-manager/cluster-manager_*.txt | \
                 grep -Eao 'Pausing for [0-9]+ seconds in case more nodes are joining the cluster|waiting to join' | sort -u",
            )?;
            if ran.text.contains("Pausing for ") {
                return Ok(None);
            }
            ensure!(ran.text.contains("waiting to join"), "its log of when it joined is no longer there");
            Ok(Some("its log has the member waiting to join, and no pause".to_owned()))
        });
    }
    book.claim("cassandra", "is up and normal in nodetool status", "Apache Cassandra 2.1 nodetool", || {
        site.holds("cassandra", "nodetool status; nodetool status | grep -q '^UN'")
    });
}
