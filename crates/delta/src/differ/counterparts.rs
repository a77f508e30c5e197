//! Pairs the members of an archive, or the blocks of a fatbin, with those of a base.

use std::collections::BTreeSet;
use std::ops::Range;

use super::files::EntryId;
use super::names::without_versions;
use super::zip::Member;

/// A stream that was found.
pub struct Found {
    /// Where it stands; of an xz file, where the file stands, and of a fatbin's block, the block with its header.
    pub at: Range<u64>,
    /// About how long its content is.
    pub plain_bytes: u64,
    pub from: Vec<(EntryId, Range<u64>)>,
}

/// For each member, the member of a base that it may have been changed from: the one of the same name, else of the same
/// name without versions, else of the same extension; of several, the nearest in length.
pub fn counterparts(members: &[Member], base: &[&Member]) -> Vec<Option<usize>> {
    let mut found: Vec<Option<usize>> = vec![None; members.len()];
    let mut is_taken = vec![false; base.len()];
    let path_without_versions = |path: &[u8]| without_versions(path).collect();
    for key in [<[u8]>::to_vec, path_without_versions, extension] {
        // By key and length.
        let mut left: BTreeSet<(Vec<u8>, u64, usize)> = BTreeSet::new();
        for (index, member) in base.iter().enumerate().filter(|(index, _)| !is_taken[*index]) {
            left.insert((key(&member.name), member.plain_bytes, index));
        }
        for (member, found) in members.iter().zip(&mut found).filter(|(_, found)| found.is_none()) {
            let wanted = (key(&member.name), member.plain_bytes, 0);
            let same = |other: &&(Vec<u8>, u64, usize)| other.0 == wanted.0;
            let longer = left.range(&wanted..).next().filter(same);
            let shorter = left.range(..&wanted).next_back().filter(same);
            let nearest = longer.into_iter().chain(shorter).min_by_key(|other| other.1.abs_diff(wanted.1)).cloned();
            if let Some(taken) = nearest {
                *found = Some(taken.2);
                is_taken[taken.2] = true;
                left.remove(&taken);
            }
        }
    }
    found
}

fn extension(name: &[u8]) -> Vec<u8> {
    let file = name.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
    let dot = file.iter().rposition(|&byte| byte == b'.');
    dot.map_or(Vec::new(), |dot| file[dot..].to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(members: &[(&str, u64)], base: &[(&str, u64)], expected: &[Option<usize>]) {
        let all = |members: &[(&str, u64)]| -> Vec<Member> {
            let member = |&(name, plain_bytes): &(&str, u64)| Member {
                name: name.as_bytes().to_vec(),
                crc: 0,
                plain_bytes,
                stream: 0..0,
            };
            members.iter().map(member).collect()
        };
        let base = all(base);
        assert_eq!(counterparts(&all(members), &base.iter().collect::<Vec<_>>()), expected);
    }

    #[test]
    fn members_are_paired_by_name_then_version_then_kind() {
        check(&[("a", 9), ("b", 9)], &[("b", 9), ("a", 1)], &[Some(1), Some(0)]);
        check(&[("p-1.2.dist-info/R", 9), ("q/R", 9)], &[("p-1.1.dist-info/R", 1)], &[Some(0), None]);
        let base = [("old.js", 50), ("x.js", 9), ("older.js", 20)];
        check(&[("x.js", 50), ("new.js", 30), ("z.css", 9)], &base, &[Some(1), Some(2), None]);
        check(&[("a", 5), ("a", 5), ("a", 5)], &[("a", 6), ("a", 5)], &[Some(1), Some(0), None]);
    }
}
