//! Names as SkyDNS keys in etcd v3, for CoreDNS' etcd plugin.
//!
//! All keys are written in one transaction, under the revisions that were read: no half of them ever stands. etcd is
//! reached through a port forwarded to one of its pods where its address is one of the cluster's, else directly.

mod connection;

use std::collections::BTreeMap;
use std::time::Duration;

use clearwater::component::Component;
use clearwater::config::{Deployment, DnsBackend};
use clearwater::dns::answer::{Expectation, Wanted, of_zone};
use clearwater::dns::corefile::{Corefile, Owner};
use clearwater::dns::ownership::{WriteTarget, managed_by, write_target};
use clearwater::dns::{Name, RecordType, Targets, Zone, records, skydns, sub_domains};
use clearwater::event::DnsStep;
use clearwater::remedy::{Advice, NamesDeed, Remedied as _, Remedy};
use etcd_client::{Client, Compare, CompareOp, GetOptions, Txn, TxnOp};
use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use self::connection::{connect, failed, service_of, trouble};
use super::file::FileEdit;
use super::file_plan::{finishing, may_write, patience, wait};
use super::kept::KeptFile;
use super::names::{from_inside, last_written, prove_within, sprout_address};
use super::transaction::{Target, Unanswered, transact};
use super::{
    DnsAction, DnsEdit, DnsError, DnsOptions, DnsPlan, EtcdAccess, Proof, file, millis, tell, unless_cancelled,
};
use crate::cluster::Cluster;
use crate::observe::cluster_dns::ClusterDns;
use crate::rights::Task;

/// A name that was missing may be remembered as missing for so long.
const CACHED: Duration = Duration::from_secs(75);

/// A key with what stands there.
#[derive(Clone, Debug, PartialEq, Eq)]
struct StoredKey {
    value: String,
    revision: i64,
}

/// A change of keys.
#[derive(Clone, Debug)]
pub(crate) struct KeyEdit {
    endpoint: String,
    access: EtcdAccess,
    prefix: String,
    before: BTreeMap<String, StoredKey>,
    after: BTreeMap<String, String>,
    /// The server block that CoreDNS needs to answer from etcd, where it does not stand as it must.
    block: Option<FileEdit>,
}

impl KeyEdit {
    fn keys_change(&self) -> bool {
        !self.before.iter().map(|(k, s)| (k, &s.value)).eq(self.after.iter())
    }

    pub(crate) fn is_change(&self) -> bool {
        self.keys_change() || self.block.as_ref().is_some_and(FileEdit::is_change)
    }

    fn diff(&self) -> String {
        let mut text = String::new();
        if self.keys_change() {
            text.push_str(&format!("--- {} below {} (live)\n+++ (after)\n", self.endpoint, self.prefix));
            let keys = self.before.keys().chain(self.after.keys()).collect::<std::collections::BTreeSet<_>>();
            for key in keys {
                let (old, new) = (self.before.get(key).map(|s| &s.value), self.after.get(key));
                if old == new {
                    continue;
                }
                text.extend(old.map(|v| format!("-{key} {v}\n")));
                text.extend(new.map(|v| format!("+{key} {v}\n")));
            }
        }
        if let Some(block) = &self.block {
            text.push_str(&block.diff());
        }
        text
    }
}

/// The keys of the deployment below its own subtree, by path.
fn wanted(options: &DnsOptions, zone: &Zone, root: &str) -> Result<BTreeMap<String, String>, DnsError> {
    let owned = [format!("svc.{}", options.deployment.cluster_domain()).parse()?];
    let keys = skydns::keys(zone, &owned).map_err(failed)?;
    Ok(keys.into_iter().map(|k| (rooted(&k.path, root), k.value)).collect())
}

/// A path below another root than SkyDNS' own.
fn rooted(path: &str, root: &str) -> String {
    format!("{}{}", root.trim_end_matches('/'), path.strip_prefix(skydns::PREFIX).unwrap_or(path))
}

