//! From a deployment to the environment of its containers, and to the configuration files they will hold.
//!
//! [`settings`] says what the containers' configuration must come to, with every host name taken from
//! [`dns::Names`](crate::dns::Names). [`environment`] turns that into what a pod is given, so that the images'
//! generator arrives at just these settings: a ConfigMap, references to Secrets and, for the classic release, a script.
//! What would not arrive as it was meant is refused. [`rendered`] is the round trip: the text of both files in a given
//! pod.
//!
//! ```
//! use std::collections::BTreeMap;
//!
//! use clearwater::config::shared::{Pod, environment, rendered, secret_values};
//! use clearwater::config::{DeploymentFile, Keys};
//!
//! let mut file = DeploymentFile::default();
//! file.shared_config.insert("remote_audio_alert".to_owned(), "two  blanks, $5 and a *".to_owned());
//! let deployment = file.deploy("ims")?;
//!
//! // EventKind a pod is given: every character that the way there would spoil is an escape that it undoes.
//! let given = environment(&deployment, &BTreeMap::new())?;
//! assert_eq!(
//!     given.config_map["ADDITIONAL_SHARED_CONFIG"],
//!     r"remote_audio_alert='two\0040\0040blanks,\0040$5\0040and\0040a\0040\0052'"
//! );
//!
//! // EventKind the container makes of it.
//! let pod = Pod { ip: "10.1.2.3".to_owned(), ..Pod::default() };
//! let files = rendered(&deployment, &BTreeMap::new(), &pod, &secret_values(&Keys::upstream(), None))?;
//! assert_eq!(files.settings()?.get("remote_audio_alert"), Some("two  blanks, $5 and a *"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::collections::BTreeMap;
use std::net::IpAddr;

use thiserror::Error;

use super::environment::LINE_END;
pub use super::environment::{ContainerEnvironment, Variable, VariableValue};
use super::generator::{Environment, File, Generated, GeneratorError, generate};
use super::script::auto_config;
pub use super::setting::Setting;
use super::shell::{self, NotPlain};
pub use super::unfit::Unfit;
use super::{Deployment, HostSetting, KeyPolicy, Keys};
use crate::component::{Component, Release};
use crate::dns::Cscf;

/// The Secret that holds the keys where they are made at random. Its data keys are the settings' names.
pub const KEYS_SECRET: &str = "clearwater-keys";

const ADDITIONAL: &str = "ADDITIONAL_SHARED_CONFIG";
const FROM_CONFIG_MAP: &str = "CLEARWATER_SHARED_CONFIG";

/// What a renderer knows of a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pod {
    /// Its address.
    pub ip: String,
    /// The text of its `/etc/resolv.conf`.
    pub resolv_conf: String,
    /// `PUBLIC_IP`, where it is given one.
    pub public_ip: Option<String>,
}

