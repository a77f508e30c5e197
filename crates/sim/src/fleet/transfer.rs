//! Patches on their way: opened, served in pieces, kept frame by frame, applied.
//!
//! A requester opens a stream; the provider's engine answers with `Serve`, `Refuse` or `Refer`. A served patch is sent
//! in pieces, no faster than it comes to a provider that passes it on. The requester keeps whole frames on its disk and
//! applies each frame when it is there and the frame before is applied. The provider's part is over when all has been
//! sent, the requester's when all is applied. At the end, both engines hear of it, unless they began another life.

use std::time::Duration;

use lighter_engine::{
    Beside, FetchFailure, FetchId, FetchStep, Fetched, Input, LostCause, PeerInput, StreamId, WorkInput,
};
use lighter_types::{Bytes, Link, PatchId, broken};
use lighter_wire::{FrameOrder, Message, PatchRequest};

use super::Fleet;
use super::due::Due;
use super::effects::STREAM_BYTES;
use super::node::peer;
use super::streams::{Sending, Stream, end_of, settings_of};
use crate::network::Flow;
use crate::queue::Micros;

/// The end of a stream whose other end, or whose patch, went.
pub const LOST: FetchFailure = FetchFailure::Lost(LostCause::ConnectionClosed(FetchStep::Frames));

/// The bytes of a patch before its first frame.
const HEADER_BYTES: u64 = 1000;
/// An answer that is no patch, with the headers of its packet.
const REPLY_BYTES: u64 = 150;
/// A provider that holds back looks this often whether it may send more.
const DRIP: Micros = 1_000_000;
/// A provider that waits for the next frame says so this often.
const WORKING_EVERY: Micros = 5_000_000;
/// Both ends learn after this that a stream is over.
const END: Micros = 1000;

impl Fleet {
    pub fn fetch(
        &mut self,
        node: usize,
        (fetch, beside): (FetchId, Option<Beside>),
        from: usize,
        request: PatchRequest,
    ) {
        // The other fetch may have ended while this one was decided on.
        let life = self.nodes[node].life;
        let beside = beside.filter(|beside| self.streams.fetching((node, life), beside.fetch).is_some());
        let id = StreamId(self.fresh_number());
        let bytes = request.encode().map_or(0, |bytes| bytes.len() as u64) + STREAM_BYTES;
        let (to, from) = ((node, self.nodes[node].life), (from, self.nodes[from].life));
        self.streams.insert(id, Stream { to, from, fetch, request, is_open: false, beside, sending: None });
        if self.nodes[from.0].is_online && !self.are_parted(node, from.0) {
            self.send(node, from.0, bytes, Due::Opened(id));
        } else {
            self.end_stream(id, Err(LOST));
        }
    }

    /// The request arrives at the provider.
    pub fn opened(&mut self, id: StreamId) {
        let Some(stream) = self.streams.get_mut(id) else { return };
        let (from, life) = stream.from;
        if self.nodes[from].life != life {
            return self.end_stream(id, Err(LOST));
        }
        if self.trouble.flaws_of(from).iter().any(|flaw| flaw.pretended(0).is_some()) {
            return self.pretend(id, self.wires.now());
        }
        stream.is_open = true;
        let (requester, request) = (peer(stream.to.0), stream.request.clone());
        self.step(from, Input::Peer(PeerInput::StreamOpened { stream: id, from: requester, request }));
    }

    /// The node says that the patch comes through it.
    pub fn pretend(&mut self, id: StreamId, since: Micros) {
        let Some(stream) = self.streams.get(id) else { return };
        let time = self.wires.now() - since;
        let pretended = self.trouble.flaws_of(stream.from.0).iter().find_map(|flaw| flaw.pretended(time));
        self.working(id, pretended.unwrap_or_default(), None);
        self.wires.after(DRIP, Due::Pretends { stream: id, since });
    }

    /// The provider tells the requester that it makes the patch, or waits for more of one of so many bytes.
    pub fn working(&mut self, id: StreamId, done: Bytes, total: Option<Bytes>) {
        let Some(stream) = self.streams.get(id) else { return };
        let ((to, _), (from, _), fetch) = (stream.to, stream.from, stream.fetch);
        self.send_input(from, to, 20, Input::Work(WorkInput::FetchWorking { fetch, done, total }));
    }

