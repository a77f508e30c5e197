//! A recipe: its parts, and its bytes (docs/RECIPE.md has the table).
//!
//! Bytes of a recipe come from peers. Every count and length is checked against the bytes that are there before memory is
//! allocated, and nothing in a recipe asks for more work than the tar and the blob have bytes: checkpoints keep a distance,
//! members have the tar's length together. Whether a recipe is right shows only the sha256 of the blob it rebuilds.

use std::num::NonZeroU32;

use lighter_types::OciDigest;

use crate::bits::BitPosition;
use crate::encoder::{Class, Encoder};
use crate::error::ReadError;
use crate::gzip::HEADER_BYTES_MAX;

/// The first bytes, with the version of the format.
pub const RECIPE_VERSION: &[u8; 8] = b"LTRRCP01";
/// Bytes before the head.
const PREFIX_BYTES: usize = 61;
/// The longest head: about a million members of eStargz.
const HEAD_BYTES_MAX: u32 = 8 << 20;
const MEMBERS_MAX: u64 = 1 << 20;
/// So many members, and one more for so much tar: opening an engine costs as much as a piece of content.
const MEMBERS_ALWAYS: u64 = 128;
const MEMBER_TAR_BYTES: u64 = 256;
/// The most bytes behind the last member.
pub const TAIL_BYTES_MAX: usize = 64 << 10;
/// A trailer of gzip has eight bytes, one of zstd four.
const TRAILER_BYTES_MAX: u64 = 8;
/// The finder leaves this much tar between checkpoints.
pub const CHECKPOINT_TAR_BYTES: u64 = 4 << 20;
/// Recipes with denser checkpoints are refused: what lies behind each is made twice.
const CHECKPOINT_TAR_BYTES_MIN: u64 = 1 << 20;

/// How a blob is rebuilt out of its tar.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Recipe {
    pub blob: OciDigest,
    pub blob_bytes: u64,
    /// 0 where the blob is kept as it is.
    pub tar_bytes: u64,
    pub form: Form,
}

/// What stands in a recipe.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Form {
    /// An encoder makes the blob again.
    Encoded(Encoded),
    /// The bytes of the blob stand behind the head.
    Verbatim,
}

/// What an encoder has to be told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Encoded {
    pub encoder: Encoder,
    /// The different headers of members.
    pub headers: Vec<Vec<u8>>,
    pub members: Vec<Member>,
    /// Bytes behind the last member.
    pub tail: Vec<u8>,
    pub checkpoints: Vec<Checkpoint>,
}

/// One member of a blob.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Member {
    pub tar_bytes: u64,
    /// Its place in `headers`.
    pub header: u32,
    /// Its trailer, if that is kept. Else it is calculated from the content.
    pub trailer: Option<Box<[u8]>>,
}

/// A place from which the blob can be made without what is before it: the first member that begins at this place of the
/// tar, or a place within a member.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Checkpoint {
    pub tar: u64,
    pub blob: BitPosition,
}

impl Recipe {
    /// The most bytes up to the end of the head.
    pub const BYTES_MAX: u64 = PREFIX_BYTES as u64 + HEAD_BYTES_MAX as u64;

    /// The bytes of the recipe, without those that stand behind the head.
    pub fn to_bytes(&self) -> Vec<u8> {
        let (form, head) = match &self.form {
            Form::Encoded(encoded) => (1, encoded.head()),
            Form::Verbatim => (2, Vec::new()),
        };
        let mut bytes = Vec::with_capacity(PREFIX_BYTES + head.len());
        bytes.extend_from_slice(RECIPE_VERSION);
        bytes.push(form);
        bytes.extend_from_slice(&self.blob_bytes.to_le_bytes());
        bytes.extend_from_slice(self.blob.as_bytes());
        bytes.extend_from_slice(&self.tar_bytes.to_le_bytes());
        bytes.extend_from_slice(&(head.len() as u32).to_le_bytes());
        bytes.extend_from_slice(&head);
        bytes
    }

