use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::Stdio;

use clearwater::log::LONGEST_LINE;
use tokio::io::{AsyncBufReadExt, AsyncReadExt};

use super::talk::{CHATTER, CHATTER_TIME};
use super::*;
use crate::logs::hub::Item;

#[test]
fn patterns_are_told_from_paths() {
    assert!(matches("/var/log/sprout/sprout_*.txt", "/var/log/sprout/sprout_20261123T100000Z.txt"));
    assert!(matches("/var/log/a.log", "/var/log/a.log"));
    assert!(!matches("/var/log/a.log", "/var/log/a.log.1"));
    assert!(!matches("/var/log/x_*.txt", "/var/log/y_1.txt"));
    assert_eq!(numbered(b"12 a b\n"), Some((12, &b"a b\n"[..])));
}

/// The follower on this machine's own bash.
fn local(args: &[&str]) -> tokio::process::Child {
    local_as(&[], args, Path::new("/"))
}

/// The same in a directory, with options for bash.
fn local_as(options: &[&str], args: &[&str], dir: &Path) -> tokio::process::Child {
    tokio::process::Command::new("bash")
        .args(options)
        .args(["-c", FOLLOWER, "follow-logs"])
        .args(args)
        .current_dir(dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

/// All that it says, with an open standard input, as a client leaves it that is there.
async fn output(mut child: tokio::process::Child, within: u64) -> Vec<u8> {
    let _stdin = child.stdin.take();
    timeout(Duration::from_secs(within), child.wait_with_output()).await.expect("its end").unwrap().stdout
}

async fn next(lines: &mut (impl AsyncBufReadExt + Unpin)) -> String {
    loop {
        let mut line = Vec::new();
        timeout(Duration::from_secs(10), lines.read_until(b'\n', &mut line)).await.expect("a line in time").unwrap();
        let line = String::from_utf8_lossy(&line).trim_end_matches('\n').to_owned();
        if !matches!(line.as_str(), "H " | "E") && !line.starts_with("P ") {
            return line;
        }
    }
}

/// What a follower said, with the lines of its blocks in the form in which it says single ones. A line without an end is left
/// out.
fn decoded(mut said: &[u8]) -> Vec<u8> {
    let (mut out, mut parts) = (Vec::new(), HashMap::<u64, Vec<u8>>::new());
    while let Some(end) = memchr::memchr(b'\n', said) {
        let (line, rest) = said.split_at(end + 1);
        said = rest;
        let (id, bytes) = match (line[0], numbers::<3>(line), numbered(line)) {
            (b'B', [Some(id), Some(count), _], _) => {
                let (bytes, rest) = said.split_at(said.len().min(usize::try_from(count).unwrap()));
                said = rest;
                (id, bytes)
            }
            (_, _, Some((id, text))) => (id, text),
            _ => {
                out.extend_from_slice(line);
                continue;
            }
        };
        for byte in bytes.iter().filter(|b| **b != 0) {
            let part = parts.entry(id).or_default();
            part.push(*byte);
            if *byte == b'\n' {
                out.extend_from_slice(&[format!("{id} ").as_bytes(), part].concat());
                part.clear();
            }
        }
    }
    out
}

fn append(path: &Path, text: &[u8]) {
    use std::io::Write;
    std::fs::OpenOptions::new().append(true).create(true).open(path).unwrap().write_all(text).unwrap();
}

#[tokio::test]
async fn files_are_followed_over_rolls_and_renames_and_from_where_they_were_left() {
    let dir = std::env::temp_dir().join(format!("clearwater-follower-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let (hour, log) = (dir.join("s_20261123T100000Z.txt"), dir.join("d.log"));
    append(&hour, b"one\ntwo\\ \xff\n");
    append(&log, b"first\n");
    let pattern = format!("{}/s_*.txt", dir.display());
    let mut child = local(&["0", "0", "-1", &pattern, &log.display().to_string()]);
    let mut stdin = child.stdin.take().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    assert!(next(&mut out).await.starts_with("O 0 "));
    assert!(next(&mut out).await.starts_with("O 1 "));
    let mut past = [next(&mut out).await, next(&mut out).await, next(&mut out).await];
    past.sort();
    assert_eq!(past, ["0 one", "0 two\\ \u{fffd}", "1 first"]);
    // The next hour's file, and a line that comes in two parts.
    let second = dir.join("s_20261123T110000Z.txt");
    append(&second, b"thr");
    assert!(next(&mut out).await.starts_with("O 2 "));
    append(&second, b"ee\n");
    assert_eq!(next(&mut out).await, "2 three");
    // A log that is renamed, written to once more and made anew.
    std::fs::rename(&log, dir.join("d.log.1")).unwrap();
    // Time for the follower to see that nothing has the name.
    tokio::time::sleep(Duration::from_millis(400)).await;
    append(&dir.join("d.log.1"), b"last\n");
    append(&log, b"new\n");
    stdin.write_all(b"\n").await.unwrap();
    assert_eq!(next(&mut out).await, "1 last");
    assert_eq!(next(&mut out).await, "C 1");
    assert!(next(&mut out).await.starts_with("O 3 "));
    assert_eq!(next(&mut out).await, "3 new");
    // Without its reader it ends.
    drop(stdin);
    assert!(timeout(Duration::from_secs(9), child.wait()).await.is_ok());

    let inode = std::os::unix::fs::MetadataExt::ino(&std::fs::metadata(&hour).unwrap());
    let left = format!("@{inode}:4:0:{}", hour.display());
    let child = local(&["1", "0", "-1", &hour.display().to_string(), &left]);
    let text = String::from_utf8_lossy(&output(child, 5).await).into_owned();
    assert!(text.contains("\n0 two\\ \u{fffd}\n") && !text.contains("one"), "{text}");

    let child = local(&["1", "0", "1", &hour.display().to_string()]);
    let text = String::from_utf8_lossy(&output(child, 5).await).into_owned();
    assert!(text.contains("\n0 two") && !text.contains("one"), "{text}");
    std::fs::remove_dir_all(&dir).unwrap();
}

/// A daemon that has said nothing for longer than was asked for may say something at any time; the file of an hour that is
/// long over is not written to again.
#[tokio::test]
async fn what_was_quiet_for_longer_than_is_wanted_is_followed() {
    let dir = tempfile::tempdir().unwrap();
    let now = std::time::SystemTime::now();
    let file = |name: &str, age: u64| {
        let path = dir.path().join(name);
        append(&path, b"old\n");
        let file = std::fs::File::options().append(true).open(&path).unwrap();
        file.set_modified(now - Duration::from_secs(age)).unwrap();
        path
    };
    let (hour, log, over) =
        (file("s_20261123T100000Z.txt", 60), file("d.log", 9000), file("s_20261123T060000Z.txt", 9000));
    let since = now.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() - 5;
    let pattern = format!("{}/*", dir.path().display());
    for once in ["0", "1"] {
        let mut child = local(&[once, &since.to_string(), "-1", &pattern]);
        if once == "1" {
            let said = String::from_utf8_lossy(&output(child, 5).await).into_owned();
            assert!(!said.contains("O ") && !said.contains("old"), "{said}");
            continue;
        }
        let stdin = child.stdin.take().unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        assert!(next(&mut out).await.ends_with("/d.log"));
        assert!(next(&mut out).await.ends_with("/s_20261123T100000Z.txt"));
        append(&over, b"never\n");
        append(&log, b"new\n");
        assert_eq!(next(&mut out).await, "0 new");
        append(&hour, b"newer\n");
        assert_eq!(next(&mut out).await, "1 newer");
        drop(stdin);
        assert!(timeout(Duration::from_secs(9), child.wait()).await.is_ok());
        for path in [&hour, &log, &over] {
            std::fs::File::options()
                .append(true)
                .open(path)
                .unwrap()
                .set_modified(now - Duration::from_secs(9000))
                .unwrap();
        }
    }
}

#[tokio::test]
async fn a_follower_whose_output_nobody_reads_ends_in_time() {
    let path = std::env::temp_dir().join(format!("clearwater-follower-full-{}", std::process::id()));
    append(&path, &b"a line of some length that fills the pipe\n".repeat(100_000));
    let mut child = local(&["0", "0", "-1", &path.display().to_string()]);
    // Both ends stay open, as they do when a connection to the container is cut.
    let (_stdin, _stdout) = (child.stdin.take(), child.stdout.take());
    assert!(timeout(Duration::from_secs(10), child.wait()).await.is_ok());
    std::fs::remove_file(&path).unwrap();
}

/// Nothing is written that would tell it that nobody reads: of NUL bytes bash makes nothing, and of these there are hours.
#[tokio::test]
async fn a_reader_to_the_end_that_nobody_speaks_to_any_more_ends_in_time() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s.txt");
    std::fs::File::create(&path).unwrap().set_len(1 << 40).unwrap();
    let mut child = local(&["1", "0", "-1", &path.display().to_string()]);
    let (_stdin, _stdout) = (child.stdin.take(), child.stdout.take());
    assert!(timeout(Duration::from_secs(12), child.wait()).await.is_ok());
}

#[tokio::test]
async fn a_line_without_end_is_cut_and_the_next_one_is_whole() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s.txt");
    // One that is as long as a piece, one that never seems to end, and one behind it.
    append(&path, &[&b"a".repeat(65536)[..], b"\n", &b"b".repeat(5 << 20), b"\nlast\n"].concat());
    let pattern = path.display().to_string();
    let said = output(local(&["1", "0", "-1", &pattern]), 20).await;
    let (mut reader, mut news) = reader(&pattern);
    assert!(matches!(reader.listen(&said[..], &mut HashMap::new(), &mut false).await, Ok(End::Over)));
    let mut lines = Vec::new();
    while let Ok(update) = news.try_recv() {
        if let Update::Items(_, items, _) = update {
            lines.extend(items.into_iter().filter_map(|(_, i)| if let Item::Record(r) = i { Some(r) } else { None }));
        }
    }
    let told: Vec<(u8, usize)> = lines.iter().map(|r| (r.bytes()[0], r.bytes().len())).collect();
    let mark = format!(" [cut here: {} more bytes]\n", (5 << 20) - LONGEST_LINE);
    assert_eq!(told, [(b'a', 65537), (b'b', LONGEST_LINE + mark.len()), (b'l', 5)]);
    assert!(lines[1].bytes().ends_with(mark.as_bytes()));
}

/// A line that is written in many pieces while the file is followed takes no more room in the container.
#[tokio::test]
async fn what_is_written_while_it_is_followed_is_whole_however_it_comes() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s.txt");
    append(&path, b"");
    let pattern = path.display().to_string();
    let mut child = local(&["0", "0", "-1", &pattern]);
    let (mut stdin, mut stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let mut written = Vec::new();
    let read = tokio::spawn(async move {
        let mut said = Vec::new();
        while memchr::memmem::find(&said, b"the end\n").is_none() {
            let mut piece = vec![0; 1 << 16];
            let read = timeout(Duration::from_secs(5), stdout.read(&mut piece)).await;
            let read = read.expect("something in time").unwrap();
            assert!(read > 0, "it ended");
            said.extend_from_slice(&piece[..read]);
        }
        said
    });
    for n in 0..30_usize {
        // Few lines, many, parts of lines, and long ones.
        let text = match n % 5 {
            0 => format!("few {n}\n").into_bytes(),
            1 => format!("many {n}\n").repeat(500).into_bytes(),
            2 => format!("begun {n} ").into_bytes(),
            3 => vec![b'x'; 70_000],
            _ => b"\n".to_vec(),
        };
        append(&path, &text);
        written.extend(text);
        tokio::time::sleep(Duration::from_millis(70)).await;
        stdin.write_all(b"\n").await.unwrap();
    }
    append(&path, b"the end\n");
    written.extend(b"the end\n");
    let said = read.await.unwrap();
    // Many lines at once came as bytes.
    let blocks = said.split(|b| *b == b'\n').filter(|line| line.starts_with(b"B 0 ")).map(numbers::<3>);
    assert!(blocks.filter(|[_, count, _]| count.is_some_and(|count| count > 1000)).count() > 2);
    let lines = log_lines(&decoded(&said));
    let whole: Vec<Vec<u8>> = written.split_inclusive(|b| *b == b'\n').map(|l| l[..l.len() - 1].to_vec()).collect();
    assert!(lines == whole, "{} lines, not {}", lines.len(), whole.len());
}

/// Each handing on takes two processes in the container, which has calls to carry.
#[tokio::test]
async fn a_file_that_is_written_without_a_pause_is_handed_on_a_few_times_a_second() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s.txt");
    append(&path, b"");
    let mut child = local(&["0", "0", "-1", &path.display().to_string()]);
    let (stdin, mut stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let began = Instant::now();
    let write = async {
        while began.elapsed() < Duration::from_secs(2) {
            append(&path, &b"a line of some length, of which there are many\n".repeat(100));
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        append(&path, b"the end\n");
    };
    let read = async {
        let mut said = Vec::new();
        while memchr::memmem::find(&said, b"the end\n").is_none() {
            let read = timeout(Duration::from_secs(10), stdout.read_buf(&mut said)).await;
            assert!(read.expect("something in time").unwrap() > 0, "it ended");
        }
        (said, began.elapsed())
    };
    let ((said, took), ()) = tokio::join!(read, write);
    drop(stdin);
    let blocks = said.split(|b| *b == b'\n').filter(|line| line.starts_with(b"B 0 ")).count();
    let most = took.as_millis() / 300 + 2;
    assert!((1..=most).contains(&(blocks as u128)), "{blocks} in {took:?}");
}

#[tokio::test]
async fn what_is_older_is_passed_over_without_being_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s.txt");
    let begin = Timestamp::from_second(1_795_000_000).unwrap();
    for form in [
        "%d-%m-%Y %H:%M:%S.000 UTC Status a.cpp:1:",
        "%Y-%m-%d %H:%M:%S,000 INFO",
        "INFO  [main] %Y-%m-%d %H:%M:%S,000",
        "",
    ] {
        let line = |n: i64| {
            let time = begin + SignedDuration::from_secs(n);
            // Lines without a time between, and what looks like one that is not.
            format!("{} line {n}\n  01-01-2031 00:00:00.000 part\nrest {}\n", time.strftime(form), "z".repeat(200))
        };
        let text: String = (0..10_000).map(line).collect();
        std::fs::write(&path, &text).unwrap();
        for second in [0, 1, 4_321, 9_999, 20_000] {
            let since = (begin + SignedDuration::from_secs(second)).as_second().to_string();
            std::fs::File::options()
                .write(true)
                .open(&path)
                .unwrap()
                .set_modified(std::time::SystemTime::now() + Duration::from_secs(1 << 30))
                .unwrap();
            let said = output(local(&["1", &since, "-1", &path.display().to_string()]), 10).await;
            let lines = log_lines(&decoded(&said));
            let least = (10_000 - second).max(0) * 3;
            let read = i64::try_from(lines.len()).unwrap();
            assert!(read >= least && lines.last().unwrap().starts_with(b"rest"), "{form:?}, {second}: {read} lines");
            assert!(form.is_empty() || read < least + 6_000, "{form:?}, {second}: {read} lines");
            // It begins with a line that tells its time.
            assert!(String::from_utf8_lossy(&lines[0]).contains("line"), "{form:?}, {second}");
        }
    }
}

/// What is killed with the follower: a process of its own that hands on bytes, and waits for a reader.
#[tokio::test]
async fn nothing_is_left_of_a_follower_that_nobody_reads() {
    for once in ["0", "1"] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s.txt");
        append(&path, &b"a line of some length that fills the pipe\n".repeat(100_000));
        let mut child = local(&[once, "0", "-1", &path.display().to_string()]);
        let (_stdin, _stdout) = (child.stdin.take(), child.stdout.take());
        assert!(timeout(Duration::from_secs(12), child.wait()).await.is_ok());
        let has_it_open = |process: &Path| {
            let files = std::fs::read_dir(process.join("fd")).into_iter().flatten().flatten();
            files.filter_map(|file| std::fs::read_link(file.path()).ok()).any(|file| file == path)
        };
        let left = || {
            let processes = std::fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
            processes.filter(|process| has_it_open(process)).count()
        };
        for _ in 0..50 {
            if left() > 0 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        assert_eq!(left(), 0, "once: {once}");
    }
}

/// How far its clock is from that of who speaks to it is told with its marks.
#[tokio::test]
async fn its_clock_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = local(&["0", "0", "-1", &dir.path().join("s.txt").display().to_string()]);
    let (mut stdin, mut out) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
    stdin.write_all(b"a[$(id)]\n").await.unwrap();
    stdin.write_all(format!("{}\n", Timestamp::now().as_second() + 100).as_bytes()).await.unwrap();
    let told = next(&mut out).await;
    assert!(matches!(told.as_str(), "H -100" | "H -101" | "H -99"), "{told}");
}

/// What any user of a container may make in a log folder.
const HOSTILE: [&[u8]; 12] = [
    b"s_$(touch ran).txt",
    b"s_`touch ran`.txt",
    b"s_x]=1,a[$(touch ran)].txt",
    b"s_a[$(touch ran)].txt",
    b"s_\n0 forged\nO 0 1 0 s_forged\n.txt",
    b"s_].txt",
    b"s_[.txt",
    b"s_*.txt",
    b"s_@ @1:2:3:s_a.txt",
    b"s_\x1b[2J\xff.txt",
    b"s_'\".txt",
    b"s_ .txt",
];

/// Bash as it is, and with the rules of the images' version, which expands subscripts more often.
const RULES: [&[&str]; 3] = [&[], &["-O", "compat43"], &["-O", "compat43", "-O", "compat44"]];

fn hostile(dir: &Path) {
    for name in HOSTILE {
        append(&dir.join(std::ffi::OsStr::from_bytes(name)), b"hostile\n");
    }
    std::fs::create_dir(dir.join("s_folder.txt")).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(dir.join("s_fifo.txt")).status().unwrap().success());
    std::os::unix::net::UnixListener::bind(dir.join("s_socket.txt")).unwrap();
    append(&dir.join("s_plain.txt"), b"plain\n");
}

