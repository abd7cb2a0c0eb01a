//! Claims about a program alone, put to files that it wrote: logs, a `shared_config`, a map of members.
//!
//! What the product's own readers make of a file is held against something else that is known of it: a count by regular
//! expressions, the text itself.

use std::fmt;
use std::path::Path;
use std::sync::LazyLock;

use anyhow::{Context, Result, bail, ensure};
use clearwater::component::Release;
use clearwater::config::generator::{Environment, generate};
use clearwater::log::{Assembler, Level, Line, Record, SipMessage, guess_grammar};
use clearwater::scale::Members;
use regex::bytes::Regex;

use super::{Book, Finding};

/// The facts that files keep.
pub const FACTS_OF_FILES: &[&str] = &["log-levels", "log-times", "log-cut", "log-messages", "generator", "members"];

/// How lines of Clearwater's daemons begin, and the word that says how grave they are.
static LEVEL: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let level = "(Error|Warning|Status|Info|Verbose|Debug|CRITICAL|ERROR|WARNING|INFO|DEBUG)";
    Regex::new(&format!(r"(?m)^{TIME} (?:UTC )?(?:\[[0-9a-f]+\] )?{level} ")).ok()
});
static TIMED: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(&format!("(?m)^({TIME}) [^\n]*$")).ok());
static NOTE: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(&format!("(?m)^{TIME} (?:UTC )?Previous log was truncated by [0-9]+ characters\r?$")).ok()
});
static START: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new("(?m)^--start msg--\r?$").ok());

const TIME: &str = r"[0-9]{2}-[0-9]{2}-[0-9]{4} [0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}";

fn pattern(of: &LazyLock<Option<Regex>>) -> Result<&Regex> {
    of.as_ref().context("a pattern of the contract's own is wrong")
}

/// What one file holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Lines of each level, gravest first.
    pub levels: [usize; 6],
    /// Lines that begin with a time.
    pub times: usize,
    /// SIP messages.
    pub messages: usize,
    /// Records that were cut.
    pub cut: usize,
}

impl fmt::Display for Counts {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} times;", self.times)?;
        for (level, count) in Level::ALL.iter().zip(self.levels) {
            write!(out, " {level} {count}")?;
        }
        write!(out, "; {} SIP messages, {} cut records", self.messages, self.cut)
    }
}

/// What regular expressions count, which know of lines and of nothing else.
fn counted(text: &[u8]) -> Result<Counts> {
    let mut counts = Counts {
        times: pattern(&TIMED)?.find_iter(text).count(),
        messages: pattern(&START)?.find_iter(text).count(),
        cut: pattern(&NOTE)?.find_iter(text).count(),
        ..Counts::default()
    };
    for found in pattern(&LEVEL)?.captures_iter(text) {
        let level = match &found[1] {
            b"Error" | b"ERROR" | b"CRITICAL" => 0,
            b"Warning" | b"WARNING" => 1,
            b"Status" => 2,
            b"Info" | b"INFO" => 3,
            b"Verbose" => 4,
            _ => 5,
        };
        counts.levels[level] += 1;
    }
    Ok(counts)
}

/// The records that the product reads.
fn records(text: &[u8]) -> Vec<Record> {
    let mut assembler = Assembler::new(guess_grammar(text));
    let mut records: Vec<Record> =
        text.split_inclusive(|byte| *byte == b'\n').filter_map(|line| assembler.push(line)).collect();
    records.extend(assembler.finish());
    records
}

/// What the product reads.
fn read(text: &[u8]) -> Counts {
    let mut counts = Counts::default();
    for record in records(text) {
        let head = record.head();
        counts.times += usize::from(head.time.is_some()) + usize::from(record.cut().is_some());
        counts.messages += usize::from(SipMessage::of(&record).is_some_and(|message| message.call_id().is_some()));
        counts.cut += usize::from(record.cut().is_some());
        if let Some(level) = head.level {
            counts.levels[usize::from(level.number())] += 1;
        }
    }
    counts
}

/// The first line whose time is read otherwise than it is written.
fn wrong_time(text: &[u8]) -> Result<Option<String>> {
    let grammar = guess_grammar(text);
    for found in pattern(&TIMED)?.captures_iter(text) {
        let line = String::from_utf8_lossy(&found[0]);
        let written = std::str::from_utf8(&found[1]).context("a time is not UTF-8")?;
        let seen = Line::parse(grammar, &found[0]).time;
        let again = seen.map(|time| time.strftime("%d-%m-%Y %H:%M:%S%.3f").to_string());
        if again.as_deref() != Some(written) {
            return Ok(Some(format!("{line}\nwas read as {again:?}")));
        }
    }
    Ok(None)
}

