//! What the screen shows, and what keys and news make of it. Nothing is read, written or drawn here.

use std::collections::BTreeSet;
use std::path::PathBuf;

use clearwater::log::Ladder;
use clearwater::text::printable;
use ratatui::layout::Size;

use super::areas::Areas;
use super::flow::Flow;
use super::key::Key;
use super::list::{DialogNews, List};
use super::text::Page;
use crate::advice::command;

/// The name that a capture has where none is typed.
const CAPTURE: &str = "call.pcapng";

/// What happens.
#[derive(Clone, Debug)]
pub(super) enum Input {
    Key(Key),
    /// How large the screen is.
    Size(Size),
    /// Dialogs that are new, or as they are now.
    Dialogs(Vec<DialogNews>),
    /// What [`Action::Draw`] asked for.
    Drawn(BTreeSet<String>, Ladder, Purpose),
    /// The calls that are drawn, as they are now.
    Redrawn(Ladder),
    /// Where it is read.
    Place(String),
    /// Something that is said.
    Said(String),
    /// Nothing more is read.
    Ended,
}

/// What only others can do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Draw these calls.
    Draw(BTreeSet<String>, Purpose),
    /// Write their messages as packets into a file.
    Save(BTreeSet<String>, PathBuf),
    /// Draw the screen anew: something else may have written on it.
    Refresh,
    /// Give the terminal back until somebody goes on.
    Stop,
    /// End, as it was asked for.
    End,
    /// End as Ctrl-C ends programs.
    Interrupt,
}

/// What a drawing is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// To look around in.
    Flow,
    /// To read its messages in full.
    Messages,
}

/// What lies over the list.
#[derive(Clone, Debug)]
pub(super) enum View {
    Flow(Box<Flow>),
    Page(Page, PageOf),
}

/// What a page shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PageOf {
    Help,
    /// What is looked at in the drawing below.
    Step,
    /// All messages.
    Messages,
}

/// A line that is being typed.
#[derive(Clone, Debug)]
pub(super) struct Prompt {
    pub(super) text: String,
    is_for: PromptFor,
}

#[derive(Clone, Debug)]
enum PromptFor {
    /// The filter, with the one that there was before.
    Filter(String),
    /// The file that these calls go into.
    Save(BTreeSet<String>),
}

impl Prompt {
    pub(super) fn question(&self) -> &'static str {
        match self.is_for {
            PromptFor::Filter(_) => "Only what has: ",
            PromptFor::Save(_) => "Save to FILE.pcapng: ",
        }
    }
}

/// All that the screen shows.
#[derive(Clone, Debug)]
pub(super) struct State {
    pub(super) size: Size,
    /// Where it is read.
    pub(super) place: String,
    pub(super) list: List,
    /// What lies over the list, the topmost last.
    pub(super) views: Vec<View>,
    pub(super) prompt: Option<Prompt>,
    /// What was said last, until a key is pressed.
    pub(super) notice: String,
    pub(super) is_reading: bool,
}

impl State {
    pub(super) fn new(place: &str, only_failed: bool) -> Self {
        let mut state = Self {
            size: Size::new(80, 24),
            place: printable(place).into_owned(),
            list: List::new(only_failed),
            views: Vec::new(),
            prompt: None,
            notice: String::new(),
            is_reading: true,
        };
        state.settle();
        state
    }

    /// What becomes of it, and what others have to do.
    pub(super) fn update(&mut self, input: Input) -> Option<Action> {
        let action = match input {
            Input::Key(key) => self.press(key),
            Input::Size(size) => {
                self.size = size;
                None
            }
            Input::Dialogs(news) => {
                self.list.take(news);
                None
            }
            Input::Drawn(calls, ladder, purpose) => {
                self.show(calls, ladder, purpose);
                None
            }
            Input::Redrawn(ladder) => {
                if let Some(flow) = self.flow() {
                    flow.set(ladder);
                }
                None
            }
            Input::Place(place) => {
                self.place = printable(&place).into_owned();
                None
            }
            Input::Said(text) => {
                self.notice = printable(&text).into_owned();
                None
            }
            Input::Ended => {
                self.is_reading = false;
                None
            }
        };
        self.settle();
        action
    }

    /// The calls that are drawn now.
    pub(super) fn drawn(&self) -> Option<&BTreeSet<String>> {
        self.views.iter().find_map(|view| match view {
            View::Flow(flow) => Some(&flow.calls),
            View::Page(..) => None,
        })
    }

    fn flow(&mut self) -> Option<&mut Flow> {
        self.views.iter_mut().find_map(|view| match view {
            View::Flow(flow) => Some(&mut **flow),
            View::Page(..) => None,
        })
    }

