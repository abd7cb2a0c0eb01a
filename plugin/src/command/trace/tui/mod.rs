//! `trace --tui`: looking around in calls, as with sngrep. Logs are read by a thread of their own; what the screen shows is
//! a value ([`State`]) of which keys and news make the next.

mod areas;
mod calls;
mod draw;
mod flow;
mod key;
mod list;
mod screen;
mod state;
#[cfg(test)]
mod tests;
mod text;

use std::collections::{BTreeSet, VecDeque};
use std::io::IsTerminal;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError, channel};
use std::time::{Duration, Instant};

use clearwater::event::CancelReason;
use clearwater::log::SipMessage;
use parking_lot::Mutex;
use ratatui::crossterm::event::{self, Event};
use ratatui::layout::Size;

use super::writers::Writers;
use super::{Trace, Unread, write_capture};
use crate::advice::command;
use crate::context::Context;
use crate::error::{CliError, spelled};
use crate::exit;
use crate::output::Word;
use crate::signal::{Signals, Stops, code};

use calls::Calls;
use key::Key;
use screen::Screen;
use state::{Action, Input, State};

/// How long keys are waited for before news and signals are looked at.
const TURN: Duration = Duration::from_millis(40);
/// How often news are shown.
const NEWS: Duration = Duration::from_millis(200);
/// What cannot be read at all says so before the terminal is taken.
const EARLY: Duration = Duration::from_millis(100);
/// How long whoever reads may take to end.
const PATIENCE: Duration = Duration::from_millis(300);
/// How many of the words that were said meanwhile are said again at the end.
const MOST_WORDS: usize = 20;

/// Shows what there is until somebody has seen enough.
pub(super) fn run(trace: Trace, context: &mut Context) -> Result<u8, CliError> {
    if !std::io::stdin().is_terminal() || !std::io::stdout().is_terminal() {
        return Err(CliError::Usage(
            "--tui draws on a terminal and takes its keys, and standard input or standard output is none; without --tui the \
             list is written"
                .to_owned(),
        ));
    }
    let signals = context.signals();
    let (words, said) = channel();
    let (mut reading, reader) = context.aside(words.clone());
    let (saving, _) = context.aside(words);
    let place = trace.from.as_ref().map(spelled).unwrap_or_default();
    let state = State::new(&place, trace.list.failed);
    let calls = Arc::new(Mutex::new(Calls::new(trace.list.subscriber.clone(), trace.reported().cut())));
    let (done, ended) = channel();
    let own = calls.clone();
    let work = move || {
        let _ = done.send(read(&trace, &mut reading, &own));
    };
    std::thread::Builder::new().name("reading".to_owned()).spawn(work).map_err(CliError::Runtime)?;
    let mut desk = Desk {
        state,
        calls,
        said,
        ended,
        signals,
        saving,
        words: VecDeque::new(),
        failed: None,
        is_full: false,
        is_stale: true,
    };
    let end = desk.work();
    reader.tell(CancelReason::Interrupted);
    if desk.state.is_reading {
        // It ends with the process otherwise.
        let _ = desk.ended.recv_timeout(PATIENCE);
    }
    for word in desk.words.drain(..) {
        context.talk().say(word);
    }
    match (end?, desk.failed) {
        (exit::OK, Some(error)) => Err(error),
        (code, _) => Ok(code),
    }
}

/// Reads all that there is, or for ever.
fn read(trace: &Trace, context: &mut Context, calls: &Mutex<Calls>) -> Result<(), CliError> {
    let (mut writers, mut unread) = (Writers::default(), Unread::default());
    trace.each(context, true, &mut unread, |entry, _| {
        let message = SipMessage::of(&entry.record);
        writers.take(&entry.source.component, &entry.record, message.is_some());
        calls.lock().take(entry, message.as_ref());
        Ok(())
    })?;
    writers.advise(trace.made_here.get(), context);
    let failed = if calls.lock().is_empty() { unread.nothing() } else { unread.error() };
    failed.map_or(Ok(()), Err)
}

/// Who looks: all that the screen is made of, and where news come from.
struct Desk {
    state: State,
    calls: Arc<Mutex<Calls>>,
    said: Receiver<Word>,
    ended: Receiver<Result<(), CliError>>,
    signals: Signals,
    /// Where what is written says how that went.
    saving: Context,
    /// What was said, for the end.
    words: VecDeque<Word>,
    /// Why not all could be read.
    failed: Option<CliError>,
    /// Whether it was said that the list is full.
    is_full: bool,
    /// Whether the screen shows something else than the state.
    is_stale: bool,
}

