//! One wanted layer: whom to ask, whom not to ask for a while, and what the transfer under way brings.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use lighter_similarity::Prediction;
use lighter_types::{Bytes, DiffId, Moment, PeerId};
use lighter_wire::{Offer, Quote, Refusal, Request};

use crate::asks::Purpose;
use crate::calibrations::Rule;
use crate::core::Step;
use crate::directory::{Holder, Peer};
use crate::event::{AskId, Effect, Part, PullId};
use crate::planner::{self, Forecast, Plan};
use crate::settings::Settings;

use super::fetching::{Fetching, Named};
use super::site::{self, Round, Site};

#[derive(Debug)]
pub struct Target {
    pub pulls: BTreeSet<PullId>,
    pub state: State,
    /// Fetches that failed since the last that brought something new; by busy peers not counted.
    pub attempts: u32,
    pub damaged: Vec<DiffId>,
    /// A have-list led to another layer: none is sent any more.
    pub is_unlisted: bool,
    pub last_failure: Option<String>,
    excluded: BTreeMap<PeerId, Exclusion>,
    pub site: Site,
    /// When it was wanted, or when something new last came.
    moved: Moment,
    /// The most that ever was on disk of one patch: what goes beyond it is new.
    most: Bytes,
}

#[derive(Debug)]
pub enum State {
    /// Nobody to ask, or as many fetches as may be are under way. Fails at `until` if nobody holds the layer.
    Waiting {
        until: Moment,
    },
    /// About to ask outside the site.
    Asking(Round),
    Quoting {
        asked: BTreeMap<AskId, Plan>,
        quoted: Vec<Plan>,
    },
    /// Who was asked named another, which is being connected to. Given up at `until`.
    Referred {
        plan: Box<Plan>,
        named: Named,
        until: Moment,
    },
    Fetching(Box<Fetching>),
}

/// A peer is not asked for the layer for a while.
#[derive(Clone, Copy, Debug)]
struct Exclusion {
    until: Moment,
    failures: u32,
    /// It has the layer, and will have time for us.
    busy: bool,
}

impl Target {
    pub fn new(now: Moment, until: Moment, part: Option<&Part>) -> Self {
        Self {
            pulls: BTreeSet::new(),
            state: State::Waiting { until },
            attempts: 0,
            damaged: Vec::new(),
            is_unlisted: false,
            last_failure: None,
            excluded: BTreeMap::new(),
            site: Site::default(),
            moved: now,
            most: part.map_or(Bytes::ZERO, |part| part.bytes),
        }
    }

    /// Asks the best few for quotes, but first the site if all of them are outside. False if there is nobody to ask.
    pub fn begin(&mut self, id: DiffId, part: Option<&Part>, step: &mut Step<'_>) -> bool {
        let is_near = |plan: &Plan| step.core.is_near(plan.peer);
        let plans = self.plans(id, step);
        if plans.is_empty() {
            return false;
        }
        if plans.iter().any(is_near) {
            return self.ask_quotes(id, plans, part, step);
        }
        let neighbours = self.site.neighbours(step);
        if neighbours.is_empty() {
            return self.ask_quotes(id, plans, part, step);
        }
        let request = Request::Arrival { target: id, number: site::number(step.core.settings.seed, id) };
        let ask = |peer| (step.ask(peer, Purpose::Arrival(id), request.clone()), peer);
        let asked = neighbours.into_iter().map(ask).collect();
        self.state = State::Asking(Round::new(asked, step.now));
        true
    }

    /// The site was asked: the plan by the neighbour through whom the layer comes. With none, it goes on outside.
    pub fn asked(&mut self, id: DiffId, part: Option<&Part>, step: &mut Step<'_>) -> Option<Plan> {
        let State::Asking(round) = &self.state else { return None };
        let neighbour = round.coming();
        let plans = self.plans(id, step);
        if let (Some(peer), Some(plan)) = (neighbour, plans.first()) {
            let transfer = plan.bytes.at(step.core.settings.site_rate);
            return Some(Plan { peer, transfer, ..plan.clone() });
        }
        if !self.ask_quotes(id, plans, part, step) {
            self.wait(step);
        }
        None
    }

