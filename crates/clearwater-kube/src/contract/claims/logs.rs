//! Where a component logs, and how its lines begin.

use clearwater::component::Component;

use super::{Book, look};

const CPP: &str = "cpp-common src/logger.cpp, src/log.cpp";
const PYTHON: &str = "python-common logging_config.py";

/// How a line of the real programs begins, as an extended regular expression for grep.
macro_rules! stamp {
    () => {
        "stamp='[0-9]{2}-[0-9]{2}-[0-9]{4} [0-9:]{8}[.][0-9]{3} UTC'; "
    };
}

pub(super) fn put(book: &mut Book<'_>) {
    use Component::{
        Astaire, Bono, Cassandra, Chronos, Ellis, Homer, Homestead, HomesteadProv, Memcached, Ralf, Sprout,
    };
    let component = book.component();
    match component {
        Memcached => {}
        Cassandra => {
            let script = look!(
                book.place,
                "f=/var/log/cassandra/system.log; ls -l ${f%/*}; [ -s $f ] || { echo \"$f is missing or empty\"; exit 1; }"
            );
            book.read("log-file", "logs to /var/log/cassandra/system.log", "Debian package cassandra", script);
        }
        HomesteadProv | Homer | Ellis => python(book),
        _ => cpp(book),
    }
    if [Memcached, Astaire, Chronos, Cassandra].contains(&component) {
        let script = look!(
            book.place,
            concat!(
                stamp!(),
                r#"seen=$(cat /var/log/clearwater-cluster-manager/cluster-manager_*.txt | head -n 1); echo "$seen"
grep -Eq "^$stamp [A-Z]+ [a-z_]+[.]py:[0-9]+ [(]thread [^)]+[)]: " <<< "$seen""#
            )
        );
        book.seen("log-python", "has a cluster manager that names its threads in its log", PYTHON, script);
    }
    match component {
        Homestead => access(book, 8888),
        Ralf => access(book, 10888),
        Sprout => access(book, 9888),
        _ => {}
    }
    if [Homestead, Ralf, Sprout, Bono].contains(&component) {
        level(book);
    }
}

fn python(book: &mut Book<'_>) {
    let name = book.component().name();
    let script = look!(
        book.place,
        r#"ls -d /var/log/"$1"/*; ls -d /var/log/"$1"/* | grep -Eqx "/var/log/$1/$1_[0-9]{8}T[0-9]{4}00Z[.]txt" &&
  ! ls /var/log/"$1"/*_current.txt 2>/dev/null"#
    );
    book.read("log-file", "logs by the hour, without a link to the current file", PYTHON, script.arg(name));
    let script = look!(
        book.place,
        concat!(
            stamp!(),
            r#"seen=$(cat /var/log/"$1"/"$1"_*.txt | head -n 1); echo "$seen"
[ -n "$seen" ] || { echo "it has logged nothing yet"; exit 125; }
grep -Eq "^$stamp [A-Z]+ [a-z_]+[.]py:[0-9]+( [(]thread [^)]+[)])?: " <<< "$seen""#
        )
    );
    let words = "begins its log lines with date, time in ms, UTC, level, file and line";
    book.seen("log-python", words, PYTHON, script.arg(name));
}

fn cpp(book: &mut Book<'_>) {
    let name = book.component().name();
    let script = look!(
        book.place,
        r#"cd /var/log/"$1" || exit 1; ls -l; t=$(readlink "$1"_current.txt)
[[ $t != /* ]] && [ -f "$t" ] && echo "$t" | grep -Eqx "([.]/)?$1_[0-9]{8}T[0-9]{4}00Z[.]txt""#
    );
    book.read("log-file", "logs by the hour, with a relative link to the current file", CPP, script.arg(name));
    let (words, thread) = if book.classic {
        ("begins its log lines with date, time in ms, UTC, level, file and line", "")
    } else {
        ("begins its log lines with date, time in ms, UTC, thread, level, file and line", r"\[[0-9a-f]+\] ")
    };
    let script = look!(
        book.place,
        concat!(
            stamp!(),
            r#"seen=$(cat /var/log/"$1"/"$1"_2*.txt | tail -n 2000)
[ -n "$seen" ] || { echo "it has logged nothing yet"; exit 125; }
begin="^$stamp $2(Error|Warning|Status|Info|Verbose|Debug)"
grep -E -m 3 "$begin [^ ]+:[0-9]+: " <<< "$seen" && exit 0
head -n 3 <<< "$seen"; grep -Eq "$begin pjsip: " <<< "$seen" || exit 1; echo "none of its own lines is left"; exit 125"#
        )
    );
    book.seen("log-threads", words, CPP, script.arg(name).arg(thread));
}

fn access(book: &mut Book<'_>, port: u16) {
    let script = look!(
        book.place,
        concat!(
            stamp!(),
            r#"cd /var/log/"$1" || exit 1; curl -s -m 5 -o /dev/null "http://$ip:$2/ping"
for n in 1 2 3 4 5; do seen=$(tail -n 1 access_current.txt); [ -n "$seen" ] && break; sleep 0.5; done
ls -l; echo "$seen"; [ -L access_current.txt ] && grep -Eqx "$stamp [0-9]{3} [A-Z]+ /[^ ]* [0-9]+[.][0-9]{6} seconds" <<< "$seen""#
        )
    );
    let words = "writes what it answers on HTTP into an access log with a link";
    let source = "cpp-common src/accesslogger.cpp, src/httpstack.cpp";
    book.seen("log-access", words, source, script.arg(book.component()).arg(port));
}

/// The level that a daemon took is in the first lines that it writes.
fn level(book: &mut Book<'_>) {
    let name = book.component();
    let (id, words, file) = if name == Component::Bono {
        ("level-bono", "takes its log level from user_settings alone, else 2", "/etc/clearwater/user_settings")
    } else {
        ("level-shared", "takes its log level from shared_config, else 2", "/etc/clearwater/config")
    };
    let script = look!(
        book.place,
        r#"log_level=; [ ! -e "$2" ] || . "$2" > /dev/null; want=${log_level:-2}
seen=$(cat /var/log/"$1"/"$1"_*.txt | grep -ao 'Log level set to [0-9]' | tail -n 1)
[ -n "$seen" ] || { echo "its log of when it started is no longer there"; exit 125; }
echo "it should take $want, and says: $seen"; [ "$seen" = "Log level set to $want" ]"#
    );
    book.seen(id, words, "each daemon's debian/*.init.d", script.arg(name).arg(file));
}
