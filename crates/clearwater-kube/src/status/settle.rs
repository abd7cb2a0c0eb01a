//! When a look may say that a component is unwell. Pure.

use crate::judge::{Judged, Stage};

/// What two looks at a component, one after the other, are enough to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Settled {
    /// It serves: the last look saw nothing wrong.
    Serving,
    /// It does not, and these problems were seen twice.
    Unwell(Judged),
    /// Each look saw something else wrong, and nothing twice: it must be looked at again.
    Open,
}

/// Puts two looks together. An answer that is lost or bad once says nothing: on a busy machine that happens to every
/// component now and then. So the later look decides where it saw nothing wrong, and what it saw counts where the look
/// before saw the same thing wrong, or could not see it.
pub(super) fn settle(before: &Judged, now: &Judged) -> Settled {
    if now.stage == Stage::Serving {
        return Settled::Serving;
    }
    if now.stage < Stage::Settling || before.stage < Stage::Settling {
        // Pods that are not ready are no lost answer: Kubernetes itself asked more than once.
        return Settled::Unwell(now.clone());
    }
    let mut settled = now.clone();
    settled.problems.retain(|p| before.problems.iter().any(|b| b.about.meets(&p.about)));
    if settled.problems.is_empty() { Settled::Open } else { Settled::Unwell(settled) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::judge::About;
    use crate::observe::finding::{Finding, Part};

    fn part() -> impl Strategy<Value = Part> {
        prop_oneof![
            Just(Part::Reach),
            Just(Part::Programs),
            "[ab]".prop_map(Part::Program),
            (0usize..3).prop_map(Part::Question),
            "[ab]".prop_map(Part::Name),
        ]
    }

    fn about() -> impl Strategy<Value = About> {
        prop_oneof![Just(About::Pods), Just(About::Members), ("[ab]", part()).prop_map(|(pod, p)| About::Pod(pod, p))]
    }

    /// A look, as the judge makes it: it serves where nothing is wrong.
    fn look(stage: Stage, abouts: Vec<About>) -> Judged {
        let problems: Vec<_> = abouts.into_iter().map(|a| Finding::new(a.clone(), format!("{a:?}"))).collect();
        Judged {
            stage: if problems.is_empty() { Stage::Serving } else { stage },
            ready: 1,
            wanted: 1,
            problems,
            unchecked: Vec::new(),
            pending: 0,
            outdated: Vec::new(),
        }
    }

    fn settling(abouts: Vec<About>) -> Judged {
        look(Stage::Settling, abouts)
    }

    fn question(n: usize) -> About {
        About::Pod("homer".to_owned(), Part::Question(n))
    }

    fn program(name: &str) -> About {
        About::Pod("homer".to_owned(), Part::Program(name.to_owned()))
    }

    #[test]
    fn one_lost_answer_says_nothing() {
        for about in [question(0), program("homer"), About::Members, About::Pods] {
            assert_eq!(settle(&settling(vec![about]), &settling(vec![])), Settled::Serving);
        }
        assert_eq!(settle(&settling(vec![question(0)]), &settling(vec![question(1)])), Settled::Open);
        assert_eq!(settle(&settling(vec![About::Members]), &settling(vec![question(1)])), Settled::Open);
    }

    #[test]
    fn what_is_wrong_twice_is_said_and_nothing_else() {
        let before = settling(vec![question(0), program("homer")]);
        let Settled::Unwell(said) = settle(&before, &settling(vec![question(1), program("homer"), program("nginx")]))
        else {
            panic!("a program that is down twice is down")
        };
        assert_eq!(said.problems, settling(vec![program("homer")]).problems);
        assert_eq!(said.cause(), said.problems[0].text);
    }

    #[test]
    fn what_could_not_be_seen_before_counts() {
        let unreached = settling(vec![About::Pod("homer".to_owned(), Part::Reach)]);
        let mute = settling(vec![About::Pod("homer".to_owned(), Part::Programs)]);
        let other = settling(vec![About::Pod("homer-2".to_owned(), Part::Reach)]);
        let fatal = settling(vec![program("homer")]);
        for before in [&unreached, &mute] {
            assert_eq!(settle(before, &fatal), Settled::Unwell(fatal.clone()));
            assert_eq!(settle(&fatal, before), Settled::Unwell((*before).clone()));
        }
        assert_eq!(settle(&other, &fatal), Settled::Open);
        let starting = look(Stage::Starting, vec![About::Pods]);
        assert_eq!(settle(&starting, &fatal), Settled::Unwell(fatal.clone()));
        assert_eq!(settle(&fatal, &starting), Settled::Unwell(starting));
    }

    proptest! {
        #[test]
        fn nothing_is_said_that_was_not_seen_twice(
            before in proptest::collection::vec(about(), 0..5), now in proptest::collection::vec(about(), 0..5)
        ) {
            let (before, now) = (settling(before), settling(now));
            let twice = |a: &About| before.problems.iter().any(|b| b.about.meets(a) && a.meets(&b.about));
            match settle(&before, &now) {
                Settled::Serving => prop_assert!(now.problems.is_empty()),
                Settled::Open => prop_assert!(
                    !now.problems.is_empty() && !now.problems.iter().any(|p| twice(&p.about))
                ),
                Settled::Unwell(said) => {
                    prop_assert!(!said.problems.is_empty());
                    prop_assert!(said.problems.iter().all(|p| twice(&p.about) && now.problems.contains(p)));
                    let missed = now.problems.iter().any(|p| twice(&p.about) && !said.problems.contains(p));
                    prop_assert!(!missed, "something wrong twice is not said");
                }
            }
        }

        /// What is really wrong is wrong in every look, and is said after two.
        #[test]
        fn what_stays_wrong_is_said(abouts in proptest::collection::vec(about(), 1..5)) {
            let look = settling(abouts);
            prop_assert_eq!(settle(&look, &look), Settled::Unwell(look.clone()));
        }
    }
}