    /// The length of the head behind the prefix.
    fn head_bytes(prefix: &[u8]) -> Result<u32, ReadError> {
        let mut input = Input { rest: prefix };
        let version: [u8; 8] = input.array()?;
        if version != *RECIPE_VERSION {
            let is_version = version.starts_with(&RECIPE_VERSION[..6]);
            return Err(if is_version { ReadError::Version(version[6..8].to_vec()) } else { ReadError::NoRecipe });
        }
        input.take(PREFIX_BYTES - 12)?;
        let bytes = u32::from_le_bytes(input.array()?);
        if bytes > HEAD_BYTES_MAX { Err(ReadError::Limit("its head")) } else { Ok(bytes) }
    }

    /// Reads a recipe at the beginning of `bytes`; how many bytes it has. What stands behind the head may be absent.
    ///
    /// # Errors
    /// Bytes that are no recipe; a recipe of another version, form or class; bytes that end too soon; numbers that contradict each other or are beyond a limit.
    pub fn from_bytes(bytes: &[u8]) -> Result<(Self, usize), ReadError> {
        let head_bytes = Self::head_bytes(bytes)? as usize;
        let mut input = Input { rest: bytes };
        input.take(8)?;
        let [form] = input.array()?;
        let blob_bytes = u64::from_le_bytes(input.array()?);
        let blob = OciDigest::new(input.array()?);
        let tar_bytes = u64::from_le_bytes(input.array()?);
        input.take(4)?;
        let mut head = Input { rest: input.take(head_bytes)? };
        let form = match form {
            1 => Form::Encoded(Encoded::read(&mut head, tar_bytes, blob_bytes)?),
            2 => Form::Verbatim,
            _ => return Err(ReadError::Form(form)),
        };
        if !head.rest.is_empty() {
            return Err(ReadError::Contradiction("its head is longer than what stands in it"));
        }
        Ok((Self { blob, blob_bytes, tar_bytes, form }, PREFIX_BYTES + head_bytes))
    }
}

impl Encoded {
    fn head(&self) -> Vec<u8> {
        let mut out = vec![self.encoder.class.number(), self.encoder.level as u8];
        put(u64::from(self.encoder.block_bytes.map_or(0, NonZeroU32::get)), &mut out);
        put(self.headers.len() as u64, &mut out);
        self.headers.iter().for_each(|header| put_bytes(header, &mut out));
        put(self.members.len() as u64, &mut out);
        for member in &self.members {
            put(member.tar_bytes, &mut out);
            put((u64::from(member.header) << 1) | u64::from(member.trailer.is_some()), &mut out);
            member.trailer.iter().for_each(|trailer| put_bytes(trailer, &mut out));
        }
        put_bytes(&self.tail, &mut out);
        put(self.checkpoints.len() as u64, &mut out);
        let mut before = Checkpoint { tar: 0, blob: BitPosition::START };
        for checkpoint in &self.checkpoints {
            put(checkpoint.tar.wrapping_sub(before.tar), &mut out);
            put(checkpoint.blob.bytes.wrapping_sub(before.blob.bytes), &mut out);
            out.push(checkpoint.blob.partial);
            before = *checkpoint;
        }
        out
    }

    fn read(input: &mut Input<'_>, tar_bytes: u64, blob_bytes: u64) -> Result<Self, ReadError> {
        let [class, level] = input.array()?;
        let class = Class::of_number(class).ok_or(ReadError::Class(class))?;
        let block_bytes = u32::try_from(input.number()?).map_err(|_| ReadError::Limit("the length of its blocks"))?;
        let encoder = Encoder { class, level: level as i8, block_bytes: NonZeroU32::new(block_bytes) };
        if !encoder.is_known() {
            return Err(ReadError::Encoder(encoder));
        }
        let count = input.count(1, MEMBERS_MAX)?;
        let headers: Vec<Vec<u8>> =
            (0..count).map(|_| Ok(input.bytes(HEADER_BYTES_MAX as u64)?.to_vec())).collect::<Result<_, ReadError>>()?;
        let count = input.count(2, members_max(tar_bytes))?;
        let members: Vec<Member> =
            (0..count).map(|_| Member::read(input, headers.len())).collect::<Result<_, ReadError>>()?;
        let sum = members.iter().try_fold(0u64, |sum, member| sum.checked_add(member.tar_bytes));
        if sum != Some(tar_bytes) {
            return Err(ReadError::Contradiction("its members have not the length of the tar"));
        }
        let tail = input.bytes(TAIL_BYTES_MAX as u64)?.to_vec();
        let count = input.count(3, tar_bytes / CHECKPOINT_TAR_BYTES_MIN)?;
        let mut checkpoints: Vec<Checkpoint> = Vec::with_capacity(count as usize);
        for _ in 0..count {
            let before = checkpoints.last().copied().unwrap_or(Checkpoint { tar: 0, blob: BitPosition::START });
            checkpoints.push(Checkpoint::read(input, before, tar_bytes, blob_bytes)?);
        }
        Ok(Self { encoder, headers, members, tail, checkpoints })
    }
}

