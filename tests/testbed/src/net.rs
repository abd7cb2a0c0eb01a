//! The cluster's networks: three network namespaces on one bridge, joined to the host by one wire.
//!
//! ```text
//! host  .1 ──┐
//! cp   .10 ──┤ 198.18.SLOT.0/24     pods  10.244.NODE.0/24, one bridge a node, routes between the nodes
//! n1    .2 ──┤                      services 10.96.0.0/16
//! n2    .3 ──┘
//! ```
//!
//! No namespace has a default route, so nothing gets beyond the host. 198.18.0.0/15 is set aside for tests of network
//! equipment (RFC 2544) and collides with no real network.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::host::{self, output, run};
use crate::layout::Layout;

/// Pods' addresses.
pub const POD_RANGE: &str = "10.244.0.0/16";
/// Services' addresses.
pub const SERVICE_RANGE: &str = "10.96.0.0/16";
/// Address of the cluster's DNS Service.
pub const DNS_ADDRESS: &str = "10.96.0.10";
/// The nodes.
pub const NODES: [u8; 2] = [1, 2];

/// The namespace of the control plane.
pub(crate) const CONTROL_PLANE: &str = "cp";

/// `prohibit`, not `unreachable`: a client on Linux gives up a connection for the one and retries for the other.
const REFUSE_THE_REST: &str = "route add prohibit default";

/// Addresses of one cluster on this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// Third byte of the cluster's network.
    pub slot: u8,
}

impl Addresses {
    fn at(self, host: u8) -> String {
        format!("198.18.{}.{host}", self.slot)
    }

    /// The host, seen from the cluster.
    pub fn host(self) -> String {
        self.at(1)
    }

    /// A node.
    pub fn node(self, node: u8) -> String {
        self.at(1 + node)
    }

    /// The control plane; the API server listens on port 6443.
    pub fn control_plane(self) -> String {
        self.at(10)
    }

    /// First and last address that load balancers hand out.
    pub fn load_balancers(self) -> (String, String) {
        (self.at(128), self.at(250))
    }
}

/// Name of a node's network namespace.
pub(crate) fn node_namespace(node: u8) -> String {
    format!("n{node}")
}

/// A command that runs in a network namespace of the cluster.
///
/// nsenter, because `ip netns exec` mounts a fresh /sys and the control groups' mounts vanish with the old one.
pub(crate) fn inside(namespace: &Path, program: &str) -> Command {
    let mut command = Command::new("nsenter");
    command.arg(format!("--net={}", namespace.display())).arg(program);
    command
}

/// Written when the networks are complete.
fn marker(layout: &Layout) -> PathBuf {
    layout.run().join("net/complete")
}

/// Whether [`up`] ran to its end and nothing was taken away since.
pub(crate) fn is_up(layout: &Layout) -> Result<bool> {
    let mounted = host::mounts_below(&[layout.run().join("net")])?;
    Ok(marker(layout).exists()
        && places().iter().all(|place| mounted.contains(&layout.namespace(place)))
        && Path::new("/sys/class/net").join(layout.host_link()).exists())
}

fn places() -> Vec<String> {
    std::iter::once(CONTROL_PLANE.to_owned()).chain(NODES.map(node_namespace)).collect()
}

/// Builds namespaces, wires, addresses and routes from nothing.
pub(crate) fn up(layout: &Layout, addresses: Addresses) -> Result<()> {
    let directory = layout.run().join("net");
    fs::create_dir_all(&directory).with_context(|| format!("cannot create {}", directory.display()))?;
    for place in places() {
        let file = layout.namespace(&place);
        fs::write(&file, "").with_context(|| format!("cannot create {}", file.display()))?;
        run("unshare", [format!("--net={}", file.display()), "true".to_owned()])
            .context("cannot make a network namespace")?;
    }
    let control_plane = layout.namespace(CONTROL_PLANE);
    batch(None, &host_lines(layout, addresses))?;
    batch(Some(&control_plane), &control_plane_lines(addresses))?;
    set_kernel_parameters(&control_plane, &[("ipv4/ip_forward", 0), ("ipv6/conf/all/forwarding", 0)])?;
    need_bridge_netfilter()?;
    for node in NODES {
        let file = layout.namespace(&node_namespace(node));
        batch(Some(&file), &node_lines(&control_plane, addresses, node))?;
        batch(Some(&control_plane), &[format!("link set {} master lan up", node_namespace(node))])?;
        batch(Some(&file), &node_routes(addresses, node))?;
        set_kernel_parameters(&file, &[("ipv4/ip_forward", 1), ("bridge/bridge-nf-call-iptables", 1)])?;
        // What leaves the pods' range gets the node's address, as on any cluster; pods see each other's own.
        output(inside(&file, "iptables").args([
            "--wait",
            "-t",
            "nat",
            "-A",
            "POSTROUTING",
            "-s",
            POD_RANGE,
            "!",
            "-d",
            POD_RANGE,
            "-o",
            "eth0",
            "-j",
            "MASQUERADE",
        ]))?;
    }
    fs::write(marker(layout), "").context("cannot note that the networks are complete")
}

