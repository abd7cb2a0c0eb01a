//! What the images' sprout makes of a user's services at a call, and whom it tells of registrations.

mod kit;

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use kit::http;
use kit::sip::{Exchange, Phone, ack, code, header, headers, ready, reply};

const BAR_ALL: &str = "<cp:rule id=\"r\"><cp:conditions/><cp:actions><allow>false</allow></cp:actions></cp:rule>";
const BAR_ABROAD: &str = "<cp:rule id=\"r\"><cp:conditions><international/></cp:conditions><cp:actions><allow>false</allow>\
                          </cp:actions></cp:rule>";

/// `outgoing` or `incoming` calls barred by these rules.
fn barring(way: &str, rules: &str) -> String {
    format!(
        "<{way}-communication-barring active=\"true\"><cp:ruleset>{rules}</cp:ruleset></{way}-communication-barring>"
    )
}

/// Calls diverted on these conditions to these users or URIs.
fn diversion(rules: &[(&str, &str)]) -> String {
    let rules: String = rules
        .iter()
        .map(|(conditions, target)| {
            format!(
                "<cp:rule id=\"r\"><cp:conditions>{conditions}</cp:conditions><cp:actions><forward-to><target>{target}</target>\
                 </forward-to></cp:actions></cp:rule>"
            )
        })
        .collect();
    format!(
        "<communication-diversion active=\"true\"><NoReplyTimer>1</NoReplyTimer><cp:ruleset>{rules}</cp:ruleset>\
         </communication-diversion>"
    )
}

/// A call that nobody takes: the answers until the last.
fn refused(exchange: &Exchange, from: &mut Phone, to: &str, call: &str) -> Result<Vec<u16>> {
    let invite = from.fresh("INVITE", to, call, &[]);
    from.wire.say(&invite)?;
    let mut seen = Vec::new();
    while seen.last().is_none_or(|code| *code < 200) {
        seen.push(code(&from.wire.next().with_context(|| format!("after {seen:?}\n{}", exchange.said()))?));
    }
    from.wire.say(&ack(&invite))?;
    Ok(seen)
}

/// Takes a call that has come to a phone, and sees that the caller hears of it.
fn taken(exchange: &Exchange, caller: &mut Phone, phone: &mut Phone) -> Result<String> {
    let invite = phone.wire.next().with_context(|| exchange.said())?;
    ensure!(invite.starts_with("INVITE "), "{invite}\n{}", exchange.said());
    let contact = format!("Contact: {}", phone.contact);
    phone.wire.say(&reply(&invite, "180 Ringing", &[]))?;
    ensure!(code(&caller.wire.next()?) == 180, "{}", exchange.said());
    phone.wire.say(&reply(&invite, "200 OK", &[&contact]))?;
    let answer = caller.wire.next()?;
    ensure!(code(&answer) == 200, "{answer}\n{}", exchange.said());
    let mut routes: Vec<String> = headers(&answer, "Record-Route").map(|route| format!("Route: {route}")).collect();
    routes.reverse();
    let routes: Vec<&str> = routes.iter().map(String::as_str).collect();
    let target = phone.contact.trim_matches(['<', '>']).to_owned();
    let call = header(&answer, "Call-ID").context("a Call-ID")?.to_owned();
    let to = header(&answer, "To").context("a To")?.to_owned();
    let acknowledged = caller.request("ACK", &target, &call, &to, &routes);
    caller.wire.say(&acknowledged)?;
    let heard = phone.wire.next().with_context(|| exchange.said())?;
    ensure!(heard.starts_with("ACK "), "{heard}");
    Ok(invite)
}

/// A call that comes to a phone and is taken there.
fn comes_through(exchange: &Exchange, from: &mut Phone, to: &mut Phone, uri: &str, call: &str) -> Result<()> {
    let invite = from.fresh("INVITE", uri, call, &[]);
    from.wire.say(&invite)?;
    taken(exchange, from, to).map(drop)
}

