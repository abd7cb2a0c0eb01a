//! The connection to etcd: by its address, or over a forwarded port where it is a Service of the cluster.

use std::sync::Arc;
use std::time::Duration;

use clearwater::config::{CLUSTER_DOMAIN, DnsBackend};
use clearwater::remedy::{NamesDeed, Permission, Remedy};
use clearwater::text::limit;
use etcd_client::{Channel, Client, ConnectOptions};
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::time::timeout;
use tower::BoxError;

use super::super::{DnsError, EtcdAccess};
use crate::cluster::{Cluster, FailedAt, list_all, visible};
use crate::deadline::no_answer;
use crate::observe::cluster_dns::ClusterDns;
use crate::observe::etcd::CLIENT_PORT;
use crate::pod::object::pod_is_ready;
use crate::pod::{Duplex, OPEN, forward};

/// The longest that etcd may take to be reached, and to answer.
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) fn failed(source: impl Into<BoxError>) -> DnsError {
    DnsError::unable(DnsBackend::Etcd, source)
}

/// The Service behind a host: by its name, or by its virtual address. What this user may not see is none. An error where it
/// could not be seen: whether the host is the cluster's is not known then.
pub(super) async fn service_of(cluster: &Cluster, host: &str) -> Result<Option<Service>, kube::Error> {
    let labels: Vec<&str> = host.trim_end_matches('.').split('.').collect();
    if let [name, namespace, "svc", domain @ ..] = labels.as_slice() {
        if !is_of_cluster(cluster, &domain.join(".")).await {
            return Ok(None);
        }
        let api: Api<Service> = Api::namespaced(cluster.client.clone(), namespace);
        return visible(api.get_opt(name).await).map(Option::flatten);
    }
    if host.parse::<std::net::IpAddr>().is_err() {
        return Ok(None);
    }
    let all: Api<Service> = Api::all(cluster.client.clone());
    let listed = match visible(list_all(&all, &ListParams::default()).await)? {
        Some(all) => Some(all),
        None => visible(list_all(&cluster.api::<Service>(), &ListParams::default()).await)?,
    };
    let is_its = |s: &Service| s.spec.as_ref().and_then(|s| s.cluster_ip.as_deref()) == Some(host);
    Ok(listed.into_iter().flatten().find(is_its))
}

/// Whether names of Services end with a domain here: somebody else's `etcd.ims.svc.example.com` is not the cluster's.
async fn is_of_cluster(cluster: &Cluster, domain: &str) -> bool {
    if domain.is_empty() || domain == CLUSTER_DOMAIN {
        return true;
    }
    let dns = Box::pin(ClusterDns::look(&cluster.client)).await.ok();
    let corefile = dns.and_then(|dns| dns.file?.corefile().ok());
    corefile.is_some_and(|corefile| corefile.kubernetes_domains().iter().any(|served| served == domain))
}

/// Opens a stream to etcd: forwarded where its host is a Service of the cluster, else over the network.
async fn stream(
    cluster: &Cluster,
    service: Option<Service>,
    host: &str,
    port: u16,
) -> Result<Box<dyn Duplex>, BoxError> {
    if let Some(service) = service {
        let namespace = service.namespace().unwrap_or_default();
        let (name, spec) = (service.name_any(), service.spec.unwrap_or_default());
        let selector: Vec<String> = spec.selector.iter().flatten().map(|(k, v)| format!("{k}={v}")).collect();
        let api: Api<Pod> = Api::namespaced(cluster.client.clone(), &namespace);
        let params = ListParams::default().labels(&selector.join(","));
        let pods = list_all(&api, &params).await?;
        let pod = pods.iter().find(|p| pod_is_ready(p));
        let pod = pod.ok_or_else(|| format!("no pod behind service {namespace}/{name} is ready"))?;
        let target =
            spec.ports.iter().flatten().find(|p| p.port == i32::from(port)).and_then(|p| p.target_port.clone());
        let target = match target {
            Some(IntOrString::Int(port)) => u16::try_from(port).unwrap_or(CLIENT_PORT),
            _ => port,
        };
        let name = pod.name_any();
        let (_, stream) = forward(&api, &name, target, OPEN).await?;
        return Ok(stream);
    }
    let stream = tokio::net::TcpStream::connect((host, port)).await?;
    Ok(Box::new(stream))
}

