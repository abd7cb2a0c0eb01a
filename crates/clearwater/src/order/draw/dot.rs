use std::fmt::Write as _;

use super::Picture;

fn quoted(text: &str) -> String {
    let text = text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    format!("\"{text}\"")
}

pub(super) fn draw(picture: &Picture<'_>) -> String {
    let mut out = String::from("digraph clearwater {\n");
    let _ = writeln!(out, "  label={};", quoted(&format!("start order, policy {}", picture.policy)));
    out.push_str("  rankdir=LR;\n");
    out.push_str("  bgcolor=transparent;\n");
    out.push_str("  node [shape=box, style=rounded, fontname=\"sans-serif\"];\n");
    for node in picture.nodes() {
        let _ = writeln!(out, "  {};", quoted(picture.name(node)));
    }
    let pairs = picture.gating.iter().map(|p| (p, "")).chain(picture.loose.iter().map(|p| {
        // An edge that is not waited for must not push its ends apart.
        (p, "style=dashed, constraint=false, ")
    }));
    for ((&(to, from), says), style) in pairs {
        let (to, from) = (quoted(picture.name(to)), quoted(picture.name(from)));
        let _ = writeln!(out, "  {to} -> {from} [{style}tooltip={}];", quoted(&says.join("\n")));
    }
    out.push_str("}\n");
    out
}