impl Desk {
    /// Until the end that somebody asks for; yields its code.
    fn work(&mut self) -> Result<u8, CliError> {
        match self.ended.recv_timeout(EARLY) {
            Ok(result) => self.read_out(result)?,
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Err(gone()),
        }
        let stops = Stops::listen();
        let mut screen = Screen::open()?;
        self.take(Input::Size(screen.size()?));
        let mut looked: Option<Instant> = None;
        loop {
            if let Some(reason) = self.signals.came() {
                return Ok(code(reason));
            }
            if stops.came() {
                self.stop(&mut screen)?;
            }
            self.hear()?;
            if looked.is_none_or(|looked| looked.elapsed() >= NEWS) {
                self.look();
                looked = Some(Instant::now());
            }
            if std::mem::take(&mut self.is_stale) {
                screen.draw(&self.state)?;
            }
            let mut wait = TURN;
            while event::poll(wait)? {
                let action = match event::read()? {
                    Event::Key(key) => Key::of(key).and_then(|key| self.take(Input::Key(key))),
                    Event::Resize(width, height) => {
                        screen.refresh()?;
                        self.take(Input::Size(Size::new(width, height)))
                    }
                    _ => None,
                };
                match action {
                    Some(Action::End) => return Ok(exit::OK),
                    Some(Action::Interrupt) => return Ok(code(CancelReason::Interrupted)),
                    Some(Action::Stop) => self.stop(&mut screen)?,
                    Some(Action::Refresh) => screen.refresh()?,
                    Some(Action::Draw(calls, purpose)) => {
                        let ladder = self.calls.lock().ladder(&calls);
                        let lost = self.lost(&calls);
                        self.take(Input::Drawn(calls, ladder, purpose));
                        if let Some(lost) = lost {
                            self.take(Input::Said(lost));
                        }
                    }
                    Some(Action::Save(calls, path)) => self.save(&calls, &path),
                    None => {}
                }
                wait = Duration::ZERO;
            }
        }
    }

    fn take(&mut self, input: Input) -> Option<Action> {
        self.is_stale = true;
        self.state.update(input)
    }

    fn stop(&mut self, screen: &mut Screen) -> Result<(), CliError> {
        screen.stop()?;
        self.take(Input::Size(screen.size()?));
        Ok(())
    }

    /// Takes in what is said, and that nothing more is read.
    fn hear(&mut self) -> Result<(), CliError> {
        match self.ended.try_recv() {
            Ok(result) => self.read_out(result)?,
            Err(TryRecvError::Disconnected) if self.state.is_reading => return Err(gone()),
            Err(_) => {}
        }
        while let Ok(word) = self.said.try_recv() {
            if word.is_line() {
                self.take(Input::Place(word.plain()));
                continue;
            }
            self.take(Input::Said(word.plain()));
            if self.words.len() >= MOST_WORDS {
                self.words.pop_front();
            }
            self.words.push_back(word);
        }
        Ok(())
    }

    /// Nothing more is read. Where nothing was, there is nothing to look at either.
    fn read_out(&mut self, result: Result<(), CliError>) -> Result<(), CliError> {
        self.look();
        self.take(Input::Ended);
        if let Err(error) = result {
            if self.calls.lock().is_empty() {
                self.words.extend(self.said.try_iter());
                return Err(error);
            }
            self.take(Input::Said(format!("error: {error}")));
            self.failed = Some(error);
        }
        Ok(())
    }

    /// Takes in which dialogs are new or have changed.
    fn look(&mut self) {
        let (news, left_out) = {
            let mut calls = self.calls.lock();
            (calls.news(), calls.left_out())
        };
        if left_out > 0 && !std::mem::replace(&mut self.is_full, true) {
            let why = "the list is full, and further calls are left out: --since or --subscriber makes it shorter";
            self.take(Input::Said(format!("warning: {why}")));
        }
        if news.is_empty() {
            return;
        }
        let drawn = self.state.drawn();
        let drawn = drawn.filter(|drawn| news.iter().any(|new| drawn.contains(new.dialog.call_id.as_str())));
        let ladder = drawn.map(|drawn| self.calls.lock().ladder(drawn));
        self.take(Input::Dialogs(news));
        if let Some(ladder) = ladder.filter(|ladder| !ladder.hops().is_empty()) {
            self.take(Input::Redrawn(ladder));
        }
    }

    /// What is said where not all messages of calls are kept.
    fn lost(&self, calls: &BTreeSet<String>) -> Option<String> {
        let time = self.calls.lock().given_up(calls)?;
        Some(format!(
            "what was logged before {time} is not kept, there is too much of it: `{}` reads it again",
            command("trace CALL-ID")
        ))
    }

    fn save(&mut self, calls: &BTreeSet<String>, path: &Path) {
        if path.exists() {
            self.take(Input::Said(format!("{} is there already: choose another name", spelled(path))));
            return;
        }
        let (ladder, addresses) = {
            let calls_kept = self.calls.lock();
            (calls_kept.ladder(calls), calls_kept.addresses())
        };
        if let Err(error) = write_capture(path, &ladder, &addresses, &mut self.saving) {
            self.take(Input::Said(format!("error: {error}")));
        }
    }
}

/// Why nothing more is read, where whoever read is gone.
fn gone() -> CliError {
    CliError::Connection("the thread that read the logs is gone".to_owned())
}
