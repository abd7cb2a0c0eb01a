//! What one can do about something, without a word of how it is done.
//!
//! An error says its reason; what to do about it is a [`Remedy`]. A program that embeds these crates has buttons, flags or
//! calls of its own, so a remedy names the deed and leaves its words to whoever shows it: [`Remedy::worded`] takes them,
//! and `Display` says every deed neutrally. [`Advice`] is both together, as one sentence of one form.
//!
//! ```
//! use clearwater::component::Component;
//! use clearwater::remedy::{Advice, Remedy};
//!
//! let remedy = Remedy::any([
//!     Remedy::from("leave it at 2"),
//!     Remedy::TakeDown(vec![Component::Etcd]).then(", which loses its data"),
//! ]);
//! let advice = Advice::new("etcd cannot shrink", remedy);
//! assert_eq!(
//!     advice.to_string(),
//!     "etcd cannot shrink. What works: leave it at 2; or take etcd down, which loses its data"
//! );
//! let button = |deed: &Remedy| matches!(deed, Remedy::TakeDown(_)).then(|| "press Remove".to_owned());
//! assert!(advice.worded(&button).ends_with("; or press Remove, which loses its data"));
//! ```

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;

#[cfg(feature = "schema")]
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::component::Component;
use crate::config::DnsBackend;
use crate::event::Command;
use crate::text::Clean;

/// What one can do: words, deeds of a program that embeds this crate, or both in one sentence.
///
/// Every deed is said as an order, so that it can stand wherever another can. Where it is written down, as in JSON, it is
/// one text, and what is read from there has its words already.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", from = "String")]
#[non_exhaustive]
pub enum Remedy {
    /// What no program of this project does.
    Text(String),
    /// Words with deeds among them, one after the other as they stand.
    Sentence(Vec<Self>),
    /// Each of these works. Alternatives are joined here and nowhere else.
    AnyOf(Vec<Self>),
    /// Bring the deployment up.
    BringUp,
    /// Bring the deployment up for the look only: nothing is written.
    DryRun,
    /// Do the same again.
    Again,
    /// Do the same again, to go on where it was stopped.
    GoOn(Command),
    /// Bring the deployment up, and give it longer.
    WaitLonger,
    /// Give it longer.
    Longer,
    /// Take these components down, or the whole deployment where none is named.
    TakeDown(Vec<Component>),
    /// Scale a component by hand: to a number of members, where one is meant.
    Scale {
        /// The component.
        component: Component,
        /// How many members.
        to: Option<u32>,
    },
    /// Change the bounds of a component's autoscaler.
    Autoscale(Component),
    /// Remove a component's autoscaler.
    RemoveAutoscaler(Component),
    /// Look at the state of the whole deployment.
    Status,
    /// Have supervisord start a program that somebody stopped.
    StartProgram(Box<StoppedProgram>),
    /// Name another namespace.
    ChooseNamespace,
    /// Name the deployment file.
    NameFile,
    /// Leave a component out of the run.
    Skip(Component),
    /// Let the run do what it does only when it is told to.
    Allow(Permission),
    /// Do something about names in DNS.
    Names(NamesDeed),
}

/// A program that somebody stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoppedProgram {
    /// The pod's namespace.
    pub namespace: String,
    /// The pod.
    pub pod: String,
    /// The program, with its group.
    pub program: String,
}

/// What a run does only when it is told to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Permission {
    /// Make the namespace.
    CreateNamespace,
    /// Take over fields of objects that others manage.
    ForceConflicts,
    /// Bring the deployment up, and write over what others have changed of it.
    TakeBack,
    /// Replace the pods of stores.
    ReplaceStores,
    /// Lose the data that a repair costs.
    LoseData,
    /// Mark these members, which have no pod, as failed.
    MarkFailed(Vec<IpAddr>),
    /// Remove at once, without waiting until members of stores have left their clusters.
    RemoveAtOnce,
    /// Remove with the namespace what is not of this deployment.
    RemoveForeign,
    /// Remove the volumes with what people have put there.
    RemoveVolumes,
    /// Replace the pods of the cluster's DNS, one at a time.
    RestartDns,
    /// Send etcd's password over the network unencrypted.
    PlainPassword,
    /// Go on past a check before the first write, by its id.
    SkipCheck(&'static str),
    /// Put what was kept in the place of what differs.
    ReplaceKept,
}

/// What can be done about names in DNS.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NamesDeed {
    /// Put the deployment's names into the cluster's DNS, in this namespace and by this backend where they are told.
    Put {
        /// The deployment's namespace.
        namespace: Option<String>,
        /// The backend.
        backend: Option<DnsBackend>,
        /// With what SIP clients look for.
        clients: bool,
    },
    /// Take the names of the deployment in this namespace out of the cluster's DNS, by this backend where it is told.
    Remove {
        /// The deployment's namespace.
        namespace: String,
        /// The backend.
        backend: Option<DnsBackend>,
    },
    /// Compare what is answered with what must be.
    Check {
        /// The backend, where it is told.
        backend: Option<DnsBackend>,
    },
    /// Show what each server answers.
    Explain,
    /// Take another backend.
    Choose(DnsBackend),
    /// Print what would be put in, for whoever puts it in by hand.
    Print,
    /// Offer what SIP clients look for, too.
    OfferClients,
    /// Print what SIP clients look for.
    PrintClients,
    /// Say where etcd is.
    NameEtcd,
    /// Give the certificate of etcd's authority.
    TrustEtcd,
}

