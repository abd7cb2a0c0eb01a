//! `shared_config` and `local_config`, held against real shells and against the generator's own steps done by bash and
//! sed.
#![allow(clippy::unwrap_used, reason = "helpers of tests are outside test functions")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use clearwater::component::{Component, Release};
use clearwater::config::generator::{Environment, Generated, GeneratorError, generate};
use clearwater::config::shared::{
    ContainerEnvironment, Pod, Unfit, VariableValue, check_secret_value, environment, rendered, secret_values,
};
use clearwater::config::shell::{Settings, echo_unquoted, quote};
use clearwater::config::{Deployment, DeploymentFile, Keys};
use proptest::prelude::*;

/// The generator's steps in the language they are written in. Templates are spelled out once more, so that neither
/// side can lean on the other.
const ORACLE: &str = r#"
shared_config=$PWD/out/shared_config
local_config=$PWD/out/local_config
mkdir -p out
printf '%s\n' '# This container'"'"'s addresses' local_ip= public_ip= public_hostname= etcd_cluster= '' \
  '# Logs are kept up to this many bytes' max_log_directory_size=52428800 >$local_config
{
  printf '%s\n' '# The deployment and its parts' home_domain=example.com
  for key in sprout hs hs_provisioning xdms ralf chronos cassandra; do printf '%s_hostname=\n' $key; done
  [ $RELEASE = classic ] || printf '%s=\n' sprout_registration_store ralf_session_store homestead_impu_store
  printf '%s\n' '' '# Mail that Ellis sends' smtp_smarthost=127.0.0.1 smtp_username=username smtp_password=password
  printf '%s\n' email_recovery_sender=clearwater@example.com '' '# Where the CSCFs are' upstream_hostname=
  [ $RELEASE = classic ] || printf '%s=\n' scscf_uri icscf_uri bgcf_uri
  printf '%s\n' '' '# Secrets' signup_key=secret turn_workaround=secret ellis_api_key=secret ellis_cookie_key=secret
  printf '%s\n' '' reduce_cassandra_mem_usage=Y
} >$shared_config

ip=$IP
[ -n "$ZONE" ] && zone_suffix=.$ZONE || zone_suffix=
if [ -n "$PUBLIC_IP" ]; then public_ip=$PUBLIC_IP; else public_ip=$ip; fi
if [ -n "$PUBLIC_HOSTNAME" ] && [ $RELEASE != classic ]; then
  public_hostname=$PUBLIC_HOSTNAME$zone_suffix
else
  public_hostname=$public_ip
fi
sed -e 's/^local_ip=.*$/local_ip='$ip'/g
        s/^public_ip=.*$/public_ip='$public_ip'/g
        s/^public_hostname=.*$/public_hostname='$public_hostname'/g' -i $local_config
sed -e '/^etcd_cluster=.*/d
        /^etcd_proxy=.*/d' -i $local_config
nameserver=`grep nameserver ./resolv.conf | cut -d ' ' -f 2`
nameserver=`echo $nameserver | tr ' ' ','`
if [ -n "$ETCD_PROXY" ]; then
  echo "etcd_proxy=$ETCD_PROXY" >> $local_config
  rm -f $shared_config
  exit
fi
echo "etcd_proxy=etcd0=http://etcd:2380" >> $local_config
home_domain=${ZONE:-example.com}
sprout_hostname=sprout$zone_suffix
hs=homestead hsprov=homestead-prov upstream_hostname=$sprout_hostname
if [ $RELEASE = classic ]; then
  [ -n "$ZONE" ] && hs=hs
  hsprov=$hs upstream_hostname=scscf.$sprout_hostname
fi
sed -e 's/^home_domain=.*$/home_domain='$home_domain'/g
        s/^sprout_hostname=.*$/sprout_hostname='$sprout_hostname'/g
        s/^xdms_hostname=.*$/xdms_hostname=homer'$zone_suffix':7888/g
        s/^hs_hostname=.*$/hs_hostname='$hs$zone_suffix':8888/g
        s/^hs_provisioning_hostname=.*$/hs_provisioning_hostname='$hsprov$zone_suffix':8889/g
        s/^upstream_hostname=.*$/upstream_hostname='$upstream_hostname'/g
        s/^ralf_hostname=.*$/ralf_hostname=ralf'$zone_suffix':10888/g
        s/^sprout_registration_store=.*$/sprout_registration_store=astaire'$zone_suffix'/g
        s/^homestead_impu_store=.*$/homestead_impu_store=astaire'$zone_suffix'/g
        s/^ralf_session_store=.*$/ralf_session_store=astaire'$zone_suffix'/g
        s/^chronos_hostname=.*$/chronos_hostname=chronos'$zone_suffix'/g
        s/^cassandra_hostname=.*$/cassandra_hostname=cassandra'$zone_suffix'/g
        s/^email_recovery_sender=.*$/email_recovery_sender=clearwater@'$home_domain'/g' -i $shared_config
if [ $RELEASE != classic ]; then
  sed -e '/^scscf_uri=.*/d' -i $shared_config
  echo "scscf_uri=\"sip:$sprout_hostname:5054;transport=tcp\"" >> $shared_config
  sed -e '/^icscf_uri=.*/d' -i $shared_config
  echo "icscf_uri=\"sip:$sprout_hostname:5052;transport=tcp\"" >> $shared_config
  sed -e '/^bgcf_uri=.*/d' -i $shared_config
  echo "bgcf_uri=\"sip:$sprout_hostname:5053;transport=tcp\"" >> $shared_config
  if [ -n "$HSS" ]; then
    echo "hss_hostname=$HSS$zone_suffix" >> $shared_config
    echo "hss_realm=$ZONE" >> $shared_config
    sed -e '/hs_provisioning/d' -i $shared_config
  fi
  echo -e $ADDITIONAL_SHARED_CONFIG >> $shared_config
fi
if [ -n "$nameserver" ]; then
  sed -e '/^signaling_dns_server=.*/d' -i $shared_config
  echo "signaling_dns_server=$nameserver" >> $shared_config
fi
"#;

fn run(program: &str, args: &[&str], dir: &Path, env: &BTreeMap<String, String>) -> Output {
    let path = if program == "bash" { "/usr/bin:/bin" } else { "/nonexistent" };
    Command::new(["/bin/", program].concat())
        .args(args)
        .current_dir(dir)
        .env_clear()
        .env("PATH", path)
        .envs(env)
        .stdin(Stdio::null())
        .output()
        .expect("the shell runs")
}

