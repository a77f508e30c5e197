//! The node's mind: who holds what, what a layer would cost from whom, how to get it, and what to do for others.
//!
//! Sans I/O. There is one entry, [`Engine::step`]: something happened at `now`; here is what must be done about it. No
//! clock, no socket, no disk, no thread: the node and the simulator drive the same code. What is asked for in an
//! [`Effect`] of the second group is answered by exactly one [`Input`]. Iteration order is that of ordered maps, the only
//! randomness is a seeded jitter of timers, and every collection has a cap in [`Settings`].

mod directory;
mod event;
mod fetch;
mod flood;
mod holdings;
mod planner;
mod pull;
mod serve;
mod settings;

use std::collections::BTreeMap;

use lighter_types::{DiffId, Moment, PeerId};
use lighter_wire::{Announcement, Answer, News, Request};

pub use directory::{Directory, Peer};
pub use event::{
    AskFailure, AskId, BlobFailure, CachedPatch, Effect, EncodeFailure, EncodeId, FetchFailure, FetchId, Fetched,
    ImageRead, Input, Offence, Part, PullFailure, PullId, QuestionId, Report, StreamId, Wanted,
};
pub use holdings::Holdings;
pub use planner::{Plan, plans};
pub use settings::Settings;

use directory::Heard;
use fetch::Fetcher;
use flood::{Floods, Verdict};
use pull::Pulls;
use serve::Serve;

/// One node's mind.
#[derive(Debug)]
pub struct Engine {
    settings: Settings,
    own: Holdings,
    directory: Directory,
    serve: Serve,
    fetcher: Fetcher,
    pulls: Pulls,
    asks: Asks,
    floods: Floods,
    cut_off: BTreeMap<PeerId, Moment>,
    announce_at: Moment,
    announced: u64,
    /// The moment that the last [`Effect::WakeAt`] named.
    wake_at: Option<Moment>,
    jitter: u64,
    stopping: bool,
}

/// Questions that wait for an answer.
#[derive(Debug, Default)]
struct Asks {
    waiting: BTreeMap<AskId, (PeerId, Purpose)>,
    next: u64,
}

/// What a question is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    Holdings,
    Quote(DiffId),
    Resolve(PullId),
    Blob(PullId),
}

/// What the state machines share during a step.
struct Context<'a> {
    now: Moment,
    settings: &'a Settings,
    own: &'a Holdings,
    directory: &'a mut Directory,
    asks: &'a mut Asks,
    cut_off: &'a mut BTreeMap<PeerId, Moment>,
    effects: &'a mut Vec<Effect>,
}

impl Context<'_> {
    fn ask(&mut self, to: PeerId, purpose: Purpose, request: Request) -> AskId {
        let ask = AskId(self.asks.next);
        self.asks.next += 1;
        self.asks.waiting.insert(ask, (to, purpose));
        self.effects.push(Effect::Ask { ask, to, request });
        ask
    }

    fn is_cut_off(&self, peer: PeerId) -> bool {
        self.cut_off.get(&peer).is_some_and(|&until| until > self.now)
    }

    fn cut_off(&mut self, peer: PeerId, offence: Offence) {
        let lasting = self.settings.cut_off;
        if self.cut_off.len() < self.settings.peers_max {
            self.cut_off.insert(peer, self.now + lasting);
        }
        self.directory.forget(peer);
        self.effects.push(Effect::CutOff { peer, lasting, offence });
    }

    fn report_all<'p>(&mut self, pulls: impl IntoIterator<Item = &'p PullId>, report: &Report) {
        self.effects.extend(pulls.into_iter().map(|&pull| Effect::Report { pull, report: report.clone() }));
    }
}

/// The engine's parts as a context and what it acts on; a macro because each caller borrows other fields.
macro_rules! context {
    ($engine:ident, $now:ident, $effects:ident) => {
        Context {
            now: $now,
            settings: &$engine.settings,
            own: &$engine.own,
            directory: &mut $engine.directory,
            asks: &mut $engine.asks,
            cut_off: &mut $engine.cut_off,
            effects: $effects,
        }
    };
}

