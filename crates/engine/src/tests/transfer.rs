//! Patches that cross the virtual fleet: frames of 1 MiB at the fleet's rate, and what can go wrong with them.

use crate::input::{Input, PeerInput, WorkInput};
use std::collections::BTreeSet;
use std::time::Duration;

use lighter_types::{Bytes, Card, DiffId, Effort, PatchId};
use lighter_wire::PatchRequest;

use super::fleet::{Event, Fault, Fleet, Node, peer};
use crate::*;

pub struct Transfer {
    /// Who receives: node, its life, its fetch.
    pub to: (usize, u64),
    pub fetch: FetchId,
    /// Who sends: node and its life.
    pub from: (usize, u64),
    pub request: PatchRequest,
    pub patch: Option<CachedPatch>,
    pub first_frame: u32,
    pub next_frame: u32,
    pub received: Bytes,
    opened: bool,
}

/// What an encoder makes anywhere: of like layers a fortieth of the tar, else the compressed layer.
pub fn patch(target: &Card, bases: Vec<DiffId>) -> CachedPatch {
    let like = bases.iter().any(|base| base.as_bytes()[0] == target.diff_id.as_bytes()[0]);
    let bytes = if like { Bytes(target.tar_bytes.0 / 40) } else { target.compressed_bytes };
    let mut id = *target.diff_id.as_bytes();
    bases.iter().for_each(|base| id.iter_mut().zip(base.as_bytes()).for_each(|(a, b)| *a = a.rotate_left(3) ^ b));
    id[31] = 0xff;
    CachedPatch { patch: PatchId::new(id), target: target.diff_id, bases, bytes, effort: None }
}

impl Fleet {
    /// What an encoder makes: where it is known what layers are made of, of the blocks that no base has.
    pub fn patch_of(&self, target: &Card, bases: Vec<DiffId>) -> CachedPatch {
        let patch = patch(target, bases);
        let Some(content) = self.truth.get(&target.diff_id) else { return patch };
        let held = patch.bases.iter().filter_map(|base| self.truth.get(base));
        let held: BTreeSet<u64> = held.flat_map(|content| content.blocks.iter().copied()).collect();
        let missing = content.blocks.difference(&held).count() as u64;
        let bytes = target.compressed_bytes.times(missing).0 / content.blocks.len() as u64 * 3 / 4;
        CachedPatch { bytes: Bytes(bytes + 2048), ..patch }
    }
}

/// The patch as it comes out of an encoder: each effort makes another one.
pub fn at_effort(patch: CachedPatch, effort: Effort) -> CachedPatch {
    let mut id = *patch.patch.as_bytes();
    id[30] ^= effort as u8;
    CachedPatch { patch: PatchId::new(id), effort: Some(effort), ..patch }
}

/// The number of the encoder's settings by which it was made.
fn settings_of(patch: &CachedPatch) -> u32 {
    patch.effort.map_or(0, |effort| Settings::default().encoder_ids[effort as usize])
}

pub fn frames(patch: &CachedPatch) -> u32 {
    patch.bytes.0.div_ceil(Bytes::MIB.0) as u32
}

impl Fleet {
    pub fn fetch(&mut self, node: usize, fetch: FetchId, from: usize, request: PatchRequest) {
        let stream = StreamId(self.fresh());
        let transfer = Transfer {
            to: (node, self.nodes[node].life),
            fetch,
            from: (from, self.nodes[from].life),
            request,
            patch: None,
            first_frame: 0,
            next_frame: 0,
            received: Bytes::ZERO,
            opened: false,
        };
        self.transfers.insert(stream, transfer);
        let at = self.now + Duration::from_millis(self.latency());
        self.push(at, from, Event::Frame(stream));
    }

    pub fn working(&mut self, stream: StreamId) {
        let Some(transfer) = self.transfers.get(&stream) else { return };
        let ((node, _), fetch) = (transfer.to, transfer.fetch);
        self.soon(node, 50, Input::Work(WorkInput::FetchWorking { fetch }));
    }

