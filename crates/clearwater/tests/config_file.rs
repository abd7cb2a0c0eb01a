//! The deployment file: its schema, starter, overlays, limits and round trips.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use clearwater::component::{Component, Release, catalogue};
use clearwater::config::{
    BonoExposure, BonoService, Capabilities, ComponentOverrides, ConfigErrors, ContainerSecurity, DeploymentFile,
    DnsBackend, EllisExposure, Email, Hss, Ingress, IpFamily, KeyPolicy, NetworkPolicies, PodSecurityContext,
    ProblemKind, PullPolicy, Resources, SeLinuxOptions, SeccompProfile, SeccompType, SecretKey, SecurityContext,
    ServiceKind, Set, Size, Start, Storage, Tailer, Toleration, schema, starter,
};
use clearwater::yaml;
use proptest::prelude::*;

fn parse(text: &str) -> DeploymentFile {
    DeploymentFile::parse(text, "clearwater.yaml").unwrap_or_else(|e| panic!("{e}"))
}

/// Reads with flags put over it.
fn parse_with(text: &str, sets: &[&str]) -> Result<DeploymentFile, String> {
    let sets: Result<Vec<Set>, _> = sets.iter().map(|s| s.parse()).collect();
    let sets = sets.map_err(|e| e.to_string())?;
    DeploymentFile::parse_with(text, "clearwater.yaml", &sets).map_err(|e| e.to_string())
}

const SMALLEST: &str = "apiVersion: clearwater/v1\n";

#[test]
fn the_smallest_file_is_the_default() {
    assert_eq!(parse(SMALLEST), DeploymentFile::default());
    assert_eq!(DeploymentFile::default().to_yaml().unwrap(), SMALLEST);
}

#[test]
fn a_key_whose_value_is_commented_out_says_nothing() {
    let text =
        "apiVersion: clearwater/v1\ncomponents:\n#  bono: {replicas: 2}\nbono:\nimages: {tag: }\nkeys: ~\nhss:\n";
    assert_eq!(parse(text), DeploymentFile::default());
}

#[test]
fn the_committed_schema_is_the_generated_one() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/schema/clearwater.v1.json");
    let generated = serde_json::to_string_pretty(schema()).unwrap() + "\n";
    if std::env::var_os("INSTA_UPDATE").is_some_and(|v| v == "always") {
        std::fs::write(path, &generated).unwrap();
    }
    let committed = std::fs::read_to_string(path).unwrap_or_default();
    assert!(committed == generated, "{path} has drifted: run the tests with INSTA_UPDATE=always and commit it");
}

#[test]
fn starters_parse_and_are_the_defaults() {
    for release in Release::ALL {
        let text = starter(release, None);
        let file = parse(&text);
        assert_eq!(file.release, release);
        file.deploy("ims").unwrap_or_else(|e| panic!("{e}"));
        insta::with_settings!({ omit_expression => true, prepend_module_to_snapshot => false }, {
            insta::assert_snapshot!(format!("starter_{release}"), text);
        });
    }
    assert_eq!(parse(&starter(Release::Hunter, None)), DeploymentFile::default());
}

#[test]
fn sizes_are_deployments_and_every_figure_has_its_reason() {
    for release in Release::ALL {
        for size in Size::ALL {
            let text = starter(release, Some(size));
            let deployment = parse(&text).deploy("ims").unwrap();
            let left_out = starter(release, None);
            let head = left_out.split("#components:").next().unwrap();
            assert!(
                text.starts_with(head) && text.contains("\n#logLevel: 4\n") && !text.contains("disktype"),
                "{text}"
            );
            let lines: Vec<&str> = text.lines().collect();
            let of = |key: &str| lines.iter().filter(|l| l.trim_start().starts_with(key)).count();
            let count = catalogue(release).len();
            assert_eq!([of("replicas: "), of("requests: "), of("# cpu: "), of("# memory: ")], [count; 4], "{text}");
            assert_eq!(of("limits: "), if size == Size::Course { count } else { 0 });
            for (n, line) in lines.iter().enumerate() {
                if line.trim_start().starts_with("replicas: ") {
                    assert!(lines[n - 1].trim_start().starts_with("# ") && lines[n - 1].len() > 40, "{}", lines[n - 1]);
                }
            }
            for entry in catalogue(release) {
                let replicas = deployment.replicas(entry.component);
                let once = matches!(entry.component, Component::Etcd | Component::Ellis) || size != Size::Ha;
                assert_eq!(replicas == 1, once, "{release} {size} {}: {replicas}", entry.component);
            }
        }
    }
    insta::assert_snapshot!("starter_ha", starter(Release::Hunter, Some(Size::Ha)));
}

