//! A model of tar headers, field by field. A field is the same as in a header to compare with, or the same as in the
//! header before, or coded. A text is coded as one stretch that differs from the other header's text, which may have
//! another length; any other field is coded byte by byte. The checksum comes last: it follows from the other fields.
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
/// Names, and the user and the group: texts with zeros behind them.
const TEXTS: [usize; 5] = [0, 7, 9, 10, 13];
const LIMIT: u32 = 60;
const TABLE_BITS: u32 = 16;
const CONTEXTS: usize = 5;

/// Where a text differs from another: behind `before` bytes, `removed` bytes have given way to `inserted` ones. All are
/// below 256.
#[derive(Clone, Copy, Default)]
struct Stretch {
    before: u8,
    removed: u8,
    inserted: u8,
}

/// How the texts of headers are coded: a patch says which way it has.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Texts {
    /// As earlier programs did: like any other field.
    ByBytes,
    ByStretches,
}

/// The model of headers.
pub struct Headers {
    texts: Texts,
    before: Block,
    /// How each field of the last header was coded: 0 as in the header to compare with, 1 as in the header before, 2 by
    /// bytes.
    ways: [u8; FIELDS.len()],
    /// Where each text differed when it did so last.
    stretches: [Stretch; FIELDS.len()],
    flags: Vec<Chance>,
    table: Vec<Chance>,
    mixer: Mixer,
    scale: Scale,
}

