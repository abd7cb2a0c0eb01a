use super::*;
use clearwater::component::{CASSANDRA_SETTINGS, Release, entry};

fn stuck(others: usize, holds_data: bool) -> Repair {
    stuck_on(false, others, holds_data)
}

fn stuck_on(on_volume: bool, others: usize, holds_data: bool) -> Repair {
    let stuck = Stuck {
        on_volume,
        uid: "u".into(),
        pod: "cassandra-0".into(),
        address: "10.0.0.7".parse().unwrap(),
        store: "Cassandra",
        file: CASSANDRA_SETTINGS,
        holds_data,
        others,
    };
    unsticking(entry(Release::Hunter, Component::Cassandra).unwrap(), &stuck)
}

#[test]
fn only_the_last_copy_costs_data() {
    let alone = stuck(0, true);
    assert_eq!(alone.cost, Cost::Data);
    assert!(alone.because.contains("subscribers") && alone.because.contains("would be lost"), "{alone:?}");
    assert_eq!(stuck(0, false).cost, Cost::Nothing);
    assert!(stuck(0, false).because.contains("went with the container"), "{:?}", stuck(0, false));
    assert_eq!(stuck_on(true, 0, true).cost, Cost::Nothing);
    assert!(stuck_on(true, 0, true).because.contains("on its volume"));
    assert_eq!(stuck(2, true).cost, Cost::Nothing);
    assert!(stuck(2, true).because.contains("10.0.0.7"));
}

/// Every dead member is marked at once, and one that dies later does not wait for those that are being marked: they
/// wait for it.
#[tokio::test(start_paused = true)]
async fn dead_members_of_a_store_are_marked_together() {
    let ips = |last: &[u8]| last.iter().map(|n| IpAddr::from([10, 0, 0, *n])).collect::<Vec<_>>();
    let mut state = Repairs::hearing(mpsc::unbounded_channel().1);
    let chronos = Component::Chronos;
    assert_eq!(state.to_mark(chronos, ips(&[1, 2, 3])), ips(&[1, 2, 3]));
    for address in ips(&[1, 2, 3]) {
        let key = marking(chronos, address);
        state.begun.insert(key.clone(), Timestamp::UNIX_EPOCH);
        state.running.insert(key);
    }
    assert_eq!(state.to_mark(chronos, ips(&[1, 2, 3, 4])), ips(&[4]));
    // One that failed is tried again after a pause, and never while it runs.
    state.take((marking(chronos, ips(&[1])[0]), true));
    assert!(state.to_mark(chronos, ips(&[1])).is_empty());
    tokio::time::advance(AGAIN_AFTER).await;
    assert_eq!(state.to_mark(chronos, ips(&[1, 2, 3])), ips(&[1]));
    state.running.insert(marking(chronos, ips(&[1])[0]));
    assert!(state.to_mark(chronos, ips(&[1, 2, 3])).is_empty());
}

#[test]
fn a_consent_is_to_one_repair_and_none_before_the_question() {
    let (answers, consents) = mpsc::unbounded_channel();
    let mut state = Repairs::hearing(consents);
    let repair = stuck(0, true);
    let answer = |question, agreed| answers.send(Consent { question, agreed }).unwrap();
    answer(0, true);
    assert_eq!(state.allowed("a", &repair, Component::Cassandra, true), Allowed::Ask(0));
    assert!(state.consents.try_recv().is_err(), "what came before the question is no answer to it");
    assert_eq!(state.allowed("a", &repair, Component::Cassandra, true), Allowed::No);
    state.take_consent(Consent { question: 1, agreed: true });
    assert_eq!(state.allowed("a", &repair, Component::Cassandra, true), Allowed::No);
    state.take_consent(Consent { question: 0, agreed: true });
    assert_eq!(state.allowed("a", &repair, Component::Cassandra, true), Allowed::Yes);
    // The next loss is another question, and a no stands.
    assert_eq!(state.allowed("b", &repair, Component::Cassandra, true), Allowed::Ask(1));
    state.take_consent(Consent { question: 1, agreed: false });
    state.take_consent(Consent { question: 1, agreed: true });
    assert_eq!(state.allowed("b", &repair, Component::Cassandra, true), Allowed::No);
    assert!(state.is_refused() && state.refused().count() == 1);
    // Where nobody is asked nothing is asked.
    assert_eq!(state.allowed("c", &repair, Component::Cassandra, false), Allowed::Refuse);
    assert_eq!(state.allowed("c", &repair, Component::Cassandra, false), Allowed::No);
}

#[test]
fn what_fails_is_tried_again_after_a_pause_and_not_for_ever() {
    let mut state = Repairs::hearing(mpsc::unbounded_channel().1);
    let key = ("cassandra".to_owned(), "10.0.0.7".to_owned());
    assert!(state.is_due(&key));
    state.begun.insert(key.clone(), Timestamp::UNIX_EPOCH);
    assert!(!state.is_due(&key));
    state.take((key.clone(), true));
    assert!(!state.is_due(&key));
    state.failed.insert(key.clone(), (TRIES - 1, Instant::now()));
    assert!(state.is_due(&key));
    state.take((key.clone(), true));
    state.failed.insert(key.clone(), (TRIES, Instant::now()));
    assert!(!state.is_due(&key));
}

/// A store whose members are replaced one by one is another each time.
#[test]
fn who_looked_a_component_up_is_started_again_each_time_that_it_is_renewed() {
    let mut state = Repairs::hearing(mpsc::unbounded_channel().1);
    let key = ("u".to_owned(), "homestead-prov cassandra".to_owned());
    let at = |seconds| Some(Timestamp::from_second(seconds).unwrap());
    assert!(!state.is_outlived(&key, at(10), at(5)), "it started after that");
    assert!(!state.is_outlived(&key, at(10), None));
    assert!(state.is_outlived(&key, at(10), at(20)));
    state.running.insert(key.clone());
    state.begun.insert(key.clone(), at(25).unwrap());
    assert!(!state.is_outlived(&key, at(10), at(20)), "it is being restarted");
    state.take((key.clone(), false));
    assert!(!state.is_outlived(&key, at(10), at(20)), "it was restarted since");
    assert!(state.is_outlived(&key, at(10), at(40)), "the next member was replaced after that");
    // What failed is tried again after its pause.
    state.take((key.clone(), true));
    assert!(!state.is_outlived(&key, at(10), at(20)));
    state.failed.insert(key.clone(), (1, Instant::now()));
    assert!(state.is_outlived(&key, at(10), at(20)));
}
