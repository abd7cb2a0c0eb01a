//! Where a stand-in lives: its root folder, its settings, its time knobs and its faults.
//!
//! Outside a container several stand-ins share one file system, so every path goes through
//! [`path`], which puts `STANDIN_ROOT` in front.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};

/// An absolute path of the container, below `STANDIN_ROOT` when that is set.
pub(crate) fn path(inside: &str) -> PathBuf {
    match std::env::var_os("STANDIN_ROOT") {
        Some(root) if !root.is_empty() => Path::new(&root).join(inside.trim_start_matches('/')),
        _ => PathBuf::from(inside),
    }
}

/// Writes a file by renaming, so that a reader sees the old text or the new one.
pub(crate) fn write_whole(file: &Path, text: &str) -> Result<()> {
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make folder {}", folder.display()))?;
    }
    let mut name = file.as_os_str().to_owned();
    name.push(".new");
    std::fs::write(&name, text).with_context(|| format!("cannot write {}", file.display()))?;
    std::fs::rename(&name, file).with_context(|| format!("cannot replace {}", file.display()))
}

/// A value from the environment, or `default` when it is unset or cannot be read as a `T`.
pub(crate) fn knob<T: FromStr>(name: &str, default: T) -> T {
    std::env::var(name).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(default)
}

/// A time knob in milliseconds.
pub(crate) fn knob_ms(name: &str, default: u64) -> Duration {
    Duration::from_millis(knob(name, default))
}

/// How long program `what` takes to boot: `STANDIN_BOOT_DELAY_MS_<WHAT>`, else
/// `STANDIN_BOOT_DELAY_MS`, else nothing.
pub(crate) fn boot_delay(what: &str) -> Duration {
    let own = format!("STANDIN_BOOT_DELAY_MS_{}", what.to_uppercase().replace('-', "_"));
    knob_ms(&own, knob("STANDIN_BOOT_DELAY_MS", 0))
}

/// How often files written by a neighbour are looked at.
pub(crate) fn poll_interval() -> Duration {
    knob_ms("STANDIN_POLL_MS", 250)
}

/// Whether a fault is switched on: a file `/run/standin/fault/<what>` or an entry of the
/// comma-separated `STANDIN_FAULT`.
pub(crate) fn fault(what: &str) -> bool {
    std::env::var("STANDIN_FAULT").is_ok_and(|all| all.split(',').any(|f| f.trim() == what))
        || path("/run/standin/fault").join(what).exists()
}

/// Microseconds since 1970.
pub(crate) fn now_us() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| u64::try_from(d.as_micros()).unwrap_or(u64::MAX))
}

/// Milliseconds since 1970.
pub(crate) fn now_ms() -> u64 {
    now_us() / 1000
}

/// A fresh random identifier in UUID form, from the kernel.
pub(crate) fn uuid() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/uuid")
        .map_or_else(|_| format!("{:032x}", now_us()), |t| t.trim().to_owned())
}

/// The settings every daemon's init script sources: shared, then local, then user
/// (clearwater-infrastructure, `/etc/clearwater/config`), over `/run/standin/defaults`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Settings {
    values: BTreeMap<String, String>,
}

impl Settings {
    /// Sources the files with a shell, as the real init scripts do, so that quoting and
    /// later assignments mean the same.
    pub(crate) fn load() -> Result<Self> {
        // Inside an image one file sources the rest and adds the node type.
        let whole = Path::new("/etc/clearwater/config");
        let mut files = vec![path("/run/standin/defaults")];
        if std::env::var_os("STANDIN_ROOT").is_none() && whole.exists() {
            files.push(whole.to_owned());
        } else {
            let parts = ["shared_config", "local_config", "user_settings"];
            files.extend(parts.iter().map(|f| path("/etc/clearwater").join(f)));
        }
        // bash where there is one, as in the images: it reads on after a bad line.
        let shell = ["/bin/bash", "/bin/sh"].into_iter().find(|s| Path::new(s).exists()).unwrap_or("sh");
        let out = Command::new(shell)
            .arg("-c")
            .arg("set -a; for f; do [ -f \"$f\" ] && . \"$f\"; done; exec env -0")
            .arg("sh")
            .args(&files)
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .stderr(std::process::Stdio::null())
            .output()
            .context("cannot run a shell to source the settings")?;
        let mut values: BTreeMap<String, String> = String::from_utf8_lossy(&out.stdout)
            .split('\0')
            .filter_map(|entry| entry.split_once('='))
            .map(|(k, v)| (k.to_owned(), v.to_owned()))
            .collect();
        for of_the_shell in ["PATH", "PWD", "_", "OLDPWD", "SHLVL"] {
            values.remove(of_the_shell);
        }
        Ok(Self { values })
    }

