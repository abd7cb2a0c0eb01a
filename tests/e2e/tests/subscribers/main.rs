//! `subscriber`, `ellis`, `backup` and `restore` as a user types them, on the real cluster.

mod kept;
mod schedule;
mod volumes;

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clearwater_e2e::{Limited, Plugin, Ran, cluster};
use clearwater_testbed::{Attempt, Kubectl, wait_for};
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(300);
const RANGE: &str = "6505550100..6505550119";

/// What stands behind Ellis, and no more. What needs it is left out.
const FILE: &str = "apiVersion: clearwater/v1\ncomponents:\n";
const NAMES: [&str; 5] = ["etcd", "cassandra", "homestead-prov", "homer", "ellis"];

/// The deployment file, by a name that no other test of this program writes.
fn file(name: &str) -> Result<String> {
    file_with(name, |_| String::new())
}

/// The same, with more of each component.
fn file_with(name: &str, more: impl Fn(&str) -> String) -> Result<String> {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}.yaml", std::process::id()));
    let small =
        NAMES.map(|name| format!("  {name}: {{resources: {{requests: {{cpu: 20m, memory: 32Mi}}}}{}}}\n", more(name)));
    std::fs::write(&path, format!("{FILE}{}", small.concat()))?;
    Ok(path.to_string_lossy().into_owned())
}

fn listed(plugin: &Plugin, more: &[&str]) -> Result<Vec<String>> {
    let mut args = vec!["subscriber", "list", "-o", "json"];
    args.extend(more);
    numbers(&plugin.run(&args)?.expect(0)?)
}

fn numbers(ran: &Ran) -> Result<Vec<String>> {
    let report: Value = serde_json::from_str(&ran.out).with_context(|| ran.said())?;
    let lines = report["subscribers"].as_array().context("no subscribers")?;
    lines.iter().map(|l| Ok(l["number"].as_str().context("no number")?.to_owned())).collect()
}

#[test]
#[ignore = "needs cluster (creates a namespace)"]
fn lines_through_ellis_and_homestead_prov() -> Result<()> {
    let cluster = cluster();
    let namespace = cluster.namespace("e2e-subscribers")?;
    let plugin = Plugin::new(cluster, namespace.name())?;
    let none = plugin.run(&["subscriber", "list"])?.expect(1)?;
    ensure!(none.err.contains("neither ellis nor homestead-prov runs there"), "{}", none.err);

    plugin
        .run_within(PATIENCE, &["up", "--yes", "--only", &NAMES.join(","), "-f", &file("subscribers")?])?
        .expect(0)?;
    twenty_lines(&plugin)?;
    resumed(&plugin)?;
    imported(&plugin)?;
    pages(&plugin, namespace.kubectl())?;

    let limited = Limited::new(cluster, &namespace, "lines", &["subscriber", "ellis"], false)?;
    limited.plugin()?.run(&["subscriber", "create", "--count", "2"])?.expect(0)?;
    limited.plugin()?.run(&["subscriber", "delete", "--all", "--yes"])?.expect(0)?;
    limited.asked_for_what_the_table_names()?;

    // Without Ellis, the same at homestead-prov.
    namespace.kubectl().run(["scale", "deployment/ellis", "--replicas=0"])?;
    namespace.kubectl().run(["wait", "--for=delete", "--timeout=60s", "pod", "--selector=service=ellis"])?;
    let plain =
        plugin.run(&["subscriber", "create", "--count", "3", "--private-prefix", "lab-", "-o", "json"])?.expect(0)?;
    ensure!(
        plain.out.contains("\"through\": \"homestead-prov\"") && plain.out.contains("\"lab-65055"),
        "{}",
        plain.out
    );
    ensure!(
        listed(&plugin, &["--private-prefix", "lab-"])?.len() == 3
            && listed(&plugin, &["--private-prefix", "x"])?.is_empty()
    );
    plugin.run(&["subscriber", "delete", "--all", "--yes"])?.expect(6)?;
    plugin.run(&["subscriber", "delete", "--all", "--yes", "--private-prefix", "lab-"])?.expect(0)?;
    ensure!(listed(&plugin, &[])?.is_empty(), "something is left at homestead-prov");
    Ok(())
}

