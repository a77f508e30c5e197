//! One wanted layer: whom to ask, whom not to ask for a while, and what the transfer under way brings.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use lighter_similarity::Prediction;
use lighter_types::{Bytes, DiffId, Moment, PeerId};
use lighter_wire::{Offer, Quote, Refusal, Request};

use crate::calibrations::Rule;
use crate::context::{Context, Purpose};
use crate::directory::{Holder, Peer};
use crate::event::{AskId, Effect, Part, PullId};
use crate::planner::{self, Plan, is_near};
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
    pub fn begin(&mut self, id: DiffId, part: Option<&Part>, context: &mut Context<'_>) -> bool {
        let is_near = |plan: &Plan| is_near(plan.peer, context.view());
        let plans = self.plans(id, context);
        if plans.is_empty() {
            return false;
        }
        if plans.iter().any(is_near) {
            return self.ask_quotes(id, plans, part, context);
        }
        let neighbours = self.site.neighbours(context);
        if neighbours.is_empty() {
            return self.ask_quotes(id, plans, part, context);
        }
        let request = Request::Arrival { target: id, number: site::number(context.settings.seed, id) };
        let ask = |peer| (context.ask(peer, Purpose::Arrival(id), request.clone()), peer);
        let asked = neighbours.into_iter().map(ask).collect();
        self.state = State::Asking(Round::new(asked, context.now));
        true
    }

    /// The site was asked: the plan by the neighbour through whom the layer comes. With none, it goes on outside.
    pub fn asked(&mut self, id: DiffId, part: Option<&Part>, context: &mut Context<'_>) -> Option<Plan> {
        let State::Asking(round) = &self.state else { return None };
        let neighbour = round.coming();
        let plans = self.plans(id, context);
        if let (Some(peer), Some(plan)) = (neighbour, plans.first()) {
            let transfer = plan.bytes.at(context.settings.site_rate);
            return Some(Plan { peer, transfer, ..plan.clone() });
        }
        if !self.ask_quotes(id, plans, part, context) {
            self.wait(context);
        }
        None
    }

    fn plans(&self, id: DiffId, context: &Context<'_>) -> Vec<Plan> {
        let excluded = |peer: PeerId| self.is_excluded(peer, context.now) || context.is_cut_off(peer);
        let mut plans = planner::plans(id, context.view(), &excluded, &self.damaged);
        plans.retain(|plan| !self.whole_only() || plan.bases.is_empty());
        plans
    }

    fn ask_quotes(&mut self, id: DiffId, plans: Vec<Plan>, part: Option<&Part>, context: &mut Context<'_>) -> bool {
        let mut asked: BTreeMap<AskId, Plan> = BTreeMap::new();
        for plan in plans {
            if asked.len() >= Settings::QUOTES_MAX {
                break;
            }
            if asked.values().any(|other| other.peer == plan.peer) {
                continue;
            }
            let bases = self.offer(id, &plan, part, context);
            let ask = context.ask(plan.peer, Purpose::Quote(id), Request::Quote { target: id, bases });
            asked.insert(ask, plan);
        }
        if asked.is_empty() {
            return false;
        }
        self.state = State::Quoting { asked, quoted: Vec::new() };
        true
    }

    /// Waits for another chance: for as long as patience lasts, counted from when those who are busy may be asked again.
    pub fn wait(&mut self, context: &Context<'_>) {
        let busy = self.excluded.values().filter(|exclusion| exclusion.busy).map(|exclusion| exclusion.until);
        let from = busy.fold(context.now, Ord::max);
        self.state = State::Waiting { until: from + context.settings.patience };
    }

    /// Whether somebody could be asked now.
    pub fn has_source(&self, id: DiffId, context: &Context<'_>) -> bool {
        self.has_source_that(id, context, |_| true)
    }

    fn has_source_that(&self, id: DiffId, context: &Context<'_>, is_meant: impl Fn(&Peer) -> bool) -> bool {
        context.directory.holding(id).any(|Holder { id, peer, .. }| {
            let is_usable = peer.is_connected() && is_meant(peer);
            is_usable && !self.is_excluded(id, context.now) && !context.is_cut_off(id)
        })
    }

    /// The next moment after `now` at which a waiting target has something to do.
    pub fn deadline(&self, until: Moment, now: Moment) -> Option<Moment> {
        let retries = self.excluded.values().map(|exclusion| exclusion.until);
        retries.chain([until]).filter(|moment| *moment > now).min()
    }

    /// The bases to name to a provider: a part's own first, then the plan's, then others that help.
    pub fn offer(&self, id: DiffId, plan: &Plan, part: Option<&Part>, context: &Context<'_>) -> Vec<DiffId> {
        if self.whole_only() {
            return Vec::new();
        }
        let Some(card) = context.directory.card(id) else { return plan.bases.clone() };
        let mut bases = planner::offered_bases(card, plan, context.own, &self.damaged);
        for base in part.iter().flat_map(|part| &part.bases).rev() {
            if context.own.holds(*base) && !self.damaged.contains(base) {
                bases.retain(|other| other != base);
                bases.insert(0, *base);
            }
        }
        bases.truncate(lighter_types::BASES_MAX);
        bases
    }

    /// The layers whose files a provider is told by a have-list.
    pub fn listed(&self, id: DiffId, plan: &Plan, context: &Context<'_>) -> Vec<DiffId> {
        match context.directory.card(id) {
            Some(card) if !self.is_unlisted && !self.whole_only() => {
                planner::listed(card, plan, context.view(), &self.damaged)
            }
            _ => Vec::new(),
        }
    }

    /// A peer failed at this layer: it is not asked for a while, twice as long each time, and half as long again at
    /// most, so that those whom a peer turned away do not come back together.
    pub fn exclude(&mut self, peer: PeerId, why: String, context: &Context<'_>) {
        self.exclude_for(peer, Settings::BACKOFF_DOUBLINGS, false, context);
        self.last_failure = Some(format!("{peer}: {why}"));
    }

    pub fn refused(&mut self, id: DiffId, from: PeerId, refusal: Refusal, context: &mut Context<'_>) {
        if refusal == Refusal::NotHeld {
            context.directory.denied(from, id);
        }
        let patient = context.now.since(self.moved) < Settings::BUSY_MAX;
        if refusal == Refusal::Busy && patient {
            self.exclude_for(from, Settings::BUSY_DOUBLINGS, true, context);
            self.last_failure = Some(format!("{from}: {refusal}"));
        } else {
            self.exclude(from, refusal.to_string(), context);
        }
    }

    /// Who was asked names another who has the patch: connects to it.
    pub fn referred(&mut self, plan: &Plan, named: Named, to: PeerId, context: &mut Context<'_>) {
        if self.is_excluded(to, context.now) || context.is_cut_off(to) {
            // Asked again, the peer names another one.
            self.exclude(plan.peer, format!("it names {to}, which failed"), context);
            return self.wait(context);
        }
        if !context.directory.peer(to).is_some_and(Peer::is_connected) {
            context.effects.push(Effect::Connect(to));
        }
        let plan = Box::new(Plan { peer: to, wait: Duration::ZERO, ready: Some(named.patch), ..plan.clone() });
        self.state = State::Referred { plan, named, until: context.now + Settings::CONNECT_MAX };
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

    fn exclude_for(&mut self, peer: PeerId, doublings: u32, busy: bool, context: &Context<'_>) {
        let new = Exclusion { until: context.now, failures: 0, busy };
        let exclusion = self.excluded.entry(peer).or_insert(new);
        let backoff = Settings::BACKOFF * (1 << exclusion.failures.min(doublings));
        let spread = planner::spread(context.settings.seed.wrapping_add(context.now.0), peer) % 512;
        exclusion.until = context.now + backoff + backoff * (spread as u32) / 1024;
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
    pub fn quoted(self, id: DiffId, quote: Quote, part: Option<&Part>, context: &Context<'_>) -> Option<Self> {
        if !quote.bases.iter().all(|&base| context.own.holds(base)) {
            return None;
        }
        let mut plan = Self { bases: quote.bases, wait: quote.wait, ..self };
        let view = context.view();
        let card = view.directory.card(id);
        if let Some(card) = card {
            plan.forecast = view.forecast(card, &plan.bases);
        }
        let bytes = match (quote.offer, card) {
            (Offer::Ready { patch, bytes }, _) => {
                plan.ready = Some(patch);
                bytes
            }
            // Of the same sketches the peer says the same, if it is honest.
            (Offer::Predicted { .. }, Some(card)) if plan.forecast.by_sketch.is_some() => {
                view.corrected(card, &plan.bases, &plan.forecast)
            }
            (Offer::Predicted { bytes }, Some(card)) if !plan.bases.is_empty() => {
                plan.quoted = Some(bytes);
                let quoted = Prediction { bytes, sure: plan.forecast.by_tlsh.sure };
                view.calibrations.correct(Rule::Quote, quoted, card.compressed_bytes).bytes
            }
            (Offer::Predicted { bytes }, _) => bytes,
        };
        let have = part.filter(|part| plan.resumes(part)).map_or(Bytes::ZERO, |part| part.bytes);
        plan.bytes = bytes - have;
        let peer = context.directory.peer(plan.peer);
        let rate = peer.map_or(context.settings.uplink_rate, |peer| planner::expected_rate(peer, context.settings));
        plan.transfer = plan.bytes.at(rate);
        Some(plan)
    }
}
