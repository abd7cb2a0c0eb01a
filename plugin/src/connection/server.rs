//! The client to a server, and who is told to have given no answer: the server, the proxy before it, or what they showed.

use std::error::Error;
use std::sync::Arc;

use http::header::AUTHORIZATION;
use kube::client::{AuthError, Body, ClientBuilder};
use kube::{Client, Config};
use tower::BoxError;
use tower::util::{MapErrLayer, MapRequestLayer};

use super::causes;
use super::certificate::{self, Places};
use super::proxy::{self, Proxy};
use super::token_file::TokenFile;
use crate::error::CliError;

/// A client that tells who gave no answer.
pub(super) fn made(config: Config, server: &Arc<Server>, token: Option<Arc<TokenFile>>) -> Result<Client, CliError> {
    let unanswered = MapErrLayer::new({
        let server = Arc::clone(server);
        move |source| Unanswered::unless_of_credentials(&server, source)
    });
    let made = ClientBuilder::try_from(config).map(|builder| match token {
        None => builder.with_layer(&unanswered).build(),
        Some(file) => builder
            .with_layer(&unanswered)
            .with_layer(&MapRequestLayer::new(move |mut request: http::Request<Body>| {
                request.headers_mut().insert(AUTHORIZATION, file.header());
                request
            }))
            .build(),
    });
    made.map_err(|e| {
        let why = certificate::of_user(&e, &server.places);
        let why = why.unwrap_or_else(|| format!("{}; check the kubeconfig's user", causes(&e)));
        let wrong = if server.places.is_told { CliError::Usage } else { CliError::Connection };
        wrong(format!("no client can be made for {}: {why}", address(&server.url)))
    })
}

/// Who is asked, and by which way.
pub(super) struct Server {
    pub(super) url: http::Uri,
    pub(super) proxy: Option<Proxy>,
    pub(super) places: Places,
}

/// No answer came of the API server, or only a part of one.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
struct Unanswered {
    text: String,
    source: BoxError,
}

impl Unanswered {
    /// The error with the server that it is of, or the proxy before it; one of the credentials, for which nothing was asked yet, as
    /// it is.
    fn unless_of_credentials(server: &Server, source: BoxError) -> BoxError {
        let mut next: Option<&(dyn Error + 'static)> = Some(source.as_ref());
        let mut is_of_credentials = false;
        while let Some(error) = next {
            is_of_credentials |= error.is::<AuthError>() || error.is::<kube::Error>();
            next = error.source();
        }
        if is_of_credentials {
            return source;
        }
        let at_proxy = server.proxy.as_ref().and_then(|proxy| proxy.fault(&server.url, source.as_ref()));
        let text = at_proxy.unwrap_or_else(|| {
            let hint = certificate::at_server(source.as_ref(), &server.places);
            let hint = hint.unwrap_or_else(|| "is it up, and is that its address?".to_owned());
            let by = server.proxy.as_ref().map_or_else(String::new, |proxy| format!(" by {proxy}"));
            format!("no answer from the API server at {}{by} ({hint})", address(&server.url))
        });
        Self { text, source }.into()
    }
}

/// The URL of an API server, as a person writes it: without a scheme it is one of TLS. The error says what is wrong with it; `whose`
/// it is begins it.
pub(super) fn url(whose: &str, text: &str) -> Result<http::Uri, String> {
    const WRITE: &str = "write https://HOST:PORT";
    if text.is_empty() {
        return Err(format!("{whose} is empty: {WRITE}"));
    }
    let no = |why: &str| {
        format!("{whose} is {:?}, which is no address of an API server ({why}): {WRITE}", proxy::shown(text))
    };
    let full = if text.contains("://") { text.to_owned() } else { format!("https://{text}") };
    let url: http::Uri = full.parse().map_err(|e: http::uri::InvalidUri| no(&e.to_string()))?;
    if let Some(port) = proxy::no_port(&url) {
        return Err(no(&format!("{port:?} is no port, which is a number up to 65535")));
    }
    match url.scheme_str() {
        Some("https" | "http") => Ok(url),
        other => Err(no(&format!("{} is neither https nor http", other.unwrap_or_default()))),
    }
}

/// The address of a server, without who asks.
pub(super) fn address(server: &http::Uri) -> String {
    let port = server.port().map_or_else(String::new, |port| format!(":{port}"));
    format!("{}://{}{port}", server.scheme_str().unwrap_or("https"), server.host().unwrap_or_default())
}
