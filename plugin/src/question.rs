//! Questions on the terminal.

use std::io::{self, BufRead, IsTerminal, Write};

use clearwater::event::CancelReason;
use tokio::sync::oneshot;

use crate::signal::Signals;

/// Asks, and waits for the answer or for a signal; what is typed after a signal answers nothing. Without a terminal the
/// answer is no, and `otherwise` says how to do without the question.
pub(crate) async fn answered(text: &str, yes: &str, otherwise: &str, signals: &Signals) -> Result<bool, CancelReason> {
    let mut err = anstream::stderr();
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        let _ = writeln!(err, "there is no terminal to ask on: add {otherwise}");
        return Ok(false);
    }
    let _ = write!(err, "{text}");
    let _ = err.flush();
    let (out, answer) = oneshot::channel();
    // Nothing ends a read of the terminal: the thread that is left in it ends with the process.
    let reading = std::thread::Builder::new().name("answer".to_owned()).spawn(move || {
        let mut line = String::new();
        if io::stdin().lock().read_line(&mut line).is_ok() {
            let _ = out.send(line);
        }
    });
    if let Err(error) = reading {
        let _ = writeln!(err, "\nno answer can be read ({error}): add {otherwise}");
        return Ok(false);
    }
    let reason = tokio::select! {
        biased;
        reason = signals.next() => reason,
        line = answer => match signals.came_first().await {
            Some(reason) => reason,
            None => return Ok(line.is_ok_and(|line| line.trim().eq_ignore_ascii_case(yes))),
        },
    };
    // What is said next does not stand behind the question.
    let _ = writeln!(err);
    Err(reason)
}
