//! The blocks of an executable's fatbins: those that changed, each with the blocks of the bases that it may have been
//! changed from. See [`crate::compressed::fatbin`].

use std::collections::HashSet;
use std::io;
use std::ops::Range;

use lighter_types::ReadAt;

use crate::compressed::fatbin::{self, CONTAINER_HEADER_BYTES, HEADER_BYTES};
use crate::compressed::lz4;

use super::counterparts::{Found, counterparts};
use super::elf;
use super::files::EntryId;
use super::zip::Member;

/// The section that has the containers.
const SECTION: &[u8] = b".nv_fatbin";
/// Most blocks of an executable that are looked at.
const BLOCKS_MAX: usize = 1 << 16;
/// Shorter contents are not worth it.
const PLAIN_BYTES_MIN: u64 = 256;
/// So much of a block tells its name: names of sections stand at the front of its content.
const FRONT_BYTES: u64 = 8 << 10;
const FRONT_PLAIN_BYTES: usize = 4 << 10;
const NAME_BYTES_MAX: usize = 512;

/// A block of code for one processor.
struct Block {
    /// Its header and itself.
    range: Range<u64>,
    header_bytes: u64,
    plain_bytes: u64,
    processor: u32,
    hash: blake3::Hash,
}

/// The changed blocks of the executable at `content`; none if it is not one. `bases` has what it may have been changed
/// from.
///
/// # Errors
/// The error of a reader.
pub fn find(
    target: &dyn ReadAt,
    content: &Range<u64>,
    bases: &[(EntryId, &dyn ReadAt, Range<u64>)],
) -> io::Result<Vec<Found>> {
    let new = blocks(target, content)?;
    if new.is_empty() {
        return Ok(Vec::new());
    }
    let mut old = Vec::new();
    for (id, layer, content) in bases {
        old.push((*id, *layer, blocks(*layer, content)?));
    }
    let known: HashSet<blake3::Hash> =
        old.iter().flat_map(|(.., blocks)| blocks.iter().map(|block| block.hash)).collect();
    let kept: HashSet<blake3::Hash> = new.iter().map(|block| block.hash).collect();
    let changed: Vec<Block> = new.into_iter().filter(|block| !known.contains(&block.hash)).collect();
    if changed.is_empty() {
        return Ok(Vec::new());
    }
    let members = members(target, &changed)?;
    let mut from: Vec<Vec<(EntryId, Range<u64>)>> = vec![Vec::new(); changed.len()];
    for (id, layer, blocks) in &old {
        let names = self::members(*layer, blocks)?;
        let mut open: Vec<usize> = (0..changed.len()).collect();
        // Those that are gone first. The others were hardly changed into something else, but code for one processor
        // resembles other code for it.
        for is_gone in [true, false] {
            let offered = blocks.iter().zip(&names).filter(|(block, _)| !is_gone || !kept.contains(&block.hash));
            let (offered, offered_names): (Vec<&Block>, Vec<&Member>) = offered.unzip();
            let asked: Vec<Member> = open.iter().map(|&index| members[index].clone()).collect();
            let counterparts = counterparts(&asked, &offered_names);
            for (&index, counterpart) in open.iter().zip(&counterparts) {
                let Some(counterpart) = counterpart.map(|counterpart| offered[counterpart]) else { continue };
                from[index].push((*id, counterpart.range.clone()));
            }
            let mut found = counterparts.iter().map(Option::is_some);
            open.retain(|_| found.next() == Some(false));
        }
    }
    share_out(&old, &kept, &mut from);
    let with_counterpart = changed.into_iter().zip(from).filter(|(_, from)| !from.is_empty());
    let found = with_counterpart.map(|(block, from)| Found { at: block.range, plain_bytes: block.plain_bytes, from });
    Ok(found.collect())
}

