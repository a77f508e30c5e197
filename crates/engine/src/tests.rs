//! One engine, step by step: an input goes in, and the effects of this step are looked at. Nothing performs them.
//!
//! The virtual fleet tests many engines together, over time and with failures (`crates/sim/tests/engine`).

mod floods;
mod listed;
mod pulls;
mod referrals;
mod site;
mod sizes;
pub(crate) mod sketches;
mod steps;

use lighter_types::{Bytes, Card, DiffId, Moment, PeerId, Tlsh};
use lighter_wire::{PatchRequest, Terms};

use crate::{Effect, Engine, Input};

/// Gives the engine one input, and returns the effects.
fn step(engine: &mut Engine, now: u64, input: Input) -> Vec<Effect> {
    let mut effects = Vec::new();
    engine.step(Moment(now), input, &mut effects);
    effects
}

fn peer(number: u8) -> PeerId {
    PeerId::new([number; 32])
}

/// A layer of `mib` MiB; layers of one `family` are alike, `release` tells them apart.
fn layer(family: u8, release: u8, mib: u64) -> Card {
    let mut id = [family; 32];
    id[1] = release;
    let mut tlsh = [family.wrapping_mul(0x35); 35];
    tlsh[34] = release;
    let bytes = Bytes::MIB.times(mib);
    Card {
        diff_id: DiffId::new(id),
        tar_bytes: bytes,
        compressed_bytes: Bytes(bytes.0 / 2),
        tlsh: Some(Tlsh::new(tlsh)),
    }
}

fn old() -> Card {
    layer(1, 1, 40)
}

fn new() -> Card {
    layer(1, 2, 40)
}

/// A request for a whole layer or a patch, as a peer would send it.
fn request(target: DiffId, bases: &[DiffId]) -> PatchRequest {
    PatchRequest { target, bases: bases.to_vec(), have: None, resume: None, referable: None, terms: Terms::default() }
}
