//! The dates of this node's releases: each later than all releases of that repository before it, whatever the clock
//! shows, and if several are imported within a second. So the order of releases is the order of imports.
//!
//! Peers keep a release after it is removed here. So the latest date of a removed release is remembered, in one row: a
//! clock that was years ahead would otherwise hide the next release of the name for years.

use lighter_store::{Store, StoreError, UnixSeconds};
use lighter_types::ImageReference;

use super::{release_of, released_at};

/// The row's key; its value is the date, 8 bytes, little endian.
const REMOVED: &[u8] = b"removed/issued";

/// The date of a new release.
///
/// # Errors
/// If the store's index cannot be read.
pub fn next(store: &Store, reference: &ImageReference, now: UnixSeconds) -> Result<u64, StoreError> {
    let images = store.references();
    let releases = images.iter().filter(|(name, _)| name.repository() == reference.repository());
    let last = releases.filter_map(|(_, image)| released_at(&image.release_record)).max().unwrap_or_default();
    let is_named = images.iter().any(|(name, _)| name == reference);
    let before = if is_named { last.0 } else { last.0.max(removed(store)?) };
    Ok(now.0.max(before.saturating_add(1)))
}

/// Removes a name, and remembers the date of its release.
///
/// # Errors
/// As [`Store::remove_reference`].
pub fn remove(store: &Store, reference: &ImageReference) -> Result<(), StoreError> {
    if let Some(release) = release_of(store, reference) {
        let latest = release.release.issued_s.max(removed(store)?);
        store.put_state(REMOVED, &latest.to_le_bytes())?;
    }
    store.remove_reference(reference)
}

/// 0 if none was removed.
fn removed(store: &Store) -> Result<u64, StoreError> {
    let row = store.state(REMOVED)?;
    Ok(row.and_then(|row| row.try_into().ok()).map_or(0, u64::from_le_bytes))
}

#[cfg(test)]
mod tests {
    use lighter_store::{Image, Options};
    use lighter_types::{OciDigest, PeerId};
    use lighter_wire::{Message, Release, SIGNATURE_BYTES, SignedRelease};
    use sha2::{Digest, Sha256};

    use super::*;

    fn name(store: &Store, reference: &ImageReference, issued_s: u64) {
        let manifest = OciDigest::new(Sha256::digest(b"{}").into());
        store.put_blob(&manifest, b"{}", UnixSeconds(1)).unwrap();
        let release = Release { reference: reference.clone(), manifest, issued_s, companions: None };
        let record = SignedRelease { release, publisher: PeerId::new([2; 32]), signature: [3; SIGNATURE_BYTES] };
        let image = Image { manifest, config: manifest, layers: Vec::new(), release_record: record.encode().unwrap() };
        store.set_reference(reference, image).unwrap();
    }

    #[test]
    fn a_release_is_later_than_the_last_of_its_repository_even_if_that_was_removed() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), Options::default()).unwrap();
        let (first, second) = ("demo/app:1".parse().unwrap(), "demo/other:1".parse().unwrap());
        let (now, future) = (UnixSeconds(1_796_000_000), 4_000_000_000);
        assert_eq!(next(&store, &first, now).unwrap(), now.0);
        // The clock was years ahead.
        name(&store, &first, future);
        assert_eq!(next(&store, &first, now).unwrap(), future + 1);
        assert_eq!(next(&store, &"demo/app:2".parse().unwrap(), now).unwrap(), future + 1);
        assert_eq!(next(&store, &second, now).unwrap(), now.0);
        name(&store, &second, now.0);
        remove(&store, &first).unwrap();
        remove(&store, &second).unwrap();
        drop(store);
        let store = Store::open(folder.path(), Options::default()).unwrap();
        assert_eq!(next(&store, &first, now).unwrap(), future + 1);
    }
}
