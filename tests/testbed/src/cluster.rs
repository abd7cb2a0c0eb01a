//! A cluster's life: up, down, status.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::cgroup::Groups;
use crate::host::{self, Attempt, output, wait_for};
use crate::image::{Entry, Image, Layer, write_archive};
use crate::kubectl::Kubectl;
use crate::layout::{Layout, cached};
use crate::net::{self, Addresses, NODES, node_namespace};
use crate::pki::{Authority, keep_signing_key};
use crate::plan::{CLUSTER_DOMAIN, Options, PAUSE_IMAGE, Plan, Programs, USERS, coredns_image};
use crate::process::{Part, Supervisor};
use crate::programs::Program;
use crate::{containerd, image};

/// How long `up` waits for one thing to happen. A cluster on a busy machine of two cores needs a tenth of it.
const PATIENCE: Duration = Duration::from_secs(180);

/// Lines of a part's log that an error shows.
const SHOWN_LINES: usize = 25;
/// How often a kubelet that ends by itself is started again, as a service manager would, before that is an error.
const KUBELET_RESTARTS: u32 = 5;

/// Kernel parameters of the whole machine that a kubelet sets to its liking.
const KUBELET_PARAMETERS: [&str; 6] = [
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
];

/// A cluster on this machine, whether it runs or not.
#[derive(Debug)]
pub struct Local {
    pub(crate) plan: Plan,
    pub(crate) supervisor: Supervisor,
    groups: Groups,
}

/// What is remembered of a cluster while it stands.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct State {
    slot: u8,
    options: Options,
    boot: String,
    /// The objects of kube-system were made; from then on they belong to whoever changes them.
    furnished: bool,
}

/// How a cluster is.
#[derive(Clone, Debug)]
pub struct Status {
    /// Each part with its process id, when it runs.
    pub parts: Vec<(Part, Option<i32>)>,
    /// Whether the API server says that it is ready, or what it says instead.
    pub api: Result<(), String>,
    /// Names of the nodes, and whether they are Ready.
    pub nodes: BTreeMap<String, bool>,
    /// Ready pods of CoreDNS.
    pub dns_pods: u64,
}

impl Status {
    /// Whether everything runs and is ready.
    pub fn is_healthy(&self) -> bool {
        self.parts.iter().all(|(_, pid)| pid.is_some())
            && self.api.is_ok()
            && self.nodes.len() == NODES.len()
            && self.nodes.values().all(|ready| *ready)
            && self.dns_pods > 0
    }
}

impl Local {
    /// The cluster `name` as it stands; an error when there is none.
    pub fn open(name: &str) -> Result<Self> {
        let layout = Layout::new(name)?;
        let state = read_state(&layout)?.with_context(|| {
            format!("there is no cluster {name} on this machine: make it with `cargo xtask cluster up --name {name}`")
        })?;
        Self::assemble(layout, &state, &|_| ())
    }

    fn assemble(layout: Layout, state: &State, say: &dyn Fn(&str)) -> Result<Self> {
        let programs = Programs {
            kube: Program::Kube.get(say)?,
            kubectl: Program::Kubectl.get(say)?,
            helper: Program::Helper.get(say)?,
            probe: Program::Probe.get(say)?,
        };
        let groups = Groups::of(&layout.cgroup())?;
        let supervisor =
            Supervisor { pids: layout.run().join("pids"), logs: layout.logs(), groups: groups.system_entries() };
        let plan = Plan { layout, addresses: Addresses { slot: state.slot }, options: state.options, programs };
        Ok(Self { plan, supervisor, groups })
    }

    /// Where the cluster's files are.
    pub fn layout(&self) -> &Layout {
        &self.plan.layout
    }

    /// The cluster's addresses.
    pub fn addresses(&self) -> Addresses {
        self.plan.addresses
    }

    /// kubectl as the administrator.
    pub fn kubectl(&self) -> Kubectl {
        Kubectl::new(
            self.plan.programs.kubectl.clone(),
            Some(self.plan.layout.kubeconfig()),
            Some(self.plan.layout.name().to_owned()),
        )
    }

