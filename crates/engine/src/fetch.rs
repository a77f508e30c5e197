//! Getting layers: for each wanted layer a small state machine from plans to quotes to a transfer, until it is held.
//!
//! ```text
//! Waiting --(somebody holds it)--> Quoting --(best quote)--> Fetching --> held
//!    ^                                |                         |
//!    +-------(nobody answers)---------+------(any failure)------+
//! ```
//!
//! Failures are told apart by blame (DESIGN.md, "How an image arrives", 7). A lost, refusing or slow peer: back off from
//! it, go on elsewhere with what is on disk. A lying peer: cut it off, throw its part away. A damaged base: plan without
//! it. This machine: tell the operator. When half of the attempts are used up, only whole layers are asked for.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use lighter_types::{Bytes, BytesPerSecond, DiffId, Moment, PeerId};
use lighter_wire::{Answer, Offer, PatchRequest, Quote, Refusal, Request, Resume};

use crate::Context;
use crate::directory::Directory;
use crate::event::{AskFailure, AskId, Effect, FetchFailure, FetchId, Fetched, Part, PullFailure, PullId, Report};
use crate::planner::{self, Plan};
use crate::settings::Settings;

/// All layers that are wanted and not held.
#[derive(Debug, Default)]
pub struct Fetcher {
    targets: BTreeMap<DiffId, Target>,
    fetches: BTreeMap<FetchId, DiffId>,
    next_fetch: u64,
    /// Parts of patches on disk; also of layers that nobody wants just now.
    parts: BTreeMap<DiffId, Part>,
}

#[derive(Debug)]
struct Target {
    pulls: BTreeSet<PullId>,
    state: State,
    attempts: u32,
    /// Until when a peer is not asked for this layer, and how often it failed at it.
    excluded: BTreeMap<PeerId, (Moment, u32)>,
    damaged: Vec<DiffId>,
    last_failure: Option<String>,
}

#[derive(Debug)]
enum State {
    /// Nobody to ask, or as many fetches as may be are under way. Fails at `until` if nobody holds the layer.
    Waiting {
        until: Moment,
    },
    Quoting {
        asked: BTreeMap<AskId, Plan>,
        quoted: Vec<Plan>,
    },
    Fetching(Box<Fetching>),
}

#[derive(Debug)]
struct Fetching {
    fetch: FetchId,
    plan: Plan,
    started: Moment,
    /// When the first bytes came, and how many were there before.
    first_bytes: Option<(Moment, Bytes)>,
    /// Since when less than [`Settings::STALL_BYTES`] came, and what was there then.
    checked: (Moment, Bytes),
    bytes: Bytes,
    stopped: bool,
}

/// What the engine has to do for the pulls after a step here.
pub enum Outcome {
    Failed { pulls: BTreeSet<PullId>, why: PullFailure },
    Held { pulls: BTreeSet<PullId>, target: DiffId },
}

impl Fetcher {
    /// `pull` wants `target`.
    pub fn want(&mut self, pull: PullId, target: DiffId, context: &Context<'_>) -> Result<(), PullFailure> {
        if !self.targets.contains_key(&target) && self.targets.len() >= Settings::TARGETS_MAX {
            return Err(PullFailure::TooMany { max: Settings::TARGETS_MAX });
        }
        let until = context.now + context.settings.patience;
        let target = self.targets.entry(target).or_insert_with(|| Target {
            pulls: BTreeSet::new(),
            state: State::Waiting { until },
            attempts: 0,
            excluded: BTreeMap::new(),
            damaged: Vec::new(),
            last_failure: None,
        });
        target.pulls.insert(pull);
        Ok(())
    }

    /// `pull` wants nothing any more. What only it wanted is stopped; parts stay on disk.
    pub fn abandon(&mut self, pull: PullId, effects: &mut Vec<Effect>) {
        for target in self.targets.values_mut() {
            target.pulls.remove(&pull);
            if let (true, State::Fetching(fetching)) = (target.pulls.is_empty(), &mut target.state)
                && !std::mem::replace(&mut fetching.stopped, true)
            {
                effects.push(Effect::StopFetch(fetching.fetch));
            }
        }
        self.targets.retain(|_, target| !target.pulls.is_empty() || matches!(target.state, State::Fetching(_)));
    }

    pub fn part_held(&mut self, target: DiffId, part: Part) {
        if self.parts.len() < Settings::TARGETS_MAX {
            self.parts.insert(target, part);
        }
    }

    pub fn part(&self, target: DiffId) -> Option<&Part> {
        self.parts.get(&target)
    }

