//! The place and the result of the scrub on disk: node state, in the row `scrub`. A row that cannot be read is as none.
//!
//! The bytes, little endian: the layout's version (1); five numbers of eight bytes: since when the next pass is waited
//! for, when the last one ended (0: never), its bytes, its damaged files, and the bytes of the pass under way; its
//! damaged files (8); the kind of its last item (1; 0: no pass is under way), and the item's name.

use lighter_store::{Item, Store, StoreError};
use lighter_types::{DiffId, OciDigest, PatchId};

const SCRUB_VERSION: u8 = 1;
const STATE_KEY: &[u8] = b"scrub";
const NUMBERS: usize = 6;

/// Times are seconds since 1970.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// When the last pass ended, or the node first started: the next pass is due an interval later.
    pub since_s: u64,
    pub ended_s: Option<u64>,
    pub ended_bytes: u64,
    pub ended_damaged: u64,
    /// Counts of the pass under way.
    pub bytes: u64,
    pub damaged: u64,
    /// The last item that the pass under way has read.
    pub after: Option<Item>,
}

impl Record {
    /// The same without the pass under way.
    pub fn ended(&self) -> Self {
        Self { bytes: 0, damaged: 0, after: None, ..self.clone() }
    }
}

/// The record; an empty one if there is none.
pub fn kept(store: &Store) -> Record {
    store.state(STATE_KEY).ok().flatten().and_then(|value| read(&value)).unwrap_or_default()
}

/// # Errors
/// Those of the store's index.
pub fn keep(store: &Store, record: &Record) -> Result<(), StoreError> {
    store.put_state(STATE_KEY, &bytes_of(record))
}

fn bytes_of(record: &Record) -> Vec<u8> {
    let Record { since_s, ended_s, ended_bytes, ended_damaged, bytes, damaged, after } = record;
    let numbers = [*since_s, ended_s.unwrap_or(0), *ended_bytes, *ended_damaged, *bytes, *damaged];
    let (kind, name) = match after {
        None => (0, Vec::new()),
        Some(Item::Layer(id)) => (1, id.as_bytes().to_vec()),
        Some(Item::Blob(digest)) => (2, digest.as_bytes().to_vec()),
        Some(Item::Patch(id)) => (3, id.as_bytes().to_vec()),
        Some(Item::Image(reference)) => (4, reference.as_str().as_bytes().to_vec()),
    };
    let numbers = numbers.into_iter().flat_map(u64::to_le_bytes);
    std::iter::once(SCRUB_VERSION).chain(numbers).chain([kind]).chain(name).collect()
}

fn read(value: &[u8]) -> Option<Record> {
    let (_, rest) = value.split_first().filter(|(version, _)| **version == SCRUB_VERSION)?;
    let (numbers, rest) = rest.split_at_checked(NUMBERS * 8)?;
    let (numbers, _) = numbers.as_chunks::<8>();
    let numbers: [[u8; 8]; NUMBERS] = numbers.try_into().ok()?;
    let [since_s, ended_s, ended_bytes, ended_damaged, bytes, damaged] = numbers.map(u64::from_le_bytes);
    let (kind, name) = rest.split_first()?;
    let after = match kind {
        0 if name.is_empty() => None,
        1 => Some(Item::Layer(DiffId::new(name.try_into().ok()?))),
        2 => Some(Item::Blob(OciDigest::new(name.try_into().ok()?))),
        3 => Some(Item::Patch(PatchId::new(name.try_into().ok()?))),
        4 => Some(Item::Image(std::str::from_utf8(name).ok()?.parse().ok()?)),
        _ => return None,
    };
    let ended_s = Some(ended_s).filter(|time| *time != 0);
    Some(Record { since_s, ended_s, ended_bytes, ended_damaged, bytes, damaged, after })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(after: Option<Item>) -> Record {
        Record { since_s: 1, ended_s: Some(2), ended_bytes: 3, ended_damaged: 4, bytes: 5, damaged: 6, after }
    }

    #[test]
    fn a_record_comes_back_with_every_kind_of_item() {
        let items = [
            None,
            Some(Item::Layer(DiffId::new([7; 32]))),
            Some(Item::Blob(OciDigest::new([8; 32]))),
            Some(Item::Patch(PatchId::new([9; 32]))),
            Some(Item::Image("demo/app:1".parse().unwrap())),
        ];
        for item in items {
            let record = record(item);
            let bytes = bytes_of(&record);
            assert_eq!(read(&bytes), Some(record));
            for end in 0..50 {
                assert_eq!(read(&bytes[..end.min(bytes.len() - 1)]), None);
            }
        }
        let never = Record::default();
        assert_eq!(read(&bytes_of(&never)), Some(never));
    }

    /// A change of these bytes is another version.
    #[test]
    fn a_record_has_these_bytes() {
        let mut expected = vec![1];
        (1..=6u64).for_each(|number| expected.extend(number.to_le_bytes()));
        expected.push(4);
        expected.extend(b"demo/app:1");
        assert_eq!(bytes_of(&record(Some(Item::Image("demo/app:1".parse().unwrap())))), expected);
    }
}
