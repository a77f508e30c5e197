//! How references stand in the bytes of an executable: finding them, and writing them anew.
//!
//! Machine code is not decoded: a few patterns of bytes tell nearly all references. Whoever calls this knows which
//! addresses there are; a place outside of them is no reference.

/// Where a reference stands, in addresses of one image.
#[derive(Clone, Copy)]
pub struct Place {
    /// Its own.
    pub own: u64,
    /// The start of the part of the file.
    pub part: u64,
    /// The address that some kinds of references count from.
    pub base: u64,
}

/// References of one kind.
pub trait References {
    /// A reference begins at a multiple of so many bytes from the start of the part, and has so many bytes at least.
    const STEP: usize;
    const BYTES: usize;
    /// The next reference begins so many bytes behind this one's start, or later.
    const NEXT: usize;

    /// The address that the reference at `at` leads to, if one stands there.
    fn find(bytes: &[u8], at: usize, place: Place) -> Option<u64>;

    /// Writes the reference at `at`, which was found there, so that it leads to `to`. All addresses are the new ones.
    fn put(bytes: &mut [u8], at: usize, place: Place, to: u64);
}

#[inline]
fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|word| u32::from_le_bytes(*word))
}

#[inline]
fn put_word(bytes: &mut [u8], at: usize, word: u32) {
    if let Some(place) = bytes.get_mut(at..).and_then(|bytes| bytes.first_chunk_mut()) {
        *place = word.to_le_bytes();
    }
}

/// Relative calls, jumps and operands of x86-64.
pub struct X86_64;

/// For each opcode with an operand that may be relative to the instruction (`mod` 0, `rm` 5): one more than the bytes
/// of immediate behind the distance. 0 for all others.
static OPERANDS: [u8; 256] = operands();

const fn operands() -> [u8; 256] {
    let mut table = [0; 256];
    // The second and the third row stand behind 0f, or in a VEX instruction.
    let without: &[u8] = b"\x00\x01\x02\x03\x08\x09\x0a\x0b\x20\x21\x22\x23\x28\x29\x2a\x2b\x30\x31\x32\x33\x38\x39\x3a\x3b\
        \x63\x84\x85\x86\x87\x88\x89\x8a\x8b\x8d\xfe\xff\x10\x11\x12\x13\x14\x15\x16\x17\x2c\x2d\x2e\x2f\x51\x54\x55\x56\
        \x57\x58\x59\x5a\x5b\x5c\x5d\x5e\x5f\x60\x61\x62\x66\x6c\x6e\x6f\x7e\x7f\xaf\xb0\xb1\xb6\xb7\xbe\xbf\xc1\xd4\xd6\
        \xd7\xdb\xdf\xeb\xef\xfa\xfb";
    let mut index = 0;
    while index < without.len() {
        table[without[index] as usize] = 1;
        index += 1;
    }
    (table[0x6b], table[0x80], table[0x83], table[0xc6], table[0x70], table[0xc2]) = (2, 2, 2, 2, 2, 2);
    (table[0x69], table[0x81], table[0xc7]) = (5, 5, 5);
    table
}

impl X86_64 {
    /// The bytes between the distance at `at` and the next instruction.
    #[inline]
    fn immediate(bytes: &[u8], at: usize) -> Option<u64> {
        let &[first, second] = bytes.get(at.checked_sub(2)?..at)? else { return None };
        match second {
            0xe8 | 0xe9 => Some(0),
            0x80..=0x8f if first == 0x0f => Some(0),
            _ if second & 0xc7 == 5 => u64::from(OPERANDS[first as usize]).checked_sub(1),
            _ => None,
        }
    }
}

impl References for X86_64 {
    const STEP: usize = 1;
    const BYTES: usize = 4;
    /// An opcode stands between.
    const NEXT: usize = 5;

    #[inline]
    fn find(bytes: &[u8], at: usize, place: Place) -> Option<u64> {
        let immediate = Self::immediate(bytes, at)?;
        let distance = word(bytes, at)? as i32;
        Some(place.own.wrapping_add(4 + immediate).wrapping_add_signed(distance.into()))
    }

    fn put(bytes: &mut [u8], at: usize, place: Place, to: u64) {
        let immediate = Self::immediate(bytes, at).unwrap_or(0);
        put_word(bytes, at, to.wrapping_sub(place.own.wrapping_add(4 + immediate)) as u32);
    }
}

/// Branches and literal loads of AArch64, and `adrp` with the instruction that adds the rest of its address.
pub struct Aarch64;

/// Instructions behind an `adrp` that are looked at for the one that adds the rest of its address.
const PAIR_REACH: usize = 8;
const PAGE: u64 = 1 << 12;