    /// Starts what does not run and waits until the nodes are Ready and every CoreDNS pod answers.
    ///
    /// Does what is missing and nothing else: a cluster that stands is only looked at, one whose parts were killed gets
    /// them back, one that was cut short in the middle of starting is completed. `say` is told what happens.
    pub fn up(name: &str, options: Options, say: &dyn Fn(&str)) -> Result<Self> {
        ensure!(host::is_root(), "network namespaces, mounts and control groups need root: run this command with sudo");
        let layout = Layout::new(name)?;
        host::install_packages(say)?;
        let coredns = Program::CoreDns.get(say)?;
        let pause = Program::Pause.get(say)?;
        Program::Kube.get(say)?;
        Program::Kubectl.get(say)?;
        Program::Helper.get(say)?;
        Program::Probe.get(say)?;
        let archive = own_images(&coredns, &pause)?;

        let began = Instant::now();
        let _lock = lock(&layout)?;
        let state = match read_state(&layout)? {
            Some(state) if state.boot == boot_id()? => state,
            Some(_) => {
                say("the machine was started anew since the cluster ran: beginning afresh");
                take_down(&layout, say)?;
                new_state(&layout, options)?
            }
            None => {
                // A run that was killed before it noted anything may have left some of it.
                take_down(&layout, say)?;
                new_state(&layout, options)?
            }
        };
        ensure!(
            state.options == options,
            "the cluster {name} runs with other options ({}): take it down first, or use another --name",
            describe(state.options)
        );
        let local = Self::assemble(layout, &state, say)?;
        local.prepare()?;
        local.start(&archive, state, say)?;
        say(&format!("the cluster {name} is ready after {:.1} s", began.elapsed().as_secs_f64()));
        Ok(local)
    }

    /// Writes what the parts read, and makes the groups and networks they live in.
    fn prepare(&self) -> Result<()> {
        let plan = &self.plan;
        for directory in plan.directories() {
            fs::create_dir_all(&directory).with_context(|| format!("cannot create {}", directory.display()))?;
        }
        self.write_identities()?;
        for (path, content) in plan.files() {
            host::write_if_changed(&path, &content)?;
        }
        remember_kernel_parameters(&plan.layout)?;
        self.groups.create(&NODES.map(node_namespace))?;
        if !net::is_up(&plan.layout)? {
            // Parts that run in a namespace that lost its wire would stay there.
            self.groups.kill_all()?;
            net::down(&plan.layout)?;
            net::up(&plan.layout, plan.addresses)?;
        }
        Ok(())
    }

    fn write_identities(&self) -> Result<()> {
        let plan = &self.plan;
        let directory = plan.layout.pki();
        let authority = Authority::open_or_create(&directory, "ca")?;
        let front = Authority::open_or_create(&directory, "front-proxy-ca")?;
        front.keep("front-proxy", "front-proxy-client", None, &[])?;
        let server = plan.addresses.control_plane();
        authority.keep(
            "apiserver",
            "kube-apiserver",
            None,
            &[
                &server,
                "127.0.0.1",
                "10.96.0.1",
                "localhost",
                "kubernetes",
                "kubernetes.default",
                "kubernetes.default.svc",
                &format!("kubernetes.default.svc.{CLUSTER_DOMAIN}"),
            ],
        )?;
        authority.keep("apiserver-kubelet", "kube-apiserver-kubelet-client", None, &[])?;
        keep_signing_key(&directory, "service-accounts")?;
        let write = |file: &str, user: &str, identity: &crate::pki::Identity| {
            let text = plan.render_kubeconfig(authority.certificate(), user, identity);
            host::write_if_changed(&plan.kubeconfig(file), &text)
        };
        for (file, user, group) in USERS {
            write(file, user, &authority.keep(file, user, group, &[])?)?;
        }
        for node in NODES {
            let file = format!("kubelet-{node}");
            let name = plan.layout.node_name(node);
            let user = format!("system:node:{name}");
            let identity = authority.keep(&file, &user, Some("system:nodes"), &[&plan.addresses.node(node), &name])?;
            write(&file, &user, &identity)?;
        }
        Ok(())
    }

