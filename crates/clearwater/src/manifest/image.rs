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
    let images = &d.file().images;
    let name = entry(d.release(), component).map_or(component.name(), |e| e.image);
    let reference = if name.contains('/') {
        name.to_owned()
    } else {
        let hunter = d.release() == Release::Hunter;
        let registry = images.registry.as_deref().or(hunter.then_some("docker.io/ollivier"));
        let tag = images.tag.as_deref().or(hunter.then_some("hunter"));
        let (Some(registry), Some(tag)) = (registry, tag) else {
            return Err(ManifestError::NoImage { release: d.release(), component });
        };
        let prefix = images.prefix.as_deref().unwrap_or("clearwater-");
        format!("{}/{prefix}{name}:{tag}", registry.trim_end_matches('/'))
    };
    Ok(match images.mirror.as_deref() {
        Some(mirror) => format!("{}/{}", mirror.trim_end_matches('/'), without_host(&reference)),
        None => reference,
    })
}

/// The reference without its registry's host. The first part is a host where it could not be a path: it has a dot or a
/// port, or is `localhost` (distribution/reference `normalize.go`).
fn without_host(reference: &str) -> &str {
    match reference.split_once('/') {
        Some((host, path)) if host.contains(['.', ':']) || host == "localhost" => path,
        _ => reference,
    }
}
