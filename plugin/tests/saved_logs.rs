//! Logs that somebody saved, in the forms that tools give them: what `logs` and `trace` make of each.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod ended;

use std::io::Write;
use std::process::{Command, Stdio};

use ended::plugin;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::json;

const POD: &str = "sprout-5f649d585b-92x7j";
const CALL: &str = "8f3a@10.244.1.7";
const STAMP: &str = "2026-11-23T10:00:00.123456789Z";

/// What sprout wrote: a SIP message whose lines end as the wire has them, its answer, and an error.
fn log() -> String {
    let message = |clock: &str, way: &str, text: &str| {
        format!(
            "23-11-2026 10:00:{clock} UTC Verbose common_sip_processing.cpp:87: {way} {} bytes {} msg MESSAGE/cseq=1 \
             (rdata0x1) {} TCP 10.244.1.7:40000:\n--start msg--\n\n{text}\n--end msg--\n",
            text.len(),
            if way == "RX" { "Request" } else { "Response 404" },
            if way == "RX" { "from" } else { "to" },
        )
    };
    let rest = format!(
        "Via: SIP/2.0/TCP 10.244.1.7:40000;branch=z9hG4bKx\r\nFrom: <sip:1@ims>;tag=a\r\nTo: <sip:2@ims>\r\nCall-ID: \
         {CALL}\r\nCSeq: 1 MESSAGE\r\nContent-Length: 0\r\n\r\n"
    );
    [
        message("00.000", "RX", &format!("MESSAGE sip:2@ims SIP/2.0\r\n{rest}")),
        "23-11-2026 10:00:01.000 UTC Error hss.cpp:1: no such subscriber\n".to_owned(),
        message("02.000", "TX", &format!("SIP/2.0 404 Not Found\r\n{rest}")),
    ]
    .concat()
}

fn lines(each: impl Fn(&str) -> String) -> Vec<u8> {
    log().split_inclusive('\n').map(|line| each(line.strip_suffix('\n').unwrap())).collect::<String>().into_bytes()
}

fn gzipped(bytes: &[u8]) -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(bytes).unwrap();
    packed.finish().unwrap()
}

fn archived(name: &str, bytes: &[u8]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_ustar();
    header.set_size(bytes.len() as u64);
    header.set_mode(0o644);
    archive.append_data(&mut header, name, bytes).unwrap();
    archive.into_inner().unwrap()
}

fn zipped(name: &str, bytes: &[u8]) -> Vec<u8> {
    packed(&[(name, bytes), ("report.json", b"{\"v\": 1}")])
}

fn packed(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, bytes) in files {
        archive.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
        archive.write_all(bytes).unwrap();
    }
    archive.finish().unwrap().into_inner()
}

fn utf16(text: &str) -> Vec<u8> {
    [0xfeff].into_iter().chain(text.encode_utf16()).flat_map(u16::to_le_bytes).collect()
}

