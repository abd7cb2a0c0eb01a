use std::time::Duration;

use futures::FutureExt;

use super::bench::{Bench, Case, EarlyEnd, done, holds, is};
use crate::{Phone, RegistrationNotice, Subscription, Transport};

pub(super) const CASES: &[Case] = &[Case {
    id: "subscribe",
    shows: "who subscribes to a registration is told of it, of each change, and of the end",
    lines: 1,
    over: &Transport::ALL,
    run: |bench| subscribe(bench).boxed(),
}];

/// An S-CSCF counts time in seconds: what is registered again within one has not changed.
const A_CHANGE: Duration = Duration::from_millis(1100);

/// Asks, and hears what is told about it; either may come first.
async fn asked(
    bench: &Bench<'_>,
    subscription: &mut Subscription,
    step: &str,
    seconds: u32,
) -> Result<RegistrationNotice, EarlyEnd> {
    is(step, "SUBSCRIBE", 200, subscription.ask(seconds, bench.patience).await)?;
    told(bench, subscription, step).await
}

async fn told(bench: &Bench<'_>, subscription: &mut Subscription, step: &str) -> Result<RegistrationNotice, EarlyEnd> {
    done(step, "a NOTIFY", subscription.notice(bench.patience).await)
}

/// Whether a document tells of the phone's registration in whole.
fn of_phone(step: &str, notice: &RegistrationNotice, phone: &Phone) -> Result<(), EarlyEnd> {
    let own = &phone.account().public_identity;
    let all = ["state=\"full\"".to_owned(), format!("aor=\"{own}\""), "state=\"active\"".to_owned()];
    let missing = all.iter().find(|part| !notice.document.contains(part.as_str()));
    let seen = || format!("a document without {}", missing.map_or("anything", String::as_str));
    holds(step, "the registration's full state, active", missing.is_none(), seen)
}

async fn subscribe(bench: &Bench<'_>) -> Result<(), EarlyEnd> {
    let mut phone = bench.registered(0).await?;
    let own = phone.account().public_identity.clone();
    let mut subscription = phone.subscription(&own);
    let step = "SUBSCRIBE to the registration";
    let first = asked(bench, &mut subscription, step, 60).await?;
    of_phone(step, &first, &phone)?;
    holds(step, "an active subscription", first.state.starts_with("active"), || first.state.clone())?;

    tokio::time::sleep(A_CHANGE).await;
    let step = "REGISTER again, while it is subscribed to";
    let reply = phone.register(300, bench.patience).await;
    is(step, "REGISTER", 200, reply)?;
    let second = told(bench, &mut subscription, step).await?;
    of_phone(step, &second, &phone)?;
    let is_later = second.number > first.number;
    holds(step, "a greater number than the first", is_later, || format!("{} after {}", second.number, first.number))?;

    let step = "SUBSCRIBE for 0 s";
    let last = asked(bench, &mut subscription, step, 0).await?;
    holds(step, "the subscription's end", last.state.starts_with("terminated"), || last.state.clone())?;
    bench.leave([&mut phone]).await;
    Ok(())
}
