//! Stand-ins for the programs inside the Clearwater images, in one binary.
//!
//! They keep the outside of the real programs (ports, codes, names, files, states, failures)
//! and nothing of their inside. `README.md` beside this crate lists each of them.

mod aor;
mod astaire;
mod astaire_client;
mod cassandra;
mod chronos;
mod cluster;
mod contact;
mod digest;
mod ellis;
mod front;
mod hep;
mod homestead;
mod log;
mod logpipe;
mod mmtel;
mod net;
mod notify;
mod place;
mod poll;
mod pool;
mod prov;
mod ralf;
mod ring;
mod rogers;
mod simservs;
mod sip_log;
mod sprout_http;
mod stamp;
mod store;
mod users;

use std::io::Write as _;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::{Command as Process, ExitCode, Stdio};

use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand};

/// A program's exit status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Exit(pub(crate) u8);

#[derive(Parser)]
#[command(name = "standin", about = "Stand-ins for the programs inside the Clearwater images")]
struct Cli {
    /// Folder that stands for the container's `/`.
    #[arg(long, env = "STANDIN_ROOT", global = true)]
    root: Option<PathBuf>,
    #[command(subcommand)]
    program: Program,
}

/// How a daemon is started.
#[derive(Args)]
struct Daemon {
    /// Start in the background and return.
    #[arg(long)]
    detach: bool,
    /// Write the process number here.
    #[arg(long)]
    pid_file: Option<PathBuf>,
}

#[derive(Subcommand)]
enum Program {
    /// The cluster manager: joins at once, leaves on SIGQUIT.
    ClusterAgent(Daemon),
    /// Cassandra: 7000, 9042, 9160.
    Cassandra(Daemon),
    /// astaire: copies data when the member list changes.
    Astaire(Daemon),
    /// rogers: the store's proxy on 11311.
    Rogers(Daemon),
    /// chronos: timers on 7253.
    Chronos(Daemon),
    /// homestead: 8888.
    Homestead(Daemon),
    /// homestead-prov, behind its front.
    HomesteadProv(Daemon),
    /// homer, behind its front.
    Homer(Daemon),
    /// ralf: 10888.
    Ralf(Daemon),
    /// Ellis, behind its front.
    Ellis(Daemon),
    /// sprout's HTTP side: 9888.
    SproutHttp(Daemon),
    /// nginx before homestead-prov (8889), homer (7888) or ellis (80).
    NginxFront {
        /// homestead-prov, homer or ellis.
        site: String,
    },
    /// Cassandra's tool; only `status`.
    Nodetool {
        /// What to show.
        #[arg(value_parser = ["status"])]
        what: String,
    },
    /// The text and status of `cw-check_cluster_state`.
    CheckClusterState,
    /// The text and status of `cw-mark_node_failed`.
    MarkNodeFailed {
        /// Such as `node_type_memcached`.
        node_type: String,
        /// Such as `memcached`.
        store: String,
        /// The dead member.
        ip: IpAddr,
    },
    /// Puts a member that does not exist into a store's map.
    StaleMember {
        /// memcached, chronos or cassandra.
        store: String,
        /// Its address.
        ip: IpAddr,
    },
    /// Notes when the component first could serve.
    Stamp(stamp::Options),
    /// Writes stdin into a component's log.
    Logpipe(logpipe::Options),
    /// Asks whether something answers.
    Poll(poll::Options),
    /// Writes many keys through a proxy, or looks whether they are there.
    Store(store::Options),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    if cli.root.is_some() && std::env::var_os("STANDIN_ROOT").is_none() {
        return again(cli.root.as_deref());
    }
    match start(cli.program) {
        Ok(Exit(code)) => ExitCode::from(code),
        Err(err) => {
            let _ = writeln!(std::io::stderr(), "standin: {err:#}");
            crate::log::write(crate::log::Level::Error, "main.cpp:1", &format!("{err:#}"));
            ExitCode::FAILURE
        }
    }
}

