use std::collections::BTreeMap;

use clearwater::text::is_harmful;
use proptest::prelude::*;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Cell;
use ratatui::style::Modifier;

use super::list::DialogNews;
use super::state::{Purpose, View};
use super::*;
use crate::command::logs::each_of_texts;
use crate::connection::Connection;
use crate::signal::Listener;

/// A SIP message as bono and sprout log it, at this millisecond after ten o'clock.
fn record(milli: u32, way: &str, peer: &str, text: &str) -> String {
    let word = if way == "RX" { "from" } else { "to" };
    let (second, milli) = (milli / 1000, milli % 1000);
    format!(
        "23-11-2026 10:00:{second:02}.{milli:03} UTC Verbose common_sip_processing.cpp:87: {way} {} bytes Request msg \
         INVITE/cseq=1 (rdata0x1) {word} {peer}:\n--start msg--\n\n{text}\n--end msg--\n",
        text.len()
    )
}

fn message(first: &str, vias: &str, call: &str, parties: [&str; 2], cseq: &str) -> String {
    let route = if vias.len() > 1 { "Route: <sip:ims;lr>\r\n" } else { "" };
    let vias: String = vias.chars().map(|v| format!("Via: SIP/2.0/TCP x.ims;branch=z9hG4bK{call}{v}\r\n")).collect();
    let [from, to] = parties;
    format!(
        "{first}\r\n{vias}{route}From: <sip:{from}>;tag=a\r\nTo: <sip:{to}>\r\nCall-ID: {call}\r\nCSeq: 1 {cseq}\r\n\
         User-Agent: a telephone with a rather long name, so that the line has to be wrapped somewhere\r\n\
         Content-Length: 0\r\n\r\n"
    )
}

/// A call that is refused: what bono and what sprout logged of it.
fn refused(milli: u32, call: &str, caller: &str, reason: &str) -> [String; 2] {
    let parties = [caller, "6505550002@ims"];
    let invite = |vias: &str| message("INVITE sip:2@ims SIP/2.0", vias, call, parties, "INVITE");
    let answer = |vias: &str| message(&format!("SIP/2.0 486 {reason}"), vias, call, parties, "INVITE");
    let (to_sprout, of_bono) = ("TCP 10.244.1.5:5054", "TCP 10.244.1.4:41000");
    let bono = [
        record(milli, "RX", "UDP 192.0.2.7:5060", &invite("a")),
        record(milli + 1, "TX", to_sprout, &invite("ba")),
        record(milli + 8, "RX", to_sprout, &answer("ba")),
        record(milli + 9, "TX", "UDP 192.0.2.7:5060", &answer("a")),
    ];
    let sprout = [
        record(milli + 2, "RX", of_bono, &invite("ba")),
        format!("23-11-2026 10:00:{:02}.004 UTC Error hss.cpp:1: sip:6505550002@ims: {reason}\n", milli / 1000),
        record(milli + 6, "TX", of_bono, &answer("ba")),
    ];
    [bono.concat(), sprout.concat()]
}

/// Something that is asked of bono, and answered at once.
fn short(milli: u32, call: &str, method: &str, answer: &str, from: &str) -> String {
    let parties = [from, "6505550009@ims"];
    let asked = message(&format!("{method} sip:ims SIP/2.0"), "a", call, parties, method);
    let answered = message(&format!("SIP/2.0 {answer}"), "a", call, parties, method);
    record(milli, "RX", "UDP 192.0.2.8:5060", &asked) + &record(milli + 3, "TX", "UDP 192.0.2.8:5060", &answered)
}

fn logs() -> BTreeMap<String, Vec<u8>> {
    let [bono, sprout] = refused(20_000, "1-69@192.0.2.7", "6505550001@ims", "Busy Here");
    let [more_bono, more_sprout] = refused(30_000, "2-69@192.0.2.7", "6505550001@ims", "Busy Here");
    let bono = [
        short(1_000, "reg-1@192.0.2.8", "REGISTER", "200 OK", "6505550009@ims"),
        bono,
        short(25_000, "msg-1@192.0.2.8", "MESSAGE", "404 Not Found", "6505550009@ims"),
        more_bono,
    ];
    BTreeMap::from([
        ("logs/bono-8664965f7d-br5z2/bono/bono.log".to_owned(), bono.concat().into_bytes()),
        ("logs/sprout-76d6cbb9b4-4mhp8/sprout/sprout.log".to_owned(), [sprout, more_sprout].concat().into_bytes()),
    ])
}

