//! The ladders of what failed, for a report.

use std::collections::BTreeMap;

use clearwater::log::{Dialog, DialogOutcome, Dialogs, SipMessage, Sketch, Traced};
use clearwater::text::printable;
use jiff::Timestamp;

use super::table::is_failed;
use super::{NOT_WHOLE, logged, verdicts};
use crate::command::logs::{Unread, each_of_texts};
use crate::context::Context;
use crate::error::CliError;

/// No more are drawn, the last ones.
const MOST: usize = 20;

/// The ladders of the last calls, registrations and messages that failed or have no answer, each below a line that names it;
/// and how many there were. The texts are logs, by paths that tell whose; those that were cut hold all from `cut` on, and
/// they were taken at `taken` or later.
pub(crate) fn failed_ladders(
    texts: &BTreeMap<String, Vec<u8>>,
    (cut, taken): (Option<Timestamp>, Timestamp),
    context: &mut Context,
) -> Result<(Vec<String>, usize), CliError> {
    let logs = || texts.iter().filter(|(name, _)| name.starts_with("logs/")).map(|(name, text)| (&**name, &**text));
    let mut dialogs = Dialogs::new(None).cut(cut).taken(Some(taken));
    each_of_texts(logs(), context, &mut Unread::quiet(), |entry, _| {
        if let Some(message) = SipMessage::of(&entry.record) {
            dialogs.take(entry.time, &message);
        }
        Ok(())
    })?;
    let failed: Vec<Dialog> = dialogs.finish().into_iter().filter(|d| is_failed(d.outcome())).collect();
    let drawn = &failed[failed.len().saturating_sub(MOST)..];
    if drawn.is_empty() {
        return Ok((Vec::new(), 0));
    }
    let of = |dialog: &Dialog| Sketch::new([Traced::Call(dialog.call_id.to_string())]).cut(cut).taken(Some(taken));
    let mut sketches: Vec<Sketch> = drawn.iter().map(of).collect();
    each_of_texts(logs(), context, &mut Unread::quiet(), |entry, _| {
        let message = SipMessage::of(&entry.record);
        for sketch in &mut sketches {
            sketch.take(logged(entry), message.as_ref());
        }
        Ok(())
    })?;
    let ladders = drawn.iter().zip(sketches).map(|(dialog, sketch)| {
        let (method, from, to, call) = (&dialog.method, &dialog.from, &dialog.to, &dialog.call_id);
        let outcome = match dialog.outcome() {
            DialogOutcome::Cut => NOT_WHOLE,
            outcome => outcome.name(),
        };
        let head = format!("{} {method} from {from} to {to}, Call-ID {call}: {outcome}", dialog.began);
        let ladder = sketch.finish(|_| None);
        let verdicts = verdicts(&ladder).into_iter().map(|text| format!("\n{text}\n")).collect::<String>();
        format!("{}\n\n{}{verdicts}", printable(&head), ladder.text(None))
    });
    Ok((ladders.collect(), failed.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connection::Connection;
    use crate::signal::Listener;

    /// A message to a number, and its answer, as sprout logs them.
    fn dialog(second: usize, call: &str, answer: &str) -> String {
        let line = |way: &str, what: &str, side: &str, text: &str| {
            format!(
                "23-11-2026 10:00:{second:02}.000 UTC Verbose common_sip_processing.cpp:87: {way} {} bytes {what} msg \
                 MESSAGE/cseq=1 (rdata0x1) {side} TCP 10.244.1.7:40000:\n--start msg--\n\n{text}\n--end msg--\n",
                text.len()
            )
        };
        let rest = format!(
            "Via: SIP/2.0/TCP 10.244.1.7:40000;branch=z9hG4bK{call}\r\nFrom: <sip:1@ims>;tag=a\r\nTo: <sip:2@ims>\r\n\
             Call-ID: {call}\r\nCSeq: 1 MESSAGE\r\nContent-Length: 0\r\n\r\n"
        );
        line("RX", "Request", "from", &format!("MESSAGE sip:2@ims SIP/2.0\r\n{rest}"))
            + &line("TX", &format!("Response {answer}"), "to", &format!("SIP/2.0 {answer}\r\n{rest}"))
    }

    #[test]
    fn the_last_that_failed_are_drawn_and_all_of_them_counted() {
        let log: String = (0..30).map(|n| dialog(n, &format!("bad-{n}@x"), "404 Not Found")).collect();
        let log = log + &dialog(31, "good@x", "200 OK");
        let files = BTreeMap::from([
            ("logs/sprout-0/sprout/now.log".to_owned(), log.into_bytes()),
            ("objects/pods/x.json".to_owned(), dialog(40, "elsewhere@x", "404 Not Found").into_bytes()),
            ("logs/sprout-0/nothing.log".to_owned(), b"nothing that is known\n".to_vec()),
        ]);
        let mut context = Context::new(Connection::default(), Listener::silent());
        let (ladders, count) = failed_ladders(&files, (None, Timestamp::MAX), &mut context).unwrap();
        assert_eq!((ladders.len(), count), (MOST, 30));
        for (ladder, n) in ladders.iter().zip(10..) {
            let head = ladder.lines().next().unwrap();
            assert!(head.contains(&format!("Call-ID bad-{n}@x: failed")) && head.contains("to 2@ims"), "{head}");
            assert!(ladder.contains("404 Not Found") && ladder.contains("sprout-0"), "{ladder}");
            assert!(ladder.contains("it failed at sprout-0, which answered \"404 Not Found\""), "{ladder}");
        }
        assert_eq!(failed_ladders(&BTreeMap::new(), (None, Timestamp::MAX), &mut context).unwrap(), (Vec::new(), 0));
    }
}
