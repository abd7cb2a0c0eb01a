//! The contract: what the product relies on in Clearwater's images, as claims that a deployment answers for itself.
//!
//! Everything is asked through kubectl from inside the deployment's own pods, with what the images hold (bash, nc, curl,
//! supervisorctl), so the same claims can be put to the stand-ins and to the real images on anybody's cluster. Each claim
//! names the upstream file it was read in. Two sets: [`healthy`] looks at a deployment that runs (and creates one Ellis
//! account with one number, which it deletes), [`alone`] starts each component without any other in a namespace of its
//! own and looks at how it fails.
//!
//! ```no_run
//! use clearwater_testbed::contract::{Site, Verdict, healthy};
//! # fn main() -> anyhow::Result<()> {
//! # let cluster = clearwater_testbed::Cluster::get()?;
//! let site = Site::look(&cluster.kubectl().in_namespace("ims"))?;
//! for finding in healthy(&site) {
//!     if let Verdict::Differs(seen) = &finding.verdict {
//!         println!("{}: {seen}", finding.claim);
//!     }
//! }
//! # Ok(()) }
//! ```

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::host::{Attempt, wait_for};
use crate::kubectl::Kubectl;

/// What a look at one claim gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is so.
    Agrees,
    /// It is not so; what was seen.
    Differs(String),
    /// It could not be asked; why.
    CouldNotLook(String),
}

/// One claim and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The component the claim is about.
    pub component: &'static str,
    /// The claim, in words.
    pub claim: String,
    /// The upstream repository and file it was read in.
    pub source: &'static str,
    /// What was found.
    pub verdict: Verdict,
}

impl fmt::Display for Finding {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (word, seen) = match &self.verdict {
            Verdict::Agrees => ("agrees", None),
            Verdict::Differs(seen) => ("DIFFERS", Some(seen)),
            Verdict::CouldNotLook(why) => ("could not look", Some(why)),
        };
        write!(out, "{word:<14} {:<14} {} [{}]", self.component, self.claim, self.source)?;
        for line in seen.into_iter().flat_map(|text| text.trim().lines()) {
            write!(out, "\n               | {line}")?;
        }
        Ok(())
    }
}

/// What a question gave: nothing when the claim holds, else what was seen instead.
type Seen = Result<Option<String>>;

#[derive(Default)]
struct Book(Vec<Finding>);

impl Book {
    fn claim(
        &mut self,
        component: &'static str,
        claim: impl Into<String>,
        source: &'static str,
        look: impl FnOnce() -> Seen,
    ) {
        let verdict = match look() {
            Ok(None) => Verdict::Agrees,
            Ok(Some(seen)) => Verdict::Differs(seen),
            Err(error) => Verdict::CouldNotLook(format!("{error:#}")),
        };
        self.0.push(Finding { component, claim: claim.into(), source, verdict });
    }
}

/// The pods of a deployment, by component.
#[derive(Clone, Debug)]
pub struct Site {
    kubectl: Kubectl,
    pods: BTreeMap<String, Pod>,
}

#[derive(Clone, Debug)]
struct Pod {
    name: String,
    container: String,
    ip: String,
    image: String,
}

/// What a script in a pod printed, on both streams, and its status.
struct Ran {
    text: String,
    code: i32,
}

impl Site {
    /// The running pods in kubectl's namespace, by their label `service` (etcd also by upstream's `instance-type`).
    pub fn look(kubectl: &Kubectl) -> Result<Self> {
        let listed = kubectl.json(["get", "pods"])?;
        let mut pods = BTreeMap::new();
        for pod in listed["items"].as_array().into_iter().flatten() {
            let labels = &pod["metadata"]["labels"];
            let component = match (labels["service"].as_str(), labels["instance-type"].as_str()) {
                (Some(service), _) => service,
                (None, Some("etcd-pod")) => "etcd",
                _ => continue,
            };
            let running = pod["status"]["phase"] == "Running" && pod["metadata"]["deletionTimestamp"].is_null();
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            if running {
                let containers = pod["spec"]["containers"].as_array().cloned().unwrap_or_default();
                let container = containers
                    .iter()
                    .find(|container| container["name"] == component)
                    .or(containers.first())
                    .cloned()
                    .unwrap_or_default();
                pods.entry(component.to_owned()).or_insert(Pod {
                    name: text(&pod["metadata"]["name"]),
                    container: text(&container["name"]),
                    ip: text(&pod["status"]["podIP"]),
                    image: text(&container["image"]),
                });
            }
        }
        if pods.is_empty() {
            bail!("no running pod here has a label `service`: is this the namespace of a Clearwater deployment?");
        }
        Ok(Self { kubectl: kubectl.clone(), pods })
    }

