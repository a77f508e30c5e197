//! Huffman codes exactly as zlib builds them: among equal weights, the order of the heap decides which code is longer.
//!
//! The method is Huffman's, with a binary heap of nodes ordered by weight and then by the depth of their subtrees.
//! Codes longer than the limit are cut, and the tree is repaired by moving leaves down, as Haruhiko Okumura's `ar`
//! did. The steps follow the description in zlib's `trees.c` (zlib licence), because the bytes depend on each of them:
//! in what order the heap is filled and sifted, that an equal node counts as smaller, and in what order lengths are
//! given out again after a cut.

use super::tables::LITERAL_CODES;

const HEAP_MAX: usize = 2 * LITERAL_CODES + 1;
/// The longest code of DEFLATE.
const BITS_MAX: usize = 15;

/// One Huffman code: the bits and the length of each symbol's code.
pub(super) struct Code<const N: usize> {
    pub(super) lengths: [u8; N],
    /// The codes with their first bit lowest, as the stream has them.
    pub(super) codes: [u16; N],
    /// The highest symbol that has a code.
    pub(super) last: usize,
}

impl<const N: usize> Code<N> {
    /// Builds the code of at most `bits_max` bits for `weights`. At least two symbols get a code: where fewer have a
    /// weight, the lowest that have none join them.
    pub(super) fn build(weights: &[u32; N], bits_max: usize) -> Code<N> {
        let mut tree = Tree::new();
        let mut last = None;
        for (symbol, weight) in weights.iter().enumerate().filter(|(_, weight)| **weight != 0) {
            tree.add_leaf(symbol, *weight);
            last = Some(symbol);
        }
        while tree.heap_len < 2 {
            let symbol = match last {
                Some(last) if last < 2 => last + 1,
                None | Some(_) => 0,
            };
            last = last.max(Some(symbol));
            tree.add_leaf(symbol, 1);
        }
        tree.merge(N);
        let mut lengths = [0; N];
        let counts = tree.measure(&mut lengths, bits_max.min(BITS_MAX));
        let codes = assign(&lengths, &counts);
        Code { lengths, codes, last: last.unwrap_or(0) }
    }

    /// The code whose lengths are given.
    pub(super) fn from_lengths(lengths: [u8; N]) -> Code<N> {
        let mut counts = [0; BITS_MAX + 1];
        for length in lengths.iter().filter(|length| **length != 0) {
            counts[usize::from(*length) & BITS_MAX] += 1;
        }
        Code { codes: assign(&lengths, &counts), lengths, last: N - 1 }
    }
}

/// A Huffman tree while it is built.
struct Tree {
    /// By node: its weight above eight bits that hold the depth of its subtree. The heap compares both at once.
    key: [u32; HEAP_MAX],
    parent: [u16; HEAP_MAX],
    /// From place 1 on the heap; from `sorted_from` on the nodes that left it, the heaviest first.
    heap: [u16; HEAP_MAX],
    heap_len: usize,
    sorted_from: usize,
}

impl Tree {
    fn new() -> Tree {
        Tree { key: [0; HEAP_MAX], parent: [0; HEAP_MAX], heap: [0; HEAP_MAX], heap_len: 0, sorted_from: HEAP_MAX }
    }

    fn add_leaf(&mut self, symbol: usize, weight: u32) {
        self.heap_len += 1;
        self.heap[self.heap_len] = symbol as u16;
        self.key[symbol] = weight << 8;
    }

    /// Moves the node at `place` down until both of its sons are heavier. A node of the same key stays above.
    fn sift(&mut self, mut place: usize) {
        let node = self.heap[place];
        let key = self.key[usize::from(node)];
        loop {
            let mut son = 2 * place;
            if son > self.heap_len {
                break;
            }
            let mut son_key = self.key[usize::from(self.heap[son])];
            if son < self.heap_len {
                let other_key = self.key[usize::from(self.heap[son + 1])];
                if other_key <= son_key {
                    son += 1;
                    son_key = other_key;
                }
            }
            if key <= son_key {
                break;
            }
            self.heap[place] = self.heap[son];
            place = son;
        }
        self.heap[place] = node;
    }

