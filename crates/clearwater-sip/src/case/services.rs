use futures::FutureExt;

use super::bench::{Bench, Case, EarlyEnd, done, holds, is};
use super::calls::{ANSWERED, OFFERED, answered_with, over};
use crate::media::session_description;
use crate::{Call, MediaKind, Phone, Transport};

pub(super) const CASES: &[Case] = &[
    Case {
        id: "barring-outgoing",
        shows: "a line whose outgoing calls are barred calls nobody",
        lines: 2,
        over: &Transport::ALL,
        run: |bench| barred(bench, 0, "outgoing").boxed(),
    },
    Case {
        id: "barring-incoming",
        shows: "a line whose incoming calls are barred is not called",
        lines: 2,
        over: &Transport::ALL,
        run: |bench| barred(bench, 1, "incoming").boxed(),
    },
    Case {
        id: "barring-abroad",
        shows: "a line whose calls abroad are barred makes others",
        lines: 2,
        over: &Transport::ALL,
        run: |bench| barred_abroad(bench).boxed(),
    },
    Case {
        id: "diversion",
        shows: "a call is diverted before a phone rings",
        lines: 3,
        over: &Transport::ALL,
        run: |bench| diverted(bench, Reason::Always).boxed(),
    },
    Case {
        id: "diversion-busy",
        shows: "a call to a busy phone is diverted",
        lines: 3,
        over: &Transport::ALL,
        run: |bench| diverted(bench, Reason::Refuses("busy", 486)).boxed(),
    },
    Case {
        id: "diversion-unreachable",
        shows: "a call to a phone that cannot be reached is diverted",
        lines: 3,
        over: &Transport::ALL,
        run: |bench| diverted(bench, Reason::Refuses("not-reachable", 503)).boxed(),
    },
    Case {
        id: "diversion-unregistered",
        shows: "a call to a phone that is switched off is diverted",
        lines: 3,
        over: &Transport::ALL,
        run: |bench| diverted(bench, Reason::Off).boxed(),
    },
    Case {
        id: "diversion-no-answer",
        shows: "a call that nobody takes up is diverted, and the first phone stops ringing",
        lines: 3,
        over: &Transport::ALL,
        run: |bench| diverted(bench, Reason::Silent).boxed(),
    },
];

/// For how long a phone rings before its call is diverted, in seconds: the shortest time (3GPP TS 24.604).
const RINGS: u32 = 5;

/// When a call is diverted.
#[derive(Clone, Copy)]
enum Reason {
    Always,
    /// The called phone refuses it: the condition's name, and the answer.
    Refuses(&'static str, u16),
    Off,
    Silent,
}

impl Reason {
    const fn condition(self) -> Option<&'static str> {
        match self {
            Self::Always => None,
            Self::Refuses(name, _) => Some(name),
            Self::Off => Some("not-registered"),
            Self::Silent => Some("no-answer"),
        }
    }
}

/// A document in the order of its schema, with these parts active: rules of diversion, and of barred calls each way.
fn document(diversion: Option<&str>, incoming: Option<&str>, outgoing: Option<&str>) -> String {
    let part = |name: &str, before: &str, rules: Option<&str>| {
        let (active, rules) = (rules.is_some(), rules.unwrap_or_default());
        format!("<{name} active=\"{active}\">{before}<cp:ruleset>{rules}</cp:ruleset></{name}>")
    };
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <simservs xmlns=\"http://uri.etsi.org/ngn/params/xml/simservs/xcap\" xmlns:cp=\"urn:ietf:params:xml:ns:common-policy\">\
         <originating-identity-presentation active=\"true\"/>\
         <originating-identity-presentation-restriction active=\"false\"><default-behaviour>presentation-not-restricted\
         </default-behaviour></originating-identity-presentation-restriction>{}{}{}</simservs>",
        part("communication-diversion", &format!("<NoReplyTimer>{RINGS}</NoReplyTimer>"), diversion),
        part("incoming-communication-barring", "", incoming),
        part("outgoing-communication-barring", "", outgoing),
    )
}

fn rule(condition: Option<&str>, actions: &str) -> String {
    let conditions = condition.map(|name| format!("<{name}/>")).unwrap_or_default();
    format!(
        "<cp:rule id=\"rule0\"><cp:conditions>{conditions}</cp:conditions><cp:actions>{actions}</cp:actions></cp:rule>"
    )
}

const DENY: &str = "<allow>false</allow>";

async fn barred(bench: &Bench<'_>, line: usize, way: &str) -> Result<(), EarlyEnd> {
    let deny = rule(None, DENY);
    let (incoming, outgoing) = if way == "incoming" { (Some(deny), None) } else { (None, Some(deny)) };
    bench.serve(line, &document(None, incoming.as_deref(), outgoing.as_deref())).await?;
    let (mut from, mut to) = (bench.registered(0).await?, bench.registered(1).await?);
    let recipient = to.account().public_identity.clone();
    let step = format!("INVITE, {way} calls barred in homer's document");
    tokio::select! {
        caller = answered_with(bench, &from, &recipient, &step, 603) => caller?,
        // A call that comes through all the same ends at once: the caller's answer tells of it.
        () = refusing(bench, &mut to) => {}
    }
    bench.leave([&mut from, &mut to]).await;
    Ok(())
}

