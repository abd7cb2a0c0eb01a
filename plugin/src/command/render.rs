use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::Args;
use clearwater::config::{Deployment, KeyPolicy};
use clearwater::manifest::{self, Bundle, Files, Inputs, KEYS_FILE, KEYS_SECRET, Manifest};
use clearwater::order::{Graph, Policy};
use clearwater::text::counted;
use clearwater_kube::apply::random_keys;

use crate::arguments::FileArgs;
use crate::context::Context;
use crate::error::{CliError, spelled};
use crate::exit;
use crate::outfile;
use crate::output::Format;

/// Show the Kubernetes objects of a deployment, or write them for tools that apply them: kustomize, Argo CD, Flux, Helm
///
/// Nothing is asked of a cluster. The objects are those that `up` applies, less what only a cluster can tell.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  kubectl clearwater render -f clearwater.yaml
  kubectl clearwater render --dir base/ims -n ims --keys generate
  kubectl clearwater render --dir apps --keys external-secret:vault --argo
  kubectl clearwater render --dir chart -n ims --keys secret:my-keys --helm
  kubectl clearwater render --list-images > images.txt")]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own on the command line")]
pub(crate) struct Render {
    #[command(flatten)]
    file: FileArgs,
    /// The format
    #[arg(short, long, value_enum, default_value = "yaml")]
    output: Format,
    /// Write the files of a kustomize base into this directory instead, the namespace among them
    #[arg(long, value_name = "DIR", conflicts_with = "list_images")]
    dir: Option<PathBuf>,
    /// Where the keys come from: generate (a Secret in keys.yaml, made once), secret:NAME (one that somebody else makes), or
    /// external-secret:STORE (an ExternalSecret in keys.yaml that reads a ClusterSecretStore)
    #[arg(long, value_name = "KEYS", requires = "dir")]
    keys: Option<KeySource>,
    /// Leave the namespace out of the directory: somebody else makes it
    #[arg(long, requires = "dir", conflicts_with = "helm")]
    without_namespace: bool,
    /// The cluster has a default StorageClass: etcd gets a volume claim, as `up` then makes one
    #[arg(long)]
    default_storage_class: bool,
    /// For Argo CD: the order in which components start, as sync waves
    #[arg(long, conflicts_with_all = ["flux", "helm", "list_images"])]
    argo: bool,
    /// For Flux: a directory for each wave, and flux.yaml with Kustomizations that depend on each other
    #[arg(long, requires = "dir", conflicts_with = "helm")]
    flux: bool,
    /// A Helm chart, whose values are the images' registry and tag and the pull secrets
    #[arg(long, requires = "dir")]
    helm: bool,
    /// Show the images instead, one a line: what a mirror must hold
    #[arg(long)]
    list_images: bool,
}

/// Where the keys of a directory come from.
#[derive(Clone, Debug, PartialEq, Eq)]
enum KeySource {
    /// Made at random.
    Generate,
    /// A Secret that somebody else makes.
    Secret(String),
    /// A `ClusterSecretStore`.
    Store(String),
}

impl FromStr for KeySource {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            None if text == "generate" => Ok(Self::Generate),
            Some(("secret", name)) if !name.is_empty() => Ok(Self::Secret(name.to_owned())),
            Some(("external-secret", store)) if !store.is_empty() => Ok(Self::Store(store.to_owned())),
            _ => Err("generate, secret:NAME or external-secret:STORE".to_owned()),
        }
    }
}

impl Render {
    pub(crate) fn run(self, context: &mut Context) -> Result<u8, CliError> {
        let deployment = self.deployment(context)?;
        let mut inputs =
            Inputs { default_storage_class: self.default_storage_class.then_some(true), ..Inputs::default() };
        if self.keys == Some(KeySource::Generate) {
            inputs.keys = Some(random_keys().map_err(|e| CliError::Random(e.to_string()))?);
        }
        let mut manifest = manifest::render(&deployment, &inputs)?;
        if self.list_images {
            for image in manifest.images() {
                context.results().text(&format!("{image}\n"))?;
            }
            return Ok(exit::OK);
        }
        if self.argo {
            manifest = manifest.with_sync_waves(&Graph::of(&deployment).plan(Policy::default())?);
        }
        let has_keys = matches!(self.keys, Some(KeySource::Store(_)));
        for note in manifest.notes().iter().filter(|n| !(has_keys && n.about == format!("Secret/{KEYS_SECRET}"))) {
            context.talk().note(format!("{}: {}", note.about, note.text));
        }
        match (&self.dir, self.output) {
            (Some(dir), _) => self.write(context, dir, &deployment, &manifest)?,
            (None, Format::Yaml) => context.results().text(&manifest.to_yaml()?)?,
            (None, format @ Format::Json) => context.results().value(format, &manifest.to_json()?)?,
        }
        Ok(exit::OK)
    }

