//! A change of the cluster's DNS is a transaction, whatever holds the names: it is written, proved, and taken back where
//! it cannot be proved. A write of which nobody can tell whether it was done is taken back as well.

use clearwater::event::DnsStep;
use clearwater::remedy::Remedy;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{DnsError, Proof, UNWRITTEN, tell};
use crate::backoff::{doubling, unless_lasting};

/// How many times a change is tried to be taken back, while others write to the same object or nobody answers.
const ATTEMPTS: usize = 10;
/// The first and the longest pause between two of them.
const PAUSES: (Duration, Duration) = (Duration::from_millis(200), Duration::from_millis(3200));

/// What holds names, with what is to be changed in it.
pub(super) trait Target {
    /// What is written, as kubectl names it.
    fn object(&self) -> &str;

    /// Writes the change where everything is still as it was read.
    async fn write(&self) -> Result<(), Unanswered>;

    /// Looks at what stands, and writes what stood before unless that stands.
    async fn put_back(&self) -> Result<(), DnsError>;

    /// What to do where what stood before cannot be put back.
    fn by_hand(&self) -> Remedy;
}

/// Why a write did not end well.
#[derive(Debug)]
pub(super) enum Unanswered {
    /// It was not done.
    Undone(DnsError),
    /// It may have been done.
    Unclear(DnsError),
}

impl From<DnsError> for Unanswered {
    fn from(error: DnsError) -> Self {
        if error.is_unreachable() { Self::Unclear(error) } else { Self::Undone(error) }
    }
}

/// Writes and proves. Where that fails, or is cancelled, what stood before stands again, or the error says that it does
/// not.
pub(super) async fn transact(
    target: &impl Target,
    steps: &mpsc::UnboundedSender<DnsStep>,
    cancel: &CancellationToken,
    prove: impl Future<Output = Result<Proof, DnsError>>,
) -> Result<Proof, DnsError> {
    if cancel.is_cancelled() {
        return Err(DnsError::Interrupted { state: UNWRITTEN.to_owned() });
    }
    let object = target.object().to_owned();
    let ended = match target.write().await {
        Ok(()) => {
            tell(steps, DnsStep::Written { object: object.clone() });
            prove.await
        }
        Err(Unanswered::Unclear(error)) => Err(error),
        Err(Unanswered::Undone(error)) => return Err(error),
    };
    let seen = match ended {
        Ok(proof) => return Ok(proof),
        Err(DnsError::TakenBack { seen, .. }) => seen,
        Err(DnsError::Interrupted { .. }) => "interrupted".to_owned(),
        Err(error) => error.to_string(),
    };
    tell(steps, DnsStep::TakingBack { because: seen.clone() });
    match take_back(target).await {
        Ok(()) if cancel.is_cancelled() => {
            Err(DnsError::Interrupted { state: format!("{object} is as it was before") })
        }
        Ok(()) => Err(DnsError::TakenBack { seen, object, after: String::new() }),
        Err(error) => Err(DnsError::Stuck { seen, error: Box::new(error), object, fix: target.by_hand() }),
    }
}

