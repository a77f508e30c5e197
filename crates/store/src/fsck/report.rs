//! What fsck tells: findings, repairs and progress.

use std::path::{Path, PathBuf};

use lighter_types::Bytes;

use crate::error::Item;

/// Findings beyond this many are counted, not listed.
const FINDINGS_MAX: usize = 10_000;

/// What is wrong with a file or a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Damage {
    /// The file's sha256 is not its name, or not its row's: bits flipped, or the file was cut.
    WrongBytes { found: String },
    /// The row has no file, or one of another length.
    NoFile,
    /// The file has no row.
    NoRow,
    /// A file in `partial/` that nothing knows.
    Leftover,
    /// A file that is not the store's, or not where it belongs.
    Stranger,
    /// An image names a layer or blob that is not held. Only a pull helps.
    NotHeld { item: Item },
    /// It, or a row of the index, cannot be read, or no card can be made of it.
    Unreadable { why: String },
}

/// What was done about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Repair {
    /// Nothing: it was only checked, is open, or cannot be helped.
    None,
    /// The file was moved there, and its row deleted.
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

/// Something wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub path: PathBuf,
    pub damage: Damage,
    pub repair: Repair,
}

/// How far it is. Given before each file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FsckProgress<'a> {
    pub path: &'a Path,
    pub files_done: u64,
    pub files: u64,
    pub bytes_done: Bytes,
    pub bytes: Bytes,
}

/// What was looked at and what was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FsckReport {
    pub layers: u64,
    pub blobs: u64,
    pub patches: u64,
    pub images: u64,
    pub bytes: Bytes,
    /// Sketches that a rebuild made for layers that had none.
    pub sketches_made: u64,
    /// At most 10,000.
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

    /// Whether nothing is wrong, or nothing is wrong any more.
    pub fn is_clean(&self) -> bool {
        self.findings_left_out == 0 && self.findings.iter().all(|finding| finding.repair != Repair::None)
    }
}
