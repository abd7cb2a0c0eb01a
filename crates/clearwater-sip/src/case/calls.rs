use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use futures::FutureExt;

use super::bench::{Bench, Case, EarlyEnd, done, holds, is};
use super::messages::NOBODY;
use crate::media::session_description;
use crate::{Call, MediaKind, Phone, Transport};

pub(super) const CASES: &[Case] = &[
    Case {
        id: "call",
        shows: "a call rings, is answered, carries each side's media description to the other, and is hung up by the caller",
        lines: 2,
        over: &Transport::ALL,
        run: |bench| call(bench, true).boxed(),
    },
    Case {
        id: "call-callee-hangs-up",
        shows: "the called phone hangs up",
        lines: 2,
        over: &Transport::ALL,
        run: |bench| call(bench, false).boxed(),
    },
    Case {
        id: "call-hold",
        shows: "a call is put on hold and taken up again",
        lines: 2,
        over: &Transport::ALL,
        run: |bench| hold(bench).boxed(),
    },
    Case {
        id: "call-cancel",
        shows: "a caller who hangs up while it rings ends the ringing",
        lines: 2,
        over: &Transport::ALL,
        run: |bench| cancel(bench).boxed(),
    },
    Case {
        id: "call-busy",
        shows: "a busy phone is told as busy",
        lines: 2,
        over: &Transport::ALL,
        run: |bench| busy(bench).boxed(),
    },
    Case {
        id: "call-unknown",
        shows: "a call to a number that nobody has is told so",
        lines: 1,
        over: &Transport::ALL,
        run: |bench| unknown(bench).boxed(),
    },
    Case {
        id: "call-unregistered",
        shows: "a call to a phone that is switched off is told so",
        lines: 2,
        over: &Transport::ALL,
        run: |bench| unregistered(bench).boxed(),
    },
    Case {
        id: "call-forked",
        shows: "all phones of a number ring, and when one is taken up the others stop",
        lines: 2,
        over: &Transport::ALL,
        run: |bench| forked(bench).boxed(),
    },
];

/// Addresses of RFC 5737, which carry nothing: here only the description of media travels.
pub(super) const OFFERED: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 40_000);
pub(super) const ANSWERED: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2)), 40_002);

fn offer(version: u32, direction: &str) -> String {
    session_description(&[(MediaKind::Audio, OFFERED)], version, direction)
}

fn answer(version: u32, direction: &str) -> String {
    session_description(&[(MediaKind::Audio, ANSWERED)], version, direction)
}

/// Whether a description arrived as it was sent.
fn described(step: &str, seen: &[u8], sent: &str) -> Result<(), EarlyEnd> {
    let seen = String::from_utf8_lossy(seen);
    let wanted = "the other side's media description";
    holds(step, wanted, seen.trim_end() == sent.trim_end(), || {
        format!("{:?}", seen.chars().take(200).collect::<String>())
    })
}

/// A call that is up, as both sides have it, each with the other's media description as it was sent.
async fn established(bench: &Bench<'_>, from: &Phone, to: &mut Phone) -> Result<(Call, Call), EarlyEnd> {
    let (offered, answered) = (offer(1, "sendrecv"), answer(1, "sendrecv"));
    let (caller, other) = Box::pin(taken_up(bench, from, to, &offered, &answered)).await?;
    described("200 OK", caller.remote_media(), &answered)?;
    described("the called phone", other.remote_media(), &offered)?;
    Ok((caller, other))
}

