use proptest::prelude::*;

use super::*;

const KUBEADM: &str = ".:53 {\n    errors\n    health {\n       lameduck 5s\n    }\n    ready\n    kubernetes \
    cluster.local in-addr.arpa ip6.arpa {\n       pods insecure\n       fallthrough in-addr.arpa ip6.arpa\n       \
    ttl 30\n    }\n    cache 30\n    loop\n    reload\n}\n";

fn domain() -> Name {
    "cluster.local".parse().unwrap()
}

fn lines() -> Vec<String> {
    vec![
        "rewrite name exact a.cluster.local b.cluster.local".to_owned(),
        "template IN SRV a {".to_owned(),
        "    fallthrough".to_owned(),
        "}".to_owned(),
    ]
}

/// Shapes that CoreDNS accepts and that a careless editor would break.
fn odd_files() -> Vec<(&'static str, String)> {
    let body = "errors\n  kubernetes cluster.local {\n    ttl 5\n  }\n";
    vec![
        ("kubeadm", KUBEADM.to_owned()),
        ("CRLF", KUBEADM.replace('\n', "\r\n")),
        ("tabs", KUBEADM.replace("    ", "\t")),
        ("no end of line at the end", KUBEADM.trim_end().to_owned()),
        ("byte order mark", format!("\u{feff}{KUBEADM}")),
        ("a comment after the brace", KUBEADM.replacen('{', "{ # the root", 1)),
        ("a directive after the brace", KUBEADM.replacen("{\n    errors", "{ errors", 1)),
        ("no braces", format!(".:53\n{body}")),
        ("no braces and comments", format!("# first\n.:53 # the root\n{body}# last")),
        ("brace on the next line", format!(".:53\n{{\n  {body}}}\n")),
        ("a comma and two lines of keys", format!("cluster.local:53,\n.:1053 {{\n  {body}}}\n")),
        ("a scheme", format!("dns://.:53 {{\n  {body}}}\n")),
        (
            "a quoted brace",
            format!(".:53 {{\n  template IN A x \"{{ not a block\" {{\n    answer \"a }} b\"\n  }}\n  {body}}}\n"),
        ),
        ("a quoted line break", format!(".:53 {{\n  log \"two\nlines\"\n  {body}}}\n")),
        ("an escaped quote", format!(".:53 {{\n  log \"a \\\" b\"\n  {body}}}\n")),
        ("a snippet", format!("(k8s) {{\n  {body}}}\n.:53 {{\n  import k8s\n  cache\n}}\n")),
        (
            "an import beside it",
            format!("import ../custom/*.server\n.:53 {{\n  {body}  import ../custom/*.override\n}}\n"),
        ),
        (
            "several blocks",
            format!("example.org {{\n  file db\n}}\n.:53 {{\n  {body}}}\nother.org:5300 {{\n  whoami\n}}\n"),
        ),
        ("two blocks that serve the domain", format!(".:53 {{\n  {body}}}\n.:5353 {{\n  {body}}}\n")),
        (
            "a rewrite of its own",
            KUBEADM.replacen("errors", "rewrite name exact foo.cluster.local bar.cluster.local\n    errors", 1),
        ),
        ("an empty line with blanks", KUBEADM.replacen("    errors", "  \n\n    errors", 1)),
        ("a comment that holds a brace", KUBEADM.replacen("    errors", "    # } not the end {\n    errors", 1)),
        ("a hash inside a word", KUBEADM.replacen("errors", "errors#comment", 1)),
        ("an environment variable", KUBEADM.replacen(".:53", ".:{$DNS_PORT}", 1)),
    ]
}

#[test]
fn odd_files_are_edited_and_restored() {
    let owner = Owner::namespace("ims");
    for (what, text) in odd_files() {
        let before = Corefile::parse(&text).unwrap_or_else(|e| panic!("{what}: {e}"));
        assert_eq!(before.to_string(), text, "{what}");
        let after = before.with_lines(&owner, &domain(), &lines()).unwrap_or_else(|e| panic!("{what}: {e}"));
        let blocks = after.serving_kubernetes(&domain());
        assert!(blocks.iter().all(|b| b.directives[0].name == "rewrite"), "{what}:\n{after}");
        assert!(blocks.iter().all(|b| b.directives[1].name == "template"), "{what}:\n{after}");
        assert_eq!(after.with_lines(&owner, &domain(), &lines()).as_ref(), Ok(&after), "{what}: twice");
        assert_eq!(after.without_lines(&owner), text, "{what}: restored");
    }
}

#[test]
fn two_owners_live_side_by_side() {
    let [a, b] = ["a", "b"].map(Owner::namespace);
    let start = Corefile::parse(KUBEADM).unwrap();
    let one = start.with_lines(&a, &domain(), &lines()).unwrap();
    let both = one.with_lines(&b, &domain(), &lines()).unwrap();
    assert_eq!(both.lines_of(&a), lines().iter().map(|l| l.trim().to_owned()).collect::<Vec<_>>());
    assert_eq!(both.without_lines(&b), one.to_string());
    // Neither is moved by the other's patch, so that none of them is ever stale.
    assert_eq!(both.with_lines(&a, &domain(), &lines()).as_ref(), Ok(&both));
    assert_eq!(both.with_lines(&b, &domain(), &lines()).as_ref(), Ok(&both));
    let only_b = Corefile::parse(&both.without_lines(&a)).unwrap();
    assert_eq!(only_b.without_lines(&b), KUBEADM);
}

