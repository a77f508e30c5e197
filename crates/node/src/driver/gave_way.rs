//! The releases that gave way since the node started, for the log, the metrics and the status.

use std::collections::VecDeque;

use lighter_store::{LayerCopy, Store};

use crate::api;
use crate::clock::unix_now;

/// Releases that the status lists.
const LISTED_MAX: usize = 16;

#[derive(Default)]
pub struct GaveWay {
    pub count: u64,
    /// The last of them, at most [`LISTED_MAX`].
    last: VecDeque<api::GaveWay>,
}

impl GaveWay {
    /// Takes what gave way out of the store.
    pub fn take(&mut self, store: &Store) {
        self.add(store.take_gave_way());
        for LayerCopy { copy, of, .. } in store.take_copies_gone() {
            tracing::info!(blob = %copy, layer = %of, "a kept blob gave way: the store needed its room");
        }
    }

    fn add(&mut self, releases: Vec<lighter_store::GaveWay>) {
        for lighter_store::GaveWay { reference, manifest } in releases {
            tracing::info!(image = %reference, %manifest, "a release gave way: the store needed its room");
            self.count += 1;
            self.last.truncate(LISTED_MAX - 1);
            self.last.push_front(api::GaveWay { reference, manifest, at_s: unix_now().0 });
        }
    }

    /// The last ones, newest first.
    pub fn last(&self) -> Vec<api::GaveWay> {
        self.last.iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use lighter_types::OciDigest;

    use super::*;

    #[test]
    fn all_are_counted_and_the_last_are_listed() {
        let mut gave_way = GaveWay::default();
        let release = |n: usize| {
            let reference = format!("demo/app:{n}").parse().unwrap();
            lighter_store::GaveWay { reference, manifest: OciDigest::new([1; 32]) }
        };
        gave_way.add((0..15).map(release).collect());
        gave_way.add((15..40).map(release).collect());
        let tags: Vec<String> = gave_way.last().iter().map(|release| release.reference.tag().to_owned()).collect();
        let expected: Vec<String> = (24..40).rev().map(|n: usize| n.to_string()).collect();
        assert_eq!((gave_way.count, tags), (40, expected));
    }
}
