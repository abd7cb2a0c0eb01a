use super::{Line, LogGrammar};

/// How many lines decide.
const ENOUGH: usize = 50;

/// The grammars that a line can be told by, the stricter ones first. A Python daemon's lines are read as those of a C++
/// one, which they resemble.
const KNOWN: [LogGrammar; 6] = [
    LogGrammar::Cpp,
    LogGrammar::Supervisord,
    LogGrammar::Cassandra,
    LogGrammar::NginxError,
    LogGrammar::NginxAccess,
    LogGrammar::CppAccess,
];

/// The grammar in which a line begins a record; `None` where it begins none in any. A plain line does where it says its
/// time.
pub(super) fn grammar_of(line: &[u8]) -> Option<LogGrammar> {
    let plain = || Line::parse(LogGrammar::Plain, line).time.map(|_| LogGrammar::Plain);
    KNOWN.into_iter().find(|g| Line::begins_record(*g, line)).or_else(plain)
}

/// The grammar that most of the first lines follow, where nothing else says it: [`LogGrammar::Plain`] when none fits.
///
/// ```
/// use clearwater::log::{LogGrammar, guess_grammar};
///
/// let file = b"23-11-2026 10:00:00.123 UTC 200 GET /ping 0.000321 seconds\n";
/// assert_eq!(guess_grammar(file), LogGrammar::CppAccess);
/// ```
pub fn guess_grammar(bytes: &[u8]) -> LogGrammar {
    let lines: Vec<&[u8]> = bytes.split(|b| *b == b'\n').take(ENOUGH).collect();
    let of = |g: LogGrammar| lines.iter().filter(|l| Line::begins_record(g, l)).count();
    // The first of those that fit equally well.
    let best = KNOWN.into_iter().rev().max_by_key(|g| of(*g)).filter(|g| of(*g) > 0);
    best.unwrap_or(LogGrammar::Plain)
}
