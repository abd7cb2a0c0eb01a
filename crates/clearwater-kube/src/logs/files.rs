mod open_file;
mod talk;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clearwater::log::{Gap, LogGrammar};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::AttachParams;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWriteExt, BufReader};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::timeout;

use super::container::{run_of, statuses};
use super::feed::{self, Feed, ReceiverClosed, WHOLE, lines_of};
use super::hub::{Key, Update};
use super::patience::{GIVE_UP, Patience, Reminder};
use super::{LogOrigin, LogSource, PAUSES, REMINDERS, look};
use crate::backoff::{self, Backoff};
use crate::cluster::{is_unauthorized, say};
use crate::pod::{Program, exec, refusal};
use open_file::OpenFile;
use talk::{Block, Chatter, PartialLine, clock, is_plain, matches, numbered, numbers};

/// What runs inside the container: a bash that reads a few lines itself, and hands on more of them as they are.
const FOLLOWER: &str = include_str!("follower.sh");

/// The follower ends when it is not spoken to for eight seconds.
const HEARTBEAT: Duration = Duration::from_secs(2);
/// The follower speaks every second; without a word for this long the connection is dead.
const DEAD: Duration = Duration::from_secs(8);
const OPENING: Duration = Duration::from_secs(15);

/// The past of one container's files is held until all of it has come, in bytes of their lines: only then is it known
/// which line is the oldest. More than this is not read.
const MOST_PAST: usize = 512 * 1024 * 1024;

/// Why nothing more is read where the follower is none.
const FLOOD: &str = "what the container runs as bash floods its output";

/// How many files that are not read are named.
const MOST_LEFT_OUT: usize = 64;

/// Files to be followed: a path, with `*` for the part that rotation changes, and the grammar of their lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Files {
    pub(super) pattern: String,
    pub(super) grammar: LogGrammar,
}

/// The files of one container: where they are, what of them is wanted, and what all sources share, handed to each.
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

