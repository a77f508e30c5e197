//! Peers whose word does not count for a while: a neighbour through which a layer was to come and did not, and any
//! source that sent nothing. Others are asked first.

use std::collections::BTreeMap;
use std::time::Duration;

use lighter_types::{Moment, PeerId};

use crate::settings::Settings;

/// Peers from which or through which a layer was to come, and did not.
#[derive(Debug, Default)]
pub struct Doubts(BTreeMap<PeerId, Doubt>);

/// For how long a peer is doubted, and how often it was.
#[derive(Clone, Copy, Debug)]
struct Doubt {
    until: Moment,
    times: u32,
}

impl Doubts {
    pub fn contains(&self, peer: PeerId, now: Moment) -> bool {
        self.0.get(&peer).is_some_and(|doubt| doubt.until > now)
    }

    /// A layer did not come from this peer: doubted twice as long as the last time.
    pub fn add(&mut self, peer: PeerId, now: Moment) {
        if self.0.len() >= Settings::DOUBTS_MAX && !self.0.contains_key(&peer) {
            let first = self.0.iter().min_by_key(|(_, doubt)| doubt.until).map(|(&peer, _)| peer);
            first.map(|first| self.0.remove(&first));
        }
        let doubt = self.0.entry(peer).or_insert(Doubt { until: now, times: 0 });
        let lasting: Duration = Settings::DOUBT * (1 << doubt.times.min(Settings::DOUBT_DOUBLINGS));
        (doubt.until, doubt.times) = (now + lasting, doubt.times + 1);
    }

    /// A layer came from this peer.
    pub fn remove(&mut self, peer: PeerId) {
        self.0.remove(&peer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn peer(number: u8) -> PeerId {
        PeerId::new([number; 32])
    }

    #[test]
    fn a_doubt_lasts_longer_each_time_and_ends_when_a_layer_comes() {
        let mut doubts = Doubts::default();
        let mut now = Moment(0);
        for lasts in [10, 20, 40] {
            doubts.add(peer(1), now);
            assert!(doubts.contains(peer(1), now + Duration::from_secs(lasts * 60 - 1)));
            now = now + Duration::from_secs(lasts * 60);
            assert!(!doubts.contains(peer(1), now));
        }
        doubts.add(peer(1), now);
        doubts.remove(peer(1));
        assert!(!doubts.contains(peer(1), now));
    }

    #[test]
    fn over_the_cap_the_doubt_goes_that_ends_first() {
        let mut doubts = Doubts::default();
        let number = |number: u16| {
            let mut id = [0; 32];
            id[..2].copy_from_slice(&number.to_be_bytes());
            PeerId::new(id)
        };
        for peer in 0..=Settings::DOUBTS_MAX as u16 {
            doubts.add(number(peer), Moment(peer.into()));
        }
        assert!(!doubts.contains(number(0), Moment(1)) && doubts.contains(number(1), Moment(1)));
    }
}
