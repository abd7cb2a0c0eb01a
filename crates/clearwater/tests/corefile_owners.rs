//! Several owners' lines in Corefiles of every shape: put in in any order, any of them taken out in any order, the bytes
//! are those that the others alone give.
#![allow(clippy::unwrap_used, reason = "helpers of tests are outside test functions")]

use clearwater::dns::Name;
use clearwater::dns::corefile::{Corefile, Directive, EditError, Owner, without_owned};
use proptest::prelude::*;
use proptest::sample::select;

/// How an owner's lines stand in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Section {
    /// At the head of each block that serves the domain.
    Lines,
    /// As a server block of its own.
    Block,
}

#[derive(Clone, Copy, Debug)]
enum Change {
    Put(usize, Section),
    Remove(usize),
}

fn domain() -> Name {
    "cluster.local".parse().unwrap()
}

fn owner(n: usize) -> Owner {
    // One name begins and ends with another: marks are compared as a whole.
    Owner::namespace(["ims", "ims-two", "two", "my-ims"][n])
}

fn put(file: &Corefile, n: usize, section: Section) -> Result<Corefile, EditError> {
    match section {
        Section::Lines => {
            let mut lines = vec![format!("rewrite name exact a{n}.cluster.local. b{n}.cluster.local.")];
            if n % 2 == 1 {
                lines.extend([format!("template IN SRV a{n} {{"), "    fallthrough".to_owned(), "}".to_owned()]);
            }
            file.with_lines(&owner(n), &domain(), &lines)
        }
        Section::Block => {
            let lines = [format!("n{n}.clearwater.cluster.local:53 {{"), "    etcd".to_owned(), "}".to_owned()];
            file.with_block(&owner(n), &lines)
        }
    }
}

fn removed(file: &Corefile, n: usize) -> Corefile {
    let text = file.without_lines(&owner(n));
    Corefile::parse(&text).unwrap_or_else(|e| panic!("{e} is left of\n{file}:\n{text}"))
}

/// What the block of others' says, plugin by plugin, whoever's lines stand beside it.
#[expect(clippy::type_complexity, reason = "blocks with their directives, for comparison alone")]
fn directives(file: &Corefile) -> Vec<(Vec<String>, Vec<(String, Vec<String>)>)> {
    let blocks =
        file.blocks().iter().filter(|b| b.keys.first().is_none_or(|k| !k.ends_with(".clearwater.cluster.local:53")));
    let all = blocks.map(|b| {
        let ours = |d: &Directive| match (d.name.as_str(), d.args.get(2)) {
            ("rewrite", Some(name)) => name.len() == "a0.cluster.local.".len() && name.ends_with(".cluster.local."),
            ("template", Some(name)) => name.len() == "a0".len(),
            _ => false,
        };
        let others = b.directives.iter().filter(|d| !ours(d));
        (b.keys.clone(), others.map(|d| (d.name.clone(), d.args.clone())).collect())
    });
    all.collect()
}

/// Server blocks as people write them, and as nobody should.
fn block() -> impl Strategy<Value = String> {
    let keys = select(vec![".:53", "cluster.local:53 .:1053", "dns://.", ".:53,\n.:1054", "(s)", "example.org"]);
    let opening = select(vec![" {\n    ", " { ", " {\t", " {   ", " { # the root\n  ", "\n{\n", " {#\n", " {\n\n\n\t"]);
    let directive = select(vec![
        "errors",
        "errors # said",
        "log \"a b\"",
        "log \"two\nlines\"",
        "health {\n       lameduck 5s\n    }",
        "kubernetes cluster.local",
        "kubernetes cluster.local in-addr.arpa {\n       ttl 30\n    }",
        "kubernetes",
        "import s",
        "import ../custom/*.override",
        "rewrite name exact foo.cluster.local bar.cluster.local",
        "# } not the end {",
        "# kubectl-clearwater was here",
    ]);
    let between = select(vec!["\n    ", "\n", "\n\t", "\n\n  ", " # and\n    "]);
    let closing = select(vec!["\n}\n", "\n} ", "\n}", "\n} # done\n", "}\n"]);
    (keys, opening, prop::collection::vec((directive, between), 1..4), closing).prop_map(
        |(keys, opening, directives, closing)| {
            let mut text = format!("{keys}{opening}");
            for (i, (directive, between)) in directives.iter().enumerate() {
                if i > 0 {
                    text.push_str(between);
                }
                text.push_str(directive);
            }
            text.push_str(closing);
            text
        },
    )
}

fn file() -> impl Strategy<Value = String> {
    let before = select(vec!["", "", "# kept by hand\n", "import ../custom/*.server\n", "\u{feff}", "\n\n", ".:53\n"]);
    let mutation = (any::<prop::sample::Index>(), select(vec!["", " ", "\n", "}", "{", "#", "\"", "\r", " { ", "\t"]));
    let parts = (before, prop::collection::vec(block(), 1..4), prop::collection::vec(mutation, 0..3));
    (parts, any::<bool>(), any::<bool>()).prop_map(|((before, blocks, mutations), crlf, cut)| {
        let mut text: Vec<String> = format!("{before}{}", blocks.concat()).chars().map(String::from).collect();
        for (at, with) in mutations {
            let at = at.index(text.len());
            with.clone_into(&mut text[at]);
        }
        let mut text = text.concat();
        if crlf {
            text = text.replace('\n', "\r\n");
        }
        if cut {
            text.truncate(text.trim_end().len());
        }
        text
    })
}