/// A call that is up, as both sides have it.
pub(super) async fn taken_up(
    bench: &Bench<'_>,
    from: &Phone,
    to: &mut Phone,
    offered: &str,
    answered: &str,
) -> Result<(Call, Call), EarlyEnd> {
    let recipient = to.account().public_identity.clone();
    // As a person does, the called one takes up what is heard to ring: two answers sent at once may change places.
    let (rung, ringing) = tokio::sync::oneshot::channel();
    let caller = async {
        let mut invitation = done("INVITE", "a way out", from.invite(&recipient, offered).await)?;
        is("INVITE", "INVITE", 180, invitation.reply(bench.patience).await)?;
        let _ = rung.send(());
        let reply = is("INVITE", "INVITE", 200, invitation.outcome(bench.patience).await)?;
        done("ACK", "a way out", invitation.confirm(&reply).await)
    };
    let other = async {
        let mut call = done("the called phone", "INVITE", to.called(bench.patience).await)?;
        let (seen, own) = (call.from(), &from.account().public_identity);
        holds("the called phone", "the caller's identity", seen == *own, || format!("From {seen:?}"))?;
        done("180 Ringing", "a way out", call.ring().await)?;
        let heard = tokio::time::timeout(bench.patience, ringing).await;
        holds("180 Ringing", "the caller to hear of it", matches!(heard, Ok(Ok(()))), || "nothing".to_owned())?;
        done("200 OK", "ACK", call.answer(answered, bench.patience).await)
    };
    // The caller's words come first: what it was answered tells more than what the called phone waited for in vain.
    let (caller, other) = tokio::join!(caller, other);
    Ok((caller?, other?))
}

/// Hangs up at one end and sees it at the other.
pub(super) async fn over(bench: &Bench<'_>, ending: Call, ended: Call) -> Result<(), EarlyEnd> {
    let (bye, heard) = tokio::join!(ending.hang_up(bench.patience), ended.hung_up(bench.patience));
    is("BYE", "BYE", 200, bye)?;
    done("the other phone", "BYE", heard)
}

async fn call(bench: &Bench<'_>, by_caller: bool) -> Result<(), EarlyEnd> {
    let (mut from, mut to) = (bench.registered(0).await?, bench.registered(1).await?);
    let (caller, other) = established(bench, &from, &mut to).await?;
    let (ending, ended) = if by_caller { (caller, other) } else { (other, caller) };
    over(bench, ending, ended).await?;
    bench.leave([&mut from, &mut to]).await;
    Ok(())
}

async fn hold(bench: &Bench<'_>) -> Result<(), EarlyEnd> {
    let (mut from, mut to) = (bench.registered(0).await?, bench.registered(1).await?);
    let (mut caller, mut other) = established(bench, &from, &mut to).await?;
    for (version, wished, agreed) in [(2, "sendonly", "recvonly"), (3, "sendrecv", "sendrecv")] {
        let step = format!("INVITE within the call, {wished}");
        let (offered, answered) = (offer(version, wished), answer(version, agreed));
        let (reply, seen) =
            tokio::join!(caller.change(&offered, bench.patience), other.changed(&answered, bench.patience));
        let reply = is(&step, "INVITE", 200, reply)?;
        described(&step, &done(&step, "the called phone to hear of it", seen)?, &offered)?;
        described(&step, reply.body(), &answered)?;
    }
    over(bench, caller, other).await?;
    bench.leave([&mut from, &mut to]).await;
    Ok(())
}

async fn cancel(bench: &Bench<'_>) -> Result<(), EarlyEnd> {
    let (mut from, mut to) = (bench.registered(0).await?, bench.registered(1).await?);
    let recipient = to.account().public_identity.clone();
    let caller = async {
        let mut invitation = done("INVITE", "a way out", from.invite(&recipient, &offer(1, "sendrecv")).await)?;
        let ringing = invitation.reply(bench.patience).await;
        is("INVITE", "INVITE", 180, ringing)?;
        done("CANCEL", "a way out", invitation.cancel().await)?;
        is("CANCEL", "INVITE", 487, invitation.outcome(bench.patience).await)
    };
    let other = async {
        let mut ringing = done("the called phone", "INVITE", to.called(bench.patience).await)?;
        done("180 Ringing", "a way out", ringing.ring().await)?;
        done("the called phone", "CANCEL", ringing.cancelled(bench.patience).await)
    };
    let (caller, other) = tokio::join!(caller, other);
    caller?;
    other?;
    bench.leave([&mut from, &mut to]).await;
    Ok(())
}