#[tokio::test]
async fn names_are_never_commands_nor_lines_and_nothing_but_regular_files_is_opened() {
    for options in RULES {
        for (once, since, tail) in [("1", "0", "-1"), ("1", "1", "5"), ("0", "0", "5")] {
            let dir = tempfile::tempdir().unwrap();
            hostile(dir.path());
            let pattern = format!("{}/s_*.txt", dir.path().display());
            let mut child = local_as(options, &[once, since, tail, &pattern], dir.path());
            let mut stdin = child.stdin.take().unwrap();
            if once == "0" {
                // Long enough to see a file go and come, which closes what was open under its name.
                let remake = async {
                    tokio::time::sleep(Duration::from_millis(500)).await;
                    std::fs::remove_file(dir.path().join("s_plain.txt")).unwrap();
                    tokio::time::sleep(Duration::from_millis(2500)).await;
                    append(&dir.path().join("s_plain.txt"), b"again\n");
                    tokio::time::sleep(Duration::from_millis(1500)).await;
                    stdin.write_all(b"\n").await.unwrap();
                };
                remake.await;
                child.start_kill().unwrap();
            }
            let output = timeout(Duration::from_secs(5), child.wait_with_output()).await.expect("its end").unwrap();
            drop(stdin);
            assert!(!dir.path().join("ran").exists(), "a name ran under {options:?}");
            let text = String::from_utf8(output.stdout).expect("no byte of a name");
            let of = |letter: &str| text.lines().filter(|l| l.starts_with(letter)).count();
            let said = 12 + 3;
            assert_eq!(of("S "), said, "{text}");
            let again = usize::from(once == "0");
            assert_eq!((of("O "), of("0 plain"), of("1 again")), (1 + again, 1, again), "{text}");
            assert_eq!(of("C "), again, "{text}");
            let known = ["S name ", "S kind ", "O ", "H ", "E", "P ", "C ", "0 plain", "1 again"];
            assert!(text.lines().all(|l| known.iter().any(|k| l.starts_with(k))), "{text}");
            assert!(!text.contains("hostile") && !text.contains('\u{1b}'), "{text}");
        }
    }
}

