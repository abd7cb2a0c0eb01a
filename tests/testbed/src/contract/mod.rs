//! The contract: what the product relies on in Clearwater's images, as claims that a deployment answers for itself.
//!
//! What only reads is the product's own ([`clearwater_kube::contract`]): `kubectl clearwater check --images` puts it to the
//! images that users run. Here stands what writes or sends besides, and what needs components that are alone.
//!
//! Everything is asked through kubectl from inside the deployment's own pods, with what the images hold (bash, nc, curl,
//! supervisorctl), so the same claims can be put to the stand-ins and to the real images on anybody's cluster. Each claim
//! names the upstream file it was read in, and says whether the real program was seen to do it: [`FACTS`] lists all that
//! was seen, with the claims that keep it. Claims about a program alone are put to its [`files`]. Two sets ask a
//! deployment: [`healthy`] looks at a deployment that runs (and creates one Ellis account with one number, which it
//! deletes), [`alone`] starts each component without any other in a namespace of its own and looks at how it fails.
//!
//! ```no_run
//! use clearwater_kube::contract::Agreement;
//! use clearwater_testbed::contract::{Site, healthy};
//! # fn main() -> anyhow::Result<()> {
//! # let cluster = clearwater_testbed::Cluster::get()?;
//! let site = Site::look(&cluster.kubectl().in_namespace("ims"))?;
//! for finding in healthy(&site) {
//!     if let Agreement::Differs { seen } = &finding.agreement {
//!         println!("{}: {seen}", finding.claim);
//!     }
//! }
//! # Ok(()) }
//! ```

mod alone;
mod calls;
mod facts;
pub mod files;
mod healthy;

use std::collections::BTreeMap;
use std::fmt;

use anyhow::{Context, Result, bail};
use clearwater::component::{Entry, Release, entry};
use clearwater_kube::contract::{Agreement, Claim, Known, PodPlace};
use clearwater_kube::pod::Script;
use serde_json::Value;

pub use self::alone::alone;
pub use self::facts::{FACTS, Fact, Kept};
pub use self::healthy::healthy;
use crate::kubectl::Kubectl;

/// One claim and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The component the claim is about.
    pub component: &'static str,
    /// The claim, in words.
    pub claim: String,
    /// The upstream repository and file it was read in.
    pub source: &'static str,
    /// How it is known.
    pub known: Known,
    /// The fact that it keeps, by its name in [`FACTS`].
    pub fact: Option<&'static str>,
    /// What was found.
    pub agreement: Agreement,
}

impl fmt::Display for Finding {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (word, seen) = match &self.agreement {
            Agreement::Agrees => ("agrees", None),
            Agreement::Differs { seen } => ("DIFFERS", Some(seen)),
            Agreement::CouldNotLook { why } => ("could not look", Some(why)),
        };
        let known = facts::words(self.known);
        write!(out, "{word:<14} {:<14} {} [{known}{}]", self.component, self.claim, self.source)?;
        for line in seen.into_iter().flat_map(|text| text.trim().lines()) {
            write!(out, "\n               | {line}")?;
        }
        Ok(())
    }
}

/// What a question gave: nothing when the claim holds, else what was seen instead.
type Seen = Result<Option<String>>;

/// Where claims are written down, and asked.
#[derive(Default)]
struct Book {
    findings: Vec<Finding>,
    /// Whether claims are only listed.
    silent: bool,
}

impl Book {
    /// Puts a claim that was read.
    fn claim(
        &mut self,
        component: &'static str,
        claim: impl Into<String>,
        source: &'static str,
        look: impl FnOnce() -> Seen,
    ) {
        self.put(component, claim.into(), source, None, look);
    }

    /// Puts a claim that keeps a fact.
    fn fact(
        &mut self,
        fact: &'static str,
        component: &'static str,
        claim: impl Into<String>,
        source: &'static str,
        look: impl FnOnce() -> Seen,
    ) {
        self.put(component, claim.into(), source, Some(fact), look);
    }

    /// Puts a claim of the product's.
    fn take(&mut self, claim: &Claim, look: impl FnOnce() -> Result<Agreement>) {
        let agreement = self.asked(look);
        self.findings.push(Finding {
            component: claim.component.name(),
            claim: claim.words.clone(),
            source: claim.source.0,
            known: claim.known,
            fact: facts::fact(&claim.id).map(|fact| fact.id),
            agreement,
        });
    }

