//! Who passes a patch on.
//!
//! Of a patch, this node sends [`Settings::copies_max`] copies to other sites. Who asks for it then is referred to a relay: a
//! peer that asked for it before, and holds the layer by now. A relay will do if its uplink, shared with those who were
//! referred to it and are not done, takes little longer than the requester's own; of those, the one that was named least
//! often. While there is none, requesters wait for one; after [`Settings::REFERRAL_WAIT`], whichever gives most is good
//! enough, and this node sends the patch itself if nobody else has it.
//!
//! Who comes back was not served: its relay is not named any more, and who came back twice is served here.

use std::collections::BTreeMap;
use std::time::Duration;

use lighter_types::{Bytes, BytesPerSecond, Moment, PatchId, PeerId};

use super::{CachedPatch, Effect, Serve, StreamId, View, uploads};
use crate::settings::Settings;

/// What is known of the ways of patches; at most [`Settings::SPREADS_MAX`].
#[derive(Debug, Default)]
pub struct Referrals {
    spreads: BTreeMap<PatchId, Spread>,
    /// Whether a relay may have become free since those who wait were last looked at.
    changed: bool,
}

/// The way of one patch.
#[derive(Debug)]
struct Spread {
    patch: CachedPatch,
    /// Sent to other sites from here, or about to be.
    copies: usize,
    relays: BTreeMap<PeerId, Relay>,
    /// How often peers came back that were referred.
    returned: BTreeMap<PeerId, u32>,
    waiting: Vec<Waiting>,
    touched: Moment,
}

/// A peer that passes the patch on as soon as it holds the layer.
#[derive(Debug)]
struct Relay {
    uplink: BytesPerSecond,
    /// How many were ever referred to it.
    named: u32,
    /// Who was referred to it, and when it has to be done.
    children: BTreeMap<PeerId, Moment>,
}

#[derive(Clone, Copy, Debug)]
struct Waiting {
    stream: StreamId,
    since: Moment,
    /// When it is told that it still has to wait.
    told: Moment,
}

/// What becomes of a stream whose patch is here.
enum Place {
    Here,
    At(PeerId),
    Later,
}

impl Serve {
    /// The patch for this stream is here: it is sent, by this node or another, now or later.
    pub(super) fn give(
        &mut self,
        stream: StreamId,
        patch: &CachedPatch,
        now: Moment,
        view: View<'_>,
        effects: &mut Vec<Effect>,
    ) {
        if !self.referrals.begin(patch, now) {
            return self.serve(stream, patch, effects);
        }
        let waiting = Waiting { stream, since: now, told: now };
        if !self.put(waiting, patch.patch, now, view, effects)
            && let Some(spread) = self.referrals.spreads.get_mut(&patch.patch)
        {
            spread.waiting.push(waiting);
            effects.push(Effect::Working { stream, target_bytes_done: Bytes::ZERO });
        }
    }

    /// Something happened by which a relay may have become free.
    pub fn look_again(&mut self) {
        self.referrals.changed = true;
    }

    /// When those who wait for a relay are told so, or have waited for long enough.
    pub fn next_deadline(&self) -> Option<Moment> {
        let waiting = self.referrals.spreads.values().flat_map(|spread| &spread.waiting);
        waiting.map(|waiting| waiting.told + Settings::REFERRAL_WAIT).min()
    }

    /// Finds places for those who wait.
    pub fn advance(&mut self, now: Moment, view: View<'_>, effects: &mut Vec<Effect>) {
        let is_due = self.next_deadline().is_some_and(|deadline| deadline <= now);
        if !std::mem::take(&mut self.referrals.changed) && !is_due {
            return;
        }
        let patches: Vec<PatchId> = self.referrals.spreads.keys().copied().collect();
        for patch in patches {
            let Some(spread) = self.referrals.spreads.get_mut(&patch) else { continue };
            let mut left = std::mem::take(&mut spread.waiting);
            left.retain_mut(|waiting| {
                let is_placed = self.put(*waiting, patch, now, view, effects);
                if !is_placed && waiting.told + Settings::REFERRAL_WAIT <= now {
                    waiting.told = now;
                    effects.push(Effect::Working { stream: waiting.stream, target_bytes_done: Bytes::ZERO });
                }
                !is_placed
            });
            if let Some(spread) = self.referrals.spreads.get_mut(&patch) {
                spread.waiting = left;
            }
        }
    }

    /// Whether the stream got its place, or is gone.
    fn put(
        &mut self,
        waiting: Waiting,
        patch: PatchId,
        now: Moment,
        view: View<'_>,
        effects: &mut Vec<Effect>,
    ) -> bool {
        let Some(stream) = self.streams.get(&waiting.stream) else { return true };
        let (from, referable) = (stream.from, stream.referable);
        let served = self.streams.values().filter(|stream| stream.served.is_some()).count();
        let Some(spread) = self.referrals.spreads.get_mut(&patch) else { return true };
        spread.touched = now;
        let is_far = !uploads::is_near(from, view);
        let referable = referable.filter(|_| is_far && view.settings.copies_max > 0);
        let place = match referable {
            None => Place::Here,
            Some(referable) => spread.place(from, referable.uplink, now.since(waiting.since), now, view),
        };
        match place {
            Place::Here if served >= view.settings.streams_max => return false,
            Place::Later => return false,
            Place::Here => {
                spread.copies += usize::from(is_far);
                let patch = spread.patch.clone();
                self.serve(waiting.stream, &patch, effects);
            }
            Place::At(to) => effects.push(Effect::Refer { stream: waiting.stream, to }),
        }
        if let (Some(referable), Some(spread)) = (referable, self.referrals.spreads.get_mut(&patch))
            && referable.passes_on
            && spread.relays.len() < Settings::RELAYS_MAX
        {
            let new = || Relay { uplink: referable.uplink, named: 0, children: BTreeMap::new() };
            spread.relays.entry(from).or_insert_with(new);
        }
        true
    }

