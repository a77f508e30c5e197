//! Prefix codes of limited length, as Go's compress/flate and its descendants choose among the optimal ones.
//!
//! Several sets of code lengths cost the same; the engines have to choose as the original does. The lengths come from
//! the boundary package-merge of Katajainen, Moffat and Turpin ("A fast and space-economical algorithm for
//! length-limited coding", ISAAC 1995): rows of leaves and pairs, of which only the leaf counts behind the last item
//! are kept. Here a pair goes before a leaf of the same weight, and symbols of the same weight stand in their own
//! order. Codes are given by length, then by symbol, as in RFC 1951, section 3.2.2.

/// More rows than the longest code of DEFLATE has bits.
const ROWS: usize = 16;
const NEVER: u32 = u32::MAX;

/// A code: its bits, the first in the lowest place, and its length. A length of zero is no code.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Code {
    pub bits: u16,
    pub length: u8,
}

/// Codes of up to `N` symbols.
#[derive(Clone)]
pub struct Codes<const N: usize> {
    codes: [Code; N],
    /// Weight and symbol of every symbol that occurs, in one number: sorting needs no second array.
    leaves: Vec<u64>,
}

impl<const N: usize> Codes<N> {
    pub fn new() -> Self {
        Self { codes: [Code::default(); N], leaves: Vec::with_capacity(N) }
    }

    #[inline]
    pub fn all(&self) -> &[Code; N] {
        &self.codes
    }

    #[inline]
    pub fn length(&self, symbol: usize) -> u8 {
        self.codes.get(symbol).map_or(0, |code| code.length)
    }

    /// The bits of all symbols that `counts` has.
    pub fn cost(&self, counts: &[u32]) -> usize {
        counts.iter().zip(&self.codes).map(|(&count, code)| count as usize * usize::from(code.length)).sum()
    }

    /// Sets a code by hand.
    pub fn set(&mut self, symbol: usize, bits: u16, length: u8) {
        if let Some(code) = self.codes.get_mut(symbol) {
            *code = Code { bits: reversed(bits, length), length };
        }
    }

    /// Chooses codes of at most `bits_max` bits for these counts, none of which is above 2^30.
    pub fn choose(&mut self, counts: &[u32], bits_max: usize) {
        self.codes = [Code::default(); N];
        self.leaves.clear();
        let occurring = counts.iter().take(N).enumerate().filter(|(_, count)| **count != 0);
        self.leaves.extend(occurring.map(|(symbol, &count)| (u64::from(count) << 16) | symbol as u64));
        if self.leaves.len() <= 2 {
            for (bits, &leaf) in self.leaves.iter().enumerate() {
                self.codes[leaf as usize & 0xffff] = Code { bits: bits as u16, length: 1 };
            }
            return;
        }
        self.leaves.sort_unstable();
        let by_length = lengths(&self.leaves, bits_max);
        self.give_codes(&by_length);
    }

    /// The commonest symbols, at the end of `leaves`, get the shortest codes.
    fn give_codes(&mut self, by_length: &[u32; ROWS]) {
        let mut next = [0u16; ROWS];
        let (mut end, mut code) = (self.leaves.len(), 0u16);
        for (length, &count) in by_length.iter().enumerate().skip(1) {
            code <<= 1;
            next[length] = code;
            code = code.wrapping_add(count as u16);
            let start = end.saturating_sub(count as usize);
            for &leaf in &self.leaves[start..end] {
                self.codes[leaf as usize & 0xffff].length = length as u8;
            }
            end = start;
        }
        for code in self.codes.iter_mut().filter(|code| code.length != 0) {
            let next = &mut next[usize::from(code.length) & (ROWS - 1)];
            code.bits = reversed(*next, code.length);
            *next = next.wrapping_add(1);
        }
    }
}

fn reversed(bits: u16, length: u8) -> u16 {
    (bits << (16 - length.clamp(1, 16))).reverse_bits()
}

/// A row of the package-merge.
#[derive(Clone, Copy, Default)]
struct Row {
    /// The weight of the last item.
    last: u32,
    /// The weights of the leaf and of the pair that may come next.
    next_leaf: u32,
    next_pair: u32,
    /// Items that the row above still asks for.
    needed: u32,
    /// How many leaves stand before the last item, in this row and in the rows below.
    leaves: [u32; ROWS],
}