/// Each form with the file that it is saved in.
fn forms() -> Vec<(&'static str, String, Vec<u8>)> {
    let of_pod = format!("{POD}.log");
    let json = |line: &str| json!({"message": line, "podName": POD, "containerName": "sprout"}).to_string() + "\n";
    let docker = |line: &str| json!({"log": format!("{line}\n"), "stream": "stdout", "time": STAMP}).to_string() + "\n";
    let pieces = |line: &str| {
        let (a, b) = line.split_at(line.char_indices().nth(20).map_or(0, |(at, _)| at));
        format!("{STAMP} stdout P {a}\n{STAMP} stdout F {b}\n")
    };
    let coloured = |line: &str| format!("\u{1b}[32m{POD}\u{1b}[0m \u{1b}[33msprout\u{1b}[0m {line}\n");
    let pretty = |line: &str| {
        format!("{{\n  \"pod\": \"{POD}\",\n  \"container\": \"sprout\",\n  \"message\": {}\n}}\n", json!(line))
    };
    let mut typed = Vec::new();
    let raw = log();
    let records: Vec<&str> = raw.split("23-11-2026 ").filter(|r| !r.is_empty()).collect();
    for record in records {
        let message = format!("23-11-2026 {}", record.trim_end_matches('\n'));
        let time = format!("2026-11-23T10:00:{}Z", &message[17..23]);
        let head = json!({"time": time, "component": "sprout", "pod": POD, "container": "sprout", "source": "stdout"});
        let mut object = head.as_object().unwrap().clone();
        object.insert("message".to_owned(), message.into());
        let rest = serde_json::to_string(&object).unwrap();
        typed.extend(format!("{{\"v\":1,\"kind\":\"record\",{}\n", &rest[1..]).into_bytes());
    }
    let bare = lines(|line| format!("{line}\n"));
    let zstd = ruzstd::encoding::compress_to_vec(&bare[..], ruzstd::encoding::CompressionLevel::Fastest);
    let crlf = raw.replace("\r\n", "\n").replace('\n', "\r\n").into_bytes();
    vec![
        ("the lines alone", of_pod.clone(), bare.clone()),
        ("kubectl cp", format!("{POD}/var/log/sprout/sprout_current.txt"), bare.clone()),
        ("kubectl --timestamps", of_pod.clone(), lines(|line| format!("{STAMP} {line}\n"))),
        ("kubectl --prefix", "all.log".into(), lines(|line| format!("[pod/{POD}/sprout] {line}\n"))),
        ("kubectl --prefix --timestamps", "all.log".into(), lines(|l| format!("[pod/{POD}/sprout] {STAMP} {l}\n"))),
        ("stern", "all.log".into(), lines(|line| format!("{POD} sprout {line}\n"))),
        ("stern --timestamps", "all.log".into(), lines(|line| format!("{POD} sprout {STAMP} {line}\n"))),
        ("stern -A", "all.log".into(), lines(|line| format!("ims {POD} sprout {line}\n"))),
        ("stern with colours", "all.log".into(), lines(coloured)),
        ("json", "all.log".into(), lines(json)),
        (
            "extjson",
            "all.log".into(),
            lines(|l| json!({"pod": POD, "container": "c", "message": l}).to_string() + "\n"),
        ),
        ("ppextjson", "all.log".into(), lines(pretty)),
        ("typed", "all.log".into(), typed),
        ("docker's json-file", of_pod.clone(), lines(docker)),
        ("a node's files", of_pod.clone(), lines(|line| format!("{STAMP} stdout F {line}\n"))),
        ("a node's files, in pieces", of_pod.clone(), lines(pieces)),
        ("docker compose", "all.log".into(), lines(|line| format!("{POD}  | {line}\n"))),
        ("gzip", format!("{of_pod}.gz"), gzipped(&bare)),
        ("zstd", format!("{of_pod}.zst"), zstd),
        ("tar", "night.tar".into(), archived(&of_pod, &bare)),
        ("tar.gz", "night.tar.gz".into(), gzipped(&archived(&format!("{POD}/sprout_current.txt"), &bare))),
        ("a report's zip", "report.zip".into(), zipped(&format!("logs/{POD}/sprout/now.log"), &bare)),
        ("UTF-16", of_pod.clone(), utf16(&raw)),
        ("a mark of UTF-8", of_pod.clone(), [b"\xef\xbb\xbf", &bare[..]].concat()),
        ("CRLF", of_pod, crlf),
    ]
}

#[test]
fn logs_and_trace_read_what_tools_save() {
    let expected = log().replace('\r', "");
    for (form, name, bytes) in forms() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("saved").join(&name);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, bytes).unwrap();
        for from in ["saved", file.to_str().unwrap()] {
            let (code, out, err) = plugin(dir.path(), &["logs", "--from", from, "-o", "raw"]);
            assert_eq!((code, out.replace('\r', "")), (Some(0), expected.clone()), "logs, {form}: {err}");
            let (code, out, err) = plugin(dir.path(), &["trace", "--from", from, CALL]);
            let lane = if from == "saved" || !name.starts_with("all") { POD } else { "sprout" };
            assert!(code == Some(0) && out.contains("MESSAGE") && out.contains("404"), "trace, {form}: {out}{err}");
            assert!(out.contains("sprout") && (out + &err).contains(lane), "trace, {form}: {err}");
            assert!(err.contains("404 Not Found") && !err.contains("logLevel"), "trace, {form}: {err}");
        }
    }
}

