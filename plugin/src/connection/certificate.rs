//! Certificates over which a connection failed: whose it is, what is wrong with it, and what puts it right.

use std::error::Error;
use std::io;

use kube::client::RustlsTlsError;
use kube::config::{KubeconfigError, LoadDataError};
use rustls::pki_types::{CertificateDer, TrustAnchor, UnixTime};
use rustls::{AlertDescription, CertificateError, InconsistentKeys, OtherError};

/// What this program's TLS can verify.
const KNOWN: &str = "RSA of 2048 bits or more, P-256, P-384 and Ed25519 are known";

/// Where what a handshake takes was read: a file, or a key of the kubeconfig.
#[derive(Clone, Debug, Default)]
pub(super) struct Places {
    /// The authority's certificate.
    pub(super) authority: String,
    /// The client's certificate.
    pub(super) certificate: String,
    /// Whether there is one.
    pub(super) shows_one: bool,
    /// Its key.
    pub(super) key: String,
    /// Whether the command line names the client's certificate, its key, or the kubeconfig.
    pub(super) is_told: bool,
    /// The authorities' certificates in DER.
    pub(super) authorities: Vec<Vec<u8>>,
}

impl Places {
    /// What is wrong with an authority's certificate, where it is not one that a server's could be judged by. Looked for where a
    /// handshake failed, and not before.
    fn unfit(&self) -> Option<Unfit> {
        Unfit::of(self.authorities.iter().map(Vec::as_slice))
    }
}

/// What an authority's certificate is that Go takes for one and rustls does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unfit {
    /// A server's own, which another authority has signed.
    Leaf,
    /// One with an RSA key of fewer than 2048 bits.
    ShortKey,
}

impl Unfit {
    /// What is wrong with one of the authorities' certificates.
    fn of<'c>(authorities: impl IntoIterator<Item = &'c [u8]>) -> Option<Self> {
        authorities.into_iter().find_map(|der| {
            let der = CertificateDer::from(der);
            let anchor = webpki::anchor_from_trusted_cert(&der).ok()?;
            if has_short_key(&anchor) {
                return Some(Self::ShortKey);
            }
            // An authority's own is none of a server's, and one that has signed itself is its own issuer.
            let algorithms = rustls::crypto::ring::default_provider().signature_verification_algorithms.all;
            let usage = webpki::KeyUsage::server_auth();
            let certificate = webpki::EndEntityCert::try_from(&der).ok()?;
            let (anchors, now) = (std::slice::from_ref(&anchor), UnixTime::now());
            let as_server = certificate.verify_for_usage(algorithms, anchors, &[], now, usage, None, None);
            matches!(as_server.err(), Some(webpki::Error::UnknownIssuer)).then_some(Self::Leaf)
        })
    }
}

/// Whether its key is RSA (RFC 8017, `rsaEncryption`) of fewer than 2048 bits, whose modulus alone has 256 bytes.
fn has_short_key(anchor: &TrustAnchor<'_>) -> bool {
    const RSA: [u8; 9] = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
    let key = anchor.subject_public_key_info.as_ref();
    key.len() < 256 && key.windows(RSA.len()).any(|bytes| bytes == RSA)
}

/// What is wrong between the API server and us; `None` where it is no certificate.
pub(super) fn at_server(error: &(dyn Error + 'static), places: &Places) -> Option<String> {
    let Places { authority, certificate, .. } = places;
    let text = match tls(error)? {
        rustls::Error::InvalidCertificate(CertificateError::BadSignature)
            if places.unfit() == Some(Unfit::ShortKey) =>
        {
            format!(
                "{authority} has an RSA key of fewer than 2048 bits, which kubectl takes and this program does not: give the \
                 cluster another authority (`microk8s refresh-certs --cert ca.crt`, `k3s certificate rotate-ca`; kubeadm: a new \
                 ca.crt and `kubeadm certs renew all`), and take the kubeconfig anew"
            )
        }
        rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer) if places.unfit() == Some(Unfit::Leaf) => {
            format!(
                "{authority} is a server's own certificate, which kubectl takes and this program does not: put the certificate \
                 of the authority that signed it there (kubectl get configmap kube-root-ca.crt -o jsonpath='{{.data.ca\\.crt}}')"
            )
        }
        rustls::Error::InvalidCertificate(why) => match why {
            CertificateError::UnknownIssuer => {
                format!("{authority} did not sign the server's certificate: take the kubeconfig of this cluster as it is now")
            }
            // Every cluster of kubeadm has an authority of the same name.
            CertificateError::BadSignature => format!(
                "what the server shows does not fit {authority}: that is another cluster's under the same name (take the \
                 kubeconfig of this cluster as it is now), or the server's key is RSA of fewer than 2048 bits, which kubectl \
                 takes and this program does not (`kubeadm certs renew apiserver`, `microk8s refresh-certs --cert server.crt`)"
            ),
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
                "the server's certificate {}: give the API server another (`kubeadm certs renew apiserver`, `microk8s \
                 refresh-certs --cert server.crt`)",
                form(why)?
            ),
        },
        rustls::Error::AlertReceived(AlertDescription::CertificateExpired) => {
            format!("the server finds {certificate} expired: {RENEWED}")
        }
        // Go's servers say the one where TLS 1.3 is spoken, and the other before (crypto/tls `handshake_server.go`).
        rustls::Error::AlertReceived(AlertDescription::CertificateRequired | AlertDescription::BadCertificate)
            if !places.shows_one =>
        {
            NOBODY.to_owned()
        }
        rustls::Error::AlertReceived(
            AlertDescription::BadCertificate
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRequired,
        ) => format!("the server refuses {certificate}: take the kubeconfig of this cluster as it is now"),
        // Who has no certificate whose kind we say that we know gives none. OpenSSL says the same before TLS 1.3 where it is shown
        // none (`statem_srvr.c`).
        rustls::Error::AlertReceived(AlertDescription::HandshakeFailure) => {
            let nobody = if places.shows_one { String::new() } else { format!("{NOBODY}; or ") };
            format!(
                "{nobody}the server has no kind of certificate, key or cipher in common with this program ({KNOWN}; P-521 is not): \
                 give the API server a certificate with another key (`kubeadm certs renew apiserver` with a kubeadm that makes RSA \
                 or P-256, `microk8s refresh-certs --cert server.crt`)"
            )
        }
        _ => return None,
    };
    Some(text)
}

