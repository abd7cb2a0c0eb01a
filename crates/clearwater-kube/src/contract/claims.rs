//! What is claimed of an image, and what its running pod is asked. Pure.

mod boot;
mod configuration;
mod logs;
mod ports;
mod stores;

use clearwater::component::{Component, Entry, Release, Source};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::pod::Script;

/// How a claim is known to hold for the real programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Known {
    /// The program was built, run and seen to do it.
    Seen,
    /// It stands in its source, or in its documentation.
    Read,
}

/// What a look at one claim gave.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "verdict", rename_all = "kebab-case")]
pub enum Agreement {
    /// It is so.
    Agrees,
    /// It is not so.
    Differs {
        /// What was seen.
        seen: String,
    },
    /// It could not be asked, or not be seen.
    CouldNotLook {
        /// Why.
        why: String,
    },
}

/// The status of a script that could not see what it was to look at.
const UNSEEN: i32 = 125;
/// What bash says of a program that is not there, or is none.
const NO_PROGRAM: [i32; 2] = [126, 127];
/// So much of what was seen is kept, in characters.
const LONGEST: usize = 2000;

impl Agreement {
    /// What a claim's script says by its status and its output.
    pub fn of(status: i32, output: &str) -> Self {
        let cut: String = output.trim().chars().take(LONGEST).collect();
        match status {
            0 => Self::Agrees,
            UNSEEN => Self::CouldNotLook { why: cut },
            n if NO_PROGRAM.contains(&n) => Self::CouldNotLook { why: format!("a program is missing: {cut}") },
            n if cut.is_empty() => Self::Differs { seen: format!("ended with {n}") },
            n => Self::Differs { seen: format!("{cut}\nended with {n}") },
        }
    }
}

/// Something that the product takes to be so, and the script that ends with 0 where it is. It writes nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Its name, which stays.
    pub id: String,
    /// The component that it is about.
    pub component: Component,
    /// What is so, as a clause whose subject is the component.
    pub words: String,
    /// Where it was read.
    pub source: Source,
    /// How it is known.
    pub known: Known,
    /// What is run.
    pub script: Script,
}

/// Where the pod that is asked stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodPlace {
    /// The pod's own address.
    pub address: String,
    /// The address of etcd's pod, where one runs.
    pub etcd: Option<String>,
}

/// A script that finds its pod's address as `$ip`, and whose exit ends nothing but itself.
macro_rules! look {
    ($place:expr, $text:expr) => {
        $crate::pod::Script::new(concat!("( ip=$1; shift\n", $text, "\n)")).arg(&$place.address)
    };
}
use look;

/// The claims of one component, as they are gathered.
struct Book<'a> {
    entry: &'static Entry,
    classic: bool,
    place: &'a PodPlace,
    claims: Vec<Claim>,
}

impl Book<'_> {
    fn component(&self) -> Component {
        self.entry.component
    }

    /// A claim that was read.
    fn read(&mut self, id: impl Into<String>, words: impl Into<String>, source: &'static str, script: Script) {
        let component = self.component();
        self.put(component, id, words, source, Known::Read, script);
    }

    /// A claim that the real program was seen to keep.
    fn seen(&mut self, id: impl Into<String>, words: impl Into<String>, source: &'static str, script: Script) {
        let component = self.component();
        self.put(component, id, words, source, Known::Seen, script);
    }

    fn put(
        &mut self,
        component: Component,
        id: impl Into<String>,
        words: impl Into<String>,
        source: &'static str,
        known: Known,
        script: Script,
    ) {
        let (id, words) = (id.into(), words.into());
        self.claims.push(Claim { id, component, words, source: Source(source), known, script });
    }
}

