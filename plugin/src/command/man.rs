use std::fs;
use std::path::{Path, PathBuf};

use clap::{Args, Command};
use clap_mangen::roff::{Roff, roman};

use crate::connection::Connection;
use crate::context::Context;
use crate::error::{CliError, spelled};
use crate::exit;

/// Write the manual, a page for each command, for whoever packages this program
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  kubectl clearwater man --dir man1
  man -l man1/kubectl-clearwater-up.1")]
pub(crate) struct Man {
    /// The directory, which is made where it is missing
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
}

impl Man {
    pub(crate) fn run(self, context: &mut Context) -> Result<u8, CliError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| CliError::Write { path, source }
        };
        fs::create_dir_all(&self.dir).map_err(failed(&self.dir))?;
        // The flags that no page repeats stand on the one of `options`.
        let mut tree = crate::tree().disable_help_subcommand(true).mut_subcommand("options", Connection::augment_args);
        tree.build();
        let mut pages = Vec::new();
        page_of(&tree, &mut pages);
        for (name, text) in &pages {
            let path = self.dir.join(name);
            fs::write(&path, text).map_err(failed(&path))?;
        }
        context.talk().note(format!("{} pages are written to {}", pages.len(), spelled(&self.dir)));
        Ok(exit::OK)
    }
}

/// The command's page and those of the commands below it, by file name.
fn page_of(command: &Command, pages: &mut Vec<(String, Vec<u8>)>) {
    let name = command.get_display_name().unwrap_or_else(|| command.get_name()).to_owned();
    let page = clap_mangen::Man::new(command.clone())
        .source(concat!("kubectl-clearwater ", env!("CARGO_PKG_VERSION")))
        .manual("kubectl-clearwater");
    let mut text = Vec::new();
    // Writing to memory does not fail.
    let _ = page.render_title(&mut text);
    let _ = page.render_name_section(&mut text);
    let _ = page.render_synopsis_section(&mut text);
    let _ = page.render_description_section(&mut text);
    let _ = page.render_options_section(&mut text);
    if command.get_subcommands().any(|c| !c.is_hide_set()) {
        let _ = page.render_subcommands_section(&mut text);
    }
    let last = command.get_after_long_help().or_else(|| command.get_after_help()).map(ToString::to_string);
    // Examples keep their lines, which the page's own paragraphs would not.
    let mut notes = Roff::new();
    notes.control("SH", ["NOTES"]).control("nf", []);
    for line in last.unwrap_or_default().lines() {
        notes.text([roman(line)]);
    }
    notes.control("fi", []);
    text.extend(notes.render().into_bytes());
    pages.push((format!("{name}.1"), text));
    command.get_subcommands().filter(|c| !c.is_hide_set()).for_each(|c| page_of(c, pages));
}
