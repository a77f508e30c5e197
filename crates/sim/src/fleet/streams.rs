//! Patches on their way: opened, served in pieces, kept frame by frame, applied.

use lighter_engine::{
    CachedPatch, FetchFailure, FetchId, Fetched, Input, Lie, Part, PeerInput, Settings, StreamId, WorkInput,
};
use lighter_types::{Bytes, PatchId};
use lighter_wire::{Message, PatchRequest};

use super::effects::STREAM_BYTES;
use super::{Disk, Due, Fleet, Micros, peer};
use crate::content::{Frame, WHOLE};
use crate::network::Flow;

/// What has come of a patch when its frames begin.
const HEADER_BYTES: u64 = 1000;
/// Both ends learn that a stream is over.
const END: Micros = 1000;

pub(super) struct Stream {
    /// Each end: node and its life.
    to: (usize, u32),
    from: (usize, u32),
    fetch: FetchId,
    request: PatchRequest,
    is_open: bool,
    sending: Option<Sending>,
}

struct Sending {
    patch: CachedPatch,
    frames: Vec<Frame>,
    flow: Flow,
    /// Bytes that the requester had before.
    had: u64,
    began: Micros,
    /// Frames whose making into the layer is under way or over, and when all of those will be.
    applied: usize,
    applied_at: Micros,
}

fn settings_of(patch: &CachedPatch) -> u32 {
    patch.effort.map_or(0, |effort| Settings::default().encoder_ids[effort as usize])
}

/// Up to where a patch can be sent from a disk.
fn bytes_there(disk: &Disk, patch: &CachedPatch) -> u64 {
    if disk.patches.contains_key(&patch.patch) {
        return u64::MAX;
    }
    let part = disk.parts.get(&patch.target).filter(|part| part.patch == patch.patch);
    part.map_or(0, |part| if part.bytes >= part.bytes_total { u64::MAX } else { part.bytes.0 })
}

/// Where the first so many frames end.
fn end(frames: &[Frame], count: u32) -> u64 {
    frames.iter().take(count as usize).next_back().map_or(0, |frame| frame.end)
}

impl Sending {
    /// So many frames are there: each is applied when it has come and the one before is done.
    fn apply(&mut self, frames: usize, whole: Micros, now: Micros) {
        let rebuilt = |frames: usize| frames.checked_sub(1).map_or(0, |last| self.frames[last].rebuilt);
        if frames > self.applied {
            let share = rebuilt(frames) - rebuilt(self.applied);
            self.applied_at = self.applied_at.max(now) + whole * share / WHOLE;
            self.applied = frames;
        }
    }

    /// What is there after so many bytes in all.
    fn part(&self, bytes: u64) -> Part {
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

impl Fleet<'_> {
    pub(super) fn fetch(&mut self, node: usize, fetch: FetchId, from: usize, request: PatchRequest) {
        let stream = StreamId(self.fresh());
        let bytes = request.encode().map_or(0, |bytes| bytes.len() as u64) + STREAM_BYTES;
        let to = (node, self.nodes[node].life);
        let from = (from, self.nodes[from].life);
        self.streams.insert(stream, Stream { to, from, fetch, request, is_open: false, sending: None });
        for end in [to.0, from.0] {
            self.streams_of.entry(end).or_default().insert(stream);
        }
        if self.nodes[from.0].is_online && self.is_reachable(node, from.0) {
            self.say(node, from.0, bytes, Due::Opened(stream));
        } else {
            self.end_stream(stream, Err(FetchFailure::Lost));
        }
    }

    pub(super) fn opened(&mut self, id: StreamId) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        let (from, life) = stream.from;
        if self.nodes[from].life != life {
            return self.end_stream(id, Err(FetchFailure::Lost));
        }
        stream.is_open = true;
        let (requester, request) = (peer(stream.to.0), stream.request.clone());
        self.step(from, Input::Peer(PeerInput::StreamOpened { stream: id, from: requester, request }));
    }

    pub(super) fn working(&mut self, id: StreamId) {
        let Some(stream) = self.streams.get(&id) else { return };
        let ((to, _), (from, _), fetch) = (stream.to, stream.from, stream.fetch);
        self.tell(from, to, 20, Input::Work(WorkInput::FetchWorking { fetch }));
    }