/// What bash and sed make of the environment; standard error must stay empty.
fn oracle(release: Release, env: &Environment) -> Generated {
    oracle_beside(release, env, None)
}

/// The same in a directory with one more file, which globs may match.
fn oracle_beside(release: Release, env: &Environment, file: Option<&str>) -> Generated {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("resolv.conf"), &env.resolv_conf).unwrap();
    if let Some(name) = file {
        fs::write(dir.path().join(name), "").unwrap();
    }
    let mut vars = BTreeMap::from([("RELEASE".to_owned(), release.to_string()), ("IP".to_owned(), env.ip.clone())]);
    let optional = [
        ("ZONE", &env.zone),
        ("PUBLIC_IP", &env.public_ip),
        ("PUBLIC_HOSTNAME", &env.public_hostname),
        ("HSS", &env.hss),
        ("ADDITIONAL_SHARED_CONFIG", &env.additional_shared_config),
        ("ETCD_PROXY", &env.etcd_proxy),
    ];
    vars.extend(optional.into_iter().filter_map(|(k, v)| Some((k.to_owned(), v.clone()?))));
    let output = run("bash", &["-c", ORACLE], dir.path(), &vars);
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    let read = |name| fs::read(dir.path().join("out").join(name)).ok();
    Generated {
        shared_config: read("shared_config").map(|b| String::from_utf8(b).unwrap()),
        local_config: String::from_utf8(read("local_config").unwrap()).unwrap(),
    }
}