/// Starts itself anew with the root in the environment, where every part looks for it.
fn again(root: Option<&std::path::Path>) -> ExitCode {
    use std::os::unix::process::CommandExt as _;
    let Ok(me) = std::env::current_exe() else {
        return ExitCode::FAILURE;
    };
    let mut process = Process::new(me);
    process.args(std::env::args_os().skip(1));
    if let Some(root) = root {
        process.env("STANDIN_ROOT", root);
    }
    let err = process.exec();
    let _ = writeln!(std::io::stderr(), "standin: cannot start itself: {err}");
    ExitCode::FAILURE
}

fn start(program: Program) -> Result<Exit> {
    match program {
        Program::ClusterAgent(d) => {
            if Settings::load()?.cluster_key().is_empty() {
                anyhow::bail!("etcd_cluster_key is empty: nothing says which cluster this node is for");
            }
            daemon(&d, async { cluster::agent::run().await.map(|()| Exit(0)) })
        }
        Program::Cassandra(d) => {
            // Said in the foreground: the caller sees the line and the status.
            let there = place::path("/etc/cassandra/cassandra.yaml").exists();
            let d = if there { d } else { Daemon { detach: false, pid_file: None } };
            daemon(&d, async { cassandra::run().await.map(|()| Exit(0)) })
        }
        Program::Astaire(d) => daemon(&d, astaire::run()),
        Program::Rogers(d) => daemon(&d, rogers::run()),
        Program::Chronos(d) => daemon(&d, chronos::run()),
        Program::Homestead(d) => daemon(&d, homestead::run()),
        Program::HomesteadProv(d) => daemon(&d, prov::run()),
        Program::Homer(d) => daemon(&d, prov::run_homer()),
        Program::Ralf(d) => daemon(&d, ralf::run()),
        Program::Ellis(d) => daemon(&d, ellis::run()),
        Program::SproutHttp(d) => daemon(&d, sprout_http::run()),
        Program::NginxFront { site } => tool(async move { front::run(&site).await.map(|()| Exit(0)) }),
        Program::Nodetool { what: _ } => tool(async {
            let (text, code) = cassandra::nodetool_status().await?;
            print(&text)?;
            Ok(Exit(code))
        }),
        Program::CheckClusterState => tool(async {
            let outcome = cluster::tools::check_cluster_state().await?;
            print(&outcome.out)?;
            if !outcome.err.is_empty() {
                writeln!(std::io::stderr(), "{}", outcome.err)?;
            }
            Ok(Exit(outcome.code))
        }),
        Program::MarkNodeFailed { node_type, store, ip } => tool(async move {
            let say = |line: &str| print(&format!("{line}\n"));
            cluster::tools::mark_node_failed(&node_type, &store, ip, say).await.map(Exit)
        }),
        Program::StaleMember { store, ip } => tool(async move {
            cluster::tools::stale_member(&store, ip).await?;
            Ok(Exit(0))
        }),
        Program::Stamp(options) => {
            if options.detach {
                return detach(None);
            }
            tool(stamp::run(options))
        }
        Program::Logpipe(options) => logpipe::run(&options),
        Program::Poll(options) => tool(poll::run(options)),
        Program::Store(options) => tool(store::run(options)),
    }
}

use place::Settings;

fn print(text: &str) -> Result<()> {
    Ok(std::io::stdout().write_all(text.as_bytes())?)
}

fn tool(work: impl Future<Output = Result<Exit>>) -> Result<Exit> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the event loop")?
        .block_on(work)
}

fn daemon(options: &Daemon, work: impl Future<Output = Result<Exit>>) -> Result<Exit> {
    if options.detach {
        return detach(options.pid_file.as_deref());
    }
    if let Some(file) = &options.pid_file {
        place::write_whole(file, &format!("{}\n", std::process::id()))?;
    }
    tool(work)
}

/// Starts itself in the background, in a process group of its own, and returns.
fn detach(pid_file: Option<&std::path::Path>) -> Result<Exit> {
    use std::os::unix::process::CommandExt as _;
    let args = std::env::args_os().skip(1).filter(|a| a != "--detach");
    let child = Process::new(std::env::current_exe()?)
        .args(args)
        .stdin(Stdio::null())
        .process_group(0)
        .spawn()
        .context("cannot start in the background")?;
    if let Some(file) = pid_file {
        place::write_whole(file, &format!("{}\n", child.id()))?;
    }
    Ok(Exit(0))
}