#[test]
fn who_has_calls_barred_is_neither_called_nor_calls() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let exchange = Exchange::start()?;
    let (mut anna, mut bert) = (exchange.phone("anna")?, exchange.phone("bert")?);
    exchange.homer.set("anna", &barring("outgoing", BAR_ALL));
    ensure!(refused(&exchange, &mut anna, "sip:bert@zone", "out")? == [603], "{}", exchange.said());
    // Filter criteria name calls alone.
    let message = anna.fresh("MESSAGE", "sip:bert@zone", "text", &[]);
    anna.wire.say(&message)?;
    let heard = bert.wire.next()?;
    ensure!(heard.starts_with("MESSAGE "), "{heard}");
    bert.wire.say(&reply(&heard, "200 OK", &[]))?;
    ensure!(code(&anna.wire.next()?) == 200);
    // Nobody's services where they cannot be read.
    exchange.homer.breaks(true);
    comes_through(&exchange, &mut anna, &mut bert, "sip:bert@zone", "unread")?;
    exchange.homer.breaks(false);
    exchange.homer.set("anna", &barring("outgoing", BAR_ABROAD));
    ensure!(refused(&exchange, &mut anna, "sip:011447854481549@zone", "abroad")? == [603], "{}", exchange.said());
    comes_through(&exchange, &mut anna, &mut bert, "sip:bert@zone", "home")?;
    exchange.homer.set("anna", "");
    exchange.homer.set("bert", &barring("incoming", BAR_ALL));
    ensure!(refused(&exchange, &mut anna, "sip:bert@zone", "in")? == [603], "{}", exchange.said());
    ensure!(bert.wire.hear(Duration::from_millis(100))?.is_none(), "bert was called");
    Ok(())
}

/// The phone that is called refuses so.
fn refuses(exchange: &Exchange, phone: &mut Phone, status: &str) -> Result<()> {
    let heard = phone.wire.next().with_context(|| exchange.said())?;
    ensure!(heard.starts_with("INVITE "), "{heard}");
    phone.wire.say(&reply(&heard, status, &[]))?;
    let heard = phone.wire.next()?;
    ensure!(heard.starts_with("ACK "), "{heard}");
    Ok(())
}

fn begins(exchange: &Exchange, from: &mut Phone, to: &str, call: &str) -> Result<()> {
    let invite = from.fresh("INVITE", to, call, &[]);
    from.wire.say(&invite).with_context(|| exchange.said())
}

fn is_forwarded(exchange: &Exchange, caller: &mut Phone) -> Result<()> {
    let heard = caller.wire.next().with_context(|| exchange.said())?;
    ensure!(heard.starts_with("SIP/2.0 181 Call Is Being Forwarded\r\n"), "{heard}\n{}", exchange.said());
    Ok(())
}

