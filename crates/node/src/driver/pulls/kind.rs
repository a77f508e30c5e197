//! The kind of problem that a failed pull is to the operator.

use lighter_engine::{LocalFailure, PullFailure};

use crate::api::ProblemKind;

/// The one place where the kinds of failed pulls are mapped.
pub fn kind_of(why: &PullFailure) -> ProblemKind {
    match why {
        PullFailure::NotResolved { .. }
        | PullFailure::BlobNotFound { .. }
        | PullFailure::NoSource { .. }
        | PullFailure::Exhausted { .. } => ProblemKind::Network,
        PullFailure::TooMany { .. } => ProblemKind::Machine,
        PullFailure::Local(local) => match local {
            LocalFailure::DiskFull { .. } => ProblemKind::DiskFull,
            LocalFailure::BudgetFull { .. } => ProblemKind::BudgetFull,
            LocalFailure::Failed(_)
            | LocalFailure::PartShrank { .. }
            | LocalFailure::Panicked
            | LocalFailure::Aborted => ProblemKind::Machine,
        },
        PullFailure::Unusable(_) => ProblemKind::BadData,
        PullFailure::Cancelled | PullFailure::Stopping => ProblemKind::Cancelled,
    }
}
