//! Refers a requester to a relay: another peer that has the patch, or is getting it.
//!
//! This node sends [`Settings::copies_max`] copies of a patch to other sites. Each later requester is referred to a
//! relay: a peer that asked for the patch before, passes patches on, and is connected. A relay that is still getting
//! the patch passes on each frame that it has.
//!
//! The node estimates for each relay when the requester would have the patch, then picks the relay that finishes first:
//!
//! - A relay has something to pass on when its first frame has come over its own uplink, which it shares among the
//!   patches that it is getting.
//! - The requester needs a hop to connect and to ask: [`Settings::REFERRAL_HOP`], less [`Settings::REFERRAL_CONNECT`]
//!   if it was referred to this relay for another patch; over far links, three round trips between the two.
//! - The relay's uplink is shared by all peers that were referred to it and are not done, for this patch or another.
//! - A penalty of n x n x [`Settings::REFERRAL_CONNECT`] is added for n earlier referrals to the relay, so that no
//!   uplink carries much more than its share.
//! - The time that the relay's present receivers lose is added too. They pass on what they get, so all that get the
//!   patch through them lose it as well.
//!
//! More copies at a time than an uplink carries at the requesters' rate make each of them slower, and with it all that
//! is passed on. If the patch takes long ([`Settings::LONG_PATCH`]), this node sends no more of them, but two at least:
//! one copy would make a chain of all nodes.
//!
//! A patch that is split ([`Settings::is_split`]) comes to each peer from both ends, through two trees: frames from the
//! first one up, and from the last one down (`split.rs`).
//!
//! No peer is referred to a relay that gets the patch through that peer: the two would wait for each other. A requester
//! that comes back got nothing: its relay is not named any more. This node serves a requester that came back
//! [`Settings::REFERRALS_MAX`] times.

mod split;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use lighter_types::{Bytes, BytesPerSecond, DiffId, Moment, PatchId, PeerId, broken};
use lighter_wire::{FrameOrder, Referable, Refusal};

use super::{CachedPatch, Core, Effect, Serve, Step, StreamId};
use crate::settings::Settings;
use split::Asked;

/// The patches that spread through the fleet from here, in each order of their frames; at most
/// [`Settings::SPREADS_MAX`].
#[derive(Debug, Default)]
pub struct Referrals(BTreeMap<(PatchId, FrameOrder), Spread>);

/// The way of one patch through the fleet.
#[derive(Debug, Default)]
struct Spread {
    /// Copies that this node sent to other sites, or is about to send.
    copies: usize,
    /// At most [`Settings::RELAYS_MAX`].
    relays: BTreeMap<PeerId, Relay>,
    /// Peers that were referred and are not done, or were done a short time ago. At most one for each peer of the
    /// fleet.
    referred: BTreeMap<PeerId, Referred>,
    /// How often each referred peer came back. At most [`Settings::RELAYS_MAX`].
    returned: BTreeMap<PeerId, u32>,
    /// Relays that were chosen for peers before they asked; none if this node is to send to the peer. At most one for
    /// each stream that waited for the patch.
    reserved: BTreeMap<PeerId, Option<PeerId>>,
    touched: Moment,
}

/// A peer that passes the patch on.
#[derive(Debug)]
struct Relay {
    uplink: BytesPerSecond,
    /// A peer came back from it: it is not named any more.
    has_failed: bool,
    /// How many peers were ever referred to it.
    referrals: u32,
    /// When it is expected to have the first frame, and the whole patch.
    first_frame_at: Moment,
    whole_at: Moment,
}

/// A peer that was referred to a relay.
#[derive(Debug)]
struct Referred {
    relay: PeerId,
    /// When the peer is expected to have the patch.
    whole_at: Moment,
}

/// A peer that asks for the patch and may be referred.
#[derive(Clone, Copy, Debug)]
struct Requester {
    peer: PeerId,
    uplink: BytesPerSecond,
    /// The most that it takes of one order of frames.
    rate: BytesPerSecond,
    passes_on: bool,
}

/// This node as it decides.
#[derive(Clone, Copy, Debug)]
struct Here {
    now: Moment,
    /// The rate of its own uplink.
    uplink: BytesPerSecond,
}