    fn start(&self, archive: &image::Archive, mut state: State, say: &dyn Fn(&str)) -> Result<()> {
        let started_at = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let mut started = Vec::new();
        let mut start = |part: Part| -> Result<()> {
            if self.supervisor.start(&self.plan.process(part))? {
                started.push(part);
            }
            Ok(())
        };
        for part in [Part::Etcd, Part::ApiServer, Part::Containerd(1), Part::Containerd(2)] {
            start(part)?;
        }
        let imports: Vec<_> = NODES
            .into_iter()
            .map(|node| {
                let (socket, archive) = (self.plan.containerd_socket(node), archive.clone());
                thread::spawn(move || {
                    containerd::await_answer(&socket, PATIENCE)?;
                    containerd::import(&socket, &archive)
                })
            })
            .collect();
        self.await_api()?;
        for (node, import) in NODES.into_iter().zip(imports) {
            import
                .join()
                .map_err(|_| anyhow!("the import of images panicked"))?
                .map_err(|error| self.explain(Part::Containerd(node), &error))?;
        }
        for part in Part::ALL {
            start(part)?;
        }
        if !started.is_empty() {
            say(&format!("started {}", list(&started)));
        }
        if !state.furnished {
            self.furnish()?;
            state.furnished = true;
            write_state(&self.plan.layout, &state)?;
        }
        self.await_nodes(&started, &started_at)?;
        self.await_dns()
    }

    /// The server's own answer, not the port: it opens before the server can do anything.
    pub(crate) fn await_api(&self) -> Result<()> {
        let kubectl = self.kubectl();
        wait_for("the API server to be ready", PATIENCE, || {
            self.check_alive(&[Part::Etcd, Part::ApiServer])?;
            Ok(match kubectl.run(["get", "--raw=/readyz"]) {
                Ok(_) => Attempt::Done(()),
                Err(error) => Attempt::not_yet(last_line(&error)),
            })
        })
        .map_err(|error| self.explain(Part::ApiServer, &error))
    }

    fn furnish(&self) -> Result<()> {
        let file = self.plan.layout.etc().join("objects.yaml");
        let kubectl = self.kubectl();
        // The namespaces and priority classes of the system appear a moment after the API server is ready.
        wait_for("the API server to take the objects of kube-system", PATIENCE, || {
            let arguments = ["apply", "--server-side", "--force-conflicts", "--validate=false", "--filename"];
            let mut command = kubectl.command(arguments);
            Ok(match output(command.arg(&file)) {
                Ok(_) => Attempt::Done(()),
                Err(error) => Attempt::not_yet(format!("{error:#}")),
            })
        })
    }

    /// A node whose kubelet was killed stays Ready in the API for a while: its word must be newer than this start.
    fn await_nodes(&self, started: &[Part], since: &str) -> Result<()> {
        let kubectl = self.kubectl();
        for node in NODES {
            let part = Part::Kubelet(node);
            let name = self.plan.layout.node_name(node);
            let fresh = started.contains(&part);
            let mut again = 0;
            wait_for(&format!("the node {name} to be Ready"), PATIENCE, || {
                self.check_alive(&[Part::Containerd(node), Part::Proxy(node), Part::ControllerManager])?;
                // containerd answers before its runtime service does, and a kubelet that meets it then ends.
                if again < KUBELET_RESTARTS && self.supervisor.start(&self.plan.process(part))? {
                    again += 1;
                    return Ok(Attempt::not_yet("its kubelet ended by itself and was started again"));
                }
                self.check_alive(&[part])?;
                let found = match kubectl.json(["get", "node", &name]) {
                    Ok(found) => found,
                    Err(error) => return Ok(Attempt::not_yet(last_line(&error))),
                };
                let Some(ready) = condition(&found, "Ready") else {
                    return Ok(Attempt::not_yet("it has said nothing yet"));
                };
                if ready["status"] != "True" {
                    return Ok(Attempt::not_yet(ready["message"].as_str().unwrap_or("not Ready")));
                }
                if (fresh || again > 0) && ready["lastHeartbeatTime"].as_str().is_none_or(|time| time < since) {
                    return Ok(Attempt::not_yet("Ready, but that was before its kubelet was started"));
                }
                Ok(Attempt::Done(()))
            })
            .map_err(|error| self.explain(part, &error))?;
        }
        Ok(())
    }

