//! The file of a patch that is on its way: where the payload of each frame stands in it.
//!
//! A large layer that comes as it is (every frame is stored) has its download at the places of the layer, without the
//! patch's header. So the file becomes the layer's, and each byte is written once. Any other patch stands in its file
//! as it was sent.

use lighter_patch::{Frame, Header};
use lighter_types::Bytes;

/// For a smaller layer, the header's file and its sync would cost more than writing the layer twice.
const LAYER_BYTES_MIN: Bytes = Bytes(16 << 20);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartLayout {
    /// The header, then the payloads.
    Patch,
    /// The layer.
    Layer,
}

impl PartLayout {
    pub fn of(header: &Header) -> Self {
        if header.is_stored() && header.target_bytes() >= LAYER_BYTES_MIN { Self::Layer } else { Self::Patch }
    }

    /// Where a frame's payload begins.
    pub fn place(self, frame: &Frame) -> u64 {
        match self {
            Self::Patch => frame.payload_offset,
            Self::Layer => frame.target_offset,
        }
    }

    /// The frames, from the first on, that are in a file of so many bytes as a whole.
    pub fn frames_in(self, header: &Header, bytes: Bytes) -> u32 {
        let ends = header.frames().iter().map(|frame| self.place(frame) + u64::from(frame.payload_bytes));
        ends.take_while(|end| *end <= bytes.0).count() as u32
    }

    /// The bytes of the patch that a file of so many bytes stands for.
    pub fn patch_bytes(self, header: &Header, bytes: Bytes) -> Bytes {
        match self {
            Self::Patch => bytes,
            Self::Layer => header.header_bytes() + bytes,
        }
    }
}
