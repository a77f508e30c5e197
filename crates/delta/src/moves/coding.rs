//! The coded form of a map: numbers, by symbols.
//!
//! [`encode`] and [`decode`] are the same walk, as for programs. A decoder checks every count against what is left of
//! the limits before it allocates anything, and every range against overflow.

use lighter_coder::varint::{fold, unfold};
use lighter_coder::{AnsDecoder, AnsEncoder, Frequencies, Numbers, SymbolCoder};

use super::{Kind, Load, Map, Moved, Part};

/// Most executables of a map; most loads, parts and moves of all of them.
const FILES_MAX: usize = 1 << 12;
const LOADS_MAX: usize = 1 << 14;
const PARTS_MAX: usize = 1 << 14;
const MOVES_MAX: usize = 1 << 18;
/// Most bytes of a coded map: it shares a payload with a frame.
const CODED_BYTES_MAX: usize = 768 << 10;

/// Amounts that are remembered: moves often come back to one.
const REMEMBERED: usize = 12;
/// Functions begin at multiples of this.
const ALIGNMENT: u64 = 16;

/// The numbers of a map: each kind has a context of its own.
#[derive(Clone, Copy)]
enum Number {
    Files,
    Gap,
    Bytes,
    OldGap,
    OldBytes,
    Loads,
    LoadGap,
    LoadBytes,
    LoadAddress,
    Parts,
    PartGap,
    PartBytes,
    PartKind,
    PartBase,
    PartBy,
    ImageEnd,
    Moves,
    MoveGap,
    AlignedMoveGap,
    MoveBy,
}

struct Codes<'a, C> {
    coder: &'a mut C,
    numbers: Numbers,
    aligned: [Frequencies; 1],
    by: Vec<Frequencies>,
    by_before: usize,
    remembered: [u64; REMEMBERED],
    /// How many of each there may still be.
    left: Left,
}

struct Left {
    loads: usize,
    parts: usize,
    moves: usize,
}

/// Whether a map keeps the limits: a decoder gets the same.
pub fn fits(map: &Map) -> bool {
    let coded = encode(map);
    coded.len() <= CODED_BYTES_MAX && decode(&coded).is_ok_and(|decoded| decoded == *map)
}

/// The coded form of a map.
pub fn encode(map: &Map) -> Vec<u8> {
    let mut coder = AnsEncoder::new();
    // A map over the limits is cut off; the caller asks whether it fits.
    let _ = code(&mut coder, map);
    coder.finish()
}

/// The map that [`encode`] was given.
///
/// # Errors
/// A damaged map, or one over its limits.
pub fn decode(bytes: &[u8]) -> Result<Map, &'static str> {
    let mut coder = AnsDecoder::new(bytes);
    let map = code(&mut coder, &Map::default())?;
    if coder.is_at_end() { Ok(map) } else { Err("a map that is cut off, or goes on") }
}

fn code<C: SymbolCoder>(coder: &mut C, given: &Map) -> Result<Map, &'static str> {
    let mut codes = Codes {
        coder,
        numbers: Numbers::new(Number::MoveBy as usize + 1),
        aligned: [Frequencies::EVEN],
        by: vec![Frequencies::EVEN; 16],
        by_before: 0,
        remembered: [0; REMEMBERED],
        left: Left { loads: LOADS_MAX, parts: PARTS_MAX, moves: MOVES_MAX },
    };
    let mut map = Map::default();
    let files = codes.count(Number::Files, given.files.len(), FILES_MAX)?;
    let (mut end, mut old_end) = (0, 0);
    let none = Moved::default();
    for index in 0..files {
        let file = codes.file(given.files.get(index).unwrap_or(&none), &mut end, &mut old_end)?;
        map.files.push(file);
    }
    Ok(map)
}

const BEYOND: &str = "a map beyond all lengths";

