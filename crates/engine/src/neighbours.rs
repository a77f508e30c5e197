//! The peers behind the same uplink: those that the operator listed, or those that name the same site.
//!
//! A peer's own word is enough only where the operator listed no neighbours. With a list, no other peer counts as a
//! neighbour, whatever it says (docs/decisions/0031-neighbours.md).
//!
//! A neighbour through which a layer was to come and did not is doubted for a while: its word does not count. So is any
//! source that sent nothing: others are asked first.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use lighter_types::{Moment, PeerId, SiteName};

use crate::settings::Settings;

/// The site of this node, and the peers that the operator says are of it; empty if peers are to say so themselves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Neighbours {
    pub site: Option<SiteName>,
    pub listed: BTreeSet<PeerId>,
}

impl Neighbours {
    /// The site of a peer that says that it is of this one.
    pub fn site_of(&self, peer: PeerId, said: Option<SiteName>) -> Option<SiteName> {
        if self.listed.is_empty() || self.site.is_none() {
            return said;
        }
        if self.listed.contains(&peer) {
            self.site.clone()
        } else {
            said.filter(|said| Some(said) != self.site.as_ref())
        }
    }
}

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

    fn site(name: &str) -> Option<SiteName> {
        name.parse().ok()
    }

    #[test]
    fn without_a_list_a_peer_is_where_it_says() {
        let neighbours = Neighbours { site: site("quay"), listed: BTreeSet::new() };
        assert_eq!(neighbours.site_of(peer(1), site("quay")), site("quay"));
        assert_eq!(neighbours.site_of(peer(1), None), None);
    }

    #[test]
    fn with_a_list_nobody_else_is_a_neighbour() {
        let neighbours = Neighbours { site: site("quay"), listed: [peer(1)].into() };
        assert_eq!(neighbours.site_of(peer(1), site("quay")), site("quay"));
        assert_eq!(neighbours.site_of(peer(1), site("dock")), site("quay"));
        assert_eq!(neighbours.site_of(peer(2), site("quay")), None);
        assert_eq!(neighbours.site_of(peer(2), site("dock")), site("dock"));
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
