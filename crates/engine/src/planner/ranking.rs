//! Which of several plans comes first.
//!
//! The plans that are done soon enough beside the soonest come first, the one with the fewest bytes foremost: what is
//! soon enough, the operator says (`transfer.prefer`). Bytes of the own site cost nothing. Between plans of as many
//! bytes a time that is twice as long decides, then each node has an order of its own, so that a fleet that wants one
//! layer does not ask the same three peers for it.

use std::time::Duration;

use lighter_types::{Bytes, Prefer};

use super::{Plan, spread};
use crate::core::Core;
use crate::effort::{Cost, soon_enough};

/// The latest time that is soon enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ranking(Duration);

/// Time of a plan that is late, priced bytes, size of the time, whether it is the whole layer. Less is better.
pub type Class = (Duration, Bytes, u32, bool);

impl Ranking {
    /// The ranking among plans with these times.
    pub fn new(times: impl IntoIterator<Item = Duration>, prefer: Prefer) -> Self {
        Self(times.into_iter().min().map_or(Duration::MAX, |soonest| soon_enough(prefer, soonest)))
    }

    pub fn class(self, cost: Cost, is_near: bool, is_whole: bool) -> Class {
        let late = if cost.time > self.0 { cost.time } else { Duration::ZERO };
        let priced = if is_near { Bytes::ZERO } else { cost.bytes };
        let half_seconds = u64::try_from(cost.time.as_millis() / 500).unwrap_or(u64::MAX);
        (late, priced, u64::BITS - half_seconds.leading_zeros(), is_whole)
    }

    fn of(self, plan: &Plan) -> Class {
        let cost = Cost { bytes: plan.bytes, time: plan.time() };
        self.class(cost, plan.is_near, plan.bases.is_empty())
    }
}

/// The best of some plans.
pub fn best_plan(plans: Vec<Plan>, core: &Core) -> Option<Plan> {
    let ranking = Ranking::new(plans.iter().map(Plan::time), core.settings.prefer);
    plans.into_iter().min_by_key(|plan| (ranking.of(plan), spread(core.settings.seed, plan.peer), plan.peer))
}

/// Whether a plan may be better than one that was quoted, in bytes or noticeably in time, if its peer has the patch
/// already.
pub fn may_beat(plan: &Plan, quoted: &Plan, prefer: Prefer) -> bool {
    let hoped = Plan { wait: Duration::ZERO, ..plan.clone() };
    let ranking = Ranking::new([hoped.time(), quoted.time()], prefer);
    let (late, priced, ..) = ranking.of(&hoped);
    let (quoted_late, quoted_priced, ..) = ranking.of(quoted);
    (late, priced) < (quoted_late, quoted_priced)
}
