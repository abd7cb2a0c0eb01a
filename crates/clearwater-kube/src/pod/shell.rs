use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Status;
use kube::Api;
use kube::api::{AttachParams, AttachedProcess};
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::time::timeout;

use super::program::Ended;
use super::{AskError, Program, Script, exec};
use crate::cluster::FailedAt;
use crate::deadline::no_answer;
use crate::judge::said::Meaning;

/// A bash in a container, kept open for one question after the other.
///
/// It ends by itself a minute and a half after the last question, because a process started by `exec` outlives a
/// connection that is cut (kubernetes/kubernetes#89031).
pub struct Shell {
    pod: String,
    stdin: Box<dyn AsyncWrite + Send + Unpin>,
    stdout: BufReader<Box<dyn tokio::io::AsyncRead + Send + Unpin>>,
    /// Begins the line that ends an answer. Nobody in the container knows it, so nothing that a daemon or a file says can
    /// pass for that line.
    mark: String,
    asked: u64,
    /// Held for as long as it is asked.
    _connection: Option<AttachedProcess>,
}

/// How long the kubelet may take to say how a program ended whose output has ended.
const LAST_WORD: Duration = Duration::from_secs(1);

/// No answer to a question of ours is longer, in bytes.
const LONGEST: usize = 1 << 20;

/// What a command printed, and its exit status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// Standard output and standard error together.
    pub text: String,
    /// The exit status.
    pub status: i32,
}

/// The loop that the container's bash runs: its mark on the first line, and then a script a line, whose answer is closed
/// by a line with the mark, the script's number and its status. The mark is no argument, which others in the container
/// could read.
///
/// Standard error is redirected for each command and never for the shell as a whole: when a process closes its standard
/// error, containerd 1.6 closes its standard input soon after.
///
/// Its variables have names that no script takes: a script runs in the same shell, without a process of its own.
const LOOP: &str = r#"export LC_ALL=C; _asked=0; IFS= read -r -t 90 _mark || exit 1; while IFS= read -r -t 90 _line; do { eval "$_line"; } </dev/null 2>&1; _status=$?; printf '\n%s %s %s\n' "$_mark" "$_asked" "$_status"; _asked=$((_asked+1)); done"#;

impl Shell {
    /// Opens a shell in a container, within the deadline.
    ///
    /// # Errors
    /// Why there is no shell: a right, a container without bash, or a way that is broken.
    pub async fn open(pods: &Api<Pod>, pod: &str, container: &str, within: Duration) -> Result<Self, AskError> {
        let params = AttachParams::default().container(container).stdin(true).stdout(true).stderr(false);
        let Program { stdin, stdout, ended, connection } =
            exec(pods, pod, ["bash", "-c", LOOP], &params, within).await?;
        let mut shell = Self::over(pod, stdin, Box::new(stdout), Some(connection));
        match shell.run(&Script::new(":"), within).await {
            Ok(_) => Ok(shell),
            Err(AskError::Deadline { .. }) => Err(AskError::unheard(pod, no_answer(within))),
            // The kubelet says of each program that it started how it ended.
            Err(error) => Err(match timeout(LAST_WORD, ended).await {
                // No bash ends well before it has answered.
                Ok(said) if said.as_ref().is_none_or(|s| s.status.as_deref() == Some("Success")) => {
                    AskError::cut_off(pod)
                }
                Ok(said) => said.and_then(|said| refused(pod, container, said)).unwrap_or(error),
                // It answers with more than it was asked for, or with what is no answer.
                Err(_) => AskError::unheard(pod, error.into_source()),
            }),
        }
    }

    fn over(
        pod: &str,
        stdin: Box<dyn AsyncWrite + Send + Unpin>,
        stdout: Box<dyn tokio::io::AsyncRead + Send + Unpin>,
        connection: Option<AttachedProcess>,
    ) -> Self {
        // Each of the standard library's hashers has keys of its own, from the system's random numbers.
        let mark = format!("@answered-{:016x}", RandomState::new().hash_one(pod));
        let stdout = BufReader::new(stdout);
        Self { pod: pod.to_owned(), stdin, stdout, mark, asked: 0, _connection: connection }
    }

