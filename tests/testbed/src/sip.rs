//! Softphones: `sipp` in a pod of the tools image, which holds the scenarios of `tests/sip`.
//!
//! ```no_run
//! use clearwater_testbed::sip::{Phone, Transport};
//! # fn main() -> anyhow::Result<()> {
//! # let cluster = clearwater_testbed::Local::open("cw")?;
//! let kubectl = cluster.kubectl().in_namespace("ims");
//! let phone = Phone::start(&kubectl)?;
//! let users = phone.provision("ellis", 2)?;
//! for transport in [Transport::Tcp, Transport::Udp] {
//!     phone.exercise("bono", &users[0], &users[1], transport)?.check()?;
//! }
//! # Ok(()) }
//! ```

use std::fmt::{self, Write as _};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::Kubectl;

/// The image with `sipp`, `dig` and `curl`.
pub const TOOLS_IMAGE: &str = "localhost/clearwater-tools:1";

/// Where the tools image keeps the scenarios.
const SCENARIOS: &str = "/usr/share/clearwater-sip";

/// How SIP travels between the phone and bono.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// One connection for all messages.
    Tcp,
    /// Datagrams.
    Udp,
}

impl Transport {
    /// sipp's name for it: one socket for all calls.
    fn option(self) -> &'static str {
        match self {
            Self::Tcp => "t1",
            Self::Udp => "u1",
        }
    }
}

/// A user as Ellis hands it out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscriber {
    /// Public identity, `sip:6505550000@…`.
    pub uri: String,
    /// Private identity, the user name of digest authentication.
    pub private_id: String,
    /// The password.
    pub password: String,
}

impl Subscriber {
    /// The part after the `@`.
    pub fn domain(&self) -> &str {
        self.uri.split_once('@').map_or("", |(_, domain)| domain)
    }

    /// A line of sipp's injection file, towards `peer`.
    fn line(&self, peer: &Self) -> String {
        format!(
            "SEQUENTIAL\n{};[authentication username={} password={}];{}\n",
            self.uri, self.private_id, self.password, peer.uri
        )
    }
}

/// How one scenario ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Every message came as the scenario has it.
    Done,
    /// A reply ended it early.
    Refused {
        /// SIP status code.
        status: u16,
        /// The text after the code.
        reason: String,
    },
    /// Nothing came, or sipp could not work; its own words.
    Failed(String),
}

impl Outcome {
    fn read(code: i32, errors: &str) -> Self {
        if code == 0 {
            return Self::Done;
        }
        let refused = errors.lines().filter(|line| line.contains("unexpected message")).find_map(|line| {
            let (_, reply) = line.split_once("received 'SIP/2.0 ")?;
            let (status, reason) = reply.split_once(' ')?;
            Some((status.parse().ok()?, reason.trim_end_matches('\'').to_owned()))
        });
        match refused {
            Some((status, reason)) => Self::Refused { status, reason },
            None if code == 124 => Self::Failed("no answer in time".to_owned()),
            None => Self::Failed(format!("sipp ended with {code}: {}", errors.trim())),
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done => out.write_str("done"),
            Self::Refused { status, reason } => write!(out, "refused with {status} {reason}"),
            Self::Failed(why) => write!(out, "failed: {why}"),
        }
    }
}

/// How the steps of [`Phone::exercise`] ended, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// `callee`, `register`, `message`, `call`.
    pub steps: Vec<(String, Outcome)>,
}

impl Report {
    /// How a step ended.
    pub fn step(&self, name: &str) -> Option<&Outcome> {
        self.steps.iter().find(|(step, _)| step == name).map(|(_, outcome)| outcome)
    }

    /// An error that names every step that is not done.
    pub fn check(&self) -> Result<()> {
        let mut wrong = String::new();
        for (step, outcome) in &self.steps {
            if *outcome != Outcome::Done {
                let _ = write!(wrong, "\n  {step}: {outcome}");
            }
        }
        ensure!(wrong.is_empty(), "the phones did not get through:{wrong}");
        Ok(())
    }
}

/// A pod with softphones.
#[derive(Clone, Debug)]
pub struct Phone {
    kubectl: Kubectl,
    pod: String,
}

