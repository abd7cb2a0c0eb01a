//! What helps against a daemon that hangs, or that lives on where nobody watches it any more. Its program in supervisord is a script
//! that waits for the daemon and goes at TERM without it: to restart that one leaves the daemon behind, with its port.

use clearwater::component::{Asks, Component, entry};
use clearwater::remedy::Remedy;

use super::super::facts::Facts;
use crate::judge::renewal::Renewal;

/// Ends whoever listens at a TCP port, whatever it is called, by the tables of the kernel (proc(5), `/proc/net/tcp`: 0A is a socket
/// that listens). What a daemon with a user of its own has open even root may not see in a container: then whatever runs as that user.
fn kill(port: u16) -> String {
    format!(
        "cat /proc/net/tcp* | while read -r _ at _ is _ _ _ user _ inode _; do [[ $at,$is == *:{port:04X},0A ]] || continue; \
         if ((user)); then grep -l \"^Uid:.$user.\" /proc/[0-9]*/status; else find /proc/[0-9]*/fd -lname \
         \"socket:?$inode?\"; fi 2>/dev/null; done | cut -d/ -f3 | sort -u | xargs -r kill -KILL"
    )
}

/// The TCP port at which a question is put.
fn asked_at(asks: &Asks) -> Option<u16> {
    match asks {
        Asks::Tcp(ports) | Asks::SipOptions(ports) => ports.first().copied(),
        Asks::Http { port, .. } | Asks::MemcachedVersion(port) | Asks::CqlOptions(port) | Asks::EtcdHealth(port) => {
            Some(*port)
        }
        Asks::Stun(_) | Asks::OneNameServer { .. } => None,
    }
}

/// What helps where a question of a component, by its place in the catalogue, is not answered.
pub(super) fn at_question(facts: &Facts, component: Component, pod: &str, place: usize) -> Remedy {
    let question = entry(facts.release, component).and_then(|entry| entry.health.get(place));
    remedy(facts, component, pod, question.and_then(|question| asked_at(&question.asks)))
}

/// What helps where an earlier process of a program keeps its port.
pub(super) fn at_program(facts: &Facts, component: Component, pod: &str, program: &str) -> Remedy {
    let is_own = program.rsplit(':').next() == Some(component.name());
    let mut questions = entry(facts.release, component).into_iter().flat_map(|entry| entry.health).filter(|_| is_own);
    remedy(facts, component, pod, questions.find_map(|question| asked_at(&question.asks)))
}

/// What helps against a container that does as a whole nothing more.
pub(super) fn of_container(facts: &Facts, component: Component, pod: &str) -> Remedy {
    remedy(facts, component, pod, None)
}

/// A pod that loses nothing goes; of another just who holds the port does.
fn remedy(facts: &Facts, component: Component, pod: &str, port: Option<u16>) -> Remedy {
    let namespace = facts.namespace();
    let delete = |keeps: &str| format!("kubectl delete pod -n {namespace} {pod}, {keeps}").into();
    let has_shell = entry(facts.release, component).is_some_and(|entry| !entry.programs.is_empty());
    match (facts.renewal(component), port.filter(|_| has_shell)) {
        (Renewal::ByUp, _) => delete("which loses nothing"),
        (_, Some(port)) => format!(
            "kubectl exec -n {namespace} {pod} -- bash -c '{}', which ends the daemon that holds port {port}: supervisord starts it \
             again",
            kill(port)
        )
        .into(),
        (Renewal::ByReplacing, None) => delete("whose data others or its volume keep"),
        (renewal @ Renewal::Losing(_), None) => renewal.remedy(component),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// bash finds this very process by a port at which it listens, and none by another.
    #[test]
    fn who_holds_a_port_is_found() {
        let held = |port: u16| {
            let line = kill(port).replace("xargs -r kill -KILL", "cat");
            let output = std::process::Command::new("bash").args(["-c", &line]).output().unwrap();
            String::from_utf8(output.stdout).unwrap()
        };
        for address in ["127.0.0.1:0", "0.0.0.0:0"] {
            let listener = std::net::TcpListener::bind(address).unwrap();
            let port = listener.local_addr().unwrap().port();
            assert!(held(port).lines().any(|pid| pid == std::process::id().to_string()), "{}", held(port));
            drop(listener);
            assert_eq!(held(port), "");
        }
    }
}