    pub fn serve(&mut self, node: usize, stream: StreamId, patch: PatchId, first_frame: u32) {
        self.nodes[node].served += 1;
        let patch = self.nodes[node].disk.patches.get(&patch).cloned().or_else(|| self.coming(node, patch));
        let Some(transfer) = self.transfers.get_mut(&stream) else { return };
        transfer.patch = patch;
        transfer.first_frame = first_frame;
        transfer.next_frame = first_frame;
        let streams = self.transfers.values().filter(|other| other.from.0 == node && other.patch.is_some());
        assert!(streams.count() <= self.nodes[node].settings.streams_max);
        self.next_frame(stream);
    }

    /// The stream opens, or another frame is there.
    pub fn frame(&mut self, stream: StreamId) {
        let Some(transfer) = self.transfers.get_mut(&stream) else { return };
        let (from, life) = transfer.from;
        if !self.nodes[from].online || self.nodes[from].life != life {
            return self.end(stream, Err(FetchFailure::Lost));
        }
        if !std::mem::replace(&mut transfer.opened, true) {
            let (requester, request) = (peer(transfer.to.0), transfer.request.clone());
            return self.step(from, Input::Peer(PeerInput::StreamOpened { stream, from: requester, request }));
        }
        let Some(patch) = transfer.patch.clone() else {
            return self.end(stream, Err(FetchFailure::Lost));
        };
        if self.nodes[from].fault == Fault::Lies {
            return self
                .end(stream, Err(FetchFailure::Lied(Lie::Unreadable { why: "a frame of other bytes".to_owned() })));
        }
        let next_frame = transfer.next_frame;
        match self.is_there(from, &patch, next_frame) {
            // Passed on as it comes.
            Some(false) => return self.push(self.now + Duration::from_millis(20), from, Event::Frame(stream)),
            None => return self.end(stream, Err(FetchFailure::Lost)),
            Some(true) => {}
        }
        let Some(transfer) = self.transfers.get_mut(&stream) else { return };
        let already = Bytes::MIB.times(transfer.next_frame.into());
        transfer.next_frame += 1;
        let arrived = Bytes::MIB.times(transfer.next_frame.into()).min(patch.bytes);
        transfer.received += arrived - already;
        let (node, fetch, frame, last) = (transfer.to.0, transfer.fetch, transfer.next_frame, frames(&patch));
        let part = Part {
            patch: patch.patch,
            settings: settings_of(&patch),
            bases: patch.bases.clone(),
            frames: frame,
            bytes: arrived,
            bytes_total: patch.bytes,
        };
        if self.nodes[node].fault == Fault::FullDisk {
            return self.end(stream, Err(FetchFailure::Local(LocalFailure::Io("no space left on device".to_owned()))));
        }
        self.nodes[node].disk.parts.insert(patch.target, part.clone());
        self.step(node, Input::Work(WorkInput::FetchProgress { fetch, part }));
        if frame >= last {
            return self.apply(stream, node, &patch);
        }
        self.next_frame(stream);
    }

    /// A patch that just comes to a node.
    fn coming(&self, node: usize, patch: PatchId) -> Option<CachedPatch> {
        let mut coming = self.transfers.values().filter(|transfer| transfer.to.0 == node);
        coming.find_map(|transfer| transfer.patch.clone().filter(|coming| coming.patch == patch))
    }

    /// Whether a node has a frame of a patch, or it just comes.
    fn is_there(&self, node: usize, patch: &CachedPatch, frame: u32) -> Option<bool> {
        let disk = &self.nodes[node].disk;
        let part = disk.parts.get(&patch.target).filter(|part| part.patch == patch.patch);
        let is_whole = disk.patches.contains_key(&patch.patch);
        if is_whole || part.is_some_and(|part| part.frames > frame || part.bytes == part.bytes_total) {
            return Some(true);
        }
        self.coming(node, patch.patch).map(|_| false)
    }