/// The transfers that keep the requester and the relays busy.
#[derive(Debug, Default)]
struct Load {
    /// How many other patches the requester is getting, and when it is expected to have them.
    getting: u32,
    busy_until: Moment,
    /// Relays that the requester was referred to for other patches: it is connected to them.
    met: BTreeSet<PeerId>,
    /// How many peers each relay is expected to send to.
    sending: BTreeMap<PeerId, u64>,
}

/// A relay for a requester. The best candidate is the least.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Candidate {
    /// When the requester would have the patch, plus the penalty for earlier referrals.
    score: Moment,
    whole_at: Moment,
    relay: PeerId,
    /// When the requester would begin to get it.
    begins: Moment,
}

impl Serve {
    /// The patch for these streams is here. The fastest uplinks come first: the other peers get the patch through them.
    pub(super) fn give_all(&mut self, mut waiting: Vec<StreamId>, patch: &CachedPatch, step: &mut Step<'_>) {
        self.sort(&mut waiting, patch, FrameOrder::Up);
        let mut referred = waiting.clone();
        for stream in waiting {
            self.give(stream, patch, step);
        }
        referred.retain(|stream| self.streams.get(stream).is_some_and(|stream| stream.served.is_none()));
        self.reserve(referred, patch, step);
    }

    /// The patch for this stream is here: sends it, or refers the peer to a relay.
    pub(super) fn give(&mut self, stream: StreamId, patch: &CachedPatch, step: &mut Step<'_>) {
        let Some(waiting) = self.streams.get(&stream) else { return broken("a patch for a stream that is not open") };
        let (from, is_far) = (waiting.from, !step.core.is_near(waiting.from));
        let referable = waiting.request.referable.filter(|_| is_far && step.core.settings.copies_max > 0);
        let order = waiting.request.order_of(patch.patch);
        let reserved = self.referrals.take_reserved((patch.patch, order), from, step.core);
        let relay = match (reserved, referable) {
            (Some(reserved), Some(_)) => reserved,
            (_, Some(referable)) => self.relay(from, referable, (patch, order), step),
            (_, None) => None,
        };
        let spread = self.referrals.spread((patch.patch, order), step.now);
        if let Some(to) = relay {
            let settings = step.core.settings.id_of(patch.effort);
            step.effects.push(Effect::Refer { stream, to, patch: patch.patch, settings });
        } else if self.streams.values().filter(|stream| stream.served.is_some()).count()
            >= step.core.settings.streams_max
        {
            spread.relays.remove(&from);
            step.effects.push(Effect::Refuse { stream, refusal: Refusal::BUSY });
        } else {
            // A copy that was reserved is counted.
            spread.copies += usize::from(is_far && reserved.is_none());
            self.send(stream, patch, step.effects);
        }
    }
}

impl Referrals {
    /// A stream ended early: its copy does not count.
    pub fn copy_broke(&mut self, copy: (PatchId, FrameOrder), to: PeerId, core: &Core) {
        if let Some(spread) = self.0.get_mut(&copy)
            && !core.is_near(to)
        {
            spread.copies = spread.copies.saturating_sub(1);
        }
    }

    /// The relay for a requester; `None` if this node is to serve it. From now on the requester is a relay itself, if
    /// it passes patches on.
    fn relay_for(&mut self, requester: Requester, asked: Asked, here: Here, core: &Core) -> Option<PeerId> {
        let now = here.now;
        let mut load = self.load_of_others(requester.peer, asked, now);
        let spread = self.spread((asked.patch, asked.order), now);
        spread.end_referral(requester.peer);
        let copies_max = here.copies_max(asked, requester.uplink, core.settings.copies_max);
        let best = if spread.may_refer(requester.peer, copies_max) {
            spread.forget_done(asked.target, now, core);
            load.add(spread, now);
            spread.best_candidate(requester, &load, asked, now, core)
        } else {
            None
        };
        let rate = BytesPerSecond((here.uplink.0 / copies_max.max(1) as u64).clamp(1, requester.rate.0));
        spread.expect(requester, best, &load, asked.bytes, (now, rate));
        best.map(|candidate| candidate.relay)
    }

    /// The load by all patches but this one, and by the other order of this one.
    fn load_of_others(&self, peer: PeerId, asked: Asked, now: Moment) -> Load {
        let mut load = Load { busy_until: now, ..Load::default() };
        for (&(patch, order), spread) in &self.0 {
            if patch == asked.patch {
                if order != asked.order {
                    load.add(spread, now);
                }
                continue;
            }
            if let Some(own) = spread.relays.get(&peer).filter(|own| own.whole_at > now) {
                load.getting += 1;
                load.busy_until = load.busy_until.max(own.whole_at);
            }
            load.met.extend(spread.referred.get(&peer).map(|referred| referred.relay));
            load.add(spread, now);
        }
        load
    }

