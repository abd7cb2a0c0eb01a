use std::collections::BTreeMap;
use std::io::Write;
use std::time::Duration;

use clearwater::event::{Event, What};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::plain::Times;
use super::{Reporter, line, words};
use crate::error::CliError;

/// A line a component, redrawn in place; what stays is printed above.
pub(super) struct Terminal {
    bars: MultiProgress,
    of: BTreeMap<String, Bar>,
    times: Times,
    width: usize,
}

struct Bar {
    bar: ProgressBar,
    done: bool,
}

const CALM: Duration = Duration::from_secs(1);

impl Terminal {
    pub(super) fn new() -> Self {
        Self {
            // Four times a second is calm and quick enough.
            bars: MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(4)),
            of: BTreeMap::new(),
            times: Times::default(),
            width: 0,
        }
    }

    fn say(&self, text: &str) {
        self.bars.suspend(|| line(&mut anstream::stderr(), text));
    }

    fn set(&mut self, component: &str, text: String, done: bool) {
        let Some(bar) = self.of.get_mut(component) else { return };
        if done && !bar.done {
            bar.done = true;
            bar.bar.disable_steady_tick();
        }
        bar.bar.set_message(text);
    }
}

fn styled(text: &str) -> String {
    // Without colours the codes are stripped before they reach the terminal.
    let mut out = anstream::AutoStream::new(Vec::new(), anstream::AutoStream::choice(&std::io::stderr()));
    let _ = out.write_all(text.as_bytes());
    String::from_utf8(out.into_inner()).unwrap_or_default()
}

impl Reporter for Terminal {
    fn event(&mut self, event: &Event) -> Result<(), CliError> {
        self.times.take(&event.what);
        match &event.what {
            What::RunStarted { components, .. } => {
                self.width = components.iter().map(|c| c.component.len()).max().unwrap_or(0);
                if let Some(text) = words::line(&event.what) {
                    self.say(&text);
                }
                let template = format!("{{prefix:{}}} {{elapsed:>4}} {{wide_msg}}", self.width);
                let style =
                    ProgressStyle::with_template(&template).unwrap_or_else(|_| ProgressStyle::default_spinner());
                for one in components {
                    let bar = ProgressBar::new_spinner().with_style(style.clone()).with_prefix(one.component.clone());
                    let bar = self.bars.add(bar);
                    bar.enable_steady_tick(CALM);
                    self.of.insert(one.component.clone(), Bar { bar, done: false });
                }
            }
            What::RunFinished { .. } => {
                self.rest();
                for text in self.times.table() {
                    line(&mut anstream::stderr(), &text);
                }
                if let Some(text) = words::line(&event.what) {
                    line(&mut anstream::stderr(), &text);
                }
            }
            What::Progress { .. } => {}
            What::Failed { component, .. } => {
                let component = component.clone();
                self.set(&component, styled(&format!("{0}failed{0:#}", words::BAD)), true);
                if let Some(text) = words::line(&event.what) {
                    self.say(&text);
                }
            }
            what => {
                let Some(text) = words::line(what) else { return Ok(()) };
                let Some(component) = what.component().filter(|_| !matches!(what, What::Mended { .. })) else {
                    self.say(&text);
                    return Ok(());
                };
                let done = matches!(what, What::Serving { .. } | What::Skipped { .. } | What::Removed { .. });
                let own = text.replacen(&format!("{component}: "), "", 1);
                let first = own.lines().next().unwrap_or_default().to_owned();
                for rest in own.lines().skip(1) {
                    self.say(&format!("{component}:{rest}"));
                }
                let component = component.to_owned();
                self.set(&component, styled(&first), done);
            }
        }
        Ok(())
    }

    fn rest(&mut self) {
        for bar in self.of.values() {
            bar.bar.finish();
        }
        // What moved stays on the screen as it was last.
        self.of.clear();
    }
}
