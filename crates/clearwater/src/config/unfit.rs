use std::fmt;

use crate::component::Release;

/// What of a Secret's value does not survive the way into the containers' files: the kind of character, never which or
/// where, because this is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unfit {
    /// Bytes that are no UTF-8 text, which no environment variable is given.
    NotText,
    /// Too many bytes for an environment variable that holds all settings.
    TooLong,
    /// A line break and nothing after it.
    LastLineBreak,
    /// A line break.
    LineBreak,
    /// A control character.
    Control,
    /// A blank.
    Blank,
    /// `'`, which ends the quotes around the value: what follows would be run as commands.
    SingleQuote,
    /// `\`, which `echo -e` takes for the beginning of an escape.
    Backslash,
    /// `*`, `?` or `[`, which a shell replaces by names of files.
    Wildcard,
    /// `(`, which makes a wildcard of what stands before it.
    Parenthesis,
    /// A character whose bytes depend on the container's locale.
    NotAscii,
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotText => "bytes that are no text",
            Self::TooLong => "more bytes than fit into the containers' environment",
            Self::LastLineBreak => "a line break at its end",
            Self::LineBreak => "a line break",
            Self::Control => "a control character",
            Self::Blank => "a blank",
            Self::SingleQuote => "a single quote",
            Self::Backslash => "a backslash",
            Self::Wildcard => "a wildcard (* ? or [)",
            Self::Parenthesis => "an opening parenthesis",
            Self::NotAscii => "a character outside of ASCII",
        })
    }
}

impl Unfit {
    /// The longest value of a Secret, in bytes: all of them and the settings beside them are one environment variable.
    pub const LONGEST: usize = 4096;

    /// What is wrong with a value for the images of a release; `None` where it arrives as it is.
    pub fn of(release: Release, value: &[u8]) -> Option<Self> {
        let Ok(text) = std::str::from_utf8(value) else { return Some(Self::NotText) };
        if value.len() > Self::LONGEST {
            return Some(Self::TooLong);
        }
        let mut kinds = text.chars().filter_map(|c| match c {
            '\n' => Some(Self::LineBreak),
            c if c.is_control() => Some(Self::Control),
            // The classic release's script quotes whatever else there is.
            _ if release == Release::Classic => None,
            '\'' => Some(Self::SingleQuote),
            '\\' => Some(Self::Backslash),
            '*' | '?' | '[' => Some(Self::Wildcard),
            '(' => Some(Self::Parenthesis),
            ' ' => Some(Self::Blank),
            c if !c.is_ascii() => Some(Self::NotAscii),
            _ => None,
        });
        match (kinds.next()?, kinds.next()) {
            (Self::LineBreak, None) if text.ends_with('\n') => Some(Self::LastLineBreak),
            (first, _) => Some(first),
        }
    }

    /// What to do about it.
    pub fn fix(self, release: Release) -> String {
        match self {
            Self::LastLineBreak => {
                "put the value in without it: --from-literal, or a file written by printf '%s' and not by echo"
                    .to_owned()
            }
            Self::TooLong => format!("{} bytes are the most: choose a shorter one", Self::LONGEST),
            _ if release == Release::Classic => "choose another value: one line of text".to_owned(),
            _ => "choose another value: printable ASCII characters except blank ' \\ * ? [ (, because the images' own \
                  scripts pass it through a shell"
                .to_owned(),
        }
    }
}
