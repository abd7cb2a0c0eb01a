use super::*;

fn read(grammar: LogGrammar, line: &str) -> (String, Option<Level>, String, String) {
    let l = Line::parse(grammar, line.as_bytes());
    let text = |b: &[u8]| String::from_utf8_lossy(b).into_owned();
    (l.time.map(|t| t.to_string()).unwrap_or_default(), l.level, l.place.map(text).unwrap_or_default(), text(l.text))
}

/// A grammar, a line of it, and its time, level, place and text.
type Case = (LogGrammar, &'static str, &'static str, Option<Level>, &'static str, &'static str);

fn assert_read(cases: &[Case]) {
    for &(grammar, line, time, level, place, text) in cases {
        assert_eq!(read(grammar, line), (time.to_owned(), level, place.to_owned(), text.to_owned()), "{line}");
    }
}

#[test]
fn each_grammar_of_clearwaters_own_is_read() {
    assert_read(&[
        (
            LogGrammar::Cpp,
            "23-11-2026 10:00:00.123 UTC Error main.cpp:42: no: way",
            "2026-11-23T10:00:00.123Z",
            Some(Level::Error),
            "main.cpp:42",
            "no: way",
        ),
        (
            LogGrammar::Cpp,
            "03-03-2014 18:03:36.028 Error httpconnection.cpp:390: failed",
            "2014-03-03T18:03:36.028Z",
            Some(Level::Error),
            "httpconnection.cpp:390",
            "failed",
        ),
        (
            LogGrammar::Cpp,
            "23-11-2026 10:00:60.000 UTC Status main.cpp:1:",
            "2026-11-23T10:00:59Z",
            Some(Level::Status),
            "main.cpp:1",
            "",
        ),
        (
            LogGrammar::Python,
            "17-10-2016 17:35:11.121 UTC INFO main.py:113: Going to listen",
            "2016-10-17T17:35:11.121Z",
            Some(Level::Info),
            "main.py:113",
            "Going to listen",
        ),
        (
            LogGrammar::CppAccess,
            "23-11-2026 10:00:00.123 UTC 200 GET /ping 0.000321 seconds",
            "2026-11-23T10:00:00.123Z",
            None,
            "",
            "200 GET /ping 0.000321 seconds",
        ),
        (LogGrammar::Cpp, "no head at all", "", None, "", "no head at all"),
        (
            LogGrammar::Cpp,
            "31-02-2026 10:00:00.123 UTC Error main.cpp:42: no such day",
            "",
            None,
            "",
            "31-02-2026 10:00:00.123 UTC Error main.cpp:42: no such day",
        ),
    ]);
}

#[test]
fn each_grammar_of_others_is_read() {
    assert_read(&[
        (
            LogGrammar::Supervisord,
            "2026-11-23 00:12:31,123 INFO spawned: 'homestead' with pid 41\r\n",
            "2026-11-23T00:12:31.123Z",
            Some(Level::Info),
            "homestead",
            "spawned: 'homestead' with pid 41",
        ),
        (
            LogGrammar::Supervisord,
            "2026-11-23 00:12:31,123 INFO exited: homestead (exit status 0; not expected)",
            "2026-11-23T00:12:31.123Z",
            Some(Level::Info),
            "homestead",
            "exited: homestead (exit status 0; not expected)",
        ),
        (
            LogGrammar::Cassandra,
            "INFO  [main] 2016-10-17 17:35:11,121 CassandraDaemon.java:155 - Hostname: x",
            "2016-10-17T17:35:11.121Z",
            Some(Level::Info),
            "CassandraDaemon.java:155",
            "Hostname: x",
        ),
        (
            LogGrammar::Cassandra,
            "WARN  [Thread [a] b] 2016-10-17 17:35:11,121 A.java:1 - t",
            "2016-10-17T17:35:11.121Z",
            Some(Level::Warning),
            "A.java:1",
            "t",
        ),
        (
            LogGrammar::NginxAccess,
            "10.0.0.1 - - [23/Nov/2026:12:00:00 +0200] \"GET /ping HTTP/1.1\" 502 2 \"-\" \"curl\"",
            "2026-11-23T10:00:00Z",
            Some(Level::Error),
            "",
            "10.0.0.1 - - [23/Nov/2026:12:00:00 +0200] \"GET /ping HTTP/1.1\" 502 2 \"-\" \"curl\"",
        ),
        (
            LogGrammar::NginxError,
            "2026/11/23 10:00:00 [warn] 31#0: *1 connect() failed",
            "2026-11-23T10:00:00Z",
            Some(Level::Warning),
            "",
            "31#0: *1 connect() failed",
        ),
        (
            LogGrammar::Plain,
            "2026-11-23 10:00:00.123456 W | etcdserver: slow",
            "2026-11-23T10:00:00.123456Z",
            Some(Level::Warning),
            "etcdserver",
            "etcdserver: slow",
        ),
    ]);
}

