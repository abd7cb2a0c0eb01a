//! What supervisord says about its programs, read from its XML-RPC answers or from `supervisorctl status`.

use clearwater::component::{Program, ProgramHealth};
use clearwater::named;
use thiserror::Error;

use super::Output;

/// A program's state, as supervisord names it (supervisor `supervisor/states.py`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names are supervisord's own")]
pub enum State {
    Stopped,
    Starting,
    Running,
    Backoff,
    Stopping,
    Exited,
    Fatal,
    Unknown,
}

named! {
    /// The name that supervisord prints.
    State {
        Stopped = "STOPPED",
        Starting = "STARTING",
        Running = "RUNNING",
        Backoff = "BACKOFF",
        Stopping = "STOPPING",
        Exited = "EXITED",
        Fatal = "FATAL",
        Unknown = "UNKNOWN",
    }
}

impl State {
    /// The state by the name that supervisord prints.
    pub(crate) fn from_name(name: &str) -> Self {
        Self::ALL.into_iter().find(|state| state.name() == name).unwrap_or(Self::Unknown)
    }
}

/// One program as supervisord sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProgramState {
    /// The program's name, without its group.
    pub name: String,
    /// Its group; the program's own name where it has none.
    pub group: String,
    /// Its state.
    pub state: State,
    /// supervisord's own words: uptime, or why it does not run.
    pub description: String,
    /// The last exit status, where the source tells it.
    pub exit_status: Option<i32>,
    /// When it last stopped, in seconds since 1970, where it has and the source tells it.
    pub stopped_at: Option<i64>,
    /// The container's clock when this was said, in seconds since 1970, where the source tells it.
    pub now: Option<i64>,
}

impl ProgramState {
    /// The name as `supervisorctl` prints and takes it.
    pub fn full_name(&self) -> String {
        if self.group == self.name || self.group.is_empty() {
            self.name.clone()
        } else {
            format!("{}:{}", self.group, self.name)
        }
    }
}

/// An answer that is not what supervisord says.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Unreadable {
    /// It is not XML, or not HTTP with XML in it.
    #[error("supervisord's answer is not XML: {0}")]
    NotXml(String),
    /// supervisord refused the question.
    #[error("supervisord answered with a fault: {0}")]
    Fault(String),
}

/// What it says of a program that nobody has started (supervisor `supervisor/rpcinterface.py`).
const NEVER_STARTED: &str = "Not started";

/// The HTTP request that asks supervisord for the state of every program. HTTP/1.0, so that supervisord closes the
/// connection after its answer.
pub fn request() -> String {
    let body = "<?xml version='1.0'?><methodCall><methodName>supervisor.getAllProcessInfo</methodName>\
                <params></params></methodCall>";
    format!(
        "POST /RPC2 HTTP/1.0\r\nHost: localhost\r\nContent-Type: text/xml\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// Reads the answer to [`request`], with or without its HTTP head.
pub(crate) fn parse_answer(answer: &str) -> Result<Vec<ProgramState>, Unreadable> {
    let not_xml = |why: &str| Unreadable::NotXml(why.to_owned());
    let xml = answer.find("<?xml").or_else(|| answer.find("<methodResponse")).map(|at| &answer[at..]);
    let xml = xml.ok_or_else(|| not_xml(answer.lines().next().unwrap_or("it is empty")))?;
    let end = xml.rfind("</methodResponse>").ok_or_else(|| not_xml("it is cut off"))? + "</methodResponse>".len();
    let document = roxmltree::Document::parse(&xml[..end]).map_err(|e| Unreadable::NotXml(e.to_string()))?;
    if let Some(fault) = document.descendants().find(|n| n.has_tag_name("fault")) {
        let text: Vec<_> =
            fault.descendants().filter_map(|n| n.text()).map(str::trim).filter(|t| !t.is_empty()).collect();
        return Err(Unreadable::Fault(text.join(" ")));
    }
    Ok(document.descendants().filter(|n| n.has_tag_name("struct")).filter_map(program).collect())
}

fn program(structure: roxmltree::Node<'_, '_>) -> Option<ProgramState> {
    let member = |wanted: &str| {
        structure.children().filter(|n| n.has_tag_name("member")).find_map(|member| {
            let name = member.children().find(|n| n.has_tag_name("name"))?.text()?;
            if name.trim() != wanted {
                return None;
            }
            let value = member.children().find(|n| n.has_tag_name("value"))?;
            let inner = value.first_element_child().unwrap_or(value);
            Some(inner.text().unwrap_or("").to_owned())
        })
    };
    let number = |name: &str| member(name).and_then(|v| v.trim().parse::<i64>().ok());
    let name = member("name")?;
    Some(ProgramState {
        group: member("group").unwrap_or_else(|| name.clone()),
        state: member("statename").map_or(State::Unknown, |s| State::from_name(s.trim())),
        description: member("description").unwrap_or_default(),
        exit_status: number("exitstatus").and_then(|n| i32::try_from(n).ok()),
        stopped_at: number("stop").filter(|n| *n > 0),
        now: number("now"),
        name,
    })
}

/// Reads what `supervisorctl status` prints. Lines that are not a program's are passed over.
pub(crate) fn parse_supervisorctl(text: &str) -> Vec<ProgramState> {
    text.lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            let full = words.next()?;
            let state = State::from_name(words.next()?);
            if state == State::Unknown {
                return None;
            }
            let (group, name) = full.split_once(':').unwrap_or((full, full));
            Some(ProgramState {
                name: name.to_owned(),
                group: group.to_owned(),
                state,
                description: words.collect::<Vec<_>>().join(" "),
                exit_status: None,
                stopped_at: None,
                now: None,
            })
        })
        .collect()
}

