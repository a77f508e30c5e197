//! The bytes of the index's rows and of the files under `references/`.
//!
//! A row is bincode 2 with fixed-width little-endian integers and a limit of 64 KiB. A reference's file is a magic
//! number, the sha256 of the row, and the row. docs/STORE.md shows the bytes in tables; the golden tests of this module
//! check them.
//!
//! Rows come from the disk and may be damaged. Decoding refuses a row that is too long, cut short, or followed by more
//! bytes.

use bincode::config::{Configuration, Fixint, Limit, LittleEndian};
use bincode::{Decode, Encode};
use lighter_types::{Bytes, Card, DiffId, ImageReference, OciDigest, PatchId, TLSH_BYTES, Tlsh, broken};
use sha2::{Digest, Sha256};

use crate::error::Item;
use crate::{Image, PatchKey, UnixSeconds};

/// The longest row. An image with [`crate::IMAGE_LAYERS_MAX`] layers has the longest of all.
pub(crate) const ROW_BYTES_MAX: usize = 64 << 10;
const CONFIG: Configuration<LittleEndian, Fixint, Limit<ROW_BYTES_MAX>> =
    bincode::config::standard().with_fixed_int_encoding().with_limit::<ROW_BYTES_MAX>();

/// The first bytes of a file under `references/`; the last two digits are its version.
const IMAGE_FILE_MAGIC: [u8; 8] = *b"LTRREF01";
const IMAGE_FILE_HEADER_BYTES: usize = 8 + 32;
/// The longest file under `references/`.
pub(crate) const IMAGE_FILE_BYTES_MAX: usize = IMAGE_FILE_HEADER_BYTES + ROW_BYTES_MAX;

/// The reason why bytes do not decode as a row.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct RowError(String);

#[derive(Encode, Decode)]
struct LayerRow {
    tar_bytes: u64,
    compressed_bytes: u64,
    tlsh: Option<[u8; TLSH_BYTES]>,
}

#[derive(Encode, Decode)]
struct KeyRow {
    target: [u8; 32],
    settings: u32,
    bases: Vec<[u8; 32]>,
}

#[derive(Encode, Decode)]
struct PatchRow {
    bytes: u64,
    sha256: [u8; 32],
    key: KeyRow,
}

#[derive(Encode, Decode)]
struct PartialRow {
    total_bytes: u64,
    synced_bytes: u64,
    key: KeyRow,
}

#[derive(Encode, Decode)]
struct ImageRow {
    reference: String,
    manifest: [u8; 32],
    config: [u8; 32],
    layers: Vec<[u8; 32]>,
    release_record: Vec<u8>,
}

/// The limits on the store's values keep every row under [`ROW_BYTES_MAX`]; a test encodes the longest of each kind.
fn encode(row: impl Encode) -> Vec<u8> {
    bincode::encode_to_vec(row, CONFIG).unwrap_or_else(|_| {
        broken("a row over its limit");
        Vec::new()
    })
}

fn decode<R: Decode<()>>(bytes: &[u8]) -> Result<R, RowError> {
    let (row, used) = bincode::decode_from_slice(bytes, CONFIG).map_err(|error| RowError(error.to_string()))?;
    if used == bytes.len() { Ok(row) } else { Err(RowError(format!("{} bytes after the row", bytes.len() - used))) }
}

/// The 32 bytes of a key that is a digest or an id.
pub(crate) fn name(key: &[u8]) -> Result<[u8; 32], RowError> {
    key.try_into().map_err(|_| RowError(format!("a key of {} bytes, not 32", key.len())))
}

pub(crate) fn layer(card: &Card) -> Vec<u8> {
    encode(LayerRow {
        tar_bytes: card.tar_bytes.0,
        compressed_bytes: card.compressed_bytes.0,
        tlsh: card.tlsh.map(|tlsh| *tlsh.as_bytes()),
    })
}

pub(crate) fn read_layer(key: &[u8], value: &[u8]) -> Result<Card, RowError> {
    let row: LayerRow = decode(value)?;
    Ok(Card {
        diff_id: DiffId::new(name(key)?),
        tar_bytes: Bytes(row.tar_bytes),
        compressed_bytes: Bytes(row.compressed_bytes),
        tlsh: row.tlsh.map(Tlsh::new),
    })
}

/// The row of a blob (its size) or of a time of last use.
pub(crate) fn number(number: u64) -> Vec<u8> {
    number.to_le_bytes().to_vec()
}

pub(crate) fn read_blob(key: &[u8], value: &[u8]) -> Result<(OciDigest, Bytes), RowError> {
    Ok((OciDigest::new(name(key)?), Bytes(read_number(value)?)))
}

