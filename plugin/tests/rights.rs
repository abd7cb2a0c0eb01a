//! README's table of rights is made from what the checks ask for.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::fmt::Write as _;

use clearwater_kube::rights::{AccessRule, Scope, Task, When};

const BEGIN: &str = "<!-- rights -->\n";
const END: &str = "<!-- end of rights -->\n";

/// The commands that do a task.
fn commands(task: Task) -> &'static str {
    match task {
        Task::Up => "`up`, `diff`, `check --before`",
        Task::CreateNamespace => "`up --create-namespace`",
        Task::Status => "`status`, `version --running`",
        Task::Check => "`check`",
        Task::Report => "`report`",
        Task::Scale => "`scale`",
        Task::Autoscale => "`autoscale`",
        Task::Down => "`down`",
        Task::DeleteNamespace => "`down --delete-namespace`",
        Task::Logs => "`logs`, `trace`",
        Task::Subscribers => "`subscriber`",
        Task::Backup => "`backup`, `restore`",
        Task::Ellis => "`ellis`",
        Task::Test => "`test`",
        Task::LiveTest => "`test --live-test`",
        Task::DnsCoredns => "`dns-patch`, backend coredns",
        Task::DnsEndpoints => "`dns-patch`, backend endpoints",
        Task::DnsEtcd => "`dns-patch`, backend etcd",
        Task::DnsPods => "`dns-patch`, backend pods",
    }
}

fn said(rule: &AccessRule) -> String {
    let dot = if rule.group.is_empty() { "" } else { "." };
    let resources: Vec<String> = rule.resources.iter().map(|r| format!("`{r}{dot}{}`", rule.group)).collect();
    let mut text = format!("{} {}", rule.verbs.join(", "), resources.join(", "));
    if let Some(name) = rule.name {
        write!(text, " ({name} alone)").unwrap();
    }
    match rule.scope {
        Scope::Namespace => {}
        Scope::ClusterDns => text.push_str(" in kube-system"),
        Scope::Cluster => text.push_str(" *cluster-wide*"),
    }
    match rule.when {
        When::Always => {}
        When::Since(minor) => write!(text, " (from Kubernetes 1.{minor})").unwrap(),
        When::If(case) => write!(text, " (where {case})").unwrap(),
    }
    text
}

fn table() -> String {
    let mut table = "| task | command | needs | for less it goes without |\n|---|---|---|---|\n".to_owned();
    for task in Task::ALL {
        let needs: Vec<String> = task.rules().filter(|r| r.without.is_none()).map(said).collect();
        let mut without: Vec<(&str, Vec<String>)> = Vec::new();
        for rule in task.rules() {
            let Some(what) = rule.without else { continue };
            match without.iter_mut().find(|(w, _)| *w == what) {
                Some((_, rules)) => rules.push(said(rule)),
                None => without.push((what, vec![said(rule)])),
            }
        }
        let without: Vec<String> =
            without.iter().map(|(what, rules)| format!("{what}: {}", rules.join("; "))).collect();
        writeln!(table, "| {} | {} | {} | {} |", task.name(), commands(task), needs.join("; "), without.join(". "))
            .unwrap();
    }
    table
}

#[test]
fn the_table_in_the_docs_is_what_the_checks_ask_for() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/rights.md");
    let document = std::fs::read_to_string(path).unwrap();
    let (head, rest) = document.split_once(BEGIN).unwrap();
    let (committed, tail) = rest.split_once(END).unwrap();
    let table = table();
    if std::env::var_os("INSTA_UPDATE").is_some_and(|v| v == "always") {
        std::fs::write(path, format!("{head}{BEGIN}{table}{END}{tail}")).unwrap();
        return;
    }
    assert!(committed == table, "{path} has drifted: run the tests with INSTA_UPDATE=always and commit it");
}
