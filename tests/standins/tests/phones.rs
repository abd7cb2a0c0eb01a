//! What phones may say of themselves, and how often: Contacts, nonces, quotes, identities, OPTIONS of users.

mod kit;

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use kit::sip::{Exchange, Phone, code, header, headers, ready, reply};

#[test]
fn a_quote_in_the_uri_of_to_or_from_is_read_and_handed_on() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let exchange = Exchange::start()?;
    let (mut anna, mut bert) = (exchange.phone("anna")?, exchange.phone("bert")?);
    for (n, (from, to)) in [
        ("<sip:anna@zone>;tag=here", "<sip:bert@zone;x=\"an;gr=y\">"),
        ("\"A, <b\" <sip:anna@zone;y=\"1;2\";z=\"3\">;w=\"4;5\";tag=here", "Bert <sip:bert@zone>;x=\"a;b\""),
        ("\"A\\\"b\" <sip:anna@zone>;tag=here", "\"B\" <sip:bert@zone;x=\"\">"),
    ]
    .into_iter()
    .enumerate()
    {
        let uri = format!("sip:bert@zone{}", if n == 0 { ";x=\"an;gr=y\"" } else { "" });
        let body = "say \"%01\", %22";
        let message = anna
            .request("MESSAGE", &uri, &format!("q{n}"), to, &["Content-Type: text/plain"])
            .replace("<sip:anna@zone>;tag=here", from)
            .replace("Content-Length: 0\r\n\r\n", &format!("Content-Length: {}\r\n\r\n{body}", body.len()));
        anna.wire.say(&message)?;
        let heard = bert.wire.next().with_context(|| format!("{message}\n{}", exchange.said()))?;
        ensure!(header(&heard, "From") == Some(from) && header(&heard, "To") == Some(to), "{heard}");
        ensure!(heard.ends_with(body), "{heard}");
        bert.wire.say(&reply(&heard, "200 OK", &[]))?;
        let answer = anna.wire.next()?;
        ensure!(code(&answer) == 200 && header(&answer, "From") == Some(from), "{answer}");
        ensure!(header(&answer, "To") == Some(&format!("{to};tag=there")), "{answer}");
    }
    Ok(())
}

#[test]
fn one_register_may_name_several_phones_and_each_is_told_back_and_called() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let exchange = Exchange::start()?;
    let mut anna = exchange.phone("anna")?;
    let mut bert = Phone::open("bert", &exchange.bono)?;
    let port = bert.wire.port()?;
    let uri = |user: &str| format!("<sip:{user}@192.0.2.1:{port};transport=tcp>");
    let (one, two, three) = (uri("one"), uri("two"), uri("three"));
    bert.contact =
        format!("{one};q=0.5;+sip.instance=\"<urn:uuid:1>\";audio;expires=60, {two};q=1.0;pub-gruu=\"mine\"");
    let answer = bert.register(200)?;
    let told: Vec<&str> = headers(&answer, "Contact").collect();
    let wanted =
        [format!("{one};q=0.5;expires=60;+sip.instance=\"<urn:uuid:1>\";audio"), format!("{two};q=1;expires=200")];
    ensure!(told == wanted, "{answer}\n{}", exchange.said());
    ensure!(
        header(&answer, "Supported") == Some("outbound") && header(&answer, "Require") == Some("outbound"),
        "{answer}"
    );
    // Whatever they would rather: both at once.
    let message = anna.fresh("MESSAGE", "sip:bert@zone", "both", &[]);
    anna.wire.say(&message)?;
    let mut called = [bert.wire.next()?, bert.wire.next()?];
    called.sort();
    ensure!(called[0].contains(" sip:one@192.0.2.1:") && called[1].contains(" sip:two@192.0.2.1:"), "{called:?}");
    for request in &called {
        bert.wire.say(&reply(request, "200 OK", &[]))?;
    }
    // A phone that names itself has one address, the last; the flow lasts as long as the longest of them.
    bert.contact = format!("{three};+sip.instance=\"<urn:uuid:1>\"");
    let answer = bert.register(100)?;
    let told: Vec<&str> = headers(&answer, "Contact").collect();
    ensure!(told.len() == 2 && told[0] == format!("{three};expires=100;+sip.instance=\"<urn:uuid:1>\""), "{answer}");
    bert.contact = format!("{two};expires=0");
    let told = bert.register(100)?;
    ensure!(headers(&told, "Contact").count() == 1, "{told}");
    Ok(())
}

