//! Have-lists: the files that a receiver holds, by length and hash, so that a patch can copy files that its maker knows
//! by their hash alone.
//!
//! A list stands for a base of its own: its files in the list's order, with zeros between them. The maker of a patch
//! has those files that stand in the target; the receiver has all of them, in layers that the maker never saw. The hash
//! is short, so two files may have the same. Then the result has another sha256, and the patch has to be made again
//! without the list.
//!
//! | part | bytes | meaning |
//! |---|---|---|
//! | magic | 8 | `b1` and `HAVELST` |
//! | version | 1 | 1 |
//! | number | 1 to 3 | files: 0 to 65,536. Numbers are RFC 3284 integers |
//! | number, hash | 5 to 14 each | length, minus that of the file before; first four bytes of the content's blake3 |
//!
//! Files are in order of their length, then of their hash as a number, little-endian, none twice; 256 bytes to 1 TiB
//! each. The list's name, which stands in the header of a patch in place of a DiffId, is the blake3 of these bytes.
//!
//! In the base, the first file begins at 512; each ends in zeros up to a multiple of 512, and 512 more.

use std::collections::HashMap;
use std::io;

use lighter_coder::varint;
use lighter_delta::{Entry, each_entry, parallel};
use lighter_tar::BLOCK_BYTES;
use lighter_types::{Bytes, DiffId, File, ReadAt};

const MAGIC: [u8; 8] = *b"\xb1HAVELST";
const HAVE_LIST_VERSION: u8 = 1;
/// Most files of a list.
pub const HAVE_FILES_MAX: usize = 1 << 16;
/// A list has at most so many bytes.
pub const HAVE_LIST_BYTES_MAX: usize = MAGIC.len() + 4 + HAVE_FILES_MAX * (varint::VARINT_BYTES_MAX + HASH_BYTES);
/// Shorter files cost nearly as much as their entry in a list.
const FILE_BYTES_MIN: u64 = 256;
const FILE_BYTES_MAX: u64 = 1 << 40;
const HASH_BYTES: usize = 4;
const STEP_BYTES: u64 = 256 << 10;

/// A list of files by length and hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HaveList {
    files: Vec<Listed>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Listed {
    bytes: u64,
    hash: u32,
}

/// The bytes are no list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HaveListError {
    /// Something else.
    #[error("not a have-list: it does not begin as one")]
    NotAList,
    /// A list of a later program.
    #[error(
        "have-list version {0}; this program reads version {HAVE_LIST_VERSION}: make the list with the same program"
    )]
    Version(u8),
    /// Cut off, or changed on the way.
    #[error("a damaged have-list: {0}")]
    Damaged(&'static str),
}

/// A file of a layer.
struct Found {
    listed: Listed,
    path: Vec<u8>,
    layer: usize,
    offset: u64,
}

/// Files are hashed in batches of so many: a layer may have millions.
const BATCH_FILES: usize = 1 << 12;

impl HaveList {
    /// The files of these layers; of more than [`HAVE_FILES_MAX`], the largest. Reads all of them.
    ///
    /// # Errors
    /// The error of a layer's reader.
    pub fn of(layers: &[&dyn ReadAt], threads: usize) -> io::Result<Self> {
        let mut files: Vec<Listed> = Vec::new();
        let keep_largest = |files: &mut Vec<Listed>| {
            files.sort_unstable();
            files.dedup();
            files.drain(..files.len().saturating_sub(HAVE_FILES_MAX));
        };
        find(layers, threads, &|_| true, &mut |found| {
            files.push(found.listed);
            if files.len() >= 2 * HAVE_FILES_MAX {
                keep_largest(&mut files);
            }
        })?;
        keep_largest(&mut files);
        Ok(Self { files })
    }

    /// How many files it has.
    pub fn files(&self) -> usize {
        self.files.len()
    }