impl Engine {
    pub fn new(settings: Settings) -> Self {
        Self {
            own: Holdings::default(),
            directory: Directory::new(settings.peers_max),
            serve: Serve::default(),
            fetcher: Fetcher::default(),
            pulls: Pulls::default(),
            asks: Asks::default(),
            floods: Floods::default(),
            cut_off: BTreeMap::new(),
            announce_at: Moment::default(),
            announced: 0,
            wake_at: None,
            jitter: settings.seed | 1,
            stopping: false,
            settings,
        }
    }

    /// Takes in what happened and appends what must be done. `now` never goes back.
    pub fn step(&mut self, now: Moment, input: Input, effects: &mut Vec<Effect>) {
        match input {
            Input::LayerHeld(_) | Input::LayerGone(_) | Input::PatchHeld(_) | Input::PatchGone(_) => {
                self.disk_changed(now, input, effects);
            }
            Input::PartHeld { target, part } => self.fetcher.part_held(target, part),
            Input::PeerConnected(peer) => self.connected(now, peer, effects),
            Input::PeerLost(peer) => self.directory.disconnected(peer),
            Input::Announced { from, announcement } => self.announced(now, from, announcement, effects),
            Input::Asked { question, from, request } => self.asked(now, question, from, request, effects),
            Input::StreamOpened { stream, from, request } => {
                if self.admits(now, from, effects) {
                    self.serve.stream_opened(stream, from, &request, &self.own, &self.settings, effects);
                } else {
                    effects.push(Effect::Refuse { stream, refusal: lighter_wire::Refusal::Busy });
                }
            }
            Input::StreamClosed(stream) => self.serve.stream_closed(stream),
            Input::EncodeProgress { encode, target_bytes_done } => {
                self.serve.encode_progress(encode, target_bytes_done, effects);
            }
            Input::EncodeEnded { encode, took, result } => self.encode_ended(now, encode, took, result, effects),
            Input::Answered { ask, answer } => self.answered(now, ask, answer, effects),
            Input::Tick => {}
            Input::Stop => self.stop(now, effects),
            Input::PullAsked { .. }
            | Input::PullCancelled(_)
            | Input::ImageRead { .. }
            | Input::BlobKept { .. }
            | Input::ImageCommitted { .. } => self.pull_input(now, input, effects),
            Input::FetchWorking { .. } | Input::FetchProgress { .. } | Input::FetchEnded { .. } => {
                self.fetch_input(now, input, effects);
            }
        }
        self.advance(now, effects);
    }

    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    pub fn holdings(&self) -> &Holdings {
        &self.own
    }

    pub fn directory(&self) -> &Directory {
        &self.directory
    }

    /// Pulls under way.
    pub fn pulls(&self) -> usize {
        self.pulls.len()
    }

    /// Whether the peer is cut off at `now`.
    pub fn is_cut_off(&self, peer: PeerId, now: Moment) -> bool {
        self.cut_off.get(&peer).is_some_and(|&until| until > now)
    }

    /// All ways to get a layer now, the cheapest first, by prediction: no peer is asked.
    pub fn plans(&self, target: DiffId, now: Moment) -> Vec<Plan> {
        let excluded = |peer| self.is_cut_off(peer, now);
        plans(target, &self.own, &self.directory, &self.settings, &excluded, &[])
    }

    /// What is on disk of a patch for this layer.
    pub fn part(&self, target: DiffId) -> Option<&Part> {
        self.fetcher.part(target)
    }

    fn disk_changed(&mut self, now: Moment, input: Input, effects: &mut Vec<Effect>) {
        let changed = match input {
            Input::LayerHeld(card) => {
                let changed = self.own.add(card);
                if let Some(outcome) = self.fetcher.layer_held(card.diff_id) {
                    self.pulls.outcome(outcome, &mut self.fetcher, &mut context!(self, now, effects));
                }
                changed
            }
            Input::LayerGone(layer) => self.own.remove(layer),
            Input::PatchHeld(patch) => {
                self.serve.patch_held(patch);
                false
            }
            Input::PatchGone(patch) => {
                self.serve.patch_gone(patch);
                false
            }
            _ => false,
        };
        if changed {
            self.announce_at = self.announce_at.min(now + Settings::GATHER);
        }
    }