    fn plans(&self, id: DiffId, step: &Step<'_>) -> Vec<Plan> {
        let excluded = |peer: PeerId| self.is_excluded(peer, step.now) || step.is_cut_off(peer);
        let mut plans = planner::plans(id, step.core, &excluded, &self.damaged);
        plans.retain(|plan| !self.whole_only() || plan.bases.is_empty());
        plans
    }

    fn ask_quotes(&mut self, id: DiffId, plans: Vec<Plan>, part: Option<&Part>, step: &mut Step<'_>) -> bool {
        let mut asked: BTreeMap<AskId, Plan> = BTreeMap::new();
        for plan in plans {
            if asked.len() >= Settings::QUOTES_MAX {
                break;
            }
            if asked.values().any(|other| other.peer == plan.peer) {
                continue;
            }
            let bases = self.offer(id, &plan, part, step);
            let ask = step.ask(plan.peer, Purpose::Quote(id), Request::Quote { target: id, bases });
            asked.insert(ask, plan);
        }
        if asked.is_empty() {
            return false;
        }
        self.state = State::Quoting { asked, quoted: Vec::new() };
        true
    }

    /// Waits for another chance: for as long as patience lasts, counted from when those who are busy may be asked again.
    pub fn wait(&mut self, step: &Step<'_>) {
        let busy = self.excluded.values().filter(|exclusion| exclusion.busy).map(|exclusion| exclusion.until);
        let from = busy.fold(step.now, Ord::max);
        self.state = State::Waiting { until: from + step.core.settings.patience };
    }

    /// Whether somebody could be asked now.
    pub fn has_source(&self, id: DiffId, step: &Step<'_>) -> bool {
        self.has_source_that(id, step, |_| true)
    }

    fn has_source_that(&self, id: DiffId, step: &Step<'_>, is_meant: impl Fn(&Peer) -> bool) -> bool {
        step.core.directory.holding(id).any(|Holder { id, peer, .. }| {
            let is_usable = peer.is_connected() && is_meant(peer);
            is_usable && !self.is_excluded(id, step.now) && !step.is_cut_off(id)
        })
    }

    /// The next moment after `now` at which a waiting target has something to do.
    pub fn deadline(&self, until: Moment, now: Moment) -> Option<Moment> {
        let retries = self.excluded.values().map(|exclusion| exclusion.until);
        retries.chain([until]).filter(|moment| *moment > now).min()
    }

    /// The bases to name to a provider: a part's own first, then the plan's, then others that help.
    pub fn offer(&self, id: DiffId, plan: &Plan, part: Option<&Part>, step: &Step<'_>) -> Vec<DiffId> {
        if self.whole_only() {
            return Vec::new();
        }
        let Some(card) = step.core.directory.card(id) else { return plan.bases.clone() };
        let mut bases = planner::offered_bases(card, plan, &step.core.holdings, &self.damaged);
        for base in part.iter().flat_map(|part| &part.bases).rev() {
            if step.core.holdings.holds(*base) && !self.damaged.contains(base) {
                bases.retain(|other| other != base);
                bases.insert(0, *base);
            }
        }
        bases.truncate(lighter_types::BASES_MAX);
        bases
    }

    /// The layers whose files a provider is told by a have-list.
    pub fn listed(&self, id: DiffId, plan: &Plan, step: &Step<'_>) -> Vec<DiffId> {
        match step.core.directory.card(id) {
            Some(card) if !self.is_unlisted && !self.whole_only() => {
                planner::listed(card, plan, step.core, &self.damaged)
            }
            _ => Vec::new(),
        }
    }

    /// A peer failed at this layer: it is not asked for a while, twice as long each time, and half as long again at
    /// most, so that those whom a peer turned away do not come back together.
    pub fn exclude(&mut self, peer: PeerId, why: String, step: &Step<'_>) {
        self.exclude_for(peer, Settings::BACKOFF_DOUBLINGS, false, step);
        self.last_failure = Some(format!("{peer}: {why}"));
    }

    pub fn refused(&mut self, id: DiffId, from: PeerId, refusal: Refusal, step: &mut Step<'_>) {
        if refusal == Refusal::NotHeld {
            step.core.directory.denied(from, id);
        }
        let patient = step.now.since(self.moved) < Settings::BUSY_MAX;
        if refusal == Refusal::Busy && patient {
            self.exclude_for(from, Settings::BUSY_DOUBLINGS, true, step);
            self.last_failure = Some(format!("{from}: {refusal}"));
        } else {
            self.exclude(from, refusal.to_string(), step);
        }
    }