    /// The list's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        out.push(HAVE_LIST_VERSION);
        varint::put(&mut out, self.files.len() as u64);
        let mut before = 0;
        for file in &self.files {
            varint::put(&mut out, file.bytes - before);
            out.extend(file.hash.to_le_bytes());
            before = file.bytes;
        }
        out
    }

    /// Reads what [`HaveList::encode`] wrote.
    ///
    /// # Errors
    /// See [`HaveListError`]. Nothing is allocated for files that are not there.
    pub fn decode(bytes: &[u8]) -> Result<Self, HaveListError> {
        let rest = bytes.strip_prefix(&MAGIC).ok_or(HaveListError::NotAList)?;
        let (&version, mut rest) = rest.split_first().ok_or(HaveListError::NotAList)?;
        if version != HAVE_LIST_VERSION {
            return Err(HaveListError::Version(version));
        }
        let cut = HaveListError::Damaged("it is cut off");
        let count = varint::get(&mut rest).ok_or(cut)?;
        if count > HAVE_FILES_MAX as u64 {
            return Err(HaveListError::Damaged("more files than allowed"));
        }
        let mut files: Vec<Listed> = Vec::new();
        for _ in 0..count {
            let more = varint::get(&mut rest).ok_or(cut)?;
            let (hash, after) = rest.split_first_chunk::<HASH_BYTES>().ok_or(cut)?;
            rest = after;
            let before = files.last().map_or(0, |file| file.bytes);
            let file = Listed { bytes: before.saturating_add(more), hash: u32::from_le_bytes(*hash) };
            if !(FILE_BYTES_MIN..=FILE_BYTES_MAX).contains(&file.bytes)
                || files.last().is_some_and(|last| *last >= file)
            {
                return Err(HaveListError::Damaged("files that are too short, too long or out of order"));
            }
            files.push(file);
        }
        if !rest.is_empty() {
            return Err(HaveListError::Damaged("bytes behind its end"));
        }
        let list = Self { files };
        // A list has one name, so it has one spelling.
        if list.encode() == bytes {
            Ok(list)
        } else {
            Err(HaveListError::Damaged("numbers that are longer than they need be"))
        }
    }

    /// The name of the base that the list stands for.
    pub fn id(&self) -> DiffId {
        DiffId::new(*blake3::hash(&self.encode()).as_bytes())
    }

    /// The base that the list stands for, as far as these layers have its files. Reads all of them.
    ///
    /// # Errors
    /// The error of a layer's reader.
    pub fn gather<'a>(&self, layers: &[&'a dyn ReadAt], threads: usize) -> io::Result<Gathered<'a>> {
        let mut found = HashMap::new();
        let is_wanted = |bytes: u64| {
            let first = self.files.partition_point(|listed| listed.bytes < bytes);
            self.files.get(first).is_some_and(|listed| listed.bytes == bytes)
        };
        find(layers, threads, &is_wanted, &mut |file| {
            if self.files.binary_search(&file.listed).is_ok() {
                found.entry(file.listed).or_insert(file);
            }
        })?;
        let mut gathered =
            Gathered { layers: layers.to_vec(), files: Vec::new(), places: Vec::new(), bytes: BLOCK_BYTES };
        for listed in &self.files {
            if let Some(file) = found.remove(listed) {
                gathered.files.push(File { path: file.path, at: gathered.bytes, bytes: listed.bytes });
                gathered.places.push((file.layer, file.offset));
            }
            gathered.bytes += listed.bytes.next_multiple_of(BLOCK_BYTES) + BLOCK_BYTES;
        }
        Ok(gathered)
    }
}

/// Gives all files of the layers that a list may have, and whose lengths are wanted, to `take`, in order.
fn find(
    layers: &[&dyn ReadAt],
    threads: usize,
    is_wanted: &dyn Fn(u64) -> bool,
    take: &mut dyn FnMut(Found),
) -> io::Result<()> {
    for (layer, reader) in layers.iter().enumerate() {
        let mut batch: Vec<Entry> = Vec::new();
        let mut hash_all = |batch: &mut Vec<Entry>| {
            let hashes = parallel::map(batch, threads, |entry| hash(*reader, entry.content, entry.content_bytes))?;
            for (entry, hash) in batch.drain(..).zip(hashes) {
                let listed = Listed { bytes: entry.content_bytes, hash };
                take(Found { listed, path: entry.path, layer, offset: entry.content });
            }
            Ok(())
        };
        each_entry(*reader, &mut |entry| {
            if is_listed(&entry) && is_wanted(entry.content_bytes) {
                batch.push(entry);
            }
            if batch.len() == BATCH_FILES { hash_all(&mut batch) } else { Ok(()) }
        })?;
        hash_all(&mut batch)?;
    }
    Ok(())
}