impl Phone {
    /// Starts the pod `phone` in kubectl's namespace, or takes the one that runs, and waits until it is ready.
    pub fn start(kubectl: &Kubectl) -> Result<Self> {
        let pod = "phone".to_owned();
        let object = serde_json::json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": pod, "labels": {"app": "phone"}},
            "spec": {
                "enableServiceLinks": false,
                "terminationGracePeriodSeconds": 1,
                "containers": [{"name": "phone", "image": TOOLS_IMAGE, "imagePullPolicy": "IfNotPresent"}],
            },
        });
        kubectl.apply(&object.to_string())?;
        kubectl.run(["wait", "--for=condition=Ready", "--timeout=60s", "pod", &pod])?;
        Ok(Self { kubectl: kubectl.clone(), pod })
    }

    /// Runs a bash script in the pod; its standard output.
    pub fn script(&self, text: &str) -> Result<String> {
        self.kubectl.run_with_input(["exec", "--stdin", &self.pod, "--", "bash", "-s"], text)
    }

    /// Creates an account and `count` numbers at the Ellis with this host name, as a browser does.
    pub fn provision(&self, ellis: &str, count: usize) -> Result<Vec<Subscriber>> {
        let account = format!("phone-{}@example.com", std::process::id());
        let ask = format!(
            "ask() {{ curl --silent --show-error --max-time 20 --cookie jar --cookie-jar jar --write-out '\\n%{{http_code}}\\n' \"$@\"; }}\n\
             cd \"$(mktemp -d)\"\n\
             ask --data 'email={account}&password=secret1&full_name=Phone&signup_code=secret' http://{ellis}/accounts/\n\
             ask --data 'email={account}&password=secret1' http://{ellis}/session/\n"
        );
        let mut script = ask;
        for _ in 0..count {
            let _ = writeln!(
                script,
                "ask --request POST --data 'pstn=false&private_id=' http://{ellis}/accounts/{account}/numbers/"
            );
        }
        let output = self.script(&script)?;
        let mut found = Vec::new();
        for line in output.lines().filter(|line| line.starts_with('{')) {
            let answer: Value = serde_json::from_str(line).context("Ellis answered no JSON")?;
            let text = |key: &str| answer[key].as_str().map(str::to_owned);
            if let (Some(uri), Some(private_id), Some(password)) =
                (text("sip_uri"), text("private_id"), text("sip_password"))
            {
                found.push(Subscriber { uri, private_id, password });
            }
        }
        if found.len() != count {
            bail!("Ellis gave {} of {count} numbers; it answered:\n{output}", found.len());
        }
        Ok(found)
    }

    /// Registers both users through `bono` (a host name or address), sends a message and makes a call
    /// from one to the other.
    ///
    /// Steps after one that failed are tried all the same: what they answer is part of the picture. Both users are
    /// deregistered at the end, or the next call would ring the phones that are gone as well.
    pub fn exercise(&self, bono: &str, from: &Subscriber, to: &Subscriber, transport: Transport) -> Result<Report> {
        let mut script = prologue(bono, from, to, transport);
        script.push_str(
            "answer\n\
             for step in register message call; do caller $step; done\n\
             hang_up\n\
             (ring away-callee 0 -p 5080 -inf callee.csv -sf $S/register.xml)\n\
             (ring away-caller 0 -p 5070 -inf caller.csv -sf $S/register.xml)\n\
             exit 0\n",
        );
        Report::read(&self.script(&script)?)
    }

    /// Registers both users and leaves the called one's phone answering for two minutes, so that something can be done
    /// to the deployment before [`Self::talk`].
    pub fn register(&self, bono: &str, from: &Subscriber, to: &Subscriber, transport: Transport) -> Result<Report> {
        let mut script = prologue(bono, from, to, transport);
        script.push_str("answer\ncaller register\nexit 0\n");
        Report::read(&self.script(&script)?)
    }

    /// A message and a call between users that [`Self::register`] has registered.
    pub fn talk(&self, bono: &str, from: &Subscriber, to: &Subscriber, transport: Transport) -> Result<Report> {
        let mut script = prologue(bono, from, to, transport);
        script.push_str("for step in message call; do caller $step; done\nexit 0\n");
        Report::read(&self.script(&script)?)
    }

    /// Begins a call of `seconds` between users that [`Self::register`] has registered, and comes back while it goes on:
    /// [`Self::hung_up`] tells how it ended. One call at a time.
    pub fn dial(
        &self,
        bono: &str,
        from: &Subscriber,
        to: &Subscriber,
        transport: Transport,
        seconds: u32,
    ) -> Result<()> {
        let mut script = prologue(bono, from, to, transport);
        let _ = writeln!(
            script,
            "echo \"$PWD\" > /tmp/dialled\n\
             over call; sed 's/pause milliseconds=\"300\"/pause milliseconds=\"{}\"/' call.xml > long.xml\n\
             ((ring long 300 -p 5072 -inf caller.csv -sf long.xml -trace_msg -message_file long.msg); echo $? > long.code) \
             > /dev/null 2>&1 < /dev/null &\n\
             for i in $(seq 100); do grep -qs '^ACK ' long.msg && break; [ -e long.code ] && break; sleep 0.1; done\n\
             if grep -qs '^ACK ' long.msg; then echo established; else cat long.err long.out; fi\n\
             exit 0",
            u64::from(seconds) * 1000,
        );
        let said = self.script(&script)?;
        ensure!(said.contains("established"), "the call was not established: {said}");
        Ok(())
    }

    /// How the call of [`Self::dial`] ended, once it has: `Done` where its BYE was answered, too.
    pub fn hung_up(&self) -> Result<Outcome> {
        let said = self.script(
            "read -r place < /tmp/dialled; cd \"$place\"\n\
             for i in $(seq 1300); do [ -s long.code ] && break; sleep 0.1; done\n\
             printf '\\nSTEP long %s\\n' \"$(cat long.code || echo 124)\"; cat long.err 2> /dev/null; exit 0\n",
        )?;
        let report = Report::read(&said)?;
        report.step("long").cloned().context("the call left nothing behind")
    }

    /// Begins `rate` calls a second, for so many seconds, between users that [`Self::register`] has registered, and comes
    /// back while they go on: [`Self::calls`] counts them. One load at a time; the called phone answers for 100 seconds.
    pub fn load(
        &self,
        bono: &str,
        from: &Subscriber,
        to: &Subscriber,
        transport: Transport,
        rate: u32,
        seconds: u32,
    ) -> Result<()> {
        let mut script = prologue(bono, from, to, transport);
        let _ = writeln!(
            script,
            "echo \"$PWD\" > /tmp/loaded; over call\n\
             ((ring load 300 -p 5074 -inf caller.csv -sf call.xml -r {rate} -l 100 -m {} -trace_stat -stf load.stat -fd 1) \
             ; echo $? > load.code) > /dev/null 2>&1 < /dev/null &\n\
             for i in $(seq 100); do [ -s load.stat ] && exit 0; sleep 0.1; done\n\
             cat load.err load.out; exit 1",
            rate * seconds,
        );
        self.script(&script).map(drop)
    }

    /// The calls of [`Self::load`] so far.
    pub fn calls(&self) -> Result<Calls> {
        let said = self.script(
            "read -r place < /tmp/loaded; cd \"$place\"\n\
             awk -F ';' 'NR == 1 {for (i = 1; i <= NF; i++) n[$i] = i} \
             END {print $n[\"SuccessfulCall(C)\"], $n[\"FailedCall(C)\"]}' load.stat\n\
             cat load.code 2> /dev/null; exit 0\n",
        )?;
        let mut numbers = said.split_whitespace().map(str::parse);
        let (Some(Ok(done)), Some(Ok(failed))) = (numbers.next(), numbers.next()) else {
            bail!("sipp left no figures: {said}");
        };
        Ok(Calls { done, failed, over: numbers.next().is_some() })
    }
}

