//! Advice in the words of this command line: the libraries name deeds, and here alone each becomes a command or a flag.

use std::sync::{PoisonError, RwLock};

use clearwater::config::DnsBackend;
use clearwater::event::{CheckLine, Command, Event};
use clearwater::remedy::{Advice, NamesDeed, Permission, Remedied, Remedy, StoppedProgram};
use clearwater_kube::status::Status;

/// The flags that lead to the place that a command line is about, each after a blank.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) cluster: String,
    pub(crate) namespace: String,
}

static PLACE: RwLock<Place> = RwLock::new(Place { cluster: String::new(), namespace: String::new() });

/// Has every command that is advised from now on lead to the same place.
pub(crate) fn lead_to(place: Place) {
    *PLACE.write().unwrap_or_else(PoisonError::into_inner) = place;
}

/// What says which deployment an `up` makes, each flag after a blank; `None` where the command line does not know.
static MADE_OF: RwLock<Option<String>> = RwLock::new(None);

/// What stands was made of this, or is to be: each `up` that is advised from now on names it, lest it put defaults over what a
/// file has set.
pub(crate) fn made_of(flags: String) {
    *MADE_OF.write().unwrap_or_else(PoisonError::into_inner) = Some(flags);
}

/// An `up`, as it can be typed: of the same deployment. Where that is not known, who types it has to say it.
pub(crate) fn up(words: &str) -> String {
    let made_of = MADE_OF.read().unwrap_or_else(PoisonError::into_inner);
    command(&format!("up{words}")) + made_of.as_deref().unwrap_or(" -f FILE")
}

/// Another command that is told the same deployment, where the command line knows it.
fn of_same(words: &str) -> String {
    command(words) + MADE_OF.read().unwrap_or_else(PoisonError::into_inner).as_deref().unwrap_or_default()
}

/// The same, with what there is to say.
fn up_told(words: &str) -> String {
    let is_known = MADE_OF.read().unwrap_or_else(PoisonError::into_inner).is_some();
    let note = if is_known { "" } else { " (its deployment file; without -f it gets the defaults)" };
    up(words) + note
}

/// A command of this program, as it can be typed: to the place that the command line is about.
pub(crate) fn command(words: &str) -> String {
    let place = PLACE.read().unwrap_or_else(PoisonError::into_inner);
    format!("kubectl clearwater {words}{}{}", place.namespace, place.cluster)
}

/// The same to a namespace that is known.
pub(crate) fn command_in(words: &str, namespace: &str) -> String {
    kubectl(&format!("clearwater {words}"), namespace)
}

/// How `dns-patch` was told to reach etcd, each flag after a blank.
static ETCD: RwLock<String> = RwLock::new(String::new());

/// Has each `dns-patch` that is advised from now on reach the same etcd.
pub(crate) fn at_etcd(flags: String) {
    *ETCD.write().unwrap_or_else(PoisonError::into_inner) = flags;
}

/// A `dns-patch` about the same deployment, by this backend where it is told.
fn dns_patch(deed: &str, namespace: Option<&str>, backend: Option<DnsBackend>) -> String {
    let backend = backend.map_or_else(String::new, |backend| format!(" --backend {}", backend.name()));
    let words = format!("dns-patch{deed}{backend}");
    let command = namespace.map_or_else(|| command(&words), |namespace| command_in(&words, namespace));
    let made_of = MADE_OF.read().unwrap_or_else(PoisonError::into_inner);
    command + made_of.as_deref().unwrap_or_default() + &ETCD.read().unwrap_or_else(PoisonError::into_inner)
}

/// A command of kubectl's to the same cluster.
pub(crate) fn kubectl(words: &str, namespace: &str) -> String {
    let place = PLACE.read().unwrap_or_else(PoisonError::into_inner);
    format!("kubectl {words} -n {namespace}{}", place.cluster)
}

/// An error with what works, as it is printed.
pub(crate) fn said<E: Remedied + ?Sized>(error: &E) -> String {
    text(&error.advice())
}

/// Advice as it is printed.
pub(crate) fn text(advice: &Advice) -> String {
    advice.worded(&word)
}

/// A deed as it is typed.
pub(crate) fn deed(remedy: &Remedy) -> String {
    remedy.worded(&word)
}

/// All of these as they are printed.
pub(crate) fn texts(all: &[Advice]) -> Vec<String> {
    all.iter().map(text).collect()
}

/// The event with every remedy in words, for people and programs alike.
pub(crate) fn worded(event: Event) -> Event {
    Event { what: event.what.worded(&word), ..event }
}

