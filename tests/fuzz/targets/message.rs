//! Every message of the wire: the first byte picks its kind. A message that decodes, encodes, and comes back the same.
//! (Its bytes may differ: bincode reads numbers that are longer than they need to be.)
#![no_main]

use std::fmt::Debug;

use libfuzzer_sys::fuzz_target;
use lighter_wire::{
    Announcement, Answer, ImageRecipes, Message, PatchReply, PatchRequest, Request, SignedHandover, SignedRelease,
};

fn check<M: Message + PartialEq + Debug>(bytes: &[u8]) {
    let Ok(message) = M::decode(bytes) else { return };
    // A longer spelling of a number may decode from fewer bytes than the limit, and never encodes to more.
    let encoded = message.encode().expect("what was read is within its limit");
    assert_eq!(M::decode(&encoded).expect("what was made is read"), message);
}

fuzz_target!(|bytes: &[u8]| {
    let [kind, bytes @ ..] = bytes else { return };
    match kind % 8 {
        0 => check::<Announcement>(bytes),
        1 => check::<Request>(bytes),
        2 => check::<Answer>(bytes),
        3 => check::<PatchRequest>(bytes),
        4 => check::<PatchReply>(bytes),
        5 => check::<SignedRelease>(bytes),
        6 => check::<ImageRecipes>(bytes),
        _ => check::<SignedHandover>(bytes),
    }
});
