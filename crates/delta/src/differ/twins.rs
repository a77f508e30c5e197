//! Twins: contents that no base has, but that stand earlier in the target. They become copies of the target itself.

use std::collections::HashMap;
use std::io;

use crate::parallel;

use super::draft::Draft;
use super::files::{Entry, equal, hash};
use super::steps::{From, Layers};

/// Shorter contents cost about as much as a copy.
const TWIN_BYTES_MIN: u64 = 256;

/// Makes a copy of each open content that equals an earlier open content.
///
/// Reads the contents whose length another content has too, and holds 32 bytes for each.
///
/// # Errors
/// The error of the target's reader.
pub fn copy(layers: &Layers<'_>, drafts: &mut [(&Entry, Draft)], threads: usize) -> io::Result<()> {
    let mut by_bytes: HashMap<u64, usize> = HashMap::new();
    let is_candidate = |(entry, draft): &(&Entry, Draft)| entry.content_bytes >= TWIN_BYTES_MIN && draft.is_open(entry);
    for (entry, _) in drafts.iter().filter(|draft| is_candidate(draft)) {
        *by_bytes.entry(entry.content_bytes).or_default() += 1;
    }
    let candidates: Vec<usize> = (0..drafts.len())
        .filter(|&index| is_candidate(&drafts[index]) && by_bytes[&drafts[index].0.content_bytes] > 1)
        .collect();
    let hashes = parallel::map(&candidates, threads, |&index| hash(layers.target, drafts[index].0))?;
    let mut first: HashMap<blake3::Hash, &Entry> = HashMap::new();
    for (index, hash) in candidates.into_iter().zip(hashes) {
        let (entry, draft) = &mut drafts[index];
        let earlier = *first.entry(hash).or_insert(entry);
        if earlier.start == entry.start {
            continue;
        }
        // With the padding, if the padding is equal too.
        let content_bytes = entry.content_bytes;
        let (whole, earlier_whole) = (entry.end - entry.content, earlier.end - earlier.content);
        let padding = (layers.target, earlier.content + content_bytes);
        let padded = whole == earlier_whole
            && equal(padding, (layers.target, entry.content + content_bytes), whole - content_bytes)?;
        draft.copy(From::Target(earlier.content), if padded { whole } else { content_bytes });
    }
    Ok(())
}
