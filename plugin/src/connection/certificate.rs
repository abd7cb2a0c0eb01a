//! Certificates over which a connection failed: whose it is, what is wrong with it, and what puts it right.

use std::error::Error;
use std::io;

use rustls::{AlertDescription, CertificateError, InconsistentKeys, OtherError};

/// What this program's TLS can verify.
const KNOWN: &str = "RSA, P-256, P-384 and Ed25519 are known";

/// What is wrong between the API server and us; `None` where it is no certificate.
pub(super) fn at_server(error: &(dyn Error + 'static)) -> Option<String> {
    let text = match tls(error)? {
        rustls::Error::InvalidCertificate(why) => match why {
            CertificateError::UnknownIssuer => {
                "none of the kubeconfig's authorities signed the server's certificate: take the kubeconfig of this cluster \
                 as it is now"
                    .to_owned()
            }
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "the server's certificate has expired: renew it on the cluster (`kubeadm certs renew apiserver`, `microk8s \
                 refresh-certs`, a restart of k3s)"
                    .to_owned()
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "the server's certificate is not valid yet: compare this machine's clock with the cluster's".to_owned()
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                "the server's certificate is for other names: say one of them with --tls-server-name, or have it made for \
                 this address"
                    .to_owned()
            }
            why => format!(
                "the server's certificate {}: give the API server another (`microk8s refresh-certs --cert server.crt`)",
                form(why)?
            ),
        },
        rustls::Error::AlertReceived(AlertDescription::CertificateExpired) => {
            "the server finds the client certificate of the kubeconfig's user expired: renew it (`kubeadm certs renew \
             admin.conf`, `microk8s refresh-certs`), and take the kubeconfig anew"
                .to_owned()
        }
        rustls::Error::AlertReceived(
            AlertDescription::BadCertificate
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRequired,
        ) => "the server refuses the client certificate of the kubeconfig's user: take the kubeconfig of this cluster as it \
              is now"
            .to_owned(),
        // Who has no certificate whose kind we say that we know gives none.
        rustls::Error::AlertReceived(AlertDescription::HandshakeFailure) => format!(
            "the server has no kind of certificate, key or cipher in common with this program ({KNOWN}; P-521 is not): give the \
             API server another certificate (`microk8s refresh-certs --cert server.crt`)"
        ),
        _ => return None,
    };
    Some(text)
}

/// What is wrong with the client certificate or its key; `None` where it is something else.
pub(super) fn of_user(error: &(dyn Error + 'static)) -> Option<String> {
    let text = match tls(error)? {
        rustls::Error::InvalidCertificate(why) => format!(
            "the client certificate of the kubeconfig's user {}: renew it (`microk8s refresh-certs --cert ca.crt`, `kubeadm \
             certs renew admin.conf`), and take the kubeconfig anew",
            form(why)?
        ),
        rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
            "client certificate and client key of the kubeconfig's user do not belong together".to_owned()
        }
        rustls::Error::General(why) if why.contains("private key") => {
            format!("the client key of the kubeconfig's user is of a kind that is not known: {KNOWN}")
        }
        _ => return None,
    };
    Some(text)
}

/// What a certificate is that Go takes and rustls does not.
fn form(why: &CertificateError) -> Option<String> {
    let text = match why {
        CertificateError::Other(OtherError(why)) => match why.downcast_ref::<webpki::Error>()? {
            webpki::Error::CaUsedAsEndEntity => {
                "is itself an authority's (CA:TRUE), which kubectl takes and this program does not"
            }
            webpki::Error::UnsupportedCertVersion => {
                "is of X.509 version 1, which kubectl takes and this program does not"
            }
            _ => return None,
        },
        CertificateError::UnsupportedSignatureAlgorithmContext { .. }
        | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
            return Some(format!("has a key or a signature of a kind that is not known ({KNOWN})"));
        }
        CertificateError::BadEncoding => "cannot be read",
        CertificateError::Revoked => "was revoked",
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => "is for another purpose",
        _ => return None,
    };
    Some(text.to_owned())
}

/// What TLS said, wherever among the causes.
fn tls<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e rustls::Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        next = match error.downcast_ref::<io::Error>() {
            // What it was made of is no cause of it.
            Some(error) => error.get_ref().map(|inner| inner as &(dyn Error + 'static)),
            None => error.source(),
        };
    }
    None
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn each_fault_is_told_with_what_puts_it_right() {
        let other = |why| CertificateError::Other(OtherError(Arc::new(why)));
        let unfit = rustls::Error::InvalidCertificate;
        let at = |error: rustls::Error| at_server(&io::Error::other(error));
        for (error, words) in [
            (unfit(CertificateError::UnknownIssuer), "signed the server's certificate"),
            (unfit(CertificateError::Expired), "kubeadm certs renew apiserver"),
            (unfit(CertificateError::NotValidYet), "clock"),
            (unfit(CertificateError::NotValidForName), "--tls-server-name"),
            (unfit(other(webpki::Error::CaUsedAsEndEntity)), "CA:TRUE"),
            (unfit(other(webpki::Error::UnsupportedCertVersion)), "X.509 version 1"),
            (rustls::Error::AlertReceived(AlertDescription::CertificateExpired), "kubeconfig's user expired"),
            (rustls::Error::AlertReceived(AlertDescription::BadCertificate), "refuses the client certificate"),
            // OpenSSL and Go with a certificate of P-521.
            (rustls::Error::AlertReceived(AlertDescription::HandshakeFailure), "P-521"),
        ] {
            let said = at(error.clone()).unwrap_or_default();
            assert!(said.contains(words), "{error}: {said}");
        }
        assert_eq!(at(rustls::Error::AlertReceived(AlertDescription::InternalError)), None);
        assert_eq!(at_server(&io::Error::from(io::ErrorKind::ConnectionRefused)), None);
        let own = of_user(&unfit(other(webpki::Error::UnsupportedCertVersion))).unwrap();
        assert!(own.contains("client certificate of the kubeconfig's user is of X.509 version 1"), "{own}");
    }
}
