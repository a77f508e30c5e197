//! Connections to registries, counted and throttled as those to peers are.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use lighter_registry::{Dial, Dialling, Stream, TcpDial};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use super::{Accountant, Direction, Protocol};

/// Opens TCP connections to registries.
pub struct MeteredDial {
    accountant: Accountant,
}

impl MeteredDial {
    pub fn new(accountant: Accountant) -> Self {
        Self { accountant }
    }
}

impl Dial for MeteredDial {
    fn dial(&self, host: String, port: u16) -> Dialling<'_> {
        Box::pin(async move {
            let inner = TcpDial.dial(host, port).await?;
            let accountant = self.accountant.clone();
            Ok(Box::new(MeteredConnection { inner, accountant, read_pause: None, write_pause: None })
                as Box<dyn Stream>)
        })
    }
}

/// One connection, TLS included.
struct MeteredConnection {
    inner: Box<dyn Stream>,
    accountant: Accountant,
    read_pause: Option<Pin<Box<Sleep>>>,
    write_pause: Option<Pin<Box<Sleep>>>,
}

impl MeteredConnection {
    fn transferred(&self, direction: Direction, bytes: usize) {
        self.accountant.bucket(direction).take(bytes);
        self.accountant.count(None, Protocol::Registry, direction, bytes);
    }
}

/// Waits until the cap allows at least one byte; how many at most.
fn poll_allowed(
    accountant: &Accountant,
    direction: Direction,
    pause: &mut Option<Pin<Box<Sleep>>>,
    wanted: usize,
    cx: &mut Context<'_>,
) -> Poll<usize> {
    loop {
        if let Some(sleep) = pause {
            ready!(sleep.as_mut().poll(cx));
            *pause = None;
        }
        match accountant.bucket(direction).available(wanted, Instant::now()) {
            Ok(bytes) => return Poll::Ready(bytes),
            Err(wait) => *pause = Some(Box::pin(tokio::time::sleep(wait))),
        }
    }
}

impl AsyncRead for MeteredConnection {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if buffer.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        let wanted = buffer.remaining();
        let allowed = ready!(poll_allowed(&this.accountant, Direction::Received, &mut this.read_pause, wanted, cx));
        let mut part = ReadBuf::new(buffer.initialize_unfilled_to(allowed));
        ready!(Pin::new(&mut this.inner).poll_read(cx, &mut part))?;
        let read = part.filled().len();
        buffer.advance(read);
        this.transferred(Direction::Received, read);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for MeteredConnection {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let allowed = ready!(poll_allowed(&this.accountant, Direction::Sent, &mut this.write_pause, bytes.len(), cx));
        let written = ready!(Pin::new(&mut this.inner).poll_write(cx, &bytes[..allowed]))?;
        this.transferred(Direction::Sent, written);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use lighter_types::Bytes;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;
    use crate::config::Rate;

    #[tokio::test]
    async fn the_bytes_of_registries_are_counted() {
        let accountant = Accountant::new(Rate::UNLIMITED, Rate::UNLIMITED);
        let dial = Arc::new(MeteredDial::new(accountant.clone()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let echo = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut bytes = [0; 5];
            stream.read_exact(&mut bytes).await.unwrap();
            stream.write_all(&bytes[..3]).await.unwrap();
        };
        let client = async {
            let mut stream = dial.dial("127.0.0.1".to_owned(), port).await.unwrap();
            stream.write_all(b"12345").await.unwrap();
            let mut bytes = Vec::new();
            stream.read_to_end(&mut bytes).await.unwrap();
            assert_eq!(bytes, b"123");
        };
        tokio::join!(echo, client);
        let traffic = accountant.of_protocol(Protocol::Registry);
        assert_eq!((traffic.sent, traffic.received), (Bytes(5), Bytes(3)));
    }
}
