//! The stand-ins' configuration generators against the library's pure one: two readings of the same upstream script.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use clearwater::component::Release;
use clearwater::config::generator::{Environment, generate};

const IP: &str = "10.244.1.7";

fn images(release: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../standins/images/release").join(release)
}

/// Runs the image's script on its own templates, with every path below a folder of the test.
fn run_script(release: &str, environment: &Environment) -> Result<(Option<String>, String)> {
    let root = tempfile::tempdir()?;
    let etc = root.path().join("etc");
    fs::create_dir_all(etc.join("clearwater"))?;
    fs::create_dir(root.path().join("bin"))?;
    fs::create_dir(root.path().join("empty"))?;
    for file in ["shared_config", "local_config"] {
        fs::copy(images(release).join("etc/clearwater").join(file), etc.join("clearwater").join(file))?;
    }
    fs::write(etc.join("resolv.conf"), &environment.resolv_conf)?;
    let hostname = root.path().join("bin/hostname");
    fs::write(&hostname, format!("#!/bin/sh\necho '{IP} '\n"))?;
    fs::set_permissions(&hostname, fs::Permissions::from_mode(0o755))?;
    let script = fs::read_to_string(images(release).join("etc/init.d/clearwater-auto-config-docker"))?;
    let script = script.replace("/etc/", &format!("{}/", etc.display()));
    let path = root.path().join("script");
    fs::write(&path, script)?;

    let mut command = Command::new("bash");
    command.arg(&path).arg("start").current_dir(root.path().join("empty")).env_clear();
    command.env("PATH", format!("{}:/usr/bin:/bin", root.path().join("bin").display()));
    for (name, value) in [
        ("ZONE", &environment.zone),
        ("PUBLIC_IP", &environment.public_ip),
        ("PUBLIC_HOSTNAME", &environment.public_hostname),
        ("HSS", &environment.hss),
        ("ADDITIONAL_SHARED_CONFIG", &environment.additional_shared_config),
        ("ETCD_PROXY", &environment.etcd_proxy),
    ] {
        if let Some(value) = value {
            command.env(name, value);
        }
    }
    ensure!(command.status()?.success(), "the script failed");
    let read = |file: &str| fs::read_to_string(etc.join("clearwater").join(file)).ok();
    Ok((read("shared_config"), read("local_config").context("local_config is gone")?))
}

/// The two word their comments differently.
fn without_comments(text: &str) -> String {
    text.lines().filter(|line| !line.starts_with('#')).map(|line| format!("{line}\n")).collect()
}

fn environments() -> Vec<Environment> {
    let some = |text: &str| Some(text.to_owned());
    let base = Environment {
        ip: IP.to_owned(),
        resolv_conf: "nameserver 10.96.0.10\nsearch a.b c\noptions ndots:5\n".to_owned(),
        ..Environment::default()
    };
    let zone = Environment { zone: some("ims.svc.cluster.local"), ..base.clone() };
    let additional = |text: &str| Environment { additional_shared_config: some(text), ..zone.clone() };
    vec![
        Environment { public_ip: some("192.0.2.1"), public_hostname: some("edge"), ..zone.clone() },
        Environment { public_hostname: some("edge"), ..base.clone() },
        Environment { hss: some("hss"), ..zone.clone() },
        Environment { hss: some("hss"), additional_shared_config: some("hs_provisioning_hostname=x"), ..zone.clone() },
        Environment { etcd_proxy: some("etcd0=http://192.0.2.9:2380"), ..zone.clone() },
        Environment { resolv_conf: "nameserver 10.0.0.1\nnameserver 10.0.0.2\n".to_owned(), ..zone.clone() },
        Environment { resolv_conf: "search only\n".to_owned(), ..zone.clone() },
        additional(""),
        additional("log_level=4"),
        additional(r"log_level=4\nsignup_key=other\nsignaling_dns_server=192.0.2.53"),
        additional("a=1   b=2\tc=3"),
        additional(r#"signup_key="two words""#),
        zone,
        base,
    ]
}

/// What the shell would make of a pattern depends on the files of a container: the library says no.
#[test]
fn patterns_are_refused() {
    for text in ["glob=*", "and=?", "some=[ab]"] {
        let environment = Environment {
            additional_shared_config: Some(text.to_owned()),
            ip: IP.to_owned(),
            ..Environment::default()
        };
        assert!(generate(Release::Hunter, &environment).is_err(), "{text}");
    }
}

#[test]
fn both_generators_write_the_same() {
    for (release, name) in [(Release::Hunter, "hunter"), (Release::Classic, "classic")] {
        for environment in environments() {
            let Ok(ours) = generate(release, &environment) else {
                panic!("the library refuses {environment:?}");
            };
            let (shared, local) = run_script(name, &environment).unwrap();
            assert_eq!(
                shared.as_deref().map(without_comments),
                ours.shared_config.as_deref().map(without_comments),
                "shared_config of {name} for {environment:?}"
            );
            assert_eq!(
                without_comments(&local),
                without_comments(&ours.local_config),
                "local_config of {name} for {environment:?}"
            );
        }
    }
}