#[test]
fn what_starters_show_can_be_written() {
    for release in Release::ALL {
        let shown = uncommented(&starter(release, None));
        let errors = DeploymentFile::parse(&shown, "starter").err();
        let wrong: Vec<String> = errors
            .iter()
            .flat_map(ConfigErrors::problems)
            .filter(|p| p.kind != ProblemKind::Combination)
            .map(ToString::to_string)
            .collect();
        assert_eq!(wrong, Vec::<String>::new(), "{shown}");
    }
}

/// The file with every key that is shown taken in, the last of those given twice.
fn uncommented(text: &str) -> String {
    let example = |line: &str| {
        let rest = line.strip_prefix('#')?;
        // Prose has one blank after the `#` or a table's three; examples have none or an even indentation.
        let blanks = rest.len() - rest.trim_start().len();
        let key = rest.trim_start().trim_start_matches("- ").split([':', '{']).next()?;
        let is_key = !key.contains(' ') && rest.contains(':') || rest.trim_start().starts_with("- {");
        (blanks % 2 == 0 && is_key).then(|| rest.to_owned())
    };
    text.lines().filter(|l| *l != "keys: random").map(|l| example(l).unwrap_or_else(|| l.to_owned()) + "\n").collect()
}

#[test]
fn flags_are_put_over_the_file() {
    let text =
        "apiVersion: clearwater/v1\nimages: {tag: one}\nbono: {exposure: loadBalancer, addresses: [192.0.2.1]}\n";
    let file = parse_with(
        text,
        &[
            "images.tag=1.10",
            "images.registry=registry.example.com/ims",
            "bono.addresses[1]=192.0.2.2",
            "components.bono.replicas=2",
            "components.sprout.labels.example\\.com/team=voice",
            "sharedConfig={reg_max_expires: 0600}",
            "logLevel=4",
            "zone=",
        ],
    )
    .unwrap();
    assert_eq!(file.images.tag.as_deref(), Some("1.10"));
    assert_eq!(file.images.registry.as_deref(), Some("registry.example.com/ims"));
    assert_eq!(file.bono.addresses.len(), 2);
    assert_eq!(file.components[&Component::Bono].replicas, Some(2));
    assert_eq!(file.components[&Component::Sprout].labels["example.com/team"], "voice");
    assert_eq!(file.shared_config["reg_max_expires"], "0600");
    assert_eq!(file.log_level, Some(4));
    assert_eq!(file.zone, None);
    let again = parse_with(text, &["images.tag=a", "images.tag=b"]).unwrap();
    assert_eq!(again.images.tag.as_deref(), Some("b"), "the last one wins");
}

#[test]
fn a_flag_can_repair_a_file() {
    let text = "apiVersion: clearwater/v1\nrelease: classic\n";
    let alone = parse_with(text, &[]).unwrap_err();
    assert!(alone.contains("images.registry: missing") && alone.contains("images.tag: missing"), "{alone}");
    let file = parse_with(text, &["images.registry=registry.example.com/ims", "images.tag=2016"]).unwrap();
    assert_eq!((file.release, file.images.tag.as_deref()), (Release::Classic, Some("2016")));
    assert_eq!(file.images.registry.as_deref(), Some("registry.example.com/ims"));
}