/// A call that is not taken, and its answer.
pub(super) async fn answered_with(
    bench: &Bench<'_>,
    from: &Phone,
    to: &str,
    step: &str,
    code: u16,
) -> Result<(), EarlyEnd> {
    let mut invitation = done(step, "a way out", from.invite(to, &offer(1, "sendrecv")).await)?;
    is(step, "INVITE", code, invitation.outcome(bench.patience).await).map(drop)
}

async fn busy(bench: &Bench<'_>) -> Result<(), EarlyEnd> {
    let (mut from, mut to) = (bench.registered(0).await?, bench.registered(1).await?);
    let recipient = to.account().public_identity.clone();
    let other = async {
        let ringing = done("the called phone", "INVITE", to.called(bench.patience).await)?;
        done("486 Busy Here", "ACK", ringing.reject(486, bench.patience).await)
    };
    let (caller, other) = tokio::join!(answered_with(bench, &from, &recipient, "INVITE", 486), other);
    caller?;
    other?;
    bench.leave([&mut from, &mut to]).await;
    Ok(())
}

async fn unknown(bench: &Bench<'_>) -> Result<(), EarlyEnd> {
    let mut from = bench.registered(0).await?;
    let nobody = from.account().neighbour(NOBODY);
    answered_with(bench, &from, &nobody, "INVITE to nobody", 404).await?;
    bench.leave([&mut from]).await;
    Ok(())
}

async fn unregistered(bench: &Bench<'_>) -> Result<(), EarlyEnd> {
    let mut from = bench.registered(0).await?;
    let mut to = bench.registered(1).await?;
    let step = "REGISTER for 0 s";
    is(step, "REGISTER", 200, to.register(0, bench.patience).await)?;
    let recipient = to.account().public_identity.clone();
    answered_with(bench, &from, &recipient, "INVITE to a phone that is off", 480).await?;
    bench.leave([&mut from]).await;
    Ok(())
}

async fn forked(bench: &Bench<'_>) -> Result<(), EarlyEnd> {
    let mut from = bench.registered(0).await?;
    let (mut taken, mut left) = (bench.registered(1).await?, bench.registered(1).await?);
    let recipient = taken.account().public_identity.clone();
    let answered = answer(1, "sendrecv");
    let both = tokio::sync::Barrier::new(2);
    let caller = async {
        let mut invitation = done("INVITE", "a way out", from.invite(&recipient, &offer(1, "sendrecv")).await)?;
        let reply = is("INVITE", "INVITE", 200, invitation.outcome(bench.patience).await)?;
        done("ACK", "a way out", invitation.confirm(&reply).await)
    };
    // The one is taken up when both ring.
    let one = async {
        let mut ringing = done("one of the called phones", "INVITE", taken.called(bench.patience).await)?;
        done("180 Ringing", "a way out", ringing.ring().await)?;
        let together = tokio::time::timeout(bench.patience, both.wait()).await;
        holds("the other called phone", "INVITE", together.is_ok(), || "nothing".to_owned())?;
        done("200 OK", "ACK", ringing.answer(&answered, bench.patience).await)
    };
    let other = async {
        let mut ringing = done("the other called phone", "INVITE", left.called(bench.patience).await)?;
        done("180 Ringing", "a way out", ringing.ring().await)?;
        // Whether the first still rings is told by it.
        let _ = tokio::time::timeout(bench.patience, both.wait()).await;
        done("the phone that is not taken up", "CANCEL", ringing.cancelled(bench.patience).await)
    };
    let (caller, one, other) = tokio::join!(caller, one, other);
    let (caller, one) = (caller?, one?);
    other?;
    over(bench, caller, one).await?;
    bench.leave([&mut from, &mut taken, &mut left]).await;
    Ok(())
}
