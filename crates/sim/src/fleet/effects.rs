//! What is done with effects: gossip and questions cross the network, encoders take their time, disks are maps.

use lighter_engine::{
    AskId, BlobFailure, Effect, EncodeFailure, EncodeId, FetchFailure, ImageRead, Input, Open, PeerInput, QuestionId,
    WorkInput,
};
use lighter_types::{Bytes, DiffId, Effort, OciDigest};
use lighter_wire::{Announcement, Answer, Message, Refusal, Request};

use super::{Due, Fleet, Micros, node_of, peer};

/// How long a question may go unanswered (configs/node.toml, `timing.ask_timeout_s`).
const ASK_TIMEOUT: Micros = 10_000_000;
/// What is late comes so much later at most.
const LATE: Micros = 10_000_000;
/// What gossipsub puts around an announcement: topic, sender, number, signature.
const GOSSIP_BYTES: u64 = 220;
/// What a stream's opening costs beside the message: the protocol's name, both ways.
pub(super) const STREAM_BYTES: u64 = 150;
/// Work on the disk that takes no time to speak of.
const DISK: Micros = 1000;
/// An encoder tells this often how far it is.
const ENCODE_TELLS: Micros = 5_000_000;

impl Fleet<'_> {
    pub(super) fn perform(&mut self, node: usize, effect: Effect) {
        if let Some(open) = Open::asked(&effect) {
            self.open_effect(node, open);
        }
        match effect {
            Effect::Announce(announcement) => self.announce(node, &announcement),
            Effect::Answer { question, answer } => self.answer(node, question, answer, 0),
            Effect::AnswerFromStore { question, request } => self.answer_from_disk(node, question, &request),
            Effect::Working { stream, .. } => self.working(stream),
            Effect::Serve { stream, patch, first_frame } => self.serve(node, stream, patch, first_frame),
            Effect::Refuse { stream, refusal } => self.end_stream(stream, Err(FetchFailure::Refused(refusal))),
            Effect::Refer { stream, to, patch, settings } => {
                self.end_stream(stream, Err(FetchFailure::Referred { to, patch, settings }));
            }
            Effect::Connect(other) => self.dial(node, node_of(other)),
            Effect::CutOff { peer: other, .. } => {
                let other = node_of(other);
                self.soon(node, DISK, Input::Peer(PeerInput::Lost(peer(other))));
                if self.nodes[other].is_online {
                    self.soon(other, DISK, Input::Peer(PeerInput::Lost(peer(node))));
                }
            }
            Effect::StopFetch(fetch) => self.stop_fetch(node, fetch),
            Effect::KeepCalibration { rule, settings, calibration } => {
                self.nodes[node].disk.calibrations.insert((rule, settings), calibration);
            }
            Effect::KeepPace(pace) => self.nodes[node].disk.pace = Some(pace),
            Effect::Report { pull, report } => self.heard(node, pull, &report),
            Effect::WakeAt(at) => {
                if at <= self.now() {
                    self.violation(node, "a wake moment that has passed");
                }
                self.nodes[node].wake = Some(at);
                self.network.due(Self::micros(at), Due::Wake(node));
            }
            Effect::Ask { ask, to, request } => self.ask(node, ask, node_of(to), request),
            Effect::Fetch { fetch, from, request, .. } => self.fetch(node, fetch, node_of(from), request),
            Effect::Encode { encode, target, bases, effort } => self.encode(node, encode, target, &bases, effort),
            Effect::ReadImage { pull, manifest } => {
                let read = self.read_image(node, manifest);
                self.soon(node, DISK, Input::Work(WorkInput::ImageRead { pull, read }));
            }
            Effect::KeepBlob { pull, digest, bytes, config } => {
                let config = config.and(self.content.config_of(digest));
                let is_right = bytes == digest.as_bytes();
                if is_right {
                    self.nodes[node].disk.blobs.extend([Some(digest), config].into_iter().flatten());
                }
                let result = if is_right { Ok(()) } else { Err(BlobFailure::WrongDigest) };
                self.soon(node, DISK, Input::Work(WorkInput::BlobKept { pull, result }));
            }
            Effect::CommitImage { pull, manifest, release } => {
                let image = self.content.images.iter().find(|image| image.manifest == manifest);
                let disk = &mut self.nodes[node].disk;
                let is_complete =
                    image.is_some_and(|image| image.layers.iter().all(|layer| disk.layers.contains(layer)));
                disk.releases.extend(release.map(|release| (release.release.reference.clone(), Box::new(release))));
                if !is_complete {
                    self.violation(node, "an image is committed without all of its layers");
                }
                self.soon(node, DISK, Input::Work(WorkInput::ImageCommitted { pull, result: Ok(()) }));
            }
        }
    }

    /// To those whom the node is connected to; nobody passes it on (docs/SIMULATION.md).
    fn announce(&mut self, node: usize, announcement: &Announcement) {
        let bytes = announcement.encode().map_or(0, |bytes| bytes.len() as u64) + GOSSIP_BYTES;
        for other in self.neighbours(node) {
            if !self.nodes[other].is_online || !self.is_reachable(node, other) {
                continue;
            }
            let gossip = &self.scenario.gossip;
            let (lost, repeated) = (gossip.lost_percent * 10, gossip.repeated_percent * 10);
            let copies = if self.random.happens(lost) { 0 } else { 1 + u32::from(self.random.happens(repeated)) };
            for _ in 0..copies {
                let input = Input::Peer(PeerInput::Announced { from: peer(node), announcement: announcement.clone() });
                if self.random.happens(gossip.late_percent * 10) {
                    let at = self.network.now + self.random.below(LATE);
                    let input = self.boxed(input);
                    self.network.due(at, Due::Late { from: node, to: other, bytes, input });
                } else {
                    self.tell(node, other, bytes, input);
                }
            }
        }
    }

    /// Sends a message that becomes an input of the other node.
    pub(super) fn tell(&mut self, from: usize, to: usize, bytes: u64, input: Input) {
        let life = self.nodes[to].life;
        let input = self.boxed(input);
        self.say(from, to, bytes, Due::Input { node: to, life, input });
    }

    pub(super) fn say(&mut self, from: usize, to: usize, bytes: u64, due: Due) {
        if self.is_reachable(from, to) {
            self.talk_bytes += bytes;
            self.network.send(self.links.path(self.topology, from, to), bytes, due);
        }
    }

    fn ask(&mut self, node: usize, ask: AskId, to: usize, request: Request) {
        let bytes = request.encode().map_or(0, |bytes| bytes.len() as u64) + STREAM_BYTES;
        let life = self.nodes[node].life;
        self.network.due(self.network.now + ASK_TIMEOUT, Due::AskTimeout { node, life, ask });
        self.say(node, to, bytes, Due::Question { to, from: node, life, ask, request: Box::new(request) });
    }

    /// `documents` are the bytes of the manifest and config that the answer stands for.
    fn answer(&mut self, node: usize, question: QuestionId, answer: Answer, documents: u64) {
        let Some((asker, life, ask)) = self.questions.remove(&question) else {
            return self.violation(node, "a question was answered twice");
        };
        let bytes = answer.encode().map_or(0, |bytes| bytes.len() as u64) + documents + STREAM_BYTES;
        let input = self.boxed(Input::Work(WorkInput::Answered { ask, answer: Ok(answer) }));
        self.say(node, asker, bytes, Due::Input { node: asker, life, input });
    }

    fn answer_from_disk(&mut self, node: usize, question: QuestionId, request: &Request) {
        let disk = &self.nodes[node].disk;
        let mut documents = 0;
        let answer = match request {
            Request::Resolve(name) => disk.releases.get(name).map(|release| Answer::Release((**release).clone())),
            Request::Blob { digest, .. } if disk.blobs.contains(digest) => {
                let config = self.content.config_of(*digest).filter(|config| disk.blobs.contains(config));
                documents =
                    [Some(*digest), config].into_iter().flatten().map(|of| self.content.document_bytes(of)).sum();
                let is_lie = self.topology.lies[node];
                let bytes = if is_lie { b"not that".to_vec() } else { digest.as_bytes().to_vec() };
                Some(Answer::Blob { bytes, config: config.map(|config| config.as_bytes().to_vec()) })
            }
            _ => None,
        };
        self.answer(node, question, answer.unwrap_or(Answer::Refused(Refusal::NotHeld)), documents);
    }

    fn encode(&mut self, node: usize, encode: EncodeId, target: DiffId, bases: &[DiffId], effort: Effort) {
        let disk = &mut self.nodes[node].disk;
        if !disk.layers.contains(&target) {
            let (took, result) = (std::time::Duration::from_millis(1), Err(EncodeFailure::LayerGone(target)));
            return self.soon(node, DISK, Input::Work(WorkInput::EncodeEnded { encode, took, result }));
        }
        let (patch, cost) = self.content.patch(target, bases, effort);
        disk.patches.insert(patch.patch, patch.clone());
        let took = cost.encode.max(DISK);
        let longest = self.encodes.entry(target).or_default();
        *longest = took.max(*longest);
        let tar = self.content.cards.get(&target).map_or(0, |card| card.tar_bytes.0);
        for passed in (ENCODE_TELLS..took).step_by(ENCODE_TELLS as usize) {
            let target_bytes_done = Bytes((u128::from(tar) * u128::from(passed) / u128::from(took)) as u64);
            self.soon(node, passed, Input::Work(WorkInput::EncodeProgress { encode, target_bytes_done }));
        }
        let input = Input::Work(WorkInput::EncodeEnded {
            encode,
            took: std::time::Duration::from_micros(took),
            result: Ok(patch),
        });
        self.soon(node, took, input);
    }

    fn read_image(&self, node: usize, manifest: OciDigest) -> ImageRead {
        let blobs = &self.nodes[node].disk.blobs;
        let missing = |digest| ImageRead::Missing { digest, bytes_max: 4096 };
        match self.content.images.iter().find(|image| image.manifest == manifest) {
            Some(image) if blobs.contains(&manifest) && blobs.contains(&image.config) => {
                ImageRead::Layers(image.layers.clone())
            }
            Some(image) if blobs.contains(&manifest) => missing(image.config),
            _ => missing(manifest),
        }
    }
}
