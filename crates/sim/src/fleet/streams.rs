//! The table of streams: requester, provider and progress of each patch on its way.
//!
//! A stream brings the frames of a patch in one order, from its first frame up or from its last one down. A requester
//! may have one of each for the same patch.

use std::collections::{BTreeMap, BTreeSet};

use lighter_engine::{Beside, CachedPatch, FetchId, Part, Settings, StreamId};
use lighter_types::{Bytes, BytesPerSecond, PatchId};
use lighter_wire::{FrameOrder, PatchRequest};

use crate::content::{Frame, WHOLE};
use crate::network::Flow;
use crate::queue::Micros;

/// The shortest transfer that shows a rate.
const RATE_TIME_MIN: Micros = 1_000_000;
const RATE_BYTES_MIN: u64 = 64 << 10;

pub struct Stream {
    /// The requester: node and its life.
    pub to: (usize, u32),
    /// The provider: node and its life.
    pub from: (usize, u32),
    pub fetch: FetchId,
    pub request: PatchRequest,
    /// Whether the provider's engine waits for the end of the stream.
    pub is_open: bool,
    /// The fetch beside which it runs, until that one has ended.
    pub beside: Option<Beside>,
    /// Absent until the provider sends.
    pub sending: Option<Sending>,
}

/// A patch on its way.
pub struct Sending {
    pub patch: CachedPatch,
    pub frames: Vec<Frame>,
    pub flow: Flow,
    /// Bytes that the requester had before.
    pub had: u64,
    pub began: Micros,
    /// The rate that the transfer showed when it ended.
    pub rate: Option<BytesPerSecond>,
    /// Frames whose application is under way or over, and the moment at which the last of them is applied.
    applied: usize,
    pub applied_at: Micros,
    /// When the requester was last told that the next frame still comes to the provider, and what it was told.
    pub told: (Micros, Bytes),
    /// The frames of the requester's other fetch made the patch whole: what still comes is not wanted.
    pub has_met: bool,
}

impl Stream {
    /// The order in which the frames of the patch come.
    pub fn order(&self) -> FrameOrder {
        self.sending.as_ref().map_or(FrameOrder::Up, |sending| self.request.order_of(sending.patch.patch))
    }
}

impl Sending {
    pub fn new(patch: CachedPatch, frames: Vec<Frame>, flow: Flow, had: u64, began: Micros) -> Self {
        Self {
            patch,
            frames,
            flow,
            had,
            began,
            rate: None,
            applied: 0,
            applied_at: began,
            told: (began, Bytes::ZERO),
            has_met: false,
        }
    }

    /// Bytes of the patch that the requester has in all.
    pub fn bytes_there(&self) -> u64 {
        (self.had + self.flow.arrived).min(self.patch.bytes.0)
    }

    /// The bytes of the whole frames among the last so many bytes of the patch.
    pub fn whole_from_end(&self, bytes: u64) -> u64 {
        let total = self.patch.bytes.0;
        let begins = total.saturating_sub(bytes);
        let first = self.frames.iter().map(|frame| frame.end).find(|end| *end >= begins);
        if begins == 0 { total } else { total - first.unwrap_or(total) }
    }

    /// All has come. A short transfer shows no rate.
    pub fn came(&mut self, now: Micros) {
        let (bytes, took) = (self.flow.arrived, now - self.began);
        if took >= RATE_TIME_MIN && bytes > RATE_BYTES_MIN {
            self.rate = Some(BytesPerSecond(bytes.saturating_mul(1_000_000) / took));
        }
    }

    /// Notes that so many frames are there. Each frame is applied when it is there and the frame before is applied;
    /// `whole` is the time that all of the patch takes.
    pub fn apply(&mut self, frames: usize, whole: Micros, now: Micros) {
        if frames > self.applied {
            let share = self.rebuilt_by(frames) - self.rebuilt_by(self.applied);
            self.applied_at = self.applied_at.max(now) + whole * share / WHOLE;
            self.applied = frames;
        }
    }

    /// The share of the target that so many frames rebuild.
    fn rebuilt_by(&self, frames: usize) -> u64 {
        frames.checked_sub(1).map_or(0, |last| self.frames[last].rebuilt)
    }

    /// The part of the patch that is there after so many bytes.
    pub fn part(&self, bytes: u64) -> Part {
        let patch = &self.patch;
        let frames = self.frames.partition_point(|frame| frame.end <= bytes);
        Part {
            patch: patch.patch,
            settings: settings_of(patch),
            bases: patch.bases.clone(),
            frames: frames as u32,
            bytes: Bytes(bytes),
            bytes_total: patch.bytes,
        }
    }
}

/// The number of the encoder's settings that a patch was made with.
pub fn settings_of(patch: &CachedPatch) -> u32 {
    patch.effort.map_or(0, |effort| Settings::default().encoder_ids[effort as usize])
}