/// Lines of checks with every remedy in words.
pub(crate) fn word_lines<'a>(lines: impl IntoIterator<Item = &'a mut CheckLine>) {
    for line in lines {
        line.fix = line.fix.take().map(|fix| Remedy::Text(deed(&fix)));
    }
}

/// A status with every remedy in words.
pub(crate) fn status_worded(mut seen: Status) -> Status {
    for one in &mut seen.components {
        one.problems.iter_mut().for_each(|problem| *problem = text(problem).into());
        one.renewal = one.renewal.take().map(|renewal| Remedy::Text(deed(&renewal)));
    }
    seen
}

/// What this command line calls a deed; `None` where it has nothing to add to the libraries' words.
fn word(remedy: &Remedy) -> Option<String> {
    let text = match remedy {
        Remedy::BringUp => return Some(up_told("")),
        Remedy::DryRun => return Some(up_told(" --dry-run")),
        Remedy::Again => "run the command again",
        Remedy::GoOn(Command::Up) => "run up again to go on",
        Remedy::GoOn(Command::Down) => "run down again to go on",
        Remedy::GoOn(Command::Scale) => "run the same scale again to go on",
        Remedy::GoOn(Command::DnsPatch) => "run the same command again to finish",
        Remedy::GoOn(Command::Backup | Command::Restore) => "run the same command again to go on",
        Remedy::WaitLonger => "run up again to go on waiting, with a longer --timeout where it is only slow",
        Remedy::Longer => "give it longer with --timeout",
        Remedy::TakeDown(components) => match components.as_slice() {
            [] => return Some(command("down")),
            some => {
                let names: Vec<&str> = some.iter().map(|c| c.name()).collect();
                return Some(command(&format!("down --only {}", names.join(","))));
            }
        },
        Remedy::Scale { component, to } => {
            let to = to.map_or_else(|| "N".to_owned(), |n| n.to_string());
            // How bonos are reached is said by the file.
            return Some(of_same(&format!("scale {component} {to}")));
        }
        Remedy::Autoscale(component) => {
            let autoscale = command(&format!("autoscale {component} --min N --max M"));
            return Some(format!("change its bounds with {autoscale}"));
        }
        Remedy::RemoveAutoscaler(component) => {
            return Some(format!("remove it with {}", command(&format!("autoscale {component} --remove"))));
        }
        Remedy::StartProgram(stopped) => {
            let StoppedProgram { namespace, pod, program } = &**stopped;
            let start = kubectl(&format!("exec {pod}"), namespace);
            return Some(format!("somebody stopped it: {start} -- supervisorctl start {program}"));
        }
        Remedy::Status => return Some(command("status")),
        Remedy::ChooseNamespace => "choose another namespace with -n",
        Remedy::NameFile => "name it with -f",
        Remedy::Skip(component) => return Some(up_told(&format!(" --skip {component}"))),
        Remedy::Allow(permission) => return allow(permission),
        Remedy::Names(deed) => return names(deed),
        _ => return None,
    };
    Some(text.to_owned())
}

fn allow(permission: &Permission) -> Option<String> {
    let text = match permission {
        Permission::CreateNamespace => "add --create-namespace",
        Permission::ForceConflicts => "take it over with --force-conflicts",
        Permission::TakeBack => return Some(up_told(" --force-conflicts")),
        Permission::ReplaceStores => return Some(up_told(" --replace-stores")),
        Permission::LoseData => return Some(up_told(" --accept-loss")),
        Permission::MarkFailed(_) => return Some(format!("{permission}, when asked or with --mark-failed")),
        Permission::RemoveAtOnce => "say --now",
        Permission::RemoveVolumes => "say --delete-volumes",
        Permission::RemoveForeign => {
            "to lose it, type the namespace's name when asked on a terminal, or say --yes --foreign"
        }
        Permission::RestartDns => {
            "add --restart-dns to have its pods replaced one at a time, each asked before the next"
        }
        Permission::PlainPassword => "say --etcd-plain-password",
        // What only looks has other flags.
        Permission::SkipCheck(id) => return Some(up_told(&format!(" --skip-check {id}"))),
        Permission::ReplaceKept => "add --replace, which puts what was kept in their place",
        _ => return None,
    };
    Some(text.to_owned())
}

