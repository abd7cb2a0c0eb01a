//! Who manages the cluster's Corefile, and where lines may be written.
//!
//! Many distributions put their own Corefile back after a while, and a patched name vanishes in the middle of a night.
//! They all leave marks on the ConfigMap: labels, annotations, owner references, the managers of its fields. [`managed_by`]
//! reads these marks, and [`write_target`] says what follows from them.

use std::collections::BTreeMap;
use std::fmt;

#[cfg(feature = "manifest")]
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Serialize;

use super::Name;
use super::corefile::Corefile;
use crate::remedy::{NamesDeed, Remedy};

/// Who keeps a ConfigMap that holds a Corefile.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", tag = "is", content = "name")]
#[non_exhaustive]
pub enum Manager {
    /// kubeadm, also below kind and minikube: it made the file, and keeps edits when it upgrades
    /// (kubernetes `cmd/kubeadm/app/phases/addons/dns/dns.go`).
    Kubeadm,
    /// k3s' deploy controller, which applies its bundled manifest again at each start of the server
    /// (k3s-io/k3s `manifests/coredns.yaml`).
    K3s,
    /// The EKS add-on, which applies its own Corefile again with each update of its configuration.
    EksAddon,
    /// The addon manager of GKE, AKS and others, mode Reconcile: it applies its own file again every minute
    /// (kubernetes `cluster/addons/addon-manager/README.md`).
    AddonManager,
    /// kops' channels (kubernetes/kops `upup/models/cloudup/resources/addons/coredns.addons.k8s.io`).
    Kops,
    /// OpenShift's DNS operator (openshift/cluster-dns-operator).
    OpenShift,
    /// A release of Helm.
    Helm(String),
    /// Argo CD, Flux or Gardener.
    Delivery(String),
    /// A controller that owns the object.
    Controller(String),
    /// Nobody that is known to put it back: a person, or a tool that ran once.
    Person,
}

impl fmt::Display for Manager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kubeadm => f.write_str("kubeadm"),
            Self::K3s => f.write_str("k3s"),
            Self::EksAddon => f.write_str("the EKS add-on coredns"),
            Self::AddonManager => f.write_str("the addon manager"),
            Self::Kops => f.write_str("kops"),
            Self::OpenShift => f.write_str("OpenShift's DNS operator"),
            Self::Helm(release) => write!(f, "the Helm release {release}"),
            Self::Delivery(tool) => f.write_str(tool),
            Self::Controller(owner) => f.write_str(owner),
            Self::Person => f.write_str("nobody who puts it back"),
        }
    }
}

/// Who manages a ConfigMap, with what showed it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ManagedBy {
    /// Who.
    pub by: Manager,
    /// Whether an edit by others is put back sooner or later.
    pub restores: bool,
    /// The mark that shows it.
    pub shown_by: String,
}

/// Reads the marks of a ConfigMap.
///
/// ```
/// use clearwater::dns::ownership::{Manager, managed_by};
/// use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
///
/// let mut metadata = ObjectMeta::default();
/// assert_eq!(managed_by(&metadata).by, Manager::Person);
/// metadata.labels.get_or_insert_default().insert("addonmanager.kubernetes.io/mode".into(), "Reconcile".into());
/// assert!(managed_by(&metadata).restores);
/// ```
#[cfg(feature = "manifest")]
pub fn managed_by(metadata: &ObjectMeta) -> ManagedBy {
    let found = |by, restores, shown_by: String| ManagedBy { by, restores, shown_by };
    let label = |key: &str| metadata.labels.as_ref().and_then(|l| l.get(key)).map(String::as_str);
    let annotation = |key: &str| metadata.annotations.as_ref().and_then(|a| a.get(key)).map(String::as_str);
    if let Some(dns) = label("dns.operator.openshift.io/owning-dns") {
        return found(Manager::OpenShift, true, format!("label dns.operator.openshift.io/owning-dns: {dns}"));
    }
    if let Some(owner) = metadata.owner_references.iter().flatten().find(|o| o.controller.unwrap_or(true)) {
        let name = format!("{} {} ({})", owner.kind, owner.name, owner.api_version);
        let by = if owner.api_version.starts_with("operator.openshift.io/") && owner.kind == "DNS" {
            Manager::OpenShift
        } else {
            Manager::Controller(name.clone())
        };
        return found(by, true, format!("owner reference to {name}"));
    }
    if let Some(kind) = annotation("objectset.rio.cattle.io/owner-gvk") {
        let mark = format!("annotation objectset.rio.cattle.io/owner-gvk: {kind}");
        let by = if kind.starts_with("k3s.cattle.io/") {
            Manager::K3s
        } else {
            Manager::Delivery(format!("Rancher ({kind})"))
        };
        return found(by, true, mark);
    }
    for (key, tool) in [
        ("argocd.argoproj.io/instance", "Argo CD"),
        ("argocd.argoproj.io/tracking-id", "Argo CD"),
        ("kustomize.toolkit.fluxcd.io/name", "Flux"),
        ("helm.toolkit.fluxcd.io/name", "Flux"),
        ("resources.gardener.cloud/origin", "Gardener"),
    ] {
        if let Some(value) = label(key).or_else(|| annotation(key)) {
            return found(Manager::Delivery(format!("{tool} ({value})")), true, format!("{key}: {value}"));
        }
    }
    if let Some(addon) =
        label("addon.kops.k8s.io/name").or_else(|| label("k8s-addon").filter(|a| a.contains("coredns")))
    {
        return found(Manager::Kops, true, format!("label addon.kops.k8s.io/name or k8s-addon: {addon}"));
    }
    if let Some(release) = annotation("meta.helm.sh/release-name") {
        return found(
            Manager::Helm(release.to_owned()),
            true,
            format!("annotation meta.helm.sh/release-name: {release}"),
        );
    }
    match label("addonmanager.kubernetes.io/mode") {
        Some("Reconcile") => {
            return found(Manager::AddonManager, true, "label addonmanager.kubernetes.io/mode: Reconcile".to_owned());
        }
        Some("EnsureExists") => {
            let mark = "label addonmanager.kubernetes.io/mode: EnsureExists, which puts back what is missing only";
            return found(Manager::AddonManager, false, mark.to_owned());
        }
        _ => {}
    }
    // This program's own edits say nothing of who keeps the file.
    let managers: Vec<&str> = metadata
        .managed_fields
        .iter()
        .flatten()
        .filter(|m| m.fields_v1.as_ref().is_some_and(|f| f.0.get("f:data").is_some()))
        .filter_map(|m| m.manager.as_deref())
        .filter(|m| *m != crate::manifest::MANAGED_BY)
        .collect();
    if managers.contains(&"eks") {
        return found(Manager::EksAddon, true, "field manager eks".to_owned());
    }
    if let Some(manager) = managers.iter().find(|m| m.starts_with("deploy@")) {
        return found(Manager::K3s, true, format!("field manager {manager}"));
    }
    if let Some(tool) =
        managers.iter().find(|m| ["argocd-controller", "kustomize-controller", "helm-controller"].contains(m))
    {
        return found(Manager::Delivery((*tool).to_owned()), true, format!("field manager {tool}"));
    }
    if managers.contains(&"kubeadm") {
        return found(Manager::Kubeadm, false, "field manager kubeadm".to_owned());
    }
    let mark = match managers.as_slice() {
        [] => "no mark of anybody".to_owned(),
        some => format!("field manager {}", some.join(", ")),
    };
    found(Manager::Person, false, mark)
}

