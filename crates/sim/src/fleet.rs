//! The fleet of real engines in virtual time. There is one: scenarios run on it, and so do the engine's tests.
//!
//! The fleet takes one event after the other from its queue ([`due::Due`]), gives the engines their inputs, and
//! performs each of their effects (`effects.rs`), which puts more events into the queue. Each part of the fleet has a
//! file:
//!
//! | part | concern |
//! |---|---|
//! | [`wires::Wires`] | the clock, the queue, the links |
//! | [`node::Node`] | an engine, its disk, the effects that wait for their answer |
//! | [`connections::Connections`] | which nodes are connected, how fast each connection sends |
//! | [`cuts::Cut`] | sites that are cut off |
//! | [`streams::Streams`] | patches on their way |
//! | [`trouble::Trouble`] | lost messages, flaws of nodes |
//! | [`pulls::Pulls`] | what operators ask for and hear |
//! | [`record::Record`] | the log, the violations, the counts |
//!
//! In every step these hold, or the fleet notes a violation: an effect that wants an answer gets exactly one; fetches,
//! encodes and streams stay under their caps; a wake moment lies ahead, the last one counts, and no node is woken for
//! nothing time and again; what is committed is complete.

mod connections;
mod cuts;
mod documents;
pub mod due;
mod effects;
mod flooding;
mod life;
pub mod node;
mod outcome;
pub mod pulls;
pub mod record;
mod setup;
pub mod streams;
mod tails;
mod transfer;
pub mod trouble;
mod wires;

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::rc::Rc;

use lighter_engine::{AskId, Effect, Input, Open, QuestionId};
use lighter_types::ImageReference;

use crate::content::Content;
use crate::faults::Happening;
use crate::queue::Micros;
use crate::report::StrategyReport;
use crate::scenario::Scenario;
use crate::topology::Topology;
use connections::Connections;
use due::Due;
pub use effects::gossip_bytes;
use node::Node;
use pulls::Pulls;
use record::Record;
use setup::Setup;
use streams::Streams;
pub use transfer::LOST;
use trouble::Trouble;
use wires::Wires;

/// `progress` is called each time that so many events passed.
pub const PROGRESS_EVENTS: u64 = 16_384;

pub struct Fleet {
    topology: Rc<Topology>,
    pub content: Content,
    pub wires: Wires,
    pub nodes: Vec<Node>,
    pub connections: Connections,
    pub streams: Streams,
    pub trouble: Trouble,
    pub pulls: Pulls,
    pub record: Record,
    /// Questions that wait for their answer: the node that asks, its life, its number for the question.
    questions: BTreeMap<QuestionId, (usize, u32, AskId)>,
    /// The last number that was given to a stream or a question.
    number: u64,
    /// Empty between steps.
    effects: Vec<Effect>,
}

/// Runs the fleet of a scenario until every pull ended, or until the scenario's end.
pub fn run(
    scenario: &Scenario,
    topology: &Rc<Topology>,
    seed: u64,
    progress: &mut dyn FnMut(u64) -> ControlFlow<()>,
) -> StrategyReport {
    let (content, names) = (Content::new(scenario), setup::names(scenario));
    let nodes = Setup { scenario, topology, content: &content, names: &names, seed }.nodes();
    let trouble = Trouble::new(scenario.gossip, topology.flaws.clone(), seed);
    let mut fleet = Fleet::new(topology.clone(), content, nodes, trouble, &names);
    fleet.start();
    let mut is_partial = false;
    while fleet.pulls.unfinished > 0 {
        let Some(due) = fleet.wires.network.next() else { break };
        if fleet.wires.now() > scenario.ends_after.micros() {
            break;
        }
        if fleet.wires.network.events.is_multiple_of(PROGRESS_EVENTS) && progress(fleet.wires.now() / 1000).is_break() {
            is_partial = true;
            break;
        }
        fleet.happen(due);
    }
    StrategyReport { is_partial, ..outcome::report(scenario, &fleet) }
}

impl Fleet {
    /// A fleet before its first event. `names` are those of the images that the topology's pulls want.
    pub fn new(
        topology: Rc<Topology>,
        content: Content,
        nodes: Vec<Node>,
        trouble: Trouble,
        names: &[Rc<ImageReference>],
    ) -> Self {
        Self {
            content,
            wires: Wires::new(&topology),
            nodes,
            connections: Connections::new(&topology),
            streams: Streams::default(),
            trouble,
            pulls: Pulls::new(&topology, names),
            record: Record::default(),
            questions: BTreeMap::new(),
            number: 0,
            effects: Vec::new(),
            topology,
        }
    }

