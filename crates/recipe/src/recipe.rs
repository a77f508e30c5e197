//! A recipe: its parts, and its bytes (docs/RECIPE.md has the table).
//!
//! Bytes of a recipe come from peers. Every count and length is checked against the bytes that are there before memory
//! is allocated, and nothing in a recipe asks for more work than the tar and the blob have bytes: checkpoints keep a
//! distance, members have the tar's length together. Whether a recipe is right shows only the sha256 of the blob it
//! rebuilds.

mod framing;
mod input;

use lighter_types::OciDigest;

pub use self::framing::{Framing, Member, TAIL_BYTES_MAX, members_max};
use self::input::{Input, put};
use crate::bits::BitPosition;
use crate::encoder::{Class, Encoder, Kind};
use crate::error::ReadError;

/// The first bytes, with the version of the format.
pub const RECIPE_VERSION: &[u8; 8] = b"LTRRCP01";
/// Bytes before the head.
const PREFIX_BYTES: usize = 61;
/// The longest head: about a million members of eStargz.
const HEAD_BYTES_MAX: u32 = 8 << 20;
/// A piece and its corrections are in memory while they are used.
pub const PIECE_TAR_BYTES_MAX: u64 = 64 << 20;
pub const CORRECTIONS_BYTES_MAX: u64 = 2 << 20;
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

/// The forms of a recipe.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Form {
    /// An encoder makes the blob again.
    Encoded(Encoded),
    /// preflate-rs makes the blob again, with corrections that stand behind the head.
    Corrected(Corrected),
    /// The bytes of the blob stand behind the head.
    Verbatim,
}

/// The facts that an encoder has to be told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Encoded {
    pub encoder: Encoder,
    pub framing: Framing,
    pub checkpoints: Vec<Checkpoint>,
}

/// The facts that preflate-rs has to be told beside the corrections.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Corrected {
    pub framing: Framing,
    /// Each member has pieces of its own. An empty member has one too.
    pub pieces: Vec<Piece>,
}

/// A part of a member, with corrections of its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Piece {
    pub tar_bytes: u32,
    pub corrections_bytes: u32,
    /// The last one of its member.
    pub is_last: bool,
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
            Form::Corrected(corrected) => (3, corrected.head()),
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

    /// Reads a recipe at the beginning of `bytes`; how many bytes it has. The bytes behind the head may be absent.
    ///
    /// # Errors
    /// Bytes that are no recipe; a recipe of another version, form or class; bytes that end too soon; numbers that
    /// contradict each other or are beyond a limit.
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
            3 => Form::Corrected(Corrected::read(&mut head, tar_bytes)?),
            _ => return Err(ReadError::Form(form)),
        };
        if !head.rest.is_empty() {
            return Err(ReadError::Contradiction("its head is longer than what stands in it"));
        }
        Ok((Self { blob, blob_bytes, tar_bytes, form }, PREFIX_BYTES + head_bytes))
    }
}

impl Form {
    /// The bytes behind the head.
    pub fn body_bytes(&self, blob_bytes: u64) -> u64 {
        match self {
            Self::Encoded(_) => 0,
            Self::Corrected(corrected) => corrected.pieces.iter().map(|piece| u64::from(piece.corrections_bytes)).sum(),
            Self::Verbatim => blob_bytes,
        }
    }
}

impl Corrected {
    fn head(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.framing.put(&mut out);
        put(self.pieces.len() as u64, &mut out);
        for piece in &self.pieces {
            put((u64::from(piece.tar_bytes) << 1) | u64::from(piece.is_last), &mut out);
            put(u64::from(piece.corrections_bytes), &mut out);
        }
        out
    }

    fn read(input: &mut Input<'_>, tar_bytes: u64) -> Result<Self, ReadError> {
        let framing = Framing::read(input, tar_bytes, Kind::Zlib)?;
        let count = input.count(2, u64::from(HEAD_BYTES_MAX))?;
        let pieces: Vec<Piece> = (0..count).map(|_| Piece::read(input)).collect::<Result<_, ReadError>>()?;
        let mut rest = pieces.iter();
        let fits = framing.members.iter().all(|member| {
            let mut left = member.tar_bytes;
            for piece in rest.by_ref() {
                let Some(less) = left.checked_sub(u64::from(piece.tar_bytes)) else { return false };
                left = less;
                if piece.is_last {
                    return left == 0;
                }
            }
            false
        });
        match fits && rest.next().is_none() {
            true => Ok(Self { framing, pieces }),
            false => Err(ReadError::Contradiction("its pieces have not the lengths of its members")),
        }
    }
}

impl Piece {
    fn read(input: &mut Input<'_>) -> Result<Self, ReadError> {
        let (tar, corrections_bytes) = (input.number()?, input.number()?);
        if tar >> 1 > PIECE_TAR_BYTES_MAX || corrections_bytes > CORRECTIONS_BYTES_MAX {
            return Err(ReadError::Limit("a piece"));
        }
        Ok(Self { tar_bytes: (tar >> 1) as u32, corrections_bytes: corrections_bytes as u32, is_last: tar & 1 == 1 })
    }
}

impl Encoded {
    fn head(&self) -> Vec<u8> {
        let mut out = vec![self.encoder.class.number(), self.encoder.level as u8];
        put(self.encoder.writes_number(), &mut out);
        self.framing.put(&mut out);
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
        let encoder = Encoder::new(class, level as i8).with_writes_number(input.number()?);
        let encoder = encoder.ok_or(ReadError::Limit("the length of its blocks"))?;
        if !encoder.is_known() {
            return Err(ReadError::Encoder(encoder));
        }
        let framing = Framing::read(input, tar_bytes, class.kind())?;
        let count = input.count(3, tar_bytes / CHECKPOINT_TAR_BYTES_MIN)?;
        let mut checkpoints: Vec<Checkpoint> = Vec::with_capacity(count as usize);
        for _ in 0..count {
            let before = checkpoints.last().copied().unwrap_or(Checkpoint { tar: 0, blob: BitPosition::START });
            checkpoints.push(Checkpoint::read(input, before, tar_bytes, blob_bytes)?);
        }
        Ok(Self { encoder, framing, checkpoints })
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
