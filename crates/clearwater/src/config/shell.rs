//! What a shell makes of a text: the few rules that decide whether a setting arrives as it was meant.
//!
//! The images' configuration generator pushes values through an unquoted expansion and `echo -e`
//! (clearwater-infrastructure `debian/clearwater-auto-config-docker.init.d`), and the file that comes out is sourced by
//! every daemon's init script (clearwater-infrastructure `clearwater-auto-config/etc/clearwater/config`). This module
//! knows those three steps exactly, so that a value can be prepared for them or refused before it does harm.
//!
//! ```
//! use clearwater::config::shell;
//!
//! assert_eq!(shell::quote("it's"), r"'it'\''s'");
//! let settings = shell::Settings::parse("signup_key='it'\\''s'\nlog_level=5\n")?;
//! assert_eq!(settings.get("signup_key"), Some("it's"));
//! # Ok::<(), clearwater::config::shell::NotPlain>(())
//! ```

use std::fmt;

use thiserror::Error;

/// Why the outcome of an unquoted `echo -e` cannot be told.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum EchoError {
    /// A word is a glob, whose outcome depends on the files in the container.
    #[error(
        "the word {word:?} is a glob, which the shell replaces by the names of matching files; encode the character \
         as an octal escape (\\0052 for *, \\0077 for ?, \\0133 for [)"
    )]
    Glob {
        /// The word.
        word: String,
    },
    /// An escape gives bytes that are no text, or a character that depends on the container's locale.
    #[error("the escape {escape:?} gives bytes that are not UTF-8 text; write the character itself")]
    NotText {
        /// The escape, or the whole output where several together are at fault.
        escape: String,
    },
    /// No environment variable can hold a NUL.
    #[error("the text has a NUL character, which no environment variable can hold")]
    Nul,
}

/// Puts a text into single quotes, so that a POSIX shell takes it literally.
pub fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// A text as the right side of a shell assignment: bare where every character is harmless there, quoted where not.
pub(crate) fn quote_if_needed(text: &str) -> String {
    if text.chars().all(is_bare) { text.to_owned() } else { quote(text) }
}

/// Whether a character stands for itself in the right side of an assignment, in an unquoted expansion and in `echo -e`.
fn is_bare(c: char) -> bool {
    c.is_ascii_alphanumeric() || "_./:@%+,=-".contains(c)
}

/// What bash writes for `echo -e $text`: words split at blanks, options eaten, escapes done, a newline at the end. A
/// glob is refused.
///
/// # Errors
/// What a shell would make of it that is not told by the text alone.
pub fn echo_unquoted(text: &str) -> Result<String, EchoError> {
    if text.contains('\0') {
        return Err(EchoError::Nul);
    }
    let words: Vec<_> = split_words(text).collect();
    if let Some(word) = words.iter().find(|w| is_glob(w)) {
        return Err(EchoError::Glob { word: (*word).to_owned() });
    }
    let mut words = words.as_slice();
    let (mut newline, mut escapes) = (true, true);
    while let Some((first, rest)) = words.split_first() {
        let Some(flags) = first.strip_prefix('-').filter(|f| !f.is_empty() && f.chars().all(|c| "neE".contains(c)))
        else {
            break;
        };
        for flag in flags.chars() {
            match flag {
                'n' => newline = false,
                'e' => escapes = true,
                _ => escapes = false,
            }
        }
        words = rest;
    }
    let mut out = Vec::new();
    for (i, word) in words.iter().enumerate() {
        if i > 0 {
            out.push(b' ');
        }
        if !escapes {
            out.extend_from_slice(word.as_bytes());
        } else if !unescape(word, &mut out)? {
            newline = false;
            break;
        }
    }
    if newline {
        out.push(b'\n');
    }
    String::from_utf8(out).map_err(|_| EchoError::NotText { escape: text.to_owned() })
}

/// Splits at blanks, tabs and newlines: the shell's default IFS.
pub(super) fn split_words(text: &str) -> impl Iterator<Item = &str> {
    text.split([' ', '\t', '\n']).filter(|w| !w.is_empty())
}