#[test]
fn a_call_is_diverted_always_or_when_the_phone_is_busy_off_or_lost() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let exchange = Exchange::start()?;
    let (mut anna, mut bert, mut carl) = (exchange.phone("anna")?, exchange.phone("bert")?, exchange.phone("carl")?);
    exchange.homer.set("bert", &diversion(&[("", "sip:carl@zone")]));
    begins(&exchange, &mut anna, "sip:bert@zone", "always")?;
    is_forwarded(&exchange, &mut anna)?;
    let invite = taken(&exchange, &mut anna, &mut carl)?;
    ensure!(header(&invite, "P-Called-Party-ID") == Some("<sip:carl@zone>"), "{invite}");
    ensure!(header(&invite, "Diversion") == Some("sip:bert@zone;reason=no-answer"), "{invite}");
    let history: Vec<&str> = headers(&invite, "History-Info").collect();
    let reason = "Reason=SIP%3Bcause%3D480%3Btext%3D%22Temporarily%20Unavailable%22";
    ensure!(history == [&format!("<sip:bert@zone;{reason}>;index=1"), "<sip:carl@zone>;index=1.1"], "{invite}");
    ensure!(bert.wire.hear(Duration::from_millis(100))?.is_none(), "bert was called");

    let rules = [("<busy/>", "sip:carl@zone"), ("<not-reachable/>", "sip:carl@zone")];
    exchange.homer.set("bert", &diversion(&rules));
    for (status, reason) in [
        ("486 Busy Here", "user-busy"),
        ("503 Service Unavailable", "unknown"),
        ("500 Oh", "unknown"),
        ("408 Late", "unknown"),
    ] {
        begins(&exchange, &mut anna, "sip:bert@zone", &format!("when-{}", &status[..3]))?;
        refuses(&exchange, &mut bert, status)?;
        is_forwarded(&exchange, &mut anna)?;
        let invite = taken(&exchange, &mut anna, &mut carl)?;
        let wanted = format!("sip:bert@zone;reason={reason}");
        ensure!(header(&invite, "Diversion") == Some(&wanted), "{status}: {invite}");
    }
    // For another reason it ends as the phone says.
    begins(&exchange, &mut anna, "sip:bert@zone", "declined")?;
    refuses(&exchange, &mut bert, "603 Decline")?;
    ensure!(code(&anna.wire.next()?) == 603);

    exchange.homer.set("bert", &diversion(&[("<not-registered/>", "sip:carl@zone")]));
    begins(&exchange, &mut anna, "sip:bert@zone", "unavailable")?;
    refuses(&exchange, &mut bert, "480 Away")?;
    is_forwarded(&exchange, &mut anna)?;
    taken(&exchange, &mut anna, &mut carl)?;
    ensure!(code(&bert.register(0)?) == 200);
    begins(&exchange, &mut anna, "sip:bert@zone", "off")?;
    is_forwarded(&exchange, &mut anna)?;
    taken(&exchange, &mut anna, &mut carl)?;
    // What is no URI leads nowhere.
    exchange.homer.set("bert", &diversion(&[("<not-registered/>", "12345")]));
    ensure!(refused(&exchange, &mut anna, "sip:bert@zone", "nowhere")? == [480], "{}", exchange.said());
    Ok(())
}

