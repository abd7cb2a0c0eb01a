//! What nobody outside may read, taken out of what is handed on. Pure.

use std::sync::LazyLock;

use regex::bytes::{Captures, Regex};
use serde_json::Value;

/// What stands in the place of a secret.
const REDACTED: &str = "(redacted)";
/// The annotation in which kubectl keeps the object as it was applied, data of Secrets among it.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Settings that hold a secret, by their names; the value ends with the word. A name may follow the `\n` of a text in which
/// line ends are escaped, and be a flag with its value behind a blank.
static SETTING: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let names = r"(?:signup_key|turn_workaround|ellis_api_key|ellis_cookie_key|digest_?ha1|\bha1\b|\b(?:pwd|pass)\b|[a-z0-9_-]*(?:api[_-]?key|private[_-]?key|access[_-]?key|token|passphrase|password|passwd|secret)[a-z0-9_-]*)";
    let value = r#"("[^"\n]*"|'[^'\n]*'|(?:[^\s,;&\\"']|\\[^n\s])+)"#;
    Regex::new(&format!(r#"(?i-u)({names}["']?\s*[=:]\s*|--{names}\s+){value}"#)).ok()
});
/// What a digest (RFC 3261 §22.4), a header, a URL (RFC 3986 §3.2.1) or a key file (RFC 7468) proves who somebody is with.
static PROOF: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let header = "(?:NGV-API-Key|Cookie|Set-Cookie|X-Auth-Token)";
    Regex::new(&format!(
        r#"(?i-u)\b((?:response|cnonce)=)"[^"\n]*"|\b({header}\s*:\s*)[^\r\n]+|\b((?:Bearer|Basic)\s+)[a-z0-9._~+/=-]{{4,}}|(\b[a-z][a-z0-9+.-]*://[^\s/:@"']*:)[^\s/@"']+@|(-----BEGIN [A-Z ]*PRIVATE KEY-----)(?s:.)*?(?:-----END [A-Z ]*PRIVATE KEY-----|\z)"#
    ))
    .ok()
});

/// A text without secrets: values of settings that hold one, and what proves who somebody is.
pub(super) fn text(text: &[u8]) -> Vec<u8> {
    // A pattern that is wrong must not let anything through.
    let (Some(setting), Some(proof)) = (&*SETTING, &*PROOF) else { return REDACTED.into() };
    let kept = |found: &Captures<'_>| {
        let name = found.iter().skip(1).flatten().next().map_or(&b""[..], |m| m.as_bytes());
        let end: &[u8] = if name.ends_with(b":") && found[0].ends_with(b"@") { b"@" } else { b"" };
        [name, REDACTED.as_bytes(), end].concat()
    };
    let once = setting.replace_all(text, |found: &Captures<'_>| {
        let value = &found[2];
        // What is no text is no secret: `automountServiceAccountToken: false`.
        if matches!(value, b"true" | b"false" | b"null") || value.starts_with(b"{") || value.starts_with(b"[") {
            return found[0].to_vec();
        }
        kept(found)
    });
    proof.replace_all(&once, kept).into_owned()
}

/// An object without what is secret in it: the data of Secrets, values that a name tells, and what kubectl keeps of it.
pub(super) fn object(mut object: Value) -> Value {
    if object["kind"] == "Secret" {
        for field in ["data", "stringData"] {
            for value in object[field].as_object_mut().into_iter().flat_map(|o| o.values_mut()) {
                *value = REDACTED.into();
            }
        }
    }
    if let Some(metadata) = object["metadata"].as_object_mut() {
        metadata.remove("managedFields");
        if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
            annotations.remove(LAST_APPLIED);
        }
    }
    strings(&mut object);
    object
}

/// Whether a name says that its value is secret.
fn is_secret(name: &str) -> bool {
    let assigned = format!("{name}=x");
    text(assigned.as_bytes()) != assigned.as_bytes()
}