    pub(super) fn serve(&mut self, node: usize, id: StreamId, patch: PatchId, first_frame: u32) {
        let patch = self.nodes[node].disk.patches.get(&patch).cloned().or_else(|| self.coming(node, patch));
        let Some(stream) = self.streams.get_mut(&id) else { return };
        let Some(patch) = patch else { return self.end_stream(id, Err(FetchFailure::Lost)) };
        let requester = stream.to.0;
        if self.network.now < self.topology.disk_full_until[requester] {
            // Found when the header has come and room for the layer is reserved.
            return self.say(node, requester, HEADER_BYTES, Due::DiskFull(id));
        }
        let path = self.links.path(self.topology, node, requester);
        let frames = self.content.frames(&patch);
        let had = end(&frames, first_frame);
        let flow = Flow::new(&self.network, path, (patch.bytes.0 - had).max(1));
        let began = self.network.now;
        stream.sending = Some(Sending { patch, frames, flow, had, began, applied: 0, applied_at: began });
        self.pump(id);
    }

    fn pump(&mut self, id: StreamId) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        let sites = [stream.from.0, stream.to.0].map(|node| self.topology.nodes[node].site);
        let is_cut = sites[0] != sites[1] && sites.into_iter().flatten().any(|site| self.is_cut[site]);
        let provider = &self.nodes[stream.from.0];
        let is_there = provider.life == stream.from.1;
        let has_begun = stream.sending.as_ref().is_some_and(|sending| sending.flow.arrived > 0);
        if self.topology.stalls[stream.from.0] && has_begun {
            return;
        }
        if let (Some(sending), false, true) = (&mut stream.sending, is_cut, is_there) {
            let there = bytes_there(&provider.disk, &sending.patch).saturating_sub(sending.had);
            sending.flow.pump(&mut self.network, there, |bytes| Due::Piece { stream: id, bytes });
        }
    }

    /// A patch that just comes to a node.
    fn coming(&self, node: usize, patch: PatchId) -> Option<CachedPatch> {
        let streams = self.streams_of(node).into_iter().filter_map(|id| self.streams.get(&id));
        let mut sendings = streams.filter(|stream| stream.to.0 == node).filter_map(|stream| stream.sending.as_ref());
        Some(sendings.find(|sending| sending.patch.patch == patch)?.patch.clone())
    }

    /// The streams by which a node passes a patch on.
    fn passing_on(&self, node: usize, patch: PatchId) -> Vec<StreamId> {
        let passes = |id: &StreamId| {
            let stream = self.streams.get(id).filter(|stream| stream.from.0 == node);
            stream.and_then(|stream| stream.sending.as_ref()).is_some_and(|sending| sending.patch.patch == patch)
        };
        self.streams_of(node).into_iter().filter(passes).collect()
    }

    /// All streams of a node go on.
    pub(super) fn pump_streams(&mut self, node: usize) {
        self.streams_of(node).into_iter().for_each(|stream| self.pump(stream));
    }

    pub(super) fn piece(&mut self, id: StreamId, bytes: u64) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        let ((node, life), (from, _), fetch) = (stream.to, stream.from, stream.fetch);
        if self.nodes[node].life != life {
            return;
        }
        let Some(sending) = &mut stream.sending else { return };
        sending.flow.take(bytes);
        if from < self.topology.hubs {
            self.hub_stream_bytes += bytes;
        }
        if self.topology.lies[from] {
            return self
                .end_stream(id, Err(FetchFailure::Lied(Lie::Unreadable { why: "a frame of other bytes".to_owned() })));
        }
        let bytes = (sending.had + sending.flow.arrived).min(sending.patch.bytes.0);
        let (part, is_done) = (sending.part(bytes), sending.flow.is_done());
        let patch = sending.patch.clone();
        // What was on disk before is applied anew.
        sending.apply(part.frames as usize, self.content.applying(&patch), self.network.now);
        let applied_at = sending.applied_at;
        if part.frames > 0 {
            // What is not a whole frame does not survive.
            let kept = end(&sending.frames, part.frames).min(bytes);
            self.nodes[node].disk.parts.insert(patch.target, sending.part(kept));
        }
        self.passing_on(node, patch.patch).into_iter().for_each(|id| self.pump(id));
        self.step(node, Input::Work(WorkInput::FetchProgress { fetch, part }));
        if is_done {
            self.served(id);
            self.network.due(applied_at, Due::Applied(id));
        } else {
            self.pump(id);
        }
    }

    /// The provider is done with a stream when all has been sent; the requester still applies it.
    fn served(&mut self, id: StreamId) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        let ((from, life), Some(sending)) = (stream.from, &stream.sending) else { return };
        let (bytes, began) = (Bytes(sending.flow.arrived), sending.began);
        if self.nodes[from].life == life && std::mem::take(&mut stream.is_open) {
            let took = std::time::Duration::from_micros(self.network.now - began);
            self.soon(from, END, Input::Peer(PeerInput::StreamServed { stream: id, bytes, took }));
            self.soon(from, END, Input::Peer(PeerInput::StreamClosed(id)));
        }
    }

    pub(super) fn applied(&mut self, id: StreamId) {
        let Some(stream) = self.streams.get(&id) else { return };
        let ((node, life), Some(sending)) = (stream.to, &stream.sending) else { return };
        if self.nodes[node].life != life {
            return;
        }
        let (patch, received) = (sending.patch.clone(), Bytes(sending.flow.arrived));
        let Some(&card) = self.content.cards.get(&patch.target) else { return };
        let disk = &mut self.nodes[node].disk;
        let can_apply = patch.bases.iter().all(|base| disk.layers.contains(base));
        disk.parts.remove(&patch.target);
        disk.layers.insert(patch.target);
        disk.patches.insert(patch.patch, patch.clone());
        if !can_apply {
            self.violation(node, "a patch was applied without its bases");
        }
        let settings = settings_of(&patch);
        self.end_stream(id, Ok(Fetched { card, sketch: None, patch, settings, received }));
    }

    /// Both ends learn that the stream is over.
    pub(super) fn end_stream(&mut self, id: StreamId, result: Result<Fetched, FetchFailure>) {
        let Some(stream) = self.streams.remove(&id) else { return };
        for end in [stream.to.0, stream.from.0] {
            if let Some(streams) = self.streams_of.get_mut(&end) {
                streams.remove(&id);
            }
        }
        let ((to, to_life), (from, from_life)) = (stream.to, stream.from);
        // What does not come any more cannot be passed on.
        if let (Some(sending), Err(_)) = (&stream.sending, &result) {
            let passed = self.passing_on(to, sending.patch.patch).into_iter();
            passed.for_each(|id| self.end_stream(id, Err(FetchFailure::Lost)));
        }
        if self.nodes[to].life == to_life {
            self.soon(to, END, Input::Work(WorkInput::FetchEnded { fetch: stream.fetch, result }));
        }
        if self.nodes[from].life == from_life && stream.is_open {
            self.soon(from, END, Input::Peer(PeerInput::StreamClosed(id)));
        }
    }

    pub(super) fn stop_fetch(&mut self, node: usize, fetch: FetchId) {
        let streams = self.streams_of(node).into_iter();
        let is_it =
            |id: &StreamId| self.streams.get(id).is_some_and(|stream| stream.to.0 == node && stream.fetch == fetch);
        if let Some(id) = streams.into_iter().find(is_it) {
            self.end_stream(id, Err(FetchFailure::Stopped));
        }
    }

    /// The streams between a node and such others are lost.
    pub(super) fn break_streams(&mut self, node: usize, others: impl Fn(usize) -> bool) {
        for id in self.streams_of(node) {
            let Some(stream) = self.streams.get(&id) else { continue };
            let other = if stream.to.0 == node { stream.from.0 } else { stream.to.0 };
            if others(other) {
                self.end_stream(id, Err(FetchFailure::Lost));
            }
        }
    }

    pub(super) fn have_stream(&self, one: usize, other: usize) -> bool {
        let ends = |stream: &Stream| [stream.to.0, stream.from.0];
        self.streams_of(one).iter().filter_map(|id| self.streams.get(id)).any(|stream| ends(stream).contains(&other))
    }

    fn streams_of(&self, node: usize) -> Vec<StreamId> {
        self.streams_of.get(&node).into_iter().flatten().copied().collect()
    }
}
