//! Takes parts off the front of a payload.

use crate::error::CodecError;

/// Takes so many bytes off the front.
///
/// # Errors
/// Fewer bytes are left.
pub fn take<'a>(rest: &mut &'a [u8], bytes: u64) -> Result<&'a [u8], CodecError> {
    let taken = usize::try_from(bytes).ok().and_then(|bytes| rest.split_at_checked(bytes));
    let (taken, after) = taken.ok_or("a part that is cut off")?;
    *rest = after;
    Ok(taken)
}