    /// Over the cap, the patch that no peer asked for during the longest time is forgotten.
    fn spread(&mut self, of: (PatchId, FrameOrder), now: Moment) -> &mut Spread {
        if self.0.len() >= Settings::SPREADS_MAX && !self.0.contains_key(&of) {
            let oldest = self.0.iter().min_by_key(|(_, spread)| spread.touched).map(|(&of, _)| of);
            oldest.map(|oldest| self.0.remove(&oldest));
        }
        let spread = self.0.entry(of).or_default();
        spread.touched = now;
        spread
    }
}

impl Requester {
    /// A patch that is split comes by two streams, which share the uplink.
    fn new(peer: PeerId, referable: Referable, is_split: bool) -> Self {
        let uplink = BytesPerSecond(referable.uplink.0.max(1));
        let rate = if is_split { BytesPerSecond((uplink.0 / 2).max(1)) } else { uplink };
        Self { peer, uplink, rate, passes_on: referable.passes_on }
    }
}

impl Here {
    /// Copies that go out before requesters of this uplink are referred.
    fn copies_max(&self, asked: Asked, uplink: BytesPerSecond, copies_max: usize) -> usize {
        let at_full_rate = usize::try_from(self.uplink.0 / uplink.0.max(1)).unwrap_or(usize::MAX);
        if asked.is_split {
            // As many again go out in the other order. A relay has branches in one of them only.
            return copies_max.min(at_full_rate.max(1));
        }
        if asked.bytes.at(uplink) < Settings::LONG_PATCH {
            return copies_max;
        }
        copies_max.min(at_full_rate.max(2))
    }
}

impl Load {
    /// Adds the peers that the relays of a patch are expected to send to now.
    fn add(&mut self, spread: &Spread, now: Moment) {
        for referred in spread.referred.values().filter(|referred| referred.whole_at > now) {
            *self.sending.entry(referred.relay).or_default() += 1;
        }
    }
}

impl Spread {
    /// Ends the referral of a peer that asks once more: the relay gave it nothing.
    fn end_referral(&mut self, peer: PeerId) {
        let Some(referred) = self.referred.remove(&peer) else { return };
        if let Some(relay) = self.relays.get_mut(&referred.relay) {
            relay.has_failed = true;
        }
        if self.returned.len() < Settings::RELAYS_MAX {
            *self.returned.entry(peer).or_default() += 1;
        }
    }

    /// Whether this node sent its copies, and the peer did not come back too often.
    fn may_refer(&self, peer: PeerId, copies_max: usize) -> bool {
        let returned = self.returned.get(&peer).copied().unwrap_or_default();
        self.copies >= copies_max && returned < Settings::REFERRALS_MAX
    }

    /// Corrects what was expected of peers that announce the layer sooner, and forgets old referrals.
    fn forget_done(&mut self, target: DiffId, now: Moment, core: &Core) {
        self.referred.retain(|&id, referred| {
            let lasts = now.since(referred.whole_at) < Settings::REFERRAL_LIFE;
            lasts && (referred.whole_at <= now || !core.directory.is_held_by(target, id))
        });
        for (&id, relay) in self.relays.iter_mut().filter(|(_, relay)| !relay.has_failed) {
            if relay.whole_at > now && core.directory.is_held_by(target, id) {
                relay.first_frame_at = relay.first_frame_at.min(now);
                relay.whole_at = now;
            }
        }
    }