    fn pod(&self, component: &str) -> Result<&Pod> {
        self.pods.get(component).with_context(|| format!("no pod of {component} runs"))
    }

    fn store(&self) -> &'static str {
        if self.pods.contains_key("memcached") { "memcached" } else { "astaire" }
    }

    fn is_classic(&self) -> bool {
        self.store() == "memcached"
    }

    fn run(&self, component: &str, script: &str) -> Result<Ran> {
        let pod = self.pod(component)?;
        let wrapped = format!("exec 2>&1\nip={}\n( {script}\n)\necho \"status=$?\"", pod.ip);
        let text = self.kubectl.run_with_input(
            ["exec", "--stdin", &pod.name, "--container", &pod.container, "--", "bash", "-s"],
            &wrapped,
        )?;
        let (text, code) = text.trim_end().rsplit_once("status=").context("the script in the pod did not end")?;
        Ok(Ran { text: text.to_owned(), code: code.parse().context("the script's status")? })
    }

    /// The claim holds when the script ends 0; else its output is what was seen.
    fn holds(&self, component: &str, script: &str) -> Seen {
        let ran = self.run(component, script)?;
        Ok((ran.code != 0).then(|| format!("ended with {}\n{}", ran.code, ran.text)))
    }

    fn setting(&self, component: &str, key: &str) -> Result<String> {
        let ran = self.run(component, &format!(". /etc/clearwater/config > /dev/null; printf %s \"${key}\""))?;
        Ok(ran.text)
    }
}

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

fn components(site: &Site) -> Vec<&'static str> {
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
    etcd(&mut book, site);
    let of_components = thread::scope(|scope| {
        let asked: Vec<_> = components(site)
            .into_iter()
            .map(|component| {
                scope.spawn(move || {
                    let mut book = Book::default();
                    proxy(&mut book, site, component);
                    supervisor(&mut book, site, component);
                    helpers(&mut book, site, component);
                    configuration(&mut book, site, component);
                    ports(&mut book, site, component);
                    logs(&mut book, site, component);
                    book.0
                })
            })
            .collect();
        asked
            .into_iter()
            .flat_map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect::<Vec<_>>()
    });
    book.0.extend(of_components);
    clusters(&mut book, site);
    sip(&mut book, site);
    provisioning(&mut book, site);
    book.0
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
    files.push("/usr/bin/cw-mark_node_failed");
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
    if component == "astaire" {
        let source = "astaire src/proxy_server.cpp";
        book.claim(component, "answers memcached's binary protocol on 11311", source, || {
            let request = format!("\\x80\\x0b{}", "\\x00".repeat(22));
            site.holds(
                component,
                &format!("printf '{request}' | timeout 3 nc -w 1 127.0.0.1 11311 | grep -aE '[0-9]+[.][0-9]+'"),
            )
        });
        book.claim(component, "does not answer memcached's text protocol on 11311", source, || {
            site.holds(
                component,
                "seen=$(printf 'version\\r\\n' | timeout 2 nc -w 1 127.0.0.1 11311 | tr -d '\\0'); [ -z \"$seen\" ]",
            )
        });
    }
}

