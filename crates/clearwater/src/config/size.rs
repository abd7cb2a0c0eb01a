//! Recommended counts and resources, each with its reason.

use std::fmt::Write as _;

use crate::component::{Component, Release, catalogue};
use crate::names::named;

/// What a deployment is made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// One person tries things on one machine.
    Lab,
    /// Many deployments on one cluster, none of which may harm another.
    Course,
    /// Calls go on when a pod is lost.
    Ha,
}

named! {
    /// The name used on the command line.
    Size, "size" {
        Lab = "lab",
        Course = "course",
        Ha = "ha",
    }
}

/// A value, and why it is recommended.
type Reasoned<T> = (T, &'static str);

/// What is recommended for one component.
struct SizeAdvice {
    replicas: Reasoned<u32>,
    /// The request.
    cpu: Reasoned<&'static str>,
    /// The request, and a limit where there is one.
    memory: Reasoned<(&'static str, Option<&'static str>)>,
}

const ALONE: &str = "nothing is lost that a lab would miss, and each further pod costs what the first one does";
const UNMEASURED: &str = "unmeasured: nobody has published a figure for these images";
const SHARE: &str = "unmeasured; a share for when others want the processors, too: what is idle may be taken";
const BUSY: &str = "unmeasured; enough that an autoscaler, which measures against it, does not grow an idle component";

impl Size {
    fn advice(self, component: Component) -> SizeAdvice {
        SizeAdvice { replicas: self.replicas(component), cpu: self.cpu(component), memory: self.memory(component) }
    }

    fn replicas(self, component: Component) -> Reasoned<u32> {
        use Component::{Astaire, Bono, Cassandra, Chronos, Ellis, Etcd, HomesteadProv, Memcached};
        match (component, self) {
            (Etcd, _) => (1, "a further member needs a discovery URL and not a higher count; calls go on without it"),
            (Ellis, _) => (1, "its database is in its own container; calls go on without it"),
            (_, Self::Lab | Self::Course) => (1, ALONE),
            (Astaire | Memcached | Chronos, Self::Ha) => {
                (2, "each datum has two copies (upstream's README scales to two): one may be lost")
            }
            (Cassandra, Self::Ha) => {
                (3, "as upstream's manifests have it; each datum has two copies, and one may be lost")
            }
            (Bono, Self::Ha) => {
                (2, "phones register again through the other one; nodePort and loadBalancer need two of bono.addresses")
            }
            (HomesteadProv, Self::Ha) => (2, "each keeps one connection to Cassandra, so that their load is uneven"),
            (_, Self::Ha) => (2, "it keeps nothing that another pod could not read again: one may be lost"),
        }
    }

    fn cpu(self, component: Component) -> Reasoned<&'static str> {
        let is_busy =
            matches!(component, Component::Sprout | Component::Bono | Component::Cassandra | Component::Homestead);
        match (self, is_busy) {
            (Self::Lab, _) => ("50m", UNMEASURED),
            (Self::Course, _) => ("25m", SHARE),
            (Self::Ha, true) => ("500m", BUSY),
            (Self::Ha, false) => ("250m", BUSY),
        }
    }

    fn memory(self, component: Component) -> Reasoned<(&'static str, Option<&'static str>)> {
        // A limit that nobody has measured may end a daemon: only where one deployment must not harm another.
        let limits = self == Self::Course;
        match component {
            Component::Astaire | Component::Memcached => (
                (if self == Self::Ha { "768Mi" } else { "256Mi" }, limits.then_some("1Gi")),
                "the cache may grow to 512 MB, which the image fixes (astaire/memcached.supervisord.conf); what is beside it is \
                 unmeasured",
            ),
            Component::Cassandra => (
                ("768Mi", limits.then_some("1536Mi")),
                "a heap of 512 MB is fixed by reduce_cassandra_mem_usage=Y; what is outside of the heap is unmeasured",
            ),
            Component::Etcd => (("64Mi", limits.then_some("256Mi")), "unmeasured; it holds a few keys"),
            Component::Ellis => {
                (("256Mi", limits.then_some("768Mi")), "unmeasured; MySQL with its default buffers runs in it")
            }
            Component::Sprout | Component::Homestead => (
                (if self == Self::Ha { "512Mi" } else { "128Mi" }, limits.then_some("2Gi")),
                "unmeasured; it starts threads for each processor of the node (sprout 300), so that a larger node takes more",
            ),
            _ => (("128Mi", limits.then_some("512Mi")), UNMEASURED),
        }
    }
}

/// The components' part of a deployment file.
pub(super) fn components(release: Release, size: Size) -> String {
    let what = match size {
        Size::Lab => "one person tries things: one pod of each",
        Size::Course => {
            "many deployments on one cluster: one pod of each, small requests, and a limit to the memory that one may take"
        }
        Size::Ha => {
            "calls go on when a pod is lost: two of each where the component allows it,\n# members of stores on different \
             nodes where there are some. Memory has no limits, because nobody has measured any"
        }
    };
    let mut text = format!(
        "# Sizes for {size}: {what}.\n# Processors have no limits: daemons that are throttled miss their timers, and probes \
         restart them.\ncomponents:\n"
    );
    for entry in catalogue(release) {
        let SizeAdvice { replicas, cpu, memory } = size.advice(entry.component);
        let (request, limit) = memory.0;
        let _ = write!(
            text,
            "  {}:\n    # {}.\n    replicas: {}\n    resources:\n      # cpu: {}.\n      # memory: {}.\n      requests: \
             {{cpu: {}, memory: {request}}}\n",
            entry.component, replicas.1, replicas.0, cpu.1, memory.1, cpu.0
        );
        if let Some(limit) = limit {
            let _ = writeln!(text, "      limits: {{memory: {limit}}}");
        }
    }
    text
}
