//! containerd: images in, and what it leaves behind out.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::host::{Attempt, output, wait_for};
use crate::image::Archive;
use crate::layout::Layout;

/// `ctr` in the name space that the kubelet's images are in.
pub(crate) fn ctr(socket: &Path) -> Command {
    let mut command = Command::new("ctr");
    command.arg("--address").arg(socket).args(["--namespace", "k8s.io"]);
    command
}

pub(crate) fn await_answer(socket: &Path, limit: Duration) -> Result<()> {
    wait_for("containerd to answer", limit, || {
        // Without this look ctr itself waits ten seconds for a socket that is not there yet.
        if !socket.exists() {
            return Ok(Attempt::not_yet(format!("there is no socket {}", socket.display())));
        }
        Ok(match output(ctr(socket).args(["--connect-timeout", "2s", "version"])) {
            Ok(_) => Attempt::Done(()),
            Err(error) => Attempt::not_yet(format!("{error:#}")),
        })
    })
}

/// Imports those of the archive's images that the node lacks, by their digests; layers that the node has are not sent again.
pub(crate) fn import(socket: &Path, archive: &Archive) -> Result<()> {
    let listed = output(ctr(socket).args(["images", "list"]))?;
    let present = |name: &str, digest: &str| {
        listed.lines().any(|line| {
            let mut words = line.split_whitespace();
            words.next() == Some(name) && words.any(|word| word == digest)
        })
    };
    let mut missing = archive.clone();
    missing.images.retain(|(name, digest)| !present(name, digest));
    if missing.images.is_empty() {
        return Ok(());
    }
    let blobs = output(ctr(socket).args(["content", "list", "--quiet"]))?;
    let blobs: BTreeSet<&str> = blobs.lines().filter_map(|line| line.strip_prefix("sha256:")).collect();
    if blobs.is_empty() || send(socket, &missing, &blobs).is_err() {
        send(socket, &missing, &BTreeSet::new())
            .with_context(|| format!("cannot import {}", archive.path.display()))?;
    }
    Ok(())
}

fn send(socket: &Path, archive: &Archive, known: &BTreeSet<&str>) -> Result<()> {
    let mut child = ctr(socket)
        .args(["images", "import", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot run ctr")?;
    let copied = child
        .stdin
        .take()
        .context("ctr has no standard input")
        .and_then(|input| archive.copy(BufWriter::with_capacity(1 << 20, input), known));
    let ended = child.wait_with_output().context("cannot wait for ctr")?;
    ensure!(
        ended.status.success(),
        "`ctr images import` ended with {}: {}",
        ended.status,
        String::from_utf8_lossy(&ended.stderr).trim()
    );
    copied
}

/// Sockets of the containers' shims; containerd puts them beside its default state whatever its configuration says.
pub(crate) fn shim_sockets(layout: &Layout) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for node in crate::net::NODES {
        let tasks = layout.node_run(node).join("containerd/io.containerd.runtime.v2.task/k8s.io");
        let Ok(entries) = fs::read_dir(&tasks) else {
            continue;
        };
        for entry in entries {
            let address = fs::read_to_string(entry?.path().join("address")).unwrap_or_default();
            found.extend(address.trim().strip_prefix("unix://").map(PathBuf::from));
        }
    }
    Ok(found)
}

pub(crate) fn remove_shim_sockets(sockets: &[PathBuf]) {
    for socket in sockets {
        let _ = fs::remove_file(socket);
    }
    // Only where they are empty: another containerd may use them.
    let _ = fs::remove_dir("/run/containerd/s");
    let _ = fs::remove_dir("/run/containerd");
}

/// Forgets the containers of a node that is no more and keeps its images.
///
/// A containerd without the kubelet's interface does it, so that none of them is looked after meanwhile.
pub(crate) fn sweep(layout: &Layout, node: u8) -> Result<()> {
    let directory = layout.node_run(node).join("sweep");
    fs::create_dir_all(&directory).with_context(|| format!("cannot create {}", directory.display()))?;
    let socket = directory.join("containerd.sock");
    let config = directory.join("config.toml");
    let quoted = |path: &Path| serde_json::Value::from(path.display().to_string()).to_string();
    let text = format!(
        "version = 2\nroot = {}\nstate = {}\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n\n[grpc]\n  address = {}\n\n\
         [plugins.\"io.containerd.internal.v1.opt\"]\n  path = {}\n",
        quoted(&layout.node_images(node)),
        quoted(&directory.join("state")),
        quoted(&socket),
        quoted(&layout.node_images(node).join("opt")),
    );
    fs::write(&config, text).with_context(|| format!("cannot write {}", config.display()))?;
    let log = File::create(directory.join("log"))?;
    let mut child = Command::new("containerd")
        .arg("--config")
        .arg(&config)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .context("cannot run containerd")?;
    let swept = await_answer(&socket, Duration::from_secs(20)).and_then(|()| remove_containers(&socket));
    let _ = child.kill();
    child.wait().context("cannot wait for containerd")?;
    swept
}

fn remove_containers(socket: &Path) -> Result<()> {
    let listed = output(ctr(socket).args(["containers", "list", "--quiet"]))?;
    let containers: Vec<&str> = listed.lines().filter(|line| !line.is_empty()).collect();
    if !containers.is_empty() {
        output(ctr(socket).args(["containers", "remove"]).args(&containers))?;
    }
    Ok(())
}
