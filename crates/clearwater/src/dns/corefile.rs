//! CoreDNS' configuration file: read without losing a byte, edited only where it must be.
//!
//! [`Corefile::parse`] follows CoreDNS' own reader (coredns/caddy `caddyfile/lexer.go`, `parse.go`): tokens are divided
//! by white space, `"` begins a quoted token in which only `\"` is an escape, `#` outside quotes hides the rest of its
//! line, `{` and `}` count only as tokens of their own, and the braces of a lone server block may be left out.
//!
//! An edit never prints the file anew. It puts whole lines into the text, each ending in a comment that names their
//! owner, so that taking them out again gives the bytes that were there before, whatever else was changed in between,
//! and whichever other owners' lines have come or gone.

mod edit;
mod parse;

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::time::Duration;

use thiserror::Error;

use super::Name;

pub use edit::{EditError, Owner, owned_lines, without_owned};

/// A Corefile: its text, and where its server blocks and directives stand in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Corefile {
    text: String,
    blocks: Vec<Block>,
    variables: BTreeMap<String, String>,
}

/// A server block or a snippet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// The addresses it serves, or the snippet's name in parentheses, as they are written.
    pub keys: Vec<String>,
    /// Its directives, `import` among them.
    pub directives: Vec<Directive>,
    /// The line it begins on, from 1.
    pub line: usize,
    /// Where it begins.
    begin: usize,
    /// Where its contents begin: after the opening brace, or after the keys where there is none.
    contents: usize,
    /// Whether it has braces.
    braces: bool,
}

/// A directive: a plugin's name with what follows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directive {
    /// The plugin's name.
    pub name: String,
    /// The tokens after the name, those of its own block included.
    pub args: Vec<String>,
    /// How many of the tokens stand on the name's own line.
    pub on_line: usize,
    /// The line it begins on, from 1.
    pub line: usize,
    /// The bytes it takes, from its name to its last token.
    pub span: Range<usize>,
}

/// Why a text is not a Corefile that CoreDNS would accept.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("line {line}: {what}")]
pub struct CorefileError {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong.
    pub what: String,
}

impl Corefile {
    /// Reads a Corefile. Only the shape is judged, not whether CoreDNS knows the plugins.
    ///
    /// # Errors
    /// The line and what is wrong with it, for whatever CoreDNS' own reader refuses.
    pub fn parse(text: &str) -> Result<Self, CorefileError> {
        Self::parse_in(text, &BTreeMap::new())
    }

    /// The same, for a CoreDNS that has these environment variables: where they are named in addresses and directives,
    /// their values are read (coredns/caddy `caddyfile/parse.go`, `replaceEnvVars`). Those that are not among them, and
    /// the text itself, stay as they are written.
    ///
    /// # Errors
    /// As [`Corefile::parse`].
    pub fn parse_in(text: &str, variables: &BTreeMap<String, String>) -> Result<Self, CorefileError> {
        let mut blocks = parse::blocks(text)?;
        if !variables.is_empty() {
            for block in &mut blocks {
                let arguments = block.directives.iter_mut().flat_map(|d| &mut d.args);
                for token in block.keys.iter_mut().chain(arguments) {
                    *token = expanded(token, variables);
                }
            }
        }
        Ok(Self { text: text.to_owned(), blocks, variables: variables.clone() })
    }

    /// The text, byte for byte as it was read.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Server blocks and snippets, in order.
    pub fn blocks(&self) -> &[Block] {
        &self.blocks
    }

    /// The server blocks that answer for `domain` with the `kubernetes` plugin, directly or through a snippet.
    pub(crate) fn serving_kubernetes(&self, domain: &Name) -> Vec<&Block> {
        self.blocks
            .iter()
            .filter(|b| b.snippet().is_none())
            .filter(|b| {
                self.directives_of(b).any(|d| {
                    d.name == "kubernetes"
                        && (d.zones().peekable().peek().is_some_and(|_| d.zones().any(|z| covers(z, domain)))
                            || (d.zones().next().is_none() && b.keys.iter().any(|k| covers(host(k), domain))))
                })
            })
            .collect()
    }

