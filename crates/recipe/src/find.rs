//! Finds the recipe of a blob: which encoder makes it again.
//!
//! The finder inflates the first MiB of content. The encoders compress it one after the other, the commonest first,
//! and what they make is compared with the blob: all but the right one differ within their first block or two. The
//! encoder that is left goes through the whole blob. If it makes all of it, the blob is rebuilt: no further pass is
//! needed, and the places where it could start again are the checkpoints. If it differs later, the next encoders are
//! tried. An encoder has to make every member of a blob.

mod beginning;
mod frame;
mod libzstd;
mod pass;
mod trial;

use lighter_types::ReadAt;

use self::beginning::Beginning;
use self::pass::Pass;
use crate::encoder::Encoder;
use crate::error::FindError;
use crate::recipe::Recipe;

/// Content that is made at once.
const PIECE_BYTES: usize = 64 << 10;

/// The answer of [`find`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Found {
    Recipe(Recipe),
    Unknown(Unknown),
}

/// A blob without a recipe.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unknown {
    pub reason: Reason,
    /// The encoder that went furthest.
    pub nearest: Option<Nearest>,
}

/// Why a blob has no recipe.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reason {
    /// It begins with neither gzip nor zstd.
    NotCompressed,
    /// No encoder makes it.
    Encoder,
    /// It has more members than a recipe holds, or more bytes behind them.
    Limit,
}

/// The encoder that went furthest before its first difference.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Nearest {
    pub encoder: Encoder,
    /// The first byte of the blob that it makes differently.
    pub blob_offset: u64,
    /// Content that it had seen by then.
    pub tar_offset: u64,
}

/// Finds the recipe of a blob with at most so much content. `progress` is called with the bytes of the blob that are
/// done. Memory: the beginning of the blob and its content, 4 MiB each at most, an engine, and the window of a zstd
/// frame: 128 MiB at most.
///
/// # Errors
/// Damaged or cut gzip and zstd; a larger window; more content than `tar_bytes_max`; failures of the blob.
pub fn find(blob: &dyn ReadAt, tar_bytes_max: u64, progress: &mut dyn FnMut(u64)) -> Result<Found, FindError> {
    find_among(blob, tar_bytes_max, &mut |_| true, progress)
}

/// As [`find`], by those encoders alone that `is_tried` says yes to. It is asked for each in turn.
///
/// # Errors
/// As [`find`].
pub fn find_among(
    blob: &dyn ReadAt,
    tar_bytes_max: u64,
    is_tried: &mut dyn FnMut(Encoder) -> bool,
    progress: &mut dyn FnMut(u64),
) -> Result<Found, FindError> {
    let Some(beginning) = Beginning::read(blob)? else {
        return Ok(Found::Unknown(Unknown { reason: Reason::NotCompressed, nearest: None }));
    };
    let mut nearest: Option<Nearest> = None;
    for encoder in beginning.encoders.iter().copied().filter(|encoder| is_tried(*encoder)) {
        let mut difference = beginning.difference(encoder, blob)?;
        if difference.is_none() {
            match Pass::new(blob, tar_bytes_max, encoder).run(progress)? {
                Found::Unknown(unknown) if unknown.reason == Reason::Encoder => difference = unknown.nearest,
                found @ (Found::Recipe(_) | Found::Unknown(_)) => return Ok(found),
            }
        }
        // The first of several that are as near is the commonest.
        let is_nearer = |new: &Nearest| nearest.is_none_or(|old| new.blob_offset > old.blob_offset);
        nearest = difference.filter(is_nearer).or(nearest);
    }
    Ok(Found::Unknown(Unknown { reason: Reason::Encoder, nearest }))
}
