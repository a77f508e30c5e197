//! Patches that come from both ends: frames from the first one up by one stream, from the last one down by another.
//! Where the two meet, the requester has all, and takes no more of either.

use lighter_engine::{Input, Part, StreamId, WorkInput};
use lighter_types::broken;
use lighter_wire::FrameOrder;

use super::Fleet;
use super::streams::Stream;

impl Fleet {
    /// Bytes from the end of a patch arrive at the requester, which keeps whole frames.
    pub fn tail_piece(&mut self, id: StreamId) {
        let Some(stream) = self.streams.get_mut(id) else { return };
        let ((node, _), fetch) = (stream.to, stream.fetch);
        let Some(sending) = &stream.sending else { return broken("a tail that is not sent") };
        let bytes = sending.bytes_there();
        let (patch, kept) = (&sending.patch, sending.whole_from_end(bytes));
        let part = Part { frames: 0, ..sending.part(bytes) };
        self.nodes[node].tails.insert(patch.target, (patch.patch, kept));
        self.step(node, Input::Work(WorkInput::FetchProgress { fetch, part }));
        if let Some(stream) = self.streams.get(id)
            && let Some(sending) = &stream.sending
        {
            let patch = sending.patch.patch;
            self.streams.passing_on(node, patch).into_iter().for_each(|id| self.pump(id));
        }
        if !self.ends_met(id) {
            self.pump(id);
        }
    }

    /// Ends both fetches of a patch if they have met: all of it is here. Whether they have.
    pub fn ends_met(&mut self, id: StreamId) -> bool {
        let Some(other) = self.streams.other_end(id) else { return false };
        let first =
            if self.streams.get(id).is_some_and(|stream| stream.order() == FrameOrder::Up) { id } else { other };
        let Some(Stream { to: (node, _), fetch, sending: Some(sending), .. }) = self.streams.get_mut(first) else {
            return false;
        };
        let (node, fetch) = (*node, *fetch);
        let there = self.nodes[node].tail_bytes(&sending.patch) + sending.bytes_there();
        if there < sending.patch.bytes.0 {
            return false;
        }
        sending.had += there;
        let part = sending.part(sending.bytes_there());
        self.keep(first);
        for id in [first, other, id] {
            self.served(id);
            if let Some(sending) = self.streams.get_mut(id).and_then(|stream| stream.sending.as_mut()) {
                sending.has_met = true;
            }
        }
        self.step(node, Input::Work(WorkInput::FetchProgress { fetch, part }));
        true
    }
}
