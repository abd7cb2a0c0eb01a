//! Pages of docs/ name what there is.
#![allow(clippy::unwrap_used, reason = "helpers of tests are outside test functions")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Every Rust source below a directory, as one text.
fn sources(directory: &Path, text: &mut String) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("target") {
            sources(&path, text);
        } else if path.extension().is_some_and(|e| e == "rs") {
            text.push_str(&std::fs::read_to_string(&path).unwrap());
        }
    }
}

#[test]
fn the_security_page_names_tests_and_files_that_are_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let page = std::fs::read_to_string(root.join("docs/security.md")).unwrap();
    let mut text = String::new();
    for directory in ["crates", "tests", "plugin"] {
        sources(&root.join(directory), &mut text);
    }
    let words: Vec<&str> = page.split('`').skip(1).step_by(2).collect();
    let is_name = |w: &str| w.matches('_').count() >= 3 && w.chars().all(|c| c == '_' || c.is_ascii_lowercase());
    let tests: Vec<_> = words.iter().filter(|w| is_name(w)).collect();
    assert!(tests.len() > 15, "{tests:?}");
    for name in tests {
        assert!(text.contains(&format!("fn {name}(")), "docs/security.md names {name}, which is no test");
    }
    for file in words.iter().filter(|w| w.starts_with("crates/") || w.starts_with("tests/")) {
        assert!(root.join(file).exists(), "docs/security.md names {file}, which is not there");
    }
}

/// What `status --metrics` writes, as its own test has it.
const METRICS: &str = "crates/clearwater-kube/src/status/metrics/snapshots/clearwater_kube__status__metrics__tests__what_was_seen_is_told_whole_and_in_order.snap";

/// The metrics that a text names.
fn metrics_in(text: &str) -> BTreeSet<&str> {
    let is_name = |c: char| c == '_' || c.is_ascii_lowercase();
    text.split(|c| !is_name(c)).filter(|word| word.starts_with("clearwater_")).collect()
}

/// The dashboard asks for each metric that is told, and for no other.
#[test]
fn the_dashboard_shows_the_metrics_that_there_are_and_all_of_them() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let read = |path: &str| std::fs::read_to_string(root.join(path)).unwrap();
    let (dashboard, told) = (read("docs/grafana-dashboard.json"), read(METRICS));
    let told: BTreeSet<&str> =
        told.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    let dashboard: serde_json::Value = serde_json::from_str(&dashboard).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let ids: BTreeSet<u64> = panels.iter().filter_map(|panel| panel["id"].as_u64()).collect();
    assert_eq!(ids.len(), panels.len());
    let targets = panels.iter().flat_map(|panel| panel["targets"].as_array().unwrap());
    let asked: String = targets.map(|target| format!("{}\n", target["expr"].as_str().unwrap())).collect();
    assert_eq!(metrics_in(&asked), told);
    let variables = dashboard["templating"].to_string();
    assert!(metrics_in(&variables).is_subset(&told), "{variables}");
}

/// Every alert has its chapter where it leads to, and judges by metrics that there are.
#[test]
fn alerts_lead_to_chapters_and_judge_by_metrics_that_there_are() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let read = |path: &str| std::fs::read_to_string(root.join(path)).unwrap();
    let (page, rules) = (read("docs/observability.md"), read("docs/alerts.yaml"));
    let told = read(METRICS);
    let alerts: Vec<&str> = rules.lines().filter_map(|l| l.split_once("- alert: ")).map(|(_, name)| name).collect();
    assert_eq!(alerts.len(), 7);
    for alert in alerts {
        assert!(page.contains(&format!("\n### {alert}\n")), "{alert} has no chapter");
        assert!(rules.contains(&format!("/docs/observability.md#{}\n", alert.to_lowercase())), "{alert} leads nowhere");
    }
    let names = metrics_in(&rules);
    assert!(names.len() >= 7, "{names:?}");
    for name in names {
        assert!(told.contains(&format!("# TYPE {name} gauge\n")), "docs/alerts.yaml names {name}, which is not told");
    }
    for line in told.lines().filter_map(|l| l.strip_prefix("# TYPE ")) {
        let name = line.trim_end_matches(" gauge");
        let last = name.rsplit('_').next().unwrap();
        assert!(
            page.contains(&format!("`{name}`")) || page.contains(&format!("`…_{last}`")),
            "{name} is not in the page"
        );
    }
}

/// The pages of a folder, below it, too.
fn pages(folder: &Path) -> Vec<PathBuf> {
    let paths = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let (folders, files): (Vec<_>, Vec<_>) = paths.partition(|path| path.is_dir());
    let own = files.into_iter().filter(|path| path.extension().is_some_and(|e| e == "md"));
    own.chain(folders.iter().flat_map(|folder| pages(folder))).collect()
}

/// What a page's links lead to, without those to other machines: the page, empty for itself, and the chapter in it.
fn links(page: &str) -> impl Iterator<Item = (&str, Option<&str>)> {
    let all = page.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let own = all.filter(|link| !link.contains("://") && !link.contains(' '));
    own.map(|link| link.split_once('#').map_or((link, None), |(page, chapter)| (page, Some(chapter))))
}

/// Whether a page has a chapter, by the name that links have for it.
fn has_chapter(page: &str, name: &str) -> bool {
    let heads = page.lines().filter_map(|line| line.strip_prefix('#')).map(|head| head.trim_start_matches('#').trim());
    let named = |head: &str| {
        let kept = head.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
        kept.collect::<String>().to_lowercase().replace(' ', "-")
    };
    heads.into_iter().any(|head| named(head) == name)
}

#[test]
fn every_page_is_in_the_book_and_every_link_leads_to_a_file() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let docs = root.join("docs");
    let summary = std::fs::read_to_string(docs.join("SUMMARY.md")).unwrap();
    let told: Vec<PathBuf> = links(&summary).map(|(link, _)| docs.join(link)).collect();
    let all = pages(&docs);
    assert!(all.len() > 30, "{all:?}");
    for page in all.iter().filter(|page| !page.ends_with("SUMMARY.md")) {
        assert!(told.contains(page), "docs/SUMMARY.md has no {}", page.display());
    }
    let others = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "tests/README.md"].map(|page| root.join(page));
    for page in all.iter().chain(&others) {
        let text = std::fs::read_to_string(page).unwrap();
        for (link, chapter) in links(&text) {
            let to = if link.is_empty() { page.clone() } else { page.parent().unwrap().join(link) };
            assert!(to.exists(), "{}: {link} leads nowhere", page.display());
            if let Some(chapter) = chapter {
                let text = std::fs::read_to_string(&to).unwrap();
                assert!(has_chapter(&text, chapter), "{}: {link} has no chapter {chapter}", page.display());
            }
            // The book holds docs/ alone.
            let leaves =
                page.starts_with(&docs) && !to.canonicalize().unwrap().starts_with(docs.canonicalize().unwrap());
            assert!(!leaves, "{}: {link} leads out of the book", page.display());
        }
    }
}