fn names(deed: &NamesDeed) -> Option<String> {
    let text = match deed {
        NamesDeed::Put { namespace, backend, clients } => {
            return Some(dns_patch(if *clients { " --clients" } else { "" }, namespace.as_deref(), *backend));
        }
        NamesDeed::Remove { namespace, backend } => return Some(dns_patch(" --remove", Some(namespace), *backend)),
        NamesDeed::Check { backend } => return Some(dns_patch(" --check", None, *backend)),
        NamesDeed::Explain => {
            return Some(format!("{}, which shows what each server answers", dns_patch(" --explain", None, None)));
        }
        NamesDeed::Choose(backend) => return Some(format!("add --backend {}", backend.name())),
        NamesDeed::Print => "print the records with --backend print",
        NamesDeed::OfferClients => "add --clients, which lets them find Bono, too",
        NamesDeed::PrintClients => "print the records with --backend print --clients",
        NamesDeed::NameEtcd => "say where it is with --etcd-endpoint http://HOST:2379",
        NamesDeed::TrustEtcd => "name it with --etcd-cacert FILE",
        _ => return None,
    };
    Some(text.to_owned())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::{Path, PathBuf};

    use clap::CommandFactory;
    use clearwater::component::Component;

    use super::*;
    use crate::cli::Cli;

    /// The long flags and the names of all commands.
    fn command_line() -> (BTreeSet<String>, BTreeSet<String>) {
        let (mut flags, mut commands) = (BTreeSet::new(), BTreeSet::new());
        let mut all = vec![Cli::command()];
        while let Some(command) = all.pop() {
            for argument in command.get_arguments() {
                flags.extend(argument.get_long().map(str::to_owned));
                flags.extend(argument.get_all_aliases().unwrap_or_default().into_iter().map(str::to_owned));
            }
            for sub in command.get_subcommands() {
                commands.insert(sub.get_name().to_owned());
                all.push(sub.clone());
            }
        }
        (flags, commands)
    }

    fn flags_in(text: &str) -> impl Iterator<Item = &str> {
        let is_part = |c: char| c.is_ascii_alphanumeric() || c == '-';
        let starts = text.match_indices("--").filter(move |(at, _)| !text[..*at].ends_with(is_part));
        starts
            .map(move |(at, _)| &text[at + 2..])
            .map(move |rest| &rest[..rest.find(|c| !is_part(c)).unwrap_or(rest.len())])
            .filter(|flag| !flag.is_empty())
    }

    fn deeds() -> Vec<Remedy> {
        let component = Component::Sprout;
        let permissions = [
            Permission::CreateNamespace,
            Permission::ForceConflicts,
            Permission::TakeBack,
            Permission::ReplaceStores,
            Permission::LoseData,
            Permission::MarkFailed(vec!["192.0.2.1".parse().unwrap()]),
            Permission::RemoveAtOnce,
            Permission::RemoveForeign,
            Permission::RemoveVolumes,
            Permission::RestartDns,
            Permission::PlainPassword,
            Permission::SkipCheck("domain"),
            Permission::ReplaceKept,
        ];
        let names = [
            NamesDeed::Put { namespace: Some("ims".to_owned()), backend: Some(DnsBackend::Coredns), clients: true },
            NamesDeed::Remove { namespace: "ims".to_owned(), backend: None },
            NamesDeed::Remove { namespace: "ims".to_owned(), backend: Some(DnsBackend::Etcd) },
            NamesDeed::Check { backend: Some(DnsBackend::Endpoints) },
            NamesDeed::Explain,
            NamesDeed::Choose(DnsBackend::Coredns),
            NamesDeed::Print,
            NamesDeed::OfferClients,
            NamesDeed::PrintClients,
            NamesDeed::NameEtcd,
            NamesDeed::TrustEtcd,
        ];
        let mut all = vec![
            Remedy::BringUp,
            Remedy::DryRun,
            Remedy::Again,
            Remedy::WaitLonger,
            Remedy::Longer,
            Remedy::TakeDown(vec![]),
            Remedy::TakeDown(vec![component, Component::Etcd]),
            Remedy::Scale { component, to: Some(2) },
            Remedy::Scale { component, to: None },
            Remedy::Autoscale(component),
            Remedy::RemoveAutoscaler(component),
            Remedy::StartProgram(Box::new(StoppedProgram {
                namespace: "ims".to_owned(),
                pod: "homer-0".to_owned(),
                program: "group:homer".to_owned(),
            })),
            Remedy::Status,
            Remedy::ChooseNamespace,
            Remedy::NameFile,
            Remedy::Skip(component),
        ];
        all.extend(
            [Command::Up, Command::Down, Command::Scale, Command::DnsPatch, Command::Backup, Command::Restore]
                .map(Remedy::GoOn),
        );
        all.extend(permissions.map(Remedy::from));
        all.extend(names.map(Remedy::from));
        all
    }

    #[test]
    fn every_deed_has_its_words() {
        let (flags, commands) = command_line();
        let mut told = String::new();
        for deed in deeds() {
            let words = word(&deed).unwrap();
            for flag in flags_in(&words) {
                assert!(flags.contains(flag), "there is no --{flag}: {words}");
            }
            if let Some((_, rest)) = words.split_once("kubectl clearwater ") {
                let command = rest.split([' ', ',']).next().unwrap();
                assert!(commands.contains(command), "there is no {command}: {words}");
            }
            told.push_str(&format!("{deed}\n    {words}\n"));
        }
        insta::assert_snapshot!(told);
    }

    /// Flags that other programs have as well, each with whose they are and in which files of the libraries they stand.
    const OF_OTHERS: [(&str, &str, &str); 2] = [
        ("kops", "yes", "clearwater/src/dns/ownership.rs"),
        ("kubectl logs", "previous", "clearwater-kube/src/dns/watch.rs"),
    ];

    fn sources(of: &Path, found: &mut Vec<PathBuf>) {
        for path in std::fs::read_dir(of).unwrap().map(|e| e.unwrap().path()) {
            if path.is_dir() {
                sources(&path, found);
            } else if path.extension().is_some_and(|e| ["rs", "yaml", "sh"].iter().any(|known| e == *known)) {
                found.push(path);
            }
        }
    }

    /// What of a line is code: it begins as no comment does.
    fn is_code(line: &str) -> bool {
        !line.trim_start().starts_with("//")
    }

    /// Where a text of the libraries names this command line.
    fn slips(text: &str, file: &str, flags: &BTreeSet<String>, commands: &BTreeSet<String>) -> Vec<String> {
        let mut slips = Vec::new();
        for (n, line) in text.lines().enumerate().filter(|(_, line)| is_code(line)) {
            let of_others = |flag: &str| OF_OTHERS.iter().any(|(_, f, at)| *f == flag && file.ends_with(at));
            let flag = flags_in(line).find(|flag| flags.contains(*flag) && !of_others(flag));
            // A key of the deployment file may be called as a command is, and stands in such marks too.
            let marked = |command: &String| line.contains(&format!("`{command}`"));
            if line.contains("kubectl clearwater") || flag.is_some() || commands.iter().any(marked) {
                slips.push(format!("{file}:{}: {}", n + 1, line.trim()));
            }
        }
        slips
    }

    #[test]
    fn the_libraries_advise_no_command_line() {
        let (flags, commands) = command_line();
        let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates");
        let mut all = Vec::new();
        for library in ["clearwater/src", "clearwater-kube/src", "clearwater-sip/src"] {
            sources(&crates.join(library), &mut all);
        }
        assert!(all.len() > 100, "{all:?}");
        let mut found: Vec<String> = Vec::new();
        for path in &all {
            let file = path.strip_prefix(&crates).unwrap().display().to_string();
            found.extend(slips(&std::fs::read_to_string(path).unwrap(), &file, &flags, &commands));
        }
        assert!(found.is_empty(), "a remedy says this without our flags and commands:\n{}", found.join("\n"));
    }

    /// Whoever types what is advised is to come to the same place.
    #[test]
    fn commands_are_advised_with_the_place_that_they_are_for() {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let mut all = Vec::new();
        sources(&source, &mut all);
        // What is written once and read elsewhere, for whatever place that may be, and what the parser says.
        let general = ["init.rs", "completion.rs", "reported.rs", "schema.rs", "timeline.rs", "cli.rs", "scale.rs"];
        let mut found = Vec::new();
        for path in all.iter().filter(|path| !path.ends_with("advice.rs")) {
            let text = std::fs::read_to_string(path).unwrap();
            let code = text.split("#[cfg(test)]").next().unwrap_or_default();
            // A page's examples stand two letters in, which no code does.
            let is_help =
                |line: &str| line.starts_with("  ") && !line.starts_with("   ") || line.contains("after_help");
            let lines =
                code.lines().filter(|line| is_code(line) && line.contains("kubectl clearwater") && !is_help(line));
            if !general.iter().any(|name| path.ends_with(name)) {
                found.extend(lines.map(|line| format!("{}: {}", path.display(), line.trim())));
            }
        }
        assert!(found.is_empty(), "advice::command says where it leads to:\n{}", found.join("\n"));
    }

    #[test]
    fn what_names_the_command_line_is_found() {
        let (flags, commands) = command_line();
        let found = |line: &str| !slips(line, "clearwater/src/a.rs", &flags, &commands).is_empty();
        assert!(found("\"run kubectl clearwater up\""));
        assert!(found("\"add --backend coredns\"") && found("(--check tells)") && found("\"`up` waits\""));
        assert!(!found("// add --backend coredns") && !found("\"--data-dir=/var\"") && !found("`keys: upstream`"));
    }
}
