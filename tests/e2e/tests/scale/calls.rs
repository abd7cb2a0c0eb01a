use anyhow::{Context, Result, ensure};
use clearwater_e2e::{Plugin, addresses, cluster};
use clearwater_testbed::sip::{Outcome, Phone, Transport};

use crate::{PATIENCE, file, outcome, scale};

/// A second bono and more sprouts while a call goes on, and back.
#[test]
#[ignore = "needs cluster (creates a namespace)"]
fn a_call_goes_on_while_bono_and_sprout_are_scaled() -> Result<()> {
    let cluster = cluster();
    let namespace = cluster.namespace("e2e-scale")?;
    let kubectl = namespace.kubectl();
    let plugin = Plugin::new(cluster, namespace.name())?;
    let path = file("keys: upstream\n")?;
    let up = ["up", "--yes", "-f", &path, "-o", "json"];
    plugin.run_within(PATIENCE, &up)?.expect(0)?;

    let phone = Phone::start(kubectl)?;
    let users = phone.provision("ellis", 4)?;
    let first = addresses(kubectl, "bono")?.pop().context("no bono")?;
    phone.register(&first, &users[0], &users[1], Transport::Tcp)?.check()?;
    phone.dial(&first, &users[0], &users[1], Transport::Tcp, 25)?;

    let dry = plugin.run(&["scale", "bono=2", "sprout", "+2", "--dry-run"])?.expect(0)?;
    ensure!(dry.out.contains("set the replicas from 1 to 3 (about 1 s)"), "{}", dry.said());
    ensure!(addresses(kubectl, "bono")?.len() == 1, "a dry run scaled");

    let ran = scale(&plugin, &["bono=2", "sprout", "3"])?;
    for wanted in ["rolledOut", "scaled"] {
        let found = ran.events()?.iter().filter(|e| e["what"]["kind"] == wanted).count();
        ensure!(found == 2, "{found} events {wanted}:\n{}", ran.out);
    }
    let in_dns = ran.events()?.iter().any(|e| {
        let step = e["what"]["step"].as_str().unwrap_or_default();
        e["what"]["kind"] == "stepEnded" && step.starts_with("see every DNS pod answer")
    });
    ensure!(in_dns, "what DNS answers is not told:\n{}", ran.out);

    let bonos = addresses(kubectl, "bono")?;
    ensure!(bonos.len() == 2 && addresses(kubectl, "sprout")?.len() == 3, "bonos: {bonos:?}");
    let ended = phone.hung_up()?;
    ensure!(ended == Outcome::Done, "the call that went on meanwhile: {ended}");
    // The called phone of that call still holds its port.
    phone.script("pkill sipp; while pgrep sipp > /dev/null; do sleep 0.1; done")?;
    for bono in &bonos {
        phone.exercise(bono, &users[2], &users[3], Transport::Udp)?.check()?;
    }

    // `up` leaves the counts alone and finds nothing that `scale` forgot.
    let again = plugin.run(&up)?.expect(0)?;
    ensure!(outcome(&again)? == "nothingToDo", "{}", again.out);
    let budgets = kubectl.run(["get", "poddisruptionbudgets", "--output=name"])?;
    ensure!(budgets.contains("/bono") && budgets.contains("/sprout"), "{budgets}");

    let down = scale(&plugin, &["sprout", "1"])?;
    ensure!(!down.out.contains("must register again"), "sprout drops no connection:\n{}", down.out);
    let bono = plugin.run(&["scale", "bono", "1", "--dry-run"])?.expect(0)?;
    ensure!(bono.out.contains("must register again"), "what happens to calls is not told:\n{}", bono.out);
    for bono in &bonos {
        phone.exercise(bono, &users[2], &users[3], Transport::Tcp)?.check()?;
    }
    let status = plugin.run(&["status", "-o", "json"])?;
    ensure!(status.out.contains("\"wanted\": 2"), "{}", status.said());

    // The counts that the file names; what it does not name stays.
    let text = std::fs::read_to_string(&path)?.replace("  sprout: {", "  sprout: {replicas: 2, ");
    let counts = file("")?;
    std::fs::write(&counts, text)?;
    plugin.run_within(PATIENCE, &["scale", "--file", &counts, "--yes"])?.expect(0)?;
    let (sprouts, bonos) = (addresses(kubectl, "sprout")?, addresses(kubectl, "bono")?);
    ensure!(sprouts.len() == 2 && bonos.len() == 2, "sprouts {sprouts:?}, bonos {bonos:?}");
    Ok(())
}