/// How far a load is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Calls {
    /// Calls that came to their end.
    pub done: u32,
    /// Calls that did not.
    pub failed: u32,
    /// Whether no more will be made.
    pub over: bool,
}

/// Bash functions for the steps: `answer` starts the called side, `caller STEP` runs one of the calling side, `hang_up`
/// ends the called side. bono lets send who registered over the same flow: of TCP that is the connection, so each step
/// registers first over its own, by the scenario that `over STEP` writes; of UDP it is the port.
fn prologue(bono: &str, from: &Subscriber, to: &Subscriber, transport: Transport) -> String {
    format!(
        "cd \"$(mktemp -d)\"\n\
         printf '%s' '{caller_line}' > caller.csv\n\
         printf '%s' '{callee_line}' > callee.csv\n\
         own=$(hostname -I | cut -d ' ' -f 1)\n\
         target=$(getent ahostsv4 '{bono}' | sed -n '1s/ .*//p')\n\
         S={SCENARIOS}\n\
         ring() {{\n\
           local name=$1 expires=$2; shift 2\n\
           exec timeout 120 sipp \"$target:5060\" -i \"$own\" -t {transport} -m 1 -nostdin -recv_timeout 8000 \\\n\
             -key domain '{domain}' -key expires \"$expires\" -trace_err -error_file \"$name.err\" \"$@\" > \"$name.out\" 2>&1\n\
         }}\n\
         show() {{\n\
           printf '\\nSTEP %s %s\\n' \"$1\" \"$2\"\n\
           cat \"$1.err\" 2> /dev/null; [ -s \"$1.err\" ] || tail -n 3 \"$1.out\"\n\
         }}\n\
         registered() {{ grep -qs registered callee.log; }}\n\
         answer() {{\n\
           ring callee 300 -p 5080 -inf callee.csv -sf $S/callee.xml -oocsf $S/answer.xml -d 100000 -recv_timeout 110000 \\\n\
             -trace_logs -log_file callee.log < /dev/null &\n\
           callee=$!\n\
           local waited=0\n\
           until registered || ! kill -0 $callee 2> /dev/null || [ $waited -ge 100 ]; do sleep 0.1; waited=$((waited + 1)); done\n\
           if registered; then show callee 0; else kill $callee; wait $callee; show callee $?; fi 2> /dev/null\n\
         }}\n\
         over() {{\n\
           {{ sed 's,</scenario>,,; s,^Call-ID: ,&over///,' $S/register.xml; sed '1,/^<scenario/d' $S/$1.xml; }} > $1.xml\n\
         }}\n\
         caller() {{\n\
           local scenario=$S/$1.xml\n\
           [ {transport} != t1 ] || [ $1 = register ] || {{ over $1; scenario=$1.xml; }}\n\
           (ring $1 300 -p 5070 -inf caller.csv -sf $scenario); show $1 $?\n\
         }}\n\
         hang_up() {{ kill $callee; wait $callee; }} 2> /dev/null\n",
        caller_line = from.line(to),
        callee_line = to.line(from),
        transport = transport.option(),
        domain = from.domain(),
    )
}

