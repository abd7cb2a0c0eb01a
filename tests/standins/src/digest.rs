//! Digest arithmetic (RFC 2617, MD5 with qop auth).

use std::collections::BTreeMap;
use std::fmt::Write as _;

use md5::{Digest as _, Md5};

/// Lower-case hexadecimal MD5.
pub(crate) fn md5_hex(text: &str) -> String {
    Md5::digest(text.as_bytes()).iter().fold(String::with_capacity(32), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

/// HA1 of a user.
pub(crate) fn ha1(impi: &str, realm: &str, password: &str) -> String {
    md5_hex(&format!("{impi}:{realm}:{password}"))
}

/// The parameters of a `Digest a="b", c=d` header value, names in lower case.
pub(crate) fn parameters(header: &str) -> BTreeMap<String, String> {
    let text = header.trim();
    let text = match text.get(..7) {
        Some(scheme) if scheme.eq_ignore_ascii_case("digest ") => &text[7..],
        _ => text,
    };
    let mut out = BTreeMap::new();
    let mut rest = text;
    while let Some((name, after)) = rest.split_once('=') {
        let after = after.trim_start();
        let (value, tail) = if let Some(quoted) = after.strip_prefix('"') {
            quoted.split_once('"').unwrap_or((quoted, ""))
        } else {
            let end = after.find(',').unwrap_or(after.len());
            (after[..end].trim(), &after[end..])
        };
        out.insert(name.trim_matches([',', ' ', '\t']).to_lowercase(), value.to_owned());
        rest = tail;
    }
    out
}

/// The response a client with this HA1 should have sent.
pub(crate) fn response(ha1: &str, method: &str, given: &BTreeMap<String, String>) -> String {
    let get = |name: &str| given.get(name).map_or("", String::as_str);
    let ha2 = md5_hex(&format!("{method}:{}", get("uri")));
    let nonce = get("nonce");
    if get("qop").is_empty() {
        md5_hex(&format!("{ha1}:{nonce}:{ha2}"))
    } else {
        md5_hex(&format!("{ha1}:{nonce}:{}:{}:{}:{ha2}", get("nc"), get("cnonce"), get("qop")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_rfc_2617() {
        let given = parameters(
            "Digest username=\"Mufasa\", realm=\"testrealm@host.com\", \
             nonce=\"dcd98b7102dd2f0e8b11d0f600bfb0c093\", uri=\"/dir/index.html\", qop=auth, \
             nc=00000001, cnonce=\"0a4f113b\", response=\"6629fae49393a05397450978507c4ef1\", \
             opaque=\"5ccc069c403ebaf9f0171e9517f40e41\"",
        );
        let ha1 = ha1("Mufasa", "testrealm@host.com", "Circle Of Life");
        assert_eq!(response(&ha1, "GET", &given), given["response"]);
    }
}
