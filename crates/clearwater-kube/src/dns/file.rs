//! Lines in a file that CoreDNS reads: written under the version that was read, watched until every server has read
//! them and answers as it must, and taken back where one does not.

use clearwater::dns::Name;
use clearwater::dns::corefile::{Corefile, Owner, without_owned};
use clearwater::dns::ownership::Place;
use clearwater::event::{Command, DnsStep};
use clearwater::manifest::{MANAGED_BY, MANAGED_BY_LABEL};
use clearwater::remedy::{Advice, Remedy};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use serde_json::json;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::kept::{KeptFile, Left};
use super::transaction::{Target, Unanswered, transact};
use super::watch::Watch;
use super::{DnsAction, DnsError, DnsPlan, Proof, count, millis, names, tell, unless_cancelled};
use crate::cluster::{Cluster, FIELD_MANAGER, FailedAt, lacks_right};
use crate::observe::cluster_dns::{ClusterDns, config_map};
use crate::unified::unified;

/// A change of one key of a ConfigMap.
#[derive(Clone, Debug)]
pub(crate) struct FileEdit {
    pub(crate) place: Place,
    pub(crate) owner: Owner,
    /// The version that was read; `None` where the ConfigMap does not exist.
    pub(crate) version: Option<String>,
    /// When the ConfigMap was last written, where it tells.
    pub(crate) written: Option<Timestamp>,
    /// What stands under the key.
    pub(crate) before: Option<String>,
    /// What is to stand there.
    pub(crate) after: Option<String>,
    /// Whether others' lines stand in the same text.
    pub(crate) shared: bool,
    /// Whether nothing is left in the ConfigMap without the key, and this program made it.
    pub(crate) sole: bool,
    /// The domain that the file's block serves, where the file is the Corefile itself.
    pub(crate) domain: Option<Name>,
    /// The port of CoreDNS' metrics.
    pub(crate) metrics: Option<u16>,
}

impl FileEdit {
    pub(crate) fn new(place: Place, owner: Owner) -> Self {
        Self {
            place,
            owner,
            version: None,
            written: None,
            before: None,
            after: None,
            shared: false,
            sole: false,
            domain: None,
            metrics: None,
        }
    }

    pub(crate) fn is_change(&self) -> bool {
        self.before != self.after
    }

    /// The change as a unified diff.
    pub(crate) fn diff(&self) -> String {
        if !self.is_change() {
            return String::new();
        }
        let text = |side: &Option<String>| side.clone().unwrap_or_default();
        let (old, new) = (text(&self.before), text(&self.after));
        unified(&old, &new, 3, [&format!("{} (live)", self.place), &format!("{} (after)", self.place)])
    }

    /// What has to stand so that the change is undone, when `now` is what stands: the very text that was there before,
    /// and where others wrote meanwhile theirs without our change.
    fn undone(&self, now: Option<&str>) -> Option<String> {
        if now == self.after.as_deref() || !self.shared {
            return self.before.clone();
        }
        let now = now?;
        let before = self.before.as_deref().and_then(|b| Corefile::parse(b).ok());
        let lines = before.zip(self.domain.as_ref()).map(|(b, domain)| b.lines_in(&self.owner, domain));
        let lines = lines.unwrap_or_default();
        let Ok(file) = Corefile::parse(now) else { return Some(without_owned(now, &self.owner)) };
        let bare = file.without_lines(&self.owner);
        if lines.is_empty() {
            return Some(bare);
        }
        let again = self.domain.as_ref().and_then(|domain| file.with_lines(&self.owner, domain, &lines).ok());
        Some(again.map_or(bare, |file| file.to_string()))
    }
}

fn api(cluster: &Cluster, place: &Place) -> Api<ConfigMap> {
    Api::namespaced(cluster.client.clone(), &place.namespace)
}

/// Who wrote an object last, as its managed fields tell.
fn last_writer(map: &ConfigMap) -> String {
    let fields = map.metadata.managed_fields.iter().flatten();
    let last = fields.max_by_key(|m| m.time.as_ref().map(|t| t.0));
    last.and_then(|m| m.manager.clone()).unwrap_or_else(|| "somebody".to_owned())
}