impl Member {
    fn read(input: &mut Input<'_>, headers: usize) -> Result<Self, ReadError> {
        let tar_bytes = input.number()?;
        let number = input.number()?;
        let header = u32::try_from(number >> 1).ok().filter(|&header| (header as usize) < headers);
        let header = header.ok_or(ReadError::Contradiction("a member has a header that is not there"))?;
        let is_kept = number & 1 == 1;
        let trailer = is_kept.then(|| input.bytes(TRAILER_BYTES_MAX)).transpose()?.map(Box::from);
        Ok(Self { tar_bytes, header, trailer })
    }
}

impl Checkpoint {
    fn read(input: &mut Input<'_>, before: Self, tar_bytes: u64, blob_bytes: u64) -> Result<Self, ReadError> {
        let (tar, bytes) = (input.number()?, input.number()?);
        let [partial] = input.array()?;
        let is_apart = tar >= CHECKPOINT_TAR_BYTES_MIN && bytes > 0 && partial != 0;
        let tar = before.tar.checked_add(tar).filter(|&tar| is_apart && tar < tar_bytes);
        let bytes = before.blob.bytes.checked_add(bytes).filter(|&bytes| bytes < blob_bytes);
        match (tar, bytes) {
            (Some(tar), Some(bytes)) => Ok(Self { tar, blob: BitPosition { bytes, partial } }),
            _ => Err(ReadError::Contradiction("its checkpoints are too close, out of order or beyond the end")),
        }
    }
}

/// The most members of a blob with so much content.
pub fn members_max(tar_bytes: u64) -> u64 {
    MEMBERS_MAX.min(MEMBERS_ALWAYS.saturating_add(tar_bytes / MEMBER_TAR_BYTES))
}

/// Numbers of seven bits a byte, the lowest first; the highest bit says that more follow.
fn put(mut number: u64, out: &mut Vec<u8>) {
    while number >= 128 {
        out.push(number as u8 | 128);
        number >>= 7;
    }
    out.push(number as u8);
}

fn put_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    put(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

/// What is still to be read.
struct Input<'a> {
    rest: &'a [u8],
}

impl<'a> Input<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], ReadError> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(ReadError::Short)?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], ReadError> {
        self.take(N)?.try_into().map_err(|_| ReadError::Short)
    }

    fn number(&mut self) -> Result<u64, ReadError> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let [byte] = self.array()?;
            let bits = u64::from(byte & 127);
            // The tenth byte has one bit left; a zero at the end is another spelling of the same number.
            if (shift == 63 && bits > 1) || (shift > 0 && byte == 0) {
                break;
            }
            number |= bits << shift;
            if byte & 128 == 0 {
                return Ok(number);
            }
        }
        Err(ReadError::Contradiction("a number is badly spelt"))
    }

    /// A count of items that have at least so many bytes each.
    fn count(&mut self, item_bytes: u64, max: u64) -> Result<u64, ReadError> {
        let count = self.number()?;
        if count > max {
            return Err(ReadError::Limit("a count"));
        }
        if count.saturating_mul(item_bytes) > self.rest.len() as u64 { Err(ReadError::Short) } else { Ok(count) }
    }

    fn bytes(&mut self, max: u64) -> Result<&'a [u8], ReadError> {
        let count = self.number()?;
        if count > max {
            return Err(ReadError::Limit("a length"));
        }
        self.take(count as usize)
    }
}
