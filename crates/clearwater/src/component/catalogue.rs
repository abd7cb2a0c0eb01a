use super::{Component, Entry, Release};

/// The entries of a release, in listing order.
pub const fn catalogue(_release: Release) -> &'static [Entry] {
    &[]
}

/// The entry of a component, or `None` where the release does not have it.
pub fn entry(release: Release, component: Component) -> Option<&'static Entry> {
    catalogue(release).iter().find(|e| e.component == component)
}