    /// Each CoreDNS pod answers by itself, and the Service answers on both nodes.
    ///
    /// The pods are read anew where one does not answer: after everything was killed the API server goes on calling pods
    /// ready, at addresses that they no longer have, until their kubelets have looked.
    fn await_dns(&self) -> Result<()> {
        wait_for("cluster DNS to answer on both nodes", PATIENCE, || {
            let servers = match self.dns_pods()? {
                Ok(pods) => pods,
                Err(why) => return Ok(Attempt::not_yet(why)),
            };
            for server in servers.iter().map(String::as_str).chain([net::DNS_ADDRESS]) {
                for node in NODES {
                    let mut command = self.on_node(node, &self.plan.programs.probe.display().to_string());
                    command.args(["resolve", "--limit", "3s", "--server", server, "--name"]);
                    if let Err(error) = output(command.arg(format!("kubernetes.default.svc.{CLUSTER_DOMAIN}"))) {
                        return Ok(Attempt::not_yet(format!("node {}: {error:#}", self.plan.layout.node_name(node))));
                    }
                }
            }
            Ok(Attempt::Done(()))
        })
    }

    /// The addresses of CoreDNS' pods, or why they are not all ready.
    fn dns_pods(&self) -> Result<Result<Vec<String>, String>> {
        let found = self.kubectl().json(["get", "pods,deployments", "-n", "kube-system", "-l", "k8s-app=kube-dns"])?;
        let items = found["items"].as_array().cloned().unwrap_or_default();
        let wanted = items
            .iter()
            .find(|item| item["kind"] == "Deployment")
            .and_then(|deployment| deployment["spec"]["replicas"].as_u64())
            .unwrap_or(1);
        let ready: Vec<String> = items
            .iter()
            .filter(|item| condition(item, "Ready").is_some_and(|ready| ready["status"] == "True"))
            .filter(|item| item["metadata"]["deletionTimestamp"].is_null())
            .filter_map(|pod| Some(pod["status"]["podIP"].as_str()?.to_owned()))
            .collect();
        let enough = ready.len() as u64 >= wanted;
        Ok(if enough { Ok(ready) } else { Err(format!("{} of {wanted} pods of CoreDNS are ready", ready.len())) })
    }

    /// A command of this machine that runs in a node's network.
    pub fn on_node(&self, node: u8, program: &str) -> Command {
        net::inside(&self.plan.layout.namespace(&node_namespace(node)), program)
    }

    fn check_alive(&self, parts: &[Part]) -> Result<()> {
        for part in parts {
            ensure!(self.supervisor.running(*part).is_some(), "{part} ended by itself{}", self.shown_log(*part));
        }
        Ok(())
    }

    fn shown_log(&self, part: Part) -> String {
        format!(
            "\n--- the end of {} ---\n{}",
            self.supervisor.log_file(part).display(),
            self.supervisor.tail(part, SHOWN_LINES)
        )
    }

    fn explain(&self, part: Part, error: &anyhow::Error) -> anyhow::Error {
        let text = format!("{error:#}");
        if text.contains("--- the end of") { anyhow!(text) } else { anyhow!("{text}{}", self.shown_log(part)) }
    }

    /// Looks at every part, the API server, the nodes and CoreDNS.
    pub fn status(&self) -> Status {
        let kubectl = self.kubectl();
        let parts = Part::ALL.iter().map(|part| (*part, self.supervisor.running(*part))).collect();
        let api =
            kubectl.run(["get", "--raw=/readyz", "--request-timeout=5s"]).map(drop).map_err(|error| last_line(&error));
        let mut nodes = BTreeMap::new();
        let mut dns_pods = 0;
        if api.is_ok() {
            let items = |what: &[&str]| {
                let found = kubectl.json(what.iter().copied()).unwrap_or_default();
                found["items"].as_array().cloned().unwrap_or_default()
            };
            for node in items(&["get", "nodes"]) {
                let ready = condition(&node, "Ready").is_some_and(|ready| ready["status"] == "True");
                nodes.insert(node["metadata"]["name"].as_str().unwrap_or_default().to_owned(), ready);
            }
            let pods = items(&["get", "pods", "-n", "kube-system", "-l", "k8s-app=kube-dns"]);
            let ready = |pod: &&Value| condition(pod, "Ready").is_some_and(|ready| ready["status"] == "True");
            dns_pods = pods.iter().filter(ready).count() as u64;
        }
        Status { parts, api, nodes, dns_pods }
    }

