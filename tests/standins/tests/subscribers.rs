//! Start failures, provisioning through Ellis, and registration over the stores.

#![allow(clippy::similar_names, reason = "the domain's own names are alike")]

mod kit;

use std::cell::Cell;
use std::fmt::Write as _;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use kit::{Bed, Node, http, http_with, until};
use md5::{Digest as _, Md5};

fn cassandra(bed: &Bed, host: u8) -> Result<Node> {
    let mut node = bed.node(host, "node_type_cassandra")?;
    node.start(&["cluster-agent"])?;
    node.start_until(&["cassandra"], node.at(9160))?;
    until("schema", || Ok(http("GET", node.at(9160), "/ks/homer", "")?.status == 200))?;
    Ok(node)
}

fn astaire(bed: &Bed, host: u8) -> Result<Node> {
    let mut node = bed.node(host, "node_type_memcached")?;
    node.memcached()?;
    node.start(&["cluster-agent"])?;
    let settings = node.path("/etc/clearwater/cluster_settings");
    until("cluster_settings", || Ok(settings.exists()))?;
    node.start(&["astaire"])?;
    node.start_until(&["rogers"], node.at(11311))?;
    Ok(node)
}

/// The lines of a log without time and thread.
fn texts(log: &str) -> Vec<&str> {
    log.lines().filter_map(|l| l.split_once("] ").map(|(_, t)| t)).collect()
}

#[test]
fn homestead_starts_only_with_store_name_and_keyspace() -> Result<()> {
    if !kit::ready() {
        return Ok(());
    }
    let mut bed = Bed::new()?;
    bed.start_etcd()?;
    let mut node = bed.node(10, "homestead")?;
    // No such name.
    ensure!(node.run(&["homestead"])?.status.code() == Some(2));
    let log = node.log("homestead");
    let lines = texts(&log);
    for wanted in [
        "Warning dnscachedresolver.cpp:698: Failed to retrieve record for cassandra.zone: Domain name not found",
        "Error main.cpp:1056: Failed to initialize the Cassandra store with error code 5.",
        "Status main.cpp:1057: Homestead is shutting down",
    ] {
        ensure!(lines.contains(&wanted), "{log}");
    }
    let current = std::fs::read_link(node.path("/var/log/homestead/homestead_current.txt"))?;
    let name = current.to_string_lossy().into_owned();
    ensure!(name.starts_with("homestead_20") && name.ends_with("0000Z.txt"), "{name}");
    // A name whose port is closed.
    bed.dns.set("cassandra.zone", &[bed.ip(20)]);
    ensure!(node.run(&["homestead"])?.status.code() == Some(2));
    ensure!(node.log("homestead").contains("Failed to initialize the Cassandra store with error code 3."));
    // Cassandra without the keyspace.
    let mut store = bed.node(20, "node_type_cassandra")?;
    store.set("STANDIN_SCHEMA_DELAY_MS", "60000");
    store.start(&["cluster-agent"])?;
    store.start_until(&["cassandra"], store.at(9160))?;
    ensure!(node.run(&["homestead"])?.status.code() == Some(2));
    let log = node.log("homestead");
    ensure!(log.contains("Failed to initialize the Cassandra store with error code 2."), "{log}");
    ensure!(log.contains("Keyspace homestead_cache does not exist"), "{log}");
    // No name of the store for registrations.
    std::fs::write(node.path("/etc/clearwater/user_settings"), "homestead_impu_store=\nlog_level=5\n")?;
    ensure!(node.run(&["homestead"])?.status.code() == Some(2));
    ensure!(node.log("homestead").contains("No IMPU store specified"));
    std::fs::write(node.path("/etc/clearwater/user_settings"), "log_level=5\n")?;
    // All there.
    ensure!(http("PUT", store.at(9160), "/ks/homestead_cache", "")?.status == 200);
    node.start_until(&["homestead"], node.at(8888))?;
    ensure!(http("GET", node.at(8888), "/ping", "")?.body == "OK");
    ensure!(http("GET", node.at(8888), "/impi/nobody/digest", "")?.status == 404);
    ensure!(!kit::open(([127, 0, 0, 1], 8888).into()), "it listens on more than its own address");
    // With an HSS there is no Cassandra to wait for, and no Diameter peer to ask.
    let mut with_hss = bed.node(11, "homestead")?;
    std::fs::write(
        with_hss.path("/etc/clearwater/user_settings"),
        "hss_hostname=hss.zone\ncassandra_hostname=nowhere.zone\n",
    )?;
    with_hss.start_until(&["homestead"], with_hss.at(8888))?;
    ensure!(http("GET", with_hss.at(8888), "/impi/a/av?impu=b", "")?.status == 503);
    Ok(())
}

