//! `cargo xtask standins`: the images that play Clearwater in tests.

use std::env;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Subcommand};
use clearwater_testbed::image::Archive;
use clearwater_testbed::layout::{DEFAULT_NAME, Layout, NAME_VARIABLE, cache_directory};
use clearwater_testbed::standins::{self, Inputs};

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
        /// Import the images alone that `up` starts where no file says otherwise.
        #[arg(long)]
        default_only: bool,
    },
    /// Print the names of the images.
    List,
}

/// Where the `standin` program comes from.
#[derive(Debug, Args)]
pub(crate) struct Source {
    /// Take this program instead of the workspace's, which `cargo build --release --package clearwater-standins` makes.
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
            Self::Import { source, name, default_only } => {
                let mut archive = source.build()?;
                if default_only {
                    archive = archive.only(&standins::of_the_default(&images())?);
                }
                standins::import(&Layout::new(&name)?, &archive)?;
                show(&format!("{} images are on both nodes", archive.images.len()))?;
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

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

fn images() -> PathBuf {
    root().join("tests/standins/images")
}

impl Source {
    fn build(self) -> Result<Archive> {
        let program = self.program.unwrap_or_else(|| {
            env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from).join("release/standin")
        });
        standins::build(&Inputs { images: images(), program, cache: cache_directory()? })
    }
}

fn show(text: &str) -> Result<()> {
    writeln!(io::stdout(), "{text}")?;
    Ok(())
}