    /// Takes the cluster `name` down, whatever is left of it: processes, mounts, networks, control groups and data.
    ///
    /// Imported images stay in the cache unless `purge` is set. Logs of the last run stay beside the data.
    pub fn down(name: &str, purge: bool, say: &dyn Fn(&str)) -> Result<()> {
        ensure!(host::is_root(), "taking a cluster down needs root: run this command with sudo");
        let layout = Layout::new(name)?;
        let _lock = lock(&layout)?;
        take_down(&layout, say)?;
        if purge {
            host::remove_tree(&image_root(&layout))?;
        }
        Ok(())
    }
}

/// The directory of all nodes' images.
fn image_root(layout: &Layout) -> PathBuf {
    layout.cache().join("containerd").join(layout.name())
}

fn take_down(layout: &Layout, say: &dyn Fn(&str)) -> Result<()> {
    let groups = Groups::of(&layout.cgroup())?;
    let processes = groups.processes().len();
    if processes > 0 {
        say(&format!("ending {processes} processes"));
    }
    groups.kill_all()?;
    let ran = layout.run().exists();
    let sockets = containerd::shim_sockets(layout)?;
    host::unmount_below(&[layout.data(), layout.run(), image_root(layout)])?;
    net::down(layout)?;
    groups.remove()?;
    containerd::remove_shim_sockets(&sockets);
    remove_log_links(layout);
    if ran {
        for node in NODES {
            let root = layout.node_images(node);
            if root.exists() && containerd::sweep(layout, node).is_err() {
                say(&format!("the image store {} was damaged and is removed", root.display()));
                host::remove_tree(&root)?;
            }
        }
    }
    let old_logs = layout.data().with_extension("last-logs");
    if layout.logs().exists() {
        host::remove_tree(&old_logs)?;
        fs::rename(layout.logs(), &old_logs).context("cannot keep the logs")?;
    }
    host::remove_tree(&layout.data())?;
    host::remove_tree(&layout.run())?;
    restore_kernel_parameters(layout)
}

/// The kubelet links every container's log in one directory, whatever its configuration says.
fn remove_log_links(layout: &Layout) {
    let directory = Path::new("/var/log/containers");
    let Ok(entries) = fs::read_dir(directory) else {
        return;
    };
    for entry in entries.flatten() {
        if fs::read_link(entry.path()).is_ok_and(|target| target.starts_with(layout.data())) {
            let _ = fs::remove_file(entry.path());
        }
    }
    let _ = fs::remove_dir(directory);
}

fn lock(layout: &Layout) -> Result<File> {
    fs::create_dir_all(layout.all_runs()).with_context(|| format!("cannot create {}", layout.all_runs().display()))?;
    let path = layout.run().with_extension("lock");
    let file = File::create(&path).with_context(|| format!("cannot create {}", path.display()))?;
    file.lock().with_context(|| format!("cannot lock {}", path.display()))?;
    Ok(file)
}

fn state_file(layout: &Layout) -> PathBuf {
    layout.run().join("state.json")
}

