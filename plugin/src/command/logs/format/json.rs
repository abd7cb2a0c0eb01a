//! JSON as Go's encoding/json writes it, byte for byte.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use clearwater::text::is_harmful;
use serde::de::IgnoredAny;

/// Writes a JSON string as Go's encoding/json does, so that both print the same bytes: `<`, `>`, `&` and the two line
/// separators of Unicode as escapes, and one replacement for each byte that is no UTF-8.
pub(super) fn text(out: &mut Vec<u8>, parts: &[&[u8]]) {
    out.push(b'"');
    for part in parts {
        for chunk in part.utf8_chunks() {
            escaped(out, chunk.valid());
            for _ in chunk.invalid() {
                out.extend_from_slice(b"\\ufffd");
            }
        }
    }
    out.push(b'"');
}

/// Which bytes stand for themselves in a JSON string. The first byte of U+2028 and U+2029 is looked at more closely.
const PLAIN: [bool; 256] = {
    let mut plain = [true; 256];
    let mut byte = 0;
    while byte < 0x20 {
        plain[byte] = false;
        byte += 1;
    }
    // In order: " \ < > & and the first byte of the line separators.
    (plain[0x22], plain[0x5c], plain[0x3c], plain[0x3e], plain[0x26], plain[0xe2]) =
        (false, false, false, false, false, false);
    plain
};

fn escaped(out: &mut Vec<u8>, text: &str) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let bytes = text.as_bytes();
    let mut from = 0;
    while let Some(at) = bytes[from..].iter().position(|b| !PLAIN[usize::from(*b)]).map(|n| from + n) {
        out.extend_from_slice(&bytes[from..at]);
        from = at + 1;
        match bytes[at] {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0x08 => out.extend_from_slice(b"\\b"),
            0x0c => out.extend_from_slice(b"\\f"),
            0xe2 => match bytes.get(at + 1..at + 3) {
                Some([0x80, last @ (0xa8 | 0xa9)]) => {
                    out.extend_from_slice(if *last == 0xa8 { b"\\u2028" } else { b"\\u2029" });
                    from = at + 3;
                }
                _ => out.push(0xe2),
            },
            byte => {
                out.extend_from_slice(b"\\u00");
                out.extend([HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
            }
        }
    }
    out.extend_from_slice(&bytes[from..]);
}

/// A map as Go writes it: `null` where there is none.
pub(super) fn map(out: &mut Vec<u8>, map: &BTreeMap<String, String>) {
    if map.is_empty() {
        out.extend_from_slice(b"null");
        return;
    }
    for (n, (key, value)) in map.iter().enumerate() {
        out.push(if n == 0 { b'{' } else { b',' });
        text(out, &[key.as_bytes()]);
        out.push(b':');
        text(out, &[value.as_bytes()]);
    }
    out.push(b'}');
}

pub(super) fn is_json(line: &[u8]) -> bool {
    serde_json::from_slice::<IgnoredAny>(line).is_ok()
}

/// Escapes what JSON leaves as it is and a terminal would obey. Escape sequences in it are this program's own colours.
pub(super) fn harmless(json: &mut Vec<u8>) {
    let obeyed = |c: char| is_harmful(c) && (c >= '\u{7f}' || c == '\r');
    let Ok(text) = std::str::from_utf8(json) else { return };
    if json.is_ascii() && !json.contains(&0x7f) && !json.contains(&b'\r') || !text.contains(obeyed) {
        return;
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            // Between the words of an object that somebody wrote.
            '\r' => out.push(' '),
            c if obeyed(c) => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    *json = out.into_bytes();
}