/// The records that lead to sprout, once it has addresses.
async fn records_to_put(cluster: &Cluster, deployment: &Deployment, plan: &mut DnsPlan) -> Result<Zone, DnsError> {
    let ips = sprout_address(cluster).await?;
    if ips.is_empty() {
        return Err(super::print::no_address());
    }
    let unlisted: Vec<String> = match deployment.file().shared_config.get("local_alias_list") {
        Some(own) => ips.iter().map(ToString::to_string).filter(|ip| !own.split(',').any(|o| o.trim() == ip)).collect(),
        None => Vec::new(),
    };
    if !unlisted.is_empty() {
        let unlisted = unlisted.join(",");
        let reason = format!(
            "all names lead to {unlisted}, which the file's own sharedConfig.local_alias_list does not name: a request \
             that carries the address itself in Route goes round until it ends in 483"
        );
        let works = format!("remove it, so that it is written for you, or add {unlisted}; then ");
        plan.notes.push(Advice::new(reason, Remedy::BringUp.after(works)));
    }
    let own = deployment.names();
    if own.backend() != DnsBackend::Etcd {
        let sprout = own.sprout();
        plan.notes.push(Advice::new(
            format!("the containers ask for names below {sprout}, because the deployment file has another dns.backend"),
            Remedy::BringUp.after("write `dns: {backend: etcd}`, then "),
        ));
    }
    Ok(records(deployment, DnsBackend::Etcd, &Targets::default().with(Component::Sprout, ips))?)
}

pub(super) async fn plan(cluster: &Cluster, options: &DnsOptions, mut plan: DnsPlan) -> Result<DnsPlan, DnsError> {
    let deployment = &options.deployment;
    if options.clients {
        return Err(DnsError::backend(
            DnsBackend::Etcd,
            "SkyDNS' format has no NAPTR records, which clients look for",
            NamesDeed::Choose(DnsBackend::Coredns),
        ));
    }
    let names = deployment.names().for_backend(DnsBackend::Etcd);
    let sprout: Name = names.sprout().parse()?;
    let zone_name = sprout.parent().ok_or_else(|| failed(format!("{sprout} has no parent")))?;
    let cluster_dns = ClusterDns::look(&cluster.client).await?;
    let Some(at) = cluster_dns.file.clone() else {
        return Err(DnsError::NotCoreDns {
            namespace: cluster_dns.namespace,
            service: cluster_dns.service,
            image: cluster_dns.image,
        });
    };
    let corefile = at.corefile().map_err(|error| DnsError::Corefile { file: at.place.to_string(), error })?;
    let owner = Owner::namespace(deployment.namespace());
    let bare = Corefile::parse_in(&corefile.without_lines(&owner), &at.variables)
        .map_err(|error| DnsError::Corefile { file: at.place.to_string(), error })?;
    // What others wrote into the file is relied on; our own block is written anew.
    let served = bare.etcd(&sprout).map(|d| (d.endpoints().map(str::to_owned).collect::<Vec<_>>(), d.path()));
    let ours = corefile.etcd(&sprout).map(|d| d.endpoints().map(str::to_owned).collect::<Vec<_>>()).unwrap_or_default();
    let left = match options.action {
        DnsAction::Remove => KeptFile::new(cluster, &cluster_dns.namespace).left().await?,
        DnsAction::Put => None,
    };
    let endpoint = options
        .etcd
        .endpoint
        .clone()
        .or_else(|| served.as_ref().and_then(|(all, _)| all.first().cloned()))
        .or_else(|| ours.first().cloned())
        // A run that was killed after it took its block out.
        .or_else(|| left.iter().flat_map(|l| &l.texts).find_map(|text| endpoint_in(text, &sprout)));
    let Some(endpoint) = endpoint else {
        let reason = "CoreDNS' file names no etcd for these names";
        // Who wants to write has to say it.
        let say = if options.look { DnsError::lacking } else { DnsError::backend };
        return plan.lacking(options, say(DnsBackend::Etcd, reason, NamesDeed::NameEtcd));
    };
    let root = served.as_ref().and_then(|(_, path)| path.clone()).unwrap_or_else(|| skydns::PREFIX.to_owned());
    let prefix = format!("{}/", rooted(&skydns::path(&zone_name), &root));

    let zone = match options.action {
        DnsAction::Put => match records_to_put(cluster, deployment, &mut plan).await {
            Err(error @ DnsError::Lacking { .. }) => return plan.lacking(options, error),
            zone => Some(zone?),
        },
        DnsAction::Remove => None,
    };
    let mut client = Box::pin(connect(cluster, &endpoint, &options.etcd)).await?;
    let before = read(&mut client, &endpoint, &prefix).await?;
    let after = match &zone {
        Some(zone) => wanted(options, zone, &root)?,
        None => BTreeMap::new(),
    };
    plan.questions = match &zone {
        Some(zone) => of_zone(zone),
        None => all_gone(deployment, sprout, &before, &root)?,
    };
    let block = if served.is_some() {
        None
    } else {
        let wanted = Block { endpoint: &endpoint, corefile: &corefile, at: &at, owner: &owner, zone: &zone_name };
        wanted.plan(cluster, options, &mut plan).await?
    };
    if let Some(block) = block.as_ref().filter(|b| b.is_change()) {
        plan.wait = wait(&corefile);
        let reloads = plan.wait.is_some();
        may_write(cluster, options, reloads, &at.place, &block.place, Task::DnsEtcd).await?;
    }
    let edit = KeyEdit { endpoint, access: options.etcd.clone(), prefix, before, after, block };
    if !edit.is_change() {
        let now = Timestamp::now() + cluster.clock_skew().await;
        let own_block = !ours.is_empty() && served.is_none() || left.is_some();
        let wait = wait(&corefile).filter(|_| own_block);
        plan.means.patience = patience(last_written(&at.config_map.metadata), wait.as_ref(), now).max(CACHED);
    }
    finishing(&mut plan, left)?;
    if edit.is_change() {
        plan.object = Some(format!("the keys below {} in etcd {}", edit.prefix, edit.endpoint));
    }
    plan.diff = edit.diff();
    plan.means.timeout = plan.means.timeout.or(plan.wait.as_ref().map(|(most, _)| (*most * 2).max(CACHED)));
    plan.means.cluster_dns = Some(cluster_dns);
    plan.means.work = DnsEdit::Keys(Box::new(edit));
    Ok(plan)
}

