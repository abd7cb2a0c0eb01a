//! The front of the Python programs takes requests as nginx does, whatever the segments they come in.

mod kit;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use kit::{Bed, Node, until};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

/// A front with a program behind it that says what it was asked.
struct Front {
    _bed: Bed,
    node: Node,
    address: SocketAddr,
    asked: Arc<AtomicUsize>,
}

impl Front {
    fn new() -> Result<Self> {
        let front = Self::alone()?;
        let socket = front.node.path("/tmp/.homer-sock-0");
        std::fs::create_dir_all(socket.parent().context("a folder")?)?;
        let listener = UnixListener::bind(socket)?;
        let asked = front.asked.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                asked.fetch_add(1, Ordering::SeqCst);
                std::thread::spawn(move || program(stream));
            }
        });
        Ok(front)
    }

    /// Nobody behind it.
    fn alone() -> Result<Self> {
        let bed = Bed::new()?;
        let mut node = bed.node(10, "homer")?;
        let address = node.at(7888);
        node.start_until(&["nginx-front", "homer"], address)?;
        Ok(Self { _bed: bed, node, address, asked: Arc::default() })
    }

    fn connect(&self) -> Result<BufReader<TcpStream>> {
        let stream = TcpStream::connect(self.address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        Ok(BufReader::new(stream))
    }
}

/// Answers one request with what it was: method, path, length of the body and the sum of its bytes.
fn program(stream: UnixStream) -> Result<()> {
    let mut stream = BufReader::new(stream);
    let (head, body) = message(&mut stream)?;
    let sum: u64 = body.iter().map(|b| u64::from(*b)).sum();
    let mut words = head.split(' ');
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let host = value(&head, "host").unwrap_or_default();
    let said = format!("{method} {path} {host} {} {sum}", body.len());
    let answer = format!("HTTP/1.1 200 OK\r\nX-From: program\r\nContent-Length: {}\r\n\r\n{said}", said.len());
    Ok(stream.get_mut().write_all(answer.as_bytes())?)
}

fn value(head: &str, name: &str) -> Option<String> {
    head.lines().find_map(|l| {
        let (k, v) = l.split_once(':')?;
        k.eq_ignore_ascii_case(name).then(|| v.trim().to_owned())
    })
}

/// A message with a length: its head and its body.
fn message(stream: &mut impl BufRead) -> Result<(String, Vec<u8>)> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        ensure!(stream.read_line(&mut head)? > 0, "the connection ended in a head: {head:?}");
    }
    let mut body = vec![0; value(&head, "content-length").map_or(Ok(0), |l| l.parse())?];
    stream.read_exact(&mut body)?;
    Ok((head, body))
}

/// The status and the body of the next answer.
fn answer(stream: &mut BufReader<TcpStream>) -> Result<(u16, String)> {
    let (head, body) = message(stream)?;
    let status = head.split(' ').nth(1).context("a status")?.parse()?;
    if status == 200 {
        ensure!(value(&head, "x-from").as_deref() == Some("program"), "{head}");
    }
    Ok((status, String::from_utf8(body)?))
}

fn ends(stream: &mut BufReader<TcpStream>) -> Result<()> {
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest)?;
    ensure!(rest.is_empty(), "{:?}", String::from_utf8_lossy(&rest));
    Ok(())
}

fn with_length(path: &str, body: &[u8]) -> Vec<u8> {
    let mut all = format!("POST {path} HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n", body.len()).into_bytes();
    all.extend(body);
    all
}

fn chunked(path: &str, body: &[u8], size: usize) -> Vec<u8> {
    let mut all = format!("POST {path} HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n").into_bytes();
    for chunk in body.chunks(size) {
        all.extend(format!("{:x}\r\n", chunk.len()).into_bytes());
        all.extend(chunk);
        all.extend(b"\r\n");
    }
    all.extend(b"0\r\n\r\n");
    all
}

fn said(path: &str, body: &[u8]) -> (u16, String) {
    let sum: u64 = body.iter().map(|b| u64::from(*b)).sum();
    (200, format!("POST {path} h {} {sum}", body.len()))
}

/// Sends in segments that end at these places, with a pause after each, so that each is read by itself.
fn send(stream: &mut BufReader<TcpStream>, all: &[u8], cuts: impl IntoIterator<Item = usize>) -> Result<()> {
    let mut from = 0;
    for to in cuts.into_iter().chain([all.len()]) {
        stream.get_mut().write_all(&all[from..to])?;
        std::thread::sleep(Duration::from_millis(2));
        from = to;
    }
    Ok(())
}

#[test]
fn a_request_is_one_however_it_is_segmented() -> Result<()> {
    let front = Front::new()?;
    // A client that sends head and body apart, as Python's does, and one that sends byte by byte.
    for cuts in [vec![with_length("/x", b"").len() + 1], (1..60).collect()] {
        let mut stream = front.connect()?;
        send(&mut stream, &with_length("/x", b"hello, world"), cuts)?;
        ensure!(answer(&mut stream)? == said("/x", b"hello, world"));
    }
    let body = vec(any::<u8>(), 0..3000);
    let cases = (body, prop_oneof![Just(None), (1usize..700).prop_map(Some)], vec(any::<prop::sample::Index>(), 0..6));
    let mut runner = TestRunner::new(Config { cases: 40, failure_persistence: None, ..Config::default() });
    runner.run(&cases, |(body, chunks, cuts)| {
        let all = chunks.map_or_else(|| with_length("/a/b?c=d", &body), |size| chunked("/a/b?c=d", &body, size));
        let mut cuts: Vec<usize> = cuts.iter().map(|c| c.index(all.len())).collect();
        cuts.sort_unstable();
        let asking = || -> Result<_> {
            let mut stream = front.connect()?;
            send(&mut stream, &all, cuts)?;
            answer(&mut stream)
        };
        prop_assert_eq!(asking().map_err(|e| TestCaseError::fail(format!("{e:#}")))?, said("/a/b?c=d", &body));
        Ok(())
    })?;
    Ok(())
}