impl Report {
    fn read(output: &str) -> Result<Self> {
        let mut steps: Vec<(String, i32, String)> = Vec::new();
        for line in output.lines() {
            if let Some((name, code)) = line.strip_prefix("STEP ").and_then(|rest| rest.split_once(' ')) {
                let code = code.parse().context("sipp's exit status")?;
                steps.push((name.to_owned(), code, String::new()));
            } else if let Some((_, _, errors)) = steps.last_mut() {
                let _ = writeln!(errors, "{line}");
            }
        }
        ensure!(!steps.is_empty(), "the phone's pod ran no step:\n{output}");
        let read = |(name, code, errors): (String, i32, String)| (name, Outcome::read(code, &errors));
        Ok(Self { steps: steps.into_iter().map(read).collect() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_that_ends_a_scenario_is_read_from_sipps_errors() {
        let errors = "The following events occurred:\n2026-11-23\t01:30:27.683952\t1795397427.683952: Aborting call on \
                      unexpected message for Call-Id '1-30201@10.9.0.4': while expecting '100' (index 4), received \
                      'SIP/2.0 403 Forbidden\nVia: SIP/2.0/TCP 10.9.0.4:5070\n";
        assert_eq!(Outcome::read(1, errors), Outcome::Refused { status: 403, reason: "Forbidden".into() });
        assert_eq!(Outcome::read(0, errors), Outcome::Done);
        assert_eq!(Outcome::read(124, ""), Outcome::Failed("no answer in time".into()));
    }

    #[test]
    fn a_report_names_the_steps_that_failed() {
        let report = Report {
            steps: vec![
                ("register".into(), Outcome::Done),
                ("call".into(), Outcome::Refused { status: 480, reason: "Temporarily Unavailable".into() }),
            ],
        };
        let error = report.check().unwrap_err().to_string();
        assert!(error.contains("call: refused with 480"), "{error}");
        assert!(!error.contains("register"), "{error}");
    }
}
