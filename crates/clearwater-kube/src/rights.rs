//! Whether the user may do something, as the API server says.

use std::time::Duration;

use k8s_openapi::api::authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec};
use kube::api::PostParams;
use kube::{Api, Client};
use tokio::time::timeout;

/// The longest that asking for one right may take.
const REQUEST: Duration = Duration::from_secs(15);

/// A right: verb, API group, resource and subresource.
pub(crate) type Right = (&'static str, &'static str, &'static str, &'static str);

/// A right as it is told: `get pods/exec`, `patch deployments.apps`.
pub(crate) fn named((verb, group, resource, sub): Right) -> String {
    let sub = if sub.is_empty() { String::new() } else { format!("/{sub}") };
    let group = if group.is_empty() { String::new() } else { format!(".{group}") };
    format!("{verb} {resource}{sub}{group}")
}

/// Whether the user has a right in a namespace.
pub(crate) async fn allowed(
    client: &Client,
    namespace: &str,
    (verb, group, resource, sub): Right,
) -> Result<bool, kube::Error> {
    let review = SelfSubjectAccessReview {
        spec: SelfSubjectAccessReviewSpec {
            resource_attributes: Some(ResourceAttributes {
                namespace: Some(namespace.to_owned()),
                verb: Some(verb.to_owned()),
                group: Some(group.to_owned()),
                resource: Some(resource.to_owned()),
                subresource: (!sub.is_empty()).then(|| sub.to_owned()),
                ..ResourceAttributes::default()
            }),
            ..SelfSubjectAccessReviewSpec::default()
        },
        ..SelfSubjectAccessReview::default()
    };
    let api: Api<SelfSubjectAccessReview> = Api::all(client.clone());
    let answer = api.create(&PostParams::default(), &review).await?;
    Ok(answer.status.is_some_and(|s| s.allowed))
}

/// The rights that are missing in a namespace. What cannot be asked is taken to be there; the request itself will tell.
pub(crate) async fn missing(client: &Client, namespace: &str, rights: &[Right]) -> Vec<String> {
    let asked = rights.iter().map(|&right| async move {
        let answer = timeout(REQUEST, allowed(client, namespace, right)).await;
        matches!(answer, Ok(Ok(false))).then(|| named(right))
    });
    futures::future::join_all(asked).await.into_iter().flatten().collect()
}
