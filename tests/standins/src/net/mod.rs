//! The wire: HTTP both ways, DNS as c-ares asks it, memcached's two protocols, etcd's v2 API.

pub(crate) mod binary;
pub(crate) mod dns;
pub(crate) mod etcd;
pub(crate) mod http;
pub(crate) mod memcached;
