//! The Clearwater IMS as a model that other programs can embed.
//!
//! Clearwater is a telephone exchange made of a dozen containers that must be started in the right order, configured
//! with names their own resolver can look up, and scaled one careful step at a time. This crate holds what is known
//! about them as data and pure functions: nothing here opens a socket or a file, reads a clock or the environment, or
//! prints.
//!
//! * [`backup`]: what a deployment's services tell of its subscribers, as an archive, compared, and put back.
//! * [`component`]: the catalogue of both releases: roles, images, ports, programs, logs, health, scaling rules.
//! * [`order`]: the ordering graph, its policies, plans, critical path and drawings.
//! * [`config`]: the deployment file and the `shared_config` and `local_config` that containers will hold.
//! * [`dns`]: the names a deployment needs, who asks for them, and what each DNS backend stores.
//! * [`manifest`]: the Kubernetes objects of a deployment.
//! * [`quantity`]: Kubernetes quantities as numbers.
//! * [`remedy`]: what one can do about an error, in nobody's words yet.
//! * [`scale`]: scaling rules and step plans.
//! * [`subscriber`]: identities of subscribers and ranges of numbers.
//! * [`live_test`]: what upstream's live tests write, case by case.
//! * [`log`]: the grammar of Clearwater's log lines.
//! * [`event`]: what happens during a run, as types that a program can read without a cluster client.
//! * [`svg`]: pictures, element by element.
//! * [`text`]: what others wrote, made safe to show.
//! * [`yaml`]: YAML as kubectl reads it.
//!
//! # Features
//!
//! * `manifest` (default): Kubernetes objects, as types of [`k8s_openapi`]. Which version of Kubernetes these are of is
//!   chosen by the program that embeds this: it names k8s-openapi with one of its features, such as `latest`.
//! * `schema` (default): implementations of schemars' `JsonSchema`, and the schema of [`event`]s.
//!
//! Without them the graph, names in DNS, the deployment file, logs and events remain, and k8s-openapi is not built.
#![forbid(unsafe_code)]
#![warn(clippy::missing_errors_doc)]

pub mod backup;
pub mod component;
pub mod config;
pub mod dns;
pub mod event;
mod labels;
pub mod live_test;
pub mod log;
#[cfg(feature = "manifest")]
pub mod manifest;
mod names;
pub mod order;
pub mod quantity;
pub mod remedy;
pub mod scale;
pub mod subscriber;
pub mod svg;
pub mod text;
pub mod yaml;

#[cfg(feature = "manifest")]
pub use k8s_openapi;

/// What README.md shows.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
