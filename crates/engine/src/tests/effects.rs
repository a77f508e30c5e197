//! What the virtual fleet does with effects: it gossips, asks, encodes, and reads and writes disks that are maps.

use crate::input::{Input, PeerInput, WorkInput};
use std::time::Duration;

use lighter_types::{Bytes, DiffId, Effort, OciDigest};
use lighter_wire::{Announcement, Answer, Refusal, Request};

use super::fleet::{Event, Fault, Fleet, node_of, peer};
use super::transfer::at_effort;
use crate::*;

const ASK_TIMEOUT: Duration = Duration::from_secs(10);
/// Target bytes an encoder makes in a millisecond.
const ENCODE_RATE: u64 = 20_000;

impl Fleet {
    pub fn perform(&mut self, node: usize, effect: Effect) {
        if let Some(open) = Open::asked(&effect) {
            assert!(self.nodes[node].open.insert(open), "{open:?} is asked for twice");
        }
        match effect {
            Effect::Announce(announcement) => self.announce(node, announcement),
            Effect::Answer { question, answer } => self.answer(question, answer),
            Effect::AnswerFromStore { question, request } => self.answer_from_disk(node, question, request),
            Effect::Working { stream, .. } => self.working(stream),
            Effect::Serve { stream, patch, first_frame } => self.serve(node, stream, patch, first_frame),
            Effect::Refuse { stream, refusal } => self.end(stream, Err(FetchFailure::Refused(refusal))),
            Effect::Refer { stream, to, patch, settings } => {
                self.nodes[node].referred += 1;
                self.end(stream, Err(FetchFailure::Referred { to, patch, settings }));
            }
            Effect::Connect(other) => self.meet(node, node_of(other)),
            Effect::CutOff { peer: other, .. } => {
                self.nodes[node].cut_off.push(other);
                self.soon(node, 1, Input::Peer(PeerInput::Lost(other)));
                self.soon(node_of(other), 1, Input::Peer(PeerInput::Lost(peer(node))));
            }
            Effect::StopFetch(fetch) => self.stop_fetch(node, fetch),
            Effect::KeepCalibration { rule, settings, calibration } => {
                self.nodes[node].disk.calibrations.insert((rule, settings), calibration);
            }
            Effect::KeepPace(pace) => self.nodes[node].disk.pace = Some(pace),
            Effect::Report { pull, report } => self.nodes[node].reports.push((pull, report)),
            Effect::WakeAt(at) => {
                assert!(at > self.now, "a wake moment that has passed");
                self.nodes[node].wake = Some(at);
                self.push(at, node, Event::Wake);
            }
            Effect::Ask { ask, to, request } => self.ask(node, ask, node_of(to), request),
            Effect::Fetch { fetch, from, request, .. } => self.fetch(node, fetch, node_of(from), request),
            Effect::Encode { encode, target, bases, effort } => self.encode(node, encode, target, bases, effort),
            Effect::ReadImage { pull, manifest } => {
                let read = self.read_image(node, manifest);
                self.soon(node, 1, Input::Work(WorkInput::ImageRead { pull, read }));
            }
            Effect::KeepBlob { pull, digest, bytes, config } => {
                let named = self.images.get(&digest).map(|image| image.config);
                let config = config.and(named);
                let right = bytes == digest.as_bytes();
                if right {
                    self.nodes[node].disk.blobs.extend([Some(digest), config].into_iter().flatten());
                }
                let result = if right { Ok(()) } else { Err(BlobFailure::WrongDigest) };
                self.soon(node, 1, Input::Work(WorkInput::BlobKept { pull, result }));
            }
            Effect::CommitImage { pull, manifest, release } => {
                let disk = &mut self.nodes[node].disk;
                let complete = self.images[&manifest].layers.iter().all(|layer| disk.layers.contains_key(layer));
                disk.releases.extend(release.map(|release| (release.release.reference.clone(), release)));
                let result = if complete { Ok(()) } else { Err(LocalFailure::Other("a layer is missing".to_owned())) };
                self.soon(node, 1, Input::Work(WorkInput::ImageCommitted { pull, result }));
            }
        }
    }

    fn announce(&mut self, node: usize, announcement: Announcement) {
        self.nodes[node].announced.push(announcement.clone());
        self.spread(node, &announcement);
    }

