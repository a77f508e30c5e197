//! The busy reply: written, and then held until the peer has it.
//!
//! The peer sends its request first and reads after that. When this side drops the stream, QUIC tells the peer to stop
//! sending: its write fails, and the reply is still there to read, because this side closed it before. Yamux tells
//! nothing: a peer whose window is used up waits for room. So this side reads and drops what the peer sends, up to a
//! bound and for a while. A peer that sends more than that must read while it writes.

use std::io;

use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Bytes that are read at a time.
const CHUNK_BYTES: usize = 4096;

/// Writes the reply, closes this side, and reads until the peer closes its own.
pub async fn refuse(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    reply: Vec<u8>,
    bytes_max: usize,
) -> io::Result<()> {
    stream.write_all(&reply).await?;
    stream.close().await?;
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut left = bytes_max;
    while left > 0 {
        match stream.read(&mut chunk).await? {
            0 => return Ok(()),
            count => left = left.saturating_sub(count),
        }
    }
    Ok(())
}
