//! What container runtimes say of images that they cannot pull.

/// What a failed pull means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pull {
    /// The image or its tag does not exist.
    NotFound,
    /// The registry wants to know who asks, or does not let them.
    Denied,
    /// It exists, for other processors.
    WrongArchitecture,
    /// It exists in a format that the container runtime does not read any more.
    OldFormat,
    /// Anything else: it may succeed later.
    Transient,
}

/// Reads the text of a failed pull, as container runtimes word it.
pub fn pull(message: &str) -> Pull {
    let text = message.to_lowercase();
    // A status is a word of its own; a port or a tag may hold the same digits.
    let is_word = |at: usize, n: &str| {
        let ends = |c: Option<char>| c.is_none_or(|c| !c.is_ascii_alphanumeric());
        ends(text[..at].chars().next_back()) && ends(text[at + n.len()..].chars().next())
    };
    let any = |needles: &[&str]| {
        needles
            .iter()
            .any(|n| text.match_indices(n).any(|(at, _)| n.starts_with(char::is_alphabetic) || is_word(at, n)))
    };
    // What a busy or broken registry says comes first: such answers may carry any of the other words too.
    if any(&[
        "toomanyrequests",
        "too many requests",
        "429",
        "timeout",
        "timed out",
        "no such host",
        "connection refused",
        "connection reset",
        "unexpected eof",
        "server misbehaving",
        "tls handshake",
        "service unavailable",
        "502 bad",
        "503",
        "504",
        "500 internal",
        "deadline exceeded",
        "no route to host",
        "i/o error",
        "network is unreachable",
    ]) {
        return Pull::Transient;
    }
    if any(&["no match for platform", "no matching manifest for"]) {
        return Pull::WrongArchitecture;
    }
    if any(&["manifest.v1+prettyjws", "schema 1", "schema version 1"]) {
        return Pull::OldFormat;
    }
    if any(&["pull access denied", "authorization failed", "unauthorized", "403 forbidden", "denied:", "401"]) {
        return Pull::Denied;
    }
    if any(&[
        "manifest unknown",
        "not found",
        "repository does not exist",
        "name unknown",
        "name_unknown",
        "manifest_unknown",
        "does not exist",
    ]) {
        return Pull::NotFound;
    }
    Pull::Transient
}
