//! Tars that changed in any way are rebuilt byte for byte, by every effort: edited files, renamed, reordered and
//! removed ones, headers of all kinds, damage.
//!
//! Each test makes an old and a new tar in memory, encodes one against the other, applies the patch, and compares all
//! bytes. Some also bound the size of the patch.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use lighter_types::Effort;
use std::io::Write;

use common::{apply, noise, patch_with, text};
use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder};
use lighter_patch::{Method, Moves, Settings};
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
    let content = noise(50, 50_000);
    let entries =
        ["one", "two"].map(|path| Entry { kind: b'0', path: path.into(), content: content.clone(), mtime: 7 });
    let target = tar(&entries);
    let patch = common::patch(&target, &[]);
    let mut range = lighter_patch::apply_frame(&patch.header, 0, &patch.payloads[0], &[], &Moves::default()).unwrap();
    // One buffer would hold it all; the copy is not put into it before what it copies was given out.
    let mut buffer = vec![0; 2 * target.len()];
    let mut written = Vec::new();
    let first = range.read(&patch.header, &[], &written, &mut buffer).unwrap();
    assert!(first > content.len() && first < target.len() - content.len());
    let unreadable = common::Unreadable(0);
    let error = range.read(&patch.header, &[], &unreadable, &mut buffer[first..]).unwrap_err();
    assert!(matches!(error, lighter_patch::ApplyError::TargetRead { offset: 512, .. }), "{error}");
    assert_eq!(error.blame(), lighter_types::Blame::Machine);
    written.extend_from_slice(&buffer[..first]);
    while let count @ 1.. = range.read(&patch.header, &[], &written, &mut buffer).unwrap() {
        written.extend_from_slice(&buffer[..count]);
    }
    assert!(written == target);
}

#[test]
fn no_frame_is_more_than_a_fourth_so_that_receivers_work_while_the_rest_comes() {
    let frames = |bytes: usize| {
        let target = tar(&[Entry { kind: b'0', path: "one".into(), content: noise(51, bytes), mtime: 7 }]);
        let patch = common::patch(&target, &[]);
        assert!(common::apply(&patch, &[]) == target);
        patch.payloads.iter().map(Vec::len).collect::<Vec<_>>()
    };
    let large = frames(1_000_000);
    assert!(large.iter().all(|bytes| *bytes < 260_000), "{large:?}");
    assert_eq!(frames(60_000).len(), 1);
}

/// A member of an archive: name, content, level of deflate (none is stored), whether its sizes stand behind it.
#[derive(Clone)]
struct Member {
    name: String,
    content: Vec<u8>,
    level: Option<u32>,
    has_descriptor: bool,
}

fn zip(members: &[Member]) -> Vec<u8> {
    let (mut out, mut directory) = (Vec::new(), Vec::new());
    for member in members {
        let stream = match member.level {
            None => member.content.clone(),
            Some(level) => {
                let mut encoder = DeflateEncoder::new(Vec::new(), Compression::new(level));
                encoder.write_all(&member.content).unwrap();
                encoder.finish().unwrap()
            }
        };
        let mut crc = flate2::Crc::new();
        crc.update(&member.content);
        let numbers = [crc.sum(), stream.len() as u32, member.content.len() as u32].map(u32::to_le_bytes).concat();
        let flags = if member.has_descriptor { 8u8 } else { 0 };
        let method = if member.level.is_some() { 8u8 } else { 0 };
        let head = [20, 0, flags, 0, method, 0, 0, 0, 0x21, 0x5a];
        let (name, name_bytes) = (member.name.as_bytes(), (member.name.len() as u16).to_le_bytes());
        let local = (out.len() as u32).to_le_bytes();
        let here = if member.has_descriptor { vec![0; 12] } else { numbers.clone() };
        out.extend([b"PK\x03\x04".as_slice(), &head, &here, &name_bytes, &[0, 0], name, &stream].concat());
        if member.has_descriptor {
            out.extend([b"PK\x07\x08".as_slice(), &numbers].concat());
        }
        directory.extend([b"PK\x01\x02\x14\x03".as_slice(), &head, &numbers, &name_bytes, &[0; 12]].concat());
        directory.extend([local.as_slice(), name].concat());
    }
    let (start, bytes) = (out.len() as u32, directory.len() as u32);
    out.extend(directory);
    out.extend([b"PK\x05\x06".as_slice(), &[0; 8], &bytes.to_le_bytes(), &start.to_le_bytes(), &[0, 0]].concat());
    out
}

/// Twelve members of about 60 KB: by several levels, one stored, some with descriptors.
fn members() -> Vec<Member> {
    let member = |number: u64| Member {
        name: format!("package/module{number}/source.rs"),
        content: text(number, 60_000 - 500 * number as usize),
        level: if number == 5 { None } else { Some(1 + (number % 9) as u32) },
        has_descriptor: number.is_multiple_of(3),
    };
    (0..12).map(member).collect()
}