    pub fn serve(&mut self, node: usize, id: StreamId, patch: PatchId, first_frame: u32) {
        let held = self.nodes[node].disk.patches.get(&patch).or_else(|| self.streams.receiving(node, patch)).cloned();
        let Some(stream) = self.streams.get_mut(id) else { return };
        let Some(patch) = held else { return self.end_stream(id, Err(LOST)) };
        let requester = stream.to.0;
        let now = self.wires.now();
        let keeps = stream.beside.is_none();
        let reserved =
            self.trouble.flaws_of(requester).iter().filter(|_| keeps).find_map(|flaw| flaw.reserve(now).err());
        if let Some(failure) = reserved {
            // The requester reserves room for the layer when the header has come.
            let failure = Box::new(failure);
            return self.send(node, requester, HEADER_BYTES, Due::Ends { stream: id, failure });
        }
        let path = self.wires.links.path(&self.topology, node, requester);
        let frames = self.content.frames(&patch);
        let had = match stream.request.order_of(patch.patch) {
            FrameOrder::Up => end_of(&frames, first_frame),
            FrameOrder::Down => self.nodes[requester].tail_bytes(&patch),
        };
        let pace = self.connections.pace(node, requester);
        let flow = Flow::new(&self.wires.network, pace, path, (patch.bytes.0 - had).max(1));
        stream.sending = Some(Sending::new(patch, frames, flow, had, now));
        if self.streams.served_by(node) > self.nodes[node].engine.settings().streams_max {
            self.violation(node, "more streams are served than allowed");
        }
        self.drip(id);
    }

    /// Sends what may be sent, and some more later if the provider holds back.
    pub fn drip(&mut self, id: StreamId) {
        self.pump(id);
        let Some(stream) = self.streams.get(id) else { return };
        let holds_back = self.trouble.flaws_of(stream.from.0).iter().any(|flaw| flaw.sent_by(0) < u64::MAX);
        if holds_back && stream.is_open {
            self.wires.after(DRIP, Due::Drip(id));
        }
    }

    /// Sends as much of a patch as may be on its way.
    pub fn pump(&mut self, id: StreamId) {
        let Some(ends) = self.streams.get(id).map(|stream| [stream.from.0, stream.to.0]) else { return };
        let is_joined = self.is_reachable(ends[0], ends[1]);
        let Some(stream) = self.streams.get_mut(id) else { return };
        let ((from, life), order) = (stream.from, stream.order());
        let Some(sending) = stream.sending.as_mut().filter(|sending| !sending.has_met) else { return };
        let provider = &self.nodes[from];
        let sends_on = self.trouble.flaws_of(from).iter().all(|flaw| flaw.sends_on(sending.flow.arrived));
        if is_joined && sends_on && provider.life == life {
            let may_come = stream.beside.map_or(u64::MAX, |beside| beside.bytes_max.0);
            let there = provider.sendable_bytes(&sending.patch, order).saturating_sub(sending.had).min(may_come);
            let time = self.wires.now() - sending.began;
            let held_back = self.trouble.flaws_of(from).iter().map(|flaw| flaw.sent_by(time)).min().unwrap_or(u64::MAX);
            let pace = self.connections.pace(from, ends[1]);
            let network = &mut self.wires.network;
            sending.flow.pump(network, pace, there.min(held_back), |bytes| Due::Piece { stream: id, bytes });
        }
    }

    /// The connections of a node's streams were silent: they begin as new ones do.
    pub fn start_again(&mut self, node: usize) {
        for (_, stream) in self.streams.of(node) {
            self.connections.forget_pace(stream.from.0, stream.to.0);
        }
    }

    /// All streams of a node go on.
    pub fn pump_streams(&mut self, node: usize) {
        self.streams.ids_of(node).into_iter().for_each(|stream| self.pump(stream));
    }

