//! The cost of a patch, as a provider tells it: in an answer of its own, and in offers for an image.

use std::time::Duration;

use bincode::{Decode, Encode};
use lighter_types::{BASES_MAX, Bytes, DiffId, Effort, PatchId};

use crate::codec::{self, Message, WireError};

/// The cost of a patch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quote {
    pub offer: Offer,
    /// The bases that the patch reads: a subset of those in the request, possibly empty.
    pub bases: Vec<DiffId>,
    /// The time until the provider can send the first byte: earlier work in its queue, and encoding. At most 49 days.
    pub wait: Duration,
    /// The effort of the patch; absent if another encoder made it.
    pub effort: Option<Effort>,
}

/// The size of the patch in a quote, and how certain it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offer {
    /// The patch exists; `bytes` is its exact size, header included.
    Ready { patch: PatchId, bytes: Bytes },
    /// The provider still has to make the patch; `bytes` is a prediction.
    Predicted { bytes: Bytes },
}

impl Offer {
    pub fn bytes(&self) -> Bytes {
        match self {
            Self::Ready { bytes, .. } | Self::Predicted { bytes } => *bytes,
        }
    }
}

#[doc(hidden)]
#[derive(Encode, Decode)]
pub enum EffortLayout {
    Fast,
    Default,
    Max,
    Plain,
}

/// `PatchId` if the patch exists, bytes of the patch, bases, wait in milliseconds, effort.
pub(crate) type QuoteLayout = (Option<[u8; 32]>, u64, Vec<[u8; 32]>, u32, Option<EffortLayout>);

pub(crate) fn quote_layout(quote: &Quote) -> QuoteLayout {
    let (patch, bytes) = match quote.offer {
        Offer::Ready { patch, bytes } => (Some(*patch.as_bytes()), bytes),
        Offer::Predicted { bytes } => (None, bytes),
    };
    let wait_ms = u32::try_from(quote.wait.as_millis()).unwrap_or(u32::MAX);
    let effort = quote.effort.map(|effort| match effort {
        Effort::Plain => EffortLayout::Plain,
        Effort::Fast => EffortLayout::Fast,
        Effort::Default => EffortLayout::Default,
        Effort::Max => EffortLayout::Max,
    });
    (patch, bytes.0, codec::diff_ids_layout(&quote.bases), wait_ms, effort)
}

pub(crate) fn quote<M: Message>((patch, bytes, bases, wait_ms, effort): QuoteLayout) -> Result<Quote, WireError> {
    let bytes = Bytes(bytes);
    let offer = match patch {
        Some(patch) => Offer::Ready { patch: PatchId::new(patch), bytes },
        None => Offer::Predicted { bytes },
    };
    let bases: Vec<DiffId> = codec::diff_ids::<M>(bases, BASES_MAX)?;
    let effort = effort.map(|effort| match effort {
        EffortLayout::Fast => Effort::Fast,
        EffortLayout::Default => Effort::Default,
        EffortLayout::Max => Effort::Max,
        EffortLayout::Plain => Effort::Plain,
    });
    Ok(Quote { offer, bases, wait: Duration::from_millis(wait_ms.into()), effort })
}
