//! The names a deployment needs, the records that satisfy them, and what each backend stores.
//!
//! Kubernetes gives every Service a name of one label below its namespace. The images of 2016 ask for sub-domains of
//! one, `icscf.sprout` and `scscf.sprout`, which no Service can be called; and clients that know nothing but a SIP
//! domain look for records that cluster DNS does not make. This module says which names those are and brings them into
//! the form that each way into DNS takes.
//!
//! * [`Names`]: every host name of a deployment. Configuration takes its names from here too.
//! * [`needs`]: what has to be answered, who asks, how, and what is seen without it.
//! * [`records`] and [`client_records`]: the records, as a [`Zone`].
//! * [`Zone`] prints as a zone file and as JSON; [`ZoneDiff`] says what has to be done to get from one to another.
//! * [`rules`] and [`Rules::corefile_lines`]: CoreDNS' own configuration. [`corefile`] puts such lines into a Corefile.
//! * [`ownership`]: who manages the cluster's Corefile, and where lines may be written.
//! * [`answer`]: what servers have to answer, and whether they do.
//! * [`skydns`]: keys and values for CoreDNS' etcd plugin and for SkyDNS.
//! * [`sub_domains`]: the host names that pods or endpoints must have.
//! * [`questions`]: what the settings of a running container make it ask for.
//!
//! ```
//! use clearwater::component::Component;
//! use clearwater::config::{DeploymentFile, DnsBackend};
//! use clearwater::dns::{Targets, Zone, ZoneDiff, records, rules};
//!
//! let yaml = "apiVersion: clearwater/v1\nrelease: classic\nimages: {registry: r.example/cw, tag: '2016'}\n";
//! let deployment = DeploymentFile::parse(yaml, "clearwater.yaml")?.deploy("ims")?;
//!
//! // For a person who keeps DNS elsewhere: what to add.
//! let pods = Targets::default().with(Component::Sprout, ["10.1.2.3".parse()?]);
//! let wanted = records(&deployment, DnsBackend::Coredns, &pods)?;
//! print!("{}", ZoneDiff::between(&Zone::new(), &wanted));
//!
//! // For CoreDNS: rules that hold whatever the pods' addresses are.
//! for line in rules(&deployment)?.corefile_lines()? {
//!     println!("{line}");
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod answer;
mod choice;
pub mod corefile;
mod name;
mod names;
mod needs;
pub mod ownership;
mod record;
mod records;
pub mod skydns;
mod zone;

pub use choice::{BackendChoice, Facts, choose};
pub use name::{InvalidName, Name};
pub use names::{Cscf, Names};
pub use needs::{Asker, GivenBy, NeededName, Question, Resolver, needs, questions};
pub use record::{InvalidData, RecordData, RecordType};
pub use records::{
    RecordsError, Rules, SubDomain, TTL, Targets, client_records, client_rules, records, rules, sub_domains,
};
pub use zone::{RecordChange, RecordSet, Zone, ZoneDiff, ZoneFileError};