fn md5_hex(text: &str) -> String {
    let mut out = String::new();
    for byte in Md5::digest(text.as_bytes()) {
        let _ = write!(out, "{byte:02x}");
    }
    out
}

/// Makes an account and opens a session: its cookie.
fn signed_in(ellis: &Node) -> Result<String> {
    ensure!(http("GET", ellis.at(80), "/", "")?.body.contains("<title>Ellis"));
    let account = "email=a%40b.c&password=pw&full_name=A+B&signup_code=secret";
    ensure!(http("POST", ellis.at(80), "/accounts/", account)?.status == 500, "there is no MySQL");
    std::fs::create_dir_all(ellis.path("/var/run/mysqld"))?;
    std::fs::write(ellis.path("/var/run/mysqld/mysqld.sock"), "")?;
    ensure!(http("POST", ellis.at(80), "/accounts/", &account.replace("secret", "no"))?.status == 403);
    let incomplete = http("POST", ellis.at(80), "/accounts/", "email=a&signup_code=no")?;
    ensure!(incomplete.status == 400, "what is missing is said before the wrong code");
    ensure!(http("POST", ellis.at(80), "/accounts/", account)?.status == 201);
    ensure!(http("POST", ellis.at(80), "/accounts/", account)?.status == 409);
    ensure!(http("POST", ellis.at(80), "/session/", "username=a%40b.c&password=no")?.status == 403);
    let session = http("POST", ellis.at(80), "/session/", "username=a%40b.c&password=pw")?;
    ensure!(session.status == 201);
    Ok(session.header("set-cookie").context("cookie")?.split(';').next().unwrap_or_default().to_owned())
}

/// Two sprouts: one challenges, the other takes the answer. `homestead` is gone at the end.
fn registers(sprouts: &[Node], homestead: &mut Node, status: &str, ha1: &str) -> Result<()> {
    let through = http("GET", sprouts[0].at(9888), &format!("/standin/hs{status}"), "")?;
    ensure!(through.status == 200, "{}", through.body);
    let cseq = Cell::new(0);
    let register = |sprout: &Node, authorization: &str, expires: &str| -> Result<serde_json::Value> {
        cseq.set(cseq.get() + 1);
        let cseq = cseq.get();
        let body = format!(
            "impi: 6505550000@zone\nimpu: sip:6505550000@zone\nmethod: REGISTER\nrealm: zone\nauthorization: {authorization}\n\
             contact: <sip:6505550000@1.2.3.4:5060;transport=tcp>\nexpires: {expires}\npath: <sip:1.1.1.1:5058;lr>\ncall_id: x\ncseq: {cseq}\n"
        );
        let reply = http("POST", sprout.at(9888), "/standin/register", &body)?;
        ensure!(reply.status == 200, "{}", reply.body);
        Ok(reply.json())
    };
    let challenge = register(&sprouts[0], "<null>", "300")?;
    ensure!(challenge["status"] == 401, "{challenge}");
    let nonce_of = |challenge: &serde_json::Value| {
        let header = challenge["headers"].as_str().unwrap_or_default();
        header.split("nonce=\"").nth(1).and_then(|r| r.split('"').next()).map(str::to_owned).context("nonce")
    };
    let nonce = nonce_of(&challenge)?;
    let answer = |nonce: &str, ha1: &str| {
        let ha2 = md5_hex("REGISTER:sip:zone");
        let response = md5_hex(&format!("{ha1}:{nonce}:00000001:c:auth:{ha2}"));
        format!(
            "Digest username=\"6505550000@zone\",realm=\"zone\",nonce=\"{nonce}\",uri=\"sip:zone\",qop=auth,nc=00000001,cnonce=\"c\",response=\"{response}\""
        )
    };
    ensure!(register(&sprouts[1], &answer(&nonce, "wrong"), "300")?["status"] == 403);
    let good = register(&sprouts[1], &answer(&nonce, ha1), "300")?;
    ensure!(good["status"] == 200, "{good}");
    let lines = good["headers"].as_str().unwrap_or_default();
    ensure!(lines.contains("Contact: <sip:6505550000@1.2.3.4:5060;transport=tcp>;expires=300"), "{lines}");
    ensure!(lines.contains("P-Associated-URI: <sip:6505550000@zone>"), "{lines}");
    let stale = register(&sprouts[0], &answer("gone", ha1), "300")?;
    ensure!(stale["status"] == 401 && stale["headers"].as_str().is_some_and(|h| h.contains("stale=true")), "{stale}");
    let bindings = http("GET", sprouts[0].at(9888), "/standin/served/sip%3A6505550000%40zone", "")?.json();
    ensure!(bindings["n"] == 1 && bindings["b"][0]["path"] == "<sip:1.1.1.1:5058;lr>", "{bindings}");
    let data = http("GET", homestead.at(8888), "/impu/sip%3A6505550000%40zone/reg-data", "")?;
    ensure!(data.body.contains("<RegistrationState>REGISTERED<"), "{}", data.body);
    // A nonce counts once.
    let again = register(&sprouts[0], &answer(&nonce, ha1), "0")?;
    ensure!(again["status"] == 401 && again["headers"].as_str().is_some_and(|h| h.contains("stale=true")), "{again}");
    ensure!(register(&sprouts[0], &answer(&nonce_of(&again)?, ha1), "0")?["status"] == 200);
    let bindings = http("GET", sprouts[1].at(9888), "/standin/served/sip%3A6505550000%40zone", "")?.json();
    ensure!(bindings["n"] == 0, "{bindings}");
    ensure!(http("POST", sprouts[0].at(9888), "/timers", "{\"aor_id\":\"sip:6505550000@zone\"}")?.status == 200);
    // homestead gone: what the C++ client makes of it.
    homestead.kill("homestead")?;
    ensure!(http("GET", sprouts[1].at(9888), &format!("/standin/hs{status}"), "")?.status == 404);
    ensure!(register(&sprouts[1], "", "300")?["status"] == 403);
    Ok(())
}

