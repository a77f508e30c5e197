//! Contents and layers that are larger than the memory for the bases: they are matched in pieces and in groups, and
//! the patch is about as small as if they fit.
//!
//! With 256 MiB of memory the window has 64 MiB, and a content of more than 16 MiB is matched in pieces.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::{apply, noise, patch_with};
use lighter_patch::{Method, Settings};
use lighter_types::{Bytes, Effort};

const MIB: usize = 1 << 20;

fn settings(effort: Effort) -> Settings {
    Settings { method: Method::Delta(effort), memory_bytes_max: Bytes(256 << 20), threads: 2 }
}

/// A tar of files with headers that have all that a reader needs.
fn tar(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (path, content) in files {
        let mut header = [0_u8; 512];
        header[..path.len()].copy_from_slice(path.as_bytes());
        header[100..108].copy_from_slice(b"0000644\0");
        header[124..136].copy_from_slice(format!("{:011o}\0", content.len()).as_bytes());
        header[136..148].copy_from_slice(b"00000000000\0");
        header[148..156].copy_from_slice(b"        ");
        header[156] = b'0';
        header[257..265].copy_from_slice(b"ustar\x0000");
        let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        out.extend(header);
        out.extend(content);
        out.resize(out.len().next_multiple_of(512), 0);
    }
    out.resize(out.len() + 1024, 0);
    out
}

/// The patch from one tar to the other is right, the same for any number of threads, and has at most so many bytes.
#[track_caller]
fn check(old: &[(String, Vec<u8>)], new: &[(String, Vec<u8>)], efforts: &[Effort], bytes_max: u64) {
    let (base, target) = (vec![tar(old)], tar(new));
    for &effort in efforts {
        let patch = patch_with(&target, &base, &settings(effort));
        assert!(patch.bytes().0 <= bytes_max, "{effort:?}: {}, at most {bytes_max}", patch.bytes());
        assert!(apply(&patch, &base) == target, "{effort:?}");
        let alone = patch_with(&target, &base, &Settings { threads: 1, ..settings(effort) });
        assert_eq!(alone.id(), patch.id(), "{effort:?}");
    }
}

fn file(path: &str, content: Vec<u8>) -> (String, Vec<u8>) {
    (path.to_owned(), content)
}

/// The content with some bytes more near its front, and small changes.
fn changed(content: &[u8], changes: usize) -> Vec<u8> {
    let mut new = content[..4321].to_vec();
    new.extend(0..77);
    new.extend(&content[4321..]);
    for change in 1..=changes {
        let at = change * new.len() / (changes + 1);
        new[at..at + 8].copy_from_slice(b"changed!");
    }
    new
}

#[test]
fn a_long_file_that_moved_by_some_bytes_costs_its_changes() {
    let content = noise(1, 40 * MIB);
    let new = changed(&content, 50);
    check(&[file("data/blob", content)], &[file("data/blob", new)], &Effort::WITH_BASES, 4 << 10);
}

#[test]
fn a_long_file_is_found_under_another_name() {
    let content = noise(2, 20 * MIB);
    let (small, new) = (noise(3, 1000), changed(&content, 20));
    let old = [file("old/one", small.clone()), file("old/blob", content)];
    check(&old, &[file("new/other", new), file("new/one", small)], &[Effort::Fast, Effort::Default], 4 << 10);
}

#[test]
fn a_long_file_of_parts_in_another_order_costs_little() {
    let parts: Vec<Vec<u8>> = (0..8).map(|part| noise(10 + part, 3 * MIB)).collect();
    let new: Vec<u8> = [5, 2, 7, 0, 3, 6, 1, 4].iter().flat_map(|&part: &usize| parts[part].clone()).collect();
    check(&[file("blob", parts.concat())], &[file("blob", new)], &[Effort::Default], 4 << 10);
}

#[test]
fn a_long_file_of_one_line_costs_little() {
    let line = b"sphinx of black quartz, judge my vow 9876543210\n";
    let old = line.repeat(20 * MIB / line.len());
    let mut new = b"#".to_vec();
    new.extend(&old[..10 * MIB]);
    new.extend(b"another line\n");
    new.extend(&old[10 * MIB..]);
    check(&[file("x", old)], &[file("x", new)], &[Effort::Fast, Effort::Default], 4 << 10);
}

#[test]
fn long_new_content_is_new() {
    let new = noise(4, 20 * MIB);
    let bytes = new.len() as u64;
    check(&[file("a", noise(5, 20 * MIB))], &[file("a", new)], &[Effort::Fast], bytes + (64 << 10));
}

#[test]
fn more_files_than_fit_are_all_matched() {
    let old: Vec<_> = (0..100).map(|index| (format!("data/part-{index}"), noise(100 + index, MIB))).collect();
    let new: Vec<_> = old.iter().map(|(path, content)| (path.clone(), changed(content, 2))).collect();
    check(&old, &new, &[Effort::Default], 16 << 10);
}