    fn connected(&mut self, now: Moment, peer: PeerId, effects: &mut Vec<Effect>) {
        if self.is_cut_off(peer, now) {
            return;
        }
        self.directory.connected(peer, now);
        context!(self, now, effects).ask(peer, Purpose::Holdings, Request::Holdings);
    }

    fn announced(&mut self, now: Moment, from: PeerId, announcement: Announcement, effects: &mut Vec<Effect>) {
        if !self.admits(now, from, effects) {
            return;
        }
        let leaving = announcement.news == News::Leaving;
        let heard = self.directory.announced(from, announcement, now);
        let reachable = self.directory.peer(from).is_some_and(Peer::is_connected);
        let asking = self.asks.waiting.values().any(|ask| *ask == (from, Purpose::Holdings));
        if heard == Heard::Behind && reachable && !asking && !leaving {
            context!(self, now, effects).ask(from, Purpose::Holdings, Request::Holdings);
        }
    }

    fn asked(&mut self, now: Moment, question: QuestionId, from: PeerId, request: Request, effects: &mut Vec<Effect>) {
        if !self.admits(now, from, effects) {
            let answer = Answer::Refused(lighter_wire::Refusal::Busy);
            effects.push(Effect::Answer { question, answer });
            return;
        }
        let answer = match request {
            Request::Holdings => Answer::Holdings(lighter_wire::Holdings {
                incarnation: self.settings.incarnation,
                version: self.own.version(),
                site: self.settings.site.clone(),
                cards: self.own.told(),
            }),
            Request::Quote { target, bases } => {
                self.serve.quote(target, &bases, &self.own).map_or_else(Answer::Refused, Answer::Quote)
            }
            request @ (Request::Resolve(_) | Request::Blob { .. }) => {
                effects.push(Effect::AnswerFromStore { question, request });
                return;
            }
        };
        effects.push(Effect::Answer { question, answer });
    }

    fn answered(&mut self, now: Moment, ask: AskId, answer: Result<Answer, AskFailure>, effects: &mut Vec<Effect>) {
        let Some((from, purpose)) = self.asks.waiting.remove(&ask) else { return };
        let context = &mut context!(self, now, effects);
        match purpose {
            Purpose::Holdings => {
                if let Ok(Answer::Holdings(holdings)) = answer
                    && !context.is_cut_off(from)
                {
                    context.directory.told(from, holdings, now);
                }
            }
            Purpose::Quote(target) => self.fetcher.quoted(target, ask, from, answer, context),
            Purpose::Resolve(pull) => self.pulls.resolved(pull, ask, from, answer, context),
            Purpose::Blob(pull) => self.pulls.blob_answered(pull, from, answer, context),
        }
    }

    fn encode_ended(
        &mut self,
        now: Moment,
        encode: EncodeId,
        took: std::time::Duration,
        result: Result<CachedPatch, EncodeFailure>,
        effects: &mut Vec<Effect>,
    ) {
        if let Err(EncodeFailure::LayerGone(layer)) = result {
            self.disk_changed(now, Input::LayerGone(layer), effects);
        }
        self.serve.encode_ended(encode, took, result.ok(), &self.settings, effects);
    }

    fn pull_input(&mut self, now: Moment, input: Input, effects: &mut Vec<Effect>) {
        let context = &mut context!(self, now, effects);
        match input {
            Input::PullAsked { pull, .. } if self.stopping => {
                let report = Report::Failed { why: PullFailure::Stopping };
                context.effects.push(Effect::Report { pull, report });
            }
            Input::PullAsked { pull, wanted } => self.pulls.begin(pull, wanted, context),
            Input::PullCancelled(pull) => {
                self.pulls.fail(pull, PullFailure::Cancelled, &mut self.fetcher, context);
            }
            Input::ImageRead { pull, read } => self.pulls.image_read(pull, read, &mut self.fetcher, context),
            Input::BlobKept { pull, result } => self.pulls.blob_kept(pull, result, &mut self.fetcher, context),
            Input::ImageCommitted { pull, result } => {
                if let Some(report) = self.pulls.committed(pull, result) {
                    context.effects.push(Effect::Report { pull, report });
                }
            }
            _ => {}
        }
    }

