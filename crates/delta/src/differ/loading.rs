//! Loads the bytes of the bases that changed contents are matched with into the material.

use std::collections::HashMap;
use std::io;
use std::ops::Range;

use crate::compressed;
use crate::program::Inflated;

use super::files::{BaseFiles, EntryId};
use super::material::Material;
use super::search::Search;
use super::steps::Layers;
use super::streams::{Form, PLAIN_BYTES_MAX, Stream};

/// A content that is not a copy.
pub struct Changed {
    pub range: Range<u64>,
    pub form: Form,
    /// The parts that are matched: the content without its streams (not of a gzip member), then the content of each
    /// stream. For each part, the ranges of the material that it may have been changed from.
    pub old: Vec<Vec<Range<usize>>>,
    /// Address and length of the first file that it may have been changed from.
    pub old_address: Option<(u64, u64)>,
}

impl Changed {
    pub fn streams(&self) -> &[Stream] {
        match &self.form {
            Form::Plain => &[],
            Form::Gzip(stream) => std::slice::from_ref(stream),
            Form::Archive(streams) => streams,
        }
    }
}

/// Loads the bytes of the bases.
pub struct Loading<'a> {
    pub layers: &'a Layers<'a>,
    pub files: &'a BaseFiles<'a>,
    pub search: &'a Search,
    pub material: Material,
    /// The range of each entry's content (`None`), and of each of its inflated streams by its start. No range if it did
    /// not fit.
    pub loaded: HashMap<(EntryId, Option<u64>), Option<Range<usize>>>,
}

impl<'a> Loading<'a> {
    pub fn new(layers: &'a Layers<'a>, files: &'a BaseFiles<'a>, search: &'a Search) -> Self {
        Self { layers, files, search, material: Material::default(), loaded: HashMap::new() }
    }

    /// The bytes of the material if everything were loaded that a content may have been changed from.
    pub fn bytes_with(&self, ids: &[EntryId]) -> u64 {
        let missing = ids.iter().filter(|id| !self.loaded.contains_key(&(**id, None)));
        let more: u64 = missing.map(|id| self.files.entry(*id)).map(|base| base.end - base.content).sum();
        self.material.bytes.len() as u64 + more
    }

    /// Loads everything that a content may have been changed from: these.
    ///
    /// # Errors
    /// The error of a reader.
    pub fn candidates(&mut self, ids: &[EntryId], range: Range<u64>, form: Form) -> io::Result<Changed> {
        let address = |id: &EntryId| {
            let base = self.files.entry(*id);
            (self.layers.address(id.base as usize, base.content), base.end - base.content)
        };
        let mut changed = Changed { range, form, old: Vec::new(), old_address: ids.first().map(address) };
        // Only the stream of a gzip member is matched.
        if !matches!(changed.form, Form::Gzip(_)) {
            let mut old = Vec::new();
            for &id in ids {
                old.extend(self.load(id)?);
            }
            changed.old.push(old);
        }
        let mut streams = Vec::new();
        for stream in changed.streams() {
            let mut old = Vec::new();
            for (id, from) in &stream.from {
                old.extend(self.inflate(*id, from)?);
            }
            streams.push(old);
        }
        changed.old.extend(streams);
        Ok(changed)
    }

    /// Loads files of the bases, as far as they fit.
    ///
    /// # Errors
    /// The error of a reader.
    pub fn all(&mut self, ids: &[EntryId]) -> io::Result<()> {
        ids.iter().try_for_each(|&id| self.load(id).map(drop))
    }

    fn load(&mut self, id: EntryId) -> io::Result<Option<Range<usize>>> {
        if let Some(range) = self.loaded.get(&(id, None)) {
            return Ok(range.clone());
        }
        let entry = self.files.entry(id);
        let bytes = entry.end - entry.content;
        let mut range = None;
        if self.fits(bytes) {
            let start = self.material.add(self.layers, id.base as usize, entry.content, bytes)?;
            range = Some(start..start + bytes as usize);
        }
        self.loaded.insert((id, None), range.clone());
        Ok(range)
    }

    fn fits(&self, bytes: u64) -> bool {
        self.material.bytes.len() as u64 + bytes <= self.search.material_bytes_max
    }

    fn inflate(&mut self, id: EntryId, from: &Range<u64>) -> io::Result<Option<Range<usize>>> {
        let key = (id, Some(from.start));
        if let Some(range) = self.loaded.get(&key) {
            return Ok(range.clone());
        }
        let mut range = None;
        if from.end - from.start <= PLAIN_BYTES_MAX && self.fits(PLAIN_BYTES_MAX) {
            let mut compressed = vec![0; (from.end - from.start) as usize];
            self.layers.bases[id.base as usize].read_exact_at(&mut compressed, from.start)?;
            range = compressed::content(&compressed, PLAIN_BYTES_MAX as usize).map(|(plain, bytes)| {
                let address = self.layers.address(id.base as usize, from.start);
                let stream = Inflated { from: address, bytes: bytes as u64, plain_bytes: plain.len() as u64 };
                let start = self.material.add_inflated(stream, &plain);
                start..start + plain.len()
            });
        }
        self.loaded.insert(key, range.clone());
        Ok(range)
    }
}
