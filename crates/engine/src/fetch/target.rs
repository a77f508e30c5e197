//! One wanted layer: the peers to ask, the peers not to ask for a while, and what the transfer under way brings.
//!
//! A target asks the best few peers for quotes, unless they made offers together with the image. If all of them are
//! outside the site, it asks the site first (`site.rs`). A peer that fails at the layer is excluded: the node does not
//! ask it for a while, twice as long after each failure, and up to half as long again by chance: so the peers that one
//! provider turned away come back apart. A busy peer is excluded too, but the target keeps its patience until the peer
//! had time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use lighter_types::{Bytes, DiffId, Moment, PeerId, broken};
use lighter_wire::{Quote, Refusal, Request};

use super::blob::ByBlob;
use super::claims::Claims;
use super::fetching::{Fetching, Named, Stop};
use super::lists::{Lists, is_tiny};
use super::second::Second;
use super::site::{self, Round, Site};
use super::tail::Tails;
use crate::asks::Purpose;
use crate::core::{Core, Step};
use crate::event::{AskId, Effect, LayerBlob, Part, PullId};
use crate::failure::Setback;
use crate::planner::{self, Plan};
use crate::settings::Settings;

#[derive(Debug)]
pub struct Target {
    pub pulls: BTreeSet<PullId>,
    pub state: State,
    /// Failed fetches since the last one that brought something new. Busy peers do not count.
    pub attempts: u32,
    /// Bases that are damaged or gone here.
    pub damaged: Vec<DiffId>,
    pub lists: Lists,
    /// The layer's size by what a publisher signed.
    pub signed_bytes: Option<Bytes>,
    pub claims: Claims,
    /// The layer's compressed blob, if this node wants that too.
    pub blob: Option<LayerBlob>,
    /// The layer that is to be unpacked out of this one: no pull wants it by itself.
    pub stands_for: Option<DiffId>,
    /// The last peer that failed, and why.
    pub last_failure: Option<(PeerId, Setback)>,
    excluded: BTreeMap<PeerId, Exclusion>,
    /// Quotes that came with the image, for the first attempt. At most [`Settings::OFFERERS_MAX`].
    pub offers: Vec<(PeerId, Quote)>,
    pub site: Site,
    /// A source sent nothing: no relay is asked, which may do the same.
    pub waited_in_vain: bool,
    /// Whether the layer does not wait for places of large ones.
    pub goes_first: bool,
    /// The best peers that held the layer when the target last began. At most [`Settings::QUOTES_MAX`].
    sources: Vec<PeerId>,
    /// When the layer was wanted, or when something new last came.
    moved: Moment,
    /// The most that ever was on disk of one patch: bytes beyond it are new.
    most: Bytes,
    /// The second source, beside a fetch that is late.
    pub second: Option<Second>,
    /// The last frames of a long patch, beside the fetch of the first ones.
    pub tail: Tails,
    /// Bytes that came by all fetches that ended.
    pub spent: Bytes,
    /// Those that second sources brought in vain.
    pub wasted_by_races: Bytes,
    /// The bytes that were on disk when the layer was wanted.
    pub had: Bytes,
}

#[derive(Debug)]
pub enum State {
    /// There is no peer to ask, or as many fetches as may be are under way. Fails at `until` if no peer holds the
    /// layer.
    Waiting {
        until: Moment,
    },
    /// Asks the site before it asks outside.
    Asking(Round),
    Quoting {
        asked: BTreeMap<AskId, Plan>,
        quoted: Vec<Plan>,
    },
    /// A provider named a relay, and the node connects to it. Given up at `until`.
    Referred {
        plan: Box<Plan>,
        named: Named,
        until: Moment,
    },
    Fetching(Box<Fetching>),
    /// It comes as its compressed blob.
    Blob(ByBlob),
}

impl State {
    /// Whether the layer comes from outside the site, or is about to.
    pub fn is_far(&self, core: &Core) -> bool {
        match self {
            Self::Waiting { .. } | Self::Asking(_) | Self::Blob(_) => false,
            Self::Quoting { asked, quoted } => asked.values().chain(quoted).all(|plan| !core.is_near(plan.peer)),
            Self::Referred { plan, .. } => !core.is_near(plan.peer),
            Self::Fetching(fetching) => fetching.stop == Stop::No && !core.is_near(fetching.plan.peer),
        }
    }
}