    /// Who was asked names another who has the patch: connects to it.
    pub fn referred(&mut self, plan: &Plan, named: Named, to: PeerId, step: &mut Step<'_>) {
        if self.is_excluded(to, step.now) || step.is_cut_off(to) {
            // Asked again, the peer names another one.
            self.exclude(plan.peer, format!("it names {to}, which failed"), step);
            return self.wait(step);
        }
        if !step.core.directory.peer(to).is_some_and(Peer::is_connected) {
            step.effects.push(Effect::Connect(to));
        }
        let plan = Box::new(Plan { peer: to, wait: Duration::ZERO, ready: Some(named.patch), ..plan.clone() });
        self.state = State::Referred { plan, named, until: step.now + Settings::CONNECT_MAX };
    }

    /// So much of one patch is on disk. Whether that is more than ever: then failures so far are forgiven.
    pub fn reached(&mut self, bytes: Bytes, now: Moment) -> bool {
        let new = bytes > self.most;
        if new {
            self.most = bytes;
            self.moved = now;
            self.attempts = 0;
            self.excluded.values_mut().for_each(|exclusion| exclusion.failures = 0);
        }
        new
    }

    fn exclude_for(&mut self, peer: PeerId, doublings: u32, busy: bool, step: &Step<'_>) {
        let new = Exclusion { until: step.now, failures: 0, busy };
        let exclusion = self.excluded.entry(peer).or_insert(new);
        let backoff = Settings::BACKOFF * (1 << exclusion.failures.min(doublings));
        let spread = planner::spread(step.core.settings.seed.wrapping_add(step.now.0), peer) % 512;
        exclusion.until = step.now + backoff + backoff * (spread as u32) / 1024;
        exclusion.failures += 1;
        exclusion.busy = busy;
    }

    fn is_excluded(&self, peer: PeerId, now: Moment) -> bool {
        self.excluded.get(&peer).is_some_and(|exclusion| exclusion.until > now)
    }

    /// When half of the attempts are used up, no patch is trusted to work.
    fn whole_only(&self) -> bool {
        self.attempts >= Settings::ATTEMPTS_MAX / 2
    }
}

impl Plan {
    /// Whether going on with `part` is going on with this plan.
    pub fn resumes(&self, part: &Part) -> bool {
        match self.ready {
            Some(patch) => patch == part.patch,
            // The same bases give the same patch on every node.
            None => self.bases == part.bases,
        }
    }

    /// The plan as the provider quoted it; `None` if it names bases that this node does not hold. What is on disk of
    /// that patch need not be sent again.
    pub fn quoted(self, id: DiffId, quote: Quote, part: Option<&Part>, step: &Step<'_>) -> Option<Self> {
        if !quote.bases.iter().all(|&base| step.core.holdings.holds(base)) {
            return None;
        }
        let mut plan = Self { bases: quote.bases, wait: quote.wait, ..self };
        let core = &*step.core;
        let card = core.directory.card(id);
        if let Some(card) = card {
            plan.forecast = Forecast::from_held(card, &plan.bases, core);
        }
        let bytes = match (quote.offer, card) {
            (Offer::Ready { patch, bytes }, _) => {
                plan.ready = Some(patch);
                bytes
            }
            // Of the same sketches the peer says the same, if it is honest.
            (Offer::Predicted { .. }, Some(card)) if plan.forecast.by_sketch.is_some() => {
                plan.forecast.corrected(card, &plan.bases, core)
            }
            (Offer::Predicted { bytes }, Some(card)) if !plan.bases.is_empty() => {
                plan.quoted = Some(bytes);
                let quoted = Prediction { bytes, sure: plan.forecast.by_tlsh.sure };
                core.calibrations.correct(Rule::Quote, quoted, card.compressed_bytes).bytes
            }
            (Offer::Predicted { bytes }, _) => bytes,
        };
        let have = part.filter(|part| plan.resumes(part)).map_or(Bytes::ZERO, |part| part.bytes);
        plan.bytes = bytes - have;
        let peer = step.core.directory.peer(plan.peer);
        let rate = peer.map_or(step.core.settings.uplink_rate, |peer| planner::expected_rate(peer, step.core));
        plan.transfer = plan.bytes.at(rate);
        Some(plan)
    }
}
