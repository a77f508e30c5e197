//! The moves of executables: where each part of an old file's image went in the new file's, known to both sides before
//! any difference is coded.
//!
//! When a linker puts a function elsewhere, every reference to it changes, and so do all references that the function
//! itself makes. A decoder that knows the moves computes what the references became: it finds them in the *old* bytes
//! of a match ([`references`]), and rewrites each before the differences are decoded ([`Moved::rewrite`]). A
//! reference that was missed, or taken for one by mistake, costs a difference, and no more.
//!
//! The encoder makes the map ([`crate::differ`]); it states everything that rewriting needs, so a decoder reads no
//! headers of executables. [`coding`] writes it down.
//!
//! Sources: the idea is Courgette's (S. Adams, 2009), and that of finding references in the old file alone is
//! Zucchini's (S. Huang, E. Cheng, 2017).

pub mod coding;
mod references;

use std::ops::Range;

use self::references::{Aarch64, Frames, Jumps, Place, Pointers, References, Relocations, Symbols, Table, X86_64};

/// All executables of a patch whose moves are known, in the order of their places in the target, without overlap.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Map {
    pub files: Vec<Moved>,
}

/// A file of the target with the file of a base that it was changed from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Moved {
    /// Its range of the target.
    pub target: Range<u64>,
    /// The old file, in the sources' addresses.
    pub old: Range<u64>,
    /// The parts of the old file that are loaded, and those of the new one; in order.
    pub old_loads: Vec<Load>,
    pub new_loads: Vec<Load>,
    /// The parts of the old file that have references, in order.
    pub parts: Vec<Part>,
    /// Where the old image ends, in memory.
    pub image_end: u64,
    pub moves: Moves,
}

/// Bytes that are not loaded have addresses from here on, by their place in the file: names of symbols refer to them.
pub const UNLOADED: u64 = 1 << 44;

/// A range of a file, and the address that it is loaded at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    pub offset: u64,
    pub bytes: u64,
    pub address: u64,
}

/// A range of an old file whose references are of one kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    pub range: Range<u64>,
    pub kind: Kind,
    /// The address in the old image that some kinds of references count from.
    pub base: u64,
    /// By how much the part and the base moved.
    pub by: u64,
    pub base_by: u64,
}

/// How references stand in a part ([`references`]). The number of a kind is its place in [`Kind::ALL`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    X86_64,
    Aarch64,
    Pointers,
    Table,
    Jumps,
    Frames,
    Symbols,
    Relocations,
}

impl Kind {
    pub const ALL: [Self; 8] = [
        Self::X86_64,
        Self::Aarch64,
        Self::Pointers,
        Self::Table,
        Self::Jumps,
        Self::Frames,
        Self::Symbols,
        Self::Relocations,
    ];

    /// Whether a reference tells exactly which address it leads to.
    pub fn is_exact(self) -> bool {
        self != Self::Jumps
    }

    fn find(self) -> fn(&[u8], usize, Place) -> Option<u64> {
        match self {
            Self::X86_64 => X86_64::find,
            Self::Aarch64 => Aarch64::find,
            Self::Pointers => Pointers::find,
            Self::Table => Table::find,
            Self::Jumps => Jumps::find,
            Self::Frames => Frames::find,
            Self::Symbols => Symbols::find,
            Self::Relocations => Relocations::find,
        }
    }

    fn put(self) -> fn(&mut [u8], usize, Place, u64) {
        match self {
            Self::X86_64 => X86_64::put,
            Self::Aarch64 => Aarch64::put,
            Self::Pointers => Pointers::put,
            Self::Table => Table::put,
            Self::Jumps => Jumps::put,
            Self::Frames => Frames::put,
            Self::Symbols => Symbols::put,
            Self::Relocations => Relocations::put,
        }
    }
}

/// By how much addresses of the old image moved: from each of some addresses on, by the same amount.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Moves {
    /// In order.
    starts: Vec<u64>,
    by: Vec<u64>,
}

impl Moves {
    /// From `start` on, up to the next start, addresses move by `by`. Starts are given in order.
    pub fn push(&mut self, start: u64, by: u64) {
        self.starts.push(start);
        self.by.push(by);
    }

    pub fn iter(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.starts.iter().copied().zip(self.by.iter().copied())
    }