/// The node does not ask a peer for the layer for a while.
#[derive(Clone, Copy, Debug)]
struct Exclusion {
    until: Moment,
    failures: u32,
    reason: Reason,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reason {
    Failed,
    /// The peer has the layer, and will have time.
    Busy,
}

impl Reason {
    fn doublings_max(self) -> u32 {
        match self {
            Self::Failed => Settings::BACKOFF_DOUBLINGS,
            Self::Busy => Settings::BUSY_DOUBLINGS,
        }
    }
}

impl Target {
    pub fn new(now: Moment, until: Moment, part: Option<&Part>) -> Self {
        Self {
            pulls: BTreeSet::new(),
            state: State::Waiting { until },
            attempts: 0,
            damaged: Vec::new(),
            lists: Lists::default(),
            signed_bytes: None,
            claims: Claims::default(),
            blob: None,
            stands_for: None,
            last_failure: None,
            excluded: BTreeMap::new(),
            offers: Vec::new(),
            site: Site::default(),
            waited_in_vain: false,
            goes_first: false,
            sources: Vec::new(),
            moved: now,
            most: part.map_or(Bytes::ZERO, |part| part.bytes),
            second: None,
            tail: Tails::new(now),
            spent: Bytes::ZERO,
            wasted_by_races: Bytes::ZERO,
            had: part.map_or(Bytes::ZERO, |part| part.bytes),
        }
    }

    /// Asks the best few peers for quotes, or the site first if all of them are outside. False without a peer to ask.
    pub fn begin(&mut self, id: DiffId, part: Option<&Part>, step: &mut Step<'_>) -> bool {
        let plans = self.plans(id, step);
        if plans.is_empty() {
            return false;
        }
        self.sources = plans.iter().map(|plan| plan.peer).collect();
        self.sources.dedup();
        self.sources.truncate(Settings::QUOTES_MAX);
        if plans.iter().any(|plan| step.core.is_near(plan.peer)) {
            return self.ask_quotes(id, plans, part, step);
        }
        let neighbours = self.site.neighbours(step);
        if neighbours.is_empty() {
            return self.ask_quotes(id, plans, part, step);
        }
        let request = Request::Arrival { target: id, number: site::number(step.core.settings.seed, id) };
        let mut asked = BTreeMap::new();
        for peer in neighbours {
            asked.insert(step.ask(peer, Purpose::Arrival(id), request.clone()), peer);
        }
        self.state = State::Asking(Round::new(asked, step.now));
        true
    }

    /// The site was asked: the plan by the neighbour through which the layer comes. Without one, the target goes on
    /// outside.
    pub fn end_asking(&mut self, id: DiffId, part: Option<&Part>, step: &mut Step<'_>) -> Option<Plan> {
        let State::Asking(round) = &self.state else {
            broken("a target does not ask its site");
            return None;
        };
        let neighbour = round.coming();
        let plans = self.plans(id, step);
        if let (Some(peer), Some(plan)) = (neighbour, plans.first()) {
            let transfer = plan.bytes.at(step.core.settings.site_rate);
            return Some(Plan { peer, transfer, is_near: true, ..plan.clone() });
        }
        if !self.ask_quotes(id, plans, part, step) {
            self.wait(step);
        }
        None
    }

    /// The peers to ask, the best first; those that are doubted only if there are no others.
    pub fn plans(&self, id: DiffId, step: &Step<'_>) -> Vec<Plan> {
        let mut plans = planner::plans(id, step.core, &|peer| !self.may_ask(peer, step), &self.damaged);
        let (is_whole, are_doubted) = (self.is_whole_only(), plans.iter().all(|plan| step.is_doubted(plan.peer)));
        plans.retain(|plan| (!is_whole || plan.bases.is_empty()) && (are_doubted || !step.is_doubted(plan.peer)));
        plans
    }