#[test]
fn a_phone_that_rings_too_long_is_left_and_diversions_follow_each_other() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let exchange = Exchange::start()?;
    let (mut anna, mut bert, mut carl) = (exchange.phone("anna")?, exchange.phone("bert")?, exchange.phone("carl")?);
    let mut dora = exchange.phone("dora")?;
    exchange.homer.set("bert", &diversion(&[("<no-answer/>", "sip:carl@zone")]));
    exchange.homer.set("carl", &diversion(&[("<busy/>", "sip:dora@zone")]));
    let invite = anna.invite("sip:bert@zone", "rings", "v=0\r\nm=audio 1 RTP/AVP 0\r\n");
    anna.wire.say(&invite)?;
    let rings = bert.wire.next().with_context(|| exchange.said())?;
    bert.wire.say(&reply(&rings, "180 Ringing", &[]))?;
    ensure!(code(&anna.wire.next()?) == 180);
    let began = Instant::now();
    is_forwarded(&exchange, &mut anna)?;
    ensure!((800..3000).contains(&began.elapsed().as_millis()), "after {:?}", began.elapsed());
    let cancelled = bert.wire.next()?;
    ensure!(cancelled.starts_with("CANCEL "), "{cancelled}");
    bert.wire.say(&reply(&cancelled, "200 OK", &[]))?;
    bert.wire.say(&reply(&rings, "487 Request Terminated", &[]))?;
    ensure!(bert.wire.next()?.starts_with("ACK "));
    refuses(&exchange, &mut carl, "486 Busy Here")?;
    is_forwarded(&exchange, &mut anna)?;
    let invite = taken(&exchange, &mut anna, &mut dora)?;
    let history: Vec<&str> = headers(&invite, "History-Info").collect();
    ensure!(
        history.len() == 3 && history[1].contains("cause%3D486") && history[2] == "<sip:dora@zone>;index=1.1.1",
        "{invite}"
    );
    let from: Vec<&str> = headers(&invite, "Diversion").collect();
    ensure!(from == ["sip:bert@zone;reason=no-answer", "sip:carl@zone;reason=user-busy"], "{invite}");
    ensure!(headers(&invite, "P-Called-Party-ID").count() == 1, "{invite}");

    // Who answers 408 after it rang has not answered either; and the next one may ring as long as it likes.
    exchange.homer.set("carl", "");
    begins(&exchange, &mut anna, "sip:bert@zone", "late")?;
    let rings = bert.wire.next()?;
    bert.wire.say(&reply(&rings, "180 Ringing", &[]))?;
    ensure!(code(&anna.wire.next()?) == 180);
    bert.wire.say(&reply(&rings, "408 Request Timeout", &[]))?;
    ensure!(bert.wire.next()?.starts_with("ACK "));
    is_forwarded(&exchange, &mut anna)?;
    let rings = carl.wire.next()?;
    carl.wire.say(&reply(&rings, "180 Ringing", &[]))?;
    ensure!(code(&anna.wire.next()?) == 180);
    ensure!(carl.wire.hear(Duration::from_millis(1500))?.is_none(), "carl is cancelled");
    carl.wire.say(&reply(&rings, "486 Busy Here", &[]))?;
    ensure!(code(&anna.wire.next()?) == 486, "{}", exchange.said());

    // Round and round: five History-Infos are enough.
    exchange.homer.set("bert", &diversion(&[("", "sip:carl@zone")]));
    exchange.homer.set("carl", &diversion(&[("", "sip:bert@zone")]));
    ensure!(
        refused(&exchange, &mut anna, "sip:bert@zone", "round")? == [181, 181, 181, 181, 480],
        "{}",
        exchange.said()
    );
    // Who may not call may not divert either.
    exchange.homer.set("bert", &(diversion(&[("", "sip:carl@zone")]) + &barring("outgoing", BAR_ALL)));
    ensure!(refused(&exchange, &mut anna, "sip:bert@zone", "barred")? == [181, 603], "{}", exchange.said());
    Ok(())
}

/// What comes next of a SUBSCRIBE and its NOTIFY, whichever is first: the answer and the NOTIFY, which is answered.
fn subscribed(exchange: &Exchange, phone: &mut Phone) -> Result<(String, String)> {
    let mut both = [String::new(), String::new()];
    for _ in 0..2 {
        let heard = phone.wire.next().with_context(|| exchange.said())?;
        if heard.starts_with("NOTIFY ") {
            phone.wire.say(&reply(&heard, "200 OK", &[]))?;
        }
        let is_notify = heard.starts_with("NOTIFY ");
        both[usize::from(is_notify)] = heard;
    }
    let [answer, notify] = both;
    ensure!(code(&answer) == 200 && !notify.is_empty(), "{answer}\n{notify}\n{}", exchange.said());
    Ok((answer, notify))
}

/// The next request, which is a NOTIFY; it is answered.
fn notified(exchange: &Exchange, phone: &mut Phone) -> Result<String> {
    let heard = phone.wire.next().with_context(|| exchange.said())?;
    ensure!(heard.starts_with("NOTIFY "), "{heard}\n{}", exchange.said());
    phone.wire.say(&reply(&heard, "200 OK", &[]))?;
    Ok(heard)
}