fn read_state(layout: &Layout) -> Result<Option<State>> {
    match fs::read_to_string(state_file(layout)) {
        Ok(text) => Ok(serde_json::from_str(&text).ok()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", state_file(layout).display())),
    }
}

fn write_state(layout: &Layout, state: &State) -> Result<()> {
    let path = state_file(layout);
    let temporary = path.with_extension("new");
    fs::create_dir_all(layout.run())?;
    fs::write(&temporary, serde_json::to_string(state)?)
        .and_then(|()| fs::rename(&temporary, &path))
        .with_context(|| format!("cannot write {}", path.display()))
}

/// Takes a network number that no other cluster on this machine has.
fn new_state(layout: &Layout, options: Options) -> Result<State> {
    let all = File::create(layout.all_runs().join("lock")).context("cannot create the lock of all clusters")?;
    all.lock().context("cannot lock the list of clusters")?;
    let mut taken = Vec::new();
    for entry in fs::read_dir(layout.all_runs())?.flatten() {
        let state = fs::read_to_string(entry.path().join("state.json")).unwrap_or_default();
        taken.extend(serde_json::from_str::<State>(&state).ok().map(|state| state.slot));
    }
    // The default cluster always has the same addresses.
    let first = u8::from(layout.name() != crate::layout::DEFAULT_NAME);
    let slot = (first..=u8::MAX)
        .find(|slot| !taken.contains(slot))
        .context("256 clusters are on this machine: take one down")?;
    let state = State { slot, options, boot: boot_id()?, furnished: false };
    write_state(layout, &state)?;
    Ok(state)
}

fn boot_id() -> Result<String> {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").context("cannot read the boot id")?;
    Ok(text.trim().to_owned())
}

fn remember_kernel_parameters(layout: &Layout) -> Result<()> {
    let file = layout.all_runs().join("kernel-parameters.json");
    if file.exists() {
        return Ok(());
    }
    let values: BTreeMap<&str, String> = KUBELET_PARAMETERS
        .into_iter()
        .filter_map(|name| Some((name, fs::read_to_string(format!("/proc/sys/{name}")).ok()?)))
        .collect();
    fs::write(&file, serde_json::to_string(&values)?).with_context(|| format!("cannot write {}", file.display()))
}

/// Puts back what the kubelets changed, once no cluster is left.
fn restore_kernel_parameters(layout: &Layout) -> Result<()> {
    let others = fs::read_dir(layout.all_runs())?.flatten().any(|entry| entry.path().is_dir());
    let file = layout.all_runs().join("kernel-parameters.json");
    let Ok(text) = fs::read_to_string(&file) else {
        return Ok(());
    };
    if others {
        return Ok(());
    }
    let values: BTreeMap<String, String> = serde_json::from_str(&text).unwrap_or_default();
    for (name, value) in values {
        // Read-only ones could not have been changed either.
        let _ = fs::write(format!("/proc/sys/{name}"), value);
    }
    fs::remove_file(&file).with_context(|| format!("cannot remove {}", file.display()))
}

/// The pause image and CoreDNS in one archive.
fn own_images(coredns: &Path, pause: &Path) -> Result<image::Archive> {
    program_images("system-images", &[(&coredns_image(), coredns), (PAUSE_IMAGE, pause)])
}

/// Images that hold one static program each, in one archive in the cache.
pub(crate) fn program_images(name: &str, programs: &[(&str, &Path)]) -> Result<image::Archive> {
    // A program's path in the cache names its content.
    let inputs: Vec<String> =
        programs.iter().map(|(reference, path)| format!("{reference} {}", path.display())).collect();
    let inputs: Vec<&[u8]> = inputs.iter().map(String::as_bytes).collect();
    let directory = cached(name, &inputs)?;
    let file = directory.join("images.tar");
    if let Ok(archive) = image::Archive::open(&file) {
        return Ok(archive);
    }
    let mut images = Vec::new();
    for (reference, path) in programs {
        let program = path.file_name().and_then(|name| name.to_str()).context("a program has no name")?;
        let layer = Layer::from_entries(&directory, &[Entry::file(program, 0o755, *path)])?;
        let mut image = Image::new(*reference, vec![layer]);
        image.entrypoint = vec![format!("/{program}")];
        images.push(image);
    }
    let archive = write_archive(&images, &file)?;
    for layer in images.iter().flat_map(|image| &image.layers) {
        let _ = fs::remove_file(layer.path());
    }
    Ok(archive)
}

fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    object["status"]["conditions"].as_array()?.iter().find(|condition| condition["type"] == kind)
}

fn last_line(error: &anyhow::Error) -> String {
    format!("{error:#}").lines().last().unwrap_or_default().to_owned()
}

fn list(parts: &[Part]) -> String {
    parts.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn describe(options: Options) -> String {
    let yes = |set: bool| if set { "yes" } else { "no" };
    format!("lifelike: {}, wide node ports: {}", yes(options.lifelike), yes(options.wide_node_ports))
}
