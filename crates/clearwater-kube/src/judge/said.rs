//! What sentences of the API server and of container runtimes say, where something is decided by it: each is known here and
//! nowhere else.

/// What a sentence says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    /// A quota is full (kubernetes `plugin/pkg/admission/resourcequota/controller.go`).
    QuotaExceeded,
    /// The namespace's Pod Security level refuses the pod (kubernetes `pod-security-admission/admission/response.go`).
    PodSecurity,
    /// The container has no such program (Go's `os/exec`, which runc quotes).
    NoProgram,
    /// The program is made for another processor (ENOEXEC, as runc and shells say it).
    WrongArchitecture,
}

impl Said {
    /// What a sentence says; `None` for what nothing follows from.
    pub(crate) fn of(message: &str) -> Option<Self> {
        const SENTENCES: [(&str, Said); 4] = [
            ("exceeded quota", Said::QuotaExceeded),
            ("violates podsecurity", Said::PodSecurity),
            ("executable file not found", Said::NoProgram),
            ("exec format error", Said::WrongArchitecture),
        ];
        let message = message.to_lowercase();
        SENTENCES.into_iter().find(|(words, _)| message.contains(words)).map(|(_, said)| said)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sentences as they were seen.
    #[test]
    fn sentences_of_others() {
        for (message, said) in [
            (
                r#"pods "a" is forbidden: exceeded quota: q, requested: pods=1, used: pods=1, limited: pods=1"#,
                Some(Said::QuotaExceeded),
            ),
            (r#"pods "a" is forbidden: violates PodSecurity "restricted:latest": hostPort"#, Some(Said::PodSecurity)),
            (r#"exec: "bash": executable file not found in $PATH: unknown"#, Some(Said::NoProgram)),
            ("exec /usr/bin/x: exec format error", Some(Said::WrongArchitecture)),
            ("container not found", None),
        ] {
            assert_eq!(Said::of(message), said, "{message}");
        }
    }
}