/// The values of the keys after a shell has sourced the files, one after the other. No command can be found: the
/// shell's PATH leads nowhere.
fn source(shell: &str, files: &[&str], keys: &[&str]) -> Vec<Option<String>> {
    let dir = tempfile::tempdir().unwrap();
    let mut script = String::new();
    for (n, text) in files.iter().enumerate() {
        fs::write(dir.path().join(format!("f{n}")), text).unwrap();
        script.push_str(&format!(". ./f{n}\n"));
    }
    for key in keys {
        script
            .push_str(&format!("if [ \"${{{key}+set}}\" ]; then printf '=%s\\0' \"${key}\"; else printf '\\0'; fi\n"));
    }
    let output = run(shell, &["-c", &script], dir.path(), &BTreeMap::new());
    assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{shell} of {files:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let mut values: Vec<_> = text.split('\0').map(|v| v.strip_prefix('=').map(str::to_owned)).collect();
    values.pop();
    values
}

fn assert_sourced(files: &Generated, expected: &[(&str, &str)]) {
    let keys: Vec<&str> = expected.iter().map(|(k, _)| *k).collect();
    let values: Vec<_> = expected.iter().map(|(_, v)| Some((*v).to_owned())).collect();
    let texts: Vec<&str> = files.shared_config.iter().chain([&files.local_config]).map(String::as_str).collect();
    for shell in ["sh", "dash", "bash"] {
        let found = source(shell, &texts, &keys);
        for (key, (found, wanted)) in keys.iter().zip(found.iter().zip(&values)) {
            assert_eq!(found, wanted, "{key} as {shell} reads it");
        }
    }
    let settings = files.settings().unwrap();
    for (key, value) in expected {
        assert_eq!(settings.get(key), Some(*value), "{key} as the library reads it");
    }
}

/// Keys in the order in which they first stand.
fn order(text: &str) -> Vec<String> {
    let mut keys = Vec::new();
    for line in Settings::parse(text).unwrap().to_string().lines() {
        let (key, _) = line.split_once('=').unwrap();
        if !keys.iter().any(|k| k == key) {
            keys.push(key.to_owned());
        }
    }
    keys
}

fn base() -> Environment {
    Environment {
        ip: "10.1.2.3".to_owned(),
        resolv_conf: "search a.svc.cluster.local svc.cluster.local\nnameserver 10.96.0.10\noptions ndots:5\n"
            .to_owned(),
        ..Environment::default()
    }
}

fn zoned() -> Environment {
    Environment { zone: Some("a.svc.cluster.local".to_owned()), ..base() }
}

fn additional(text: &str) -> Environment {
    Environment { additional_shared_config: Some(text.to_owned()), ..zoned() }
}

const HUNTER_KEYS: &str = "home_domain sprout_hostname hs_hostname hs_provisioning_hostname xdms_hostname ralf_hostname \
    chronos_hostname cassandra_hostname sprout_registration_store ralf_session_store homestead_impu_store \
    smtp_smarthost smtp_username smtp_password email_recovery_sender upstream_hostname signup_key turn_workaround \
    ellis_api_key ellis_cookie_key reduce_cassandra_mem_usage scscf_uri icscf_uri bgcf_uri";

/// One environment: what it is, and what must come out.
#[derive(Clone)]
struct Case {
    name: &'static str,
    release: Release,
    env: Environment,
    /// Keys that follow the generated ones, less those that precede them.
    tail: &'static str,
    values: Vec<(&'static str, &'static str)>,
}

fn hunter(name: &'static str, env: Environment, tail: &'static str, values: &[(&'static str, &'static str)]) -> Case {
    Case { name, release: Release::Hunter, env, tail, values: values.to_vec() }
}

fn cases() -> Vec<Case> {
    [zones(), servers(), additional_settings(), classic()].concat()
}

/// With a zone and without, with public names and with an HSS.
fn zones() -> Vec<Case> {
    vec![
        hunter(
            "a zone",
            zoned(),
            "signaling_dns_server",
            &[
                ("home_domain", "a.svc.cluster.local"),
                ("sprout_hostname", "sprout.a.svc.cluster.local"),
                ("hs_hostname", "homestead.a.svc.cluster.local:8888"),
                ("hs_provisioning_hostname", "homestead-prov.a.svc.cluster.local:8889"),
                ("xdms_hostname", "homer.a.svc.cluster.local:7888"),
                ("ralf_hostname", "ralf.a.svc.cluster.local:10888"),
                ("chronos_hostname", "chronos.a.svc.cluster.local"),
                ("cassandra_hostname", "cassandra.a.svc.cluster.local"),
                ("sprout_registration_store", "astaire.a.svc.cluster.local"),
                ("homestead_impu_store", "astaire.a.svc.cluster.local"),
                ("ralf_session_store", "astaire.a.svc.cluster.local"),
                ("smtp_smarthost", "127.0.0.1"),
                ("smtp_username", "username"),
                ("smtp_password", "password"),
                ("email_recovery_sender", "clearwater@a.svc.cluster.local"),
                ("upstream_hostname", "sprout.a.svc.cluster.local"),
                ("signup_key", "secret"),
                ("turn_workaround", "secret"),
                ("ellis_api_key", "secret"),
                ("ellis_cookie_key", "secret"),
                ("reduce_cassandra_mem_usage", "Y"),
                ("scscf_uri", "sip:sprout.a.svc.cluster.local:5054;transport=tcp"),
                ("icscf_uri", "sip:sprout.a.svc.cluster.local:5052;transport=tcp"),
                ("bgcf_uri", "sip:sprout.a.svc.cluster.local:5053;transport=tcp"),
                ("signaling_dns_server", "10.96.0.10"),
                ("local_ip", "10.1.2.3"),
                ("public_ip", "10.1.2.3"),
                ("public_hostname", "10.1.2.3"),
                ("max_log_directory_size", "52428800"),
                ("etcd_proxy", "etcd0=http://etcd:2380"),
            ],
        ),
        hunter(
            "no zone",
            base(),
            "signaling_dns_server",
            &[
                ("home_domain", "example.com"),
                ("sprout_hostname", "sprout"),
                ("hs_hostname", "homestead:8888"),
                ("sprout_registration_store", "astaire"),
                ("email_recovery_sender", "clearwater@example.com"),
                ("scscf_uri", "sip:sprout:5054;transport=tcp"),
            ],
        ),
        hunter(
            "a public address",
            Environment { public_ip: Some("203.0.113.7".to_owned()), ..zoned() },
            "signaling_dns_server",
            &[("local_ip", "10.1.2.3"), ("public_ip", "203.0.113.7"), ("public_hostname", "203.0.113.7")],
        ),
        hunter(
            "a public host name",
            Environment { public_hostname: Some("edge".to_owned()), ..zoned() },
            "signaling_dns_server",
            &[("public_ip", "10.1.2.3"), ("public_hostname", "edge.a.svc.cluster.local")],
        ),
        hunter(
            "a public host name without a zone",
            Environment { public_hostname: Some("edge".to_owned()), ..base() },
            "signaling_dns_server",
            &[("public_hostname", "edge")],
        ),
        hunter(
            "an HSS",
            Environment { hss: Some("hss".to_owned()), ..zoned() },
            "hss_hostname hss_realm signaling_dns_server",
            &[("hss_hostname", "hss.a.svc.cluster.local"), ("hss_realm", "a.svc.cluster.local")],
        ),
        hunter(
            "an HSS without a zone",
            Environment { hss: Some("hss".to_owned()), ..base() },
            "hss_hostname hss_realm signaling_dns_server",
            &[("hss_hostname", "hss"), ("hss_realm", "")],
        ),
        hunter(
            "an HSS and additional settings",
            Environment { hss: Some("hss".to_owned()), ..additional(r"hss_realm=b.example\nlog_level=4") },
            "hss_hostname hss_realm log_level signaling_dns_server",
            &[("hss_realm", "b.example"), ("log_level", "4")],
        ),
    ]
}

/// What the pod itself is given.
fn servers() -> Vec<Case> {
    vec![
        hunter(
            "several name servers",
            Environment {
                resolv_conf: "# no comment\nnameserver 10.96.0.10\nnameserver fd00::a\nnameserver 8.8.8.8\n".to_owned(),
                ..zoned()
            },
            "signaling_dns_server",
            &[("signaling_dns_server", "10.96.0.10,fd00::a,8.8.8.8")],
        ),
        hunter(
            "name servers behind tabs, two blanks and a comment",
            Environment {
                resolv_conf: "# nameserver here\nnameserver\t10.96.0.10\nnameserver  8.8.8.8\n".to_owned(),
                ..zoned()
            },
            "signaling_dns_server",
            &[("signaling_dns_server", "nameserver,nameserver,10.96.0.10")],
        ),
        hunter("no name server", Environment { resolv_conf: String::new(), ..zoned() }, "", &[]),
        hunter(
            "an IPv6 pod",
            Environment { ip: "fd00::5".to_owned(), ..zoned() },
            "signaling_dns_server",
            &[("local_ip", "fd00::5")],
        ),
    ]
}

/// `ADDITIONAL_SHARED_CONFIG`, as a shell's echo prints it.
fn additional_settings() -> Vec<Case> {
    vec![
        hunter(
            "backslash-n between additional settings, the later one wins",
            additional(r"log_level=5\nsignup_key=other\nlog_level=3"),
            "log_level signaling_dns_server",
            &[("log_level", "3"), ("signup_key", "other")],
        ),
        hunter(
            "a real newline between additional settings becomes a blank",
            additional("log_level=5\nenum_server=10.0.0.1"),
            "",
            &[],
        ),
        hunter(
            "runs of blanks shrink to one, a single one survives in quotes",
            additional("signup_key=\"a    b\"\\nellis_api_key='c d'"),
            "signaling_dns_server",
            &[("signup_key", "a b"), ("ellis_api_key", "c d")],
        ),
        hunter(
            "options of echo are eaten",
            additional(r"-n -E x=1"),
            // Without a newline at its end the line takes the next one in.
            "x",
            &[("x", "1signaling_dns_server=10.96.0.10")],
        ),
        hunter(
            "escapes act",
            additional(r"x='\x41\0102\103\\d'\ny=\u0041"),
            "x y signaling_dns_server",
            &[("x", r"AB\103\d"), ("y", "A")],
        ),
        hunter(
            "the pod's name servers replace one that is asked for",
            additional("signaling_dns_server=192.0.2.53"),
            "signaling_dns_server",
            &[("signaling_dns_server", "10.96.0.10")],
        ),
    ]
}

fn classic() -> Vec<Case> {
    vec![
        Case {
            name: "classic with a zone",
            release: Release::Classic,
            env: zoned(),
            tail: "signaling_dns_server",
            values: vec![
                ("hs_hostname", "hs.a.svc.cluster.local:8888"),
                ("hs_provisioning_hostname", "hs.a.svc.cluster.local:8889"),
                ("upstream_hostname", "scscf.sprout.a.svc.cluster.local"),
                ("chronos_hostname", "chronos.a.svc.cluster.local"),
            ],
        },
        Case {
            name: "classic without a zone, which reads neither HSS nor ADDITIONAL_SHARED_CONFIG",
            release: Release::Classic,
            env: Environment {
                hss: Some("hss".to_owned()),
                additional_shared_config: Some("x=1".to_owned()),
                public_hostname: Some("edge".to_owned()),
                ..base()
            },
            tail: "signaling_dns_server",
            values: vec![
                ("hs_hostname", "homestead:8888"),
                ("hs_provisioning_hostname", "homestead:8889"),
                ("upstream_hostname", "scscf.sprout"),
                ("public_hostname", "10.1.2.3"),
            ],
        },
    ]
}

#[test]
fn environments_come_out_as_upstreams_steps_and_real_shells_have_them() {
    let cases = cases();
    assert!(cases.len() >= 12);
    for case in cases {
        let files = generate(case.release, &case.env).unwrap_or_else(|e| panic!("{}: {e}", case.name));
        assert_eq!(files, oracle(case.release, &case.env), "{}", case.name);
        assert_sourced_if_plain(&files, &case);
    }
}

fn assert_sourced_if_plain(files: &Generated, case: &Case) {
    let shared = files.shared_config.as_deref().unwrap();
    if case.name.starts_with("a real newline") {
        // The shell would run what follows the blank; the library says so instead.
        assert!(shared.contains("\nlog_level=5 enum_server=10.0.0.1\n"));
        assert!(files.settings().unwrap_err().to_string().contains("would run"));
        return;
    }
    assert_sourced(files, &case.values);
    let absent: &[&str] = match case.release {
        Release::Classic => &[
            "sprout_registration_store",
            "homestead_impu_store",
            "ralf_session_store",
            "scscf_uri",
            "icscf_uri",
            "bgcf_uri",
        ],
        _ if case.env.hss.is_some() => &["hs_provisioning_hostname"],
        _ => &[],
    };
    let expected: Vec<&str> =
        HUNTER_KEYS.split_whitespace().filter(|k| !absent.contains(k)).chain(case.tail.split_whitespace()).collect();
    assert_eq!(order(shared), expected, "{}", case.name);
    let local = ["local_ip", "public_ip", "public_hostname", "max_log_directory_size", "etcd_proxy"];
    assert_eq!(order(&files.local_config), local, "{}", case.name);
}

#[test]
fn a_proxy_of_ones_own_leaves_no_shared_config() {
    let env = Environment { etcd_proxy: Some("etcd0=http://10.0.0.1:2380".to_owned()), ..zoned() };
    for release in Release::ALL {
        let files = generate(release, &env).unwrap();
        assert_eq!(files, oracle(release, &env));
        assert_eq!(files.shared_config, None);
        assert_sourced(&files, &[("etcd_proxy", "etcd0=http://10.0.0.1:2380")]);
    }
}

#[test]
fn an_empty_variable_is_one_that_is_not_set() {
    let empty = || Some(String::new());
    let env = Environment {
        zone: empty(),
        public_ip: empty(),
        public_hostname: empty(),
        hss: empty(),
        additional_shared_config: empty(),
        etcd_proxy: empty(),
        ..base()
    };
    assert_eq!(generate(Release::Hunter, &env), generate(Release::Hunter, &base()));
    assert_eq!(generate(Release::Hunter, &env).unwrap(), oracle(Release::Hunter, &env));
}

#[test]
fn what_sed_and_the_shell_would_spoil_is_refused_by_name() {
    let text = |env: &Environment| generate(Release::Hunter, env).unwrap_err().to_string();
    let said = text(&Environment { zone: Some("a/b".to_owned()), ..base() });
    assert!(said.starts_with("ZONE: \"a/b\" has '/' at character 2"), "{said}");
    let said = text(&Environment { public_ip: Some("1.2.3.4 ".to_owned()), ..base() });
    assert!(said.starts_with("PUBLIC_IP: \"1.2.3.4 \" has ' ' at character 8"), "{said}");
    for (field, value) in [("&", "a&b"), ("\\", "a\\1"), ("\n", "a\nb"), ("*", "*")] {
        let env = Environment { hss: Some(value.to_owned()), ..zoned() };
        assert!(
            matches!(generate(Release::Hunter, &env), Err(GeneratorError::Unsafe { variable: "HSS", .. })),
            "{field}"
        );
    }
    let said = text(&additional("x=a*"));
    assert!(said.contains("the word \"x=a*\" is a glob"), "{said}");
}

/// The article gives its shared_config as a listing. Its text is rebuilt here from what is known of it: names edited
/// into `*.default.svc.cluster.local` by hand, the home domain left at `example.com`, one Service for both ports of
/// homestead, and the S-CSCF's sub-domain as Bono's upstream; everything else as the generator of October 2016 has it.
#[test]
fn the_articles_listing() {
    let listing = include_str!("golden/article-shared_config");
    // The author edited the names in the script and set no ZONE.
    let files = generate(Release::Classic, &Environment { zone: None, ..base() }).unwrap();
    let edited = files
        .shared_config
        .unwrap()
        .replace("_hostname=", "_hostname=@")
        .lines()
        .map(|line| match line.split_once("=@") {
            None => line.to_owned(),
            Some((key, name)) => {
                let (host, port) = name.split_once(':').map_or((name, String::new()), |(h, p)| (h, format!(":{p}")));
                format!("{key}={host}.default.svc.cluster.local{port}")
            }
        })
        .map(|line| line + "\n")
        .collect::<String>();
    let meaningful =
        |text: &str| -> Vec<String> { text.lines().filter(|l| !l.starts_with('#')).map(str::to_owned).collect() };
    assert_eq!(meaningful(&edited), meaningful(listing));
    for (key, value) in [
        ("home_domain", "example.com"),
        ("upstream_hostname", "scscf.sprout.default.svc.cluster.local"),
        ("hs_hostname", "homestead.default.svc.cluster.local:8888"),
        ("hs_provisioning_hostname", "homestead.default.svc.cluster.local:8889"),
    ] {
        assert_eq!(source("dash", &[listing], &[key]), [Some(value.to_owned())]);
    }
}

fn deployment(yaml: &str) -> Deployment {
    DeploymentFile::parse(&format!("apiVersion: clearwater/v1\n{yaml}"), "clearwater.yaml")
        .and_then(|file| file.deploy("ims"))
        .unwrap_or_else(|e| panic!("{e}"))
}

const CLASSIC: &str = "release: classic\nimages: {registry: registry.example:5000/cw, tag: '2016'}\n";

fn pod() -> Pod {
    Pod { ip: "10.1.2.3".to_owned(), resolv_conf: "nameserver 10.96.0.10\n".to_owned(), public_ip: None }
}

fn keys(text: &str) -> Keys {
    Keys {
        signup_key: format!("{text}1"),
        turn_workaround: format!("{text}2"),
        ellis_api_key: format!("{text}3"),
        ellis_cookie_key: format!("{text}4"),
    }
}

#[test]
fn what_a_deployment_asks_for_arrives_in_every_container() {
    let yaml = "homeDomain: ims.example.com\n\
        email: {smarthost: mail.example.com, username: ellis, password: {secret: mail, key: pass}}\n\
        sharedConfig: {enum_server: \"10.0.0.1\", remote_audio_alert: 'a  b\\c $(id) *'}\n";
    for (release, prefix) in [("hunter", ""), ("classic", CLASSIC)] {
        let d = deployment(&format!("{prefix}{yaml}"));
        let files = rendered(&d, &BTreeMap::new(), &pod(), &secret_values(&keys("Aa0"), Some("pa$$w\"rd"))).unwrap();
        assert_sourced(
            &files,
            &[
                ("home_domain", "ims.example.com"),
                ("email_recovery_sender", "clearwater@ims.example.com"),
                ("smtp_smarthost", "mail.example.com"),
                ("smtp_username", "ellis"),
                ("smtp_password", "pa$$w\"rd"),
                ("enum_server", "10.0.0.1"),
                ("remote_audio_alert", "a  b\\c $(id) *"),
                ("signup_key", "Aa01"),
                ("ellis_cookie_key", "Aa04"),
                ("signaling_dns_server", "10.96.0.10"),
            ],
        );
        insta::assert_snapshot!(format!("shared_config_{release}"), files.shared_config.unwrap());
    }
}

#[test]
fn the_config_map_holds_no_secret_and_the_pod_puts_them_together() {
    let d = deployment("sharedConfig: {enum_server: 192.0.2.1}\nkeys: {secret: my-keys}\n");
    let given = environment(&d, &BTreeMap::new()).unwrap();
    let map: Vec<_> = given.config_map.iter().map(|(k, v)| format!("{k}={v}")).collect();
    assert_eq!(map, ["ADDITIONAL_SHARED_CONFIG=enum_server=192.0.2.1", "ZONE=ims.svc.cluster.local"]);
    let signup = VariableValue::Secret { secret: "my-keys".to_owned(), key: "signup_key".to_owned() };
    assert!(given.variables.iter().any(|v| v.name == "SIGNUP_KEY" && v.value == signup));
    let last = given.variables.last().unwrap();
    assert_eq!(last.name, "ADDITIONAL_SHARED_CONFIG");
    let VariableValue::Text(text) = &last.value else { panic!("{last:?}") };
    assert!(text.starts_with("ellis_api_key='$(ELLIS_API_KEY)'\\n"), "{text}");
    assert!(text.ends_with("\\n$(CLEARWATER_SHARED_CONFIG)"), "{text}");
    let referred = given.variables.iter().position(|v| v.name == "CLEARWATER_SHARED_CONFIG").unwrap();
    assert!(referred < given.variables.len() - 1, "a variable is defined before it is referred to");
}

#[test]
fn upstreams_own_keys_need_no_secret() {
    let given = environment(&deployment("keys: upstream\n"), &BTreeMap::new()).unwrap();
    assert_eq!(given.variables, []);
    assert_eq!(given.config_map.get("ADDITIONAL_SHARED_CONFIG").map(String::as_str), Some(""));
    assert_eq!(given.auto_config, None);
}

#[test]
fn an_hss_takes_provisioning_out_of_both_releases() {
    for prefix in ["", CLASSIC] {
        let d = deployment(&format!("{prefix}hss: {{hostname: hss}}\nkeys: upstream\n"));
        let files = rendered(&d, &BTreeMap::new(), &pod(), &BTreeMap::new()).unwrap();
        assert_sourced(
            &files,
            &[("hss_hostname", "hss.ims.svc.cluster.local"), ("hss_realm", "ims.svc.cluster.local")],
        );
        assert_eq!(files.settings().unwrap().get("hs_provisioning_hostname"), None);
    }
}

#[test]
fn virtual_addresses_are_aliases_of_sprout_where_they_are_known() {
    let d = deployment(&format!("{CLASSIC}services: clusterIP\nkeys: upstream\n"));
    // Names are what stands in Route: sprout serves them behind an address that it does not know.
    let unknown = rendered(&d, &BTreeMap::new(), &pod(), &BTreeMap::new()).unwrap();
    assert_eq!(unknown.settings().unwrap().get("local_alias_list"), None);
    let vips = BTreeMap::from([(Component::Sprout, vec!["10.96.0.77".parse().unwrap()])]);
    let files = rendered(&d, &vips, &pod(), &BTreeMap::new()).unwrap();
    assert_sourced(&files, &[("local_alias_list", "10.96.0.77")]);
}

#[test]
fn classic_uris_are_sub_domains_with_ports() {
    let d = deployment(&format!("{CLASSIC}keys: upstream\n"));
    let files = rendered(&d, &BTreeMap::new(), &pod(), &BTreeMap::new()).unwrap();
    assert_sourced(
        &files,
        &[
            ("hs_hostname", "hs.ims.svc.cluster.local:8888"),
            ("upstream_hostname", "scscf.sprout.ims.svc.cluster.local"),
            ("scscf_uri", "sip:scscf.sprout.ims.svc.cluster.local:5054;transport=tcp"),
            ("icscf_uri", "sip:icscf.sprout.ims.svc.cluster.local:5052;transport=tcp"),
            ("bgcf_uri", "sip:sprout.ims.svc.cluster.local:5053;transport=tcp"),
        ],
    );
    let d = deployment(&format!("{CLASSIC}keys: upstream\ndns: {{backend: etcd}}\n"));
    let vips = BTreeMap::from([(Component::Sprout, vec!["10.96.0.77".parse().unwrap()])]);
    let files = rendered(&d, &vips, &pod(), &BTreeMap::new()).unwrap();
    assert_sourced(
        &files,
        &[
            ("local_alias_list", "10.96.0.77"),
            ("sprout_hostname", "sprout.ims.clearwater.cluster.local"),
            ("scscf_uri", "sip:scscf.sprout.ims.clearwater.cluster.local:5054;transport=tcp"),
            ("bgcf_uri", "sip:bgcf.sprout.ims.clearwater.cluster.local:5053;transport=tcp"),
        ],
    );
}

#[test]
fn secret_values_outside_the_alphabet_are_refused_and_never_shown() {
    for (bad, kind) in [
        ("QQ QQ", "a blank"),
        ("QQ'QQ", "a single quote"),
        ("QQ\\QQ", "a backslash"),
        ("QQ*QQ", "a wildcard"),
        ("QQ?QQ", "a wildcard"),
        ("QQ[QQ", "a wildcard"),
        ("QQ(QQ", "an opening parenthesis"),
        ("QQ\nQQ", "a line break;"),
        ("QQQQ\n", "a line break at its end"),
        ("QQ\tQQ", "a control character"),
        ("QQéQQ", "a character outside of ASCII"),
    ] {
        let said = check_secret_value(Release::Hunter, "mail", "pass", bad).unwrap_err().to_string();
        assert!(said.starts_with(&format!("Secret mail, key pass: the value has {kind}")), "{said}");
        assert!(!said.contains("QQ") && !said.contains('é'), "{said}");
    }
    assert_eq!(check_secret_value(Release::Hunter, "mail", "pass", "!\"#$%&)+,-./:;<=>@]^_`{|}~"), Ok(()));
    assert_eq!(check_secret_value(Release::Classic, "mail", "pass", "any ' \\ * é line"), Ok(()));
    assert!(check_secret_value(Release::Classic, "mail", "pass", "two\nlines").is_err());
    assert_eq!(Unfit::of(Release::Classic, b"\xff"), Some(Unfit::NotText));
    assert_eq!(Unfit::of(Release::Hunter, &[b'a'; 4096]), None);
    assert_eq!(Unfit::of(Release::Hunter, &[b'a'; 4097]), Some(Unfit::TooLong));
}

/// What kubelet, generator and a shell that sources the file make of a Secret's value: the value of the setting, or
/// `None` where the shell stumbled or said something.
fn carried(release: Release, value: &str) -> Option<String> {
    let more = if release == Release::Classic { CLASSIC } else { "" };
    let d = deployment(&format!(
        "{more}email: {{smarthost: m.example.com, username: u, password: {{secret: mail, key: pass}}}}\nkeys: upstream\n"
    ));
    let given = environment(&d, &BTreeMap::new()).unwrap();
    if release == Release::Classic {
        let secrets = BTreeMap::from([("SMTP_PASSWORD".to_owned(), value.to_owned())]);
        let files = run_script("bash", &given, &secrets, true);
        return source("sh", &[files.shared_config.as_deref().unwrap()], &["smtp_password"]).remove(0);
    }
    // The kubelet puts the variables' values in as they are.
    let VariableValue::Text(text) = &given.variables.last().unwrap().value else { panic!("{given:?}") };
    let text = text.replace("$(CLEARWATER_SHARED_CONFIG)", &given.config_map["ADDITIONAL_SHARED_CONFIG"]);
    let env = Environment { additional_shared_config: Some(text.replace("$(SMTP_PASSWORD)", value)), ..zoned() };
    let shared = oracle_beside(release, &env, Some("smtp_password=a")).shared_config.unwrap();
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("shared_config"), shared).unwrap();
    let script = ". ./shared_config && printf %s \"$smtp_password\"";
    let output = run("sh", &["-c", script], dir.path(), &BTreeMap::new());
    let whole = output.status.success() && output.stderr.is_empty();
    whole.then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The line is drawn where the images' scripts draw it: each kind that is refused would arrive as something else.
#[test]
fn what_is_refused_of_a_secret_would_not_arrive() {
    for bad in ["a'b", "it's; id #", "a\\tb", "two  blanks", "a\nb\n"] {
        assert!(Unfit::of(Release::Hunter, bad.as_bytes()).is_some());
        assert_ne!(carried(Release::Hunter, bad).as_deref(), Some(bad));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_let_through_of_a_secret_arrives(value in "[!-~]{0,40}|\\PC{0,12}|[ -~]{0,12}", classic in any::<bool>()) {
        let release = if classic { Release::Classic } else { Release::Hunter };
        // Most texts have something unfit in them: the rest of the text is tried then.
        let fit = |c: &char| Unfit::of(release, c.to_string().as_bytes()).is_none();
        let value: String = value.chars().filter(fit).collect();
        prop_assert_eq!(Unfit::of(release, value.as_bytes()), None);
        prop_assert_eq!(carried(release, &value), Some(value));
    }
}

/// Runs a deployment's auto-config script on what a classic image holds, with or without the image's own generator.
fn run_script(shell: &str, given: &ContainerEnvironment, secrets: &BTreeMap<String, String>, own: bool) -> Generated {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    fs::create_dir(at("out")).unwrap();
    fs::write(at("resolv.conf"), pod().resolv_conf).unwrap();
    fs::write(at("auto-config"), given.auto_config.as_ref().unwrap()).unwrap();
    fs::write(at("out/shared_config"), "# from the image\nhome_domain=\nsignup_key=secret\nsignup_key=again\n")
        .unwrap();
    fs::write(at("out/local_config"), "local_ip=\netcd_cluster=\nmax_log_directory_size=52428800\n").unwrap();
    let mut env = given.config_map.clone();
    for variable in &given.variables {
        env.insert(variable.name.clone(), secrets[&variable.name].clone());
    }
    let path = |name: &str| at(name).to_string_lossy().into_owned();
    env.extend([
        ("CLEARWATER_CONFIG_DIR".to_owned(), path("out")),
        ("CLEARWATER_RESOLV_CONF".to_owned(), path("resolv.conf")),
        ("CLEARWATER_CHRONOS_DIR".to_owned(), path("chronos")),
        ("CLEARWATER_IMAGE_GENERATOR".to_owned(), path("generator")),
        ("MY_POD_IP".to_owned(), "10.1.2.3".to_owned()),
        ("RELEASE".to_owned(), "classic".to_owned()),
        ("IP".to_owned(), "10.1.2.3".to_owned()),
        ("PATH".to_owned(), "/usr/bin:/bin".to_owned()),
    ]);
    if own {
        fs::write(at("generator"), format!("#!/bin/bash\ncd {}\n{ORACLE}", quote(&path("")))).unwrap();
        let mut mode = fs::metadata(at("generator")).unwrap().permissions();
        std::os::unix::fs::PermissionsExt::set_mode(&mut mode, 0o755);
        fs::set_permissions(at("generator"), mode).unwrap();
    }
    let mut last = None;
    for _ in 0..2 {
        let output = run(shell, &[&path("auto-config"), "start"], dir.path(), &env);
        assert_eq!(String::from_utf8_lossy(&output.stderr), "");
        assert!(output.status.success());
        let read = |name| fs::read_to_string(at("out").join(name)).unwrap();
        let files = Generated { shared_config: Some(read("shared_config")), local_config: read("local_config") };
        assert!(last.is_none_or(|l| l == files), "a second run changed something");
        last = Some(files);
    }
    assert_eq!(fs::read_dir(at("out")).unwrap().count(), 2, "nothing is left behind");
    last.unwrap()
}

#[test]
fn the_classic_script_does_in_a_real_shell_what_the_library_renders() {
    let d = deployment(&format!(
        "{CLASSIC}email: {{smarthost: m.example.com, username: u, password: {{secret: s, key: k}}}}\n\
         sharedConfig: {{odd: \"it's 'quoted' $(id) `id` \\\\ \\\"x\\\" *\"}}\n"
    ));
    let given = environment(&d, &BTreeMap::new()).unwrap();
    let secrets = secret_values(&keys("k'e y$"), Some("it's * $(id) \\n"));
    let expected = rendered(&d, &BTreeMap::new(), &pod(), &secrets).unwrap();
    let script = given.auto_config.as_ref().unwrap();
    assert!(!script.contains("k'e y"), "the script holds no secret");
    for shell in ["dash", "bash"] {
        assert_eq!(run_script(shell, &given, &secrets, true), expected, "{shell}, with the image's generator");
        let alone = run_script(shell, &given, &secrets, false);
        let (alone, expected) = (alone.settings().unwrap(), expected.settings().unwrap());
        for key in ["scscf_uri", "odd", "signup_key", "smtp_password", "local_ip", "public_hostname", "etcd_proxy"] {
            assert_eq!(alone.get(key), expected.get(key), "{key}, {shell}, alone");
        }
        assert_eq!(alone.get("signaling_dns_server"), Some("10.96.0.10"));
        assert_eq!(alone.get("etcd_cluster"), None);
    }
    insta::assert_snapshot!("auto_config_script", script);
}

#[test]
fn the_classic_script_leaves_a_key_that_the_pod_is_not_given() {
    let d = deployment(CLASSIC);
    let given = environment(&d, &BTreeMap::new()).unwrap();
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("auto-config"), given.auto_config.unwrap()).unwrap();
    fs::write(dir.path().join("resolv.conf"), "").unwrap();
    fs::write(dir.path().join("shared_config"), "ellis_api_key=secret\nturn_workaround=secret\n").unwrap();
    let env = BTreeMap::from([
        ("CLEARWATER_CONFIG_DIR".to_owned(), dir.path().to_string_lossy().into_owned()),
        ("CLEARWATER_RESOLV_CONF".to_owned(), "resolv.conf".to_owned()),
        ("MY_POD_IP".to_owned(), "10.1.2.3".to_owned()),
        ("PATH".to_owned(), "/usr/bin:/bin".to_owned()),
        ("TURN_WORKAROUND".to_owned(), "bono's own".to_owned()),
    ]);
    let output = run("dash", &["auto-config", "start"], dir.path(), &env);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let shared = fs::read_to_string(dir.path().join("shared_config")).unwrap();
    assert!(
        shared.contains("ellis_api_key=secret\n") && shared.contains("turn_workaround='bono'\\''s own'\n"),
        "{shared}"
    );
    assert!(!shared.contains("signup_key"), "{shared}");
    assert_eq!(run("dash", &["auto-config", "status"], dir.path(), &env).status.code(), Some(0));
    assert_eq!(run("dash", &["auto-config", "dance"], dir.path(), &env).status.code(), Some(3));
}

/// Texts made of what shells, `sed` and `echo -e` act on.
fn weird() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        6 => "[a-z=]{1,3}",
        4 => Just("\\".to_owned()),
        4 => prop::sample::select(vec![
            " ", "  ", "\t", "\n", "*", "?", "[", "]", "[a]", "[!b]", "[^=]", "-n", "-e", "-E", "-nE", "'", "\"", "$", "`", ";", "&",
            "|", "(", ")", "{", "}", "~", "#", "!", "/", ".", "é", "\r",
        ]).prop_map(str::to_owned),
        3 => "[abcefnrtvxuU0-9]{1,4}",
    ];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

