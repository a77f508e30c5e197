//! The bytes around the compressed data of a blob: headers, members and trailers.

use super::input::{Input, put, put_bytes};
use crate::encoder::Kind;
use crate::error::ReadError;
use crate::gzip::HEADER_BYTES_MAX;

const MEMBERS_MAX: u64 = 1 << 20;
/// So many members, and one more for so much tar: opening an engine costs as much as a piece of content.
const MEMBERS_ALWAYS: u64 = 128;
const MEMBER_TAR_BYTES: u64 = 256;
/// The same for frames of zstd, whose engine has tables of some MiB.
const FRAME_TAR_BYTES: u64 = 64 << 10;
/// libzstd's tables have up to some ten MiB.
const LIBZSTD_FRAME_TAR_BYTES: u64 = 1 << 20;
/// The most bytes behind the last member.
pub const TAIL_BYTES_MAX: usize = 64 << 10;
/// That of gzip. A frame of zstd is a member with neither header nor trailer: its engine makes all of it.
const TRAILER_BYTES_MAX: u64 = 8;

/// The members of a blob, and what stands between and behind them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Framing {
    /// The different headers of members.
    pub headers: Vec<Vec<u8>>,
    pub members: Vec<Member>,
    /// Bytes behind the last member.
    pub tail: Vec<u8>,
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

impl Framing {
    /// The header of a member.
    pub fn header(&self, member: &Member) -> &[u8] {
        self.headers.get(member.header as usize).map_or(&[], Vec::as_slice)
    }

    pub(super) fn put(&self, out: &mut Vec<u8>) {
        put(self.headers.len() as u64, out);
        self.headers.iter().for_each(|header| put_bytes(header, out));
        put(self.members.len() as u64, out);
        for member in &self.members {
            put(member.tar_bytes, out);
            put((u64::from(member.header) << 1) | u64::from(member.trailer.is_some()), out);
            member.trailer.iter().for_each(|trailer| put_bytes(trailer, out));
        }
        put_bytes(&self.tail, out);
    }

    pub(super) fn read(input: &mut Input<'_>, tar_bytes: u64, kind: Kind) -> Result<Self, ReadError> {
        let count = input.count(1, MEMBERS_MAX)?;
        let headers = (0..count).map(|_| Ok(input.bytes(HEADER_BYTES_MAX as u64)?.to_vec()));
        let headers: Vec<Vec<u8>> = headers.collect::<Result<_, ReadError>>()?;
        let count = input.count(2, members_max(kind, tar_bytes))?;
        let members = (0..count).map(|_| Member::read(input, headers.len()));
        let members: Vec<Member> = members.collect::<Result<_, ReadError>>()?;
        let sum = members.iter().try_fold(0u64, |sum, member| sum.checked_add(member.tar_bytes));
        if sum != Some(tar_bytes) {
            return Err(ReadError::Contradiction("its members have not the length of the tar"));
        }
        let tail = input.bytes(TAIL_BYTES_MAX as u64)?.to_vec();
        Ok(Self { headers, members, tail })
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

/// The most members of a blob of some kind with so much content.
pub fn members_max(kind: Kind, tar_bytes: u64) -> u64 {
    let member_tar_bytes = match kind {
        Kind::Go | Kind::Zlib => MEMBER_TAR_BYTES,
        Kind::Zstd => FRAME_TAR_BYTES,
        Kind::LibZstd => LIBZSTD_FRAME_TAR_BYTES,
    };
    MEMBERS_MAX.min(MEMBERS_ALWAYS.saturating_add(tar_bytes / member_tar_bytes))
}
