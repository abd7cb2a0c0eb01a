//! Lines that owners put into a Corefile, and take out again.
//!
//! An owner's section is a piece of the text by itself: it is put in where a block's contents begin, ends with a line
//! break of its own, and needs nothing of what other owners put beside it. Where the block's opening shares its line
//! with a directive, the section begins with the rest of that line, marked as a break; each owner brings a break of its
//! own, and never relies on another's. Sections go in any order, and what is left is as if only the others had come.

use std::fmt;
use std::ops::Range;

use thiserror::Error;

use super::{Block, Corefile, CorefileError};
use crate::dns::Name;

/// What every owner's mark begins with.
const MARK: &str = "# kubectl-clearwater ";
/// What stands before the mark where an opening that shared its line with a directive was broken for the section.
const BREAK: &str = " # goes on below ";
/// It may stand at the beginning of a file, and there only.
const BYTE_ORDER_MARK: char = '\u{feff}';

/// Why a Corefile cannot be edited.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum EditError {
    /// No server block answers for the domain with the `kubernetes` plugin.
    #[error(
        "no server block serves {domain} with the kubernetes plugin{}; name the block's owner, or choose another backend",
        .imports.first().map_or_else(String::new, |i| format!(" (`import {i}` may, but its file is not in this ConfigMap)"))
    )]
    NoBlock {
        /// The domain that was looked for.
        domain: String,
        /// Imported files that could not be looked into.
        imports: Vec<String>,
    },
    /// The file with the edit would not be read as it must be.
    #[error("the edited Corefile would not be accepted: {0}")]
    Broken(#[from] CorefileError),
    /// No block can be put beside one without braces.
    #[error("its server block has no braces, so that no other can stand beside it; put braces around it")]
    Braceless,
    /// Taking the lines out again would not give the file back.
    #[error("the lines could not be taken out of this Corefile again without a trace; nothing was changed")]
    Unrestorable,
}

/// The owner of lines in a Corefile: one namespace's deployment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    namespace: String,
}

impl Owner {
    /// The deployment in a namespace.
    pub fn namespace(namespace: impl Into<String>) -> Self {
        Self { namespace: namespace.into() }
    }

    /// What a line of a text is to this owner.
    fn part_of<'a>(&self, line: &'a str) -> LineRole<'a> {
        let head = line.trim_end_matches(['\n', '\r']).strip_suffix(&self.to_string());
        match head.filter(|head| head.ends_with([' ', '\t'])) {
            None => LineRole::Other,
            Some(head) => head.strip_suffix(BREAK).map_or(LineRole::Own(head), LineRole::Break),
        }
    }

    /// The owner of a whole line, breaks left out.
    fn of_line(line: &str) -> Option<Self> {
        let bare = line.trim_end_matches(['\n', '\r']);
        let (head, namespace) = bare.rsplit_once(MARK)?;
        let whole = head.ends_with([' ', '\t']) && !head.ends_with(BREAK) && !head.trim().is_empty();
        (whole && !namespace.is_empty() && !namespace.contains(char::is_whitespace)).then(|| Self::namespace(namespace))
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{MARK}{}", self.namespace)
    }
}

/// What a line is to an owner.
enum LineRole<'a> {
    /// Nothing.
    Other,
    /// A line of the owner's, without its mark.
    Own(&'a str),
    /// A break, with the opening that stood on the line before.
    Break(&'a str),
}

/// The text without an owner's lines, where it is no Corefile any more and nobody can say more than whose lines are
/// whose.
pub fn without_owned(text: &str, owner: &Owner) -> String {
    without(text, |line| owner.part_of(line))
}

/// An owner's lines without its mark, in the order of the text.
pub fn owned_lines<'a>(text: &'a str, owner: &Owner) -> impl Iterator<Item = &'a str> {
    text.lines().filter_map(move |line| match owner.part_of(line) {
        LineRole::Own(head) => Some(head.trim()),
        LineRole::Break(_) | LineRole::Other => None,
    })
}