/// Writes the change under the version that was read.
async fn write(cluster: &Cluster, edit: &FileEdit) -> Result<(), DnsError> {
    let api = api(cluster, &edit.place);
    let object = edit.place.to_string();
    let name = edit.place.name.as_str();
    let written = async {
        match &edit.version {
            None => {
                let map: ConfigMap = serde_json::from_value(json!({
                    "metadata": {"name": name, "labels": {MANAGED_BY_LABEL: MANAGED_BY}},
                    "data": {&edit.place.key: edit.after},
                }))
                .map_err(kube::Error::SerdeError)?;
                let params = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
                api.create(&params, &map).await.map(drop)
            }
            Some(version) if edit.sole && edit.after.is_none() => {
                let params = DeleteParams {
                    preconditions: Some(Preconditions { resource_version: Some(version.clone()), uid: None }),
                    ..DeleteParams::default()
                };
                api.delete(name, &params).await.map(drop)
            }
            Some(version) => {
                let patch = json!({
                    "metadata": {"resourceVersion": version},
                    "data": {&edit.place.key: edit.after},
                });
                let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
                api.patch(name, &params, &Patch::Merge(&patch)).await.map(drop)
            }
        }
    }
    .await;
    match written {
        Ok(()) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 409 => {
            let by = match api.get_opt(name).await {
                Ok(Some(map)) => last_writer(&map),
                _ => "somebody".to_owned(),
            };
            Err(DnsError::Moved { object, by })
        }
        Err(error) if lacks_right(&error) => {
            let right = format!("patch configmaps in {}", edit.place.namespace);
            Err(DnsError::right(object, right, FailedAt::new("nothing was written", error), None))
        }
        Err(error @ kube::Error::Api(_)) => Err(DnsError::unreachable(object, error)),
        Err(error) => Err(DnsError::unreachable(object, FailedAt::new("what was written is not known", error))),
    }
}

/// A change of a file, and where what stood before is kept.
pub(super) struct FileChange<'a> {
    pub(super) cluster: &'a Cluster,
    pub(super) edit: &'a FileEdit,
    pub(super) object: String,
    pub(super) kept: Option<String>,
}

impl Target for FileChange<'_> {
    fn object(&self) -> &str {
        &self.object
    }

    fn by_hand(&self) -> Remedy {
        format!("restore {} by hand from {}", self.object, self.kept.as_deref().unwrap_or("its owner")).into()
    }

    async fn write(&self) -> Result<(), Unanswered> {
        Ok(write(self.cluster, self.edit).await?)
    }

    async fn put_back(&self) -> Result<(), DnsError> {
        let edit = self.edit;
        let standing = config_map(&self.cluster.client, &edit.place).await?;
        let data = standing.as_ref().and_then(|m| m.data.as_ref());
        let now = data.and_then(|d| d.get(&edit.place.key).cloned());
        let wanted = edit.undone(now.as_deref());
        let made_here = edit.version.is_none();
        if now == wanted && (standing.is_none() || !made_here) {
            return Ok(());
        }
        // Only a ConfigMap of our own is made again.
        if standing.is_none() && !(wanted.is_some() && edit.sole) {
            return Ok(());
        }
        let back = FileEdit {
            before: now,
            after: wanted,
            // What did not exist before must not exist afterwards.
            sole: made_here && data.is_none_or(|d| d.len() <= 1),
            version: standing.as_ref().and_then(|m| m.metadata.resource_version.clone()),
            ..edit.clone()
        };
        write(self.cluster, &back).await
    }
}

pub(crate) async fn carry_out(
    cluster: &Cluster,
    plan: &DnsPlan,
    edit: &FileEdit,
    steps: &mpsc::UnboundedSender<DnsStep>,
    cancel: &CancellationToken,
) -> Result<Proof, DnsError> {
    let Some(cluster_dns) = &plan.means.cluster_dns else {
        return Err(DnsError::Failed("the plan was made without looking at the cluster's DNS".to_owned()));
    };
    if !edit.is_change() {
        return match &plan.means.finishing {
            Some(left) => finish(cluster, plan, cluster_dns, left, steps).await,
            None => names::prove(cluster, plan, steps).await,
        };
    }
    let begun = async {
        let watch = Watch::begin(cluster, plan, cluster_dns, edit.metrics).await?;
        tell(steps, DnsStep::Well { servers: count(watch.servers()) });
        let kept = match &edit.before {
            Some(before) => Some(KeptFile::new(cluster, &cluster_dns.namespace).keep(&edit.place, before).await?),
            None => None,
        };
        if let Some(object) = kept.clone() {
            tell(steps, DnsStep::Kept { object });
        }
        Ok((watch, kept))
    };
    let (mut watch, kept) = unless_cancelled(cancel, begun).await?;
    let object = plan.object.clone().unwrap_or_else(|| edit.place.to_string());
    let change = FileChange { cluster, edit, object, kept: kept.clone() };
    let proving = Box::pin(async {
        if let Some((most, because)) = &plan.wait {
            tell(steps, DnsStep::Waiting { at_most: millis(*most), because: because.clone() });
        }
        let servers = watch.until_proved(plan, steps, cancel).await?;
        let mut proof = Proof { servers, kept, ..Proof::default() };
        if plan.action == DnsAction::Remove {
            forgotten(cluster, &cluster_dns.namespace, &mut proof).await;
        }
        tokio::select! {
            () = cancel.cancelled() => {}
            () = names::from_inside(cluster, plan, &mut proof) => {}
        }
        Ok(proof)
    });
    match transact(&change, steps, cancel, proving).await {
        Err(DnsError::TakenBack { seen, object, .. }) => {
            let after = watch.after_taking_back(cluster, plan.means.restart).await;
            Err(DnsError::TakenBack { seen, object, after })
        }
        ended => ended,
    }
}