    /// Bytes of a patch arrive at the requester.
    pub fn piece(&mut self, id: StreamId, bytes: u64) {
        let Some(stream) = self.streams.get_mut(id) else { return };
        let ((node, life), (from, _), fetch) = (stream.to, stream.from, stream.fetch);
        if self.nodes[node].life != life {
            return;
        }
        let order = stream.order();
        let Some(sending) = &mut stream.sending else { return broken("a piece of a patch that is not sent") };
        sending.flow.take(bytes);
        if from < self.topology.hubs {
            self.record.hub_stream_bytes += bytes;
        }
        let (arrived, of) = (sending.flow.arrived, sending.flow.total);
        if let Some(failure) = self.trouble.flaws_of(from).iter().find_map(|flaw| flaw.sent(arrived, of).err()) {
            return self.end_stream(id, Err(failure));
        }
        if sending.has_met {
            return;
        }
        if order == FrameOrder::Down {
            return self.tail_piece(id);
        }
        let (part, is_done) = (sending.part(sending.bytes_there()), sending.flow.is_done());
        if stream.beside.is_some() {
            self.step(node, Input::Work(WorkInput::FetchProgress { fetch, part }));
            return if is_done { self.served(id) } else { self.pump(id) };
        }
        self.keep(id);
        self.step(node, Input::Work(WorkInput::FetchProgress { fetch, part }));
        if is_done {
            self.served(id);
        } else if !self.ends_met(id) {
            self.pump(id);
        }
    }

    /// Keeps and applies what is there of a patch. Frames that are there go on to those that follow it.
    pub fn keep(&mut self, id: StreamId) {
        let Some(stream) = self.streams.get_mut(id) else { return };
        let node = stream.to.0;
        let Some(sending) = &mut stream.sending else { return broken("a patch that is not sent is kept") };
        let bytes = sending.bytes_there();
        let part = sending.part(bytes);
        let is_done = sending.flow.is_done() || bytes >= sending.patch.bytes.0;
        // Frames that were on disk before are applied anew.
        sending.apply(part.frames as usize, self.content.applying(&sending.patch), self.wires.now());
        let (applied_at, patch) = (sending.applied_at, sending.patch.patch);
        if part.frames > 0 {
            // A frame that is not whole does not survive.
            let kept = end_of(&sending.frames, part.frames).min(bytes);
            self.nodes[node].disk.parts.insert(sending.patch.target, sending.part(kept));
        }
        for following in self.streams.passing_on(node, patch) {
            self.pump(following);
            self.tell_follower(following);
        }
        if is_done {
            self.wires.at(applied_at, Due::Applied(id));
        }
    }

    /// A provider that passes a patch on tells the requester every few seconds that it grows: here, or where it comes
    /// from. The requester passes that on.
    fn tell_follower(&mut self, id: StreamId) {
        let now = self.wires.now();
        let Some(Stream { from: (from, _), to: (to, _), sending: Some(sending), .. }) = self.streams.get(id) else {
            return;
        };
        let (patch, total, from, to) = (sending.patch.patch, sending.patch.bytes, *from, *to);
        if now - sending.told.0 < WORKING_EVERY {
            return;
        }
        let done = self.streams.growth(from, patch);
        let Some(sending) = self.streams.get_mut(id).and_then(|stream| stream.sending.as_mut()) else { return };
        sending.told = (now, done);
        self.working(id, done, Some(total));
        for following in self.streams.passing_on(to, patch) {
            self.tell_follower(following);
        }
    }

    /// The fetch beside which this stream ran has ended: it goes on as any other.
    fn go_on(&mut self, id: StreamId) {
        let Some(stream) = self.streams.get_mut(id) else { return };
        stream.beside = None;
        let (node, target) = (stream.to.0, stream.request.target);
        let has_begun = stream.sending.is_some();
        if self.nodes[node].disk.layers.contains(&target) {
            self.end_stream(id, Err(FetchFailure::Stopped));
        } else if has_begun {
            self.keep(id);
            self.pump(id);
        }
    }

    /// The provider has sent all. The requester still applies it.
    pub fn served(&mut self, id: StreamId) {
        let Some(stream) = self.streams.get_mut(id) else { return };
        let ((from, life), Some(sending)) = (stream.from, &mut stream.sending) else {
            return broken("a patch that is not sent has come");
        };
        sending.came(self.wires.now());
        let link = Link { up: sending.rate, ..Link::default() };
        if self.nodes[from].life == life && std::mem::take(&mut stream.is_open) {
            self.input_after(END, from, Input::Peer(PeerInput::StreamServed { stream: id, link }));
            self.input_after(END, from, Input::Peer(PeerInput::StreamClosed(id)));
        }
    }

