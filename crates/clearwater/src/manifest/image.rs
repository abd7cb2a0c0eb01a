use super::{Deployment, ManifestError};
use crate::component::{Component, Release, entry};

/// The image of a component: the file's whole reference where it gives one, else `REGISTRY/PREFIXcomponent:TAG`, with
/// the registry's host replaced where the file names a mirror; and with the digest, where the file gives one.
///
/// # Errors
/// A component that the release does not have.
pub fn image(d: &Deployment, component: Component) -> Result<String, ManifestError> {
    let reference = reference(d, component)?;
    Ok(match d.file().images.digests.get(&component) {
        Some(digest) => format!("{reference}@{digest}"),
        None => reference,
    })
}

fn reference(d: &Deployment, component: Component) -> Result<String, ManifestError> {
    if let Some(image) = d.file().components.get(&component).and_then(|o| o.image.as_ref()) {
        return Ok(image.clone());
    }
    let name = entry(d.release(), component).map_or(component.name(), |e| e.image);
    if name.contains('/') {
        return Ok(mirrored(d, name));
    }
    let Some(Origin { registry, tag }) = Origin::of(d) else {
        return Err(ManifestError::NoImage { release: d.release(), component });
    };
    Ok(format!("{registry}/{}{name}:{tag}", prefix(d)))
}

fn prefix(d: &Deployment) -> &str {
    d.file().images.prefix.as_deref().unwrap_or("clearwater-")
}

/// Where all images come from that have no place of their own.
pub(super) struct Origin {
    /// The registry with its path.
    pub(super) registry: String,
    pub(super) tag: String,
}

impl Origin {
    pub(super) fn of(d: &Deployment) -> Option<Self> {
        let images = &d.file().images;
        let hunter = d.release() == Release::Hunter;
        let registry = images.registry.as_deref().or(hunter.then_some("docker.io/ollivier"))?;
        let tag = images.tag.as_deref().or(hunter.then_some("hunter"))?;
        let registry = mirrored(d, &format!("{}/", registry.trim_end_matches('/')));
        Some(Self { registry: registry.trim_end_matches('/').to_owned(), tag: tag.to_owned() })
    }

    /// The name of a component's image there; none where it has a place or a digest of its own.
    pub(super) fn name(d: &Deployment, component: Component) -> Option<String> {
        let file = d.file();
        let own = file.components.get(&component).is_some_and(|o| o.image.is_some());
        let name = entry(d.release(), component)?.image;
        let shared = !own && !name.contains('/') && !file.images.digests.contains_key(&component);
        shared.then(|| format!("{}{name}", prefix(d)))
    }
}

fn mirrored(d: &Deployment, reference: &str) -> String {
    match d.file().images.mirror.as_deref() {
        Some(mirror) => format!("{}/{}", mirror.trim_end_matches('/'), without_host(reference)),
        None => reference.to_owned(),
    }
}

/// The reference without its registry's host. The first part is a host where it could not be a path: it has a dot or a
/// port, or is `localhost` (distribution/reference `normalize.go`).
fn without_host(reference: &str) -> &str {
    match reference.split_once('/') {
        Some((host, path)) if host.contains(['.', ':']) || host == "localhost" => path,
        _ => reference,
    }
}
