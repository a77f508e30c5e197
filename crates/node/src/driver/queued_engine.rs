//! The engine, and the one queue of the inputs that it has not taken in yet.
//!
//! Whatever happens becomes an input at the end of the queue. One loop, `Driver::settle`, takes the first input, steps
//! the engine, and performs the effects of that step in order before it takes the next. An effect that is answered at
//! once, such as a question to a peer that has no address, only adds an input. So the effects of a step are never
//! performed after those of a later step: the last `WakeAt` of the engine is the one that counts.
//!
//! The queue also holds node and engine to their contract. Each effect of the engine's second group is open from the
//! step that asks for it until its answer goes in; a second answer, or an answer that nobody asked for, is a defect.

use std::collections::{BTreeSet, VecDeque};
use std::ops::Deref;

use lighter_engine::{Effect, Engine, Input, Open};
use lighter_types::{Moment, broken};

/// One event and the effects that follow from it cause a handful of inputs, or one for each question to a peer.
const INPUTS_WAITING_MAX: usize = 8192;

/// See the module. Everybody may look at the engine; only [`Self::step_next`] steps it.
pub struct QueuedEngine {
    engine: Engine,
    waiting: VecDeque<Input>,
    open: BTreeSet<Open>,
    /// When the engine wants its next [`Input::Tick`].
    wake_at: Option<Moment>,
}

impl QueuedEngine {
    pub fn new(engine: Engine) -> Self {
        Self { engine, waiting: VecDeque::new(), open: BTreeSet::new(), wake_at: None }
    }

    /// Adds an input at the end of the queue. A queue beyond its bound is a defect, but no input is dropped: the engine
    /// may wait for it.
    pub fn push(&mut self, input: impl Into<Input>) {
        if self.waiting.len() >= INPUTS_WAITING_MAX {
            broken("more inputs wait than one event can cause");
        }
        self.waiting.push_back(input.into());
    }

    /// Steps the engine by the first input that waits. Returns the effects of that step, in order; `None` if no input
    /// waits.
    pub fn step_next(&mut self, now: Moment) -> Option<Vec<Effect>> {
        loop {
            let input = self.waiting.pop_front()?;
            if let Some(answered) = Open::answered(&input)
                && !self.open.remove(&answered)
            {
                broken("an answer that the engine does not wait for");
                continue;
            }
            let mut effects = Vec::new();
            self.engine.step(now, input, &mut effects);
            for asked in effects.iter().filter_map(Open::asked) {
                if !self.open.insert(asked) {
                    broken("the engine asked twice for one answer");
                }
            }
            return Some(effects);
        }
    }

    /// The effects that the engine waits for an answer to.
    pub fn open(&self) -> &BTreeSet<Open> {
        &self.open
    }

    pub fn wake_at(&self) -> Option<Moment> {
        self.wake_at
    }

    /// The engine wants its next tick then.
    pub fn set_wake_at(&mut self, moment: Moment) {
        self.wake_at = Some(moment);
    }

    /// The moment that the engine wanted to be woken at has come.
    pub fn push_tick(&mut self) {
        self.wake_at = None;
        self.push(Input::Tick);
    }
}

/// To look at the engine; stepping needs `&mut Engine`, which nobody else can have.
impl Deref for QueuedEngine {
    type Target = Engine;

    fn deref(&self) -> &Engine {
        &self.engine
    }
}
