//! The images' own configuration generator, as a pure function.
//!
//! Every Clearwater container runs `clearwater-auto-config-docker` at each start: it rewrites the `local_config` and
//! `shared_config` that came with the image from a handful of environment variables and the pod's `/etc/resolv.conf`
//! (clearwater-infrastructure `debian/clearwater-auto-config-docker.init.d`). [`generate`] does the same to the same
//! templates, step by step, and gives the text of both files. What the script would spoil silently, by an unquoted
//! expansion in `sed` or `echo -e`, is emulated where its outcome can be told and refused where not.
//!
//! Comments in the files are worded by this crate; keys, values, their order and blank lines are upstream's.
//!
//! ```
//! use clearwater::component::Release;
//! use clearwater::config::generator::{Environment, generate};
//!
//! let files = generate(
//!     Release::Hunter,
//!     &Environment {
//!         zone: Some("ims.svc.cluster.local".to_owned()),
//!         ip: "10.1.2.3".to_owned(),
//!         resolv_conf: "nameserver 10.96.0.10\n".to_owned(),
//!         additional_shared_config: Some(r"log_level=4\nsignup_key=topsecret".to_owned()),
//!         ..Environment::default()
//!     },
//! )?;
//! let settings = files.settings()?;
//! assert_eq!(settings.get("hs_hostname"), Some("homestead.ims.svc.cluster.local:8888"));
//! assert_eq!(settings.get("scscf_uri"), Some("sip:sprout.ims.svc.cluster.local:5054;transport=tcp"));
//! assert_eq!(settings.get("signup_key"), Some("topsecret"));
//! assert_eq!(settings.get("signaling_dns_server"), Some("10.96.0.10"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use thiserror::Error;

use super::HostSetting;
use super::shell::{self, EchoError, NotPlain, Settings};
use crate::component::{Component, Release, port};
use crate::dns::Cscf;

/// What a container's generator sees: environment variables and files of the pod.
///
/// An empty variable counts as one that is not set, as it does for the script.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Environment {
    /// The address the script finds: the first IPv4 address of `hostname -I`, or the first IPv6 address where there is
    /// none.
    pub ip: String,
    /// The text of `/etc/resolv.conf`.
    pub resolv_conf: String,
    /// `ZONE`.
    pub zone: Option<String>,
    /// `PUBLIC_IP`.
    pub public_ip: Option<String>,
    /// `PUBLIC_HOSTNAME`, without the zone. Read by hunter only.
    pub public_hostname: Option<String>,
    /// `HSS`, without the zone. Read by hunter only.
    pub hss: Option<String>,
    /// `ADDITIONAL_SHARED_CONFIG`. Read by hunter only.
    pub additional_shared_config: Option<String>,
    /// `ETCD_PROXY`.
    pub etcd_proxy: Option<String>,
}

/// The two files that the generator leaves in `/etc/clearwater`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Generated {
    /// `shared_config`; `None` where the script deletes it, because `ETCD_PROXY` says that configuration comes from
    /// elsewhere.
    pub shared_config: Option<String>,
    /// `local_config`.
    pub local_config: String,
}

impl Generated {
    /// The settings that daemons see: shared, then local ones, as `/etc/clearwater/config` sources them.
    ///
    /// # Errors
    /// A line that is more than a setting: what only a shell could tell.
    pub fn settings(&self) -> Result<Settings, NotPlain> {
        let shared = self.shared_config.as_deref().map(Settings::parse).transpose()?.unwrap_or_default();
        Ok(shared.then(Settings::parse(&self.local_config)?))
    }
}

/// An environment whose outcome is an accident.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum GeneratorError {
    /// A value that `sed` or the shell would spoil.
    #[error(
        "{variable}: {value:?} has {character:?} at character {position}, which the images' generator passes unquoted \
         to sed and the shell: the line would be broken or rewritten; use a value without it"
    )]
    Unsafe {
        /// The environment variable, or what stands for it.
        variable: &'static str,
        /// Its value.
        value: String,
        /// The character.
        character: char,
        /// Its place, counted from 1.
        position: usize,
    },
    /// `ADDITIONAL_SHARED_CONFIG` does not survive `echo -e`.
    #[error("ADDITIONAL_SHARED_CONFIG: {0}")]
    Additional(#[from] EchoError),
    /// `/etc/resolv.conf` has a nameserver line that the script's `grep | cut` mangles unpredictably.
    #[error("/etc/resolv.conf: the nameserver word {0:?} is a glob or an option to the shell; correct the file")]
    Nameserver(String),
}

/// The template of `shared_config` that the images bring (clearwater-infrastructure
/// `clearwater-auto-config/etc/clearwater/shared_config`).
const HUNTER_TEMPLATE: &str = "\
# The deployment and its parts
home_domain=example.com
sprout_hostname=
hs_hostname=
hs_provisioning_hostname=
xdms_hostname=
ralf_hostname=
chronos_hostname=
cassandra_hostname=
sprout_registration_store=
ralf_session_store=
homestead_impu_store=