/// Whether bash tries to match the word against file names (bash `lib/glob/gmisc.c`, unquoted_glob_pattern_p).
pub(super) fn is_glob(word: &str) -> bool {
    let mut open = false;
    let mut chars = word.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '?' | '*' => return true,
            '[' => open = true,
            ']' if open => return true,
            '/' => open = false,
            '+' | '@' | '!' if chars.peek() == Some(&'(') => return true,
            '\\' => {
                chars.next();
            }
            _ => {}
        }
    }
    false
}

/// Appends a word with its escapes done (bash `lib/sh/strtrans.c`, ansicstr as `echo -e` calls it). Says whether
/// output goes on: `\c` ends it.
fn unescape(word: &str, out: &mut Vec<u8>) -> Result<bool, EchoError> {
    let bytes = word.as_bytes();
    let mut i = 0;
    while let Some(&b) = bytes.get(i) {
        i += 1;
        let Some(&escape) = bytes.get(i).filter(|_| b == b'\\') else {
            out.push(b);
            continue;
        };
        i += 1;
        match escape {
            b'a' => out.push(7),
            b'b' => out.push(8),
            b'e' | b'E' => out.push(27),
            b'f' => out.push(12),
            b'n' => out.push(b'\n'),
            b'r' => out.push(b'\r'),
            b't' => out.push(b'\t'),
            b'v' => out.push(11),
            b'\\' => out.push(b'\\'),
            b'c' => return Ok(false),
            b'0' => {
                let (value, len) = number(bytes.get(i..).unwrap_or_default(), 8, 3);
                i += len;
                out.push((value & 0xff) as u8);
            }
            b'x' | b'u' | b'U' => {
                let most = match escape {
                    b'x' => 2,
                    b'u' => 4,
                    _ => 8,
                };
                let (value, len) = number(bytes.get(i..).unwrap_or_default(), 16, most);
                i += len;
                if len == 0 {
                    out.extend([b'\\', escape]);
                } else if escape == b'x' || value <= 0x7f {
                    out.push((value & 0xff) as u8);
                } else {
                    let escape = word.get(i - len - 2..i).unwrap_or(word).to_owned();
                    return Err(EchoError::NotText { escape });
                }
            }
            other => out.extend([b'\\', other]),
        }
    }
    Ok(true)
}

/// The number that at most `most` leading digits of the base spell, and how many there are.
fn number(bytes: &[u8], base: u32, most: usize) -> (u32, usize) {
    let digits = bytes.iter().take(most).map_while(|b| char::from(*b).to_digit(base));
    digits.fold((0, 0), |(value, len), digit| (value.wrapping_mul(base).wrapping_add(digit), len + 1))
}

/// Writes a text so that it comes out of [`echo_unquoted`] unchanged, as one word, on whatever directory.
///
/// Characters that the three steps act on become octal escapes.
pub(super) fn encode_for_echo(text: &str, out: &mut String) {
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            ' ' | '\t' | '\\' | '*' | '?' | '[' | ']' | '(' => {
                out.push_str(&format!("\\0{:03o}", u32::from(c)));
            }
            c => out.push(c),
        }
    }
}

/// A file of `key=value` lines as a shell reads it: what `shared_config` and `local_config` are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings(Vec<(String, String)>);

/// A line that is more than an assignment of a literal value.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("line {line}, column {column}: {why}")]
pub struct NotPlain {
    /// The line, counted from 1.
    pub line: usize,
    /// The column in characters, counted from 1.
    pub column: usize,
    /// What is wrong.
    pub why: String,
}

impl Settings {
    /// Reads a file without running anything in it: comments, blank lines and assignments of literal values, bare or
    /// quoted. Anything that a shell would expand or run is an error.
    ///
    /// # Errors
    /// A line that is more than a setting: what only a shell could tell.
    pub fn parse(text: &str) -> Result<Self, NotPlain> {
        let mut reader = ShellReader { chars: text.chars().peekable(), line: 1, column: 1 };
        let mut settings = Vec::new();
        while let Some(c) = reader.peek() {
            match c {
                ' ' | '\t' | '\n' => {
                    reader.next();
                }
                '#' => while reader.next().is_some_and(|c| c != '\n') {},
                _ => settings.push(reader.assignment()?),
            }
        }
        Ok(Self(settings))
    }

