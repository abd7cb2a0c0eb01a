//! Screens in the pages of docs/ are what the commands above them say. A block that stands behind [`MARK`] begins with its
//! command; `UPDATE_SCREENS=1` writes what was said into the pages.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{env, fs};

use anyhow::{Context, Result, ensure};
use clearwater_e2e::{Plugin, cluster};

use crate::PATIENCE;

/// What stands before a block that is a screen.
const MARK: &str = "<!-- a screen, by the end-to-end tests -->\n";
/// How a screen begins.
const PROMPT: &str = "$ kubectl clearwater ";
/// The namespace that pages speak of.
const NAMESPACE: &str = "ims";
/// In the place of lines that a page leaves out.
const LEFT_OUT: &str = "...";

/// A block of a page.
#[derive(Clone, Debug)]
struct Screen {
    page: PathBuf,
    /// The block as it stands, from the prompt to the closing fence.
    block: String,
    command: String,
    lines: Vec<String>,
}

fn screens_of(page: &Path, text: &str) -> Result<Vec<Screen>> {
    let blocks = text.split(MARK).skip(1).map(|rest| {
        let told = || format!("{}: no screen behind its mark", page.display());
        let (_, rest) = rest.strip_prefix("```").and_then(|rest| rest.split_once('\n')).with_context(told)?;
        let (block, _) = rest.split_once("```").with_context(told)?;
        let (command, lines) = block.strip_prefix(PROMPT).and_then(|b| b.split_once('\n')).with_context(told)?;
        let lines = lines.lines().map(str::to_owned).collect();
        Ok(Screen { page: page.to_owned(), block: block.to_owned(), command: command.to_owned(), lines })
    });
    blocks.collect()
}

/// A word without what is another in each run: numbers, units of time, and the parts of pods' names that Kubernetes makes.
fn shape(word: &str) -> String {
    const MADE: &str = "bcdfghjklmnpqrstvwxz2456789";
    let is_made = |part: &str| (4..=10).contains(&part.len()) && part.chars().all(|c| MADE.contains(c));
    if word == "ms" {
        return "s".to_owned();
    }
    let parts: Vec<&str> =
        word.split('-').map(|part| if is_made(part.trim_end_matches(',')) { "9" } else { part }).collect();
    let mut shape = String::new();
    for c in parts.join("-").chars() {
        let is_number = c.is_ascii_digit() || c == '.' && shape.ends_with('9');
        match (is_number, shape.ends_with('9')) {
            (true, true) => {}
            (true, false) => shape.push('9'),
            (false, _) => shape.push(c),
        }
    }
    shape
}

/// How often each line is there, by its shape. What the path through a run was is another each time.
fn shapes<'a>(lines: impl Iterator<Item = &'a str>) -> BTreeMap<String, usize> {
    let mut shapes = BTreeMap::new();
    for line in lines.filter(|line| *line != LEFT_OUT) {
        let line = if line.starts_with("critical path: ") { "critical path" } else { line };
        let words: Vec<String> = line.split_whitespace().map(shape).collect();
        *shapes.entry(words.join(" ")).or_default() += 1;
    }
    shapes
}

#[test]
#[ignore = "needs cluster (creates a namespace)"]
fn screens_in_pages_are_what_commands_say() -> Result<()> {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
    let mut screens = Vec::new();
    for entry in fs::read_dir(&docs)? {
        let page = entry?.path();
        if page.extension().is_some_and(|e| e == "md") {
            screens.extend(screens_of(&page, &fs::read_to_string(&page)?)?);
        }
    }
    ensure!(screens.len() >= 5, "{screens:?}");
    // What is looked at must stand, and what takes it away comes last.
    screens.sort_by_key(|screen| match screen.command.split(' ').next() {
        Some("up") => 0,
        Some("down") => 2,
        _ => 1,
    });
    let cluster = cluster();
    let namespace = cluster.namespace("e2e-screens")?;
    let plugin = Plugin::new(cluster, namespace.name())?;
    let (updates, mut wrong) = (env::var_os("UPDATE_SCREENS").is_some(), Vec::new());
    for screen in screens {
        let command = screen.command.replace(&format!("-n {NAMESPACE}"), "");
        let args: Vec<&str> = command.split_whitespace().collect();
        let ran = plugin.run_within(PATIENCE, &args)?;
        let said = format!("{}{}", ran.err, ran.out).replace(namespace.name(), NAMESPACE);
        ensure!(ran.code == 0, "{}: exit {}: {}", screen.command, ran.code, ran.said());
        let (told, seen) = (shapes(screen.lines.iter().map(String::as_str)), shapes(said.lines()));
        let cut = screen.lines.iter().position(|line| line == LEFT_OUT);
        let is_there = |(line, count): (&String, &usize)| seen.get(line).is_some_and(|n| n >= count);
        let agrees = if cut.is_some() { told.iter().all(is_there) } else { told == seen };
        if updates {
            let said: Vec<&str> = said.lines().collect();
            let (first, last) = cut.map_or((said.len(), 0), |at| (at, screen.lines.len() - at - 1));
            let shown = said[..first].iter().chain(cut.map(|_| &LEFT_OUT)).chain(&said[said.len() - last..]);
            let mut block = format!("{PROMPT}{}\n", screen.command);
            shown.for_each(|line| block += &format!("{line}\n"));
            let page = fs::read_to_string(&screen.page)?;
            fs::write(&screen.page, page.replace(&screen.block, &block))?;
        } else if !agrees {
            wrong.push(format!(
                "{}: {}\nthe page says {told:#?}\nand it said\n{said}",
                screen.page.display(),
                screen.command
            ));
        }
    }
    ensure!(wrong.is_empty(), "UPDATE_SCREENS=1 writes what is said now into the pages:\n{}", wrong.join("\n"));
    Ok(())
}

#[test]
fn what_each_run_has_of_its_own_is_no_part_of_a_shape() {
    let one = shapes("ok  call  udp  482 ms  bono-56779594f9-s2n4t, bono-0\ncritical path: etcd 2.9 s".lines());
    let other =
        shapes("ok  call  udp  1.2 s  bono-6cf9c65bb-w8dzt, bono-1\ncritical path: cassandra 4 s → bono".lines());
    assert_eq!(one, other);
    assert_ne!(shapes("ok call".lines()), shapes("failed call".lines()));
    assert_ne!(shapes("1/1 normal".lines()), shapes("normal".lines()));
}
