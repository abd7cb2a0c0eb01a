//! The keys of labels that tie objects, pods and programs together.

/// Upstream's label: the component's name, on every object and pod (clearwater-docker `kubernetes/templates`).
pub const SERVICE_LABEL: &str = "service";
/// The part that a workload plays: the component's name, or the sprout function whose sub-domain its pods carry.
pub const COMPONENT_LABEL: &str = "app.kubernetes.io/component";
/// The label that says what an object is part of.
pub const PART_OF_LABEL: &str = "app.kubernetes.io/part-of";
/// The label that says who manages an object.
pub const MANAGED_BY_LABEL: &str = "app.kubernetes.io/managed-by";
/// The label that says of which release an object is; pods do not carry it.
pub(crate) const VERSION_LABEL: &str = "app.kubernetes.io/version";
pub(crate) const NAME_LABEL: &str = "app.kubernetes.io/name";
const INSTANCE_LABEL: &str = "app.kubernetes.io/instance";

/// Those that no deployment file may set.
pub(crate) const OWN: [&str; 7] =
    [SERVICE_LABEL, NAME_LABEL, INSTANCE_LABEL, COMPONENT_LABEL, PART_OF_LABEL, MANAGED_BY_LABEL, VERSION_LABEL];
