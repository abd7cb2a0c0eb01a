//! A port of this machine that leads to a component's pods.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use clearwater::component::Component;
use kube::ResourceExt;
use kube::api::Portforwarder;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::error::SubscriberError;
use super::wire::pods;
use crate::backoff::{before, doubling};
use crate::cluster::Cluster;
use crate::pod::object::pod_is_ready;
use crate::pod::{Duplex, forward};

/// How many connections are open at the same time: a browser opens six.
const MOST: usize = 64;
/// For how long a connection waits for a pod: one that is replaced is back within a minute.
const PATIENCE: Duration = Duration::from_secs(60);
/// The first and the longest pause between looks for a pod.
const PAUSES: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(2));

/// What becomes of connections.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RelayEvent {
    /// They lead to another pod than before.
    LeadsTo {
        /// The pod.
        pod: String,
    },
    /// No pod can be reached, and it is tried again.
    Waits {
        /// Why, whole by itself.
        reason: String,
    },
}

/// Listens on a port of this machine's loopback address, and carries each connection to a pod that is ready when it comes.
/// A pod that is replaced is followed: the next connection leads to its successor.
#[derive(Debug)]
pub struct Relay {
    listener: TcpListener,
    carrier: Carrier,
}

#[derive(Clone, Debug)]
struct Carrier {
    cluster: Cluster,
    component: Component,
    port: u16,
    /// The pod that was told last, or why there is none.
    told: Arc<Mutex<Option<RelayEvent>>>,
}

impl Relay {
    /// Listens on 127.0.0.1, on a port that is free where 0 is given.
    ///
    /// # Errors
    /// Where the port cannot be taken on this machine.
    pub async fn listen(cluster: &Cluster, component: Component, port: u16, local: u16) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, local)).await?;
        Ok(Self { listener, carrier: Carrier { cluster: cluster.clone(), component, port, told: Arc::default() } })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// What the system says of its own socket.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Opens a way to a pod once, and closes it: its name.
    ///
    /// # Errors
    /// What every connection would meet: [`SubscriberError::Right`] where the user may not, [`SubscriberError::NotReady`]
    /// where there is no pod yet.
    pub async fn reach(&self) -> Result<String, SubscriberError> {
        let (pod, forwarder, _) = self.carrier.open().await?;
        forwarder.abort();
        Ok(pod)
    }

    /// Carries connections until it is dropped, which ends them all. Comes back only where nothing can be listened to any
    /// more. What becomes of connections is told while somebody listens.
    pub async fn run(self, events: mpsc::Sender<RelayEvent>) -> io::Error {
        let room = Arc::new(Semaphore::new(MOST));
        let mut open = JoinSet::new();
        loop {
            // It is never closed.
            let Ok(place) = room.clone().acquire_owned().await else { return io::Error::other("closed") };
            let stream = match self.listener.accept().await {
                Ok((stream, _)) => stream,
                // One that went away before it was taken.
                Err(error)
                    if matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset) =>
                {
                    continue;
                }
                Err(error) => return error,
            };
            while open.try_join_next().is_some() {}
            let (carrier, events) = (self.carrier.clone(), events.clone());
            open.spawn(async move {
                carrier.carry(stream, &events).await;
                drop(place);
            });
        }
    }
}

impl Carrier {
    async fn carry(&self, mut local: TcpStream, events: &mpsc::Sender<RelayEvent>) {
        let mut pauses = before(Instant::now() + PATIENCE, doubling(PAUSES.0, PAUSES.1));
        loop {
            let (pod, forwarder, mut remote) = match self.open().await {
                Ok(opened) => opened,
                Err(error) => {
                    self.tell(events, RelayEvent::Waits { reason: error.to_string() }).await;
                    // Without a pause left the connection is closed, and whoever made it sees that.
                    let Some(next) = pauses.next() else { return };
                    sleep(next).await;
                    continue;
                }
            };
            self.tell(events, RelayEvent::LeadsTo { pod }).await;
            // Either end may go away at any time; both see it.
            let _ = copy_bidirectional(&mut local, &mut remote).await;
            forwarder.abort();
            return;
        }
    }

    async fn open(&self) -> Result<(String, Portforwarder, Box<dyn Duplex>), SubscriberError> {
        let all = pods(&self.cluster, self.component).await?;
        let Some(pod) = all.iter().find(|p| pod_is_ready(p)).map(ResourceExt::name_any) else {
            let (component, namespace) = (self.component, self.cluster.namespace.clone());
            return Err(SubscriberError::NotReady { component, namespace });
        };
        let opened = forward(&self.cluster.api(), &pod, self.port, self.cluster.policy.timeout()).await;
        let (forwarder, stream) = opened.map_err(|e| SubscriberError::ask(self.component, e))?;
        Ok((pod, forwarder, stream))
    }

    /// Tells what is new.
    async fn tell(&self, events: &mpsc::Sender<RelayEvent>, event: RelayEvent) {
        {
            let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
            if *told == Some(event.clone()) {
                return;
            }
            *told = Some(event.clone());
        }
        // Nobody has to listen.
        let _ = events.send(event).await;
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;
    use crate::fake_api;

    #[tokio::test]
    async fn it_listens_at_the_loopback_address_alone_and_says_why_it_waits() {
        let (cluster, _) = fake_api::cluster(|_| Some(serde_json::Value::Null));
        let relay = Relay::listen(&cluster, Component::Ellis, 80, 0).await.unwrap();
        let address = relay.address().unwrap();
        assert!(address.ip().is_loopback() && address.port() != 0);
        // What will not change while one waits is told before.
        assert!(matches!(relay.reach().await, Err(SubscriberError::Right { .. })));
        let (out, mut events) = mpsc::channel(4);
        let running = tokio::spawn(relay.run(out));
        let mut stream = TcpStream::connect(address).await.unwrap();
        let event = events.recv().await.unwrap();
        assert_eq!(event, RelayEvent::Waits { reason: "pods of ellis: needs the right to list pods".to_owned() });
        // Dropped, it ends what it carries.
        running.abort();
        let mut byte = [0];
        assert!(matches!(stream.read(&mut byte).await, Ok(0) | Err(_)));
    }
}