    /// Fits everything into the screen.
    fn settle(&mut self) {
        let size = self.size;
        self.list.settle(Areas::of_list(size).body.height.into());
        for view in &mut self.views {
            match view {
                View::Flow(flow) => {
                    let body = Areas::of_flow(size, flow).body;
                    flow.settle(body.width.into(), body.height.into());
                }
                View::Page(page, _) => {
                    let body = Areas::of_page(size).body;
                    page.settle(body.width.into(), body.height.into());
                }
            }
        }
    }

    fn show(&mut self, calls: BTreeSet<String>, ladder: Ladder, purpose: Purpose) {
        if ladder.hops().is_empty() {
            self.notice = format!("its messages are no longer kept: `{}` reads them again", command("trace CALL-ID"));
            return;
        }
        let flow = Flow::new(calls, ladder);
        self.views.push(match purpose {
            Purpose::Flow => View::Flow(Box::new(flow)),
            Purpose::Messages => View::Page(flow.all(), PageOf::Messages),
        });
    }

    fn press(&mut self, key: Key) -> Option<Action> {
        self.notice.clear();
        match key {
            Key::Ctrl('c') => return Some(Action::Interrupt),
            Key::Ctrl('z') => return Some(Action::Stop),
            Key::Ctrl('l') => return Some(Action::Refresh),
            _ => {}
        }
        if let Some(prompt) = self.prompt.take() {
            return self.type_on(prompt, key);
        }
        let has_help = matches!(self.views.last(), Some(View::Page(_, PageOf::Help)));
        match key {
            Key::F(1) | Key::Char('?' | 'h' | 'H') if !has_help => {
                let lines = HELP.lines().map(str::to_owned).collect();
                self.views.push(View::Page(Page::new("Keys".to_owned(), lines), PageOf::Help));
                return None;
            }
            Key::Esc | Key::Char('q' | 'Q') => return self.back(key),
            _ => {}
        }
        match self.views.last_mut() {
            None => self.press_in_list(key),
            Some(View::Flow(flow)) => {
                match key {
                    Key::Enter => {
                        let page = flow.page(None);
                        self.views.push(View::Page(page, PageOf::Step));
                    }
                    Key::F(6) | Key::Char('r' | 'R') => {
                        let page = flow.all();
                        self.views.push(View::Page(page, PageOf::Messages));
                    }
                    Key::F(2) | Key::Char('s' | 'S') => {
                        let calls = flow.calls.clone();
                        self.ask_where(calls);
                    }
                    key => {
                        if let Some(said) = flow.press(key) {
                            self.notice = said;
                        }
                    }
                }
                None
            }
            Some(View::Page(page, of)) => {
                let leads = match (*of, key) {
                    (PageOf::Step, Key::Left) => Some(Key::Up),
                    (PageOf::Step, Key::Right) => Some(Key::Down),
                    (_, Key::Enter | Key::F(1) | Key::Char('?' | 'h' | 'H')) => {
                        self.views.pop();
                        return None;
                    }
                    _ => {
                        page.press(key);
                        None
                    }
                };
                if let Some(leads) = leads {
                    self.turn(leads);
                }
                None
            }
        }
    }

    /// Shows in full what a key leads to in the drawing below.
    fn turn(&mut self, leads: Key) {
        let Some(page) = self.flow().map(|flow| flow.page(Some(leads))) else { return };
        self.views.pop();
        self.views.push(View::Page(page, PageOf::Step));
    }

    fn press_in_list(&mut self, key: Key) -> Option<Action> {
        match key {
            Key::Enter | Key::F(6) | Key::Char('r' | 'R') => {
                let purpose = if key == Key::Enter { Purpose::Flow } else { Purpose::Messages };
                let calls = self.list.chosen();
                return (!calls.is_empty()).then_some(Action::Draw(calls, purpose));
            }
            Key::Char(' ') => {
                if let Err(why) = self.list.mark() {
                    self.notice = why;
                }
            }
            Key::F(2) | Key::Char('s' | 'S') => {
                let calls = self.list.chosen();
                if !calls.is_empty() {
                    self.ask_where(calls);
                }
            }
            Key::F(3) | Key::Char('/') | Key::Tab => {
                let text = self.list.filter().to_owned();
                self.prompt = Some(Prompt { is_for: PromptFor::Filter(text.clone()), text });
            }
            Key::F(7) | Key::Char('f' | 'F') => self.list.toggle_failed(),
            Key::Char('i' | 'I') => {
                let filter = if self.list.filter() == "INVITE" { "" } else { "INVITE" };
                self.list.set_filter(filter);
            }
            Key::Char('A') => {
                let text =
                    if self.list.toggle_follow() { "the newest is looked at" } else { "no longer at the newest" };
                text.clone_into(&mut self.notice);
            }
            key => {
                if let Some(step) = key.step() {
                    self.list.go(step);
                }
            }
        }
        None
    }

