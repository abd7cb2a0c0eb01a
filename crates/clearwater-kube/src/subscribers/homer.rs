//! homer's REST interface (crest `docs/homer_api.md`).

use clearwater::component::{Component, port};
use http::Method;

use super::error::SubscriberError;
use super::wire::{ProvisioningRequest, Wire, XML, pods, segment};
use crate::cluster::Cluster;

const PORT: u16 = port(Component::Homer, "http");

/// A client of a deployment's homer, which keeps subscribers' telephony services by their public identities, each a whole URI.
/// It has no list: who has a document is found by the identities that homestead-prov lists. Requests share kept connections and
/// may be put at the same time.
pub struct HomerClient {
    wire: Wire,
}

impl std::fmt::Debug for HomerClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HomerClient").finish_non_exhaustive()
    }
}

fn path(identity: &str) -> String {
    format!("/org.etsi.ngn.simservs/users/{}/simservs.xml", segment(identity))
}

impl HomerClient {
    /// A client of the homer of a namespace; `None` where no pod of it is there.
    ///
    /// # Errors
    /// Where the pods could not be listed.
    pub async fn find(cluster: &Cluster) -> Result<Option<Self>, SubscriberError> {
        let found = pods(cluster, Component::Homer).await?;
        Ok((!found.is_empty()).then(|| Self::new(cluster)))
    }

    /// A client of one that is known to be there. Nothing is opened yet.
    pub(super) fn new(cluster: &Cluster) -> Self {
        Self { wire: Wire::new(cluster, Component::Homer, PORT) }
    }

    /// The document of a public identity's services (3GPP TS 24.623, `simservs`); `None` where there is none.
    ///
    /// # Errors
    /// Where homer could not be asked, or refused.
    pub async fn services(&self, identity: &str) -> Result<Option<String>, SubscriberError> {
        let answer = self.wire.ask(&ProvisioningRequest::get(path(identity))).await?;
        match answer.status() {
            404 => Ok(None),
            _ if answer.is_good() => Ok(Some(answer.text())),
            _ => Err(answer.refused()),
        }
    }

    /// Puts a document of services in the place of the one that is there.
    ///
    /// # Errors
    /// Where homer could not be asked, or refused the document.
    pub async fn put_services(&self, identity: &str, document: &str) -> Result<(), SubscriberError> {
        let question = ProvisioningRequest::new(Method::PUT, path(identity)).body(XML, document.to_owned());
        let answer = self.wire.ask(&question).await?;
        if answer.is_good() { Ok(()) } else { Err(answer.refused()) }
    }

    /// Takes the document away, where one is there.
    ///
    /// # Errors
    /// Where homer could not be asked, or refused.
    pub async fn delete_services(&self, identity: &str) -> Result<(), SubscriberError> {
        let answer = self.wire.ask(&ProvisioningRequest::new(Method::DELETE, path(identity))).await?;
        if answer.is_good() || answer.status() == 404 { Ok(()) } else { Err(answer.refused()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake_api;

    #[test]
    fn a_document_is_found_by_the_whole_identity() {
        assert_eq!(path("sip:650@a.b"), "/org.etsi.ngn.simservs/users/sip%3A650%40a.b/simservs.xml");
    }

    #[tokio::test]
    async fn without_a_homer_there_is_no_client() {
        let none = serde_json::json!({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": []});
        let (cluster, _) = fake_api::cluster(move |_| Some(none.clone()));
        assert!(HomerClient::find(&cluster).await.unwrap().is_none());
    }
}