fn one_line() -> impl Strategy<Value = String> {
    prop_oneof![weird(), any::<String>()].prop_map(|text| text.chars().filter(|c| !c.is_control()).collect())
}

/// Each try starts shells: fewer than usual, unless PROPTEST_CASES asks for more.
fn tries() -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(64)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: tries(), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn echo_is_emulated_to_the_byte_or_refuses(text in weird()) {
        if let Ok(found) = echo_unquoted(&text) {
            let dir = tempfile::tempdir().unwrap();
            let env = BTreeMap::from([("T".to_owned(), text)]);
            let output = run("bash", &["-c", "echo -e $T"], dir.path(), &env);
            prop_assert_eq!(String::from_utf8_lossy(&output.stdout), found);
        }
    }

    #[test]
    fn the_generator_is_emulated_to_the_byte_or_refuses(
        classic: bool,
        zone in prop::option::of(prop_oneof!["[a-z]{1,5}([.][a-z]{1,3}){0,2}", weird()]),
        public_ip in prop::option::of(prop_oneof!["[0-9.:a-f]{1,9}", weird()]),
        public_hostname in prop::option::of(prop_oneof!["[a-z]{1,5}", weird()]),
        hss in prop::option::of(prop_oneof!["[a-z]{1,5}", weird()]),
        additional in prop::option::of(weird()),
        servers in prop::collection::vec(("[# ]{0,2}", "nameserver|search", "[ \t]{1,2}", "[0-9a-f.:]{1,6}"), 0..4),
    ) {
        let resolv_conf = servers.into_iter().map(|(a, b, c, d)| a + &b + &c + &d + "\n").collect();
        let env = Environment {
            ip: "10.1.2.3".to_owned(),
            resolv_conf,
            zone,
            public_ip,
            public_hostname,
            hss,
            additional_shared_config: additional,
            etcd_proxy: None,
        };
        let release = if classic { Release::Classic } else { Release::Hunter };
        if let Ok(found) = generate(release, &env) {
            prop_assert_eq!(found, oracle(release, &env));
        }
    }

    #[test]
    fn what_the_reader_takes_for_plain_a_shell_reads_the_same(
        lines in prop::collection::vec(("k[0-3]", weird()), 0..4)
    ) {
        let text: String = lines.into_iter().map(|(k, v)| k + "=" + &v + "\n").collect();
        if let Ok(settings) = Settings::parse(&text) {
            let keys = ["k0", "k1", "k2", "k3"];
            let expected: Vec<_> = keys.iter().map(|k| settings.get(k).map(str::to_owned)).collect();
            for shell in ["dash", "bash"] {
                prop_assert_eq!(source(shell, &[&text], &keys), expected.clone());
            }
            prop_assert_eq!(Settings::parse(&settings.to_string()), Ok(settings));
        }
    }

    #[test]
    fn any_line_of_text_survives_into_hunters_containers(value in one_line(), secret in "[!-&)+->@-Z^-~]{0,12}") {
        let mut file = DeploymentFile::default();
        file.shared_config.insert("odd".to_owned(), value.clone());
        let d = file.deploy("ims").unwrap();
        let given = environment(&d, &BTreeMap::new()).unwrap();
        let secrets = secret_values(&keys(&secret), None);
        let files = rendered(&d, &BTreeMap::new(), &pod(), &secrets).unwrap();

        // The same by the real tools: what Kubernetes would put into the variable goes through bash and dash.
        let mut additional = given.config_map["ADDITIONAL_SHARED_CONFIG"].clone();
        for (key, value) in keys(&secret).settings() {
            additional = format!("{key}='{value}'\\n{additional}");
        }
        let env = Environment {
            zone: Some(d.zone()),
            additional_shared_config: Some(additional),
            ip: pod().ip,
            resolv_conf: pod().resolv_conf,
            ..Environment::default()
        };
        let real = oracle(Release::Hunter, &env).shared_config.unwrap();
        let wanted = [Some(value), Some(format!("{secret}1"))];
        prop_assert_eq!(source("dash", &[&real], &["odd", "signup_key"]), wanted.clone());
        prop_assert_eq!(source("bash", &[files.shared_config.as_ref().unwrap()], &["odd", "signup_key"]), wanted);
    }

    #[test]
    fn any_line_of_text_survives_into_classic_containers(value in one_line(), secret in one_line()) {
        let mut file = DeploymentFile::parse(
            &format!("apiVersion: clearwater/v1\n{CLASSIC}"), "clearwater.yaml",
        ).unwrap();
        file.shared_config.insert("odd".to_owned(), value.clone());
        let d = file.deploy("ims").unwrap();
        let given = environment(&d, &BTreeMap::new()).unwrap();
        prop_assume!(!secret.contains('\0') && !value.contains('\0'));
        let secrets = secret_values(&keys(&secret), None);
        let files = run_script("dash", &given, &secrets, false);
        let wanted = [Some(value), Some(format!("{secret}1"))];
        prop_assert_eq!(source("dash", &[files.shared_config.as_ref().unwrap()], &["odd", "signup_key"]), wanted);
    }

    #[test]
    fn quoting_is_undone_by_a_shell(text in one_line()) {
        prop_assert_eq!(source("dash", &[&format!("k={}\n", quote(&text))], &["k"]), [Some(text)]);
    }
}