/// The place in a patch where its first `count` frames end.
pub fn end_of(frames: &[Frame], count: u32) -> u64 {
    frames.iter().take(count as usize).next_back().map_or(0, |frame| frame.end)
}

#[derive(Default)]
pub struct Streams {
    streams: BTreeMap<StreamId, Stream>,
    /// Streams by each of their ends.
    of_node: BTreeMap<usize, BTreeSet<StreamId>>,
}

impl Streams {
    pub fn insert(&mut self, id: StreamId, stream: Stream) {
        for end in [stream.to.0, stream.from.0] {
            self.of_node.entry(end).or_default().insert(id);
        }
        self.streams.insert(id, stream);
    }

    pub fn remove(&mut self, id: StreamId) -> Option<Stream> {
        let stream = self.streams.remove(&id)?;
        for end in [stream.to.0, stream.from.0] {
            if let Some(streams) = self.of_node.get_mut(&end) {
                streams.remove(&id);
            }
        }
        Some(stream)
    }

    pub fn get(&self, id: StreamId) -> Option<&Stream> {
        self.streams.get(&id)
    }

    pub fn get_mut(&mut self, id: StreamId) -> Option<&mut Stream> {
        self.streams.get_mut(&id)
    }

    pub fn all(&self) -> impl Iterator<Item = (StreamId, &Stream)> {
        self.streams.iter().map(|(id, stream)| (*id, stream))
    }

    /// The streams of a node, to it and from it.
    pub fn of(&self, node: usize) -> impl Iterator<Item = (StreamId, &Stream)> {
        let ids = self.of_node.get(&node).into_iter().flatten();
        ids.filter_map(|id| Some((*id, self.streams.get(id)?)))
    }

    pub fn ids_of(&self, node: usize) -> Vec<StreamId> {
        self.of_node.get(&node).into_iter().flatten().copied().collect()
    }

    pub fn are_between(&self, one: usize, other: usize) -> bool {
        self.of(one).any(|(_, stream)| [stream.to.0, stream.from.0].contains(&other))
    }

    /// The stream by which this life of a node makes a fetch.
    pub fn fetching(&self, node: (usize, u32), fetch: FetchId) -> Option<StreamId> {
        self.of(node.0).find(|(_, stream)| stream.to == node && stream.fetch == fetch).map(|(id, _)| id)
    }

    /// The stream of this life of a node that runs beside this fetch.
    pub fn beside(&self, node: (usize, u32), fetch: FetchId) -> Option<StreamId> {
        let mut streams = self.of(node.0).filter(|(_, stream)| stream.to == node);
        streams.find(|(_, stream)| stream.beside.is_some_and(|beside| beside.fetch == fetch)).map(|(id, _)| id)
    }

    /// The patch with this name, if a node is receiving it.
    pub fn receiving(&self, node: usize, patch: PatchId) -> Option<&CachedPatch> {
        let received = self.of(node).filter(|(_, stream)| stream.to.0 == node && stream.beside.is_none());
        let mut sendings = received.filter_map(|(_, stream)| stream.sending.as_ref());
        Some(&sendings.find(|sending| sending.patch.patch == patch)?.patch)
    }

    /// A number that grows with each byte of a patch that comes to a node, or to one of those that it comes through.
    pub fn growth(&self, node: usize, patch: PatchId) -> Bytes {
        let received = self.of(node).filter(|(_, stream)| stream.to.0 == node && stream.beside.is_none());
        let mut sendings = received.filter_map(|(_, stream)| stream.sending.as_ref());
        let sending = sendings.find(|sending| sending.patch.patch == patch);
        sending.map_or(Bytes::ZERO, |sending| Bytes(sending.bytes_there()) + sending.told.1)
    }

    /// The other stream by which this life of a node gets the same patch, from its other end.
    pub fn other_end(&self, id: StreamId) -> Option<StreamId> {
        let stream = self.get(id)?;
        let (patch, order) = (stream.sending.as_ref()?.patch.patch, stream.order());
        let mut others = self.of(stream.to.0).filter(|(other, of)| *other != id && of.to == stream.to);
        let other = others.find(|(_, other)| {
            let is_same = other.sending.as_ref().is_some_and(|sending| sending.patch.patch == patch);
            is_same && other.order() != order && other.beside.is_none()
        });
        other.map(|(id, _)| id)
    }

    /// The streams by which a node passes a patch on.
    pub fn passing_on(&self, node: usize, patch: PatchId) -> Vec<StreamId> {
        let mut ids = Vec::new();
        for (id, stream) in self.of(node).filter(|(_, stream)| stream.from.0 == node) {
            if stream.sending.as_ref().is_some_and(|sending| sending.patch.patch == patch) {
                ids.push(id);
            }
        }
        ids
    }

    /// The streams that a node serves now.
    pub fn served_by(&self, node: usize) -> usize {
        self.of(node).filter(|(_, stream)| stream.from.0 == node && stream.is_open && stream.sending.is_some()).count()
    }
}
