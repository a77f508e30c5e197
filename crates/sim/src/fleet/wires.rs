//! The clock and the queue of a fleet, and the links that its messages cross.

use lighter_engine::Input;
use lighter_types::Moment;

use super::due::Due;
use crate::links::Links;
use crate::network::Network;
use crate::queue::Micros;
use crate::topology::Topology;

/// The engines' moment at the beginning of a run. Not 0: an engine may look back.
const BEGINNING: Moment = Moment(1_000_000);

pub struct Wires {
    pub network: Network<Due>,
    pub links: Links,
    /// Boxes to be used anew: most of what a fleet would allocate otherwise.
    #[expect(clippy::vec_box, reason = "the boxes are what is kept")]
    boxes: Vec<Box<Input>>,
}

impl Wires {
    pub fn new(topology: &Topology) -> Self {
        let mut network = Network::new(topology.pulls.len());
        let links = Links::new(topology, &mut network);
        Self { network, links, boxes: Vec::new() }
    }

    pub fn now(&self) -> Micros {
        self.network.now
    }

    /// The engines' time.
    pub fn moment(&self) -> Moment {
        Moment(BEGINNING.0 + self.network.now / 1000)
    }

    pub fn at(&mut self, at: Micros, due: Due) {
        self.network.due(at, due);
    }

    pub fn after(&mut self, delay: Micros, due: Due) {
        self.network.due(self.network.now + delay, due);
    }

    /// A node of this life gets an input after `delay`.
    pub fn input_after(&mut self, delay: Micros, node: usize, life: u32, input: Input) {
        let input = self.boxed(input);
        self.after(delay, Due::Input { node, life, input });
    }

    /// Wakes a node at one of its engine's moments.
    pub fn wake_at(&mut self, node: usize, at: Moment) {
        let at = at.0.saturating_sub(BEGINNING.0).saturating_mul(1000);
        self.network.due(at, Due::Wake(node));
    }

    /// Puts an input into a box that was used before, if there is one.
    pub fn boxed(&mut self, input: Input) -> Box<Input> {
        match self.boxes.pop() {
            Some(mut empty) => {
                *empty = input;
                empty
            }
            None => Box::new(input),
        }
    }

    /// Takes an input out of its box, and keeps the box.
    pub fn unboxed(&mut self, mut input: Box<Input>) -> Input {
        let content = std::mem::replace(&mut *input, Input::Tick);
        self.boxes.push(input);
        content
    }
}
