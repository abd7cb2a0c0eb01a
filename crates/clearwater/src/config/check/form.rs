//! The forms that Kubernetes and the images want values to have. Each answers with a clause that goes on after the
//! value and ends with what to write.

use std::net::IpAddr;
use std::str::FromStr;

use crate::dns::Name;

/// A DNS label: what namespaces and Services are named (RFC 1123 §2.1).
pub(super) fn label(text: &str) -> Result<(), String> {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if text.is_empty() || text.len() > 63 || !text.chars().all(inner) || text.starts_with('-') || text.ends_with('-') {
        return Err(
            "is not a Kubernetes name: write at most 63 lower-case letters, digits and hyphens, with a letter \
                    or digit at both ends"
                .to_owned(),
        );
    }
    Ok(())
}

/// A name of most kinds of Kubernetes objects: labels joined by dots (RFC 1123).
pub(super) fn object_name(text: &str) -> Result<(), String> {
    if text.len() > 253 || text.split('.').any(|l| label(l).is_err()) {
        return Err("is not a Kubernetes name: write lower-case letters, digits, hyphens and dots, with a letter or \
                    digit at both ends of each part"
            .to_owned());
    }
    Ok(())
}

/// A DNS domain in the form in which it is compared with others.
pub(super) fn domain(text: &str) -> Result<(), String> {
    let lower = text.trim_end_matches('.').to_ascii_lowercase();
    if IpAddr::from_str(text).is_ok() {
        return Err("is an IP address: write a DNS name".to_owned());
    }
    if let Err(e) = Name::from_str(&lower) {
        return Err(format!("is not a DNS name: {}", e.why));
    }
    if lower.contains('_') {
        return Err("has an underscore, which host names may not have: write a hyphen".to_owned());
    }
    if lower != text {
        return Err(format!("is compared letter by letter in many places: write {lower:?}"));
    }
    Ok(())
}

/// The key of a label, an annotation or a node selector: `[PREFIX/]NAME`.
pub(super) fn qualified_name(text: &str) -> Result<(), String> {
    let (prefix, name) = text.rsplit_once('/').map_or((None, text), |(p, n)| (Some(p), n));
    if prefix.is_some_and(|p| object_name(p).is_err()) {
        return Err("is not a label's key: before the slash stands a DNS name, as in example.com/team".to_owned());
    }
    if !name_part(name) || name.is_empty() {
        return Err(
            "is not a label's key: write at most 63 letters, digits, '-', '_' and '.', with a letter or digit \
                    at both ends"
                .to_owned(),
        );
    }
    Ok(())
}

/// The value of a label.
pub(super) fn label_value(text: &str) -> Result<(), String> {
    if !name_part(text) {
        return Err("is not a label's value: write at most 63 letters, digits, '-', '_' and '.', with a letter or \
                    digit at both ends"
            .to_owned());
    }
    Ok(())
}

fn name_part(text: &str) -> bool {
    let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let outer = |c: Option<char>| c.is_none_or(|c| c.is_ascii_alphanumeric());
    text.len() <= 63 && text.chars().all(inner) && outer(text.chars().next()) && outer(text.chars().next_back())
}

/// A key in a Secret's data.
pub(super) fn secret_key(text: &str) -> Result<(), String> {
    let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if text.is_empty() || text.len() > 253 || !text.chars().all(inner) || text == "." || text == ".." {
        return Err("is not a key of a Secret: write letters, digits, '-', '_' and '.'".to_owned());
    }
    Ok(())
}

/// A variable that a shell can assign to.
pub(super) fn shell_name(text: &str) -> Result<(), String> {
    let outer = text.chars().next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
    if !outer || !text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
        return Err("is not a name that a shell can assign to: write letters, digits and underscores, and no digit \
                    first"
            .to_owned());
    }
    Ok(())
}

/// A text of one line: what can stand in a line of `shared_config`.
pub(super) fn one_line(text: &str) -> Result<(), String> {
    match text.chars().find(|c| c.is_control()) {
        Some(c) => Err(format!("has the character {c:?}: write it on one line, without control characters")),
        None => Ok(()),
    }
}

/// A Kubernetes quantity, as a number of its unit.
pub(super) fn quantity(text: &str) -> Result<f64, String> {
    match crate::quantity::parse(text) {
        Some(value) if value >= 0.0 => Ok(value),
        Some(_) => Err("is negative: write a quantity like 250m, 2, 512Mi or 1.5Gi".to_owned()),
        None => Err("is not a quantity: write one like 250m, 2, 512Mi or 1.5Gi".to_owned()),
    }
}

