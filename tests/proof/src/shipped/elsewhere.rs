use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use clearwater_e2e::cluster;
use tempfile::TempDir;
use xtask::build::Shipped;
use xtask::release::{self, name_of, published};
use xtask::tools::emulator;

use super::debian::Debian;
use crate::common::said;

const ARM64: &str = "aarch64-unknown-linux-musl";
const WINDOWS: &str = "x86_64-pc-windows-gnu";
/// Wine without what is for pictures and for Windows of 32 bits.
const WINE: &str = "wine,wine64";

/// What needs no cluster, and is the same wherever the program runs.
const ALIKE: [&[&str]; 4] = [
    &["version"],
    &["init", "-o", "-"],
    &["render", "-n", "ims", "--set", "keys.secret=mine"],
    &["graph", "--format", "mermaid"],
];

/// What is built for another machine than this one, and what starts it here.
struct Elsewhere {
    /// What plays the machine.
    by: &'static str,
    target: &'static str,
    player: Player,
}

enum Player {
    /// qemu, and the folder that the archive was unpacked into.
    Emulator(PathBuf, TempDir),
    /// Wine in a Debian of its own.
    Wine(Debian),
}

impl Elsewhere {
    fn arm64() -> Result<Self> {
        release::make(ARM64)?;
        let qemu = emulator("aarch64")?.context("this is an arm64 itself")?;
        let folder = tempfile::tempdir()?;
        said(Command::new("tar").args(["-xzf"]).arg(archive(ARM64)).arg("-C").arg(folder.path()))?;
        Ok(Self { by: "arm64, by qemu", target: ARM64, player: Player::Emulator(qemu, folder) })
    }

    fn windows(kubeconfig: &Path) -> Result<Self> {
        release::make(WINDOWS)?;
        let debian = Debian::with(&format!("{WINE},unzip"))?;
        fs::copy(archive(WINDOWS), debian.within("root/archive.zip"))?;
        debian.said(&["unzip", "-q", "/root/archive.zip", "-d", "/root"])?;
        fs::copy(kubeconfig, debian.within("root/config"))?;
        Ok(Self { by: "Windows, by Wine", target: WINDOWS, player: Player::Wine(debian) })
    }

    /// The program with these words.
    fn command(&self, kubeconfig: &Path, words: &[&str]) -> Command {
        match &self.player {
            Player::Emulator(qemu, folder) => {
                let mut command = Command::new(qemu);
                command.arg(folder.path().join(name_of(self.target)).join("kubectl-clearwater")).args(words);
                command.env("KUBECONFIG", kubeconfig);
                command
            }
            Player::Wine(debian) => {
                let program = format!("/root/{}/kubectl-clearwater.exe", name_of(self.target));
                let mut command = debian.command(&[&["wine", &program], words].concat());
                command.env("WINEDEBUG", "-all").env("WINEDLLOVERRIDES", "mscoree,mshtml=");
                command.env("KUBECONFIG", r"Z:\root\config").env("USERPROFILE", r"Z:\root");
                command
            }
        }
    }
}

fn archive(target: &str) -> PathBuf {
    published().join(release::archive_of(target))
}

/// Programs for arm64 and for Windows say what this machine's says, and work on the test cluster.
pub(super) fn tried(own: &Shipped) -> Result<String> {
    let cluster = cluster();
    let kubeconfig = cluster.local()?.layout().kubeconfig();
    let namespace = cluster.namespace("e2e-prove-elsewhere")?;
    let mut page = "| where | what | result |\n|---|---|---|\n".to_owned();
    for elsewhere in [Elsewhere::arm64()?, Elsewhere::windows(&kubeconfig)?] {
        let Elsewhere { by, target, .. } = elsewhere;
        let size = fs::metadata(archive(target))?.len();
        writeln!(page, "| {by} | the archive, in bytes | {size} |")?;
        for words in ALIKE {
            let told = said(&mut elsewhere.command(&kubeconfig, words))?;
            ensure!(told == said(Command::new(&own.program).args(words))?, "{by}: {words:?} says {told}");
            writeln!(page, "| {by} | `{}` | the same bytes as on this machine: {} |", words.join(" "), told.len())?;
        }
        // The second finds what the first made.
        for words in [
            &["up", "--yes", "--set", "keys=upstream"][..],
            &["status"],
            &["check"],
            &["logs", "sprout", "--no-follow", "--tail", "1"],
            &["test", "--only", "call"],
        ] {
            let began = Instant::now();
            let words = [words, &["-n", namespace.name()]].concat();
            let output = elsewhere.command(&kubeconfig, &words).output()?;
            let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
            ensure!(output.status.success(), "{by}: {words:?}: {}\n{out}{err}", output.status);
            let all = format!("{err}{out}");
            let last = all.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default().trim();
            let words = words[..words.len() - 2].join(" ");
            writeln!(page, "| {by} | `{words}` | {:.1} s: {last} |", began.elapsed().as_secs_f64())?;
        }
    }
    Ok(page)
}
