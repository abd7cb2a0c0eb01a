use futures::FutureExt;

use super::bench::{Bench, Case, EarlyEnd, done, holds, is};
use crate::Transport;

pub(super) const CASES: &[Case] = &[
    Case {
        id: "message",
        shows: "a text reaches another phone as it was written",
        lines: 2,
        over: &Transport::ALL,
        run: |bench| text(bench, "Grüße, 你好, \u{1f4de} 'quoted' \"too\"".to_owned()).boxed(),
    },
    Case {
        id: "message-long",
        shows: "a text of 4 kB reaches another phone whole",
        lines: 2,
        // What is longer than a packet goes by TCP (RFC 3261 §18.1.1).
        over: &[Transport::Tcp],
        run: |bench| text(bench, "0123456789abcdef".repeat(256)).boxed(),
    },
    Case {
        id: "message-unknown",
        shows: "a number that nobody has is told so",
        lines: 1,
        over: &Transport::ALL,
        run: |bench| unknown(bench).boxed(),
    },
];

/// No number of Ellis' pool, which begins at 6505550000 (clearwater.md §2.11).
pub(super) const NOBODY: &str = "1999999999";

async fn text(bench: &Bench<'_>, text: String) -> Result<(), EarlyEnd> {
    let (mut from, mut to) = (bench.registered(0).await?, bench.registered(1).await?);
    let recipient = to.account().public_identity.clone();
    let sending = from.message(&recipient, &text, bench.patience);
    let (sent, read) = tokio::join!(sending, to.read_message(bench.patience));
    is("MESSAGE", "MESSAGE", 200, sent)?;
    let (sender, seen) = done("the other phone", "the text", read)?;
    holds("the other phone", "the text as it was sent", seen == text, || {
        format!("{} bytes that differ from the {} that were sent", seen.len(), text.len())
    })?;
    let own = from.account().public_identity.clone();
    holds("the other phone", "the sender's identity", sender == own, || format!("From {sender:?}"))?;
    bench.leave([&mut from, &mut to]).await;
    Ok(())
}

async fn unknown(bench: &Bench<'_>) -> Result<(), EarlyEnd> {
    let mut phone = bench.registered(0).await?;
    let nobody = phone.account().neighbour(NOBODY);
    is("MESSAGE to nobody", "MESSAGE", 404, phone.message(&nobody, "anybody?", bench.patience).await)?;
    bench.leave([&mut phone]).await;
    Ok(())
}
