//! What bono and sprout answer, with the routes of the images: transactions, flows, faults of those behind them, times.

mod kit;

use std::net::{SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clearwater_sip::case::{
    CaseTimes, NoServices, NoWay, Opened, OpenedMedia, ServiceSource, TestVerdict, WaySource, all,
};
use clearwater_sip::{Account, MediaWay, Transport, Way};
use kit::back_ends::{Homer, NO_SCSCF};
use kit::sip::{Exchange, Phone, Proxy, Wire, code, header, headers, ready, reply};
use kit::{Bed, until};

#[test]
fn a_cancel_goes_with_its_invite_and_nothing_else() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let exchange = Exchange::start()?;
    let (mut anna, mut bert) = (exchange.phone("anna")?, exchange.phone("bert")?);
    // The same Call-ID and numbers, another branch: that is not its transaction.
    let stray = anna.fresh("CANCEL", "sip:bert@zone", "c1", &[]);
    ensure!(anna.wire.ask(&stray)? == 481, "{}", exchange.said());
    let mut sprout = Wire::open(exchange.sprout.at(5054))?;
    ensure!(sprout.ask(&stray)? == 481, "{}", exchange.said());

    let invite = anna.fresh("INVITE", "sip:bert@zone", "c1", &[]);
    anna.wire.say(&invite)?;
    let rings = bert.wire.next()?;
    ensure!(rings.starts_with("INVITE "), "{rings}");
    bert.wire.say(&reply(&rings, "180 Ringing", &[]))?;
    ensure!(code(&anna.wire.next()?) == 180);
    let cancel = invite.replace("INVITE sip", "CANCEL sip").replace(" INVITE", " CANCEL");
    // Of another flow, or of one that may not call itself so: it cannot be challenged, so it is refused.
    let mut stranger = Phone::open("anna", &exchange.bono)?;
    ensure!(stranger.wire.ask(&cancel)? == 403, "{}", exchange.said());
    ensure!(anna.wire.ask(&cancel)? == 200);
    let cancelled = bert.wire.next()?;
    ensure!(cancelled.starts_with("CANCEL "), "{cancelled}");
    bert.wire.say(&reply(&cancelled, "200 OK", &[]))?;
    bert.wire.say(&reply(&rings, "487 Request Terminated", &[]))?;
    ensure!(code(&anna.wire.next()?) == 487);
    Ok(())
}

/// A call from `anna` to `bert` that is answered: the 200 and the INVITE as it arrived.
fn answered(exchange: &Exchange, anna: &mut Phone, bert: &mut Phone, call: &str) -> Result<(String, String)> {
    let invite = anna.fresh("INVITE", "sip:bert@zone", call, &["P-Asserted-Identity: <sip:king@zone>"]);
    anna.wire.say(&invite)?;
    let rings = bert.wire.next()?;
    let contact = format!("Contact: {}", bert.contact);
    bert.wire.say(&reply(&rings, "200 OK", &[&contact]))?;
    let answer = anna.wire.next()?;
    ensure!(code(&answer) == 200, "{answer}\n{}", exchange.said());
    Ok((answer, rings))
}

/// The Routes of a dialog as headers, from its Record-Routes.
fn routes(message: &str, backwards: bool) -> Vec<String> {
    let mut all: Vec<String> = headers(message, "Record-Route").map(|route| format!("Route: {route}")).collect();
    if backwards {
        all.reverse();
    }
    all
}