impl<C: SymbolCoder> Codes<'_, C> {
    fn number(&mut self, number: Number, given: u64) -> u64 {
        self.numbers.code(self.coder, number as usize, given)
    }

    fn count(&mut self, number: Number, given: usize, most: usize) -> Result<usize, &'static str> {
        let count = self.number(number, given as u64);
        if count <= most as u64 { Ok(count as usize) } else { Err("more of something in a map than allowed") }
    }

    fn signed(&mut self, number: Number, given: u64) -> u64 {
        unfold(self.number(number, fold(given as i64))) as u64
    }

    fn file(&mut self, given: &Moved, end: &mut u64, old_end: &mut u64) -> Result<Moved, &'static str> {
        let bytes = |range: &std::ops::Range<u64>| range.end - range.start;
        let start = *end + self.number(Number::Gap, given.target.start.wrapping_sub(*end));
        *end = start.checked_add(self.number(Number::Bytes, bytes(&given.target))).ok_or(BEYOND)?;
        let old_start = old_end.wrapping_add(self.signed(Number::OldGap, given.old.start.wrapping_sub(*old_end)));
        let old_bytes = bytes(&given.target).wrapping_sub(bytes(&given.old));
        let old_bytes = (*end - start).wrapping_sub(self.signed(Number::OldBytes, old_bytes));
        *old_end = old_start.checked_add(old_bytes).filter(|&end| end < 1 << 62).ok_or(BEYOND)?;
        let mut file = Moved { target: start..*end, old: old_start..*old_end, ..Moved::default() };
        if *end >= 1 << 62 {
            return Err(BEYOND);
        }
        file.old_loads = self.loads(&given.old_loads)?;
        file.new_loads = self.loads(&given.new_loads)?;
        file.image_end = self.number(Number::ImageEnd, given.image_end);
        self.parts(given, &mut file)?;
        self.moves(given, &mut file)?;
        if self.coder.is_past_end() {
            return Err("a map that is cut off");
        }
        Ok(file)
    }

    fn loads(&mut self, given: &[Load]) -> Result<Vec<Load>, &'static str> {
        let count = self.count(Number::Loads, given.len(), self.left.loads)?;
        self.left.loads -= count;
        let (mut end, mut skew) = (0u64, 0u64);
        let mut loads = Vec::new();
        for index in 0..count {
            let given = given.get(index).copied().unwrap_or(Load { offset: 0, bytes: 0, address: 0 });
            let offset = end + self.number(Number::LoadGap, given.offset.wrapping_sub(end));
            let bytes = self.number(Number::LoadBytes, given.bytes);
            end = offset.checked_add(bytes).filter(|&end| end < 1 << 62).ok_or(BEYOND)?;
            let own = given.address.wrapping_sub(given.offset);
            skew = skew.wrapping_add(self.signed(Number::LoadAddress, own.wrapping_sub(skew)));
            loads.push(Load { offset, bytes, address: offset.wrapping_add(skew) });
        }
        Ok(loads)
    }

    fn parts(&mut self, given: &Moved, file: &mut Moved) -> Result<(), &'static str> {
        let count = self.count(Number::Parts, given.parts.len(), self.left.parts)?;
        self.left.parts -= count;
        let mut end = 0u64;
        for index in 0..count {
            let part = given.parts.get(index);
            let range = part.map_or(end..end, |part| part.range.clone());
            let start = end + self.number(Number::PartGap, range.start.wrapping_sub(end));
            let bytes = self.number(Number::PartBytes, range.end - range.start);
            end = start.checked_add(bytes).filter(|&end| end < 1 << 62).ok_or(BEYOND)?;
            let kind = self.number(Number::PartKind, part.map_or(0, |part| part.kind as u64));
            let kind = *Kind::ALL.get(kind as usize).ok_or("an unknown kind of reference")?;
            let [base, by, base_by] = part.map_or([0; 3], |part| [part.base, part.by, part.base_by]);
            let base = self.number(Number::PartBase, base);
            let by = self.signed(Number::PartBy, by);
            let base_by = self.signed(Number::PartBy, base_by);
            file.parts.push(Part { range: start..end, kind, base, by, base_by });
        }
        Ok(())
    }

    fn moves(&mut self, given: &Moved, file: &mut Moved) -> Result<(), &'static str> {
        let count = self.count(Number::Moves, given.moves.len(), self.left.moves)?;
        self.left.moves -= count;
        let mut at = 0u64;
        let mut given = given.moves.iter();
        for _ in 0..count {
            let (start, by) = given.next().unwrap_or((0, 0));
            at = self.start(at, start)?;
            let by = self.by(by);
            file.moves.push(at, by);
            if self.coder.is_past_end() {
                return Err("a map that is cut off");
            }
        }
        Ok(())
    }

    /// The next start behind `before`.
    fn start(&mut self, before: u64, given: u64) -> Result<u64, &'static str> {
        let floor = before / ALIGNMENT * ALIGNMENT;
        let is_aligned = given.is_multiple_of(ALIGNMENT) && given > floor;
        let is_aligned = self.aligned[0].code(self.coder, is_aligned.into()) == 1;
        let start = if is_aligned {
            let gap = self.number(Number::AlignedMoveGap, given.wrapping_sub(floor) / ALIGNMENT);
            gap.checked_mul(ALIGNMENT).and_then(|gap| floor.checked_add(gap))
        } else {
            before.checked_add(self.number(Number::MoveGap, given.wrapping_sub(before)))
        };
        start.filter(|&start| start < 1 << 62).ok_or(BEYOND)
    }

    fn by(&mut self, given: u64) -> u64 {
        let known = self.remembered.iter().position(|&known| known == given);
        let symbol = self.by[self.by_before].code(self.coder, known.unwrap_or(REMEMBERED));
        self.by_before = symbol.min(15);
        let by = match self.remembered.get(symbol) {
            Some(&known) => known,
            None => {
                self.remembered[0].wrapping_add(self.signed(Number::MoveBy, given.wrapping_sub(self.remembered[0])))
            }
        };
        let index = symbol.min(REMEMBERED - 1);
        self.remembered[..=index].rotate_right(1);
        self.remembered[0] = by;
        by
    }
}