    fn put(
        &mut self,
        component: &'static str,
        claim: String,
        source: &'static str,
        fact: Option<&'static str>,
        look: impl FnOnce() -> Seen,
    ) {
        let agreement = self.asked(|| Ok(look()?.map_or(Agreement::Agrees, |seen| Agreement::Differs { seen })));
        let known = fact.and_then(facts::fact).map_or(Known::Read, |fact| fact.known);
        self.findings.push(Finding { component, claim, source, known, fact, agreement });
    }

    fn asked(&self, look: impl FnOnce() -> Result<Agreement>) -> Agreement {
        if self.silent {
            return Agreement::CouldNotLook { why: "not asked".to_owned() };
        }
        look().unwrap_or_else(|error| Agreement::CouldNotLook { why: format!("{error:#}") })
    }

    /// An empty one that asks as this one does.
    fn beside(&self) -> Self {
        Self { findings: Vec::new(), silent: self.silent }
    }
}

/// The pods of a deployment, by component.
#[derive(Clone, Debug)]
pub struct Site {
    kubectl: Kubectl,
    pods: BTreeMap<String, Pod>,
}

#[derive(Clone, Debug)]
struct Pod {
    name: String,
    container: String,
    ip: String,
    image: String,
}

/// What a script in a pod printed, on both streams, and its status.
struct Ran {
    text: String,
    code: i32,
}

impl Site {
    /// The running pods in kubectl's namespace, by their label `service` (etcd also by upstream's `instance-type`).
    pub fn look(kubectl: &Kubectl) -> Result<Self> {
        let listed = kubectl.json(["get", "pods"])?;
        let mut pods = BTreeMap::new();
        for pod in listed["items"].as_array().into_iter().flatten() {
            let labels = &pod["metadata"]["labels"];
            let component = match (labels["service"].as_str(), labels["instance-type"].as_str()) {
                (Some(service), _) => service,
                (None, Some("etcd-pod")) => "etcd",
                _ => continue,
            };
            let running = pod["status"]["phase"] == "Running" && pod["metadata"]["deletionTimestamp"].is_null();
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            if running {
                let containers = pod["spec"]["containers"].as_array().cloned().unwrap_or_default();
                let container = containers
                    .iter()
                    .find(|container| container["name"] == component)
                    .or(containers.first())
                    .cloned()
                    .unwrap_or_default();
                pods.entry(component.to_owned()).or_insert(Pod {
                    name: text(&pod["metadata"]["name"]),
                    container: text(&container["name"]),
                    ip: text(&pod["status"]["podIP"]),
                    image: text(&container["image"]),
                });
            }
        }
        if pods.is_empty() {
            bail!("no running pod here has a label `service`: is this the namespace of a Clearwater deployment?");
        }
        Ok(Self { kubectl: kubectl.clone(), pods })
    }

    fn pod(&self, component: &str) -> Result<&Pod> {
        self.pods.get(component).with_context(|| format!("no pod of {component} runs"))
    }