fn twenty_lines(plugin: &Plugin) -> Result<()> {
    let made = plugin.run(&["subscriber", "create", "--count", "20", "-o", "csv"])?.expect(0)?;
    let lines: Vec<&str> = made.out.lines().collect();
    ensure!(lines.len() == 21 && lines[0] == "SEQUENTIAL", "{}", made.out);
    ensure!(lines[1..].iter().all(|l| l.starts_with("sip:65055") && l.contains(" password=")), "{}", made.out);
    let all = listed(plugin, &[])?;
    ensure!(all.len() == 20 && all.iter().collect::<BTreeSet<_>>().len() == 20, "{all:?}");

    // A password is shown where it is asked for.
    let exported = plugin.run(&["subscriber", "export"])?.expect(0)?;
    ensure!(numbers(&exported)? == all && !exported.out.contains("password"), "{}", exported.out);
    let shown =
        plugin.run(&["subscriber", "show", &all[0], "--passwords", "--phone", "text", "--proxy", "192.0.2.7"])?;
    let password = lines[1].split("password=").nth(1).and_then(|l| l.split(']').next()).context("no password")?;
    let shown = shown.expect(0)?;
    ensure!(
        shown.out.contains(password) && shown.out.contains("192.0.2.7") && shown.err.is_empty(),
        "{}",
        shown.said()
    );
    let renewed = plugin.run(&["subscriber", "password", &all[0]])?.expect(0)?;
    ensure!(!renewed.out.contains(password) && renewed.out.contains(&all[0]), "{}", renewed.out);

    let asked = plugin.run(&["subscriber", "delete", &all[0]])?.expect(6)?;
    ensure!(asked.err.contains("add --yes") && listed(plugin, &[])?.len() == 20, "{}", asked.said());
    plugin.run(&["subscriber", "delete", "--all", "--yes"])?.expect(0)?;
    ensure!(listed(plugin, &[])?.is_empty() && listed(plugin, &["--through", "homestead-prov"])?.is_empty());
    Ok(())
}

/// A run that was killed is completed by the same one again.
fn resumed(plugin: &Plugin) -> Result<()> {
    let mut child = plugin.spawn(&["subscriber", "create", RANGE, "--at-once", "1"])?;
    wait_for("a few lines", Duration::from_secs(30), || {
        let some = listed(plugin, &[])?.len();
        Ok(if some >= 3 { Attempt::Done(()) } else { Attempt::not_yet(some.to_string()) })
    })?;
    child.kill()?;
    child.wait()?;
    let before = listed(plugin, &[])?.len();
    ensure!(before < 20, "nothing was left to do: {before}");
    let again = plugin.run(&["subscriber", "create", RANGE, "-o", "json"])?.expect(0)?;
    ensure!(numbers(&again)?.len() == 20 && listed(plugin, &[])?.len() == 20, "{}", again.said());
    ensure!(again.out.matches("\"password\"").count() <= 20 - before + 1, "old passwords are not told: {}", again.out);
    // What Ctrl-C met on its way is told, and no more was made.
    let mut child = plugin.spawn(&["subscriber", "create", "--count", "200", "-o", "json"])?;
    wait_for("a few lines more", Duration::from_secs(30), || {
        let some = listed(plugin, &[])?.len();
        Ok(if some >= 28 { Attempt::Done(()) } else { Attempt::not_yet(some.to_string()) })
    })?;
    let signalled = Instant::now();
    ensure!(Command::new("kill").args(["-INT", &child.id().to_string()]).status()?.success());
    child.wait()?;
    let took = signalled.elapsed();
    let mut text = String::new();
    child.stdout.take().context("no stdout")?.read_to_string(&mut text)?;
    let told: Value = serde_json::from_str(&text).with_context(|| text.clone())?;
    let told = told["subscribers"].as_array().context("no subscribers")?;
    let stand = listed(plugin, &[])?.len();
    ensure!(stand == 20 + told.len() && told.len() < 200, "{stand} stand, {} were told", told.len());
    ensure!(told.iter().all(|l| l["password"].is_string()) && took < Duration::from_secs(1), "{took:?} {text}");
    let extra: Vec<&str> = told.iter().filter_map(|l| l["publicIdentity"].as_str()).collect();
    plugin.run(&[&["subscriber", "show"], &extra[..1]].concat())?.expect(0)?;
    plugin.run(&[&["subscriber", "delete", "--yes"], &extra[..]].concat())?.expect(0)?;
    let third = plugin.run(&["subscriber", "create", RANGE])?.expect(0)?;
    ensure!(third.err.contains("20 of these lines stand already, 0 are missing"), "{}", third.err);
    Ok(())
}

