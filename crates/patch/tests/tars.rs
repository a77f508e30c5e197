//! Tars that changed in any way are rebuilt byte for byte, by every effort: edited files, renamed, reordered and removed
//! ones, headers of all kinds, damage.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::io::Write;

use common::{apply, noise, patch_with, text};
use flate2::{Compression, write::GzEncoder};
use lighter_patch::{Effort, Method, Settings};
use proptest::prelude::*;

/// An entry: type flag, path, link name, content.
#[derive(Clone, Debug)]
struct Entry {
    kind: u8,
    path: String,
    content: Vec<u8>,
    mtime: u32,
}

fn block(entry: &Entry) -> Vec<u8> {
    let mut header = vec![0u8; 512];
    let mut put = |at: usize, bytes: &[u8]| header[at..at + bytes.len()].copy_from_slice(bytes);
    let path = entry.path.as_bytes();
    put(0, &path[..path.len().min(100)]);
    put(100, b"0000644\0");
    put(124, format!("{:011o}\0", entry.content.len()).as_bytes());
    put(136, format!("{:011o}\0", entry.mtime).as_bytes());
    put(156, &[entry.kind]);
    put(257, if entry.kind == b'L' { b"ustar  \0" } else { b"ustar\x0000" });
    put(148, b"        ");
    let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    header
}

fn tar(entries: &[Entry]) -> Vec<u8> {
    let mut out = Vec::new();
    for entry in entries {
        // As GNU tar does for long names, and every third entry has a pax record.
        if entry.path.len() > 100 {
            let long = Entry { kind: b'L', path: "././@LongLink".into(), content: entry.path.clone().into(), mtime: 0 };
            append(&mut out, &long);
        } else if entry.mtime % 3 == 0 {
            let record = format!("20 mtime={:010}\n", entry.mtime);
            let pax =
                Entry { kind: b'x', path: format!("PaxHeaders/{}", entry.mtime), content: record.into(), mtime: 0 };
            append(&mut out, &pax);
        }
        append(&mut out, entry);
    }
    out.resize(out.len() + 1024, 0);
    out
}

fn append(out: &mut Vec<u8>, entry: &Entry) {
    out.extend(block(entry));
    out.extend(&entry.content);
    out.resize(out.len().next_multiple_of(512), 0);
}

fn gzip(content: &[u8], level: u32) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::new(level));
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

fn files() -> Vec<Entry> {
    (0..14u32)
        .map(|number| {
            let bytes = 200 + 1700 * number as usize;
            let content = match number % 4 {
                0 => text(number.into(), bytes),
                1 => noise(number.into(), bytes),
                2 => gzip(&text(number.into(), bytes), 6),
                _ => Vec::new(),
            };
            let long = if number == 7 { "long/".repeat(30) } else { String::new() };
            let kind = if number % 4 == 3 { b"1235"[number as usize / 4] } else { b'0' };
            Entry { kind, path: format!("{long}usr/lib/file{number}.so.1.{number}"), content, mtime: 1_600_000_000 }
        })
        .collect()
}

/// One change, told by four numbers.
fn change(entries: &mut Vec<Entry>, (what, which, place, length): (u8, usize, usize, usize)) {
    let which = which % entries.len();
    let entry = &mut entries[which];
    let place = place % (entry.content.len() + 1);
    let end = (place + length).min(entry.content.len());
    match what {
        0 => entry.content[place..end].iter_mut().for_each(|byte| *byte = byte.wrapping_add(1)),
        1 => drop(entry.content.splice(place..place, noise(place as u64, length))),
        2 => drop(entry.content.drain(place..end)),
        3 => entry.path = format!("opt/renamed{place}"),
        4 => entry.mtime += length as u32,
        5 => entries.rotate_left(which),
        6 => drop(entries.remove(which)),
        7 => {
            let copy = Entry { path: format!("copy/of/{which}"), ..entry.clone() };
            entries.push(copy);
        }
        _ => entry.content = gzip(&text(place as u64, length * 50), 1 + (length % 9) as u32),
    }
    if entries.is_empty() {
        entries.extend(files().into_iter().take(1));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]
    #[test]
    fn a_changed_tar_is_rebuilt(
        changes in proptest::collection::vec((0u8..9, 0usize..100, 0usize..40_000, 1usize..300), 0..12),
        damage in proptest::option::of((0usize..200_000, any::<u8>())),
        cut in proptest::option::of(0usize..200_000),
        second_base in any::<bool>(),
    ) {
        let old = files();
        let mut new = old.clone();
        changes.iter().for_each(|&told| change(&mut new, told));
        let mut target = tar(&new);
        if let Some((at, byte)) = damage {
            let at = at % target.len();
            target[at] ^= byte;
        }
        if let Some(cut) = cut {
            target.truncate(cut);
        }
        let mut bases = vec![tar(&old)];
        if second_base {
            bases.push(tar(&new[new.len() / 2..]));
        }
        for effort in [Effort::Fast, Effort::Default, Effort::Max] {
            let settings = Settings { method: Method::Delta(effort), ..Settings::default() };
            let patch = patch_with(&target, &bases, &settings);
            prop_assert!(apply(&patch, &bases) == target, "{effort:?}");
        }
    }
}

