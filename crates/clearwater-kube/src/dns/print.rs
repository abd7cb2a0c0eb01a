//! The records as texts, for DNS that this program does not write to.

use clearwater::component::{Component, Release};
use clearwater::config::DnsBackend;
use clearwater::dns::corefile::Owner;
use clearwater::dns::{Zone, client_records, records, skydns};
use clearwater::named;
use clearwater::remedy::Remedy;

use super::file_plan::all_rules;
use super::names::{sprout_address, targets};
use super::{DnsError, DnsOptions, place};
use crate::cluster::Cluster;
use crate::observe::cluster_dns::ClusterDns;

/// A text that the records are written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A zone file (RFC 1035 §5.1).
    Zone,
    /// CoreDNS' whole Corefile with the deployment's lines in it, or the lines alone where the file cannot be read.
    Corefile,
    /// Commands for etcd v3, which CoreDNS' etcd plugin reads.
    EtcdV3,
    /// Commands for etcd v2, which the SkyDNS of 2016 reads.
    EtcdV2,
}

named! {
    /// The name by which people choose it.
    Form {
        Zone = "zone",
        Corefile = "corefile",
        EtcdV3 = "etcd-v3",
        EtcdV2 = "etcd-v2",
    }
}

/// Writes the records of a deployment as a text, with the addresses that its pods and Services have now.
///
/// # Errors
/// Where pods or Services could not be seen, or give no name.
pub async fn print(cluster: &Cluster, options: &DnsOptions, form: Form) -> Result<String, DnsError> {
    place(cluster, &options.deployment).await?;
    match form {
        Form::Zone => Ok(of_now(cluster, options).await?.to_string()),
        Form::Corefile => corefile(cluster, options).await,
        Form::EtcdV3 | Form::EtcdV2 => {
            let keys = keys(cluster, options).await?;
            Ok(match form {
                Form::EtcdV3 => skydns::etcd_v3_put(&keys),
                _ => skydns::etcd_v2_put(&keys, "http://127.0.0.1:4001"),
            })
        }
    }
}

/// The records of a deployment as DNS elsewhere has to have them, with the addresses that its pods and Services have
/// now.
///
/// # Errors
/// Where pods or Services could not be seen, or give no name.
pub async fn zone(cluster: &Cluster, options: &DnsOptions) -> Result<Zone, DnsError> {
    place(cluster, &options.deployment).await?;
    of_now(cluster, options).await
}

async fn of_now(cluster: &Cluster, options: &DnsOptions) -> Result<Zone, DnsError> {
    let targets = targets(cluster, &options.deployment).await?;
    let mut zone = records(&options.deployment, DnsBackend::Print, &targets)?;
    if options.clients {
        zone.merge(client_records(&options.deployment, &targets)?);
    }
    Ok(zone)
}

async fn corefile(cluster: &Cluster, options: &DnsOptions) -> Result<String, DnsError> {
    let deployment = &options.deployment;
    let lines = all_rules(options)?.corefile_lines()?;
    let owner = Owner::namespace(deployment.namespace());
    let domain = deployment.cluster_domain().parse()?;
    let file = ClusterDns::look(&cluster.client).await.ok().and_then(|s| s.file);
    let whole = file.and_then(|file| file.corefile().ok()?.with_lines(&owner, &domain, &lines).ok());
    Ok(match whole {
        Some(file) => file.to_string(),
        None => lines.iter().map(|line| format!("{line} {owner}\n")).collect(),
    })
}

async fn keys(cluster: &Cluster, options: &DnsOptions) -> Result<Vec<skydns::Key>, DnsError> {
    let deployment = &options.deployment;
    if deployment.release() != Release::Classic {
        return Ok(Vec::new());
    }
    let ips = sprout_address(cluster).await?;
    if ips.is_empty() {
        return Err(no_address());
    }
    let targets = clearwater::dns::Targets::default().with(Component::Sprout, ips);
    let zone = records(deployment, DnsBackend::Etcd, &targets)?;
    let owned = [format!("svc.{}", deployment.cluster_domain()).parse()?];
    skydns::keys(&zone, &owned).map_err(|e| DnsError::unable(DnsBackend::Etcd, e))
}

/// Keys in etcd lead to a Service, and only a deployment whose names are in etcd has one with an address.
pub(super) fn no_address() -> DnsError {
    let works = Remedy::sentence([
        "write `dns: {backend: etcd}` into the deployment file, then ".into(),
        Remedy::BringUp,
        ", which makes it".into(),
    ]);
    DnsError::lacking(DnsBackend::Etcd, "the names need one virtual address of sprout, and no Service has one", works)
}