#[test]
fn who_registers_again_is_challenged_again_and_a_nonce_counts_once() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let exchange = Exchange::start()?;
    let mut bert = exchange.phone("bert")?;
    let again = bert.request("REGISTER", "sip:zone", "again", "<sip:bert@zone>", &["Expires: 300"]);
    ensure!(bert.wire.ask(&again)? == 401, "{}", exchange.said());
    let credentials = bert.credentials.clone();
    let used = bert.request("REGISTER", "sip:zone", "again", "<sip:bert@zone>", &["Expires: 300", &credentials]);
    bert.wire.say(&used)?;
    let answer = bert.wire.next()?;
    let challenge = header(&answer, "WWW-Authenticate").unwrap_or_default();
    ensure!(code(&answer) == 401 && challenge.contains("stale=true"), "{answer}");
    Ok(())
}

#[test]
fn options_for_a_user_are_his_and_those_for_a_node_its_own() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let exchange = Exchange::start()?;
    let (mut anna, mut bert) = (exchange.phone("anna")?, exchange.phone("bert")?);
    let node = format!("sip:bert@{}:5060", exchange.bono.ip);
    let mut stranger = Phone::open("anna", &exchange.bono)?;
    let own = stranger.fresh("OPTIONS", &node, "o1", &[]);
    ensure!(stranger.wire.ask(&own)? == 200, "{}", exchange.said());
    let his = stranger.fresh("OPTIONS", "sip:bert@zone", "o2", &[]);
    ensure!(stranger.wire.ask(&his)? == 403, "{}", exchange.said());
    let his = anna.fresh("OPTIONS", "sip:bert@zone", "o3", &[]);
    anna.wire.say(&his)?;
    let heard = bert.wire.next().with_context(|| exchange.said())?;
    ensure!(heard.starts_with("OPTIONS sip:bert@192.0.2.1:"), "{heard}");
    bert.wire.say(&reply(&heard, "486 Busy Here", &[]))?;
    ensure!(code(&anna.wire.next()?) == 486);
    let nobody = anna.fresh("OPTIONS", "sip:nobody@zone", "o4", &[]);
    ensure!(anna.wire.ask(&nobody)? == 404, "{}", exchange.said());
    Ok(())
}

#[test]
fn bono_refuses_an_emergency_registration_itself() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let exchange = Exchange::start()?;
    let mut bert = Phone::open("bert", &exchange.bono)?;
    bert.contact = "<sip:bert@192.0.2.1:7>, <sip:bert@192.0.2.1:7;sos;transport=tcp>".to_owned();
    ensure!(code(&bert.register(300)?) == 503, "{}", exchange.said());
    bert.contact = "<sip:sos@192.0.2.1:7;transport=tcp>;sos".to_owned();
    ensure!(code(&bert.register(300)?) == 200, "{}", exchange.said());
    Ok(())
}

#[test]
fn who_calls_by_a_number_of_his_own_may_give_the_call_up() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let exchange = Exchange::start()?;
    exchange.homestead.alias("anna", "tel:+16505550003");
    exchange.homestead.alias("bert", "tel:+16505550004");
    let (mut anna, mut bert) = (exchange.phone("anna")?, exchange.phone("bert")?);
    let invite = anna
        .request("INVITE", "tel:+16505550004", "t1", "<tel:+16505550004>", &[])
        .replace("From: <sip:anna@zone>", "From: <tel:+16505550003;phone-context=x>");
    anna.wire.say(&invite)?;
    let rings = bert.wire.next().with_context(|| exchange.said())?;
    bert.wire.say(&reply(&rings, "180 Ringing", &[]))?;
    ensure!(code(&anna.wire.next()?) == 180);
    let cancel = invite.replace("INVITE tel", "CANCEL tel").replace(" INVITE", " CANCEL");
    ensure!(anna.wire.ask(&cancel.replace("0003;", "0009;"))? == 403, "{}", exchange.said());
    ensure!(anna.wire.ask(&cancel)? == 200, "{}", exchange.said());
    let cancelled = bert.wire.hear(Duration::from_secs(5))?.context("a CANCEL")?;
    ensure!(cancelled.starts_with("CANCEL "), "{cancelled}");
    Ok(())
}
