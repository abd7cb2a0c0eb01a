//! Reading and writing YAML as kubectl understands it. The only place that names the YAML crate.