#[test]
fn a_block_of_our_own_stands_beside_the_others_and_goes_without_a_trace() {
    let owner = Owner::namespace("ims");
    let block = ["ims.clearwater.cluster.local:53 {", "    etcd", "}"].map(str::to_owned);
    for (what, text) in odd_files() {
        let before = Corefile::parse(&text).unwrap();
        match before.with_block(&owner, &block) {
            Ok(after) => {
                let own = |b: &Block| b.keys == ["ims.clearwater.cluster.local:53"];
                assert_eq!(after.blocks().iter().filter(|b| own(b)).count(), 1, "{what}");
                assert_eq!(after.blocks().len(), before.blocks().len() + 1, "{what}");
                assert_eq!(after.with_block(&owner, &block).as_ref(), Ok(&after), "{what}: twice");
                assert_eq!(after.without_lines(&owner), text, "{what}: restored");
            }
            Err(error) => {
                assert_eq!((error, what.starts_with("no braces")), (EditError::Braceless, true), "{what}");
            }
        }
    }
}

#[test]
fn domains_are_found_as_coredns_reads_them() {
    let known = BTreeMap::from([("CLUSTER_DOMAIN".to_owned(), "cluster.local".to_owned())]);
    let read = |text: &str| Corefile::parse_in(text, &known).unwrap();
    for text in [
        ".:53 {\n kubernetes {$CLUSTER_DOMAIN} in-addr.arpa ip6.arpa {\n  pods insecure\n }\n}\n",
        ".:53 {\n kubernetes {%CLUSTER_DOMAIN%}\n}\n",
        ".:53 {\n kubernetes \"Cluster.LOCAL.\" 10.0.0.0/8\n}\n",
        "dns://{$CLUSTER_DOMAIN}:53 10.96.0.0/12 {\n kubernetes\n}\n",
        "CLUSTER.local 10.in-addr.arpa {\n kubernetes\n}\nexample.org {\n whoami\n}\n",
        "(k) {\n kubernetes cluster.local\n}\n. {\n import k\n}\n",
    ] {
        let file = read(text);
        assert_eq!(file.kubernetes_domains(), ["cluster.local"], "{text}");
        assert_eq!(file.serving_kubernetes(&domain()).len(), 1, "{text}");
        assert_eq!(file.to_string(), text, "nothing of the text changes");
        let edited = file.with_lines(&Owner::namespace("ims"), &domain(), &lines()).unwrap();
        assert_eq!(edited.without_lines(&Owner::namespace("ims")), text);
        assert_eq!(edited.kubernetes_domains(), ["cluster.local"], "{text}");
    }
    let other = read("b.example {\n kubernetes b.example\n}\n.:53 {\n kubernetes {$OTHER} cluster.local\n}\n");
    assert_eq!(other.kubernetes_domains(), ["b.example", "cluster.local"]);
    assert_eq!(other.unknown_kubernetes_domains(), ["{$OTHER}"]);
}

#[test]
fn a_half_deleted_section_is_made_whole_and_goes_away() {
    let owner = Owner::namespace("ims");
    let whole = Corefile::parse(KUBEADM).unwrap().with_lines(&owner, &domain(), &lines()).unwrap();
    let first = whole.as_str().lines().find(|l| l.contains("rewrite")).unwrap();
    let half = Corefile::parse(&whole.as_str().replace(&format!("{first}\n"), "")).unwrap();
    assert_eq!(half.with_lines(&owner, &domain(), &lines()).unwrap(), whole);
    assert_eq!(half.without_lines(&owner), KUBEADM);
}

#[test]
fn what_coredns_refuses_is_refused_with_its_line() {
    for (text, line) in [
        (".:53 {\n  errors\n", 2),
        (".:53 {\n  kubernetes cluster.local {\n  }\n", 3),
        (".:53\nerrors\n}\n", 3),
        ("{\n}\n", 1),
        (".:53 {\n}\n}\n", 3),
        (".:53 {\n  {\n}\n", 2),
        ("a, {\n}\n", 1),
        ("a,", 1),
    ] {
        let error = Corefile::parse(text).expect_err(text);
        assert_eq!(error.line, line, "{text:?}: {error}");
    }
}

#[test]
fn a_file_without_our_domain_is_not_touched() {
    let file = Corefile::parse("import /etc/coredns/zones/*\nexample.org {\n  kubernetes example.org\n}\n").unwrap();
    let error = file.with_lines(&Owner::namespace("ims"), &domain(), &lines()).expect_err("no block");
    insta::assert_snapshot!(error, @"no server block serves cluster.local with the kubernetes plugin (`import /etc/coredns/zones/*` may, but its file is not in this ConfigMap); name the block's owner, or choose another backend");
}

proptest! {
    #[test]
    fn anything_that_parses_is_restored(text in "[.:a-z0-9{}()\" \\\\#,\t\r\n]{0,200}", serve in any::<bool>()) {
        let text = if serve { format!("{text}\n{KUBEADM}") } else { text };
        if let Ok(file) = Corefile::parse(&text) {
            prop_assert_eq!(file.as_str(), text.as_str());
            let owner = Owner::namespace("ims");
            if let Ok(edited) = file.with_lines(&owner, &domain(), &lines()) {
                prop_assert_eq!(edited.without_lines(&owner), text);
            }
        }
    }
}
