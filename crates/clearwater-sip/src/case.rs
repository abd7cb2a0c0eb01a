//! What is tried, one case after the other, and how it ended.

mod bench;
mod calls;
mod messages;
mod registration;
mod services;
mod subscriptions;
mod talks;

pub use bench::{
    Case, CaseFailure, CaseOutcome, CaseTimes, NoServices, NoWay, Opened, OpenedMedia, ServiceSource, TestVerdict,
    WaySource,
};

/// All cases, in the order they are tried: what the later need comes first.
pub fn all() -> impl Iterator<Item = &'static Case> {
    let spoken = calls::CASES.iter().chain(talks::CASES).chain(services::CASES);
    registration::CASES.iter().chain(subscriptions::CASES).chain(messages::CASES).chain(spoken)
}

/// The cases that are meant, and those of the words that mean none. A word is an id, or the beginning of one that ends
/// at a dash: `call` is `call`, `call-busy` and so on.
pub fn chosen<'a>(words: &'a [String], among: &[&'static Case]) -> (Vec<&'static Case>, Vec<&'a str>) {
    let means = |word: &str, case: &Case| {
        case.id.strip_prefix(word).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
    };
    let cases = among.iter().copied().filter(|c| words.iter().any(|w| means(w, c))).collect();
    let unknown = words.iter().filter(|w| !among.iter().any(|c| means(w, c))).map(String::as_str).collect();
    (cases, unknown)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn cases_have_names_of_their_own_and_are_chosen_by_them() {
        let every: Vec<&Case> = all().collect();
        let names: BTreeSet<&str> = every.iter().map(|c| c.id).collect();
        assert_eq!(names.len(), every.len());
        let words = ["register".to_owned(), "call-busy".to_owned(), "cal".to_owned()];
        let (cases, unknown) = chosen(&words, &every);
        assert!(cases.iter().any(|c| c.id == "call-busy") && cases.iter().any(|c| c.id.starts_with("register-")));
        assert!(!cases.iter().any(|c| c.id == "call-hold"), "{cases:?}");
        assert_eq!(unknown, ["cal"]);
    }
}
