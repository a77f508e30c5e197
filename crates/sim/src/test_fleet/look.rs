//! Looking inside: engines, disks, streams, and what each node did.

use std::collections::BTreeSet;

use lighter_engine::{Effect, Engine, Open, PullId, Report, StreamId};
use lighter_types::{Bytes, DiffId, Effort, Moment, PeerId};
use lighter_wire::{Announcement, Answer, Request};

use super::TestFleet;
use crate::fleet::node::Disk;

/// The doings of a node since the test began.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    pub reports: Vec<(PullId, Report)>,
    pub announced: Vec<Announcement>,
    pub asked: Vec<Request>,
    pub encodes: usize,
    pub served: usize,
    pub referred: usize,
    /// Answers with a manifest.
    pub manifests_sent: usize,
    pub cut_off: Vec<PeerId>,
}

/// A stream as it is now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamView {
    pub id: StreamId,
    pub from: usize,
    pub to: usize,
    /// Frames that the requester had before, and has now; absent until the provider sends.
    pub frames: Option<(u32, u32)>,
}

impl TestFleet {
    /// Nodes, online or not.
    pub fn len(&self) -> usize {
        self.fleet.nodes.len()
    }

    pub fn is_empty(&self) -> bool {
        self.fleet.nodes.is_empty()
    }

    /// The engines' time.
    pub fn now(&self) -> Moment {
        self.fleet.wires.moment()
    }

    /// Two runs with the same hash of all effects are one run.
    pub fn log_hash(&self) -> String {
        self.fleet.record.log_hash()
    }

    /// The bytes of all messages so far: announcements, questions and answers.
    pub fn talk_bytes(&self) -> u64 {
        self.fleet.record.talk_bytes
    }

    pub fn engine(&self, node: usize) -> &Engine {
        &self.fleet.nodes[node].engine
    }

    pub fn disk(&self, node: usize) -> &Disk {
        &self.fleet.nodes[node].disk
    }

    pub fn disk_mut(&mut self, node: usize) -> &mut Disk {
        &mut self.fleet.nodes[node].disk
    }

    pub fn is_online(&self, node: usize) -> bool {
        self.fleet.nodes[node].is_online
    }

    /// The nodes that a node has standing connections to.
    pub fn neighbours(&self, node: usize) -> Vec<usize> {
        self.fleet.neighbours(node)
    }

    /// The effects of a node that wait for their answer.
    pub fn open(&self, node: usize) -> impl Iterator<Item = Open> {
        self.fleet.nodes[node].open()
    }

    /// All streams, in the order in which they were opened.
    pub fn streams(&self) -> impl Iterator<Item = StreamView> {
        self.fleet.streams.all().map(|(id, stream)| {
            let frames = stream.sending.as_ref().map(|sending| {
                let [had, has] = [sending.had, sending.bytes_there()].map(|bytes| sending.part(bytes).frames);
                (had, has)
            });
            StreamView { id, from: stream.from.0, to: stream.to.0, frames }
        })
    }

    /// The bytes of the patch that an encoder makes of these bases at the effort *default*.
    pub fn patch_bytes(&self, target: DiffId, bases: &[DiffId]) -> Bytes {
        self.fleet.content.patch(target, bases, Effort::Default).0.bytes
    }

    /// The doings of a node.
    pub fn seen(&self, node: usize) -> &Seen {
        &self.seen[node]
    }

    /// How a pull ended, if it did.
    pub fn end(&self, node: usize, number: u64) -> Option<&Report> {
        let pull = self.pulls.get(&(node, number))?;
        let mut reports = self.seen[node].reports.iter().filter(|(id, _)| id == pull).map(|(_, report)| report);
        reports.find(|report| matches!(report, Report::Done { .. } | Report::Failed { .. }))
    }

    /// Takes in what engines asked for since the last look: passes announcements on, and fails at a violation.
    pub(super) fn look(&mut self) {
        let violations = &self.fleet.record.violations;
        assert!(violations.is_empty(), "{violations:?}");
        let effects = self.fleet.record.seen.replace(Vec::new()).unwrap_or_default();
        for (node, effect) in effects {
            if let Effect::Announce(announcement) = &effect {
                let direct: BTreeSet<usize> = self.neighbours(node).into_iter().chain([node]).collect();
                for other in (0..self.len()).filter(|other| !direct.contains(other)) {
                    self.gossip(node, other, announcement);
                }
            }
            self.note(node, effect);
        }
    }

    fn note(&mut self, node: usize, effect: Effect) {
        let seen = &mut self.seen[node];
        match effect {
            Effect::Announce(announcement) => seen.announced.push(announcement),
            Effect::Report { pull, report } => seen.reports.push((pull, report)),
            Effect::Ask { request, .. } => seen.asked.push(request),
            Effect::CutOff { peer, .. } => seen.cut_off.push(peer),
            Effect::Encode { .. } => seen.encodes += 1,
            Effect::Serve { .. } => seen.served += 1,
            Effect::Refer { .. } => seen.referred += 1,
            Effect::AnswerFromStore { request: Request::Blob { digest, .. }, .. } => {
                seen.manifests_sent += usize::from(self.fleet.nodes[node].disk.blobs.contains(&digest));
            }
            Effect::Answer { answer: Answer::Image(image), .. } => {
                seen.manifests_sent += usize::from(image.documents.is_some());
            }
            Effect::AnswerFromStore { .. }
            | Effect::LookUpImage { .. }
            | Effect::Answer { .. }
            | Effect::Working { .. }
            | Effect::Refuse { .. }
            | Effect::Connect(_)
            | Effect::StopFetch(_)
            | Effect::StopEncode(_)
            | Effect::KeepCalibration { .. }
            | Effect::KeepPace(..)
            | Effect::KeepLink { .. }
            | Effect::KeepLists(_)
            | Effect::WakeAt(_)
            | Effect::Fetch { .. }
            | Effect::Unpack { .. }
            | Effect::ReadImage { .. }
            | Effect::KeepBlob { .. }
            | Effect::CommitImage { .. } => {}
        }
    }
}
