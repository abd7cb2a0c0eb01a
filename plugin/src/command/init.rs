use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use clearwater::component::Release;
use clearwater::config::{Size, schema, starter};

use crate::arguments::USUAL;
use crate::context::Context;
use crate::error::{CliError, spelled};
use crate::exit;

/// What stands above the model's text, which knows no command line.
const HEAD: &str = "\
# A Clearwater IMS on Kubernetes.
#
#   kubectl clearwater config check   says what is wrong with this file
#   kubectl clearwater render         shows the Kubernetes objects that follow from it
#   kubectl clearwater up             deploys it
#
";

/// Write a deployment file that says what can be chosen
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  kubectl clearwater init
  kubectl clearwater init --release classic -f classic.yaml
  kubectl clearwater init --size ha
  kubectl clearwater init -o -")]
pub(crate) struct Init {
    /// The file to write; - writes to standard output
    #[arg(short, long, short_alias = 'o', alias = "output", value_name = "FILE", default_value = USUAL)]
    filename: PathBuf,
    /// The release of Clearwater: hunter or classic
    #[arg(long, value_name = "RELEASE", default_value_t)]
    release: Release,
    /// Recommended counts and resources of every component, each with its reason: lab, course or ha. Left out: the defaults
    #[arg(long, value_name = "SIZE")]
    size: Option<Size>,
    /// Write over a file that exists
    #[arg(long)]
    force: bool,
}

/// The starter, after the line by which editors find the schema: they complete keys, and say what each is.
fn starter_for_editors(release: Release, size: Option<Size>) -> String {
    let place = schema()["$id"].as_str().unwrap_or_default();
    format!("# yaml-language-server: $schema={place}\n{HEAD}{}", starter(release, size))
}

impl Init {
    pub(crate) fn run(self, context: &mut Context) -> Result<u8, CliError> {
        let text = starter_for_editors(self.release, self.size);
        let path = self.filename;
        if path == Path::new("-") {
            context.results().text(&text)?;
            return Ok(exit::OK);
        }
        let shown = spelled(&path);
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true);
        if !self.force {
            options.create_new(true);
        }
        let written = options.open(&path).and_then(|mut file| file.write_all(text.as_bytes()));
        match written {
            Ok(()) => {}
            Err(e) if e.kind() == ErrorKind::AlreadyExists => {
                return Err(CliError::Refused(format!(
                    "{shown} exists and is left as it is: name another file with -f, or write over it with --force"
                )));
            }
            Err(source) => return Err(CliError::Write { path, source }),
        }
        context.talk().note(format!("{shown} is written; change it, then: kubectl clearwater config check -f {shown}"));
        Ok(exit::OK)
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::HEAD;
    use crate::cli::Cli;

    #[test]
    fn the_head_names_commands_that_there_are() {
        let commands: Vec<&str> =
            HEAD.lines().filter_map(|line| line.split_once("kubectl clearwater ")).map(|(_, c)| c).collect();
        assert_eq!(commands.len(), 3);
        for line in commands {
            let words = line.split("  ").next().unwrap().split(' ');
            words.fold(Cli::command(), |command, word| command.find_subcommand(word).expect(word).clone());
        }
    }
}
