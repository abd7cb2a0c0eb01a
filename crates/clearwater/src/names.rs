//! Enums whose values have names, and names that are not known.

use thiserror::Error;

/// Gives an enum `ALL`, `name` and `Display`; and `FromStr` with [`UnknownName`] where
/// the kind of the thing is said. What stands after a semicolon has a name and is none of them: what a newer version wrote.
/// For the crates of this workspace alone: no promise is made of it.
#[doc(hidden)]
#[macro_export]
macro_rules! named {
    ($(#[$doc:meta])* $type:ident { $($variant:ident = $name:literal),+ $(,)? $(; $unknown:ident = $said:literal)? }) => {
        impl $type {
            /// All of them, in listing order.
            pub const ALL: [Self; [$($name),+].len()] = [$(Self::$variant),+];

            $(#[$doc])*
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                    $(Self::$unknown => $said,)?
                }
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.name())
            }
        }
    };
    ($(#[$doc:meta])* $type:ident, $what:literal {
        $($variant:ident = $name:literal),+ $(,)? $(; $unknown:ident = $said:literal)?
    }) => {
        $crate::named!($(#[$doc])* $type { $($variant = $name),+ $(; $unknown = $said)? });

        impl std::str::FromStr for $type {
            type Err = $crate::component::UnknownName;

            fn from_str(s: &str) -> Result<Self, Self::Err> {
                let unknown = || $crate::component::UnknownName::new($what, s, Self::ALL.map(Self::name).to_vec());
                Self::ALL.into_iter().find(|one| one.name() == s).ok_or_else(unknown)
            }
        }
    };
}

pub(crate) use named;

/// A name that is not known, with the nearest one that is.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("unknown {what} {found:?}{} known: {}", .nearest.map_or_else(|| ";".to_owned(), |n| format!(", did you mean {n:?}?")), .known.join(", "))]
pub struct UnknownName {
    /// What kind of name was looked for.
    pub what: &'static str,
    /// The name as it was given.
    pub found: String,
    /// The nearest known name, where one is near enough to be a likely slip.
    pub nearest: Option<&'static str>,
    /// Every known name.
    pub known: Vec<&'static str>,
}

impl UnknownName {
    /// That none of the known names was found.
    pub fn new(what: &'static str, found: &str, known: Vec<&'static str>) -> Self {
        Self { what, found: found.to_owned(), nearest: nearest(found, known.iter().copied()), known }
    }
}

/// The candidate nearest to `found`, where it is near enough to be a likely slip of the finger.
///
/// ```
/// use clearwater::component::nearest;
///
/// assert_eq!(nearest("sprot", ["bono", "sprout"]), Some("sprout"));
/// assert_eq!(nearest("kamailio", ["bono", "sprout"]), None);
/// assert_eq!(nearest("foo", ["bono", "sprout"]), None, "half of it is another word");
/// ```
pub fn nearest<'a>(found: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let found_lower = found.to_lowercase();
    candidates
        .into_iter()
        .map(|c| (strsim::damerau_levenshtein(&found_lower, &c.to_lowercase()), c))
        .filter(|(distance, c)| *distance <= 1 + c.len().min(found.len()) / 4)
        .min()
        .map(|(_, c)| c)
}
