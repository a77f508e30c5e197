//! The ranges of the bases that the pieces of long contents are matched with.
//!
//! They are found once for contents that are matched several times: by a coarse search and a fine one, and for several
//! efforts.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use super::samples::Extent;

/// A range that a piece is matched with, and whether it is one of those that the piece resembles most.
#[derive(Debug, PartialEq, Eq)]
pub struct Region {
    pub extent: Extent,
    pub is_near: bool,
}

/// For each piece of some contents, its ranges in the order of their places, without overlap.
pub type Found = Arc<Vec<Vec<Region>>>;

/// The ranges that were found. All clones know the same ones.
#[derive(Clone, Default)]
pub struct Regions {
    /// By the starts of the contents in the target.
    found: Arc<Mutex<BTreeMap<Vec<u64>, Found>>>,
}

impl Regions {
    /// The ranges for the pieces of the contents with these starts.
    ///
    /// # Errors
    /// Those of `find`, which is called if the ranges are not known.
    pub fn of(&self, starts: Vec<u64>, find: impl FnOnce() -> io::Result<Vec<Vec<Region>>>) -> io::Result<Found> {
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = found.get(&starts) {
            return Ok(Arc::clone(known));
        }
        let new = Arc::new(find()?);
        found.insert(starts, Arc::clone(&new));
        Ok(new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_contents_are_looked_for_once() {
        let regions = Regions::default();
        let extent = |at| vec![vec![Region { extent: Extent { base: 0, range: at..at + 1 }, is_near: true }]];
        assert_eq!(*regions.of(vec![1, 2], || Ok(extent(5))).unwrap(), extent(5));
        assert_eq!(*regions.clone().of(vec![1, 2], || panic!("known")).unwrap(), extent(5));
        assert_eq!(*regions.of(vec![2], || Ok(extent(7))).unwrap(), extent(7));
        assert!(regions.of(vec![3], || Err(io::ErrorKind::UnexpectedEof.into())).is_err());
        assert_eq!(*regions.of(vec![3], || Ok(extent(9))).unwrap(), extent(9));
    }
}
