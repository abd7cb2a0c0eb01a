//! YAML means the same here as it does to kubectl, whose reader is sigs.k8s.io/yaml: what it made of these texts
//! (version 1.6.0, strict) is written beside them.

use clearwater::yaml;
use proptest::prelude::*;
use serde_json::{Value, json};

#[test]
fn reads_what_kubectl_reads() {
    let cases = [
        ("v: yes", json!(true)),
        ("v: no", json!(false)),
        ("v: on", json!(true)),
        ("v: off", json!(false)),
        ("v: y", json!(true)),
        ("v: n", json!(false)),
        ("v: Yes", json!(true)),
        ("v: NO", json!(false)),
        ("v: Off", json!(false)),
        ("v: true", json!(true)),
        ("v: 0644", json!(420)),
        ("v: 0o644", json!(420)),
        ("v: 0755", json!(493)),
        ("v: 08", json!(8.0)),
        ("v: 007", json!(7)),
        ("v: 00", json!(0)),
        ("v: -0644", json!(-420)),
        ("v: +0644", json!(420)),
        ("v: 0_7", json!(7)),
        ("v: 1_000", json!(1000)),
        ("v: 0x1F", json!(31)),
        ("v: 0b11", json!(3)),
        ("v: +1", json!(1)),
        ("v: -0", json!(0)),
        ("v: ~", Value::Null),
        ("v: null", Value::Null),
        ("v:", Value::Null),
        ("v: 1.10", json!(1.1)),
        ("v: 0.10", json!(0.1)),
        ("v: 09.5", json!(9.5)),
        ("v: .5", json!(0.5)),
        ("v: 1:30", json!("1:30")),
        ("v: 190:20:30", json!("190:20:30")),
        ("v: 2001-01-01", json!("2001-01-01")),
        ("v: '0644'", json!("0644")),
        ("v: !!str 0644", json!("0644")),
        ("v: =", json!("=")),
        ("v: 5060/TCP", json!("5060/TCP")),
        ("v: 12345678901234567890", json!(12_345_678_901_234_567_890_u64)),
        ("v: \"\\tx\"", json!("\tx")),
        ("v: |\n  x\n  y\n", json!("x\ny\n")),
        ("v: >\n  x\n  y\n", json!("x y\n")),
    ];
    let mut wrong = Vec::new();
    for (text, kubectl) in cases {
        let read: Value = yaml::read_one(text).unwrap_or_else(|e| panic!("{text:?}: {e}"));
        if read["v"] != kubectl {
            wrong.push(format!("{text:?}: kubectl {kubectl}, here {}", read["v"]));
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
}

/// Two spellings that nobody writes in a manifest are read otherwise: kubectl makes 10.5 of the first, and refuses the
/// second because JSON has no such number.
#[test]
fn known_differences() {
    for (text, read) in [("v: 1_0.5", "1_0.5"), ("v: .inf", ".inf")] {
        assert_eq!(yaml::read_one::<Value>(text).unwrap()["v"], json!(read));
    }
}

#[test]
fn refuses_what_kubectl_refuses() {
    for text in ["a: 1\na: 2\n", "v: a: b", "v: @x", "v: [", "a: *x"] {
        assert!(yaml::read_one::<Value>(text).is_err(), "{text:?}");
    }
    let e = yaml::read_one::<Value>("a: 1\nb:\n  c: 1\n  c: 2\n").unwrap_err();
    assert_eq!(e.to_string(), "line 4, column 3: duplicate mapping key `c` is not allowed here");
}

#[test]
fn merges_as_kubectl_does() {
    let read: Value = yaml::read_one("a: &a {x: 1, y: 1}\nb:\n  <<: *a\n  x: 2\n").unwrap();
    assert_eq!(read["b"], json!({"x": 2, "y": 1}));
}

#[test]
fn writes_many_one_after_the_other() {
    assert_eq!(yaml::write_many(&[json!({"a": 1}), json!({"a": 2})]).unwrap(), "a: 1\n---\na: 2\n");
}

/// Texts that readers of YAML take for something else.
const TRICKY: &[&str] = &[
    "",
    " ",
    "yes",
    "no",
    "on",
    "off",
    "y",
    "n",
    "Y",
    "N",
    "NO",
    "Off",
    "true",
    "False",
    "null",
    "Null",
    "~",
    "-",
    "--",
    "---",
    "...",
    "=",
    "<<",
    "0",
    "00",
    "08",
    "0644",
    "0o17",
    "0x1F",
    "0b11",
    "1_000",
    "+1",
    "-1",
    "1.10",
    "1e3",
    ".5",
    "5.",
    ".inf",
    "-.Inf",
    ".nan",
    "1:30",
    "190:20:30",
    "2001-01-01",
    "2001-01-01T00:00:00Z",
    "a: b",
    "a #b",
    "# a",
    "a:",
    ":a",
    "- a",
    "?",
    "? a",
    "*a",
    "&a",
    "!a",
    "%a",
    "@a",
    "`a",
    "|",
    ">",
    "{a}",
    "[a]",
    "a,b",
    "'a'",
    "\"a\"",
    "a'b",
    "\\n",
    "a\\tb",
    " a",
    "a ",
    "\ta",
    "a\t",
    "a\nb",
    "a\nb\n",
    "\na",
    "a\n\nb\n\n",
    "\ta\nb",
    "\n\ta\n",
    " a\nb",
    "  \na",
    "a\r\nb",
    "a\rb",
    "\u{0}",
    "\u{7f}",
    "\u{85}",
    "\u{2028}",
    "\u{feff}a",
    "é",
    "日本",
    "😀",
    "a\u{a0}b",
];

#[test]
fn writes_tricky_texts_so_that_they_stay() {
    let all: Value = TRICKY
        .iter()
        .enumerate()
        .map(|(n, t)| (format!("k{n:02}"), json!(t)))
        .collect::<serde_json::Map<_, _>>()
        .into();
    assert_eq!(yaml::read_one::<Value>(&yaml::write_one(&all).unwrap()).unwrap(), all);
    for text in TRICKY {
        for value in [json!({"v": text}), json!([text]), json!({*text: "v"}), json!({"v": [{"w": text}]})] {
            let written = yaml::write_one(&value).unwrap();
            assert_eq!(yaml::read_one::<Value>(&written).unwrap(), value, "{written}");
        }
    }
}

/// kubectl: "found a tab character where an indentation space is expected".
#[test]
fn no_block_begins_with_a_tab() {
    for text in ["\ta\nb", "\n\ta\n", "\n\n\t\n"] {
        let written = yaml::write_one(&json!({"v": text, "script": "#!/bin/sh\necho\n"})).unwrap();
        assert!(!written.contains("\n  \t") && !written.contains("|\n"), "{written}");
    }
    let script = yaml::write_one(&json!({"v": "#!/bin/sh\n\techo\n"})).unwrap();
    assert_eq!(script, "v: |\n  #!/bin/sh\n  \techo\n");
}

#[test]
fn long_lines_stay_on_one_line() {
    let long = "word ".repeat(60);
    let written = yaml::write_one(&json!({"v": long})).unwrap();
    assert_eq!(written.lines().count(), 1, "{written}");
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        prop::sample::select(TRICKY).prop_map(Value::from),
        "[ \\t\\n#:'\"a-]{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[ \\t\\n#:'\"a-]{0,6}|\\PC{0,4}", inner, 0..4)
                .prop_map(|m| m.into_iter().collect::<serde_json::Map<_, _>>().into()),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read(value in value()) {
        let written = yaml::write_one(&value).unwrap();
        prop_assert_eq!(&yaml::read_one::<Value>(&written).unwrap(), &value, "{}", written);
    }

    #[test]
    fn no_text_makes_it_panic(text in "(\\PC|[\\n\\t :\\-\\[{}\\]&*!|>'\"%@#])*") {
        let _ = yaml::read_one::<Value>(&text);
    }
}
