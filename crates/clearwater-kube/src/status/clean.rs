//! Every text of a status is made printable. Each field is named, so that the compiler tells of one that is added.

use clearwater::text::Clean;

use super::{ComponentStatus, PodData, PodStatus, Status};

impl Clean for Status {
    fn clean(&mut self) {
        let Self {
            v: _,
            namespace,
            release: _,
            at: _,
            healthy: _,
            leaving: _,
            partial: _,
            unreached: _,
            complete: _,
            looks: _,
            components,
            last_backup: _,
            notes,
        } = self;
        namespace.clean();
        components.clean();
        notes.clean();
    }
}

impl Clean for ComponentStatus {
    fn clean(&mut self) {
        let Self {
            component: _,
            roles,
            health: _,
            image,
            ready: _,
            wanted: _,
            pods,
            // Addresses and known states.
            members: _,
            problems,
            log,
            unchecked,
            pending: _,
            renewal,
        } = self;
        for texts in [roles, unchecked] {
            texts.clean();
        }
        problems.clean();
        renewal.clean();
        image.clean();
        pods.clean();
        log.clean();
    }
}

impl Clean for PodStatus {
    fn clean(&mut self) {
        let Self { name, node, address, ready: _, restarts: _, started: _, programs: _, answers: _, names: _, data } =
            self;
        for text in [name, node, address] {
            text.clean();
        }
        data.clean();
    }
}

impl Clean for PodData {
    fn clean(&mut self) {
        let Self { claim, class, room: _ } = self;
        claim.clean();
        class.clean();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use clearwater::component::{Component, Release};
    use clearwater::event::LogExcerpt;
    use clearwater::text::is_harmful;
    use jiff::Timestamp;

    use super::super::{Health, VERSION};
    use super::*;

    #[test]
    fn no_text_of_a_status_holds_what_a_terminal_obeys() {
        let bad = || "a\u{1b}[2J\nb\u{202e}".to_owned();
        let mut status = Status {
            v: VERSION,
            namespace: bad(),
            release: Release::Hunter,
            at: Timestamp::UNIX_EPOCH,
            healthy: true,
            leaving: false,
            partial: false,
            unreached: false,
            complete: true,
            looks: 1,
            components: vec![ComponentStatus {
                component: Component::Homer,
                roles: vec![bad()],
                health: Health::Unwell,
                image: bad(),
                ready: 1,
                wanted: 1,
                pods: vec![PodStatus {
                    name: bad(),
                    node: bad(),
                    address: bad(),
                    ready: true,
                    restarts: 0,
                    started: None,
                    programs: None,
                    answers: None,
                    names: None,
                    data: Some(PodData { claim: Some(bad()), class: Some(bad()), room: None }),
                }],
                members: BTreeMap::new(),
                problems: vec![bad().into()],
                log: Some(LogExcerpt { from: bad(), lines: vec![bad()] }),
                unchecked: vec![bad()],
                pending: 1,
                renewal: Some(bad().into()),
            }],
            last_backup: None,
            notes: vec![bad()],
        };
        status.clean();
        let text = format!("{status:?}");
        // A debug text writes a backslash twice: one that was escaped by it alone has one.
        assert_eq!(text.matches(r"\\u{1b}[2J\\nb\\u{202e}").count(), 14, "{text}");
        assert!(!text.contains(is_harmful), "{text}");
    }
}
