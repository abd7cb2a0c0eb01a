use super::size::{Size, components};
use crate::component::Release;

/// A deployment file that says what can be chosen. It has no title, and names no program: who writes it down puts above it
/// what to do with the file.
///
/// It deploys the release with every default, or with the counts and resources that are recommended for a size. For classic
/// it has example images, which must be replaced.
pub fn starter(release: Release, size: Option<Size>) -> String {
    let text = include_str!("starter.yaml");
    let sized = size.and_then(|size| {
        let (before, rest) = text.split_once("#components:\n")?;
        let (_, after) = rest.split_once("\n\n")?;
        Some(format!("{before}{}\n{after}", components(release, size)))
    });
    let text = sized.as_deref().unwrap_or(text);
    if release != Release::Classic {
        return text.to_owned();
    }
    text.replace("\nrelease: hunter\n", "\nrelease: classic\n")
        .replace("etcd, astaire, cassandra, chronos, homestead, homestead-prov, homer", "etcd, memcached, cassandra, chronos, homestead, homer")
        .replace(
            "\n#images:\n#  registry: docker.io/ollivier\n#  prefix: clearwater-\n#  tag: hunter\n",
            "\n# Nobody publishes these images: name the registry that holds yours.\nimages:\n  registry: registry.example.com/clearwater\n#  prefix: clearwater-\n  tag: latest\n",
        )
        .replace(
            "\n# How phones reach Bono.",
            "\n# How the names below sprout (icscf.sprout, scscf.sprout) come into DNS: auto (pods), pods, coredns, etcd, endpoints\n# or print.\n#dns:\n#  backend: coredns\n\n# How Services answer: headless, or clusterIP with one virtual address each, as in the article.\n#services: clusterIP\n#clusterIPs: {sprout: [10.96.0.10]}\n\n# How phones reach Bono.",
        )
}
