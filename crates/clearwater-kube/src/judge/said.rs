//! What sentences of the API server, of controllers, kubelets and container runtimes say, where something is decided by it.
//! Two kinds of sentences have tables of their own: what a registry or a runtime says of a pull ([`super::pull`]), and which
//! policy refuses and what it is called ([`super::policy`]).

/// What a sentence says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// A quota is full (kubernetes `plugin/pkg/admission/resourcequota/controller.go`).
    QuotaExceeded,
    /// The namespace's Pod Security level refuses the pod (kubernetes `pod-security-admission/admission/response.go`).
    PodSecurity,
    /// The service account is not made yet (kubernetes `plugin/pkg/admission/serviceaccount/admission.go`).
    NoAccount,
    /// A webhook that is asked about every object did not answer (kubernetes `webhook/errors/statuserror.go`).
    WebhookFailed,
    /// The user has no right to do it (kubernetes `endpoints/handlers/responsewriters/errors.go`): whatever else is forbidden,
    /// admission forbids to everybody.
    LacksRight,
    /// The field cannot be changed (kubernetes `pkg/apis/apps/validation/validation.go`, `apimachinery/.../objectmeta.go`).
    Immutable,
    /// A node port that this cluster does not give (kubernetes `registry/core/service/portallocator/allocator.go`).
    NodePortRange,
    /// A pod was refused for what will be otherwise in a moment, and is nothing else of these.
    RefusedForNow,
    /// A pod was refused for what will not be otherwise by itself, and is nothing else of these.
    RefusedForGood,
    /// An image was not pulled (kubernetes `pkg/kubelet/images/image_manager.go`).
    PullFailed,
    /// An object was not in the kubelet's cache yet (kubernetes `pkg/kubelet/util/manager/watch_based_manager.go`).
    NotSynced,
    /// An object that a pod names is missing (kubernetes `pkg/volume/util`, `pkg/kubelet/kubelet_pods.go`).
    NoObject,
    /// A class of storage is missing (kubernetes `pv_controller.go`).
    NoStorageClass,
    /// A claim has no volume yet (kubernetes scheduler, `volumebinding/volume_binding.go`).
    UnboundClaim,
    /// A node does not answer just now (kubernetes `taints/taints.go`).
    NodeFlaps,
    /// Somebody has cordoned a node (kubernetes scheduler, `nodeunschedulable/node_unschedulable.go`).
    Cordoned,
    /// The container has no such program (Go's `os/exec`, which runc quotes).
    NoProgram,
    /// The image names no program (containerd `pkg/cri/sbserver/container_create.go`).
    NoCommand,
    /// A file is missing (ENOENT, as runc says it).
    NoFile,
    /// It is said of a container, and so by its kubelet: the API server's own errors name none (kubernetes
    /// `apimachinery/pkg/util/proxy/streamtranslator.go`).
    OfContainer,
    /// The program is made for another processor (ENOEXEC, as runc and shells say it).
    WrongArchitecture,
}

impl Meaning {
    /// In small letters: one of these, each whole.
    const fn words(self) -> &'static [&'static str] {
        match self {
            Self::QuotaExceeded => &["exceeded quota"],
            Self::PodSecurity => &["violates podsecurity"],
            Self::NoAccount => &["error looking up service account"],
            Self::WebhookFailed => &["failed calling webhook"],
            Self::LacksRight => &["forbidden: user \""],
            Self::Immutable => &["immutable", "forbidden: updates to"],
            Self::NodePortRange => &["not in the valid range"],
            Self::RefusedForNow => &[
                "timeout",
                "connection refused",
                "etcdserver",
                "try again",
                "object has been modified",
                "status unknown for quota",
            ],
            Self::RefusedForGood => &[
                "denied the request",
                "is invalid",
                "invalid value",
                "must specify",
                "maximum",
                "minimum",
                " limit to request ratio per ",
                "forbidden: unable to validate",
                "denied request:",
                "unable to validate against any security context constraint",
                "no priorityclass with name",
            ],
            Self::PullFailed => &["failed to pull image"],
            Self::NotSynced => &["timed out waiting for the condition"],
            Self::NoObject => &["not found", "non-existent"],
            Self::NoStorageClass => &["storageclass"],
            Self::UnboundClaim => &["unbound immediate persistentvolumeclaims"],
            Self::NodeFlaps => {
                &["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable", "no nodes available"]
            }
            Self::Cordoned => &["node(s) were unschedulable"],
            Self::NoProgram => &["executable file not found"],
            Self::NoCommand => &["no command specified"],
            Self::NoFile => &["no such file"],
            Self::OfContainer => &["container"],
            Self::WrongArchitecture => &["exec format error"],
        }
    }

    /// Whether a sentence says this.
    pub(crate) fn is_in(self, message: &str) -> bool {
        let message = message.to_lowercase();
        self.words().iter().any(|words| message.contains(words))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sentences as they were seen.
    #[test]
    fn sentences_of_others() {
        for (message, meaning) in [
            (
                r#"pods "a" is forbidden: exceeded quota: q, requested: pods=1, used: pods=1, limited: pods=1"#,
                Meaning::QuotaExceeded,
            ),
            (r#"pods "a" is forbidden: violates PodSecurity "restricted:latest": hostPort"#, Meaning::PodSecurity),
            (
                r#"pods is forbidden: User "x" cannot create resource "pods" in API group "" in the namespace "ims""#,
                Meaning::LacksRight,
            ),
            (r#"exec: "bash": executable file not found in $PATH: unknown"#, Meaning::NoProgram),
            ("exec /usr/bin/x: exec format error", Meaning::WrongArchitecture),
            ("pod has unbound immediate PersistentVolumeClaims. preemption: 0/2", Meaning::UnboundClaim),
            ("0/2 nodes are available: 2 node(s) were unschedulable. preemption: 0/2", Meaning::Cordoned),
            (r#"Failed to pull image "x": rpc error: code = NotFound"#, Meaning::PullFailed),
            ("spec.selector: Invalid value: {}: field is immutable", Meaning::Immutable),
            ("spec: Forbidden: updates to statefulset spec for fields other than", Meaning::Immutable),
        ] {
            assert!(meaning.is_in(message), "{message}");
            assert!(!meaning.is_in("pod not there"), "{meaning:?}");
            assert!(!meaning.is_in("container not found"), "{meaning:?}");
        }
    }
}
