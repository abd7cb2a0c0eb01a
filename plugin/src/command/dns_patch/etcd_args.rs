use std::path::PathBuf;

use clap::Args;
use clearwater_kube::dns::EtcdAccess;

use crate::bounded;
use crate::error::CliError;

/// How etcd is reached.
#[derive(Debug, Args)]
#[command(next_help_heading = "For --backend etcd")]
#[expect(clippy::struct_field_names, reason = "the fields are the flags")]
pub(super) struct EtcdArgs {
    /// The URL of etcd. Default: the one that CoreDNS' file names
    #[arg(long, value_name = "URL")]
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

impl EtcdArgs {
    pub(super) fn access(&self) -> Result<EtcdAccess, CliError> {
        let read = |path: &PathBuf| bounded::bytes(path);
        let certificate = match (&self.etcd_cert, &self.etcd_key) {
            (Some(certificate), Some(key)) => Some((read(certificate)?, read(key)?)),
            _ => None,
        };
        let user = match (&self.etcd_user, &self.etcd_password_file) {
            (Some(user), Some(file)) => {
                let password = String::from_utf8_lossy(&read(file)?).trim_end_matches(['\n', '\r']).to_owned();
                Some((user.clone(), password))
            }
            _ => None,
        };
        let ca = self.etcd_cacert.as_ref().map(read).transpose()?;
        let (endpoint, plain_password) = (self.etcd_endpoint.clone(), self.etcd_plain_password);
        Ok(EtcdAccess { endpoint, ca, certificate, user, plain_password })
    }
}
