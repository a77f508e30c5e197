//! A model of tar headers, field by field. A field is the same as in a header to compare with, or the same as in the
//! header before, or coded byte by byte. The checksum comes last: it follows from the other fields.
//!
//! Source of the fields: POSIX.1-2017 pax, "ustar Interchange Format". Any 512 bytes can be coded; bytes that are no
//! header only cost more.

use lighter_coder::Coder;

use super::mixer::{Chance, Mixer, Scale};

pub type Block = [u8; 512];

/// The fields by first byte and length: the checksum last, the padding of GNU headers in parts.
const FIELDS: [(usize, usize); 18] = [
    (0, 100),   // name
    (100, 8),   // mode
    (108, 8),   // uid
    (116, 8),   // gid
    (124, 12),  // size
    (136, 12),  // mtime
    (156, 1),   // type flag
    (157, 100), // link name
    (257, 8),   // magic and version
    (265, 32),  // user
    (297, 32),  // group
    (329, 8),   // device numbers
    (337, 8),
    (345, 131), // prefix; with GNU, times and a sparse map
    (476, 24),
    (500, 12), // padding
    (148, 6),  // checksum's digits
    (154, 2),  // and its end
];
const CHECKSUM_DIGITS: usize = 16;
const LIMIT: u32 = 60;
const TABLE_BITS: u32 = 16;
const CONTEXTS: usize = 5;

/// The model of headers.
pub struct Headers {
    before: Block,
    /// How each field of the last header was coded: 0 as in the header to compare with, 1 as in the header before, 2 by
    /// bytes.
    ways: [u8; FIELDS.len()],
    flags: Vec<Chance>,
    table: Vec<Chance>,
    mixer: Mixer,
    scale: Scale,
}

impl Headers {
    pub fn new() -> Self {
        Self {
            before: [0; 512],
            ways: [0; FIELDS.len()],
            flags: vec![Chance::EVEN; FIELDS.len() * 3 * 2 * 4],
            table: vec![Chance::EVEN; 1 << TABLE_BITS],
            mixer: Mixer::new(FIELDS.len(), CONTEXTS, 100),
            scale: Scale::get(),
        }
    }

    /// Codes a header against `like`, or against the header before. A decoder ignores `given`.
    pub fn code<C: Coder>(&mut self, coder: &mut C, like: Option<&Block>, given: &Block) -> Block {
        let mut header = [0; 512];
        let before = self.before;
        let like = like.unwrap_or(&before);
        let has_like = usize::from(*like != before);
        for (field, &(start, length)) in FIELDS.iter().enumerate() {
            let range = start..start + length;
            let mut expected = [0u8; 131];
            let expected = &mut expected[..length];
            expected.copy_from_slice(&like[range.clone()]);
            if field == CHECKSUM_DIGITS {
                expected.copy_from_slice(&checksum(&header));
            }
            let given = &given[range.clone()];
            let context = (field * 3 + usize::from(self.ways[field])) * 2 + has_like;
            let mut way = 2;
            if self.flag(coder, context * 4, given == expected) {
                way = 0;
                header[range].copy_from_slice(expected);
            } else if self.flag(coder, context * 4 + 1, *given == before[range.clone()]) {
                way = 1;
                header[range.clone()].copy_from_slice(&before[range]);
            } else {
                for index in range {
                    header[index] =
                        self.byte(coder, field, (like[index], before[index]), index, &header, given[index - start]);
                }
            }
            self.ways[field] = way;
        }
        self.before = header;
        header
    }

    fn flag<C: Coder>(&mut self, coder: &mut C, index: usize, given: bool) -> bool {
        let chance = &mut self.flags[index];
        let found = coder.code(given, chance.one());
        chance.learn(found, LIMIT, self.scale);
        found
    }

    fn byte<C: Coder>(
        &mut self,
        coder: &mut C,
        field: usize,
        (like, before): (u8, u8),
        index: usize,
        header: &Block,
        given: u8,
    ) -> u8 {
        let scale = self.scale;
        let last = |back: usize| u64::from(index.checked_sub(back).map_or(0, |index| header[index]));
        let (like, before) = (u64::from(like), u64::from(before));
        let contexts: [u64; CONTEXTS] = [
            1 << 40 | last(1),
            2 << 40 | like << 8 | field as u64,
            3 << 40 | before << 16 | like << 8 | u64::from(index.is_multiple_of(2)),
            4 << 40 | last(1) | last(2) << 8 | last(3) << 16,
            5 << 40 | (index as u64) << 16 | like << 8 | last(1),
        ];
        let mut node = 1u64;
        for bit in (0..8).rev() {
            let slots = contexts.map(|context| {
                ((context << 9 ^ node).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - TABLE_BITS)) as usize
            });
            for slot in slots {
                self.mixer.add(scale.logit(self.table[slot].one()));
            }
            let logit = self.mixer.mix(field);
            let found = coder.code(given >> bit & 1 == 1, scale.probability(logit));
            self.mixer.learn(found, scale);
            for slot in slots {
                self.table[slot].learn(found, LIMIT, scale);
            }
            node = node << 1 | u64::from(found);
        }
        node as u8
    }
}

/// The checksum's six octal digits, as nearly every program writes them. The bytes of the checksum itself count as
/// spaces.
fn checksum(header: &Block) -> [u8; 6] {
    let others = header[..148].iter().chain(&header[156..]);
    let sum: u32 = others.map(|&byte| u32::from(byte)).sum::<u32>() + 8 * u32::from(b' ');
    std::array::from_fn(|digit| b'0' + (sum >> (3 * (5 - digit)) & 7) as u8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use lighter_coder::{Decoder, Encoder};

    #[test]
    fn headers_come_back_and_a_known_checksum_costs_nothing() {
        let header = |path: &str, time: &str| -> Block {
            let mut block: Block = lighter_tar::entry(path, b'0', b"", "").try_into().unwrap();
            block[136..147].copy_from_slice(time.as_bytes());
            lighter_tar::seal(&mut block);
            block
        };
        let list: Vec<(Block, Block)> = (0..200)
            .map(|n| {
                let path = format!("usr/share/doc/package-{n}/changelog");
                (header(&path, "14371265501"), header(&path, "14402233114"))
            })
            .chain([([7; 512], [9; 512]), ([0; 512], std::array::from_fn(|n| (n * n) as u8))])
            .collect();
        let mut encoder = Encoder::new();
        let mut headers = Headers::new();
        for (index, (like, given)) in list.iter().enumerate() {
            headers.code(&mut encoder, Some(like), given);
            assert!(index != 199 || encoder.bytes() < 100, "{} bytes", encoder.bytes());
        }
        let bytes = encoder.finish();
        let mut decoder = Decoder::new(&bytes);
        let mut headers = Headers::new();
        for (like, given) in &list {
            assert_eq!(headers.code(&mut decoder, Some(like), &[0; 512]), *given);
        }
        assert!(decoder.is_at_end());
    }
}