/// A log file, and what was counted in it without the product.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogFile {
    /// Its name.
    pub name: String,
    /// Its lines.
    pub lines: usize,
    /// What regular expressions count.
    pub counted: Counts,
}

/// Puts the claims about log lines to every file of a folder and of those in it.
pub fn logs(folder: &Path) -> Result<(Vec<LogFile>, Vec<Finding>)> {
    let mut texts = Vec::new();
    gather(folder, &mut texts)?;
    ensure!(!texts.is_empty(), "{} holds no file", folder.display());
    let (mut files, mut book) = (Vec::new(), Book::default());
    for (path, text) in texts {
        let name = path.strip_prefix(folder).unwrap_or(&path).display().to_string();
        let counted = counted(&text)?;
        claims_of_log(&mut book, &name, &text, &counted);
        files.push(LogFile { name, lines: text.split_inclusive(|byte| *byte == b'\n').count(), counted });
    }
    Ok((files, book.findings))
}

fn claims_of_log(book: &mut Book, name: &str, text: &[u8], counted: &Counts) {
    const LOG: &str = "cpp-common src/log.cpp; python-common logging_config.py";
    let seen = read(text);
    let same = |right: bool| (!right).then(|| format!("read:    {seen}\ncounted: {counted}"));
    book.fact("log-levels", "logs", format!("{name}: each line's level is read"), LOG, || {
        Ok(same(seen.levels == counted.levels))
    });
    book.fact("log-times", "logs", format!("{name}: each line's time is read"), LOG, || {
        Ok(wrong_time(text)?.or_else(|| same(seen.times == counted.times)))
    });
    let source = "sprout src/common_sip_processing.cpp, src/sproutletproxy.cpp";
    book.fact("log-messages", "logs", format!("{name}: each SIP message is one, with its Call-ID"), source, || {
        Ok(same(seen.messages == counted.messages))
    });
    book.fact("log-cut", "logs", format!("{name}: each record that was cut ends with its note"), LOG, || {
        Ok(same(seen.cut == counted.cut))
    });
}

fn gather(folder: &Path, texts: &mut Vec<(std::path::PathBuf, Vec<u8>)>) -> Result<()> {
    let cannot = || format!("cannot read {}", folder.display());
    let mut paths: Vec<_> = folder
        .read_dir()
        .with_context(cannot)?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<_>>()
        .with_context(cannot)?;
    paths.sort();
    for path in paths {
        if path.is_dir() {
            gather(&path, texts)?;
        } else {
            let text = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
            texts.push((path, text));
        }
    }
    Ok(())
}

/// The environment that `KEY=VALUE` words describe: the variables that the generator reads, `IP` for the container's
/// address, and `RESOLV_CONF` for the text of its file or `NAMESERVER` for the one server in it.
pub fn environment(words: &[String]) -> Result<Environment> {
    let mut environment = Environment::default();
    for word in words {
        let (key, value) = word.split_once('=').with_context(|| format!("--env {word:?}: write KEY=VALUE"))?;
        let value = value.to_owned();
        match key {
            "IP" | "MY_POD_IP" => environment.ip = value,
            "RESOLV_CONF" => environment.resolv_conf = value,
            "NAMESERVER" => environment.resolv_conf += &format!("nameserver {value}\n"),
            "ZONE" => environment.zone = Some(value),
            "PUBLIC_IP" => environment.public_ip = Some(value),
            "PUBLIC_HOSTNAME" => environment.public_hostname = Some(value),
            "HSS" => environment.hss = Some(value),
            "ADDITIONAL_SHARED_CONFIG" => environment.additional_shared_config = Some(value),
            "ETCD_PROXY" => environment.etcd_proxy = Some(value),
            _ => bail!(
                "--env {key}: the generator reads ZONE, PUBLIC_IP, PUBLIC_HOSTNAME, HSS, ADDITIONAL_SHARED_CONFIG and \
                 ETCD_PROXY; say IP, NAMESERVER or RESOLV_CONF for what it finds in the container"
            ),
        }
    }
    Ok(environment)
}