/// Refuses every call, without end.
async fn refusing(bench: &Bench<'_>, called: &mut Phone) {
    loop {
        if let Ok(ringing) = called.called(bench.patience).await {
            let _ = ringing.reject(486, bench.patience).await;
        }
    }
}

/// A number of another country, as it is dialled from the one that sprout takes for its own (sprout `mmtel.cpp`). It is one of
/// those that Ofcom keeps for dramas.
const ABROAD: &str = "0114479460000";

async fn barred_abroad(bench: &Bench<'_>) -> Result<(), EarlyEnd> {
    let deny = rule(Some("international"), DENY);
    bench.serve(0, &document(None, None, Some(&deny))).await?;
    let (mut from, mut to) = (bench.registered(0).await?, bench.registered(1).await?);
    let abroad = from.account().neighbour(ABROAD);
    answered_with(bench, &from, &abroad, "INVITE to a number abroad", 603).await?;
    let recipient = to.account().public_identity.clone();
    let other = async {
        let ringing = done("the called phone", "INVITE", to.called(bench.patience).await)?;
        done("486 Busy Here", "ACK", ringing.reject(486, bench.patience).await)
    };
    let (caller, other) = tokio::join!(answered_with(bench, &from, &recipient, "INVITE to the other line", 486), other);
    caller?;
    other?;
    bench.leave([&mut from, &mut to]).await;
    Ok(())
}

/// The called phone does not take it; afterwards nobody rings it.
async fn not_taken(bench: &Bench<'_>, called: &mut Phone, reason: Reason) -> Result<(), EarlyEnd> {
    if matches!(reason, Reason::Always | Reason::Off) {
        return Ok(());
    }
    let mut ringing = done("the called phone", "INVITE", called.called(bench.patience).await)?;
    if let Reason::Refuses(_, code) = reason {
        return done("the called phone", "ACK", ringing.reject(code, bench.patience).await);
    }
    done("180 Ringing", "a way out", ringing.ring().await)?;
    let longest = bench.patience + std::time::Duration::from_secs(RINGS.into());
    done("the called phone", "CANCEL", ringing.cancelled(longest).await)
}

async fn diverted(bench: &Bench<'_>, reason: Reason) -> Result<(), EarlyEnd> {
    let target = &bench.account(2).public_identity;
    let actions = format!("<forward-to><target>{target}</target></forward-to>");
    bench.serve(1, &document(Some(&rule(reason.condition(), &actions)), None, None)).await?;
    let mut from = bench.registered(0).await?;
    let (mut rung, mut taking) = (bench.registered(1).await?, bench.registered(2).await?);
    if matches!(reason, Reason::Off) {
        is("REGISTER for 0 s", "REGISTER", 200, rung.register(0, bench.patience).await)?;
    }
    let recipient = rung.account().public_identity.clone();
    let longest = bench.patience + std::time::Duration::from_secs(RINGS.into());
    let offered = session_description(&[(MediaKind::Audio, OFFERED)], 1, "sendrecv");
    let answered = session_description(&[(MediaKind::Audio, ANSWERED)], 1, "sendrecv");
    let caller = async {
        let mut invitation = done("INVITE", "a way out", from.invite(&recipient, &offered).await)?;
        // What comes before says nothing of diversion: the first phone may have rung.
        loop {
            let reply = done("INVITE", "181", invitation.reply(longest).await)?;
            let told = || format!("{reply}");
            holds("INVITE", "181", reply.code() < 200, told)?;
            if reply.code() == 181 {
                break;
            }
        }
        let reply = is("INVITE", "INVITE", 200, invitation.outcome(bench.patience).await)?;
        done("ACK", "a way out", invitation.confirm(&reply).await)
    };
    let other = async {
        let mut ringing = done("the phone it is diverted to", "INVITE", taking.called(longest).await)?;
        done("180 Ringing", "a way out", ringing.ring().await)?;
        done("200 OK", "ACK", ringing.answer(&answered, bench.patience).await)
    };
    let (caller, first, other): (Result<Call, EarlyEnd>, _, Result<Call, EarlyEnd>) =
        tokio::join!(caller, not_taken(bench, &mut rung, reason), other);
    let caller = caller?;
    first?;
    over(bench, caller, other?).await?;
    if !matches!(reason, Reason::Off) {
        bench.leave([&mut rung]).await;
    }
    bench.leave([&mut from, &mut taking]).await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_says_what_is_active() {
        let deny = rule(Some("international"), DENY);
        let text = document(None, None, Some(&deny));
        assert!(text.contains("<communication-diversion active=\"false\"><NoReplyTimer>5</NoReplyTimer>"), "{text}");
        assert!(
            text.contains(&format!("<outgoing-communication-barring active=\"true\"><cp:ruleset>{deny}</cp:ruleset>"))
        );
        assert_eq!(text.matches("active=\"true\"").count(), 2, "{text}");
        assert!(deny.contains("<cp:conditions><international/></cp:conditions>"), "{deny}");
        assert!(rule(None, "").contains("<cp:conditions></cp:conditions>"));
    }
}