    /// A stream ended early: its copy does not count.
    pub(super) fn copy_broke(&mut self, patch: PatchId, from: PeerId, view: View<'_>) {
        if let Some(spread) = self.referrals.spreads.get_mut(&patch)
            && !uploads::is_near(from, view)
        {
            spread.copies = spread.copies.saturating_sub(1);
        }
    }
}

impl Referrals {
    /// Those who wait for a place when the node stops.
    pub fn stop(&mut self) -> Vec<StreamId> {
        let spreads = std::mem::take(&mut self.spreads);
        spreads.into_values().flat_map(|spread| spread.waiting).map(|waiting| waiting.stream).collect()
    }

    /// Follows a patch. Over the cap, the one that nobody asked for the longest makes room; false if all are waited for.
    fn begin(&mut self, patch: &CachedPatch, now: Moment) -> bool {
        if self.spreads.contains_key(&patch.patch) {
            return true;
        }
        if self.spreads.len() >= Settings::SPREADS_MAX {
            let idle = self.spreads.iter().filter(|(_, spread)| spread.waiting.is_empty());
            let Some((&oldest, _)) = idle.min_by_key(|(_, spread)| spread.touched) else { return false };
            self.spreads.remove(&oldest);
        }
        let spread = Spread {
            patch: patch.clone(),
            copies: 0,
            relays: BTreeMap::new(),
            returned: BTreeMap::new(),
            waiting: Vec::new(),
            touched: now,
        };
        self.spreads.insert(patch.patch, spread);
        true
    }
}

impl Spread {
    fn place(
        &mut self,
        peer: PeerId,
        uplink: BytesPerSecond,
        waited: Duration,
        now: Moment,
        view: View<'_>,
    ) -> Place {
        self.came_back(peer);
        if self.returned.get(&peer).is_some_and(|times| *times >= Settings::REFERRALS_MAX) {
            return Place::Here;
        }
        if self.copies < view.settings.copies_max {
            return Place::Here;
        }
        let target = self.patch.target;
        let holders = view.directory.holders(target);
        let holds = |id: &PeerId| holders.binary_search(id).is_ok();
        let is_connected = |id: PeerId| view.directory.peer(id).is_some_and(crate::directory::Peer::is_connected);
        // Of the relays that can serve it now: how often they were named, and the rate that the requester would get.
        let mut free: Vec<(u32, BytesPerSecond, PeerId)> = Vec::new();
        let mut is_on_the_way = false;
        for (&id, relay) in self.relays.iter_mut().filter(|(id, _)| **id != peer && is_connected(**id)) {
            if holds(&id) {
                relay.children.retain(|child, until| *until > now && !holds(child));
                let rate = relay.uplink.0 / (relay.children.len() as u64 + 1);
                free.push((relay.named, BytesPerSecond(rate.max(1)), id));
            } else {
                is_on_the_way = true;
            }
        }
        let enough = self.patch.bytes.at(uplink.max(BytesPerSecond(1))).saturating_mul(4) / 3 + Settings::REFERRAL_SLACK;
        let fit = free.iter().filter(|(_, rate, _)| self.patch.bytes.at(*rate) <= enough);
        let fit = fit.min_by_key(|(named, rate, id)| (*named, std::cmp::Reverse(*rate), *id));
        let is_long = waited >= Settings::REFERRAL_WAIT;
        let found = fit.or_else(|| free.iter().filter(|_| is_long).max_by_key(|(_, rate, id)| (*rate, *id)));
        match found {
            Some(&(_, rate, relay)) => {
                self.refer(peer, relay, rate.min(uplink), now);
                Place::At(relay)
            }
            None if is_long || !(is_on_the_way || !free.is_empty()) => Place::Here,
            None => Place::Later,
        }
    }

    fn refer(&mut self, peer: PeerId, relay: PeerId, rate: BytesPerSecond, now: Moment) {
        let took = self.patch.bytes.at(rate.max(BytesPerSecond(1)));
        let until = now + (Settings::REFERRAL_LIFE + took.saturating_mul(2));
        if let Some(relay) = self.relays.get_mut(&relay) {
            relay.named += 1;
            relay.children.insert(peer, until);
        }
    }

    /// Who was referred and asks again got nothing there.
    fn came_back(&mut self, peer: PeerId) {
        let before = self.relays.len();
        self.relays.retain(|_, relay| !relay.children.contains_key(&peer));
        if self.relays.len() < before {
            *self.returned.entry(peer).or_default() += 1;
        }
    }
}
