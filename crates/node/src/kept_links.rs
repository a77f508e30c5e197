//! The links to other nodes on disk: what transfers showed of them, for the plans of the next life.
//!
//! A link is node state, in a row under `link/` and the PeerId: a byte with the layout's version, then down, up (bytes
//! a second), round trip (microseconds) and losses (per mille), eight bytes each, little endian; all ones where a
//! figure is not known. A row that cannot be read is dropped.

use std::time::Duration;

use lighter_engine::Settings;
use lighter_store::{Store, StoreError};
use lighter_types::{BytesPerSecond, Link, PeerId};

const LINK_VERSION: u8 = 1;
const STATE_PREFIX: &[u8] = b"link/";
const UNKNOWN: u64 = u64::MAX;

/// All links that were kept and can be read.
pub fn kept(store: &Store) -> Vec<(PeerId, Link)> {
    let states = store.states(STATE_PREFIX).unwrap_or_default();
    states.iter().filter_map(|(key, value)| read(key, value)).take(Settings::LINKS_MAX).collect()
}

/// Keeps a link in place of what was kept of it; or forgets it.
///
/// # Errors
/// Those of the store's index.
pub fn keep(store: &Store, peer: PeerId, link: Option<Link>) -> Result<(), StoreError> {
    store.change_states(vec![([STATE_PREFIX, peer.as_bytes()].concat(), link.map(bytes_of))])
}

fn bytes_of(link: Link) -> Vec<u8> {
    let parts = [
        link.down.map(|rate| rate.0),
        link.up.map(|rate| rate.0),
        link.round_trip.map(|time| u64::try_from(time.as_micros()).unwrap_or(UNKNOWN)),
        link.lost_per_mille.map(u64::from),
    ];
    let parts = parts.into_iter().flat_map(|part| part.unwrap_or(UNKNOWN).to_le_bytes());
    std::iter::once(LINK_VERSION).chain(parts).collect()
}

fn read(key: &[u8], value: &[u8]) -> Option<(PeerId, Link)> {
    let peer = PeerId::new(key.strip_prefix(STATE_PREFIX)?.try_into().ok()?);
    let (_, parts) = value.split_first().filter(|(version, _)| **version == LINK_VERSION)?;
    let (parts, rest) = parts.as_chunks::<8>();
    let parts: [[u8; 8]; 4] = parts.try_into().ok().filter(|_| rest.is_empty())?;
    let [down, up, round_trip, lost] = parts.map(|part| Some(u64::from_le_bytes(part)).filter(|part| *part != UNKNOWN));
    let lost_per_mille = match lost {
        Some(lost) => Some(u16::try_from(lost).ok().filter(|lost| *lost <= 1000)?),
        None => None,
    };
    let round_trip = round_trip.map(Duration::from_micros);
    Some((peer, Link { down: down.map(BytesPerSecond), up: up.map(BytesPerSecond), round_trip, lost_per_mille }))
}

#[cfg(test)]
mod tests {
    use lighter_store::Options;

    use super::*;

    #[test]
    fn kept_links_come_back_until_they_are_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open_memory(folder.path(), Options::default()).unwrap();
        let whole = Link {
            down: Some(BytesPerSecond(1)),
            up: Some(BytesPerSecond(2)),
            round_trip: Some(Duration::from_micros(3)),
            lost_per_mille: Some(4),
        };
        let (first, second) = (PeerId::new([1; 32]), PeerId::new([2; 32]));
        keep(&store, first, Some(Link::default())).unwrap();
        keep(&store, first, Some(whole)).unwrap();
        keep(&store, second, Some(Link::default())).unwrap();
        store.put_state(b"link/short", &bytes_of(whole)).unwrap();
        store.put_state(&[STATE_PREFIX, &[3; 32]].concat(), &[1, 2]).unwrap();
        let lossy = Link { lost_per_mille: Some(1001), ..whole };
        keep(&store, PeerId::new([4; 32]), Some(lossy)).unwrap();
        assert_eq!(kept(&store), [(first, whole), (second, Link::default())]);
        keep(&store, first, None).unwrap();
        assert_eq!(kept(&store), [(second, Link::default())]);
    }

    /// A change of these bytes is another version.
    #[test]
    fn a_link_has_these_bytes() {
        let link = Link { up: Some(BytesPerSecond(258)), lost_per_mille: Some(7), ..Link::default() };
        let unknown = [0xff; 8];
        let expected = [&[1][..], &unknown, &[2, 1, 0, 0, 0, 0, 0, 0], &unknown, &[7, 0, 0, 0, 0, 0, 0, 0]].concat();
        assert_eq!(bytes_of(link), expected);
    }
}
