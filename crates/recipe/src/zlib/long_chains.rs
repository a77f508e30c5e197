//! Chains over strings of four and of eight bytes: the search for a long match skips positions that share only three.
//!
//! zlib walks the chain of all earlier positions with the same hash of three bytes, for a number of steps at most, and
//! takes the first of the longest matches. A match longer than three bytes shares four, and one longer than seven
//! shares eight; all such positions are in the chains here. Whether zlib's walk would have reached a position is known
//! from ranks: each position has its number within its chain of three bytes, and the difference of two numbers is the
//! steps between them. So the search finds zlib's match in fewer steps. Measured on a layer of 17.6 MB at level 9, on
//! one core beside zlib: 1.1 x its speed without these chains, 1.5 x with four bytes alone, 2.7 x with both.

use super::tables::HISTORY;

const HASH_BITS: u32 = 15;
const RANK: u32 = 0xffff_0000;

/// The chains, and the ranks within zlib's. 512 KiB.
pub(super) struct LongChains {
    four: Chain<4>,
    eight: Chain<8>,
    /// By hash of three bytes: the rank of its latest position.
    ranks: Box<[u16; 1 << 16]>,
}

/// The latest positions before one that share its four and its eight bytes, or 0.
#[derive(Clone, Copy, Default)]
pub(super) struct Heads {
    pub(super) four: usize,
    pub(super) eight: usize,
}

impl LongChains {
    pub(super) fn new() -> LongChains {
        LongChains { four: Chain::new(), eight: Chain::new(), ranks: Box::new([0; 1 << 16]) }
    }

    /// Forgets all positions; the first to come is `start`.
    pub(super) fn begin(&mut self, start: usize) {
        self.four.begin(start);
        self.eight.begin(start);
    }

    pub(super) fn slide(&mut self) {
        self.four.slide();
        self.eight.slide();
    }

    /// Inserts `at`, whose three bytes have the hash `hash`. The content ends at `end`.
    #[inline(always)]
    pub(super) fn insert(&mut self, at: usize, hash: u16, end: usize, load: impl Fn(usize) -> u64) -> Heads {
        let rank = &mut self.ranks[usize::from(hash)];
        *rank = rank.wrapping_add(1);
        let rank = u32::from(*rank) << 16;
        Heads { four: self.four.insert(at, rank, end, &load), eight: self.eight.insert(at, rank, end, &load) }
    }

    pub(super) fn four(&self) -> &Chain<4> {
        &self.four
    }

    pub(super) fn eight(&self) -> &Chain<8> {
        &self.eight
    }
}

/// The chains of all strings of `N` bytes.
pub(super) struct Chain<const N: u32> {
    head: Box<[u16; 1 << HASH_BITS]>,
    /// By position modulo 32 KiB: its rank above sixteen bits that hold the position before it in its chain, or 0.
    links: Box<[u32; HISTORY]>,
    /// The next position to insert. It stays behind where the string's last bytes are not there yet.
    next: usize,
}

impl<const N: u32> Chain<N> {
    fn new() -> Chain<N> {
        Chain { head: Box::new([0; 1 << HASH_BITS]), links: Box::new([0; HISTORY]), next: 0 }
    }

    fn begin(&mut self, start: usize) {
        self.head.fill(0);
        self.next = start;
    }

    fn slide(&mut self) {
        for head in self.head.iter_mut() {
            *head = head.saturating_sub(HISTORY as u16);
        }
        for link in self.links.iter_mut() {
            let before = (*link as u16).saturating_sub(HISTORY as u16);
            *link = *link & RANK | u32::from(before);
        }
        self.next = self.next.saturating_sub(HISTORY);
    }

    /// Inserts `at` and what stayed behind, as far as the content goes; returns the latest position before `at`.
    #[inline(always)]
    fn insert(&mut self, at: usize, rank: u32, end: usize, load: impl Fn(usize) -> u64) -> usize {
        if self.next < at {
            self.catch_up(at, end, &load);
        }
        let head = &mut self.head[place::<N>(load(at))];
        let before = *head;
        self.links[at & (HISTORY - 1)] = rank | u32::from(before);
        if self.next == at && at.wrapping_add(N as usize) <= end {
            *head = at as u16;
            self.next = at.wrapping_add(1);
        }
        usize::from(before)
    }

    #[cold]
    #[inline(never)]
    fn catch_up(&mut self, at: usize, end: usize, load: impl Fn(usize) -> u64) {
        while self.next < at && self.next + N as usize <= end {
            let head = &mut self.head[place::<N>(load(self.next))];
            let link = &mut self.links[self.next & (HISTORY - 1)];
            *link = *link & RANK | u32::from(*head);
            *head = self.next as u16;
            self.next += 1;
        }
    }

    #[inline(always)]
    pub(super) fn link(&self, at: usize) -> Link {
        Link(self.links[at & (HISTORY - 1)])
    }
}

/// A position's place in a chain and in zlib's.
#[derive(Clone, Copy)]
pub(super) struct Link(u32);

impl Link {
    /// The position before this one in its chain, or 0.
    #[inline(always)]
    pub(super) fn before(self) -> usize {
        (self.0 & !RANK) as usize
    }

    /// How many steps zlib's walk takes from here to `earlier`, where both share three bytes.
    #[inline(always)]
    pub(super) fn steps_to(self, earlier: Link) -> usize {
        (self.0.wrapping_sub(earlier.0 & RANK) >> 16) as usize
    }
}

/// The first `N` bytes, multiplied by a large odd number (Knuth's multiplicative hash).
#[inline(always)]
pub(super) fn place<const N: u32>(string: u64) -> usize {
    let string = string << (64 - 8 * N);
    (string.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - HASH_BITS)) as usize
}
