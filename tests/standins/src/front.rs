//! nginx's stand-in: listens for a Python program and hands whole requests to its unix socket, one connection each;
//! 502 while nobody is behind it, 504 when it does not answer, 413 for what is too large.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, bail};
use tokio::time::error::Elapsed;

use crate::net::http::{self, Answer, Ask, Limit, Method, Request};
use crate::place;

/// nginx's `client_max_body_size` where nobody sets it.
const LARGEST: usize = 1 << 20;
/// nginx's `proxy_read_timeout` where nobody sets it.
const PATIENCE: Duration = Duration::from_secs(60);
const SERVER: &str = "nginx/1.4.6 (Ubuntu)";
/// One answer is lost for each time that this file is made: the request is taken, and nothing comes back.
const LOSE_ANSWER: &str = "/run/standin/fault/nginx.lose-answer";
/// Headers that are of one connection, or made anew with the message (RFC 9110 section 7.6.1).
const HOP: [&str; 12] = [
    "connection",
    "content-length",
    "date",
    "expect",
    "host",
    "keep-alive",
    "proxy-connection",
    "server",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// The socket of the first process of a fronted program.
pub(crate) fn socket(site: &str) -> PathBuf {
    place::path("/tmp").join(format!(".{site}-sock-0"))
}

/// Serves the site `homestead-prov`, `homer` or `ellis` on its port for ever.
pub(crate) async fn run(site: &str) -> Result<()> {
    let port = match site {
        "homestead-prov" => 8889,
        "homer" => 7888,
        "ellis" => 80,
        other => bail!("no site {other}; homestead-prov, homer or ellis"),
    };
    let listener = http::listen(SocketAddr::new(place::any_bind(), port)).await?;
    let behind = socket(site);
    let limit = Limit { body: LARGEST, answer: || page(413, "Request Entity Too Large") };
    http::serve_limited(listener, Some(limit), move |ask| {
        let behind = behind.clone();
        async move {
            if std::fs::remove_file(place::path(LOSE_ANSWER)).is_ok() {
                std::future::pending::<()>().await;
            }
            pass(ask, &behind).await
        }
    })
    .await;
    Ok(())
}

/// Asks the program. One that is not there, or dies before it answers, is a bad gateway.
async fn pass(ask: Ask, behind: &Path) -> Answer {
    let mut request = Request::new(ask.method.clone(), ask.raw.clone()).within(PATIENCE).body(ask.body.clone());
    if let Some(host) = ask.header("host") {
        request = request.host(host);
    }
    for (name, value) in &ask.headers {
        if !HOP.contains(&name.as_str()) {
            request = request.header(name.as_str(), &String::from_utf8_lossy(value.as_bytes()));
        }
    }
    match request.over_unix(behind).await {
        Ok(mut answer) => {
            let head = ask.method == Method::HEAD;
            answer.headers.retain(|(name, _)| !HOP.contains(&name.as_str()) || (head && name == "content-length"));
            answer.with("server", SERVER)
        }
        Err(error) if error.is::<Elapsed>() => page(504, "Gateway Time-out"),
        Err(_) => page(502, "Bad Gateway"),
    }
}

/// nginx's own page for an error.
fn page(status: u16, reason: &str) -> Answer {
    let body = format!(
        "<html>\r\n<head><title>{status} {reason}</title></head>\r\n<body bgcolor=\"white\">\r\n\
         <center><h1>{status} {reason}</h1></center>\r\n<hr><center>{SERVER}</center>\r\n</body>\r\n</html>\r\n"
    );
    Answer::html(status, body).with("server", SERVER)
}