/// An account's numbers at Ellis.
const NUMBERS: &str = "/accounts/a%40b.c/numbers/";
/// The first of them, as a part of a path.
const FIRST: &str = "sip%3A6505550000%40zone";

/// Ellis with an account that has a session.
struct Ellis {
    node: Node,
    cookie: String,
}

impl Ellis {
    fn start(bed: &mut Bed) -> Result<Self> {
        bed.shared.insert("cassandra_hostname".to_owned(), bed.ip(20).to_string());
        bed.shared.insert("hs_provisioning_hostname".to_owned(), format!("{}:8889", bed.ip(30)));
        bed.shared.insert("xdms_hostname".to_owned(), format!("{}:7888", bed.ip(31)));
        bed.dns.set("homestead.zone", &[bed.ip(10)]);
        bed.dns.set("astaire.zone", &[bed.ip(40)]);
        let mut node = bed.node(32, "ellis")?;
        node.start(&["ellis"])?;
        node.start_until(&["nginx-front", "ellis"], node.at(80))?;
        until("Ellis", || Ok(http("GET", node.at(80), "/ping", "")?.body == "OK"))?;
        until("the one ping", || Ok(node.log("ellis").contains("Failed to ping Homestead at http://")))?;
        let cookie = signed_in(&node)?;
        Ok(Self { node, cookie })
    }

    /// Asks with the session.
    fn ask(&self, method: &str, path: &str) -> Result<kit::Reply> {
        http_with(method, self.node.at(80), path, "", &[("Cookie", &self.cookie)], Duration::from_secs(10))
    }

    fn has_numbers(&self) -> Result<()> {
        std::fs::create_dir_all(self.node.path("/var/lib/mysql/ellis"))?;
        Ok(std::fs::write(self.node.path("/var/lib/mysql/ellis/numbers"), "")?)
    }
}

/// homestead-prov with its front and without Cassandra.
fn waiting_prov(bed: &Bed) -> Result<Node> {
    let mut prov = bed.node(30, "homestead-prov")?;
    prov.start_until(&["nginx-front", "homestead-prov"], prov.at(8889))?;
    ensure!(http("GET", prov.at(8889), "/ping", "")?.status == 502, "the front answers alone");
    prov.start(&["homestead-prov"])?;
    until("the program behind the front", || Ok(prov.path("/tmp/.homestead-prov-sock-0").exists()))?;
    Ok(prov)
}

#[test]
fn ellis_gives_no_number_without_numbers_and_without_who_keeps_them() -> Result<()> {
    if !kit::ready() {
        return Ok(());
    }
    let mut bed = Bed::new()?;
    bed.start_etcd()?;
    let ellis = Ellis::start(&mut bed)?;
    ensure!(http("GET", ellis.node.at(80), NUMBERS, "")?.status == 403, "without a session");
    let none = ellis.ask("POST", NUMBERS)?;
    ensure!(none.status == 503 && none.body.contains("No available numbers"), "{}", none.body);
    ellis.has_numbers()?;
    // Nobody behind it.
    ensure!(ellis.ask("POST", NUMBERS)?.status == 502);
    ensure!(ellis.node.log("ellis").contains("Failed to update all the backends"));
    let _prov = waiting_prov(&bed)?;
    ensure!(ellis.ask("POST", NUMBERS)?.status == 502, "homestead-prov has no Cassandra");
    Ok(())
}