/// As a shell puts it in a file's place: `--from <(zcat night.gz)`.
#[cfg(unix)]
#[test]
fn what_comes_through_a_pipe_is_read_once() {
    let expected = log().replace('\r', "");
    for (form, _, bytes) in forms() {
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("pipe");
        assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let is_zip = bytes.starts_with(b"PK");
        let writer = std::thread::spawn(move || std::fs::write(pipe, bytes));
        let (code, out, err) = plugin(dir.path(), &["logs", "--from", "pipe", "-o", "raw"]);
        let _ = writer.join().unwrap();
        if is_zip {
            assert!(code == Some(2) && err.contains("save it to a file"), "{form}: {code:?} {err}");
        } else {
            assert_eq!((code, out.replace('\r', "")), (Some(0), expected.clone()), "{form}: {err}");
        }
    }
}

/// Whoever writes into a pipe may take its time: it is said what is waited for.
#[cfg(unix)]
#[test]
fn the_silence_of_a_pipe_is_broken_by_a_word() {
    std::thread::scope(|scope| {
        for args in [&["logs", "--from", "pipe"][..], &["trace", "--from", "pipe"]] {
            scope.spawn(move || {
                let dir = tempfile::tempdir().unwrap();
                let pipe = dir.path().join("pipe");
                assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
                let writer = std::thread::spawn(move || {
                    let mut pipe = std::fs::File::options().write(true).open(pipe).unwrap();
                    std::thread::sleep(std::time::Duration::from_millis(6500));
                    pipe.write_all(log().as_bytes())
                });
                let (code, out, err) = plugin(dir.path(), args);
                writer.join().unwrap().unwrap();
                assert!(code == Some(0) && !out.is_empty(), "{args:?}: {code:?} {err}");
                assert_eq!(err.matches("waiting for pipe to be read").count(), 1, "{args:?}: {err}");
            });
        }
    });
}

/// A process of a login may often have 1024 files open, and one of macOS 256.
#[test]
fn thousands_of_files_are_read_by_a_process_that_may_have_few_open() {
    let dir = tempfile::tempdir().unwrap();
    let line = |n: usize, second: u32| format!("23-11-2026 10:00:{second:02}.{:03} UTC Error a.cpp:1: {n}\n", n % 1000);
    let mut archive = tar::Builder::new(Vec::new());
    std::fs::create_dir(dir.path().join("saved")).unwrap();
    for n in 0..1200_usize {
        // Each lasts as long as all others.
        let text = line(n, 1) + &line(n, 2);
        let mut header = tar::Header::new_ustar();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, format!("bono-{n}.log"), text.as_bytes()).unwrap();
        let packed = n.is_multiple_of(3);
        let name = format!("saved/bono-{n}.log{}", if packed { ".gz" } else { "" });
        std::fs::write(dir.path().join(name), if packed { gzipped(text.as_bytes()) } else { text.into_bytes() })
            .unwrap();
    }
    std::fs::write(dir.path().join("saved.tar.gz"), gzipped(&archive.into_inner().unwrap())).unwrap();
    for from in ["saved", "saved.tar.gz"] {
        let run = Command::new("bash")
            .args(["-c", "ulimit -n 200; exec \"$@\"", "bash", env!("CARGO_BIN_EXE_kubectl-clearwater")])
            .args(["logs", "--from", from, "-o", "raw"])
            .current_dir(dir.path())
            .output()
            .unwrap();
        let (out, err) = (String::from_utf8(run.stdout).unwrap(), String::from_utf8(run.stderr).unwrap());
        assert!(run.status.success(), "{from}: {err}");
        let times: Vec<&str> = out.lines().map(|line| &line[..23]).collect();
        assert!(times.len() == 2400 && times.is_sorted(), "{from}: {} lines", times.len());
    }
}