/// A deployment whose settings would not arrive in the containers as they were meant.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SettingsError {
    /// Together the settings are longer than one environment variable may be.
    #[error("sharedConfig: all settings together take {length} bytes, {limit} fit into one environment variable")]
    TooLong {
        /// Their length in bytes.
        length: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// The images' generator cannot take the value.
    #[error(transparent)]
    Generator(#[from] GeneratorError),
    /// The file that comes out would be run by a shell rather than read.
    #[error("the rendered configuration is not plain assignments: {0}")]
    NotPlain(#[from] NotPlain),
    /// A setting comes out otherwise than asked for.
    #[error("{key}: asked for {asked:?}, but the containers would hold {found:?}; report this as a defect")]
    Lost {
        /// The setting.
        key: String,
        /// What was asked for.
        asked: String,
        /// What would come out.
        found: Option<String>,
    },
    /// A secret's value that does not survive the way into the file. The value itself is not told.
    #[error("Secret {secret}, key {key}: the value has {unfit}; {}", .unfit.fix(*.release))]
    SecretValue {
        /// The Secret.
        secret: String,
        /// The key in its data.
        key: String,
        /// What of it.
        unfit: Unfit,
        /// The release whose images do not carry it.
        release: Release,
    },
    /// A secret's value that was not handed in.
    #[error("the value of {variable} is needed to render the file; hand it in")]
    MissingSecret {
        /// The environment variable.
        variable: String,
    },
}

/// The longest environment string that Linux passes to a program (`MAX_ARG_STRLEN`), less room for the secrets.
const LONGEST: usize = 100_000;

/// What the configuration of every container must come to, in the order in which it is written.
///
/// `cluster_ips` are the virtual addresses of Services that stand; they win over those in the deployment file.
///
/// # Errors
/// A value that the images' scripts would not carry into the containers unchanged.
pub fn settings(
    deployment: &Deployment,
    cluster_ips: &BTreeMap<Component, Vec<IpAddr>>,
) -> Result<Vec<(String, Setting)>, SettingsError> {
    let names = deployment.names();
    let file = deployment.file();
    let hunter = deployment.release() != Release::Classic;
    let mut wanted = Wanted(Vec::new());

    wanted.set("home_domain", names.home_domain());
    wanted.set("sprout_hostname", names.sprout());
    wanted.set("hs_hostname", names.host_and_port(Component::Homestead));
    match &file.hss {
        None => wanted.set("hs_provisioning_hostname", names.host_and_port(Component::HomesteadProv)),
        Some(hss) => {
            wanted.set("hss_hostname", names.hss(&hss.hostname));
            wanted.set("hss_realm", hss.realm.as_deref().unwrap_or(names.zone()));
        }
    }
    wanted.set("xdms_hostname", names.host_and_port(Component::Homer));
    wanted.set("ralf_hostname", names.host_and_port(Component::Ralf));
    wanted.set("chronos_hostname", names.host(Component::Chronos));
    wanted.set("cassandra_hostname", names.host(Component::Cassandra));
    if hunter {
        for key in HostSetting::Store.keys() {
            wanted.set(key, names.host(Component::Astaire));
        }
    }
    wanted.set("upstream_hostname", names.upstream());
    for cscf in Cscf::ALL {
        wanted.set(&format!("{}_uri", cscf.label()), names.cscf_uri(cscf));
    }
    let mut sender = None;
    if let Some(email) = &file.email {
        wanted.set("smtp_smarthost", email.smarthost.as_str());
        wanted.set("smtp_username", email.username.as_deref().unwrap_or_default());
        match &email.password {
            Some(password) => wanted.secret("smtp_password", &password.secret, &password.key),
            None => wanted.set("smtp_password", ""),
        }
        sender.clone_from(&email.sender);
    }
    wanted.set("email_recovery_sender", sender.unwrap_or_else(|| format!("clearwater@{}", names.home_domain())));
    let secret = match &file.keys {
        KeyPolicy::Random => Some(KEYS_SECRET),
        KeyPolicy::Secret(name) => Some(name.as_str()),
        KeyPolicy::Upstream => None,
    };
    if let Some(secret) = secret {
        for key in Keys::upstream().settings().keys() {
            wanted.secret(key, secret, key);
        }
    }
    let addresses = match cluster_ips.get(&Component::Sprout) {
        Some(addresses) => addresses.as_slice(),
        None => deployment.cluster_ips(Component::Sprout),
    };
    // Bono puts names into Route, so an address that is not known here is missed by nobody; one that somebody's own
    // settings put there would go round without this.
    if deployment.sprout_alias().is_some() && !addresses.is_empty() {
        let list: Vec<_> = addresses.iter().map(ToString::to_string).collect();
        wanted.set("local_alias_list", list.join(","));
    }
    for (key, value) in &file.shared_config {
        wanted.set(key, value.as_str());
    }
    Ok(wanted.0)
}

struct Wanted(Vec<(String, Setting)>);

impl Wanted {
    fn put(&mut self, key: &str, setting: Setting) {
        match self.0.iter_mut().find(|(k, _)| k == key) {
            Some((_, old)) => *old = setting,
            None => self.0.push((key.to_owned(), setting)),
        }
    }

    fn set(&mut self, key: &str, value: impl Into<String>) {
        self.put(key, Setting::Text(value.into()));
    }

    fn secret(&mut self, key: &str, secret: &str, data_key: &str) {
        let variable = key.to_uppercase();
        self.put(key, Setting::Secret { variable, secret: secret.to_owned(), key: data_key.to_owned() });
    }
}

/// What the containers are given, so that their configuration comes to [`settings`].
///
/// The result is put through [`generate`] before it is returned: what the generator would lose or change is an error,
/// never a surprise.
///
/// # Errors
/// A value that the images' scripts would not carry into the containers unchanged.
pub fn environment(
    deployment: &Deployment,
    cluster_ips: &BTreeMap<Component, Vec<IpAddr>>,
) -> Result<ContainerEnvironment, SettingsError> {
    let wanted = settings(deployment, cluster_ips)?;
    let mut config_map = BTreeMap::from([("ZONE".to_owned(), deployment.zone())]);
    let mut variables = Vec::new();
    for (_, setting) in &wanted {
        if let Setting::Secret { variable, secret, key } = setting {
            let value = VariableValue::Secret { secret: secret.clone(), key: key.clone() };
            variables.push(Variable { name: variable.clone(), value });
        }
    }
    if deployment.release() == Release::Classic {
        let environment =
            ContainerEnvironment { config_map, variables, auto_config: Some(auto_config(deployment, &wanted)) };
        verify(deployment, &environment, &wanted)?;
        return Ok(environment);
    }

    if let Some(hss) = &deployment.file().hss {
        config_map.insert("HSS".to_owned(), hss.hostname.clone());
    }
    let base = Environment {
        zone: Some(deployment.zone()),
        hss: config_map.get("HSS").cloned(),
        ip: "192.0.2.1".to_owned(),
        ..Environment::default()
    };
    let by_itself = generate(deployment.release(), &base)?.settings()?;
    let mut plain = String::new();
    let mut secret = String::new();
    for (key, setting) in &wanted {
        match setting {
            Setting::Text(text) if by_itself.get(key) == Some(text) => {}
            Setting::Text(text) => {
                if !plain.is_empty() {
                    plain.push_str(LINE_END);
                }
                shell::encode_for_echo(&format!("{key}={}", shell::quote_if_needed(text)), &mut plain);
            }
            Setting::Secret { variable, .. } => secret.push_str(&format!("{key}='$({variable})'{LINE_END}")),
        }
    }
    if plain.len() > LONGEST {
        return Err(SettingsError::TooLong { length: plain.len(), limit: LONGEST });
    }
    config_map.insert(ADDITIONAL.to_owned(), plain);
    if !secret.is_empty() {
        // Kubernetes replaces $(NAME) in a value of the pod's own, but not in one that comes from a ConfigMap.
        let key = ADDITIONAL.to_owned();
        variables.push(Variable { name: FROM_CONFIG_MAP.to_owned(), value: VariableValue::ConfigMap { key } });
        let text = VariableValue::Text(format!("{secret}$({FROM_CONFIG_MAP})"));
        variables.push(Variable { name: ADDITIONAL.to_owned(), value: text });
    }
    let environment = ContainerEnvironment { config_map, variables, auto_config: None };
    verify(deployment, &environment, &wanted)?;
    Ok(environment)
}

/// Checks that the generator arrives at the settings, whatever the secrets are.
fn verify(
    deployment: &Deployment,
    environment: &ContainerEnvironment,
    wanted: &[(String, Setting)],
) -> Result<(), SettingsError> {
    let stand_in = "secret-value".to_owned();
    let secrets: BTreeMap<String, String> = wanted
        .iter()
        .filter_map(|(_, setting)| match setting {
            Setting::Secret { variable, .. } => Some((variable.clone(), stand_in.clone())),
            Setting::Text(_) => None,
        })
        .collect();
    let pod = Pod { ip: "192.0.2.1".to_owned(), ..Pod::default() };
    let found = run(deployment, environment, wanted, &pod, &secrets)?.settings()?;
    for (key, setting) in wanted {
        let asked = match setting {
            Setting::Text(text) => text,
            Setting::Secret { .. } => &stand_in,
        };
        if found.get(key) != Some(asked) {
            let found = found.get(key).map(ToOwned::to_owned);
            return Err(SettingsError::Lost { key: key.clone(), asked: asked.clone(), found });
        }
    }
    Ok(())
}

/// The text of both files in a pod of the deployment that is given every secret.
///
/// `secrets` holds the values of the variables that come from Secrets, as [`secret_values`] makes them.
///
/// # Errors
/// A value that the images' scripts would not carry into the containers unchanged.
pub fn rendered(
    deployment: &Deployment,
    cluster_ips: &BTreeMap<Component, Vec<IpAddr>>,
    pod: &Pod,
    secrets: &BTreeMap<String, String>,
) -> Result<Generated, SettingsError> {
    let environment = environment(deployment, cluster_ips)?;
    let wanted = settings(deployment, cluster_ips)?;
    run(deployment, &environment, &wanted, pod, secrets)
}

/// The values of the variables that come from Secrets, by variable.
pub fn secret_values(keys: &Keys, smtp_password: Option<&str>) -> BTreeMap<String, String> {
    let mut values: BTreeMap<_, _> =
        keys.settings().into_iter().map(|(key, value)| (key.to_uppercase(), value.to_owned())).collect();
    if let Some(password) = smtp_password {
        values.insert("SMTP_PASSWORD".to_owned(), password.to_owned());
    }
    values
}

/// Whether a Secret's value survives the way into the containers' files. The classic release takes any one line of
/// text; for hunter the error says which characters are allowed.
///
/// # Errors
/// What the images' scripts would make something else of.
pub fn check_secret_value(release: Release, secret: &str, key: &str, value: &str) -> Result<(), SettingsError> {
    match Unfit::of(release, value.as_bytes()) {
        None => Ok(()),
        Some(unfit) => {
            Err(SettingsError::SecretValue { secret: secret.to_owned(), key: key.to_owned(), unfit, release })
        }
    }
}

/// What Kubernetes, the generator and, for classic, the auto-config script make of the environment.
fn run(
    deployment: &Deployment,
    environment: &ContainerEnvironment,
    wanted: &[(String, Setting)],
    pod: &Pod,
    secrets: &BTreeMap<String, String>,
) -> Result<Generated, SettingsError> {
    let release = deployment.release();
    let secret_of = |variable: &str| {
        secrets.get(variable).ok_or_else(|| SettingsError::MissingSecret { variable: variable.to_owned() })
    };
    for (_, setting) in wanted {
        if let Setting::Secret { variable, secret, key } = setting {
            check_secret_value(release, secret, key, secret_of(variable)?)?;
        }
    }
    let mut values = environment.config_map.clone();
    for variable in &environment.variables {
        let value = match &variable.value {
            VariableValue::Text(text) => expand(text, &values),
            VariableValue::ConfigMap { key } => environment.config_map.get(key).cloned().unwrap_or_default(),
            VariableValue::Secret { .. } => secret_of(&variable.name)?.clone(),
        };
        values.insert(variable.name.clone(), value);
    }
    let env = Environment {
        ip: pod.ip.clone(),
        resolv_conf: pod.resolv_conf.clone(),
        public_ip: pod.public_ip.clone(),
        zone: values.remove("ZONE"),
        hss: values.remove("HSS"),
        additional_shared_config: values.remove(ADDITIONAL),
        ..Environment::default()
    };
    let mut generated = generate(release, &env)?;
    if release == Release::Classic
        && let Some(shared) = &mut generated.shared_config
    {
        let mut file = File(std::mem::take(shared));
        if deployment.file().hss.is_some() {
            file.delete(|line| line.contains("hs_provisioning"));
        }
        for (key, setting) in wanted {
            let value = match setting {
                Setting::Text(text) => text,
                Setting::Secret { variable, .. } => secret_of(variable)?,
            };
            file.put(key, &shell::quote(value));
        }
        *shared = file.0;
    }
    Ok(generated)
}

/// Replaces `$(NAME)` by variables, as the kubelet does (kubernetes `third_party/forked/golang/expansion/expand.go`).
fn expand(text: &str, values: &BTreeMap<String, String>) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        rest = after;
        if let Some(tail) = after.strip_prefix('$') {
            out.push('$');
            rest = tail;
        } else if let Some((name, tail)) = after.strip_prefix('(').and_then(|a| a.split_once(')')) {
            match values.get(name) {
                Some(value) => out.push_str(value),
                None => out.push_str(&format!("$({name})")),
            }
            rest = tail;
        } else {
            out.push('$');
        }
    }
    out.push_str(rest);
    out
}
