//! Connections of a server: how many, and how long one may keep still.
//!
//! A client that sends no request, or does not read its answer, loses its connection, so that it cannot keep the places
//! of others.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, Sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::tls::Certificate;

/// The bounds of a server.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at a time. More wait until one ends.
    pub connections_max: usize,
    /// The head of a request must be there after this time, and a connection without a request ends after it.
    pub request_timeout: Duration,
    /// A client that takes nothing of its answer for so long is gone.
    pub stall_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { connections_max: 256, request_timeout: Duration::from_secs(30), stall_timeout: Duration::from_secs(60) }
    }
}

/// How long a listener pauses when the system gives it no connection, as when files run out.
const PAUSE: Duration = Duration::from_millis(100);

/// Serves until `stop` is cancelled. Connections under way are cut off then; a dropped future does the same.
pub async fn serve(listener: TcpListener, router: Router, limits: Limits, stop: CancellationToken) {
    serve_as(listener, None, router, limits, stop).await;
}

/// [`serve`] over TLS.
///
/// # Errors
/// If TLS cannot be set up with the certificate.
pub async fn serve_tls(
    listener: TcpListener,
    certificate: &Certificate,
    router: Router,
    limits: Limits,
    stop: CancellationToken,
) -> io::Result<()> {
    serve_as(listener, Some(certificate.acceptor()?), router, limits, stop).await;
    Ok(())
}

async fn serve_as(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    router: Router,
    limits: Limits,
    stop: CancellationToken,
) {
    let places = Arc::new(Semaphore::new(limits.connections_max));
    let mut connections = JoinSet::new();
    loop {
        let accepted = async {
            let place = places.clone().acquire_owned().await;
            (place, listener.accept().await)
        };
        let (place, accepted) = tokio::select! {
            accepted = accepted => accepted,
            Some(_) = connections.join_next() => continue,
            () = stop.cancelled() => return,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "the registry cannot take a connection");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let (router, tls) = (router.clone(), tls.clone());
        connections.spawn(async move {
            let _place = place;
            let stream = Unstalled::new(stream, limits.stall_timeout);
            let Some(tls) = tls else { return answer(stream, router, limits).await };
            match timeout(limits.request_timeout, tls.accept(stream)).await {
                Ok(Ok(stream)) => answer(stream, router, limits).await,
                Ok(Err(error)) => tracing::debug!(%error, "a client of the registry got no TLS"),
                Err(_) => {}
            }
        });
    }
}

/// Answers the requests of one connection.
async fn answer(stream: impl AsyncRead + AsyncWrite + Unpin, router: Router, limits: Limits) {
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.request_timeout)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    if let Err(error) = served.await {
        tracing::debug!(%error, "a client of the registry went away");
    }
}

/// A connection that fails when the other end takes nothing for some time.
struct Unstalled<S> {
    stream: S,
    patience: Duration,
    /// Set while a write waits.
    until: Option<Pin<Box<Sleep>>>,
}

impl<S> Unstalled<S> {
    fn new(stream: S, patience: Duration) -> Self {
        Self { stream, patience, until: None }
    }

    fn watch<T>(&mut self, cx: &mut Context<'_>, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            self.until = None;
            return polled;
        }
        let patience = self.patience;
        let until = self.until.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(Instant::now() + patience)));
        ready!(until.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Unstalled<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Unstalled<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.watch(cx, polled)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_flush(cx);
        self.watch(cx, polled)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.watch(cx, polled)
    }
}
