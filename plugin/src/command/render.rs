use std::path::{Path, PathBuf};

use clap::Args;
use clearwater::manifest::{self, Inputs, NamespaceObject, kustomize};
use clearwater::text::counted;

use crate::arguments::FileArgs;
use crate::context::Context;
use crate::error::CliError;
use crate::exit;
use crate::output::Format;

/// Show the Kubernetes objects of a deployment
///
/// Nothing is asked of a cluster. The objects are those that `up` applies, less what only a cluster can tell.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  kubectl clearwater render -f clearwater.yaml
  kubectl clearwater render --dir base/ims -n ims     a base for kustomize
  kubectl clearwater render --list-images > images.txt")]
pub(crate) struct Render {
    #[command(flatten)]
    file: FileArgs,
    /// The format
    #[arg(short, long, value_enum, default_value = "yaml")]
    output: Format,
    /// Write the files of a kustomize base into this directory instead
    #[arg(long, value_name = "DIR", conflicts_with = "list_images")]
    dir: Option<PathBuf>,
    /// Show the images instead, one a line: what a mirror must hold
    #[arg(long)]
    list_images: bool,
}

impl Render {
    pub(crate) fn run(self, context: &mut Context) -> Result<u8, CliError> {
        let deployment = self.file.deployment(context, true)?;
        let manifest = manifest::render(&deployment, &Inputs::default())?;
        if self.list_images {
            for image in manifest.images() {
                context.results().text(&format!("{image}\n"))?;
            }
            return Ok(exit::OK);
        }
        for note in manifest.notes() {
            context.talk().note(format!("{}: {}", note.about, note.text));
        }
        match (&self.dir, self.output) {
            (Some(dir), _) => {
                let files = kustomize(&deployment, &manifest, NamespaceObject::LeftOut)?;
                for (name, text) in &files {
                    write(dir, name, text)?;
                }
                let dir = dir.display();
                context
                    .talk()
                    .note(format!("written: {}; to apply: kubectl apply -k {dir}", counted(files.len(), "file")));
            }
            (None, Format::Yaml) => context.results().text(&manifest.to_yaml()?)?,
            (None, format @ Format::Json) => context.results().value(format, &manifest.to_json()?)?,
        }
        Ok(exit::OK)
    }
}

fn write(dir: &Path, name: &str, text: &str) -> Result<(), CliError> {
    let path = dir.join(name);
    let written = std::fs::create_dir_all(dir).and_then(|()| std::fs::write(&path, text));
    written.map_err(|source| CliError::Write { path, source })
}
