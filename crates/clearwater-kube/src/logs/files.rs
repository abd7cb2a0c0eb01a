mod talk;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clearwater::log::{Gap, Line, LogGrammar};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::AttachParams;
use tokio::io::{AsyncRead, AsyncWriteExt, BufReader};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::timeout;

use super::container::{run_of, statuses};
use super::feed::{Feed, ReceiverClosed, WHOLE};
use super::hub::{Key, Update};
use super::patience::{GIVE_UP, Patience, Reminder};
use super::{LogOrigin, LogSource, PAUSES, REMINDERS, look};
use crate::backoff::{self, Backoff};
use crate::cluster::{is_unauthorized, say};
use crate::pod::{exec, refusal};
use talk::{Chatter, PartialLine};

/// What runs inside the container: a bash that reads files without starting a process for any line.
const FOLLOWER: &str = include_str!("follower.sh");

/// The follower ends when it is not spoken to for eight seconds.
const HEARTBEAT: Duration = Duration::from_secs(2);
/// The follower speaks every second; without a word for this long the connection is dead.
const DEAD: Duration = Duration::from_secs(8);
const OPENING: Duration = Duration::from_secs(15);

/// The past of one container's files is held until all of it has come, in bytes of their lines: only then is it known
/// which line is the oldest. More than this is not read.
const MOST_PAST: usize = 512 * 1024 * 1024;

/// How many files that are not read are named.
const MOST_LEFT_OUT: usize = 64;

/// Files to be followed: a path, with `*` for the part that rotation changes, and the grammar of their lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Files {
    pub(super) pattern: String,
    pub(super) grammar: LogGrammar,
}

/// The files of one container.
pub(super) struct Follower {
    pub(super) pods: Api<Pod>,
    pub(super) source: Arc<LogSource>,
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
    /// What is not read and was said to be, over all followers.
    pub(super) left_out: HashSet<String>,
    /// How much of the past is held, in bytes.
    pub(super) past: usize,
}

/// A file, over all followers.
struct OpenFile {
    feed: Feed,
    grammar: LogGrammar,
    inode: u64,
    /// Up to which byte it was read, as a follower told it last: what it sends does not tell, because bash leaves NUL
    /// bytes out of a line.
    offset: u64,
    /// How many lines came since.
    lines: u64,
    /// The time of the last line that had one, whether it was wanted or not.
    read_to: Option<Timestamp>,
    /// Since when nothing more of it waits to be read.
    idle_since: Option<Instant>,
    /// Its number in the present follower.
    id: Option<u64>,
}

impl OpenFile {
    /// Takes a line; gives how many bytes of it are wanted.
    fn line(&mut self, text: &[u8], since: Option<Timestamp>) -> usize {
        self.lines += 1;
        self.idle_since = None;
        let time = Line::parse(self.grammar, text).time;
        self.read_to = time.or(self.read_to);
        let is_wanted = since.is_none_or(|s| self.read_to.is_none_or(|t| t >= s));
        if is_wanted {
            self.feed.line(time, text);
        }
        if is_wanted { text.len() } else { 0 }
    }
}

enum End {
    Over,
    /// The follower spoke, and then no more.
    Cut,
    Broken(String),
    /// The files are gone without.
    Lasting(String),
    /// The files are given up.
    Unread(String),
}

