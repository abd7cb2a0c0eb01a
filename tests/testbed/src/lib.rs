//! A real Kubernetes cluster on one machine, and what tests do to it.

pub mod image;