/// Holds a `shared_config` against what the model of the generator says it is in an environment. Comments and blank
/// lines are nobody's business.
pub fn shared_config(text: &str, release: Release, environment: &Environment) -> Result<Vec<Finding>> {
    let generated = generate(release, environment).context("the model of the generator refuses this environment")?;
    let mut book = Book::default();
    let source = "clearwater-infrastructure debian/clearwater-auto-config-docker.init.d";
    let Some(wanted) = generated.shared_config else {
        bail!("in this environment the generator deletes shared_config, because of ETCD_PROXY");
    };
    let settings = |text: &str| -> Vec<String> {
        let plain = |line: &&str| !line.is_empty() && !line.starts_with('#');
        text.lines().map(str::trim_end).filter(plain).map(str::to_owned).collect()
    };
    let (wanted, seen) = (settings(&wanted), settings(text));
    for (n, line) in wanted.iter().enumerate() {
        book.fact("generator", "config", format!("setting {} is {line}", n + 1), source, || {
            let elsewhere = seen.iter().position(|other| other == line);
            Ok(match (seen.get(n), elsewhere) {
                (Some(other), _) if other == line => None,
                (_, Some(at)) => Some(format!("it is setting {}", at + 1)),
                (Some(other), None) => Some(format!("there stands {other}")),
                (None, None) => Some("the file ends before it".to_owned()),
            })
        });
    }
    book.fact("generator", "config", format!("there are {} settings", wanted.len()), source, || {
        let more: Vec<&str> = seen.iter().filter(|line| !wanted.contains(line)).map(String::as_str).collect();
        let right = seen.len() == wanted.len();
        Ok((!right).then(|| format!("there are {}\n{}", seen.len(), more.join("\n"))))
    });
    Ok(book.findings)
}

