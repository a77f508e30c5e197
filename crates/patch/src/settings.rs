//! The choices of an encoder, and the number that stands for it in a patch-cache key.

use lighter_types::{Bytes, Effort};

use lighter_vcdiff::{SEGMENT_BYTES_MAX, matching_bytes};

use crate::error::EncodeError;

/// Raised whenever the same settings give other bytes: a change in the planner, in a codec, or in the version of
/// xdelta3, zstd, lzma-rust2 or liblzma. `tests/golden.rs` fails when it should have been raised.
const ENCODER_VERSION: u32 = 14;

/// Largest window of a base that is indexed at once, whatever the memory: xdelta3 counts positions in 32 bits, and its
/// table has at most 2^28 slots.
const WINDOW_BITS_MAX: u32 = 30;
/// Smallest memory that [`Settings`] takes: a window of 64 MiB.
const MEMORY_BYTES_MIN: Bytes = Bytes(256 << 20);

/// Which codec a patch is made with. Changes the patch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// The delta codec: smaller and faster.
    Delta(Effort),
    /// VCDIFF by xdelta3, which can be exported for the stock tool without the base.
    Vcdiff,
}

impl Default for Method {
    fn default() -> Self {
        Self::Delta(Effort::Default)
    }
}

/// How to encode. `Default` is what docs/PATCH.md measures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The codec, and its effort. Changes the patch.
    pub method: Method,
    /// Most memory that encoding takes, at least 256 MiB. It sets the window of a base that is indexed at once (a power
    /// of two: 256 MiB from 1 GiB of memory on), or, with the delta codec, how much of the bases is held to match with;
    /// both change the patches of larger bases.
    pub memory_bytes_max: Bytes,
    /// Threads, at least 1. Never changes the patch.
    pub threads: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self { method: Method::default(), memory_bytes_max: Bytes(1 << 30), threads: 2 }
    }
}

impl Settings {
    /// A number for everything in the settings that changes a patch, and for the encoder's version: the third part of a
    /// patch-cache key, after the target and the bases. Memory counts by the window that it gives; threads do not.
    pub fn id(&self) -> u32 {
        ENCODER_VERSION << 24 | method_number(self.method) << 16 | self.window_bytes().trailing_zeros()
    }

    /// The effort of a patch of this encoder whose settings have this [`Settings::id`]; `None` for VCDIFF, and for
    /// another version of the encoder.
    pub fn effort_of(id: u32) -> Option<Effort> {
        let mut efforts = Effort::ALL.into_iter();
        efforts.find(|effort| id >> 16 == ENCODER_VERSION << 8 | method_number(Method::Delta(*effort)))
    }

    /// Largest part of a base that is indexed at once: a power of two.
    pub(crate) fn window_bytes(&self) -> u64 {
        (20..=WINDOW_BITS_MAX)
            .rev()
            .map(|bits| 1 << bits)
            .find(|&window| matching_bytes(window, segment_bytes(window)) <= self.memory_bytes_max.0)
            .unwrap_or(1 << 20)
    }

    /// How much of the target is matched at once.
    pub(crate) fn segment_bytes(&self) -> u64 {
        segment_bytes(self.window_bytes())
    }

    /// # Errors
    /// A setting outside its range.
    pub(crate) fn check(&self) -> Result<(), EncodeError> {
        if self.memory_bytes_max < MEMORY_BYTES_MIN {
            let (name, found) = ("memory_bytes_max", self.memory_bytes_max.0);
            return Err(EncodeError::Setting { name, expected: "at least 256 MiB", found });
        }
        if self.threads == 0 {
            return Err(EncodeError::Setting { name: "threads", expected: "at least 1", found: 0 });
        }
        Ok(())
    }
}

fn method_number(method: Method) -> u32 {
    match method {
        Method::Vcdiff => 0,
        Method::Delta(Effort::Plain) => 4,
        Method::Delta(Effort::Fast) => 1,
        Method::Delta(Effort::Default) => 2,
        Method::Delta(Effort::Max) => 3,
    }
}

/// Half a window, so that a window of a larger base has a quarter to spare on both sides of a segment.
fn segment_bytes(window_bytes: u64) -> u64 {
    SEGMENT_BYTES_MAX.min(window_bytes / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_stands_for_what_changes_a_patch() {
        let settings = Settings::default();
        assert_eq!(settings.id(), 0x0e02_001c);
        assert_eq!(Settings { threads: 7, ..settings.clone() }.id(), settings.id());
        assert_eq!(Settings { memory_bytes_max: Bytes(1100 << 20), ..settings.clone() }.id(), settings.id());
        assert_ne!(Settings { memory_bytes_max: Bytes(640 << 20), ..settings.clone() }.id(), settings.id());
        assert_ne!(Settings { method: Method::Vcdiff, ..settings.clone() }.id(), settings.id());
        assert_ne!(Settings { method: Method::Delta(Effort::Max), ..settings.clone() }.id(), settings.id());
    }

    #[test]
    fn the_id_tells_the_effort() {
        for effort in Effort::ALL {
            assert_eq!(Settings::effort_of(id_of(Method::Delta(effort))), Some(effort));
        }
        assert_eq!(Settings::effort_of(id_of(Method::Vcdiff)), None);
        assert_eq!(Settings::effort_of(Settings::default().id() + (1 << 24)), None);
    }

    fn id_of(method: Method) -> u32 {
        Settings { method, ..Settings::default() }.id()
    }

    #[test]
    fn settings_outside_their_range_are_refused() {
        let good = Settings::default();
        assert!(good.check().is_ok());
        for bad in [Settings { threads: 0, ..good.clone() }, Settings { memory_bytes_max: Bytes(1), ..good }] {
            assert!(bad.check().is_err(), "{bad:?}");
        }
    }
}