    fn fetch_input(&mut self, now: Moment, input: Input, effects: &mut Vec<Effect>) {
        match input {
            Input::FetchWorking { fetch } => self.fetcher.working(fetch, now),
            Input::FetchProgress { fetch, part } => {
                self.fetcher.progress(fetch, part, &mut context!(self, now, effects));
            }
            Input::FetchEnded { fetch, result } => {
                if let Ok(fetched) = &result {
                    self.serve.patch_held(fetched.patch.clone());
                    self.disk_changed(now, Input::LayerHeld(fetched.card), effects);
                }
                if let Err(FetchFailure::BaseGone(base)) = &result {
                    self.disk_changed(now, Input::LayerGone(*base), effects);
                }
                let context = &mut context!(self, now, effects);
                if let Some(outcome) = self.fetcher.ended(fetch, result, context) {
                    self.pulls.outcome(outcome, &mut self.fetcher, context);
                }
            }
            _ => {}
        }
    }

    fn stop(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        if std::mem::replace(&mut self.stopping, true) {
            return;
        }
        self.serve.stop(effects);
        self.pulls.fail_all(&PullFailure::Stopping, &mut self.fetcher, &mut context!(self, now, effects));
        effects.push(Effect::Announce(self.own.leaving(&self.settings)));
    }

    /// Whether a message of this peer is taken in. Too many are not; far too many cut it off.
    fn admits(&mut self, now: Moment, from: PeerId, effects: &mut Vec<Effect>) -> bool {
        if self.is_cut_off(from, now) {
            return false;
        }
        match self.floods.message(from, now) {
            Verdict::Fine => true,
            Verdict::TooMany => false,
            Verdict::Flood => {
                context!(self, now, effects).cut_off(from, Offence::Flood);
                false
            }
        }
    }

    /// Does what is due and says when the next thing will be.
    fn advance(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        if !self.stopping {
            self.announce(now, effects);
            let context = &mut context!(self, now, effects);
            for outcome in self.fetcher.advance(context) {
                self.pulls.outcome(outcome, &mut self.fetcher, context);
            }
            self.pulls.advance(context);
        }
        let deadlines =
            [Some(self.announce_at), self.fetcher.next_deadline(&self.settings), self.pulls.next_deadline()];
        let next = deadlines.into_iter().flatten().min().map(|next| next.max(Moment(now.0 + 1)));
        if let (Some(next), false) = (next, self.stopping || next == self.wake_at) {
            self.wake_at = Some(next);
            effects.push(Effect::WakeAt(next));
        }
    }

    fn announce(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        if now < self.announce_at {
            return;
        }
        let full = self.announced.is_multiple_of(Settings::FULL_EVERY);
        self.announced += 1;
        effects.push(Effect::Announce(self.own.announcement(&self.settings, full)));
        let interval = self.settings.announce_interval;
        // Within a tenth of the interval, so that a fleet that started together does not stay together.
        let tenth = u64::try_from(interval.as_millis()).unwrap_or(u64::MAX) / 10;
        self.announce_at = now + interval + std::time::Duration::from_millis(self.random() % tenth.max(1));
        let silent = Moment(now.0.saturating_sub(interval.as_millis() as u64 * u64::from(Settings::SILENT_INTERVALS)));
        self.directory.forget_silent(silent);
        self.cut_off.retain(|_, until| *until > now);
    }

    /// xorshift64 (Marsaglia 2003): jitter needs no better.
    fn random(&mut self) -> u64 {
        self.jitter ^= self.jitter << 13;
        self.jitter ^= self.jitter >> 7;
        self.jitter ^= self.jitter << 17;
        self.jitter
    }
}

#[cfg(test)]
mod tests;