impl Remedy {
    /// Each of these works.
    pub fn any<R: Into<Self>>(ways: impl IntoIterator<Item = R>) -> Self {
        Self::AnyOf(ways.into_iter().map(Into::into).collect())
    }

    /// One sentence of words and deeds.
    pub fn sentence(parts: impl IntoIterator<Item = Self>) -> Self {
        Self::Sentence(parts.into_iter().collect())
    }

    /// Take these components down and bring the deployment up: they are made anew.
    pub fn anew(components: impl Into<Vec<Component>>) -> Self {
        Self::sentence([Self::TakeDown(components.into()), ", then ".into(), Self::BringUp])
    }

    /// The deed with words after it.
    #[must_use]
    pub fn then(self, words: impl Into<String>) -> Self {
        Self::Sentence(vec![self, Self::Text(words.into())])
    }

    /// The deed with words before it.
    #[must_use]
    pub fn after(self, words: impl Into<String>) -> Self {
        Self::Sentence(vec![Self::Text(words.into()), self])
    }

    /// The advice in the words that `word` finds for each deed. What it has none for is said neutrally.
    pub fn worded(&self, word: &Words<'_>) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Sentence(parts) => parts.iter().map(|part| part.worded(word)).collect(),
            Self::AnyOf(ways) => ways.iter().map(|way| way.worded(word)).collect::<Vec<_>>().join("; or "),
            deed => word(deed).unwrap_or_else(|| deed.neutral()),
        }
    }

    /// The deed in words that fit every program.
    fn neutral(&self) -> String {
        let text = match self {
            Self::Text(_) | Self::Sentence(_) | Self::AnyOf(_) => return self.to_string(),
            Self::BringUp => "bring the deployment up",
            Self::DryRun => "bring the deployment up as a dry run",
            Self::Again => "do the same again",
            Self::GoOn(_) => "do the same again to go on",
            Self::WaitLonger => "bring the deployment up again to go on waiting, for longer where it is only slow",
            Self::Longer => "give it longer",
            Self::TakeDown(components) => match components.as_slice() {
                [] => "take the deployment down",
                some => {
                    let names: Vec<&str> = some.iter().map(|c| c.name()).collect();
                    return format!("take {} down", names.join(", "));
                }
            },
            Self::Scale { component, to: Some(to) } => return format!("scale {component} to {to}"),
            Self::Scale { component, to: None } => return format!("scale {component}"),
            Self::Autoscale(component) => return format!("change the bounds of {component}'s autoscaler"),
            Self::RemoveAutoscaler(component) => return format!("remove {component}'s autoscaler"),
            Self::StartProgram(stopped) => {
                let StoppedProgram { namespace, pod, program } = &**stopped;
                return format!("somebody stopped it: have supervisord in pod {pod} of {namespace} start {program}");
            }
            Self::Status => "look at the deployment's status",
            Self::ChooseNamespace => "choose another namespace",
            Self::NameFile => "name the deployment file",
            Self::Skip(component) => return format!("leave {component} out"),
            Self::Allow(permission) => return permission.to_string(),
            Self::Names(deed) => return deed.to_string(),
        };
        text.to_owned()
    }
}

/// The words of a program for a deed, `None` where it has none of its own.
pub type Words<'a> = dyn Fn(&Remedy) -> Option<String> + 'a;

impl fmt::Display for Remedy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.worded(&|_| None))
    }
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CreateNamespace => "have the namespace made",
            Self::ForceConflicts => "take the field over",
            Self::TakeBack => "bring the deployment up, and take over what others have changed",
            Self::ReplaceStores => "bring the deployment up, and have its stores replaced",
            Self::LoseData => "bring the deployment up, and agree to lose the data",
            Self::MarkFailed(members) => {
                return write!(f, "agree to marking {} as failed", if members.len() == 1 { "it" } else { "them" });
            }
            Self::RemoveAtOnce => "have them removed at once",
            Self::RemoveForeign => "agree to losing what is not of this deployment",
            Self::RemoveVolumes => "have the volumes removed too",
            Self::RestartDns => "allow the pods of the cluster's DNS to be replaced",
            Self::PlainPassword => "allow the password to be read on the way",
            Self::SkipCheck(id) => return write!(f, "have the check {id} skipped"),
            Self::ReplaceKept => "have what was kept put in their place",
        })
    }
}

