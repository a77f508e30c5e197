//! The tar sizes that a publisher signs, against the layers that are here.

use lighter_types::{Bytes, OciDigest};
use lighter_wire::{Bounds, Release, SIGNATURE_BYTES, SignedRelease};

use super::{new, old, peer, step};
use crate::input::{DiskInput, Input, OperatorInput, WorkInput};
use crate::*;

fn release(tar_bytes: Vec<Bytes>) -> SignedRelease {
    let (reference, manifest) = ("demo/app:1".parse().unwrap(), OciDigest::new([1; 32]));
    let bounds = Some(Bounds { tar_bytes, expires_s: None });
    let release = Release { reference, manifest, issued_s: 7, companions: None, bounds };
    SignedRelease { release, publisher: peer(9), signature: [0; SIGNATURE_BYTES], cosignatures: Vec::new() }
}

/// The effects of the step in which the layers of a pulled image become known. Two of them are held.
fn pull(tar_bytes: Vec<Bytes>) -> Vec<Effect> {
    let mut engine = Engine::new(Settings::default());
    for card in [old(), new()] {
        step(&mut engine, 1, Input::Disk(DiskInput::LayerHeld { card, sketch: None }));
    }
    let release = release(tar_bytes);
    let wanted = Wanted::Name { reference: release.release.reference.clone(), known: Some(release) };
    step(&mut engine, 1, Input::Operator(OperatorInput::PullAsked { pull: PullId(1), wanted }));
    step(&mut engine, 1_000_000, Input::Tick);
    let read = ImageRead::layers(vec![old().diff_id, new().diff_id]);
    step(&mut engine, 1_000_001, Input::Work(WorkInput::ImageRead { pull: PullId(1), read }))
}

fn is_committed(effects: &[Effect]) -> bool {
    effects.iter().any(|effect| matches!(effect, Effect::CommitImage { .. }))
}

fn is_refused(effects: &[Effect], expected: UnusableImage) -> bool {
    let report = Report::Failed { why: PullFailure::Unusable(expected) };
    effects.contains(&Effect::Report { pull: PullId(1), report }) && !is_committed(effects)
}

#[test]
fn an_image_whose_layers_have_the_signed_sizes_is_committed() {
    assert!(is_committed(&pull(vec![old().tar_bytes, new().tar_bytes])));
    // Items behind the signed layers have no signed size.
    assert!(is_committed(&pull(vec![old().tar_bytes])));
}

#[test]
fn a_held_layer_of_another_size_than_signed_names_its_publisher() {
    let (publisher, found) = (peer(9), new().tar_bytes);
    let signed = Bytes(found.0 + 1);
    let expected = UnusableImage::WrongSize { publisher, layer: new().diff_id, signed, found };
    assert!(expected.to_string().contains(&publisher.to_string()), "{expected}");
    assert!(is_refused(&pull(vec![old().tar_bytes, signed]), expected));
}

#[test]
fn sizes_of_more_layers_than_the_image_has_are_refused() {
    let expected = UnusableImage::WrongCount { publisher: peer(9), signed: 3, found: 2 };
    assert!(is_refused(&pull(vec![old().tar_bytes, new().tar_bytes, Bytes(1)]), expected));
}
