//! ARCHITECTURE.md is true: its maps are the trees, its arrows the uses, and each file over 500 lines has its reason there.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::str::Chars;

use clearwater_layout::Layout;

/// The folders that have a map. The model's names its files where no folder holds them.
const MAPPED: &str = "crates/clearwater/src crates/clearwater-sip/src crates/clearwater-kube/src plugin/src crates/xtask/src \
     tests/testbed/src tests/proof/src tests/standins/src tests/e2e/src";

/// What a map names, and its lists: items between arrows.
#[derive(Default)]
struct Map {
    names: BTreeSet<String>,
    lists: Vec<Vec<Vec<String>>>,
}

impl Map {
    /// What is said of names stands behind three spaces.
    fn read(text: &str) -> Self {
        let rows = text.lines().map(|row| row.trim().split("   ").next().unwrap_or_default());
        let mut map = Self::default();
        map.list("", &mut rows.map(|row| format!("{row}\n")).collect::<String>().chars());
        map
    }

    /// Reads to the end of what stands in braces; outside of them a row is a list.
    fn list(&mut self, folder: &str, text: &mut Chars<'_>) {
        let mut list = vec![Vec::new()];
        let mut word = String::new();
        while let Some(c) = text.next() {
            if !c.is_whitespace() && !"{},→".contains(c) {
                word.push(c);
                continue;
            }
            let path = format!("{folder}{}", std::mem::take(&mut word));
            if c == '{' {
                self.list(&path, text);
            }
            let path = path.trim_end_matches('/');
            if path.len() > folder.len() {
                self.names.extend(path.match_indices('/').map(|(end, _)| path[..end].to_owned()));
                self.names.insert(path.to_owned());
                list.last_mut().expect("a list has a beginning").push(path.to_owned());
            }
            match c {
                '→' => list.push(Vec::new()),
                '\n' if folder.is_empty() => self.lists.push(std::mem::replace(&mut list, vec![Vec::new()])),
                '}' => break,
                _ => {}
            }
        }
        self.lists.push(list);
    }
}

fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn architecture() -> String {
    fs::read_to_string(top().join("ARCHITECTURE.md")).expect("the text is there")
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    let files = entries.flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] });
    files.filter(|path| path.extension().is_some_and(|e| e == "rs")).collect()
}

/// Who uses what stands beside or after it in a list with arrows, and who uses nothing that stands right before it.
fn against(list: &[Vec<String>], uses: &BTreeSet<(String, String)>) -> Vec<String> {
    let holds = |item: &str, file: &str| file.strip_prefix(item).is_some_and(|r| r.is_empty() || r.starts_with('/'));
    let items = || list.iter().enumerate().flat_map(|(at, layer)| layer.iter().map(move |item| (at, item)));
    let at = |file: &str| items().find(|(_, item)| holds(item, file));
    let within: Vec<_> = uses.iter().filter_map(|(a, b)| Some((at(a)?, at(b)?))).filter(|(a, b)| a.1 != b.1).collect();
    let turned = within.iter().filter(|(a, b)| a.0 <= b.0).map(|(a, b)| format!("{} uses {}", a.1, b.1));
    let idle = items().filter(|i| i.0 > 0 && !within.iter().any(|(a, b)| a == i && b.0 + 1 == a.0));
    turned.chain(idle.map(|(_, item)| format!("{item} uses nothing of what stands before its arrow"))).collect()
}

#[test]
fn maps_are_the_trees() {
    let (text, mut seen, mut wrong) = (architecture(), Vec::new(), BTreeSet::new());
    for block in text.split("```text ").skip(1) {
        let (folder, map) = block.split("```").next().and_then(|b| b.split_once('\n')).expect("a map");
        let (root, map) = (top().join(folder), Map::read(map));
        seen.push(folder);
        let stands = |n: &&String| root.join(format!("{n}.rs")).exists() || root.join(n).join("mod.rs").exists();
        wrong.extend(map.names.iter().filter(|n| !stands(n)).map(|n| format!("{folder}: no file {n}")));
        for file in sources(&root) {
            let name = file.strip_prefix(&root).expect("below").with_extension("").display().to_string();
            let first = name.split('/').next().filter(|_| folder == "crates/clearwater/src");
            let name = first.unwrap_or_else(|| name.trim_end_matches("/mod"));
            if !(["lib", "main"].contains(&name) || name.ends_with("/tests") || map.names.contains(name)) {
                wrong.insert(format!("{folder}: {name} is missing from the map"));
            }
        }
        let library = root.join("lib.rs");
        let uses = Layout::read(&if library.exists() { library } else { root.join("main.rs") }).uses();
        let lists = map.lists.iter().filter(|list| list.len() > 1);
        wrong.extend(lists.flat_map(|list| against(list, &uses)).map(|said| format!("{folder}: {said}")));
    }
    assert_eq!((seen, wrong), (MAPPED.split(' ').collect(), BTreeSet::new()));
}

#[test]
fn files_over_500_lines_have_a_reason() {
    let text = architecture();
    let said = text.split("\n\n").find(|p| p.starts_with("Files over 500 lines")).expect("a paragraph");
    let said: BTreeSet<_> = said.split('`').skip(1).step_by(2).map(str::to_owned).collect();
    let files = MAPPED.split(' ').chain(["tests/layout/src"]).flat_map(|folder| sources(&top().join(folder)));
    let long = files.filter(|f| fs::read_to_string(f).expect("a text").lines().count() > 500);
    let long = long.map(|f| f.strip_prefix(top()).expect("below").display().to_string());
    assert_eq!(said, long.collect());
}
