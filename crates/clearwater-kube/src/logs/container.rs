use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use clearwater::log::{Lines, Resume, Seen, kubelet_line};
use futures::FutureExt;
use futures::io::{AsyncBufRead, AsyncBufReadExt};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use kube::Api;
use kube::api::LogParams;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

use super::feed::{Feed, ReceiverClosed, WHOLE, WHOLE_MESSAGE, lines_of};
use super::patience::{GIVE_UP, Patience, Reminder};
use super::{PAUSES, REMINDERS, look};
use crate::backoff;
use crate::cluster::{code_of, is_unauthorized, say};
use crate::deadline::no_api_answer;

/// One run of one container, and how its output is read.
pub(super) struct Output {
    pub(super) pods: Api<Pod>,
    pub(super) pod: String,
    pub(super) uid: Option<String>,
    pub(super) container: String,
    /// The runtime's name of this run.
    pub(super) id: String,
    pub(super) restart: i32,
    pub(super) follow: bool,
    /// Read the run before the present one, which has this number.
    pub(super) previous: bool,
    pub(super) since: Option<Timestamp>,
    pub(super) tail: Option<i64>,
    /// How many streams may be opened at once, over all sources.
    pub(super) opening: Arc<Semaphore>,
}

/// A stream that gives nothing for this long has given all of the past.
const QUIET: Duration = Duration::from_millis(250);
/// The same for a stream that is resumed and has not yet repeated what was read before.
const QUIET_RESUMED: Duration = Duration::from_secs(2);
/// A stream that gives nothing for this long is opened anew: a connection can die without a word.
const SILENT: Duration = Duration::from_secs(120);
/// How long opening a stream may take.
const OPENING: Duration = Duration::from_secs(15);
/// No line is longer, in bytes: a kubelet keeps 10 MiB of a container's log in one file (`containerLogMaxSize`), where nobody
/// chose otherwise.
const LONGEST: usize = 64 << 20;
/// How many reads to the end have to miss the last line before it counts as rolled away: the API server ends a read
/// whose kubelet went away as if it were whole (kubernetes `StreamObject` does not look at the error of its copying).
const CHECKS: u8 = 2;
/// How long after one of them the next is made.
const CHECK_AGAIN: Duration = Duration::from_secs(1);

/// While the past is read, what comes is let gather for so long: a reader that is woken for every few lines spends its
/// time on being woken.
const GATHER: Duration = Duration::from_millis(1);
/// The connection hands over one piece each time that it has its turn: so many turns without any say that it has none.
const TURNS: u8 = 2;

enum End {
    /// The server ended it.
    Eof,
    /// It could not be opened.
    Closed(String),
    /// It may not be opened.
    Refused(String),
    /// It broke.
    Broken(String),
    /// It gives one line without end.
    Endless,
    /// It was silent for too long.
    Silent,
    /// It was resumed, and is silent: the last line did not come again.
    Doubtful,
}

/// What is to be done after a stream has ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    /// The container runs: resume.
    Follow,
    /// The container runs, and the stream that was resumed did not repeat the last line: read what there is, to its end.
    Check,
    /// The container has ended: read the rest.
    Rest { previous: bool },
    /// The pod is gone, or a later run than the next has begun.
    Gone,
}

/// Once at once, and then with pauses.
fn at_once() -> impl Iterator<Item = Duration> {
    std::iter::once(Duration::ZERO).chain(backoff::doubling(PAUSES.0, PAUSES.1))
}

impl Output {
    pub(super) async fn run(self, mut feed: Feed) -> Result<(), ReceiverClosed> {
        let mut resume = Resume::new();
        let mut next = if self.previous { Next::Rest { previous: true } } else { Next::Follow };
        let mut pauses = at_once();
        let mut patience = Patience::new(self.follow);
        let mut reminder = Reminder::new(REMINDERS.0, REMINDERS.1);
        let mut missed = 0;
        let mut clean = true;
        loop {
            if next == Next::Gone {
                if !self.follow && resume.last().is_none() && !clean {
                    feed.trouble("it went away, and nothing of it was read".to_owned()).await?;
                }
                break;
            }
            let follow = next == Next::Follow && self.follow;
            let before = resume.last();
            let end = self.stream(&mut resume, &mut feed, next, &mut patience).await?;
            clean = matches!(end, End::Eof);
            let is_checked = next == Next::Check && clean;
            missed = if is_checked && resume.ended_in_gap().is_some() { missed + 1 } else { 0 };
            let is_gone = missed >= CHECKS;
            if is_gone && let Some(gap) = resume.read_to_end(feed.now()) {
                feed.gap(gap);
                feed.send(true).await?;
            }
            if is_checked && (is_gone || missed == 0) {
                feed.caught_up().await?;
            }
            if resume.last() != before {
                pauses = at_once();
                patience.renew();
            }
            if resume.last() != before || follow && !matches!(end, End::Closed(_)) {
                reminder.came();
            }
            if clean && self.is_last(next) {
                break;
            }
            if let End::Refused(why) = &end {
                feed.unread(format!("cannot be read: {why}")).await?;
                break;
            }
            // Another reading would not come further.
            if matches!(end, End::Endless) || patience.is_over() {
                feed.unread(format!("given up: {}", end.why())).await?;
                break;
            }
            let is_missed_once = missed > 0 && !is_gone;
            let is_doubtful = follow && resume.is_repeating() && !matches!(end, End::Closed(_)) || is_missed_once;
            // Of a log that no longer has the last line, nothing comes again.
            if !is_gone {
                resume.cut();
            }
            if let End::Closed(why) = &end
                && let Some(time) = reminder.failed()
            {
                feed.trouble(format!("cannot be read {time}, trying on: {why}")).await?;
            }
            if !is_checked && !matches!(end, End::Silent | End::Doubtful) {
                feed.behind().await?;
                backoff::pause(&mut pauses).await;
            }
            if is_missed_once {
                tokio::time::sleep(CHECK_AGAIN).await;
            }
            next = self.ask(next, &feed, &patience).await?;
            if next == Next::Follow && is_doubtful {
                next = Next::Check;
            }
        }
        if !clean && let Some(gap) = resume.ended_in_gap() {
            feed.gap(gap);
        }
        feed.close(true).await
    }