/// The claims that a pod of a component in health is asked; none of a component without supervised programs, which says
/// nothing of itself. Those about etcd are asked in the pods of the store of registrations.
pub fn claims(release: Release, entry: &'static Entry, place: &PodPlace) -> Vec<Claim> {
    if entry.programs.is_empty() {
        return Vec::new();
    }
    let mut book = Book { entry, classic: release == Release::Classic, place, claims: Vec::new() };
    boot::put(&mut book);
    configuration::put(&mut book);
    ports::put(&mut book);
    logs::put(&mut book);
    stores::put(&mut book);
    book.claims
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::process::Command;

    use clearwater::component::catalogue;

    use super::*;

    fn all() -> Vec<(Component, Vec<Claim>)> {
        let place = PodPlace { address: "192.0.2.1".to_owned(), etcd: Some("192.0.2.2".to_owned()) };
        let of = |release| {
            let place = place.clone();
            catalogue(release).iter().map(move |entry| (entry.component, claims(release, entry, &place)))
        };
        Release::ALL.into_iter().flat_map(of).collect()
    }

    #[test]
    fn every_claim_has_a_name_of_its_own_and_a_script_that_is_bash() {
        for (asked, claims) in all() {
            assert_eq!(claims.is_empty(), asked == Component::Etcd, "{asked}");
            let names: BTreeSet<_> = claims.iter().map(|c| (c.component, &c.id)).collect();
            assert_eq!(names.len(), claims.len(), "{asked}: a name stands twice");
            for claim in claims {
                assert!(!claim.words.is_empty() && claim.source.0.len() > 5, "{claim:?}");
                let line = claim.script.line().unwrap();
                let text = claim.script.to_string();
                // The line hands the text to eval: it is the text whose grammar counts.
                let body = text.split("\n)").next().unwrap().to_owned() + "\n)";
                for bash in [&line, &body] {
                    let checked = Command::new("bash").args(["-n", "-c", bash]).output().unwrap();
                    assert!(checked.status.success(), "{}: {}", claim.id, String::from_utf8_lossy(&checked.stderr));
                }
            }
        }
    }

    /// The page names each claim, and none that is not put. Ports are one word.
    #[test]
    fn the_page_names_the_claims() {
        let docs = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
        if !docs.exists() {
            // The crate stands alone, without the repository.
            return;
        }
        let page = std::fs::read_to_string(docs.join("check.md")).unwrap();
        let rows =
            page.lines().skip_while(|line| !line.starts_with("| claims |")).take_while(|line| line.starts_with('|'));
        let told: BTreeSet<String> = rows
            .flat_map(|row| row.split('|').nth(1).unwrap_or_default().split('`').skip(1).step_by(2))
            .map(str::to_owned)
            .collect();
        let of_port = |id: &str| match id.rsplit_once('-') {
            Some((what, port)) if port.parse::<u16>().is_ok() => format!("{what}-N"),
            _ => id.to_owned(),
        };
        let put: BTreeSet<String> =
            all().iter().flat_map(|(_, claims)| claims).map(|claim| of_port(&claim.id)).collect();
        assert_eq!(told, put);
    }

    /// Words that would change something in the container. A file is opened to be written nowhere but in `/dev`.
    #[test]
    fn nothing_is_written() {
        for claim in all().into_iter().flat_map(|(_, claims)| claims) {
            let text = claim.script.to_string();
            for word in [" rm ", " mv ", " cp ", " kill ", "sed -i", "tee ", "-X P", "-X D", "touch ", "start "] {
                assert!(!text.contains(word), "{}: {word:?} in {text}", claim.id);
            }
            for (at, _) in text.match_indices('>') {
                // What is in angle brackets is XML, or a SIP URI.
                let word = text[..at].rsplit(char::is_whitespace).next().unwrap_or_default();
                if word.contains('<') && !word.ends_with('<') {
                    continue;
                }
                let target = text[at + 1..].trim_start().trim_start_matches(['"', '\'']);
                let is_kept = ["/dev/null", "/dev/tcp/", "&1", "&3"].iter().any(|to| target.starts_with(to));
                assert!(
                    is_kept,
                    "{}: something is written to {}",
                    claim.id,
                    target.chars().take(20).collect::<String>()
                );
            }
        }
    }

    #[test]
    fn a_status_says_what_was_seen() {
        assert_eq!(Agreement::of(0, "whatever"), Agreement::Agrees);
        assert_eq!(Agreement::of(1, "a\n"), Agreement::Differs { seen: "a\nended with 1".to_owned() });
        assert_eq!(Agreement::of(3, ""), Agreement::Differs { seen: "ended with 3".to_owned() });
        for (status, output) in [(UNSEEN, "no log"), (127, "nc: command not found")] {
            assert!(matches!(Agreement::of(status, output), Agreement::CouldNotLook { why } if why.contains(output)));
        }
        let Agreement::Differs { seen } = Agreement::of(1, &"é".repeat(5000)) else { panic!() };
        assert!(seen.chars().count() < LONGEST + 20);
    }

    /// On this machine's own bash: a claim that holds, and one that does not, say so by their status.
    #[test]
    fn a_script_is_judged_by_its_last_word() {
        let place = PodPlace { address: "192.0.2.1".to_owned(), etcd: None };
        for (script, expected) in [
            (look!(place, "[ $ip = 192.0.2.1 ]"), Agreement::Agrees),
            (look!(place, "echo $1; exit 4").arg("a b"), Agreement::Differs { seen: "a b\nended with 4".to_owned() }),
        ] {
            let ran = Command::new("bash").args(["-c", &script.line().unwrap()]).output().unwrap();
            let text = String::from_utf8(ran.stdout).unwrap();
            assert_eq!(Agreement::of(ran.status.code().unwrap(), &text), expected);
        }
    }
}