#[tokio::test]
async fn thousands_of_hostile_names_are_told_in_few_lines() {
    let dir = tempfile::tempdir().unwrap();
    for n in 0..300 {
        append(&dir.path().join(format!("s_ {n}.txt")), b"x\n");
    }
    let child = local(&["1", "0", "-1", &format!("{}/s_*.txt", dir.path().display())]);
    let text = String::from_utf8(output(child, 5).await).unwrap();
    assert_eq!(text.lines().filter(|l| l.starts_with("S ")).count(), 21, "{text}");
    assert_eq!(text.lines().filter(|l| *l == "S more").count(), 1, "{text}");
}

/// A reader whose pods are never asked.
fn reader(pattern: &str) -> (Follower, mpsc::Receiver<Update>) {
    type Answer = http::Response<kube::client::Body>;
    let (service, _) = tower_test::mock::pair::<http::Request<kube::client::Body>, Answer>();
    let (updates, news) = mpsc::channel(100_000);
    let source = LogSource {
        component: "sprout".to_owned(),
        namespace: "ims".to_owned(),
        pod: "sprout-0".to_owned(),
        node: String::new(),
        address: String::new(),
        container: "sprout".to_owned(),
        labels: std::collections::BTreeMap::new(),
        annotations: std::collections::BTreeMap::new(),
        origin: LogOrigin::Output,
    };
    let follower = Follower {
        pods: Api::default_namespaced(kube::Client::new(service, "ims")),
        source: Arc::new(source),
        uid: None,
        id: String::new(),
        files: vec![Files { pattern: pattern.to_owned(), grammar: LogGrammar::Plain }],
        follow: false,
        since: None,
        tail: None,
        updates,
        keys: Arc::new(AtomicU64::new(1)),
        skew: SignedDuration::ZERO,
        opening: Arc::new(Semaphore::new(1)),
        spare: Arc::new(Semaphore::new(super::super::feed::SPARE)),
        key: 0,
        left_out: HashSet::new(),
        past: 0,
    };
    (follower, news)
}