    /// Back to what lies below, or out. In the list Esc first takes away what is marked and the filter.
    fn back(&mut self, key: Key) -> Option<Action> {
        if self.views.pop().is_some() || (key == Key::Esc && self.list.clear()) {
            return None;
        }
        Some(Action::End)
    }

    fn ask_where(&mut self, calls: BTreeSet<String>) {
        self.prompt = Some(Prompt { text: CAPTURE.to_owned(), is_for: PromptFor::Save(calls) });
    }

    /// Takes a key of what is typed: the filter is seen at once.
    fn type_on(&mut self, mut prompt: Prompt, key: Key) -> Option<Action> {
        match key {
            Key::Esc => {
                if let PromptFor::Filter(before) = &prompt.is_for {
                    self.list.set_filter(before);
                }
                return None;
            }
            Key::Enter | Key::Tab | Key::Up | Key::Down => {
                return match prompt.is_for {
                    PromptFor::Save(calls) if key == Key::Enter && !prompt.text.trim().is_empty() => {
                        let name = prompt.text.trim();
                        let has_ending = name.to_ascii_lowercase().ends_with(".pcapng");
                        let name = if has_ending { name.to_owned() } else { format!("{name}.pcapng") };
                        Some(Action::Save(calls, PathBuf::from(name)))
                    }
                    _ => None,
                };
            }
            Key::Backspace => {
                prompt.text.pop();
            }
            Key::Ctrl('u') => prompt.text.clear(),
            Key::Char(c) => prompt.text.push(c),
            _ => {}
        }
        if matches!(prompt.is_for, PromptFor::Filter(_)) {
            self.list.set_filter(&prompt.text);
        }
        self.prompt = Some(prompt);
        None
    }

    /// The keys that are told at the foot of the screen.
    pub(super) fn keys(&self) -> &'static [(&'static str, &'static str)] {
        if self.prompt.is_some() {
            return &[("Enter", "Do it"), ("Esc", "Leave it"), ("Ctrl-U", "Clear")];
        }
        match self.views.last() {
            None => &[
                ("F1", "Help"),
                ("Enter", "Show"),
                ("Space", "Mark"),
                ("F2", "Save"),
                ("F3", "Search"),
                ("F6", "Raw"),
                ("F7", "Failed"),
                ("q", "Quit"),
            ],
            Some(View::Flow(_)) => &[
                ("F1", "Help"),
                ("Enter", "Message"),
                ("F2", "Save"),
                ("F3", "Panel"),
                ("F6", "Raw"),
                ("n", "Notes"),
                ("i", "Inside"),
                ("q", "Back"),
            ],
            Some(View::Page(_, PageOf::Step)) => &[("↑↓", "Scroll"), ("←→", "Other message"), ("q", "Back")],
            Some(View::Page(..)) => &[("↑↓", "Scroll"), ("q", "Back")],
        }
    }
}

const HELP: &str = "\
Everywhere
  F1 ? h            these keys
  Esc q             back; from the list out
  ↑ ↓  k j          a line up or down
  PgUp PgDn         a page (Ctrl-B, Ctrl-F; half of one Ctrl-U, Ctrl-D)
  Home End  g G     the first, the last (Ctrl-A, Ctrl-E)
  Ctrl-C            end with 130
  Ctrl-Z            stop, until the shell goes on with it
  Ctrl-L            draw the screen anew

The list of calls, registrations and messages
  Enter             draw the one that is looked at, or all that are marked
  Space             mark it, or take the mark away
  F3 /  Tab         show only what has a text (a regular expression) in its
                    parties, method, ending or Call-ID
  Esc               take marks and filter away
  F2 s              save the messages for Wireshark and sngrep
  F6 r              the messages in full
  F7 f              only what failed, or all
  i                 only INVITE, or all
  A                 keep to the newest, or do so no more

The drawing
  Enter             the message that is looked at, on all of the screen
  ← →               to the side, where it is wider than the screen
  F3 t              show the message beside it, or do not
  9 0               give the message more room, or less
  n                 draw all notes, none, or warnings and errors
  i                 draw what stays inside sprout, or do not
  F2 s              save the messages for Wireshark and sngrep
  F6 r              the messages in full

A message
  ← →               the one before, the one after
";
