use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use clearwater_e2e::cluster;
use xtask::release::{self, published};

use super::debian::Debian;

/// What kubectl's own completion needs in bash, and other shells.
const SHELLS: &str = "bash-completion,fish,zsh";

/// What kubectl's own script for bash offers when TAB is pressed after a line.
const BASH: &str = r#"
source /usr/share/bash-completion/bash_completion
source <(kubectl completion bash)
COMP_LINE="$1"; COMP_POINT=${#COMP_LINE}; COMP_TYPE=9
read -ra COMP_WORDS <<< "$COMP_LINE"
case "$COMP_LINE" in *' ') COMP_WORDS+=("") ;; esac
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
__start_kubectl
printf '%s\n' "${COMPREPLY[@]}"
"#;

/// How long somebody waits for names of the cluster.
const PATIENCE: Duration = Duration::from_millis(300);

const FISH: &str = "kubectl completion fish | source; complete -C $argv[1]";

/// Types into a zsh at a terminal of its own, by kubectl's script and by the one that the package brought.
const ZSH: &str = r#"
zmodload zsh/zpty
zpty shell 'TERM=dumb zsh -f -i'
zpty -w shell 'PS1=; autoload -U compinit; compinit -u -D; source <(kubectl completion zsh); echo read''y'
zpty -r shell shown '*ready*'
zpty -n -w shell "$1"$' sca\tsprout 2 --dry\t'
zpty -r shell shown '*--dry-run*'
print -r -- "$shown"
zpty -d shell
"#;

/// What bash offers after a line, by kubectl's completion.
fn bash(root: &Debian, line: &str) -> Result<Vec<String>> {
    let offered = root.said(&["bash", "--norc", "-c", BASH, "-", line])?;
    Ok(offered.lines().map(|line| line.trim_end().to_owned()).collect())
}

/// From a Debian with nothing but kubectl: the archive, `up` on the test cluster, completion; then the package.
pub(super) fn tried(archive: &Path) -> Result<Vec<(&'static str, String)>> {
    let cluster = cluster();
    let root = Debian::with(SHELLS)?;
    let within = |path: &str| root.within(path);
    fs::copy(cluster.kubectl().program(), within("usr/local/bin/kubectl"))?;
    fs::create_dir_all(within("root/.kube"))?;
    fs::copy(cluster.local()?.layout().kubeconfig(), within("root/.kube/config"))?;
    fs::copy(archive, within("tmp/archive.tar.gz"))?;

    let mut results = Vec::new();
    root.said(&["tar", "-C", "/tmp", "-xzf", "/tmp/archive.tar.gz"])?;
    root.said(&["sh", "-c", "cp -p /tmp/kubectl-clearwater-*/kubectl*clearwater /usr/local/bin/"])?;
    let version = root.said(&["kubectl", "clearwater", "version"])?;
    results.push(("in an empty Debian: the archive unpacked", version.lines().next().unwrap_or_default().to_owned()));

    let namespace = cluster.namespace("e2e-prove-root")?;
    let name = namespace.name();
    let began = Instant::now();
    // How far it is goes to standard error.
    let up = "exec kubectl clearwater up -n \"$0\" --yes --set keys=upstream 2>&1";
    let up = root.said(&["sh", "-c", up, name])?;
    root.said(&["kubectl", "clearwater", "status", "-n", name])?;
    let serves = up.lines().find(|line| line.contains("components serve")).with_context(|| up.clone())?;
    results.push((
        "there: `kubectl clearwater up` on the test cluster, then `status`",
        format!("{serves}; {:.0} s in all", began.elapsed().as_secs_f64()),
    ));

    for (line, expected) in [
        ("kubectl clearwater sca", "scale"),
        ("kubectl clearwater logs spr", "sprout"),
        ("kubectl clearwater up --create", "--create-namespace"),
        (&format!("kubectl clearwater status -n {}", &name[..name.len() - 2]), name),
    ] {
        let offered = bash(&root, line)?;
        ensure!(offered == [expected], "bash offers {offered:?} after {line:?}");
    }
    let began = Instant::now();
    root.said(&["kubectl_complete-clearwater", "status", "-n", ""])?;
    ensure!(began.elapsed() < PATIENCE, "namespaces took {:?}", began.elapsed());
    results.push((
        "there: kubectl's completion in bash offers commands, components, flags and the cluster's namespaces",
        format!("{} ms for the namespaces, with the start of the root", began.elapsed().as_millis()),
    ));
    fs::rename(within("root/.kube/config"), within("root/.kube/away"))?;
    let silent = bash(&root, "kubectl clearwater status -n ")?;
    ensure!(silent.iter().all(String::is_empty), "without a cluster: {silent:?}");

    root.said(&["sh", "-c", "rm /usr/local/bin/kubectl*clearwater"])?;
    let package = release::package_of(&release::default_target());
    fs::copy(published().join(&package), within("tmp").join(&package))?;
    root.said(&["dpkg", "--install", &format!("/tmp/{package}")])?;
    let fish = |line: &str| root.said(&["fish", "-c", FISH, line]);
    ensure!(fish("kubectl clearwater sca")?.starts_with("scale\t"), "fish, of kubectl");
    ensure!(fish("kubectl-clearwater sca")?.starts_with("scale\t"), "fish, by its own name");
    for name in ["kubectl clearwater", "kubectl-clearwater"] {
        let zsh = root.said(&["timeout", "60", "zsh", "-f", "-c", ZSH, "-", name])?;
        ensure!(zsh.contains("scale") && zsh.contains("sprout 2 --dry-run"), "zsh, {name}: {zsh}");
    }
    results
        .push(("there: the package of Debian's form installed; completion in fish and zsh", "as it should".to_owned()));
    Ok(results)
}
