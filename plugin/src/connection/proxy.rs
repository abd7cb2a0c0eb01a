//! Which proxy a server is reached by, as Go's programs choose it (golang.org/x/net `http/httpproxy/proxy.go`) and kubectl
//! with them: `proxy-url` of the kubeconfig's cluster always, else the environment's, which `NO_PROXY` and loopback
//! addresses are kept from.

use std::error::Error;
use std::fmt;
use std::net::IpAddr;

use http::Uri;
use http::uri::{Authority, Scheme};
use ipnet::IpNet;

/// What sets the proxy of one cluster alone.
const OWN: &str = "proxy-url of the kubeconfig's cluster";

/// A proxy, and where it was set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Proxy {
    /// Its address, as the client takes it.
    pub(super) url: Uri,
    set_by: String,
}

/// Without who asks: name and password may stand in its address.
impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = self.url.scheme_str().unwrap_or("http");
        write!(f, "the proxy {scheme}://{} ({})", host_and_port(&self.url), self.set_by)
    }
}

impl Proxy {
    fn names_who_asks(&self) -> bool {
        self.url.authority().is_some_and(|authority| authority.as_str().contains('@'))
    }

    /// What is wrong between this proxy and us, or between it and the server; `None` where it led to the server and what is wrong
    /// is there. hyper-util's own types of these errors cannot be named, and are told by how they begin.
    pub(super) fn fault(&self, server: &Uri, error: &(dyn Error + 'static)) -> Option<String> {
        let mut next = Some(error);
        let said = loop {
            let error = next?;
            let said = error.to_string();
            if let Some(said) = ["tunnel error: ", "SOCKS error: "].iter().find_map(|begin| said.strip_prefix(begin)) {
                break said.to_owned();
            }
            next = error.source();
        };
        let (host, way) = (server.host().unwrap_or_default(), host_and_port(server));
        let without = match self.set_by.as_str() {
            OWN => "take proxy-url out of the kubeconfig's cluster".to_owned(),
            _ => format!("add {host} to NO_PROXY"),
        };
        let or = format!("or, where the API server is to be reached without it, {without}");
        Some(match said.as_str() {
            "failed to create underlying connection" => {
                format!(
                    "{self}, by which {way} is to be reached, does not answer: correct its address in {}, {or}",
                    self.set_by
                )
            }
            "proxy authorization required" if self.names_who_asks() => format!(
                "{self} does not take the name and password in {} for the way to {way} (407): correct them there (letters other \
                 than A to Z, 0 to 9 and -._~ are written as %xx), {or}",
                self.set_by
            ),
            "proxy authorization required" => format!(
                "{self} wants to know who asks for the way to {way} (407): write http://NAME:PASSWORD@{} into {}, {or}",
                host_and_port(&self.url),
                self.set_by
            ),
            "unsuccessful" => format!(
                "{self} refuses the way to {way} (its answer to CONNECT is not 200): ask whoever keeps it to open the way, {or}"
            ),
            other => format!(
                "{self} made no way to {way} ({other}): is it a proxy of that kind? correct {}, {or}",
                self.set_by
            ),
        })
    }
}

fn host_and_port(of: &Uri) -> String {
    let port = match (of.port_u16(), of.scheme_str()) {
        (Some(port), _) => port,
        (None, Some("http")) => 80,
        (None, _) => 443,
    };
    format!("{}:{port}", of.host().unwrap_or_default())
}

/// The port of an address, where it is none that there is: the client would take the usual one.
pub(super) fn no_port(of: &Uri) -> Option<&str> {
    let authority = of.authority()?.as_str();
    let place = authority.rsplit_once('@').map_or(authority, |(_, place)| place);
    let (_, port) = place.rsplit_once(']').unwrap_or(("", place)).1.rsplit_once(':')?;
    (!port.is_empty() && port.parse::<u16>().is_err()).then_some(port)
}

/// The proxy for a server; `own` is that of the kubeconfig's cluster.
pub(super) fn proxy(
    server: &Uri,
    own: Option<&str>,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<Option<Proxy>, String> {
    let made = |url: &str, set_by: &str| {
        let url = address(url).ok_or_else(|| no_address(set_by, url))?;
        Ok(Some(Proxy { url, set_by: set_by.to_owned() }))
    };
    if let Some(own) = own.filter(|own| !own.is_empty()) {
        return made(own, OWN);
    }
    let any = |upper: &str| {
        let set = |name: String| variable(&name).filter(|value| !value.is_empty()).map(|value| (name, value));
        set(upper.to_owned()).or_else(|| set(upper.to_lowercase()))
    };
    let is_plain = server.scheme() == Some(&Scheme::HTTP);
    let Some((name, named)) = any(if is_plain { "HTTP_PROXY" } else { "HTTPS_PROXY" }) else { return Ok(None) };
    if !Target::of(server).is_proxied(&any("NO_PROXY").map(|(_, list)| list).unwrap_or_default()) {
        return Ok(None);
    }
    let full = if named.contains("://") { named } else { format!("http://{named}") };
    made(&full, &name)
}

/// A proxy's address. What is none is an error and never passed over: the way without it may lead nowhere, or elsewhere.
fn address(text: &str) -> Option<Uri> {
    text.parse().ok().filter(|url| no_port(url).is_none()).and_then(usable)
}

/// An address without what may be a name and password in it.
pub(super) fn shown(text: &str) -> String {
    let (scheme, rest) = text.split_at(text.find("://").map_or(0, |end| end + "://".len()));
    rest.rsplit_once('@').map_or_else(|| text.to_owned(), |(_, host)| format!("{scheme}…@{host}"))
}

/// Why something is no proxy's address.
fn no_address(whose: &str, text: &str) -> String {
    let shown = shown(text);
    let hint = if shown == text {
        ""
    } else {
        "; letters of a name or password other than A to Z, 0 to 9 and -._~ are written as %xx"
    };
    format!("{whose} is {shown:?}, which is no URL of http, https or socks5{hint}")
}

/// The proxy's address as the client takes it. Go asks every SOCKS proxy for names, so that both words mean one thing.
fn usable(proxy: Uri) -> Option<Uri> {
    let mut parts = proxy.into_parts();
    match parts.scheme.as_ref()?.as_str() {
        "http" | "https" => {}
        "socks5" | "socks5h" => {
            parts.scheme = "socks5".parse().ok();
            let authority = parts.authority.as_ref()?;
            if authority.port().is_none() {
                parts.authority = Authority::try_from(format!("{authority}:1080")).ok();
            }
        }
        _ => return None,
    }
    parts.path_and_query.get_or_insert(http::uri::PathAndQuery::from_static("/"));
    Uri::from_parts(parts).ok()
}

/// A server as `NO_PROXY` names it.
struct Target {
    is_local: bool,
    host: String,
    address: Option<IpAddr>,
    port: String,
}

impl Target {
    fn of(server: &Uri) -> Self {
        let host = server.host().unwrap_or_default().trim_matches(['[', ']']);
        let address: Option<IpAddr> = host.parse().ok().map(|ip: IpAddr| ip.to_canonical());
        let usual = if server.scheme() == Some(&Scheme::HTTP) { 80 } else { 443 };
        Self {
            is_local: host == "localhost" || address.is_some_and(|ip| ip.is_loopback()),
            address,
            port: server.port_u16().unwrap_or(usual).to_string(),
            host: host.to_lowercase(),
        }
    }

    fn is_proxied(&self, no_proxy: &str) -> bool {
        !self.is_local && !no_proxy.split(',').any(|entry| self.is_meant_by(&entry.trim().to_lowercase()))
    }

    /// Whether an entry of `NO_PROXY`, trimmed and in lower case, means this server.
    fn is_meant_by(&self, entry: &str) -> bool {
        if entry == "*" {
            return true;
        }
        if let Ok(net) = entry.parse::<IpNet>() {
            return self.address.is_some_and(|ip| net.contains(&ip));
        }
        let (host, port) = split(entry).unwrap_or((entry, ""));
        if host.is_empty() || !(port.is_empty() || port == self.port) {
            return false;
        }
        if let Ok(ip) = host.parse::<IpAddr>() {
            return self.address == Some(ip.to_canonical());
        }
        if self.address.is_some() {
            return false;
        }
        let host = host.strip_prefix('*').filter(|rest| rest.starts_with('.')).unwrap_or(host);
        match host.strip_prefix('.') {
            Some(_) => self.host.ends_with(host),
            None => self.host == host || self.host.strip_suffix(host).is_some_and(|rest| rest.ends_with('.')),
        }
    }
}

/// Host and port, where there is a port (Go's `net.SplitHostPort`).
fn split(text: &str) -> Option<(&str, &str)> {
    let (host, port) = text.rsplit_once(':')?;
    match host.strip_prefix('[') {
        Some(inner) => Some((inner.strip_suffix(']')?, port)),
        None => (!host.contains(':')).then_some((host, port)),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// What `cargo xtask prove proxies` asks Go about.
    const CASES: &str = include_str!("proxies.txt");

    #[test]
    fn the_environments_proxies_are_chosen_as_go_does() {
        let (mut wrong, mut count) = (Vec::new(), 0);
        for line in CASES.lines().filter(|line| !line.starts_with('#')) {
            let words: Vec<&str> = line.split('|').map(str::trim).collect();
            let [server, variables, expected] = words[..] else { panic!("{line}") };
            let variables: BTreeMap<&str, &str> = variables
                .split(' ')
                .filter_map(|v| v.split_once('='))
                .map(|(k, v)| (k, v.trim_matches('\'')))
                .collect();
            let variable = |name: &str| variables.get(name).map(|v| v.replace('_', " "));
            let found = proxy(&server.parse().unwrap(), None, variable).unwrap();
            let found =
                found.map_or_else(|| "-".to_owned(), |proxy| proxy.url.to_string().trim_end_matches('/').to_owned());
            count += 1;
            if found != expected {
                wrong.push(format!("{line}: {found}"));
            }
        }
        assert!(wrong.is_empty() && count > 40, "{count}: {wrong:#?}");
    }

    #[test]
    fn the_kubeconfigs_own_proxy_is_taken_whatever_the_environment_says() {
        let all = |name: &str| Some(if name == "NO_PROXY" { "*" } else { "http://other:1" }.to_owned());
        let of = |own: &str| proxy(&"https://127.0.0.1:6443".parse().unwrap(), Some(own), all);
        assert_eq!(of("http://proxy:3128").unwrap().unwrap().url, "http://proxy:3128/");
        assert_eq!(of("socks5h://proxy").unwrap().unwrap().url, "socks5://proxy:1080/");
        for wrong in ["proxy:3128", "ftp://proxy", "http://"] {
            assert!(of(wrong).unwrap_err().contains("is no URL of http, https or socks5"), "{wrong}");
        }
        for wrong in
            ["http://CORP\\bob:pw s3cret@proxy:1", "ftp://bob:s3cret@proxy:3128", "'http://bob:s3cret@proxy:1'"]
        {
            let variable = |name: &str| (name == "HTTPS_PROXY").then(|| wrong.to_owned());
            let said = proxy(&"https://192.0.2.1:6443".parse().unwrap(), None, variable).unwrap_err();
            assert!(
                said.starts_with("HTTPS_PROXY is ") && said.contains("@proxy:") && !said.contains("cret"),
                "{said}"
            );
            assert!(
                proxy(&"https://127.0.0.1:6443".parse().unwrap(), None, variable).unwrap().is_none(),
                "loopback needs none"
            );
        }
        assert_eq!(of("").unwrap(), None, "an empty one names none");
    }
}
