//! What is kept, lost with its pods, and put back, by `backup` and `restore`.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clearwater_e2e::{Limited, Plugin, Ran, cluster};
use clearwater_testbed::{Attempt, Kubectl, wait_for};
use serde_json::{Value, json};

use super::{NAMES, PATIENCE, file_with};

/// How many lines the first account has.
const LINES: usize = 40;
const BOB: &str = "bob@example.com";

struct Kept<'c> {
    plugin: &'c Plugin,
    kubectl: &'c Kubectl,
    folder: PathBuf,
    domain: String,
}

fn parsed(ran: &Ran) -> Result<Value> {
    serde_json::from_str(&ran.out).with_context(|| ran.said())
}

fn encoded(text: &str) -> String {
    text.replace(':', "%3A").replace('@', "%40")
}

fn total(tally: &Value, state: &str) -> u64 {
    tally.as_object().into_iter().flatten().map(|(_, of)| of[state].as_u64().unwrap_or_default()).sum()
}

impl Kept<'_> {
    /// Asks one of the services from inside of its pod. The status and the body, or the place that it names.
    fn ask(&self, component: &str, port: u16, method: &str, path: &str, body: &str) -> Result<(u16, String)> {
        let url = format!("http://127.0.0.1:{port}{path}");
        let args = [
            "curl",
            "--silent",
            "--request",
            method,
            "--data-binary",
            body,
            "--write-out",
            "\n%{http_code} %header{location}",
        ];
        let deployment = format!("deployment/{component}");
        let text = self.kubectl.run(
            [&["exec", deployment.as_str(), "--container", component, "--"], &args[..], &[url.as_str()]].concat(),
        )?;
        let (body, told) = text.trim_end_matches('\n').rsplit_once('\n').with_context(|| text.clone())?;
        let (status, location) = told.split_once(' ').unwrap_or((told, ""));
        Ok((status.parse()?, if location.is_empty() { body } else { location }.to_owned()))
    }

    fn put(&self, component: &str, port: u16, method: &str, path: &str, body: &str) -> Result<String> {
        let (status, said) = self.ask(component, port, method, path, body)?;
        ensure!((200..400).contains(&status), "{method} {path}: {status} {said}");
        Ok(said)
    }

    fn simservs(&self, identity: &str, document: &str) -> Result<()> {
        let path = format!("/org.etsi.ngn.simservs/users/{}/simservs.xml", encoded(identity));
        self.put("homer", 7888, "PUT", &path, document).map(drop)
    }

    /// A line with a second phone, a second number and criteria of its own.
    fn furnish(&self, identity: &str) -> Result<()> {
        let profile =
            self.put("homestead-prov", 8889, "GET", &format!("/public/{}/service_profile", encoded(identity)), "")?;
        let profile = profile.get(profile.find("/irs/").context("no set")?..).context("no set")?.to_owned();
        let set = profile.split("/service_profiles").next().context("no set")?.to_owned();
        let second = format!("second@{}", self.domain);
        let body = json!({"digest_ha1": "0123456789abcdef0123456789abcdef", "realm": self.domain}).to_string();
        let put = |path: &str, body: &str| self.put("homestead-prov", 8889, "PUT", path, body);
        put(&format!("/private/{}", encoded(&second)), &body)?;
        let id = set.rsplit('/').next().context("no set")?;
        put(&format!("/private/{}/associated_implicit_registration_sets/{id}", encoded(&second)), "")?;
        let tel = "tel:+16505559999";
        let other = self.put("homestead-prov", 8889, "POST", &format!("{set}/service_profiles"), "")?;
        let other = other.get(other.find("/irs/").context("no profile")?..).context("no profile")?.to_owned();
        put(
            &format!("{other}/public_ids/{}", encoded(tel).replace('+', "%2B")),
            &format!("<PublicIdentity><Identity>{tel}</Identity></PublicIdentity>"),
        )?;
        let criteria = |n: u8| {
            format!(
                "<ServiceProfile><InitialFilterCriteria><Priority>{n}</Priority></InitialFilterCriteria></ServiceProfile>"
            )
        };
        put(&format!("{profile}/filter_criteria"), &criteria(3))?;
        put(&format!("{other}/filter_criteria"), &criteria(7))?;
        self.simservs(tel, "<simservs><communication-diversion active=\"true\"/></simservs>")
    }

    /// Makes a backup. Its file, and what it says of itself.
    fn backup(&self, name: &str) -> Result<(PathBuf, Value)> {
        let path = self.folder.join(name);
        let shown = path.to_string_lossy().into_owned();
        let report = parsed(&self.plugin.run(&["backup", "--to", &shown, "--account", BOB, "-o", "json"])?.expect(0)?)?;
        ensure!(report["file"] == shown.as_str(), "{report}");
        Ok((path, report["manifest"].clone()))
    }

    fn restore(&self, file: &Path, more: &[&str], code: i32) -> Result<Value> {
        let file = file.to_string_lossy().into_owned();
        parsed(&self.plugin.run(&[&["restore", &file, "--yes", "-o", "json"], more].concat())?.expect(code)?)
    }

    fn up(&self) -> Result<()> {
        let only = NAMES.join(",");
        self.plugin.run_within(PATIENCE, &["up", "--yes", "--only", &only, "-f", &in_pods()?])?.expect(0)?;
        Ok(())
    }
}