#[test]
fn within_a_call_requests_go_over_the_flow_wherever_they_are_addressed_to() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let exchange = Exchange::start()?;
    let (mut anna, mut bert) = (exchange.phone("anna")?, exchange.phone("bert")?);
    let (answer, invite) = answered(&exchange, &mut anna, &mut bert, "call")?;
    // The contacts are of an address that nobody has; the home domain would lead to sprout.
    let there = [routes(&answer, true), vec![]].concat();
    let there: Vec<&str> = there.iter().map(String::as_str).collect();
    let (to_bert, to_anna) = ("<sip:bert@zone>;tag=there", "<sip:anna@zone>;tag=here");
    let ack = anna.request("ACK", "sip:bert@zone", "call", to_bert, &there);
    anna.wire.say(&ack)?;
    let heard = bert.wire.next().with_context(|| format!("{ack}{}", exchange.said()))?;
    ensure!(heard.starts_with("ACK sip:bert@zone "), "{heard}\n{}", exchange.said());
    let again = anna.request("INVITE", "sip:bert@192.0.2.1:7;transport=tcp", "call", to_bert, &there);
    anna.wire.say(&again)?;
    let heard = bert.wire.next()?;
    ensure!(heard.starts_with("INVITE sip:bert@192.0.2.1:7;"), "{heard}\n{}", exchange.said());
    bert.wire.say(&reply(&heard, "488 Not Acceptable Here", &[]))?;
    ensure!(code(&anna.wire.next()?) == 488);
    let heard = bert.wire.next()?;
    ensure!(heard.starts_with("ACK "), "{heard}");
    // And the other way: the called phone hangs up.
    let back = routes(&invite, false);
    let back: Vec<&str> = back.iter().map(String::as_str).collect();
    let bye = bert.request("BYE", "sip:anna@zone", "call", to_anna, &back).replace("tag=here\r\nTo", "tag=there\r\nTo");
    bert.wire.say(&bye)?;
    let heard = anna.wire.next()?;
    ensure!(heard.starts_with("BYE sip:anna@zone "), "{heard}\n{}", exchange.said());
    anna.wire.say(&reply(&heard, "200 OK", &[]))?;
    ensure!(code(&bert.wire.next()?) == 200);
    Ok(())
}

#[test]
fn who_may_send_is_told_by_the_flow_and_asserted_by_bono() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let exchange = Exchange::start()?;
    exchange.homestead.alias("anna", "sip:anna.work@zone");
    let (mut anna, mut bert) = (exchange.phone("anna")?, exchange.phone("bert")?);
    // The same From over another connection is a stranger's.
    let mut stranger = Phone::open("anna", &exchange.bono)?;
    let message = stranger.fresh("MESSAGE", "sip:bert@zone", "m1", &[]);
    ensure!(stranger.wire.ask(&message)? == 403);
    let mut said = |phone: &mut Phone, call: &str, more: &[&str]| -> Result<String> {
        let message = phone.fresh("MESSAGE", "sip:bert@zone", call, more);
        phone.wire.say(&message)?;
        let heard = bert.wire.next()?;
        bert.wire.say(&reply(&heard, "200 OK", &[]))?;
        ensure!(code(&phone.wire.next()?) == 200);
        let asserted: Vec<&str> = headers(&heard, "P-Asserted-Identity").collect();
        ensure!(header(&heard, "P-Preferred-Identity").is_none(), "{heard}");
        Ok(asserted.join(" "))
    };
    // What it asserts of itself does not count; what it prefers does, where its registration covers that.
    ensure!(said(&mut anna, "m2", &["P-Asserted-Identity: <sip:king@zone>"])? == "<sip:anna@zone>");
    ensure!(said(&mut anna, "m3", &["P-Preferred-Identity: <sip:anna.work@zone>"])? == "<sip:anna.work@zone>");
    let message = anna.fresh("MESSAGE", "sip:bert@zone", "m4", &["P-Preferred-Identity: <sip:bert@zone>"]);
    ensure!(anna.wire.ask(&message)? == 403);
    // Once the registration is taken back, the flow is nobody's.
    ensure!(code(&anna.register(0)?) == 200);
    let message = anna.fresh("MESSAGE", "sip:bert@zone", "m5", &[]);
    ensure!(anna.wire.ask(&message)? == 403);
    Ok(())
}

#[test]
fn a_flow_that_is_gone_is_told_and_its_binding_goes() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let exchange = Exchange::start()?;
    let (mut anna, bert) = (exchange.phone("anna")?, exchange.phone("bert")?);
    drop(bert);
    until("bono to see that the connection is gone", || {
        let message = anna.fresh("MESSAGE", "sip:bert@zone", "m1", &[]);
        Ok(anna.wire.ask(&message)? == 430)
    })
    .with_context(|| exchange.said())?;
    let message = anna.fresh("MESSAGE", "sip:bert@zone", "m2", &[]);
    ensure!(anna.wire.ask(&message)? == 480, "the binding is still tried\n{}", exchange.said());
    // A token that bono never gave.
    let mut sprout = Wire::open(exchange.bono.at(5058))?;
    let route = format!("Route: <sip:nobody@{}:5058;transport=TCP;lr>", exchange.bono.ip);
    let message = anna.fresh("MESSAGE", "sip:bert@zone", "m3", &[&route]);
    ensure!(sprout.ask(&message)? == 430);
    ensure!(sprout.ask(&anna.fresh("REGISTER", "sip:zone", "m4", &[]))? == 405);
    Ok(())
}

