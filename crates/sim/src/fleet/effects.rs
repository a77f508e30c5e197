//! The effects of the engines: each has its arm in [`Fleet::perform`].
//!
//! Messages cross the links with the bytes of their encoding, and become inputs of other nodes. Work takes the time
//! that the content says. Disks are maps, and answer almost at once.

use std::time::Duration;

use lighter_engine::{
    AskFailure, AskId, Effect, EncodeFailure, EncodeId, FetchFailure, Input, Open, PeerInput, QuestionId, WorkInput,
};
use lighter_types::{Bytes, Card, DiffId, Effort, PeerId};
use lighter_wire::{Announcement, Answer, Arrival, Holdings, Listed, Message, News, Request};

use super::Fleet;
use super::due::Due;
use super::node::{node_of, peer};
use crate::queue::Micros;

/// How long a question may go unanswered (configs/node.toml, `timing.ask_timeout_s`).
const ASK_TIMEOUT: Micros = 10_000_000;
/// The bytes that gossipsub puts around an announcement: topic, sender, number, signature.
const GOSSIP_BYTES: u64 = 220;
/// The bytes of opening a stream beside its message: the protocol's name, both ways.
pub const STREAM_BYTES: u64 = 150;
/// Work on the disk that takes no time to speak of.
pub const DISK: Micros = 1000;
/// An encoder reports its progress this often.
const ENCODE_REPORTS: Micros = 5_000_000;

impl Fleet {
    pub fn perform(&mut self, node: usize, effect: Effect) {
        if let Some(open) = Open::asked(&effect)
            && let Err(what) = self.nodes[node].ask(open)
        {
            self.violation(node, &what);
        }
        match effect {
            Effect::Announce(mut announcement) => {
                if let News::Full(cards) | News::Difference { added: cards, .. } = &mut announcement.news {
                    self.describe(node, cards);
                }
                self.announce(node, &announcement);
            }
            Effect::Answer { question, mut answer } => {
                if let Answer::Holdings(Holdings {
                    list: Listed::All(cards) | Listed::Difference { added: cards, .. },
                    ..
                }) = &mut answer
                {
                    self.describe(node, cards);
                }
                let documents = self.document_bytes(&answer);
                self.answer(node, question, answer, documents);
            }
            Effect::AnswerFromStore { question, request } => self.answer_from_disk(node, question, &request),
            Effect::Working { stream, done } => self.working(stream, done, None),
            Effect::Serve { stream, patch, first_frame } => self.serve(node, stream, patch, first_frame),
            Effect::Refuse { stream, refusal } => self.turn_away(stream, FetchFailure::Refused(refusal)),
            Effect::Refer { stream, to, patch, settings } => {
                self.turn_away(stream, FetchFailure::Referred { to, patch, settings });
            }
            Effect::Connect(other) => self.dial(node, node_of(other)),
            Effect::CutOff { peer, .. } => self.cut_off(node, peer),
            Effect::StopFetch(fetch) => self.stop_fetch(node, fetch),
            // Its end is in the queue already: an encode ends no sooner here.
            Effect::StopEncode(_) => {}
            Effect::KeepCalibration { scope, calibration } => {
                self.nodes[node].disk.calibrations.insert(scope, calibration);
            }
            Effect::KeepPace(work, pace) => drop(self.nodes[node].disk.paces.insert(work, pace)),
            Effect::KeepLink { peer, link: Some(link) } => drop(self.nodes[node].disk.links.insert(peer, link)),
            Effect::KeepLink { peer, link: None } => drop(self.nodes[node].disk.links.remove(&peer)),
            Effect::KeepLists(lists) => self.nodes[node].disk.keep_lists(lists),
            Effect::Report { pull, report } => self.heard(node, pull, &report),
            Effect::WakeAt(at) => {
                if at <= self.wires.moment() {
                    self.violation(node, "a wake moment that has passed");
                }
                self.nodes[node].wake = Some(at);
                self.wires.wake_at(node, at);
            }
            Effect::Ask { ask, to, request } => self.ask(node, ask, node_of(to), request),
            Effect::Fetch { fetch, from, request, beside, .. } => {
                self.fetch(node, (fetch, beside), node_of(from), request);
            }
            Effect::Encode { encode, target, bases, effort } => self.encode(node, encode, target, &bases, effort),
            Effect::LookUpImage { question, from, request, release } => {
                self.look_up_image(node, (question, from), request, release);
            }
            Effect::ReadImage { pull, manifest } => self.read_image(node, pull, manifest),
            Effect::Unpack { layer, blob, .. } => self.unpack(node, layer, blob),
            Effect::KeepBlob { pull, digest, documents } => self.keep_blob(node, pull, digest, documents),
            Effect::CommitImage { pull, manifest, release } => self.commit_image(node, pull, manifest, release),
        }
    }

    /// Makes cards what the node tells others.
    fn describe(&self, node: usize, cards: &mut [Card]) {
        for flaw in self.trouble.flaws_of(node) {
            cards.iter_mut().for_each(|card| *card = flaw.card(*card));
        }
    }

