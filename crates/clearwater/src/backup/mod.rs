//! Backups: what a deployment's services tell of its subscribers, kept as an archive of parts, and how it is put back.
//!
//! [`Holdings`] are what is told. A [`Backup`] is that with where and when it was told; [`Backup::parts`] makes files of it
//! with a manifest that names each by its SHA-256, and [`Backup::of_parts`] reads them and refuses what was altered.
//! [`compare`] says of every item whether it stands as it was kept, [`work`] what of it is to be done, set by set, and
//! [`mend`] by which steps one implicit registration set becomes what was kept.
//!
//! ```
//! use clearwater::backup::{Backup, Holdings, RegistrationSet, ServiceProfile, compare};
//!
//! let profile = ServiceProfile { public_identities: [("sip:1@a.b".to_owned(), None)].into(), filter_criteria: None };
//! let set = RegistrationSet { private_identities: [].into(), profiles: vec![profile] };
//! let holdings = Holdings { registration_sets: vec![set], ..Holdings::default() };
//! let backup = Backup { namespace: "ims".to_owned(), holdings, ..Backup::default() };
//! let read = Backup::of_parts(&backup.parts())?;
//! assert_eq!(read, backup);
//! assert!(compare(&read.holdings, &backup.holdings).is_equal());
//! # Ok::<(), clearwater::backup::InvalidBackup>(())
//! ```

mod archive;
mod compare;
mod cron;
mod holdings;
mod mend;
mod work;

pub use archive::{Backup, BackupManifest, BackupPart, InvalidBackup, MANIFEST};
pub use compare::{ComparedItem, Comparison, ItemCounts, ItemKind, ItemState, compare};
pub use cron::{CronSchedule, InvalidCron};
pub use holdings::{
    BackupCounts, Confidential, EllisAccount, EllisNumber, Holdings, PrivateRecord, RegistrationSet, ServiceProfile,
};
pub use mend::{MendStep, StandingProfile, StandingSet, mend, plain_document};
pub use work::{RestoreUnit, work};

#[cfg(test)]
mod tests;