    fn retire(&mut self, node: u16) {
        self.sorted_from -= 1;
        self.heap[self.sorted_from] = node;
    }

    /// Merges the two lightest nodes until one is left. The first inner node has the number `inner`.
    fn merge(&mut self, inner: usize) {
        for place in (1..=self.heap_len / 2).rev() {
            self.sift(place);
        }
        let mut node = inner;
        while self.heap_len >= 2 {
            let lightest = self.heap[1];
            self.heap[1] = self.heap[self.heap_len];
            self.heap_len -= 1;
            self.sift(1);
            let next = self.heap[1];
            self.retire(lightest);
            self.retire(next);
            let (one, other) = (self.key[usize::from(lightest)], self.key[usize::from(next)]);
            let depth = (one & 0xff).max(other & 0xff) + 1;
            self.key[node] = ((one >> 8) + (other >> 8)) << 8 | depth & 0xff;
            self.parent[usize::from(lightest)] = node as u16;
            self.parent[usize::from(next)] = node as u16;
            self.heap[1] = node as u16;
            node += 1;
            self.sift(1);
        }
        self.retire(self.heap[1]);
    }

    /// Writes the lengths of the leaves' codes, and returns how many codes have each length.
    fn measure<const N: usize>(&self, lengths: &mut [u8; N], bits_max: usize) -> [u16; BITS_MAX + 1] {
        let mut counts = [0u16; BITS_MAX + 1];
        let mut depths = [0u8; HEAP_MAX];
        let mut cut = 0usize;
        for &node in &self.heap[self.sorted_from + 1..] {
            let node = usize::from(node);
            let mut bits = usize::from(depths[usize::from(self.parent[node])]) + 1;
            if bits > bits_max {
                bits = bits_max;
                cut += 1;
            }
            depths[node] = bits as u8;
            if node < N {
                lengths[node] = bits as u8;
                counts[bits] += 1;
            }
        }
        if cut > 0 {
            shorten(&mut counts, bits_max, cut);
            self.give_out(&counts, lengths);
        }
        counts
    }

    /// Gives the lengths in `counts` to the leaves: the longest to the lightest.
    fn give_out<const N: usize>(&self, counts: &[u16; BITS_MAX + 1], lengths: &mut [u8; N]) {
        let mut leaves = self.heap[self.sorted_from..].iter().rev().filter(|node| usize::from(**node) < N);
        for bits in (1..=BITS_MAX).rev() {
            for &leaf in leaves.by_ref().take(usize::from(counts[bits])) {
                lengths[usize::from(leaf)] = bits as u8;
            }
        }
    }
}

/// Makes room for `cut` nodes that would lie deeper than `bits_max`: one leaf above moves down and takes a cut one as
/// its brother.
fn shorten(counts: &mut [u16; BITS_MAX + 1], bits_max: usize, cut: usize) {
    let mut cut = cut as isize;
    while cut > 0 {
        let Some(bits) = (1..bits_max).rev().find(|bits| counts[*bits] != 0) else { return };
        counts[bits] -= 1;
        counts[bits + 1] += 2;
        counts[bits_max] = counts[bits_max].wrapping_sub(1);
        cut -= 2;
    }
}

/// The canonical codes of given lengths (RFC 1951, section 3.2.2), each with its first bit lowest.
fn assign<const N: usize>(lengths: &[u8; N], counts: &[u16; BITS_MAX + 1]) -> [u16; N] {
    let mut next = [0u16; BITS_MAX + 1];
    let mut code = 0u16;
    for bits in 1..=BITS_MAX {
        code = code.wrapping_add(counts[bits - 1]) << 1;
        next[bits] = code;
    }
    let mut codes = [0; N];
    for (symbol, &length) in lengths.iter().enumerate() {
        let bits = usize::from(length) & BITS_MAX;
        if bits != 0 {
            codes[symbol] = next[bits].reverse_bits() >> (16 - bits);
            next[bits] = next[bits].wrapping_add(1);
        }
    }
    codes
}
