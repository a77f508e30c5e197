//! The answer to a peer that asks for a patch: one of the patches in the cache, or one that is made.
//!
//! The cached patches that the peer can apply, and the patch that can be made from its bases at each effort that was
//! not tried, are ways of one list. Each has bytes, and the time until the peer has applied it (`effort.rs`). Bytes
//! that are only predicted count with their expected error, beside a patch that is there. So each set of bases is
//! encoded at most once at each effort.

use lighter_types::{Bytes, Card, DiffId, Effort, PeerId, Prefer};
use lighter_wire::PatchRequest;

use super::Serve;
use super::jobs::Job;
use super::uploads::{Receiver, Receivers};
use super::usable::Usable;
use crate::core::Core;
use crate::effort::{Content, Cost, EffortChoice, Undertaking, best, soon_enough, to_default};
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

/// A job beside patches that are there.
struct Better {
    job: Job,
    /// The bytes at the default effort that it is weighed by.
    expected: Bytes,
    /// The efforts that were not tried.
    efforts: &'static [Effort],
    /// A patch from the same bases was made for a peer. Then one more encode pays only if that patch would be late
    /// beside the new one, or if the receivers want few bytes above all: the encode holds up others, and its copies
    /// cross the uplink beside those of the first patch.
    is_again: bool,
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
        let Some(better) = self.improvement(&ready, wanted, core) else {
            // A patch that is there costs no other peer's time.
            let alone = Receivers { copies: 1, ..self.uploads.link(&[*receiver], core) };
            return Supply::Ready(self.best_ready(&ready, self.undertaking_for(&Job::new(card, usable), alone, core)));
        };
        // A job that does not pay for the most receivers there may be does not pay for those there are. To count those
        // takes a look at every peer.
        let most = self.uploads.link(&self.waiting(&better.job, Some(*receiver)), core);
        let chosen = match self.choose(&ready, &better, self.undertaking_for(&better.job, most, core)) {
            Way::Made => self.choose(&ready, &better, self.undertaking(&better.job, Some(*receiver), core)),
            cached @ Way::Cached(_) => cached,
        };
        match chosen {
            Way::Cached(patch) => Supply::Ready(patch.clone()),
            Way::Made => Supply::ToBeMade(better.job),
        }
    }

    /// The job that may make a better patch than those that are there.
    fn improvement(&self, ready: &[&CachedPatch], wanted: &Wanted<'_>, core: &Core) -> Option<Better> {
        let Wanted { card, usable, .. } = wanted;
        if self.queue.len() >= Settings::ENCODES_QUEUED_MAX {
            return None;
        }
        let job = Job::new(card, usable);
        let Some(tried) = self.cache.smallest_from(card.diff_id, &usable.bases) else {
            // A prediction by cards alone is never sure enough to pass over a patch that is there.
            let is_whole_only = ready.iter().all(|patch| patch.bases.is_empty());
            let is_sure = usable.is_by_sketch() || is_whole_only;
            let efforts = core.settings.effort.from(job.content(), job.least);
            let better = Better { job, expected: usable.at_most(), efforts, is_again: false };
            return (is_sure && !usable.bases.is_empty()).then_some(better);
        };
        // A patch of another encoder has no effort here.
        let effort = tried.effort.filter(|_| core.settings.effort == EffortChoice::Auto)?;
        let made = self.cache.made(card.diff_id, &usable.bases);
        let highest = made.map_or(effort, |(_, last)| effort.max(last));
        let least = Effort::ALL.into_iter().find(|other| *other > highest)?;
        let bytes = to_default(Content::of(card, &tried.bases), effort, tried.bytes);
        let job = Job { bytes, least, ..job };
        let efforts = core.settings.effort.from(job.content(), least);
        // A patch at *plain* may be there before anybody asked for it.
        let is_again = made.is_some() || effort > Effort::Plain;
        (!efforts.is_empty()).then_some(Better { job, expected: bytes, efforts, is_again })
    }

    /// The best of the cached patches, or one that the job makes.
    fn choose<'a>(&self, ready: &[&'a CachedPatch], better: &Better, undertaking: Undertaking) -> Way<'a> {
        let prefer = undertaking.terms.prefer;
        let cached = ready.iter().map(|&patch| (cost_of(patch, undertaking), Way::Cached(patch)));
        let pessimistic = Undertaking { bytes: better.expected, ..undertaking };
        let made = better.efforts.iter().map(|&effort| (pessimistic.making(effort, self.pace), Way::Made));
        if !better.is_again || prefer == Prefer::Bytes {
            return best(cached.chain(made), prefer).unwrap_or(Way::Made);
        }
        let cached = best(cached.map(|(cost, way)| (cost, (cost.time, way))), prefer);
        let made = best(made.map(|(cost, _)| (cost, cost.time)), prefer);
        match (cached, made) {
            (Some((time, cached)), Some(made)) if time <= soon_enough(prefer, made) => cached,
            _ => Way::Made,
        }
    }

    fn best_ready(&self, ready: &[&CachedPatch], undertaking: Undertaking) -> CachedPatch {
        let ways = ready.iter().map(|&patch| (cost_of(patch, undertaking), patch));
        best(ways, undertaking.terms.prefer).unwrap_or(ready[0]).clone()
    }
}

/// The cost of sending a cached patch to the receivers of an undertaking. A patch of another encoder is taken for one
/// of the default effort.
fn cost_of(patch: &CachedPatch, undertaking: Undertaking) -> Cost {
    let effort = patch.effort.unwrap_or_default();
    let content = Content::from(&patch.bases);
    let bytes = to_default(content, effort, patch.bytes);
    let undertaking = Undertaking { bytes, content, ..undertaking };
    Cost { bytes: patch.bytes, time: undertaking.receiving(effort, patch.bytes) }
}
