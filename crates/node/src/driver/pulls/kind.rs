//! The kind of problem that a failed pull is to the operator.

use lighter_engine::{FetchFailure, LocalFailure, PullFailure, Setback};

use crate::api::ProblemKind;

/// The one place where the kinds of failed pulls are mapped.
pub fn kind_of(why: &PullFailure) -> ProblemKind {
    match why {
        PullFailure::NotResolved { .. } | PullFailure::BlobNotFound { .. } | PullFailure::NoSource { .. } => {
            ProblemKind::Network
        }
        PullFailure::Exhausted { why, .. } => match &**why {
            Setback::Fetch(FetchFailure::NoRoom(local)) => kind_of_local(local),
            _ => ProblemKind::Network,
        },
        PullFailure::TooMany { .. } => ProblemKind::Machine,
        PullFailure::Local(local) => kind_of_local(local),
        PullFailure::Unusable(_) => ProblemKind::BadData,
        PullFailure::Cancelled | PullFailure::Stopping => ProblemKind::Cancelled,
    }
}

fn kind_of_local(why: &LocalFailure) -> ProblemKind {
    match why {
        LocalFailure::DiskFull { .. } => ProblemKind::DiskFull,
        LocalFailure::BudgetFull { .. } => ProblemKind::BudgetFull,
        LocalFailure::Failed(_) | LocalFailure::PartShrank { .. } | LocalFailure::Panicked | LocalFailure::Aborted => {
            ProblemKind::Machine
        }
    }
}