/// What a server says that wants to know who asks.
const NOBODY: &str = "the server wants a client certificate, and none is shown: put client-certificate and client-key into the \
                      kubeconfig's user, or say --client-certificate and --client-key";

/// What renews a client's certificate, with its key.
const RENEWED: &str = "renew it (`kubeadm certs renew admin.conf`, `microk8s refresh-certs --cert ca.crt`, a restart of k3s), and \
                       take the kubeconfig anew";

/// What is wrong with the client certificate or its key; `None` where it is something else.
pub(super) fn of_user(error: &kube::Error, places: &Places) -> Option<String> {
    let Places { certificate, key, .. } = places;
    if let Some(unread) = unread(error, places) {
        return Some(unread);
    }
    let text = match tls(error)? {
        rustls::Error::InvalidCertificate(why) => format!("{certificate} {}: {RENEWED}", form(why)?),
        rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
            format!("{certificate} and {key} do not belong together: take both from one kubeconfig of this cluster")
        }
        rustls::Error::General(why) if why.contains("private key") => format!(
            "{key} is of a kind that is not known: {KNOWN}. kubectl takes P-521 and shorter RSA besides; have the certificate made \
             with another key (`kubeadm kubeconfig user --client-name NAME`, `microk8s refresh-certs --cert ca.crt`, a restart of \
             k3s), and take the kubeconfig anew"
        ),
        _ => return None,
    };
    Some(text)
}

