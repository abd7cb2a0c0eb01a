use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

use super::{TAG, archive_of};
use crate::workspace::root;

/// Where releases are downloaded from.
const DOWNLOADS: &str = concat!(env!("CARGO_PKG_REPOSITORY"), "/releases/download");

/// Homebrew's systems and processors, and what they are called in Rust's targets.
const SYSTEMS: [(&str, &str); 2] = [("macos", "apple-darwin"), ("linux", "unknown-linux-musl")];
const PROCESSORS: [(&str, &str); 2] = [("arm", "aarch64"), ("intel", "x86_64")];

/// Writes what installers read, of the archives that are there.
pub(super) fn write(folder: &Path, sums: &BTreeMap<String, String>) -> Result<()> {
    let template = fs::read_to_string(root().join(".krew.yaml"))?;
    fs::write(folder.join("clearwater.yaml"), krew(&template, sums)?)?;
    fs::write(folder.join("kubectl-clearwater.rb"), formula(sums))?;
    Ok(())
}

/// krew's manifest, of the template that krew-release-bot reads too. A platform without an archive is left out.
fn krew(template: &str, sums: &BTreeMap<String, String>) -> Result<String> {
    const PLATFORM: &str = "\n    - selector:";
    let mut platforms = template.split(PLATFORM);
    let mut text = platforms.next().unwrap_or_default().replace("{{ .TagName }}", TAG);
    for platform in platforms {
        let (before, rest) = platform.split_once("{{addURIAndSha \"").context(".krew.yaml: no addURIAndSha")?;
        let (uri, after) = rest.split_once("\" .TagName }}").context(".krew.yaml: no end of addURIAndSha")?;
        let uri = uri.replace("{{ .TagName }}", TAG);
        let Some(sum) = sums.get(uri.rsplit('/').next().unwrap_or_default()) else { continue };
        text.push_str(&format!("{PLATFORM}{before}uri: {uri}\n      sha256: {sum}{after}"));
    }
    Ok(text.trim_end().to_owned() + "\n")
}

/// Homebrew's formula.
fn formula(sums: &BTreeMap<String, String>) -> String {
    let mut systems = String::new();
    for (system, of_target) in SYSTEMS {
        let blocks: String = PROCESSORS
            .iter()
            .filter_map(|(processor, of_rust)| {
                let archive = archive_of(&format!("{of_rust}-{of_target}"));
                let sum = sums.get(&archive)?;
                Some(format!(
                    "    on_{processor} do\n      url \"{DOWNLOADS}/{TAG}/{archive}\"\n      sha256 \"{sum}\"\n    end\n"
                ))
            })
            .collect();
        if !blocks.is_empty() {
            systems.push_str(&format!("  on_{system} do\n{blocks}  end\n\n"));
        }
    }
    format!(
        "class KubectlClearwater < Formula
  desc \"Run the Clearwater IMS on Kubernetes\"
  homepage \"{}\"
  version \"{}\"
  license any_of: [\"Apache-2.0\", \"MIT\"]

{systems}  def install
    bin.install \"kubectl-clearwater\", \"kubectl_complete-clearwater\"
    man1.install Dir[\"man1/*.1\"]
    generate_completions_from_executable(bin/\"kubectl-clearwater\", \"completion\")
  end

  test do
    assert_match version.to_s, shell_output(\"#{{bin}}/kubectl-clearwater version\")
  end
end
",
        env!("CARGO_PKG_REPOSITORY"),
        env!("CARGO_PKG_VERSION"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::build::is_windows;

    /// What the workflow builds for.
    const TARGETS: [&str; 5] = [
        "x86_64-unknown-linux-musl",
        "aarch64-unknown-linux-musl",
        "x86_64-pc-windows-gnu",
        "x86_64-apple-darwin",
        "aarch64-apple-darwin",
    ];

    fn sums(targets: &[&str]) -> BTreeMap<String, String> {
        targets.iter().map(|t| (archive_of(t), "0".repeat(64))).collect()
    }

    fn read(path: &str) -> String {
        fs::read_to_string(root().join(path)).unwrap()
    }

    #[test]
    fn the_workflow_builds_what_is_told_of() {
        let workflow = read(".github/workflows/release.yaml");
        let built: Vec<&str> =
            workflow.split("{target: ").skip(1).filter_map(|rest| Some(rest.split_once(',')?.0)).collect();
        assert_eq!(built, TARGETS);
    }

    #[test]
    fn krew_is_told_of_the_archives_that_there_are() {
        let template = read(".krew.yaml");
        let text = krew(&template, &sums(&TARGETS)).unwrap();
        assert_eq!(text.matches("- selector:").count(), TARGETS.len(), "{text}");
        assert!(!text.contains("{{") && text.contains(&format!("version: {TAG}\n")), "{text}");
        let text = krew(&template, &sums(&TARGETS[..1])).unwrap();
        assert_eq!((text.matches("- selector:").count(), text.matches("sha256: 0").count()), (1, 1), "{text}");
        let address = format!("{DOWNLOADS}/{TAG}/kubectl-clearwater-{TAG}-x86_64-unknown-linux-musl.tar.gz\n");
        assert!(text.contains(&address), "{text}");
    }

    /// cargo-binstall asks by the target that cargo builds for: on Windows that is mostly Microsoft's.
    #[test]
    fn binstall_finds_the_archives_that_there_are() {
        let manifest = read("plugin/Cargo.toml");
        let told = |target: &str, key: &str| {
            let section = |name: &str| manifest.split_once(name).map(|(_, rest)| rest.split("\n[").next().unwrap());
            let own = section(&format!("[package.metadata.binstall.overrides.{target}]\n"));
            let value = |section: &str| {
                let line = section.lines().find_map(|line| line.strip_prefix(&format!("{key} = \"")))?;
                Some(line.trim_end_matches('"').to_owned())
            };
            let told =
                own.and_then(value).or_else(|| section("[package.metadata.binstall]\n").and_then(value)).unwrap();
            [
                ("repo", env!("CARGO_PKG_REPOSITORY")),
                ("version", env!("CARGO_PKG_VERSION")),
                ("name", "kubectl-clearwater"),
                ("target", target),
            ]
            .iter()
            .fold(told, |text, (key, value)| text.replace(&format!("{{ {key} }}"), value))
        };
        let microsofts = "x86_64-pc-windows-msvc";
        for (target, of) in TARGETS.map(|t| (t, t)).into_iter().chain([(microsofts, "x86_64-pc-windows-gnu")]) {
            let archive = archive_of(of);
            assert_eq!(told(target, "pkg-url"), format!("{DOWNLOADS}/{TAG}/{archive}"), "{target}");
            let folder = told(target, "bin-dir");
            assert!(archive.starts_with(folder.split('/').next().unwrap()), "{target}: {folder}");
            let kind = if is_windows(of) { "zip" } else { "tgz" };
            assert_eq!(told(target, "pkg-fmt"), kind, "{target}");
        }
    }

    #[test]
    fn homebrew_is_told_of_the_archives_that_there_are() {
        let text = formula(&sums(&["x86_64-unknown-linux-musl", "aarch64-apple-darwin"]));
        assert_eq!((text.matches("on_intel").count(), text.matches("on_arm").count()), (1, 1), "{text}");
        let count = |word: &str| text.lines().filter(|line| line.trim_end().ends_with(word)).count();
        assert_eq!(count(" do"), text.lines().filter(|line| line.trim() == "end").count() - 2, "{text}");
    }
}
