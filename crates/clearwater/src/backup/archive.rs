//! The form of an archive: parts by name, and a manifest that says of each how long it is and what its SHA-256 is.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
#[cfg(feature = "schema")]
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use thiserror::Error;

use super::holdings::{BackupCounts, EllisAccount, Holdings, PrivateRecord, RegistrationSet};

/// The name of the part that names all others.
pub const MANIFEST: &str = "manifest.json";

/// What the manifest says of itself, by which a backup is told from any other archive.
const FORMAT: &str = "clearwater-backup";
/// The version of the form.
const VERSION: u32 = 1;

const SUBSCRIBERS: &str = "subscribers.json";
const SIMSERVS: &str = "simservs.json";
const ELLIS: &str = "ellis.json";
const ETCD: &str = "etcd.json";
const DEPLOYMENT: &str = "deployment.yaml";

/// A part as the manifest names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct BackupPart {
    /// Its length in bytes.
    pub bytes: u64,
    /// Its SHA-256, in hexadecimal digits.
    pub sha256: String,
}

/// What an archive says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct BackupManifest {
    /// What tells it from any other archive.
    pub format: String,
    /// The version of the form.
    pub v: u32,
    /// When it was made: the moment at which reading began.
    #[cfg_attr(feature = "schema", schemars(with = "String", extend("format" = "date-time")))]
    pub at: Timestamp,
    /// The version of the program that made it.
    pub program: String,
    /// The deployment's namespace.
    pub namespace: String,
    /// The SIP home domain, which every identity is of.
    pub home_domain: String,
    /// The release of the deployment.
    pub release: String,
    /// How much there is.
    pub counts: BackupCounts,
    /// What is not in it, each with why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lacks: Vec<String>,
    /// What changed while it was read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changed: Vec<String>,
    /// The parts, by name.
    pub parts: BTreeMap<String, BackupPart>,
}

/// A backup of a deployment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Backup {
    /// When reading began.
    pub at: Timestamp,
    /// The version of the program that made it.
    pub program: String,
    /// The deployment's namespace.
    pub namespace: String,
    /// The SIP home domain.
    pub home_domain: String,
    /// The release of the deployment.
    pub release: String,
    /// What is not in it, each with why.
    pub lacks: Vec<String>,
    /// What changed while it was read.
    pub changed: Vec<String>,
    /// What the services told.
    pub holdings: Holdings,
    /// What etcd holds of the deployment, key by key: for the record, and put back nowhere.
    pub etcd: Option<BTreeMap<String, String>>,
    /// The deployment file, where there was one.
    pub deployment: Option<String>,
}

/// Why an archive is no backup that can be put back. Nothing is done with one.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum InvalidBackup {
    /// It is something else.
    #[error("it is no backup of a Clearwater deployment: {0}")]
    Foreign(String),
    /// It is of a form that this program does not know.
    #[error("it is a backup of version {found}, and this program reads version {VERSION}: take a newer one")]
    Version {
        /// The version.
        found: u32,
    },
    /// Something that the manifest names is not there.
    #[error("{part} is missing, which its manifest names: the archive is not whole")]
    Missing {
        /// The part.
        part: String,
    },
    /// A part is not what was written.
    #[error("{part} was altered: {reason}")]
    Altered {
        /// The part.
        part: String,
        /// What is not as the manifest says.
        reason: String,
    },
    /// A part is what was written, and cannot be read.
    #[error("{part} cannot be read: {reason}")]
    Unreadable {
        /// The part.
        part: String,
        /// Why.
        reason: String,
    },
}

#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Subscribers {
    private_identities: BTreeMap<String, PrivateRecord>,
    registration_sets: Vec<RegistrationSet>,
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn json<T: Serialize>(value: &T) -> Vec<u8> {
    // Maps with texts as keys, lists, texts and numbers always can be written.
    let mut bytes = serde_json::to_vec_pretty(value).unwrap_or_default();
    bytes.push(b'\n');
    bytes
}

fn parsed<T: DeserializeOwned>(part: &str, bytes: &[u8]) -> Result<T, InvalidBackup> {
    serde_json::from_slice(bytes)
        .map_err(|e| InvalidBackup::Unreadable { part: part.to_owned(), reason: e.to_string() })
}

/// A part that the manifest names, if it does; its bytes are what was written.
fn part<'a>(
    name: &str,
    manifest: &BackupManifest,
    parts: &'a BTreeMap<String, Vec<u8>>,
) -> Result<Option<&'a [u8]>, InvalidBackup> {
    let Some(wanted) = manifest.parts.get(name) else { return Ok(None) };
    let Some(bytes) = parts.get(name) else { return Err(InvalidBackup::Missing { part: name.to_owned() }) };
    let altered = |reason| Err(InvalidBackup::Altered { part: name.to_owned(), reason });
    if bytes.len() as u64 != wanted.bytes {
        return altered(format!("it has {} bytes, and its manifest says {}", bytes.len(), wanted.bytes));
    }
    let found = sha256(bytes);
    if found != wanted.sha256 {
        return altered(format!("its SHA-256 is {found}, and its manifest says {}", wanted.sha256));
    }
    Ok(Some(bytes.as_slice()))
}

impl Backup {
    /// What the archive says of itself.
    pub fn manifest(&self) -> BackupManifest {
        self.manifest_of(&self.contents())
    }