    /// Puts the timetable into the queue and starts every node that is not off from the beginning.
    fn start(&mut self) {
        let topology = self.topology.clone();
        for (at, happening) in &topology.happenings {
            self.wires.at(*at, Due::Happens(*happening));
        }
        for (number, at) in self.pulls.begins().enumerate() {
            self.wires.at(at, Due::Begin(number));
        }
        let mut is_on = vec![true; self.nodes.len()];
        for (at, happening) in &topology.happenings {
            if let (0, Happening::Off(node)) = (*at, happening) {
                is_on[*node] = false;
            }
        }
        (0..self.nodes.len()).filter(|node| is_on[*node]).for_each(|node| self.boot(node));
    }

    /// Lets one event happen.
    pub fn happen(&mut self, due: Due) {
        match due {
            Due::Wake(node) => self.wake(node),
            Due::Input { node, life, input } => {
                let input = self.wires.unboxed(input);
                if self.nodes[node].life == life {
                    self.step(node, input);
                }
            }
            Due::Late { from, to, bytes, input } => {
                let input = self.wires.unboxed(input);
                self.send_input(from, to, bytes, input);
            }
            Due::Question { to, from, life, ask, request } => self.asked(to, (from, life), ask, *request),
            Due::AskTimeout { node, life, ask } => self.ask_timeout(node, life, ask),
            Due::Opened(stream) => self.opened(stream),
            Due::Piece { stream, bytes } => self.piece(stream, bytes),
            Due::Pretends { stream, since } => self.pretend(stream, since),
            Due::Drip(stream) => self.drip(stream),
            Due::Applied(stream) => self.applied(stream),
            Due::Flood { node, life } => self.flood(node, life),
            Due::Ends { stream, failure } => self.end_stream(stream, Err(*failure)),
            Due::Begin(pull) => self.begin_pull(pull),
            Due::Happens(happening) => self.perform_happening(happening),
            Due::Noticed { node, life } => {
                if self.nodes[node].life == life && !self.nodes[node].is_online {
                    self.notice(node);
                }
            }
            Due::CutNoticed { site, since } => self.notice_cut(site, since),
            Due::Reopened { site, since } => self.reopen(site, since),
            Due::Dialed { from, life, to } => self.dialed(from, life, to),
            Due::Answered { from, life, to } => self.answered(from, life, to),
            Due::Met { from, life, to } => self.meet(from, life, to),
            Due::Idle { one, other } => self.idle(one, other),
            Due::Pause => {}
        }
    }

    fn wake(&mut self, node: usize) {
        let now = self.wires.moment();
        let this = &mut self.nodes[node];
        if this.is_online && this.wake.is_some_and(|wake| wake <= now) {
            this.wake = None;
            self.step(node, Input::Tick);
        }
    }

    /// One step of one engine, and its effects.
    pub fn step(&mut self, node: usize, input: Input) {
        if let Some(answered) = Open::answered(&input)
            && !self.nodes[node].take_answer(answered)
        {
            // The answer to a question may come after its timeout.
            if !matches!(answered, Open::Ask(_)) {
                self.violation(node, &format!("{answered:?} was answered twice"));
            }
            return;
        }
        let is_tick = matches!(input, Input::Tick);
        let mut effects = std::mem::take(&mut self.effects);
        let this = &mut self.nodes[node];
        this.engine.step(self.wires.moment(), input, &mut effects);
        if !is_tick {
            this.note_input();
        } else if this.note_tick(&effects) {
            self.violation(node, "it is woken for nothing time and again");
        }
        for effect in effects.drain(..) {
            self.record.effect(self.wires.now(), node, &effect);
            self.perform(node, effect);
        }
        self.effects = effects;
    }

    /// A node gets an input after `delay`, if it is still in the same life then.
    pub fn input_after(&mut self, delay: Micros, node: usize, input: Input) {
        self.wires.input_after(delay, node, self.nodes[node].life, input);
    }

    fn violation(&mut self, node: usize, what: &str) {
        self.record.violation(self.wires.now(), node, what);
    }

    /// A number that no other stream or question of this run has.
    fn fresh_number(&mut self) -> u64 {
        self.number += 1;
        self.number
    }
}
