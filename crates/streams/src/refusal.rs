//! The busy reply: written, and then held until the peer has it.
//!
//! The peer sends its request first and reads after that. A stream that is dropped with bytes unread stops the peer's
//! sending (QUIC) or is unknown to later frames (yamux). The reply itself still arrives, because this side closed it
//! before. But a peer whose write fails may never read. So what the peer sends is read and dropped, up to a bound and
//! for a while. A peer that sends more than that finds its write broken and the reply there to read.

use std::io;

use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Bytes that are read at a time.
const CHUNK_BYTES: usize = 4096;

/// Writes the reply, closes this side, and reads until the peer closes its own.
pub async fn refuse(mut stream: impl AsyncRead + AsyncWrite + Unpin, reply: Vec<u8>, bytes_max: usize) -> io::Result<()> {
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
