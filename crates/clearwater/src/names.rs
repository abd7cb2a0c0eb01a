//! Enums whose values have names.

/// Gives an enum `ALL`, `name` and `Display`; and `FromStr` with [`UnknownName`](crate::component::UnknownName) where
/// the kind of the thing is said.
macro_rules! named {
    ($(#[$doc:meta])* $type:ident { $($variant:ident = $name:literal),+ $(,)? }) => {
        impl $type {
            /// All of them, in listing order.
            pub const ALL: [Self; [$($name),+].len()] = [$(Self::$variant),+];

            $(#[$doc])*
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name),+
                }
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.name())
            }
        }
    };
    ($(#[$doc:meta])* $type:ident, $what:literal { $($variant:ident = $name:literal),+ $(,)? }) => {
        $crate::names::named!($(#[$doc])* $type { $($variant = $name),+ });

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
