//! What containers and pods may do: the parts of Kubernetes' security contexts that a deployment file can hold.

#[cfg(feature = "schema")]
use std::borrow::Cow;

#[cfg(feature = "schema")]
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::names::named;

/// What a container may do.
///
/// ```
/// use clearwater::config::{DeploymentFile, SecurityContext};
///
/// let text = "apiVersion: clearwater/v1\nsecurityContext: hardened\n\
///             components: {bono: {securityContext: {readOnlyRootFilesystem: false}}}\n";
/// let file = DeploymentFile::parse(text, "clearwater.yaml")?;
/// assert_eq!(file.security_context, SecurityContext::Hardened);
/// assert_eq!(file.to_yaml()?, "apiVersion: clearwater/v1\n\
///     components:\n  bono:\n    securityContext:\n      readOnlyRootFilesystem: false\n\
///     securityContext: hardened\n");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum SecurityContext {
    /// What the image runs with: root, and the runtime's usual capabilities.
    #[default]
    Default,
    /// No privilege escalation, and no capabilities but those that the catalogue lists for the component.
    Hardened,
    /// As written.
    Verbatim(Box<ContainerSecurity>),
}

impl SecurityContext {
    pub(crate) fn is_default(&self) -> bool {
        *self == Self::Default
    }
}

const DEFAULT: &str = "default";
const HARDENED: &str = "hardened";

impl Serialize for SecurityContext {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Default => serializer.serialize_str(DEFAULT),
            Self::Hardened => serializer.serialize_str(HARDENED),
            Self::Verbatim(context) => context.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for SecurityContext {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Either {
            Word(String),
            Mapping(Box<ContainerSecurity>),
        }
        match Either::deserialize(deserializer)? {
            Either::Word(word) if word == DEFAULT => Ok(Self::Default),
            Either::Word(word) if word == HARDENED => Ok(Self::Hardened),
            Either::Word(word) => Err(serde::de::Error::unknown_variant(&word, &[DEFAULT, HARDENED])),
            Either::Mapping(context) => Ok(Self::Verbatim(context)),
        }
    }
}

#[cfg(feature = "schema")]
impl JsonSchema for SecurityContext {
    fn schema_name() -> Cow<'static, str> {
        "SecurityContext".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mapping = generator.subschema_for::<ContainerSecurity>();
        json_schema!({
            "description": "What a container may do.",
            "oneOf": [
                {
                    "const": DEFAULT, "type": "string",
                    "description": "What the image runs with: root, and the runtime's usual capabilities."
                },
                {
                    "const": HARDENED, "type": "string",
                    "description": "No privilege escalation, and no capabilities but those that the catalogue lists for \
                                    the component. Not proved on upstream's images."
                },
                mapping,
            ]
        })
    }
}

/// Kubernetes' `securityContext` of a container, less what concerns Windows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ContainerSecurity {
    /// Whether a process may gain more than its parent has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow_privilege_escalation: Option<bool>,
    /// Linux capabilities.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capabilities: Option<Capabilities>,
    /// Everything that root may do on the node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub privileged: Option<bool>,
    /// How `/proc` is mounted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(extend("enum" = ["Default", "Unmasked", null])))]
    pub proc_mount: Option<String>,
    /// Whether the image's file system cannot be written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_only_root_filesystem: Option<bool>,
    /// The group that runs it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_as_group: Option<i64>,
    /// Whether the kubelet refuses to run it as root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_as_non_root: Option<bool>,
    /// The user that runs it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_as_user: Option<i64>,
    /// Its SELinux label.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub se_linux_options: Option<SeLinuxOptions>,
    /// Which system calls it may make.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seccomp_profile: Option<SeccompProfile>,
}

/// Kubernetes' `securityContext` of a pod, less what concerns Windows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PodSecurityContext {
    /// The group that owns the pod's volumes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fs_group: Option<i64>,
    /// When the owner of volumes is changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(extend("enum" = ["Always", "OnRootMismatch", null])))]
    pub fs_group_change_policy: Option<String>,
    /// The group that runs its containers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_as_group: Option<i64>,
    /// Whether the kubelet refuses to run containers as root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_as_non_root: Option<bool>,
    /// The user that runs its containers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_as_user: Option<i64>,
    /// The SELinux label of its containers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub se_linux_options: Option<SeLinuxOptions>,
    /// Which system calls its containers may make. Default: `RuntimeDefault`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seccomp_profile: Option<SeccompProfile>,
    /// Further groups of its containers' processes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub supplemental_groups: Vec<i64>,
    /// Kernel parameters of the pod.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sysctls: Vec<Sysctl>,
}

impl PodSecurityContext {
    pub(crate) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// Linux capabilities, without `CAP_`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Capabilities {
    /// Those that it gets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub add: Vec<String>,
    /// Those that it loses; `ALL` for every one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub drop: Vec<String>,
}

/// An SELinux label.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SeLinuxOptions {
    /// The level.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level: Option<String>,
    /// The role.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// The type.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub type_: Option<String>,
    /// The user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
}

/// Which system calls may be made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SeccompProfile {
    /// Whose profile it is.
    #[serde(rename = "type")]
    pub type_: SeccompType,
    /// For `Localhost`: the file on the node, below the kubelet's directory of profiles.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub localhost_profile: Option<String>,
}

/// Whose seccomp profile it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
pub enum SeccompType {
    /// The container runtime's own.
    RuntimeDefault,
    /// A file on the node.
    Localhost,
    /// None: every system call may be made.
    Unconfined,
    /// None is named, and the cluster chooses: a kubelet with `seccompDefault`, OpenShift's security context constraints, of which
    /// `anyuid` take no other.
    Unset,
}

named! {
    /// The name Kubernetes uses.
    SeccompType {
        RuntimeDefault = "RuntimeDefault",
        Localhost = "Localhost",
        Unconfined = "Unconfined",
        Unset = "Unset",
    }
}

/// A kernel parameter of a pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Sysctl {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
}

/// Which NetworkPolicy objects are rendered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum NetworkPolicies {
    /// None: whoever reaches the pods' network reaches every port.
    #[default]
    None,
    /// One a component: it admits what needs it, its clients where it is exposed, and DNS.
    Isolate,
}

impl NetworkPolicies {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
    pub(crate) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}
