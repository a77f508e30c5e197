//! Content for tests, the same on every machine: text, records, repeats, zeros and noise.

/// Lengths at the limits of windows and blocks, some MB, and two that ask for other content.
pub const SIZES: [usize; 13] =
    [0, 1, 16, 33, 127, 32_767, 32_768, 65_535, 65_536, 131_200, 3_000_000, TEXT_BYTES, CHANGE_BYTES];
/// Content of this length is a text: blocks of it lack many symbols.
const TEXT_BYTES: usize = 150_007;
/// Content of this length is a text whose second half has other bytes too.
const CHANGE_BYTES: usize = 200_003;

/// Pseudo-random numbers (Marsaglia's xorshift with 64 bits).
pub struct Numbers(u64);

impl Numbers {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 >> 11
    }

    pub fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }
}

/// Content of a length.
pub fn sample(bytes: usize) -> Vec<u8> {
    let mut numbers = Numbers::new(bytes as u64 + 1);
    let mut content: Vec<u8> = Vec::with_capacity(bytes + 8192);
    while content.len() < bytes {
        let kinds = match bytes {
            TEXT_BYTES => 3,
            CHANGE_BYTES if content.len() < 40_000 => 3,
            CHANGE_BYTES => 5,
            _ => 7,
        };
        match numbers.below(kinds) {
            0..3 => text(&mut numbers, &mut content),
            3 => records(&mut numbers, &mut content),
            4 => repeat(&mut numbers, &mut content),
            5 => content.resize(content.len() + numbers.below(5000), 0),
            _ => (0..numbers.below(3000)).for_each(|_| content.push(numbers.next() as u8)),
        }
    }
    content.truncate(bytes);
    content
}

fn text(numbers: &mut Numbers, content: &mut Vec<u8>) {
    const SYLLABLES: [&str; 16] =
        ["la", "ber", "to", "ni", "ghe", "ring", "s", "po", "um", "ex", "tra", "ck", "in", "ly", "ou", "d"];
    for _ in 0..numbers.below(400) {
        // The few words of a small vocabulary, the first ones more often.
        let word = numbers.below(60) * numbers.below(60) / 8;
        for part in 0..1 + word % 3 {
            content.extend(SYLLABLES[(word * 7 + part * 5) % 16].bytes());
        }
        content.push(if numbers.below(12) == 0 { b'\n' } else { b' ' });
    }
}

fn records(numbers: &mut Numbers, content: &mut Vec<u8>) {
    let kind = numbers.next() as u8;
    for count in 0..numbers.below(300) as u32 {
        content.extend((count * 24).to_le_bytes());
        content.extend([kind, 0, 0x40, 0, numbers.next() as u8 & 15, 0, 0, 0]);
    }
}

fn repeat(numbers: &mut Numbers, content: &mut Vec<u8>) {
    let from = content.len() - numbers.below(content.len().min(100_000) + 1);
    let bytes = numbers.below(2000).min(content.len() - from);
    content.extend_from_within(from..from + bytes);
}
