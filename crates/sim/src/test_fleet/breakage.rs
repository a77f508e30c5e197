//! Breaking things: power, messages, streams, and nodes with flaws.

use std::rc::Rc;

use lighter_engine::StreamId;
use lighter_wire::Announcement;

use super::TestFleet;
use crate::faults::Flaw;
use crate::fleet::{LOST, gossip_bytes};
use crate::scenario::Gossip;

impl TestFleet {
    /// The power of a node goes: nothing in memory survives. The other nodes notice at once.
    pub fn kill(&mut self, node: usize) {
        self.fleet.nodes[node].stop();
        self.fleet.notice(node);
        self.look();
    }

    pub fn add_flaw(&mut self, node: usize, flaw: impl Flaw + 'static) {
        self.fleet.trouble.add_flaw(node, Rc::new(flaw));
    }

    /// Sets the percentages of announcements that gossip loses, repeats and delays from now on.
    pub fn set_gossip(&mut self, lost_percent: u64, repeated_percent: u64, late_percent: u64) {
        self.fleet.trouble.gossip = Gossip { lost_percent, repeated_percent, late_percent };
    }

    /// How many of all questions get lost from now on.
    pub fn lose_asks(&mut self, percent: u64) {
        self.fleet.trouble.asks_lost_percent = percent;
    }

    /// How many of the questions for sketches get lost from now on.
    pub fn lose_sketch_asks(&mut self, percent: u64) {
        self.fleet.trouble.sketch_asks_lost_percent = percent;
    }

    /// A stream breaks.
    pub fn break_stream(&mut self, id: StreamId) {
        self.fleet.end_stream(id, Err(LOST));
        self.look();
    }

    /// Announces something in the name of a node.
    pub fn announce_as(&mut self, node: usize, announcement: &Announcement) {
        for other in (0..self.len()).filter(|other| *other != node) {
            self.gossip(node, other, announcement);
        }
    }

    pub(super) fn gossip(&mut self, node: usize, other: usize, announcement: &Announcement) {
        if self.is_online(other) {
            self.fleet.gossip(node, other, gossip_bytes(announcement), announcement);
        }
    }
}
