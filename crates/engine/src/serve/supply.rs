//! What a peer that asks for a patch gets: one of the patches in the cache, or one that is made.
//!
//! The cached patches that the peer can apply, and the patch that can be made from its bases at each effort that was not
//! tried, are ways of one list. Each has bytes, and the time until the peer has applied it (`effort.rs`). Bytes that are
//! only predicted count with their expected error, beside a patch that is there. So each set of bases is encoded at most
//! once at each effort.

use lighter_types::{Bytes, Card, DiffId, Effort, PeerId};
use lighter_wire::PatchRequest;

use super::Serve;
use super::jobs::Job;
use super::uploads::{Receiver, Receivers};
use super::usable::Usable;
use crate::core::Core;
use crate::effort::{Content, Cost, EffortChoice, Undertaking, best, to_default};
use crate::event::CachedPatch;
use crate::settings::Settings;

/// The answer to a peer that asks for a patch.
pub enum Supply {
    Ready(CachedPatch),
    ToBeMade(Job),
}

/// One way to supply a patch.
#[derive(Clone, Copy)]
enum Way<'a> {
    Cached(&'a CachedPatch),
    Made,
}

/// A request for a patch of a layer that this node holds.
pub struct Wanted<'a> {
    pub card: &'a Card,
    /// The bases that the peer holds.
    pub offered: &'a [DiffId],
    pub usable: &'a Usable,
    pub receiver: Receiver,
}

impl Receiver {
    pub fn new(peer: PeerId, request: &PatchRequest) -> Self {
        Self { peer, referable: request.referable, terms: request.terms }
    }
}

impl Serve {
    pub(super) fn supply(&self, wanted: &Wanted<'_>, core: &Core) -> Supply {
        let Wanted { card, offered, usable, receiver } = wanted;
        let ready: Vec<&CachedPatch> = self.cache.fitting(card.diff_id, offered).collect();
        if ready.is_empty() {
            return Supply::ToBeMade(Job::new(card, usable));
        }
        let Some((job, expected)) = self.improvement(&ready, wanted, core) else {
            // What there is costs no other peer's time.
            let alone = Receivers { copies: 1, ..self.uploads.link(&[*receiver], core) };
            return Supply::Ready(self.best_ready(&ready, self.undertaking_for(&Job::new(card, usable), alone, core)));
        };
        // A job that does not pay for the most receivers there may be does not pay for those there are. To count those
        // takes a look at every peer.
        let most = self.uploads.link(&self.waiting(&job, Some(*receiver)), core);
        let efforts = core.settings.effort.from(job.least);
        let choose = |undertaking| self.choose(&ready, expected, efforts, undertaking);
        let chosen = match choose(self.undertaking_for(&job, most, core)) {
            Way::Made => choose(self.undertaking(&job, Some(*receiver), core)),
            cached @ Way::Cached(_) => cached,
        };
        match chosen {
            Way::Cached(patch) => Supply::Ready(patch.clone()),
            Way::Made => Supply::ToBeMade(job),
        }
    }

    /// The job that may make a better patch than those that are there, and the bytes at the default effort that it is
    /// weighed by.
    fn improvement(&self, ready: &[&CachedPatch], wanted: &Wanted<'_>, core: &Core) -> Option<(Job, Bytes)> {
        let Wanted { card, usable, .. } = wanted;
        if self.queue.len() >= Settings::ENCODES_QUEUED_MAX {
            return None;
        }
        let job = Job::new(card, usable);
        let Some(tried) = self.cache.smallest_from(card.diff_id, &usable.bases) else {
            // A prediction by cards alone is never sure enough to pass over a patch that is there.
            let is_whole_only = ready.iter().all(|patch| patch.bases.is_empty());
            let is_sure = usable.is_by_sketch() || is_whole_only;
            return (is_sure && !usable.bases.is_empty()).then_some((job, usable.at_most()));
        };
        // A patch of another encoder has no effort here.
        let effort = tried.effort.filter(|_| core.settings.effort == EffortChoice::Auto)?;
        let made = self.cache.made(card.diff_id, &usable.bases);
        let highest = made.map_or(effort, |(_, last)| effort.max(last));
        let least = Effort::ALL.into_iter().find(|other| *other > highest)?;
        let bytes = to_default(Content::from(&tried.bases), effort, tried.bytes);
        Some((Job { bytes, least, ..job }, bytes))
    }

    /// The best of the cached patches and of those that can be made at these efforts.
    fn choose<'a>(
        &self,
        ready: &[&'a CachedPatch],
        expected: Bytes,
        efforts: &[Effort],
        undertaking: Undertaking,
    ) -> Way<'a> {
        let pessimistic = Undertaking { bytes: expected, ..undertaking };
        let made = efforts.iter().map(|&effort| (pessimistic.making(effort, self.pace), Way::Made));
        let cached = ready.iter().map(|&patch| (cost_of(patch, undertaking), Way::Cached(patch)));
        best(cached.chain(made), undertaking.terms.prefer).unwrap_or(Way::Made)
    }

    fn best_ready(&self, ready: &[&CachedPatch], undertaking: Undertaking) -> CachedPatch {
        let ways = ready.iter().map(|&patch| (cost_of(patch, undertaking), patch));
        best(ways, undertaking.terms.prefer).unwrap_or(ready[0]).clone()
    }
}

/// The cost of sending a cached patch to the receivers of an undertaking. A patch of another encoder is taken for one of
/// the default effort.
fn cost_of(patch: &CachedPatch, undertaking: Undertaking) -> Cost {
    let effort = patch.effort.unwrap_or_default();
    let content = Content::from(&patch.bases);
    let bytes = to_default(content, effort, patch.bytes);
    let undertaking = Undertaking { bytes, content, ..undertaking };
    Cost { bytes: patch.bytes, time: undertaking.receiving(effort, patch.bytes) }
}