/// Every form that the real programs of the last release write, by who writes it: thread, level, place, text.
fn assert_forms(forms: &[Case]) {
    for &(grammar, rest, thread, level, place, text) in forms {
        let line = format!("27-11-2026 22:55:57.921 UTC {rest}\n");
        let head = Line::parse(grammar, line.as_bytes());
        assert_eq!(head.thread.unwrap_or_default(), thread.as_bytes(), "{line}");
        assert_eq!(
            read(grammar, &line),
            ("2026-11-27T22:55:57.921Z".to_owned(), level, place.to_owned(), text.to_owned()),
            "{line}"
        );
        let is_note = rest.starts_with("Previous");
        assert_eq!(Line::begins_record(grammar, line.as_bytes()), !is_note, "{line}");
        assert_eq!(cut_note(line.as_bytes()), is_note.then_some(17), "{line}");
    }
}

#[test]
fn forms_of_the_last_releases_daemons_are_read() {
    use Level::{Debug, Error, Info, Status, Verbose, Warning};
    assert_forms(&[
        (
            LogGrammar::Cpp,
            "[7f11c0a2b700] Status globals.cpp:7: Bind: x",
            "7f11c0a2b700",
            Some(Status),
            "globals.cpp:7",
            "Bind: x",
        ),
        (LogGrammar::Cpp, "Status globals.cpp:7: Bind: x", "", Some(Status), "globals.cpp:7", "Bind: x"),
        (LogGrammar::Cpp, "[7f1] Debug updater.h:66: Started", "7f1", Some(Debug), "updater.h:66", "Started"),
        (
            LogGrammar::Cpp,
            "[7f1] Status load_monitor.cpp:9:    Target : 1",
            "7f1",
            Some(Status),
            "load_monitor.cpp:9",
            "   Target : 1",
        ),
        (LogGrammar::Cpp, "[7f1] Info utils.cpp:6: ", "7f1", Some(Info), "utils.cpp:6", ""),
        (
            LogGrammar::Cpp,
            "[7f1] Error pjsip:    tcplis:5060 bind: in use",
            "7f1",
            Some(Error),
            "",
            "pjsip:    tcplis:5060 bind: in use",
        ),
        (
            LogGrammar::Cpp,
            "[7f1] Verbose pjsip: tcps0x7f6d TCP connection closed",
            "7f1",
            Some(Verbose),
            "",
            "pjsip: tcps0x7f6d TCP connection closed",
        ),
        (
            LogGrammar::Cpp,
            "[7f1] Debug freeDiameter: Core state: 1 -> 2",
            "7f1",
            Some(Debug),
            "",
            "freeDiameter: Core state: 1 -> 2",
        ),
        (
            LogGrammar::Cpp,
            "[7f1] Warning (Net-SNMP): Warning: no agent ([NIL]): ",
            "7f1",
            Some(Warning),
            "",
            "(Net-SNMP): Warning: no agent ([NIL]): ",
        ),
        (
            LogGrammar::Cpp,
            "Warning (Net-SNMP): Warning: no agent",
            "",
            Some(Warning),
            "",
            "(Net-SNMP): Warning: no agent",
        ),
        (
            LogGrammar::Cpp,
            "Previous log was truncated by 17 characters",
            "",
            None,
            "",
            "Previous log was truncated by 17 characters",
        ),
    ]);
}

#[test]
fn forms_of_the_last_releases_python_and_access_logs_are_read() {
    use Level::{Debug, Error, Info};
    assert_forms(&[
        (
            LogGrammar::Python,
            "INFO utils.py:3 (thread MainThread): Got: x",
            "MainThread",
            Some(Info),
            "utils.py:3",
            "Got: x",
        ),
        (LogGrammar::Python, "DEBUG client.py:4 (thread Thread-7): {}", "Thread-7", Some(Debug), "client.py:4", "{}"),
        (LogGrammar::Python, "CRITICAL main.py:5 (thread T):", "T", Some(Error), "main.py:5", ""),
        (LogGrammar::Python, "ERROR main.py:5: Caught", "", Some(Error), "main.py:5", "Caught"),
        (
            LogGrammar::CppAccess,
            "503 GET /impi/a%40b/av 0.000198 seconds",
            "",
            None,
            "",
            "503 GET /impi/a%40b/av 0.000198 seconds",
        ),
    ]);
}

#[test]
fn what_only_resembles_a_head_is_text() {
    for rest in [
        "[7f1]Status a.cpp:1: x",
        "[] Status a.cpp:1: x",
        "[7g1] Status a.cpp:1: x",
        "[7f1 Status a.cpp:1: x",
        "Loud a.cpp:1: x",
        "[7f1] Previous log was truncated by 17 characters",
        "Previous log was truncated by x characters",
        "Previous log was truncated by  characters",
    ] {
        let line = format!("27-11-2026 22:55:57.921 UTC {rest}");
        let head = Line::parse(LogGrammar::Cpp, line.as_bytes());
        assert_eq!((head.time, head.text), (None, line.as_bytes()), "{line}");
    }
}

#[test]
fn levels_are_read_by_name_and_number() {
    assert_eq!("4".parse(), Ok(Level::Verbose));
    assert_eq!("debug".parse(), Ok(Level::Debug));
    assert!("loud".parse::<Level>().is_err());
    assert!(Level::Error < Level::Debug);
}
