//! Two texts, told apart as `diff -u` does. In one place, for the crate that does it is compiled anew for each form of text.

/// The differences with so many lines around each, under the names of both; empty where there are none.
pub(crate) fn unified(old: &str, new: &str, around: usize, names: [&str; 2]) -> String {
    similar::TextDiff::from_lines(old, new).unified_diff().context_radius(around).header(names[0], names[1]).to_string()
}
