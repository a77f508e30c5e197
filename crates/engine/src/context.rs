//! What the state machines share during a step: the moment, the beliefs, and where effects go.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use lighter_types::{DiffId, Moment, PeerId};
use lighter_wire::Request;

use crate::calibrations::Calibrations;
use crate::directory::{Directory, Peer};
use crate::event::{AskId, Effect, Offence, PullId, Wanted};
use crate::holdings::Holdings;
use crate::planner::View;
use crate::report::Report;
use crate::settings::Settings;
use crate::sketches::Sketches;

/// Questions that wait for an answer.
#[derive(Debug, Default)]
pub struct Asks {
    waiting: BTreeMap<AskId, (PeerId, Purpose)>,
    /// Those of them that are asked for their holdings.
    asked_holdings: BTreeSet<PeerId>,
    next: u64,
    /// Peers that did not say what they hold, and when they are asked again. Connected peers at most.
    unanswered: BTreeSet<PeerId>,
    again: Option<Moment>,
}

/// What a question is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Purpose {
    Holdings,
    Quote(DiffId),
    Arrival(DiffId),
    Resolve(PullId),
    Blob(PullId),
    Sketches(Vec<DiffId>),
}

impl Asks {
    /// Whom a question was put to and what for; each is answered once.
    pub fn take(&mut self, ask: AskId) -> Option<(PeerId, Purpose)> {
        let asked = self.waiting.remove(&ask)?;
        if asked.1 == Purpose::Holdings {
            self.asked_holdings.remove(&asked.0);
        }
        Some(asked)
    }

    /// A peer could not be reached for its holdings.
    pub fn unanswered(&mut self, peer: PeerId, now: Moment) {
        self.unanswered.insert(peer);
        self.again.get_or_insert(now + Settings::ASK_AGAIN);
    }

    /// When [`Self::due`] will give something.
    pub fn next_deadline(&self) -> Option<Moment> {
        self.again
    }

    /// Who is to be asked for holdings again.
    pub fn due(&mut self, now: Moment) -> BTreeSet<PeerId> {
        if self.again.is_none_or(|again| again > now) {
            return BTreeSet::new();
        }
        self.again = None;
        std::mem::take(&mut self.unanswered)
    }
}

/// Peers that are not talked to, until when.
#[derive(Debug, Default)]
pub struct CutOffs(BTreeMap<PeerId, Moment>);

impl CutOffs {
    pub fn contains(&self, peer: PeerId, now: Moment) -> bool {
        self.0.get(&peer).is_some_and(|&until| until > now)
    }

    pub fn forget_ended(&mut self, now: Moment) {
        self.0.retain(|_, until| *until > now);
    }

    /// Beyond `max`, the one that would end first ends now.
    fn add(&mut self, peer: PeerId, until: Moment, max: usize) {
        if self.0.len() >= max
            && let Some((&first, _)) = self.0.iter().min_by_key(|(_, until)| **until)
        {
            self.0.remove(&first);
        }
        self.0.insert(peer, until);
    }
}

pub struct Context<'a> {
    pub now: Moment,
    pub settings: &'a Settings,
    pub own: &'a Holdings,
    pub directory: &'a mut Directory,
    pub sketches: &'a mut Sketches,
    pub calibrations: &'a mut Calibrations,
    pub asks: &'a mut Asks,
    pub cut_offs: &'a mut CutOffs,
    pub effects: &'a mut Vec<Effect>,
}

impl Context<'_> {
    /// What plans are made from.
    pub fn view(&self) -> View<'_> {
        View {
            own: self.own,
            directory: self.directory,
            sketches: self.sketches,
            calibrations: self.calibrations,
            settings: self.settings,
        }
    }

    /// How long somebody who knows an image is waited for. A release that is known here already is good enough if nobody
    /// is there to tell of a newer one.
    pub fn patience(&self, wanted: &Wanted) -> Duration {
        let is_known = matches!(wanted, Wanted::Name { known: Some(_), .. });
        let is_alone = !self.directory.peers().any(|(_, peer)| peer.is_connected());
        if is_known && is_alone { Settings::RESOLVE_GRACE } else { self.settings.patience }
    }

    pub fn ask(&mut self, to: PeerId, purpose: Purpose, request: Request) -> AskId {
        let ask = AskId(self.asks.next);
        self.asks.next += 1;
        self.asks.waiting.insert(ask, (to, purpose));
        self.effects.push(Effect::Ask { ask, to, request });
        ask
    }

    /// Asks a peer what it holds, unless it is being asked or not connected.
    pub fn ask_holdings(&mut self, peer: PeerId) {
        let connected = self.directory.peer(peer).is_some_and(Peer::is_connected);
        if connected && self.asks.asked_holdings.insert(peer) {
            self.ask(peer, Purpose::Holdings, Request::Holdings);
        }
    }

    pub fn is_cut_off(&self, peer: PeerId) -> bool {
        self.cut_offs.contains(peer, self.now)
    }

    pub fn cut_off(&mut self, peer: PeerId, offence: Offence) {
        let lasting = self.settings.cut_off;
        self.cut_offs.add(peer, self.now + lasting, self.settings.peers_max);
        self.directory.forget(peer);
        self.effects.push(Effect::CutOff { peer, lasting, offence });
    }

    pub fn report_all<'p>(&mut self, pulls: impl IntoIterator<Item = &'p PullId>, report: &Report) {
        self.effects.extend(pulls.into_iter().map(|&pull| Effect::Report { pull, report: report.clone() }));
    }
}