# Mail that Ellis sends
smtp_smarthost=127.0.0.1
smtp_username=username
smtp_password=password
email_recovery_sender=clearwater@example.com

# Where the CSCFs are
upstream_hostname=
scscf_uri=
icscf_uri=
bgcf_uri=

# Secrets
signup_key=secret
turn_workaround=secret
ellis_api_key=secret
ellis_cookie_key=secret

reduce_cassandra_mem_usage=Y
";

/// The same of late 2016: no store names, because clients took memcached's members from `cluster_settings`, and no
/// CSCF URIs, because the daemons' defaults were sub-domains of `sprout_hostname`.
const CLASSIC_TEMPLATE: &str = "\
# The deployment and its parts
home_domain=example.com
sprout_hostname=
hs_hostname=
hs_provisioning_hostname=
xdms_hostname=
ralf_hostname=
chronos_hostname=
cassandra_hostname=

# Mail that Ellis sends
smtp_smarthost=127.0.0.1
smtp_username=username
smtp_password=password
email_recovery_sender=clearwater@example.com

# Where the CSCFs are
upstream_hostname=

# Secrets
signup_key=secret
turn_workaround=secret
ellis_api_key=secret
ellis_cookie_key=secret

reduce_cassandra_mem_usage=Y
";

/// The template of `local_config` (clearwater-infrastructure `clearwater-auto-config/etc/clearwater/local_config`).
const LOCAL_TEMPLATE: &str = "\
# This container's addresses
local_ip=
public_ip=
public_hostname=
etcd_cluster=

# Logs are kept up to this many bytes
max_log_directory_size=52428800
";

/// The name of etcd's one member: the one that every proxy knows it by (clearwater-infrastructure
/// `debian/clearwater-auto-config-docker.init.d`).
pub(crate) const ETCD_MEMBER: &str = "etcd0";

/// The member that a container's etcd proxy dials where nothing else is said.
pub(super) fn etcd_proxy() -> String {
    format!("{ETCD_MEMBER}=http://{}:{}", Component::Etcd, port(Component::Etcd, "etcd-server"))
}

/// What the container's files will hold in the given environment.
///
/// # Errors
/// What the generator itself would stop at.
pub fn generate(release: Release, env: &Environment) -> Result<Generated, GeneratorError> {
    let hunter = release != Release::Classic;
    let set = |value: &Option<String>| value.clone().filter(|v| !v.is_empty());
    let zone = set(&env.zone);
    let suffix = zone.as_ref().map_or_else(String::new, |z| format!(".{z}"));
    let public_ip = set(&env.public_ip).unwrap_or_else(|| env.ip.clone());
    let public_hostname = match set(&env.public_hostname) {
        Some(name) if hunter => {
            safe("PUBLIC_HOSTNAME", &name)?;
            format!("{name}{suffix}")
        }
        _ => public_ip.clone(),
    };
    safe("the pod's address", &env.ip)?;
    safe("PUBLIC_IP", &public_ip)?;
    safe("ZONE", &suffix)?;

    let mut local = File(LOCAL_TEMPLATE.to_owned());
    local.replace("local_ip", &env.ip);
    local.replace("public_ip", &public_ip);
    local.replace("public_hostname", &public_hostname);
    local.delete(|line| line.starts_with("etcd_cluster=") || line.starts_with("etcd_proxy="));
    let nameservers = nameservers(&env.resolv_conf)?;
    if let Some(proxy) = set(&env.etcd_proxy) {
        local.append(&format!("etcd_proxy={proxy}\n"));
        return Ok(Generated { shared_config: None, local_config: local.0 });
    }
    local.append(&format!("etcd_proxy={}\n", etcd_proxy()));

    let mut shared = File(if hunter { HUNTER_TEMPLATE } else { CLASSIC_TEMPLATE }.to_owned());
    let home_domain = zone.clone().unwrap_or_else(|| "example.com".to_owned());
    let sprout = format!("sprout{suffix}");
    // The 2016 script names homestead `hs`, but only below a zone: without one the container's name is all there is.
    let (homestead, provisioning, upstream) = match (hunter, &zone) {
        (true, _) => ("homestead", "homestead-prov", sprout.clone()),
        (false, Some(_)) => ("hs", "hs", format!("scscf.{sprout}")),
        (false, None) => ("homestead", "homestead", format!("scscf.{sprout}")),
    };
    let http = |component| port(component, "http");
    let mut names = vec![
        ("home_domain", home_domain.clone()),
        ("sprout_hostname", sprout.clone()),
        ("xdms_hostname", format!("homer{suffix}:{}", http(Component::Homer))),
        ("hs_hostname", format!("{homestead}{suffix}:{}", http(Component::Homestead))),
        ("hs_provisioning_hostname", format!("{provisioning}{suffix}:{}", http(Component::HomesteadProv))),
        ("upstream_hostname", upstream),
        ("ralf_hostname", format!("ralf{suffix}:{}", http(Component::Ralf))),
        ("chronos_hostname", format!("chronos{suffix}")),
        ("cassandra_hostname", format!("cassandra{suffix}")),
        ("email_recovery_sender", format!("clearwater@{home_domain}")),
    ];
    if hunter {
        for key in HostSetting::Store.keys() {
            names.push((key, format!("astaire{suffix}")));
        }
    }
    for (key, value) in names {
        shared.replace(key, &value);
    }
    if hunter {
        for cscf in Cscf::ALL {
            let (key, port) = (format!("{}_uri", cscf.label()), cscf.port());
            shared.delete(|line| line.starts_with(&format!("{key}=")));
            shared.append(&format!("{key}=\"sip:{sprout}:{port};transport=tcp\"\n"));
        }
        if let Some(hss) = set(&env.hss) {
            safe("HSS", &hss)?;
            shared.append(&format!("hss_hostname={hss}{suffix}\nhss_realm={}\n", zone.as_deref().unwrap_or_default()));
            shared.delete(|line| line.contains("hs_provisioning"));
        }
        let additional = env.additional_shared_config.as_deref().unwrap_or_default();
        shared.append(&shell::echo_unquoted(additional)?);
    }
    if !nameservers.is_empty() {
        shared.delete(|line| line.starts_with("signaling_dns_server="));
        shared.append(&format!("signaling_dns_server={nameservers}\n"));
    }
    Ok(Generated { shared_config: Some(shared.0), local_config: local.0 })
}

