//! The words of a requester about itself, so that the provider chooses the patch that suits it.

use bincode::{Decode, Encode};
use lighter_types::{Pace, Prefer};

use crate::codec::{Message, WireError};

/// A requester's machine and wish.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// How slowly the requester applies patches.
    pub applying: Pace,
    pub prefer: Prefer,
}

#[doc(hidden)]
#[derive(Encode, Decode)]
pub enum PreferLayout {
    Time,
    Balanced,
    Bytes,
}

/// Pace in 1/1024, preference.
pub(crate) type TermsLayout = (u32, PreferLayout);

impl Terms {
    pub(crate) fn to_layout(self) -> TermsLayout {
        let prefer = match self.prefer {
            Prefer::Time => PreferLayout::Time,
            Prefer::Balanced => PreferLayout::Balanced,
            Prefer::Bytes => PreferLayout::Bytes,
        };
        (self.applying.to_part(), prefer)
    }

    pub(crate) fn from_layout<M: Message>((applying, prefer): TermsLayout) -> Result<Self, WireError> {
        let (found, limit) = (applying as usize, Pace::PART_MAX as usize);
        let out_of_range = WireError::OutOfRange { message: M::NAME, field: "pace of applying", found, limit };
        let applying = Pace::from_part(applying).ok_or(out_of_range)?;
        let prefer = match prefer {
            PreferLayout::Time => Prefer::Time,
            PreferLayout::Balanced => Prefer::Balanced,
            PreferLayout::Bytes => Prefer::Bytes,
        };
        Ok(Self { applying, prefer })
    }
}
