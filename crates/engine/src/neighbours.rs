//! The peers behind the same uplink: those that the operator listed, or those that name the same site.
//!
//! A peer's own word is enough only where the operator listed no neighbours. With a list, no other peer counts as a
//! neighbour, whatever it says (docs/decisions/0031-neighbours.md).

use std::collections::BTreeSet;

use lighter_types::{PeerId, SiteName};

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
}