/// What is before the cut is shown, in a file as in an archive.
#[test]
fn what_was_cut_is_read_up_to_there_and_named() {
    let dir = tempfile::tempdir().unwrap();
    // Numbers that no packing makes short.
    let noise = |n: u64| n.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29).wrapping_mul(n | 1);
    let line =
        |n: u64| format!("23-11-2026 10:{:02}:{:02}.000 UTC Error a.cpp:1: {:x}\n", n / 60 % 60, n % 60, noise(n));
    let text: String = (0..2000).map(line).collect();
    let half = |bytes: Vec<u8>| bytes[..bytes.len() / 2].to_vec();
    let mut archive = tar::Builder::new(Vec::new());
    for name in ["bono-0.log", "bono-1.log", "bono-2.log"] {
        let mut header = tar::Header::new_ustar();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, name, text.as_bytes()).unwrap();
    }
    let archive = archive.into_inner().unwrap();
    let zstd = ruzstd::encoding::compress_to_vec(text.as_bytes(), ruzstd::encoding::CompressionLevel::Fastest);
    for (name, bytes, least) in [
        ("bono-0.log.gz", half(gzipped(text.as_bytes())), 800),
        ("bono-0.log.zst", half(zstd), 0),
        ("night.tar.gz", half(gzipped(&archive)), 2800),
        ("night.tar", half(archive), 2800),
    ] {
        std::fs::write(dir.path().join(name), bytes).unwrap();
        let (code, out, err) = plugin(dir.path(), &["logs", "--from", name, "-o", "raw"]);
        let lines = out.lines().count();
        assert!(code == Some(1) && lines >= least && lines < 4000, "{name}: {code:?}, {lines} lines, {err}");
        assert!(err.contains(&format!("{name}: ")) && err.contains("error: could not be read: "), "{name}: {err}");
        assert!(least == 0 || err.contains("read in part only: it is cut off"), "{name}: {err}");
    }
}

#[test]
fn what_is_packed_in_another_way_is_named_by_it() {
    let dir = tempfile::tempdir().unwrap();
    let saved = dir.path().join("saved");
    std::fs::create_dir(&saved).unwrap();
    std::fs::write(saved.join("bono-0.log"), "23-11-2026 10:00:00.000 UTC Error a.cpp:1: one\n").unwrap();
    std::fs::write(saved.join("bono-1.log.xz"), b"\xfd7zXZ\0\0\x04rest\n").unwrap();
    std::fs::write(saved.join("bono-2.log.bz2"), b"BZh91AY&SYrest\n").unwrap();
    std::fs::write(saved.join("night.tar"), archived("bono-3.log.xz", b"\xfd7zXZ\0\0\x04rest\n")).unwrap();
    let (code, out, err) = plugin(dir.path(), &["logs", "--from", "saved", "-o", "raw"]);
    assert_eq!((code, out.lines().count()), (Some(1), 1), "{out}{err}");
    for name in ["saved/bono-1.log.xz", "saved/night.tar/bono-3.log.xz"] {
        assert!(err.contains(&format!("{name}: not read: it is packed with xz, which is not understood")), "{err}");
    }
    assert!(err.contains("bono-2.log.bz2: not read: it is packed with bzip2"), "{err}");
}

#[test]
fn links_in_an_archive_are_named_once() {
    let dir = tempfile::tempdir().unwrap();
    let mut archive = tar::Builder::new(Vec::new());
    for n in 0..7 {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(if n % 2 == 0 { tar::EntryType::Symlink } else { tar::EntryType::Link });
        header.set_size(0);
        archive.append_link(&mut header, format!("link-{n}.log"), "bono-0.log").unwrap();
    }
    let mut bytes = archive.into_inner().unwrap();
    // Without the two empty blocks that end it.
    bytes.truncate(bytes.len() - 1024);
    bytes.extend(archived("bono-0.log", b"23-11-2026 10:00:00.000 UTC Error a.cpp:1: one\n"));
    std::fs::write(dir.path().join("night.tar"), bytes).unwrap();
    let (code, out, err) = plugin(dir.path(), &["logs", "--from", "night.tar", "-o", "raw"]);
    assert_eq!((code, out.lines().count()), (Some(0), 1), "{out}{err}");
    assert!(
        err.contains("night.tar: not read: 7 members") && err.contains("night.tar/link-0.log, night.tar/link-1"),
        "{err}"
    );
    assert_eq!(err.matches("not followed").count(), 1, "{err}");
}