fn deployed(yaml: &str) -> clearwater::config::Deployment {
    let text = format!("apiVersion: clearwater/v1\n{yaml}");
    clearwater::config::DeploymentFile::parse(&text, "clearwater.yaml").unwrap().deploy("ims").unwrap()
}

fn plain_settings(yaml: &str) -> BTreeMap<String, String> {
    let settings = clearwater::config::shared::settings(&deployed(yaml), &BTreeMap::new()).unwrap();
    let text = |setting| match setting {
        clearwater::config::shared::Setting::Text(text) => Some(text),
        clearwater::config::shared::Setting::Secret { .. } => None,
    };
    settings.into_iter().filter_map(|(key, setting)| Some((key, text(setting)?))).collect()
}

const CLASSIC_IMAGES: &str = "release: classic\nimages: {registry: r.example/cw, tag: '2016'}\n";

#[test]
fn every_name_but_etcds_is_a_full_one_so_that_no_search_domain_is_needed() {
    for yaml in ["", CLASSIC_IMAGES, "hss: {hostname: hss}\n"] {
        let settings = plain_settings(yaml);
        let is_name = |key: &str| ["_hostname", "_uri", "_store"].iter().any(|end| key.ends_with(end));
        let names: Vec<_> = settings.iter().filter(|(key, _)| is_name(key)).collect();
        assert!(names.len() > 8, "{names:?}");
        let short: Vec<_> = names.iter().filter(|(_, name)| !name.contains(".svc.cluster.local")).collect();
        assert!(short.is_empty(), "{short:?}");
    }
}

#[test]
fn an_hss_has_the_name_and_the_realm_that_it_is_given() {
    let zone = "ims.svc.cluster.local";
    for images in ["", CLASSIC_IMAGES] {
        for (hss, hostname, realm) in [
            ("{hostname: hss}", format!("hss.{zone}"), zone),
            ("{hostname: hss.example.com}", "hss.example.com".to_owned(), zone),
            ("{hostname: hss.example.com, realm: example.com}", "hss.example.com".to_owned(), "example.com"),
            ("{hostname: 192.0.2.7, realm: example.com}", "192.0.2.7".to_owned(), "example.com"),
        ] {
            let yaml = format!("{images}hss: {hss}\n");
            let settings = plain_settings(&yaml);
            assert_eq!(settings["hss_hostname"], hostname, "{yaml}");
            assert_eq!(settings["hss_realm"], realm, "{yaml}");
            // The images' own generator arrives there.
            clearwater::config::shared::environment(&deployed(&yaml), &BTreeMap::new()).unwrap();
        }
    }
}
