//! Effects that want an answer. A caller of the engine keeps count of them by [`Open`]: each is answered exactly once.

use crate::event::{AskId, Effect, EncodeId, FetchId, PullId};
use crate::input::{Input, WorkInput};

/// An effect that waits for its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Open {
    Ask(AskId),
    Fetch(FetchId),
    Encode(EncodeId),
    Read(PullId),
    Keep(PullId),
    Commit(PullId),
}

impl Open {
    /// The open effect that this effect begins.
    pub fn asked(effect: &Effect) -> Option<Self> {
        Some(match effect {
            Effect::Ask { ask, .. } => Self::Ask(*ask),
            Effect::Fetch { fetch, .. } => Self::Fetch(*fetch),
            Effect::Encode { encode, .. } => Self::Encode(*encode),
            Effect::ReadImage { pull, .. } => Self::Read(*pull),
            Effect::KeepBlob { pull, .. } => Self::Keep(*pull),
            Effect::CommitImage { pull, .. } => Self::Commit(*pull),
            _ => return None,
        })
    }

    /// The open effect that this input ends.
    pub fn answered(input: &Input) -> Option<Self> {
        Some(match input {
            Input::Work(WorkInput::Answered { ask, .. }) => Self::Ask(*ask),
            Input::Work(WorkInput::FetchEnded { fetch, .. }) => Self::Fetch(*fetch),
            Input::Work(WorkInput::EncodeEnded { encode, .. }) => Self::Encode(*encode),
            Input::Work(WorkInput::ImageRead { pull, .. }) => Self::Read(*pull),
            Input::Work(WorkInput::BlobKept { pull, .. }) => Self::Keep(*pull),
            Input::Work(WorkInput::ImageCommitted { pull, .. }) => Self::Commit(*pull),
            _ => return None,
        })
    }
}