    /// When [`Self::advance`] has something to do even if nothing happens.
    pub fn next_deadline(&self, settings: &Settings) -> Option<Moment> {
        let deadline = |target: &Target| match &target.state {
            State::Waiting { until } => {
                let retry = target.excluded.values().map(|(until, _)| *until).min();
                Some(retry.map_or(*until, |retry| retry.min(*until)))
            }
            State::Quoting { .. } => None,
            State::Fetching(fetching) => Some(fetching.checked.0 + settings.stall_timeout),
        };
        self.targets.values().filter_map(deadline).min()
    }

    /// Does what is due: plans for layers that wait, and stops stalled fetches.
    pub fn advance(&mut self, context: &mut Context<'_>) -> Vec<Outcome> {
        let mut outcomes = Vec::new();
        let mut active = self.targets.values().filter(|target| !matches!(target.state, State::Waiting { .. })).count();
        let waiting: Vec<DiffId> = self.targets.keys().copied().collect();
        for id in waiting {
            let Some(target) = self.targets.get_mut(&id) else { continue };
            match &mut target.state {
                State::Waiting { until } => {
                    let until = *until;
                    if active < context.settings.fetches_max && target.begin(id, self.parts.get(&id), context) {
                        active += 1;
                    } else if until <= context.now && active < context.settings.fetches_max {
                        outcomes.extend(self.fail(id));
                    }
                }
                State::Fetching(fetching) => fetching.check_stall(context),
                State::Quoting { .. } => {}
            }
        }
        outcomes
    }

    /// A quote, or that there will be none.
    pub fn quoted(
        &mut self,
        id: DiffId,
        ask: AskId,
        from: PeerId,
        answer: Result<Answer, AskFailure>,
        context: &mut Context<'_>,
    ) {
        let part = self.parts.get(&id);
        let Some(target) = self.targets.get_mut(&id) else { return };
        let State::Quoting { asked, quoted } = &mut target.state else { return };
        let Some(plan) = asked.remove(&ask) else { return };
        match answer {
            Ok(Answer::Quote(quote)) => quoted.push(with_quote(plan, quote, part, context)),
            Ok(Answer::Refused(refusal)) => target.refused(id, from, refusal, context),
            Ok(_) | Err(_) => target.exclude(from, "no quote".to_owned(), context.now),
        }
        self.choose(id, context);
    }

    pub fn working(&mut self, fetch: FetchId, now: Moment) {
        let Some(target) = self.fetches.get(&fetch).and_then(|id| self.targets.get_mut(id)) else { return };
        if let State::Fetching(fetching) = &mut target.state
            && now.since(fetching.started) < Settings::WORKING_MAX
        {
            fetching.checked.0 = now;
        }
    }

    pub fn progress(&mut self, fetch: FetchId, part: Part, context: &mut Context<'_>) {
        let Some(&id) = self.fetches.get(&fetch) else { return };
        let Some(target) = self.targets.get_mut(&id) else { return };
        if let State::Fetching(fetching) = &mut target.state {
            fetching.bytes = part.bytes;
            fetching.first_bytes.get_or_insert((context.now, part.bytes));
            if part.bytes - fetching.checked.1 >= Bytes(Settings::STALL_BYTES) {
                fetching.checked = (context.now, part.bytes);
            }
            let report = Report::Progress { target: id, received: part.bytes, total: part.bytes_total };
            context.report_all(&target.pulls, &report);
        }
        self.parts.insert(id, part);
    }

    /// A fetch ended, one way or the other.
    pub fn ended(
        &mut self,
        fetch: FetchId,
        result: Result<Fetched, FetchFailure>,
        context: &mut Context<'_>,
    ) -> Option<Outcome> {
        let id = self.fetches.remove(&fetch)?;
        let target = self.targets.get_mut(&id)?;
        let until = context.now + context.settings.patience;
        let State::Fetching(fetching) = std::mem::replace(&mut target.state, State::Waiting { until }) else {
            return None;
        };
        match result {
            Ok(fetched) => {
                self.parts.remove(&id);
                fetching.learn_rate(context);
                Some(self.held(id, &fetching.plan, &fetched, context))
            }
            Err(failure) => self.failed(id, &fetching, failure, context),
        }
    }

    /// A layer is there, by whatever way; who waited for it is told.
    pub fn layer_held(&mut self, id: DiffId) -> Option<Outcome> {
        let target = self.targets.get(&id)?;
        if matches!(target.state, State::Fetching(_)) {
            return None;
        }
        let target = self.targets.remove(&id)?;
        Some(Outcome::Held { pulls: target.pulls, target: id })
    }

