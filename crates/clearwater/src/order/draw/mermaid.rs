use std::fmt::Write as _;

use super::Picture;

/// Mermaid reads entity names between `#` and `;` inside quoted labels.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("#quot;"),
            '#' => out.push_str("#35;"),
            '<' => out.push_str("#lt;"),
            '>' => out.push_str("#gt;"),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

pub(super) fn draw(picture: &Picture<'_>) -> String {
    let mut out = String::from("flowchart LR\n");
    for node in picture.nodes() {
        let _ = writeln!(out, "  n{node}[{}]", quoted(picture.name(node)));
    }
    for &(to, from) in picture.gating.keys() {
        let _ = writeln!(out, "  n{to} --> n{from}");
    }
    for &(to, from) in picture.loose.keys() {
        let _ = writeln!(out, "  n{to} -.-> n{from}");
    }
    out
}
