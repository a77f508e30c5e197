//! The headers, in memory, of patches whose payloads come from the layer itself (`headers`).
//!
//! A header is as cheap to make again as the layer is to read, or to compress quickly. So the oldest one gives way, and
//! none outlives the process. The engine is told of each that goes, as of a cached patch.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use lighter_patch::Header;
use lighter_types::PatchId;

/// Headers that are held: 42 bytes for each MiB of layer.
const VIEWS_MAX: usize = 64;

/// All such patches, the latest last.
#[derive(Default)]
pub struct Views(Mutex<VecDeque<Arc<Header>>>);

impl Views {
    /// Adds a patch, and returns the one that gives way for it.
    pub fn add(&self, header: Header) -> Option<PatchId> {
        let mut headers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        headers.retain(|held| held.id() != header.id());
        headers.push_back(Arc::new(header));
        if headers.len() > VIEWS_MAX { headers.pop_front().map(|oldest| oldest.id()) } else { None }
    }

    /// Forgets a patch whose layer is not what it was.
    pub fn remove(&self, patch: PatchId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|header| header.id() != patch);
    }

    pub fn get(&self, patch: PatchId) -> Option<Arc<Header>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().find(|header| header.id() == patch).cloned()
    }
}

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;

    use lighter_patch::{Settings, Source, plain_header};
    use lighter_types::DiffId;

    use super::*;

    fn header(name: u8) -> Header {
        let target = Source { diff_id: DiffId::new([name; 32]), bytes: &&[name][..] };
        plain_header(&target, &Settings::default(), &|_| ControlFlow::Continue(())).unwrap()
    }

    #[test]
    fn the_oldest_view_gives_way_and_is_named() {
        let views = Views::default();
        let first = header(0);
        assert_eq!(views.add(first.clone()), None);
        assert_eq!(views.add(first.clone()), None, "the same patch again is no other");
        for name in 1..VIEWS_MAX as u8 {
            assert_eq!(views.add(header(name)), None);
        }
        assert!(views.get(first.id()).is_some());
        assert_eq!(views.add(header(200)), Some(first.id()));
        assert!(views.get(first.id()).is_none());
        assert!(views.get(header(200).id()).is_some());
    }
}
