//! Where images come from.

use std::collections::BTreeSet;

use super::{Check, form, path};
use crate::component::{Component, Release, catalogue};
use crate::config::Deployment;

pub(super) fn check(check: &mut Check<'_>) {
    let images = &check.file.images;
    if let Some(registry) = &images.registry {
        check.form(&path("images.registry"), registry, form::image_path);
    }
    if let Some(prefix) = &images.prefix
        && !prefix.is_empty()
        && !prefix.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '_' | '-' | '/'))
    {
        let message = format!("{prefix:?} cannot begin an image's name: write lower-case letters, digits, '-' and '/'");
        check.wrong(&path("images.prefix"), message);
    }
    if let Some(tag) = &images.tag {
        check.form(&path("images.tag"), tag, form::tag);
    }
    if let Some(mirror) = &images.mirror {
        check.form(&path("images.mirror"), mirror, form::image_path);
    }
    let mut seen = BTreeSet::new();
    for (n, secret) in images.pull_secrets.iter().enumerate() {
        let key = path("images.pullSecrets").index(n);
        check.form(&key, secret, form::object_name);
        if !seen.insert(secret) {
            check.wrong(&key, format!("{secret:?} is listed twice; remove one of them"));
        }
    }
    for (component, digest) in &images.digests {
        let key = path("images.digests").key(component.name());
        check.form(&key, digest, form::digest);
        let whole = path("components").key(component.name()).key("image");
        if check.file.components.get(component).and_then(|o| o.image.as_ref()).is_some_and(|i| i.contains('@')) {
            check.refuse(&[key, whole], "the whole reference under components has a digest too: remove one of them");
        }
    }
    for (component, overrides) in &check.file.components {
        if let Some(image) = &overrides.image {
            check.form(&path("components").key(component.name()).key("image"), image, form::image);
        }
    }
    if check.file.release == Release::Classic {
        classic(check);
    }
}

/// Nobody publishes the classic images.
fn classic(check: &mut Check<'_>) {
    let deployment = Deployment::new_unchecked(check.file.clone(), String::new());
    let file = check.file;
    let unnamed = |c: Component| file.components.get(&c).is_none_or(|o| o.image.is_none());
    let of_clearwater = |c: Component| deployment.has(c) && c != Component::Etcd;
    let without: Vec<&str> = catalogue(Release::Classic)
        .iter()
        .map(|e| e.component)
        .filter(|c| of_clearwater(*c) && unnamed(*c))
        .map(Component::name)
        .collect();
    if without.is_empty() && !catalogue(Release::Classic).is_empty() {
        return;
    }
    let about = |key: &str| [path(key), path("release"), path("components")];
    if file.images.registry.is_none() {
        check.refuse(
            &about("images.registry"),
            "missing: nobody publishes images of the classic release; name the registry and path that hold yours, as \
             in registry.example.com/clearwater",
        );
    }
    if file.images.tag.is_none() {
        check.refuse(
            &about("images.tag"),
            "missing: nobody publishes images of the classic release, so there is no usual tag; name yours",
        );
    }
}