#[test]
fn a_set_of_identities_registers_together_and_numbers_are_none_without_enum() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let exchange = Exchange::start()?;
    for identity in ["sip:bert.work@zone", "tel:+16505550001"] {
        exchange.homestead.alias("bert", identity);
    }
    let mut anna = exchange.phone("anna")?;
    let mut bert = Phone::open("bert", &exchange.bono)?;
    let answer = bert.register(300)?;
    let associated: Vec<&str> = headers(&answer, "P-Associated-URI").collect();
    ensure!(associated == ["<sip:bert@zone>", "<sip:bert.work@zone>", "<tel:+16505550001>"], "{answer}");
    for called in [
        "sip:bert.work@zone",
        "tel:+16505550001",
        "sip:bert@zone;user=phone",
        "sip:bert@zone;x=\"a\"",
        "sip:bert@zone;x=\"a;gr=y\"",
    ] {
        let message = anna.request("MESSAGE", called, "m", "<sip:bert@zone>", &[]);
        anna.wire.say(&message)?;
        let heard = bert.wire.next().with_context(|| format!("{called}\n{}", exchange.said()))?;
        ensure!(heard.starts_with("MESSAGE sip:bert@192.0.2.1:"), "{called}: {heard}");
        let party = header(&heard, "P-Called-Party-ID").unwrap_or_default();
        ensure!(party == format!("<{}>", called.split(';').next().unwrap_or_default()), "{called}: {heard}");
        bert.wire.say(&reply(&heard, "200 OK", &[]))?;
        ensure!(code(&anna.wire.next()?) == 200);
    }
    for (called, wanted) in [("tel:+16505550002", 404), ("sip:nobody@zone", 404), ("sip:carl@zone", 480)] {
        let invite = anna.fresh("INVITE", called, "i", &[]);
        let seen = anna.wire.ask(&invite)?;
        ensure!(seen == wanted, "{called}: {seen}\n{}", exchange.said());
        let ack = invite.replace("INVITE sip", "ACK sip").replace("INVITE tel", "ACK tel").replace(" INVITE", " ACK");
        anna.wire.say(&ack)?;
    }
    Ok(())
}

#[test]
fn bindings_are_asked_for_without_a_contact_and_taken_away_by_a_star() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let exchange = Exchange::start()?;
    let mut bert = exchange.phone("bert")?;
    let own = bert.contact.clone();
    bert.contact = String::new();
    let asked = bert.register(300)?;
    let told: Vec<&str> = headers(&asked, "Contact").collect();
    ensure!(code(&asked) == 200 && told.len() == 1 && told[0].starts_with(&own), "{own}: {asked}");
    bert.contact = "*".to_owned();
    ensure!(code(&bert.register(10)?) == 400, "{}", exchange.said());
    let gone = bert.register(0)?;
    ensure!(code(&gone) == 200 && headers(&gone, "Contact").next().is_none(), "{gone}");
    Ok(())
}

#[test]
fn a_number_with_a_plus_is_registered_and_called() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let exchange = Exchange::start()?;
    let mut anna = exchange.phone("anna")?;
    let mut far = Phone::open("+16505550009", &exchange.bono)?;
    let answer = far.register(300)?;
    ensure!(code(&answer) == 200, "{answer}\n{}", exchange.said());
    let message = anna.request("MESSAGE", "sip:+16505550009@zone", "m", "<sip:+16505550009@zone>", &[]);
    anna.wire.say(&message)?;
    let heard = far.wire.next().with_context(|| exchange.said())?;
    ensure!(heard.starts_with("MESSAGE sip:+16505550009@192.0.2.1:"), "{heard}");
    Ok(())
}

