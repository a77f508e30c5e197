//! Questions that this node put to peers and that have no answer yet.

use std::collections::{BTreeMap, BTreeSet};

use lighter_types::{DiffId, Moment, PeerId};
use lighter_wire::ListDigest;

use crate::event::{AskId, PullId};
use crate::settings::Settings;

/// Open questions. docs/ENGINE.md ("Caps") bounds them by what they are for.
#[derive(Debug, Default)]
pub struct Asks {
    open: BTreeMap<AskId, (PeerId, Purpose)>,
    /// The peers with an open question for their holdings.
    holdings_asked: BTreeSet<PeerId>,
    next: u64,
    /// Peers that did not say what they hold. At most the connected peers.
    unanswered: BTreeSet<PeerId>,
    /// When the unanswered questions are put again; absent without any.
    retry_at: Option<Moment>,
}

/// The purpose of a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// The list of the peer; the question named the digest of the list that is known here.
    Holdings(Option<ListDigest>),
    Quote(DiffId),
    /// A quote of a second source, beside a fetch that is late.
    Beside(DiffId),
    Arrival(DiffId),
    Resolve(PullId),
    Blob(PullId),
    Sketches(Vec<DiffId>),
}

impl Asks {
    pub fn begin(&mut self, to: PeerId, purpose: Purpose) -> AskId {
        let ask = AskId(self.next);
        self.next += 1;
        if matches!(purpose, Purpose::Holdings(_)) {
            self.holdings_asked.insert(to);
        }
        self.open.insert(ask, (to, purpose));
        ask
    }

    pub fn are_holdings_asked(&self, peer: PeerId) -> bool {
        self.holdings_asked.contains(&peer)
    }

    /// Ends a question: the peer that it went to and its purpose. `None` if it is not open: each is answered once.
    pub fn end(&mut self, ask: AskId) -> Option<(PeerId, Purpose)> {
        let (peer, purpose) = self.open.remove(&ask)?;
        if matches!(purpose, Purpose::Holdings(_)) {
            self.holdings_asked.remove(&peer);
        }
        Some((peer, purpose))
    }

    /// Remembers a peer that could not be asked for its holdings.
    pub fn unanswered(&mut self, peer: PeerId, now: Moment) {
        self.unanswered.insert(peer);
        self.retry_at.get_or_insert(now + Settings::ASK_AGAIN);
    }

    /// When [`Self::take_retries`] has peers to give.
    pub fn next_deadline(&self) -> Option<Moment> {
        self.retry_at
    }

    /// Takes the peers that are due to be asked for their holdings once more.
    pub fn take_retries(&mut self, now: Moment) -> BTreeSet<PeerId> {
        if self.retry_at.is_none_or(|at| at > now) {
            return BTreeSet::new();
        }
        self.retry_at = None;
        std::mem::take(&mut self.unanswered)
    }
}