    fn held(&mut self, id: DiffId, plan: &Plan, fetched: &Fetched, context: &mut Context<'_>) -> Outcome {
        let pulls = self.targets.remove(&id).map(|target| target.pulls).unwrap_or_default();
        let report = Report::Layer {
            target: id,
            from: plan.peer,
            bases: fetched.patch.bases.clone(),
            patch_bytes: fetched.patch.bytes,
            received: fetched.received,
        };
        context.report_all(&pulls, &report);
        Outcome::Held { pulls, target: id }
    }

    fn failed(
        &mut self,
        id: DiffId,
        fetching: &Fetching,
        failure: FetchFailure,
        context: &mut Context<'_>,
    ) -> Option<Outcome> {
        let target = self.targets.get_mut(&id)?;
        if target.pulls.is_empty() {
            self.targets.remove(&id);
            return None;
        }
        let from = fetching.plan.peer;
        let report = Report::Retrying { target: id, from, why: failure.to_string() };
        context.report_all(&target.pulls, &report);
        match failure {
            FetchFailure::Lost => target.exclude(from, failure.to_string(), context.now),
            FetchFailure::Stopped => {
                context.directory.measured(from, BytesPerSecond(Settings::STALL_BYTES / 20));
                target.exclude(from, "it stalled".to_owned(), context.now);
            }
            FetchFailure::Refused(refusal) => target.refused(id, from, refusal, context),
            FetchFailure::Lied(what) => {
                self.parts.remove(&id);
                target.last_failure = Some(format!("{from} sent wrong bytes: {what}"));
                context.cut_off(from, crate::event::Offence::WrongBytes(what));
            }
            FetchFailure::BaseGone(base) => {
                self.parts.remove(&id);
                target.damaged.push(base);
                target.last_failure = Some(failure.to_string());
            }
            FetchFailure::Local(why) => {
                let pulls = self.targets.remove(&id)?.pulls;
                return Some(Outcome::Failed { pulls, why: PullFailure::Local(why) });
            }
        }
        if target.attempts >= Settings::ATTEMPTS_MAX {
            return self.fail(id);
        }
        None
    }

    /// Gives up on a layer.
    fn fail(&mut self, id: DiffId) -> Option<Outcome> {
        let target = self.targets.remove(&id)?;
        let why = match target.last_failure {
            Some(last) => PullFailure::Exhausted { target: id, last },
            None => PullFailure::NoSource { target: id },
        };
        Some(Outcome::Failed { pulls: target.pulls, why })
    }

    /// With all quotes in, fetches by the best; with none, waits for another chance.
    fn choose(&mut self, id: DiffId, context: &mut Context<'_>) {
        let Some(target) = self.targets.get_mut(&id) else { return };
        let State::Quoting { asked, quoted } = &mut target.state else { return };
        if !asked.is_empty() {
            return;
        }
        let best = std::mem::take(quoted).into_iter().min_by_key(|plan| (plan.cost(), plan.bytes, plan.peer));
        let Some(plan) = best else {
            target.state = State::Waiting { until: context.now + context.settings.patience };
            return;
        };
        let fetch = FetchId(self.next_fetch);
        self.next_fetch += 1;
        self.fetches.insert(fetch, id);
        let part = self.parts.get(&id).filter(|part| plan.resumes(part));
        let resume = part.map(|part| Resume { patch: part.patch, first_frame: part.frames });
        let bases = target.offer(id, &plan, part, context);
        let request = PatchRequest { target: id, bases, resume };
        context.effects.push(Effect::Fetch { fetch, from: plan.peer, request });
        let report = Report::Fetching {
            target: id,
            from: plan.peer,
            bases: plan.bases.clone(),
            bytes: plan.bytes,
            exact: plan.ready.is_some(),
        };
        context.report_all(&target.pulls, &report);
        let bytes = part.map_or(Bytes::ZERO, |part| part.bytes);
        target.attempts += 1;
        target.state = State::Fetching(Box::new(Fetching {
            fetch,
            plan,
            started: context.now,
            first_bytes: None,
            checked: (context.now, bytes),
            bytes,
            stopped: false,
        }));
    }
}

impl Plan {
    /// Whether going on with `part` is going on with this plan.
    fn resumes(&self, part: &Part) -> bool {
        match self.ready {
            Some(patch) => patch == part.patch,
            // The same bases give the same patch on every node.
            None => self.bases == part.bases,
        }
    }
}

