//! `cargo xtask standins`: the images that play Clearwater in tests.

use std::env;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::{Command as Process, ExitCode};

use anyhow::{Context, Result, ensure};
use clap::{Args, Subcommand};
use clearwater_testbed::image::Archive;
use clearwater_testbed::layout::{DEFAULT_NAME, Layout, NAME_VARIABLE, cache_directory};
use clearwater_testbed::standins::{self, Inputs};

use crate::workspace::{root, target};

/// What to do with the stand-in images.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Build them into one OCI archive and print its path. Needs root and Debian's packages the first time.
    Build(Source),
    /// Build them and import them into both nodes of the test cluster. Needs root.
    Import {
        #[command(flatten)]
        source: Source,
        /// Name of the cluster.
        #[arg(long, env = NAME_VARIABLE, default_value = DEFAULT_NAME)]
        name: String,
    },
    /// Print the names of the images.
    List,
}

/// Where the `standin` program comes from.
#[derive(Debug, Args)]
pub(crate) struct Source {
    /// Take this program instead of building the workspace's.
    #[arg(long)]
    program: Option<PathBuf>,
}

impl Command {
    pub(crate) fn run(self) -> Result<ExitCode> {
        match self {
            Self::Build(source) => {
                let archive = source.build()?;
                show(&archive.path.display().to_string())?;
            }
            Self::Import { source, name } => {
                let images = source.import(&name)?;
                show(&format!("{images} images are on both nodes"))?;
            }
            Self::List => {
                for reference in standins::references(&images())? {
                    show(&reference)?;
                }
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn images() -> PathBuf {
    root().join("tests/standins/images")
}

/// Builds the images and imports them into both nodes of the cluster `name`.
pub(crate) fn import(name: &str) -> Result<()> {
    Source { program: None }.import(name).map(drop)
}

impl Source {
    fn import(&self, name: &str) -> Result<usize> {
        let archive = self.build()?;
        standins::import(&Layout::new(name)?, &archive)?;
        Ok(archive.images.len())
    }

    fn build(&self) -> Result<Archive> {
        let program = match &self.program {
            Some(program) => program.clone(),
            None => build_program()?,
        };
        standins::build(&Inputs { images: images(), program, cache: cache_directory()? })
    }
}

fn build_program() -> Result<PathBuf> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Process::new(cargo)
        .args(["build", "--release", "--quiet", "--package", "clearwater-standins"])
        .current_dir(root())
        .status()
        .context("cannot run cargo")?;
    ensure!(status.success(), "cargo build --release --package clearwater-standins failed ({status})");
    Ok(target().join("release/standin"))
}

fn show(text: &str) -> Result<()> {
    writeln!(io::stdout(), "{text}")?;
    Ok(())
}
