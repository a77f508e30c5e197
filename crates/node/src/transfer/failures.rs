//! Failures of a fetch, from the errors of the store, the patch and the workers. The one place that says which of them
//! are this machine's and which are the peer's.

use std::io;

use lighter_engine::{FetchFailure, FetchStep, Lie, LocalFailure, LostCause};
use lighter_patch::ApplyError;
use lighter_store::StoreError;
use lighter_streams::{OpenError, OpenStep, Settings};
use lighter_types::{Blame, Cause};
use lighter_wire::WireError;
use tokio::task::JoinError;

use crate::defects;
use crate::shared::local_failure;

/// The store failed.
pub fn of_store(error: StoreError) -> FetchFailure {
    FetchFailure::Local(local_failure(error))
}

/// A frame failed its check, or could not be applied.
pub fn of_apply(error: ApplyError) -> FetchFailure {
    if let ApplyError::BaseRead { diff_id, .. } = error {
        return FetchFailure::BaseGone(diff_id);
    }
    match error.blame() {
        Blame::Peer => FetchFailure::Lied(Lie::Unreadable(Cause::new(error))),
        Blame::Version => lost(LostCause::Unusable(Cause::new(error))),
        Blame::Machine | Blame::Caller | Blame::Bug => FetchFailure::Local(LocalFailure::Failed(Cause::new(error))),
    }
}

/// The file of a partial patch could not be opened or read.
#[derive(Debug, thiserror::Error)]
#[error("cannot {act} the partial patch")]
pub struct PartialError {
    pub act: &'static str,
    pub source: io::Error,
}

/// A read or write on this machine failed.
pub fn of_disk(error: impl std::error::Error + Send + Sync + 'static) -> FetchFailure {
    FetchFailure::Local(LocalFailure::Failed(Cause::new(error)))
}

/// The file of a partial patch could not be opened.
pub fn of_opening(source: io::Error) -> FetchFailure {
    of_disk(PartialError { act: "open", source })
}

pub fn lost(cause: LostCause) -> FetchFailure {
    FetchFailure::Lost(cause)
}

/// No stream was opened.
pub fn of_open(error: OpenError) -> FetchFailure {
    lost(match error {
        OpenError::Dial(why) => LostCause::Dial(why),
        OpenError::Unsupported => LostCause::Unsupported,
        OpenError::TimedOut { step } => {
            let step = match step {
                OpenStep::Dialling => FetchStep::Dialling,
                OpenStep::Opening => FetchStep::Opening,
            };
            LostCause::TimedOut { step, after: Settings::default().open_timeout }
        }
        OpenError::Io(kind) => LostCause::Broken { step: FetchStep::Opening, why: kind.to_string() },
        OpenError::Busy => LostCause::ManyOpening,
        OpenError::ConnectionClosed => LostCause::ConnectionClosed(FetchStep::Opening),
        OpenError::Stopped => return FetchFailure::Stopped,
    })
}

/// A stream failed. Bytes that are no reply are a lie; anything else is the link.
pub fn of_link(step: FetchStep, error: io::Error) -> FetchFailure {
    if lighter_streams::is_unsupported(&error) {
        return lost(LostCause::Unsupported);
    }
    match error.kind() {
        _ if matches!(error.get_ref(), Some(source) if source.is::<WireError>()) => {
            FetchFailure::Lied(Lie::Unreadable(Cause::new(error)))
        }
        io::ErrorKind::UnexpectedEof => lost(LostCause::EndedEarly(step)),
        _ => lost(LostCause::Broken { step, why: error.to_string() }),
    }
}

/// A worker of a fetch panicked or was dropped. A panic is logged and counted.
pub fn of_worker(error: &JoinError) -> FetchFailure {
    FetchFailure::Local(defects::task_failed("a worker of a fetch", error))
}

#[cfg(test)]
mod tests {
    use lighter_patch::CodecId;
    use lighter_types::Bytes;
    use lighter_wire::{Message, PatchReply};

    use super::*;

    #[test]
    fn the_operator_reads_at_which_step_a_peer_was_lost() {
        let reset = io::Error::new(io::ErrorKind::ConnectionReset, "reset by peer");
        check(
            of_link(FetchStep::Frames, reset),
            "the peer was lost: the stream broke while frames came: reset by peer",
        );
        let ended = io::ErrorKind::UnexpectedEof.into();
        check(of_link(FetchStep::Header, ended), "the peer was lost: it ended the stream while the header came");
        let late = OpenError::TimedOut { step: OpenStep::Dialling };
        check(of_open(late), "the peer was lost: it did not answer within 10 s while it was dialled");
        check(of_open(OpenError::Dial("no route".to_owned())), "the peer was lost: no route");
        assert_eq!(of_open(OpenError::Stopped), FetchFailure::Stopped);
    }

    fn check(failure: FetchFailure, text: &str) {
        assert_eq!(failure.to_string(), text);
    }

    /// A member may send any codec: that must not look like a fault of this machine, which ends the pull.
    #[test]
    fn a_patch_of_a_later_build_ends_no_pull() {
        let later = of_apply(ApplyError::CodecUnsupported { frame: 3, codec: CodecId(77) });
        check(
            later,
            "the peer was lost: its patch cannot be used here: frame 3 needs codec 77, which this program does not have",
        );
        let memory = of_apply(ApplyError::Memory { frame: 3, needed: Bytes::MIB });
        assert!(matches!(memory, FetchFailure::Local(_)), "{memory}");
    }

    #[test]
    fn bytes_that_are_no_reply_are_a_lie_and_damage_of_the_link_is_not() {
        for step in [FetchStep::Reply, FetchStep::Frames] {
            let no_reply = PatchReply::decode(&[77]).unwrap_err();
            let reply = of_link(step, io::Error::new(io::ErrorKind::InvalidData, no_reply));
            assert!(matches!(reply, FetchFailure::Lied(_)));
            let damaged = of_link(step, io::ErrorKind::InvalidData.into());
            assert!(matches!(damaged, FetchFailure::Lost(LostCause::Broken { .. })));
        }
    }
}