    fn manifest_of(&self, contents: &BTreeMap<String, Vec<u8>>) -> BackupManifest {
        let named = |(name, bytes): (&String, &Vec<u8>)| {
            (name.clone(), BackupPart { bytes: bytes.len() as u64, sha256: sha256(bytes) })
        };
        BackupManifest {
            format: FORMAT.to_owned(),
            v: VERSION,
            at: self.at,
            program: self.program.clone(),
            namespace: self.namespace.clone(),
            home_domain: self.home_domain.clone(),
            release: self.release.clone(),
            counts: self.holdings.counts(),
            lacks: self.lacks.clone(),
            changed: self.changed.clone(),
            parts: contents.iter().map(named).collect(),
        }
    }

    fn contents(&self) -> BTreeMap<String, Vec<u8>> {
        let Holdings { private_identities, registration_sets, simservs, accounts } = self.holdings.clone().normalized();
        let mut all = BTreeMap::from([
            (SUBSCRIBERS.to_owned(), json(&Subscribers { private_identities, registration_sets })),
            (SIMSERVS.to_owned(), json(&simservs)),
            (ELLIS.to_owned(), json(&accounts)),
        ]);
        all.extend(self.etcd.as_ref().map(|keys| (ETCD.to_owned(), json(keys))));
        all.extend(self.deployment.as_ref().map(|text| (DEPLOYMENT.to_owned(), text.clone().into_bytes())));
        all
    }

    /// The files of the archive, the same bytes for the same backup.
    pub fn parts(&self) -> BTreeMap<String, Vec<u8>> {
        let mut all = self.contents();
        let manifest = json(&self.manifest_of(&all));
        all.insert(MANIFEST.to_owned(), manifest);
        all
    }

    /// Reads the files of an archive, and checks that they are those that were written.
    ///
    /// # Errors
    /// [`InvalidBackup`], whose text says what is wrong.
    pub fn of_parts(parts: &BTreeMap<String, Vec<u8>>) -> Result<Self, InvalidBackup> {
        let foreign = InvalidBackup::Foreign;
        let manifest = parts.get(MANIFEST).ok_or_else(|| foreign(format!("it has no {MANIFEST}")))?;
        let said: serde_json::Value =
            serde_json::from_slice(manifest).map_err(|e| foreign(format!("{MANIFEST} is no JSON: {e}")))?;
        if said["format"] != FORMAT {
            return Err(foreign(format!("{MANIFEST} does not say that it is one")));
        }
        let version = said["v"].as_u64().and_then(|v| u32::try_from(v).ok()).unwrap_or_default();
        if version != VERSION {
            return Err(InvalidBackup::Version { found: version });
        }
        let manifest: BackupManifest = parsed(MANIFEST, manifest)?;
        if let Some(other) = parts.keys().find(|name| *name != MANIFEST && !manifest.parts.contains_key(*name)) {
            return Err(foreign(format!("it holds {other}, which its manifest does not name")));
        }
        for name in manifest.parts.keys() {
            part(name, &manifest, parts)?;
        }
        let needed = |name: &str| {
            let missing = || InvalidBackup::Missing { part: name.to_owned() };
            part(name, &manifest, parts)?.ok_or_else(missing)
        };
        let Subscribers { private_identities, registration_sets } = parsed(SUBSCRIBERS, needed(SUBSCRIBERS)?)?;
        let simservs: BTreeMap<String, String> = parsed(SIMSERVS, needed(SIMSERVS)?)?;
        let accounts: BTreeMap<String, EllisAccount> = parsed(ELLIS, needed(ELLIS)?)?;
        let holdings = Holdings { private_identities, registration_sets, simservs, accounts }.normalized();
        let etcd = part(ETCD, &manifest, parts)?.map(|bytes| parsed(ETCD, bytes)).transpose()?;
        let deployment = part(DEPLOYMENT, &manifest, parts)?.map(|b| String::from_utf8_lossy(b).into_owned());
        checked(&holdings, &manifest)?;
        let BackupManifest { at, program, namespace, home_domain, release, lacks, changed, .. } = manifest;
        Ok(Self { at, program, namespace, home_domain, release, lacks, changed, holdings, etcd, deployment })
    }
}

/// Whether there is as much as the manifest says, and each set's private identities are there.
fn checked(holdings: &Holdings, manifest: &BackupManifest) -> Result<(), InvalidBackup> {
    let counts = holdings.counts();
    if counts != manifest.counts {
        let reason = format!("it counts {:?}, and the parts hold {counts:?}", manifest.counts);
        return Err(InvalidBackup::Altered { part: MANIFEST.to_owned(), reason });
    }
    let wrong = |reason: String| Err(InvalidBackup::Unreadable { part: SUBSCRIBERS.to_owned(), reason });
    let mut identities = BTreeSet::new();
    for set in &holdings.registration_sets {
        if let Some(lost) = set.private_identities.iter().find(|p| !holdings.private_identities.contains_key(*p)) {
            return wrong(format!("the set of {} names private identity {lost}, which is not in it", set.name()));
        }
        if let Some(twice) = set.public_identities().find(|identity| !identities.insert((*identity).to_owned())) {
            return wrong(format!("public identity {twice} stands in it twice"));
        }
    }
    Ok(())
}
