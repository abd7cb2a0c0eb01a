use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// How many members are wanted, as a person says it: `3`, `+1`, `-2`.
///
/// ```
/// use clearwater::scale::Target;
///
/// assert_eq!("3".parse::<Target>()?.resolve(1)?, 3);
/// assert_eq!("+1".parse::<Target>()?.resolve(2)?, 3);
/// assert_eq!(
///     "-3".parse::<Target>()?.resolve(2).unwrap_err().to_string(),
///     "-3 of 2 members leaves fewer than none"
/// );
/// # Ok::<(), clearwater::scale::InvalidTarget>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// That many.
    Absolute(u32),
    /// That many more.
    More(u32),
    /// That many fewer.
    Fewer(u32),
}

/// A number of members that makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum InvalidTarget {
    /// Not a number.
    #[error("{0:?} is not a number of members: give a number (3), or how many more (+1) or fewer (-1)")]
    NotANumber(String),
    /// Fewer than none.
    #[error("{target} of {current} members leaves fewer than none")]
    Negative {
        /// What was wanted.
        target: Target,
        /// How many there are.
        current: u32,
    },
    /// More than Kubernetes can count.
    #[error("{target} on top of {current} members is more than Kubernetes can count")]
    TooMany {
        /// What was wanted.
        target: Target,
        /// How many there are.
        current: u32,
    },
}

impl Target {
    /// How many members that makes, where there are `current`.
    ///
    /// # Errors
    /// A count below zero, or one that no count is known to.
    pub fn resolve(self, current: u32) -> Result<u32, InvalidTarget> {
        let too_many = InvalidTarget::TooMany { target: self, current };
        let wanted = match self {
            Self::Absolute(n) => n,
            Self::More(n) => current.checked_add(n).ok_or_else(|| too_many.clone())?,
            Self::Fewer(n) => current.checked_sub(n).ok_or(InvalidTarget::Negative { target: self, current })?,
        };
        // Kubernetes' replicas are signed.
        if i32::try_from(wanted).is_ok() { Ok(wanted) } else { Err(too_many) }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absolute(n) => write!(f, "{n}"),
            Self::More(n) => write!(f, "+{n}"),
            Self::Fewer(n) => write!(f, "-{n}"),
        }
    }
}

impl FromStr for Target {
    type Err = InvalidTarget;

    fn from_str(s: &str) -> Result<Self, InvalidTarget> {
        let number = |digits: &str| {
            // `u32`'s own parser takes a sign too.
            let digits = Some(digits).filter(|d| d.bytes().all(|b| b.is_ascii_digit()));
            digits.and_then(|d| d.parse().ok()).ok_or_else(|| InvalidTarget::NotANumber(s.to_owned()))
        };
        match s.as_bytes().first() {
            Some(b'+') => number(&s[1..]).map(Self::More),
            Some(b'-') => number(&s[1..]).map(Self::Fewer),
            _ => number(s).map(Self::Absolute),
        }
    }
}
