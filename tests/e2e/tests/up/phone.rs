use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader, Read as _, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};
use clearwater_e2e::{Plugin, Ran, cluster};
use clearwater_testbed::Local;

use crate::{PATIENCE, small_file};

/// The value of a line of `up`'s end, as `  outbound proxy  10.244.1.9:5060   and what else is to say`.
fn line<'a>(said: &'a str, name: &str) -> Result<&'a str> {
    let found = said.lines().find_map(|line| line.strip_prefix("  ")?.strip_prefix(name)?.split_whitespace().next());
    found.with_context(|| format!("no line {name:?} in {said}"))
}

/// baresip's modules that need no device: a tone, a picture that moves, G.711 and VP8, and commands by its input.
const MODULES: &str = "module stdio.so\nmodule g711.so\nmodule ausine.so\nmodule vp8.so\nmodule fakevideo.so\n\
    module_tmp account.so\nmodule_app menu.so\naudio_source ausine,400\nausrc_srate 48000\nausrc_channels 2\n\
    video_source fakevideo,nil\nvideo_display fakevideo,nil\nvideo_size 352x288\nvideo_fps 25\n";

/// A baresip beside a node, which nobody here wrote, and what it has said so far.
struct Baresip {
    child: Child,
    out: BufReader<std::process::ChildStdout>,
    said: String,
}

impl Baresip {
    fn start(cluster: &Local, program: &Path, folder: &Path, account: &str) -> Result<Self> {
        let unpacked = program.ancestors().nth(2).context("it stands in no bin")?;
        let mut config = format!("module_path {}\n", unpacked.join("usr/lib/baresip/modules").display());
        config.write_str(MODULES)?;
        fs::write(folder.join("config"), config)?;
        fs::write(folder.join("accounts"), account)?;
        let mut command = cluster.beside_a_node("sh");
        command.args(["-c", "exec timeout 60 \"$@\" 2>&1", "sh"]).arg(program).args(["-4", "-f"]).arg(folder);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let out = BufReader::new(child.stdout.take().context("its output")?);
        Ok(Self { child, out, said: String::new() })
    }

    /// Reads on until a line says this.
    fn until(&mut self, words: &str) -> Result<()> {
        loop {
            let mut line = Vec::new();
            let read = self.out.read_until(b'\n', &mut line)?;
            let line = String::from_utf8_lossy(&line);
            self.said.push_str(&line);
            ensure!(read > 0, "it ended before {words:?}: {}", self.said);
            if line.contains(words) {
                return Ok(());
            }
        }
    }

    fn command(&mut self, words: &str) -> Result<()> {
        let input = self.child.stdin.as_mut().context("its input")?;
        Ok(writeln!(input, "{words}")?)
    }

    /// Ends it, and yields all that it said.
    fn quit(mut self) -> Result<String> {
        self.command("/quit")?;
        let mut rest = Vec::new();
        self.out.read_to_end(&mut rest)?;
        self.child.wait()?;
        self.said.push_str(&String::from_utf8_lossy(&rest));
        Ok(self.said)
    }
}

/// A subscriber's identity and password, as `subscriber create -o json` tells them.
fn made(ran: &Ran) -> Result<Vec<(String, String)>> {
    let made: serde_json::Value = serde_json::from_str(&ran.out).with_context(|| ran.said())?;
    let text = |of: &serde_json::Value, key: &str| of[key].as_str().map(str::to_owned).context("no text");
    let all = made["subscribers"].as_array().with_context(|| ran.said())?;
    all.iter().map(|one| Ok((text(one, "publicIdentity")?, text(one, "password")?))).collect()
}

/// baresip is told what `up` ends with and the password that Ellis shows, and nothing else. It registers, and calls the phone of
/// clearwater-sip, voice and video, through bono.
#[test]
#[ignore = "needs cluster (creates a namespace)"]
fn a_phone_that_is_not_ours_registers_by_the_last_lines_alone_and_calls_ours() -> Result<()> {
    let Some(baresip) = std::env::var_os("CLEARWATER_BARESIP") else {
        println!("not tried: CLEARWATER_BARESIP names no baresip");
        return Ok(());
    };
    let cluster = cluster();
    let namespace = cluster.namespace("e2e-phone")?;
    let plugin = Plugin::new(cluster, namespace.name())?;
    let path = small_file("keys: upstream\n")?;
    let said = plugin.run_within(PATIENCE, &["up", "--yes", "-f", &path])?.expect(0)?.out;
    let (user, domain, proxy) = (line(&said, "user")?, line(&said, "domain")?, line(&said, "outbound proxy")?);
    let (transport, name) = (line(&said, "transport")?.to_lowercase(), line(&said, "auth name")?);
    let made = made(&plugin.run(&["subscriber", "create", "--count", "2", "-o", "json"])?.expect(0)?)?;
    let [(caller, password), (answerer, own_password)] = made.as_slice() else { anyhow::bail!("{made:?}") };
    ensure!(*caller == format!("sip:{user}@{domain}"), "{caller} is not {user} of {domain}");

    let folder = tempfile::tempdir()?;
    let own = folder.path().join("own-password");
    fs::write(&own, own_password)?;
    let answer = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/debug/examples/answer");
    let mut ours: Command = cluster.local()?.beside_a_node("timeout");
    let mut ours = ours.arg("60").arg(answer).arg(answerer).arg(&own).arg(proxy).stdout(Stdio::piped()).spawn()?;
    let mut heard = BufReader::new(ours.stdout.take().context("its output")?);
    let mut first = String::new();
    heard.read_line(&mut first)?;
    ensure!(first == "registered\n", "{first:?}");

    let account = format!(
        "<{caller};transport={transport}>;auth_user={name};auth_pass={password};\
         outbound=\"sip:{proxy};transport={transport}\";regint=60\n"
    );
    let mut theirs = Baresip::start(cluster.local()?, Path::new(&baresip), folder.path(), &account)?;
    theirs.until("200 OK")?;
    theirs.command(&format!("/dial {answerer}"))?;
    let mut rest = String::new();
    heard.read_to_string(&mut rest)?;
    let said = theirs.quit()?;
    ensure!(ours.wait()?.success(), "{rest}\n{said}");
    let count = |kind: &str| -> Result<u32> {
        let line = rest.lines().find_map(|line| line.strip_prefix(kind)?.strip_suffix(" packets came"));
        Ok(line.with_context(|| rest.clone())?.parse()?)
    };
    // Three seconds of each: 150 packets of voice, and pictures, of which baresip makes 25 a second.
    let (audio, video) = (count("audio: ")?, count("video: ")?);
    ensure!(audio >= 140 && video >= 60 && rest.contains(&format!("called by {caller}")), "{rest}\n{said}");
    for kind in ["audio", "video"] {
        ensure!(said.contains(&format!("incoming rtp for '{kind}' established")), "{kind}: {said}");
    }
    Ok(())
}
