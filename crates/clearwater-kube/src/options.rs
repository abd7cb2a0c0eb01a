//! How the options of operations are put together: a field each, which may be read and set, and a method of the same name.
//! Options are never written out whole, so that a new one breaks no program.

/// Methods that set a field and hand the options on. `flag` sets what is asked for by its name, `value` takes what it is
/// set to, `some` what is there in the place of nothing, and `each` any number of things.
macro_rules! setters {
    ($of:ident { $($(#[$doc:meta])* $kind:ident $field:ident $(: $type:ty)?,)+ }) => {
        impl $of {
            $(setters!(@$kind $(#[$doc])* $field $(: $type)?);)+
        }
    };
    (@flag $(#[$doc:meta])* $field:ident) => {
        $(#[$doc])*
        #[must_use]
        pub fn $field(mut self) -> Self {
            self.$field = true;
            self
        }
    };
    (@value $(#[$doc:meta])* $field:ident: $type:ty) => {
        $(#[$doc])*
        #[must_use]
        pub fn $field(mut self, $field: impl Into<$type>) -> Self {
            self.$field = $field.into();
            self
        }
    };
    (@some $(#[$doc:meta])* $field:ident: $type:ty) => {
        $(#[$doc])*
        #[must_use]
        pub fn $field(mut self, $field: impl Into<$type>) -> Self {
            self.$field = Some($field.into());
            self
        }
    };
    (@each $(#[$doc:meta])* $field:ident: $type:ty) => {
        $(#[$doc])*
        #[must_use]
        pub fn $field(mut self, $field: impl IntoIterator<Item = $type>) -> Self {
            self.$field = $field.into_iter().collect();
            self
        }
    };
}

pub(crate) use setters;