#[test]
fn wrong_flags() {
    let cases: &[&[&str]] = &[
        &["bono.exposure=nodeport"],
        &["bono.exposrue=nodePort"],
        &["logLevel=9", "logLevel=high", "zone={a: b}"],
        &["bono.addresses[3]=192.0.2.1"],
        &["zone[0]=x"],
        &["images.tag=[x"],
        &["release=classic"],
        &["bono.addresses=[192.0.2.1, x]"],
        &["email.password=hunter2", "email.smarthost=mail"],
        &["bono.exposure"],
        &["=x"],
        &["a..b=x"],
        &["a[x]=y"],
        &["a[0]b=y"],
        &["a\\"],
        &[""],
    ];
    let mut table = String::new();
    for flags in cases {
        let said = parse_with(SMALLEST, flags).err().unwrap_or_else(|| "NOTHING WRONG".to_owned());
        let shown: Vec<String> = flags.iter().map(|f| format!("--set {f:?}")).collect();
        writeln!(table, "{}\n  {}", shown.join(" "), said.replace('\n', "\n  ")).unwrap();
    }
    insta::with_settings!({ omit_expression => true, prepend_module_to_snapshot => false }, {
        insta::assert_snapshot!("wrong_flags", table);
    });
}

#[test]
fn warnings() {
    let classic = "release: classic\nimages: {registry: registry.example.com/ims, tag: x}\n";
    let cases = [
        "zone: ims.example.com\n".to_owned(),
        format!("{classic}zone: ims.example.com\n"),
        "keys: upstream\n".to_owned(),
        "components: {astaire: {resources: {limits: {memory: 512Mi}}}}\n".to_owned(),
        "components: {sprout: {nodeSelector: {kubernetes.io/arch: arm64}}}\n".to_owned(),
        String::new(),
    ];
    let mut table = String::new();
    for case in cases {
        let file = parse(&format!("{SMALLEST}{case}"));
        let deployment = file.deploy("ims").unwrap_or_else(|e| panic!("{e}"));
        let said: Vec<String> = deployment.warnings().iter().map(|w| format!("  {w}\n")).collect();
        writeln!(table, "{case}{}", said.concat()).unwrap();
    }
    insta::with_settings!({ omit_expression => true, prepend_module_to_snapshot => false }, {
        insta::assert_snapshot!("warnings", table);
    });
}

#[test]
fn scalars_of_settings_are_taken_as_written() {
    let file = parse(
        "apiVersion: clearwater/v1\n\
         sharedConfig: {a: 0600, b: yes, c: 1.10, d: 'x y', e: 0x1F, f: 1_000}\n\
         components: {sprout: {env: {A: 007}, resources: {limits: {cpu: 2, memory: 1.5Gi}}}}\n",
    );
    let values: Vec<&str> = file.shared_config.values().map(String::as_str).collect();
    assert_eq!(values, ["0600", "yes", "1.10", "x y", "0x1F", "1_000"]);
    assert_eq!(file.components[&Component::Sprout].env["A"], "007");
    assert_eq!(file.components[&Component::Sprout].resources.as_ref().unwrap().limits["cpu"], "2");
}

#[test]
fn aliases_and_merges_are_followed() {
    let file = parse(
        "apiVersion: clearwater/v1\n\
         components:\n  sprout: &two {replicas: 2, labels: {example.com/a: b}}\n  homer: *two\n  ralf: {<<: *two, replicas: 3}\n",
    );
    let replicas = |c| file.components[&c].replicas;
    assert_eq!([Component::Sprout, Component::Homer, Component::Ralf].map(replicas), [Some(2), Some(2), Some(3)]);
    assert_eq!(file.components[&Component::Ralf].labels.len(), 1);
}