/// A program that is not in the state that health means for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// The program's full name.
    pub program: String,
    /// The state it is in; none where supervisord does not know the program.
    pub state: Option<State>,
    /// One line that says it.
    pub text: String,
    /// When it last stopped, in seconds since 1970.
    pub stopped_at: Option<i64>,
    /// Whether it ran and somebody stopped it: supervisord itself stops none.
    pub is_stopped: bool,
    /// Whether it was started a moment ago and has never ended before, as far as can be told. A program that ends again
    /// and again is starting now and then too, and has.
    pub is_first_start: bool,
}

impl Trouble {
    /// Whether supervisord has given up.
    pub(crate) fn is_fatal(&self) -> bool {
        self.state == Some(State::Fatal)
    }

    /// Whether it is a program that runs and is to come to its end.
    pub(crate) fn is_under_way(&self) -> bool {
        self.state == Some(State::Running)
    }

    /// Whether it was started a moment ago.
    pub(crate) fn is_starting(&self) -> bool {
        self.state == Some(State::Starting)
    }
}

/// A program among those that supervisord knows.
fn known<'s>(program: &Program, seen: &'s [ProgramState]) -> Option<&'s ProgramState> {
    let found = seen.iter().find(|s| s.name == program.name && program.group.is_none_or(|g| g == s.group));
    found.or_else(|| seen.iter().find(|s| s.name == program.name))
}

/// How many of these programs a container is to have: those that not every image has count where they are there.
pub(crate) fn count(expected: &[Program], seen: &[ProgramState]) -> usize {
    let is_optional = |program: &&Program| program.health == ProgramHealth::RunningWhereKnown;
    expected.iter().filter(|program| !is_optional(program) || known(program, seen).is_some()).count()
}

/// Compares what supervisord says with what the catalogue calls healthy.
///
/// A program that is to come to its end and has not yet is no trouble by itself: the last step of the boot chain starts
/// the others and waits until they are up, so where these run it has done its work. Where they do not, it is told with
/// them, being their cause.
pub fn judge(expected: &[Program], seen: &[ProgramState]) -> Vec<Trouble> {
    let mut troubles = Vec::new();
    for program in expected {
        let found = known(program, seen);
        let healthy = match (program.health, found.map(|f| f.state)) {
            (ProgramHealth::Any, _)
            | (ProgramHealth::Running | ProgramHealth::RunningWhereKnown, Some(State::Running))
            | (ProgramHealth::RunningWhereKnown, None)
            | (ProgramHealth::Exited, Some(State::Exited)) => true,
            (ProgramHealth::Running | ProgramHealth::RunningWhereKnown | ProgramHealth::Exited, _) => false,
        };
        if healthy {
            continue;
        }
        let name = program.full_name();
        let text = match found {
            None => format!("program {name} is not known to supervisord"),
            Some(f) if program.health == ProgramHealth::Exited && f.state == State::Running => {
                format!("program {name} has not come to its end yet")
            }
            Some(f) if f.description.trim().is_empty() => format!("program {name} is {}", f.state.name()),
            Some(f) => format!("program {name} is {}: {}", f.state.name(), f.description.trim()),
        };
        troubles.push(Trouble {
            program: name,
            state: found.map(|f| f.state),
            text,
            stopped_at: found.and_then(|f| f.stopped_at),
            is_stopped: found.is_some_and(|f| f.state == State::Stopped && f.description.trim() != NEVER_STARTED),
            is_first_start: found
                .is_some_and(|f| f.state == State::Starting && f.stopped_at.is_none() && f.now.is_some()),
        });
    }
    if troubles.iter().all(Trouble::is_under_way) {
        troubles.clear();
    }
    troubles
}

