//! The layers that the differ reads, and the steps that it plans: where each step reads, what it makes, and about what
//! it costs.
//!
//! There may be millions of steps, and a list of them for each of a million files.

use std::io;
use std::ops::Range;

use lighter_types::{ReadAt, broken};

use crate::compressed::Compression;
use crate::moves::Map;
use crate::program::Inflated;

/// The target and its bases, in the order of the header.
pub struct Layers<'a> {
    pub target: &'a dyn ReadAt,
    pub bases: Vec<&'a dyn ReadAt>,
    starts: Vec<u64>,
    /// The executables whose moves are known.
    pub map: Map,
}

impl<'a> Layers<'a> {
    pub fn new(target: &'a dyn ReadAt, bases: Vec<&'a dyn ReadAt>) -> Self {
        let mut end = 0;
        let starts = bases
            .iter()
            .map(|base| {
                let start = end;
                end += base.len().0 + 1;
                start
            })
            .collect();
        Self { target, bases, starts, map: Map::default() }
    }

    /// The address of a place in a base.
    pub fn address(&self, base: usize, offset: u64) -> u64 {
        self.starts[base] + offset
    }

    /// The base that an address lies in, and the place there.
    pub fn place(&self, address: u64) -> (usize, u64) {
        let base = self.starts.partition_point(|&start| start <= address) - 1;
        (base, address - self.starts[base])
    }

    /// Bytes of a base, from an address on.
    pub fn read_base(&self, address: u64, bytes: usize) -> io::Result<Vec<u8>> {
        let (base, offset) = self.place(address);
        let mut found = vec![0; bytes];
        self.bases[base].read_exact_at(&mut found, offset)?;
        Ok(found)
    }

    pub fn read_target(&self, range: Range<u64>) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; (range.end - range.start) as usize];
        self.target.read_exact_at(&mut bytes, range.start)?;
        Ok(bytes)
    }
}

/// Where a step reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    Address(u64),
    /// A place in the target before the step's own. Only copies read from there.
    Target(u64),
    Inflated {
        stream: Inflated,
        offset: u64,
    },
}

impl From {
    pub fn ahead(self, by: u64) -> Self {
        match self {
            Self::Address(address) => Self::Address(address + by),
            Self::Target(offset) => Self::Target(offset + by),
            Self::Inflated { stream, offset } => Self::Inflated { stream, offset: offset + by },
        }
    }
}

/// The kind of a planned step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    Copy(From),
    Match(From),
    New,
    Raw,
    Header(u64),
    NewHeader,
    Stream(Box<Recompressed>),
    Trailer,
}

/// A compressed stream, with the steps that make its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recompressed {
    pub compression: Compression,
    pub plain: Vec<u8>,
    pub corrections: Vec<u8>,
    pub steps: Vec<Planned>,
}

/// A step, with its place in the target, or in the content that it belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planned {
    pub kind: Kind,
    pub at: u64,
    pub bytes: u64,
    /// About how many bytes of the payload it takes.
    pub cost: u64,
}

/// The cost of any step, beside its contents.
pub const STEP_COST: u64 = 3;

impl Planned {
    /// Splits the step behind so many bytes. `None` if it is not longer, or cannot be cut.
    pub fn split(&self, bytes: u64) -> Option<(Self, Self)> {
        if bytes == 0 || bytes >= self.bytes {
            return None;
        }
        let kind = match self.kind {
            Kind::Copy(from) => Kind::Copy(from.ahead(bytes)),
            Kind::Match(from) => Kind::Match(from.ahead(bytes)),
            Kind::New => Kind::New,
            Kind::Raw => Kind::Raw,
            Kind::Header(_) | Kind::NewHeader | Kind::Stream(_) | Kind::Trailer => return None,
        };
        let cost = |part: u64| (self.cost * part).div_ceil(self.bytes);
        let left = self.bytes - bytes;
        let first = Self { kind: self.kind.clone(), at: self.at, bytes, cost: cost(bytes) };
        Some((first, Self { kind, at: self.at + bytes, bytes: left, cost: cost(left) }))
    }
}

/// Leaves out the bases that no step reads. Returns the layers with the other bases, and the indices of these.
pub fn drop_unused<'a>(layers: Layers<'a>, steps: &mut [Planned]) -> (Layers<'a>, Vec<usize>) {
    let place = |address: u64| layers.starts.partition_point(|&start| start <= address) - 1;
    let mut used = vec![false; layers.bases.len()];
    each_address(steps, &mut |address| used[place(*address)] = true);
    let kept: Vec<usize> = (0..used.len()).filter(|&base| used[base]).collect();
    let mut fewer = Layers::new(layers.target, kept.iter().map(|&base| layers.bases[base]).collect());
    each_address(steps, &mut |address| {
        let base = place(*address);
        let Some(index) = kept.iter().position(|&kept| kept == base) else {
            return broken("an address in a base that no step reads");
        };
        *address = *address - layers.starts[base] + fewer.starts[index];
    });
    for mut file in layers.map.files {
        let base = place(file.old.start);
        if let Some(index) = kept.iter().position(|&kept| kept == base) {
            let start = file.old.start - layers.starts[base] + fewer.starts[index];
            file.old = start..start + (file.old.end - file.old.start);
            fewer.map.files.push(file);
        }
    }
    (fewer, kept)
}

fn each_address(steps: &mut [Planned], visit: &mut dyn FnMut(&mut u64)) {
    for step in steps {
        match &mut step.kind {
            Kind::Copy(From::Address(address)) | Kind::Match(From::Address(address)) | Kind::Header(address) => {
                visit(address);
            }
            Kind::Copy(From::Inflated { stream, .. }) | Kind::Match(From::Inflated { stream, .. }) => {
                visit(&mut stream.from);
            }
            Kind::Stream(stream) => each_address(&mut stream.steps, visit),
            Kind::Copy(From::Target(_)) | Kind::Match(From::Target(_)) => {}
            Kind::New | Kind::Raw | Kind::NewHeader | Kind::Trailer => {}
        }
    }
}

/// Adds a step. A copy that continues the copy before becomes one with it. Copies of the target do not: the longer copy
/// might reach into its own place.
pub fn push(steps: &mut Vec<Planned>, step: Planned) {
    if step.bytes == 0 {
        return;
    }
    if let (Some(last), Kind::Copy(from)) = (steps.last_mut(), &step.kind)
        && let Kind::Copy(before) = last.kind
        && !matches!(before, From::Target(_))
        && before.ahead(last.bytes) == *from
    {
        last.bytes += step.bytes;
        return;
    }
    steps.push(step);
}

/// Moves steps to memory of just their size. A list that shrinks where it stands leaves a gap behind it, and there may
/// be a million.
pub fn exactly(steps: Vec<Planned>) -> Vec<Planned> {
    let mut exact = Vec::with_capacity(steps.len());
    exact.extend(steps);
    exact
}
