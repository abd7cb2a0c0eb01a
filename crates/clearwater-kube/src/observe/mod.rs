//! What is seen of a namespace: what its watches say, what its pods answer, and the lists of members in etcd.

pub(crate) mod ask_members;
pub(crate) mod discover;
pub(crate) mod evidence;
pub(crate) mod list;
pub mod members;
pub mod probe;
pub mod snapshot;
