//! Bounds on the size that a peer claims for a layer, and the room that the claim gets.
//!
//! A size that a publisher signed, in a manifest or a release, is the size: the node makes room for all of it, and a
//! failure to do so is this machine's. Any other size is a claim of the peer. It is bounded by what the fleet announces
//! and by what can be in the blob that the manifest names. It takes room as bytes come, and makes no more give way than
//! a usual layer of such a blob needs. A failure then says something about the claim: the node goes on with others.

use lighter_engine::{FetchFailure, Lie};
use lighter_image::{BUNDLE_BYTES_MAX, LayerMedia};
use lighter_patch::Header;
use lighter_store::{Claim, LayerWriter, Store, StoreError};
use lighter_types::{Bytes, DiffId, OciDigest};

use super::failures;
use crate::images;
use crate::part_layout::PartLayout;
use crate::shared::local_failure;

/// Most bytes that deflate makes of one byte: 258 of 2 bits (RFC 1951, 3.2.5).
const GZIP_RATIO_MAX: u64 = 1032;
/// Most bytes that zstd makes of one byte: a block of 128 KiB of 4 bytes (RFC 8878, 3.1.1.2).
const ZSTD_RATIO_MAX: u64 = 32_768;
/// A usual layer has at most so many times the bytes of its blob: those of images in use have 2 to 5 times as many.
const USUAL_RATIO: u64 = 16;
/// A layer of this size is small, whatever its blob.
const SMALL_BYTES: Bytes = Bytes::MIB.times(16);
/// Decoded bytes for each byte of the target, and for any target, that a patch may ask of this machine. Streams of gzip
/// in a layer are decoded and made again; those of real layers have 2 to 10 times their bytes.
const WORK_RATIO_MAX: u64 = 16;
const WORK_MIN: u64 = 256 << 20;

/// The bounds on the size of one layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    signed: Option<Bytes>,
    /// The most bytes that the layer can have.
    tar_bytes_max: Bytes,
    /// The first bytes of a claimed layer for which others may give way.
    displacing_max: Bytes,
}

impl Sizes {
    /// The bounds for a layer of an image with one of these manifests. `announced` is the size by the fleet's word.
    /// Reads some small files.
    pub fn of(store: &Store, layer: DiffId, manifests: &[OciDigest], announced: Bytes, signed: Option<Bytes>) -> Self {
        Self::new(images::blob_of(store, manifests, layer), announced, signed)
    }

    fn new(blob: Option<(LayerMedia, Bytes)>, announced: Bytes, signed: Option<Bytes>) -> Self {
        if let Some(signed) = signed {
            return Self { signed: Some(signed), tar_bytes_max: signed, displacing_max: signed };
        }
        // Only an image's companions have no blob. Their layer has a limit of its own.
        let Some((media, bytes)) = blob else {
            return Self { signed, tar_bytes_max: announced, displacing_max: announced.min(BUNDLE_BYTES_MAX) };
        };
        let ratio = match media {
            LayerMedia::Plain => 1,
            LayerMedia::Gzip => GZIP_RATIO_MAX,
            LayerMedia::Zstd => ZSTD_RATIO_MAX,
        };
        let tar_bytes_max = announced.min(bytes.times(ratio));
        Self { signed, tar_bytes_max, displacing_max: bytes.times(USUAL_RATIO).max(SMALL_BYTES) }
    }

    /// Holds a header against the bounds.
    ///
    /// # Errors
    /// The lie about the layer's size.
    pub fn check(&self, header: &Header) -> Result<(), Lie> {
        let found = header.target_bytes();
        match self.signed {
            Some(signed) if signed != found => Err(Lie::OtherSize { found, signed }),
            _ if found > self.tar_bytes_max => Err(Lie::TargetTooLarge { found, max: self.tar_bytes_max }),
            _ => Ok(()),
        }
    }

    /// Checks that a patch and its layer find room together, or nothing gives way. A patch that becomes its layer needs
    /// no room beside it.
    ///
    /// # Errors
    /// `Local` if the signed size alone finds none; `NoRoom`.
    pub fn check_room(&self, store: &Store, header: &Header) -> Result<(), FetchFailure> {
        if let Some(signed) = self.signed {
            store.check_room(signed).map_err(failures::of_store)?;
        }
        let needed = match PartLayout::of(header) {
            PartLayout::Patch => header.patch_bytes() + header.target_bytes(),
            PartLayout::Layer => header.target_bytes(),
        };
        store.check_room(needed).map_err(of_claim)
    }

    /// Creates the layer that a patch rebuilds.
    ///
    /// # Errors
    /// `Local`.
    pub fn create(&self, store: &Store, header: &Header) -> Result<LayerWriter, FetchFailure> {
        let (layer, tar_bytes) = (header.target(), header.target_bytes());
        let claim = Claim { tar_bytes, displacing_max: self.displacing_max };
        let created = match self.signed {
            Some(signed) => store.create_layer(layer, signed),
            None => store.create_layer_claimed(layer, claim),
        };
        created.map_err(failures::of_store)
    }

    /// Why the layer did not grow.
    pub fn of_growth(&self, error: StoreError) -> FetchFailure {
        if self.signed.is_some() { failures::of_store(error) } else { of_claim(error) }
    }
}

/// The store failed at something whose size only the peer claims.
pub fn of_claim(error: StoreError) -> FetchFailure {
    match error {
        StoreError::BudgetFull { .. } | StoreError::DiskFull { .. } => FetchFailure::NoRoom(local_failure(error)),
        error => failures::of_store(error),
    }
}

/// The work that a patch may still ask of this machine.
#[derive(Debug)]
pub struct WorkLeft {
    left: u64,
    max: u64,
}

/// A patch that decodes far more than its layer has.
#[derive(Debug, thiserror::Error)]
#[error("it decodes more than {max} bytes")]
pub struct TooMuchWork {
    max: u64,
}

impl WorkLeft {
    pub fn new(header: &Header) -> Self {
        let max = header.target_bytes().0.saturating_mul(WORK_RATIO_MAX).saturating_add(WORK_MIN);
        Self { left: max, max }
    }

    /// Takes the work of a frame.
    ///
    /// # Errors
    /// If there is not so much left.
    pub fn take(&mut self, work: u64) -> Result<(), TooMuchWork> {
        self.left = self.left.checked_sub(work).ok_or(TooMuchWork { max: self.max })?;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
