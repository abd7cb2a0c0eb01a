//! Objects of the cluster as a whole, which go with the test that made them.

use std::time::Duration;

use anyhow::{Context, Result};
use clearwater_testbed::{Attempt, Kubectl, wait_for};
use serde_json::{Value, json};

/// How long whoever evaluates policies may take to hear of one.
const HEARD: Duration = Duration::from_secs(240);

/// An object of the cluster as a whole, taken away in the end.
#[derive(Debug)]
pub struct OfCluster {
    kubectl: Kubectl,
    name: String,
}

impl OfCluster {
    /// Makes one.
    ///
    /// # Errors
    /// Where it is refused.
    pub fn made(kubectl: &Kubectl, object: &Value) -> Result<Self> {
        kubectl.run_with_input(["create", "--filename", "-"], &object.to_string())?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_lowercase();
        Ok(Self::named(kubectl, format!("{}/{}", text(&object["kind"]), text(&object["metadata"]["name"]))))
    }

    /// One that another makes, as `kind/name`.
    pub fn named(kubectl: &Kubectl, name: String) -> Self {
        Self { kubectl: kubectl.clone(), name }
    }
}

impl Drop for OfCluster {
    fn drop(&mut self) {
        let _ = self.kubectl.run(["delete", &self.name, "--ignore-not-found", "--wait=false"]);
    }
}

/// What a policy of a test refuses, in these namespaces, of which the first one is there already.
#[derive(Clone, Copy, Debug)]
pub struct Refused<'a> {
    /// The namespaces; the policy is called `word.` and the first of them.
    pub namespaces: &'a [&'a str],
    /// What is refused, in a word.
    pub word: &'static str,
    /// Its API group.
    pub group: &'static str,
    /// Its resource.
    pub resource: &'static str,
    /// The operation.
    pub operation: &'static str,
    /// What whoever is refused is told.
    pub message: &'static str,
}

impl Refused<'_> {
    /// The policy that refuses it, once `asked`, a dry run, is refused.
    ///
    /// # Errors
    /// Where it cannot be made, or refuses nothing.
    pub fn made(self, kubectl: &Kubectl, asked: impl Fn() -> Result<String>) -> Result<[OfCluster; 2]> {
        let name = format!("{}.{}", self.word, self.namespaces.first().context("no namespace")?);
        let of = |kind: &str, spec: Value| {
            let (version, metadata) = ("admissionregistration.k8s.io/v1", json!({"name": name}));
            OfCluster::made(kubectl, &json!({"apiVersion": version, "kind": kind, "metadata": metadata, "spec": spec}))
        };
        let rule = json!({"apiGroups": [self.group], "apiVersions": ["v1"], "operations": [self.operation],
            "resources": [self.resource]});
        let policy = json!({"failurePolicy": "Fail", "matchConstraints": {"resourceRules": [rule]},
            "validations": [{"expression": "false", "message": self.message}]});
        let meant = json!({"key": "kubernetes.io/metadata.name", "operator": "In", "values": self.namespaces});
        let binding = json!({"policyName": name, "validationActions": ["Deny"],
            "matchResources": {"namespaceSelector": {"matchExpressions": [meant]}}});
        let made = [of("ValidatingAdmissionPolicy", policy)?, of("ValidatingAdmissionPolicyBinding", binding)?];
        // Who evaluates policies hears of them in a moment.
        wait_for("the policy to refuse", HEARD, || {
            Ok(match asked() {
                Err(error) if format!("{error:#}").contains(self.message) => Attempt::Done(()),
                other => Attempt::not_yet(format!("{other:?}")),
            })
        })?;
        Ok(made)
    }
}
