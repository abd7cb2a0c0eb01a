//! Claims about the logs of a deployment in health.

use super::{Book, Site};

const CPP: &str = "cpp-common src/logger.cpp, src/log.cpp";
const PYTHON: &str = "python-common logging_config.py";

/// How lines of the real programs begin, as an extended regular expression.
const TIME: &str = "[0-9]{2}-[0-9]{2}-[0-9]{4} [0-9:]{8}[.][0-9]{3} UTC";

pub(super) fn put(book: &mut Book, site: &Site, component: &'static str) {
    match component {
        "memcached" => {}
        "cassandra" => {
            book.claim(component, "logs to /var/log/cassandra/system.log", "Debian package cassandra", || {
                site.holds(component, "[ -s /var/log/cassandra/system.log ]")
            });
        }
        "homestead-prov" | "homer" | "ellis" => python(book, site, component),
        _ => cpp(book, site, component),
    }
    if ["memcached", "astaire", "chronos", "cassandra"].contains(&component) {
        manager(book, site, component);
    }
    if ["homestead", "ralf", "sprout"].contains(&component) {
        access(book, site, component);
    }
    if ["homestead", "ralf", "sprout", "bono"].contains(&component) {
        level(book, site, component);
    }
}

fn dated(name: &str) -> String {
    format!("/var/log/{name}/{name}_[0-9]{{8}}T[0-9]{{4}}00Z[.]txt")
}

fn python(book: &mut Book, site: &Site, name: &'static str) {
    book.claim(name, "logs by the hour, without a link to the current file", PYTHON, || {
        let dated = dated(name);
        site.holds(
            name,
            &format!(
                "ls -d /var/log/{name}/*; ls -d /var/log/{name}/* | grep -Eqx '{dated}' && ! ls /var/log/{name}/*_current.txt"
            ),
        )
    });
    book.fact(
        "log-python",
        name,
        "begins its log lines with date, time in ms, UTC, level, file and line",
        PYTHON,
        || {
            site.holds(
                name,
                &format!(
                    "seen=$(cat /var/log/{name}/{name}_*.txt | head -n 1); echo \"$seen\"; \
                 grep -Eq '^{TIME} [A-Z]+ [a-z_]+[.]py:[0-9]+( [(]thread [^)]+[)])?: ' <<< \"$seen\""
                ),
            )
        },
    );
}

fn manager(book: &mut Book, site: &Site, component: &'static str) {
    book.fact("log-python", component, "has a cluster manager that names its threads in its log", PYTHON, || {
        site.holds(
            component,
            &format!(
                "seen=$(cat /var/log/clearwater-cluster-manager/cluster-manager_*.txt | head -n 1); echo \"$seen\"; \
                 grep -Eq '^{TIME} [A-Z]+ [a-z_]+[.]py:[0-9]+ [(]thread [^)]+[)]: ' <<< \"$seen\""
            ),
        )
    });
}

fn cpp(book: &mut Book, site: &Site, name: &'static str) {
    book.claim(name, "logs by the hour, with a relative link to the current file", CPP, || {
        let dated = dated(name);
        site.holds(
            name,
            &format!(
                "cd /var/log/{name}; ls -l; t=$(readlink {name}_current.txt); [[ $t != /* ]] && [ -f \"$t\" ] && \
                 echo /var/log/{name}/$t | grep -Eqx '{dated}'"
            ),
        )
    });
    let (words, thread) = if site.is_classic() {
        ("begins its log lines with date, time in ms, UTC, level, file and line", "")
    } else {
        ("begins its log lines with date, time in ms, UTC, thread, level, file and line", "\\[[0-9a-f]+\\] ")
    };
    book.fact("log-threads", name, words, CPP, || {
        site.holds(
            name,
            &format!(
                "seen=$(head -n 3 /var/log/{name}/{name}_current.txt); echo \"$seen\"; grep -Eq \
                 '^{TIME} {thread}(Error|Warning|Status|Info|Verbose|Debug) [^ ]+:[0-9]+: ' <<< \"$seen\""
            ),
        )
    });
}

fn access(book: &mut Book, site: &Site, name: &'static str) {
    let port = match name {
        "homestead" => 8888,
        "ralf" => 10888,
        _ => 9888,
    };
    let source = "cpp-common src/accesslogger.cpp, src/httpstack.cpp";
    book.fact("log-access", name, "writes what it answers on HTTP into an access log with a link", source, || {
        site.holds(
            name,
            &format!(
                "cd /var/log/{name}; curl -s -m 5 -o /dev/null http://$ip:{port}/ping; \
                 for n in 1 2 3 4 5; do seen=$(tail -n 1 access_current.txt); [ -n \"$seen\" ] && break; sleep 0.5; done; \
                 ls -l; echo \"$seen\"; [ -L access_current.txt ] && \
                 grep -Eqx '{TIME} [0-9]{{3}} [A-Z]+ /[^ ]* [0-9]+[.][0-9]{{6}} seconds' <<< \"$seen\""
            ),
        )
    });
}

/// The level that a daemon took is in the first lines that it writes.
fn level(book: &mut Book, site: &Site, name: &'static str) {
    let (fact, words, wanted) = if name == "bono" {
        (
            "level-bono",
            "takes its log level from user_settings alone, else 2",
            "[ -e /etc/clearwater/user_settings ] && . /etc/clearwater/user_settings",
        )
    } else {
        ("level-shared", "takes its log level from shared_config, else 2", ". /etc/clearwater/config > /dev/null")
    };
    book.fact(fact, name, words, "each daemon's debian/*.init.d", || {
        site.holds(
            name,
            &format!(
                "log_level=; {wanted}; want=${{log_level:-2}}; \
                 seen=$(cat /var/log/{name}/{name}_*.txt | grep -ao 'Log level set to [0-9]' | tail -n 1); \
                 echo \"it should take $want, and says: $seen\"; [ \"$seen\" = \"Log level set to $want\" ]"
            ),
        )
    });
}
