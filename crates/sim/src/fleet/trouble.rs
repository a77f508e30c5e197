//! The troubles of a fleet: messages that get lost or come late, and nodes with flaws.

use std::collections::BTreeMap;
use std::rc::Rc;

use lighter_wire::Request;

use crate::faults::Flaw;
use crate::queue::Micros;
use crate::random::Random;
use crate::scenario::Gossip;

/// A late announcement comes so much later at most.
const LATE: Micros = 10_000_000;

pub struct Trouble {
    pub gossip: Gossip,
    /// The share of all questions.
    pub asks_lost_percent: u64,
    /// The share of the questions for sketches, beside the others.
    pub sketch_asks_lost_percent: u64,
    /// By node; most nodes have none.
    flaws: BTreeMap<usize, Vec<Rc<dyn Flaw>>>,
    random: Random,
}

impl Trouble {
    pub fn new(gossip: Gossip, flaws: BTreeMap<usize, Vec<Rc<dyn Flaw>>>, seed: u64) -> Self {
        let random = Random::new(seed ^ 0x5111);
        Self { gossip, asks_lost_percent: 0, sketch_asks_lost_percent: 0, flaws, random }
    }

    pub fn flaws_of(&self, node: usize) -> &[Rc<dyn Flaw>] {
        self.flaws.get(&node).map_or(&[], Vec::as_slice)
    }

    pub fn add_flaw(&mut self, node: usize, flaw: Rc<dyn Flaw>) {
        self.flaws.entry(node).or_default().push(flaw);
    }

    /// How often an announcement arrives: not at all, once, or twice.
    pub fn copies(&mut self) -> u32 {
        if self.random.happens(self.gossip.lost_percent * 10) {
            0
        } else {
            1 + u32::from(self.random.happens(self.gossip.repeated_percent * 10))
        }
    }

    /// How much later than others an announcement is sent, if it is.
    pub fn delay(&mut self) -> Option<Micros> {
        let is_late = self.random.happens(self.gossip.late_percent * 10);
        is_late.then(|| self.random.below(LATE))
    }

    /// Whether a question gets lost.
    pub fn loses(&mut self, request: &Request) -> bool {
        let sketches = if matches!(request, Request::Sketches(_)) { self.sketch_asks_lost_percent } else { 0 };
        self.random.happens(self.asks_lost_percent * 10) || self.random.happens(sketches * 10)
    }
}
