//! The catalogue: what each Clearwater component is, needs, serves and writes, for each release.
//!
//! # What is in it
//!
//! A [`Release`] is a set of images that belong together; [`catalogue`] lists its components, one [`Entry`] each. An
//! entry says which 3GPP [`Role`]s the component plays, which image it is, on which ports it listens and who asks
//! there, what it reads from its environment, which programs supervisord runs in it, where it logs and in which
//! [`LogGrammar`], what to ask it to learn whether it serves, which data it holds and what losing them means, how it
//! clusters and how it may be scaled.
//!
//! ```
//! use clearwater::component::{Component, ProgramHealth, Release, Role, entry, playing};
//!
//! let chronos = entry(Release::Hunter, Component::Chronos).unwrap();
//! assert_eq!(chronos.port("http").unwrap().number, 7253);
//! assert_eq!(chronos.data[0].loss.split(',').next(), Some("registrations that should expire stay"));
//!
//! // supervisord ends up calling chronos' SNMP agent FATAL although it works.
//! assert_eq!(chronos.program("snmpd").unwrap().health, ProgramHealth::Any);
//!
//! assert_eq!(playing(Release::Hunter, Role::Xdms), Some(Component::Homer));
//! ```
//!
//! # Where it comes from
//!
//! Every fact carries a [`Source`]: the upstream repository and file it was read in, so that a reader can check it.
//! "(2016)" marks files as they were in that year; they have since been changed or removed.
//!
//! # What it does not say
//!
//! Programs, ports and logs that an image may have besides are left out where nothing depends on them. So whoever looks
//! into a container should mind the programs that are listed, and leave the others alone.

mod alone;
mod capability;
mod catalogue;
mod classic;
mod common;
mod contact;
mod hunter;
mod id;
mod paths;
mod types;

pub use alone::{ASKS_NOBODY, AsksNobody};
pub use capability::{CapabilityUse, capabilities};
pub use catalogue::{catalogue, entry, is_plain_log, known_to_etcd, playing, port};
pub use contact::{CONTACTS, Contact, TURN_RELAY_PORTS, asked_ports, narrowed_by};
pub use id::{Component, Release};
pub use paths::{
    CASSANDRA_DATA, CASSANDRA_SETTINGS, CHRONOS_SETTINGS, MYSQL_DATA, NUMBERS_LOG, PROGRAM_LOGS, SETTINGS_FILES,
    SUPERVISOR_LOGS, SUPERVISOR_SOCKET,
};
pub(crate) use paths::{CASSANDRA_FOLDER, CLUSTER_SETTINGS, OF_CASSANDRA_MEMBER, SUPERVISORCTL, USER_SETTINGS};
pub use types::{
    AskedBy, Asks, Clustering, Data, Entry, EnvVar, FromJoining, HealthQuestion, LOOKS_UP_ONCE, Lifetime, LogFile,
    LogGrammar, LooksUpOnce, PortUse, PreStop, Program, ProgramHealth, Protocol, Role, Rule, Scaling, Source,
    StartsWith, Store,
};

pub use crate::names::{UnknownName, nearest};
