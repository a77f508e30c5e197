//! The rate of this node's uplink, and the number of peers that wait behind it: the node chooses an effort by both.
//!
//! A rate is measured over all streams that share a link, since the next patch shares the link with them too. Until the
//! first measurement the configured rate counts. A measured rate counts also if it is higher than the configured one,
//! unlike the rate that plans assume of a peer: the effort decides about time, not about who pays for bytes.

use std::collections::BTreeSet;

use lighter_types::{Bytes, BytesPerSecond, DiffId, PeerId, SiteName};
use lighter_wire::Referable;

use crate::core::Core;
use crate::directory::Holder;

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
}

/// All receivers of a patch, and the link to them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receivers {
    /// Copies that this node sends, at least 1.
    pub copies: u64,
    pub rate: BytesPerSecond,
    /// The slowest uplink of a receiver, if every receiver named its own: then most of them get the patch from others.
    pub uplink: Option<BytesPerSecond>,
}

impl Uploads {
    /// Learns from a transfer that shared its link with `streams`, itself included. A new rate counts for three tenths.
    /// A transfer that is too short shows no rate.
    pub fn learn(&mut self, to: PeerId, bytes: Bytes, millis: u64, streams: u64, core: &Core) {
        if millis < 1000 || bytes <= Bytes::KIB.times(64) {
            return;
        }
        let rate = u128::from(bytes.0) * 1000 * u128::from(streams) / u128::from(millis);
        let rate = u64::try_from(rate).unwrap_or(u64::MAX);
        let measured = if core.is_near(to) { &mut self.to_site } else { &mut self.beyond };
        let mixed = measured.map_or(rate, |old| (old.0 / 10).saturating_mul(7) + rate / 10 * 3);
        *measured = Some(BytesPerSecond(mixed.max(1)));
    }

    /// The receivers of a patch of `target` from `bases` for which `waiting` wait.
    ///
    /// These are the waiting peers, and this node's share of the peers on the same side of the uplink that hold the
    /// first base and lack the target: all holders of the target are taken to serve equally many. Another site counts
    /// once, and not at all if one of its nodes waits, since its nodes pass the patch on among themselves. There are no
    /// more receivers than [`Self::link`] says.
    pub fn receivers(&self, target: DiffId, bases: &[DiffId], waiting: &[Receiver], core: &Core) -> Receivers {
        let most = self.link(waiting, core);
        if waiting.len() as u64 >= most.copies {
            return most;
        }
        let is_site = is_of_own_site(waiting, core);
        let holders = core.directory.holders(target);
        let waits = |id: PeerId| waiting.iter().any(|receiver| receiver.peer == id);
        let lacks = |holder: &Holder<'_>| holders.binary_search(&holder.index).is_err() && !waits(holder.id);
        let with_base = bases.first().map(|&base| core.directory.holding(base)).into_iter().flatten();
        let later = with_base.filter(|holder| lacks(holder) && core.is_of_site(holder.peer) == is_site);
        let mut sites: BTreeSet<&SiteName> = if is_site {
            BTreeSet::new()
        } else {
            waiting.iter().filter_map(|receiver| core.directory.peer(receiver.peer)?.site()).collect()
        };
        let later = later.filter(|holder| is_site || holder.peer.site().is_none_or(|site| sites.insert(site)));
        let share = (later.count() as u64).div_ceil(holders.len() as u64 + 1);
        Receivers { copies: (waiting.len() as u64 + share).clamp(1, most.copies), ..most }
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
        Receivers { copies: copies_max.max(1) as u64, rate: measured.unwrap_or(assumed), uplink }
    }
}

fn is_of_own_site(waiting: &[Receiver], core: &Core) -> bool {
    !waiting.is_empty() && waiting.iter().all(|receiver| core.is_near(receiver.peer))
}
