use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clearwater::log::{Gap, Line, LogGrammar};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::AttachParams;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWriteExt, BufReader};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::timeout;

use super::container::{run_of, statuses};
use super::feed::{Deaf, Feed, WHOLE};
use super::hub::{Key, Update};
use super::{Origin, Source};
use crate::pod::AskError;

/// What runs inside the container: a bash that reads files without starting a process for any line.
const FOLLOWER: &str = include_str!("follower.sh");

/// The follower ends when it is not spoken to for eight seconds.
const HEARTBEAT: Duration = Duration::from_secs(2);
/// The follower speaks every second; without a word for this long the connection is dead.
const DEAD: Duration = Duration::from_secs(8);
const OPENING: Duration = Duration::from_secs(15);

/// Files to be followed: a path, with `*` for the part that rotation changes, and the grammar of their lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Files {
    pub(super) pattern: String,
    pub(super) grammar: LogGrammar,
}

/// The files of one container.
pub(super) struct Follower {
    pub(super) pods: Api<Pod>,
    pub(super) source: Arc<Source>,
    pub(super) uid: Option<String>,
    /// The runtime's name of this run.
    pub(super) id: String,
    pub(super) files: Vec<Files>,
    pub(super) follow: bool,
    pub(super) since: Option<Timestamp>,
    pub(super) tail: Option<i64>,
    pub(super) updates: mpsc::Sender<Update>,
    pub(super) keys: Arc<AtomicU64>,
    pub(super) skew: SignedDuration,
    /// How many streams may be opened at once, over all sources.
    pub(super) opening: Arc<Semaphore>,
    /// Room that all sources share: see [`super::feed::SPARE`].
    pub(super) spare: Arc<Semaphore>,
    /// Stands for the container in the merge until its files are known, so that nothing passes them by.
    pub(super) key: Key,
}

/// A file, over all followers.
struct Open {
    feed: Feed,
    grammar: LogGrammar,
    inode: u64,
    offset: u64,
    /// The time of the last line that had one, whether it was wanted or not.
    read_to: Option<Timestamp>,
    /// Since when nothing more of it waits to be read.
    idle_since: Option<Instant>,
    /// Its number in the present follower.
    id: Option<u64>,
}

enum End {
    Over,
    /// The follower spoke, and then no more.
    Cut,
    Broken(String),
    Lasting(String),
}

impl Follower {
    pub(super) async fn run(self) -> Result<(), Deaf> {
        let mut open: HashMap<String, Open> = HashMap::new();
        let mut pause = Duration::from_millis(50);
        let mut attempts = 0;
        let mut first = true;
        loop {
            let before: u64 = open.values().map(|f| f.offset).sum();
            let end = self.once(&mut open, first).await?;
            first &= open.is_empty();
            if open.values().map(|f| f.offset).sum::<u64>() != before {
                (pause, attempts) = (Duration::from_millis(50), 0);
            }
            let why = match end {
                End::Over => break,
                End::Lasting(why) => {
                    self.trouble(why).await?;
                    break;
                }
                End::Cut => {
                    attempts = 0;
                    "the connection is cut".to_owned()
                }
                End::Broken(why) => why,
            };
            attempts += 1;
            if attempts == 3 {
                self.trouble(format!("its files cannot be read, trying on: {why}")).await?;
            }
            if attempts > 20 && !self.follow {
                break;
            }
            for file in open.values_mut() {
                file.id = None;
                file.feed.behind().await?;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(2));
            if !self.still_runs().await {
                for file in open.values_mut() {
                    if let Some(after) = file.feed.last() {
                        file.feed.gap(Gap { after, before: None });
                    }
                }
                break;
            }
        }
        for (_, file) in open {
            file.feed.close(false).await?;
        }
        self.updates.send(Update::Closed(self.key)).await.map_err(|_| Deaf)
    }

    async fn trouble(&self, text: String) -> Result<(), Deaf> {
        self.updates.send(Update::Trouble(Some(self.key), text)).await.map_err(|_| Deaf)
    }

    async fn still_runs(&self) -> bool {
        let mut pause = Duration::from_millis(50);
        loop {
            match timeout(OPENING, self.pods.get_opt(&self.source.pod)).await {
                Ok(Ok(None)) => return false,
                Ok(Ok(Some(pod))) => {
                    return pod.metadata.uid == self.uid
                        && statuses(&pod).any(|s| {
                            run_of(s).as_ref() == Some(&self.id)
                                && s.state.as_ref().is_some_and(|s| s.running.is_some())
                        });
                }
                _ => {
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(Duration::from_secs(2));
                }
            }
        }
    }

