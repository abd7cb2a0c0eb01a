//! homer's REST interface: settings of telephony services (crest `docs/homer_api.md`).

use clearwater::component::{Component, port};
use http::Method;

use super::error::SubscriberError;
use super::wire::{ProvisioningRequest, Wire, segment};
use crate::cluster::Cluster;

const PORT: u16 = port(Component::Homer, "http");
const XML: &str = "application/xml";

/// A client of a deployment's homer. It has no list: documents are found by the identities that homestead-prov lists.
pub(crate) struct HomerClient {
    wire: Wire,
}

fn path(identity: &str) -> String {
    format!("/org.etsi.ngn.simservs/users/{}/simservs.xml", segment(identity))
}

impl HomerClient {
    /// Nothing is opened yet.
    pub(super) fn new(cluster: &Cluster) -> Self {
        Self { wire: Wire::new(cluster, Component::Homer, PORT) }
    }

    /// A public identity's document.
    pub(crate) async fn simservs(&self, identity: &str) -> Result<Option<String>, SubscriberError> {
        let answer = self.wire.ask(&ProvisioningRequest::get(path(identity))).await?;
        match answer.status() {
            404 => Ok(None),
            _ if answer.is_good() => Ok(Some(answer.text())),
            _ => Err(answer.refused()),
        }
    }

    /// Puts a document there.
    pub(crate) async fn put_simservs(&self, identity: &str, document: &str) -> Result<(), SubscriberError> {
        let question = ProvisioningRequest::new(Method::PUT, path(identity)).body(XML, document.to_owned());
        let answer = self.wire.ask(&question).await?;
        if answer.is_good() { Ok(()) } else { Err(answer.refused()) }
    }

    /// Takes a document away.
    pub(crate) async fn remove_simservs(&self, identity: &str) -> Result<(), SubscriberError> {
        let answer = self.wire.ask(&ProvisioningRequest::new(Method::DELETE, path(identity))).await?;
        if answer.is_good() || answer.status() == 404 { Ok(()) } else { Err(answer.refused()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_is_found_by_its_identity() {
        assert_eq!(path("sip:650@a.b"), "/org.etsi.ngn.simservs/users/sip%3A650%40a.b/simservs.xml");
    }
}