#[test]
fn what_is_too_large_is_refused() {
    let bomb = "a: &a [x,x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b]\n\
                d: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: [*e,*e,*e,*e,*e,*e,*e,*e,*e]\n";
    let deep = format!("labels: {}{}", "[".repeat(20_000), "]".repeat(20_000));
    let deep_block = (0..2_000).fold(String::new(), |text, n| text + &" ".repeat(n) + "a:\n");
    let long = format!("# {}\n", "x".repeat(4 * 1024 * 1024));
    for text in [bomb, &deep, &deep_block, &long] {
        let errors = DeploymentFile::parse(text, "f").unwrap_err();
        assert_eq!(errors.problems().len(), 1, "{errors}");
        assert_eq!(errors.problems()[0].kind, ProblemKind::Syntax, "{errors}");
    }
    let path = vec!["a"; 5_000].join(".");
    assert!(format!("{path}=x").parse::<Set>().is_err());
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z][a-z0-9-]{0,12}",
        "\\PC{0,12}",
        Just("yes".to_owned()),
        Just("0644".to_owned()),
        Just("~".to_owned()),
        Just("\ttab\nline".to_owned()),
        Just("# x: y".to_owned()),
        any::<String>(),
    ]
}

fn map() -> impl Strategy<Value = BTreeMap<String, String>> {
    prop::collection::btree_map(text(), text(), 0..4)
}

fn address() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        any::<u32>().prop_map(|n| IpAddr::V4(Ipv4Addr::from(n))),
        any::<u128>().prop_map(|n| IpAddr::V6(Ipv6Addr::from(n)))
    ]
}

fn overrides() -> BoxedStrategy<ComponentOverrides> {
    let tolerations = prop::collection::vec(
        (prop::option::of(text()), prop::option::of(prop_oneof![Just("Exists"), Just("Equal")]), any::<Option<i64>>()),
        0..3,
    );
    (
        (prop::option::of(1..1000_u32), prop::option::of(0..=5_u8)),
        prop::option::of(text()),
        prop::option::of((map(), map())),
        (map(), map(), map(), map()),
        tolerations,
        (prop::option::of(security_context()), prop::option::of(pod_security_context())),
    )
        .prop_map(
            |(
                (replicas, log_level),
                image,
                resources,
                (node_selector, labels, annotations, env),
                tolerations,
                (security_context, pod_security_context),
            )| {
                let toleration = |(key, operator, toleration_seconds): (_, Option<&str>, _)| Toleration {
                    key,
                    operator: operator.map(str::to_owned),
                    toleration_seconds,
                    ..Toleration::default()
                };
                ComponentOverrides {
                    storage: Storage {
                        persistent: log_level.map(|n| n % 2 == 0),
                        storage_class: image.clone(),
                        size: None,
                    },
                    replicas,
                    image,
                    resources: resources.map(|(requests, limits)| Resources { requests, limits }),
                    node_selector,
                    labels,
                    annotations,
                    log_level,
                    security_context,
                    pod_security_context,
                    env,
                    tolerations: tolerations.into_iter().map(toleration).collect(),
                }
            },
        )
        .boxed()
}

fn security_context() -> BoxedStrategy<SecurityContext> {
    let capabilities = prop::option::of(prop::collection::vec(text(), 0..2))
        .prop_map(|add| add.map(|add| Capabilities { add, drop: vec!["ALL".to_owned()] }));
    let flags = (any::<Option<bool>>(), any::<Option<bool>>(), prop::option::of(0..70_000_i64));
    let mapping = (capabilities, flags).prop_map(|(capabilities, (escalation, non_root, user))| {
        SecurityContext::Verbatim(Box::new(ContainerSecurity {
            capabilities,
            allow_privilege_escalation: escalation,
            run_as_non_root: non_root,
            run_as_user: user,
            ..ContainerSecurity::default()
        }))
    });
    prop_oneof![Just(SecurityContext::Default), Just(SecurityContext::Hardened), mapping].boxed()
}

