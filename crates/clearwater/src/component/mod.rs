//! The catalogue: what each Clearwater component is, needs, serves and writes, for each release.
//!
//! Every fact carries a [`Source`]: the upstream file it was read in, so that a reader can check it.

mod catalogue;
mod classic;
mod common;
mod hunter;
mod id;
mod types;

pub use catalogue::{catalogue, entry, playing};
pub(crate) use id::nearest;
pub use id::{Component, Release, UnknownName};
pub use types::{
    AskedBy, Asks, Clustering, Data, Entry, EnvVar, HealthQuestion, Lifetime, LogFile, LogGrammar, PortUse, PreStop,
    Program, ProgramHealth, Protocol, Role, Rule, Scaling, Source, StartsWith, Store,
};