    fn store(&self) -> &'static str {
        if self.pods.contains_key("memcached") { "memcached" } else { "astaire" }
    }

    fn is_classic(&self) -> bool {
        self.store() == "memcached"
    }

    fn release(&self) -> Release {
        if self.is_classic() { Release::Classic } else { Release::Hunter }
    }

    fn entry(&self, component: &str) -> Option<&'static Entry> {
        entry(self.release(), component.parse().ok()?)
    }

    /// Where a component's pod stands.
    fn place(&self, component: &str) -> PodPlace {
        let address = |component: &str| self.pods.get(component).map(|pod| pod.ip.clone());
        PodPlace { address: address(component).unwrap_or_default(), etcd: address("etcd") }
    }

    fn run(&self, component: &str, script: &str) -> Result<Ran> {
        let ip = &self.pod(component)?.ip;
        self.exec(component, &format!("ip={ip}\n( {script}\n)"))
    }

    /// Puts a script of the product's.
    fn ask(&self, component: &str, script: &Script) -> Result<Agreement> {
        let ran = self.exec(component, &format!("{{ {}; }} </dev/null", script.line()?))?;
        Ok(Agreement::of(ran.code, &ran.text))
    }

    fn exec(&self, component: &str, script: &str) -> Result<Ran> {
        let pod = self.pod(component)?;
        let wrapped = format!("exec 2>&1\n{script}\necho \"status=$?\"");
        let text = self.kubectl.run_with_input(
            ["exec", "--stdin", &pod.name, "--container", &pod.container, "--", "bash", "-s"],
            &wrapped,
        )?;
        let (text, code) = text.trim_end().rsplit_once("status=").context("the script in the pod did not end")?;
        Ok(Ran { text: text.to_owned(), code: code.parse().context("the script's status")? })
    }

    /// The claim holds when the script ends 0; else its output is what was seen.
    fn holds(&self, component: &str, script: &str) -> Seen {
        let ran = self.run(component, script)?;
        Ok((ran.code != 0).then(|| format!("ended with {}\n{}", ran.code, ran.text)))
    }

    fn setting(&self, component: &str, key: &str) -> Result<String> {
        let ran = self.run(component, &format!(". /etc/clearwater/config > /dev/null; printf %s \"${key}\""))?;
        Ok(ran.text)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    #[test]
    fn a_finding_is_one_line_and_what_was_seen_below() {
        let finding = Finding {
            component: "bono",
            claim: "answers".into(),
            source: "sprout src/options.cpp",
            known: Known::Seen,
            fact: None,
            agreement: Agreement::Differs { seen: "ended with 1\n403".into() },
        };
        let text = finding.to_string();
        let line = "DIFFERS        bono           answers [seen on the real program; sprout src/options.cpp]\n";
        assert!(text.starts_with(line), "{text}");
        assert!(text.ends_with("| 403"), "{text}");
    }

    #[test]
    fn the_sip_functions_are_bash() {
        let status = std::process::Command::new("bash").args(["-n", "-c", calls::SIP]).status().unwrap();
        assert!(status.success());
    }

    /// Every claim, unasked.
    fn listed(classic: bool) -> Vec<Finding> {
        let store = if classic { "memcached" } else { "astaire" };
        let pod = |name: &str| Pod {
            name: name.to_owned(),
            container: name.to_owned(),
            ip: "192.0.2.1".to_owned(),
            image: "none".to_owned(),
        };
        let pods = [store, "etcd"].map(|name| (name.to_owned(), pod(name))).into();
        let site = Site { kubectl: Kubectl::new("/nonexistent".into(), None, None), pods };
        let mut book = Book { silent: true, ..Book::default() };
        healthy::put(&mut book, &site);
        alone::put(&mut book, &site);
        book.findings
    }

    #[test]
    fn every_fact_is_kept_or_says_why_not() {
        let listed: Vec<Finding> = [false, true].into_iter().flat_map(listed).collect();
        for finding in &listed {
            let known = finding.fact.and_then(facts::fact).map_or(Known::Read, |fact| fact.known);
            assert_eq!(finding.known, known, "{finding}");
        }
        let claims: BTreeSet<&str> = listed.iter().filter_map(|finding| finding.fact).collect();
        let ids: BTreeSet<&str> = FACTS.iter().map(|fact| fact.id).collect();
        assert_eq!(ids.len(), FACTS.len(), "a name stands twice");
        assert_eq!(claims.difference(&ids).collect::<Vec<_>>(), Vec::<&&str>::new(), "claims of unknown facts");
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        for fact in FACTS {
            match fact.kept {
                Kept::Deployment => assert!(claims.contains(fact.id), "no claim keeps {}", fact.id),
                Kept::Files => {
                    assert!(files::FACTS_OF_FILES.contains(&fact.id), "no file is asked about {}", fact.id);
                }
                Kept::Test(test) => {
                    let (file, name) = test.split_once("::").unwrap();
                    let source = std::fs::read_to_string(root.join(file)).unwrap();
                    assert!(source.contains(&format!("fn {name}(")), "{test}");
                }
                Kept::Not(why) => assert!(why.split(' ').count() > 5, "{}", fact.id),
            }
        }
    }
}
