//! Codec 0: the target's bytes as they are, for what does not compress.

use lighter_delta::CodecError;

pub fn decode(payload: &[u8], target_bytes: usize, out: &mut Vec<u8>) -> Result<(), CodecError> {
    if payload.len() != target_bytes {
        return Err("a stored payload whose length is not the frame's".into());
    }
    out.extend_from_slice(payload);
    Ok(())
}