/// What is known of one follower while it is listened to.
struct Listening {
    /// The files by their numbers.
    names: HashMap<u64, String>,
    /// What is sent as bytes just now.
    block: Block,
    chatter: Chatter,
    /// When something of a file came last.
    heard: Instant,
    /// Whether the follower has said that it read all there was, so that what is open may be whole.
    at_end: bool,
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
                (file.id, file.part) = (None, PartialLine::default());
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
        let tail = self.tail.filter(|_| first).map_or(-1, lines_of);
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
        let params = AttachParams::default().container(&self.source.container).stdin(true).stdout(true).stderr(false);
        let params = params.max_stdout_buf_size(64 * 1024);
        let pod = &self.source.pod;
        let permit = self.opening.acquire().await;
        patience.asks();
        let opened = exec(&self.pods, pod, self.arguments(open, first), &params, OPENING).await;
        drop(permit);
        let Program { mut stdin, stdout, ended, connection: _connection } = match opened {
            Err(error) if error.is_unauthorized() => return Err(self.end(&error).await),
            Err(error) if error.is_lasting() => return Ok(End::Lasting(format!("its files cannot be read: {error}"))),
            Err(error) => return Ok(End::Broken(error.to_string())),
            Ok(program) => program,
        };
        let skew = self.skew;
        let speak = async move {
            let mut tick = tokio::time::interval(HEARTBEAT);
            loop {
                tick.tick().await;
                // By this the follower tells how far its own clock is from the API server's.
                let word = format!("{}\n", feed::now(skew).as_second());
                if stdin.write_all(word.as_bytes()).await.is_err() || stdin.flush().await.is_err() {
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
        let refused = refusal(&self.source.pod, &self.source.container, ended).await;
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
        let mut part = PartialLine::default();
        let mut now = Listening {
            names: HashMap::new(),
            block: Block::default(),
            chatter: Chatter::new(self.follow),
            heard: Instant::now(),
            at_end: false,
        };
        let mut idle = Duration::ZERO;
        loop {
            if stdout.buffer().is_empty() {
                self.pause(open, now.at_end, *reached).await?;
            }
            let pending = now.at_end && open.values().any(|f| f.feed.is_open());
            let wait = if pending { WHOLE } else { DEAD };
            let hear = async {
                if now.block.left > 0 { Ok(!stdout.fill_buf().await?.is_empty()) } else { part.read(&mut stdout).await }
            };
            match timeout(wait, hear).await {
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
            let end = if now.block.left > 0 {
                let before = now.block.left;
                let end = self.bytes(stdout.buffer(), open, &mut now, *reached).await?;
                stdout.consume(usize::try_from(before - now.block.left).unwrap_or_default());
                end
            } else {
                self.word(part.take(), open, &mut now, reached).await?
            };
            if let Some(end) = end {
                return Ok(end);
            }
        }
    }

    /// Sends what came, where nothing more is at hand.
    async fn pause(
        &self,
        open: &mut HashMap<String, OpenFile>,
        at_end: bool,
        reached: bool,
    ) -> Result<(), ReceiverClosed> {
        let now = Instant::now();
        for file in open.values_mut() {
            let since = *file.idle_since.get_or_insert(now);
            if at_end {
                file.feed.close_whole(now.duration_since(since));
            }
            file.feed.send(reached).await?;
            file.feed.waits();
        }
        Ok(())
    }

    /// Takes what came of a block.
    async fn bytes(
        &mut self,
        bytes: &[u8],
        open: &mut HashMap<String, OpenFile>,
        now: &mut Listening,
        reached: bool,
    ) -> Result<Option<End>, ReceiverClosed> {
        let at = now.block.at();
        let bytes = now.block.take(bytes);
        let Some(file) = now.names.get(&now.block.id).and_then(|p| open.get_mut(p)) else {
            return Ok(now.chatter.is_too_much(bytes.len()).then(|| End::Unread(FLOOD.to_owned())));
        };
        (now.at_end, now.heard) = (false, Instant::now());
        let taken = file.bytes(at, bytes, self.since);
        self.taken(file, taken, reached).await
    }

    /// Takes a line that the follower said.
    async fn word(
        &mut self,
        line: &[u8],
        open: &mut HashMap<String, OpenFile>,
        now: &mut Listening,
        reached: &mut bool,
    ) -> Result<Option<End>, ReceiverClosed> {
        if let Some((id, text)) = numbered(line)
            && let Some(file) = now.names.get(&id).and_then(|p| open.get_mut(p))
        {
            (now.at_end, now.heard) = (false, Instant::now());
            let taken = file.whole(text, self.since);
            return self.taken(file, taken, *reached).await;
        }
        if now.chatter.is_too_much(line.len()) {
            return Ok(Some(End::Unread(FLOOD.to_owned())));
        }
        if !self.follow && now.heard.elapsed() > GIVE_UP {
            return Ok(Some(End::Broken(format!("no line of its files came within {} s", GIVE_UP.as_secs()))));
        }
        match line[0] {
            b'O' => {
                if let Some((id, path)) = self.opened(line, open, *reached).await? {
                    now.names.insert(id, path);
                }
            }
            b'B' => {
                if let [Some(id), Some(left), Some(end)] = numbers(line) {
                    now.block = Block { id, left, end };
                }
            }
            b'P' => {
                if let [Some(id), Some(at)] = numbers(line)
                    && let Some(file) = now.names.get(&id).and_then(|p| open.get_mut(p))
                {
                    (file.offset, file.lines) = (at, 0);
                }
            }
            b'H' => {
                if let Some(ahead) = clock(line) {
                    for file in open.values_mut() {
                        file.feed.clock_is(ahead);
                    }
                }
            }
            b'S' => self.left_out(line).await?,
            b'C' => {
                let [id] = numbers(line);
                if let Some(file) = id.and_then(|i| now.names.remove(&i)).and_then(|p| open.remove(&p)) {
                    file.feed.close(*reached).await?;
                }
            }
            b'E' if *reached => now.at_end = true,
            b'E' => {
                (*reached, now.at_end) = (true, true);
                for file in open.values_mut() {
                    file.feed.send(*reached).await?;
                    file.feed.caught_up().await?;
                }
                self.updates.send(Update::CaughtUp(self.key)).await.map_err(|_| ReceiverClosed)?;
            }
            _ => {}
        }
        Ok(None)
    }

    /// Takes in how much of the past came; gives why no more is read, where it is too much.
    async fn taken(&mut self, file: &mut OpenFile, bytes: usize, reached: bool) -> Result<Option<End>, ReceiverClosed> {
        self.past = if reached { 0 } else { self.past + bytes };
        if self.past > MOST_PAST {
            let most = MOST_PAST >> 20;
            return Ok(Some(End::Unread(format!("their past is longer than {most} MiB; ask for less of it"))));
        }
        if file.feed.is_full() {
            file.feed.send(reached).await?;
        }
        Ok(None)
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
        reached: bool,
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
            file.begin(id, inode, offset);
            return Ok(Some((id, path)));
        }
        let key = self.keys.fetch_add(1, Ordering::Relaxed);
        let source = LogSource { origin: LogOrigin::File(path.clone()), ..(*self.source).clone() };
        self.updates.send(Update::Opened(key, Arc::new(source))).await.map_err(|_| ReceiverClosed)?;
        let feed = Feed::new(key, self.updates.clone(), self.spare.clone(), grammar, self.skew);
        let mut feed = feed.with_tail(self.tail.filter(|_| !reached));
        // Until the follower says otherwise: what it reads may be late for other reasons.
        feed.clock_is(SignedDuration::ZERO);
        let mut file = OpenFile::new(feed, grammar);
        file.begin(id, inode, offset);
        open.insert(path.clone(), file);
        Ok(Some((id, path)))
    }
}

#[cfg(test)]
mod tests;