fn strings(value: &mut Value) {
    match value {
        Value::String(string) => *string = String::from_utf8_lossy(&text(string.as_bytes())).into_owned(),
        Value::Array(all) => all.iter_mut().for_each(strings),
        Value::Object(fields) => {
            // An environment variable says its name beside its value.
            let named = fields.get("name").and_then(Value::as_str).is_some_and(is_secret);
            for (name, value) in fields.iter_mut() {
                if value.is_string() && (is_secret(name) && name != "secretName" || named && name == "value") {
                    *value = REDACTED.into();
                } else {
                    strings(value);
                }
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn shown(text: &str) -> String {
        String::from_utf8(super::text(text.as_bytes())).unwrap()
    }

    #[test]
    fn secrets_go_and_the_rest_stays() {
        for (text, expected) in [
            ("home_domain=ims\nsignup_key=hush\nx=1", "home_domain=ims\nsignup_key=(redacted)\nx=1"),
            ("ellis_api_key='it is hush'", "ellis_api_key=(redacted)"),
            (r"log_level=4\nturn_workaround=hush\nx=y", r"log_level=4\nturn_workaround=(redacted)\nx=y"),
            (r"\nsignup_key=hush\0040hush\nx=y", r"\nsignup_key=(redacted)\nx=y"),
            ("smtp_password: \"hush\"", "smtp_password: (redacted)"),
            (r#"{"password": "hush", "a": 1}"#, r#"{"password": (redacted), "a": 1}"#),
            (
                "Digest username=\"a\", response=\"0a1b\", qop=auth",
                "Digest username=\"a\", response=(redacted), qop=auth",
            ),
            ("NGV-API-Key: hush\r\nHost: ellis", "NGV-API-Key: (redacted)\r\nHost: ellis"),
            ("Authorization: Bearer hush.hush-1", "Authorization: Bearer (redacted)"),
            (
                "api_key=hush pwd=hush pass: hush API_TOKEN=hush",
                "api_key=(redacted) pwd=(redacted) pass: (redacted) API_TOKEN=(redacted)",
            ),
            ("mysql --db-password hush -u root", "mysql --db-password (redacted) -u root"),
            (r#"{"digest_ha1": "hush", "sha1": "x"}"#, r#"{"digest_ha1": (redacted), "sha1": "x"}"#),
            (r#"{"private_key":"hush"}"#, r#"{"private_key":(redacted)}"#),
            ("postgres://bob:hush@db:5432/x", "postgres://bob:(redacted)@db:5432/x"),
            (
                "-----BEGIN RSA PRIVATE KEY-----\nhush\nhush\n-----END RSA PRIVATE KEY-----\nrest",
                "-----BEGIN RSA PRIVATE KEY-----(redacted)\nrest",
            ),
            ("automountServiceAccountToken: false", "automountServiceAccountToken: false"),
            ("compass: north, sip:bob@ims:5060", "compass: north, sip:bob@ims:5060"),
            ("nothing of that kind", "nothing of that kind"),
        ] {
            assert_eq!(shown(text), expected);
            assert!(!shown(text).contains("hush"));
        }
    }

    #[test]
    fn objects_keep_their_names_and_lose_their_secrets() {
        let secret = json!({"kind": "Secret", "metadata": {"name": "keys", "managedFields": [],
            "annotations": {LAST_APPLIED: "hush", "a": "b"}}, "data": {"signup_key": "aHVzaA=="}});
        let said = object(secret).to_string();
        assert!(!said.contains("aHVzaA") && !said.contains("hush") && said.contains("signup_key"), "{said}");
        let pod = json!({"kind": "Pod", "spec": {"volumes": [{"secret": {"secretName": "keys"}}],
            "containers": [{"env": [{"name": "HSS_PASSWORD", "value": "hush"}, {"name": "ZONE", "value": "ims"}]}]}});
        let said = object(pod);
        assert_eq!(said["spec"]["volumes"][0]["secret"]["secretName"], "keys");
        assert_eq!(said["spec"]["containers"][0]["env"][0]["value"], REDACTED);
        assert_eq!(said["spec"]["containers"][0]["env"][1]["value"], "ims");
    }

    proptest! {
        #[test]
        fn no_value_of_a_secret_setting_is_left(
            before in "[ -~\n]{0,30}", name in "(signup_key|ellis_api_key|db_password|SECRET_X)", value in "[a-z0-9]{12,20}"
        ) {
            let text = format!("{before}\n{name}={value}\nrest");
            prop_assert!(!shown(&text).contains(&value), "{}", shown(&text));
        }
    }
}