fn logs(book: &mut Book, site: &Site, component: &'static str) {
    const CPP: &str = "cpp-common src/logger.cpp";
    const PYTHON: &str = "python-common logging_config.py";
    let name = match component {
        "memcached" => return,
        "cassandra" => {
            book.claim(component, "logs to /var/log/cassandra/system.log", "Debian package cassandra", || {
                site.holds(component, "[ -s /var/log/cassandra/system.log ]")
            });
            return;
        }
        other => other,
    };
    let dated = format!("/var/log/{name}/{name}_[0-9]{{8}}T[0-9]{{4}}00Z[.]txt");
    if ["homestead-prov", "homer", "ellis"].contains(&component) {
        book.claim(component, "logs by the hour, without a link to the current file", PYTHON, || {
            site.holds(
                component,
                &format!("ls -d /var/log/{name}/*; ls -d /var/log/{name}/* | grep -Eqx '{dated}' && ! ls /var/log/{name}/*_current.txt"),
            )
        });
        return;
    }
    book.claim(component, "logs by the hour, with a relative link to the current file", CPP, || {
        site.holds(
            component,
            &format!(
                "cd /var/log/{name}; ls -l; t=$(readlink {name}_current.txt); [[ $t != /* ]] && [ -f \"$t\" ] && \
                 echo /var/log/{name}/$t | grep -Eqx '{dated}'"
            ),
        )
    });
    book.claim(component, "begins its log lines with date, time in ms, UTC, level, file and line", CPP, || {
        site.holds(
            component,
            &format!(
                "head -n 3 /var/log/{name}/{name}_current.txt; head -n 3 /var/log/{name}/{name}_current.txt | grep -Eq \
                 '^[0-9]{{2}}-[0-9]{{2}}-[0-9]{{4}} [0-9:]{{8}}[.][0-9]{{3}} UTC (Error|Warning|Status|Info|Verbose|Debug) [^ ]+:[0-9]+: '"
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
    book.claim("cassandra", "is up and normal in nodetool status", "Apache Cassandra 2.1 nodetool", || {
        site.holds("cassandra", "nodetool status; nodetool status | grep -q '^UN'")
    });
}

/// Bash functions for SIP over TCP with what every image has.
const SIP: &str = r#"
open() { exec 3<> "/dev/tcp/$1/$2"; }
say() { printf '%s\r\n' "$@" '' >&3; }
hear() {
  local line code
  while :; do
    code=
    while IFS= read -r -t 8 line <&3; do
      line=${line%$'\r'}
      [ -n "$line" ] || break
      [ -n "$code" ] || { code=$(cut -d ' ' -f 2 <<< "$line"); answer=; }
      answer+=$line$'\n'
    done
    [ -n "$code" ] || { code=none; break; }
    [ "$code" = 100 ] || break
  done
  echo "$code" >&2
  status=$code
}
options() {
  open "$1" "$2"
  say "OPTIONS sip:$1:$2 SIP/2.0" "Via: SIP/2.0/TCP $ip;rport;branch=z9hG4bK-$RANDOM$RANDOM" "Max-Forwards: $3" \
    "To: <sip:$1:$2>" "From: <sip:poll@$ip>;tag=$RANDOM" "Call-ID: $RANDOM$RANDOM" 'CSeq: 1 OPTIONS' 'Content-Length: 0'
  hear
}
register() { # address port domain user extra-header...
  local address=$1 port=$2 domain=$3 user=$4
  shift 4
  say "REGISTER sip:$domain SIP/2.0" "Via: SIP/2.0/TCP $ip:5999;rport;branch=z9hG4bK-$RANDOM$RANDOM" 'Max-Forwards: 70' \
    "To: <$user>" "From: <$user>;tag=$RANDOM" "Call-ID: contract-$$" "CSeq: $((++cseq)) REGISTER" \
    "Contact: <sip:contract@$ip:5999;transport=tcp>" "$@" 'Content-Length: 0'
  hear
}
md5() { printf %s "$1" | md5sum | cut -d ' ' -f 1; }
part() { sed -n "s/^WWW-Authenticate:.*[ ,]$1=\"\([^\"]*\)\".*/\1/p" <<< "$answer"; }
credentials() { # impi password uri
  local nonce realm ha1 ha2
  nonce=$(part nonce)
  realm=$(part realm)
  ha1=$(md5 "$1:$realm:$2")
  ha2=$(md5 "REGISTER:$3")
  echo "Authorization: Digest username=\"$1\", realm=\"$realm\", nonce=\"$nonce\", uri=\"$3\", algorithm=MD5, qop=auth, nc=00000001, cnonce=\"abc\", response=\"$(md5 "$ha1:$nonce:00000001:abc:auth:$ha2")\""
}
"#;

fn sip(book: &mut Book, site: &Site) {
    let options = |component: &str, port: u16, hops: u8, wanted: &str| {
        site.holds(component, &format!("{SIP}\noptions $ip {port} {hops}; [ \"$status\" = {wanted} ]"))
    };
    for port in [5060, 5058] {
        book.claim("bono", format!("answers OPTIONS on {port} with 200"), "sprout src/options.cpp", || {
            options("bono", port, 2, "200")
        });
    }
    for port in [5052, 5053, 5054] {
        book.claim("sprout", format!("answers OPTIONS on {port} with 200"), "sprout src/options.cpp", || {
            options("sprout", port, 2, "200")
        });
    }
    book.claim("sprout", "answers 483 when Max-Forwards has run out", "sprout src/sproutletproxy.cpp", || {
        let domain = site.setting("sprout", "home_domain")?;
        site.holds(
            "sprout",
            &format!(
                "{SIP}\nopen $ip 5054; say 'MESSAGE sip:6505550000@{domain} SIP/2.0' \"Via: SIP/2.0/TCP $ip;branch=z9hG4bK-1$RANDOM\" \
                 'Max-Forwards: 0' 'To: <sip:6505550000@{domain}>' 'From: <sip:a@{domain}>;tag=1' \"Call-ID: $RANDOM\" 'CSeq: 1 MESSAGE' \
                 'Content-Length: 0'; hear; [ \"$status\" = 483 ]"
            ),
        )
    });
    book.claim("bono", "answers STUN on UDP 3478", "restund, RFC 5389", || {
        site.holds(
            "bono",
            "seen=$(printf '\\x00\\x01\\x00\\x00\\x21\\x12\\xa4\\x42contract-one' | timeout 3 nc -u -w 1 $ip 3478 | head -c 2 | od -An -tx1 | tr -d ' \\n'); \
             echo \"$seen\"; [ \"$seen\" = 0101 ]",
        )
    });
    book.claim("bono", "forwards a REGISTER: unknown users get 403", "sprout src/icscfrouter.cpp", || {
        let domain = site.setting("bono", "home_domain")?;
        site.holds(
            "bono",
            &format!("{SIP}\nopen $ip 5060; register $ip 5060 {domain} sip:nobody@{domain} 'Expires: 60'; echo \"$answer\"; [ \"$status\" = 403 ]"),
        )
    });
}

fn provisioning(book: &mut Book, site: &Site) {
    const ELLIS: &str = "ellis docs/api.md";
    const PROV: &str = "crest docs/homestead_prov_api.md";
    let account = format!("contract-{}@example.com", std::process::id());
    let curl = "curl -s -m 20 -b /tmp/contract.jar -c /tmp/contract.jar -w '\\n%{http_code}'";
    let ellis = |arguments: &str, code: u16| -> Result<(Option<String>, String)> {
        let ran =
            site.run("ellis", &format!("key=$(. /etc/clearwater/config; echo \"$signup_key\"); {curl} {arguments}"))?;
        let (body, status) = ran.text.trim_end().rsplit_once('\n').unwrap_or(("", ran.text.trim()));
        Ok(((status != code.to_string()).then(|| ran.text.clone()), body.trim().to_owned()))
    };
    let sign_up = format!(
        "-d email={account} -d password=secret1 -d full_name=Contract -d signup_code=\"$key\" http://127.0.0.1/accounts/"
    );
    book.claim("ellis", "refuses an account with a wrong code: 400", ELLIS, || {
        Ok(ellis(
            "-d email=x@example.com -d password=secret1 -d full_name=X -d signup_code=wrong http://127.0.0.1/accounts/",
            400,
        )?
        .0)
    });
    book.claim("ellis", "creates an account: 201", ELLIS, || Ok(ellis(&sign_up, 201)?.0));
    book.claim("ellis", "refuses the same account again: 409", ELLIS, || Ok(ellis(&sign_up, 409)?.0));
    book.claim("ellis", "refuses a wrong password: 403", ELLIS, || {
        Ok(ellis(&format!("-d email={account} -d password=wrong http://127.0.0.1/session/"), 403)?.0)
    });
    book.claim("ellis", "opens a session: 201", ELLIS, || {
        Ok(ellis(&format!("-d email={account} -d password=secret1 http://127.0.0.1/session/"), 201)?.0)
    });
    let mut number = Value::Null;
    book.claim("ellis", "hands out a number with its password: 201", ELLIS, || {
        let (seen, body) = ellis(&format!("-X POST -d pstn=false http://127.0.0.1/accounts/{account}/numbers/"), 201)?;
        number = serde_json::from_str(&body).unwrap_or(Value::Null);
        let complete = ["sip_uri", "sip_username", "private_id", "number", "formatted_number", "sip_password"]
            .iter()
            .all(|key| number[*key].is_string());
        Ok(seen.or((!complete).then_some(body)))
    });
    let text = |key: &str| number[key].as_str().unwrap_or_default().to_owned();
    let (uri, impi, password) = (text("sip_uri"), text("private_id"), text("sip_password"));
    let made = |uri: &str| if uri.is_empty() { bail!("Ellis made no number") } else { Ok(()) };

    let (prov, port) = if site.is_classic() { ("homestead", 8889) } else { ("homestead-prov", 8889) };
    let ask = |path: String, code: u16| {
        site.holds(prov, &format!("seen=$(curl -s -m 5 -o /dev/null -w '%{{http_code}}' http://127.0.0.1:{port}{path}); echo $seen; [ $seen = {code} ]"))
    };
    book.claim(prov, "knows the private identity Ellis made: 200", PROV, || {
        made(&uri)?;
        ask(format!("/private/{impi}"), 200)
    });
    book.claim(prov, "does not know another: 404", PROV, || ask("/private/nobody@nowhere".to_owned(), 404));
    book.claim(prov, "redirects from a public identity to its service profile: 303", PROV, || {
        made(&uri)?;
        ask(format!("/public/{}/service_profile", uri.replace(':', "%3A").replace('@', "%40")), 303)
    });
    book.claim("homer", "holds the simservs that Ellis put there: 200", "crest docs/homer_api.md", || {
        made(&uri)?;
        site.holds(
            "homer",
            &format!("seen=$(curl -s -m 5 -o /dev/null -w '%{{http_code}}' http://127.0.0.1:7888/org.etsi.ngn.simservs/users/{uri}/simservs.xml); echo $seen; [ $seen = 200 ]"),
        )
    });
    book.claim("bono", "registers the user: 401 in the home domain, then 200 with Service-Route and P-Associated-URI",
        "sprout src/authenticationsproutlet.cpp, src/registrarsproutlet.cpp", || {
            made(&uri)?;
            let domain = site.setting("bono", "home_domain")?;
            site.holds(
                "bono",
                &format!(
                    "{SIP}\nopen $ip 5060; register $ip 5060 {domain} {uri} 'Expires: 60'; echo \"$answer\"; \
                     [ \"$status\" = 401 ] && [ \"$(part realm)\" = {domain} ] || exit 1; c=$(credentials {impi} {password} sip:{domain}); \
                     register $ip 5060 {domain} {uri} 'Expires: 60' \"$c\"; echo \"$answer\"; \
                     [ \"$status\" = 200 ] && grep -qi '^Service-Route:.*orig' <<< \"$answer\" && grep -qi '^P-Associated-URI:' <<< \"$answer\" || exit 1; \
                     register $ip 5060 {domain} {uri} 'Expires: 0' \"$c\"; exit 0"
                ),
            )
        });
    book.claim("bono", "refuses the user with a wrong password: 403", "sprout src/authenticationsproutlet.cpp", || {
        made(&uri)?;
        let domain = site.setting("bono", "home_domain")?;
        site.holds(
            "bono",
            &format!(
                "{SIP}\nopen $ip 5060; register $ip 5060 {domain} {uri} 'Expires: 60'; c=$(credentials {impi} wrong sip:{domain}); \
                 register $ip 5060 {domain} {uri} 'Expires: 60' \"$c\"; [ \"$status\" = 403 ]"
            ),
        )
    });
    book.claim("bono", "lets nobody send who is not registered through it: 403", "sprout src/bono.cpp", || {
        let domain = site.setting("bono", "home_domain")?;
        site.holds(
            "bono",
            &format!(
                "{SIP}\nopen $ip 5060; say 'MESSAGE sip:6505550000@{domain} SIP/2.0' \"Via: SIP/2.0/TCP $ip;branch=z9hG4bK-2$RANDOM\" \
                 'Max-Forwards: 70' 'To: <sip:6505550000@{domain}>' 'From: <sip:stranger@{domain}>;tag=1' \"Call-ID: $RANDOM\" \
                 'CSeq: 1 MESSAGE' 'Content-Length: 0'; hear; [ \"$status\" = 403 ]"
            ),
        )
    });
    book.claim("ellis", "takes the number back: 200", ELLIS, || {
        made(&uri)?;
        Ok(ellis(&format!("-X DELETE http://127.0.0.1/accounts/{account}/numbers/{uri}/"), 200)?.0)
    });
}

/// How long a component may take to show its failure: boot, the etcd proxy's minute, and supervisord's retries.
const PATIENCE: Duration = Duration::from_secs(240);

/// Starts each component of `site`'s images alone, in `scratch` (kubectl with an empty namespace), and puts the claims
/// about missing dependencies to them. Nothing is removed afterwards: the namespace goes.
pub fn alone(site: &Site, scratch: &Kubectl) -> Result<Vec<Finding>> {
    let mut objects = Vec::new();
    for component in components(site) {
        let Ok(pod) = site.pod(component) else { continue };
        objects.push(json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": component, "labels": {"service": component}},
            "spec": {
                "enableServiceLinks": false,
                "terminationGracePeriodSeconds": 1,
                "containers": [{
                    "name": component,
                    "image": pod.image,
                    "imagePullPolicy": "IfNotPresent",
                    "env": [
                        {"name": "MY_POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
                        {"name": "MY_NAMESPACE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}}},
                        {"name": "ZONE", "value": "$(MY_NAMESPACE).svc.cluster.local"},
                        {"name": "PUBLIC_IP", "value": "192.0.2.7"},
                        {"name": "PUBLIC_HOSTNAME", "value": "edge"},
                        {"name": "ADDITIONAL_SHARED_CONFIG", "value": "one=1\\ntwo=2"},
                    ],
                }],
            },
        }));
    }
    scratch.apply(&json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string())?;
    scratch.run(["wait", "--for=condition=Ready", "--timeout=300s", "pod", "--all"])?;
    let place = Site::look(scratch)?;
    let mut book = Book::default();
    let classic = place.is_classic();
    let soon = |component: &str, script: &str| -> Seen {
        let awaited = wait_for("the claim to hold", PATIENCE, || {
            Ok(match place.holds(component, script)? {
                None => Attempt::Done(()),
                Some(seen) => Attempt::not_yet(seen),
            })
        });
        Ok(awaited.err().map(|error| format!("{error:#}")))
    };
    let store = place.store();
    if !classic {
        book.claim(
            "astaire",
            "without etcd has no cluster_settings, does not open 11311, and is tried again",
            "astaire src/proxy_main.cpp, src/resync_main.cpp",
            || {
                soon(
                    "astaire",
                    "supervisorctl status | grep -E 'rogers +(BACKOFF|STARTING|FATAL)' && \
                [ ! -e /etc/clearwater/cluster_settings ] && ! nc -z -w 1 127.0.0.1 11311",
                )
            },
        );
        book.claim(
            "homestead-prov",
            "without the name of Cassandra ends FATAL after its four tries",
            "crest src/metaswitch/homestead_prov/cassandra.py",
            || soon("homestead-prov", "supervisorctl status | grep -E 'homestead-prov +FATAL'"),
        );
        book.claim("homestead-prov", "answers 502 from nginx meanwhile", "crest homestead-prov nginx configuration", || {
            soon("homestead-prov", "seen=$(curl -s -m 5 -o /dev/null -w '%{http_code}' http://127.0.0.1:8889/ping); echo $seen; [ $seen = 502 ]")
        });
        book.claim("bono", "takes PUBLIC_IP, PUBLIC_HOSTNAME and ADDITIONAL_SHARED_CONFIG",
            "clearwater-infrastructure debian/clearwater-auto-config-docker.init.d", || {
            soon("bono", "cat /etc/clearwater/*_config; grep -qx public_ip=192.0.2.7 /etc/clearwater/local_config && \
                grep -qx \"public_hostname=edge.$ZONE\" /etc/clearwater/local_config && grep -qx one=1 /etc/clearwater/shared_config && \
                grep -qx two=2 /etc/clearwater/shared_config")
        });
    }
    book.claim(store, "without etcd answers on 4000 all the same, with 503", "etcd-io/etcd proxy/httpproxy", || {
        soon(store, "seen=$(curl -s -m 5 -o /dev/null -w '%{http_code}' http://127.0.0.1:4000/v2/keys); echo $seen; [ $seen = 503 ]")
    });
    book.claim(
        "cassandra",
        "without etcd has no yaml, keeps its ports closed, and is started again and again",
        "clearwater-cassandra init.d/cassandra.clearwater; clearwater-docker cassandra/start_cassandra.sh",
        || {
            soon(
                "cassandra",
                "[ ! -e /etc/cassandra/cassandra.yaml ] && ! nc -z -w 1 127.0.0.1 9160 && \
            grep -c 'spawned: .cassandra' /var/log/supervisor/supervisord.log && \
            [ $(grep -c 'spawned: .cassandra' /var/log/supervisor/supervisord.log) -ge 2 ]",
            )
        },
    );
    book.claim("homestead", "without Cassandra is in BACKOFF: Exited too quickly", "homestead src/main.cpp", || {
        soon("homestead", "supervisorctl status | grep -E 'clearwater-group:homestead +BACKOFF +Exited too quickly \\(process log may have details\\)'")
    });
    book.claim(
        "homestead",
        "names the record it cannot find in its log",
        "cpp-common src/dnscachedresolver.cpp",
        || {
            soon(
                "homestead",
                "grep \"Failed to retrieve record for cassandra.$ZONE\" /var/log/homestead/homestead_current.txt",
            )
        },
    );
    book.claim("chronos", "starts without etcd and answers /ping", "chronos src/globals.cpp", || {
        soon("chronos", "[ \"$(curl -s -m 5 http://$ip:7253/ping)\" = OK ]")
    });
    book.claim("ralf", "starts without store and chronos and answers /ping", "ralf src/main.cpp", || {
        soon("ralf", "[ \"$(curl -s -m 5 http://$ip:10888/ping)\" = OK ]")
    });
    book.claim("homer", "opens 7888 without Cassandra", "crest homer nginx configuration", || {
        soon("homer", "nc -z -w 2 127.0.0.1 7888")
    });
    book.claim("ellis", "opens 80 without homestead-prov, and answers a request for a number with 502",
        "ellis src/metaswitch/ellis/api/numbers.py", || {
        soon("ellis", "key=$(. /etc/clearwater/config; echo \"$signup_key\"); cd /tmp; ask() { curl -s -m 20 -o /dev/null -w '%{http_code}' -b jar -c jar -d email=a@example.com -d password=secret1 \"$@\"; }; \
            ask -d full_name=A -d signup_code=\"$key\" http://127.0.0.1/accounts/ > /dev/null; ask http://127.0.0.1/session/ > /dev/null; \
            seen=$(ask http://127.0.0.1/accounts/a@example.com/numbers/); echo $seen; [ $seen = 502 ]")
    });
    book.claim(
        "sprout",
        "starts alone, and refuses a REGISTER with 403 when homestead has no name",
        "sprout src/hssconnection.cpp, src/icscfrouter.cpp",
        || {
            soon(
                "sprout",
                &format!(
                    "{SIP}\nopen $ip 5052; register $ip 5052 $ZONE sip:a@$ZONE 'Expires: 60'; [ \"$status\" = 403 ]"
                ),
            )
        },
    );
    book.claim("bono", "starts alone, and answers a REGISTER with 503 or 408 when sprout has no name", "sprout src/bono.cpp", || {
        soon("bono", &format!("{SIP}\nopen $ip 5060; register $ip 5060 $ZONE sip:a@$ZONE 'Expires: 60'; [ \"$status\" = 503 ] || [ \"$status\" = 408 ]"))
    });
    Ok(book.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_is_one_line_and_what_was_seen_below() {
        let finding = Finding {
            component: "bono",
            claim: "answers".into(),
            source: "sprout src/options.cpp",
            verdict: Verdict::Differs("ended with 1\n403".into()),
        };
        let text = finding.to_string();
        assert!(text.starts_with("DIFFERS        bono           answers [sprout src/options.cpp]\n"), "{text}");
        assert!(text.ends_with("| 403"), "{text}");
    }

    #[test]
    fn the_sip_functions_are_bash() {
        let status = std::process::Command::new("bash").args(["-n", "-c", SIP]).status().unwrap();
        assert!(status.success());
    }
}
