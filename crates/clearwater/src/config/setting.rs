/// The value of a setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Setting {
    /// A text.
    Text(String),
    /// What a Secret holds; containers have it in this environment variable.
    Secret {
        /// The variable.
        variable: String,
        /// The Secret's name.
        secret: String,
        /// The key in its data.
        key: String,
    },
}