#[test]
fn who_subscribes_to_a_registration_is_told_of_it_until_it_ends() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let exchange = Exchange::start()?;
    exchange.homestead.alias("anna", "sip:anna.work@zone");
    let (mut anna, mut other) = (exchange.phone("anna")?, exchange.phone("anna")?);
    let subscribe = anna.fresh("SUBSCRIBE", "sip:anna@zone", "sub", &["Event: reg", "Expires: 60"]);
    anna.wire.say(&subscribe)?;
    let (answer, notify) = subscribed(&exchange, &mut anna)?;
    ensure!(header(&answer, "Expires") == Some("60"), "{answer}");
    // They are of one dialog.
    let tag = |text: &str, of: &str| header(text, of).and_then(|v| v.split(";tag=").nth(1)).map(str::to_owned);
    ensure!(tag(&answer, "To").is_some() && tag(&answer, "To") == tag(&notify, "From"), "{answer}\n{notify}");
    ensure!(tag(&notify, "To").as_deref() == Some("here") && header(&notify, "Call-ID") == Some("sub"), "{notify}");
    ensure!(header(&notify, "Event") == Some("reg"), "{notify}");
    ensure!(header(&notify, "Subscription-State") == Some("active;expires=60"), "{notify}");
    ensure!(header(&notify, "Content-Type") == Some("application/reginfo+xml"), "{notify}");
    for part in
        ["version=\"0\" state=\"full\"", "aor=\"sip:anna@zone\"", "aor=\"sip:anna.work@zone\"", "event=\"registered\""]
    {
        ensure!(notify.contains(part), "{part}: {notify}");
    }
    ensure!(notify.matches("<uri>").count() == 4, "{notify}");

    // Another phone registers again, and goes.
    std::thread::sleep(Duration::from_millis(1100));
    ensure!(code(&other.register(300)?) == 200);
    ensure!(notified(&exchange, &mut anna)?.contains("event=\"refreshed\""));
    ensure!(code(&other.register(0)?) == 200);
    let notify = notified(&exchange, &mut anna)?;
    ensure!(notify.contains("state=\"terminated\" event=\"unregistered\""), "{notify}");
    let cseq = |text: &str| header(text, "CSeq").and_then(|v| v.split(' ').next()?.parse::<u32>().ok());
    ensure!(cseq(&notify) == Some(3), "{notify}");

    // The subscription is ended within its dialog, by its Routes and without them.
    let mut routes: Vec<String> = headers(&answer, "Record-Route").map(|route| format!("Route: {route}")).collect();
    routes.reverse();
    routes.extend(["Event: reg".to_owned(), "Expires: 0".to_owned()]);
    let routes: Vec<&str> = routes.iter().map(String::as_str).collect();
    let to = header(&answer, "To").context("a To")?.to_owned();
    let target = header(&notify, "Contact").context("a Contact")?.trim_matches(['<', '>']).to_owned();
    let end = anna.request("SUBSCRIBE", &target, "sub", &to, &routes);
    anna.wire.say(&end)?;
    let (_, notify) = subscribed(&exchange, &mut anna)?;
    ensure!(header(&notify, "Subscription-State") == Some("terminated;reason=timeout"), "{notify}");
    std::thread::sleep(Duration::from_millis(1100));
    ensure!(code(&anna.register(300)?) == 200);
    ensure!(anna.wire.hear(Duration::from_millis(200))?.is_none(), "it is told after the end");
    let again = anna.fresh("SUBSCRIBE", "sip:anna@zone", "sub2", &["Event: reg"]);
    anna.wire.say(&again)?;
    let (answer, _) = subscribed(&exchange, &mut anna)?;
    ensure!(header(&answer, "Expires") == Some("300"), "{answer}");
    let to = header(&answer, "To").context("a To")?.to_owned();
    let end = anna.request("SUBSCRIBE", "sip:anna@zone", "sub2", &to, &["Event: reg", "Expires: 0"]);
    anna.wire.say(&end)?;
    let (_, notify) = subscribed(&exchange, &mut anna)?;
    ensure!(header(&notify, "Subscription-State") == Some("terminated;reason=timeout"), "{notify}");
    Ok(())
}