fn calls(logs: &BTreeMap<String, Vec<u8>>) -> Calls {
    let mut calls = Calls::new(None, None);
    let texts = logs.iter().map(|(name, text)| (&**name, &**text));
    let mut context = Context::new(Connection::default(), Listener::silent());
    each_of_texts(texts, &mut context, &mut Unread::quiet(), |entry, _| {
        calls.take(entry, SipMessage::of(&entry.record).as_ref());
        Ok(())
    })
    .unwrap();
    calls
}

/// Somebody who looks.
struct Hand {
    state: State,
    calls: Calls,
    news: Vec<DialogNews>,
}

impl Hand {
    fn new(logs: &BTreeMap<String, Vec<u8>>, (width, height): (u16, u16)) -> Self {
        let mut calls = calls(logs);
        let mut news = calls.news();
        news.sort_by_key(|new| new.dialog.began);
        let mut hand = Self { state: State::new("night", false), calls, news };
        hand.does(Input::Size(Size::new(width, height)));
        hand
    }

    /// With all that there is to see.
    fn ready(size: (u16, u16)) -> Self {
        let mut hand = Self::new(&logs(), size);
        hand.does(Input::Dialogs(hand.news.clone()));
        hand.does(Input::Ended);
        hand
    }

    /// Does what the screen does, and what it asks for.
    fn does(&mut self, input: Input) -> Option<Action> {
        let action = self.state.update(input);
        if let Some(Action::Draw(calls, purpose)) = &action {
            let ladder = self.calls.ladder(calls);
            self.state.update(Input::Drawn(calls.clone(), ladder, *purpose));
        }
        action
    }

    fn press(&mut self, keys: &[Key]) -> Option<Action> {
        let mut action = None;
        for key in keys {
            action = self.does(Input::Key(*key));
        }
        action
    }

    fn types(&mut self, text: &str) {
        for c in text.chars() {
            self.does(Input::Key(Key::Char(c)));
        }
    }

    /// The screen: its lines, with a mark at the one that is looked at.
    fn screen(&self) -> String {
        let Size { width, height } = self.state.size;
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| draw::draw(&self.state, frame)).unwrap();
        let buffer = terminal.backend().buffer();
        let line = |y: u16| {
            let cells = (0..width).filter_map(|x| buffer.cell((x, y)));
            let text: String = cells.map(Cell::symbol).collect();
            let is_at = y > 0 && buffer.cell((0, y)).is_some_and(|cell| cell.modifier.contains(Modifier::REVERSED));
            format!("{}{}", text.trim_end(), if is_at { "  <" } else { "" })
        };
        (0..height).map(line).collect::<Vec<_>>().join("\n")
    }

    fn check(&self) {
        self.state.list.check();
        for view in &self.state.views {
            if let View::Flow(flow) = view {
                flow.check();
            }
        }
    }
}

#[test]
fn the_screens_as_they_are_seen() {
    for (size, name) in [((80, 24), "80x24"), ((120, 40), "120x40"), ((20, 5), "20x5")] {
        let mut hand = Hand::ready(size);
        hand.press(&[Key::Down]);
        insta::assert_snapshot!(format!("list_{name}"), hand.screen());
        hand.press(&[Key::Enter, Key::Down, Key::Down]);
        insta::assert_snapshot!(format!("drawing_{name}"), hand.screen());
        hand.press(&[Key::Enter]);
        insta::assert_snapshot!(format!("message_{name}"), hand.screen());
    }
    let mut hand = Hand::ready((80, 24));
    hand.press(&[Key::F(3)]);
    hand.types("inv");
    insta::assert_snapshot!("search_80x24", hand.screen());
    hand.press(&[Key::Enter, Key::Char(' '), Key::Down, Key::Char(' '), Key::Enter]);
    insta::assert_snapshot!("two_80x24", hand.screen());
    hand.press(&[Key::F(1)]);
    insta::assert_snapshot!("help_80x24", hand.screen());
}