/// Why the certificate and its key could not even be read.
fn unread(error: &kube::Error, Places { certificate, key, .. }: &Places) -> Option<String> {
    let beside = |held: &str, lacks: &str| {
        format!("{held} stands without {lacks}: put {lacks} or {lacks}-data beside it, or name it with --{lacks}")
    };
    let text = match error {
        kube::Error::InferKubeconfig(KubeconfigError::LoadClientKey(why)) => match why {
            LoadDataError::NoBase64DataOrFile => beside(certificate, "client-key"),
            why => format!("{key}: {why}"),
        },
        kube::Error::InferKubeconfig(KubeconfigError::LoadClientCertificate(why)) => match why {
            LoadDataError::NoBase64DataOrFile => beside(key, "client-certificate"),
            why => format!("{certificate}: {why}"),
        },
        kube::Error::RustlsTls(RustlsTlsError::MissingPrivateKey) => format!(
            "{key} holds no private key in PEM, or an encrypted one, which kubectl does not take either: put the key there that \
             belongs to {certificate}"
        ),
        kube::Error::RustlsTls(RustlsTlsError::MissingCertificate) => {
            format!("{certificate} holds no certificate in PEM: put the certificate there that belongs to {key}")
        }
        kube::Error::RustlsTls(
            why @ (RustlsTlsError::InvalidIdentityPem(_) | RustlsTlsError::UnknownPrivateKeyFormat),
        ) => {
            format!("{certificate} or {key} cannot be read ({why}): take both from one kubeconfig of this cluster")
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

    use rustls::pki_types::pem::PemObject as _;

    use super::*;

    fn places() -> Places {
        Places {
            authority: "certificate-authority /ca.crt of the kubeconfig's cluster \"c\"".to_owned(),
            certificate: "client-certificate-data of the kubeconfig's user \"u\"".to_owned(),
            key: "client-key /u.key of the kubeconfig's user \"u\"".to_owned(),
            shows_one: true,
            ..Places::default()
        }
    }

    #[test]
    fn each_fault_is_told_with_what_puts_it_right() {
        let other = |why| CertificateError::Other(OtherError(Arc::new(why)));
        let unfit = rustls::Error::InvalidCertificate;
        let at = |error: rustls::Error| at_server(&io::Error::other(error), &places());
        for (error, words) in [
            (unfit(CertificateError::UnknownIssuer), "/ca.crt of the kubeconfig's cluster \"c\" did not sign"),
            (unfit(CertificateError::BadSignature), "another cluster's under the same name"),
            (unfit(CertificateError::BadSignature), "RSA of fewer than 2048 bits"),
            (unfit(CertificateError::Expired), "kubeadm certs renew apiserver"),
            (unfit(CertificateError::NotValidYet), "clock"),
            (unfit(CertificateError::NotValidForName), "--tls-server-name"),
            (unfit(other(webpki::Error::CaUsedAsEndEntity)), "CA:TRUE"),
            (unfit(other(webpki::Error::UnsupportedCertVersion)), "X.509 version 1"),
            (
                rustls::Error::AlertReceived(AlertDescription::CertificateExpired),
                "of the kubeconfig's user \"u\" expired",
            ),
            (rustls::Error::AlertReceived(AlertDescription::BadCertificate), "refuses client-certificate-data of"),
            // OpenSSL and Go with a certificate of P-521.
            (rustls::Error::AlertReceived(AlertDescription::HandshakeFailure), "P-521"),
        ] {
            let said = at(error.clone()).unwrap_or_default();
            assert!(said.contains(words), "{error}: {said}");
        }
        let nobody = Places { shows_one: false, ..places() };
        for alert in [
            AlertDescription::CertificateRequired,
            AlertDescription::BadCertificate,
            // OpenSSL before TLS 1.3, which says the same where there is nothing in common.
            AlertDescription::HandshakeFailure,
        ] {
            let said = at_server(&io::Error::other(rustls::Error::AlertReceived(alert)), &nobody).unwrap();
            assert!(said.starts_with("the server wants a client certificate, and none is shown"), "{said}");
            assert_eq!(said.contains("P-521"), alert == AlertDescription::HandshakeFailure, "{said}");
        }
        assert_eq!(at(rustls::Error::AlertReceived(AlertDescription::InternalError)), None);
        assert_eq!(at_server(&io::Error::from(io::ErrorKind::ConnectionRefused), &places()), None);
        let of_user =
            |error| of_user(&kube::Error::RustlsTls(RustlsTlsError::InvalidPrivateKey(error)), &places()).unwrap();
        let own = of_user(unfit(other(webpki::Error::UnsupportedCertVersion)));
        assert!(
            own.starts_with("client-certificate-data of the kubeconfig's user \"u\" is of X.509 version 1"),
            "{own}"
        );
        assert!(own.contains("kubeadm certs renew admin.conf"), "{own}");
        let key = rustls::Error::General("failed to parse private key as RSA, ECDSA, or EdDSA".to_owned());
        let key = of_user(key);
        assert!(key.starts_with("client-key /u.key of") && key.contains("kubeadm kubeconfig user"), "{key}");
    }

    #[test]
    fn what_stands_in_an_authoritys_place_and_is_none_is_seen() {
        let unfit = |pem: &str| {
            let der = CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
            Unfit::of([der.as_ref()])
        };
        for (name, pem, expected) in [
            ("an authority", include_str!("../../tests/certificates/authority.pem"), None),
            ("one that has signed itself", include_str!("../../tests/certificates/self.pem"), None),
            ("RSA of 2048", include_str!("../../tests/certificates/long.pem"), None),
            ("RSA of 1024", include_str!("../../tests/certificates/short.pem"), Some(Unfit::ShortKey)),
            ("a server's own", include_str!("../../tests/certificates/leaf.pem"), Some(Unfit::Leaf)),
        ] {
            assert_eq!(unfit(pem), expected, "{name}");
        }
        let said = |pem: &str, why| {
            let error = rustls::Error::InvalidCertificate(why);
            let der = CertificateDer::from_pem_slice(pem.as_bytes()).unwrap().to_vec();
            at_server(&error, &Places { authorities: vec![der], ..places() }).unwrap()
        };
        let leaf = said(include_str!("../../tests/certificates/leaf.pem"), CertificateError::UnknownIssuer);
        assert!(leaf.contains("/ca.crt of") && leaf.contains("kubectl get configmap kube-root-ca.crt"), "{leaf}");
        let short = said(include_str!("../../tests/certificates/short.pem"), CertificateError::BadSignature);
        assert!(short.contains("fewer than 2048 bits") && short.contains("--cert ca.crt"), "{short}");
    }
}