/// What `timeout` ends with where the time was up (GNU coreutils).
const TIMED_OUT: i32 = 124;

/// What supervisorctl says; an error is what else it says, or none where it waits for one that hangs: nobody answered at the
/// socket, either, and the shell that asks both answers.
pub(crate) fn said_by_ctl(by_ctl: &Output, is_silent: bool) -> Result<Vec<ProgramState>, Option<String>> {
    let seen = parse_supervisorctl(&by_ctl.text);
    if !seen.is_empty() {
        return Ok(seen);
    }
    let said = || by_ctl.text.lines().next().unwrap_or("nothing").trim().to_owned();
    Err((!is_silent || by_ctl.status != TIMED_OUT).then(said))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clearwater::component::{Source, StartsWith};

    const ANSWER: &str = "HTTP/1.0 200 OK\r\nContent-Type: text/xml\r\n\r\n<?xml version='1.0'?>\n<methodResponse>\n<params>\n\
        <param>\n<value><array><data>\n<value><struct>\n<member>\n<name>now</name>\n<value><int>1700000010</int></value>\n\
        </member>\n<member>\n<name>group</name>\n<value><string>clearwater-group</string></value>\n</member>\n<member>\n\
        <name>description</name>\n<value><string>Exited too quickly (process log may have details)</string></value>\n\
        </member>\n<member>\n<name>statename</name>\n<value><string>BACKOFF</string></value>\n</member>\n<member>\n\
        <name>name</name>\n<value><string>homestead</string></value>\n</member>\n<member>\n<name>exitstatus</name>\n\
        <value><int>0</int></value>\n</member>\n<member>\n<name>stop</name>\n<value><int>1700000009</int></value>\n</member>\n\
        </struct></value>\n<value><struct>\n<member>\n<name>name</name>\n<value><string>snmpd</string></value>\n</member>\n\
        <member>\n<name>group</name>\n<value><string>snmpd</string></value>\n</member>\n<member>\n<name>statename</name>\n\
        <value><string>EXITED</string></value>\n</member>\n<member>\n<name>stop</name>\n<value><int>0</int></value>\n\
        </member>\n</struct></value>\n</data></array></value>\n</param>\n</params>\n</methodResponse>\n";

    fn expected(name: &'static str, group: Option<&'static str>, health: ProgramHealth) -> Program {
        Program { name, group, starts: StartsWith::BootChain, start_retries: 3, health, source: Source("test") }
    }

    #[test]
    fn an_answer_is_read() {
        let programs = parse_answer(ANSWER).unwrap();
        assert_eq!(programs.len(), 2);
        assert_eq!(programs[0].full_name(), "clearwater-group:homestead");
        assert_eq!(programs[0].state, State::Backoff);
        assert_eq!(programs[0].stopped_at, Some(1_700_000_009));
        assert_eq!(programs[1].full_name(), "snmpd");
        assert_eq!(programs[1].stopped_at, None);
    }

    #[test]
    fn what_is_not_an_answer_is_named() {
        assert!(matches!(parse_answer(""), Err(Unreadable::NotXml(_))));
        assert!(
            matches!(parse_answer("nc: unix connect failed"), Err(Unreadable::NotXml(t)) if t.contains("unix connect"))
        );
        assert!(matches!(parse_answer(&ANSWER[..400]), Err(Unreadable::NotXml(t)) if t.contains("cut off")));
        let fault = "<?xml version='1.0'?><methodResponse><fault><value><struct><member><name>faultString</name>\
            <value><string>UNKNOWN_METHOD</string></value></member></struct></value></fault></methodResponse>";
        assert!(matches!(parse_answer(fault), Err(Unreadable::Fault(t)) if t.contains("UNKNOWN_METHOD")));
    }

    #[test]
    fn supervisorctl_is_the_fallback() {
        let text = "clearwater-group:homestead       BACKOFF   Exited too quickly (process log may have details)\n\
            clearwater-infrastructure        EXITED    Nov 22 10:00 AM\n\
            unix:///var/run/supervisor.sock refused connection\n";
        let programs = parse_supervisorctl(text);
        assert_eq!(programs.len(), 2);
        assert_eq!(programs[0].description, "Exited too quickly (process log may have details)");
        assert_eq!(programs[1].full_name(), "clearwater-infrastructure");
    }

    /// One that hangs is told from one that is slow.
    #[test]
    fn a_supervisord_that_hangs_is_told() {
        let ctl = |text: &str, status| Output { text: text.to_owned(), status };
        let refused = "unix:///var/run/supervisor.sock refused connection";
        assert_eq!(said_by_ctl(&ctl("", TIMED_OUT), true), Err(None));
        assert_eq!(said_by_ctl(&ctl("", TIMED_OUT), false), Err(Some("nothing".to_owned())));
        assert_eq!(said_by_ctl(&ctl(refused, 1), true), Err(Some(refused.to_owned())));
        assert_eq!(said_by_ctl(&ctl("homer RUNNING pid 7\n", 0), true).map(|seen| seen.len()), Ok(1));
    }

    #[test]
    fn health_is_what_the_catalogue_says() {
        let seen = parse_answer(ANSWER).unwrap();
        let ok = [expected("snmpd", None, ProgramHealth::Exited), expected("homestead", None, ProgramHealth::Any)];
        assert_eq!(judge(&ok, &seen), []);
        let bad = [
            expected("homestead", Some("clearwater-group"), ProgramHealth::Running),
            expected("nginx", Some("clearwater-group"), ProgramHealth::Running),
        ];
        let texts: Vec<_> = judge(&bad, &seen).into_iter().map(|t| t.text).collect();
        assert_eq!(
            texts,
            [
                "program clearwater-group:homestead is BACKOFF: Exited too quickly (process log may have details)",
                "program clearwater-group:nginx is not known to supervisord",
            ]
        );
    }

    #[test]
    fn an_image_without_socket_factories_is_judged_by_what_it_has() {
        let own = expected("homestead", Some("clearwater-group"), ProgramHealth::Running);
        let factory = expected("socket-factory-sig", None, ProgramHealth::RunningWhereKnown);
        let seen = |more: &str| parse_supervisorctl(&format!("clearwater-group:homestead RUNNING pid 7\n{more}"));
        let troubles = |more: &str| judge(&[own, factory], &seen(more)).len();
        assert_eq!((troubles(""), count(&[own, factory], &seen(""))), (0, 1));
        assert_eq!(
            (
                troubles("socket-factory-sig RUNNING pid 8\n"),
                count(&[own, factory], &seen("socket-factory-sig RUNNING pid 8\n"))
            ),
            (0, 2)
        );
        assert_eq!(troubles("socket-factory-sig FATAL Exited too quickly\n"), 1);
        let without = parse_supervisorctl("socket-factory-sig RUNNING pid 8\n");
        assert_eq!(judge(&[own, factory], &without).len(), 1);
    }

    #[test]
    fn a_boot_chain_that_waits_for_its_programs_is_no_trouble_by_itself() {
        let chain = expected("clearwater-infrastructure", None, ProgramHealth::Exited);
        let own = expected("homestead", Some("clearwater-group"), ProgramHealth::Running);
        let seen = |state: &str| {
            parse_supervisorctl(&format!(
                "clearwater-infrastructure RUNNING pid 7, uptime 0:00:03\nclearwater-group:homestead {state} x\n"
            ))
        };
        assert_eq!(judge(&[chain, own], &seen("RUNNING")), []);
        let texts: Vec<_> = judge(&[chain, own], &seen("STOPPED")).into_iter().map(|t| t.text).collect();
        assert_eq!(texts[0], "program clearwater-infrastructure has not come to its end yet");
        assert_eq!(texts.len(), 2);
    }

    #[test]
    fn who_was_stopped_is_told_from_who_never_ran() {
        let own = [expected("homestead", Some("clearwater-group"), ProgramHealth::Running)];
        let is_stopped = |said: &str| {
            judge(&own, &parse_supervisorctl(&format!("clearwater-group:homestead {said}\n")))[0].is_stopped
        };
        assert!(is_stopped("STOPPED Nov 29 07:00 PM"));
        assert!(
            !is_stopped("STOPPED Not started")
                && !is_stopped("FATAL Exited too quickly")
                && !is_stopped("EXITED Nov 29 07:00 PM")
        );
    }

    #[test]
    fn a_program_that_ends_again_and_again_does_not_start_for_the_first_time() {
        let own = [expected("homestead", Some("clearwater-group"), ProgramHealth::Running)];
        let first = |answer: &str| judge(&own, &parse_answer(answer).unwrap())[0].is_first_start;
        let again = ANSWER.replace("BACKOFF", "STARTING");
        assert!(!first(&again));
        assert!(first(&again.replace("<int>1700000009</int>", "<int>0</int>")));
        // supervisorctl does not tell.
        let told = parse_supervisorctl("clearwater-group:homestead STARTING\n");
        assert!(!judge(&own, &told)[0].is_first_start);
    }

    proptest::proptest! {
        #[test]
        fn nothing_makes_the_readers_panic(text in ".{0,300}", cut in 0usize..ANSWER.len()) {
            let _ = parse_answer(&text);
            let _ = parse_supervisorctl(&text);
            if ANSWER.is_char_boundary(cut) {
                let _ = parse_answer(&ANSWER[..cut]);
            }
        }
    }
}
