//! The have-lists of the requesters that wait for a patch of this node.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use lighter_patch::HaveList;
use lighter_types::{DiffId, PeerId};

use crate::shares::{Share, Shares};

/// All lists. Each lasts as long as its stream, or as an encode that reads it.
pub struct Lists {
    kept: Mutex<HashMap<DiffId, Weak<HaveList>>>,
    places: Shares,
}

/// Streams that may have a list at a time; one takes up to 0.9 MB.
const LISTS_MAX: usize = 64;
/// A peer may have one in so many of the places that are free: seven, if nobody else has any. A node fetches three
/// layers at a time, and the engine serves a peer four.
const PART_OF_A_PEER: usize = 8;

impl Default for Lists {
    fn default() -> Self {
        Self { kept: Mutex::default(), places: Shares::new(LISTS_MAX, PART_OF_A_PEER) }
    }
}

impl Lists {
    /// A place for the list of one stream of this peer, to be held until that is over; `None` if there are too many.
    pub fn place(&self, peer: PeerId) -> Option<Share> {
        self.places.take(peer, 1)
    }

    /// The list, for as long as what is returned is held.
    pub fn keep(&self, list: Arc<HaveList>) -> Arc<HaveList> {
        let mut lists = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        lists.retain(|_, list| list.strong_count() > 0);
        let kept = lists.get(&list.id()).and_then(Weak::upgrade).unwrap_or(list);
        lists.insert(kept.id(), Arc::downgrade(&kept));
        kept
    }

    pub fn get(&self, name: &DiffId) -> Option<Arc<HaveList>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).get(name)?.upgrade()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_that_holds_many_streams_open_leaves_places_for_the_others() {
        let (lists, loud) = (Lists::default(), PeerId::new([1; 32]));
        let held: Vec<Option<Share>> = (0..70).map(|_| lists.place(loud)).collect();
        assert_eq!(held.iter().flatten().count(), 7);
        let others = (2..12).map(|name| lists.place(PeerId::new([name; 32]))).collect::<Option<Vec<Share>>>();
        assert!(others.is_some());
    }

    #[test]
    fn a_list_lasts_as_long_as_somebody_waits() {
        let list = Arc::new(HaveList::of(&[&vec![5u8; 1000]], 1).unwrap());
        let (lists, name) = (Lists::default(), list.id());
        let first = lists.keep(list.clone());
        let second = lists.keep(Arc::new((*list).clone()));
        assert!(Arc::ptr_eq(&first, &second), "one for both");
        drop((list, first));
        assert!(lists.get(&name).is_some());
        drop(second);
        assert!(lists.get(&name).is_none());
    }
}