/// What a follower says that is run with the arguments that a reader gives it.
async fn run_with(arguments: &[String]) -> Vec<u8> {
    let child = tokio::process::Command::new(&arguments[0])
        .args(&arguments[1..])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    output(child, 10).await
}

/// The lines of a log in what a follower said.
fn log_lines(said: &[u8]) -> Vec<Vec<u8>> {
    let lines = said.split(|b| *b == b'\n').filter(|l| l.first().is_some_and(u8::is_ascii_digit));
    lines.map(|l| l[l.iter().position(|b| *b == b' ').unwrap() + 1..].to_vec()).collect()
}

#[tokio::test]
async fn no_line_is_lost_or_doubled_wherever_a_file_with_nul_bytes_is_cut() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s_nul.txt");
    let mut text = Vec::new();
    for n in 0..1005 {
        text.extend_from_slice(format!("line\0 {n}").as_bytes());
        text.extend(std::iter::repeat_n(0, n % 4));
        text.push(b'\n');
    }
    text.extend_from_slice(b"\0begun\0");
    append(&path, &text);
    let pattern = format!("{}/s_*.txt", dir.path().display());
    let (reader_of_all, _news) = reader(&pattern);
    let said = run_with(&reader_of_all.arguments(&HashMap::new(), true)).await;
    // The begun line gets its end while nobody reads.
    append(&path, b" and ended\n\0\0last\n");
    let mut whole: Vec<Vec<u8>> = (0..1005).map(|n| format!("line {n}").into_bytes()).collect();
    whole.extend([b"begun and ended".to_vec(), b"last".to_vec()]);

    // At the ends of lines and between them.
    let all = said.len();
    let tried = (0..40).chain((40..all).step_by(797)).chain(all - 60..=all);
    for cut in tried {
        let before = &said[..cut];
        let (mut reader, _news) = reader(&pattern);
        let mut open = HashMap::new();
        let end = reader.listen(before, &mut open, &mut false).await;
        assert!(matches!(end, Ok(End::Broken(_) | End::Over)));
        let after = run_with(&reader.arguments(&open, open.is_empty())).await;
        let lines: Vec<Vec<u8>> = log_lines(&decoded(before)).into_iter().chain(log_lines(&decoded(&after))).collect();
        assert!(lines == whole, "cut after {cut} bytes of {all}: {} lines, not {}", lines.len(), whole.len());
    }
}

