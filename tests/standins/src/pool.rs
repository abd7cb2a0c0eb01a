//! bono's connection to the upstream proxy (sprout `src/sip_connection_pool.cpp`): asked for by name each second while it
//! cannot be made, and made anew after ten minutes. And why a name was not found, which Kamailio does not tell.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::sync::mpsc::UnboundedReceiver;

use crate::log::log;
use crate::net::dns::{Ares, split_port};
use crate::place::Settings;

const RECYCLE: Duration = Duration::from_secs(600);
const RETRY: Duration = Duration::from_secs(1);
const CONNECT: Duration = Duration::from_secs(2);
/// What a line about a name that was not found begins with.
pub(crate) const NOT_FOUND: &str = "Failed to retrieve record for ";

/// Keeps the connection for ever, and logs of each name that comes why it is not found.
pub(crate) fn keep(settings: &Settings, target: &str, names: UnboundedReceiver<String>) {
    let (host, port) = split_port(target, 5052);
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
        log!(Error, "sip_connection_pool.cpp:90", "No connection to {target}: cannot start the event loop");
        return;
    };
    runtime.block_on(async {
        let ares = Arc::new(Ares::new(settings));
        tokio::spawn(explain(ares.clone(), names));
        log!(Status, "sip_connection_pool.cpp:47", "Creating connection pool to {host}:{port}");
        log!(Status, "sip_connection_pool.cpp:48", "  connections = 1, recycle time = {} seconds", RECYCLE.as_secs());
        loop {
            match ares.targets(&host, port).await {
                Ok(addresses) => {
                    for address in addresses {
                        if let Ok(Ok(stream)) = tokio::time::timeout(CONNECT, TcpStream::connect(address)).await {
                            hold(stream).await;
                            break;
                        }
                        log!(Debug, "sip_connection_pool.cpp:341", "Transport to {address} has failed");
                    }
                }
                Err(_) => log!(
                    Error,
                    "sip_connection_pool.cpp:188",
                    "Failed to resolve {host} to an IP address - Not found (PJ_ENOTFOUND)"
                ),
            }
            tokio::time::sleep(RETRY).await;
        }
    });
}

/// Kamailio says of each name that it does not find the same. The resolver logs its own words; where it finds the name by
/// then, Kamailio's stand.
async fn explain(ares: Arc<Ares>, mut names: UnboundedReceiver<String>) {
    while let Some(name) = names.recv().await {
        if ares.resolve(&name).await.is_ok() {
            log!(Warning, "dnscachedresolver.cpp:698", "{NOT_FOUND}{name}: Domain name not found");
        }
    }
}

/// Until the other side closes, or for the time after which a connection is made anew.
async fn hold(mut stream: TcpStream) {
    let mut buffer = [0u8; 64];
    let closed = async { while matches!(stream.read(&mut buffer).await, Ok(length) if length > 0) {} };
    let _ = tokio::time::timeout(RECYCLE, closed).await;
}