    /// The best of these relays, the penalty included.
    fn best_among(
        &self,
        is_meant: &dyn Fn(PeerId) -> bool,
        requester: Requester,
        load: &Load,
        patch_bytes: Bytes,
        (now, core): (Moment, &Core),
    ) -> Option<Candidate> {
        let mut best: Option<Candidate> = None;
        for (&id, relay) in self.relays.iter().filter(|(id, relay)| !relay.has_failed && is_meant(**id)) {
            let is_met = load.met.contains(&id);
            let hop = hop(requester.peer, id, is_met, core);
            let penalty = penalty(relay.referrals.saturating_sub(is_met.into()));
            let begins = now.max(relay.first_frame_at) + hop;
            // There may be a thousand relays. Most are out of the question even if they send to nobody else: for these,
            // the look-ups below are not worth their time.
            let whole_at_first = begins + patch_bytes.at(relay.uplink.min(requester.rate));
            if best.is_some_and(|best| whole_at_first + penalty > best.score) {
                continue;
            }
            let others = load.sending.get(&id).copied().unwrap_or_default();
            let shared = BytesPerSecond(relay.uplink.0 / (others + 1));
            let rate = BytesPerSecond(shared.0.clamp(1, requester.rate.0));
            let whole_at = (begins + patch_bytes.at(rate)).max(relay.whole_at + hop);
            let loss = relay.loss_of_others(others, patch_bytes, now);
            let candidate = Candidate { score: whole_at + penalty + loss, whole_at, relay: id, begins };
            let is_better = best.is_none_or(|best| candidate < best);
            if is_better && core.is_connected(id) && !self.is_behind(id, requester.peer) {
                best = Some(candidate);
            }
        }
        best
    }

    /// Notes when the requester is expected to have the patch, from this relay or from here at this rate.
    fn expect(
        &mut self,
        requester: Requester,
        from: Option<Candidate>,
        load: &Load,
        patch_bytes: Bytes,
        (now, rate): (Moment, BytesPerSecond),
    ) {
        let Requester { peer, uplink, rate: most, passes_on } = requester;
        let begins = from.map_or(now, |candidate| candidate.begins);
        let first_frame_at = begins + first_frame(patch_bytes).at(most) * (1 + load.getting);
        let whole_at = from.map_or(now + patch_bytes.at(rate), |candidate| candidate.whole_at);
        let whole_at = whole_at.max(load.busy_until + patch_bytes.at(most));
        if let Some(Candidate { relay, .. }) = from {
            self.referred.insert(peer, Referred { relay, whole_at });
            self.relays.entry(relay).and_modify(|relay| relay.referrals += 1);
        }
        if passes_on && self.relays.len() < Settings::RELAYS_MAX {
            let relay = Relay { uplink, has_failed: false, referrals: 0, first_frame_at, whole_at };
            self.relays.insert(peer, relay);
        }
    }

    /// Whether a relay is this peer, or gets the patch through it.
    fn is_behind(&self, relay: PeerId, peer: PeerId) -> bool {
        std::iter::successors(Some(relay), |id| Some(self.referred.get(id)?.relay)).any(|source| source == peer)
    }
}

impl Relay {
    /// The time that the present receivers of a relay lose by one more. They get the patch no sooner than the relay.
    fn loss_of_others(&self, others: u64, patch_bytes: Bytes, now: Moment) -> Duration {
        if others == 0 {
            return Duration::ZERO;
        }
        let [before, after] =
            [others, others + 1].map(|sharing| patch_bytes.at(BytesPerSecond((self.uplink.0 / sharing).max(1))));
        after.saturating_sub(before.max(self.whole_at.since(now)))
    }
}

/// The time until a requester gets what its relay has. Round trips from here tell how far the two are from each other.
fn hop(requester: PeerId, relay: PeerId, is_met: bool, core: &Core) -> Duration {
    let [to_requester, to_relay] = [requester, relay].map(|peer| core.links.get(peer).round_trip.unwrap_or_default());
    let apart = to_requester.saturating_add(to_relay);
    let connect = if is_met { Duration::ZERO } else { Settings::REFERRAL_CONNECT.max(apart.saturating_mul(3) / 2) };
    connect.saturating_add((Settings::REFERRAL_HOP - Settings::REFERRAL_CONNECT).max(apart.saturating_mul(3) / 2))
}

/// The penalty for a relay that was named so often before. The square lets it grow slowly at first, so that all relays
/// are named about equally often and none is avoided to save a moment.
fn penalty(referrals: u32) -> Duration {
    Settings::REFERRAL_CONNECT.saturating_mul(referrals.saturating_mul(referrals))
}

/// The bytes that a relay has before it passes anything on: the first frame. Frames are a fourth of the patch, within
/// bounds (docs/PATCH.md).
fn first_frame(patch: Bytes) -> Bytes {
    Bytes(patch.0 / 4).clamp(Bytes::KIB.times(64), Bytes::MIB).min(patch)
}

#[cfg(test)]
mod tests;