    fn arguments(&self, open: &HashMap<String, Open>, first: bool) -> Vec<String> {
        let since = self.since.map_or(0, Timestamp::as_second);
        let tail = self.tail.filter(|_| first).unwrap_or(-1);
        let once = if self.follow { "0" } else { "1" };
        let mut all: Vec<String> = ["bash", "-c", FOLLOWER, "follow-logs", once].map(str::to_owned).into();
        all.extend([since.to_string(), tail.to_string()]);
        all.extend(self.files.iter().map(|f| f.pattern.clone()));
        all.extend(open.iter().map(|(path, f)| format!("@{}:{}:{path}", f.inode, f.offset)));
        all
    }

    /// Runs one follower to its end.
    async fn once(&self, open: &mut HashMap<String, Open>, first: bool) -> Result<End, Deaf> {
        let params = AttachParams::default()
            .container(&self.source.container)
            .stdin(true)
            .stdout(true)
            .stderr(false)
            .max_stdout_buf_size(64 * 1024);
        let pod = &self.source.pod;
        let permit = self.opening.acquire().await;
        let opened = timeout(OPENING, self.pods.exec(pod, self.arguments(open, first), &params)).await;
        drop(permit);
        let mut process = match opened {
            Err(_) => return Ok(End::Broken("no answer within 15 s".to_owned())),
            Ok(Err(error)) => {
                let error = AskError::from_kube(pod, "create pods/exec", &error);
                let text = format!("its files cannot be read: {error}");
                return Ok(if error.is_lasting() { End::Lasting(text) } else { End::Broken(error.to_string()) });
            }
            Ok(Ok(process)) => process,
        };
        let status = process.take_status();
        let (Some(mut stdin), Some(stdout)) = (process.stdin(), process.stdout()) else {
            return Ok(End::Broken("the exec connection has no streams".to_owned()));
        };
        let speak = async move {
            let mut tick = tokio::time::interval(HEARTBEAT);
            loop {
                tick.tick().await;
                if stdin.write_all(b"\n").await.is_err() || stdin.flush().await.is_err() {
                    // The other side ends the reading.
                    std::future::pending::<()>().await;
                }
            }
        };
        let mut reached = false;
        let end = tokio::select! {
            end = self.listen(stdout, open, &mut reached) => end?,
            () = speak => End::Over,
        };
        // What the runtime says where the program could not be started at all.
        let said = match status {
            Some(status) => timeout(Duration::from_secs(1), status).await.ok().flatten(),
            None => None,
        };
        let message = said.and_then(|s| s.message).unwrap_or_default();
        if message.contains("executable file not found") || message.contains("no such file") {
            return Ok(End::Lasting("its files cannot be read: the container has no bash".to_owned()));
        }
        Ok(match end {
            End::Broken(_) if reached && self.follow => End::Cut,
            End::Broken(_) if !message.is_empty() => End::Broken(message),
            other => other,
        })
    }

    async fn listen<R: AsyncRead + Unpin>(
        &self,
        stdout: R,
        open: &mut HashMap<String, Open>,
        reached: &mut bool,
    ) -> Result<End, Deaf> {
        let mut stdout = BufReader::with_capacity(64 * 1024, stdout);
        let mut names: HashMap<u64, String> = HashMap::new();
        let mut line = Vec::new();
        let mut idle = Duration::ZERO;
        // Whether the follower has said that it read all there was, so that what is open may be whole.
        let mut at_end = false;
        loop {
            if stdout.buffer().is_empty() {
                let now = Instant::now();
                for file in open.values_mut() {
                    let since = *file.idle_since.get_or_insert(now);
                    if at_end {
                        file.feed.close_whole(now.duration_since(since));
                    }
                    file.feed.send(*reached).await?;
                    file.feed.waits();
                }
            }
            let pending = at_end && open.values().any(|f| f.feed.is_open());
            let wait = if pending { WHOLE } else { DEAD };
            match timeout(wait, stdout.read_until(b'\n', &mut line)).await {
                Err(_) => {
                    idle += wait;
                    if idle >= DEAD {
                        return Ok(End::Broken("the connection is silent".to_owned()));
                    }
                    continue;
                }
                Ok(Err(error)) => return Ok(End::Broken(error.to_string())),
                Ok(Ok(0)) => {
                    let over = !self.follow && *reached;
                    return Ok(if over { End::Over } else { End::Broken("the follower ended".to_owned()) });
                }
                Ok(Ok(_)) if line.last() != Some(&b'\n') => continue,
                Ok(Ok(_)) => idle = Duration::ZERO,
            }
            match line[0] {
                b'0'..=b'9' => {
                    at_end = false;
                    if let Some((id, text)) = numbered(&line)
                        && let Some(file) = names.get(&id).and_then(|p| open.get_mut(p))
                    {
                        file.offset += text.len() as u64;
                        file.idle_since = None;
                        let time = Line::parse(file.grammar, text).time;
                        file.read_to = time.or(file.read_to);
                        if self.since.is_none_or(|s| file.read_to.is_none_or(|t| t >= s)) {
                            file.feed.line(time, text);
                        }
                        if file.feed.is_full() {
                            file.feed.send(*reached).await?;
                        }
                    }
                }
                b'O' => {
                    if let Some(path) = self.opened(&line, open).await? {
                        names.insert(path.0, path.1);
                    }
                }
                b'C' => {
                    let id = std::str::from_utf8(&line[1..]).ok().and_then(|s| s.trim().parse::<u64>().ok());
                    if let Some(file) = id.and_then(|i| names.remove(&i)).and_then(|p| open.remove(&p)) {
                        file.feed.close(*reached).await?;
                    }
                }
                b'E' if *reached => at_end = true,
                b'E' => {
                    (*reached, at_end) = (true, true);
                    for file in open.values_mut() {
                        file.feed.send(*reached).await?;
                        file.feed.caught_up().await?;
                    }
                    self.updates.send(Update::CaughtUp(self.key)).await.map_err(|_| Deaf)?;
                }
                _ => {}
            }
            line.clear();
        }
    }