#[test]
fn homestead_prov_hangs_without_cassandra_and_ends_without_its_name() -> Result<()> {
    if !kit::ready() {
        return Ok(());
    }
    let mut bed = Bed::new()?;
    bed.start_etcd()?;
    bed.shared.insert("cassandra_hostname".to_owned(), bed.ip(20).to_string());
    bed.dns.set("astaire.zone", &[bed.ip(40)]);
    let mut no_name = bed.node(33, "homestead-prov")?;
    std::fs::write(no_name.path("/etc/clearwater/user_settings"), "cassandra_hostname=no-such-name.invalid\n")?;
    no_name.start(&["homestead-prov"])?;
    ensure!(no_name.ended("homestead-prov")? == 1);
    let prov = waiting_prov(&bed)?;
    let hung = http_with("GET", prov.at(8889), "/ping", "", &[], Duration::from_millis(700));
    ensure!(hung.is_err(), "ping must hang without Cassandra: {hung:?}");
    let _stores = (cassandra(&bed, 20)?, astaire(&bed, 40)?);
    until("ping", || Ok(http("GET", prov.at(8889), "/ping", "")?.body == "OK"))
}

/// Ellis with all that a number is kept by.
struct Provisioning {
    ellis: Ellis,
    prov: Node,
    homer: Node,
    _stores: (Node, Node),
}

impl Provisioning {
    fn start(bed: &mut Bed) -> Result<Self> {
        let ellis = Ellis::start(bed)?;
        ellis.has_numbers()?;
        let stores = (cassandra(bed, 20)?, astaire(bed, 40)?);
        let prov = waiting_prov(bed)?;
        until("ping", || Ok(http("GET", prov.at(8889), "/ping", "")?.body == "OK"))?;
        let mut homer = bed.node(31, "homer")?;
        homer.start(&["homer"])?;
        homer.start_until(&["nginx-front", "homer"], homer.at(7888))?;
        until("homer", || Ok(http("GET", homer.at(7888), "/ping", "")?.body == "OK"))?;
        Ok(Self { ellis, prov, homer, _stores: stores })
    }

    /// Makes the first number: its password.
    fn first(&self) -> Result<String> {
        let made = self.ellis.ask("POST", NUMBERS)?;
        ensure!(made.status == 201, "{} {}", made.status, made.body);
        let line = made.json();
        ensure!(line["sip_uri"] == "sip:6505550000@zone" && line["formatted_number"] == "(650) 555-0000", "{line}");
        Ok(line["sip_password"].as_str().context("password")?.to_owned())
    }
}

#[test]
fn a_number_is_kept_by_all_backends_and_by_none_when_one_fails() -> Result<()> {
    if !kit::ready() {
        return Ok(());
    }
    let mut bed = Bed::new()?;
    bed.start_etcd()?;
    let mut all = Provisioning::start(&mut bed)?;
    all.first()?;
    ensure!(all.ellis.ask("POST", NUMBERS)?.json()["number"] == "6505550001");
    ensure!(all.ellis.ask("GET", NUMBERS)?.json()["numbers"].as_array().is_some_and(|n| n.len() == 2));
    let ifcs = all.ellis.ask("GET", &format!("{NUMBERS}{FIRST}/ifcs"))?;
    ensure!(ifcs.body.contains("sip:mmtel.zone"), "{} {}", ifcs.status, ifcs.body);
    ensure!(all.ellis.ask("GET", &format!("{NUMBERS}{FIRST}/simservs"))?.body.contains("<simservs"));
    let bad = http("PUT", all.homer.at(7888), "/org.etsi.ngn.simservs/users/sip%3Aa/simservs.xml", "nonsense")?;
    ensure!(bad.status == 400);
    let found = http("GET", all.prov.at(8889), &format!("/public/{FIRST}/service_profile"), "")?;
    ensure!(found.status == 303 && found.header("location").is_some_and(|l| l.starts_with("/irs/")));

    let private = "/private/6505550000%40zone";
    ensure!(http("GET", all.prov.at(8889), private, "")?.status == 200);
    let gone = all.ellis.ask("DELETE", &format!("{NUMBERS}{FIRST}/"))?;
    ensure!(gone.status == 200, "{}", gone.body);
    ensure!(http("GET", all.prov.at(8889), private, "")?.status == 404);
    all.homer.kill("homer")?;
    let failed = all.ellis.ask("POST", NUMBERS)?;
    ensure!(failed.status == 502, "{}", failed.body);
    ensure!(http("GET", all.prov.at(8889), private, "")?.status == 404, "backed out");
    Ok(())
}

