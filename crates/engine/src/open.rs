//! Effects that want an answer. A caller of the engine keeps count of them by [`Open`]: each is answered exactly once.

use lighter_types::DiffId;

use crate::event::{AskId, Effect, EncodeId, FetchId, PullId, QuestionId};
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
    Unpack(DiffId),
    LookUp(QuestionId),
}

impl Open {
    /// The open effect that this effect begins.
    pub fn asked(effect: &Effect) -> Option<Self> {
        Some(match effect {
            Effect::Ask { ask, .. } => Self::Ask(*ask),
            Effect::Fetch { fetch, .. } => Self::Fetch(*fetch),
            Effect::Encode { encode, .. } => Self::Encode(*encode),
            Effect::LookUpImage { question, .. } => Self::LookUp(*question),
            Effect::ReadImage { pull, .. } => Self::Read(*pull),
            Effect::KeepBlob { pull, .. } => Self::Keep(*pull),
            Effect::CommitImage { pull, .. } => Self::Commit(*pull),
            Effect::Unpack { layer, .. } => Self::Unpack(*layer),
            Effect::Announce(_)
            | Effect::Answer { .. }
            | Effect::AnswerFromStore { .. }
            | Effect::Working { .. }
            | Effect::Serve { .. }
            | Effect::Refuse { .. }
            | Effect::Refer { .. }
            | Effect::Connect(_)
            | Effect::CutOff { .. }
            | Effect::StopFetch(_)
            | Effect::StopEncode(_)
            | Effect::Report { .. }
            | Effect::KeepCalibration { .. }
            | Effect::KeepPace(..)
            | Effect::KeepLink { .. }
            | Effect::KeepLists(_)
            | Effect::WakeAt(_) => return None,
        })
    }

    /// The open effect that this input ends.
    pub fn answered(input: &Input) -> Option<Self> {
        let Input::Work(work) = input else { return None };
        Some(match work {
            WorkInput::Answered { ask, .. } => Self::Ask(*ask),
            WorkInput::FetchEnded { fetch, .. } => Self::Fetch(*fetch),
            WorkInput::EncodeEnded { encode, .. } => Self::Encode(*encode),
            WorkInput::ImageLookedUp { question, .. } => Self::LookUp(*question),
            WorkInput::ImageRead { pull, .. } => Self::Read(*pull),
            WorkInput::BlobKept { pull, .. } => Self::Keep(*pull),
            WorkInput::ImageCommitted { pull, .. } => Self::Commit(*pull),
            WorkInput::Unpacked { layer, .. } => Self::Unpack(*layer),
            WorkInput::FetchWorking { .. } | WorkInput::FetchProgress { .. } | WorkInput::EncodeProgress { .. } => {
                return None;
            }
        })
    }
}
