//! Names, records and what each backend makes of them.
#![allow(clippy::unwrap_used, reason = "helpers of tests are outside test functions")]

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use clearwater::component::{Component, Release};
use clearwater::config::shared::{Pod, rendered, secret_values};
use clearwater::config::{Deployment, DeploymentFile, DnsBackend, Keys};
use clearwater::dns::corefile::{Corefile, Owner};
use clearwater::dns::skydns::{self, SkyDnsError};
use clearwater::dns::{
    Cscf, GivenBy, Name, RecordData, RecordType, RecordsError, Rules, Targets, Zone, ZoneDiff, client_records,
    client_rules, needs, questions, records, rules, sub_domains,
};
use hickory_proto::rr::{Name as HickoryName, RData, RecordType as HickoryType};
use proptest::prelude::*;

const CLASSIC: &str = "release: classic\nimages: {registry: registry.example:5000/cw, tag: '2016'}\n";

fn deployment(yaml: &str) -> Deployment {
    DeploymentFile::parse(&format!("apiVersion: clearwater/v1\n{yaml}"), "clearwater.yaml")
        .and_then(|file| file.deploy("ims"))
        .unwrap_or_else(|e| panic!("{e}"))
}

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// An address for everything: 10.1.N.1 for the N-th component, two for sprout.
fn targets(d: &Deployment) -> Targets {
    let mut targets = Targets::default();
    for (n, entry) in d.components().enumerate() {
        targets = targets.with(entry.component, [ip(&format!("10.1.{n}.1"))]);
    }
    targets.with(Component::Sprout, [ip("10.1.9.2")])
}

fn backends(release: Release) -> Vec<DnsBackend> {
    let mut list = vec![DnsBackend::Auto, DnsBackend::Coredns, DnsBackend::Etcd, DnsBackend::Print];
    if release == Release::Classic {
        list.extend([DnsBackend::Pods, DnsBackend::Endpoints]);
    }
    list
}

fn label(backend: DnsBackend) -> String {
    serde_json::to_value(backend).unwrap().as_str().unwrap().to_owned()
}

#[test]
fn the_names_that_each_release_needs() {
    for (release, yaml) in [
        ("hunter", String::new()),
        ("hunter-hss", "hss: {hostname: hss}\n".to_owned()),
        ("classic", CLASSIC.to_owned()),
        ("classic-etcd", format!("{CLASSIC}dns: {{backend: etcd}}\n")),
        ("classic-elsewhere", format!("{CLASSIC}zone: ims.example.com\ndns: {{backend: coredns}}\n")),
    ] {
        let mut text = String::new();
        for need in needs(&deployment(&yaml)).unwrap() {
            let types: Vec<_> = need.types.iter().map(|t| t.name()).collect();
            let askers: Vec<_> = need.askers.iter().map(ToString::to_string).collect();
            let target = need.target.map_or("-", Component::name);
            let optional = if need.optional { " (optional)" } else { "" };
            text += &format!("{} {} -> {target}, by {:?}{optional}\n", need.name, types.join("/"), need.given_by);
            text += &format!("  asked by {}\n  for {}\n  without: {}\n", askers.join(", "), need.why, need.without);
        }
        insta::assert_snapshot!(format!("needs_{release}"), text);
    }
}

#[test]
fn the_records_of_each_release_and_backend() {
    for (release, yaml) in [(Release::Hunter, ""), (Release::Classic, CLASSIC)] {
        for backend in backends(release) {
            let mut yaml = yaml.to_owned();
            if backend != DnsBackend::Auto {
                yaml += &format!("dns: {{backend: {}}}\n", label(backend));
            }
            let d = deployment(&yaml);
            let zone = records(&d, backend, &targets(&d)).unwrap();
            assert!(cnames_stand_alone(&zone));
            insta::assert_snapshot!(format!("records_{release}_{}", label(backend)), zone);
        }
    }
    let d = deployment("");
    insta::assert_snapshot!("records_clients", client_records(&d, &targets(&d)).unwrap());
}