    /// The value that the key has in the end: the last assignment's.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().rev().find(|(k, _)| k == key).map(|(_, v)| v.as_str())
    }

    /// These settings followed by others, as one file sourced after another.
    #[must_use]
    pub fn then(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }
}

impl fmt::Display for Settings {
    /// One assignment a line, quoted where needed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|(k, v)| writeln!(f, "{k}={}", quote_if_needed(v)))
    }
}

struct ShellReader<'a> {
    chars: std::iter::Peekable<std::str::Chars<'a>>,
    line: usize,
    column: usize,
}

impl ShellReader<'_> {
    fn peek(&mut self) -> Option<char> {
        self.chars.peek().copied()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.chars.next()?;
        if c == '\n' {
            self.line += 1;
            self.column = 1;
        } else {
            self.column += 1;
        }
        Some(c)
    }

    fn fail<T>(&self, why: impl Into<String>) -> Result<T, NotPlain> {
        Err(NotPlain { line: self.line, column: self.column, why: why.into() })
    }

    fn assignment(&mut self) -> Result<(String, String), NotPlain> {
        let mut key = String::new();
        while let Some(c) = self.peek() {
            match c {
                '=' => break,
                c if c == '_' || c.is_ascii_alphabetic() || (!key.is_empty() && c.is_ascii_digit()) => key.push(c),
                c => return self.fail(format!("{c:?} is not part of a key; the line must read key=value")),
            }
            self.next();
        }
        if key.is_empty() || self.next().is_none() {
            return self.fail("there is no '='; the line must read key=value");
        }
        let value = self.value()?;
        Ok((key, value))
    }

    fn value(&mut self) -> Result<String, NotPlain> {
        let mut value = String::new();
        while let Some(c) = self.peek() {
            match c {
                '\n' => break,
                ' ' | '\t' => {
                    self.end_of_line()?;
                    break;
                }
                '\'' => {
                    self.next();
                    loop {
                        match self.peek() {
                            None => return self.fail("a single quote is not closed"),
                            Some('\'') => break,
                            Some(c) => value.push(c),
                        }
                        self.next();
                    }
                }
                '"' => {
                    self.next();
                    self.double_quoted(&mut value)?;
                }
                '\\' => {
                    self.next();
                    match self.peek() {
                        None => return self.fail("a backslash ends the file"),
                        Some('\n') => {}
                        Some(c) => value.push(c),
                    }
                }
                '$' | '`' | ';' | '&' | '|' | '<' | '>' | '(' | ')' => {
                    return self.fail(format!("the shell would act on {c:?}; quote the value"));
                }
                '~' if value.is_empty() || value.ends_with(':') => {
                    return self.fail("the shell would replace '~' by a home directory; quote the value");
                }
                '\0' => return self.fail("a NUL character"),
                c => value.push(c),
            }
            self.next();
        }
        Ok(value)
    }

    fn double_quoted(&mut self, value: &mut String) -> Result<(), NotPlain> {
        loop {
            match self.peek() {
                None => return self.fail("a double quote is not closed"),
                Some('"') => return Ok(()),
                Some(c @ ('$' | '`')) => return self.fail(format!("the shell would act on {c:?}; use single quotes")),
                Some('\\') => {
                    self.next();
                    match self.peek() {
                        None => return self.fail("a double quote is not closed"),
                        Some('\n') => {}
                        Some(c @ ('$' | '`' | '"' | '\\')) => value.push(c),
                        Some(c) => value.extend(['\\', c]),
                    }
                }
                Some('\0') => return self.fail("a NUL character"),
                Some(c) => value.push(c),
            }
            self.next();
        }
    }

    fn end_of_line(&mut self) -> Result<(), NotPlain> {
        while let Some(c) = self.peek() {
            match c {
                ' ' | '\t' => {}
                '\n' => return Ok(()),
                '#' => {
                    while self.peek().is_some_and(|c| c != '\n') {
                        self.next();
                    }
                    return Ok(());
                }
                _ => return self.fail("the shell would run what follows the value as a command; quote the value"),
            }
            self.next();
        }
        Ok(())
    }
}
