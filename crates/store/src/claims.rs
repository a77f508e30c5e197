//! Room for what a peer claims to send: a patch, and a layer whose size nobody signed.
//!
//! A claim reserves nothing. Room is taken as bytes come: in steps of 16 MiB where that much is free, so that nothing
//! gives way for a step; else for just the bytes that are there. So a claim that is a lie costs what was really sent
//! or decoded, and that is given back when the file is dropped.
//!
//! Bytes of a patch have the hash that its header names, and their sender paid for them: what may give way gives way
//! for them. Decoded bytes of a layer may have cost their sender nothing. They have what is free, and beyond that as
//! much as the caller says.

use lighter_types::Bytes;

use crate::error::{Result, StoreError};
use crate::ledger::Ledger;
use crate::store::Inner;

/// The step in which a file of unknown size reserves more bytes.
pub(crate) const GROWTH: Bytes = Bytes::MIB.times(16);

/// The size of a layer as a peer claims it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The bytes that the layer is said to have. The writer takes no more.
    pub tar_bytes: Bytes,
    /// The first so many of them may make other items give way; the rest only takes what is free.
    pub displacing_max: Bytes,
}

/// Whether other items may give way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Room {
    /// As for an item of known size.
    Made,
    /// Nothing gives way.
    Free,
}

impl Inner {
    /// Finds room for a file that grows by `missing` bytes at least and `rest` bytes at most. Returns the bytes to
    /// reserve: a step if that much is free, else the missing ones. The caller enters them in the ledger before it
    /// releases the lock.
    ///
    /// # Errors
    /// `BudgetFull`, `DiskFull`; those of a removal.
    pub(crate) fn make_room_to_grow(
        &self,
        ledger: &mut Ledger,
        (missing, rest): (Bytes, Bytes),
        room: Room,
    ) -> Result<Bytes> {
        let step = missing.max(GROWTH).min(rest.max(missing));
        if !self.is_short_of(ledger, step)? {
            return Ok(step);
        }
        match room {
            Room::Made => self.make_room(ledger, missing, &self.options.retention)?,
            Room::Free => self.check_free(ledger, missing)?,
        }
        Ok(missing)
    }

    /// Checks that so many bytes are free already.
    fn check_free(&self, ledger: &Ledger, needed: Bytes) -> Result<()> {
        let (budget, used) = (self.options.bytes_max, ledger.used());
        if used + needed > budget {
            return Err(StoreError::BudgetFull { needed, available: budget - used, budget });
        }
        let free = self.folder.free()? - self.options.disk_free_min;
        if needed > free {
            return Err(StoreError::DiskFull { path: self.folder.root().to_owned(), needed, free });
        }
        Ok(())
    }
}
