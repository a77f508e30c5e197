//! Have-lists: one that decodes, encodes to the same bytes, and stands for a base that can be read where nothing of it
//! was found.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lighter_patch::HaveList;
use lighter_types::ReadAt;

fuzz_target!(|bytes: &[u8]| {
    let Ok(list) = HaveList::decode(bytes) else { return };
    assert_eq!(list.encode(), bytes);
    let gathered = list.gather(&[], 1).expect("there is nothing to be read");
    let mut end = [1; 512];
    gathered.read_exact_at(&mut end, gathered.len().0 - 512).expect("as many bytes as it says");
    assert_eq!((gathered.found(), end), (0, [0; 512]));
});
