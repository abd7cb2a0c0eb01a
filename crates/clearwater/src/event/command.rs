#[cfg(feature = "schema")]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A command that yields events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum Command {
    /// `up`.
    Up,
    /// `down`.
    Down,
    /// `scale`.
    Scale,
    /// `dns-patch`.
    DnsPatch,
    /// `backup`.
    Backup,
    /// `restore`.
    Restore,
    /// A command that this version of the format does not know.
    #[serde(other)]
    Unknown,
}