#[test]
fn what_each_backend_stores() {
    let classic = deployment(&format!("{CLASSIC}dns: {{backend: coredns}}\n"));
    insta::assert_snapshot!("corefile_classic", rules(&classic).unwrap().corefile_lines().unwrap().join("\n"));
    let elsewhere = deployment(&format!("{CLASSIC}zone: ims.example.com\ndns: {{backend: coredns}}\n"));
    insta::assert_snapshot!("corefile_elsewhere", rules(&elsewhere).unwrap().corefile_lines().unwrap().join("\n"));
    let hunter = deployment("");
    assert!(rules(&hunter).unwrap().is_empty(), "hunter in its own zone needs no rule");
    let clients = client_rules(&hunter).unwrap().unwrap();
    insta::assert_snapshot!("corefile_clients", clients.corefile_lines().unwrap().join("\n"));

    let etcd = deployment(&format!("{CLASSIC}dns: {{backend: etcd}}\n"));
    let vip = Targets::default().with(Component::Sprout, [ip("10.96.0.77"), ip("fd00::77")]);
    let zone = records(&etcd, DnsBackend::Etcd, &vip).unwrap();
    let keys = skydns::keys(&zone, &[name("svc.cluster.local")]).unwrap();
    insta::assert_snapshot!("etcd_v3", skydns::etcd_v3_put(&keys));
    insta::assert_snapshot!("etcd_v2", skydns::etcd_v2_put(&keys, "http://10.0.0.5:2379/"));
    insta::assert_snapshot!("json", serde_json::to_string_pretty(&zone).unwrap());

    let labels: Vec<_> = sub_domains(&classic, DnsBackend::Endpoints).unwrap().into_iter().map(|s| s.label).collect();
    assert_eq!(labels, ["scscf", "icscf", "bgcf"]);
    let labels: Vec<_> = sub_domains(&classic, DnsBackend::Pods).unwrap().into_iter().map(|s| s.label).collect();
    assert_eq!(labels, ["scscf", "icscf"]);
    assert_eq!(sub_domains(&hunter, DnsBackend::Print).unwrap(), []);
}