/// What is asked once all is gone, the keys' names and the deployment's. All of it lies below the deployment's own
/// subtree: nobody else gives it, and a run before this one may have taken the keys.
fn all_gone(
    deployment: &Deployment,
    sprout: Name,
    before: &BTreeMap<String, StoredKey>,
    root: &str,
) -> Result<Vec<Expectation>, DnsError> {
    let mut questions = gone(before, root);
    let subs = sub_domains(deployment, DnsBackend::Etcd)?.into_iter().map(|s| s.name);
    for name in [sprout].into_iter().chain(subs) {
        if questions.iter().all(|q| q.name != name) {
            questions.push(nothing(name));
        }
    }
    Ok(questions)
}

/// What is asked once keys are gone: their names, less the label that each record adds.
fn gone(before: &BTreeMap<String, StoredKey>, root: &str) -> Vec<Expectation> {
    let name = |path: &String| -> Option<Name> {
        let labels: Vec<&str> = path.strip_prefix(root)?.trim_matches('/').rsplit('/').collect();
        labels.join(".").parse().ok()
    };
    before.keys().filter_map(name).filter(|n| !n.as_str().contains('_')).map(nothing).collect()
}

fn nothing(name: Name) -> Expectation {
    Expectation { name, record_type: RecordType::A, wanted: Wanted::Nothing }
}

/// The etcd that a file's text has a name answered from.
fn endpoint_in(text: &str, name: &Name) -> Option<String> {
    Corefile::parse(text).ok()?.etcd(name)?.endpoints().next().map(str::to_owned)
}

/// The server block by which CoreDNS answers from etcd, and the file that it belongs to.
struct Block<'a> {
    endpoint: &'a str,
    corefile: &'a Corefile,
    at: &'a crate::observe::cluster_dns::File,
    owner: &'a Owner,
    zone: &'a Name,
}

