//! Brings together the bytes of the bases that changed contents are matched with.

use std::collections::HashMap;
use std::io;
use std::ops::Range;

use crate::delta::{self, Apart, Inflated};

use super::files::Entry;
use super::gzip::{PLAIN_BYTES_MAX, gzip_header_bytes};
use super::material::Material;
use super::pairs::{EntryId, Pairs};
use super::plan::Search;
use super::steps::Layers;

/// A content that is no copy.
pub(super) struct Changed {
    pub range: Range<u64>,
    /// If it is a gzip member: where its deflate stream begins, and what it holds.
    pub gzip: Option<(u64, Apart)>,
    /// Ranges of the material that it may have been changed from.
    pub old: Vec<Range<usize>>,
    /// Where the first of these files begins, as it is.
    pub old_address: Option<(u64, u64)>,
}

/// Brings the bases' bytes together.
pub(super) struct Loading<'a> {
    pub layers: &'a Layers<'a>,
    pub pairs: &'a Pairs<'a>,
    pub search: &'a Search,
    pub material: Material,
    /// Where the content of each entry stands: as it is, and inflated.
    pub loaded: HashMap<(EntryId, bool), Option<Range<usize>>>,
}

impl Loading<'_> {
    pub(super) fn candidates(
        &mut self,
        entry: &Entry,
        range: Range<u64>,
        gzip: Option<(u64, Apart)>,
    ) -> io::Result<Changed> {
        let ids = self.pairs.changed_from(entry);
        let mut old = Vec::new();
        for &id in &ids {
            old.extend(self.load(id, gzip.is_some())?);
        }
        let address = |id: &EntryId| {
            let base = self.pairs.entry(*id);
            (self.layers.address(id.base, base.content), base.end - base.content)
        };
        Ok(Changed { range, gzip, old, old_address: ids.first().map(address) })
    }

    /// All else that the bases have and the target does not have by name.
    pub(super) fn left_over(&mut self, target: &[Entry]) -> io::Result<()> {
        for id in self.pairs.left_over(target) {
            self.load(id, false)?;
        }
        Ok(())
    }

    fn load(&mut self, id: EntryId, inflated: bool) -> io::Result<Option<Range<usize>>> {
        if let Some(range) = self.loaded.get(&(id, inflated)) {
            return Ok(range.clone());
        }
        let entry = self.pairs.entry(id);
        let bytes = entry.end - entry.content;
        let mut range = None;
        if self.material.bytes.len() as u64 + bytes <= self.search.material_bytes_max {
            if inflated {
                range = self.inflate(id, entry)?;
            } else {
                let start = self.material.add(self.layers, id.base, entry.content, bytes)?;
                range = Some(start..start + bytes as usize);
            }
        }
        self.loaded.insert((id, inflated), range.clone());
        Ok(range)
    }

    fn inflate(&mut self, id: EntryId, entry: &Entry) -> io::Result<Option<Range<usize>>> {
        if entry.content_bytes > PLAIN_BYTES_MAX as u64 {
            return Ok(None);
        }
        let mut content = vec![0; entry.content_bytes as usize];
        self.layers.bases[id.base].read_exact_at(&mut content, entry.content)?;
        let Some(header) = gzip_header_bytes(&content) else { return Ok(None) };
        let Some((plain, bytes)) = delta::inflate_front(&content[header..], PLAIN_BYTES_MAX) else { return Ok(None) };
        let from = self.layers.address(id.base, entry.content + header as u64);
        let stream = Inflated { from, bytes: bytes as u64, plain_bytes: plain.len() as u64 };
        let start = self.material.add_inflated(stream, &plain);
        Ok(Some(start..start + plain.len()))
    }
}
