//! The one place that all traffic passes: it counts bytes per peer and protocol, and holds them to the rate caps.
//!
//! It sits between the multiplexer and the protocols: every substream of every connection, whatever opened it, is
//! wrapped, so nothing can be left out of the accounts or around the throttle. Counted are the bytes of the substreams,
//! protocol negotiation included; encryption, multiplexing and packet headers come on top (docs/TRAFFIC.md: how much).

mod bucket;
mod dial;
mod muxer;
mod openings;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use lighter_types::{Bytes, PeerId};

pub use bucket::Bucket;
pub use dial::MeteredDial;
pub use muxer::MeteredMuxer;
use openings::Openings;

use crate::config::Rate;

/// The purpose of a substream, known from the protocol name that is negotiated on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    Patch,
    Ask,
    Gossip,
    Identify,
    Ping,
    /// Registries, over TCP and TLS: no peer has these bytes.
    Registry,
    /// Not negotiated yet, or none of ours.
    Other,
}

impl Protocol {
    pub const ALL: [Self; 7] =
        [Self::Patch, Self::Ask, Self::Gossip, Self::Identify, Self::Ping, Self::Registry, Self::Other];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Patch => "patch",
            Self::Ask => "ask",
            Self::Gossip => "gossip",
            Self::Identify => "identify",
            Self::Ping => "ping",
            Self::Registry => "registry",
            Self::Other => "other",
        }
    }
}

/// Bytes in both directions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    pub sent: Bytes,
    pub received: Bytes,
}

/// Direction of a byte as this node sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    Sent,
    Received,
}

/// Peers that have accounts of their own; the bytes of all others are counted together.
const PEERS_MAX: usize = 4096;

/// Bytes by peer and protocol; `None` stands for all peers that are not told apart.
type Accounts = BTreeMap<(Option<PeerId>, Protocol), Traffic>;

/// The accounts and the caps of one node. Cloning gives another handle to the same.
#[derive(Clone)]
pub struct Accountant {
    accounts: Arc<Mutex<Accounts>>,
    upload: Arc<Bucket>,
    download: Arc<Bucket>,
    meter: Arc<OnceLock<lighter_quic::Meter>>,
    /// Streams that peers opened, and the gossip that came from them.
    pub openings: Openings,
}

impl Accountant {
    pub fn new(upload_max: Rate, download_max: Rate) -> Self {
        Self {
            accounts: Arc::default(),
            upload: Arc::new(Bucket::new(upload_max.0)),
            download: Arc::new(Bucket::new(download_max.0)),
            meter: Arc::default(),
            openings: Openings::default(),
        }
    }

    /// Takes the meter of the QUIC transport. A second one is left out.
    pub fn set_meter(&self, meter: lighter_quic::Meter) {
        let _ = self.meter.set(meter);
    }

    /// Looks at what idle connections cost, once a minute.
    pub fn look(&self, now: std::time::Instant) {
        if let Some(meter) = self.meter.get() {
            meter.look(now);
        }
    }

    /// The bytes that an idle connection over QUIC costs in a day, with every header; `None` before it was measured.
    pub fn idle_bytes_per_day(&self) -> Option<Bytes> {
        self.meter.get()?.idle().bytes_per_day().map(Bytes)
    }

    /// Changes the caps; what waits for the old ones goes on at the new.
    pub fn limit(&self, upload_max: Option<Rate>, download_max: Option<Rate>) {
        if let Some(rate) = upload_max {
            self.upload.set_rate(rate.0);
        }
        if let Some(rate) = download_max {
            self.download.set_rate(rate.0);
        }
    }

    /// The caps in force: upload, download.
    pub fn limits(&self) -> (Rate, Rate) {
        (Rate(self.upload.rate()), Rate(self.download.rate()))
    }

    /// Everything since the node started, by peer and protocol.
    pub fn traffic(&self) -> Vec<(Option<PeerId>, Protocol, Traffic)> {
        self.accounts().iter().map(|(&(peer, protocol), &traffic)| (peer, protocol, traffic)).collect()
    }

    /// Everything since the node started.
    pub fn total(&self) -> Traffic {
        self.sum(|_, _| true)
    }

    pub fn of_peer(&self, peer: PeerId) -> Traffic {
        self.sum(|account, _| account == Some(peer))
    }

    pub fn of_protocol(&self, protocol: Protocol) -> Traffic {
        self.sum(|_, account| account == protocol)
    }

    fn sum(&self, counts: impl Fn(Option<PeerId>, Protocol) -> bool) -> Traffic {
        let accounts = self.accounts();
        let counted = accounts.iter().filter(|((peer, protocol), _)| counts(*peer, *protocol));
        counted.fold(Traffic::default(), |sum, (_, traffic)| Traffic {
            sent: sum.sent + traffic.sent,
            received: sum.received + traffic.received,
        })
    }

    fn count(&self, peer: Option<PeerId>, protocol: Protocol, direction: Direction, bytes: usize) {
        let mut accounts = self.accounts();
        let key = key(&accounts, peer, protocol);
        let account = accounts.entry(key).or_default();
        match direction {
            Direction::Sent => account.sent += Bytes(bytes as u64),
            Direction::Received => account.received += Bytes(bytes as u64),
        }
    }

    /// Moves what was counted before the protocol was known to where it belongs.
    fn reassign(&self, peer: Option<PeerId>, protocol: Protocol, traffic: Traffic) {
        let mut accounts = self.accounts();
        // No account is ever removed, so this is the one that the bytes were counted in.
        let counted_in = key(&accounts, peer, Protocol::Other);
        let other = accounts.entry(counted_in).or_default();
        other.sent = other.sent - traffic.sent;
        other.received = other.received - traffic.received;
        let key = key(&accounts, peer, protocol);
        let account = accounts.entry(key).or_default();
        account.sent += traffic.sent;
        account.received += traffic.received;
    }

    fn bucket(&self, direction: Direction) -> &Arc<Bucket> {
        match direction {
            Direction::Sent => &self.upload,
            Direction::Received => &self.download,
        }
    }

    /// Counting cannot leave the accounts half-changed, so a panic elsewhere does not spoil them.
    fn accounts(&self) -> MutexGuard<'_, Accounts> {
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The account for a peer and a protocol: its own, or beyond [`PEERS_MAX`] the one of the peers that are not told
/// apart.
fn key(accounts: &Accounts, peer: Option<PeerId>, protocol: Protocol) -> (Option<PeerId>, Protocol) {
    let has_own = accounts.contains_key(&(peer, protocol)) || accounts.len() < PEERS_MAX * Protocol::ALL.len();
    (peer.filter(|_| has_own), protocol)
}

#[cfg(test)]
mod tests;
