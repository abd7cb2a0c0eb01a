//! Which files of a crate use which, and where they do so in a circle.
//!
//! A name counts for the file that defines it: what a module hands on (`pub use`) is followed to its home. What is built
//! for tests alone does not count, nor does documentation.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};

/// A place in a crate's tree of modules: the names from the root, which is empty.
type Place = Vec<String>;

/// The modules of a crate, and who uses whom.
#[derive(Debug, Default)]
pub struct Layout {
    modules: BTreeMap<Place, Module>,
}

#[derive(Debug, Default)]
struct Module {
    /// The module that has a file of its own: this one, or the one that this one stands in.
    file: Place,
    /// What the module calls by a name of its own, and where that leads.
    imports: BTreeMap<String, Place>,
    /// Modules whose names are all imported.
    globs: Vec<Place>,
    /// Names that are defined here.
    items: BTreeSet<String>,
    /// Those of public types, as often as they are defined.
    types: Vec<String>,
    paths: Vec<Place>,
}

impl Layout {
    /// Reads a crate from its root file and follows the modules that it declares.
    ///
    /// # Panics
    /// Where a file is missing or is not Rust: this is for tests.
    pub fn read(root: &Path) -> Self {
        let mut layout = Self::default();
        layout.file(root, root.parent().expect("a file stands in a folder"), &[]);
        layout
    }

    fn file(&mut self, path: &Path, folder: &Path, at: &[String]) {
        let text = std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let file = syn::parse_file(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        self.module(&file.items, folder, at, at);
    }

    fn module(&mut self, items: &[syn::Item], folder: &Path, at: &[String], file: &[String]) {
        let mut module = Module { file: file.to_vec(), ..Module::default() };
        for item in items.iter().filter(|i| !only_for_tests(attributes(i))) {
            if let syn::Item::Mod(child) = item {
                let name = child.ident.to_string();
                let inner = [at, std::slice::from_ref(&name)].concat();
                let below = folder.join(&name);
                if let Some((_, items)) = &child.content {
                    self.module(items, &below, &inner, file);
                } else {
                    let alone = folder.join(format!("{name}.rs"));
                    let path = if alone.exists() { alone } else { below.join("mod.rs") };
                    self.file(&path, &below, &inner);
                }
                continue;
            }
            module.items.extend(defined(item));
            module.types.extend(defined(item).filter(|_| is_public_type(item)));
            module.visit_item(item);
        }
        self.modules.insert(at.to_vec(), module);
    }

    /// The names of all public types, each with the file that defines it.
    pub fn public_types(&self) -> impl Iterator<Item = (&str, String)> {
        self.modules.values().flat_map(|module| module.types.iter().map(|t| (t.as_str(), name(&module.file))))
    }

    /// Every pair of files of which the first uses the second.
    pub fn uses(&self) -> BTreeSet<(String, String)> {
        let mut found = BTreeSet::new();
        for (at, module) in &self.modules {
            for path in &module.paths {
                if let Some(home) = self.home(at, path, 0)
                    && *home != module.file
                {
                    found.insert((name(&module.file), name(home)));
                }
            }
        }
        found
    }

    /// The module with a file in which the thing stands that `path` means, when it is read in the module `at`.
    fn home<'a>(&'a self, at: &[String], path: &[String], depth: usize) -> Option<&'a Place> {
        // An import that leads to itself through globs ends here.
        if depth > 16 {
            return None;
        }
        let (first, rest) = path.split_first()?;
        match first.as_str() {
            "crate" => self.below(Vec::new(), rest, depth),
            "self" => self.below(at.to_vec(), rest, depth),
            "super" => self.below(at.split_last()?.1.to_vec(), rest, depth),
            _ => self.below(at.to_vec(), path, depth),
        }
    }

    fn below<'a>(&'a self, mut at: Place, path: &[String], depth: usize) -> Option<&'a Place> {
        let module = self.modules.get(&at)?;
        let Some((first, rest)) = path.split_first() else { return Some(&module.file) };
        if first == "super" {
            at.pop();
            return self.below(at, rest, depth);
        }
        let child = [at.as_slice(), std::slice::from_ref(first)].concat();
        if self.modules.contains_key(&child) {
            return self.below(child, rest, depth);
        }
        if module.items.contains(first) {
            return Some(&module.file);
        }
        if let Some(import) = module.imports.get(first) {
            // An import by the name of a crate, or of itself, leads out of this one.
            return if import.first() == Some(first) {
                None
            } else {
                self.home(&at, &[import.as_slice(), rest].concat(), depth + 1)
            };
        }
        module.globs.iter().find_map(|glob| self.home(&at, &[glob.as_slice(), path].concat(), depth + 1))
    }

    /// The circles: sets of files each of which uses, directly or through others, all the rest.
    ///
    /// A module that uses what the one above it defines makes no circle with it: they are one idea on two levels.
    pub fn circles(&self) -> BTreeSet<Vec<String>> {
        let mut reach: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (user, used) in self.uses() {
            if !is_below(&user, &used) {
                reach.entry(user).or_default().insert(used);
            }
        }
        loop {
            let longer: Vec<(String, String)> = reach
                .iter()
                .flat_map(|(from, to)| {
                    let next = to.iter().filter_map(|t| reach.get(t)).flatten().filter(|n| !to.contains(*n));
                    next.map(|n| (from.clone(), n.clone()))
                })
                .collect();
            if longer.is_empty() {
                break;
            }
            for (from, to) in longer {
                reach.entry(from).or_default().insert(to);
            }
        }
        let reaches = |a: &String, b: &String| reach.get(a).is_some_and(|to| to.contains(b));
        let on_circles = reach.keys().filter(|file| reaches(file, file));
        on_circles.map(|a| reach.keys().filter(|b| reaches(a, b) && reaches(b, a)).cloned().collect()).collect()
    }

    /// The circles, each with the uses that close it, as text for whoever has to open them.
    pub fn explain(&self, circles: &BTreeSet<Vec<String>>) -> String {
        let uses = self.uses();
        let mut text = String::new();
        for circle in circles {
            text += &format!("{}\n", circle.join(", "));
            for (user, used) in uses.iter().filter(|(a, b)| circle.contains(a) && circle.contains(b)) {
                text += &format!("    {user} -> {used}\n");
            }
        }
        text
    }
}

