//! The digest of a list of layers, by which two nodes find out that they have the same list without sending it.
//!
//! The digest is the sum of the first 16 bytes of all DiffIds, as little-endian numbers modulo 2^128. The order does
//! not matter, and one layer more or less is one addition. DiffIds are sha256 digests, so lists that differ by chance
//! have different digests. Somebody who chooses the layers of a peer can make lists of one digest. That gains nothing:
//! a node that believes a wrong list asks a peer for a layer that the peer does not have. Only ids count: the other
//! fields of a card follow from the layer.

use lighter_types::DiffId;

/// The digest of a list of layers. That of the empty list is zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ListDigest(u128);

impl ListDigest {
    pub const BYTES: usize = 16;

    pub fn add(&mut self, layer: DiffId) {
        self.0 = self.0.wrapping_add(term(layer));
    }

    pub fn remove(&mut self, layer: DiffId) {
        self.0 = self.0.wrapping_sub(term(layer));
    }

    pub fn to_bytes(self) -> [u8; Self::BYTES] {
        self.0.to_le_bytes()
    }

    pub fn from_bytes(bytes: [u8; Self::BYTES]) -> Self {
        Self(u128::from_le_bytes(bytes))
    }
}

impl FromIterator<DiffId> for ListDigest {
    fn from_iter<T: IntoIterator<Item = DiffId>>(layers: T) -> Self {
        let mut digest = Self::default();
        layers.into_iter().for_each(|layer| digest.add(layer));
        digest
    }
}

fn term(layer: DiffId) -> u128 {
    u128::from_le_bytes(*layer.as_bytes().first_chunk().unwrap_or(&[0; ListDigest::BYTES]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_that_of_the_set_whatever_the_way_to_it() {
        let [one, two, three] = [1, 2, 9].map(|byte| DiffId::new([byte; 32]));
        let mut digest: ListDigest = [two, three].into_iter().collect();
        digest.add(one);
        digest.remove(three);
        assert_eq!(digest, [one, two].into_iter().collect());
        digest.remove(two);
        digest.remove(one);
        assert_eq!(digest, ListDigest::default());
    }

    #[test]
    fn a_digest_is_the_sum_of_the_first_halves() {
        let mut carried = [0; 16];
        carried[0] = 0xfe;
        carried[1..].fill(0xff);
        let digest: ListDigest = [DiffId::new([0xff; 32]); 2].into_iter().collect();
        assert_eq!(digest.to_bytes(), carried);
        assert_eq!(ListDigest::from_bytes(carried), digest);
    }
}