impl Target {
    /// Asks the best few for quotes. False if there is nobody to ask.
    fn begin(&mut self, id: DiffId, part: Option<&Part>, context: &mut Context<'_>) -> bool {
        self.excluded.retain(|_, (until, failures)| *until > context.now || *failures > 0);
        let excluded = |peer: PeerId| {
            let of_layer = self.excluded.get(&peer).is_some_and(|(until, _)| *until > context.now);
            of_layer || context.is_cut_off(peer)
        };
        let whole_only = self.attempts >= Settings::ATTEMPTS_MAX / 2;
        let mut plans = planner::plans(id, context.own, context.directory, context.settings, &excluded, &self.damaged);
        plans.retain(|plan| !whole_only || plan.bases.is_empty());
        let mut asked: BTreeMap<AskId, Plan> = BTreeMap::new();
        for plan in plans {
            if asked.len() >= Settings::QUOTES_MAX {
                break;
            }
            if asked.values().any(|other| other.peer == plan.peer) {
                continue;
            }
            let bases = self.offer(id, &plan, part, context);
            let ask = context.ask(plan.peer, crate::Purpose::Quote(id), Request::Quote { target: id, bases });
            asked.insert(ask, plan);
        }
        if asked.is_empty() {
            return false;
        }
        self.state = State::Quoting { asked, quoted: Vec::new() };
        true
    }

    /// The bases to name to a provider: a part's own first, then the plan's, then others that help.
    fn offer(&self, id: DiffId, plan: &Plan, part: Option<&Part>, context: &Context<'_>) -> Vec<DiffId> {
        if self.attempts >= Settings::ATTEMPTS_MAX / 2 {
            return Vec::new();
        }
        let Some(card) = context.directory.card(id) else { return plan.bases.clone() };
        let mut bases = planner::offered_bases(card, plan, context.own, &self.damaged);
        for base in part.iter().flat_map(|part| &part.bases) {
            if !bases.contains(base) && context.own.holds(*base) && bases.len() < lighter_wire::BASES_MAX {
                bases.insert(0, *base);
            }
        }
        bases
    }

    fn exclude(&mut self, peer: PeerId, why: String, now: Moment) {
        let (until, failures) = self.excluded.entry(peer).or_insert((now, 0));
        *until = now + Settings::BACKOFF * (1 << (*failures).min(6));
        *failures += 1;
        self.last_failure = Some(format!("{peer}: {why}"));
    }

    fn refused(&mut self, id: DiffId, from: PeerId, refusal: Refusal, context: &mut Context<'_>) {
        if refusal == Refusal::NotHeld {
            context.directory.denied(from, id);
        }
        self.exclude(from, refusal.to_string(), context.now);
    }
}

impl Fetching {
    fn check_stall(&mut self, context: &mut Context<'_>) {
        if !self.stopped && context.now.since(self.checked.0) >= context.settings.stall_timeout {
            self.stopped = true;
            context.effects.push(Effect::StopFetch(self.fetch));
        }
    }

    /// Transfers too short to tell a rate by teach nothing.
    fn learn_rate(&self, context: &mut Context<'_>) {
        let Some((since, before)) = self.first_bytes else { return };
        let took = context.now.since(since);
        let received = self.bytes - before;
        if took >= Duration::from_secs(1) && received > Bytes::KIB.times(64) {
            let rate = u128::from(received.0) * 1000 / took.as_millis();
            context.directory.measured(self.plan.peer, BytesPerSecond(u64::try_from(rate).unwrap_or(u64::MAX)));
        }
    }
}

/// The plan as the provider quoted it. What is on disk of that patch need not be sent again.
fn with_quote(plan: Plan, quote: Quote, part: Option<&Part>, context: &Context<'_>) -> Plan {
    let (ready, bytes) = match quote.offer {
        Offer::Ready { patch, bytes } => (Some(patch), bytes),
        Offer::Predicted { bytes } => (None, bytes),
    };
    let mut plan = Plan { bases: quote.bases, ready, wait: quote.wait, ..plan };
    let have = part.filter(|part| plan.resumes(part)).map_or(Bytes::ZERO, |part| part.bytes);
    plan.bytes = bytes - have;
    plan.transfer = plan.bytes.at(rate(&plan, context.directory, context.settings));
    plan
}

fn rate(plan: &Plan, directory: &Directory, settings: &Settings) -> BytesPerSecond {
    directory.peer(plan.peer).map_or(settings.uplink_rate, |peer| planner::expected_rate(peer, settings))
}