impl<'ast> Visit<'ast> for Module {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        if !only_for_tests(attributes(item)) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        let handed_on = matches!(item.vis, syn::Visibility::Public(_) | syn::Visibility::Restricted(_));
        self.tree(&item.tree, &mut Vec::new(), handed_on);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        self.paths.push(path.segments.iter().map(|s| s.ident.to_string()).collect());
        visit::visit_path(self, path);
    }

    fn visit_attribute(&mut self, _: &'ast syn::Attribute) {}

    fn visit_macro(&mut self, item: &'ast syn::Macro) {
        visit::visit_macro(self, item);
        self.tokens(item.tokens.clone());
    }
}

impl Module {
    fn tree(&mut self, tree: &syn::UseTree, before: &mut Place, handed_on: bool) {
        match tree {
            syn::UseTree::Path(path) => {
                before.push(path.ident.to_string());
                self.tree(&path.tree, before, handed_on);
                before.pop();
            }
            syn::UseTree::Group(group) => group.items.iter().for_each(|t| self.tree(t, before, handed_on)),
            syn::UseTree::Glob(_) => self.globs.push(before.clone()),
            syn::UseTree::Name(name) => self.import(&name.ident, &name.ident, before, handed_on),
            syn::UseTree::Rename(name) => self.import(&name.ident, &name.rename, before, handed_on),
        }
    }

    fn import(&mut self, from: &syn::Ident, to: &syn::Ident, before: &Place, handed_on: bool) {
        let (mut path, mut to) = (before.clone(), to.to_string());
        if from == "self" {
            if to == "self" {
                to = before.last().cloned().unwrap_or_default();
            }
        } else {
            path.push(from.to_string());
        }
        // Who hands a name on does not use it.
        if !handed_on {
            self.paths.push(path.clone());
        }
        self.imports.insert(to, path);
    }

    /// Names in the words of a macro, which no parser reads as Rust.
    fn tokens(&mut self, tokens: TokenStream) {
        let mut path: Place = Vec::new();
        let mut colons = 0;
        for token in tokens {
            match token {
                TokenTree::Ident(word) => {
                    if colons != 2 {
                        self.paths.push(std::mem::take(&mut path));
                    }
                    path.push(word.to_string());
                    colons = 0;
                }
                TokenTree::Punct(sign) if sign.as_char() == ':' => colons += 1,
                TokenTree::Group(group) => {
                    self.tokens(group.stream());
                    colons = 0;
                }
                _ => colons = 0,
            }
        }
        self.paths.push(path);
    }
}

fn name(file: &[String]) -> String {
    if file.is_empty() { "lib".to_owned() } else { file.join("/") }
}

fn is_below(file: &str, other: &str) -> bool {
    other == "lib" || file.strip_prefix(other).is_some_and(|rest| rest.starts_with('/'))
}

fn only_for_tests(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|a| {
        a.path().is_ident("cfg") && a.parse_args::<syn::Path>().is_ok_and(|condition| condition.is_ident("test"))
    })
}