/// Takes all of it away, whatever part of it there is. The processes inside must have ended.
pub(crate) fn down(layout: &Layout) -> Result<()> {
    let _ = fs::remove_file(marker(layout));
    if Path::new("/sys/class/net").join(layout.host_link()).exists() {
        run("ip", ["link", "delete", &layout.host_link()])?;
    }
    host::unmount_below(&[layout.run().join("net")])?;
    host::remove_tree(&layout.run().join("net"))
}

fn host_lines(layout: &Layout, addresses: Addresses) -> Vec<String> {
    let link = layout.host_link();
    let control_plane = layout.namespace(CONTROL_PLANE);
    vec![
        format!("link add {link} type veth peer name host netns {}", control_plane.display()),
        format!("address add {}/24 dev {link}", addresses.host()),
        format!("link set {link} up"),
    ]
}

fn control_plane_lines(addresses: Addresses) -> Vec<String> {
    let mut lines = vec![
        "link set lo up".to_owned(),
        "link add lan type bridge forward_delay 0".to_owned(),
        "link set host master lan up".to_owned(),
        format!("address add {}/24 dev lan", addresses.control_plane()),
        "link set lan up".to_owned(),
        format!("route add {SERVICE_RANGE} via {}", addresses.node(1)),
        REFUSE_THE_REST.to_owned(),
    ];
    lines.extend(NODES.map(|node| format!("route add 10.244.{node}.0/24 via {} onlink dev lan", addresses.node(node))));
    lines
}

fn node_lines(control_plane: &Path, addresses: Addresses, node: u8) -> Vec<String> {
    vec![
        "link set lo up".to_owned(),
        format!("link add eth0 type veth peer name {} netns {}", node_namespace(node), control_plane.display()),
        format!("address add {}/24 dev eth0", addresses.node(node)),
        "link set eth0 up".to_owned(),
    ]
}

fn node_routes(addresses: Addresses, node: u8) -> Vec<String> {
    let mut lines = vec![
        // Never followed: kube-proxy rewrites the address. Without a route the kernel refuses before it is asked.
        format!("route add {SERVICE_RANGE} dev eth0"),
        REFUSE_THE_REST.to_owned(),
    ];
    let others = NODES.into_iter().filter(|other| *other != node);
    lines.extend(others.map(|other| format!("route add 10.244.{other}.0/24 via {}", addresses.node(other))));
    lines
}

fn batch(namespace: Option<&Path>, lines: &[String]) -> Result<()> {
    for line in lines {
        let mut command = match namespace {
            Some(file) => inside(file, "ip"),
            None => Command::new("ip"),
        };
        output(command.args(line.split(' ')))?;
    }
    Ok(())
}

fn need_bridge_netfilter() -> Result<()> {
    let there = || Path::new("/proc/sys/net/bridge").exists();
    if !there() {
        let _ = run("modprobe", ["br_netfilter"]);
    }
    ensure!(
        there(),
        "the kernel has no bridge netfilter, without which Services do not reach pods of the same node: \
         load the module br_netfilter"
    );
    Ok(())
}

/// What is below /proc/sys/net is that of the namespace of who asks.
fn set_kernel_parameters(namespace: &Path, parameters: &[(&str, u8)]) -> Result<()> {
    let script: Vec<_> =
        parameters.iter().map(|(name, value)| format!("echo {value} > /proc/sys/net/{name}")).collect();
    output(inside(namespace, "sh").args(["-c", &script.join(" && ")])).map(drop)
}