    /// The domains that the `kubernetes` plugin answers for, in lower case and without a dot at their end: those of its
    /// directive, else those of its server block. Reverse zones and the root are left out, and so is what is no name:
    /// networks, and variables whose value is not known.
    ///
    /// ```
    /// use clearwater::dns::corefile::Corefile;
    ///
    /// let corefile = Corefile::parse(".:53 {\n kubernetes cluster.local. in-addr.arpa ip6.arpa\n}\n")?;
    /// assert_eq!(corefile.kubernetes_domains(), ["cluster.local"]);
    /// # Ok::<(), clearwater::dns::corefile::CorefileError>(())
    /// ```
    pub fn kubernetes_domains(&self) -> Vec<String> {
        let zones = self.kubernetes_zones().into_iter().filter_map(|zone| zone.parse::<Name>().ok());
        let mut domains: Vec<String> =
            zones.map(|name| name.to_string()).filter(|d| d.rsplit('.').next() != Some("arpa")).collect();
        domains.sort_unstable();
        domains.dedup();
        domains
    }

    /// What stands for a domain that the `kubernetes` plugin answers for and takes its value from an environment variable
    /// that is not known, as it is written.
    pub fn unknown_kubernetes_domains(&self) -> Vec<String> {
        let is_variable = |zone: &&str| zone.contains("{$") || zone.contains("{%");
        self.kubernetes_zones().into_iter().filter(is_variable).map(str::to_owned).collect()
    }

    fn kubernetes_zones(&self) -> Vec<&str> {
        let mut all = Vec::new();
        for block in self.blocks.iter().filter(|b| b.snippet().is_none()) {
            for directive in self.directives_of(block).filter(|d| d.name == "kubernetes") {
                let zones: Vec<&str> = directive.zones().collect();
                let keys = block.keys.iter().map(|k| host(k)).filter(|_| zones.is_empty());
                all.extend(zones.iter().copied().chain(keys));
            }
        }
        all
    }

    /// The files that the server blocks which serve `domain` import, as they are written there: paths and patterns,
    /// snippets left out.
    pub(crate) fn imports_of(&self, domain: &Name) -> Vec<&str> {
        self.serving_kubernetes(domain)
            .into_iter()
            .flat_map(|b| self.directives_of(b))
            .filter(|d| d.name == "import")
            .filter_map(|d| d.args.first())
            .map(String::as_str)
            .collect()
    }

    /// How often CoreDNS looks whether its file has changed: the interval and the most that is added to or taken from
    /// it, by the `reload` plugin's rules (coredns `plugin/reload/setup.go`). `None` where it never looks again.
    pub fn reload(&self) -> Option<(Duration, Duration)> {
        let blocks = self.blocks.iter().filter(|b| b.snippet().is_none());
        let reload = blocks.flat_map(|b| self.directives_of(b)).find(|d| d.name == "reload")?;
        let given = |n: usize| reload.args.get(n).and_then(|text| go_duration(text));
        let interval = given(0).unwrap_or(Duration::from_secs(30)).max(Duration::from_secs(2));
        let jitter = given(1).unwrap_or(Duration::from_secs(15)).max(Duration::from_secs(1));
        Some((interval, jitter.min(interval / 2)))
    }

    /// The port of the `prometheus` plugin's answers; `None` where there are none.
    pub fn metrics_port(&self) -> Option<u16> {
        let blocks = self.blocks.iter().filter(|b| b.snippet().is_none());
        let metrics = blocks.flat_map(|b| self.directives_of(b)).find(|d| d.name == "prometheus")?;
        match metrics.args.first() {
            None => Some(9153),
            Some(address) => address.rsplit_once(':').and_then(|(_, port)| port.parse().ok()),
        }
    }

    /// The longest that the `cache` plugin of the blocks that serve `domain` keeps a right answer, in seconds. `None`
    /// where nothing is cached.
    pub fn cache(&self, domain: &Name) -> Option<u32> {
        let blocks = self.serving_kubernetes(domain).into_iter();
        let cache = blocks.flat_map(|b| self.directives_of(b)).find(|d| d.name == "cache")?;
        Some(cache.args.first().and_then(|ttl| ttl.parse().ok()).unwrap_or(3600))
    }

