//! Claims about each component without any other.

use std::time::Duration;

use anyhow::Result;
use serde_json::json;

use super::calls::SIP;
use super::healthy::components;
use super::{Book, Finding, Seen, Site};
use crate::host::{Attempt, wait_for};
use crate::kubectl::Kubectl;

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
    put(&mut book, &place);
    Ok(book.findings)
}

pub(super) fn put(book: &mut Book, place: &Site) {
    if !place.is_classic() {
        hunter(book, place);
    }
    stores(book, place);
    signalling(book, place);
}

/// Waits for a claim to hold; what was seen instead, where it does not come to.
fn soon(place: &Site, component: &str, script: &str) -> Option<String> {
    let awaited = wait_for("the claim to hold", PATIENCE, || {
        Ok(match place.holds(component, script)? {
            None => Attempt::Done(()),
            Some(seen) => Attempt::not_yet(seen),
        })
    });
    awaited.err().map(|error| format!("{error:#}"))
}

/// What the images of 2016 have not.
fn hunter(book: &mut Book, place: &Site) {
    let soon = |component: &str, script: &str| -> Seen { Ok(soon(place, component, script)) };
    book.fact(
        "rogers",
        "astaire",
        "has a rogers that ends without cluster_settings",
        "astaire src/proxy_main.cpp",
        || {
            soon(
                "astaire",
                "grep rogers /var/log/supervisor/supervisord.log | tail -n 3; \
                grep -q 'exited: rogers (exit status [0-9]*; not expected)' /var/log/supervisor/supervisord.log",
            )
        },
    );
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

/// The stores, and those that only need one.
fn stores(book: &mut Book, place: &Site) {
    let soon = |component: &str, script: &str| -> Seen { Ok(soon(place, component, script)) };
    let store = place.store();
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
    if !place.is_classic() {
        let main = "homestead src/main.cpp";
        book.fact("homestead-no-cassandra", "homestead", "without the name of Cassandra says error code 5, and ends", main, || {
        soon("homestead", "grep 'exited: homestead (exit status [0-9]*; not expected)' /var/log/supervisor/supervisord.log | tail -n 1; \
            cat /var/log/homestead/homestead_*.txt | grep -a Cassandra | tail -n 2; \
            grep -q 'exited: homestead (exit status [0-9]*; not expected)' /var/log/supervisor/supervisord.log && \
            cat /var/log/homestead/homestead_*.txt | grep -aq 'Failed to initialize the Cassandra store with error code 5[.]'")
    });
    }
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
}

/// Those who are asked from outside.
fn signalling(book: &mut Book, place: &Site) {
    let soon = |component: &str, script: &str| -> Seen { Ok(soon(place, component, script)) };
    book.claim("homer", "opens 7888 without Cassandra", "crest homer nginx configuration", || {
        soon("homer", "nc -z -w 2 127.0.0.1 7888")
    });
    book.claim("ellis", "opens 80 without homestead-prov, and answers a request for a number with 502",
        "ellis src/metaswitch/ellis/api/numbers.py", || {
        soon("ellis", "key=$(. /etc/clearwater/config; echo \"$signup_key\"); cd /tmp; ask() { curl -s -m 20 -o /dev/null -w '%{http_code}' -b jar -c jar -d email=a@example.com -d password=secret1 \"$@\"; }; \
            ask -d full_name=A -d signup_code=\"$key\" http://127.0.0.1/accounts/ > /dev/null; ask http://127.0.0.1/session/ > /dev/null; \
            seen=$(ask http://127.0.0.1/accounts/a@example.com/numbers/); echo $seen; [ $seen = 502 ]")
    });
    book.fact(
        "register-no-homestead",
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
    if place.is_classic() {
        book.claim("bono", "starts alone, and answers a REGISTER with 503 or 408 when sprout has no name", "sprout src/bono.cpp", || {
            soon("bono", &format!("{SIP}\nopen $ip 5060; register $ip 5060 $ZONE sip:a@$ZONE 'Expires: 60'; [ \"$status\" = 503 ] || [ \"$status\" = 408 ]"))
        });
    } else {
        book.fact(
            "upstream-missing",
            "bono",
            "starts alone, and answers a REGISTER with 408 when sprout has no name",
            "sprout src/bono.cpp",
            || {
                soon(
                    "bono",
                    &format!(
                        "{SIP}\nopen $ip 5060; register $ip 5060 $ZONE sip:a@$ZONE 'Expires: 60'; [ \"$status\" = 408 ]"
                    ),
                )
            },
        );
        book.fact("upstream-missing", "bono", "logs an error each second that it cannot resolve sprout", "sprout src/sip_connection_pool.cpp", || {
        soon("bono", "seen=$(cat /var/log/bono/bono_*.txt | grep -a 'Error sip_connection_pool.cpp:[0-9]*: Failed to resolve ' | tail -n 3); \
            echo \"$seen\"; [[ $seen == *'PJ_ENOTFOUND'* ]] && [ $(wc -l <<< \"$seen\") = 3 ]")
    });
    }
}