impl Aarch64 {
    /// Where the distance of a branch or a literal load stands, in bits: its lowest bit, and its length.
    #[inline]
    fn field(word: u32) -> Option<(u32, u32)> {
        let is = |mask: u32, value: u32| word & mask == value;
        match word {
            // b, bl.
            _ if is(0x7c00_0000, 0x1400_0000) => Some((0, 26)),
            // b.cond; cbz, cbnz; loads of literals.
            _ if is(0xff00_0010, 0x5400_0000) || is(0x7e00_0000, 0x3400_0000) || is(0x3b00_0000, 0x1800_0000) => {
                Some((5, 19))
            }
            // tbz, tbnz.
            _ if is(0x7e00_0000, 0x3600_0000) => Some((5, 14)),
            _ => None,
        }
    }

    fn is_adrp(word: u32) -> bool {
        word & 0x9f00_0000 == 0x9000_0000
    }

    /// The instruction that adds the rest of the address that the `adrp` at `at` begins, and the power of two that its
    /// distance counts in.
    fn pair(bytes: &[u8], at: usize, register: u32) -> Option<(usize, u32)> {
        (1..=PAIR_REACH).map(|index| at + 4 * index).find_map(|at| {
            let word = word(bytes, at)?;
            let is_load = word & 0x3b00_0000 == 0x3900_0000;
            let is_quad = word & 0x0480_0000 == 0x0480_0000 && word >> 30 == 0;
            let scale = match is_load {
                true if is_quad => 4,
                true => word >> 30,
                false => 0,
            };
            let is_add = word & 0x7fc0_0000 == 0x1100_0000;
            let is_within = u64::from(word >> 10 & 0xfff) << scale < PAGE;
            ((is_add || is_load) && is_within && word >> 5 & 31 == register).then_some((at, scale))
        })
    }
}

impl References for Aarch64 {
    const STEP: usize = 4;
    const BYTES: usize = 4;
    const NEXT: usize = 4;

    #[inline]
    fn find(bytes: &[u8], at: usize, place: Place) -> Option<u64> {
        let first = word(bytes, at)?;
        if !Self::is_adrp(first) {
            let (low, bits) = Self::field(first)?;
            let distance = ((first >> low) << (32 - bits)) as i32 >> (32 - bits);
            return Some(place.own.wrapping_add_signed(i64::from(distance) << 2));
        }
        let pages = (first >> 5 & 0x7_ffff) << 2 | first >> 29 & 3;
        let distance = i64::from((pages << 11) as i32 >> 11) << 12;
        let page = (place.own & !(PAGE - 1)).wrapping_add_signed(distance);
        let rest = Self::pair(bytes, at, first & 31)
            .and_then(|(at, scale)| Some(u64::from(word(bytes, at)? >> 10 & 0xfff) << scale));
        Some(page.wrapping_add(rest.unwrap_or(0)))
    }

    fn put(bytes: &mut [u8], at: usize, place: Place, to: u64) {
        let Some(first) = word(bytes, at) else { return };
        if let Some((low, bits)) = Self::field(first) {
            let mask = ((1u32 << bits) - 1) << low;
            let distance = (to.wrapping_sub(place.own) >> 2) as u32;
            return put_word(bytes, at, first & !mask | distance << low & mask);
        }
        let pages = ((to & !(PAGE - 1)).wrapping_sub(place.own & !(PAGE - 1)) >> 12) as u32;
        if let Some((pair, scale)) = Self::pair(bytes, at, first & 31)
            && let Some(next) = word(bytes, pair)
        {
            let rest = ((to & (PAGE - 1)) >> scale) as u32;
            put_word(bytes, pair, next & !(0xfff << 10) | rest << 10);
        }
        put_word(bytes, at, first & 0x9f00_001f | (pages & 3) << 29 | (pages >> 2 & 0x7_ffff) << 5);
    }
}

#[inline]
fn quad(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().map(|quad| u64::from_le_bytes(*quad))
}

#[inline]
fn put_quad(bytes: &mut [u8], at: usize, quad: u64) {
    if let Some(place) = bytes.get_mut(at..).and_then(|bytes| bytes.first_chunk_mut()) {
        *place = quad.to_le_bytes();
    }
}

#[inline]
fn distance(word: u32) -> i64 {
    i64::from(word as i32)
}

/// Addresses of eight bytes.
pub struct Pointers;

/// Smaller numbers are no addresses.
const ADDRESS_MIN: u64 = 1 << 12;

impl References for Pointers {
    const STEP: usize = 8;
    const BYTES: usize = 8;
    const NEXT: usize = 8;

    #[inline]
    fn find(bytes: &[u8], at: usize, _: Place) -> Option<u64> {
        quad(bytes, at).filter(|&value| value >= ADDRESS_MIN)
    }

    fn put(bytes: &mut [u8], at: usize, _: Place, to: u64) {
        put_quad(bytes, at, to);
    }
}

/// Distances of four bytes from the base (`.eh_frame_hdr`).
pub struct Table;

impl References for Table {
    const STEP: usize = 4;
    const BYTES: usize = 4;
    const NEXT: usize = 4;

    #[inline]
    fn find(bytes: &[u8], at: usize, place: Place) -> Option<u64> {
        Some(place.base.wrapping_add_signed(distance(word(bytes, at)?)))
    }