/// What docs/trace.md shows is what is seen.
#[test]
fn the_picture_in_the_docs_is_a_screen() {
    let docs = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/trace.md")).unwrap();
    let picture = docs.split("```text\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let mut hand = Hand::ready((110, 16));
    hand.press(&[Key::Down, Key::Enter]);
    let lines =
        hand.screen().lines().map(|line| format!("{}\n", line.trim_end_matches("  <").trim_end())).collect::<String>();
    assert_eq!(picture, lines, "{lines}");
}

#[test]
fn keys_do_what_sngreps_do() {
    let mut hand = Hand::ready((80, 24));
    let chosen = |hand: &Hand| hand.state.list.chosen().into_iter().collect::<Vec<_>>();
    assert_eq!(chosen(&hand), ["reg-1@192.0.2.8"]);
    hand.press(&[Key::End]);
    assert_eq!(chosen(&hand), ["2-69@192.0.2.7"]);
    hand.press(&[Key::Char(' '), Key::Home, Key::Char(' ')]);
    assert_eq!(chosen(&hand), ["2-69@192.0.2.7", "reg-1@192.0.2.8"]);
    // A mark, and then another, is taken away.
    hand.press(&[Key::Char(' ')]);
    assert_eq!(chosen(&hand), ["2-69@192.0.2.7"]);
    hand.press(&[Key::Esc, Key::Char('f')]);
    assert_eq!(hand.state.list.summary(), "3 of 4 dialogs, failed only");
    hand.press(&[Key::Char('f'), Key::Char('i')]);
    assert_eq!(hand.state.list.summary(), "2 of 4 dialogs, with \"INVITE\"");
    // What is no regular expression is looked for as it is.
    hand.press(&[Key::Char('/'), Key::Ctrl('u')]);
    hand.types("+(");
    assert_eq!(hand.state.list.summary(), "0 of 4 dialogs, with \"+(\"");
    assert_eq!(hand.press(&[Key::Enter, Key::Enter]), None);
    assert_eq!(hand.press(&[Key::Esc, Key::Char('/'), Key::Char('4'), Key::Char('0'), Key::Char('4'), Key::Esc]), None);
    assert_eq!(hand.state.list.summary(), "4 dialogs");
    let drawn = Action::Draw(["1-69@192.0.2.7".to_owned()].into(), Purpose::Flow);
    assert_eq!(hand.press(&[Key::Home, Key::Down, Key::Enter]), Some(drawn));
    // Messages, one after the other, and back.
    hand.press(&[Key::Enter]);
    let title = |hand: &Hand| hand.screen().lines().next().unwrap_or_default().to_owned();
    assert!(title(&hand).contains("phone 1 → bono: INVITE"), "{}", title(&hand));
    hand.press(&[Key::Right]);
    assert!(title(&hand).contains("bono → sprout: INVITE"), "{}", title(&hand));
    hand.press(&[Key::Left, Key::Char('q')]);
    assert!(hand.screen().contains("it failed at sprout"), "{}", hand.screen());
    let saved = Action::Save(["1-69@192.0.2.7".to_owned()].into(), "call.pcapng".into());
    assert_eq!(hand.press(&[Key::F(2), Key::Enter]), Some(saved.clone()));
    hand.press(&[Key::Char('s'), Key::Ctrl('u')]);
    hand.types("call");
    assert_eq!(hand.press(&[Key::Enter]), Some(saved));
    let (without, notes) = (hand.press(&[Key::Char('n')]), hand.state.notice.clone());
    assert_eq!((without, notes.as_str()), (None, "notes: off"));
    assert!(!hand.screen().contains('●'));
    assert_eq!(hand.press(&[Key::Ctrl('z')]), Some(Action::Stop));
    assert_eq!(hand.press(&[Key::Esc, Key::Char('q')]), Some(Action::End));
    assert_eq!(hand.press(&[Key::F(1), Key::Ctrl('c')]), Some(Action::Interrupt));
}

/// What comes while somebody looks changes what is looked at in no way but by what is new of it.
#[test]
fn news_leave_in_place_what_is_looked_at() {
    let mut hand = Hand::new(&logs(), (80, 24));
    let news = hand.news.clone();
    assert!(hand.screen().contains("no call, registration or message yet"));
    hand.does(Input::Dialogs(news[2..].to_vec()));
    hand.press(&[Key::End, Key::Char(' ')]);
    let (looked, marked) = (hand.state.list.at().unwrap().call_id.clone(), hand.state.list.chosen());
    hand.does(Input::Dialogs(news[..2].to_vec()));
    assert_eq!((&hand.state.list.at().unwrap().call_id, hand.state.list.chosen()), (&looked, marked));
    hand.press(&[Key::Enter, Key::End]);
    let before = hand.screen();
    let ladder = hand.calls.ladder(hand.state.drawn().unwrap());
    hand.does(Input::Redrawn(ladder));
    assert_eq!(hand.screen(), before);
    // Who keeps to the newest sees what comes.
    hand.press(&[Key::Esc, Key::Esc, Key::Home, Key::Char('A')]);
    let newest = hand.state.list.at().unwrap().call_id.clone();
    assert_eq!(newest, hand.news.last().unwrap().dialog.call_id);
}

#[test]
fn nothing_that_a_peer_wrote_reaches_the_terminal_as_a_command() {
    let hostile = "\u{1b}[2J\u{9b}1A\u{202e}x\u{7}\u{85}";
    let caller = format!("6505550001{hostile}@ims");
    let [bono, sprout] = refused(20_000, &format!("c{hostile}@x"), &caller, &format!("Busy{hostile}"));
    let logs = BTreeMap::from([
        (format!("logs/bono-0{hostile}/bono/bono.log"), bono.into_bytes()),
        ("logs/sprout-0/sprout/sprout.log".to_owned(), sprout.into_bytes()),
    ]);
    let mut hand = Hand::new(&logs, (120, 40));
    hand.does(Input::Dialogs(hand.news.clone()));
    let mut seen = hand.screen();
    assert_eq!(hand.state.list.summary(), "1 dialog");
    for key in [Key::Enter, Key::Down, Key::Down, Key::Enter, Key::Esc, Key::F(6), Key::Esc, Key::F(2)] {
        hand.press(&[key]);
        seen += &hand.screen();
    }
    assert!(seen.contains(r"\u{1b}[2J"), "{seen}");
    assert!(!seen.contains(|c| is_harmful(c) && c != '\n'), "{seen:?}");
}

fn key() -> impl Strategy<Value = Key> {
    prop_oneof![
        prop::sample::select(vec![
            Key::Up,
            Key::Down,
            Key::Left,
            Key::Right,
            Key::PageUp,
            Key::PageDown,
            Key::Home,
            Key::End,
            Key::Enter,
            Key::Esc,
            Key::Tab,
            Key::Backspace,
        ]),
        (1..13_u8).prop_map(Key::F),
        prop::sample::select("jkgGqrsfinht/? 90AIQ.*(日".chars().collect::<Vec<_>>()).prop_map(Key::Char),
        prop::sample::select(vec!['u', 'd', 'f', 'b', 'a', 'e', 'l']).prop_map(Key::Ctrl),
    ]
}

#[derive(Clone, Debug)]
enum Happens {
    Key(Key),
    Size(u16, u16),
    News(usize),
    Redrawn,
    Said,
}

fn happens() -> impl Strategy<Value = Happens> {
    prop_oneof![
        8 => key().prop_map(Happens::Key),
        1 => (1..140_u16, 1..50_u16).prop_map(|(width, height)| Happens::Size(width, height)),
        2 => (0..4_usize).prop_map(Happens::News),
        1 => Just(Happens::Redrawn),
        1 => Just(Happens::Said),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    #[test]
    fn whatever_is_pressed_and_whatever_comes_every_place_is_there(all in prop::collection::vec(happens(), 0..60)) {
        let mut hand = Hand::new(&logs(), (80, 24));
        for one in all {
            match one {
                Happens::Key(key) => drop(hand.does(Input::Key(key))),
                Happens::Size(width, height) => drop(hand.does(Input::Size(Size::new(width, height)))),
                Happens::News(n) => drop(hand.does(Input::Dialogs(hand.news.get(n).cloned().into_iter().collect()))),
                Happens::Redrawn => {
                    let ladder = hand.state.drawn().map(|drawn| hand.calls.ladder(drawn));
                    drop(ladder.map(|ladder| hand.does(Input::Redrawn(ladder))));
                }
                Happens::Said => drop(hand.does(Input::Said("warning: something that is said ".repeat(9)))),
            }
            hand.check();
            let Size { width, height } = hand.state.size;
            let screen = hand.screen();
            prop_assert_eq!(screen.split('\n').count(), usize::from(height), "{}", width);
        }
    }
}