#[test]
fn a_provisioned_subscriber_registers_at_any_sprout() -> Result<()> {
    if !kit::ready() {
        return Ok(());
    }
    let mut bed = Bed::new()?;
    bed.start_etcd()?;
    let all = Provisioning::start(&mut bed)?;
    let password = all.first()?;
    let mut homestead = bed.node(10, "homestead")?;
    homestead.start_until(&["homestead"], homestead.at(8888))?;
    let digest = http("GET", homestead.at(8888), "/impi/6505550000%40zone/digest", "")?;
    let ha1 = md5_hex(&format!("6505550000@zone:zone:{password}"));
    ensure!(digest.json()["digest_ha1"] == ha1.as_str(), "{}", digest.body);
    let status = format!("/impi/6505550000%40zone/registration-status?impu={FIRST}");
    ensure!(http("GET", homestead.at(8888), &status, "")?.json()["scscf"] == "sip:sprout.zone:5054;transport=tcp");
    ensure!(http("GET", homestead.at(8888), "/impu/sip%3Anobody%40zone/location", "")?.status == 404);

    let mut sprouts = Vec::new();
    for host in [50, 51] {
        let mut sprout = bed.node(host, "sprout")?;
        sprout.start_until(&["sprout-http"], sprout.at(9888))?;
        sprouts.push(sprout);
    }
    registers(&sprouts, &mut homestead, &status, &ha1)
}

#[test]
fn ralf_needs_store_and_chronos_only_when_asked() -> Result<()> {
    if !kit::ready() {
        return Ok(());
    }
    let mut bed = Bed::new()?;
    bed.start_etcd()?;
    let mut ralf = bed.node(10, "ralf")?;
    ralf.start_until(&["ralf"], ralf.at(10888))?;
    ensure!(http("GET", ralf.at(10888), "/ping", "")?.body == "OK");
    let start = "{\"event\":{\"Accounting-Record-Type\":2}}";
    ensure!(http("POST", ralf.at(10888), "/call-id/x", start)?.status == 500);
    ensure!(http("POST", ralf.at(10888), "/call-id/x", "{}")?.status == 400);
    let mut bad = bed.node(11, "ralf")?;
    std::fs::write(bad.path("/etc/clearwater/user_settings"), "ralf_hostname=\n")?;
    bad.start(&["ralf"])?;
    ensure!(bad.ended("ralf")? == 1);
    bed.dns.set("astaire.zone", &[bed.ip(40)]);
    bed.dns.set("chronos.zone", &[bed.ip(41)]);
    let _astaire = astaire(&bed, 40)?;
    let mut chronos = bed.node(41, "node_type_chronos")?;
    chronos.start_until(&["chronos"], chronos.at(7253))?;
    // The absent names are remembered for as long as the zone says, a second here.
    until("a session", || Ok(http("POST", ralf.at(10888), "/call-id/x", start)?.status == 200))?;
    Ok(())
}

#[test]
fn stamps_tell_when_a_store_served_and_was_normal() -> Result<()> {
    if !kit::ready() {
        return Ok(());
    }
    let mut bed = Bed::new()?;
    bed.start_etcd()?;
    let mut node = bed.node(20, "node_type_cassandra")?;
    std::fs::write(node.root.join("pid1.out"), "")?;
    ensure!(node.run(&["stamp", "--component", "cassandra", "--pid1"])?.status.success());
    node.start(&["stamp", "--component", "cassandra"])?;
    node.start(&["cluster-agent"])?;
    node.start_until(&["cassandra"], node.at(9160))?;
    ensure!(node.ended("stamp --component cassandra")? == 0);
    let stamps: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(node.path("/var/run/standin/stamps"))?)?;
    let at = |name: &str| stamps[name].as_u64().unwrap_or_default();
    ensure!(at("pid1_start_us") > 1_000_000_000_000_000, "{stamps}");
    ensure!(at("pid1_start_us") < at("normal_us") && at("normal_us") < at("first_serve_us"), "{stamps}");
    let printed = std::fs::read_to_string(node.root.join("pid1.out"))?;
    ensure!(printed.lines().last().is_some_and(|l| l.contains("\"normal_us\"")), "{printed}");
    Ok(())
}