impl Follower {
    pub(super) async fn run(mut self) -> Result<(), ReceiverClosed> {
        let mut open: HashMap<String, OpenFile> = HashMap::new();
        let mut pauses = backoff::doubling(PAUSES.0, PAUSES.1);
        let mut patience = Patience::new(self.follow);
        let mut reminder = Reminder::new(REMINDERS.0, REMINDERS.1);
        let mut first = true;
        loop {
            let read = |open: &HashMap<String, OpenFile>| {
                open.values().fold(0_u64, |all, f| all.wrapping_add(f.offset).wrapping_add(f.lines))
            };
            let before = read(&open);
            let end = self.once(&mut open, first, &mut patience).await?;
            first &= open.is_empty();
            if read(&open) != before {
                patience.renew();
                reminder.came();
                pauses.reset();
            }
            let why = match end {
                End::Over => break,
                End::Lasting(why) => {
                    self.trouble(why).await?;
                    break;
                }
                End::Unread(why) => {
                    self.unread(format!("its files are given up: {why}")).await?;
                    break;
                }
                End::Cut => {
                    reminder.came();
                    "the connection is cut".to_owned()
                }
                End::Broken(why) => why,
            };
            if patience.is_over() {
                self.unread(format!("its files cannot be read, given up: {why}")).await?;
                break;
            }
            if let Some(time) = reminder.failed() {
                self.trouble(format!("its files cannot be read {time}, trying on: {why}")).await?;
            }
            for file in open.values_mut() {
                file.id = None;
                file.feed.behind().await?;
            }
            backoff::pause(&mut pauses).await;
            if !self.still_runs(&patience).await? {
                if !self.follow && open.is_empty() {
                    self.trouble("it went away, and none of its files was read".to_owned()).await?;
                }
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
        self.updates.send(Update::Closed(self.key)).await.map_err(|_| ReceiverClosed)
    }

    async fn trouble(&self, text: String) -> Result<(), ReceiverClosed> {
        self.updates.send(Update::Trouble(Some(self.key), text)).await.map_err(|_| ReceiverClosed)
    }

    async fn unread(&self, text: String) -> Result<(), ReceiverClosed> {
        self.updates.send(Update::Unread(self.key, text)).await.map_err(|_| ReceiverClosed)
    }

    /// Says that nothing more can be read, of this container or any other.
    async fn end(&self, error: &(dyn std::error::Error + Send + Sync + 'static)) -> ReceiverClosed {
        let text = format!("the files of {} cannot be read: {}", self.source.pod, say(error));
        let _ = self.updates.send(Update::End(text)).await;
        ReceiverClosed
    }

    /// Whether the container still runs. Asks until it is told, or has no more patience.
    async fn still_runs(&self, patience: &Patience) -> Result<bool, ReceiverClosed> {
        let mut pauses = backoff::doubling(PAUSES.0, PAUSES.1);
        loop {
            match timeout(OPENING, look(&self.pods, &self.source.pod)).await {
                Ok(Ok(None)) => return Ok(false),
                Ok(Ok(Some(pod))) => {
                    return Ok(pod.metadata.uid == self.uid
                        && statuses(&pod).any(|s| {
                            run_of(s).as_ref() == Some(&self.id)
                                && s.state.as_ref().is_some_and(|s| s.running.is_some())
                        }));
                }
                Ok(Err(error)) if is_unauthorized(&error) => return Err(self.end(&error).await),
                _ if patience.is_over() => return Ok(true),
                _ => backoff::pause(&mut pauses).await,
            }
        }
    }

    fn arguments(&self, open: &HashMap<String, OpenFile>, first: bool) -> Vec<String> {
        let since = self.since.map_or(0, Timestamp::as_second);
        let tail = self.tail.filter(|_| first).unwrap_or(-1);
        let once = if self.follow { "0" } else { "1" };
        let mut all: Vec<String> = ["bash", "-c", FOLLOWER, "follow-logs", once].map(str::to_owned).into();
        all.extend([since.to_string(), tail.to_string()]);
        all.extend(self.files.iter().map(|f| f.pattern.clone()));
        all.extend(open.iter().map(|(path, f)| format!("@{}:{}:{}:{path}", f.inode, f.offset, f.lines)));
        all
    }

    /// Runs one follower to its end.
    async fn once(
        &mut self,
        open: &mut HashMap<String, OpenFile>,
        first: bool,
        patience: &mut Patience,
    ) -> Result<End, ReceiverClosed> {
        let params = AttachParams::default()
            .container(&self.source.container)
            .stdin(true)
            .stdout(true)
            .stderr(false)
            .max_stdout_buf_size(64 * 1024);
        let pod = &self.source.pod;
        let permit = self.opening.acquire().await;
        patience.asks();
        let opened = exec(&self.pods, pod, self.arguments(open, first), &params, OPENING).await;
        drop(permit);
        let mut process = match opened {
            Err(error) if error.is_unauthorized() => return Err(self.end(&error).await),
            Err(error) if error.is_lasting() => return Ok(End::Lasting(format!("its files cannot be read: {error}"))),
            Err(error) => return Ok(End::Broken(error.to_string())),
            Ok(process) => process,
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
        let refused = refusal(&self.source.pod, &self.source.container, status).await;
        Ok(match (end, refused) {
            (_, Some(error)) if error.is_lasting() => {
                End::Lasting("its files cannot be read: the container has no bash".to_owned())
            }
            (End::Broken(_), _) if reached && self.follow => End::Cut,
            (End::Broken(_), Some(error)) => End::Broken(error.to_string()),
            (end, _) => end,
        })
    }

    async fn listen<R: AsyncRead + Unpin>(
        &mut self,
        stdout: R,
        open: &mut HashMap<String, OpenFile>,
        reached: &mut bool,
    ) -> Result<End, ReceiverClosed> {
        let mut stdout = BufReader::with_capacity(64 * 1024, stdout);
        let mut names: HashMap<u64, String> = HashMap::new();
        let mut part = PartialLine::default();
        let mut chatter = Chatter::new(self.follow);
        let mut idle = Duration::ZERO;
        let mut heard = Instant::now();
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
            match timeout(wait, part.read(&mut stdout)).await {
                Err(_) => {
                    idle += wait;
                    if idle >= DEAD {
                        return Ok(End::Broken("the connection is silent".to_owned()));
                    }
                    continue;
                }
                Ok(Err(error)) => return Ok(End::Broken(error.to_string())),
                Ok(Ok(false)) => {
                    let over = !self.follow && *reached;
                    return Ok(if over { End::Over } else { End::Broken("the follower ended".to_owned()) });
                }
                Ok(Ok(true)) => idle = Duration::ZERO,
            }
            let line = part.take();
            if let Some((id, text)) = numbered(line)
                && let Some(file) = names.get(&id).and_then(|p| open.get_mut(p))
            {
                (at_end, heard) = (false, Instant::now());
                let taken = file.line(text, self.since);
                self.past = if *reached { 0 } else { self.past + taken };
                if self.past > MOST_PAST {
                    let most = MOST_PAST >> 20;
                    return Ok(End::Unread(format!("their past is longer than {most} MiB; ask for less of it")));
                }
                if file.feed.is_full() {
                    file.feed.send(*reached).await?;
                }
                continue;
            }
            if chatter.is_too_much(line.len()) {
                return Ok(End::Unread("what the container runs as bash floods its output".to_owned()));
            }
            if !self.follow && heard.elapsed() > GIVE_UP {
                return Ok(End::Broken(format!("no line of its files came within {} s", GIVE_UP.as_secs())));
            }
            match line[0] {
                b'O' => {
                    if let Some(path) = self.opened(line, open).await? {
                        names.insert(path.0, path.1);
                    }
                }
                b'P' => {
                    let [id, at] = numbers(line);
                    if let (Some(id), Some(at)) = (id, at)
                        && let Some(file) = names.get(&id).and_then(|p| open.get_mut(p))
                    {
                        (file.offset, file.lines) = (at, 0);
                    }
                }
                b'S' => self.left_out(line).await?,
                b'C' => {
                    let [id] = numbers(line);
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
                    self.updates.send(Update::CaughtUp(self.key)).await.map_err(|_| ReceiverClosed)?;
                }
                _ => {}
            }
        }
    }

    /// Takes `S why name`, once for each: the name is quoted as a shell would read it.
    async fn left_out(&mut self, line: &[u8]) -> Result<(), ReceiverClosed> {
        let Some(text) = std::str::from_utf8(line).ok().and_then(|t| t.trim_end().strip_prefix("S ")) else {
            return Ok(());
        };
        let text = match text.split_once(' ') {
            Some(("name", name)) => format!(
                "left out: {name}: its name has other characters than letters, digits and . _ : + -, and no component \
                 writes such a file"
            ),
            Some(("kind", name)) => format!("left out: {name}: it is no regular file"),
            _ => "left out: more files, for their names or because they are no regular files".to_owned(),
        };
        // A follower names twenty at most.
        if self.left_out.len() < MOST_LEFT_OUT && self.left_out.insert(text.clone()) {
            self.trouble(text).await
        } else {
            Ok(())
        }
    }

    /// Takes `O number inode offset path`. A path that was not asked for is not taken.
    async fn opened(
        &self,
        line: &[u8],
        open: &mut HashMap<String, OpenFile>,
    ) -> Result<Option<(u64, String)>, ReceiverClosed> {
        let [Some(id), Some(inode), Some(offset)] = numbers(line) else { return Ok(None) };
        let path = line.trim_ascii_end().splitn(5, |b| *b == b' ').nth(4).and_then(|p| std::str::from_utf8(p).ok());
        let Some(path) = path.filter(|p| is_plain(p)).map(str::to_owned) else { return Ok(None) };
        let Some(files) = self.files.iter().find(|f| matches(&f.pattern, &path)) else { return Ok(None) };
        let grammar = files.grammar;
        if let Some(file) = open.get_mut(&path) {
            if file.inode != inode
                && let Some(after) = file.feed.last()
            {
                file.feed.gap(Gap { after, before: None });
            }
            (file.id, file.inode, file.offset, file.lines) = (Some(id), inode, offset, 0);
            return Ok(Some((id, path)));
        }
        let key = self.keys.fetch_add(1, Ordering::Relaxed);
        let source = LogSource { origin: LogOrigin::File(path.clone()), ..(*self.source).clone() };
        self.updates.send(Update::Opened(key, Arc::new(source))).await.map_err(|_| ReceiverClosed)?;
        let feed = Feed::new(key, self.updates.clone(), self.spare.clone(), grammar, self.skew);
        let (lines, read_to, idle_since, id_now) = (0, None, None, Some(id));
        open.insert(path.clone(), OpenFile { feed, grammar, inode, offset, lines, read_to, idle_since, id: id_now });
        Ok(Some((id, path)))
    }
}

/// Splits `number text`.
fn numbered(line: &[u8]) -> Option<(u64, &[u8])> {
    let space = memchr::memchr(b' ', line)?;
    let id = std::str::from_utf8(&line[..space]).ok()?.parse().ok()?;
    Some((id, &line[space + 1..]))
}

/// The numbers that follow the letter of a line of the protocol.
fn numbers<const N: usize>(line: &[u8]) -> [Option<u64>; N] {
    let mut words = line.trim_ascii_end().split(|b| *b == b' ').skip(1);
    std::array::from_fn(|_| std::str::from_utf8(words.next()?).ok()?.parse().ok())
}

/// Whether a file's name has only characters that mean nothing to a shell, a terminal or this protocol.
fn is_plain(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default();
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._:+-".contains(&b))
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
mod tests;
