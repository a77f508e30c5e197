//! The last frames of a long patch, from a second peer, as a layer that is wanted has them (`ends.rs`).

use lighter_types::{Bytes, Moment, PatchId, PeerId};

use super::fetching::{Fetching, Named, Stop};
use crate::event::{Effect, FetchId};
use crate::planner::Plan;

/// The last frames of a layer's patch.
#[derive(Debug)]
pub struct Tails {
    /// The fetch that brings them.
    pub fetch: Option<Tail>,
    /// The bytes that came from the end of the patch.
    pub bytes: Bytes,
    /// Fetches that failed, and when the next one may begin.
    pub attempts: u32,
    pub look_at: Moment,
}

/// The fetch of the last frames.
#[derive(Debug)]
pub struct Tail {
    pub patch: PatchId,
    pub settings: u32,
    pub state: TailState,
}

#[derive(Debug)]
pub enum TailState {
    /// A provider named a relay, and the node connects to it. Given up at `until`.
    Referred {
        plan: Box<Plan>,
        named: Named,
        until: Moment,
    },
    Fetching(Box<Fetching>),
}

impl Tails {
    pub fn new(now: Moment) -> Self {
        Self { fetch: None, bytes: Bytes::ZERO, attempts: 0, look_at: now }
    }
}

impl Tail {
    pub fn is(&self, fetch: FetchId) -> bool {
        matches!(&self.state, TailState::Fetching(fetching) if fetching.fetch == fetch)
    }

    pub fn is_referred_to(&self, peer: PeerId) -> bool {
        matches!(&self.state, TailState::Referred { plan, .. } if plan.peer == peer)
    }

    /// Its relay cannot be connected to.
    pub fn unreachable(&mut self, peer: PeerId, now: Moment) {
        if let TailState::Referred { plan, until, .. } = &mut self.state
            && plan.peer == peer
        {
            *until = now;
        }
    }

    pub fn working(&mut self, now: Moment) {
        if let TailState::Fetching(fetching) = &mut self.state {
            fetching.working(Bytes::ZERO, None, now);
        }
    }

    /// Asks its fetch to stop, if there is one.
    pub fn stop(&mut self, effects: &mut Vec<Effect>) -> Option<FetchId> {
        let TailState::Fetching(fetching) = &mut self.state else { return None };
        fetching.stop(Stop::Abandoned, effects);
        Some(fetching.fetch)
    }
}