/// Reads a map of members as etcd holds it: what state the cluster is in, and each member's, once the map, written again
/// by somebody else, reads the same.
pub fn members(text: &str) -> (Option<String>, Vec<Finding>) {
    let mut book = Book::default();
    let mut told = None;
    let source = "clearwater-etcd src/metaswitch/clearwater/cluster_manager/synchronization_fsm.py, constants.py";
    book.fact("members", "etcd", "the map of members is read", source, || {
        let members = match Members::parse(text) {
            Ok(members) => members,
            Err(error) => return Ok(Some(error.to_string())),
        };
        let raw: serde_json::Value = if text.trim().is_empty() {
            serde_json::json!({})
        } else {
            serde_json::from_str(text).context("it is no JSON")?
        };
        let state = serde_json::to_value(members.cluster_state())?;
        let state = state.as_str().unwrap_or_default().replace('-', " ");
        let mut lines = format!("the cluster is {state}, with {} members\n", members.len());
        for (member, state) in members.iter() {
            lines += &format!("{member}: {state}\n");
            if raw[member.to_string()] != state.to_string() {
                return Ok(Some(format!("{member} is read as {state:?}, and written as {}", raw[member.to_string()])));
            }
        }
        told = Some(lines);
        Ok(None)
    });
    (told, book.findings)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clearwater_kube::contract::Agreement;

    const T: &str = "27-11-2026 23:14:04.072 UTC";

    fn differing(findings: &[Finding]) -> Vec<String> {
        findings.iter().filter(|f| f.agreement != Agreement::Agrees).map(ToString::to_string).collect()
    }

    fn log(text: &str) -> (Counts, Vec<Finding>) {
        let mut book = Book::default();
        let counted = counted(text.as_bytes()).unwrap();
        claims_of_log(&mut book, "x", text.as_bytes(), &counted);
        (counted, book.findings)
    }

    #[test]
    fn forms_of_every_daemon_are_read_as_they_are_counted() {
        let message = "OPTIONS sip:a SIP/2.0\r\nCall-ID: c\r\nCSeq: 1 OPTIONS\r\n\r\n";
        let rx = |id: &str, body: &str| {
            let call = format!(
                "{id}Verbose common_sip_processing.cpp:77: RX {} bytes Request msg OPTIONS/cseq=1 (rdata0x1) from TCP \
                 192.0.2.7:5:\n--start msg--\n\n{body}\n--end msg--",
                body.len()
            );
            match call.get(..8190) {
                Some(kept) => {
                    format!("{T} {kept}\n{T} Previous log was truncated by {} characters\n", call.len() - 8190)
                }
                None => format!("{T} {call}\n"),
            }
        };
        let long = format!("{message}{}", "a body's line\r\n".repeat(1400));
        let text = format!(
            "{T} [7f01] Status utils.cpp:7: Log level set to 4\n{T} [7f01] Error pjsip:    tcplis:5060 in use\n\
             {T} [7f02] Warning (Net-SNMP): Warning: none ([NIL]): \n{T} [7f02] Debug freeDiameter: Core: 1 -> 2\n\
             {T} [7f01] Debug view.cpp:2: New view -\nBucket  Write\n0       192.0.2.7\n{}{}{}{T} [7f01] Info a.cpp:1: b\n",
            rx("[7f01] ", &long),
            rx("[7f01] ", message),
            rx("", message),
        );
        let (counts, findings) = log(&text);
        assert_eq!(differing(&findings), Vec::<String>::new());
        assert_eq!(counts, Counts { levels: [1, 1, 1, 1, 3, 2], times: 10, messages: 3, cut: 1 });
        let python = format!(
            "{T} INFO utils.py:3 (thread MainThread): up\n{T} ERROR main.py:13: Caught\nTraceback (most recent call \
             last):\n  File \"x\", line 1\nValueError: y\n{T} CRITICAL main.py:14: z\n"
        );
        let (counts, findings) = log(&python);
        assert_eq!(differing(&findings), Vec::<String>::new());
        assert_eq!((counts.levels, counts.times), ([2, 0, 0, 1, 0, 0], 3));
        let (counts, findings) =
            log(&format!("{T} 503 GET /impi/a%40b/av 0.000198 seconds\n{T} 200 GET /ping 0.1 seconds\n"));
        assert_eq!(differing(&findings), Vec::<String>::new());
        assert_eq!((counts.levels, counts.times), ([0; 6], 2));
    }

    #[test]
    fn what_the_grammar_does_not_know_differs_by_name() {
        // A message whose second line is the head of a record: nothing that a daemon writes, and counted apart.
        let text = format!("{T} [7f01] Info a.cpp:1: b\n--start msg--\n");
        let (_, findings) = log(&text);
        let wrong = differing(&findings);
        assert!(wrong.len() == 1 && wrong[0].contains("SIP message"), "{wrong:?}");
    }

    /// The lines that the real programs wrote, where they are at hand: beside the repository.
    #[test]
    fn lines_that_the_real_programs_wrote_are_read_as_they_are_counted() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/real-logs");
        if !folder.is_dir() {
            say("SKIPPED: no folder of real logs stands beside the repository");
            return;
        }
        let (files, findings) = logs(&folder).unwrap();
        say(&format!("{} files of real logs", files.len()));
        for LogFile { name, lines, counted } in &files {
            say(&format!("{name}: {lines} lines, {counted}"));
        }
        assert_eq!(differing(&findings), Vec::<String>::new());
    }

    fn say(text: &str) {
        use std::io::Write as _;
        let _ = writeln!(std::io::stderr(), "{text}");
    }

    #[test]
    fn a_shared_config_is_held_against_the_model_line_by_line() {
        let words = ["ZONE=ims.svc.cluster.local", "IP=192.0.2.7", "NAMESERVER=192.0.2.53"].map(str::to_owned);
        let environment = environment(&words).unwrap();
        let right = generate(Release::Hunter, &environment).unwrap().shared_config.unwrap();
        assert!(right.contains("signaling_dns_server=192.0.2.53\n"), "{right}");
        let wrong_of = |text: &str| differing(&shared_config(text, Release::Hunter, &environment).unwrap());
        assert_eq!(wrong_of(&format!("# other words\n\n{right}")), Vec::<String>::new());
        let wrong = wrong_of(&right.replace("chronos_hostname=chronos.", "chronos_hostname=cronos."));
        assert!(wrong.len() == 1 && wrong[0].contains("there stands chronos_hostname=cronos."), "{wrong:?}");
        assert!(wrong_of(&format!("{right}more=1\n"))[0].contains("more=1"));
        let key = "ralf_session_store=astaire.ims.svc.cluster.local\n";
        let order = right.replace(key, "") + key;
        assert!(wrong_of(&order).iter().any(|w| w.contains("it is setting")), "{order}");
        assert!(
            super::environment(&["COLOUR=red".to_owned()]).is_err() && super::environment(&["x".to_owned()]).is_err()
        );
    }

    #[test]
    fn a_map_of_members_is_told_or_differs() {
        let (told, findings) = members(r#"{"192.0.2.1": "normal", "192.0.2.2": "joining, acknowledged change"}"#);
        assert_eq!(differing(&findings), Vec::<String>::new());
        let told = told.unwrap();
        assert!(told.contains("2 members") && told.contains("192.0.2.2: joining, acknowledged change"), "{told}");
        for wrong in [r#"{"192.0.2.1": "sleeping"}"#, r#"["192.0.2.1"]"#, r#"{"somebody": "normal"}"#] {
            let (told, findings) = members(wrong);
            assert!(told.is_none() && differing(&findings).len() == 1, "{wrong}");
        }
        assert!(members("").0.unwrap().contains("0 members"));
    }
}