#[test]
fn a_contact_with_a_quoted_parameter_is_registered_and_reached() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let exchange = Exchange::start()?;
    let mut anna = exchange.phone("anna")?;
    let mut bert = Phone::open("bert", &exchange.bono)?;
    let uri = format!("sip:bert@192.0.2.1:{};transport=tcp;x=\"a\"", bert.wire.port()?);
    bert.contact = format!("<{uri}>;+sip.instance=\"<urn:uuid:0>\"");
    let answer = bert.register(300)?;
    ensure!(code(&answer) == 200, "{answer}\n{}", exchange.said());
    let message = anna.fresh("MESSAGE", "sip:bert@zone", "m", &[]);
    anna.wire.say(&message)?;
    let heard = bert.wire.next().with_context(|| exchange.said())?;
    ensure!(heard.starts_with(&format!("MESSAGE {uri} ")), "{heard}");
    Ok(())
}

#[test]
fn the_codes_are_those_of_the_real_ones() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let mut exchange = Exchange::start()?;
    let mut anna = exchange.phone("anna")?;
    for (asked, answered, wanted) in [
        ("status", 404, 403),
        ("status", 503, 480),
        ("status", 504, 480),
        ("status", NO_SCSCF, 600),
        ("av", 503, 504),
        ("av", 504, 504),
        ("av", 404, 403),
        ("av", 500, 403),
        ("reg", 404, 403),
        ("reg", 403, 504),
        ("reg", 500, 500),
        ("reg", 503, 504),
    ] {
        exchange.homestead.answers(asked, answered);
        let seen = code(&Phone::open("bert", &exchange.bono)?.register(300)?);
        exchange.homestead.answers(asked, 200);
        ensure!(seen == wanted, "REGISTER, {asked} {answered}: {seen}\n{}", exchange.said());
    }
    for (asked, answered, wanted) in [
        ("location", 404, 404),
        ("location", 503, 480),
        ("location", 500, 480),
        ("location", NO_SCSCF, 600),
        ("call", 503, 504),
        ("call", 504, 504),
        ("call", 500, 404),
        ("call", 404, 404),
    ] {
        exchange.homestead.answers(asked, answered);
        let message = anna.fresh("MESSAGE", "sip:anna@zone", "m", &[]);
        let seen = anna.wire.ask(&message)?;
        exchange.homestead.answers(asked, 200);
        ensure!(seen == wanted, "MESSAGE, {asked} {answered}: {seen}\n{}", exchange.said());
    }
    let nobody = code(&Phone::open("nobody", &exchange.bono)?.register(300)?);
    ensure!(nobody == 403, "REGISTER of nobody: {nobody}");
    exchange.lose_store()?;
    let lost = code(&Phone::open("bert", &exchange.bono)?.register(300)?);
    ensure!(lost == 500, "REGISTER without store: {lost}\n{}", exchange.said());
    Ok(())
}

#[test]
fn what_is_absent_is_refused_and_not_passed_over() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let exchange = Exchange::start()?;
    let (mut anna, mut bert) = (exchange.phone("anna")?, exchange.phone("bert")?);
    for (method, called, more, wanted) in [
        ("MESSAGE", "sip:bert@zone;gr=urn:uuid:0", "X-None: 1", 480),
        ("MESSAGE", "sip:bert@zone;gr", "X-None: 1", 480),
        ("MESSAGE", "sip:bert@zone", "Accept-Contact: *;video;require;explicit", 480),
        ("MESSAGE", "sip:bert@zone", "Reject-Contact: *;audio", 480),
    ] {
        let request = anna.fresh(method, called, "absent", &[more]);
        let seen = anna.wire.ask(&request)?;
        ensure!(seen == wanted, "{method} {called}, {more}: {seen}\n{}", exchange.said());
    }
    ensure!(bert.wire.hear(Duration::from_millis(100))?.is_none(), "bert was sent something");
    Ok(())
}