#[test]
fn what_picks_pods_picks_saved_logs_by_what_they_tell_and_the_rest_is_said() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("saved")).unwrap();
    for pod in ["bono-0", "bono-1"] {
        let line = format!("23-11-2026 10:00:00.000 UTC Error a.cpp:1: {pod}\n");
        std::fs::write(dir.path().join(format!("saved/{pod}.log")), line).unwrap();
    }
    let (_, out, err) = plugin(dir.path(), &["logs", "--from", "saved", "-o", "raw", "--pod", "bono-1"]);
    assert!(out.lines().count() == 1 && out.contains("bono-1") && err.is_empty(), "{out}{err}");
    for command in ["logs", "trace"] {
        let (_, _, err) = plugin(dir.path(), &[command, "--from", "saved", "--source", "files", "--tail", "3"]);
        assert!(err.contains("--tail, --source picks pods") || err.contains("--source, --tail picks pods"), "{err}");
    }
}

#[test]
fn what_cannot_be_read_is_named_and_the_rest_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let saved = dir.path().join("saved");
    std::fs::create_dir(&saved).unwrap();
    let line = |text: &str| format!("23-11-2026 10:00:00.000 UTC Error a.cpp:1: {text}\n");
    std::fs::write(saved.join("bono-0.log"), line("one")).unwrap();
    std::fs::write(saved.join("sprout-0.log"), line("two")).unwrap();
    std::fs::write(saved.join("strange.txt"), "what\nis\nthis\n").unwrap();
    std::fs::write(saved.join("cut.gz"), &gzipped(line("three").as_bytes())[..20]).unwrap();
    std::fs::write(saved.join("broken.zip"), b"PK\x03\x04 and so on").unwrap();
    std::os::unix::fs::symlink("bono-0.log", saved.join("link.log")).unwrap();
    assert!(Command::new("mkfifo").arg(saved.join("fifo")).status().unwrap().success());
    let (code, out, err) = plugin(dir.path(), &["logs", "--from", "saved", "-o", "raw"]);
    assert_eq!(code, Some(1), "{err}");
    // What came before the cut has no time.
    let (cut, rest) = out.split_once('\n').unwrap();
    assert!(line("three").starts_with(cut), "{out}");
    assert_eq!(rest, format!("what\nis\nthis\n{}{}", line("one"), line("two")));
    for said in [
        "link.log: not read: a link",
        "fifo: not read",
        "cut.gz: read in part only",
        "broken.zip: not read",
        "its 3 lines",
    ] {
        assert!(err.contains(said), "{said}: {err}");
    }
    assert!(err.contains("error: could not be read: saved/broken.zip, saved/cut.gz;"), "{err}");
}

/// What nobody understands is shown as it stands, but a call may be in it.
#[test]
fn what_is_not_understood_is_not_known_to_hold_no_call() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("strange.txt"), "what\nis\nthis\n").unwrap();
    let (code, out, err) = plugin(dir.path(), &["logs", "--from", "strange.txt", "-o", "raw"]);
    assert_eq!((code, out.as_str()), (Some(0), "what\nis\nthis\n"), "{err}");
    let (code, out, err) = plugin(dir.path(), &["trace", "--from", "strange.txt"]);
    assert!(code == Some(1) && out.is_empty() && err.contains("error: not everything could be read"), "{out}{err}");
    let mut child = Command::new(env!("CARGO_BIN_EXE_kubectl-clearwater"))
        .args(["trace", "--stdin"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"what\nis\nthis\n").unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(1));
}

#[test]
fn a_directory_without_a_log_is_no_success() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("saved")).unwrap();
    for command in ["logs", "trace"] {
        let (code, out, err) = plugin(dir.path(), &[command, "--from", "saved"]);
        assert!(code == Some(1) && out.is_empty() && err.contains("there is no log in it"), "{command}: {out}{err}");
    }
}