/// A ConfigMap by namespace and name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Place {
    /// The namespace.
    pub namespace: String,
    /// The name.
    pub name: String,
    /// The key of its data.
    pub key: String,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "configmap {}/{}, key {}", self.namespace, self.name, self.key)
    }
}

/// Where a deployment's lines go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", tag = "is")]
#[non_exhaustive]
pub enum WriteTarget {
    /// Into the Corefile itself.
    Corefile {
        /// The file.
        place: Place,
    },
    /// Into a file of our own, which the Corefile imports: the place that its manager made for it.
    Custom {
        /// The file.
        place: Place,
        /// The import that brings it in.
        import: String,
    },
    /// Nowhere that this program may write to.
    Closed {
        /// What works in its place.
        instead: Remedy,
    },
}

/// What is mounted into the container of CoreDNS: directories of ConfigMaps, by path.
pub type Mounts = BTreeMap<String, String>;

/// The write target for the lines of the deployment in `namespace`.
///
/// `place` is where the Corefile itself stands and `directory` where CoreDNS finds it. `mounts` says which ConfigMap
/// lies at which directory of the container.
pub fn write_target(
    kept: &ManagedBy,
    corefile: &Corefile,
    domain: &Name,
    place: &Place,
    directory: &str,
    mounts: &Mounts,
    namespace: &str,
) -> WriteTarget {
    for import in corefile.imports_of(domain) {
        let Some((imported, pattern)) = import.rsplit_once('/') else { continue };
        let Some(ending) = pattern.strip_prefix('*').filter(|e| e.starts_with('.') && !e.contains(['*', '?', '[']))
        else {
            continue;
        };
        let path = if imported.starts_with('/') { imported.to_owned() } else { format!("{directory}/{imported}") };
        if let Some(name) = mounts.get(&path) {
            return WriteTarget::Custom {
                place: Place {
                    namespace: place.namespace.clone(),
                    name: name.clone(),
                    key: format!("clearwater-{namespace}{ending}"),
                },
                import: import.to_owned(),
            };
        }
    }
    if !kept.restores {
        return WriteTarget::Corefile { place: place.clone() };
    }
    let file = format!("{}/{}", place.namespace, place.name);
    let pods =
        || Remedy::from("let sprout's pods carry the names (`dns: {backend: pods}`), which needs nothing from DNS");
    let print = |and: String| Remedy::any([Remedy::from(NamesDeed::Print).then(and), pods()]);
    let instead = match &kept.by {
        Manager::EksAddon => print(
            " and give the file to the add-on: aws eks update-addon --addon-name coredns --cluster-name CLUSTER \
             --resolve-conflicts PRESERVE --configuration-values with {\"corefile\": \"…\"}"
                .to_owned(),
        ),
        Manager::Kops => print(
            " and put the file at spec.kubeDNS.externalCoreFile (kops edit cluster, kops update cluster --yes)".to_owned(),
        ),
        Manager::OpenShift => "the operator takes no lines for the cluster's own domain: let sprout's pods carry the names \
                              (`dns: {backend: pods}`), or give the zone to a DNS server of your own with spec.servers of \
                              dns.operator/default"
            .into(),
        Manager::Helm(release) => print(format!(
            ", put the lines among the plugins in the values of release {release} and run helm upgrade"
        )),
        Manager::K3s | Manager::AddonManager => Remedy::any([
            format!("upgrade this version, which imports no file of the user's into {file}").into(),
            pods(),
        ]),
        _ => print(format!(" and put the lines into what {} delivers as {file}", kept.by)),
    };
    WriteTarget::Closed { instead }
}