/// What was exported is what is imported, with the same passwords.
fn imported(plugin: &Plugin) -> Result<()> {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("lines-{}.json", std::process::id()));
    let exported = plugin.run(&["subscriber", "export", "--passwords"])?.expect(0)?;
    std::fs::write(&path, &exported.out)?;
    plugin.run(&["subscriber", "delete", RANGE, "--yes"])?.expect(0)?;
    let imported = plugin.run(&["subscriber", "import", &path.to_string_lossy(), "-o", "json"])?.expect(0)?;
    let (a, b): (Value, Value) = (serde_json::from_str(&exported.out)?, serde_json::from_str(&imported.out)?);
    ensure!(a["subscribers"] == b["subscribers"], "{}\n{}", exported.out, imported.out);
    plugin.run(&["subscriber", "delete", "--all", "--yes"])?.expect(0)?;
    Ok(())
}

/// Asks at the forwarded port. The status and the body.
fn ask(url: &str, args: &[&str]) -> Result<(u16, String)> {
    let output = Command::new("curl")
        .args(["--silent", "--max-time", "30", "--write-out", "\n%{http_code}"])
        .args(args)
        .arg(url)
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let (body, status) = text.rsplit_once('\n').with_context(|| format!("{url}: {output:?}"))?;
    Ok((status.parse()?, body.to_owned()))
}

struct Forwarded {
    child: Child,
    url: String,
}

impl Drop for Forwarded {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Ellis' own interface through the forward, from the account to the last number; over a replaced pod; and the end.
fn pages(plugin: &Plugin, kubectl: &Kubectl) -> Result<()> {
    let mut child = plugin.spawn(&["ellis", "--show", "url"])?;
    let mut url = String::new();
    BufReader::new(child.stdout.take().context("no output")?).read_line(&mut url)?;
    let mut forwarded = Forwarded { child, url: url.trim().to_owned() };
    let url = forwarded.url.clone();
    ensure!(url.starts_with("http://127.0.0.1:"), "{url}");
    let code = plugin.run(&["ellis", "--show", "code"])?.expect(0)?.out.trim().to_owned();

    let jar = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("jar-{}", std::process::id()));
    let jar = jar.to_string_lossy().into_owned();
    let cookies = ["--cookie", jar.as_str(), "--cookie-jar", jar.as_str()];
    let form = |code: &str| format!("email=ann@example.com&password=secret1&full_name=Ann&signup_code={code}");
    ensure!(ask(&url, &[])?.0 == 200, "no page");
    ensure!(ask(&format!("{url}accounts/"), &["--data", &form("wrong")])?.0 == 403);
    ensure!(ask(&format!("{url}accounts/"), &["--data", &form(&code)])?.0 == 201, "the code is not right");
    let session = [&cookies[..], &["--data", "email=ann@example.com&password=secret1"]].concat();
    ensure!(ask(&format!("{url}session/"), &session)?.0 == 201);
    let of = format!("{url}accounts/ann@example.com/numbers/");
    let (status, number) = ask(&of, &[&cookies[..], &["--data", "pstn=false"]].concat())?;
    let number: Value = serde_json::from_str(&number)?;
    ensure!(status < 300 && number["sip_password"].is_string(), "{number}");
    let of = format!("{of}{}/", number["sip_uri"].as_str().context("no URI")?);
    let (status, password) = ask(&format!("{of}password"), &[&cookies[..], &["--data", ""]].concat())?;
    ensure!(status < 300 && password.contains("sip_password"), "{password}");
    // The same account as the other command sees it.
    ensure!(listed(plugin, &["--account", "ann@example.com"])?.len() == 1);
    ensure!(ask(&of, &[&cookies[..], &["--request", "DELETE"]].concat())?.0 < 300);
    ensure!(listed(plugin, &["--account", "ann@example.com"])?.is_empty());

    kubectl.run(["delete", "pod", "--selector=service=ellis", "--wait=true", "--grace-period=1"])?;
    wait_for("the pages of the next pod", Duration::from_secs(90), || {
        Ok(match ask(&url, &[]) {
            Ok((200, _)) => Attempt::Done(()),
            other => Attempt::not_yet(format!("{other:?}")),
        })
    })?;
    let began = Instant::now();
    Command::new("kill").args(["-INT", &forwarded.child.id().to_string()]).status()?;
    let status = forwarded.child.wait()?;
    ensure!(
        status.code() == Some(130) && began.elapsed() < Duration::from_millis(1500),
        "{status}, {:?}",
        began.elapsed()
    );
    Ok(())
}
