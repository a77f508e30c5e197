//! A libp2p transport over QUIC with a congestion controller for far and lossy links.
//!
//! It speaks the same as libp2p's own QUIC transport (`/udp/N/quic-v1`, ALPN `libp2p`, libp2p's certificates), so that
//! the two talk to each other. Certificates are checked whatever the clock shows. The QUIC below is `noq`;
//! `docs/decisions/0017-quic-and-congestion-control.md` says why.
//!
//! ```no_run
//! # fn main() -> Result<(), lighter_quic::Error> {
//! let keys = libp2p::identity::Keypair::generate_ed25519();
//! let transport = lighter_quic::Transport::new(&lighter_quic::Config::default(), &keys)?;
//! # drop(transport);
//! # Ok(())
//! # }
//! ```
//!
//! The transport has to be polled inside a tokio runtime. Its output is the PeerId that the certificate proves, and the
//! connection; the swarm compares that PeerId with the one it dialled. There is no hole punching.

mod address;
mod batch;
mod certificate;
mod ciphers;
mod config;
pub mod congestion;
mod connection;
mod interfaces;
mod listener;
mod meter;
mod monitor;
mod stream;
mod tls;
mod transport;

pub use config::Config;
pub use connection::{Connecting, Connection};
pub use meter::{Idle, Meter};
pub use monitor::{Monitor, Path};
pub use stream::Stream;
pub use transport::Transport;

/// Why a connection or a listener failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The identity gave no certificate.
    #[error("cannot make a certificate: {0}")]
    Certificate(String),
    #[error("the handshake took longer than {0:?}")]
    HandshakeTimeout(std::time::Duration),
    /// The handshake ended, and the certificate proves no PeerId.
    #[error("the peer's certificate proves no PeerId")]
    NoPeerId,
    #[error("cannot dial")]
    Dial(#[from] noq::ConnectError),
    #[error("the connection is lost")]
    Connection(#[from] noq::ConnectionError),
    #[error("the socket failed")]
    Io(#[from] std::io::Error),
}