    fn put(bytes: &mut [u8], at: usize, place: Place, to: u64) {
        put_word(bytes, at, to.wrapping_sub(place.base) as u32);
    }
}

/// Distances of four bytes from their own place, or from one nearby: tables of jumps.
pub struct Jumps;

impl References for Jumps {
    const STEP: usize = 4;
    const BYTES: usize = 4;
    const NEXT: usize = 4;

    #[inline]
    fn find(bytes: &[u8], at: usize, place: Place) -> Option<u64> {
        // Tables lead back to code before them. Numbers that are positive are mostly no distances.
        let distance = word(bytes, at).map(distance).filter(|&distance| distance < -(ADDRESS_MIN as i64))?;
        Some(place.own.wrapping_add_signed(distance))
    }

    fn put(bytes: &mut [u8], at: usize, place: Place, to: u64) {
        put_word(bytes, at, to.wrapping_sub(place.own) as u32);
    }
}

/// Descriptions of call frames (`.eh_frame`). Each begins with its length, the distance back to what it has in common
/// with others, and the distance to its function, of four bytes each.
pub struct Frames;

/// Longest description of a call frame.
const FRAME_BYTES_MAX: u32 = 64 << 10;

impl Frames {
    /// Whether the word at `at` may be the length of a description.
    #[inline]
    fn is_length(bytes: &[u8], at: Option<usize>) -> bool {
        let length = at.and_then(|at| word(bytes, at)).unwrap_or(0);
        (12..FRAME_BYTES_MAX).contains(&length) && length.is_multiple_of(4)
    }

    /// Whether a word may be the distance back to the common part.
    #[inline]
    fn is_common(word: u32, place: Place) -> bool {
        word.is_multiple_of(4) && word > 0 && u64::from(word) <= place.own.wrapping_sub(place.part)
    }
}

impl References for Frames {
    const STEP: usize = 4;
    const BYTES: usize = 4;
    const NEXT: usize = 4;

    #[inline]
    fn find(bytes: &[u8], at: usize, place: Place) -> Option<u64> {
        let found = word(bytes, at)?;
        if Self::is_length(bytes, at.checked_sub(4)) && Self::is_common(found, place) {
            return Some(place.own.wrapping_sub(found.into()));
        }
        let before = word(bytes, at.checked_sub(4)?)?;
        let is_function = Self::is_length(bytes, at.checked_sub(8)) && before.is_multiple_of(4) && before > 0;
        is_function.then_some(place.own.wrapping_add_signed(distance(found)))
    }

    fn put(bytes: &mut [u8], at: usize, place: Place, to: u64) {
        let Some(found) = word(bytes, at) else { return };
        let is_common = Self::is_length(bytes, at.checked_sub(4)) && Self::is_common(found, place);
        let word = if is_common { place.own.wrapping_sub(to) } else { to.wrapping_sub(place.own) };
        put_word(bytes, at, word as u32);
    }
}

/// Symbols of 24 bytes (`Elf64_Sym`): their names count from the base, and they have an address.
pub struct Symbols;

/// Relocations of 24 bytes (`Elf64_Rela`): an address, the number of a symbol in the table at the base, and an address.
pub struct Relocations;

const RECORD_BYTES: u64 = 24;

fn field(place: Place) -> u64 {
    place.own.wrapping_sub(place.part) % RECORD_BYTES
}

impl References for Symbols {
    const STEP: usize = 8;
    const BYTES: usize = 8;
    const NEXT: usize = 8;

    #[inline]
    fn find(bytes: &[u8], at: usize, place: Place) -> Option<u64> {
        match field(place) {
            0 => word(bytes, at).filter(|&name| name > 0).map(|name| place.base.wrapping_add(name.into())),
            8 => quad(bytes, at).filter(|&value| value >= ADDRESS_MIN),
            _ => None,
        }
    }

    fn put(bytes: &mut [u8], at: usize, place: Place, to: u64) {
        match field(place) {
            0 => put_word(bytes, at, to.wrapping_sub(place.base) as u32),
            _ => put_quad(bytes, at, to),
        }
    }
}

impl References for Relocations {
    const STEP: usize = 8;
    const BYTES: usize = 8;
    const NEXT: usize = 8;

    #[inline]
    fn find(bytes: &[u8], at: usize, place: Place) -> Option<u64> {
        if field(place) == 8 {
            let symbol = word(bytes, at + 4).filter(|&symbol| symbol > 0)?;
            return Some(place.base.wrapping_add(u64::from(symbol) * RECORD_BYTES));
        }
        quad(bytes, at).filter(|&value| value >= ADDRESS_MIN)
    }

    fn put(bytes: &mut [u8], at: usize, place: Place, to: u64) {
        match field(place) {
            8 => put_word(bytes, at + 4, (to.wrapping_sub(place.base) / RECORD_BYTES) as u32),
            _ => put_quad(bytes, at, to),
        }
    }
}
