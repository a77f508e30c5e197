//! Who passes a patch on.
//!
//! Of a patch, this node sends [`Settings::copies_max`] copies to other sites. Who asks for it then is referred to a relay:
//! a peer that got it, or gets it just now, since a relay passes on what it has while more of it comes. For each relay it is
//! estimated when the requester would be done: by the uplinks that both told of, shared with those who were referred there
//! and are not done, for this patch or another, and by when a relay has a first frame to pass on. Taken is the soonest, where
//! having been named before has a price: so has a meeting, and no uplink is to carry much more than its share.
//!
//! Who comes back got nothing: its relay is not named any more, and who came back twice is served here.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use lighter_types::{Bytes, BytesPerSecond, Moment, PatchId, PeerId};
use lighter_wire::{Referable, Refusal};

use super::{CachedPatch, Effect, Serve, StreamId, View};
use crate::directory::Peer;
use crate::planner::is_near;
use crate::settings::Settings;

/// What is known of the ways of patches; at most [`Settings::SPREADS_MAX`].
#[derive(Debug, Default)]
pub struct Referrals(BTreeMap<PatchId, Spread>);

/// The way of one patch.
#[derive(Debug, Default)]
struct Spread {
    /// Sent to other sites from here, or about to be.
    copies: usize,
    /// At most [`Settings::RELAYS_MAX`].
    relays: BTreeMap<PeerId, Relay>,
    /// To whom peers were referred that are not done, or were not long ago.
    referred: BTreeMap<PeerId, Referred>,
    /// How often peers came back that were referred; as many as relays at most.
    returned: BTreeMap<PeerId, u32>,
    touched: Moment,
}

/// A peer that passes the patch on.
#[derive(Debug)]
struct Relay {
    uplink: BytesPerSecond,
    /// Somebody came back from it: it is not named any more.
    has_failed: bool,
    /// How many were ever referred to it.
    named: u32,
    /// When it is taken to have the first of the patch, and all of it.
    begins: Moment,
    ends: Moment,
}

/// A peer that was referred.
#[derive(Debug)]
struct Referred {
    relay: PeerId,
    /// When it is taken to be done.
    ends: Moment,
}

/// Of other patches: what a peer and the relays are busy with.
#[derive(Debug, Default)]
struct Others {
    /// How many the peer is getting, and when it is taken to have them.
    getting: u64,
    busy_until: Moment,
    /// Whom it was referred to: it need not connect to these again.
    met: BTreeSet<PeerId>,
    /// How many each relay is taken to send to.
    sending: BTreeMap<PeerId, u64>,
}

/// A relay for somebody: what is expected of it. The best is the least.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Offer {
    /// When the peer would be done, and the price in time.
    dear: Moment,
    ends: Moment,
    relay: PeerId,
    begins: Moment,
}

impl Serve {
    /// The patch that these wait for is here. Those with the fastest uplinks come first: the others have it from them.
    pub(super) fn give_all(
        &mut self,
        mut waiting: Vec<StreamId>,
        patch: &CachedPatch,
        now: Moment,
        view: View<'_>,
        effects: &mut Vec<Effect>,
    ) {
        let uplink = |stream: &StreamId| Some(self.streams.get(stream)?.request.referable?.uplink);
        waiting.sort_by_key(|stream| Reverse(uplink(stream)));
        waiting.into_iter().for_each(|stream| self.give(stream, patch, now, view, effects));
    }

    /// The patch for this stream is here: it is sent, or somebody is named who sends it.
    pub(super) fn give(
        &mut self,
        stream: StreamId,
        patch: &CachedPatch,
        now: Moment,
        view: View<'_>,
        effects: &mut Vec<Effect>,
    ) {
        let Some(waiting) = self.streams.get(&stream) else { return };
        let (from, is_far) = (waiting.from, !is_near(waiting.from, view));
        let referable = waiting.request.referable.filter(|_| is_far && view.settings.copies_max > 0);
        let served = self.streams.values().filter(|stream| stream.served.is_some()).count();
        let mut others = self.referrals.others(from, patch.patch, now);
        let spread = self.referrals.of(patch.patch, now);
        match referable.and_then(|referable| spread.place(from, referable, &mut others, patch, now, view)) {
            Some(to) => {
                let settings = view.settings.id_of(patch);
                effects.push(Effect::Refer { stream, to, patch: patch.patch, settings });
            }
            None if served >= view.settings.streams_max => {
                spread.relays.remove(&from);
                effects.push(Effect::Refuse { stream, refusal: Refusal::Busy });
            }
            None => {
                spread.copies += usize::from(is_far);
                self.serve(stream, patch, effects);
            }
        }
    }

    /// A stream ended early: its copy does not count.
    pub(super) fn copy_broke(&mut self, patch: PatchId, from: PeerId, view: View<'_>) {
        if let Some(spread) = self.referrals.0.get_mut(&patch)
            && !is_near(from, view)
        {
            spread.copies = spread.copies.saturating_sub(1);
        }
    }
}

/// Of a relay that was named so often, in the time of a meeting: all are named about equally often, and none for a little
/// time.
fn price(named: u32) -> Duration {
    Duration::from_millis(u64::from(named).saturating_mul(named.into()).saturating_mul(400))
}

/// What a relay has to have before it passes anything on: patches are cut into frames of a fourth, but for small and large
/// ones (docs/PATCH.md).
fn first_frame(patch: Bytes) -> Bytes {
    Bytes(patch.0 / 4).clamp(Bytes::KIB.times(64), Bytes::MIB).min(patch)
}

/// Whether a relay is this peer or gets the patch by way of it. Nobody is referred to such a one, so that no two wait for each other.
fn is_behind(referred: &BTreeMap<PeerId, Referred>, relay: PeerId, peer: PeerId) -> bool {
    let mut sources = std::iter::successors(Some(relay), |id| referred.get(id).map(|referred| referred.relay));
    sources.any(|source| source == peer)
}

