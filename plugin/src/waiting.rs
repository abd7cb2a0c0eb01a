//! A word about what is awaited, where the API server keeps somebody waiting.

use std::time::Duration;

use kube::Client;
use kube::client::Body;
use tokio::time::{Instant, interval_at};

/// After how long it is said, and how long it is not said again.
const SOON: Duration = Duration::from_secs(5);

/// The same client, which says what it waits for.
pub(crate) fn told(client: Client) -> Client {
    let namespace = client.default_namespace().to_owned();
    let service = tower::service_fn(move |request: http::Request<Body>| {
        let client = client.clone();
        async move {
            let what = format!("{} {}", request.method(), request.uri().path());
            let mut answer = std::pin::pin!(client.send(request));
            let mut waits = interval_at(Instant::now() + SOON, SOON * 2);
            loop {
                tokio::select! {
                    answer = &mut answer => return answer,
                    _ = waits.tick() => {
                        let text = format!("waiting for the API server: {what}");
                        crate::reporter::line(&mut anstream::stderr(), &text);
                    }
                }
            }
        }
    });
    Client::new(service, namespace)
}