    /// Whether nothing is to come once a stream was read to its end.
    fn is_last(&self, of: Next) -> bool {
        !self.follow || matches!(of, Next::Rest { .. })
    }

    /// Reads one stream to its end.
    async fn stream(
        &self,
        resume: &mut Resume,
        feed: &mut Feed,
        of: Next,
        patience: &mut Patience,
    ) -> Result<End, ReceiverClosed> {
        let (follow, previous) = (of == Next::Follow && self.follow, of == Next::Rest { previous: true });
        let since = resume.since();
        let params = LogParams {
            container: Some(self.container.clone()),
            follow,
            previous,
            timestamps: true,
            since_time: since.or(self.since),
            tail_lines: self.tail.filter(|_| since.is_none()).map(lines_of),
            ..LogParams::default()
        };
        let permit = self.opening.acquire().await;
        patience.asks();
        let opened = timeout(OPENING, self.pods.log_stream(&self.pod, &params)).await;
        drop(permit);
        let stream = match opened {
            Err(_) => return Ok(End::Closed(no_api_answer(OPENING))),
            Ok(Err(error)) => {
                return match code_of(&error) {
                    Some(401) => {
                        Err(feed.end(format!("the log of {} cannot be read: {}", self.pod, say(&error))).await)
                    }
                    Some(403) => Ok(End::Refused(say(&error))),
                    _ => Ok(End::Closed(say(&error))),
                };
            }
            Ok(Ok(stream)) => stream,
        };
        self.lines(pin!(stream), resume, feed, of).await
    }

    async fn lines<R: AsyncBufRead + Unpin>(
        &self,
        mut stream: R,
        resume: &mut Resume,
        feed: &mut Feed,
        of: Next,
    ) -> Result<End, ReceiverClosed> {
        let follow = of == Next::Follow && self.follow;
        let silent = if of == Next::Check || !follow { OPENING } else { SILENT };
        let mut lines = Lines::default();
        // Since when a line has been coming that has no end yet, and how much of it came.
        let mut open: Option<(Instant, usize)> = None;
        let mut idle = Duration::ZERO;
        let mut turns = 0;
        loop {
            if open.is_some_and(|(since, length)| since.elapsed() >= GIVE_UP || length > LONGEST) && !follow {
                return Ok(End::Endless);
            }
            let is_repeating = resume.is_repeating();
            let quiet = if is_repeating { QUIET_RESUMED } else { QUIET };
            let ready = stream.fill_buf().now_or_never();
            let chunk = match ready {
                Some(Ok(chunk)) => chunk,
                Some(Err(error)) => return Ok(End::Broken(error.to_string())),
                None if !feed.caught_up && turns <= TURNS => {
                    if turns < TURNS {
                        tokio::task::yield_now().await;
                    } else {
                        tokio::time::sleep(GATHER).await;
                    }
                    turns += 1;
                    continue;
                }
                None => {
                    feed.send(true).await?;
                    feed.waits();
                    let next = [WHOLE, quiet, WHOLE_MESSAGE].into_iter().filter(|at| *at > idle).min();
                    let wait = next.unwrap_or(silent).saturating_sub(idle);
                    match timeout(wait, stream.fill_buf()).await {
                        Ok(Ok(chunk)) => chunk,
                        Ok(Err(error)) => return Ok(End::Broken(error.to_string())),
                        Err(_) => {
                            idle += wait;
                            feed.close_whole(idle);
                            feed.send(true).await?;
                            if idle >= silent {
                                return Ok(End::Silent);
                            }
                            if idle >= quiet && follow && is_repeating {
                                return Ok(End::Doubtful);
                            }
                            if idle >= quiet && !lines.is_open() {
                                feed.caught_up().await?;
                            }
                            continue;
                        }
                    }
                }
            };
            if chunk.is_empty() {
                // What is cut comes whole when the stream is resumed; at the end of a container it is all there is.
                if self.is_last(of) {
                    if let Some(line) = lines.rest() {
                        self.line(line, resume, feed, of).await?;
                    }
                    feed.flush_record();
                }
                feed.send(true).await?;
                return Ok(End::Eof);
            }
            idle = Duration::ZERO;
            turns = 0;
            let taken = chunk.len();
            let mut rest = chunk;
            while let Some(line) = lines.next(&mut rest) {
                open = None;
                // Nearly every line is expected, and leads to no question.
                let taken = match kubelet_line(line) {
                    Some((time, text)) if !resume.misses(time, text) => {
                        take(time, text, resume, feed);
                        true
                    }
                    _ => self.line(line, resume, feed, of).await?,
                };
                if !taken {
                    return Ok(End::Broken("the container has been started anew".to_owned()));
                }
                if feed.is_full() {
                    feed.send(true).await?;
                }
            }
            stream.consume_unpin(taken);
            if lines.is_open() {
                open.get_or_insert_with(|| (Instant::now(), 0)).1 += taken;
            }
        }
    }

