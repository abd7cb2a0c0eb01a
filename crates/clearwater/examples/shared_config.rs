//! The shared_config that every container in a namespace will hold.
//!
//! `cargo run -p clearwater --example shared_config -- NAMESPACE`

use std::collections::BTreeMap;
use std::error::Error;

use clearwater::config::shared::{Pod, rendered, secret_values};
use clearwater::config::{DeploymentFile, Keys};

/// The file as text.
pub(crate) fn shared_config(namespace: &str) -> Result<String, Box<dyn Error>> {
    let file = DeploymentFile::parse("apiVersion: clearwater/v1\nlogLevel: 4\nkeys: upstream\n", "clearwater.yaml")?;
    let deployment = file.deploy(namespace)?;
    let pod = Pod { ip: "10.1.2.3".to_owned(), resolv_conf: "nameserver 10.96.0.10\n".to_owned(), public_ip: None };
    let files = rendered(&deployment, &BTreeMap::new(), &pod, &secret_values(&Keys::upstream(), None))?;
    Ok(files.shared_config.unwrap_or_default())
}

#[allow(dead_code, clippy::print_stdout)]
fn main() -> Result<(), Box<dyn Error>> {
    let namespace = std::env::args().nth(1).unwrap_or_else(|| "ims".to_owned());
    print!("{}", shared_config(&namespace)?);
    Ok(())
}
