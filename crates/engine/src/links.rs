//! The links to other nodes, as transfers showed them. They are kept over restarts.
//!
//! A transfer shows at least what the link can do: others may have shared it. So a higher rate counts for half at once,
//! and a lower one for three tenths.

use std::collections::BTreeMap;

use lighter_types::{BytesPerSecond, Link, PeerId};

use crate::settings::Settings;

/// The links that were measured.
#[derive(Debug, Default)]
pub struct Links {
    /// At most [`Settings::LINKS_MAX`], each with its turn.
    known: BTreeMap<PeerId, (u64, Link)>,
    /// Counts what was learned: the link with the lowest turn was not measured for the longest time.
    turn: u64,
}

impl Links {
    pub fn get(&self, peer: PeerId) -> Link {
        self.known.get(&peer).map(|(_, link)| *link).unwrap_or_default()
    }

    /// Takes up a link in place of what was known. Returns the peer that is forgotten for it.
    pub fn hold(&mut self, peer: PeerId, link: Link) -> Option<PeerId> {
        self.turn += 1;
        self.known.insert(peer, (self.turn, link));
        if self.known.len() <= Settings::LINKS_MAX {
            return None;
        }
        let oldest = self.known.iter().min_by_key(|(_, (turn, _))| *turn).map(|(&peer, _)| peer)?;
        self.known.remove(&oldest);
        Some(oldest)
    }

    /// A link as it is known after one more transfer.
    pub fn mixed(&self, peer: PeerId, seen: Link) -> Link {
        let old = self.get(peer);
        let lost = old.lost_per_mille.zip(seen.lost_per_mille);
        let lost =
            lost.map(|(old, new)| (old / 10).saturating_mul(7) + new / 10 * 3 + (old % 10 * 7 + new % 10 * 3) / 10);
        Link {
            down: mixed_rate(old.down, seen.down),
            up: mixed_rate(old.up, seen.up),
            round_trip: seen.round_trip.or(old.round_trip),
            lost_per_mille: lost.or(seen.lost_per_mille).or(old.lost_per_mille),
        }
    }
}

/// The rate after one more measurement.
pub fn mixed_rate(old: Option<BytesPerSecond>, seen: Option<BytesPerSecond>) -> Option<BytesPerSecond> {
    let (Some(old), Some(seen)) = (old, seen) else { return seen.or(old) };
    let mixed = if seen > old { old.0 / 2 + seen.0 / 2 } else { old.0 / 10 * 7 + seen.0 / 10 * 3 };
    Some(BytesPerSecond(mixed.max(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(number: u16) -> PeerId {
        let mut id = [0; 32];
        id[..2].copy_from_slice(&number.to_be_bytes());
        PeerId::new(id)
    }

    #[test]
    fn a_higher_rate_is_learned_sooner_than_a_lower_one() {
        assert_eq!(mixed_rate(None, rate(1000)), rate(1000));
        assert_eq!(mixed_rate(rate(1000), None), rate(1000));
        assert_eq!(mixed_rate(rate(1000), rate(3000)), rate(2000));
        assert_eq!(mixed_rate(rate(1000), rate(500)), rate(850));
        assert_eq!(mixed_rate(rate(0), rate(0)), rate(1));
        assert_eq!(mixed_rate(rate(u64::MAX), rate(u64::MAX - 1)).map(|rate| rate.0 > 1 << 63), Some(true));
    }

    fn rate(rate: u64) -> Option<BytesPerSecond> {
        Some(BytesPerSecond(rate))
    }

    #[test]
    fn figures_that_a_transfer_did_not_show_stay() {
        let mut links = Links::default();
        let first = Link { up: Some(BytesPerSecond(10)), lost_per_mille: Some(20), ..Link::default() };
        links.hold(peer(1), links.mixed(peer(1), first));
        let second = Link { down: Some(BytesPerSecond(30)), lost_per_mille: Some(10), ..Link::default() };
        let both = links.mixed(peer(1), second);
        assert_eq!(both, Link { down: second.down, lost_per_mille: Some(17), ..first });
    }

    #[test]
    fn over_the_cap_the_link_goes_that_was_not_measured_for_the_longest_time() {
        let mut links = Links::default();
        for number in 0..Settings::LINKS_MAX as u16 {
            assert_eq!(links.hold(peer(number), Link::default()), None);
        }
        links.hold(peer(0), Link::default());
        assert_eq!(links.hold(peer(u16::MAX), Link::default()), Some(peer(1)));
    }
}