/// How a text ends its lines.
fn line_end(text: &str) -> &'static str {
    if text.contains("\r\n") { "\r\n" } else { "\n" }
}

fn without<'a>(text: &'a str, part_of: impl Fn(&'a str) -> LineRole<'a>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    if let Some(after) = text.strip_prefix(BYTE_ORDER_MARK) {
        out.push(BYTE_ORDER_MARK);
        rest = after;
    }
    let mut broken = false;
    for line in rest.split_inclusive('\n') {
        match part_of(line) {
            LineRole::Own(_) => {}
            LineRole::Break(opening) => {
                out.push_str(opening);
                broken = true;
            }
            LineRole::Other => {
                // Earlier versions put a second owner's lines behind the first one's break, which is theirs from now on.
                if let Some(heir) = Owner::of_line(line).filter(|_| broken) {
                    out.push_str(&format!("{BREAK}{heir}{}", line_end(text)));
                }
                broken = false;
                out.push_str(line);
            }
        }
    }
    out
}

impl Corefile {
    /// The text with `lines` as the owner's, at the head of every block that serves `domain`; lines that the owner had
    /// before are replaced. Putting the same lines in again changes nothing.
    ///
    /// # Errors
    /// [`EditError::NoBlock`] where no block serves the domain; [`EditError::Broken`] where the result would not be a
    /// Corefile.
    pub fn with_lines(&self, owner: &Owner, domain: &Name, lines: &[String]) -> Result<Self, EditError> {
        if self.holds(owner, domain, lines) {
            // Where they stand among other owners' lines does not matter, and moving them would never end.
            return Ok(self.clone());
        }
        let bare = Self::parse_in(&self.without_lines(owner), &self.variables)?;
        let blocks = bare.serving_kubernetes(domain);
        if blocks.is_empty() {
            let imports = bare.blocks.iter().flat_map(|b| &b.directives).filter(|d| d.name == "import");
            return Err(EditError::NoBlock {
                domain: domain.to_string(),
                imports: imports
                    .filter_map(|d| d.args.first().cloned())
                    .filter(|i| bare.snippet(i).is_none())
                    .collect(),
            });
        }
        let mut text = bare.text.clone();
        let end = line_end(&bare.text);
        for block in blocks.into_iter().rev() {
            let (at, shared) = bare.place_in(block);
            let indent = bare.indent_of(block);
            let mut section = if shared { format!("{BREAK}{owner}{end}") } else { String::new() };
            for line in lines {
                section.push_str(&format!("{indent}{line} {owner}{end}"));
            }
            text.insert_str(at, &section);
        }
        bare.edited(&text, owner)
    }