    /// A setting, empty when absent.
    pub(crate) fn get(&self, key: &str) -> &str {
        self.values.get(key).map_or("", String::as_str)
    }

    /// A setting, or `default` when absent or empty.
    pub(crate) fn get_or<'a>(&'a self, key: &str, default: &'a str) -> &'a str {
        match self.get(key) {
            "" => default,
            value => value,
        }
    }

    /// The container's own address: `local_ip`, else `MY_POD_IP`.
    pub(crate) fn local_ip(&self) -> Result<IpAddr> {
        let text = match self.get("local_ip") {
            "" => std::env::var("MY_POD_IP").unwrap_or_default(),
            set => set.to_owned(),
        };
        text.parse().with_context(|| format!("local_ip is {text:?}, not an address; set it in local_config"))
    }

    /// Servers asked by the parts that do not use the system resolver; at most three
    /// (cpp-common `DnsCachedResolver`). Port 53, or `STANDIN_DNS_PORT`.
    pub(crate) fn dns_servers(&self) -> Vec<SocketAddr> {
        let port = knob("STANDIN_DNS_PORT", 53);
        self.get_or("signaling_dns_server", "127.0.0.1")
            .split(',')
            .filter_map(|s| s.trim().parse::<IpAddr>().ok())
            .take(3)
            .map(|ip| SocketAddr::new(ip, port))
            .collect()
    }

    /// A setting that `/etc/clearwater/user_settings` alone gives, for start scripts that set a default of their own after
    /// they have read the configuration.
    pub(crate) fn of_user(&self, key: &str) -> Option<String> {
        let text = std::fs::read_to_string(path("/etc/clearwater/user_settings")).unwrap_or_default();
        let given = text.lines().filter_map(|line| line.trim().split_once('=')).any(|(name, _)| name.trim() == key);
        // Nothing is sourced after it, so what stands there is the setting's value.
        given.then(|| self.get(key).to_owned())
    }

    /// The level of a daemon whose start script sets 2 after it has read the configuration, and reads `user_settings` then.
    pub(crate) fn user_log_level(&self) -> u8 {
        self.of_user("log_level").and_then(|level| level.trim().parse().ok()).unwrap_or(2)
    }

    /// 0 Error … 5 Debug; the default of the init scripts is 2.
    pub(crate) fn log_level(&self) -> u8 {
        self.get("log_level").trim().parse().unwrap_or(2)
    }

    /// The cluster this node belongs to, such as `node_type_memcached`; empty for none.
    pub(crate) fn cluster_key(&self) -> String {
        match std::env::var("etcd_cluster_key") {
            Ok(key) if !key.is_empty() => key,
            _ => self.get("etcd_cluster_key").to_owned(),
        }
    }
}

/// The address a front listens on: `[::]`, or `STANDIN_BIND` where several share a machine.
pub(crate) fn any_bind() -> IpAddr {
    knob("STANDIN_BIND", IpAddr::from([0u16; 8]))
}

/// The container's etcd proxy: `STANDIN_ETCD` (ip:port), else 127.0.0.1:4000.
pub(crate) fn etcd_address() -> SocketAddr {
    knob("STANDIN_ETCD", SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 4000))
}