    /// Gossips this in a node's name.
    pub fn spread(&mut self, node: usize, announcement: &Announcement) {
        for other in (0..self.nodes.len()).filter(|&other| other != node) {
            let copies =
                if self.chance(self.gossip.lost) { 0 } else { 1 + u64::from(self.chance(self.gossip.repeated)) };
            for _ in 0..copies {
                let late = if self.chance(self.gossip.late) { self.below(5_000) } else { 0 };
                let input = Input::Peer(PeerInput::Announced { from: peer(node), announcement: announcement.clone() });
                let delay = late + self.latency();
                if self.nodes[other].online {
                    self.soon(other, delay, input);
                }
            }
        }
    }

    fn ask(&mut self, node: usize, ask: AskId, to: usize, request: Request) {
        self.nodes[node].asked.push(request.clone());
        let timeout = Input::Work(WorkInput::Answered { ask, answer: Err(AskFailure::Unreachable) });
        self.soon(node, ASK_TIMEOUT.as_millis() as u64, timeout);
        let is_lost = self.sketches_lost && matches!(request, Request::Sketches(_));
        if !is_lost && !self.chance(self.asks_lost) {
            let life = self.nodes[node].life;
            let at = self.now + Duration::from_millis(self.latency());
            self.push(at, to, Event::Question { from: node, ask, life, request });
        }
    }

    fn answer(&mut self, question: QuestionId, answer: Answer) {
        let Some((asker, life, ask)) = self.questions.remove(&question) else { panic!("{question:?} answered twice") };
        let at = self.now + Duration::from_millis(self.latency());
        self.push(
            at,
            asker,
            Event::Input { life, input: Box::new(Input::Work(WorkInput::Answered { ask, answer: Ok(answer) })) },
        );
    }

    fn answer_from_disk(&mut self, node: usize, question: QuestionId, request: Request) {
        let (disk, lies) = (&self.nodes[node].disk, self.nodes[node].fault == Fault::Lies);
        let answer = match request {
            Request::Resolve(name) => disk.releases.get(&name).cloned().map(Answer::Release),
            Request::Blob { .. } if lies => Some(Answer::Blob { bytes: b"not that".to_vec(), config: None }),
            Request::Blob { digest, .. } => {
                let config = self.images.get(&digest).map(|image| image.config);
                let config = config.filter(|config| disk.blobs.contains(config));
                let config = config.map(|config| config.as_bytes().to_vec());
                disk.blobs.contains(&digest).then(|| Answer::Blob { bytes: digest.as_bytes().to_vec(), config })
            }
            Request::Holdings | Request::Quote { .. } | Request::Sketches(_) | Request::Arrival { .. } => None,
        };
        self.nodes[node].blobs_told += usize::from(matches!(answer, Some(Answer::Blob { .. })));
        self.answer(question, answer.unwrap_or(Answer::Refused(Refusal::NotHeld)));
    }

    fn encode(&mut self, node: usize, encode: EncodeId, target: DiffId, bases: Vec<DiffId>, effort: Effort) {
        self.nodes[node].encodes += 1;
        let Some(&card) = self.nodes[node].disk.layers.get(&target) else {
            let result = Err(EncodeFailure::LayerGone(target));
            return self.soon(
                node,
                5,
                Input::Work(WorkInput::EncodeEnded { encode, took: Duration::from_millis(5), result }),
            );
        };
        let took = card.tar_bytes.0 / ENCODE_RATE + 1;
        for done in (5_000..took).step_by(5_000) {
            self.soon(
                node,
                done,
                Input::Work(WorkInput::EncodeProgress { encode, target_bytes_done: Bytes(done * ENCODE_RATE) }),
            );
        }
        let patch = at_effort(self.patch_of(&card, bases), effort);
        self.nodes[node].disk.patches.insert(patch.patch, patch.clone());
        self.soon(
            node,
            took,
            Input::Work(WorkInput::EncodeEnded { encode, took: Duration::from_millis(took), result: Ok(patch) }),
        );
    }

    fn read_image(&self, node: usize, manifest: OciDigest) -> ImageRead {
        let disk = &self.nodes[node].disk;
        let missing = |digest: OciDigest| ImageRead::Missing { digest, bytes_max: 4096 };
        match self.images.get(&manifest).filter(|_| disk.blobs.contains(&manifest)) {
            None => missing(manifest),
            Some(image) if !disk.blobs.contains(&image.config) => missing(image.config),
            Some(image) => ImageRead::Layers(image.layers.clone()),
        }
    }
}
