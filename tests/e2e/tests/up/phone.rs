use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use clearwater_e2e::{Plugin, cluster};

use crate::{PATIENCE, small_file};

/// The value of a line of `up`'s end, as `  outbound proxy  10.244.1.9:5060   and what else is to say`.
fn line<'a>(said: &'a str, name: &str) -> Result<&'a str> {
    let found = said.lines().find_map(|line| line.strip_prefix("  ")?.strip_prefix(name)?.split_whitespace().next());
    found.with_context(|| format!("no line {name:?} in {said}"))
}

/// baresip, which nobody here wrote, is told what `up` ends with and the password that Ellis shows, and nothing else.
#[test]
#[ignore = "needs cluster (creates a namespace)"]
fn a_phone_that_is_not_ours_registers_by_the_last_lines_alone() -> Result<()> {
    let Some(baresip) = std::env::var_os("CLEARWATER_BARESIP") else {
        println!("not tried: CLEARWATER_BARESIP names no baresip");
        return Ok(());
    };
    let unpacked = Path::new(&baresip).ancestors().nth(2).context("it stands in no bin")?;
    let modules = unpacked.join("usr/lib/baresip/modules");
    let cluster = cluster();
    let namespace = cluster.namespace("e2e-phone")?;
    let plugin = Plugin::new(cluster, namespace.name())?;
    let path = small_file("keys: upstream\n")?;
    let said = plugin.run_within(PATIENCE, &["up", "--yes", "-f", &path])?.expect(0)?.out;
    let (user, domain, proxy) = (line(&said, "user")?, line(&said, "domain")?, line(&said, "outbound proxy")?);
    let (transport, name) = (line(&said, "transport")?.to_lowercase(), line(&said, "auth name")?);
    let made = plugin.run(&["subscriber", "create", "--count", "1", "-o", "json"])?.expect(0)?;
    let made: serde_json::Value = serde_json::from_str(&made.out).with_context(|| made.said())?;
    let password =
        made.pointer("/subscribers/0/password").and_then(|p| p.as_str()).with_context(|| made.to_string())?;
    let number = made.pointer("/subscribers/0/publicIdentity").and_then(|p| p.as_str()).unwrap_or_default();
    ensure!(number == format!("sip:{user}@{domain}"), "{number} is not {user} of {domain}");

    let folder = tempfile::tempdir()?;
    std::fs::write(
        folder.path().join("accounts"),
        format!(
            "<sip:{user}@{domain};transport={transport}>;auth_user={name};auth_pass={password};\
             outbound=\"sip:{proxy};transport={transport}\";regint=60\n"
        ),
    )?;
    let modules = modules.display();
    std::fs::write(
        folder.path().join("config"),
        format!("module_path {modules}\nmodule g711.so\nmodule_tmp account.so\nmodule_app menu.so\n"),
    )?;
    let mut phone = cluster.local()?.beside_a_node("timeout");
    phone.arg("30").arg(&baresip).args(["-4", "-t", "8", "-f"]).arg(folder.path()).stdin(Stdio::null());
    let said = phone.output()?;
    let said = String::from_utf8_lossy(&said.stdout).into_owned() + &String::from_utf8_lossy(&said.stderr);
    ensure!(said.contains("200 OK"), "it did not register: {said}");
    Ok(())
}