/// How many symbols get codes of each length. There are at least three leaves, in the order of their weights.
fn lengths(leaves: &[u64], bits_max: usize) -> [u32; ROWS] {
    let weight = |leaf: usize| leaves.get(leaf).map_or(NEVER, |leaf| (leaf >> 16) as u32);
    let top = bits_max.min(leaves.len() - 1).min(ROWS - 1);
    // One more: a row that ran out tells the row above.
    let mut rows = [Row::default(); ROWS + 1];
    for (number, row) in rows.iter_mut().enumerate().take(top + 1).skip(1) {
        *row = Row { last: weight(1), next_leaf: weight(2), next_pair: weight(0) + weight(1), ..Row::default() };
        row.leaves[number] = 2;
    }
    rows[1].next_pair = NEVER;
    rows[top].needed = 2 * leaves.len() as u32 - 4;
    let mut at = top;
    loop {
        let row = &mut rows[at];
        if row.next_pair == NEVER && row.next_leaf == NEVER {
            row.needed = 0;
            rows[at + 1].next_pair = NEVER;
            at += 1;
            continue;
        }
        let before = row.last;
        if row.next_leaf < row.next_pair {
            row.last = row.next_leaf;
            row.leaves[at] += 1;
            row.next_leaf = weight(row.leaves[at] as usize);
        } else {
            row.last = row.next_pair;
            let below = rows[at - 1].leaves;
            rows[at].leaves[..at].copy_from_slice(&below[..at]);
            rows[at - 1].needed = 2;
        }
        rows[at].needed -= 1;
        if rows[at].needed == 0 {
            if at == top {
                break;
            }
            rows[at + 1].next_pair = before + rows[at].last;
            at += 1;
        } else {
            while rows[at - 1].needed > 0 {
                at -= 1;
            }
        }
    }
    let mut by_length = [0; ROWS];
    let chain = &rows[top].leaves;
    for (length, count) in by_length.iter_mut().enumerate().take(top + 1).skip(1) {
        let row = top + 1 - length;
        *count = chain[row] - chain[row - 1];
    }
    by_length
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The sum of 2^-length is one, no code is too long, and no symbol without a count has a code.
    fn check(counts: &[u32], bits_max: usize) -> Codes<286> {
        let mut codes = Codes::new();
        codes.choose(counts, bits_max);
        let used = || codes.all().iter().filter(|code| code.length > 0);
        let sum: u32 = used().map(|code| 1 << (16 - code.length)).sum();
        assert_eq!(sum, 1 << 16);
        assert!(used().all(|code| usize::from(code.length) <= bits_max));
        assert!(counts.iter().zip(codes.all()).all(|(&count, code)| (count == 0) == (code.length == 0)));
        codes
    }

    #[test]
    fn codes_are_complete_and_of_limited_length() {
        let mut state = 1u32;
        for round in 0..200 {
            let mut counts = [0u32; 286];
            for count in counts.iter_mut().take(3 + round) {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                *count = 1 + (state >> 8 >> (state >> 28));
            }
            check(&counts, 15);
        }
        let mut fibonacci = [1u32; 40];
        (2..40).for_each(|n| fibonacci[n] = (fibonacci[n - 1] + fibonacci[n - 2]).min(1 << 20));
        check(&fibonacci, 15);
        check(&fibonacci[..19], 7);
    }

    #[test]
    fn a_code_is_the_shortest_there_is() {
        // By hand: 1 and 1 make 2; 2 and 2 make 4; 4 and 3 make 7; 7 and 8 make 15.
        let codes = check(&[8, 3, 2, 1, 1], 15);
        assert_eq!([0, 1, 2, 3, 4].map(|symbol| codes.length(symbol)), [1, 2, 3, 4, 4]);
        assert_eq!(codes.cost(&[8, 3, 2, 1, 1]), 28);
    }

    #[test]
    fn one_or_two_symbols_have_codes_of_one_bit() {
        let mut codes = Codes::<30>::new();
        codes.choose(&[0, 5], 15);
        assert_eq!(codes.all()[1], Code { bits: 0, length: 1 });
        codes.choose(&[0, 5, 0, 9], 15);
        assert_eq!((codes.all()[1].bits, codes.all()[3].bits, codes.length(0)), (0, 1, 0));
    }
}
