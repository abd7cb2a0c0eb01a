use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::Stdio;

use clearwater::log::LONGEST_LINE;
use tokio::io::AsyncBufReadExt;

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
        if !matches!(line.as_str(), "H" | "E") && !line.starts_with("P ") {
            return line;
        }
    }
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
async fn a_line_without_end_is_cut_in_the_container_and_the_next_one_is_whole() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s.txt");
    // One that is as long as a piece, one that never seems to end, and one behind it.
    append(&path, &[&b"a".repeat(65536)[..], b"\n", &b"b".repeat(5 << 20), b"\nlast\n"].concat());
    let said = output(local(&["1", "0", "-1", &path.display().to_string()]), 20).await;
    let of_file = said.split(|b| *b == b'\n').filter_map(|line| line.strip_prefix(b"0 "));
    let told: Vec<(u8, usize)> = of_file.map(|line| (line[0], line.len())).collect();
    assert_eq!(told, [(b'a', 65536), (b'b', 1 << 20), (b'l', 4)]);
    let length = std::fs::metadata(&path).unwrap().len();
    let text = String::from_utf8_lossy(&said).into_owned();
    assert!(text.ends_with(&format!("P 0 {length}\nE\n")), "{}", &text[text.len() - 60..]);
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
            let known = ["S name ", "S kind ", "O ", "H", "E", "P ", "C ", "0 plain", "1 again"];
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

    let ends: Vec<usize> = (0..said.len()).filter(|n| said[*n] == b'\n').map(|n| n + 1).collect();
    let all = ends.len();
    let tried = (0..6).chain([500, 998, 999]).chain(1000..1006).chain(all - 8..all);
    for cut in tried {
        let before = &said[..ends[cut]];
        let (mut reader, _news) = reader(&pattern);
        let mut open = HashMap::new();
        let end = reader.listen(before, &mut open, &mut false).await;
        assert!(matches!(end, Ok(End::Broken(_) | End::Over)));
        let after = run_with(&reader.arguments(&open, open.is_empty())).await;
        let lines: Vec<Vec<u8>> = log_lines(before).into_iter().chain(log_lines(&after)).collect();
        assert!(lines == whole, "cut after {cut} lines of {all}: {} lines, not {}", lines.len(), whole.len());
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
