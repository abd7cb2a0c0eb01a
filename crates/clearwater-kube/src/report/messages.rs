//! Logs whose texts are changed, so that what their daemons say of the length of SIP messages stays true: who reads them finds
//! the end of a message by that. Pure.

use clearwater::log::{Assembler, Record, SipMessage};

/// A log with each of its texts as `change` makes it: those of messages one by one.
pub(super) fn changed(log: &[u8], mut change: impl FnMut(&[u8]) -> Vec<u8>) -> Vec<u8> {
    let mut assembler = Assembler::mixed();
    let mut out = Vec::with_capacity(log.len());
    // What is between messages, and the record that comes next.
    let (mut from, mut at) = (0, 0);
    let mut take = |record: &Record| {
        let (begin, end) = (at, at + record.bytes().len());
        if SipMessage::of(record).is_some() {
            out.extend(change(&log[from..begin]));
            out.extend(recounted(record.bytes(), change(record.bytes())));
            from = end;
        }
        at = end;
    };
    for line in log.split_inclusive(|b| *b == b'\n') {
        if let Some(record) = assembler.push(line) {
            take(&record);
        }
    }
    if let Some(record) = assembler.finish() {
        take(&record);
    }
    out.extend(change(&log[from..]));
    out
}

fn head(record: &[u8]) -> usize {
    memchr::memchr(b'\n', record).unwrap_or(record.len())
}

/// A record with a message that was changed, whose head says how many bytes the message has now.
fn recounted(before: &[u8], after: Vec<u8>) -> Vec<u8> {
    let (old, new) = (before.len() - head(before), after.len() - head(&after));
    let Some(end) = memchr::memmem::find(&after[..head(&after)], b" bytes") else { return after };
    let begin = end - after[..end].iter().rev().take_while(|b| b.is_ascii_digit()).count();
    let told = std::str::from_utf8(&after[begin..end]).ok().and_then(|digits| digits.parse::<usize>().ok());
    let Some(count) = told.and_then(|told| (told + new).checked_sub(old)).filter(|_| old != new) else { return after };
    [&after[..begin], count.to_string().as_bytes(), &after[end..]].concat()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn logged(message: &str) -> String {
        format!(
            "23-11-2026 10:00:00.000 UTC Verbose common_sip_processing.cpp:87: RX {} bytes Request msg INVITE/cseq=1 \
             (rdata0x1) from TCP 10.244.1.7:40000:\n--start msg--\n\n{message}\n--end msg--\n",
            message.len()
        )
    }

    proptest! {
        /// Whatever is taken out of messages or put in, each of them is read, and all that is in it.
        #[test]
        fn every_message_is_found_as_before(bodies in prop::collection::vec("[a-z]{0,40}", 1..6), other in "[A-Z]{0,30}") {
            let message = |body: &str| format!("INVITE sip:a@b SIP/2.0\r\nCall-ID: x\r\nX: {body}\r\n\r\n");
            let plain = "23-11-2026 10:00:00.000 UTC Info a.cpp:1: a line\n";
            let log: String = bodies.iter().map(|body| logged(&message(body)) + plain).collect();
            let new = |text: &[u8]| String::from_utf8_lossy(text).replace('q', &other).replace("zz", "").into_bytes();
            let mut assembler = Assembler::mixed();
            let after = changed(log.as_bytes(), new);
            let mut records: Vec<Record> = after.split_inclusive(|b| *b == b'\n').filter_map(|l| assembler.push(l)).collect();
            records.extend(assembler.finish());
            let found: Vec<_> = records.iter().filter_map(SipMessage::of).map(|m| (m.message.to_vec(), m.is_whole)).collect();
            let expected: Vec<_> = bodies.iter().map(|body| (new(message(body).as_bytes()), true)).collect();
            prop_assert_eq!(found, expected);
        }

        #[test]
        fn what_is_not_changed_stays_byte_for_byte(log in prop::collection::vec(any::<u8>(), 0..300), message in "[ -~\r\n]{0,80}") {
            let log = [log, logged(&message).into_bytes(), b"--end msg--\n".to_vec()].concat();
            prop_assert_eq!(changed(&log, <[u8]>::to_vec), log);
        }
    }
}