    /// The requester has applied all.
    pub fn applied(&mut self, id: StreamId) {
        let Some(stream) = self.streams.get(id) else { return };
        let ((node, life), Some(sending)) = (stream.to, &stream.sending) else {
            return broken("a patch that is not sent is applied");
        };
        if self.nodes[node].life != life {
            return;
        }
        let (patch, received) = (sending.patch.clone(), Bytes(sending.flow.arrived));
        let link = Link { down: sending.rate, ..Link::default() };
        let applying = Duration::from_micros(self.content.applying(&patch));
        let Some(&card) = self.content.cards.get(&patch.target) else {
            return broken("a patch for a layer that the scenario does not have");
        };
        self.nodes[node].disk.parts.remove(&patch.target);
        self.nodes[node].tails.remove(&patch.target);
        if let Some(failure) = self.trouble.flaws_of(node).iter().find_map(|flaw| flaw.apply(&patch.bases).err()) {
            if let FetchFailure::BaseGone(base) = failure {
                self.nodes[node].disk.layers.remove(&base);
            }
            return self.end_stream(id, Err(failure));
        }
        // A patch that was asked for by its name is what its namer says.
        let flaws = self.trouble.flaws_of(stream.from.0).iter().filter(|_| stream.request.resume.is_none());
        if let Some(failure) = flaws.into_iter().find_map(|flaw| flaw.result(patch.patch).err()) {
            return self.end_stream(id, Err(failure));
        }
        let disk = &mut self.nodes[node].disk;
        let can_apply = patch.bases.iter().all(|base| disk.layers.contains(base));
        disk.layers.insert(patch.target);
        disk.patches.insert(patch.patch, patch.clone());
        if !can_apply {
            self.violation(node, "a patch was applied without its bases");
        }
        let (settings, sketch) = (settings_of(&patch), self.content.sketch(patch.target));
        self.end_stream(id, Ok(Fetched { card, sketch, patch, settings, received, applying, link }));
    }

    /// The provider has another answer than a patch. The requester learns of it when it arrives.
    pub fn turn_away(&mut self, id: StreamId, failure: FetchFailure) {
        let Some(stream) = self.streams.get_mut(id) else { return };
        let ((to, _), (from, _)) = (stream.to, stream.from);
        if std::mem::take(&mut stream.is_open) {
            self.input_after(END, from, Input::Peer(PeerInput::StreamClosed(id)));
        }
        self.send(from, to, REPLY_BYTES, Due::Ends { stream: id, failure: Box::new(failure) });
    }

    /// Both ends learn that the stream is over.
    pub fn end_stream(&mut self, id: StreamId, result: Result<Fetched, FetchFailure>) {
        let Some(stream) = self.streams.remove(id) else { return };
        let ((to, to_life), (from, from_life)) = (stream.to, stream.from);
        // A patch that comes no more cannot be passed on.
        let is_first = stream.order() == FrameOrder::Up && stream.beside.is_none();
        if let (Some(sending), Err(_), true) = (&stream.sending, &result, is_first) {
            let passed_on = self.streams.passing_on(to, sending.patch.patch);
            passed_on.into_iter().for_each(|id| self.end_stream(id, Err(LOST)));
        }
        if self.nodes[to].life == to_life {
            self.input_after(END, to, Input::Work(WorkInput::FetchEnded { fetch: stream.fetch, result }));
        }
        if let Some(beside) = self.streams.beside((to, to_life), stream.fetch) {
            self.go_on(beside);
        }
        if self.nodes[from].life == from_life && stream.is_open {
            self.input_after(END, from, Input::Peer(PeerInput::StreamClosed(id)));
        }
    }

    pub fn stop_fetch(&mut self, node: usize, fetch: FetchId) {
        if let Some(id) = self.streams.fetching((node, self.nodes[node].life), fetch) {
            self.end_stream(id, Err(FetchFailure::Stopped));
        }
    }

    /// Ends all streams of a node as lost.
    pub fn break_streams(&mut self, node: usize) {
        self.streams.ids_of(node).into_iter().for_each(|id| self.end_stream(id, Err(LOST)));
    }

    /// Ends the streams between a node and other sites as lost.
    pub fn break_far_streams(&mut self, node: usize) {
        for id in self.streams.ids_of(node) {
            let Some(stream) = self.streams.get(id) else { continue };
            let [to, from] = [stream.to.0, stream.from.0].map(|end| self.topology.nodes[end].site);
            if to != from {
                self.end_stream(id, Err(LOST));
            }
        }
    }
}
