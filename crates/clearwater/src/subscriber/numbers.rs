use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// The most numbers that one range may have: a slip of the finger makes no million lines.
const MOST: u64 = 100_000;

/// What is no number, and no range of numbers.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{found:?}: {reason}")]
pub struct InvalidNumbers {
    /// What was given.
    pub found: String,
    /// What is wrong with it.
    pub reason: &'static str,
}

/// A number, or a range of numbers of one length: `6505550000`, `6505550000..6505550099`, `+4930000..+4930009`.
///
/// Both ends belong to it. What stands before the digits, and the noughts at their beginning, are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Numbers {
    before: String,
    width: usize,
    first: u64,
    last: u64,
}

impl Numbers {
    /// How many there are.
    pub fn count(&self) -> u64 {
        self.last - self.first + 1
    }

    /// The numbers, in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = String> + '_ {
        (self.first..=self.last).map(|n| self.one(n))
    }

    fn one(&self, n: u64) -> String {
        format!("{}{n:0width$}", self.before, width = self.width)
    }
}

impl fmt::Display for Numbers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.one(self.first))?;
        if self.first == self.last { Ok(()) } else { write!(f, "..{}", self.one(self.last)) }
    }
}

impl FromStr for Numbers {
    type Err = InvalidNumbers;

    fn from_str(text: &str) -> Result<Self, InvalidNumbers> {
        let wrong = |reason| InvalidNumbers { found: text.chars().take(80).collect(), reason };
        let (from, to) = text.split_once("..").map_or((text, text), |(from, to)| (from, to.trim_start_matches('=')));
        let ((before, first), (end_before, last)) = (parts(from), parts(to));
        let digits =
            |text: &str| text.parse::<u64>().map_err(|_| wrong("a number is up to 19 digits, with or without +"));
        let (low, high) = (digits(first)?, digits(last)?);
        if before != end_before || first.len() != last.len() {
            return Err(wrong("both ends of a range have the same length"));
        }
        if high < low {
            return Err(wrong("the range ends before it begins"));
        }
        if high - low >= MOST {
            return Err(wrong("a range has at most 100000 numbers"));
        }
        Ok(Self { before: before.to_owned(), width: first.len(), first: low, last: high })
    }
}

/// The plus sign, and the digits.
fn parts(text: &str) -> (&str, &str) {
    match text.strip_prefix('+') {
        Some(digits) if !digits.starts_with('+') => ("+", digits),
        _ if text.starts_with('+') => ("", ""),
        _ => ("", text),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_and_ranges_are_read() {
        let all = |text: &str| text.parse::<Numbers>().map(|n| n.iter().collect::<Vec<_>>());
        assert_eq!(all("007").unwrap(), ["007"]);
        assert_eq!(all("098..101").unwrap(), ["098", "099", "100", "101"]);
        assert_eq!(all("+491..+492").unwrap(), ["+491", "+492"]);
        for text in [
            "",
            "..",
            "1..",
            "..2",
            "2..1",
            "1..10",
            "+1..2",
            "a",
            "1..2..3",
            "++1",
            "-1",
            "1000000..9999999",
            "99999999999999999999",
        ] {
            assert!(all(text).is_err(), "{text}: {:?}", all(text));
        }
    }

    proptest! {
        #[test]
        fn a_range_has_each_of_its_numbers_once(first in 0u64..999_000, more in 0u64..900, plus in any::<bool>()) {
            let plus = if plus { "+" } else { "" };
            let text = format!("{plus}{first:06}..{plus}{:06}", first + more);
            let numbers: Numbers = text.parse().unwrap();
            let all: Vec<String> = numbers.iter().collect();
            prop_assert_eq!(all.len() as u64, numbers.count());
            prop_assert!(all.windows(2).all(|w| w[0] < w[1] && w[0].len() == w[1].len()));
            prop_assert_eq!(numbers.to_string().parse::<Numbers>().unwrap(), numbers);
        }
    }
}
