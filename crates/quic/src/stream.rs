//! A stream of a connection, as futures' reader and writer.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures::{AsyncRead, AsyncWrite};
use tokio::io::{AsyncRead as _, ReadBuf};

/// Both directions of a stream. Dropping it without `close` resets what was not sent.
pub struct Stream {
    send: noq::SendStream,
    receive: noq::RecvStream,
    /// Whether this end has said that nothing more comes.
    is_finished: bool,
}

impl Stream {
    pub(crate) fn new((send, receive): (noq::SendStream, noq::RecvStream)) -> Self {
        Self { send, receive, is_finished: false }
    }
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut buffer = ReadBuf::new(buffer);
        ready!(Pin::new(&mut self.receive).poll_read(cx, &mut buffer))?;
        Poll::Ready(Ok(buffer.filled().len()))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.send).poll_write(cx, bytes).map_err(Into::into)
    }

    /// QUIC sends what it has as soon as it may.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// Says that nothing more comes. Closing again is no error.
    fn poll_close(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.is_finished {
            self.send.finish()?;
            self.is_finished = true;
        }
        Poll::Ready(Ok(()))
    }
}
