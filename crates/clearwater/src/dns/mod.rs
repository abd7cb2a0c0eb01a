//! The names a deployment needs, the records that satisfy them, and what each backend stores.

pub mod corefile;
mod name;
mod names;

pub use name::{InvalidName, Name};
pub use names::{Cscf, Names};