    /// Takes a line; `false` where it is of another run of the container.
    async fn line(&self, line: &[u8], resume: &mut Resume, feed: &mut Feed, of: Next) -> Result<bool, ReceiverClosed> {
        let Some((time, text)) = kubelet_line(line) else {
            let said = String::from_utf8_lossy(line);
            feed.trouble(format!("the kubelet says: {}", said.trim())).await?;
            return Ok(true);
        };
        // The container may have been started anew since it was last looked at: then this is another log.
        if matches!(of, Next::Follow | Next::Check) && resume.misses(time, text) {
            let mut patience = Patience::new(self.follow);
            patience.asks();
            if self.ask(of, feed, &patience).await? == (Next::Rest { previous: true }) {
                return Ok(false);
            }
        }
        take(time, text, resume, feed);
        Ok(true)
    }

    /// Looks what became of the container. Asks until it is told, or has no more patience: then nothing became of it.
    async fn ask(&self, last: Next, feed: &Feed, patience: &Patience) -> Result<Next, ReceiverClosed> {
        let mut pauses = backoff::doubling(PAUSES.0, PAUSES.1);
        loop {
            match timeout(OPENING, look(&self.pods, &self.pod)).await {
                Ok(Ok(None)) => return Ok(Next::Gone),
                Ok(Err(error)) if is_unauthorized(&error) => {
                    return Err(feed.end(format!("pod {} cannot be looked at: {}", self.pod, say(&error))).await);
                }
                Ok(Ok(Some(pod))) => return Ok(self.became(&pod, last)),
                _ if patience.is_over() => return Ok(last),
                _ => backoff::pause(&mut pauses).await,
            }
        }
    }

    /// What became of the container, by its pod as it is now.
    fn became(&self, pod: &Pod, last: Next) -> Next {
        if pod.metadata.uid != self.uid {
            return Next::Gone;
        }
        if self.previous {
            return last;
        }
        let Some(status) = statuses(pod).find(|s| s.name == self.container) else { return Next::Follow };
        match (run_of(status), status.restart_count - self.restart) {
            (Some(id), _) if id == self.id => {
                let ended = status.state.as_ref().is_some_and(|s| s.terminated.is_some());
                if ended { Next::Rest { previous: false } } else { Next::Follow }
            }
            // Between two runs the status names none.
            (None, 0) => Next::Rest { previous: false },
            (_, 0 | 1) => Next::Rest { previous: true },
            _ => Next::Gone,
        }
    }
}

impl End {
    fn why(&self) -> &str {
        match self {
            Self::Closed(why) | Self::Refused(why) | Self::Broken(why) => why,
            Self::Endless => "it gives one line without end",
            Self::Silent | Self::Doubtful => "it is silent",
            Self::Eof => "it ends before its end",
        }
    }
}

/// Takes a line of the run that is read.
fn take(time: Timestamp, text: &[u8], resume: &mut Resume, feed: &mut Feed) {
    match resume.line(time, text) {
        Seen::Again => {}
        Seen::New => feed.line(Some(time), text),
        Seen::NewAfter(gap) => {
            feed.gap(gap);
            feed.line(Some(time), text);
        }
    }
}

/// The name of a container's present or last run: the runtime's, or its number where none is told, as by nodes that are
/// played. `None` where there was no run.
pub(super) fn run_of(status: &ContainerStatus) -> Option<String> {
    let state = status.state.as_ref();
    let has_run = state.is_some_and(|s| s.running.is_some() || s.terminated.is_some());
    let id = status.container_id.clone().filter(|id| !id.is_empty());
    id.or_else(|| has_run.then(|| format!("#{}", status.restart_count)))
}

/// The state of every container of a pod.
pub(super) fn statuses(pod: &Pod) -> impl Iterator<Item = &ContainerStatus> {
    let status = pod.status.as_ref();
    [
        status.and_then(|s| s.init_container_statuses.as_deref()),
        status.and_then(|s| s.container_statuses.as_deref()),
        status.and_then(|s| s.ephemeral_container_statuses.as_deref()),
    ]
    .into_iter()
    .flatten()
    .flatten()
}