/// The article's key: its S-CSCF sub-domain as SkyDNS kept it.
#[test]
fn values_have_the_articles_form() {
    let zone: Zone = "scscf.sprout.default.cluster.local. 30 IN A 30.0.28.133\n".parse().unwrap();
    let keys = skydns::keys(&zone, &[name("svc.cluster.local")]).unwrap();
    assert_eq!(keys.len(), 1);
    assert!(keys[0].path.starts_with("/skydns/local/cluster/default/sprout/scscf/"));
    assert_eq!(keys[0].value, r#"{"host":"30.0.28.133","priority":10,"weight":10,"ttl":30,"targetstrip":0}"#);
    let value: serde_json::Value = serde_json::from_str(&keys[0].value).unwrap();
    assert_eq!(value["host"], "30.0.28.133");
}

#[test]
fn skydns_keys_that_would_lie_are_refused() {
    let owned = [name("svc.cluster.local")];
    let fails = |text: &str| skydns::keys(&text.parse().unwrap(), &owned).unwrap_err();
    let said = fails("icscf.sprout.default.svc.cluster.local. 30 IN A 10.0.0.1\n");
    assert!(matches!(said, SkyDnsError::Owned { .. }));
    assert!(said.to_string().contains("swept away"), "{said}");
    let said = fails("a.x. 30 IN A 10.0.0.1\nb.a.x. 30 IN A 10.0.0.2\n");
    assert!(matches!(&said, SkyDnsError::Answer { name: n, .. } if *n == name("a.x")));
    let found = r#"A would come out as ["10.0.0.1", "10.0.0.2"] instead of ["10.0.0.1"]"#;
    assert!(said.to_string().contains(found), "{said}");
    let said = fails("a.x. 30 IN NAPTR 10 50 \"s\" \"SIP+D2T\" \"\" _sip._tcp.a.x.\n");
    assert_eq!(said.to_string(), "a.x: SkyDNS' format has no NAPTR records; use the coredns backend for them");
    let alias = fails("a.x. 30 IN A 10.0.0.1\nb.a.x. 30 IN CNAME c.x.\n");
    assert!(matches!(alias, SkyDnsError::Answer { .. }), "a name-valued child would give its parent a CNAME");
    assert!(skydns::keys(&"b.a.x. 30 IN CNAME c.x.\n".parse().unwrap(), &owned).is_ok());
    assert!(skydns::keys(&"_sip._tcp.a.x. 30 IN SRV 1 100 3 c.y.\n".parse().unwrap(), &owned).is_ok());
    let said = fails("_sip._tcp.a.x. 30 IN SRV 1 10 3 c.y.\n").to_string();
    assert!(said.contains("\"1 100 3 c.y.\""), "weights come out as shares of a hundred: {said}");
}

/// Configuration and DNS cannot disagree: everything that a container's settings make it ask for is a need, and what
/// Kubernetes does not answer is among the records of the backend.
#[test]
fn configuration_asks_for_nothing_that_dns_does_not_know() {
    for (release, yaml) in [(Release::Hunter, ""), (Release::Classic, CLASSIC)] {
        for backend in backends(release) {
            let mut yaml = yaml.to_owned();
            if backend != DnsBackend::Auto {
                yaml += &format!("dns: {{backend: {}}}\n", label(backend));
            }
            let d = deployment(&yaml);
            let pod = Pod { ip: "10.1.2.3".to_owned(), ..Pod::default() };
            let vips = d.sprout_alias().map(|_| (Component::Sprout, vec!["10.96.0.77".parse().unwrap()]));
            let vips = vips.into_iter().collect();
            let files = rendered(&d, &vips, &pod, &secret_values(&Keys::upstream(), None)).unwrap();
            let needs = needs(&d).unwrap();
            let zone = records(&d, d.names().backend(), &targets(&d)).unwrap();
            let asked = questions(&files.settings().unwrap());
            assert!(asked.len() > 8, "{asked:?}");
            for question in asked {
                let why = format!("{release}, {backend:?}: {} of {}", question.name, question.setting);
                let need = needs.iter().find(|n| n.name == question.name && n.types == question.types);
                let need = need.unwrap_or_else(|| panic!("{why} is not needed by anybody"));
                match need.given_by {
                    GivenBy::Service => {
                        let service = question.name.as_str().strip_suffix(".ims.svc.cluster.local");
                        let is_service = service.is_some_and(|s| !s.contains('.'));
                        assert!(is_service, "{why} cannot be a Service's name");
                    }
                    GivenBy::Backend => {
                        assert!(question.types.iter().any(|t| zone.get(&question.name, *t).is_some()), "{why}");
                    }
                    GivenBy::Elsewhere => assert_eq!(backend, DnsBackend::Print, "{why}"),
                }
            }
        }
    }
}

#[test]
fn the_article_configuration_asks_for_what_kubernetes_cannot_give() {
    let listing = include_str!("golden/article-shared_config");
    let settings = clearwater::config::shell::Settings::parse(listing).unwrap();
    let asked = questions(&settings);
    assert!(asked.iter().any(|q| q.name == name("scscf.sprout.default.svc.cluster.local")));
}

#[test]
fn uris_are_asked_for_as_rfc_3263_says() {
    let ask = |uri: &str| {
        let text = format!("scscf_uri='{uri}'\n");
        let settings = clearwater::config::shell::Settings::parse(&text).unwrap();
        questions(&settings).into_iter().map(|q| format!("{} {}", q.name, q.types[0])).collect::<Vec<_>>()
    };
    assert_eq!(ask("sip:s.x:5054;transport=tcp"), ["s.x A"]);
    assert_eq!(ask("sip:s.x;transport=TCP"), ["_sip._tcp.s.x SRV"]);
    assert_eq!(ask("sip:s.x;lr"), ["s.x NAPTR"]);
    assert_eq!(ask("sip:scscf@s.x:5054"), ["s.x A"]);
    assert_eq!(ask("sip:10.0.0.1:5054"), Vec::<String>::new());
    assert_eq!(ask("sip:[fd00::1]:5054"), Vec::<String>::new());
    assert_eq!(ask("tel:+1"), Vec::<String>::new());
}

#[test]
fn a_missing_address_is_named() {
    let d = deployment(CLASSIC);
    let said = records(&d, DnsBackend::Coredns, &Targets::default()).unwrap_err();
    assert!(matches!(said, RecordsError::NoAddress { component: Component::Sprout, .. }));
    assert!(
        said.to_string().starts_with("scscf.sprout.ims.svc.cluster.local: no address of sprout is known"),
        "{said}"
    );
}

#[test]
fn pods_are_divided_by_function() {
    let d = deployment(CLASSIC);
    let targets = Targets::default().with_cscf(Cscf::Icscf, [ip("10.1.0.1")]).with_cscf(Cscf::Scscf, [ip("10.1.0.2")]);
    let zone = records(&d, DnsBackend::Pods, &targets).unwrap();
    assert_eq!(
        zone.to_string(),
        "icscf.sprout.ims.svc.cluster.local. 30 IN A 10.1.0.1\nscscf.sprout.ims.svc.cluster.local. 30 IN A 10.1.0.2\n"
    );
}

#[test]
fn rules_fit_into_a_real_corefile_and_out_again() {
    let text = ".:53 {\n    errors\n    kubernetes cluster.local in-addr.arpa ip6.arpa {\n        pods insecure\n    }\n    \
                forward . /etc/resolv.conf\n}\n";
    let mut all = rules(&deployment(&format!("{CLASSIC}dns: {{backend: coredns}}\n"))).unwrap();
    all.merge(client_rules(&deployment("")).unwrap().unwrap());
    let lines = all.corefile_lines().unwrap();
    assert!(lines.iter().all(|l| !l.contains('\n')));
    let owner = Owner::namespace("ims");
    let corefile = Corefile::parse(text).unwrap();
    let edited = corefile.with_lines(&owner, &name("cluster.local"), &lines).unwrap();
    let plugins: BTreeSet<_> = edited.blocks()[0].directives.iter().map(|d| d.name.as_str()).collect();
    assert_eq!(plugins, BTreeSet::from(["errors", "forward", "kubernetes", "rewrite", "template"]));
    assert_eq!(edited.without_lines(&owner), text);
    let answers: Vec<_> = edited.blocks()[0]
        .directives
        .iter()
        .filter(|d| d.name == "template" && d.args[1] == "NAPTR")
        .flat_map(|d| d.args.clone())
        .filter(|a| a.contains("SIP+D2T"))
        .collect();
    let naptr = "{{ .Name }} 30 IN NAPTR 10 50 \"s\" \"SIP+D2T\" \"\" _sip._tcp.ims.svc.cluster.local.";
    assert_eq!(answers, [naptr], "quotes come back out of the Corefile's own quoting");
}

#[test]
fn rules_that_contradict_each_other_are_refused() {
    let mut chained = Rules::default();
    chained.aliases.insert(name("a.x"), name("b.x"));
    chained.aliases.insert(name("b.x"), name("c.x"));
    assert!(chained.corefile_lines().unwrap_err().to_string().contains("is itself rewritten"));
    let mut double = Rules::default();
    double.aliases.insert(name("a.x"), name("c.x"));
    double.aliases.insert(name("b.x"), name("c.x"));
    let naptr = RecordData::parse(RecordType::Naptr, "10 50 \"s\" \"SIP+D2T\" \"\" _sip._tcp.a.x.").unwrap();
    double.records.insert(name("a.x"), 30, naptr.clone());
    assert!(double.corefile_lines().is_ok());
    double.records.insert(name("b.x"), 30, naptr);
    assert!(double.corefile_lines().unwrap_err().to_string().contains("is rewritten to the same name"));
    let mut addressed = Rules::default();
    addressed.aliases.insert(name("a.x"), name("c.x"));
    addressed.records.insert(name("a.x"), 30, ip("10.0.0.1").into());
    assert!(addressed.corefile_lines().unwrap_err().to_string().contains("has addresses of its own"));
}

#[test]
fn a_home_domain_outside_of_the_cluster_is_not_hidden_from_it() {
    let d = deployment("homeDomain: example.com\n");
    assert_eq!(client_rules(&d).unwrap(), None);
    let zone = client_records(&d, &targets(&d)).unwrap();
    assert!(zone.get(&name("example.com"), RecordType::Naptr).is_some(), "they can be printed for DNS elsewhere");
}

#[test]
fn a_diff_reads_as_lines_that_go_and_come() {
    let before: Zone = "a.x. 30 IN A 10.0.0.1\na.x. 30 IN A 10.0.0.2\nb.x. 30 IN A 10.0.0.3\n".parse().unwrap();
    let after: Zone = "a.x. 30 IN A 10.0.0.1\na.x. 30 IN A 10.0.0.9\nc.x. 60 IN CNAME a.x.\n".parse().unwrap();
    let diff = ZoneDiff::between(&before, &after);
    assert_eq!(
        diff.to_string(),
        "- a.x. 30 IN A 10.0.0.2\n+ a.x. 30 IN A 10.0.0.9\n- b.x. 30 IN A 10.0.0.3\n+ c.x. 60 IN CNAME a.x.\n"
    );
    assert_eq!(ZoneDiff::between(&after, &after).to_string(), "");
}

#[test]
fn zone_files_that_are_not_read_say_why() {
    for (text, said) in [
        ("a.x 30 IN A 1.2.3.4", r#"line 1: the name "a.x" does not end in a dot; only absolute names are read"#),
        ("; nothing\n\na.x. 30 CH A 1.2.3.4", r#"line 3: the class is "CH"; only IN is read"#),
        ("a.x. soon IN A 1.2.3.4", r#"line 1: "soon" is not a number of seconds"#),
        ("a.x. 30 IN MX 10 b.x.", r#"line 1: "MX" is not a type that is read here"#),
        ("a.x.", "line 1: a record reads NAME TTL IN TYPE DATA"),
        ("a.x. 30 IN SRV 1 2 3", r#"line 1: "1 2 3" is not the data of a record of type SRV: the target is missing"#),
        (
            "a.x. 30 IN A 1.2.3.4 5",
            r#"line 1: "1.2.3.4 5" is not the data of a record of type A: "5" is one word too many"#,
        ),
        (r#"a.x. 30 IN NAPTR 1 1 "s SIP "" b."#, "line 1: a quote is not closed"),
        ("a.x. 30 IN SOA (", "line 1: records over several lines are not read"),
        ("-a.x. 30 IN A 1.2.3.4", r#"line 1: "-a.x" is not a DNS name: the label "-a" begins or ends with a hyphen"#),
    ] {
        assert_eq!(Zone::from_str(text).unwrap_err().to_string(), said);
    }
}

fn arbitrary_name() -> impl Strategy<Value = Name> {
    prop::collection::vec("_?[a-c]([a-c0-9-]{0,3}[a-c0-9])?", 1..4).prop_map(|labels| labels.join(".").parse().unwrap())
}

fn arbitrary_data() -> impl Strategy<Value = RecordData> {
    let text = || "[ -~]{0,6}";
    prop_oneof![
        (0u32..5).prop_map(|n| RecordData::A(Ipv4Addr::from(n))),
        (0u128..5).prop_map(|n| RecordData::Aaaa(Ipv6Addr::from(n << 60))),
        arbitrary_name().prop_map(RecordData::Cname),
        (any::<u16>(), any::<u16>(), any::<u16>(), arbitrary_name())
            .prop_map(|(priority, weight, port, target)| RecordData::Srv { priority, weight, port, target }),
        (any::<u16>(), any::<u16>(), "[a-zA-Z0-9]{0,2}", text(), text(), arbitrary_name()).prop_map(
            |(order, preference, flags, service, regexp, replacement)| RecordData::Naptr {
                order,
                preference,
                flags,
                service,
                regexp,
                replacement
            }
        ),
    ]
}

/// Zones of few names, so that two of them meet; empty ones and repeated records too.
fn arbitrary_zone() -> impl Strategy<Value = Zone> {
    let record = (prop::sample::select(vec!["a.x", "b.a.x", "c.x", "_sip._tcp.c.x"]), 1u32..3, arbitrary_data());
    prop::collection::vec(record, 0..8).prop_map(|records| {
        let mut zone = Zone::new();
        for (at, ttl, data) in records.iter().chain(records.first()) {
            zone.insert(name(at), *ttl, data.clone());
        }
        zone
    })
}

/// Whether no CNAME stands beside other records, which RFC 1034 §3.6.2 forbids.
fn cnames_stand_alone(zone: &Zone) -> bool {
    zone.sets()
        .filter(|(_, record_type, _)| *record_type == RecordType::Cname)
        .all(|(name, _, set)| set.data().count() == 1 && zone.sets().filter(|(other, ..)| *other == name).count() == 1)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn zone_algebra(a in arbitrary_zone(), b in arbitrary_zone()) {
        let diff = ZoneDiff::between(&a, &b);
        prop_assert_eq!(diff.apply(&a), b.clone());
        prop_assert_eq!(diff.is_empty(), a == b);
        prop_assert_eq!(diff.to_string().is_empty(), a == b);
        prop_assert_eq!(diff.apply(&b), b.clone(), "a second time changes nothing");
        prop_assert!(ZoneDiff::between(&a, &a).is_empty());
        // The printed lines, taken by hand, make the same change.
        let mut lines: BTreeSet<String> = a.to_string().lines().map(str::to_owned).collect();
        for line in diff.to_string().lines() {
            let (sign, line) = line.split_at(2);
            if sign == "- " {
                prop_assert!(lines.remove(line));
            } else {
                prop_assert!(lines.insert(line.to_owned()));
            }
        }
        prop_assert_eq!(lines, b.to_string().lines().map(str::to_owned).collect());
    }

    #[test]
    fn texts_give_the_zone_back(zone in arbitrary_zone()) {
        prop_assert_eq!(zone.to_string().parse(), Ok(zone.clone()));
        let json = serde_json::to_string(&zone).unwrap();
        prop_assert_eq!(serde_json::from_str::<Zone>(&json).unwrap(), zone.clone());
        prop_assert_eq!(zone.records().count(), zone.len());
        prop_assert_eq!(zone.names().count(), zone.names().collect::<BTreeSet<_>>().len());
    }

    /// Another reader of zone files sees the same records.
    #[test]
    fn others_read_the_same(zone in arbitrary_zone()) {
        if !cnames_stand_alone(&zone) {
            return Ok(());
        }
        let origin = HickoryName::from_ascii("x.").unwrap();
        let text = zone.loadable(&name("x"), 7);
        prop_assert_eq!(text.parse::<Zone>().unwrap(), zone.clone());
        let parser = hickory_proto::serialize::txt::Parser::new(&text, None, Some(origin));
        let (_, sets) = parser.parse().unwrap_or_else(|e| panic!("{e}\n{text}"));
        let mut found = BTreeSet::new();
        for set in sets.values() {
            for record in set.records_without_rrsigs() {
                if !matches!(record.record_type(), HickoryType::SOA | HickoryType::NS) {
                    let at = record.name.to_ascii();
                    found.insert((at.trim_end_matches('.').to_owned(), record.record_type().to_string(), seen(&record.data)));
                }
            }
        }
        let expected = zone.records().map(|(n, _, data)| (n.to_string(), data.record_type().to_string(), said(data))).collect();
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn nothing_panics(text in "\\PC{0,60}", lines in prop::collection::vec("a\\.x\\. 3 IN (A|SRV|NAPTR|CNAME) [ -~]{0,20}", 0..3)) {
        let _ = Zone::from_str(&text);
        let _ = Zone::from_str(&lines.join("\n"));
        let _ = Name::from_str(&text);
    }

    /// Whatever keys come out, a SkyDNS written for the test answers from them as the zone says, and no key stands
    /// where others lie below it.
    #[test]
    fn skydns_answers_as_the_zone_says(
        ips in prop::collection::btree_set(1u32..4, 1..3),
        names in prop::collection::btree_set("([ab]\\.){1,3}x", 1..4),
        service: bool,
        odd in prop::option::of(1u32..9),
    ) {
        let mut zone = Zone::new();
        for n in &names {
            for ip in &ips {
                zone.insert(name(n), 30, RecordData::A(Ipv4Addr::from(*ip)));
            }
        }
        if let (Some(n), Some(odd)) = (names.first(), odd) {
            zone.insert(name(n), 30, RecordData::A(Ipv4Addr::from(odd)));
        }
        if service && let Some(n) = names.last() {
            for ip in &ips {
                let host = name(&format!("h{ip}._sip._tcp.{n}"));
                zone.insert(host.clone(), 30, RecordData::A(Ipv4Addr::from(*ip)));
                let weight = 100 / u16::try_from(ips.len()).unwrap();
                let data = RecordData::Srv { priority: 1, weight, port: 5054, target: host };
                zone.insert(name(&format!("_sip._tcp.{n}")), 30, data);
            }
        }
        let Ok(keys) = skydns::keys(&zone, &[]) else {
            prop_assert!(odd.is_some(), "equal addresses everywhere are always possible");
            return Ok(());
        };
        for (n, key) in keys.iter().enumerate() {
            let below = format!("{}/", key.path);
            prop_assert!(keys.iter().enumerate().all(|(m, k)| m == n || (k.path != key.path && !k.path.starts_with(&below))));
        }
        for (at, record_type, set) in zone.sets() {
            let own = skydns::path(at);
            let found: BTreeSet<String> = keys
                .iter()
                .filter(|k| k.path == own || k.path.starts_with(&format!("{own}/")))
                .map(|k| {
                    let value: serde_json::Value = serde_json::from_str(&k.value).unwrap();
                    if record_type == RecordType::Srv {
                        let host: Vec<&str> = k.path.trim_start_matches("/skydns/").split('/').rev().collect();
                        format!("{} {} {} {}.", value["priority"], value["weight"], value["port"], host.join("."))
                    } else {
                        value["host"].as_str().unwrap().to_owned()
                    }
                })
                .collect();
            prop_assert_eq!(found, set.data().map(ToString::to_string).collect());
        }
    }
}

fn seen(data: &RData) -> String {
    match data {
        RData::A(ip) => ip.to_string(),
        RData::AAAA(ip) => ip.to_string(),
        RData::CNAME(n) => n.0.to_ascii().trim_end_matches('.').to_owned(),
        RData::SRV(s) => {
            format!("{} {} {} {}", s.priority, s.weight, s.port, s.target.to_ascii().trim_end_matches('.'))
        }
        RData::NAPTR(n) => {
            let text = |t: &[u8]| String::from_utf8(t.to_vec()).unwrap();
            let (flags, services, regexp) = (text(&n.flags), text(&n.services), text(&n.regexp));
            let replacement = n.replacement.to_ascii();
            format!(
                "{} {} {flags:?} {services:?} {regexp:?} {}",
                n.order,
                n.preference,
                replacement.trim_end_matches('.')
            )
        }
        other => panic!("{other:?}"),
    }
}

fn said(data: &RecordData) -> String {
    match data {
        RecordData::Cname(n) => n.to_string(),
        RecordData::Srv { priority, weight, port, target } => format!("{priority} {weight} {port} {target}"),
        RecordData::Naptr { order, preference, flags, service, regexp, replacement } => {
            format!("{order} {preference} {flags:?} {service:?} {regexp:?} {replacement}")
        }
        other => other.to_string(),
    }
}
