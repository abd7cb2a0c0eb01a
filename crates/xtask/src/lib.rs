//! What the developer's commands are made of: steps that run in turn and show what they do, what is built and where it
//! stands, the checks, and the crates as others get them.

pub mod bed;
pub mod book;
pub mod build;
pub mod check;
pub mod demo;
pub mod display;
pub mod embed;
pub mod release;
pub mod steps;
pub mod test;
pub mod tools;
pub mod workspace;