    /// A frame is on its way; every five seconds the requester hears what came of it.
    fn next_frame(&mut self, stream: StreamId) {
        let transfer = &self.transfers[&stream];
        let ((node, _), (from, _), fetch, frames) = (transfer.to, transfer.from, transfer.fetch, transfer.next_frame);
        let Some(patch) = transfer.patch.clone() else { return };
        if matches!(self.nodes[from].fault, Fault::Stalls(after) if transfer.next_frame >= after) {
            return;
        }
        let took = Bytes::MIB.0 * 1000 / self.rate;
        for passed in (5_000..took).step_by(5_000) {
            let bytes = (Bytes::MIB.times(frames.into()) + Bytes(self.rate * passed / 1000)).min(patch.bytes);
            let (bases, settings) = (patch.bases.clone(), settings_of(&patch));
            let part = Part { patch: patch.patch, settings, bases, frames, bytes, bytes_total: patch.bytes };
            self.soon(node, passed, Input::Work(WorkInput::FetchProgress { fetch, part }));
        }
        self.push(self.now + Duration::from_millis(took), from, Event::Frame(stream));
    }

    fn apply(&mut self, stream: StreamId, node: usize, patch: &CachedPatch) {
        let Some(transfer) = self.transfers.get(&stream) else { return };
        let received = transfer.received;
        let card = self.nodes.iter().find_map(|node| node.disk.layers.get(&patch.target).copied());
        let Node { disk, fault, .. } = &mut self.nodes[node];
        if let Fault::Damaged(base) = *fault
            && patch.bases.contains(&base)
        {
            disk.layers.remove(&base);
            disk.parts.remove(&patch.target);
            return self.end(stream, Err(FetchFailure::BaseGone(base)));
        }
        assert!(patch.bases.iter().all(|base| disk.layers.contains_key(base)), "a patch that cannot be applied here");
        let card = card.expect("served from a layer that is not there");
        disk.parts.remove(&patch.target);
        disk.layers.insert(card.diff_id, card);
        disk.patches.insert(patch.patch, patch.clone());
        let sketch = self.truth.get(&card.diff_id).map(|content| content.sketch.clone());
        self.end(stream, Ok(Fetched { card, sketch, patch: patch.clone(), settings: 1, received }));
    }

    /// Both ends learn that the stream is over.
    pub fn end(&mut self, stream: StreamId, result: Result<Fetched, FetchFailure>) {
        let Some(transfer) = self.transfers.remove(&stream) else { return };
        let ((to, to_life), (from, from_life)) = (transfer.to, transfer.from);
        if self.nodes[to].life == to_life {
            self.soon(to, 1, Input::Work(WorkInput::FetchEnded { fetch: transfer.fetch, result }));
        }
        if self.nodes[from].life == from_life && transfer.opened {
            self.soon(from, 1, Input::Peer(PeerInput::StreamClosed(stream)));
        }
    }

    pub fn stop_fetch(&mut self, node: usize, fetch: FetchId) {
        let mut streams = self.transfers.iter();
        let stream = streams.find(|(_, transfer)| transfer.to.0 == node && transfer.fetch == fetch).map(|(id, _)| *id);
        if let Some(stream) = stream {
            self.end(stream, Err(FetchFailure::Stopped));
        }
    }

    /// All streams of a node that is gone.
    pub fn break_streams(&mut self, node: usize) {
        let of_node = |transfer: &Transfer| transfer.to.0 == node || transfer.from.0 == node;
        let streams: Vec<StreamId> =
            self.transfers.iter().filter(|(_, transfer)| of_node(transfer)).map(|(id, _)| *id).collect();
        streams.into_iter().for_each(|stream| self.end(stream, Err(FetchFailure::Lost)));
    }
}