impl Headers {
    pub fn new(texts: Texts) -> Self {
        Self {
            texts,
            before: [0; 512],
            ways: [0; FIELDS.len()],
            stretches: [Stretch::default(); FIELDS.len()],
            flags: vec![Chance::EVEN; FIELDS.len() * 3 * 2 * 4],
            table: vec![Chance::EVEN; 1 << TABLE_BITS],
            mixer: Mixer::new(FIELDS.len() + 3, CONTEXTS, 100),
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
            } else if self.texts == Texts::ByStretches && TEXTS.contains(&field) {
                self.text(coder, field, like, &mut header, given);
            } else {
                for index in range {
                    self.byte(coder, field, like, index, &mut header, given[index - start]);
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

    /// Codes a field that is a text as a stretch of the text in `like`.
    fn text<C: Coder>(&mut self, coder: &mut C, field: usize, like: &Block, header: &mut Block, given: &[u8]) {
        let (start, length) = FIELDS[field];
        let like_text = text(&like[start..start + length]);
        let stretch = self.stretch(coder, field, like_text, Stretch::new(like_text, text(given)));
        let [before, removed, inserted] =
            [stretch.before, stretch.removed, stretch.inserted].map(|count| usize::from(count).min(length));
        let before = before.min(like_text.len());
        header[start..start + before].copy_from_slice(&like_text[..before]);
        let inserted_end = (before + inserted).min(length);
        for (given, index) in given[before..inserted_end].iter().zip(start + before..) {
            self.byte(coder, field, like, index, header, *given);
        }
        let rest = &like_text[(before + removed).min(like_text.len())..];
        let rest = &rest[..rest.len().min(length - inserted_end)];
        header[start + inserted_end..][..rest.len()].copy_from_slice(rest);
    }

    fn stretch<C: Coder>(&mut self, coder: &mut C, field: usize, like_text: &[u8], given: Stretch) -> Stretch {
        let last = self.stretches[field];
        let field_context = field as u64;
        let folder = like_text.iter().rposition(|&byte| byte == b'/').unwrap_or(0) as u64;
        let known = |count: u8| u64::from(count) << 8 | field_context;
        let place = [0, known(last.before), folder << 8, like_text.len() as u64, known(last.before) << 8 | folder];
        let before = self.number(coder, 0, place, given.before);
        let rest = (like_text.len() as u64).wrapping_sub(u64::from(before)) & 0xff;
        let moved = u64::from(before != last.before);
        let removed = [0, known(last.removed), rest, known(last.removed) << 1 | moved, known(before)];
        let removed = self.number(coder, 1, removed, given.removed);
        let inserted = [0, known(last.inserted), known(removed), known(removed) << 1 | moved, known(before)];
        let inserted = self.number(coder, 2, inserted, given.inserted);
        self.stretches[field] = Stretch { before, removed, inserted };
        self.stretches[field]
    }

    fn number<C: Coder>(&mut self, coder: &mut C, kind: usize, contexts: [u64; CONTEXTS], given: u8) -> u8 {
        let mut index = 0;
        let contexts = contexts.map(|context| {
            index += 1;
            (8 * (kind as u64 + 1) + index) << 40 | context
        });
        self.symbol(coder, FIELDS.len() + kind, contexts, given)
    }

    /// Codes the byte at `index` of a header, of which all before it in its field is known.
    fn byte<C: Coder>(
        &mut self,
        coder: &mut C,
        field: usize,
        like: &Block,
        index: usize,
        header: &mut Block,
        given: u8,
    ) {
        let last = |back: usize| u64::from(index.checked_sub(back).map_or(0, |index| header[index]));
        let (like, before) = (u64::from(like[index]), u64::from(self.before[index]));
        let contexts: [u64; CONTEXTS] = [
            1 << 40 | last(1),
            2 << 40 | like << 8 | field as u64,
            3 << 40 | before << 16 | like << 8 | u64::from(index.is_multiple_of(2)),
            4 << 40 | last(1) | last(2) << 8 | last(3) << 16,
            5 << 40 | (index as u64) << 16 | like << 8 | last(1),
        ];
        header[index] = self.symbol(coder, field, contexts, given);
    }

    fn symbol<C: Coder>(&mut self, coder: &mut C, mixed: usize, contexts: [u64; CONTEXTS], given: u8) -> u8 {
        let scale = self.scale;
        let mut node = 1u64;
        for bit in (0..8).rev() {
            let slots = contexts.map(|context| {
                ((context << 9 ^ node).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - TABLE_BITS)) as usize
            });
            for slot in slots {
                self.mixer.add(scale.logit(self.table[slot].one()));
            }
            let logit = self.mixer.mix(mixed);
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

impl Stretch {
    fn new(like: &[u8], given: &[u8]) -> Self {
        let before = like.iter().zip(given).take_while(|(like, given)| like == given).count();
        let ends = like[before..].iter().rev().zip(given[before..].iter().rev());
        let behind = ends.take_while(|(like, given)| like == given).count();
        let count = |text: &[u8]| (text.len() - before - behind) as u8;
        Self { before: before as u8, removed: count(like), inserted: count(given) }
    }
}

/// A field without the zeros at its end.
fn text(field: &[u8]) -> &[u8] {
    &field[..field.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1)]
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
    fn a_renamed_folder_costs_little_whatever_the_length_of_its_name() {
        let header = |folder: &str, n: u32| -> Block {
            lighter_tar::entry(&format!("opt/{folder}/lib/module-{}/index.js", n * 7919 % 1000), b'0', b"", "")
                .try_into()
                .unwrap()
        };
        for (old, new) in [("tool-3.1", "tool-3.2"), ("tool-3.9", "tool-3.10"), ("a-long-name-1.0", "b"), ("", "tool")]
        {
            let mut encoder = Encoder::new();
            let mut headers = Headers::new(Texts::ByStretches);
            for n in 0..1000 {
                headers.code(&mut encoder, Some(&header(old, n)), &header(new, n));
            }
            // Some tens of bytes for the first, and hardly a tenth of a bit for a field of each other header.
            assert!(encoder.bytes() < 250, "{old} -> {new}: {} bytes", encoder.bytes());
        }
    }

    #[test]
    fn texts_of_any_lengths_come_back() {
        let texts = ["", "a", "abcabc", "abc", "bcabcabc", "\u{0}x", "xx"].map(String::from);
        let long = ["y".repeat(100), format!("{}z", "y".repeat(99)), "yz".repeat(50)];
        let block = |text: &str| -> Block {
            let mut block = [0; 512];
            for (start, length) in TEXTS.map(|field| FIELDS[field]) {
                let text = &text.as_bytes()[..text.len().min(length)];
                block[start..start + text.len()].copy_from_slice(text);
            }
            block
        };
        let blocks: Vec<Block> = texts.iter().chain(&long).map(|text| block(text)).collect();
        let pairs = || blocks.iter().flat_map(|like| blocks.iter().map(move |given| (like, given)));
        let mut encoder = Encoder::new();
        let mut headers = Headers::new(Texts::ByStretches);
        for (like, given) in pairs() {
            headers.code(&mut encoder, Some(like), given);
        }
        let bytes = encoder.finish();
        let mut decoder = Decoder::new(&bytes);
        let mut headers = Headers::new(Texts::ByStretches);
        for (like, given) in pairs() {
            assert_eq!(headers.code(&mut decoder, Some(like), &[0; 512]), *given);
        }
        assert!(decoder.is_at_end());
    }

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
        let mut headers = Headers::new(Texts::ByStretches);
        for (index, (like, given)) in list.iter().enumerate() {
            headers.code(&mut encoder, Some(like), given);
            assert!(index != 199 || encoder.bytes() < 100, "{} bytes", encoder.bytes());
        }
        let bytes = encoder.finish();
        let mut decoder = Decoder::new(&bytes);
        let mut headers = Headers::new(Texts::ByStretches);
        for (like, given) in &list {
            assert_eq!(headers.code(&mut decoder, Some(like), &[0; 512]), *given);
        }
        assert!(decoder.is_at_end());
    }
}