    pub fn len(&self) -> usize {
        self.starts.len()
    }

    /// Which of the moves an address belongs to; `None` before the first.
    #[inline]
    pub fn index(&self, address: u64) -> Option<usize> {
        self.starts.partition_point(|&start| start <= address).checked_sub(1)
    }

    /// By how much an address moved, and from where on that changes.
    fn around(&self, address: u64) -> (u64, Option<u64>) {
        let behind = self.starts.partition_point(|&start| start <= address);
        (behind.checked_sub(1).map_or(0, |index| self.by[index]), self.starts.get(behind).copied())
    }

    #[inline]
    fn at(&self, address: u64) -> Option<u64> {
        self.index(address).map(|index| self.by[index])
    }
}

/// A part of the bytes of a match: references of one kind, which all moved alike.
pub struct Site {
    pub kind: Kind,
    /// Where it stands in the bytes.
    range: Range<usize>,
    /// The place of its first byte in the old image.
    old: Place,
    /// By how much the match moved, and by how much the part and its base did.
    shift: u64,
    part_shift: u64,
    base_shift: u64,
}

impl Site {
    /// The part from `start` on, which is loaded at `own` and moved by `shift`.
    fn new(part: &Part, start: u64, range: Range<usize>, own: u64, shift: u64) -> Self {
        let old = Place { own, part: own.wrapping_sub(start - part.range.start), base: part.base };
        Self { kind: part.kind, range, old, shift, part_shift: part.by, base_shift: part.base_by }
    }

    /// Calls `visit` for each reference in the old bytes, with its place in them and the address that it leads to.
    /// `visit` says whether it is one; then it may change it.
    fn each(&self, bytes: &mut [u8], visit: &mut impl FnMut(&mut [u8], usize, u64) -> bool) {
        match self.kind {
            Kind::X86_64 => self.each_of::<X86_64>(bytes, visit),
            Kind::Aarch64 => self.each_of::<Aarch64>(bytes, visit),
            Kind::Pointers => self.each_of::<Pointers>(bytes, visit),
            Kind::Table => self.each_of::<Table>(bytes, visit),
            Kind::Jumps => self.each_of::<Jumps>(bytes, visit),
            Kind::Frames => self.each_of::<Frames>(bytes, visit),
            Kind::Symbols => self.each_of::<Symbols>(bytes, visit),
            Kind::Relocations => self.each_of::<Relocations>(bytes, visit),
        }
    }

    fn each_of<R: References>(&self, bytes: &mut [u8], visit: &mut impl FnMut(&mut [u8], usize, u64) -> bool) {
        let bytes = &mut bytes[..self.range.end];
        let skip = self.old.part.wrapping_sub(self.old.own) % R::STEP as u64;
        let mut at = self.range.start + skip as usize;
        while at + R::BYTES <= bytes.len() {
            let to = R::find(bytes, at, self.old_place(at));
            let found = to.is_some_and(|to| visit(bytes, at, to));
            at += if found { R::NEXT } else { R::STEP };
        }
    }

    #[inline]
    fn old_place(&self, at: usize) -> Place {
        Place { own: self.old.own.wrapping_add((at - self.range.start) as u64), ..self.old }
    }

    fn new_place(&self, at: usize) -> Place {
        let old = self.old_place(at);
        Place {
            own: old.own.wrapping_add(self.shift),
            part: old.part.wrapping_add(self.part_shift),
            base: old.base.wrapping_add(self.base_shift),
        }
    }

    /// The address that the reference at `at` leads to in the new bytes.
    pub fn find_new(&self, new: &[u8], at: usize) -> Option<u64> {
        (self.kind.find())(new, at, self.new_place(at))
    }

    fn put(&self, bytes: &mut [u8], at: usize, to: u64) {
        (self.kind.put())(bytes, at, self.new_place(at), to);
    }
}

impl Moved {
    /// The address of a place in the old file.
    pub fn old_address(&self, offset: u64) -> Option<u64> {
        address(&self.old_loads, offset)
    }

    /// The address of a place in the new file.
    pub fn new_address(&self, offset: u64) -> Option<u64> {
        address(&self.new_loads, offset)
    }

