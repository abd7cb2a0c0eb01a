//! The Kubernetes objects of a deployment.