/// TLS as the access has it; the authorities of the machine are not asked, because an etcd has its own.
fn tls(endpoint: &str, access: &EtcdAccess) -> Result<Arc<rustls::ClientConfig>, DnsError> {
    let wrong = |what: &str, source: BoxError| failed(FailedAt::new(format!("etcd at {endpoint}: {what}"), source));
    let mut roots = rustls::RootCertStore::empty();
    let ca = access.ca.as_deref().ok_or_else(|| {
        let reason = "an https endpoint needs the certificate of its authority";
        wrong_endpoint(endpoint, access, reason, Some(NamesDeed::TrustEtcd.into()))
    })?;
    for certificate in CertificateDer::pem_slice_iter(ca) {
        let added = certificate.map_err(BoxError::from).and_then(|c| Ok(roots.add(c)?));
        added.map_err(|e| wrong("the certificate of its authority", e))?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| wrong("TLS", e.into()))?
        .with_root_certificates(roots);
    let mut config = match &access.certificate {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(certificate).collect();
            let chain = chain.map_err(|e| wrong("the client certificate", e.into()))?;
            let key = PrivateKeyDer::from_pem_slice(key);
            let key = key.map_err(|e| wrong("the client certificate's key", e.into()))?;
            let config = builder.with_client_auth_cert(chain, key);
            config.map_err(|e| wrong("the client certificate and its key", e.into()))?
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(Arc::new(config))
}

pub(super) async fn connect(cluster: &Cluster, endpoint: &str, access: &EtcdAccess) -> Result<Client, DnsError> {
    let no_url = |e: BoxError| wrong_endpoint(endpoint, access, FailedAt::new("that is no URL", e), None);
    let uri = EtcdAccess::address(endpoint).map_err(|why| wrong_endpoint(endpoint, access, why, None))?;
    let host = uri.host().unwrap_or_default().to_owned();
    let port = uri.port_u16().unwrap_or(CLIENT_PORT);
    let is_exposed = uri.scheme_str() != Some("https") && access.user.is_some() && !access.plain_password;
    // To a Service of the cluster it goes through the API server. Looked up once: what decides on the password decides on the way.
    let service = service_of(cluster, &host).await;
    let service = service.map_err(|e| DnsError::unreachable(format!("looking for the Service behind {host}"), e))?;
    if is_exposed && service.is_none() {
        return Err(DnsError::backend(
            DnsBackend::Etcd,
            format!("etcd at {endpoint}: the password would go over the network for everybody on the way to read"),
            Remedy::any([Remedy::from("take an https endpoint"), Permission::PlainPassword.into()]),
        ));
    }
    let config = if uri.scheme_str() == Some("https") { Some(tls(endpoint, access)?) } else { None };
    let unreachable = |source: BoxError| trouble(endpoint, source);
    // Opened by hand first: a failure here is told as it is.
    let opening = async {
        let stream = stream(cluster, service, &host, port).await?;
        let Some(config) = config else { return Ok(stream) };
        let name = ServerName::try_from(host.clone())?;
        let stream = tokio_rustls::TlsConnector::from(config).connect(name, stream).await?;
        Ok::<Box<dyn Duplex>, BoxError>(Box::new(stream))
    };
    let opened = timeout(PATIENCE, opening).await;
    let opened = opened
        .map_err(|_| unreachable(format!("not reached within {}", limit(PATIENCE)).into()))?
        .map_err(unreachable)?;
    let mut once = Some(opened);
    let connector = tower::service_fn(move |_: http::Uri| {
        let stream = once.take();
        async move { stream.map(TokioIo::new).ok_or_else(|| std::io::Error::other("the connection to etcd ended")) }
    });
    let authority = tonic::transport::Endpoint::from_shared(format!("http://{host}:{port}"))
        .map_err(|e| no_url(e.into()))?
        .timeout(PATIENCE);
    let channel = authority.connect_with_connector(connector).await.map_err(|e| unreachable(e.into()))?;
    let options = access.user.as_ref().map(|(user, password)| ConnectOptions::new().with_user(user, password));
    let client = timeout(PATIENCE, Client::from_channel(Channel::Tonic(channel), options)).await;
    client.map_err(|_| unreachable(no_answer(PATIENCE).into()))?.map_err(|e| unreachable(e.into()))
}

/// An endpoint that cannot be used as it is: whoever named it on this run is told so, and else it is how CoreDNS' file has it.
fn wrong_endpoint(endpoint: &str, access: &EtcdAccess, why: impl Into<BoxError>, fix: Option<Remedy>) -> DnsError {
    let (endpoint, source) = (endpoint.to_owned(), why.into());
    if access.endpoint.is_none() {
        let fix = fix.unwrap_or_else(|| NamesDeed::NameEtcd.into());
        return DnsError::Etcd { endpoint, source, fix };
    }
    let source = FailedAt::new(format!("etcd at {endpoint}"), source).into();
    DnsError::Backend { backend: DnsBackend::Etcd, source, instead: fix }
}

pub(super) fn trouble(endpoint: &str, source: impl Into<BoxError>) -> DnsError {
    DnsError::Etcd {
        endpoint: endpoint.to_owned(),
        source: source.into(),
        fix: "check the address, the certificates and the user's rights".into(),
    }
}

#[cfg(test)]
mod tests {
    use clearwater::remedy::Remedied as _;

    use super::*;
    use crate::fake_api;

    /// How CoreDNS' file has it is no fault of who runs this.
    #[tokio::test]
    async fn an_endpoint_that_cannot_be_used_is_the_fault_of_whoever_named_it() {
        let (cluster, _) =
            fake_api::cluster(|path| path.ends_with("/services").then(|| serde_json::json!({"items": []})));
        for endpoint in ["https://127.0.0.1:1", "http://"] {
            for named in [None, Some(endpoint.to_owned())] {
                let is_named = named.is_some();
                let access = EtcdAccess { endpoint: named, ..EtcdAccess::default() };
                let error = connect(&cluster, endpoint, &access).await.err().unwrap();
                assert_eq!(matches!(error, DnsError::Backend { .. }), is_named, "{error}");
                assert_eq!(matches!(error, DnsError::Etcd { .. }), !is_named, "{error}");
                assert!(error.to_string().contains(&format!("etcd at {endpoint}: ")), "{error}");
            }
        }
    }

    /// Nothing listens there: who comes so far would have sent it.
    #[tokio::test]
    async fn a_password_goes_over_no_open_network_unless_that_is_allowed() {
        let (cluster, _) =
            fake_api::cluster(|path| path.ends_with("/services").then(|| serde_json::json!({"items": []})));
        let user = Some(("root".to_owned(), "secret".to_owned()));
        let access = EtcdAccess { user, ..EtcdAccess::default() };
        let said = |refused: Result<Client, DnsError>| refused.err().unwrap().advice().to_string();
        let refused = said(connect(&cluster, "http://127.0.0.1:1", &access).await);
        assert!(refused.contains("password") && !refused.contains("secret"), "{refused}");
        // Only the first labels are a Service's: the password is not for whoever has the domain behind them.
        let elsewhere = "http://etcd.ims.svc.example.com:1";
        let (cluster, _) = fake_api::cluster(|path| {
            path.ends_with("/services/etcd").then(|| serde_json::json!({"metadata": {"name": "etcd"}}))
        });
        let refused = said(connect(&cluster, elsewhere, &access).await);
        assert!(refused.contains("password would"), "{refused}");
        let allowed = EtcdAccess { plain_password: true, ..access };
        let reached = said(connect(&cluster, "http://127.0.0.1:1", &allowed).await);
        assert!(!reached.contains("password would"), "{reached}");
    }
}