impl Block<'_> {
    /// The edit that puts it in or takes it out; `None` where nothing is to be changed.
    async fn plan(
        self,
        cluster: &Cluster,
        options: &DnsOptions,
        plan: &mut DnsPlan,
    ) -> Result<Option<FileEdit>, DnsError> {
        let Self { endpoint, corefile, at, owner, zone } = self;
        let deployment = &options.deployment;
        let domain: Name = deployment.cluster_domain().parse()?;
        let kept = managed_by(&at.config_map.metadata);
        let found =
            write_target(&kept, corefile, &domain, &at.place, &at.directory, &at.mounts, deployment.namespace());
        let before = corefile.to_string();
        let after = if options.action == DnsAction::Remove {
            corefile.without_lines(owner)
        } else {
            let lines = [
                format!("{zone}:53 {{"),
                "    errors".to_owned(),
                format!("    etcd {zone} {{"),
                format!("        path {}", skydns::PREFIX),
                format!("        endpoint {}", inner(cluster, endpoint).await),
                "    }".to_owned(),
                "    cache 5".to_owned(),
                "}".to_owned(),
            ];
            let tls = endpoint.starts_with("https://") || options.etcd.user.is_some();
            if tls || !matches!(found, WriteTarget::Corefile { .. }) {
                let why = if tls {
                    "etcd asks for certificates or a password, which CoreDNS' pods have to be given as well".to_owned()
                } else {
                    format!("{} would put its own file back", kept.by)
                };
                let closed = DnsError::Closed {
                    file: at.place.to_string(),
                    manager: kept.by,
                    shown_by: format!("{}; {why}", kept.shown_by),
                    instead: format!(
                        "add this server block by its manager's own means, then do this again:\n{}",
                        lines.join("\n")
                    )
                    .into(),
                };
                if !options.look {
                    return Err(closed);
                }
                plan.means.lacking.push(closed.advice());
                return Ok(None);
            }
            plan.notes.push(format!("CoreDNS does not answer for {zone} yet: a server block is put in").into());
            let edited = corefile.with_block(owner, &lines);
            let edited = edited.map_err(|error| DnsError::Edit { file: at.place.to_string(), error })?;
            edited.to_string()
        };
        Corefile::parse(&after).map_err(|error| DnsError::Corefile { file: at.place.to_string(), error })?;
        plan.kept = Some(kept);
        plan.write_target = Some(found);
        let edit = FileEdit {
            before: Some(before),
            after: Some(after),
            version: at.config_map.metadata.resource_version.clone(),
            shared: true,
            domain: Some(domain),
            metrics: corefile.metrics_port(),
            ..FileEdit::new(at.place.clone(), owner.clone())
        };
        Ok(edit.is_change().then_some(edit))
    }
}

/// The endpoint as CoreDNS' pods can reach it: they do not resolve the cluster's own names.
async fn inner(cluster: &Cluster, endpoint: &str) -> String {
    let Ok(uri) = endpoint.parse::<http::Uri>() else { return endpoint.to_owned() };
    let host = uri.host().unwrap_or_default();
    match service_of(cluster, host).await.ok().flatten() {
        Some(service) => match service.spec.and_then(|s| s.cluster_ip).filter(|ip| ip != "None") {
            Some(ip) => endpoint.replacen(host, &ip, 1),
            None => endpoint.to_owned(),
        },
        None => endpoint.to_owned(),
    }
}

async fn read(client: &mut Client, endpoint: &str, prefix: &str) -> Result<BTreeMap<String, StoredKey>, DnsError> {
    let answer = client.get(prefix, Some(GetOptions::new().with_prefix())).await.map_err(|e| trouble(endpoint, e))?;
    let keys = answer.kvs().iter().map(|kv| {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (text(kv.key()), StoredKey { value: text(kv.value()), revision: kv.mod_revision() })
    });
    Ok(keys.collect())
}

/// Makes the keys what `to` says, where all of them are still as `from` says: all or none. Yields whether it was done.
async fn write(
    client: &mut Client,
    endpoint: &str,
    from: &BTreeMap<String, StoredKey>,
    to: &BTreeMap<String, String>,
) -> Result<bool, DnsError> {
    let mut compares = Vec::new();
    let mut operations = Vec::new();
    for (key, standing) in from {
        compares.push(Compare::mod_revision(key.as_str(), CompareOp::Equal, standing.revision));
        if !to.contains_key(key) {
            operations.push(TxnOp::delete(key.as_str(), None));
        }
    }
    for (key, value) in to {
        if !from.contains_key(key) {
            compares.push(Compare::create_revision(key.as_str(), CompareOp::Equal, 0));
        }
        if from.get(key).is_none_or(|s| s.value != *value) {
            operations.push(TxnOp::put(key.as_str(), value.as_str(), None));
        }
    }
    let answer = client.txn(Txn::new().when(compares).and_then(operations)).await.map_err(|e| trouble(endpoint, e))?;
    Ok(answer.succeeded())
}

