use std::io;

use crate::connection::Connection;
use crate::output::{Results, Talk};

/// What every command is given: where to write, and how a cluster would be reached.
#[derive(Debug)]
pub(crate) struct Context {
    connection: Connection,
    results: Results,
    talk: Talk,
}

impl Context {
    pub(crate) fn new(connection: Connection) -> Self {
        Self { connection, results: Results::new(), talk: Talk::new() }
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

    /// Writes out what is still held back.
    pub(crate) fn finish(&mut self) -> io::Result<()> {
        self.results.flush()
    }
}
