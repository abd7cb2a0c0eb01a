//! Keys and certificates of a cluster.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    SanType,
};

/// A certificate authority whose files lie in one directory as `<name>.crt` and `<name>.key`.
#[derive(Debug)]
pub struct Authority {
    directory: PathBuf,
    certificate: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its key, both PEM.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The certificate.
    pub certificate: String,
    /// The private key.
    pub key: String,
}

impl Authority {
    /// Opens the authority `name` in `directory`, which is made when it is not there.
    pub fn open_or_create(directory: &Path, name: &str) -> Result<Self> {
        fs::create_dir_all(directory).with_context(|| format!("cannot create {}", directory.display()))?;
        let certificate_file = directory.join(format!("{name}.crt"));
        let key_file = directory.join(format!("{name}.key"));
        if !(certificate_file.exists() && key_file.exists()) {
            let key = KeyPair::generate()?;
            let mut params = CertificateParams::default();
            params.distinguished_name.push(DnType::CommonName, format!("clearwater-testbed-{name}"));
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params.key_usages =
                vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
            let certificate = params.self_signed(&key)?;
            write_private(&key_file, &key.serialize_pem())?;
            write(&certificate_file, &certificate.pem())?;
        }
        let certificate = read(&certificate_file)?;
        let key = KeyPair::from_pem(&read(&key_file)?)
            .with_context(|| format!("{} is not a private key", key_file.display()))?;
        let issuer = Issuer::from_ca_cert_pem(&certificate, key)
            .with_context(|| format!("{} is not an authority's certificate", certificate_file.display()))?;
        Ok(Self { directory: directory.to_owned(), certificate, issuer })
    }

    /// The authority's certificate, PEM.
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// Issues a certificate that serves as client and as server.
    ///
    /// Kubernetes takes `user` as the user's name and `group` as the user's group. `addresses` are the IP addresses
    /// and host names a server answers at.
    pub fn issue(&self, user: &str, group: Option<&str>, addresses: &[&str]) -> Result<Identity> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, user);
        if let Some(group) = group {
            params.distinguished_name.push(DnType::OrganizationName, group);
        }
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
        for address in addresses {
            params.subject_alt_names.push(match address.parse() {
                Ok(ip) => SanType::IpAddress(ip),
                Err(_) => SanType::DnsName((*address).try_into()?),
            });
        }
        let certificate =
            params.signed_by(&key, &self.issuer).with_context(|| format!("cannot issue a certificate for {user}"))?;
        Ok(Identity { certificate: certificate.pem(), key: key.serialize_pem() })
    }

    /// [`Self::issue`], kept as `<name>.crt` and `<name>.key` and not issued again while these exist.
    pub fn keep(&self, name: &str, user: &str, group: Option<&str>, addresses: &[&str]) -> Result<Identity> {
        let certificate_file = self.directory.join(format!("{name}.crt"));
        let key_file = self.directory.join(format!("{name}.key"));
        if !(certificate_file.exists() && key_file.exists()) {
            let identity = self.issue(user, group, addresses)?;
            write_private(&key_file, &identity.key)?;
            write(&certificate_file, &identity.certificate)?;
        }
        Ok(Identity { certificate: read(&certificate_file)?, key: read(&key_file)? })
    }
}

/// Makes the key pair that signs service account tokens: `<name>.key` and `<name>.pub`.
pub(crate) fn keep_signing_key(directory: &Path, name: &str) -> Result<()> {
    let public_file = directory.join(format!("{name}.pub"));
    if !public_file.exists() {
        let key = KeyPair::generate()?;
        write_private(&directory.join(format!("{name}.key")), &key.serialize_pem())?;
        write(&public_file, &key.public_key_pem())?;
    }
    Ok(())
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

fn write(path: &Path, content: &str) -> Result<()> {
    fs::write(path, content).with_context(|| format!("cannot write {}", path.display()))
}

fn write_private(path: &Path, content: &str) -> Result<()> {
    write(path, content)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))
        .with_context(|| format!("cannot protect {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_authority_is_found_again_and_identities_are_kept() {
        let directory = tempfile::tempdir().unwrap();
        let first = Authority::open_or_create(directory.path(), "ca").unwrap();
        let identity = first.keep("admin", "admin", Some("system:masters"), &["127.0.0.1", "localhost"]).unwrap();
        let again = Authority::open_or_create(directory.path(), "ca").unwrap();
        assert_eq!(first.certificate(), again.certificate());
        assert_eq!(again.keep("admin", "other", None, &[]).unwrap().certificate, identity.certificate);
        let mode = fs::metadata(directory.path().join("admin.key")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