/// Gives the blocks that are gone and nobody's counterpart to the new ones in turn: together, these are matched with
/// all that any of them has.
fn share_out(
    old: &[(EntryId, &dyn ReadAt, Vec<Block>)],
    kept: &HashSet<blake3::Hash>,
    from: &mut [Vec<(EntryId, Range<u64>)>],
) {
    let taken: HashSet<(EntryId, u64)> = from.iter().flatten().map(|(id, range)| (*id, range.start)).collect();
    let all = old.iter().flat_map(|(id, _, blocks)| blocks.iter().map(move |block| (*id, block)));
    let left = all.filter(|(id, block)| !kept.contains(&block.hash) && !taken.contains(&(*id, block.range.start)));
    let count = from.len().max(1);
    for (index, (id, block)) in left.enumerate() {
        if let Some(from) = from.get_mut(index % count) {
            from.push((id, block.range.clone()));
        }
    }
}

/// The blocks of the fatbins of an executable, in their order.
fn blocks(layer: &dyn ReadAt, content: &Range<u64>) -> io::Result<Vec<Block>> {
    let mut blocks = Vec::new();
    let image = elf::image(layer, content.start, content.end - content.start);
    let section = image.and_then(|image| image.sections.into_iter().find(|section| section.name == SECTION));
    let Some(section) = section else { return Ok(blocks) };
    let mut at = content.start.saturating_add(section.offset);
    let end = at.saturating_add(section.bytes).min(content.end);
    // An element or a container may claim to end at the last number that there is.
    while at.saturating_add(CONTAINER_HEADER_BYTES as u64) <= end {
        let mut header = [0; CONTAINER_HEADER_BYTES];
        layer.read_exact_at(&mut header, at)?;
        let Some((header_bytes, elements_bytes)) = fatbin::container(&header) else { break };
        let container_end = at.saturating_add(header_bytes).saturating_add(elements_bytes);
        let mut place = at + header_bytes.max(1);
        at = container_end.max(place);
        while place.saturating_add(HEADER_BYTES as u64) <= container_end.min(end) && blocks.len() < BLOCKS_MAX {
            let mut header = [0; HEADER_BYTES];
            layer.read_exact_at(&mut header, place)?;
            let Some(element) = fatbin::element(&header) else { break };
            let start = place;
            place = place.saturating_add(element.bytes);
            let Some(block_bytes) = element.block_bytes.filter(|_| place <= end) else { continue };
            let range = start..start + element.header_bytes + block_bytes;
            let is_fit = (PLAIN_BYTES_MIN..=fatbin::PLAIN_BYTES_MAX as u64).contains(&element.plain_bytes);
            if is_fit && block_bytes <= fatbin::PLAIN_BYTES_MAX as u64 {
                let mut bytes = vec![0; block_bytes as usize];
                layer.read_exact_at(&mut bytes, start + element.header_bytes)?;
                blocks.push(Block {
                    range,
                    header_bytes: element.header_bytes,
                    plain_bytes: element.plain_bytes,
                    processor: element.processor,
                    hash: blake3::hash(&bytes),
                });
            }
        }
    }
    Ok(blocks)
}

/// Blocks as members of an archive: each has the name of the first function in it, and the processor as its extension.
fn members(layer: &dyn ReadAt, blocks: &[Block]) -> io::Result<Vec<Member>> {
    let member = |block: &Block| {
        let Range { start, end } = block.range.start + block.header_bytes..block.range.end;
        let mut front = vec![0; (end - start).min(FRONT_BYTES) as usize];
        layer.read_exact_at(&mut front, start)?;
        let plain = lz4::front(&front, FRONT_PLAIN_BYTES).unwrap_or_default();
        let mut name = function(&plain).to_vec();
        name.extend(format!(".{}", block.processor).bytes());
        Ok(Member { name, crc: 0, plain_bytes: block.plain_bytes, stream: block.range.clone() })
    };
    blocks.iter().map(member).collect()
}

/// The name of the first function of a processor's program: the name of its section says it.
fn function(plain: &[u8]) -> &[u8] {
    const PREFIX: &[u8] = b".text.";
    let start = plain.windows(PREFIX.len()).position(|bytes| bytes == PREFIX);
    let name = start.map_or(&[][..], |start| &plain[start + PREFIX.len()..]);
    let end = name.iter().position(|&byte| byte == 0).unwrap_or(name.len());
    &name[..end.min(NAME_BYTES_MAX)]
}