#[test]
fn a_number_with_two_phones_rings_both_and_a_provisional_answer_is_acknowledged() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let exchange = Exchange::start()?;
    let mut anna = exchange.phone("anna")?;
    let (mut one, mut two) = (exchange.phone("bert")?, exchange.phone("bert")?);
    let invite = anna.fresh("INVITE", "sip:bert@zone", "fork", &["Supported: 100rel"]);
    anna.wire.say(&invite)?;
    let (first, second) = (one.wire.next()?, two.wire.next()?);
    two.wire.say(&reply(&second, "180 Ringing", &[]))?;
    ensure!(code(&anna.wire.next()?) == 180);
    let contact = format!("Contact: {}", one.contact);
    one.wire.say(&reply(&first, "183 Session Progress", &[&contact, "Require: 100rel", "RSeq: 1"]))?;
    let early = anna.wire.next()?;
    ensure!(code(&early) == 183, "{early}");
    let there = [routes(&early, true), vec!["RAck: 1 1 INVITE".to_owned()]].concat();
    let there: Vec<&str> = there.iter().map(String::as_str).collect();
    let prack =
        anna.request("PRACK", "sip:bert@192.0.2.1:7;transport=tcp", "fork", "<sip:bert@zone>;tag=there", &there);
    anna.wire.say(&prack)?;
    let heard = one.wire.next().with_context(|| exchange.said())?;
    ensure!(heard.starts_with("PRACK ") && header(&heard, "RAck") == Some("1 1 INVITE"), "{heard}");
    one.wire.say(&reply(&heard, "200 OK", &[]))?;
    ensure!(code(&anna.wire.next()?) == 200);
    // One is taken up, the other is told.
    one.wire.say(&reply(&first, "200 OK", &[&contact]))?;
    ensure!(code(&anna.wire.next()?) == 200);
    let cancelled = two.wire.next()?;
    ensure!(cancelled.starts_with("CANCEL "), "{cancelled}");
    two.wire.say(&reply(&cancelled, "200 OK", &[]))?;
    two.wire.say(&reply(&second, "487 Request Terminated", &[]))?;
    Ok(())
}

/// Ways to one bono.
struct Ways(SocketAddr);

#[async_trait::async_trait]
impl WaySource for Ways {
    async fn open(&self, transport: Transport) -> Result<Opened, NoWay> {
        let way = Way { transport, proxy: self.0, tunnel: None };
        Ok(Opened { way, through: "bono".to_owned(), way_held: Box::new(()) })
    }

    async fn open_media(&self) -> Result<OpenedMedia, NoWay> {
        Ok(OpenedMedia { way: MediaWay::Direct(self.0), way_held: Box::new(()) })
    }
}

/// A homer, or one that nobody asks, as where there is no MMTEL.
struct Services {
    homer: Homer,
    heeded: bool,
}

#[async_trait::async_trait]
impl ServiceSource for Services {
    async fn put(&self, line: &Account, document: Option<&str>) -> Result<(), NoServices> {
        if self.heeded {
            self.homer.put(&line.public_identity, document);
        }
        Ok(())
    }
}

#[test]
fn every_case_of_the_product_passes() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let exchange = Exchange::start()?;
    let ways = Ways(exchange.bono.at(5060));
    let account = |number: &str| {
        let identity = format!("{number}@zone");
        Account::new(&format!("sip:{identity}"), &identity, number)
    };
    let accounts = [account("1999000001")?, account("1999000002")?, account("1999000003")?];
    let mut services = Services { homer: exchange.homer.clone(), heeded: true };
    let times = CaseTimes { answer: Duration::from_secs(8), talk: Duration::from_millis(400) };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let mut wrong = Vec::new();
    for transport in [Transport::Tcp, Transport::Udp] {
        for case in all() {
            let outcome = runtime.block_on(case.attempt(&ways, &services, &accounts, transport, times));
            if outcome.verdict != TestVerdict::Passed {
                wrong.push(format!("{} over {transport}: {:?}", case.id, outcome.verdict));
            }
        }
    }
    ensure!(wrong.is_empty(), "{wrong:#?}\n{}", exchange.said());
    // And none of services where these are not heeded.
    services.heeded = false;
    let times = CaseTimes { answer: Duration::from_millis(500), ..times };
    for case in all().filter(|case| case.id.starts_with("barring") || case.id.starts_with("diversion")) {
        let outcome = runtime.block_on(case.attempt(&ways, &services, &accounts, Transport::Tcp, times));
        ensure!(matches!(outcome.verdict, TestVerdict::Failed(_)), "{}: {:?}", case.id, outcome.verdict);
    }
    Ok(())
}