/// Nothing ends this before its time: the cluster's DNS is everybody's.
async fn take_back(target: &impl Target) -> Result<(), DnsError> {
    let mut pauses = doubling(PAUSES.0, PAUSES.1).take(ATTEMPTS - 1);
    while let Err(error) = target.put_back().await {
        unless_lasting(error, |_| true, &mut pauses).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use clearwater::dns::corefile::Owner;
    use clearwater::dns::ownership::Place;
    use serde_json::{Value, json};

    use super::*;
    use crate::cluster::Cluster;
    use crate::dns::file::{self, FileEdit};
    use crate::dns::slices::{self, NAME, SliceEdit};
    use crate::fake_api::Fate::{self, Answered, CutAfter, CutBefore};
    use crate::fake_api::Store;

    const FILE: &str = "/api/v1/namespaces/kube-system/configmaps/coredns";
    const SLICE: &str = "/apis/discovery.k8s.io/v1/namespaces/ims/endpointslices/clearwater-sprout-names";

    /// When the user gives up.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum Cancel {
        Never,
        BeforeTheWrite,
        /// While the write is on its way, or just after.
        BeforeTheProof,
        /// While what was written is being taken back.
        Afterwards,
    }

    struct Case {
        fates: Vec<Fate>,
        is_proved: bool,
        cancel: Cancel,
    }

    /// What came of it, which writes came, and whether the change stands, or what stood before.
    type End = (Result<(), String>, Vec<String>, bool);

    fn slice(ip: &str) -> Value {
        json!({
            "metadata": {"name": NAME},
            "addressType": "IPv4",
            "endpoints": [{"addresses": [ip]}],
            "ports": [{"port": 5054}],
        })
    }

    async fn run(case: &Case, target: &impl Target) -> Result<(), String> {
        let cancel = CancellationToken::new();
        let (steps, mut told) = mpsc::unbounded_channel();
        if case.cancel == Cancel::BeforeTheWrite {
            cancel.cancel();
        }
        let proving = async {
            if case.cancel == Cancel::BeforeTheProof {
                cancel.cancel();
                return Err(DnsError::Interrupted { state: String::new() });
            }
            if case.is_proved { Ok(Proof::default()) } else { Err(DnsError::Failed("wrong answers".to_owned())) }
        };
        let afterwards = async {
            while let Some(step) = told.recv().await {
                if matches!(step, DnsStep::TakingBack { .. }) && case.cancel == Cancel::Afterwards {
                    cancel.cancel();
                }
            }
        };
        let done = async {
            let steps = steps;
            transact(target, &steps, &cancel, proving).await
        };
        let (ended, ()) = tokio::join!(done, afterwards);
        ended.map(drop).map_err(|e| e.to_string())
    }

    async fn by_slice(case: &Case) -> End {
        let store = Store::default();
        store.put(SLICE, slice("10.0.0.1"));
        let cluster = store.cluster();
        store.fates(&case.fates);
        let before = serde_json::from_value(store.get(SLICE).unwrap()).unwrap();
        let after = serde_json::from_value(slice("10.0.0.2")).unwrap();
        let edit = SliceEdit { before: Some(before), after: Some(after) };
        let change = slices::SliceChange { cluster: &cluster, edit: &edit, object: "X".to_owned() };
        let ended = run(case, &change).await;
        let stands = store.get(SLICE).unwrap()["endpoints"][0]["addresses"][0] == "10.0.0.2";
        (ended, store.writes(), stands)
    }

    fn file_edit(before: Option<&str>, after: &str, version: Option<&str>) -> FileEdit {
        let place = Place { namespace: "kube-system".into(), name: "coredns".into(), key: "Corefile".into() };
        FileEdit {
            before: before.map(str::to_owned),
            after: Some(after.to_owned()),
            version: version.map(str::to_owned),
            ..FileEdit::new(place, Owner::namespace("ims"))
        }
    }

    fn file_change<'a>(cluster: &'a Cluster, edit: &'a FileEdit) -> file::FileChange<'a> {
        file::FileChange { cluster, edit, object: "X".to_owned(), kept: None }
    }

    async fn by_file(case: &Case) -> End {
        let store = Store::default();
        store.put(FILE, json!({"metadata": {"name": "coredns"}, "data": {"Corefile": "old", "other": "stays"}}));
        let cluster = store.cluster();
        store.fates(&case.fates);
        let edit = file_edit(Some("old"), "new", Some("1"));
        let ended = run(case, &file_change(&cluster, &edit)).await;
        let map = store.get(FILE).unwrap();
        assert_eq!(map["data"]["other"], "stays");
        (ended, store.writes(), map["data"]["Corefile"] == "new")
    }

    /// The same for each backend whose objects are Kubernetes' own: how it ended, how many writes came, what stands.
    async fn both(case: Case, words: Result<(), &str>, writes: usize, stands: bool) {
        for (backend, end) in [("slice", Box::pin(by_slice(&case)).await), ("file", Box::pin(by_file(&case)).await)] {
            match (&end.0, words) {
                (Ok(()), Ok(())) => {}
                (Err(error), Err(words)) if error.contains(words) => {}
                (ended, _) => panic!("{backend}: {ended:?} instead of {words:?}"),
            }
            assert_eq!((end.1.len(), end.2), (writes, stands), "{backend}: {:?}", end.1);
        }
    }

    const BACK: &str = "The change was taken back: X is as it was before";

    #[tokio::test(start_paused = true)]
    async fn what_is_written_and_proved_stays() {
        both(Case { fates: vec![], is_proved: true, cancel: Cancel::Never }, Ok(()), 1, true).await;
    }

    #[tokio::test(start_paused = true)]
    async fn what_may_have_been_written_is_asked_after_and_taken_back() {
        let case = |fate| Case { fates: vec![fate], is_proved: true, cancel: Cancel::Never };
        both(case(CutAfter), Err(BACK), 2, false).await;
        both(case(CutBefore), Err(BACK), 1, false).await;
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_not_proved_is_taken_back_as_soon_as_that_can_be_done() {
        let case = |fates| Case { fates, is_proved: false, cancel: Cancel::Never };
        both(case(vec![]), Err("wrong answers. The change was taken back"), 2, false).await;
        let cut = |times| [vec![Answered], vec![CutBefore; times]].concat();
        both(case(cut(ATTEMPTS - 1)), Err(BACK), ATTEMPTS + 1, false).await;
        // The answer was lost, and it had been taken back.
        both(case(vec![Answered, CutAfter]), Err(BACK), 2, false).await;
        both(case(cut(ATTEMPTS)), Err("could NOT be taken back"), ATTEMPTS + 1, true).await;
    }

    #[tokio::test(start_paused = true)]
    async fn who_gives_up_leaves_what_stood_before() {
        let case = |fates, cancel| Case { fates, is_proved: false, cancel };
        both(case(vec![], Cancel::BeforeTheWrite), Err("interrupted: nothing was written"), 0, false).await;
        both(case(vec![], Cancel::BeforeTheProof), Err("interrupted: X is as it was before"), 2, false).await;
        let cut = vec![Answered, CutBefore, CutBefore];
        both(case(cut.clone(), Cancel::BeforeTheProof), Err("interrupted: X is as it was before"), 4, false).await;
        both(case(cut, Cancel::Afterwards), Err("interrupted: X is as it was before"), 4, false).await;
        both(case(vec![CutAfter], Cancel::Afterwards), Err("interrupted: X is as it was before"), 2, false).await;
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_refused_was_not_written() {
        let store = Store::default();
        store.put(FILE, json!({"metadata": {"name": "coredns"}, "data": {"Corefile": "another's"}}));
        let (cluster, edit) = (store.cluster(), file_edit(Some("old"), "new", Some("0")));
        let case = Case { fates: vec![], is_proved: true, cancel: Cancel::Never };
        let error = run(&case, &file_change(&cluster, &edit)).await.unwrap_err();
        assert!(error.contains("was changed by somebody"), "{error}");
        assert_eq!(store.writes(), ["PATCH"]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_not_there_is_gone_again() {
        for (fate, writes) in
            [(Answered, &["POST", "DELETE"][..]), (CutAfter, &["POST", "DELETE"]), (CutBefore, &["POST"])]
        {
            let store = Store::default();
            store.fates(&[fate]);
            let (cluster, edit) = (store.cluster(), file_edit(None, "new", None));
            let case = Case { fates: vec![], is_proved: false, cancel: Cancel::Never };
            let error = run(&case, &file_change(&cluster, &edit)).await.unwrap_err();
            assert!(error.contains(BACK), "{error}");
            assert_eq!((store.writes(), store.get(FILE)), (writes.iter().map(ToString::to_string).collect(), None));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_slice_of_somebody_elses_is_not_written_over() {
        let store = Store::default();
        store.put(SLICE, slice("10.0.0.9"));
        let cluster = store.cluster();
        let of = |ip| Some(serde_json::from_value(slice(ip)).unwrap());
        let edit = SliceEdit { before: of("10.0.0.1"), after: of("10.0.0.2") };
        let change = slices::SliceChange { cluster: &cluster, edit: &edit, object: "X".to_owned() };
        let error = change.put_back().await.unwrap_err();
        assert!(matches!(error, DnsError::Moved { .. }), "{error}");
        assert!(store.writes().is_empty());
    }
}
