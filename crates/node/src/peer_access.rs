//! Which documents and layers a peer gets from this node, by the members of the policies.
//!
//! The check stands before the engine: a question or a stream that asks for what its sender may not have is answered
//! as if the node did not hold it. Without a policy that leaves the sender out, nothing is looked up. With one, the
//! sender gets what an image names that it may have; so nothing of an image that is on its way, or that has no name.
//! That a layer is held, and how large it is, every member hears by gossip.

use std::collections::BTreeSet;

use lighter_types::{DiffId, ImageReference, OciDigest, PeerId};
use lighter_wire::{Answer, Arrival, ImageName, Refusal, Request};

use crate::config::Registry;
use crate::shared::Shared;

/// The part of this node's images that a member may have.
#[derive(Debug, Default, PartialEq, Eq)]
struct Allowed {
    documents: BTreeSet<OciDigest>,
    layers: BTreeSet<DiffId>,
}

/// The part of a peer's question that it may ask; else the answer.
pub fn admit(shared: &Shared, from: PeerId, request: Request) -> Result<Request, Answer> {
    let registry = &shared.config.registry;
    if !is_limited(registry, from) {
        return Ok(request);
    }
    let allowed = allowed(registry, from, images(shared));
    let not_held = || Err(Answer::Refused(Refusal::NotHeld));
    match request {
        Request::Holdings { .. } => Ok(request),
        Request::Quote { target, .. } if !allowed.layers.contains(&target) => not_held(),
        Request::Arrival { target, .. } if !allowed.layers.contains(&target) => Err(Answer::Arrival(Arrival::No)),
        Request::Blob { digest, .. } if !allowed.documents.contains(&digest) => not_held(),
        Request::Image(image) => {
            let may_have = match &image.name {
                ImageName::Reference(name) => registry.policy(name.repository()).may_have(from),
                ImageName::Manifest(digest) => allowed.documents.contains(digest),
            };
            if may_have { Ok(Request::Image(image)) } else { not_held() }
        }
        Request::Sketches(layers) => {
            // Each entry of the answer belongs to one of the question.
            let nothing = DiffId::new([0; 32]);
            let layers = layers.into_iter();
            let asked = layers.map(|layer| if allowed.layers.contains(&layer) { layer } else { nothing });
            Ok(Request::Sketches(asked.collect()))
        }
        Request::Quote { .. } | Request::Arrival { .. } | Request::Blob { .. } => Ok(request),
    }
}

/// Whether a peer may have a patch for a layer.
pub fn may_have_layer(shared: &Shared, from: PeerId, layer: DiffId) -> bool {
    let registry = &shared.config.registry;
    !is_limited(registry, from) || allowed(registry, from, images(shared)).layers.contains(&layer)
}

/// Whether a policy leaves the member out.
fn is_limited(registry: &Registry, member: PeerId) -> bool {
    registry.policy.iter().any(|policy| !policy.may_have(member))
}

fn images(shared: &Shared) -> impl Iterator<Item = (ImageReference, lighter_store::Image)> {
    shared.store.references().into_iter()
}

/// The member may have all that an image of a repository names whose policy does not leave it out. An image that was
/// pulled by digest alone may be of any repository, so it gives no right to anything.
fn allowed(
    registry: &Registry,
    member: PeerId,
    images: impl Iterator<Item = (ImageReference, lighter_store::Image)>,
) -> Allowed {
    let mut allowed = Allowed::default();
    for (reference, image) in images {
        let repository = reference.repository();
        if repository.starts_with("sha256/") || !registry.policy(repository).may_have(member) {
            continue;
        }
        allowed.documents.extend([image.manifest, image.config]);
        allowed.layers.extend(image.layers);
    }
    allowed
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::policy::Policy;

    const ALLOWED: PeerId = PeerId::new([1; 32]);
    const OTHER: PeerId = PeerId::new([2; 32]);

    fn registry() -> Registry {
        let policy = Policy {
            repositories: vec!["registry.example/secret/*".parse().unwrap()],
            members: vec![ALLOWED],
            ..Policy::default()
        };
        Registry { policy: vec![policy], ..Registry::default() }
    }

    fn image(name: &str, first: u8, layers: &[u8]) -> (ImageReference, lighter_store::Image) {
        let image = lighter_store::Image {
            manifest: OciDigest::new([first; 32]),
            config: OciDigest::new([first + 1; 32]),
            layers: layers.iter().map(|layer| DiffId::new([*layer; 32])).collect(),
            release_record: Vec::new(),
        };
        (name.parse().unwrap(), image)
    }

    #[test]
    fn a_member_that_no_policy_leaves_out_is_not_limited() {
        assert!(!is_limited(&registry(), ALLOWED) && is_limited(&registry(), OTHER));
        assert!(!is_limited(&Registry::default(), OTHER));
    }

    #[test]
    fn a_layer_that_an_allowed_image_names_too_is_allowed() {
        let images = [
            image("registry.example/secret/app:1", 10, &[1, 2]),
            image("registry.example/open/app:1", 20, &[2, 3]),
            image(&format!("sha256/{}:latest", "ab".repeat(32)), 30, &[1, 4]),
        ];
        let found = allowed(&registry(), OTHER, images.clone().into_iter());
        let layers: Vec<DiffId> = [2, 3].map(|layer| DiffId::new([layer; 32])).to_vec();
        assert_eq!(found.layers.into_iter().collect::<Vec<_>>(), layers);
        let documents: Vec<OciDigest> = [20, 21].map(|digest| OciDigest::new([digest; 32])).to_vec();
        assert_eq!(found.documents.into_iter().collect::<Vec<_>>(), documents);
    }
}
