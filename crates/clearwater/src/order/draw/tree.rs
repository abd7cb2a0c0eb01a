use std::fmt::Write as _;

use super::Picture;

/// Each node stands below the last of its gates to open, and names the others.
pub(super) fn draw(picture: &Picture<'_>) -> String {
    let mut gates: Vec<Vec<u32>> = picture.nodes().map(|_| Vec::new()).collect();
    for &(to, from) in picture.gating.keys() {
        gates[from as usize].push(to);
    }
    let parent = |node: u32| gates[node as usize].iter().copied().max_by_key(|&g| (picture.wave(g), g));
    let mut children: Vec<Vec<u32>> = picture.nodes().map(|_| Vec::new()).collect();
    let mut roots = Vec::new();
    for node in picture.nodes() {
        match parent(node) {
            Some(p) => children[p as usize].push(node),
            None => roots.push(node),
        }
    }
    let mut out = String::new();
    let line = |out: &mut String, before: &str, node: u32| {
        let others: Vec<_> = gates[node as usize]
            .iter()
            .copied()
            .filter(|&g| Some(g) != parent(node))
            .map(|g| picture.name(g))
            .collect();
        let also = if others.is_empty() { String::new() } else { format!("  (and after {})", others.join(", ")) };
        let _ = writeln!(out, "{before}{}{also}", picture.name(node));
    };
    // (node, what its children's lines begin with, whether it is its parent's last child); roots have no branch.
    let mut stack: Vec<(u32, Option<(String, bool)>)> = roots.into_iter().rev().map(|r| (r, None)).collect();
    while let Some((node, branch)) = stack.pop() {
        let below = match &branch {
            None => {
                line(&mut out, "", node);
                String::new()
            }
            Some((prefix, last)) => {
                line(&mut out, &format!("{prefix}{}", if *last { "└─ " } else { "├─ " }), node);
                format!("{prefix}{}", if *last { "   " } else { "│  " })
            }
        };
        for (i, &child) in children[node as usize].iter().enumerate().rev() {
            let last = i + 1 == children[node as usize].len();
            stack.push((child, Some((below.clone(), last))));
        }
    }
    if !picture.loose.is_empty() {
        out.push_str("\nnot waited for:\n");
        for node in picture.nodes() {
            let all = picture.loose.keys().filter(|&&(_, from)| from == node);
            let all: Vec<_> = all.map(|&(to, _)| picture.name(to)).collect();
            if !all.is_empty() {
                let _ = writeln!(out, "  {}: {}", picture.name(node), all.join(", "));
            }
        }
    }
    out
}
