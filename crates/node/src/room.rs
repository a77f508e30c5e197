//! The store's outlook: a warning long before a pull finds no room.
//!
//! The store's capacity is its budget, or less if the disk has less. The warning counts what never gives way (images
//! that stay, pinned layers), not what is used: a healthy store is full of patches and old releases.

use lighter_store::Options;

use crate::api::StoreStatus;

/// Beyond this share of the capacity, what stays is a warning.
const STAYING_PERCENT_MAX: u64 = 80;
/// Room for fewer images of the largest size is a warning. A pull takes the room of the image, and of its patches while
/// it runs; and one more image may come to stay.
const SPARE_IMAGES_MIN: u64 = 3;

/// The warning that the operator gets before the store has no room for pulls; `None` while all is well.
pub fn warning(store: &StoreStatus) -> Option<String> {
    let on_disk = store.used_bytes + (store.disk_free_bytes - Options::default().disk_free_min);
    let capacity = store.bytes_max.min(on_disk);
    let (staying, largest) = (store.staying_bytes, store.image_bytes_max);
    let room = capacity - staying;
    let is_nearly_full = u128::from(staying.0) * 100 > u128::from(capacity.0) * u128::from(STAYING_PERCENT_MAX);
    if !is_nearly_full && room >= largest.times(SPARE_IMAGES_MIN) {
        return None;
    }
    let images = room.0.checked_div(largest.0).unwrap_or_default();
    let what = if on_disk < store.bytes_max { "free some of the disk" } else { "raise store.bytes_max" };
    Some(format!(
        "the store will be full: {staying} of the {capacity} that it can take never give way, and there is room for about \
         {images} more images of {largest}, the largest here: {what}, remove or unpin images, or lower store.releases_kept"
    ))
}

#[cfg(test)]
mod tests {
    use lighter_types::Bytes;

    use super::*;

    fn store(staying: u64, largest: u64) -> StoreStatus {
        StoreStatus {
            layers: 1,
            layer_bytes: Bytes(900),
            patches: 0,
            patch_bytes: Bytes(0),
            partial_patches: 0,
            blobs: 0,
            images: 1,
            image_bytes_max: Bytes(largest),
            staying_bytes: Bytes(staying),
            used_bytes: Bytes(900),
            bytes_max: Bytes(1000),
            disk_free_bytes: Bytes::GIB,
        }
    }

    #[test]
    fn the_warning_comes_while_there_is_room() {
        assert_eq!(warning(&store(0, 0)), None);
        assert_eq!(warning(&store(700, 100)), None);
        let text = warning(&store(701, 100)).unwrap();
        for part in ["701 B of the 1000 B", "about 2 more images of 100 B", "raise store.bytes_max", "unpin"] {
            assert!(text.contains(part), "{text:?} lacks {part:?}");
        }
        assert_eq!(warning(&store(800, 1)), None);
        assert!(warning(&store(801, 1)).unwrap().contains("about 199 more"));
        assert!(warning(&store(2000, 0)).unwrap().contains("about 0 more"));
    }

    #[test]
    fn a_disk_below_the_budget_counts() {
        let free = Options::default().disk_free_min + Bytes(50);
        let small = StoreStatus { disk_free_bytes: free, bytes_max: Bytes::GIB, ..store(700, 100) };
        let text = warning(&small).unwrap();
        assert!(text.contains("700 B of the 950 B") && text.contains("free some of the disk"), "{text}");
        assert_eq!(warning(&StoreStatus { staying_bytes: Bytes(600), ..small }), None);
    }
}
