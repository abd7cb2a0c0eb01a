use std::io;

use crate::connection::{Connection, Namespace};
use crate::output::{Results, Talk};
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
