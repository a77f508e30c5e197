//! What this node's uplink carries, and how many wait behind it: what an effort is chosen by.
//!
//! Rates are measured over all streams that share a link, since they share it with every patch to come; until the first,
//! the configured ones count. Unlike the rate that plans assume of a peer, a measured one counts if it is higher, too: what
//! is chosen by it is time, not who pays for bytes.

use std::collections::BTreeSet;

use lighter_types::{Bytes, BytesPerSecond, DiffId, PeerId, SiteName};
use lighter_wire::Referable;

use crate::directory::Holder;
use crate::planner::{View, is_near, is_of_site};

/// Measured rates, absent before the first transfer that was long enough.
#[derive(Debug, Default)]
pub struct Uploads {
    to_site: Option<BytesPerSecond>,
    beyond: Option<BytesPerSecond>,
}

/// Who receives a patch, and over which link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receivers {
    /// Copies that this node sends, at least 1.
    pub copies: u64,
    pub rate: BytesPerSecond,
    /// The slowest of their own uplinks, if all who wait told it: then most have the patch from others.
    pub uplink: Option<BytesPerSecond>,
}

impl Uploads {
    /// So much went to a peer in so many milliseconds while `streams` shared the link, this one included. A new rate counts
    /// for three tenths. Transfers too short to tell a rate by teach nothing.
    pub fn learn(&mut self, to: PeerId, bytes: Bytes, millis: u64, streams: u64, view: View<'_>) {
        if millis < 1000 || bytes <= Bytes::KIB.times(64) {
            return;
        }
        let rate = u128::from(bytes.0) * 1000 * u128::from(streams) / u128::from(millis);
        let rate = u64::try_from(rate).unwrap_or(u64::MAX);
        let measured = if is_near(to, view) { &mut self.to_site } else { &mut self.beyond };
        let mixed = measured.map_or(rate, |old| (old.0 / 10).saturating_mul(7) + rate / 10 * 3);
        *measured = Some(BytesPerSecond(mixed.max(1)));
    }

    /// Who will receive a patch of `target` from `bases` that `waiting` wait for, with what they told: they, and a share of
    /// the peers that hold the first base and not yet the target, on the same side of the uplink, as many as fall to this
    /// node if all who hold the target serve equally many. Another site counts once, and not at all if one of its nodes
    /// waits: its nodes pass the patch on among themselves. No more than may be served at a time: later ones find others
    /// who hold it. Nor more than are sent before others are referred to them, if all who wait may be.
    pub fn receivers(
        &self,
        target: DiffId,
        bases: &[DiffId],
        waiting: &[(PeerId, Option<Referable>)],
        view: View<'_>,
    ) -> Receivers {
        let most = self.link(waiting, view);
        if waiting.len() as u64 >= most.copies {
            return most;
        }
        let is_site = is_of_own_site(waiting, view);
        let holders = view.directory.holders(target);
        let waits = |id: &PeerId| waiting.iter().any(|(peer, _)| peer == id);
        let lacks = |holder: &Holder<'_>| holders.binary_search(&holder.index).is_err() && !waits(&holder.id);
        let old = bases.first().map(|&base| view.directory.holding(base)).into_iter().flatten();
        let old = old.filter(|holder| lacks(holder) && is_of_site(holder.peer, view.settings) == is_site);
        let mut sites: BTreeSet<&SiteName> = if is_site {
            BTreeSet::new()
        } else {
            waiting.iter().filter_map(|&(peer, _)| view.directory.peer(peer)?.site()).collect()
        };
        let old = old.filter(|holder| is_site || holder.peer.site().is_none_or(|site| sites.insert(site)));
        let share = (old.count() as u64).div_ceil(holders.len() as u64 + 1);
        Receivers { copies: (waiting.len() as u64 + share).clamp(1, most.copies), ..most }
    }

    /// The same without a look at who else may come: with as many copies as there may be.
    pub fn link(&self, waiting: &[(PeerId, Option<Referable>)], view: View<'_>) -> Receivers {
        let is_site = is_of_own_site(waiting, view);
        let settings = view.settings;
        let told = |&(_, referable): &(PeerId, Option<Referable>)| Some(referable?.uplink);
        let uplinks: Option<Vec<BytesPerSecond>> = waiting.iter().map(told).collect();
        let uplink = uplinks.filter(|_| !is_site && settings.copies_max > 0).and_then(|told| told.into_iter().min());
        let copies_max = if uplink.is_some() { settings.copies_max } else { settings.streams_max };
        let assumed = if is_site { settings.site_rate } else { settings.uplink_rate };
        let assumed = settings.upload_max.map_or(assumed, |max| max.min(assumed));
        let measured = if is_site { self.to_site } else { self.beyond };
        Receivers { copies: copies_max.max(1) as u64, rate: measured.unwrap_or(assumed), uplink }
    }
}

fn is_of_own_site(waiting: &[(PeerId, Option<Referable>)], view: View<'_>) -> bool {
    !waiting.is_empty() && waiting.iter().all(|&(peer, _)| is_near(peer, view))
}
