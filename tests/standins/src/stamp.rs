//! Stamps: when PID 1 started, and when the component first could serve.

use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Parser;
use serde_json::json;

use crate::Exit;
use crate::place::{self, Settings};
use crate::poll::{Kind, ask};

/// What to stamp.
#[derive(Debug, Parser)]
pub(crate) struct Options {
    /// etcd, astaire, memcached, cassandra, chronos, homestead, homestead-prov, homer, ralf,
    /// sprout, bono or ellis.
    #[arg(long)]
    component: String,
    /// Only note now as the start of PID 1 (for its first program) and end.
    #[arg(long)]
    pid1: bool,
    /// Work in the background.
    #[arg(long)]
    pub(crate) detach: bool,
    /// The address to ask; the node's own when not given.
    #[arg(long)]
    ip: Option<IpAddr>,
    /// Milliseconds between questions.
    #[arg(long, default_value_t = 10)]
    every: u64,
}

/// Asks every 10 ms until the component's own answer is right, then writes the stamps.
pub(crate) async fn run(options: Options) -> Result<Exit> {
    let started = place::path("/run/standin/pid1_start_us");
    if options.pid1 {
        place::write_whole(&started, &place::now_us().to_string())?;
        return Ok(Exit(0));
    }
    let every = Duration::from_millis(options.every.max(1));
    let ip = loop {
        // local_config is written by the first program of the boot chain.
        match options.ip.map_or_else(|| Settings::load()?.local_ip(), Ok) {
            Ok(ip) => break ip,
            Err(_) => tokio::time::sleep(every).await,
        }
    };
    let questions = questions(&options.component, ip)?;
    let mut left = questions.as_slice();
    while let Some(((kind, address, path), rest)) = left.split_first() {
        // Each question is repeated until answered, then all are asked once more in a row.
        if ask(*kind, *address, path, Duration::from_secs(2)).await.is_ok() {
            left = rest;
        } else {
            left = &questions;
            tokio::time::sleep(every).await;
        }
    }
    let first_serve = place::now_us();
    let (pid1, source) = match std::fs::read_to_string(&started) {
        Ok(text) => (text.trim().parse().unwrap_or(0), "recorded"),
        Err(_) => (pid1_start_us()?, "proc"),
    };
    let normal = place::path("/run/standin/normal_us");
    let is_store = matches!(options.component.as_str(), "astaire" | "memcached" | "chronos" | "cassandra");
    let mut stamps = json!({
        "standin_stamp": options.component,
        "pid1_start_us": pid1,
        "pid1_start_source": source,
        "first_serve_us": first_serve,
    });
    // etcd has no group.
    if let Ok(text) = std::fs::read_to_string(place::path("/run/standin/group_start_us")) {
        stamps["group_start_us"] = json!(text.trim().parse::<u64>().unwrap_or(0));
    }
    write(&stamps)?;
    if is_store {
        while !normal.exists() {
            tokio::time::sleep(every).await;
        }
        let text = std::fs::read_to_string(&normal)?;
        stamps["normal_us"] = json!(text.trim().parse::<u64>().unwrap_or(0));
        write(&stamps)?;
    }
    Ok(Exit(0))
}

fn write(stamps: &serde_json::Value) -> Result<()> {
    let line = format!("{stamps}\n");
    place::write_whole(&place::path("/var/run/standin/stamps"), &line)?;
    // PID 1's stdout is what `kubectl logs` shows; elsewhere it is not ours.
    let out = std::env::var("STANDIN_STAMP_OUT").unwrap_or_else(|_| "/proc/1/fd/1".to_owned());
    if let Ok(mut pid1) = std::fs::OpenOptions::new().append(true).open(out) {
        let _ = pid1.write_all(line.as_bytes());
    }
    Ok(())
}

type Question = (Kind, SocketAddr, &'static str);

fn questions(component: &str, ip: IpAddr) -> Result<Vec<Question>> {
    let at = |kind, port| (kind, SocketAddr::new(ip, port), "/ping");
    let front = place::knob("STANDIN_BIND", IpAddr::V4(Ipv4Addr::LOCALHOST));
    let fronted = |port| vec![(Kind::Http, SocketAddr::new(front, port), "/ping")];
    Ok(match component {
        "etcd" => vec![at(Kind::Etcd, 4001), at(Kind::Etcd, 2379)],
        "astaire" => vec![at(Kind::Memcached, 11311)],
        "memcached" => vec![at(Kind::Memcached, 11211)],
        "cassandra" => vec![at(Kind::Tcp, 7000), at(Kind::Tcp, 9042), at(Kind::Tcp, 9160)],
        "chronos" => vec![at(Kind::Http, 7253)],
        "homestead" => vec![at(Kind::Http, 8888)],
        "ralf" => vec![at(Kind::Http, 10888)],
        "sprout" => vec![at(Kind::Http, 9888), at(Kind::Sip, 5052), at(Kind::Sip, 5054)],
        "bono" => vec![at(Kind::Sip, 5060), at(Kind::Stun, 3478)],
        "homestead-prov" => fronted(8889),
        "homer" => fronted(7888),
        "ellis" => fronted(80),
        other => bail!("no component {other}"),
    })
}

/// The start of PID 1 from the kernel; as fine as its clock tick (10 ms).
fn pid1_start_us() -> Result<u64> {
    let stat = std::fs::read_to_string("/proc/1/stat").context("cannot read /proc/1/stat")?;
    let after_name = stat.rsplit_once(')').context("/proc/1/stat has no name")?.1;
    let ticks: u64 = after_name.split_whitespace().nth(19).context("/proc/1/stat has no start time")?.parse()?;
    let boot = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let up_us = u64::try_from(boot.tv_sec)? * 1_000_000 + u64::try_from(boot.tv_nsec)? / 1000;
    let start_us = ticks * 1_000_000 / rustix::param::clock_ticks_per_second();
    Ok(place::now_us() - up_us + start_us)
}
