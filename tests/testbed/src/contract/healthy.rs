//! Claims about a deployment in health: those that the product puts to its users' images, and those that only tests may
//! put, because they write or send.

use std::thread;

use clearwater_kube::contract::claims;

use super::{Book, Finding, Site, calls};

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
    let of_components = thread::scope(|scope| {
        let asked: Vec<_> = components(site)
            .into_iter()
            .map(|component| {
                let mut book = book.beside();
                scope.spawn(move || {
                    shipped(&mut book, site, component);
                    front(&mut book, site, component);
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
    calls::sip(book, site);
    calls::flows(book, site);
    calls::provisioning(book, site);
}

/// The claims of `kubectl clearwater check --images`.
fn shipped(book: &mut Book, site: &Site, component: &'static str) {
    let Some(entry) = site.entry(component) else { return };
    for claim in claims(site.release(), entry, &site.place(component)) {
        book.take(&claim, || site.ask(component, &claim.script));
    }
}

/// What nginx does before a Python program.
fn front(book: &mut Book, site: &Site, component: &'static str) {
    // As bash opens it.
    let address = match component {
        "homestead-prov" => "127.0.0.1/8889",
        "homer" => "127.0.0.1/7888",
        "ellis" => "127.0.0.1/80",
        _ => return,
    };
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