/// An entry without a path is no file: the end of a tar, or something else than a tar.
fn is_listed(entry: &Entry) -> bool {
    !entry.path.is_empty() && (FILE_BYTES_MIN..=FILE_BYTES_MAX).contains(&entry.content_bytes)
}

fn hash(layer: &dyn ReadAt, start: u64, bytes: u64) -> io::Result<u32> {
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; bytes.min(STEP_BYTES) as usize];
    let mut done = 0;
    while done < bytes {
        let part = &mut buffer[..STEP_BYTES.min(bytes - done) as usize];
        layer.read_exact_at(part, start + done)?;
        hasher.update(part);
        done += part.len() as u64;
    }
    Ok(hasher.finalize().as_bytes().first_chunk().map_or(0, |first| u32::from_le_bytes(*first)))
}

/// The base that a list stands for: files where they were found, zeros elsewhere.
pub struct Gathered<'a> {
    layers: Vec<&'a dyn ReadAt>,
    files: Vec<File>,
    /// For each file, its layer and where it begins there.
    places: Vec<(usize, u64)>,
    bytes: u64,
}

impl Gathered<'_> {
    /// How many of the list's files were found.
    pub fn found(&self) -> usize {
        self.files.len()
    }
}

impl ReadAt for Gathered<'_> {
    fn len(&self) -> Bytes {
        Bytes(self.bytes)
    }

    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let end = offset.checked_add(buf.len() as u64).filter(|&end| end <= self.bytes);
        let end = end.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?;
        buf.fill(0);
        let first = self.files.partition_point(|file| file.at + file.bytes <= offset);
        for (file, &(layer, place)) in self.files[first..].iter().zip(&self.places[first..]) {
            if file.at >= end {
                break;
            }
            let (from, to) = (file.at.max(offset), (file.at + file.bytes).min(end));
            let part = &mut buf[(from - offset) as usize..(to - offset) as usize];
            self.layers[layer].read_exact_at(part, place + (from - file.at))?;
        }
        Ok(())
    }

    fn files(&self) -> Option<&[File]> {
        Some(&self.files)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut tar: Vec<u8> =
            files.iter().flat_map(|(path, bytes)| lighter_tar::entry(path, b'0', bytes, "")).collect();
        tar.extend([0; 1024]);
        tar
    }

    #[test]
    fn a_list_reads_back_and_has_one_spelling() {
        let (small, one, other) = (vec![1; 255], vec![2; 256], vec![3; 70_000]);
        let tar = layer(&[("small", &small), ("other", &other), ("one", &one), ("again", &one)]);
        let list = HaveList::of(&[&tar], 2).unwrap();
        assert_eq!(list.files(), 2);
        let bytes = list.encode();
        assert_eq!(HaveList::decode(&bytes), Ok(list.clone()));
        assert_eq!(bytes.len(), 8 + 1 + 1 + (2 + 4) + (3 + 4));
        assert_eq!(list.id().as_bytes(), blake3::hash(&bytes).as_bytes());
        for end in 0..bytes.len() {
            assert!(HaveList::decode(&bytes[..end]).is_err(), "{end}");
        }
        assert!(HaveList::decode(&[&bytes[..], &[0]].concat()).is_err());
        let twice = HaveList { files: [list.files[0]; 2].to_vec() };
        assert!(matches!(HaveList::decode(&twice.encode()), Err(HaveListError::Damaged(_))));
        let mut later = bytes.clone();
        later[8] = 2;
        assert_eq!(HaveList::decode(&later), Err(HaveListError::Version(2)));
        let long = [&MAGIC[..], &[HAVE_LIST_VERSION, 0x80, 0x00]].concat();
        assert!(matches!(HaveList::decode(&long), Err(HaveListError::Damaged(_))));
        let many = [&MAGIC[..], &[HAVE_LIST_VERSION], &[0x84, 0x80, 0x01]].concat();
        assert_eq!(HaveList::decode(&many), Err(HaveListError::Damaged("more files than allowed")));
    }

    #[test]
    fn a_base_is_gathered_from_what_is_there() {
        let (one, other, third) = (vec![1; 512], vec![2; 300], vec![3; 1000]);
        let (a, b) = (layer(&[("x", &one), ("y", &other)]), layer(&[("z", &third)]));
        let list = HaveList::of(&[&a, &b], 1).unwrap();
        let whole = list.gather(&[&b, &a], 1).unwrap();
        assert_eq!((whole.found(), ReadAt::len(&whole)), (3, Bytes(512 + 512 + 512 + 512 + 512 + 1024 + 512)));
        let mut bytes = vec![9; ReadAt::len(&whole).0 as usize];
        whole.read_exact_at(&mut bytes, 0).unwrap();
        // In order of length: other, one, third.
        let expected = [vec![0; 512], other, vec![0; 212 + 512], one, vec![0; 512], third, vec![0; 24 + 512]].concat();
        assert!(bytes == expected);
        // From before a file, from its middle, from its end, and over several.
        for (offset, count) in
            [(0, 1), (500, 20), (600, 50), (811, 9), (1537, 300), (511, 400), (1500, 1100), (4096, 0)]
        {
            let mut part = vec![9; count];
            whole.read_exact_at(&mut part, offset).unwrap();
            assert_eq!(part, expected[offset as usize..][..count]);
        }
        assert_eq!(bytes.len(), 4096);
        assert!(whole.read_exact_at(&mut [0], 4096).is_err());
        let file = |path: &str, at, bytes| File { path: path.as_bytes().to_vec(), at, bytes };
        assert_eq!(whole.files().unwrap(), [file("y", 512, 300), file("x", 1536, 512), file("z", 2560, 1000)]);
        let part = list.gather(&[&a], 1).unwrap();
        assert_eq!((part.found(), ReadAt::len(&part)), (2, ReadAt::len(&whole)));
    }

    #[test]
    fn lengths_and_counts_of_a_list_have_bounds() {
        let list = |lengths: &[u64]| {
            let mut out = [&MAGIC[..], &[HAVE_LIST_VERSION]].concat();
            varint::put(&mut out, lengths.len() as u64);
            for more in lengths {
                varint::put(&mut out, *more);
                out.extend([7; HASH_BYTES]);
            }
            out
        };
        let refused = Err(HaveListError::Damaged("files that are too short, too long or out of order"));
        for (bytes, is_read) in [(255, false), (256, true), (1 << 40, true), ((1 << 40) + 1, false)] {
            let read = HaveList::decode(&list(&[bytes]));
            assert_eq!(read.is_ok(), is_read, "{bytes}");
            assert!(is_read || read == refused, "{bytes}");
        }
        // The second file is longer than any number.
        assert_eq!(HaveList::decode(&list(&[256, u64::MAX])), refused);
        let most = HaveList { files: (0..65_536).map(|hash| Listed { bytes: 1 << 40, hash }).collect() };
        assert_eq!(HaveList::decode(&most.encode()), Ok(most));
        assert_eq!(HAVE_LIST_BYTES_MAX, 8 + 4 + 65_536 * (10 + 4));
    }

    #[test]
    fn a_long_file_is_hashed_whole_wherever_it_stands() {
        let long: Vec<u8> = (0..600_001u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let tar = layer(&[("before", &[1; 700]), ("long", &long)]);
        let list = HaveList::of(&[&tar], 1).unwrap();
        let hash = u32::from_le_bytes(*blake3::hash(&long).as_bytes().first_chunk().unwrap());
        assert_eq!(list.files[1], Listed { bytes: 600_001, hash });
    }
}
