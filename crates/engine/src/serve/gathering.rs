//! Requests for a long patch that is here already wait a moment for others.
//!
//! A long patch goes through trees of relays (`referrals.rs`). Peers that wait for an encode are placed in these trees
//! together: those that pass the patch on come first. Requests that come one by one make chains instead, because at
//! any time there is one free place, at the end (docs/decisions/0033-both-ends.md). So the first request for a patch
//! that is here opens a window. When it closes, the patch goes to all that came meanwhile, as after an encode.
//!
//! The window is a small share of the time that the patch takes. A peer that nobody else could wait with is not held
//! up, nor one that resumes.

use std::collections::BTreeMap;
use std::time::Duration;

use lighter_types::{Bytes, BytesPerSecond, Moment, PatchId, PeerId};
use lighter_wire::PatchRequest;

use super::{CachedPatch, Core, Effect, Serve, Step, StreamId};
use crate::directory::Peer;
use crate::settings::Settings;

/// The requests that wait. At most one window for each stream.
#[derive(Debug, Default)]
pub struct Gathering(BTreeMap<PatchId, Window>);

#[derive(Debug)]
struct Window {
    closes: Moment,
    waiting: Vec<StreamId>,
}

impl Serve {
    /// Has a stream wait for others that want the same patch. False if it need not wait.
    pub(super) fn gather(
        &mut self,
        stream: StreamId,
        (from, request): (PeerId, &PatchRequest),
        patch: &CachedPatch,
        step: &mut Step<'_>,
    ) -> bool {
        let Some(window) = window(from, request, patch, step.core) else { return false };
        let closes = step.now + window;
        let window = self.gathering.0.entry(patch.patch).or_insert(Window { closes, waiting: Vec::new() });
        window.waiting.push(stream);
        step.effects.push(Effect::Working { stream, done: Bytes::ZERO });
        true
    }

    /// Gives the patches whose windows are over.
    pub fn advance(&mut self, step: &mut Step<'_>) {
        while let Some((patch, waiting)) = self.gathering.take_closed(step.now) {
            match self.cache.get(patch).cloned() {
                Some(held) => self.give_all(waiting, &held, step),
                // It left the cache meanwhile.
                None => waiting.into_iter().for_each(|stream| self.open_anew(stream, step)),
            }
        }
    }

    /// When the next window closes.
    pub fn next_deadline(&self) -> Option<Moment> {
        self.gathering.0.values().map(|window| window.closes).min()
    }
}

impl Gathering {
    pub fn forget(&mut self, stream: StreamId) {
        self.0.retain(|_, window| {
            window.waiting.retain(|&waiting| waiting != stream);
            !window.waiting.is_empty()
        });
    }

    pub fn clear(&mut self) {
        self.0.clear();
    }

    fn take_closed(&mut self, now: Moment) -> Option<(PatchId, Vec<StreamId>)> {
        let closed = self.0.iter().find(|(_, window)| window.closes <= now).map(|(&patch, _)| patch)?;
        self.0.remove(&closed).map(|window| (closed, window.waiting))
    }
}

/// How long a request waits for others; `None` if nobody could come, or if the patch does not go through trees.
fn window(from: PeerId, request: &PatchRequest, patch: &CachedPatch, core: &Core) -> Option<Duration> {
    let uplink = BytesPerSecond(request.referable?.uplink.0.max(1));
    let is_referred = core.settings.copies_max > 0 && !core.is_near(from) && request.resume.is_none();
    if !is_referred || !Settings::is_split(patch.bytes, uplink) {
        return None;
    }
    let may_come = |(id, peer): (PeerId, &Peer)| {
        id != from && peer.is_connected() && !core.is_of_site(peer) && !core.directory.is_held_by(patch.target, id)
    };
    let has_others = core.directory.peers().any(may_come);
    has_others.then(|| (patch.bytes.at(uplink) / Settings::GATHER_PARTS).min(Settings::GATHER_MAX))
}