    /// The `etcd` plugin's directive that answers for `name`, where there is one.
    pub fn etcd(&self, name: &Name) -> Option<&Directive> {
        let blocks = self.blocks.iter().filter(|b| b.snippet().is_none());
        blocks
            .flat_map(|b| self.directives_of(b).map(move |d| (b, d)))
            .filter(|(_, d)| d.name == "etcd")
            .find(|(b, d)| {
                let mut own = d.zones().peekable();
                if own.peek().is_some() {
                    own.any(|z| covers(z, name))
                } else {
                    b.keys.iter().any(|k| covers(host(k), name))
                }
            })
            .map(|(_, d)| d)
    }

    /// A block's directives, those of imported snippets in the place of their import.
    fn directives_of<'a>(&'a self, block: &'a Block) -> impl Iterator<Item = &'a Directive> {
        block.directives.iter().flat_map(move |d| {
            let snippet = (d.name == "import").then(|| self.snippet(d.args.first()?)).flatten();
            let inner: Box<dyn Iterator<Item = &Directive>> = match snippet {
                Some(snippet) => Box::new(snippet.directives.iter()),
                None => Box::new(std::iter::once(d)),
            };
            inner
        })
    }

    fn snippet(&self, name: &str) -> Option<&Block> {
        self.blocks.iter().find(|b| b.snippet() == Some(name))
    }
}

impl fmt::Display for Corefile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Block {
    /// The snippet's name, where this is one.
    pub fn snippet(&self) -> Option<&str> {
        match self.keys.as_slice() {
            [key] => key.strip_prefix('(')?.strip_suffix(')'),
            _ => None,
        }
    }
}

impl Directive {
    /// The endpoints that the `etcd` plugin is given (coredns `plugin/etcd/setup.go`).
    pub fn endpoints(&self) -> impl Iterator<Item = &str> {
        let after = self.args.iter().position(|a| a == "endpoint").map_or(self.args.len(), |at| at + 1);
        self.args[after..].iter().map(String::as_str).take_while(|a| a.contains("://"))
    }

    /// The path that the `etcd` plugin is given.
    pub fn path(&self) -> Option<String> {
        let at = self.args.iter().position(|a| a == "path")?;
        self.args.get(at + 1).cloned()
    }

    /// The zones a plugin is given on its own line.
    fn zones(&self) -> impl Iterator<Item = &str> {
        self.args[..self.on_line].iter().map(String::as_str).filter(|a| *a != "{" && *a != "}")
    }
}

/// A duration as Go writes it, in whole units of hours, minutes, seconds and milliseconds: `1m30s`.
fn go_duration(text: &str) -> Option<Duration> {
    let mut sum = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let number: u64 = rest[..digits].parse().ok()?;
        let unit = rest[digits..].find(|c: char| c.is_ascii_digit()).map_or(rest.len(), |n| digits + n);
        let millis = match &rest[digits..unit] {
            "h" => 3_600_000,
            "m" => 60_000,
            "s" => 1000,
            "ms" => 1,
            _ => return None,
        };
        sum += Duration::from_millis(number.checked_mul(millis)?);
        rest = &rest[unit..];
    }
    (!text.is_empty()).then_some(sum)
}

/// A token with the values of these variables in their places.
fn expanded(token: &str, variables: &BTreeMap<String, String>) -> String {
    let mut out = token.to_owned();
    for (name, value) in variables {
        for place in [format!("{{${name}}}"), format!("{{%{name}%}}")] {
            out = out.replace(&place, value);
        }
    }
    out
}

/// The host of a server block's key: `dns://.:53` serves `.`.
fn host(key: &str) -> &str {
    let bare = key.split_once("://").map_or(key, |(_, rest)| rest);
    bare.rsplit_once(':').map_or(bare, |(host, _)| if host.is_empty() { "." } else { host })
}

/// Whether a zone, as a Corefile writes it, covers a name.
fn covers(zone: &str, name: &Name) -> bool {
    zone == "." || zone.parse::<Name>().is_ok_and(|zone| name.is_within(&zone))
}

#[cfg(test)]
mod tests;