fn changes() -> impl Strategy<Value = Vec<Change>> {
    let section = prop_oneof![3 => Just(Section::Lines), 1 => Just(Section::Block)];
    let change = prop_oneof![
        3 => (0..4_usize, section).prop_map(|(n, section)| Change::Put(n, section)),
        2 => (0..4_usize).prop_map(Change::Remove),
    ];
    prop::collection::vec(change, 1..12)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn any_owner_goes_as_if_it_had_never_come(text in file(), changes in changes()) {
        let Ok(base) = Corefile::parse(&text) else { return Ok(()) };
        let mut now = base.clone();
        let mut there: Vec<(usize, Section)> = Vec::new();
        for change in changes {
            match change {
                Change::Put(n, section) if there.iter().all(|(o, _)| *o != n) => {
                    let edited = put(&now, n, section);
                    prop_assert_eq!(edited.is_ok(), put(&base, n, section).is_ok(), "others decide in\n{}", now);
                    let Ok(edited) = edited else { continue };
                    let again = put(&edited, n, section);
                    prop_assert_eq!(again.as_ref(), Ok(&edited), "put in twice");
                    now = edited;
                    there.push((n, section));
                }
                Change::Put(..) => continue,
                Change::Remove(n) => {
                    now = removed(&now, n);
                    there.retain(|(o, _)| *o != n);
                }
            }
            let alone = there.iter().try_fold(base.clone(), |file, (n, section)| put(&file, *n, *section)).unwrap();
            prop_assert_eq!(now.as_str(), alone.as_str());
            prop_assert_eq!(directives(&now), directives(&base), "others' plugins in\n{}", now);
            // What may be left of others' braces does not matter to whose lines are whose.
            let (n, broken) = (there.first().map_or(0, |(n, _)| *n), format!("{now}\n}}"));
            prop_assert_eq!(without_owned(&broken, &owner(n)), format!("{}\n}}", now.without_lines(&owner(n))));
        }
        for (n, _) in there {
            now = removed(&now, n);
        }
        prop_assert_eq!(now.as_str(), text);
    }
}

/// What was seen on clusters: a directive on the line of the opening brace, two owners, the first to come goes first.
#[test]
fn an_opening_that_shares_its_line_is_given_back_whoever_goes_first() {
    for text in [".:53 { kubernetes cluster.local\n}\n", ".:53 {\tkubernetes cluster.local {\r\n}\r\n}"] {
        let base = Corefile::parse(text).unwrap();
        let both = put(&put(&base, 0, Section::Lines).unwrap(), 1, Section::Lines).unwrap();
        assert_eq!(removed(&both, 0), put(&base, 1, Section::Lines).unwrap());
        assert_eq!(removed(&both, 1), put(&base, 0, Section::Lines).unwrap());
        assert_eq!(removed(&removed(&both, 0), 1).as_str(), text);
    }
}

/// Files that an earlier version wrote: one break, marked by the mark alone, for two owners.
#[test]
fn files_of_an_earlier_version_are_given_back_too() {
    let text = ".:53 { kubernetes cluster.local\n}\n";
    let old = ".:53 { # kubectl-clearwater ims\n    rewrite name exact c. d. # kubectl-clearwater two\n    rewrite name \
        exact a. b. # kubectl-clearwater ims\n kubernetes cluster.local\n}\n";
    let old = Corefile::parse(old).unwrap();
    assert_eq!(old.lines_of(&owner(0)), ["rewrite name exact a. b."]);
    for order in [[0, 2], [2, 0]] {
        let left = order.into_iter().fold(old.clone(), |file, n| removed(&file, n));
        assert_eq!(left.as_str(), text, "{order:?}");
    }
    // A third comes, and all go.
    let three = put(&old, 3, Section::Lines).unwrap();
    for order in [[0, 2, 3], [3, 0, 2], [2, 3, 0], [0, 3, 2]] {
        let left = order.into_iter().fold(three.clone(), |file, n| removed(&file, n));
        assert_eq!(left.as_str(), text, "{order:?}");
    }
}

#[test]
fn the_lines_that_were_put_in_are_told_once_for_two_blocks() {
    let body = "errors\n  kubernetes cluster.local\n";
    let base = Corefile::parse(&format!(".:53 {{\n  {body}}}\n.:5353 {{ {body}}}\n")).unwrap();
    let both = put(&base, 0, Section::Lines).unwrap();
    assert_eq!(both.lines_of(&owner(0)).len(), 2);
    assert_eq!(both.lines_in(&owner(0), &domain()), ["rewrite name exact a0.cluster.local. b0.cluster.local."]);
}
