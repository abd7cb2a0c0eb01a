use futures::FutureExt;

use super::bench::{Bench, Case, EarlyEnd, done, holds, is};
use crate::{Reply, Transport};

pub(super) const CASES: &[Case] = &[
    Case { id: "options", shows: "bono answers", lines: 1, over: &Transport::ALL, run: |bench| options(bench).boxed() },
    Case {
        id: "register",
        shows: "a phone is challenged, registered, registered again and taken back",
        lines: 1,
        over: &Transport::ALL,
        run: |bench| register(bench).boxed(),
    },
    Case {
        id: "register-wrong-password",
        shows: "nobody registers without the password",
        lines: 1,
        over: &Transport::ALL,
        run: |bench| wrong_password(bench).boxed(),
    },
    Case {
        id: "register-two-phones",
        shows: "two phones of one owner are registered side by side",
        lines: 1,
        over: &Transport::ALL,
        run: |bench| two_phones(bench).boxed(),
    },
];

async fn options(bench: &Bench<'_>) -> Result<(), EarlyEnd> {
    let phone = bench.phone(0).await?;
    is("OPTIONS", "OPTIONS", 200, phone.options(bench.patience).await)?;
    Ok(())
}

/// The bindings that a registrar tells of in its answer.
fn bindings(reply: &Reply) -> usize {
    reply.headers("Contact").iter().map(|line| line.matches("sip:").count()).sum()
}

async fn register(bench: &Bench<'_>) -> Result<(), EarlyEnd> {
    let mut phone = bench.phone(0).await?;
    let step = "REGISTER without a password";
    let challenge = is(step, "REGISTER", 401, phone.challenge(bench.patience).await)?;
    let asked = challenge.header("WWW-Authenticate").unwrap_or_default().to_owned();
    let realm = format!("realm=\"{}\"", phone.account().domain());
    holds(step, "a challenge for the home domain", asked.contains(&realm), || format!("WWW-Authenticate: {asked}"))?;

    let step = "REGISTER with the password";
    let reply = is(step, "REGISTER", 200, phone.register(300, bench.patience).await)?;
    holds(step, "a Contact", bindings(&reply) > 0, || "200 without one".to_owned())?;
    // Without it no call of the phone reaches its S-CSCF (RFC 3608).
    holds(step, "a Service-Route", reply.header("Service-Route").is_some(), || "200 without one".to_owned())?;
    let own = phone.account().public_identity.clone();
    let identities = reply.headers("P-Associated-URI").join(", ");
    holds(step, "the identity in P-Associated-URI", identities.contains(&own), || format!("{identities:?}"))?;

    is("REGISTER again", "REGISTER", 200, phone.register(300, bench.patience).await)?;
    let before = bindings(&reply);
    let step = "REGISTER for 0 s";
    let reply = is(step, "REGISTER", 200, phone.register(0, bench.patience).await)?;
    holds(step, "a binding less", bindings(&reply) < before, || format!("{} bindings, as before", bindings(&reply)))
}

async fn wrong_password(bench: &Bench<'_>) -> Result<(), EarlyEnd> {
    let mut phone = bench.phone_of(bench.account(0).with_password("not the password")).await?;
    // A refusal of everybody is none of a password.
    is("REGISTER without a password", "REGISTER", 401, phone.challenge(bench.patience).await)?;
    is("REGISTER with a wrong password", "REGISTER", 403, phone.register(300, bench.patience).await)?;
    Ok(())
}

async fn two_phones(bench: &Bench<'_>) -> Result<(), EarlyEnd> {
    let mut first = bench.registered(0).await?;
    let mut second = bench.phone(0).await?;
    let step = "REGISTER of the second phone";
    let reply = is(step, "REGISTER", 200, second.register(300, bench.patience).await)?;
    let seen = bindings(&reply);
    holds(step, "a binding for each phone", seen >= 2, || format!("{seen}"))?;
    let reply = second.register(0, bench.patience).await;
    let reply = is("REGISTER of the second phone for 0 s", "REGISTER", 200, reply)?;
    let left = bindings(&reply);
    holds("REGISTER of the second phone for 0 s", "the first phone's binding", left == seen - 1, || format!("{left}"))?;
    done("REGISTER of the first phone for 0 s", "an answer", first.register(0, bench.patience).await)?;
    Ok(())
}