pub(crate) fn read_number(value: &[u8]) -> Result<u64, RowError> {
    let bytes = value.try_into().map_err(|_| RowError(format!("a number of {} bytes, not 8", value.len())))?;
    Ok(u64::from_le_bytes(bytes))
}

fn key_row(key: &PatchKey) -> KeyRow {
    KeyRow {
        target: *key.target.as_bytes(),
        settings: key.settings,
        bases: key.bases.iter().map(|base| *base.as_bytes()).collect(),
    }
}

fn read_key(row: KeyRow) -> PatchKey {
    PatchKey {
        target: DiffId::new(row.target),
        bases: row.bases.into_iter().map(DiffId::new).collect(),
        settings: row.settings,
    }
}

pub(crate) fn patch(key: &PatchKey, bytes: Bytes, sha256: [u8; 32]) -> Vec<u8> {
    encode(PatchRow { bytes: bytes.0, sha256, key: key_row(key) })
}

/// Returns id, key, size, and the sha256 of the file.
pub(crate) fn read_patch(key: &[u8], value: &[u8]) -> Result<(PatchId, PatchKey, Bytes, [u8; 32]), RowError> {
    let row: PatchRow = decode(value)?;
    Ok((PatchId::new(name(key)?), read_key(row.key), Bytes(row.bytes), row.sha256))
}

pub(crate) fn partial(key: &PatchKey, total_bytes: Bytes, synced_bytes: Bytes) -> Vec<u8> {
    encode(PartialRow { total_bytes: total_bytes.0, synced_bytes: synced_bytes.0, key: key_row(key) })
}

/// Returns id, key, whole size, and the bytes that are synced.
pub(crate) fn read_partial(key: &[u8], value: &[u8]) -> Result<(PatchId, PatchKey, Bytes, Bytes), RowError> {
    let row: PartialRow = decode(value)?;
    Ok((PatchId::new(name(key)?), read_key(row.key), Bytes(row.total_bytes), Bytes(row.synced_bytes)))
}

pub(crate) fn image(reference: &ImageReference, image: &Image) -> Vec<u8> {
    encode(ImageRow {
        reference: reference.as_str().to_owned(),
        manifest: *image.manifest.as_bytes(),
        config: *image.config.as_bytes(),
        layers: image.layers.iter().map(|layer| *layer.as_bytes()).collect(),
        release_record: image.release_record.clone(),
    })
}

pub(crate) fn read_image(value: &[u8]) -> Result<(ImageReference, Image), RowError> {
    let row: ImageRow = decode(value)?;
    let reference = row.reference.parse().map_err(|error| RowError(format!("{error}")))?;
    let image = Image {
        manifest: OciDigest::new(row.manifest),
        config: OciDigest::new(row.config),
        layers: row.layers.into_iter().map(DiffId::new).collect(),
        release_record: row.release_record,
    };
    Ok((reference, image))
}

/// The file of a reference: magic, sha256 of the row, row.
pub(crate) fn image_file(row: &[u8]) -> Vec<u8> {
    [&IMAGE_FILE_MAGIC[..], &Sha256::digest(row)[..], row].concat()
}

/// The row in a reference's file.
pub(crate) fn read_image_file(file: &[u8]) -> Result<&[u8], RowError> {
    let rest = file
        .strip_prefix(&IMAGE_FILE_MAGIC[..])
        .ok_or_else(|| RowError("the reference file does not begin with LTRREF01".into()))?;
    let (sha256, row) =
        rest.split_at_checked(32).ok_or_else(|| RowError("the reference file ends before its row".into()))?;
    if Sha256::digest(row)[..] == *sha256 {
        Ok(row)
    } else {
        Err(RowError("the sha256 of the reference file's row does not match".into()))
    }
}

/// The key of an item's time of last use: one byte for the kind of item, then its id. Images have no such time.
pub(crate) fn use_key(item: &Item) -> Option<[u8; 33]> {
    let (kind, name) = match item {
        Item::Layer(id) => (1, id.as_bytes()),
        Item::Patch(id) => (2, id.as_bytes()),
        Item::Blob(digest) => (3, digest.as_bytes()),
        Item::Image(_) => return None,
    };
    let mut key = [kind; 33];
    key[1..].copy_from_slice(name);
    Some(key)
}

pub(crate) fn read_use(key: &[u8], value: &[u8]) -> Result<(Item, UnixSeconds), RowError> {
    let (&kind, id) = key.split_first().ok_or_else(|| RowError("an empty key".into()))?;
    let item = match kind {
        1 => Item::Layer(DiffId::new(name(id)?)),
        2 => Item::Patch(PatchId::new(name(id)?)),
        3 => Item::Blob(OciDigest::new(name(id)?)),
        kind => return Err(RowError(format!("kind {kind} of a used item"))),
    };
    Ok((item, UnixSeconds(read_number(value)?)))
}

#[cfg(test)]
mod tests;