    /// Asks for quotes where they may show a better plan than those that are quoted already. False without a plan.
    fn ask_quotes(&mut self, id: DiffId, plans: Vec<Plan>, part: Option<&Part>, step: &mut Step<'_>) -> bool {
        let quoted = self.take_quoted(id, &plans, part, step);
        let prefer = step.core.settings.prefer;
        let mut asked: BTreeMap<AskId, Plan> = BTreeMap::new();
        for plan in plans {
            if asked.len() >= Settings::QUOTES_MAX {
                break;
            }
            if !quoted.iter().all(|quoted| planner::may_beat(&plan, quoted, prefer)) {
                continue;
            }
            if asked.values().chain(&quoted).any(|other| other.peer == plan.peer) {
                continue;
            }
            let bases = self.offer(id, &plan, part, step.core);
            let terms = step.core.terms(plan.is_near);
            let ask = step.ask(plan.peer, Purpose::Quote(id), Request::Quote { target: id, bases, terms });
            asked.insert(ask, plan);
        }
        if asked.is_empty() && quoted.is_empty() {
            return false;
        }
        self.state = State::Quoting { asked, quoted };
        true
    }

    /// The plans that need no question for a quote: those of the offers that came with the image, and the best plan for
    /// a tiny layer.
    fn take_quoted(&mut self, id: DiffId, plans: &[Plan], part: Option<&Part>, step: &Step<'_>) -> Vec<Plan> {
        let mut quoted = Vec::new();
        for (peer, quote) in std::mem::take(&mut self.offers) {
            let plan = plans.iter().find(|plan| plan.peer == peer).cloned();
            quoted.extend(plan.and_then(|plan| plan.quoted(id, quote, part, step)));
        }
        if quoted.is_empty() && is_tiny(id, step.core) {
            quoted.extend(plans.first().cloned());
        }
        quoted
    }

    /// Whether the layer's sketch would help to plan. The peers that made offers chose the bases by their own sketches.
    pub fn needs_sketch(&self, id: DiffId, step: &Step<'_>) -> bool {
        let Some(card) = step.core.directory.card(id) else { return true };
        if is_tiny(id, step.core) {
            return false;
        }
        let mut offers = self.offers.iter();
        if self.offers.is_empty()
            || offers.any(|(peer, quote)| planner::may_list(card, *peer, quote.offer.bytes(), step.core))
        {
            return true;
        }
        let mut sources = step.core.directory.holding(id).filter(|holder| holder.peer.is_connected());
        sources.any(|holder| !self.offers.iter().any(|(offerer, _)| *offerer == holder.id))
    }

    /// Waits for another chance, for as long as patience lasts. Patience begins when the busy peers may be asked again.
    pub fn wait(&mut self, step: &Step<'_>) {
        let busy = self.excluded.values().filter(|exclusion| exclusion.reason == Reason::Busy);
        let from = busy.map(|exclusion| exclusion.until).fold(step.now, Ord::max);
        self.state = State::Waiting { until: from + step.core.settings.patience };
    }

    /// Waits until a peer comes back, for as long as *away* lasts. Nothing wakes the node before.
    pub fn wait_for_return(&mut self, step: &Step<'_>) {
        self.state = State::Waiting { until: self.moved + step.core.settings.away };
    }

    /// Whether a peer could be asked now.
    pub fn has_source(&self, id: DiffId, step: &Step<'_>) -> bool {
        step.core.directory.holding(id).any(|holder| holder.peer.is_connected() && self.may_ask(holder.id, step))
    }

    /// Whether the peers that had the layer are away, as with a link that is down. Patience then lasts longer.
    pub fn is_away(&self, id: DiffId, step: &Step<'_>) -> bool {
        !self.sources.is_empty()
            && !self.sources.iter().any(|&peer| step.core.is_connected(peer) || step.is_cut_off(peer))
            && step.now.since(self.moved) < step.core.settings.away
            && !step.core.directory.holding(id).any(|holder| holder.peer.is_connected() && !step.is_cut_off(holder.id))
    }

    /// When the target has something to do even if nothing happens.
    pub fn next_deadline(&self, now: Moment, settings: &Settings) -> Option<Moment> {
        match &self.state {
            State::Waiting { until } => {
                let retries = self.excluded.values().map(|exclusion| exclusion.until);
                retries.chain([*until]).filter(|moment| *moment > now).min()
            }
            State::Asking(round) => Some(round.until()),
            State::Quoting { .. } | State::Blob(_) => None,
            State::Referred { until, .. } => Some(*until),
            State::Fetching(fetching) => match &self.second {
                Some(Second::Racing(rival)) => {
                    fetching.deadline(settings).into_iter().chain(rival.deadline(settings)).min()
                }
                Some(Second::Asked { .. }) | None => fetching.deadline(settings),
            },
        }
    }

