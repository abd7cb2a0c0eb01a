//! The DNS records that a deployment needs, as a zone file for a name server of one's own.
//!
//! `cargo run -p clearwater --example zone_file -- ZONE`

use std::error::Error;
use std::net::{IpAddr, Ipv4Addr};

use clearwater::config::{DeploymentFile, DnsBackend};
use clearwater::dns::{Targets, client_records, records};

/// The zone file as text.
pub(crate) fn zone_file(zone: &str) -> Result<String, Box<dyn Error>> {
    let text = format!("apiVersion: clearwater/v1\nzone: {zone}\ndns: {{backend: print}}\n");
    let deployment = DeploymentFile::parse(&text, "clearwater.yaml")?.deploy("ims")?;

    // Here the addresses are made up; a program that has a cluster reads them from its pods.
    let mut targets = Targets::default();
    for (n, entry) in (1..).zip(deployment.components()) {
        targets = targets.with(entry.component, [IpAddr::V4(Ipv4Addr::new(192, 0, 2, n))]);
    }
    let mut wanted = records(&deployment, DnsBackend::Print, &targets)?;
    wanted.merge(client_records(&deployment, &targets)?);
    Ok(wanted.loadable(&deployment.zone().parse()?, 1))
}

#[allow(dead_code, clippy::print_stdout)]
fn main() -> Result<(), Box<dyn Error>> {
    let zone = std::env::args().nth(1).unwrap_or_else(|| "ims.example.com".to_owned());
    print!("{}", zone_file(&zone)?);
    Ok(())
}