/// All is in the pods, and dies with them.
fn in_pods() -> Result<String> {
    in_pods_with("kept", "")
}

fn in_pods_with(file: &str, more: &str) -> Result<String> {
    let keeps = |name: &str| matches!(name, "cassandra" | "ellis");
    let said = format!(", storage: {{persistent: false}}{more}");
    file_with(file, |name| if keeps(name) { said.clone() } else { String::new() })
}

/// The hashes of what is of subscribers.
fn hashes(manifest: &Value) -> Vec<String> {
    ["subscribers.json", "simservs.json", "ellis.json"].map(|part| manifest["parts"][part]["sha256"].to_string()).into()
}

#[test]
#[ignore = "needs cluster (creates a namespace)"]
fn what_was_kept_is_put_back_into_new_pods() -> Result<()> {
    let cluster = cluster();
    let namespace = cluster.namespace("e2e-kept")?;
    let plugin = Plugin::new(cluster, namespace.name())?;
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("kept-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let domain = format!("{}.svc.cluster.local", namespace.name());
    let kept = Kept { plugin: &plugin, kubectl: namespace.kubectl(), folder, domain };
    let none = plugin.run(&["backup"])?.expect(1)?;
    ensure!(none.err.contains("no homestead-prov runs there"), "{}", none.err);
    kept.up()?;

    let (first, second) = people(&kept)?;
    let (path, manifest) = kept.backup("first.zip")?;
    ensure!(path.metadata()?.permissions().mode() & 0o777 == 0o600);
    let counts = &manifest["counts"];
    let wanted = json!({"privateIdentities": LINES + 3, "registrationSets": LINES + 2, "publicIdentities": LINES + 3,
        "filterCriteria": LINES + 3, "simservs": LINES + 3, "accounts": 2, "numbers": LINES + 2});
    ensure!(*counts == wanted, "{counts}");
    ensure!(
        manifest["lacks"].to_string().contains("passwords of accounts") && manifest["changed"].is_null(),
        "{manifest}"
    );

    refused(&kept, &path)?;
    differing(&kept, &path, &first, &second)?;

    // Everything is lost with its pods.
    plugin.run_within(PATIENCE, &["down", "--yes"])?.expect(0)?;
    kept.up()?;
    let dry = kept.restore(&path, &["--dry-run"], 0)?;
    ensure!(dry["outcome"] == "dryRun" && total(&dry["before"], "equal") == 0, "{dry}");
    ended_in_the_middle(&kept, &path)?;
    let again = kept.restore(&path, &["--replace"], 0)?;
    let all = counts.as_object().context("counts")?;
    let items = ["privateIdentities", "registrationSets", "simservs", "accounts", "numbers"];
    let items: u64 = items.iter().filter_map(|k| all[*k].as_u64()).sum();
    ensure!(total(&again["after"], "equal") == items && total(&again["after"], "missing") == 0, "{again}");
    let (_, second_manifest) = kept.backup("second.zip")?;
    ensure!(hashes(&manifest) == hashes(&second_manifest), "{manifest}\n{second_manifest}");
    let nothing = kept.restore(&path, &[], 0)?;
    ensure!(nothing["outcome"] == "nothingToDo" && nothing["done"] == 0, "{nothing}");
    replaced_through_a_backup(&kept, &manifest)?;

    let limited = Limited::new(cluster, &namespace, "keeper", &["backup"], false)?;
    let to = kept.folder.join("limited.zip").to_string_lossy().into_owned();
    // What it can do without is not given: the backup is whole all the same, and nobody notes it.
    let made = limited.plugin()?.run(&["backup", "--to", &to])?.expect(0)?;
    ensure!(made.err.contains("could not be noted") && made.err.contains("needs patch configmaps"), "{}", made.err);
    kept.simservs(&first, "<simservs><other/></simservs>")?;
    limited.plugin()?.run(&["restore", &to, "--replace", "--yes"])?.expect(0)?;
    limited.asked_for_what_the_table_names()?;
    std::fs::remove_dir_all(&kept.folder)?;
    Ok(())
}

/// Two accounts; of the lines one is furnished, one has settings of its own, and one is not in the address book.
fn people(kept: &Kept<'_>) -> Result<(String, String)> {
    let count = LINES.to_string();
    kept.plugin.run(&["subscriber", "create", "--count", &count])?.expect(0)?;
    let made = kept.plugin.run(&["subscriber", "create", "--count", "2", "--account", BOB, "-o", "json"])?.expect(0)?;
    let made = parsed(&made)?;
    let identity =
        |n: usize| made["subscribers"][n]["publicIdentity"].as_str().map(str::to_owned).context("no identity");
    let (first, second) = (identity(0)?, identity(1)?);
    kept.simservs(&first, "<simservs><communication-diversion active=\"true\"/></simservs>")?;
    kept.furnish(&second)?;
    Ok((first, second))
}

/// A torn file, an altered one and a foreign one are refused before anybody is asked.
fn refused(kept: &Kept<'_>, path: &Path) -> Result<()> {
    let bytes = std::fs::read(path)?;
    let torn = kept.folder.join("torn.zip");
    let restore = |words: &str| -> Result<()> {
        let ran = kept.plugin.run(&["restore", &torn.to_string_lossy(), "--yes"])?.expect(2)?;
        ensure!(ran.err.contains(words) && ran.out.is_empty(), "{}", ran.said());
        Ok(())
    };
    std::fs::write(&torn, &bytes[..bytes.len() / 2])?;
    restore("it is no whole zip archive")?;
    std::fs::write(&torn, "nothing of this kind")?;
    restore("it is no whole zip archive")?;
    let again = kept.plugin.run(&["backup", "--to", &path.to_string_lossy()])?.expect(1)?;
    ensure!(again.err.contains("cannot be written") && std::fs::read(path)? == bytes, "{}", again.said());
    Ok(())
}

/// What is missing is put back; what differs is left, and replaced where that is asked for.
fn differing(kept: &Kept<'_>, path: &Path, first: &str, second: &str) -> Result<()> {
    let same = kept.restore(path, &[], 0)?;
    ensure!(same["outcome"] == "nothingToDo" && same["differences"] == json!([]), "{same}");
    kept.simservs(first, "<simservs><other/></simservs>")?;
    let lost = kept.plugin.run(&["subscriber", "list", "-o", "json"])?.expect(0)?;
    let lost = parsed(&lost)?["subscribers"][0]["publicIdentity"].as_str().context("no line")?.to_owned();
    kept.plugin.run(&["subscriber", "delete", "--yes", &lost])?.expect(0)?;
    let left = kept.restore(path, &[], 7)?;
    ensure!(left["done"] == 1 && left["left"].to_string().contains(&format!("simservs of {first}")), "{left}");
    ensure!(total(&left["after"], "missing") == 0 && total(&left["after"], "different") == 1, "{left}");
    // Ellis forgets its numbers with its pod, and homestead-prov does not.
    kept.kubectl.run(["delete", "pod", "--selector=service=ellis", "--wait=true", "--grace-period=1"])?;
    kept.kubectl.run(["wait", "--for=condition=Ready", "--timeout=120s", "pod", "--selector=service=ellis"])?;
    let unowned = kept.restore(path, &["--dry-run"], 0)?;
    ensure!(
        unowned["left"].to_string().contains(&format!("{second}, which stands and is nobody's at Ellis")),
        "{unowned}"
    );
    let replaced = kept.restore(path, &["--replace"], 0)?;
    ensure!(replaced["outcome"] == "done" && total(&replaced["after"], "different") == 0, "{replaced}");
    Ok(())
}

/// What keeps everything in its only pod gets a pod of another revision, killed when the old one is gone: nothing is lost.
fn replaced_through_a_backup(kept: &Kept<'_>, before: &Value) -> Result<()> {
    let file = in_pods_with("kept-new", ", annotations: {revision: two}")?;
    let passage = kept.folder.join("through.zip");
    let shown = passage.to_string_lossy().into_owned();
    let args = ["up", "--yes", "-f", &file, "--replace-stores", "--through-backup", &shown];
    let mut child = kept.plugin.spawn(&args)?;
    wait_for("cassandra's end", PATIENCE, || {
        let stands = kept.kubectl.run(["get", "statefulset", "cassandra", "--output=name", "--ignore-not-found"])?;
        Ok(if stands.trim().is_empty() { Attempt::Done(()) } else { Attempt::not_yet(stands) })
    })?;
    child.kill()?;
    child.wait()?;
    ensure!(passage.exists() && passage.with_extension("zip.unfinished").exists());
    let again = kept.plugin.run_within(PATIENCE, &args)?.expect(0)?;
    ensure!(again.out.contains("all of it stands"), "{}", again.said());
    let revision = "jsonpath={.items[*].metadata.annotations.revision}";
    let pods = kept.kubectl.run(["get", "pods", "--selector=service in (cassandra,ellis)", "--output", revision])?;
    ensure!(pods == "two two", "{pods}");
    let (_, after) = kept.backup("after.zip")?;
    ensure!(hashes(before) == hashes(&after), "{before}\n{after}");
    let refused = kept.plugin.run(&args)?.expect(6)?;
    ensure!(refused.err.contains("no run through it was interrupted"), "{}", refused.said());
    Ok(())
}

/// Killed, and interrupted, while it puts things back. What is done then stands.
fn ended_in_the_middle(kept: &Kept<'_>, path: &Path) -> Result<()> {
    let file = path.to_string_lossy().into_owned();
    let listed = || -> Result<usize> {
        let ran = kept.plugin.run(&["subscriber", "list", "-o", "json", "--through", "homestead-prov"])?.expect(0)?;
        Ok(parsed(&ran)?["subscribers"].as_array().context("no list")?.len())
    };
    let some = |least: usize| {
        wait_for("a few lines", Duration::from_secs(60), || {
            let some = listed()?;
            Ok(if some >= least { Attempt::Done(()) } else { Attempt::not_yet(some.to_string()) })
        })
    };
    let mut child = kept.plugin.spawn(&["restore", &file, "--yes", "--at-once", "1"])?;
    some(4)?;
    child.kill()?;
    child.wait()?;
    let stand = listed()?;
    ensure!(stand < LINES, "nothing was left to do: {stand}");
    let mut child = kept.plugin.spawn(&["restore", &file, "--yes", "--replace", "--at-once", "1"])?;
    some(stand + 4)?;
    let began = Instant::now();
    ensure!(Command::new("kill").args(["-INT", &child.id().to_string()]).status()?.success());
    let ended = child.wait()?;
    ensure!(ended.code() == Some(130) && began.elapsed() < Duration::from_secs(1), "{ended}, {:?}", began.elapsed());
    ensure!(listed()? < LINES + 3, "nothing was left to do");
    Ok(())
}