impl fmt::Display for NamesDeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let by = |f: &mut fmt::Formatter<'_>, backend: Option<DnsBackend>| {
            backend.map_or(Ok(()), |backend| write!(f, " by the backend {}", backend.name()))
        };
        match self {
            Self::Put { namespace, backend, clients } => {
                f.write_str("put the names of the deployment")?;
                if let Some(namespace) = namespace {
                    write!(f, " in namespace {namespace}")?;
                }
                f.write_str(" into the cluster's DNS")?;
                by(f, *backend)?;
                f.write_str(if *clients { ", with what SIP clients look for" } else { "" })
            }
            Self::Remove { namespace, backend } => {
                write!(f, "take the names of the deployment in namespace {namespace} out of the cluster's DNS")?;
                by(f, *backend)
            }
            Self::Check { backend } => {
                f.write_str("have the names checked")?;
                by(f, *backend)
            }
            Self::Explain => f.write_str("look at what each server answers"),
            Self::Choose(backend) => write!(f, "choose the backend {}", backend.name()),
            Self::Print => f.write_str("print the records"),
            Self::OfferClients => f.write_str("offer what SIP clients look for, too"),
            Self::PrintClients => f.write_str("print the records that SIP clients look for"),
            Self::NameEtcd => f.write_str("say where etcd is, as in http://HOST:2379"),
            Self::TrustEtcd => f.write_str("give the certificate of etcd's authority"),
        }
    }
}

impl From<String> for Remedy {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<&str> for Remedy {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<Remedy> for String {
    fn from(remedy: Remedy) -> Self {
        match remedy {
            Remedy::Text(text) => text,
            other => other.to_string(),
        }
    }
}

impl From<Permission> for Remedy {
    fn from(permission: Permission) -> Self {
        Self::Allow(permission)
    }
}

impl From<NamesDeed> for Remedy {
    fn from(deed: NamesDeed) -> Self {
        Self::Names(deed)
    }
}

impl Clean for Remedy {
    fn clean(&mut self) {
        match self {
            Self::Text(text) => text.clean(),
            Self::Sentence(parts) | Self::AnyOf(parts) => parts.iter_mut().for_each(Clean::clean),
            // Names of Kubernetes hold nothing that has to be made printable, but who knows where one was read.
            Self::Names(NamesDeed::Put { namespace, .. }) => namespace.clean(),
            Self::Names(NamesDeed::Remove { namespace, .. }) => namespace.clean(),
            Self::StartProgram(stopped) => {
                stopped.pod.clean();
                stopped.program.clean();
            }
            _ => {}
        }
    }
}

/// A reason, and what one can do about it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", from = "String")]
pub struct Advice {
    /// What was seen.
    pub reason: String,
    /// What works, where something does.
    pub remedy: Option<Remedy>,
    /// What else was seen, on a line of its own each.
    pub more: Vec<Self>,
}

impl Advice {
    /// A reason and its remedy.
    pub fn new(reason: impl Into<String>, remedy: impl Into<Remedy>) -> Self {
        Self { reason: reason.into(), remedy: Some(remedy.into()), more: Vec::new() }
    }

    /// Several reasons, a line each, each with its remedy.
    pub fn lines(all: impl IntoIterator<Item = Self>) -> Self {
        let mut all = all.into_iter();
        let mut first = all.next().unwrap_or_default();
        first.more.extend(all);
        first
    }

    /// The same with words before its reason.
    #[must_use]
    pub fn after(self, words: &str) -> Self {
        Self { reason: format!("{words}{}", self.reason), ..self }
    }

    /// The whole in the words that `word` finds for each deed.
    pub fn worded(&self, word: &Words<'_>) -> String {
        let mut text = self.reason.clone();
        if let Some(remedy) = &self.remedy {
            // A reason may end with a question.
            text.push_str(if text.ends_with(['.', '?', '!']) { " What works: " } else { ". What works: " });
            text.push_str(&remedy.worded(word));
        }
        for one in &self.more {
            text.push('\n');
            text.push_str(&one.worded(word));
        }
        text
    }
}

impl fmt::Display for Advice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.worded(&|_| None))
    }
}

impl From<String> for Advice {
    fn from(reason: String) -> Self {
        Self { reason, ..Self::default() }
    }
}

impl From<&str> for Advice {
    fn from(reason: &str) -> Self {
        Self::from(reason.to_owned())
    }
}

impl From<Advice> for String {
    fn from(advice: Advice) -> Self {
        advice.to_string()
    }
}

impl Clean for Advice {
    fn clean(&mut self) {
        self.reason.clean();
        self.remedy.clean();
        self.more.clean();
    }
}

/// An error that knows what one can do about it. What `Display` gives is the reason alone.
pub trait Remedied: std::error::Error {
    /// What works, where something does. An error that wraps another one gives the other's.
    fn remedy(&self) -> Option<Remedy>;

    /// The reason and what works.
    fn advice(&self) -> Advice {
        Advice { remedy: self.remedy(), ..Advice::from(self.to_string()) }
    }
}

#[cfg(feature = "schema")]
macro_rules! schema_of_a_text {
    ($($type:ty: $name:literal),*) => {$(
        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                $name.into()
            }

            fn inline_schema() -> bool {
                true
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({"type": "string"})
            }
        }
    )*};
}

#[cfg(feature = "schema")]
schema_of_a_text!(Remedy: "Remedy", Advice: "Advice");