    /// By how much an address of the old image moved; `None` if it lies outside.
    #[inline]
    fn moved(&self, address: u64) -> Option<u64> {
        if self.has(address) { self.moves.at(address) } else { None }
    }

    /// Whether an address lies in the old image.
    #[inline]
    pub fn has(&self, address: u64) -> bool {
        address < self.image_end || (UNLOADED..UNLOADED + (self.old.end - self.old.start)).contains(&address)
    }

    /// Calls `visit` for each reference of a match, as [`Site::each`] does. `bytes` are the old file's: `before` of a
    /// margin, and then those from `from` on, which stand at `to` in the new file.
    pub fn each(
        &self,
        from: u64,
        to: u64,
        bytes: &mut [u8],
        before: usize,
        visit: &mut impl FnMut(&Site, &mut [u8], usize, u64) -> bool,
    ) {
        let end = from + (bytes.len() - before) as u64;
        let first = self.parts.partition_point(|part| part.range.end <= from);
        for part in self.parts[first..].iter().take_while(|part| part.range.start < end) {
            let start = part.range.start.max(from);
            let range = before + (start - from) as usize..before + (part.range.end.min(end) - from) as usize;
            let (Some(address), Some(new)) = (self.old_address(start), self.new_address(to + (start - from))) else {
                continue;
            };
            let site = Site::new(part, part.range.start.max(from), range, address, new.wrapping_sub(address));
            site.each(bytes, &mut |bytes, at, to| visit(&site, bytes, at, to));
        }
    }

    /// Rewrites the references of the old file's bytes from `from` on as they are in the new file if these bytes moved
    /// as the map says.
    fn predict(&self, from: u64, bytes: &mut [u8]) -> bool {
        let end = from + bytes.len() as u64;
        let first = self.parts.partition_point(|part| part.range.end <= from);
        let mut has_some = false;
        for part in self.parts[first..].iter().take_while(|part| part.range.start < end) {
            has_some = true;
            let mut start = part.range.start.max(from);
            let stop = part.range.end.min(end);
            while start < stop {
                let Some(address) = self.old_address(start) else { break };
                let (shift, next) = self.moves.around(address);
                let next = next.map_or(stop, |next| start.saturating_add(next - address)).min(stop);
                let range = (start - from) as usize..(next - from) as usize;
                let site = Site::new(part, start, range, address, shift);
                site.each(bytes, &mut |bytes, at, to| self.rewrite_one(&site, bytes, at, to));
                start = next;
            }
        }
        has_some
    }

    fn rewrite_one(&self, site: &Site, bytes: &mut [u8], at: usize, to: u64) -> bool {
        let moved = self.moved(to);
        if let Some(by) = moved {
            site.put(bytes, at, to.wrapping_add(by));
        }
        moved.is_some()
    }

    /// Rewrites the references of a match, as [`Self::each`] finds them.
    pub fn rewrite(&self, from: u64, to: u64, bytes: &mut [u8], before: usize) {
        self.each(from, to, bytes, before, &mut |site, bytes, at, to| self.rewrite_one(site, bytes, at, to));
    }
}

fn address(loads: &[Load], offset: u64) -> Option<u64> {
    let index = loads.partition_point(|load| load.offset <= offset).checked_sub(1)?;
    let load = loads[index];
    (offset - load.offset < load.bytes).then(|| load.address.wrapping_add(offset - load.offset))
}

impl Map {
    /// The executable that a place in the target lies in.
    pub fn file(&self, to: u64) -> Option<&Moved> {
        let index = self.files.partition_point(|file| file.target.start <= to).checked_sub(1)?;
        Some(&self.files[index]).filter(|file| file.target.contains(&to))
    }

    /// Rewrites bytes of the sources, from an address on, as they are in the target if they moved as the map says.
    /// Returns whether there were references among them.
    pub fn predict(&self, from: u64, bytes: &mut [u8]) -> bool {
        let end = from + bytes.len() as u64;
        let mut has_some = false;
        for file in self.files.iter().filter(|file| file.old.start < end && from < file.old.end) {
            let start = file.old.start.max(from);
            let stop = file.old.end.min(end);
            let within = &mut bytes[(start - from) as usize..(stop - from) as usize];
            has_some |= file.predict(start - file.old.start, within);
        }
        has_some
    }
}

#[cfg(test)]
mod tests;
