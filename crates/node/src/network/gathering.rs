//! Yamux whose frames go out together.
//!
//! Yamux flushes after every frame, and a frame is often a dozen bytes. So a handshake took forty packets each way, and
//! more than half of their bytes were headers (docs/BENCHMARKS.md, "meeting"). Here a flush waits a moment for more
//! frames. Bulk does not wait: noise sends its buffer when it is full.

use std::future::{Future, Ready, ready};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::{AsyncRead, AsyncWrite};
use libp2p::core::upgrade::{InboundConnectionUpgrade, OutboundConnectionUpgrade, UpgradeInfo};
use libp2p::yamux;
use tokio::time::Sleep;

/// The wait of a flush. A question and its answer take four times this in all, a fiftieth of an uplink's round trip.
const MOMENT: Duration = Duration::from_millis(1);

/// Sets up yamux over a connection.
#[derive(Clone, Default)]
pub struct GatheringYamux(yamux::Config);

impl UpgradeInfo for GatheringYamux {
    type Info = <yamux::Config as UpgradeInfo>::Info;
    type InfoIter = <yamux::Config as UpgradeInfo>::InfoIter;

    fn protocol_info(&self) -> Self::InfoIter {
        self.0.protocol_info()
    }
}

impl<C: AsyncRead + AsyncWrite + Send + Unpin + 'static> InboundConnectionUpgrade<C> for GatheringYamux {
    type Output = yamux::Muxer<Gathered<C>>;
    type Error = io::Error;
    type Future = Ready<io::Result<Self::Output>>;

    fn upgrade_inbound(self, connection: C, info: Self::Info) -> Self::Future {
        ready(self.0.upgrade_inbound(Gathered::new(connection, MOMENT), info).into_inner())
    }
}

impl<C: AsyncRead + AsyncWrite + Send + Unpin + 'static> OutboundConnectionUpgrade<C> for GatheringYamux {
    type Output = yamux::Muxer<Gathered<C>>;
    type Error = io::Error;
    type Future = Ready<io::Result<Self::Output>>;

    fn upgrade_outbound(self, connection: C, info: Self::Info) -> Self::Future {
        ready(self.0.upgrade_outbound(Gathered::new(connection, MOMENT), info).into_inner())
    }
}

/// A connection that is flushed a moment after it was asked to.
pub struct Gathered<C> {
    connection: C,
    moment: Duration,
    flush: Flush,
}

/// The state of the bytes that were written.
enum Flush {
    /// They are on their way.
    Done,
    Unasked,
    At(Pin<Box<Sleep>>),
    Due,
}

impl<C> Gathered<C> {
    fn new(connection: C, moment: Duration) -> Self {
        Self { connection, moment, flush: Flush::Done }
    }
}

impl<C: AsyncWrite + Unpin> AsyncWrite for Gathered<C> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if matches!(self.flush, Flush::Done) {
            self.flush = Flush::Unasked;
        }
        Pin::new(&mut self.connection).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if matches!(self.flush, Flush::Unasked) {
            self.flush = Flush::At(Box::pin(tokio::time::sleep(self.moment)));
        }
        if let Flush::At(moment) = &mut self.flush {
            std::task::ready!(moment.as_mut().poll(cx));
            self.flush = Flush::Due;
        }
        std::task::ready!(Pin::new(&mut self.connection).poll_flush(cx))?;
        self.flush = Flush::Done;
        Poll::Ready(Ok(()))
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.connection).poll_close(cx)
    }
}

impl<C: AsyncRead + Unpin> AsyncRead for Gathered<C> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.connection).poll_read(cx, buffer)
    }
}

#[cfg(test)]
mod tests {
    use futures::{AsyncWriteExt, FutureExt};

    use super::*;

    /// Counts what is written and how often it is flushed.
    #[derive(Default)]
    struct Wire {
        written: usize,
        flushes: usize,
    }

    impl AsyncWrite for Wire {
        fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            self.written += bytes.len();
            Poll::Ready(Ok(bytes.len()))
        }

        fn poll_flush(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.flushes += 1;
            Poll::Ready(Ok(()))
        }

        fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[tokio::test]
    async fn writes_within_a_moment_are_flushed_once() -> io::Result<()> {
        let mut gathered = Gathered::new(Wire::default(), Duration::from_millis(200));
        for _ in 0..5 {
            gathered.write_all(b"frame").await?;
            assert!(gathered.flush().now_or_never().is_none(), "it waits for what else there is");
        }
        assert_eq!((gathered.connection.written, gathered.connection.flushes), (25, 0));
        gathered.flush().await?;
        assert_eq!(gathered.connection.flushes, 1);
        gathered.flush().await?;
        gathered.write_all(b"again").await?;
        assert!(gathered.flush().now_or_never().is_none(), "the next frame waits for its own moment");
        gathered.flush().await
    }
}