fn attributes(item: &syn::Item) -> &[syn::Attribute] {
    match item {
        syn::Item::Const(i) => &i.attrs,
        syn::Item::Enum(i) => &i.attrs,
        syn::Item::Fn(i) => &i.attrs,
        syn::Item::Impl(i) => &i.attrs,
        syn::Item::Macro(i) => &i.attrs,
        syn::Item::Mod(i) => &i.attrs,
        syn::Item::Static(i) => &i.attrs,
        syn::Item::Struct(i) => &i.attrs,
        syn::Item::Trait(i) => &i.attrs,
        syn::Item::Type(i) => &i.attrs,
        syn::Item::Use(i) => &i.attrs,
        _ => &[],
    }
}

fn is_public_type(item: &syn::Item) -> bool {
    let visibility = match item {
        syn::Item::Struct(i) => &i.vis,
        syn::Item::Enum(i) => &i.vis,
        syn::Item::Union(i) => &i.vis,
        syn::Item::Trait(i) => &i.vis,
        syn::Item::Type(i) => &i.vis,
        _ => return false,
    };
    matches!(visibility, syn::Visibility::Public(_))
}

fn defined(item: &syn::Item) -> Option<String> {
    let ident = match item {
        syn::Item::Const(i) => &i.ident,
        syn::Item::Enum(i) => &i.ident,
        syn::Item::Fn(i) => &i.sig.ident,
        syn::Item::Static(i) => &i.ident,
        syn::Item::Struct(i) => &i.ident,
        syn::Item::Trait(i) => &i.ident,
        syn::Item::Type(i) => &i.ident,
        syn::Item::Macro(i) => i.ident.as_ref()?,
        _ => return None,
    };
    Some(ident.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(files: &[(&str, &str)]) -> Layout {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        Layout::read(&folder.path().join("lib.rs"))
    }

    fn circles(files: &[(&str, &str)]) -> Vec<Vec<String>> {
        layout(files).circles().into_iter().collect()
    }

    #[test]
    fn names_are_followed_to_the_file_that_defines_them() {
        let found = layout(&[
            ("lib.rs", "mod a; mod b; mod words; mod top { pub use crate::a::deep::*; }"),
            ("a/mod.rs", "pub mod deep; pub use deep::Thing as Renamed;"),
            ("a/deep.rs", "pub struct Thing; pub struct Other;"),
            ("b.rs", "use crate::{a::{Renamed}, words as w}; fn f(_: super::top::Other) { w::say!(1) }"),
            ("words.rs", "pub(crate) use std::println as say;"),
        ])
        .uses();
        let said: Vec<_> = found.iter().map(|(a, b)| format!("{a} {b}")).collect();
        assert_eq!(said, ["b a/deep", "b words"]);
    }

    #[test]
    fn circles_are_found_in_every_way_to_write_them() {
        let both = |a: &str, b: &str| circles(&[("lib.rs", "mod a; mod b;"), ("a.rs", a), ("b.rs", b)]);
        let ab = [["a", "b"]];
        assert_eq!(both("use crate::b::B; pub struct A;", "use super::{a::A}; pub struct B;"), ab);
        assert_eq!(both("pub fn f() { crate::b::f() }", "pub fn f() { vec![super::a::f()]; }"), ab);
        assert_eq!(both("pub fn f() -> crate::b::B {}", "use crate::a::*; pub struct B; fn g() { f() }"), ab);
        let without: [Vec<String>; 0] = [];
        assert_eq!(
            both("use crate::b::B; pub struct A;", "pub struct B; #[cfg(test)] mod tests { use crate::a::A; }"),
            without
        );
    }

    #[test]
    fn a_module_and_the_one_above_it_make_no_circle_but_siblings_through_it_do() {
        let child = ("a/child.rs", "use super::A; pub struct Child(A);");
        let above = ("a.rs", "mod child; pub struct A; fn f(_: child::Child) {}");
        assert!(circles(&[("lib.rs", "mod a;"), above, child]).is_empty());
        let far = ("a/child.rs", "use crate::b::B; pub struct Child(B);");
        let found = circles(&[("lib.rs", "mod a; mod b;"), above, far, ("b.rs", "use crate::a::A; pub struct B;")]);
        assert_eq!(found, [["a", "a/child", "b"]]);
    }

    #[test]
    fn public_types_are_told_with_their_files() {
        let found = layout(&[
            ("lib.rs", "mod a; pub struct One; pub(crate) struct Inner;"),
            ("a.rs", "pub enum One {} pub trait Two {} pub fn three() {} #[cfg(test)] mod tests { pub struct One; }"),
        ]);
        let mut types: Vec<_> = found.public_types().map(|(name, file)| format!("{name} {file}")).collect();
        types.sort();
        assert_eq!(types, ["One a", "One lib", "Two a"]);
    }
}