/// A change of keys, over the connection that it is written on.
struct KeysChange<'a> {
    cluster: &'a Cluster,
    edit: &'a KeyEdit,
    object: String,
    client: Client,
}

impl Target for KeysChange<'_> {
    fn object(&self) -> &str {
        &self.object
    }

    fn by_hand(&self) -> Remedy {
        format!("restore {} by hand from the difference that was shown", self.object).into()
    }

    async fn write(&self) -> Result<(), Unanswered> {
        let edit = self.edit;
        match write(&mut self.client.clone(), &edit.endpoint, &edit.before, &edit.after).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(DnsError::Moved { object: self.object.clone(), by: "somebody".to_owned() }.into()),
            Err(error) => Err(Unanswered::Unclear(error)),
        }
    }

    /// Whatever stands now below the deployment's own prefix.
    async fn put_back(&self) -> Result<(), DnsError> {
        let edit = self.edit;
        let before = edit.before.iter().map(|(k, s)| (k.clone(), s.value.clone())).collect();
        let mut client = connect(self.cluster, &edit.endpoint, &edit.access).await?;
        let now = read(&mut client, &edit.endpoint, &edit.prefix).await?;
        if write(&mut client, &edit.endpoint, &now, &before).await? {
            return Ok(());
        }
        Err(DnsError::Failed("the keys keep changing".to_owned()))
    }
}

pub(super) async fn carry_out(
    cluster: &Cluster,
    plan: &DnsPlan,
    edit: &KeyEdit,
    steps: &mpsc::UnboundedSender<DnsStep>,
    cancel: &CancellationToken,
) -> Result<Proof, DnsError> {
    if let (Some(left), Some(cluster_dns), false) = (&plan.means.finishing, &plan.means.cluster_dns, edit.is_change()) {
        return file::finish(cluster, plan, cluster_dns, left, steps).await;
    }
    let proving = Box::pin(async {
        if let Some(block) = &edit.block {
            let whole = DnsPlan {
                object: Some(format!("configmap/{} in namespace {}", block.place.name, block.place.namespace)),
                ..plan.clone()
            };
            return file::carry_out(cluster, &whole, block, steps, cancel).await;
        }
        if edit.is_change() {
            let because = "CoreDNS asks etcd at once, and keeps for some seconds that a name was missing".to_owned();
            tell(steps, DnsStep::Waiting { at_most: millis(CACHED), because });
        }
        let limit = plan.means.timeout.unwrap_or(CACHED.max(plan.means.patience));
        let mut proof = unless_cancelled(cancel, prove_within(cluster, plan, steps, limit)).await?;
        from_inside(cluster, plan, &mut proof).await;
        if let (Some(_), Some(cluster_dns)) = (&plan.means.finishing, &plan.means.cluster_dns) {
            file::forgotten(cluster, &cluster_dns.namespace, &mut proof).await;
        }
        Ok(proof)
    });
    if !edit.keys_change() {
        return proving.await;
    }
    let object = plan.object.clone().unwrap_or_else(|| format!("the keys below {}", edit.prefix));
    let client = unless_cancelled(cancel, Box::pin(connect(cluster, &edit.endpoint, &edit.access))).await?;
    transact(&KeysChange { cluster, edit, object, client }, steps, cancel, proving).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_root_takes_the_place_of_skydns_own() {
        assert_eq!(rooted("/skydns/local/cluster", "/skydns"), "/skydns/local/cluster");
        assert_eq!(rooted("/skydns/local/cluster", "/dns/"), "/dns/local/cluster");
    }

    #[test]
    fn names_whose_keys_go_are_asked_for() {
        let standing = StoredKey { value: String::new(), revision: 1 };
        let keys = ["/skydns/local/cluster/clearwater/ims/sprout/ip-10-0-0-1", "/skydns/local/x/_tcp/y"];
        let before = keys.map(|k| (k.to_owned(), standing.clone())).into();
        let asked: Vec<String> = gone(&before, "/skydns").iter().map(ToString::to_string).collect();
        assert_eq!(asked, ["ip-10-0-0-1.sprout.ims.clearwater.cluster.local A"]);
    }
}