impl Others {
    /// Adds what the relays of a patch are taken to send now.
    fn count(&mut self, spread: &Spread, now: Moment) {
        for referred in spread.referred.values().filter(|referred| referred.ends > now) {
            *self.sending.entry(referred.relay).or_default() += 1;
        }
    }
}

impl Referrals {
    /// What the other patches under way have to do with this one, for a peer.
    fn others(&self, peer: PeerId, patch: PatchId, now: Moment) -> Others {
        let mut others = Others { busy_until: now, ..Others::default() };
        for spread in self.0.iter().filter(|(other, _)| **other != patch).map(|(_, spread)| spread) {
            if let Some(own) = spread.relays.get(&peer).filter(|own| own.ends > now) {
                others.getting += 1;
                others.busy_until = others.busy_until.max(own.ends);
            }
            others.met.extend(spread.referred.get(&peer).map(|referred| referred.relay));
            others.count(spread, now);
        }
        others
    }

    /// Over the cap, the patch that nobody asked for the longest is forgotten.
    fn of(&mut self, patch: PatchId, now: Moment) -> &mut Spread {
        if self.0.len() >= Settings::SPREADS_MAX && !self.0.contains_key(&patch) {
            let oldest = self.0.iter().min_by_key(|(_, spread)| spread.touched).map(|(&patch, _)| patch);
            oldest.into_iter().for_each(|oldest| drop(self.0.remove(&oldest)));
        }
        let spread = self.0.entry(patch).or_default();
        spread.touched = now;
        spread
    }
}

impl Spread {
    /// The relay for a peer; `None` if it is to be served here. From now on it is a relay itself, if it passes patches on.
    fn place(
        &mut self,
        peer: PeerId,
        referable: Referable,
        others: &mut Others,
        patch: &CachedPatch,
        now: Moment,
        view: View<'_>,
    ) -> Option<PeerId> {
        self.came_back(peer);
        let uplink = BytesPerSecond(referable.uplink.0.max(1));
        let is_patient = self.returned.get(&peer).is_none_or(|times| *times < Settings::REFERRALS_MAX);
        let is_spread = self.copies >= view.settings.copies_max;
        let relay = if is_patient && is_spread { self.best((peer, uplink), others, patch, now, view) } else { None };
        let source = relay.map(|offer| offer.relay);
        let begins =
            relay.map_or(now, |offer| offer.begins) + first_frame(patch.bytes).at(uplink) * (1 + others.getting as u32);
        let ends = relay.map_or(now + patch.bytes.at(uplink), |offer| offer.ends);
        let ends = ends.max(others.busy_until + patch.bytes.at(uplink));
        if let Some(relay) = source {
            self.referred.insert(peer, Referred { relay, ends });
            self.relays.entry(relay).and_modify(|relay| relay.named += 1);
        }
        if referable.passes_on && self.relays.len() < Settings::RELAYS_MAX {
            let relay = Relay { uplink, has_failed: false, named: 0, begins, ends };
            self.relays.insert(peer, relay);
        }
        source
    }

    /// Of the relays by which the peer is done soonest, or little later, the one that was named least often.
    fn best(
        &mut self,
        (peer, uplink): (PeerId, BytesPerSecond),
        others: &mut Others,
        patch: &CachedPatch,
        now: Moment,
        view: View<'_>,
    ) -> Option<Offer> {
        let holds = |id: &PeerId| view.directory.is_held_by(patch.target, *id);
        let is_there = |id: &PeerId| view.directory.peer(*id).is_some_and(Peer::is_connected);
        let is_done = |id: &PeerId, ends: Moment| ends > now && holds(id);
        let lasts = |ends: Moment| now.since(ends) < Settings::REFERRAL_LIFE;
        self.referred.retain(|id, referred| lasts(referred.ends) && !is_done(id, referred.ends));
        others.count(self, now);
        let mut best: Option<Offer> = None;
        // A thousand relays, for each who asks: what is looked up is looked up for few of them.
        for (&relay, of) in self.relays.iter_mut().filter(|(_, relay)| !relay.has_failed) {
            if is_done(&relay, of.ends) {
                (of.begins, of.ends) = (of.begins.min(now), now);
            }
            let is_met = others.met.contains(&relay);
            let hop = if is_met { Settings::REFERRAL_HOP / 2 } else { Settings::REFERRAL_HOP };
            let begins = now.max(of.begins) + hop;
            let price = price(of.named.saturating_sub(is_met.into()));
            let alone = begins + patch.bytes.at(of.uplink.min(uplink));
            if best.is_some_and(|best| alone + price > best.dear) {
                continue;
            }
            let sharing = others.sending.get(&relay).copied().unwrap_or_default();
            let rate = BytesPerSecond((of.uplink.0 / (sharing + 1)).clamp(1, uplink.0));
            let ends = (begins + patch.bytes.at(rate)).max(of.ends + hop);
            let offer = Offer { dear: ends + price, ends, relay, begins };
            let is_better = best.is_none_or(|best| offer < best);
            if is_better && is_there(&relay) && !is_behind(&self.referred, relay, peer) {
                best = Some(offer);
            }
        }
        best
    }

    /// Who was referred and asks again got nothing there.
    fn came_back(&mut self, peer: PeerId) {
        let Some(referred) = self.referred.remove(&peer) else { return };
        if let Some(relay) = self.relays.get_mut(&referred.relay) {
            relay.has_failed = true;
        }
        if self.returned.len() < Settings::RELAYS_MAX {
            *self.returned.entry(peer).or_default() += 1;
        }
    }
}
