//! Many keys, written and read through rogers as Clearwater's components do.

use std::io::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Result, ensure};
use clap::{Parser, ValueEnum};

use crate::Exit;
use crate::net::binary::{Client, op};
use crate::net::memcached::Wrote;

/// What to do with the keys `PREFIX0` to `PREFIX(COUNT-1)`, each of which holds its own name.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Action {
    /// Write them.
    Fill,
    /// Print those that are not there or hold something else, looked for three times; status 1 where there are any.
    Check,
}

/// Which keys, and where.
#[derive(Debug, Parser)]
pub(crate) struct Options {
    action: Action,
    /// rogers' (or memcached's) address and port.
    address: SocketAddr,
    /// How the keys begin.
    prefix: String,
    /// How many.
    count: u32,
    /// Seconds that they live.
    #[arg(long, default_value_t = 3600)]
    expires: u32,
}

/// Runs the action.
pub(crate) async fn run(options: Options) -> Result<Exit> {
    let mut client = Client::connect(options.address, Duration::from_secs(5)).await?;
    let mut missing = 0;
    for number in 0..options.count {
        let key = format!("{}{number}", options.prefix);
        match options.action {
            Action::Fill => {
                let wrote = client.store(op::SET, &key, options.expires, key.as_bytes(), 0).await?;
                ensure!(wrote == Wrote::Done, "{key} was not stored: {wrote:?}");
            }
            Action::Check => {
                if !is_there(&mut client, &key).await? {
                    missing += 1;
                    writeln!(std::io::stdout(), "{key}")?;
                }
            }
        }
    }
    Ok(Exit(u8::from(missing > 0)))
}

/// Whether a key is there. rogers says that it is not, as the real one does, where one server has no copy and the other
/// does not answer in time: such a one is looked for again.
async fn is_there(client: &mut Client, key: &str) -> Result<bool> {
    for pause in [0, 500, 2000] {
        tokio::time::sleep(Duration::from_millis(pause)).await;
        if let Some(item) = client.get(key).await? {
            return Ok(item.data == key.as_bytes());
        }
    }
    Ok(false)
}
