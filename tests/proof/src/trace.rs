//! What `trace --from` takes for a log of a million SIP messages.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::measured;
use xtask::build::built;
use xtask::steps::say;

const CALLS: u32 = 125_000;
/// Phones that the calls come from, each with an address of its own.
const PHONES: u32 = 8000;
/// What it may take.
const LIMIT: Duration = Duration::from_secs(20);
const MOST_MEMORY_MIB: u64 = 500;

const BONO: &str = "10.244.1.4:5058";
const SPROUT: &str = "10.244.1.9:5054";

pub(crate) fn run() -> Result<String> {
    let plugin = built("release")?;
    let dir = tempfile::tempdir()?;
    let log = dir.path().join("bono_current.txt");
    say(&format!("==> {CALLS} calls of 8 messages"));
    write_log(&log)?;
    let size = fs::metadata(&log)?.len() / 1_000_000;
    let call = call_id(CALLS / 2);
    let mut page = format!(
        "{CALLS} calls of 8 messages each, of {PHONES} phones, as bono writes them at level 5: one file of {size} MB. Each \
         row is a run of a release build by itself; the most memory is VmHWM.\n\n\
         | `trace --from FILE …` | wall (s) | processor (s) | memory (MiB) |\n|---|---|---|---|\n"
    );
    let mut late = Vec::new();
    for (words, arguments) in [("", &[][..]), ("--failed", &["--failed"]), ("CALL-ID", &[call.as_str()])] {
        say(&format!("==> trace {words}"));
        let out = dir.path().join("out");
        let mut command = Command::new(&plugin);
        command.args(["trace", "--from"]).arg(&log).args(arguments);
        command.stdin(Stdio::null()).stdout(File::create(&out)?).stderr(Stdio::null());
        let took = measured::run(&mut command, LIMIT * 6)?;
        let lines = fs::read_to_string(&out)?.lines().count();
        ensure!(words == "--failed" || lines >= 8, "{words}: {lines} lines");
        let (wall, memory) = (took.wall.as_secs_f64(), took.memory / 1024);
        writeln!(page, "| {words} | {wall:.1} | {:.1} | {memory} |", took.cpu)?;
        if took.wall > LIMIT || memory > MOST_MEMORY_MIB {
            late.push(format!("{words}: {wall:.1} s, {memory} MiB"));
        }
    }
    ensure!(late.is_empty(), "more than {LIMIT:?} or {MOST_MEMORY_MIB} MiB: {late:?}");
    Ok(page)
}

fn call_id(call: u32) -> String {
    format!("call{call:07}@{}", phone(call))
}

fn phone(call: u32) -> String {
    let number = call % PHONES;
    format!("192.0.{}.{}", 2 + number / 250, 1 + number % 250)
}

/// Each call: INVITE, 180, 200 and ACK, received and sent on.
fn write_log(path: &Path) -> Result<()> {
    let mut out = BufWriter::new(File::create(path).with_context(|| format!("cannot write {}", path.display()))?);
    for call in 0..CALLS {
        let peers = [format!("{}:5060", phone(call)), SPROUT.to_owned()];
        for (step, line) in ["INVITE sip:6505550001@ims.example SIP/2.0", "SIP/2.0 180 Ringing", "SIP/2.0 200 OK"]
            .into_iter()
            .chain(["ACK sip:6505550001@ims.example SIP/2.0"])
            .enumerate()
        {
            for sent in [false, true] {
                let at = (call * 8) + u32::try_from(step)? * 2 + u32::from(sent);
                write_message(&mut out, Message { call, at, line, sent, peers: &peers })?;
            }
        }
    }
    Ok(out.flush()?)
}

#[derive(Clone, Copy)]
struct Message<'a> {
    call: u32,
    /// Hundredths of a second since midnight.
    at: u32,
    line: &'a str,
    sent: bool,
    /// The phone, and sprout.
    peers: &'a [String; 2],
}

fn write_message(out: &mut impl std::io::Write, message: Message<'_>) -> Result<()> {
    let Message { call, at, line, sent, peers } = message;
    let is_response = line.starts_with("SIP/");
    // A request comes from the phone, a response from sprout.
    let peer = usize::from(sent != is_response);
    let method = if line.starts_with("ACK") { "ACK" } else { "INVITE" };
    let via = if peer == 0 { peers[0].as_str() } else { BONO };
    let tag = if is_response || method == "ACK" { format!(";tag=b{call}") } else { String::new() };
    let text = format!(
        "{line}\r\nVia: SIP/2.0/TCP {via};rport;branch=z9hG4bK{call}{peer}{method}\r\nMax-Forwards: 70\r\n\
         From: <sip:6505550000@ims.example>;tag=a{call}\r\nTo: <sip:6505550001@ims.example>{tag}\r\n\
         Call-ID: {}\r\nCSeq: 1 {method}\r\nContact: <sip:6505550000@{}>\r\nUser-Agent: phone/1.0\r\n\
         Subject: {:x<120}\r\nContent-Length: 0\r\n\r\n",
        call_id(call),
        peers[0],
        ""
    );
    let kind = if is_response {
        format!("Response msg {}/{method}/cseq=1", &line[8..11])
    } else {
        format!("Request msg {method}/cseq=1")
    };
    let (seconds, hundredths) = (at / 100, at % 100);
    writeln!(
        out,
        "27-11-2026 {:02}:{:02}:{:02}.{hundredths:02}0 UTC [7f6dc6ffd700] Verbose common_sip_processing.cpp:{}: {} {} bytes \
         {kind} ({}0x7f6dc00021d0) {} TCP {}:\n--start msg--\n\n{text}\n--end msg--",
        seconds / 3600 % 24,
        seconds / 60 % 60,
        seconds % 60,
        if sent { 93 } else { 77 },
        if sent { "TX" } else { "RX" },
        text.len(),
        if sent { "tdta" } else { "rdata" },
        if sent { "to" } else { "from" },
        peers[peer],
    )?;
    Ok(())
}