/// The patch of one file that is an archive.
fn zip_patch(old: &[u8], new: &[u8], effort: Effort) -> u64 {
    let file = |content: &[u8]| tar(&[Entry { kind: b'0', path: "app.jar".into(), content: content.into(), mtime: 7 }]);
    let (bases, target) = ([file(old)], file(new));
    let patch = patch_with(&target, &bases, &Settings { method: Method::Delta(effort), ..Settings::default() });
    assert!(apply(&patch, &bases) == target);
    patch.bytes().0
}

#[test]
fn a_changed_member_of_a_zip_is_patched_by_its_content() {
    let old = members();
    for changed in [vec![1], vec![3, 4, 5], (0..12).collect()] {
        let mut new = old.clone();
        for &index in &changed {
            let content = &mut new[index].content;
            content.splice(100..100, b"a line more".iter().copied());
            content[30_000] ^= 1;
        }
        for (effort, most) in [(Effort::Default, 300), (Effort::Max, 250)] {
            let bytes = zip_patch(&zip(&old), &zip(&new), effort);
            assert!(bytes < 350 + most * changed.len() as u64, "{effort:?}: {bytes} for {changed:?}");
        }
        // As it is, each changed stream is sent again from its first change on.
        assert!(zip_patch(&zip(&old), &zip(&new), Effort::Fast) > 10_000);
    }
}

#[test]
fn a_changed_xz_file_is_patched_by_its_content() {
    let xz = |content: &[u8], preset| {
        let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), preset);
        encoder.write_all(content).unwrap();
        encoder.finish().unwrap()
    };
    let old = text(1, 300_000);
    let mut new = old.clone();
    new.splice(100..100, b"a line more".iter().copied());
    new[200_000] ^= 1;
    for preset in [0, 1, 3, 6, 9] {
        for (effort, most) in [(Effort::Default, 450), (Effort::Max, 400)] {
            let bytes = zip_patch(&xz(&old, preset), &xz(&new, preset), effort);
            assert!(bytes < most, "{effort:?} {preset}: {bytes}");
        }
    }
    // A file that was not compressed before, one that no longer is, and one that is damaged.
    for (old, new) in [(&old, &xz(&new, 6)), (&xz(&old, 6), &new), (&xz(&old, 6), &xz(&new, 6)[..5000].to_vec())] {
        zip_patch(old, new, Effort::Default);
    }
    assert!(zip_patch(&xz(&old, 6), &xz(&new, 6), Effort::Fast) > 10_000);
}

#[test]
fn members_that_move_come_or_go_leave_the_others_copied() {
    let old = members();
    let mut new = old.clone();
    new.rotate_left(3);
    new.remove(4);
    new.iter_mut().for_each(|member| member.name = member.name.replace("package", "package-1.2"));
    new.push(Member { name: "more/of.it".into(), content: text(99, 300), level: Some(6), has_descriptor: false });
    new[6].content[7] ^= 1;
    let bytes = zip_patch(&zip(&old), &zip(&new), Effort::Default);
    assert!(bytes < 2000, "{bytes}");
}

#[test]
fn damaged_zips_are_rebuilt() {
    let old = zip(&members()[..4]);
    let mut changed = members();
    changed[2].content[500] ^= 1;
    let new = zip(&changed[..4]);
    let directory = new.windows(4).position(|bytes| bytes == b"PK\x01\x02").unwrap();
    for seed in 0..60 {
        let mut damaged = new.clone();
        let place = noise(seed, 8).iter().fold(0, |number, &byte| number << 8 | usize::from(byte));
        match seed % 3 {
            0 => damaged.truncate(place % new.len()),
            1 => damaged[place % new.len()] ^= 1 << (seed % 8),
            _ => damaged[directory + place % (new.len() - directory)] ^= 1 << (seed % 8),
        }
        zip_patch(&old, &damaged, Effort::Default);
        zip_patch(&damaged, &new, Effort::Default);
    }
}

/// Files that moved are copies, however many have one length and one name; only what their headers say is sent.
#[test]
fn many_files_that_moved_are_copies() {
    let files = |folder: &str, changed: u64| -> Vec<u8> {
        let file = |n: u64| {
            let seed = if n.is_multiple_of(10) { n + changed } else { n };
            Entry { kind: b'0', path: format!("{folder}/{n}/part-{n}.json"), content: noise(seed, 700), mtime: 7 }
        };
        tar(&(0..1000).map(file).collect::<Vec<_>>())
    };
    let (old, new) = (vec![files("package-1.9", 0)], files("other", 0));
    let bytes = |effort, new: &[u8]| {
        let patch = patch_with(new, &old, &Settings { method: Method::Delta(effort), ..Settings::default() });
        assert!(apply(&patch, &old) == new, "{effort:?}");
        patch.header.patch_bytes().0
    };
    for effort in Effort::WITH_BASES {
        let bytes = bytes(effort, &new);
        assert!(bytes < 8_000, "{effort:?}: {bytes}");
    }
    // A tenth of them are new.
    let bytes = bytes(Effort::Fast, &files("other", 1 << 20));
    assert!(bytes < 100 * 700 + 10_000, "{bytes}");
}
