//! The rate of this node's uplink, and the number of peers that wait behind it: the node chooses an effort by both.
//!
//! The rate of the uplink is that of all peers that share it: the next patch shares it with them too. Until the first
//! measurement the configured rate counts. A peer that was measured may have a thinner link of its own.

use std::collections::BTreeSet;

use lighter_types::{BytesPerSecond, DiffId, PeerId, Prefer, SiteName};
use lighter_wire::{Referable, Terms};

use crate::core::Core;
use crate::links::mixed_rate;
use crate::work;

/// Measured rates, absent before the first transfer that was long enough.
#[derive(Debug, Default)]
pub struct Uploads {
    to_site: Option<BytesPerSecond>,
    beyond: Option<BytesPerSecond>,
}

/// A peer that waits for a patch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receiver {
    pub peer: PeerId,
    /// Absent if the peer is not to be referred to another peer.
    pub referable: Option<Referable>,
    pub terms: Terms,
}

/// All receivers of a patch, and the link to them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receivers {
    /// Copies that this node sends, at least 1.
    pub copies: u64,
    pub rate: BytesPerSecond,
    /// The rate of the slowest waiting peer, as far as it is known: of the link from here to it, and of its uplink if
    /// most receivers get the patch from others.
    pub slowest: Option<BytesPerSecond>,
    /// The pace and the preference of the middle one of the waiting peers: no peer alone decides for the others.
    pub terms: Terms,
}

impl Uploads {
    /// Learns from a transfer to a peer at this rate, while `peers` shared the uplink, itself included.
    pub fn learn(&mut self, to: PeerId, rate: BytesPerSecond, peers: u64, core: &Core) {
        let measured = if core.is_near(to) { &mut self.to_site } else { &mut self.beyond };
        *measured = mixed_rate(*measured, Some(BytesPerSecond(rate.0.saturating_mul(peers))));
    }

    /// The rate of the uplink to other sites, of which a requester has an uplink of this rate. Until transfers showed
    /// more, it is taken to be no slower than that.
    pub fn uplink(&self, of_requester: BytesPerSecond, core: &Core) -> BytesPerSecond {
        let settings = &core.settings;
        let known = self.beyond.unwrap_or(BytesPerSecond(0)).max(settings.uplink_rate).max(of_requester);
        settings.upload_max.map_or(known, |max| max.min(known))
    }

    /// The receivers of a patch of `target` from `bases` for which `waiting` wait.
    ///
    /// These are the waiting peers, and this node's share of the peers on the same side of the uplink that hold the
    /// first base and lack the target: all holders of the target are taken to serve equally many. Another site counts
    /// once, and not at all if one of its nodes waits, since its nodes pass the patch on among themselves. There are no
    /// more receivers than [`Self::link`] says.
    pub fn receivers(&self, target: DiffId, bases: &[DiffId], waiting: &[Receiver], core: &Core) -> Receivers {
        let most = self.link(waiting, core);
        if waiting.len() as u64 > most.copies {
            return most;
        }
        let is_site = is_of_own_site(waiting, core);
        let holders = core.directory.holders(target);
        let with_base = bases.first().map(|&base| core.directory.holding(base)).into_iter().flatten();
        let lacking = with_base.filter(|holder| holders.binary_search(&holder.index).is_err());
        let later = lacking.filter(|holder| !work::counting(waiting.iter()).any(|receiver| receiver.peer == holder.id));
        let later = later.filter(|holder| core.is_of_site(holder.peer) == is_site);
        let mut sites: BTreeSet<&SiteName> = if is_site {
            BTreeSet::new()
        } else {
            waiting.iter().filter_map(|receiver| core.directory.peer(receiver.peer)?.site()).collect()
        };
        let later = later.filter(|holder| is_site || holder.peer.site().is_none_or(|site| sites.insert(site)));
        let share = (later.count() as u64).div_ceil(holders.len() as u64 + 1);
        let all = waiting.len() as u64 + share;
        if all > most.copies {
            return most;
        }
        // All get the patch from here: how fast they send does not matter.
        let slowest = link_rates(waiting, core).min();
        Receivers { copies: all.max(1), slowest, ..most }
    }

    /// The link to the waiting peers, with as many copies as there may be: those that may be served at a time. If every
    /// waiting peer may be referred, those that are sent before others are referred to them.
    pub fn link(&self, waiting: &[Receiver], core: &Core) -> Receivers {
        let is_site = is_of_own_site(waiting, core);
        let settings = &core.settings;
        let uplinks: Option<Vec<BytesPerSecond>> =
            waiting.iter().map(|receiver| Some(receiver.referable?.uplink)).collect();
        let may_refer = !is_site && settings.copies_max > 0;
        let uplink = uplinks.filter(|_| may_refer).and_then(|uplinks| uplinks.into_iter().min());
        let copies_max = if uplink.is_some() { settings.copies_max } else { settings.streams_max };
        let assumed = if is_site { settings.site_rate } else { settings.uplink_rate };
        let assumed = settings.upload_max.map_or(assumed, |max| max.min(assumed));
        let measured = if is_site { self.to_site } else { self.beyond };
        // The uplink is at least as fast as the fastest link over it.
        let rate = measured.into_iter().chain(link_rates(waiting, core)).max();
        Receivers {
            copies: copies_max.max(1) as u64,
            rate: rate.unwrap_or(assumed),
            slowest: uplink.into_iter().chain(link_rates(waiting, core)).min(),
            terms: terms_of(waiting, is_site),
        }
    }
}

/// The measured rates of the links to these peers.
fn link_rates(waiting: &[Receiver], core: &Core) -> impl Iterator<Item = BytesPerSecond> {
    waiting.iter().filter_map(move |receiver| core.links.get(receiver.peer).up)
}

/// The terms that a patch for these peers is to suit. Bytes within the site cost nothing.
fn terms_of(waiting: &[Receiver], is_site: bool) -> Terms {
    let applying = middle(waiting.iter().map(|receiver| receiver.terms.applying));
    let prefer = middle(waiting.iter().map(|receiver| receiver.terms.prefer));
    Terms { applying, prefer: if is_site { Prefer::Time } else { prefer } }
}

fn middle<T: Ord + Copy + Default>(values: impl Iterator<Item = T>) -> T {
    let mut values: Vec<T> = values.collect();
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or_default()
}

fn is_of_own_site(waiting: &[Receiver], core: &Core) -> bool {
    !waiting.is_empty() && waiting.iter().all(|receiver| core.is_near(receiver.peer))
}