/// A bono alone, with this upstream.
fn alone(bed: &Bed, host: u8, upstream: &str, port: &str) -> Result<(kit::Node, Proxy)> {
    let node = bed.node(host, "bono")?;
    let env = [("upstream_hostname", upstream), ("upstream_port", port)];
    let proxy = Proxy::start("bono", &node, &[5058, 5060], &env)?;
    Ok((node, proxy))
}

#[test]
fn without_an_upstream_bono_answers_408_at_once() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let bed = Bed::new()?;
    let closed = bed.ip(99).to_string();
    for (host, upstream) in [(60, "sprout.invalid"), (61, closed.as_str())] {
        let (node, proxy) = alone(&bed, host, upstream, "5052")?;
        let mut phone = Phone::open("anna", &node)?;
        let began = Instant::now();
        let seen = code(&phone.register(300)?);
        ensure!(seen == 408 && began.elapsed() < Duration::from_secs(4), "{upstream}: {seen}\n{}", proxy.said());
    }
    // With the upstream there but not the S-CSCF that it names, REGISTER succeeds and what follows does not.
    let upstream = TcpListener::bind((bed.ip(50), 5052))?;
    let (node, proxy) = alone(&bed, 62, &bed.ip(50).to_string(), "5052")?;
    let mut sprout = None;
    for route in
        ["sip:scscf.sprout.invalid:5054;transport=TCP;lr;orig", &format!("sip:{closed}:5054;transport=TCP;lr;orig")]
    {
        let mut phone = Phone::open("anna", &node)?;
        let call = phone.wire.port()?.to_string();
        let register = phone.request("REGISTER", "sip:zone", &call, "<sip:anna@zone>", &[]);
        phone.wire.say(&register)?;
        if sprout.is_none() {
            sprout = Some(Wire::accept(&upstream)?);
        }
        let sprout = sprout.as_mut().context("a connection")?;
        let heard = sprout.next()?;
        // The name stands in the Route, and the flow in the Path.
        let wanted = format!("<sip:{}:5052;transport=TCP;lr;orig>", bed.ip(50));
        ensure!(header(&heard, "Route") == Some(&wanted), "{heard}");
        let path = format!("Path: {}", header(&heard, "Path").context("a Path")?);
        ensure!(path.contains('@'), "{path}");
        let (contact, service) =
            (format!("Contact: {};expires=300", phone.contact), format!("Service-Route: <{route}>"));
        sprout.say(&reply(&heard, "200 OK", &[&path, &contact, &service, "P-Associated-URI: <sip:anna@zone>"]))?;
        ensure!(code(&phone.wire.next()?) == 200);
        let began = Instant::now();
        let message = phone.fresh("MESSAGE", "sip:bert@zone", &call, &[]);
        let seen = phone.wire.ask(&message)?;
        ensure!(seen == 408 && began.elapsed() < Duration::from_secs(4), "{route}: {seen}\n{}", proxy.said());
    }
    Ok(())
}

#[test]
fn an_upstream_that_is_silent_costs_the_whole_of_timer_f() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let bed = Bed::new()?;
    let upstream = TcpListener::bind((bed.ip(50), 5052))?;
    let (node, proxy) = alone(&bed, 60, &bed.ip(50).to_string(), "5052")?;
    let mut phone = Phone::open("anna", &node)?;
    let began = Instant::now();
    let register = phone.request("REGISTER", "sip:zone", "r", "<sip:anna@zone>", &[]);
    phone.wire.say(&register)?;
    let silent = Wire::accept(&upstream)?;
    let mut seen = 0;
    while seen < 200 {
        let heard = phone.wire.hear(Duration::from_secs(40))?;
        seen = code(&heard.with_context(|| format!("no answer in 40 s\n{}", proxy.said()))?);
    }
    ensure!(seen == 408 && (31..36).contains(&began.elapsed().as_secs()), "{seen} after {:?}", began.elapsed());
    drop(silent);
    Ok(())
}
