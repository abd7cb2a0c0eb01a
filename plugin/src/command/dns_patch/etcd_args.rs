use std::path::PathBuf;

use clap::Args;
use clearwater_kube::dns::EtcdAccess;

use crate::bounded;
use crate::connection::{certificate_at, key_at, typed};
use crate::error::CliError;

/// How etcd is reached.
#[derive(Debug, Args)]
#[command(next_help_heading = "For --backend etcd")]
#[expect(clippy::struct_field_names, reason = "the fields are the flags")]
pub(super) struct EtcdArgs {
    /// The URL of etcd. Default: the one that CoreDNS' file names
    #[arg(long, value_name = "URL", value_parser = endpoint)]
    etcd_endpoint: Option<String>,
    /// The certificate of etcd's authority, as PEM
    #[arg(long, value_name = "FILE")]
    etcd_cacert: Option<PathBuf>,
    /// A client certificate, as PEM
    #[arg(long, value_name = "FILE", requires = "etcd_key")]
    etcd_cert: Option<PathBuf>,
    /// The client certificate's key, as PEM
    #[arg(long, value_name = "FILE", requires = "etcd_cert")]
    etcd_key: Option<PathBuf>,
    /// The user
    #[arg(long, value_name = "NAME", requires = "etcd_password_file")]
    etcd_user: Option<String>,
    /// The file that holds the user's password
    #[arg(long, value_name = "FILE", requires = "etcd_user")]
    etcd_password_file: Option<PathBuf>,
    /// Send the password to an http endpoint outside of the cluster, where everybody on the way can read it
    #[arg(long, requires = "etcd_user")]
    etcd_plain_password: bool,
}

/// What can be reached.
fn endpoint(text: &str) -> Result<String, String> {
    EtcdAccess::address(text).map(|_| text.to_owned())
}

impl EtcdArgs {
    /// The same flags, each after a blank, as they are typed again.
    pub(super) fn typed(&self) -> String {
        let path = |path: Option<&PathBuf>| path.map(|path| path.to_string_lossy().into_owned());
        let flags = [
            ("--etcd-endpoint", self.etcd_endpoint.clone()),
            ("--etcd-cacert", path(self.etcd_cacert.as_ref())),
            ("--etcd-cert", path(self.etcd_cert.as_ref())),
            ("--etcd-key", path(self.etcd_key.as_ref())),
            ("--etcd-user", self.etcd_user.clone()),
            ("--etcd-password-file", path(self.etcd_password_file.as_ref())),
        ];
        let mut all: String =
            flags.into_iter().filter_map(|(flag, value)| Some(format!(" {flag} {}", typed(&value?)))).collect();
        if self.etcd_plain_password {
            all.push_str(" --etcd-plain-password");
        }
        all
    }

    pub(super) fn access(&self) -> Result<EtcdAccess, CliError> {
        let certificate = match (&self.etcd_cert, &self.etcd_key) {
            (Some(certificate), Some(key)) => {
                Some((certificate_at("etcd-cert", certificate)?, key_at("etcd-key", key)?))
            }
            _ => None,
        };
        let user = match (&self.etcd_user, &self.etcd_password_file) {
            (Some(user), Some(file)) => {
                let password =
                    String::from_utf8_lossy(&bounded::bytes(file)?).trim_end_matches(['\n', '\r']).to_owned();
                Some((user.clone(), password))
            }
            _ => None,
        };
        let ca = self.etcd_cacert.as_ref().map(|path| certificate_at("etcd-cacert", path)).transpose()?;
        let (endpoint, plain_password) = (self.etcd_endpoint.clone(), self.etcd_plain_password);
        Ok(EtcdAccess { endpoint, ca, certificate, user, plain_password })
    }
}