    /// The deployment, with the keys that are asked for.
    fn deployment(&self, context: &mut Context) -> Result<Deployment, CliError> {
        let deployment = self.file.deployment(context, true)?;
        let keys = match &self.keys {
            None => return Ok(deployment),
            Some(KeySource::Generate | KeySource::Store(_)) => KeyPolicy::Random,
            Some(KeySource::Secret(name)) => KeyPolicy::Secret(name.clone()),
        };
        let mut file = deployment.file().clone();
        file.keys = keys;
        Ok(file.deploy(deployment.namespace())?)
    }

    fn write(
        &self,
        context: &mut Context,
        dir: &Path,
        deployment: &Deployment,
        manifest: &Manifest,
    ) -> Result<(), CliError> {
        let mut bundle = Bundle::new(deployment, manifest);
        if !self.without_namespace {
            bundle = bundle.with_namespace();
        }
        if let Some(KeySource::Store(store)) = &self.keys {
            bundle = bundle.with_key_store(store);
        }
        let (shown, namespace) = (spelled(dir), deployment.namespace());
        let (files, apply) = if self.helm {
            (bundle.helm()?, format!("helm install clearwater {shown} -n {namespace} --create-namespace"))
        } else if self.flux {
            let plan = Graph::of(deployment).plan(Policy::default())?;
            (bundle.flux(&plan, &in_repository(dir))?, format!("commit it, then kubectl apply -f {shown}/flux.yaml"))
        } else if self.argo {
            (bundle.kustomize()?, "commit it, and let an Application of Argo CD lead there".to_owned())
        } else {
            (bundle.kustomize()?, format!("kubectl apply -k {shown}"))
        };
        write(context, dir, &files)?;
        let count = counted(files.len(), "file");
        context.talk().note(format!("written: {count}; to apply: {apply}"));
        Ok(())
    }
}

/// Writes the files. Keys that were made before are kept: others would lock out whoever uses them.
fn write(context: &mut Context, dir: &Path, files: &Files) -> Result<(), CliError> {
    for (name, text) in files {
        let path = dir.join(name);
        let failed = |source| CliError::Write { path: path.clone(), source };
        std::fs::create_dir_all(path.parent().unwrap_or(dir)).map_err(failed)?;
        if !path.ends_with(KEYS_FILE) {
            std::fs::write(&path, text).map_err(failed)?;
            continue;
        }
        let shown = spelled(&path);
        match outfile::write_private(&path, text.as_bytes()) {
            Err(CliError::Write { source, .. }) if source.kind() == io::ErrorKind::AlreadyExists => {
                context.talk().note(format!("{shown} exists and is left as it is; remove it to have it made anew"));
            }
            Err(error) => return Err(error),
            Ok(()) if text.contains("kind: Secret\n") => {
                context
                    .talk()
                    .warning(format!("{shown} holds keys that can be read: seal them before they are committed"));
            }
            Ok(()) => {}
        }
    }
    Ok(())
}

/// Where the directory lies in its Git repository; as it is named where there is none.
fn in_repository(dir: &Path) -> String {
    let inside = || {
        let whole = std::path::absolute(dir).ok()?;
        let root = whole.ancestors().find(|a| a.join(".git").exists())?;
        Some(whole.strip_prefix(root).ok()?.to_owned())
    };
    let path = inside().unwrap_or_else(|| dir.to_owned());
    path.components().map(|c| c.as_os_str().to_string_lossy()).collect::<Vec<_>>().join("/")
}