    /// Takes `O number inode offset path`.
    async fn opened(&self, line: &[u8], open: &mut HashMap<String, Open>) -> Result<Option<(u64, String)>, Deaf> {
        let text = String::from_utf8_lossy(line);
        let mut words = text.trim_end().splitn(5, ' ').skip(1);
        let mut number = || words.next().and_then(|w| w.parse::<u64>().ok());
        let (Some(id), Some(inode), Some(offset)) = (number(), number(), number()) else { return Ok(None) };
        let Some(path) = words.next().map(str::to_owned) else { return Ok(None) };
        if let Some(file) = open.get_mut(&path) {
            if file.inode != inode
                && let Some(after) = file.feed.last()
            {
                file.feed.gap(Gap { after, before: None });
            }
            (file.id, file.inode, file.offset) = (Some(id), inode, offset);
            return Ok(Some((id, path)));
        }
        let grammar = self.files.iter().find(|f| matches(&f.pattern, &path)).map_or(LogGrammar::Plain, |f| f.grammar);
        let key = self.keys.fetch_add(1, Ordering::Relaxed);
        let source = Source { origin: Origin::File(path.clone()), ..(*self.source).clone() };
        self.updates.send(Update::Opened(key, Arc::new(source))).await.map_err(|_| Deaf)?;
        let feed = Feed::new(key, self.updates.clone(), self.spare.clone(), grammar, self.skew);
        open.insert(path.clone(), Open { feed, grammar, inode, offset, read_to: None, idle_since: None, id: Some(id) });
        Ok(Some((id, path)))
    }
}

/// Splits `number text`.
fn numbered(line: &[u8]) -> Option<(u64, &[u8])> {
    let space = memchr::memchr(b' ', line)?;
    let id = std::str::from_utf8(&line[..space]).ok()?.parse().ok()?;
    Some((id, &line[space + 1..]))
}

/// Whether a path is one that the pattern stands for.
fn matches(pattern: &str, path: &str) -> bool {
    let mut rest = path;
    let mut pieces = pattern.split('*');
    let Some(head) = pieces.next().and_then(|p| rest.strip_prefix(p)) else { return false };
    rest = head;
    let mut last = None;
    for piece in pieces {
        let Some(at) = rest.find(piece) else { return false };
        rest = &rest[at + piece.len()..];
        last = Some(piece);
    }
    match last {
        None => rest.is_empty(),
        Some(piece) => rest.is_empty() || piece.is_empty() || path.ends_with(piece),
    }
}

#[cfg(test)]
mod tests {
    use std::process::Stdio;

    use super::*;

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
        tokio::process::Command::new("bash")
            .args(["-c", FOLLOWER, "follow-logs"])
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap()
    }

    async fn next(lines: &mut (impl AsyncBufReadExt + Unpin)) -> String {
        loop {
            let mut line = Vec::new();
            timeout(Duration::from_secs(10), lines.read_until(b'\n', &mut line))
                .await
                .expect("a line in time")
                .unwrap();
            let line = String::from_utf8_lossy(&line).trim_end_matches('\n').to_owned();
            if !matches!(line.as_str(), "H" | "E") {
                return line;
            }
        }
    }

    fn append(path: &std::path::Path, text: &[u8]) {
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
        let left = format!("@{inode}:4:{}", hour.display());
        let child = local(&["1", "0", "-1", &hour.display().to_string(), &left]);
        let output = timeout(Duration::from_secs(5), child.wait_with_output()).await.unwrap().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(text.contains("\n0 two\\ \u{fffd}\n") && !text.contains("one"), "{text}");

        let child = local(&["1", "0", "1", &hour.display().to_string()]);
        let output = timeout(Duration::from_secs(5), child.wait_with_output()).await.unwrap().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
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
}
