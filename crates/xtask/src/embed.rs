//! The crates as others get them: packed, unpacked into an empty folder, and built there with the book's own words. No
//! workspace and no configuration of cargo's stands around them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};
use tempfile::TempDir;

use crate::steps::Step;
use crate::workspace::{root, target};

/// What is published, each after what it needs.
pub const LIBRARIES: [&str; 3] = ["clearwater", "clearwater-sip", "clearwater-kube"];
/// The page of the book with programs that use them.
const PAGE: &str = "docs/embedding.md";
/// Libraries choose no version of Kubernetes; the workspace's own configuration chooses one for them.
pub const VERSION: &str = "K8S_OPENAPI_ENABLED_VERSION";

/// What is left of the model without its default features.
const LEAN: [&str; 2] = [
    "[dependencies]\nclearwater = { version = \"0.1\", default-features = false }\n",
    r#"use clearwater::component::Release;
use clearwater::config::DeploymentFile;
use clearwater::dns::needs;
use clearwater::order::{Graph, Policy, Subscribers};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let plan = Graph::clearwater(Release::Hunter, Subscribers::BuiltIn).plan(Policy::Dependency)?;
    let deployment = DeploymentFile::parse("apiVersion: clearwater/v1\n", "clearwater.yaml")?.deploy("ims")?;
    println!("{} waves, {} names", plan.waves().count(), needs(&deployment)?.len());
    Ok(())
}
"#,
];

/// The crates, unpacked, and programs that use them.
#[derive(Debug)]
pub struct Outside {
    folder: TempDir,
}

impl Outside {
    /// An empty folder.
    ///
    /// # Errors
    /// One that cannot be made.
    pub fn new() -> anyhow::Result<Self> {
        Ok(Self { folder: tempfile::tempdir()? })
    }

    /// The steps that pack the crates and write the programs.
    pub fn pack(&self) -> [Step<'_>; 2] {
        let built = built().display().to_string();
        let mut package = vec!["package", "--allow-dirty", "--no-verify", "--target-dir", &built];
        for name in LIBRARIES {
            package.extend(["--package", name]);
        }
        let package = Step::new("embed", "cargo", &package).within(root()).named("pack the crates");
        [package, Step::call("embed", "unpack them, and write the book's programs", |_| self.unpack())]
    }

    fn unpack(&self) -> anyhow::Result<()> {
        for name in LIBRARIES {
            let to = self.folder.path().join(name);
            fs::create_dir(&to)?;
            let packed = built().join("package").join(format!("{name}-{}.crate", env!("CARGO_PKG_VERSION")));
            let mut tar = Command::new("tar");
            tar.args(["--extract", "--gzip", "--strip-components", "1", "--file"])
                .arg(packed)
                .arg("--directory")
                .arg(to);
            ensure!(tar.status().context("cannot start tar")?.success(), "{name} cannot be unpacked");
        }
        let page = fs::read_to_string(root().join(PAGE))?;
        let blocks: Vec<[String; 2]> =
            blocks(&page, "toml").into_iter().zip(blocks(&page, "rust")).map(Into::into).collect();
        let [model, cluster] = &blocks[..] else { anyhow::bail!("{PAGE} has {} programs", blocks.len()) };
        self.program("model", model)?;
        self.program("cluster", cluster)?;
        self.program("lean", &LEAN.map(str::to_owned))?;
        let patches: String = LIBRARIES.iter().map(|name| format!("{name} = {{ path = \"../{name}\" }}\n")).collect();
        let workspace = format!(
            "[workspace]\nresolver = \"3\"\nmembers = [\"model\", \"cluster\", \"lean\"]\n\n[patch.crates-io]\n{patches}"
        );
        fs::write(self.programs().join("Cargo.toml"), workspace)?;
        // The versions that everything else is tested with.
        fs::copy(root().join("Cargo.lock"), self.programs().join("Cargo.lock"))?;
        Ok(())
    }

    fn programs(&self) -> PathBuf {
        self.folder.path().join("programs")
    }

    /// Where a crate was unpacked.
    pub fn unpacked(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn program(&self, name: &str, [dependencies, text]: &[String; 2]) -> anyhow::Result<()> {
        let folder = self.programs().join(name);
        fs::create_dir_all(folder.join("src"))?;
        let manifest =
            format!("[package]\nname = \"{name}\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n{dependencies}");
        fs::write(folder.join("Cargo.toml"), manifest)?;
        fs::write(folder.join("src/main.rs"), text)?;
        Ok(())
    }

    /// cargo among the programs.
    pub fn cargo(&self, args: &[&str]) -> Step<'static> {
        alone(args, &self.programs())
    }

    /// Lets the programs know no version of Kubernetes by themselves: it is then told by [`VERSION`].
    pub fn without_version(&self) -> anyhow::Result<()> {
        for name in ["model", "cluster"] {
            let manifest = self.programs().join(name).join("Cargo.toml");
            let text = fs::read_to_string(&manifest)?;
            fs::write(manifest, text.replace("features = [\"latest\"]", ""))?;
        }
        Ok(())
    }
}

/// cargo in a folder of its own, with nothing of the workspace's configuration.
pub fn alone(args: &[&str], folder: &Path) -> Step<'static> {
    Step::new("embed", "cargo", args).within(folder).without(VERSION).env("CARGO_TARGET_DIR", built())
}

fn built() -> PathBuf {
    target().join("embedding")
}

/// What is written in a language between fences.
fn blocks(text: &str, language: &str) -> Vec<String> {
    let fence = format!("```{language}\n");
    text.split(fence.as_str()).skip(1).filter_map(|rest| Some(rest.split_once("```")?.0.to_owned())).collect()
}

/// The book's programs are built from the packed crates with the newest version of Kubernetes' types; the oldest is what the
/// workspace itself is built with.
pub fn check(outside: &Outside) -> impl Iterator<Item = Step<'_>> {
    outside.pack().into_iter().chain(programs(outside))
}

/// The programs, built, and run where they need no cluster.
pub fn programs(outside: &Outside) -> [Step<'static>; 3] {
    [["run", "lean"], ["run", "model"], ["check", "cluster"]]
        .map(|[deed, name]| outside.cargo(&[deed, "--package", name]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_between_fences_of_a_language_is_read() {
        let text = "a\n```toml\nx = 1\n```\n\n```rust\nfn main() {}\n```\n```toml\ny = 2\n```\n";
        assert_eq!(blocks(text, "toml"), ["x = 1\n", "y = 2\n"]);
        assert_eq!(blocks(text, "rust"), ["fn main() {}\n"]);
    }
}
