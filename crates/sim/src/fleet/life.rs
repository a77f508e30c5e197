//! Nodes start and stop, and links change.

use lighter_engine::{DiskInput, Input, PeerInput, Settings};
use lighter_wire::Incarnation;

use super::Fleet;
use super::due::Due;
use super::node::peer;
use crate::faults::Happening;
use crate::queue::Micros;

/// Until the other nodes notice that a node is gone, or cannot be reached: the idle timeout of our QUIC (decision 17).
pub const NOTICED_AFTER: Micros = 60_000_000;
/// The incarnation before the first one of each node.
const INCARNATIONS: u64 = 1_000;

impl Fleet {
    /// Starts a node from its disk and connects it.
    pub fn boot(&mut self, node: usize) {
        let life = u64::from(self.nodes[node].life) + 1;
        self.boot_as(node, Incarnation(INCARNATIONS + life));
    }

    pub fn boot_as(&mut self, node: usize, incarnation: Incarnation) {
        let this = &mut self.nodes[node];
        this.start(Settings { incarnation, ..this.engine.settings().clone() });
        let mut inputs = Vec::new();
        let flaws = self.trouble.flaws_of(node);
        for card in this.disk.layers.iter().filter_map(|layer| self.content.cards.get(layer)) {
            let right = self.content.sketch(card.diff_id);
            let sketch = flaws.iter().fold(right, |sketch, flaw| flaw.sketch(card.diff_id, sketch));
            inputs.push(Input::Disk(DiskInput::LayerHeld { card: *card, sketch }));
        }
        inputs.extend(this.disk.inputs());
        inputs.into_iter().for_each(|input| self.step(node, input));
        for other in self.neighbours(node) {
            self.connect(node, other);
        }
        let unfinished: Vec<usize> = self.nodes[node].disk.pulls.iter().copied().collect();
        unfinished.into_iter().for_each(|pull| self.ask_pull(pull));
        self.begin_flood(node);
    }

    pub fn perform_happening(&mut self, happening: Happening) {
        match happening {
            Happening::Off(node) if self.nodes[node].is_online => {
                self.nodes[node].stop();
                let life = self.nodes[node].life;
                self.wires.after(NOTICED_AFTER, Due::Noticed { node, life });
            }
            Happening::On(node) if !self.nodes[node].is_online => {
                self.notice(node);
                self.boot(node);
            }
            Happening::Off(_) | Happening::On(_) => {}
            Happening::Percent(percent) => {
                self.wires.links.throttle(&self.topology, &mut self.wires.network, percent);
            }
            Happening::Loses(site, loss) => {
                let loss_ppm = loss.map_or(self.topology.sites[site].uplink.loss_ppm, |loss| loss.ppm);
                self.wires.links.set_loss(&mut self.wires.network, site, loss_ppm);
            }
            Happening::Cut(site) => self.cut(site),
            Happening::Healed(site) => self.heal(site),
        }
    }

    /// The nodes that a node was connected to learn that it is gone. Sites whose hub it was turn to the next.
    pub fn notice(&mut self, node: usize) {
        for other in self.neighbours(node) {
            if self.nodes[other].is_online {
                self.step(other, Input::Peer(PeerInput::Lost(peer(node))));
            }
        }
        self.connections.met_by(node).into_iter().for_each(|other| self.disconnect(node, other));
        self.break_streams(node);
        let hubs = self.topology.hubs;
        if node < hubs {
            let others = (1..hubs).map(|step| (node + step) % hubs);
            if let Some(next) = others.into_iter().find(|hub| self.nodes[*hub].is_online) {
                self.move_sites(node, next);
            }
        }
    }

    /// The sites of one hub become those of another.
    fn move_sites(&mut self, hub: usize, next: usize) {
        let moved = std::mem::take(&mut self.connections.members[hub]);
        self.connections.hub_of.iter_mut().filter(|of| **of == hub).for_each(|of| *of = next);
        self.connections.members[next].extend(&moved);
        moved.into_iter().for_each(|member| self.connect(member, next));
    }
}
