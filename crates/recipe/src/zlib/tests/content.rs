//! The generated content behind the vectors: text, records, code-like bytes, repeats at all distances, zeros, noise.

/// A linear congruential generator (Knuth's MMIX): the high bits of its state.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound
    }
}

/// The first `size` bytes of the content. Every part ends within the next one's, so each size ends in its own way.
pub fn content(size: usize) -> Vec<u8> {
    let mut numbers = Numbers(20);
    let mut content = Vec::with_capacity(size + 70_000);
    while content.len() < size {
        let length = [3, 40, 700, 9000, 60_000][numbers.below(5)];
        let length = 1 + numbers.below(length);
        match numbers.below(8) {
            0 => content.resize(content.len() + length, 0),
            1 => content.extend((0..length.min(20_000)).map(|_| numbers.below(256) as u8)),
            2 => text(&mut numbers, length, &mut content),
            3 => records(&mut numbers, length, &mut content),
            4 => content.extend((0..length.min(3000)).map(|_| b"ab"[numbers.below(2)])),
            5 => code(&mut numbers, length, &mut content),
            _ => repeats(&mut numbers, length, &mut content),
        }
    }
    content.truncate(size);
    content
}

/// Words of a small vocabulary, some more often than others.
fn text(numbers: &mut Numbers, length: usize, content: &mut Vec<u8>) {
    let end = content.len() + length;
    while content.len() < end {
        let word = numbers.below(30) * numbers.below(30);
        let letters = 2 + word % 7;
        content.extend((0..letters).map(|at| b'a' + ((word * 7 + at * at * 5) % 26) as u8));
        content.push(if numbers.below(9) == 0 { b'\n' } else { b' ' });
    }
}

/// Records of 24 bytes with a counter, a small value, a large one and zeros.
fn records(numbers: &mut Numbers, length: usize, content: &mut Vec<u8>) {
    for record in 0..length / 24 {
        content.extend_from_slice(&(record as u32).to_le_bytes());
        content.extend_from_slice(&(numbers.below(50) as u32).to_le_bytes());
        content.extend_from_slice(&(numbers.below(1 << 30) as u64).to_be_bytes());
        content.extend_from_slice(&[0; 8]);
    }
}

/// Bytes with few common values and many rare ones, as machine code has them.
fn code(numbers: &mut Numbers, length: usize, content: &mut Vec<u8>) {
    for _ in 0..length {
        let byte = numbers.below(16) * numbers.below(17);
        content.push(if numbers.below(3) == 0 { 0x48 } else { byte as u8 });
    }
}

/// Copies of what came before: near, far, at the longest distances, and cut short.
fn repeats(numbers: &mut Numbers, length: usize, content: &mut Vec<u8>) {
    let end = content.len() + length;
    while content.len() < end && !content.is_empty() {
        let distance = match numbers.below(5) {
            0 => 1 + numbers.below(8),
            1 => 1 + numbers.below(300),
            2 => 32_500 + numbers.below(270),
            _ => 1 + numbers.below(32_768),
        };
        let distance = distance.min(content.len());
        let copied = [3, 4, 6, 12, 130, 258, 259, 1000][numbers.below(8)];
        for _ in 0..copied {
            content.push(content[content.len() - distance]);
        }
        content.push(numbers.below(256) as u8);
    }
}
