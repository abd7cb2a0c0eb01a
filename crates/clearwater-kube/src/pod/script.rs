use std::fmt::{self, Display};

/// What a shell in a container is told to do: a text of this program's own, and arguments that are data.
///
/// The text names its arguments as any script does (`"$1"`, `"$@"`). Only a text that was there when this program was
/// compiled can be one, so no word that was read from a cluster can become a command:
///
/// ```
/// use clearwater_kube::pod::Script;
///
/// let read = String::from("from etcd; id > /tmp/x #");
/// Script::new(r#"supervisorctl start "$1""#).arg(&read);
/// ```
///
/// ```compile_fail
/// use clearwater_kube::pod::Script;
///
/// let read = String::from("from etcd; id > /tmp/x #");
/// Script::new(&format!("supervisorctl start {read}"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct Script {
    text: &'static str,
    args: Vec<String>,
}

/// An argument that no program can be given, because it holds a NUL byte.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} holds a NUL byte and cannot be an argument")]
pub struct Nul(pub String);

impl Script {
    /// A text without arguments.
    pub const fn new(text: &'static str) -> Self {
        Self { text, args: Vec::new() }
    }

    /// The same with one argument more. Whatever it holds, the text finds it byte for byte.
    pub fn arg(mut self, argument: impl Display) -> Self {
        self.args.push(argument.to_string());
        self
    }

    /// The same with some arguments more.
    pub fn args<T: Display>(self, arguments: impl IntoIterator<Item = T>) -> Self {
        arguments.into_iter().fold(self, Self::arg)
    }

    /// One line for bash that does it.
    ///
    /// # Errors
    /// An argument that holds a NUL, which no shell can be given.
    pub fn line(&self) -> Result<String, Nul> {
        let mut line = "set --".to_owned();
        for argument in &self.args {
            if argument.contains('\0') {
                return Err(Nul(argument.clone()));
            }
            line.push(' ');
            line.push_str(&quoted(argument));
        }
        line.push_str("; eval ");
        line.push_str(&quoted(self.text));
        Ok(line)
    }
}

/// As a person would read it: the text with its arguments behind it.
impl Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text)?;
        self.args.iter().try_for_each(|a| write!(f, " {a:?}"))
    }
}

/// A word for bash on one line: in single quotes, where nothing but their end means anything (POSIX, shell command
/// language 2.2.2). A single quote and a newline, which cannot stand on the line, are put between such quotes.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''").replace('\n', r"'$'\n''"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::process::{Command, Output};

    fn bash(script: &Script) -> Output {
        let output = Command::new("bash").env("LC_ALL", "C").args(["-c", &script.line().unwrap()]).output().unwrap();
        assert!(output.status.success(), "{script}: {output:?}");
        output
    }

    /// What a script finds its arguments to be, each ended by a NUL byte.
    fn found(arguments: &[String]) -> Vec<u8> {
        let show = r#"for a in "$@"; do printf '%s\0' "$a"; done"#;
        bash(&Script::new(show).args(arguments)).stdout
    }

    fn ended_by_nul(arguments: &[String]) -> Vec<u8> {
        arguments.iter().flat_map(|a| a.bytes().chain([0])).collect()
    }

    const HOSTILE: &[&str] = &[
        "",
        "'",
        "''",
        "'; id > x #",
        "; id > /tmp/x #",
        "$(id)",
        "`id`",
        "$HOME",
        "${IFS}",
        "\n",
        "a\nb",
        "\n\n'\n",
        "\r\n",
        "-n",
        "-e",
        "--",
        "\\",
        "\\n",
        "\\'",
        "$'\\n'",
        "\"",
        "!",
        "*",
        "~",
        "{a,b}",
        "\u{202e}\u{e9}\u{1f4de}",
        "\u{1}\u{7f}\u{1b}[2J",
        " a  b ",
        "\t",
        "EOF",
        "@answered 0 0",
    ];

    #[test]
    fn hostile_arguments_arrive_byte_for_byte() {
        let all: Vec<String> = HOSTILE.iter().map(ToString::to_string).collect();
        assert_eq!(found(&all), ended_by_nul(&all));
        for (one, other) in all.iter().flat_map(|a| all.iter().map(move |b| (a, b))) {
            let line = Script::new("").arg(one).arg(other).line().unwrap();
            assert!(!line.contains('\n'), "{line:?} is more than one line");
        }
        assert_eq!(Script::new("").arg("a\0b").line(), Err(Nul("a\0b".to_owned())));
    }

    #[test]
    fn a_text_of_several_lines_is_carried_as_it_stands() {
        let script = Script::new("a=1 # not the end\ncat <<E\n$1 'x' $a\nE\n").arg("it's");
        assert!(!script.line().unwrap().contains('\n'));
        assert_eq!(String::from_utf8(bash(&script).stdout).unwrap(), "it's 'x' 1\n");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn any_arguments_arrive_byte_for_byte(
            arguments in prop::collection::vec("[^\0]{0,12}|['\"$`\\\\\n;#() -]{0,12}", 0..6)
        ) {
            prop_assert_eq!(found(&arguments), ended_by_nul(&arguments));
        }
    }

    /// The type keeps words out of a shell that goes through it; this keeps other ways shut. `logs/files.rs` and
    /// `tunnel.rs` hand a text of their own to a bash, with its arguments beside it.
    #[test]
    fn nothing_else_in_this_crate_runs_a_program_in_a_pod() {
        let (mut ways, mut users) = (Vec::new(), Vec::new());
        let mut folders = vec![std::path::PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/src"))];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()) {
                if entry.is_dir() {
                    folders.push(entry);
                } else if entry.extension().is_some_and(|e| e == "rs") {
                    let text = std::fs::read_to_string(&entry).unwrap();
                    let own = text.split("#[cfg(test)]").next().unwrap_or_default();
                    let name = entry.file_name().unwrap().to_string_lossy().into_owned();
                    ways.extend(own.matches(concat!(".ex", "ec(")).map(|_| name.clone()));
                    users.extend(own.matches(concat!(" ex", "ec(")).map(|_| name.clone()));
                }
            }
        }
        assert_eq!(ways, ["open.rs"], "these open connections of their own");
        users.sort();
        assert_eq!(users, ["files.rs", "shell.rs", "tunnel.rs"], "these run programs in pods");
    }
}
