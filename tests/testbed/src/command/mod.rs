//! The commands of the test bed's program.

pub(crate) mod cluster;
pub(crate) mod contract;
pub(crate) mod standins;
