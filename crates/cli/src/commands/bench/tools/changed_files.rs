//! Changed files: a model of zstd:chunked and eStargz, whose clients fetch a table of contents and then the files that
//! no local layer has, each compressed alone.
//!
//! The model is the best case: zstd -19 for each file, a file of the same content twice counts once, and the table is
//! the tar's headers as one zstd frame, with 32 bytes for the digest of each file. Real tables are longer (JSON). No
//! tool does this on plain tars, so there are bytes and no seconds.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::path::Path;

use lighter_tar::{TarEntry, TarReader};
use sha2::{Digest, Sha256};
use zstd::stream::write::Encoder;

use super::{Files, Step, Way};

pub(super) struct ChangedFiles;

const LEVEL: i32 = 19;
const DIGEST_BYTES: u64 = 32;

impl Way for ChangedFiles {
    fn name(&self) -> &'static str {
        "changed files, zstd -19"
    }

    fn programs(&self) -> &'static [&'static str] {
        &[]
    }

    fn modelled_bytes(&self, files: &Files<'_>) -> Option<io::Result<u64>> {
        Some(modelled_bytes(files))
    }

    fn make(&self, _files: &Files<'_>) -> Vec<Step> {
        Vec::new()
    }

    fn apply(&self, _files: &Files<'_>) -> Vec<Step> {
        Vec::new()
    }
}

fn modelled_bytes(files: &Files<'_>) -> io::Result<u64> {
    let mut held = BTreeSet::new();
    for base in &files.pair.bases {
        each_entry(base, |_, digest| {
            held.insert(digest);
            Ok(())
        })?;
    }
    let target = File::open(&files.pair.target)?;
    let mut table = Encoder::new(Counter(0), LEVEL)?;
    let mut bytes = 0;
    each_entry(&files.pair.target, |entry, digest| {
        copy(&target, entry.header_offset, entry.content_offset - entry.header_offset, &mut table)?;
        if entry.content_bytes == 0 {
            return Ok(());
        }
        bytes += DIGEST_BYTES;
        if held.insert(digest) {
            let mut file = Encoder::new(Counter(0), LEVEL)?;
            copy(&target, entry.content_offset, entry.content_bytes, &mut file)?;
            bytes += file.finish()?.0;
        }
        Ok(())
    })?;
    Ok(bytes + table.finish()?.0)
}

/// Calls `visit` for every entry, with the sha256 of its content.
fn each_entry(tar: &Path, mut visit: impl FnMut(&TarEntry, [u8; 32]) -> io::Result<()>) -> io::Result<()> {
    let mut reader = TarReader::new(BufReader::with_capacity(1 << 20, File::open(tar)?));
    let mut buffer = vec![0; 1 << 16];
    while let Some(entry) = reader.next_entry().map_err(io::Error::other)? {
        let mut hasher = Sha256::new();
        loop {
            match reader.read_content(&mut buffer)? {
                0 => break,
                count => hasher.update(&buffer[..count]),
            }
        }
        visit(&entry, hasher.finalize().into())?;
    }
    Ok(())
}

fn copy(mut tar: &File, offset: u64, bytes: u64, out: &mut impl Write) -> io::Result<()> {
    tar.seek(SeekFrom::Start(offset))?;
    io::copy(&mut tar.take(bytes), out).map(|_| ())
}

/// A writer that counts.
struct Counter(u64);

impl Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use lighter_types::Bytes;

    use super::super::super::pairs::Pair;
    use super::*;

    /// The bytes that the model counts for a target of files with these contents.
    fn bytes_of(base: &[&[u8]], target: &[&[u8]]) -> u64 {
        let folder = tempfile::tempdir().unwrap();
        let tar = |name: &str, contents: &[&[u8]]| -> PathBuf {
            let path = folder.path().join(name);
            let entries = contents.iter().enumerate();
            let entries = entries.map(|(index, content)| lighter_tar::entry(&index.to_string(), b'0', content, ""));
            std::fs::write(&path, entries.collect::<Vec<_>>().concat()).unwrap();
            path
        };
        let (bases, target) = (vec![tar("base", base)], tar("target", target));
        let pair = Pair { name: String::new(), target, bases, target_bytes: Bytes(1), base_bytes: Bytes(1) };
        let path = |name: &str| folder.path().join(name);
        let [joined_base, patch, rebuilt, scratch] = ["base", "patch", "rebuilt", "scratch"].map(path);
        modelled_bytes(&Files { pair: &pair, joined_base, patch, rebuilt, scratch }).unwrap()
    }

    #[test]
    fn only_files_that_the_base_lacks_count_and_each_content_once() {
        let (one, other) = (b"one of the files".repeat(9), (0..=255).collect::<Vec<u8>>());
        let compressed = |content: &[u8]| zstd::bulk::compress(content, LEVEL).unwrap().len() as u64;
        let table = bytes_of(&[&one], &[&one, &one]);
        assert!((2 * DIGEST_BYTES..2 * DIGEST_BYTES + 200).contains(&table), "{table}");
        let changed = bytes_of(&[&one], &[&one, &other]);
        // A stream writes no length of its content into its frame: a few bytes fewer or more.
        assert!(changed.abs_diff(table + compressed(&other)) < 16, "{changed}");
        assert!(bytes_of(&[&one], &[&other, &other]).abs_diff(changed) < 16);
        assert_eq!(bytes_of(&[], &[]), compressed(b""));
    }
}