#[test]
fn bodies_of_any_size_up_to_a_megabyte() -> Result<()> {
    let front = Front::new()?;
    for size in [300_000, 1 << 20] {
        let body = vec![7u8; size];
        for all in [with_length("/big", &body), chunked("/big", &body, 9000)] {
            let mut stream = front.connect()?;
            stream.get_mut().write_all(&all)?;
            ensure!(answer(&mut stream)? == said("/big", &body), "{size}");
        }
    }
    let body = vec![7u8; (1 << 20) + 1];
    for all in [with_length("/big", &body), chunked("/big", &body, 9000)] {
        let before = front.asked.load(Ordering::SeqCst);
        let mut stream = front.connect()?;
        stream.get_mut().write_all(&all)?;
        let (status, page) = answer(&mut stream)?;
        ensure!(status == 413 && page.contains("413 Request Entity Too Large"), "{status} {page}");
        ends(&mut stream)?;
        ensure!(front.asked.load(Ordering::SeqCst) == before, "the program was asked");
    }
    Ok(())
}

#[test]
fn a_connection_serves_several_requests() -> Result<()> {
    let front = Front::new()?;
    let mut stream = front.connect()?;
    for path in ["/one", "/two"] {
        send(&mut stream, &with_length(path, b"body"), [50])?;
        ensure!(answer(&mut stream)? == said(path, b"body"));
    }
    // Both at once, the second asking for the end.
    let mut both = with_length("/three", b"3");
    both.extend(b"GET /four HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    stream.get_mut().write_all(&both)?;
    ensure!(answer(&mut stream)? == said("/three", b"3"));
    ensure!(answer(&mut stream)? == (200, "GET /four h 0 0".to_owned()));
    ends(&mut stream)?;
    // The older protocol closes unless it is asked not to.
    let mut stream = front.connect()?;
    for keep in ["Connection: keep-alive\r\n", ""] {
        stream.get_mut().write_all(format!("GET /old HTTP/1.0\r\n{keep}\r\n").as_bytes())?;
        ensure!(answer(&mut stream)?.0 == 200);
    }
    ends(&mut stream)?;
    // Who only connects, as a probe does, asks nothing of the program.
    let before = front.asked.load(Ordering::SeqCst);
    drop(front.connect()?);
    let mut stream = front.connect()?;
    stream.get_mut().write_all(b"GET /last HTTP/1.0\r\n\r\n")?;
    ensure!(answer(&mut stream)?.0 == 200);
    ensure!(front.asked.load(Ordering::SeqCst) == before + 1);
    Ok(())
}

#[test]
fn who_asks_before_sending_is_answered() -> Result<()> {
    let front = Front::new()?;
    let head = |size: usize| {
        format!("PUT /x HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: {size}\r\n\r\n").into_bytes()
    };
    let mut stream = front.connect()?;
    stream.get_mut().write_all(&head(4))?;
    let (go_on, _) = message(&mut stream)?;
    ensure!(go_on.starts_with("HTTP/1.1 100 "), "{go_on}");
    stream.get_mut().write_all(b"abcd")?;
    ensure!(answer(&mut stream)? == (200, "PUT /x h 4 394".to_owned()));
    let mut stream = front.connect()?;
    stream.get_mut().write_all(&head(2 << 20))?;
    ensure!(answer(&mut stream)?.0 == 413);
    ends(&mut stream)
}

#[test]
fn a_bad_gateway_keeps_its_clients() -> Result<()> {
    let front = Front::alone()?;
    let mut stream = front.connect()?;
    for _ in 0..2 {
        stream.get_mut().write_all(&with_length("/x", &[1; 5000]))?;
        let (status, page) = answer(&mut stream)?;
        ensure!(status == 502 && page.contains("<h1>502 Bad Gateway</h1>"), "{status} {page}");
    }
    // A program that dies before it answers.
    let socket = front.node.path("/tmp/.homer-sock-0");
    std::fs::create_dir_all(socket.parent().context("a folder")?)?;
    let listener = UnixListener::bind(socket)?;
    std::thread::spawn(move || drop(listener.accept()));
    stream.get_mut().write_all(&with_length("/x", b"y"))?;
    ensure!(answer(&mut stream)?.0 == 502);
    Ok(())
}

#[test]
fn one_answer_is_lost_for_each_time_it_is_asked_for() -> Result<()> {
    let front = Front::new()?;
    let fault = front.node.path("/run/standin/fault/nginx.lose-answer");
    std::fs::create_dir_all(fault.parent().context("a folder")?)?;
    std::fs::write(&fault, "")?;
    let mut lost = front.connect()?;
    lost.get_mut().write_all(&with_length("/x", b"y"))?;
    until("the fault has acted", || Ok(!fault.exists()))?;
    lost.get_mut().set_read_timeout(Some(Duration::from_millis(300)))?;
    if let Ok(answer) = answer(&mut lost) {
        bail!("it was answered: {answer:?}");
    }
    let mut stream = front.connect()?;
    stream.get_mut().write_all(&with_length("/x", b"y"))?;
    ensure!(answer(&mut stream)? == said("/x", b"y"));
    Ok(())
}
