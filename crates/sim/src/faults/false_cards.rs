//! Nodes that tell others false facts about their layers: the TLSH digest of something else, and next to no size.

use lighter_types::{Bytes, Card, Tlsh};

use super::Flaw;
use super::per_site::PerSite;

pub type FalseCards = PerSite<Misdescribing>;

/// A node that tells wrong cards.
#[derive(Clone, Debug, Default)]
pub struct Misdescribing;

impl Flaw for Misdescribing {
    fn card(&self, card: Card) -> Card {
        let tlsh = card.tlsh.map(|tlsh| {
            let mut bytes = *tlsh.as_bytes();
            bytes.reverse();
            Tlsh::new(bytes)
        });
        Card { tlsh, compressed_bytes: Bytes(1), ..card }
    }
}
