//! A connection as libp2p's stream multiplexer, and the handshake that leads to it.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures::future::BoxFuture;
use futures::{FutureExt, TryFutureExt};
use libp2p::PeerId;
use libp2p::core::muxing::{StreamMuxer, StreamMuxerEvent};
use noq::VarInt;
use noq::rustls::pki_types::CertificateDer;

use crate::address::from_socket;
use crate::certificate::Certificate;
use crate::{Error, Meter, Monitor, Stream};

/// The name of a peer whose PeerId is not known yet. TLS wants one; it is not sent, and libp2p's certificates have
/// none.
const NO_NAME: &str = "l";

/// The name under which a peer's sessions are remembered: only a session with the same peer is offered to it.
fn session_name(peer: Option<PeerId>) -> String {
    peer.map_or_else(|| NO_NAME.to_owned(), |peer| blake3::hash(&peer.to_bytes()).to_hex()[..32].to_owned())
}

/// A connection whose handshake is under way. Dropping it gives the connection up.
pub struct Connecting(BoxFuture<'static, Result<(PeerId, Connection), Error>>);

impl Connecting {
    /// Begins when it is polled first: a handshake that is refused before costs next to nothing. Holds `under_way`
    /// until it is over.
    pub(crate) fn accept(incoming: noq::Incoming, timeout: Duration, meter: Meter, under_way: Arc<()>) -> Self {
        let shaking = async move {
            let shaken = shake_hands(incoming.accept()?, timeout, meter).await;
            drop(under_way);
            shaken
        };
        Self(shaking.boxed())
    }

    /// Dials when it is polled first.
    pub(crate) fn dial(
        endpoint: noq::Endpoint,
        client: noq::ClientConfig,
        (to, peer): (SocketAddr, Option<PeerId>),
        timeout: Duration,
        meter: Meter,
    ) -> Self {
        Self(
            async move { shake_hands(endpoint.connect_with(client, to, &session_name(peer))?, timeout, meter).await }
                .boxed(),
        )
    }
}

async fn shake_hands(
    connecting: noq::Connecting,
    timeout: Duration,
    meter: Meter,
) -> Result<(PeerId, Connection), Error> {
    let ended = tokio::time::timeout(timeout, connecting).await;
    let connection = ended.map_err(|_| Error::HandshakeTimeout(timeout))??;
    let peer = peer_id(&connection).ok_or(Error::NoPeerId)?;
    meter.add(&connection, remote(&connection).is_some_and(|address| address.is_ipv6()));
    Ok((peer, Connection::new(connection)))
}

impl Future for Connecting {
    type Output = Result<(PeerId, Connection), Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.poll_unpin(cx)
    }
}

/// The PeerId of the key that signed the peer's certificate.
fn peer_id(connection: &noq::Connection) -> Option<PeerId> {
    let chain = connection.peer_identity()?.downcast::<Vec<CertificateDer<'static>>>().ok()?;
    Some(Certificate::check(chain.first()?).ok()?.peer_id())
}

type Opening = BoxFuture<'static, Result<Stream, Error>>;

/// The swarm looks at a connection only when something wakes its task, and the end of a stream does not. It looks this
/// often at least, so that it finds a connection without streams and closes it. No byte is sent for that.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// A connection. Dropping it closes it once its streams are dropped too.
pub struct Connection {
    connection: noq::Connection,
    /// Where the peer was when it was last asked.
    remote: Option<SocketAddr>,
    inbound: Option<Opening>,
    outbound: Option<Opening>,
    closing: Option<BoxFuture<'static, noq::ConnectionError>>,
    looks: tokio::time::Interval,
}

impl Connection {
    fn new(connection: noq::Connection) -> Self {
        let remote = remote(&connection);
        let looks = tokio::time::interval(LOOK_EVERY);
        Self { connection, remote, inbound: None, outbound: None, closing: None, looks }
    }

    /// Shows the path of this connection as long as it lives, and does not keep it alive.
    pub fn monitor(&self) -> Monitor {
        Monitor(self.connection.weak_handle())
    }
}

fn remote(connection: &noq::Connection) -> Option<SocketAddr> {
    connection.path(noq::PathId::ZERO)?.remote_address().ok()
}

impl StreamMuxer for Connection {
    type Substream = Stream;
    type Error = Error;

    fn poll_inbound(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<Stream, Error>> {
        let Self { connection, inbound, .. } = &mut *self;
        let opening = inbound.get_or_insert_with(|| {
            let connection = connection.clone();
            async move { Ok(Stream::new(connection.accept_bi().await?)) }.boxed()
        });
        let stream = ready!(opening.poll_unpin(cx));
        *inbound = None;
        Poll::Ready(stream)
    }

    fn poll_outbound(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<Stream, Error>> {
        let Self { connection, outbound, .. } = &mut *self;
        let opening = outbound.get_or_insert_with(|| {
            let connection = connection.clone();
            async move { connection.open_bi().map_ok(Stream::new).map_err(Error::from).await }.boxed()
        });
        let stream = ready!(opening.poll_unpin(cx));
        *outbound = None;
        Poll::Ready(stream)
    }

    /// Says closing to the peer at once, and is ready then.
    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let Self { connection, closing, .. } = &mut *self;
        let closing = closing.get_or_insert_with(|| {
            connection.close(VarInt::from_u32(0), &[]);
            let connection = connection.clone();
            async move { connection.closed().await }.boxed()
        });
        match ready!(closing.poll_unpin(cx)) {
            noq::ConnectionError::LocallyClosed => Poll::Ready(Ok(())),
            error => Poll::Ready(Err(error.into())),
        }
    }

    /// Tells when the peer's address changed (another network, a NAT that forgot). It is looked at whenever the
    /// connection is polled, and does not wake the task by itself.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<StreamMuxerEvent, Error>> {
        while self.looks.poll_tick(cx).is_ready() {}
        let now = remote(&self.connection);
        match now {
            Some(address) if now != self.remote => {
                self.remote = now;
                Poll::Ready(Ok(StreamMuxerEvent::AddressChange(from_socket(address))))
            }
            _ => Poll::Pending,
        }
    }
}
