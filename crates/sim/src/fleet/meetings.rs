//! Connections beside the standing ones: of those who were referred to each other.

use lighter_engine::{Input, PeerInput};

use super::{Due, Fleet, Micros, peer};

/// What a handshake over TCP and the first words after it take, each way (docs/BENCHMARKS.md, "meeting").
const MEETING_BYTES: u64 = 1_200;
/// Round trips of it: TCP's, noise's, and until a stream is open.
const MEETING_ROUNDS: u64 = 2;
/// A connection that nothing goes over is closed after this.
const IDLE: Micros = 20_000_000;

impl Fleet<'_> {
    pub(super) fn dial(&mut self, node: usize, other: usize) {
        let life = self.nodes[node].life;
        if !self.dialing.insert((node, life, other)) {
            return;
        }
        self.say(node, other, MEETING_BYTES, Due::Dialed { from: node, life, to: other });
    }

    /// A node that does not let others in does not answer.
    pub(super) fn dialed(&mut self, from: usize, life: u32, to: usize) {
        if self.nodes[to].is_online && self.nodes[to].engine.settings().passes_on {
            let there = self.links.path(self.topology, from, to);
            let round = 2 * self.network.latency(there);
            self.network.due(self.network.now + (MEETING_ROUNDS - 1) * round, Due::Answered { from, life, to });
        }
    }

    pub(super) fn answered(&mut self, from: usize, life: u32, to: usize) {
        if self.nodes[to].is_online {
            self.say(to, from, MEETING_BYTES, Due::Met { from, life, to });
        }
    }

    pub(super) fn meet(&mut self, from: usize, life: u32, to: usize) {
        self.dialing.remove(&(from, life, to));
        if self.nodes[from].life != life || self.is_met(from, to) || self.neighbours(from).contains(&to) {
            return;
        }
        self.met.entry(from).or_default().insert(to);
        self.met.entry(to).or_default().insert(from);
        self.connect(from, to);
        self.network.due(self.network.now + IDLE, Due::Idle { one: from, other: to });
    }

    pub(super) fn idle(&mut self, one: usize, other: usize) {
        if !self.is_met(one, other) {
            return;
        }
        if self.have_stream(one, other) {
            self.network.due(self.network.now + IDLE, Due::Idle { one, other });
        } else {
            self.part(one, other);
        }
    }

    /// Those whom a node met and that are so.
    pub(super) fn acquaintances(&self, node: usize, are: impl Fn(usize) -> bool) -> Vec<usize> {
        self.met.get(&node).into_iter().flatten().copied().filter(|other| are(*other)).collect()
    }

    /// The connection of two who met ends.
    pub(super) fn part(&mut self, one: usize, other: usize) {
        for (node, of) in [(one, other), (other, one)] {
            self.met.entry(node).or_default().remove(&of);
            if self.nodes[node].is_online {
                self.step(node, Input::Peer(PeerInput::Lost(peer(of))));
            }
        }
    }

    fn is_met(&self, one: usize, other: usize) -> bool {
        self.met.get(&one).is_some_and(|met| met.contains(&other))
    }
}