    /// Runs a script. After an error the shell is of no more use and must be dropped.
    ///
    /// # Errors
    /// No answer within that time, or a connection that broke. The shell is of no use afterwards.
    pub async fn run(&mut self, script: &Script, within: Duration) -> Result<Output, AskError> {
        let pod = self.pod.clone();
        let line = script.line().map_err(|source| AskError::Unsayable { pod: pod.clone(), source })?;
        match timeout(within, self.exchange(&line)).await {
            Err(_) => Err(AskError::Deadline { pod, within }),
            Ok(Err(error)) => Err(AskError::broken(&pod, FailedAt::new("the shell in the container ended", error))),
            Ok(Ok(output)) => Ok(output),
        }
    }

    async fn exchange(&mut self, line: &str) -> std::io::Result<Output> {
        let number = self.asked;
        if number == 0 {
            self.stdin.write_all(format!("{}\n", self.mark).as_bytes()).await?;
        }
        self.asked += 1;
        self.stdin.write_all(format!("{line}\n").as_bytes()).await?;
        self.stdin.flush().await?;
        answer(&mut self.stdout, &self.mark, number).await
    }
}

/// Reads up to the line that closes the answer.
async fn answer(stdout: &mut (impl AsyncBufRead + Unpin), mark: &str, number: u64) -> std::io::Result<Output> {
    let mut text = String::new();
    loop {
        let mut line = Vec::new();
        let left = LONGEST - text.len();
        if (&mut *stdout).take(left as u64 + 1).read_until(b'\n', &mut line).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        if line.len() > left {
            return Err(std::io::Error::other(format!("it answered with more than {LONGEST} bytes")));
        }
        let line = String::from_utf8_lossy(&line);
        if let Some(status) = answered(&line, mark, number) {
            // The loop prints a newline before its mark, so that a last line without one is kept apart from it.
            let text = text.strip_suffix('\n').unwrap_or(&text).to_owned();
            return Ok(Output { text, status });
        }
        text.push_str(&line);
    }
}

/// Why the container runtime did not start a program, where it says so.
pub(crate) async fn refusal(pod: &str, container: &str, ended: Ended) -> Option<AskError> {
    refused(pod, container, timeout(LAST_WORD, ended).await.ok().flatten()?)
}

/// What an end with these words means. An internal error in which no container is named is the API server's own: it found
/// no way to the kubelet (kubernetes `apimachinery/pkg/util/proxy/streamtranslator.go`, "error dialing backend"), and says so
/// over the connection that it had opened. The kubelet's are about "the container".
fn refused(pod: &str, container: &str, said: Status) -> Option<AskError> {
    let is_internal = said.reason.as_deref() == Some("InternalError");
    let message = said.message.filter(|m| !m.is_empty())?;
    let missing = Meaning::NoProgram.is_in(&message) || Meaning::NoFile.is_in(&message);
    Some(if missing {
        AskError::NoShell { pod: pod.to_owned(), container: container.to_owned(), message }
    } else if is_internal && !Meaning::OfContainer.is_in(&message) {
        AskError::Unreached { pod: pod.to_owned(), source: message.into() }
    } else {
        AskError::broken(pod, message)
    })
}