    /// Announces to the nodes that the node is connected to. None of them passes it on (docs/SIMULATION.md).
    fn announce(&mut self, node: usize, announcement: &Announcement) {
        let bytes = gossip_bytes(announcement);
        for other in self.neighbours(node) {
            if self.nodes[other].is_online {
                self.gossip(node, other, bytes, announcement);
            }
        }
    }

    /// Sends an announcement to one node, as often as gossip does.
    pub fn gossip(&mut self, node: usize, other: usize, bytes: u64, announcement: &Announcement) {
        for _ in 0..self.trouble.copies() {
            let input = Input::Peer(PeerInput::Announced { from: peer(node), announcement: announcement.clone() });
            match self.trouble.delay() {
                Some(delay) => {
                    let input = self.wires.boxed(input);
                    self.wires.after(delay, Due::Late { from: node, to: other, bytes, input });
                }
                None => self.send_input(node, other, bytes, input),
            }
        }
    }

    /// Sends a message that becomes an input of the other node.
    pub fn send_input(&mut self, from: usize, to: usize, bytes: u64, input: Input) {
        let life = self.nodes[to].life;
        let input = self.wires.boxed(input);
        self.send(from, to, bytes, Due::Input { node: to, life, input });
    }

    /// Both ends lose their connection.
    fn cut_off(&mut self, node: usize, cut: PeerId) {
        self.input_after(DISK, node, Input::Peer(PeerInput::Lost(cut)));
        let other = node_of(cut);
        if self.nodes[other].is_online {
            self.input_after(DISK, other, Input::Peer(PeerInput::Lost(peer(node))));
        }
    }

    fn ask(&mut self, node: usize, ask: AskId, to: usize, request: Request) {
        let bytes = request.encode().map_or(0, |bytes| bytes.len() as u64) + STREAM_BYTES;
        let life = self.nodes[node].life;
        self.wires.after(ASK_TIMEOUT, Due::AskTimeout { node, life, ask });
        if !self.trouble.loses(&request) {
            self.send(node, to, bytes, Due::Question { to, from: node, life, ask, request: Box::new(request) });
        }
    }

    /// A question arrives.
    pub fn asked(&mut self, to: usize, (from, life): (usize, u32), ask: AskId, request: Request) {
        if self.nodes[to].is_online {
            let question = QuestionId(self.fresh_number());
            self.questions.insert(question, (from, life, ask));
            let pretended = self.trouble.flaws_of(to).iter().find_map(|flaw| flaw.pretended(0));
            if let (Request::Arrival { .. }, Some(received)) = (&request, pretended) {
                return self.answer(to, question, Answer::Arrival(Arrival::Coming { received }), 0);
            }
            self.step(to, Input::Peer(PeerInput::Asked { question, from: peer(from), request }));
        }
    }

    /// A question that has no answer yet has failed.
    pub fn ask_timeout(&mut self, node: usize, life: u32, ask: AskId) {
        if self.nodes[node].life == life {
            self.step(node, Input::Work(WorkInput::Answered { ask, answer: Err(AskFailure::Unreachable) }));
        }
    }

    /// Sends an answer. `documents` are the bytes of the manifest and the config that the answer stands for.
    pub fn answer(&mut self, node: usize, question: QuestionId, answer: Answer, documents: u64) {
        let Some((asker, life, ask)) = self.questions.remove(&question) else {
            return self.violation(node, "a question was answered twice");
        };
        let bytes = answer.encode().map_or(0, |bytes| bytes.len() as u64) + documents + STREAM_BYTES;
        let input = self.wires.boxed(Input::Work(WorkInput::Answered { ask, answer: Ok(answer) }));
        self.send(node, asker, bytes, Due::Input { node: asker, life, input });
    }

    fn encode(&mut self, node: usize, encode: EncodeId, target: DiffId, bases: &[DiffId], effort: Effort) {
        let disk = &mut self.nodes[node].disk;
        if !disk.layers.contains(&target) {
            let (took, result) = (Duration::from_millis(1), Err(EncodeFailure::LayerGone(target)));
            return self.input_after(DISK, node, Input::Work(WorkInput::EncodeEnded { encode, took, result }));
        }
        let (patch, cost) = self.content.patch(target, bases, effort);
        disk.patches.insert(patch.patch, patch.clone());
        let took = cost.encode.max(DISK);
        let longest = self.record.encodes.entry(target).or_default();
        *longest = took.max(*longest);
        let tar = self.content.cards.get(&target).map_or(0, |card| card.tar_bytes.0);
        for passed in (ENCODE_REPORTS..took).step_by(ENCODE_REPORTS as usize) {
            let target_bytes_done = Bytes((u128::from(tar) * u128::from(passed) / u128::from(took)) as u64);
            self.input_after(passed, node, Input::Work(WorkInput::EncodeProgress { encode, target_bytes_done }));
        }
        let (result, reported) = (Ok(patch), Duration::from_micros(took));
        self.input_after(took, node, Input::Work(WorkInput::EncodeEnded { encode, took: reported, result }));
    }
}

/// The bytes of an announcement on a link.
pub fn gossip_bytes(announcement: &Announcement) -> u64 {
    announcement.encode().map_or(0, |bytes| bytes.len() as u64) + GOSSIP_BYTES
}
