//! The lists of other peers on disk: what they held when this node last heard, so that they need not send it again
//! after a restart.
//!
//! A list is node state, in rows under `list/`, the PeerId and the number of the row. Together the rows of a peer are a
//! byte with the layout's version, and the answer with all layers that the peer would give (docs/WIRE.md). A list that
//! cannot be read is dropped: the peer is asked for all of it.

use std::collections::BTreeMap;

use lighter_engine::{KeptList, Settings};
use lighter_store::{Store, StoreError};
use lighter_types::PeerId;
use lighter_wire::{Answer, Holdings, Incarnation, Listed, Message};

/// The layout of a list. It changes with that of an answer, [`lighter_wire::ASK_PROTOCOL`].
const LIST_VERSION: u8 = 1;
const STATE_PREFIX: &[u8] = b"list/";
/// Bytes of a list in one row.
const ROW_BYTES_MAX: usize = 48 << 10;
/// Rows of the longest list. A card has 86 bytes at most, and the rest of an answer fits into the last row.
const ROWS_MAX: usize = Settings::LAYERS_PER_PEER_MAX * 86 / ROW_BYTES_MAX + 1;

/// The rows of one peer: their keys, and their bytes together.
#[derive(Default)]
struct Rows {
    keys: Vec<Vec<u8>>,
    bytes: Vec<u8>,
}

/// All lists that were kept and can be read. Others are deleted.
pub fn kept(store: &Store) -> Vec<KeptList> {
    let mut rows: BTreeMap<Vec<u8>, Rows> = BTreeMap::new();
    for (key, value) in store.states(STATE_PREFIX).unwrap_or_default() {
        let peer = key[STATE_PREFIX.len()..].split_last().map_or(&[][..], |(_, peer)| peer);
        let of_peer = rows.entry(peer.to_vec()).or_default();
        of_peer.keys.push(key);
        of_peer.bytes.extend(value);
    }
    let mut lists = Vec::new();
    for (name, Rows { keys, bytes }) in rows {
        match read(&name, &bytes) {
            Some(list) => lists.push(list),
            None => {
                tracing::info!("a list of a peer's layers cannot be read and is dropped");
                if let Err(error) = store.change_states(keys.into_iter().map(|key| (key, None)).collect()) {
                    tracing::warn!(%error, "it cannot be deleted");
                }
            }
        }
    }
    lists
}

/// Keeps lists in place of those of the same peers; an empty one is not kept.
///
/// # Errors
/// Those of the store's index.
pub fn keep(store: &Store, lists: &[KeptList]) -> Result<(), StoreError> {
    let mut changes = Vec::new();
    for list in lists {
        let bytes = bytes_of(list);
        let mut rows = bytes.chunks(ROW_BYTES_MAX);
        for row in 0..ROWS_MAX as u8 {
            changes.push((key(list.peer.as_bytes(), row), rows.next().map(<[u8]>::to_vec)));
        }
    }
    store.change_states(changes)
}

fn key(peer: &[u8], row: u8) -> Vec<u8> {
    [STATE_PREFIX, peer, &[row]].concat()
}

/// The bytes of a list; none if it is empty.
fn bytes_of(list: &KeptList) -> Vec<u8> {
    let answer = Answer::Holdings(Holdings::all(Incarnation(0), 0, None, list.cards.clone())).encode();
    match answer {
        Ok(answer) if !list.cards.is_empty() => [&[LIST_VERSION][..], &answer].concat(),
        _ => Vec::new(),
    }
}

fn read(peer: &[u8], bytes: &[u8]) -> Option<KeptList> {
    let peer = PeerId::new(peer.try_into().ok()?);
    let (_, answer) = bytes.split_first().filter(|(version, _)| **version == LIST_VERSION)?;
    let Answer::Holdings(Holdings { digest, list: Listed::All(cards), .. }) = Answer::decode(answer).ok()? else {
        return None;
    };
    let is_whole = cards.iter().map(|card| card.diff_id).collect::<lighter_wire::ListDigest>() == digest;
    is_whole.then_some(KeptList { peer, cards })
}

#[cfg(test)]
mod tests {
    use lighter_store::Options;
    use lighter_types::{Bytes, Card, DiffId, Tlsh};

    use super::*;

    fn list(name: u8, layers: usize) -> KeptList {
        KeptList { peer: PeerId::new([name; 32]), cards: (0..layers).map(card).collect() }
    }

    fn card(number: usize) -> Card {
        let mut id = [0; 32];
        id[..8].copy_from_slice(&number.to_le_bytes());
        let (tar_bytes, compressed_bytes) = (Bytes(u64::MAX), Bytes(u64::MAX));
        Card { diff_id: DiffId::new(id), tar_bytes, compressed_bytes, tlsh: Some(Tlsh::new([9; 35])) }
    }

    #[test]
    fn kept_lists_come_back_and_take_the_place_of_earlier_ones() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open_memory(folder.path(), Options::default()).unwrap();
        let longest = list(1, Settings::LAYERS_PER_PEER_MAX);
        keep(&store, &[longest.clone(), list(2, 3)]).unwrap();
        assert_eq!(kept(&store), [longest, list(2, 3)]);
        keep(&store, &[list(1, 2), list(2, 0)]).unwrap();
        assert_eq!(kept(&store), [list(1, 2)]);
        assert_eq!(store.states(STATE_PREFIX).unwrap().len(), 1);
    }

    #[test]
    fn rows_that_are_no_list_are_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open_memory(folder.path(), Options::default()).unwrap();
        keep(&store, &[list(1, 2000), list(2, 2), list(3, 2), list(4, 2), list(5, 2)]).unwrap();
        store.delete_state(&key(&[1; 32], 1)).unwrap();
        store.put_state(&key(&[2; 32], 0), &[LIST_VERSION + 1, 0]).unwrap();
        let mut changed = bytes_of(&list(3, 2));
        changed[30] ^= 1;
        store.put_state(&key(&[3; 32], 0), &changed).unwrap();
        store.put_state(b"list/", b"no name").unwrap();
        store.put_state(b"list/short", &bytes_of(&list(4, 2))).unwrap();
        store.put_state(&key(&[4; 32], 200), b"a row too many").unwrap();
        assert_eq!(kept(&store), [list(5, 2)]);
        assert_eq!(store.states(STATE_PREFIX).unwrap().len(), 1);
    }

    /// A change of these bytes is another version.
    #[test]
    fn a_list_has_these_bytes() {
        let card = Card { diff_id: DiffId::new([7; 32]), tar_bytes: Bytes(1), compressed_bytes: Bytes(2), tlsh: None };
        let list = KeptList { peer: PeerId::new([1; 32]), cards: vec![card] };
        let expected = [&[1, 0, 0, 0, 0][..], &[7; 16], &[2, 1], &[7; 32], &[1, 2, 0]].concat();
        assert_eq!(bytes_of(&list), expected);
        assert_eq!(read(&[1; 32], &expected), Some(list));
    }
}