#[test]
fn a_superset_base_leaves_next_to_nothing() {
    let target = tar(&files());
    let mut more = files();
    more.extend((0..20).map(|number| Entry {
        kind: b'0',
        path: format!("more/{number}"),
        content: noise(1000 + number, 30_000),
        mtime: 7,
    }));
    let bases = [tar(&more)];
    let patch = common::patch(&target, &bases);
    assert!(apply(&patch, &bases) == target);
    assert!(patch.bytes().0 < 250, "{}", patch.bytes());
}

#[test]
fn files_of_two_bases_are_put_together() {
    let all = files();
    let (left, right) = all.split_at(all.len() / 2);
    let bases = [tar(left), tar(right)];
    let patch = common::patch(&tar(&all), &bases);
    assert_eq!(patch.header.bases().len(), 2);
    assert!(apply(&patch, &bases) == tar(&all));
    assert!(patch.bytes().0 < 400, "{}", patch.bytes());
}

#[test]
fn a_file_that_stands_earlier_in_the_target_is_a_copy() {
    let file = |path: &str, content: &[u8]| Entry { kind: b'0', path: path.into(), content: content.into(), mtime: 7 };
    let (large, changed) =
        (noise(50, 3_000_003), [noise(52, 1000).as_slice(), b"changed", &noise(51, 70_000)].concat());
    let old = tar(&[file("a/old", &noise(51, 70_000))]);
    let once = [file("a/new", &large), file("a/old", &changed)];
    let twice = [&once[..], &[file("b/other", &changed), file("b/new", &large), file("c/new", &large)]].concat();
    for effort in [Effort::Fast, Effort::Default, Effort::Max] {
        for bases in [vec![old.clone()], vec![]] {
            let bytes_of = |entries: &[Entry]| {
                let target = tar(entries);
                let settings = Settings { method: Method::Delta(effort), ..Settings::default() };
                let patch = patch_with(&target, &bases, &settings);
                assert!(apply(&patch, &bases) == target);
                patch.bytes().0
            };
            let (one, two) = (bytes_of(&once), bytes_of(&twice));
            assert!(one > 3_000_000 && two < one + 250, "{effort:?}: {one}, then {two}");
        }
    }
}

#[test]
fn the_target_that_is_copied_from_is_written_before_it_is_read() {
    let content = noise(50, 400_000);
    let entries =
        ["one", "two"].map(|path| Entry { kind: b'0', path: path.into(), content: content.clone(), mtime: 7 });
    let target = tar(&entries);
    let patch = common::patch(&target, &[]);
    let mut range = lighter_patch::apply_frame(&patch.header, 0, &patch.payloads[0], &[]).unwrap();
    // One buffer would hold it all; the copy is not put into it before what it copies was given out.
    let mut buffer = vec![0; 2 * target.len()];
    let mut written = Vec::new();
    let first = range.read(&patch.header, &[], &written, &mut buffer).unwrap();
    assert!(first > content.len() && first < target.len() - content.len());
    let unreadable = common::Unreadable(0);
    let error = range.read(&patch.header, &[], &unreadable, &mut buffer[first..]).unwrap_err();
    assert!(matches!(error, lighter_patch::ApplyError::TargetRead { offset: 512, .. }), "{error}");
    assert_eq!(error.blame(), lighter_patch::Blame::Machine);
    written.extend_from_slice(&buffer[..first]);
    while let count @ 1.. = range.read(&patch.header, &[], &written, &mut buffer).unwrap() {
        written.extend_from_slice(&buffer[..count]);
    }
    assert!(written == target);
}
