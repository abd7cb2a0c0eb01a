//! shared_config, mail and keys.

use std::collections::BTreeMap;

use super::{Check, form, path};
use crate::config::generator::GeneratorError;
use crate::config::problem::quoted;
use crate::config::shared::{SettingsError, environment};
use crate::config::{Deployment, HostSetting, KeyPolicy};

/// Whether a setting names other components: such come from the name model, as the DNS records do.
fn follows(key: &str) -> bool {
    HostSetting::of(key).is_some_and(|setting| setting != HostSetting::Outside)
}

pub(super) fn check(check: &mut Check<'_>) {
    shared_config(check);
    email(check);
    if let KeyPolicy::Secret(name) = &check.file.keys {
        check.form(&path("keys.secret"), name, form::object_name);
    }
    if check.file.keys == KeyPolicy::Upstream {
        check.warn(
            &[path("keys")],
            "the sign-up key and Ellis' keys are upstream's public ones: whoever reaches Ellis can create accounts; \
             leave this out where that matters",
        );
    }
}

fn shared_config(check: &mut Check<'_>) {
    for (name, value) in &check.file.shared_config {
        let key = path("sharedConfig").key(name);
        check.form(&key, name, form::shell_name);
        let elsewhere = match name.as_str() {
            "home_domain" => Some("homeDomain"),
            "signup_key" | "turn_workaround" | "ellis_api_key" | "ellis_cookie_key" => Some("keys"),
            "smtp_smarthost" | "smtp_username" | "email_recovery_sender" => Some("email"),
            "smtp_password" => Some("email.password"),
            "hss_hostname" | "hss_realm" => Some("hss"),
            "log_level" => Some("logLevel"),
            _ => None,
        };
        let message = match (elsewhere, name.as_str()) {
            (Some("keys" | "email.password"), _) => format!(
                "a secret never stands in this file: put it into a Secret of the namespace and name that under {}",
                elsewhere.unwrap_or_default()
            ),
            (Some(other), _) => format!("written from another key: write {other} instead"),
            (None, "signaling_dns_server") => {
                "has no effect: the containers write the pod's name servers after every other line; remove it"
                    .to_owned()
            }
            (None, "local_ip" | "public_ip" | "public_hostname" | "etcd_proxy" | "etcd_cluster") => {
                "has no effect: local_config is read after shared_config and wins; remove it".to_owned()
            }
            (None, name) if follows(name) => {
                "follows from zone, homeDomain and dns, so that configuration and DNS agree: change those, and remove \
                 this"
                    .to_owned()
            }
            _ => String::new(),
        };
        if !message.is_empty() {
            check.refuse(std::slice::from_ref(&key), message);
            continue;
        }
        check.form(&key, value, form::one_line);
    }
}

fn email(check: &mut Check<'_>) {
    let Some(email) = &check.file.email else { return };
    check.form(&path("email.smarthost"), &email.smarthost, form::host_port);
    if let Some(username) = &email.username {
        check.form(&path("email.username"), username, form::one_line);
    }
    if let Some(sender) = &email.sender {
        let key = path("email.sender");
        check.form(&key, sender, form::one_line);
        let (user, domain) = sender.rsplit_once('@').unwrap_or_default();
        if user.is_empty() || domain.is_empty() || sender.contains(char::is_whitespace) {
            check.wrong(&key, format!("{} is not a mail address; write USER@DOMAIN", quoted(sender)));
        }
    }
    if let Some(password) = &email.password {
        check.form(&path("email.password.secret"), &password.secret, form::object_name);
        check.form(&path("email.password.key"), &password.key, form::secret_key);
    }
    if email.username.is_some() != email.password.is_some() {
        let (given, missing) =
            if email.username.is_some() { ("username", "password") } else { ("password", "username") };
        check.refuse(
            &[path("email").key(given), path("email").key(missing)],
            format!("given without email.{missing}: a mail server asks for both; write the other, or remove this"),
        );
    }
}

/// What the images' own scripts would not carry into the containers unchanged. Asked last, of a deployment that is
/// sound otherwise.
pub(super) fn check_environment(check: &mut Check<'_>, deployment: &Deployment) {
    let Err(message) = environment(deployment, &BTreeMap::new()) else { return };
    let key = match &message {
        SettingsError::Generator(GeneratorError::Unsafe { variable: "ZONE", .. }) => path("zone"),
        SettingsError::Generator(GeneratorError::Unsafe { variable: "HSS", .. }) => path("hss.hostname"),
        SettingsError::Generator(GeneratorError::Unsafe { variable: "PUBLIC_IP", .. }) => path("bono.addresses"),
        SettingsError::Lost { key, .. } if check.file.shared_config.contains_key(key) => path("sharedConfig").key(key),
        _ => path("sharedConfig"),
    };
    let message = message.to_string();
    let message = message.strip_prefix(&format!("{key}: ")).unwrap_or(&message).to_owned();
    check.refuse(&[key], message);
}