fn pod_security_context() -> BoxedStrategy<PodSecurityContext> {
    let kinds = [SeccompType::RuntimeDefault, SeccompType::Localhost, SeccompType::Unconfined];
    let seccomp = (prop::sample::select(kinds.to_vec()), prop::option::of(text()));
    let groups = prop::collection::vec(0..70_000_i64, 0..2);
    (prop::option::of(seccomp), groups, prop::option::of(text()))
        .prop_map(|(seccomp, supplemental_groups, level)| PodSecurityContext {
            seccomp_profile: seccomp.map(|(type_, localhost_profile)| SeccompProfile { type_, localhost_profile }),
            supplemental_groups,
            se_linux_options: level.map(|level| SeLinuxOptions { level: Some(level), ..SeLinuxOptions::default() }),
            ..PodSecurityContext::default()
        })
        .boxed()
}

prop_compose! {
    fn file()(
        classic in any::<bool>(),
        (zone, home_domain, tag, registry) in (
            prop::option::of(text()), prop::option::of(text()), prop::option::of(text()), prop::option::of(text())
        ),
        (addresses, node_addresses, cluster_ips) in (
            prop::collection::vec(address(), 0..3),
            prop::collection::btree_map(text(), address(), 0..3),
            prop::collection::btree_map(
                prop::sample::select(Component::ALL.to_vec()), prop::collection::vec(address(), 0..3), 0..3
            ),
        ),
        choice in 0..24_usize,
        components in prop::collection::btree_map(prop::sample::select(Component::ALL.to_vec()), overrides(), 0..4),
        (shared_config, labels, annotations) in (map(), map(), map()),
        log_level in prop::option::of(0..=5_u8),
        (secret, key, username) in (text(), text(), prop::option::of(text())),
        node_port in any::<Option<u16>>(),
        pull_secrets in prop::collection::vec(text(), 0..3),
        (security, pod_security) in (security_context(), pod_security_context()),
        digests in prop::collection::btree_map(prop::sample::select(Component::ALL.to_vec()), text(), 0..3),
    ) -> DeploymentFile {
        let pick = |n: usize| choice % n;
        let release = if classic { Release::Classic } else { Release::Hunter };
        let mut file = DeploymentFile { release, ..DeploymentFile::default() };
        file.hss = zone.clone().filter(|_| pick(2) == 0).map(|hostname| Hss { hostname, realm: None });
        file.zone = zone;
        file.home_domain = home_domain;
        file.images.tag = tag;
        file.images.registry = registry;
        file.images.pull_secrets = pull_secrets;
        file.images.digests = digests;
        file.security_context = security;
        file.pod_security_context = pod_security;
        file.network_policy = [NetworkPolicies::None, NetworkPolicies::Isolate][pick(2)];
        file.images.pull_policy = [None, Some(PullPolicy::Always), Some(PullPolicy::IfNotPresent)][pick(3)];
        file.bono.exposure = [
            BonoExposure::Headless, BonoExposure::HostPort, BonoExposure::NodePort, BonoExposure::LoadBalancer,
            BonoExposure::ExternalIps
        ][pick(5)];
        file.bono.addresses = addresses;
        file.bono.annotations.clone_from(&annotations);
        file.ip_families = [&[][..], &[IpFamily::IPv4], &[IpFamily::IPv6, IpFamily::IPv4]][pick(3)].to_vec();
        file.bono.node_addresses = node_addresses;
        file.bono.service = [BonoService::Combined, BonoService::PerProtocol][pick(2)];
        file.ellis.exposure = [
            EllisExposure::None, EllisExposure::NodePort, EllisExposure::LoadBalancer, EllisExposure::Ingress
        ][pick(4)];
        file.ellis.node_port = node_port;
        file.ellis.ingress = Some(Ingress { host: secret.clone(), class_name: username.clone(), tls_secret: None })
            .filter(|_| pick(3) == 0);
        file.services = [ServiceKind::Headless, ServiceKind::ClusterIp][pick(2)];
        file.cluster_ips = cluster_ips;
        file.dns.backend = [
            DnsBackend::Auto, DnsBackend::Pods, DnsBackend::Coredns, DnsBackend::Etcd, DnsBackend::Endpoints,
            DnsBackend::Print
        ][pick(6)];
        file.components = components;
        file.log_level = log_level;
        file.shared_config = shared_config;
        file.email = Some(Email {
            smarthost: key.clone(), username, password: Some(SecretKey { secret: secret.clone(), key: key.clone() }), sender: None
        }).filter(|_| pick(2) == 1);
        file.keys = [KeyPolicy::Random, KeyPolicy::Upstream, KeyPolicy::Secret(secret.clone())][pick(3)].clone();
        file.tailer = [Tailer::None, Tailer::Sidecar][pick(2)];
        file.start = Start { hold: pick(2) == 0 };
        file.etcd_storage = Storage { persistent: [None, Some(true), Some(false)][pick(3)], storage_class: None, size: Some(key) };
        file.labels = labels;
        file.annotations = annotations;
        file
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    /// Reading what was written gives the same file, whether or not the values in it make sense.
    #[test]
    fn parse_of_render_is_the_identity(file in file()) {
        let written = file.to_yaml().unwrap();
        prop_assert_eq!(&yaml::read_one::<DeploymentFile>(&written).unwrap(), &file, "{}", written);
        match DeploymentFile::parse(&written, "f") {
            Ok(again) => prop_assert_eq!(again, file),
            // No value may have changed its type or gone missing on the way.
            Err(errors) => for problem in errors.problems() {
                let of_values = matches!(problem.kind, ProblemKind::Combination | ProblemKind::WrongValue)
                    || problem.key.to_string().contains(".resources.");
                prop_assert!(of_values, "{}\n{}", problem, written);
            }
        }
    }

    #[test]
    fn no_text_makes_it_panic(text in "(\\PC|\\n|\\t| ){0,200}", flags in prop::collection::vec("\\PC{0,30}", 0..3)) {
        let sets: Vec<Set> = flags.iter().filter_map(|f| f.parse().ok()).collect();
        let _ = DeploymentFile::parse_with(&text, "f", &sets);
        let _ = DeploymentFile::parse_with(SMALLEST, "f", &sets);
    }

    #[test]
    fn no_shuffled_file_makes_it_panic(
        lines in prop::collection::vec(prop::sample::select(starter(Release::Classic, None).lines().map(|l| l.trim_start_matches('#').to_owned()).collect::<Vec<_>>()), 0..40),
        namespace in "\\PC{0,20}",
    ) {
        let text = format!("{SMALLEST}{}", lines.join("\n"));
        if let Ok(file) = DeploymentFile::parse(&text, "f") {
            let _ = file.deploy(&namespace).map(|d| d.warnings());
        }
    }
}

#[test]
fn a_file_that_was_built_in_code_is_checked_as_one_that_was_read() {
    let sprout = ComponentOverrides { replicas: Some(0), log_level: Some(6), ..ComponentOverrides::default() };
    let components = [(Component::Sprout, sprout)].into();
    let file = DeploymentFile { log_level: Some(9), components, ..DeploymentFile::default() };
    let errors = file.deploy("ims").unwrap_err().to_string();
    for wrong in [
        "logLevel: 9 is out of range; allowed: 0 to 5",
        "components.sprout.replicas: 0 is out of range; allowed: 1 to 1000",
        "components.sprout.logLevel: 6 is out of range; allowed: 0 to 5",
    ] {
        assert!(errors.contains(wrong), "{errors}");
    }
    let read: DeploymentFile = serde_json::from_str(r#"{"apiVersion": "clearwater/v1", "logLevel": 9}"#).unwrap();
    assert!(read.deploy("ims").is_err());
}