#[tokio::test]
async fn what_is_left_out_is_told_once_and_a_path_that_was_not_asked_for_is_not_taken() {
    let (mut reader, mut news) = reader("/var/log/sprout/s_*.txt");
    let said = b"S name $'/var/log/sprout/s_\\n.txt'\nS kind /var/log/sprout/s_f\nS name $'/var/log/sprout/s_\\n.txt'\n\
        S more\nO 0 1 0 /etc/shadow\n0 root\nO 1 1 0 /var/log/sprout/s_$(id).txt\n1 x\nO 2 1 0 /var/log/sprout/s_a.txt\n2 y\n";
    let mut open = HashMap::new();
    for _ in 0..2 {
        assert!(reader.listen(&said[..], &mut open, &mut false).await.is_ok());
    }
    assert_eq!(open.keys().collect::<Vec<_>>(), ["/var/log/sprout/s_a.txt"]);
    drop(reader);
    let mut told = Vec::new();
    let mut opened = 0;
    while let Ok(update) = news.try_recv() {
        match update {
            Update::Trouble(_, text) => told.push(text),
            Update::Opened(..) => opened += 1,
            _ => {}
        }
    }
    assert_eq!(opened, 1);
    assert_eq!(told.len(), 3, "{told:?}");
    assert!(told[0].contains("$'/var/log/sprout/s_\\n.txt': its name") && told[1].contains("no regular file"));
}

