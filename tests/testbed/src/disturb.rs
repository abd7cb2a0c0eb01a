//! What tests do to the cluster of the test bed: parts that stop, wires that are cut, nodes that fall silent.
//!
//! Everything here gives back a guard that repairs it when it is dropped, so that a test that fails leaves the cluster as
//! it was.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::cluster::{Local, program_images};
use crate::containerd;
use crate::host::{Attempt, output, wait_for};
use crate::image::Archive;
use crate::net::{self, CONTROL_PLANE, NODES, node_namespace};
use crate::process::Part;
use crate::programs::Program;
use crate::{ApiProxy, AuditEvent, AuditMark, Registry, audit};

const PATIENCE: Duration = Duration::from_secs(120);
/// The image that metrics-server runs in.
const METRICS_IMAGE: &str = "localhost/clearwater-testbed/metrics-server:0.9.0";

/// Takes kube-router's rules and sets away: it leaves them when it ends.
const NO_POLICIES: &str = "iptables-save --table filter | grep --invert-match --extended-regexp \
     'KUBE-(ROUTER|POD-FW|NWPLCY)-' | iptables-restore --wait --table filter && \
     for set in $(ipset list -name | grep --extended-regexp '^KUBE-(SRC|DST)-'); do ipset destroy $set; done";

/// A path through the cluster's network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Path {
    /// Between a node, its pods included, and the API server.
    ToApi(u8),
    /// Between the two nodes and their pods.
    BetweenNodes,
    /// Between a node and everything else.
    Of(u8),
    /// Between one address, for example a pod's, and everything beyond its node's bridge; also pods of its own node.
    Address(String),
}

/// Repairs something when it is dropped, or when it is told to.
#[must_use = "what was broken is repaired as soon as this is dropped"]
pub struct Broken<'a> {
    what: String,
    repair: Option<Box<dyn FnOnce() -> Result<()> + 'a>>,
}

impl std::fmt::Debug for Broken<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Broken({})", self.what)
    }
}

impl<'a> Broken<'a> {
    fn new(what: impl Into<String>, repair: impl FnOnce() -> Result<()> + 'a) -> Self {
        Self { what: what.into(), repair: Some(Box::new(repair)) }
    }

    /// Repairs it now and waits until it works again.
    pub fn repair(mut self) -> Result<()> {
        let repair = self.repair.take();
        repair.map_or(Ok(()), |repair| repair()).with_context(|| format!("cannot repair {}", self.what))
    }
}

impl Drop for Broken<'_> {
    fn drop(&mut self) {
        if let Some(repair) = self.repair.take() {
            // A test that fails is about to say why; the next `up` repairs what could not be repaired here.
            let _ = repair();
        }
    }
}