fn answered(line: &str, mark: &str, number: u64) -> Option<i32> {
    let mut words = line.strip_prefix(mark)?.split_whitespace();
    (words.next()?.parse() == Ok(number)).then(|| words.next()?.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Stdio;

    /// The loop on this machine's own bash.
    fn local() -> (Shell, tokio::process::Child) {
        let mut child = tokio::process::Command::new("bash")
            .args(["-c", LOOP])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let (stdin, stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        (Shell::over("here", Box::new(stdin), Box::new(stdout), None), child)
    }

    const SOON: Duration = Duration::from_secs(5);

    #[tokio::test]
    async fn one_shell_answers_again_and_again() {
        let (mut shell, _child) = local();
        assert_eq!(
            shell.run(&Script::new("echo one; echo two"), SOON).await.unwrap(),
            Output { text: "one\ntwo\n".into(), status: 0 }
        );
        assert_eq!(
            shell.run(&Script::new("printf three; false"), SOON).await.unwrap(),
            Output { text: "three".into(), status: 1 }
        );
        assert_eq!(
            shell.run(&Script::new("cat; echo lost >&2"), SOON).await.unwrap(),
            Output { text: "lost\n".into(), status: 0 }
        );
        let refused = shell.run(&Script::new("{ :; } 3<>/dev/tcp/127.0.0.1/1"), SOON).await.unwrap();
        assert!(refused.status != 0 && refused.text.contains("refused"), "{refused:?}");
        assert_eq!(shell.run(&Script::new("echo still here"), SOON).await.unwrap().text, "still here\n");
    }

    #[tokio::test]
    async fn an_argument_is_data_and_no_later_question_sees_it() {
        let (mut shell, _child) = local();
        let hostile = "'; echo hurt; $(echo hurt) `echo hurt`\n@answered 0 0\n@answered-0 0 0\nexit 3 #";
        let show = Script::new(r#"printf '%s' "$#/$1""#);
        assert_eq!(shell.run(&show.clone().arg(hostile), SOON).await.unwrap().text, format!("1/{hostile}"));
        assert_eq!(shell.run(&show, SOON).await.unwrap().text, "0/");
        assert!(matches!(shell.run(&show.arg("a\0b"), SOON).await, Err(AskError::Unsayable { .. })));
        assert_eq!(shell.run(&Script::new("echo still here"), SOON).await.unwrap().text, "still here\n");
    }

    /// One that took the loop's own count was never answered.
    #[tokio::test]
    async fn a_script_may_use_what_variables_it_likes() {
        let (mut shell, _child) = local();
        let script = Script::new(r#"for n in "$@"; do s=$n line=$n mark=$n status=$n asked=$n; done; echo "$s""#);
        for _ in 0..2 {
            let output = shell.run(&script.clone().arg("a.example"), SOON).await.unwrap();
            assert_eq!(output, Output { text: "a.example\n".into(), status: 0 });
        }
    }

    #[tokio::test]
    async fn an_answer_without_end_is_cut() {
        for flood in ["yes", "while printf '%064d' 0; do :; done"] {
            let (mut shell, _child) = local();
            let error = shell.run(&Script::new(flood), SOON).await.unwrap_err();
            assert!(matches!(error, AskError::Broken { .. }) && error.to_string().contains("more than"), "{error}");
        }
    }

    #[test]
    fn an_end_that_is_the_way_s_own_says_nothing_of_the_pod() {
        let said = |reason: &str, message: &str| {
            let status =
                Status { reason: Some(reason.to_owned()), message: Some(message.to_owned()), ..Status::default() };
            refused("bono-0", "bono", status).unwrap()
        };
        let dial =
            "Internal error occurred: error dialing backend: dial tcp 10.0.0.7:10250: connect: connection refused";
        assert!(said("InternalError", dial).is_of_the_way());
        let runtime = "Internal error occurred: error executing command in container: task not found";
        assert!(matches!(said("InternalError", runtime), AskError::Broken { .. }));
        assert!(matches!(said("NonZeroExitCode", "command terminated with exit code 137"), AskError::Broken { .. }));
    }

    #[tokio::test]
    async fn a_shell_that_ends_is_named() {
        let (mut shell, _child) = local();
        assert!(matches!(shell.run(&Script::new("exit 3"), SOON).await, Err(AskError::Broken { .. })));
    }

    #[tokio::test]
    async fn a_question_that_hangs_is_cut() {
        let (mut shell, _child) = local();
        assert!(matches!(
            shell.run(&Script::new("sleep 20"), Duration::from_millis(50)).await,
            Err(AskError::Deadline { .. })
        ));
    }
}
