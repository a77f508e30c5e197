//! The headers of an entry: each block is compared with one of an entry of a base.

use std::io;

use super::files::{Entry, equal};
use super::steps::{From, Kind, Layers, Planned, push};

/// The header blocks of an entry, each compared with the block of an entry that it may be like.
///
/// # Errors
/// The error of a reader.
pub fn headers(layers: &Layers<'_>, entry: &Entry, like: Option<(usize, &Entry)>) -> io::Result<Vec<Planned>> {
    let mut steps = Vec::new();
    let blocks = |entry: &Entry| (entry.content - entry.start) / 512;
    for block in 0..blocks(entry) {
        let at = entry.start + 512 * block;
        // Counted from the end: the last block is the entry's own, the blocks before it are extensions.
        let back = blocks(entry) - block;
        let like = like.filter(|(_, like)| blocks(like) >= back).map(|(base, like)| (base, like.content - 512 * back));
        let kind = match like {
            None => Kind::NewHeader,
            Some((base, offset)) => {
                let address = layers.address(base, offset);
                if equal((layers.target, at), (layers.bases[base], offset), 512)? {
                    Kind::Copy(From::Address(address))
                } else {
                    Kind::Header(address)
                }
            }
        };
        let cost = if kind == Kind::NewHeader { 40 } else { 8 };
        push(&mut steps, Planned { kind, at, bytes: 512, cost });
    }
    Ok(steps)
}

/// The entry of a base that most of a content comes from, by its longest step. A name says less, where a thousand files
/// have it.
pub fn origin<'f>(layers: &Layers<'_>, bases: &'f [Vec<Entry>], content: &[Planned]) -> Option<(usize, &'f Entry)> {
    let (_, address) = content.iter().filter_map(source).max_by_key(|(bytes, _)| *bytes)?;
    let (base, offset) = layers.place(address);
    let entries = &bases[base];
    let index = entries.partition_point(|entry| entry.start <= offset).checked_sub(1)?;
    Some((base, &entries[index]))
}

/// How many bytes a step makes from a base, and from which address.
fn source(step: &Planned) -> Option<(u64, u64)> {
    if let Kind::Stream(stream) = &step.kind {
        return stream.steps.iter().filter_map(source).max_by_key(|(bytes, _)| *bytes);
    }
    let (Kind::Copy(from) | Kind::Match(from)) = step.kind else { return None };
    match from {
        From::Address(address) => Some((step.bytes, address)),
        From::Inflated { stream, .. } => Some((step.bytes, stream.from)),
        From::Target(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use lighter_types::Effort;

    use super::super::{Drafted, Files, Search, plan};
    use super::*;

    /// Many files of one name, of which each content differs by a number: in folders, with another line at their ends.
    fn layer(folder: &str, end: &str) -> Vec<u8> {
        let file = |n: u32| {
            let mut content = String::new();
            // The number is one that the path does not have.
            let id = n.wrapping_mul(2_654_435_761);
            (0..60).for_each(|line| write!(content, "def run_{id}_{line}():\n    return {line}\n").unwrap());
            lighter_tar::entry(&format!("site/{folder}{n}/__init__.py"), b'0', (content + end).as_bytes(), "")
        };
        (0..400).flat_map(file).chain([0; 1024]).collect()
    }

    #[test]
    fn a_header_is_compared_with_that_of_the_file_whose_content_it_has() {
        let (base, target) = (layer("m", ""), layer("n", "# v2\n"));
        for effort in Effort::WITH_BASES {
            let mut layers = Layers::new(&target, vec![&base]);
            let files = Files::of(&layers, 1).unwrap();
            let drafted = Drafted::new(&layers, &files, 1).unwrap();
            let steps = plan(&mut layers, drafted, &Search::new(effort, 64 << 20, 1)).unwrap();
            let mut headers = 0;
            for entry in steps.chunk_by(|_, next| !matches!(next.kind, Kind::Header(_))) {
                let Kind::Header(header) = entry[0].kind else { continue };
                headers += 1;
                let longest = entry.iter().filter_map(source).max();
                let content = header + 512..header + 512 + 4096;
                assert!(longest.is_some_and(|(_, address)| content.contains(&address)), "{effort:?}: {entry:?}");
            }
            assert_eq!(headers, 400, "{effort:?}");
        }
    }
}