#[test]
fn a_subscription_ends_by_its_time_and_a_registration_that_ends_is_told() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let exchange = Exchange::start()?;
    let (mut anna, mut bert) = (exchange.phone("anna")?, exchange.phone("bert")?);
    // Of another's registration, whose last binding goes.
    let subscribe = anna.fresh("SUBSCRIBE", "sip:bert@zone", "of-bert", &["Event: reg"]);
    anna.wire.say(&subscribe)?;
    subscribed(&exchange, &mut anna)?;
    ensure!(code(&bert.register(0)?) == 200);
    let notify = notified(&exchange, &mut anna)?;
    ensure!(header(&notify, "Subscription-State") == Some("terminated;reason=deactivated"), "{notify}");
    ensure!(notify.contains("state=\"terminated\" event=\"unregistered\""), "{notify}");
    // The timer that chronos would pop.
    let pop = |user: &str| -> Result<()> {
        let body = format!("{{\"aor_id\": \"sip:{user}@zone\"}}");
        ensure!(http("POST", exchange.sprout.at(9888), "/timers", &body)?.status == 200);
        Ok(())
    };
    let subscribe = anna.fresh("SUBSCRIBE", "sip:anna@zone", "short", &["Event: reg", "Expires: 1"]);
    anna.wire.say(&subscribe)?;
    let (_, first) = subscribed(&exchange, &mut anna)?;
    ensure!(header(&first, "Subscription-State") == Some("active;expires=1"), "{first}");
    std::thread::sleep(Duration::from_millis(1100));
    pop("anna")?;
    let notify = notified(&exchange, &mut anna)?;
    ensure!(header(&notify, "Subscription-State") == Some("terminated;reason=timeout"), "{notify}");
    // A binding whose time is over.
    bert = Phone::open("bert", &exchange.bono)?;
    ensure!(code(&bert.register(2)?) == 200);
    let subscribe = anna.fresh("SUBSCRIBE", "sip:bert@zone", "of-bert-2", &["Event: reg"]);
    anna.wire.say(&subscribe)?;
    subscribed(&exchange, &mut anna)?;
    std::thread::sleep(Duration::from_millis(2100));
    pop("bert")?;
    let notify = notified(&exchange, &mut anna)?;
    ensure!(notify.contains("state=\"terminated\" event=\"expired\""), "{notify}");
    Ok(())
}

#[test]
fn a_subscription_that_is_none_of_sprouts_is_answered_as_any_request() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let exchange = Exchange::start()?;
    let (mut anna, mut bert) = (exchange.phone("anna")?, exchange.phone("bert")?);
    // Of another event, or for another document: to the phone.
    for more in [&["Event: presence"][..], &["Event: reg", "Accept: application/pidf+xml"], &["X-None: 1"]] {
        let request = anna.fresh("SUBSCRIBE", "sip:bert@zone", "other", more);
        anna.wire.say(&request)?;
        let heard = bert.wire.next().with_context(|| exchange.said())?;
        ensure!(heard.starts_with("SUBSCRIBE "), "{heard}");
        bert.wire.say(&reply(&heard, "489 Bad Event", &[]))?;
        ensure!(code(&anna.wire.next()?) == 489);
    }
    for (called, wanted) in [("sip:carl@zone", 480), ("sip:nobody@zone", 403)] {
        let request = anna.fresh("SUBSCRIBE", called, "none", &["Event: reg"]);
        let seen = anna.wire.ask(&request)?;
        ensure!(seen == wanted, "{called}: {seen}\n{}", exchange.said());
    }
    for (answered, wanted) in [(503, 504), (504, 504), (500, 500), (404, 403)] {
        exchange.homestead.answers("call", answered);
        let request = anna.fresh("SUBSCRIBE", "sip:anna@zone", &format!("hss-{answered}"), &["Event: reg"]);
        let seen = anna.wire.ask(&request)?;
        exchange.homestead.answers("call", 200);
        ensure!(seen == wanted, "{answered}: {seen}\n{}", exchange.said());
    }
    Ok(())
}