/// What holds nothing is not said to hold nothing that was asked for.
#[test]
fn what_is_empty_is_no_success() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("several")).unwrap();
    for (name, bytes) in [
        ("nothing.log", Vec::new()),
        ("nothing.zip", Vec::new()),
        ("empty.zip", packed(&[])),
        ("of-nothing.zip", packed(&[("a.log", b"")])),
        ("nothing.gz", gzipped(b"")),
        ("nothing.tar", archived("a.log", b"")),
        ("nothing.tgz", gzipped(&archived("a.log", b""))),
        ("several/a.log", Vec::new()),
        ("several/b.log", Vec::new()),
    ] {
        std::fs::write(dir.path().join(name), bytes).unwrap();
    }
    for command in ["logs", "trace"] {
        for name in [
            "nothing.log",
            "nothing.zip",
            "empty.zip",
            "of-nothing.zip",
            "nothing.gz",
            "nothing.tar",
            "nothing.tgz",
            "several",
        ] {
            let (code, out, err) = plugin(dir.path(), &[command, "--from", name]);
            let is_told = err.contains("there is nothing in it to be read") || err.contains("there is no log in it");
            assert!(code == Some(1) && out.is_empty() && is_told, "{command} {name}: {code:?} {out}{err}");
        }
        let (code, out, err) = plugin(dir.path(), &[command, "--stdin"]);
        assert!(code == Some(1) && out.is_empty() && err.contains("nothing came by it"), "{command}: {out}{err}");
    }
    // One that is empty beside others says nothing.
    std::fs::write(dir.path().join("several/c.log"), "one\n").unwrap();
    let (code, out, err) = plugin(dir.path(), &["logs", "--from", "several", "-o", "raw"]);
    assert_eq!((code, out.as_str()), (Some(0), "one\n"), "{err}");
}

/// Two pods of one component are two lanes, and their lines come in the order of time, whichever file is first.
#[test]
fn files_are_merged_by_time_and_rotated_ones_come_first() {
    let dir = tempfile::tempdir().unwrap();
    let line = |second: u8, text: &str| format!("23-11-2026 10:00:{second:02}.000 UTC Error a.cpp:1: {text}\n");
    for (name, text) in [
        ("bono-1.log", line(2, "c") + &line(4, "e")),
        ("sprout-0.log", line(1, "b") + "more\n" + &line(3, "d")),
        ("bono-0.log", line(0, "three")),
        ("bono-0.log.1", line(0, "two")),
        ("bono-0.log.10", line(0, "one")),
    ] {
        std::fs::write(dir.path().join(name), text).unwrap();
    }
    let (_, out, err) = plugin(dir.path(), &["logs", "--from", ".", "--format", "{pod} {text}"]);
    assert_eq!(out, "bono-0 one\nbono-0 two\nbono-0 three\nsprout-0 b\nbono-1 c\nsprout-0 d\nbono-1 e\n", "{err}");
    let (_, out, _) =
        plugin(dir.path(), &["logs", "--from", ".", "-o", "raw", "--around", "10:00:02", "--within", "1s"]);
    assert_eq!(out, line(1, "b") + "more\n" + &line(2, "c") + &line(3, "d"));
}

#[test]
fn names_of_files_and_of_records_are_printable() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("x\u{1b}[2J\n\u{202e}.txt"), "one\n").unwrap();
    let typed = r#"{"v":1,"kind":"record","time":"2026-11-23T10:00:00Z","component":"s\u001b[2J","namespace":"i\n","pod":"p\u202e","container":"c\r","node":"n\u0007","address":"1\u009b","source":"/var/\u2066","message":"m"}"#;
    std::fs::write(dir.path().join("typed.log"), typed.to_owned() + "\n").unwrap();
    let ext = r#"{"pod": "sprout-0\u001b[2J", "container": "c\u202e", "message": "m"}"#;
    std::fs::write(dir.path().join("ext.log"), ext.to_owned() + "\n").unwrap();
    let format = "{component}|{namespace}|{pod}|{container}|{node}|{source}";
    let (_, out, err) = plugin(dir.path(), &["logs", "--from", ".", "--format", format]);
    assert_eq!(out.lines().count(), 3, "{out}");
    let is_harmful = |text: &str| text.contains(|c| clearwater::text::is_harmful(c) && c != '\n');
    assert!(!is_harmful(&out) && !is_harmful(&err), "{out:?} {err:?}");
    assert!(out.contains(r"p\u{202e}") && out.contains(r"x\u{1b}[2J\n\u{202e}.txt"), "{out}");
}

/// What never ends is refused by its name, before anything of it is read.
#[cfg(unix)]
#[test]
fn a_device_is_no_log() {
    let dir = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink("/dev/zero", dir.path().join("sprout.log")).unwrap();
    for device in ["/dev/zero", "/dev/null", "sprout.log"] {
        for command in ["logs", "trace"] {
            let (code, _, said) = plugin(dir.path(), &[command, "--from", device]);
            assert!(code != Some(0) && said.contains(device) && said.contains("it is a device and no file"), "{said}");
        }
    }
}