    /// The text with a server block of the owner's beside all others; lines that the owner had before are replaced.
    ///
    /// # Errors
    /// [`EditError::Braceless`] where the file's one block has no braces, so that no other can stand beside it;
    /// [`EditError::Broken`] where the result would not be a Corefile.
    pub fn with_block(&self, owner: &Owner, lines: &[String]) -> Result<Self, EditError> {
        let bare = Self::parse_in(&self.without_lines(owner), &self.variables)?;
        // An import beside all blocks stands as one without addresses.
        if bare.blocks.iter().any(|b| !b.keys.is_empty() && !b.braces) {
            return Err(EditError::Braceless);
        }
        let end = line_end(&bare.text);
        // Two blanks: one would say that the line was there before and only the mark is ours.
        let section: String = lines.iter().map(|line| format!("{line}  {owner}{end}")).collect();
        let mut text = bare.text.clone();
        text.insert_str(if text.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len_utf8() } else { 0 }, &section);
        bare.edited(&text, owner)
    }

    /// The text with a section of the owner's, if it can be read, and undone to the byte.
    fn edited(&self, text: &str, owner: &Owner) -> Result<Self, EditError> {
        let edited = Self::parse_in(text, &self.variables)?;
        if edited.without_lines(owner) == self.text { Ok(edited) } else { Err(EditError::Unrestorable) }
    }

    /// The text without the owner's lines: byte for byte what it would be if they had never been put in.
    pub fn without_lines(&self, owner: &Owner) -> String {
        without(&self.text, |line| self.part_of(owner, line))
    }

    /// The owner's lines as they stand, without indentation and mark.
    pub fn lines_of(&self, owner: &Owner) -> Vec<String> {
        self.own_lines(owner, 0..self.text.len()).collect()
    }

    /// The owner's lines in the first block that serves `domain`: those that [`Corefile::with_lines`] was given.
    pub fn lines_in(&self, owner: &Owner, domain: &Name) -> Vec<String> {
        let first = self.serving_kubernetes(domain).into_iter().next();
        first.map(|block| self.own_lines(owner, self.contents_of(block)).collect()).unwrap_or_default()
    }

    /// Whether every block that serves `domain` holds exactly these lines as the owner's, and no other place any.
    fn holds(&self, owner: &Owner, domain: &Name, lines: &[String]) -> bool {
        let blocks = self.serving_kubernetes(domain);
        // Lines are indented anew by each block; the rest of them is compared.
        let lines: Vec<String> = lines.iter().map(|l| l.trim().to_owned()).collect();
        let all: Vec<String> = std::iter::repeat_n(&lines, blocks.len()).flatten().cloned().collect();
        !blocks.is_empty()
            && self.own_lines(owner, 0..self.text.len()).eq(all)
            && blocks.iter().all(|block| self.own_lines(owner, self.contents_of(block)).eq(lines.iter().cloned()))
    }

    /// From a block's opening to the next block.
    fn contents_of(&self, block: &Block) -> Range<usize> {
        let next = self.blocks.iter().map(|b| b.begin).find(|begin| *begin > block.contents);
        block.contents..next.unwrap_or(self.text.len())
    }

    /// The owner's lines in a part of the text, without indentation and mark.
    fn own_lines<'a>(&'a self, owner: &'a Owner, part: Range<usize>) -> impl Iterator<Item = String> + 'a {
        // A block's contents begin in the middle of its opening's line.
        let lines = self.text[part].split_inclusive('\n');
        lines
            .filter_map(|line| match self.part_of(owner, line) {
                LineRole::Own(head) => Some(head.trim().to_owned()),
                _ => None,
            })
            .filter(|line| !line.is_empty())
    }

    /// What a line of this text is to the owner.
    fn part_of<'a>(&self, owner: &Owner, line: &'a str) -> LineRole<'a> {
        let part = owner.part_of(line);
        // Earlier versions marked a break by nothing but one blank between an opening and the mark.
        if let LineRole::Own(head) = part
            && let Some(opening) = head.strip_suffix(' ')
        {
            let start = line.as_ptr() as usize - self.text.as_ptr() as usize;
            if self.blocks.iter().any(|b| b.contents == start + opening.len()) {
                return LineRole::Break(opening);
            }
        }
        part
    }

    /// Where a section goes into a block, and whether a line is broken for it.
    fn place_in(&self, block: &Block) -> (usize, bool) {
        let at = block.contents;
        let rest = &self.text[at..];
        let end = rest.find('\n').map(|n| n + 1);
        let line = &rest[..end.unwrap_or(rest.len())];
        // Another owner's break is the beginning of its section and no comment on the opening.
        let is_break = [BREAK, " "].iter().any(|b| line.strip_prefix(b).is_some_and(|mark| mark.starts_with(MARK)));
        let bare = line.trim().is_empty() || line.trim_start().starts_with('#');
        match end {
            Some(end) if bare && !is_break => (at + end, false),
            _ => (at, true),
        }
    }

    fn indent_of(&self, block: &Block) -> &str {
        let Some(first) = block.directives.first() else { return "    " };
        let line_start = self.text[..first.span.start].rfind('\n').map_or(0, |n| n + 1);
        let lead = &self.text[line_start..first.span.start];
        if lead.chars().all(|c| c == ' ' || c == '\t') { lead } else { "    " }
    }
}
