use k8s_openapi::api::core::v1::{ServicePort, ServiceSpec};
use k8s_openapi::api::networking::v1::{
    HTTPIngressPath, HTTPIngressRuleValue, Ingress, IngressBackend, IngressRule, IngressServiceBackend, IngressSpec,
    IngressTLS, ServiceBackendPort,
};

use super::bono::node_port_range;
use super::meta::metadata;
use super::service::{service, service_port};
use super::{Deployment, Inputs, Item, ItemOwner, ManifestError};
use crate::component::{AskedBy, Component, Entry};
use crate::config::EllisExposure;

/// The Service that browsers come through. A second one, because a headless Service can never become another kind.
const PUBLIC: &str = "ellis-public";

/// The objects by which browsers reach Ellis.
pub(super) fn exposure(d: &Deployment, entry: &Entry, inputs: &Inputs) -> Result<Vec<Item>, ManifestError> {
    let ellis = &d.file().ellis;
    let Some(port) = entry.ports.iter().find(|p| p.asked_by == AskedBy::Clients) else {
        return Ok(Vec::new());
    };
    let public = |kind: &str, node_port: Option<u16>| {
        let port = ServicePort { node_port: node_port.map(i32::from), ..service_port(port) };
        service(
            d,
            Component::Ellis,
            PUBLIC,
            ServiceSpec { type_: Some(kind.to_owned()), ports: Some(vec![port]), ..ServiceSpec::default() },
        )
    };
    match ellis.exposure {
        EllisExposure::None => Ok(Vec::new()),
        EllisExposure::NodePort => {
            if let (Some(range), Some(port)) = (node_port_range(d, inputs)?, ellis.node_port)
                && !range.contains(port)
            {
                return Err(ManifestError::NodePorts { outside: vec![port], range, fixed: false });
            }
            Ok(vec![public("NodePort", ellis.node_port)])
        }
        EllisExposure::LoadBalancer => Ok(vec![public("LoadBalancer", None)]),
        EllisExposure::Ingress => Ok(vec![public("ClusterIP", None), ingress(d, port.number)?]),
    }
}

fn ingress(d: &Deployment, port: u16) -> Result<Item, ManifestError> {
    let owner = ItemOwner::Component(Component::Ellis);
    let given = d.file().ellis.ingress.as_ref().ok_or(ManifestError::NoIngress)?;
    let backend = IngressBackend {
        service: Some(IngressServiceBackend {
            name: PUBLIC.to_owned(),
            port: Some(ServiceBackendPort { number: Some(port.into()), name: None }),
        }),
        resource: None,
    };
    let path = HTTPIngressPath { backend, path: Some("/".to_owned()), path_type: "Prefix".to_owned() };
    let spec = IngressSpec {
        ingress_class_name: given.class_name.clone(),
        rules: Some(vec![IngressRule {
            host: Some(given.host.clone()),
            http: Some(HTTPIngressRuleValue { paths: vec![path] }),
        }]),
        tls: given.tls_secret.as_ref().map(|secret| {
            vec![IngressTLS { hosts: Some(vec![given.host.clone()]), secret_name: Some(secret.clone()) }]
        }),
        default_backend: None,
    };
    let object =
        Ingress { metadata: metadata(d, owner, None, Component::Ellis.name()), spec: Some(spec), ..Ingress::default() };
    Ok(Item::applied(Component::Ellis, object))
}
