//! The driver's child tasks, and the answer that each of them owes.
//!
//! A task ends with its answer as the result, and the driver takes it from the `JoinSet`. When the driver spawns a
//! task, it writes down under the task's id what the task owes. So a task that panics or is aborted is answered too:
//! the driver looks up what it owed, and gives the typed failure. No task can end in silence, and nothing is sent from
//! a `drop`.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use lighter_engine::{
    BlobFailure, EncodeFailure, EncodeId, FetchFailure, FetchId, ImageRead, Input, LocalFailure, PullId, QuestionId,
    StreamId, WorkInput,
};
use lighter_types::{DiffId, PeerId, broken};
use lighter_wire::{Answer, Refusal};
use tokio::task::{AbortHandle, Id, JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::defects;

/// The answer that a task owes.
#[derive(Clone, Copy, Debug)]
pub enum Owed {
    Fetch(FetchId),
    Encode {
        encode: EncodeId,
        began: Instant,
    },
    ImageRead(PullId),
    BlobKept(PullId),
    ImageCommitted(PullId),
    /// A layer out of its blob.
    Unpacked(DiffId),
    /// The facts in the store about an image that a peer asks about.
    ImageLookedUp(QuestionId, PeerId),
    /// The store's answer to a peer's question.
    Answer(QuestionId),
    /// That the stream is over.
    StreamClosed(StreamId),
    /// Nothing: the next layer gets its turn.
    Described,
    /// The result of a pass of the scrub.
    Scrubbed,
    /// A sign of life of the store and of the workers.
    Probed,
    /// The task writes down what the node can do without.
    Nothing,
}

/// The result of a task.
pub enum Ended {
    /// Boxed: the largest of the results.
    Input(Box<Input>),
    Answer {
        question: QuestionId,
        answer: Answer,
    },
    StreamClosed(StreamId),
    Described,
    Scrubbed {
        damaged: u64,
    },
    Probed,
    Nothing,
}

/// All child tasks.
#[derive(Default)]
pub struct Work {
    tasks: JoinSet<Ended>,
    owed: HashMap<Id, (Owed, Instant)>,
    fetches: BTreeMap<FetchId, FetchTokens>,
    /// The tokens that stop encodes.
    encodes: BTreeMap<EncodeId, CancellationToken>,
}

/// The tokens of a fetch.
#[derive(Clone, Default)]
pub struct FetchTokens {
    /// Stops it.
    pub cancelled: CancellationToken,
    /// Tells a fetch beside it that it has ended.
    pub over: CancellationToken,
}

impl Work {
    /// Starts a task. [`Self::next_ended`] gives the answer that it owes once, however it ends.
    pub fn spawn(&mut self, owed: Owed, task: impl Future<Output = Ended> + Send + 'static) {
        let handle = self.tasks.spawn(task);
        self.owe(&handle, owed);
    }

    /// [`Self::spawn`] for work that blocks.
    pub fn spawn_blocking(&mut self, owed: Owed, work: impl FnOnce() -> Ended + Send + 'static) {
        let handle = self.tasks.spawn_blocking(work);
        self.owe(&handle, owed);
    }

    fn owe(&mut self, handle: &AbortHandle, owed: Owed) {
        self.owed.insert(handle.id(), (owed, Instant::now()));
    }

    /// The token that stops this fetch, which is about to be spawned.
    pub fn begin_fetch(&mut self, fetch: FetchId) -> CancellationToken {
        self.fetches.entry(fetch).or_default().cancelled.clone()
    }

    /// The token that tells when this fetch has ended; `None` if it has.
    pub fn end_of_fetch(&self, fetch: FetchId) -> Option<CancellationToken> {
        self.fetches.get(&fetch).map(|tokens| tokens.over.clone())
    }

    /// Tells a fetch to stop. One that has ended meanwhile has its answer in the queue.
    pub fn stop_fetch(&self, fetch: FetchId) {
        if let Some(tokens) = self.fetches.get(&fetch) {
            tokens.cancelled.cancel();
        }
    }

    pub fn stop_fetches(&self) {
        self.fetches.values().for_each(|tokens| tokens.cancelled.cancel());
    }

    /// The token that stops this encode, which is about to be spawned; `stopping` stops it too.
    pub fn begin_encode(&mut self, encode: EncodeId, stopping: &CancellationToken) -> CancellationToken {
        self.encodes.entry(encode).or_insert_with(|| stopping.child_token()).clone()
    }

    /// Tells an encode to stop. One that has ended meanwhile has its answer in the queue.
    pub fn stop_encode(&self, encode: EncodeId) {
        if let Some(token) = self.encodes.get(&encode) {
            token.cancel();
        }
    }

    pub fn is_fetching(&self) -> bool {
        !self.fetches.is_empty()
    }

    /// Whether a task writes down what the node can do without.
    pub fn is_keeping(&self) -> bool {
        self.owed.values().any(|(owed, _)| matches!(owed, Owed::Nothing))
    }

    /// The oldest task that is at work for longer than `limit` although its work is short: its name, and since when.
    pub fn stuck(&self, now: Instant, limit: Duration) -> Option<(&'static str, Duration)> {
        let short = self.owed.values().filter(|(owed, _)| owed.is_short());
        let oldest = short.min_by_key(|(_, began)| *began)?;
        let age = now.saturating_duration_since(oldest.1);
        (age > limit).then(|| (oldest.0.task(), age))
    }

    /// Waits for the next task to end; without tasks, forever. Nothing is lost if this is dropped midway.
    pub async fn next_ended(&mut self) -> Ended {
        let Some(joined) = self.tasks.join_next_with_id().await else { return std::future::pending().await };
        let id = joined.as_ref().map_or_else(JoinError::id, |(id, _)| *id);
        let owed = self.owed.remove(&id).map_or_else(
            || {
                broken("a task that owes nothing that is known");
                Owed::Nothing
            },
            |(owed, _)| owed,
        );
        if let Owed::Fetch(fetch) = owed
            && let Some(tokens) = self.fetches.remove(&fetch)
        {
            tokens.over.cancel();
        }
        if let Owed::Encode { encode, .. } = owed {
            self.encodes.remove(&encode);
        }
        match joined {
            Ok((_, ended)) => ended,
            Err(error) => {
                let failure = defects::task_failed(owed.task(), &error);
                owed.failed(failure)
            }
        }
    }

    /// Ends all tasks, wherever they are.
    pub fn abort(&mut self) {
        self.tasks.abort_all();
    }
}

impl Owed {
    /// Whether the task has some disk accesses to do, and no more: it waits for no peer, and reads no layer.
    fn is_short(self) -> bool {
        match self {
            Self::ImageRead(_)
            | Self::BlobKept(_)
            | Self::ImageCommitted(_)
            | Self::ImageLookedUp(..)
            | Self::Answer(_)
            | Self::Probed
            | Self::Nothing => true,
            Self::Fetch(_)
            | Self::Encode { .. }
            | Self::Unpacked(_)
            | Self::StreamClosed(_)
            | Self::Described
            | Self::Scrubbed => false,
        }
    }

    /// The task's name in the log.
    fn task(self) -> &'static str {
        match self {
            Self::Fetch(_) => "fetch",
            Self::Encode { .. } => "encode",
            Self::ImageRead(_) => "reading an image",
            Self::BlobKept(_) => "keeping a blob",
            Self::ImageCommitted(_) => "committing an image",
            Self::Unpacked(_) => "unpacking a layer",
            Self::ImageLookedUp(..) => "looking up an image",
            Self::Answer(_) => "answering from the store",
            Self::StreamClosed(_) => "serving a stream",
            Self::Described => "hashing a layer",
            Self::Scrubbed => "scrubbing the store",
            Self::Probed => "probing the store",
            Self::Nothing => "keeping state",
        }
    }

    /// The answer in place of a task that gave none.
    fn failed(self, why: LocalFailure) -> Ended {
        let input = match self {
            Self::Fetch(fetch) => WorkInput::FetchEnded { fetch, result: Err(FetchFailure::Local(why)) },
            Self::Encode { encode, began } => {
                WorkInput::EncodeEnded { encode, took: began.elapsed(), result: Err(EncodeFailure::Local(why)) }
            }
            Self::ImageRead(pull) => WorkInput::ImageRead { pull, read: ImageRead::Local(why) },
            Self::BlobKept(pull) => WorkInput::BlobKept { pull, result: Err(BlobFailure::Local(why)) },
            Self::ImageCommitted(pull) => WorkInput::ImageCommitted { pull, result: Err(why) },
            Self::Unpacked(layer) => WorkInput::Unpacked { layer, held: None },
            Self::ImageLookedUp(question, from) => WorkInput::ImageLookedUp { question, from, found: Err(why) },
            Self::Answer(question) => return Ended::Answer { question, answer: Answer::Refused(Refusal::Failed) },
            Self::StreamClosed(stream) => return Ended::StreamClosed(stream),
            Self::Described => return Ended::Described,
            Self::Scrubbed => return Ended::Scrubbed { damaged: 0 },
            Self::Probed => return Ended::Probed,
            Self::Nothing => return Ended::Nothing,
        };
        input.into()
    }
}

impl From<WorkInput> for Ended {
    fn from(input: WorkInput) -> Self {
        Self::Input(Box::new(input.into()))
    }
}
