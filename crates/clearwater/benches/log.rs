//! How long it takes to read log lines: the head of one, and a file put together into records.
#![allow(clippy::unwrap_used, missing_docs, reason = "a benchmark has no reader but its output")]

use std::hint::black_box;

use clearwater::log::{Assembler, Line, LogGrammar, SipMessage};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

const LINES: [(&str, LogGrammar, &str); 6] = [
    (
        "classic",
        LogGrammar::Cpp,
        "23-11-2026 10:00:00.123 UTC Info icscfrouter.cpp:412: Found 1 candidate for sip:a@b\n",
    ),
    (
        "hunter",
        LogGrammar::Cpp,
        "23-11-2026 10:00:00.123 UTC [7f11c0a2b700] Info icscfrouter.cpp:412: Found 1 candidate for sip:a@b\n",
    ),
    ("hunter without a place", LogGrammar::Cpp, "23-11-2026 10:00:00.123 UTC [7f11c0a2b700] Debug pjsip:  tsx0x1 x\n"),
    (
        "python",
        LogGrammar::Python,
        "23-11-2026 10:00:00.123 UTC DEBUG etcd_client.py:42 (thread ChronosPlugin): Waiting for a change\n",
    ),
    ("access", LogGrammar::CppAccess, "23-11-2026 10:00:00.123 UTC 200 GET /ping 0.000321 seconds\n"),
    ("no head", LogGrammar::Cpp, "Via: SIP/2.0/TCP 10.244.1.7:5058;rport=41365;received=10.244.1.7;branch=z9hG4bK1\n"),
];

/// What a sprout writes at level 4, without thread ids, about a kilobyte and a half at a time.
fn file() -> Vec<u8> {
    let body = format!(
        "MESSAGE sip:6505550001@ims.example SIP/2.0\r\n{}CSeq: 1 MESSAGE\r\nCall-ID: c1\r\n\r\n",
        "Via: SIP/2.0/TCP 10.244.1.7:5058;rport=41365;branch=z9hG4bK1\r\n".repeat(12)
    );
    let one = format!(
        "{}23-11-2026 10:00:00.123 UTC Verbose common_sip_processing.cpp:77: RX {} bytes Request msg MESSAGE/cseq=1 \
         (rdata0x1) from TCP 10.244.1.7:40000:\n--start msg--\n\n{body}\n--end msg--\n",
        LINES[0].2.repeat(8),
        body.len()
    );
    one.repeat(200).into_bytes()
}

fn bench(c: &mut Criterion) {
    for (name, grammar, line) in LINES {
        c.bench_function(&format!("head of a line, {name}"), |b| {
            b.iter(|| black_box(Line::parse(grammar, black_box(line.as_bytes()))).time);
        });
    }
    let file = file();
    let mut group = c.benchmark_group("a file");
    group.throughput(Throughput::Bytes(file.len() as u64));
    group.bench_function("records, heads and messages", |b| {
        b.iter(|| {
            let mut assembler = Assembler::new(LogGrammar::Cpp);
            let records = file.split_inclusive(|b| *b == b'\n').filter_map(|line| assembler.push(line));
            records.filter(|r| r.head().level.is_some() && SipMessage::of(r).is_some()).count()
        });
    });
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
