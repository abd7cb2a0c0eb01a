use std::fs;
use std::process::Command;

use anyhow::Result;

use super::staged::{Staged, write};
use super::{architecture_of, package_of, run_quietly};
use crate::workspace::root;

/// Scripts of shells for the program called by its own name, and where Debian's shells look for them.
const SHELLS: [(&str, &str); 3] = [
    ("bash", "usr/share/bash-completion/completions/kubectl-clearwater"),
    ("zsh", "usr/share/zsh/vendor-completions/_kubectl-clearwater"),
    ("fish", "usr/share/fish/vendor_completions.d/kubectl-clearwater.fish"),
];

/// Makes the package of Debian's form.
pub(super) fn package(staged: &Staged, target: &str) -> Result<()> {
    let tree = staged.scratch("deb")?;
    for program in ["kubectl-clearwater", "kubectl_complete-clearwater"] {
        staged.put(program, &tree.join("usr/bin").join(program))?;
    }
    for page in staged.pages()? {
        let to = tree.join("usr/share/man/man1").join(&page);
        staged.put(&format!("man1/{page}"), &to)?;
        run_quietly(Command::new("gzip").args(["--no-name", "--best"]).arg(to))?;
    }
    for (shell, to) in SHELLS {
        write(&tree.join(to), staged.said(&["completion", shell])?)?;
    }
    let docs = tree.join("usr/share/doc/kubectl-clearwater");
    staged.put("README.md", &docs.join("README.md"))?;
    write(&docs.join("copyright"), copyright()?)?;
    let size = fs::metadata(tree.join("usr/bin/kubectl-clearwater"))?.len().div_ceil(1024);
    write(&tree.join("DEBIAN/control"), control(architecture_of(target), size))?;
    let to = staged.published.join(package_of(target));
    let mut tool = Command::new("dpkg-deb");
    tool.args(["--root-owner-group", "-Zxz", "--build"]).arg(&tree).arg(to).env("SOURCE_DATE_EPOCH", &staged.time);
    run_quietly(&mut tool)
}

fn control(processor: &str, kilobytes: u64) -> String {
    format!(
        "Package: kubectl-clearwater
Version: {}
Architecture: {processor}
Maintainer: The authors of kubectl-clearwater <kubectl-clearwater@users.noreply.github.com>
Installed-Size: {kilobytes}
Enhances: kubectl
Section: admin
Priority: optional
Homepage: {}
Description: Run the Clearwater IMS on Kubernetes
 Clearwater is a telephone exchange of a dozen containers. This plugin of kubectl deploys them in the right order, with
 names that their own resolver can look up, and says what is wrong when one does not work.
 .
 The program is static: it needs nothing but a kubectl, and that for its name alone.
",
        env!("CARGO_PKG_VERSION"),
        env!("CARGO_PKG_REPOSITORY"),
    )
}

/// Both licences, in the form that Debian's tools read.
fn copyright() -> Result<String> {
    let mut text = format!(
        "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\nSource: {}\n\nFiles: *\nCopyright: the \
         authors of kubectl-clearwater\nLicense: Apache-2.0 or Expat\n",
        env!("CARGO_PKG_REPOSITORY"),
    );
    for (name, file) in [("Apache-2.0", "LICENSE-APACHE"), ("Expat", "LICENSE-MIT")] {
        text.push_str(&format!("\nLicense: {name}\n"));
        for line in fs::read_to_string(root().join(file))?.lines() {
            let line = line.trim_end();
            text.push_str(&if line.is_empty() { " .\n".to_owned() } else { format!(" {line}\n") });
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn licences_are_paragraphs_of_one_field_each() {
        let text = copyright().unwrap();
        let field = |line: &str| line.starts_with(' ') || line.is_empty() || line.contains(": ");
        assert!(text.lines().all(field), "{text}");
        assert!(text.contains("\nLicense: Expat\n") && text.contains(" Apache License\n"));
    }
}
