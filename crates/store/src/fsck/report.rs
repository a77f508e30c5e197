//! The report of fsck: findings, repairs and progress.

use std::path::{Path, PathBuf};

use lighter_types::Bytes;

use crate::error::Item;

/// The most findings that a report lists. The report counts further findings.
const FINDINGS_MAX: usize = 10_000;

/// A kind of damage of a file or a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Damage {
    /// The file's sha256 differs from its name or its row: bits flipped, or the file was truncated.
    WrongBytes { found: String },
    /// The row has no file.
    NoFile,
    /// The file has no row.
    NoRow,
    /// A temporary file or a partial patch without an owner.
    Leftover,
    /// A file that the store did not create, or that is in the wrong folder.
    UnknownFile,
    /// An image names a layer or blob that is not held. Only a pull can repair this.
    NotHeld { item: Item },
    /// The file or a row of the index cannot be decoded, or no card can be made from the file.
    Unreadable { why: String },
}

/// The repair of a damage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Repair {
    /// No repair: fsck only checked, the file is open, or no repair is possible.
    None,
    /// The file was moved to this path, and its row was deleted.
    Quarantined(PathBuf),
    /// The file was removed.
    Removed,
    /// The row was deleted.
    RowDeleted,
    /// The row was written.
    RowWritten,
    /// The file was written anew from its row.
    FileWritten,
}

/// A damage and its repair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub path: PathBuf,
    pub damage: Damage,
    pub repair: Repair,
}

/// The progress of fsck. The caller gets it before each file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FsckProgress<'a> {
    pub path: &'a Path,
    pub files_done: u64,
    pub files: u64,
    pub bytes_done: Bytes,
    pub bytes: Bytes,
}

/// The number of checked items, and the findings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FsckReport {
    pub layers: u64,
    pub blobs: u64,
    pub patches: u64,
    pub images: u64,
    pub bytes: Bytes,
    /// Sketches that a rebuild made for layers without one.
    pub sketches_made: u64,
    /// At most 10,000 findings.
    pub findings: Vec<Finding>,
    pub findings_left_out: u64,
}

impl FsckReport {
    pub(super) fn add(&mut self, path: PathBuf, damage: Damage, repair: Repair) {
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(Finding { path, damage, repair });
        } else {
            self.findings_left_out += 1;
        }
    }

    /// Whether fsck found no damage, or repaired all of it.
    pub fn is_clean(&self) -> bool {
        self.findings_left_out == 0 && self.findings.iter().all(|finding| finding.repair != Repair::None)
    }
}