/// Refuses what an unquoted expansion inside a `sed` script would not carry over unchanged.
fn safe(variable: &'static str, value: &str) -> Result<(), GeneratorError> {
    match value.chars().enumerate().find(|(_, c)| "/&\\*?[ \t\n\0".contains(*c)) {
        None => Ok(()),
        Some((i, character)) => {
            // The zone is checked with the dot that precedes it.
            let dot = usize::from(variable == "ZONE");
            let value = value.chars().skip(dot).collect();
            Err(GeneratorError::Unsafe { variable, value, character, position: i + 1 - dot })
        }
    }
}

/// The value of `signaling_dns_server`: `grep nameserver FILE | cut -d ' ' -f 2`, split into words and joined by
/// commas. A comment that speaks of a nameserver counts, and so does a line whose separator is a tab, which `cut`
/// leaves whole.
fn nameservers(resolv_conf: &str) -> Result<String, GeneratorError> {
    let fields: Vec<&str> = resolv_conf
        .split('\n')
        .filter(|line| line.contains("nameserver"))
        .map(|line| if line.contains(' ') { line.split(' ').nth(1).unwrap_or_default() } else { line })
        .collect();
    let text = fields.join("\n");
    let words: Vec<&str> = shell::split_words(&text).collect();
    for (i, word) in words.iter().enumerate() {
        if shell::is_glob(word) || (i == 0 && word.starts_with('-')) || word.contains(['\\', '\0']) {
            return Err(GeneratorError::Nameserver((*word).to_owned()));
        }
    }
    Ok(words.join(","))
}

/// A text file under `sed -i` and `>>`. A last line without a newline stays so, and what is appended joins it.
pub(super) struct File(pub(super) String);

impl File {
    /// `sed 's/^KEY=.*$/KEY=VALUE/'`.
    pub(super) fn replace(&mut self, key: &str, value: &str) {
        let lines = self.0.split_inclusive('\n').map(|line| {
            let is_key = line.strip_prefix(key).is_some_and(|rest| rest.starts_with('='));
            if is_key { format!("{key}={value}\n") } else { line.to_owned() }
        });
        self.0 = lines.collect();
    }

    /// Puts a setting where its first assignment stands, or at the end.
    pub(super) fn put(&mut self, key: &str, value: &str) {
        let mut found = false;
        let mut out = String::new();
        for line in self.0.lines() {
            if line.strip_prefix(key).is_some_and(|rest| rest.starts_with('=')) {
                if !found {
                    out.push_str(&format!("{key}={value}\n"));
                }
                found = true;
            } else {
                out.push_str(line);
                out.push('\n');
            }
        }
        if !found {
            out.push_str(&format!("{key}={value}\n"));
        }
        self.0 = out;
    }

    /// `sed '/…/d'`.
    pub(super) fn delete(&mut self, which: impl Fn(&str) -> bool) {
        self.0 = self.0.split_inclusive('\n').filter(|line| !which(line)).collect();
    }

    /// `>>`.
    pub(super) fn append(&mut self, text: &str) {
        self.0.push_str(text);
    }
}
