//! Nodes that send others far more than their engines ask for (`faults/floods.rs`).
//!
//! Half of the messages are questions for quotes, the other half requests for patches, each for a layer and from some
//! of the others. Nobody waits for the answers: they come to a life that the node does not have. A stream is closed
//! after some seconds.

use lighter_engine::{AskId, Input, PeerInput, StreamId};
use lighter_types::{BytesPerSecond, DiffId};
use lighter_wire::{Message, PatchRequest, Referable, Request, Terms};

use super::Fleet;
use super::due::Due;
use super::effects::STREAM_BYTES;
use super::node::peer;
use crate::queue::Micros;

const SECOND: Micros = 1_000_000;
/// A stream that nobody reads is closed after this.
const STREAM_LIFE: Micros = 10 * SECOND;
/// A life that no node has.
const NOBODY: u32 = u32::MAX;

impl Fleet {
    pub fn begin_flood(&mut self, node: usize) {
        if self.trouble.flaws_of(node).iter().any(|flaw| flaw.floods() > 0) {
            self.wires.after(SECOND, Due::Flood { node, life: self.nodes[node].life });
        }
    }

    /// Sends what the node sends in a second. A node that cut it off has closed the connection.
    pub fn flood(&mut self, node: usize, life: u32) {
        if self.nodes[node].life != life {
            return;
        }
        let messages = self.trouble.flaws_of(node).iter().map(|flaw| flaw.floods()).sum();
        let layers: Vec<DiffId> = self.content.cards.keys().copied().collect();
        for other in self.neighbours(node) {
            let is_cut_off = self.nodes[other].engine.is_cut_off(peer(node), self.wires.moment());
            if !is_cut_off && self.nodes[other].is_online && !self.are_parted(node, other) {
                (0..messages).for_each(|message| self.flood_with(node, other, message, &layers));
            }
        }
        self.wires.after(SECOND, Due::Flood { node, life });
    }

    /// One message of a flood.
    fn flood_with(&mut self, node: usize, other: usize, message: u32, layers: &[DiffId]) {
        let number = self.fresh_number();
        let place = |number: u64| (number % layers.len().max(1) as u64) as usize;
        let Some(&target) = layers.get(place(number)) else { return };
        // Each number stands for some of the layers.
        let choice = number / layers.len() as u64;
        let chosen =
            layers.iter().enumerate().filter(|(index, layer)| **layer != target && choice >> (index % 64) & 1 == 1);
        let bases: Vec<DiffId> = chosen.map(|(_, layer)| *layer).take(lighter_types::BASES_MAX).collect();
        let terms = Terms::default();
        if message.is_multiple_of(2) {
            let request = Request::Quote { target, bases, terms };
            let bytes = request.encode().map_or(0, |bytes| bytes.len() as u64) + STREAM_BYTES;
            let request = Box::new(request);
            return self.send(
                node,
                other,
                bytes,
                Due::Question { to: other, from: node, life: NOBODY, ask: AskId(0), request },
            );
        }
        let uplink = BytesPerSecond(1_000_000);
        let referable = (message % 4 == 1).then_some(Referable { uplink, passes_on: false });
        let request = PatchRequest { target, bases, have: None, resume: None, referable, terms };
        let bytes = request.encode().map_or(0, |bytes| bytes.len() as u64) + STREAM_BYTES;
        let stream = StreamId(number);
        let opened = PeerInput::StreamOpened { stream, from: peer(node), request };
        self.send_input(node, other, bytes, Input::Peer(opened));
        self.input_after(STREAM_LIFE, other, Input::Peer(PeerInput::StreamClosed(stream)));
    }
}
