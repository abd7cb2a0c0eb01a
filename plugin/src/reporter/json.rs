use std::io::Write;

use clearwater::event::Event;

use super::Reporter;
use crate::error::CliError;

/// One event a line. Each line is written out at once.
pub(super) struct Json<W>(W);

impl<W: Write> Json<W> {
    pub(super) fn new(out: W) -> Self {
        Self(out)
    }
}

impl<W: Write> Reporter for Json<W> {
    fn event(&mut self, event: &Event) -> Result<(), CliError> {
        let mut text = serde_json::to_vec(event)?;
        text.push(b'\n');
        self.0.write_all(&text)?;
        Ok(self.0.flush()?)
    }

    fn rest(&mut self) {}
}