impl Local {
    /// Stops a part in order, as a service manager would; it is started again when the guard is dropped.
    pub fn stop(&self, part: Part) -> Result<Broken<'_>> {
        self.supervisor.stop(part)?;
        Ok(Broken::new(part.to_string(), move || self.begin(part)))
    }

    /// Kills a part with SIGKILL; it is started again when the guard is dropped.
    pub fn kill(&self, part: Part) -> Result<Broken<'_>> {
        self.supervisor.kill(part)?;
        Ok(Broken::new(part.to_string(), move || self.begin(part)))
    }

    /// Stops a part, starts it again and waits until it answers.
    pub fn restart(&self, part: Part) -> Result<()> {
        self.stop(part)?.repair()
    }

    fn begin(&self, part: Part) -> Result<()> {
        self.supervisor.start(&self.plan.process(part))?;
        match part {
            Part::Etcd | Part::ApiServer => self.await_api(),
            Part::Containerd(node) => containerd::await_answer(&self.plan.containerd_socket(node), PATIENCE),
            Part::Kubelet(node) => self.await_ready(node, true),
            _ => Ok(()),
        }
    }

    /// Waits until the API says that a node is Ready, or is not.
    pub fn await_ready(&self, node: u8, ready: bool) -> Result<()> {
        let name = self.layout().node_name(node);
        let kubectl = self.kubectl();
        let wanted = if ready { "True" } else { "False Unknown" };
        wait_for(&format!("the node {name} to be {}", if ready { "Ready" } else { "not Ready" }), PATIENCE, || {
            let path = "jsonpath={.status.conditions[?(@.type==\"Ready\")].status}";
            let seen = kubectl.run(["get", "node", &name, "--output", path]).unwrap_or_default();
            Ok(if !seen.is_empty() && wanted.split(' ').any(|each| each == seen) {
                Attempt::Done(())
            } else {
                Attempt::not_yet(format!("its condition Ready is {seen:?}"))
            })
        })
    }

    /// Stops a node's kubelet and waits until the API says that the node is not Ready.
    ///
    /// Takes 20 s on a quick cluster, 50 s on a lifelike one. Its pods go on running.
    pub fn node_not_ready(&self, node: u8) -> Result<Broken<'_>> {
        let broken = self.stop(Part::Kubelet(node))?;
        self.await_ready(node, false)?;
        Ok(broken)
    }

    /// Drains a node of the pods that carry a label (`key=value`), so that those of another test are left alone; it takes
    /// pods again when the guard is dropped.
    pub fn drain(&self, node: u8, label: &str) -> Result<Broken<'_>> {
        let name = self.layout().node_name(node);
        let kubectl = self.kubectl();
        let broken = {
            let (name, kubectl) = (name.clone(), kubectl.clone());
            Broken::new(format!("the drained node {name}"), move || kubectl.run(["uncordon", &name]).map(drop))
        };
        let selector = format!("--pod-selector={label}");
        kubectl.run(["drain", &name, &selector, "--delete-emptydir-data", "--force", "--timeout=180s"])?;
        Ok(broken)
    }

    /// Cuts a path until the guard is dropped. Packets vanish; nobody is told.
    pub fn cut(&self, path: &Path) -> Result<Broken<'_>> {
        if let Path::Of(node) = *path {
            self.wire(node, "down")?;
            return Ok(Broken::new(format!("the wire of node {node}"), move || self.wire(node, "up")));
        }
        let rules = self.drop_rules(path);
        for (node, rule) in &rules {
            self.filter(*node, "-I", rule)?;
        }
        Ok(Broken::new(format!("{path:?}"), move || {
            rules.iter().try_for_each(|(node, rule)| self.filter(*node, "-D", rule))
        }))
    }

    /// A command that runs in the first node's network, from where pods' addresses are reached as a phone beside the
    /// cluster would reach them.
    pub fn beside_a_node(&self, program: &str) -> std::process::Command {
        net::inside(&self.layout().namespace(&node_namespace(1)), program)
    }

    fn wire(&self, node: u8, state: &str) -> Result<()> {
        let control_plane = self.layout().namespace(CONTROL_PLANE);
        let mut command = net::inside(&control_plane, "ip");
        output(command.args(["link", "set", &node_namespace(node), state])).map(drop)
    }

    /// In the table mangle: before addresses are rewritten on the way in, after it on the way out.
    fn drop_rules(&self, path: &Path) -> Vec<(u8, Vec<String>)> {
        let of = |node: u8, peer: &str| {
            let rule = |chain: &str, flag: &str| (node, vec![chain.to_owned(), flag.to_owned(), peer.to_owned()]);
            [rule("PREROUTING", "--source"), rule("POSTROUTING", "--destination")]
        };
        match path {
            Path::ToApi(node) => of(*node, &self.addresses().control_plane()).to_vec(),
            Path::BetweenNodes => [of(1, &self.addresses().node(2)), of(1, "10.244.2.0/24")].concat(),
            Path::Address(address) => NODES.iter().flat_map(|node| of(*node, address)).collect(),
            Path::Of(_) => Vec::new(),
        }
    }

    fn filter(&self, node: u8, verb: &str, rule: &[String]) -> Result<()> {
        let mut command = self.on_node(node, "iptables");
        command.args(["--wait", "--table", "mangle", verb]).args(rule).args(["--jump", "DROP"]);
        output(&mut command).map(drop)
    }

    /// Puts metrics-server on the cluster and waits until it measures pods. The first time it is built, which takes
    /// minutes of processor time.
    pub fn metrics_server(&self, say: &dyn Fn(&str)) -> Result<()> {
        let program = Program::MetricsServer.get(say)?;
        self.import(&program_images("metrics-server", &[(METRICS_IMAGE, &program)])?)?;
        let kubectl = self.kubectl();
        kubectl.apply(&include_str!("metrics.yaml").replace("METRICS_IMAGE", METRICS_IMAGE))?;
        kubectl.run(["wait", "--for=condition=Available", "--timeout=120s", "apiservice/v1beta1.metrics.k8s.io"])?;
        wait_for("pods to be measured", Duration::from_secs(120), || {
            Ok(match kubectl.run(["get", "--raw", "/apis/metrics.k8s.io/v1beta1/pods"]) {
                Ok(list) if list.contains("\"usage\"") => Attempt::Done(()),
                Ok(list) => Attempt::not_yet(list),
                Err(error) => Attempt::not_yet(format!("{error:#}")),
            })
        })
    }

    /// Takes metrics-server away again.
    pub fn no_metrics_server(&self) -> Result<()> {
        let objects = include_str!("metrics.yaml").replace("METRICS_IMAGE", METRICS_IMAGE);
        let args = ["delete", "--ignore-not-found", "--wait=false", "--filename", "-"];
        self.kubectl().run_with_input(args, &objects).map(drop)
    }

    /// Enforces NetworkPolicy on both nodes until the guard is dropped, with kube-router's firewall part. The first time
    /// it is built, which takes minutes of processor time.
    pub fn network_policies(&self, say: &dyn Fn(&str)) -> Result<Broken<'_>> {
        let program = Program::KubeRouter.get(say)?;
        let link = self.plan.policies_program();
        let _ = fs::remove_file(&link);
        symlink(&program, &link).with_context(|| format!("cannot link {}", link.display()))?;
        let enforced = Broken::new("unenforced policies", move || {
            NODES.into_iter().try_for_each(|node| {
                self.supervisor.stop(Part::Policies(node))?;
                output(self.on_node(node, "sh").args(["-c", NO_POLICIES])).map(drop)
            })
        });
        for node in NODES {
            let part = Part::Policies(node);
            self.supervisor.start(&self.plan.process(part))?;
            wait_for(&format!("{part} to write its rules"), PATIENCE, || {
                let rules =
                    output(self.on_node(node, "iptables").args(["--wait", "--list-rules", "KUBE-ROUTER-FORWARD"]));
                Ok(match rules {
                    Ok(_) => Attempt::Done(()),
                    Err(error) => Attempt::not_yet(format!("{error:#}\n{}", self.supervisor.tail(part, 5))),
                })
            })?;
        }
        Ok(enforced)
    }

    /// Gives every node the images of an archive; what a node has already is not sent again.
    pub fn import(&self, archive: &Archive) -> Result<()> {
        std::thread::scope(|scope| {
            let imports = NODES.map(|node| {
                let socket = self.plan.containerd_socket(node);
                scope.spawn(move || containerd::import(&socket, archive))
            });
            imports
                .into_iter()
                .try_for_each(|import| import.join().map_err(|_| anyhow::anyhow!("the import of images panicked"))?)
        })
    }

    /// Writes images that the nodes have, by their full names, into an archive.
    pub fn export(&self, images: &[String], to: impl Into<PathBuf>) -> Result<Archive> {
        let to = to.into();
        let socket = self.plan.containerd_socket(NODES[0]);
        output(containerd::ctr(&socket).args(["images", "export"]).arg(&to).args(images))?;
        Archive::open(to)
    }

    /// Takes images away from the nodes whose names begin with this, and what their layers took on the disk.
    pub fn forget_images(&self, prefix: &str) -> Result<()> {
        for node in NODES {
            let socket = self.plan.containerd_socket(node);
            let listed = output(containerd::ctr(&socket).args(["images", "list"]))?;
            let names = names_of(&listed, prefix);
            if !names.is_empty() {
                output(containerd::ctr(&socket).args(["images", "remove", "--sync"]).args(&names))?;
            }
        }
        Ok(())
    }

    /// Starts a proxy before the API server.
    pub fn api_proxy(&self) -> Result<ApiProxy> {
        ApiProxy::start(self)
    }

    /// Starts a registry with the images of these archives.
    pub fn registry(&self, archives: &[Archive]) -> Result<Registry> {
        Registry::start(self, archives)
    }

    /// The end of the audit log as it is now.
    pub fn audit_mark(&self) -> Result<AuditMark> {
        audit::mark(&self.layout().audit_log())
    }

    /// The requests since a mark whose user agent begins with `user_agent`; an empty one means all.
    pub fn audit_since(&self, mark: &AuditMark, user_agent: &str) -> Result<Vec<AuditEvent>> {
        let mut events = audit::since(&self.layout().audit_log(), mark)?;
        events.retain(|event| event.user_agent.starts_with(user_agent));
        Ok(events)
    }

    /// Lets container logs grow to `size` (as `1Gi`) before they are rotated, until the guard is dropped.
    ///
    /// Restarts the kubelets; pods go on running.
    pub fn keep_logs(&self, size: &str) -> Result<Broken<'_>> {
        self.kubelets("the size of container logs", "containerLogMaxSize", size)
    }

    /// Lets each kubelet pull one image after another, which is Kubernetes' default, until the guard is dropped.
    ///
    /// Restarts the kubelets; pods go on running.
    pub fn pull_one_by_one(&self) -> Result<Broken<'_>> {
        self.kubelets("pulls one by one", "serializeImagePulls", true)
    }

    /// Sets a field of the kubelets' configuration.
    fn kubelets(&self, what: &str, field: &str, value: impl Into<serde_json::Value>) -> Result<Broken<'_>> {
        let files: Vec<_> = NODES.iter().map(|node| self.layout().etc().join(format!("kubelet-{node}.yaml"))).collect();
        let (mut before, value) = (Vec::new(), value.into());
        for file in &files {
            let text = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
            let mut config: serde_json::Value = serde_json::from_str(&text)?;
            config[field] = value.clone();
            fs::write(file, config.to_string())?;
            before.push(text);
        }
        let guard = Broken::new(what, move || {
            for (file, text) in files.iter().zip(&before) {
                fs::write(file, text)?;
            }
            NODES.iter().try_for_each(|node| self.restart(Part::Kubelet(*node)))
        });
        NODES.iter().try_for_each(|node| self.restart(Part::Kubelet(*node)))?;
        Ok(guard)
    }

    /// Where a node's kubelet keeps the logs of its containers: `NAMESPACE_POD_UID/CONTAINER/RESTARTS.log`.
    pub fn pod_logs(&self, node: u8) -> PathBuf {
        self.layout().node_data(node).join("pods")
    }

    /// The certificate that a node's kubelet serves with, and its key.
    pub fn node_certificate(&self, node: u8) -> (PathBuf, PathBuf) {
        let file = |end: &str| self.layout().pki().join(format!("kubelet-{node}.{end}"));
        (file("crt"), file("key"))
    }

    /// Replaces the pods of CoreDNS and waits for the new ones.
    pub fn restart_dns(&self) -> Result<()> {
        let kubectl = self.kubectl().in_namespace("kube-system");
        kubectl.run(["rollout", "restart", "deployment/coredns"])?;
        kubectl.run(["rollout", "status", "deployment/coredns", "--timeout=120s"]).map(drop)
    }
}
/// Of a list of images the names that begin with this, and the names by which the kubelet's own look-ups keep the same images: their
/// layers go with the last name.
fn names_of<'a>(listed: &'a str, prefix: &str) -> Vec<&'a str> {
    let rows = || {
        listed.lines().skip(1).filter_map(|row| {
            let mut columns = row.split_whitespace();
            Some((columns.next()?, columns.nth(1)?))
        })
    };
    let is_own = |name: &str| name.starts_with(prefix);
    let gone: BTreeSet<&str> = rows().filter(|(name, _)| is_own(name)).map(|(_, digest)| digest).collect();
    let is_id = |name: &str| name.starts_with("sha256:");
    let kept: BTreeSet<&str> =
        rows().filter(|(name, _)| !is_own(name) && !is_id(name)).map(|(_, digest)| digest).collect();
    let goes =
        |name: &str, digest: &str| is_own(name) || is_id(name) && gone.contains(digest) && !kept.contains(digest);
    rows().filter(|(name, digest)| goes(name, digest)).map(|(name, _)| name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_forgotten_by_all_of_its_names() {
        let listed = "REF TYPE DIGEST SIZE PLATFORMS LABELS\n\
                      reg:1/a:1 t sha256:aa 1.0 MiB linux/amd64 -\n\
                      reg:1/b:1 t sha256:bb 1.0 MiB linux/amd64 -\n\
                      sha256:0a t sha256:aa 1.0 MiB linux/amd64 -\n\
                      sha256:0b t sha256:bb 1.0 MiB linux/amd64 -\n\
                      other/b:1 t sha256:bb 1.0 MiB linux/amd64 -\n\
                      sha256:0c t sha256:cc 1.0 MiB linux/amd64 -\n";
        assert_eq!(names_of(listed, "reg:1/"), ["reg:1/a:1", "reg:1/b:1", "sha256:0a"]);
        assert!(names_of(listed, "reg:2/").is_empty());
    }
}