/// The name and path of an image, without tag and digest.
pub(super) fn image_path(text: &str) -> Result<(), String> {
    if let Some(rest) = text.split_once("://") {
        return Err(format!("has a scheme, which images do not: write {:?}", rest.1.trim_end_matches('/')));
    }
    if text.ends_with('/') {
        return Err(format!("ends with a slash, which is put in anyway: write {:?}", text.trim_end_matches('/')));
    }
    let part = |p: &str| !p.is_empty() && p.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'));
    let (host, rest) = text.split_once('/').map_or((text, None), |(h, r)| (h, Some(r)));
    let (server, number) = host.split_once(':').map_or((host, None), |(n, p)| (n, Some(p)));
    let lower = |p: &str| !p.chars().any(|c| c.is_ascii_uppercase());
    let port_fits = number.is_none_or(|p| p.parse::<u16>().is_ok());
    if !part(server) || !port_fits || rest.is_some_and(|r| !r.split('/').all(|p| part(p) && lower(p))) {
        return Err("is not a registry: write HOST[:PORT][/PATH], as in registry.example.com:5000/ims".to_owned());
    }
    Ok(())
}

/// The tag of an image.
pub(super) fn tag(text: &str) -> Result<(), String> {
    let first = text.chars().next().is_some_and(|c| c.is_ascii_alphanumeric() || c == '_');
    if !first || text.len() > 128 || !text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')) {
        return Err("is not a tag: write at most 128 letters, digits, '.', '_' and '-', with a letter or digit first"
            .to_owned());
    }
    Ok(())
}

/// The digest of an image (OCI image-spec `descriptor.md`, "Digests").
pub(super) fn digest(text: &str) -> Result<(), String> {
    let hex = |h: &str| h.chars().all(|c| c.is_ascii_digit() || ('a'..='f').contains(&c));
    let fits = match text.split_once(':') {
        Some(("sha256", h)) => h.len() == 64 && hex(h),
        Some(("sha512", h)) => h.len() == 128 && hex(h),
        _ => false,
    };
    if !fits {
        return Err("is not a digest: write sha256: and 64 digits of 0-9 and a-f, as the registry gives it".to_owned());
    }
    Ok(())
}

/// A Linux capability as Kubernetes names it.
pub(super) fn capability(text: &str) -> Result<(), String> {
    if let Some(rest) = text.strip_prefix("CAP_") {
        return Err(format!("has a prefix that Kubernetes puts there itself: write {rest:?}"));
    }
    if text.is_empty() || !text.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_') {
        return Err("is not a capability: write one like NET_BIND_SERVICE, or ALL".to_owned());
    }
    Ok(())
}

/// A whole image reference: `[HOST[:PORT]/]PATH[:TAG][@DIGEST]`.
pub(super) fn image(text: &str) -> Result<(), String> {
    let wrong = || "is not an image: write one like registry.example.com/ims/sprout:1.0".to_owned();
    let (name, digest) = text.split_once('@').map_or((text, None), |(n, d)| (n, Some(d)));
    let slash = name.rfind('/').map_or(0, |at| at + 1);
    let (path, version) = match name[slash..].find(':') {
        Some(colon) => (&name[..slash + colon], Some(&name[slash + colon + 1..])),
        None => (name, None),
    };
    let digest_fits = digest.is_none_or(|d| {
        d.split_once(':').is_some_and(|(_, hex)| hex.len() >= 32 && hex.chars().all(|c| c.is_ascii_hexdigit()))
    });
    if image_path(path).is_err() || version.is_some_and(|v| tag(v).is_err()) || !digest_fits {
        return Err(wrong());
    }
    Ok(())
}

/// A host, or a host and a port.
pub(super) fn host_port(text: &str) -> Result<(), String> {
    let (host, port) = text.rsplit_once(':').map_or((text, None), |(h, p)| (h, Some(p)));
    let host_fits = IpAddr::from_str(host).is_ok() || Name::from_str(host).is_ok();
    if !host_fits || port.is_some_and(|p| p.parse::<u16>().is_err()) {
        return Err("is not a server: write HOST or HOST:PORT".to_owned());
    }
    Ok(())
}