#[tokio::test]
async fn what_floods_in_the_place_of_bash_is_given_up_and_a_line_without_end_is_cut() {
    // Words that mean nothing, words that name no file, and the follower's own.
    for flood in [&b"yes\n"[..], b"7 x\n", b"H\n", b"S name x\n"] {
        for follow in [false, true] {
            let (mut reader, mut news) = reader("/var/log/sprout/s_*.txt");
            reader.follow = follow;
            let said = flood.repeat(CHATTER / flood.len() + 2);
            let end = reader.listen(&said[..], &mut HashMap::new(), &mut false).await;
            assert!(matches!(end, Ok(End::Unread(_))), "{flood:?}");
            assert!(std::iter::from_fn(|| news.try_recv().ok()).count() <= 1, "{flood:?}");
        }
    }
    // So many words in hours are none.
    let mut chatter = Chatter::new(true);
    chatter.bytes = CHATTER;
    chatter.since = Instant::now().checked_sub(CHATTER_TIME).unwrap();
    assert!(!chatter.is_too_much(2) && chatter.is_too_much(CHATTER));

    let (mut reader, mut news) = reader("/var/log/sprout/s_*.txt");
    let head = b"O 0 1 0 /var/log/sprout/s_a.txt\n0 ";
    let said = [&head[..], &vec![b'x'; 3 * LONGEST_LINE], b"\n0 next\nE\n"].concat();
    assert!(matches!(reader.listen(&said[..], &mut HashMap::new(), &mut false).await, Ok(End::Over)));
    let mut lines = Vec::new();
    while let Ok(update) = news.try_recv() {
        if let Update::Items(_, items, _) = update {
            lines.extend(items.into_iter().filter_map(|(_, i)| if let Item::Record(r) = i { Some(r) } else { None }));
        }
    }
    let [long, next] = &lines[..] else { panic!("{} records", lines.len()) };
    let mark = format!(" [cut here: {} more bytes]\n", 2 * LONGEST_LINE + 2);
    assert_eq!(long.bytes().len(), LONGEST_LINE - 2 + mark.len());
    assert!(long.bytes().ends_with(mark.as_bytes()) && next.bytes() == b"next\n");
}
