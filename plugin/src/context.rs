use std::io;
use std::sync::mpsc::Sender;

use crate::connection::{Connection, Namespace};
use crate::output::{Results, Talk, Word};
use crate::signal::{Listener, Signals};

/// What every command is given: where to write, and how a cluster would be reached.
#[derive(Debug)]
pub(crate) struct Context {
    connection: Connection,
    results: Results,
    talk: Talk,
    listener: Listener,
}

impl Context {
    pub(crate) fn new(connection: Connection, listener: Listener) -> Self {
        Self { connection, results: Results::new(), talk: Talk::new(), listener }
    }

    /// Another one, for what goes on while the terminal is in use: what it says is heard by whoever uses it, and its work ends
    /// when the listener beside it is told of a signal.
    pub(crate) fn aside(&self, words: Sender<Word>) -> (Self, Listener) {
        let listener = Listener::silent();
        let talk = Talk::heard_by(words.clone());
        let connection = self.connection.clone().heard_by(words);
        (Self { connection, results: Results::new(), talk, listener: listener.clone() }, listener)
    }

    /// kubectl's connection flags.
    pub(crate) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Standard output.
    pub(crate) fn results(&mut self) -> &mut Results {
        &mut self.results
    }

    /// Standard error.
    pub(crate) fn talk(&mut self) -> &mut Talk {
        &mut self.talk
    }

    /// The signal that may come: the caller ends by itself when it does.
    pub(crate) fn signals(&self) -> Signals {
        self.listener.signals()
    }

    /// Says on which namespace the command works, and why: its first line.
    pub(crate) fn announce(&mut self, namespace: &Namespace) {
        self.talk.line(namespace);
    }

    /// Writes out what is still held back.
    pub(crate) fn finish(&mut self) -> io::Result<()> {
        self.results.flush()
    }
}
