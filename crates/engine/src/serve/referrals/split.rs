//! Patches that come to each peer from both ends.
//!
//! In one tree a half of the peers are leaves, which send nothing: nobody gets the patch sooner than at half of the
//! rate of an uplink. A split patch goes through two trees, one for each order of its frames. A peer has branches in
//! one of them and is a leaf in the other, so that every uplink carries one copy in all (SplitStream, Castro et al.,
//! SOSP 2003). The tree in which a peer has branches follows from its name.
//!
//! Peers that wait for the patch together ask for its last frames soon after the first ones have come. Their relays for
//! that are chosen at once: peers with branches first, or else the tree would become a chain.

use std::cmp::Reverse;

use lighter_types::{Bytes, BytesPerSecond, DiffId, Moment, PatchId, PeerId};
use lighter_wire::{FrameOrder, Referable};

use super::{CachedPatch, Candidate, Core, Here, Load, Referrals, Requester, Serve, Spread, Step, StreamId};
use crate::settings::Settings;

/// The order of the frames that a peer passes on.
pub fn order_of(peer: PeerId) -> FrameOrder {
    if peer.as_bytes()[0] & 1 == 0 { FrameOrder::Up } else { FrameOrder::Down }
}

/// A patch that a peer asks for, in one order of its frames.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    pub patch: PatchId,
    pub target: DiffId,
    pub order: FrameOrder,
    /// The bytes that come in this order.
    pub bytes: Bytes,
    pub is_split: bool,
}

impl Asked {
    pub fn new(patch: &CachedPatch, order: FrameOrder, uplink: BytesPerSecond) -> Self {
        let is_split = Settings::is_split(patch.bytes, uplink);
        let mut bytes = patch.bytes;
        if is_split {
            bytes.0 /= 2;
        }
        Self { patch: patch.patch, target: patch.target, order, bytes, is_split }
    }
}

impl Serve {
    /// Sorts streams that wait for a patch: the fastest uplinks first; of a split patch, first those that pass on this
    /// order of frames.
    pub(super) fn sort(&self, waiting: &mut [StreamId], patch: &CachedPatch, order: FrameOrder) {
        waiting.sort_by_key(|stream| {
            let found = self.streams.get(stream).and_then(|stream| Some((stream.from, stream.request.referable?)));
            let Some((from, Referable { uplink, .. })) = found else { return (true, Reverse(None)) };
            let is_split = Settings::is_split(patch.bytes, uplink);
            (is_split && order_of(from) != order, Reverse(Some(uplink)))
        });
    }

    /// Chooses the relays by which these peers will get the last frames of a split patch.
    pub(super) fn reserve(&mut self, mut referred: Vec<StreamId>, patch: &CachedPatch, step: &Step<'_>) {
        let order = FrameOrder::Down;
        self.sort(&mut referred, patch, order);
        for stream in referred {
            let Some(waiting) = self.streams.get(&stream) else { continue };
            let (from, Some(referable)) = (waiting.from, waiting.request.referable) else { continue };
            if !Settings::is_split(patch.bytes, referable.uplink) || step.core.is_near(from) {
                continue;
            }
            let relay = self.relay(from, referable, (patch, order), step);
            let spread = self.referrals.spread((patch.patch, order), step.now);
            spread.copies += usize::from(relay.is_none());
            spread.reserved.insert(from, relay);
        }
    }

    /// The relay for a requester; `None` if this node is to serve it.
    pub(super) fn relay(
        &mut self,
        from: PeerId,
        referable: Referable,
        (patch, order): (&CachedPatch, FrameOrder),
        step: &Step<'_>,
    ) -> Option<PeerId> {
        let asked = Asked::new(patch, order, referable.uplink);
        let requester = Requester::new(from, referable, asked.is_split);
        let here = Here { now: step.now, uplink: self.uploads.uplink(referable.uplink, step.core) };
        self.referrals.relay_for(requester, asked, here, step.core)
    }
}

impl Spread {
    /// The relay by which the requester has the patch first, the penalty included. A relay of a split patch passes on
    /// one order of frames, as long as there is another relay for the other order.
    pub(super) fn best_candidate(
        &self,
        requester: Requester,
        load: &Load,
        asked: Asked,
        now: Moment,
        core: &Core,
    ) -> Option<Candidate> {
        let of_order = |id: PeerId| !asked.is_split || order_of(id) == asked.order;
        let best = self.best_among(&of_order, requester, load, asked.bytes, (now, core));
        best.or_else(|| self.best_among(&|id| !of_order(id), requester, load, asked.bytes, (now, core)))
    }
}

impl Referrals {
    /// The relay that was chosen for a peer, if it is still there; `None` if none was chosen, `Some(None)` if this node
    /// is to send to the peer.
    pub fn take_reserved(&mut self, of: (PatchId, FrameOrder), peer: PeerId, core: &Core) -> Option<Option<PeerId>> {
        let reserved = self.0.get_mut(&of)?.reserved.remove(&peer)?;
        reserved.is_none_or(|relay| core.is_connected(relay)).then_some(reserved)
    }
}