    /// The bases to name to a provider: those of a part on disk, then those of the plan, then others that help.
    pub fn offer(&self, id: DiffId, plan: &Plan, part: Option<&Part>, core: &Core) -> Vec<DiffId> {
        if self.is_whole_only() {
            return Vec::new();
        }
        let Some(card) = core.directory.card(id) else { return plan.bases.clone() };
        let mut bases = planner::offered_bases(card, plan, &core.holdings, &self.damaged);
        for base in part.iter().flat_map(|part| &part.bases).rev() {
            if core.holdings.holds(*base) && !self.damaged.contains(base) {
                bases.retain(|other| other != base);
                bases.insert(0, *base);
            }
        }
        bases.truncate(lighter_types::BASES_MAX);
        bases
    }

    /// A peer failed at this layer: the node does not ask it for a while.
    pub fn exclude(&mut self, peer: PeerId, why: Setback, step: &Step<'_>) {
        self.exclude_for(peer, Reason::Failed, Duration::ZERO, step);
        self.last_failure = Some((peer, why));
    }

    /// A peer refused a quote or a patch.
    pub fn refused(&mut self, id: DiffId, from: PeerId, refusal: Refusal, step: &mut Step<'_>) {
        if refusal == Refusal::NotHeld {
            step.core.directory.denied(from, id);
        }
        let is_patient = step.now.since(self.moved) < Settings::BUSY_MAX;
        let reason = if refusal.is_busy() && is_patient { Reason::Busy } else { Reason::Failed };
        let asked_for = match refusal {
            Refusal::Busy { retry_after_ms } => Duration::from_millis(retry_after_ms.into()),
            Refusal::NotHeld | Refusal::Stopping | Refusal::Failed => Duration::ZERO,
        };
        self.exclude_for(from, reason, asked_for.min(Settings::RETRY_AFTER_MAX), step);
        self.last_failure = Some((from, Setback::Refused(refusal)));
    }

    /// A provider named a relay that has the patch: connects to it.
    pub fn referred(&mut self, plan: &Plan, named: Named, to: PeerId, step: &mut Step<'_>) {
        if !self.may_ask(to, step) || step.is_doubted(to) {
            // Asked again, the provider names another relay.
            self.exclude(plan.peer, Setback::NamesFailed(to), step);
            return self.wait(step);
        }
        if !step.core.is_connected(to) {
            step.effects.push(Effect::Connect(to));
        }
        let plan = Box::new(Plan { peer: to, wait: Duration::ZERO, ready: Some(named.patch), ..plan.clone() });
        self.state = State::Referred { plan, named, until: step.now + Settings::CONNECT_MAX };
    }

    /// So many bytes of one patch are on disk. If that is more than ever, the failures so far are forgiven.
    pub fn reached(&mut self, bytes: Bytes, now: Moment) {
        if bytes > self.most {
            self.most = bytes;
            self.moved = now;
            self.attempts = 0;
            self.excluded.values_mut().for_each(|exclusion| exclusion.failures = 0);
        }
    }

    /// `least` is the time that the peer asked for.
    fn exclude_for(&mut self, peer: PeerId, reason: Reason, least: Duration, step: &Step<'_>) {
        let new = Exclusion { until: step.now, failures: 0, reason };
        let exclusion = self.excluded.entry(peer).or_insert(new);
        let backoff = Settings::BACKOFF * (1 << exclusion.failures.min(reason.doublings_max()));
        let backoff = backoff.max(least);
        let spread = planner::spread(step.core.settings.seed.wrapping_add(step.now.0), peer) % 512;
        exclusion.until = step.now + backoff + backoff * (spread as u32) / 1024;
        exclusion.failures += 1;
        exclusion.reason = reason;
    }

    /// Whether the peer is neither excluded nor cut off.
    pub fn may_ask(&self, peer: PeerId, step: &Step<'_>) -> bool {
        self.excluded.get(&peer).is_none_or(|exclusion| exclusion.until <= step.now) && !step.is_cut_off(peer)
    }

    /// Whether half of the attempts are used up: from then on the node trusts no patch to work.
    pub fn is_whole_only(&self) -> bool {
        self.attempts >= Settings::ATTEMPTS_MAX / 2
    }
}