/// Takes away what was kept; what cannot be taken away is told, and the same command does it later.
pub(super) async fn forgotten(cluster: &Cluster, dns_namespace: &str, proof: &mut Proof) {
    match KeptFile::new(cluster, dns_namespace).forget().await {
        Ok(()) => proof.kept = None,
        Err(error) => proof.notes.push(Advice {
            remedy: Some(Remedy::GoOn(Command::DnsPatch)),
            ..Advice::from(format!("{error}; the names are gone, and it is not finished"))
        }),
    }
}

/// Finishes what an earlier run began: its write stands, and nobody has seen yet that all servers know. Nothing is taken
/// away before they do.
pub(super) async fn finish(
    cluster: &Cluster,
    plan: &DnsPlan,
    cluster_dns: &ClusterDns,
    left: &Left,
    steps: &mpsc::UnboundedSender<DnsStep>,
) -> Result<Proof, DnsError> {
    let watch = Watch::begin(cluster, plan, cluster_dns, None).await?;
    tell(steps, DnsStep::Well { servers: count(watch.servers()) });
    let proof = names::prove(cluster, plan, steps).await?;
    KeptFile::new(cluster, &cluster_dns.namespace).forget().await?;
    tell(steps, DnsStep::Forgotten { object: left.object.clone() });
    Ok(proof)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = ".:53 {\n    errors\n    kubernetes cluster.local\n    reload\n}\n";

    fn edit(before: &str, lines: &[&str]) -> FileEdit {
        let owner = Owner::namespace("ims");
        let domain: Name = "cluster.local".parse().unwrap();
        let lines: Vec<String> = lines.iter().map(|l| (*l).to_owned()).collect();
        let after = Corefile::parse(before).unwrap().with_lines(&owner, &domain, &lines).unwrap().to_string();
        let place = Place { namespace: "kube-system".into(), name: "coredns".into(), key: "Corefile".into() };
        FileEdit {
            before: Some(before.to_owned()),
            after: Some(after),
            version: Some("1".into()),
            shared: true,
            domain: Some(domain),
            ..FileEdit::new(place, owner)
        }
    }

    #[test]
    fn what_others_wrote_meanwhile_stays_when_a_change_is_taken_back() {
        let edit = edit(FILE, &["rewrite name exact a.cluster.local. b.cluster.local."]);
        let after = edit.after.clone().unwrap();
        assert_eq!(edit.undone(Some(&after)).as_deref(), Some(FILE));
        let other = |text: &str| text.replace("    errors\n", "    errors\n    log\n");
        assert_eq!(edit.undone(Some(&other(&after))), Some(other(FILE)));
        // Also where the other made a file of it that is none.
        let broken = |text: &str| format!("{text}}}\n");
        assert_eq!(edit.undone(Some(&broken(&after))), Some(broken(FILE)));
        assert_eq!(edit.undone(None), None);
    }

    #[test]
    fn our_own_earlier_lines_come_back() {
        let first = edit(FILE, &["rewrite name exact a.cluster.local. b.cluster.local."]);
        let before = first.after.unwrap();
        let second = edit(&before, &["rewrite name exact c.cluster.local. d.cluster.local."]);
        let after = second.after.clone().unwrap();
        assert_ne!(after, before);
        let other = |text: &str| text.replace("    errors\n", "    errors\n    log\n");
        assert_eq!(second.undone(Some(&other(&after))), Some(other(&before)));
    }

    #[test]
    fn the_diff_shows_our_lines_and_what_stands_around_them() {
        let edit = edit(FILE, &["rewrite name exact a.cluster.local. b.cluster.local."]);
        insta::assert_snapshot!(edit.diff(), @r"
        --- configmap kube-system/coredns, key Corefile (live)
        +++ configmap kube-system/coredns, key Corefile (after)
        @@ -1,4 +1,5 @@
         .:53 {
        +    rewrite name exact a.cluster.local. b.cluster.local. # kubectl-clearwater ims
             errors
             kubernetes cluster.local
             reload
        ");
    }
}
