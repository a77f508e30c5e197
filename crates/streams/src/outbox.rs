//! Calls that wait for a stream, until a connection's handler has them; and the connections of each peer.
//!
//! A call is counted from its begin to its end, wherever it waits. It waits in `ready` until the behaviour is polled,
//! and in `dialling` while its peer is not connected.

use std::collections::{HashMap, VecDeque};
use std::io;

use futures::channel::oneshot;
use libp2p::PeerId;
use libp2p::swarm::{ConnectionId, Stream};

use crate::settings::Settings;

/// Why no stream was opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// The text is libp2p's, with every address that was tried.
    #[error("the peer could not be dialled: {0}")]
    Dial(String),
    #[error("the peer does not speak the protocol")]
    Unsupported,
    #[error("the time was over while {step}")]
    TimedOut { step: OpenStep },
    #[error("the connection failed: {0}")]
    Io(io::ErrorKind),
    /// As many calls wait as may, to this peer or to all.
    #[error("too many streams wait to be opened")]
    Busy,
    #[error("the connection was closed")]
    ConnectionClosed,
    /// The behaviour is gone.
    #[error("the network was stopped")]
    Stopped,
}

/// The step at which the time was over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenStep {
    /// There was no connection yet.
    Dialling,
    /// The connection gave no stream, or the peer did not agree to the protocol.
    Opening,
}

impl std::fmt::Display for OpenStep {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Dialling => "the peer was dialled",
            Self::Opening => "the stream was opened",
        })
    }
}

/// A call that waits.
#[derive(Debug)]
pub struct Open {
    pub id: u64,
    pub answer: oneshot::Sender<Result<Stream, OpenError>>,
}

/// The next thing that the swarm has to do.
#[derive(Debug)]
pub enum Action {
    Dial(PeerId),
    Hand { peer: PeerId, connection: ConnectionId, open: Open },
}

/// See the module.
#[derive(Default)]
pub struct Outbox {
    next_id: u64,
    waiting: usize,
    waiting_of: HashMap<PeerId, usize>,
    ready: VecDeque<(PeerId, Open)>,
    dialling: HashMap<PeerId, VecDeque<Open>>,
    /// The newest last.
    connections: HashMap<PeerId, Vec<ConnectionId>>,
}

impl Outbox {
    /// A call begins. Its id, and where its answer comes. [`Outbox::leave`] ends it.
    ///
    /// # Errors
    /// [`OpenError::Busy`] if a bound is reached.
    pub fn enter(&mut self, peer: PeerId, settings: &Settings) -> Result<(u64, Answer), OpenError> {
        let of_peer = self.waiting_of.get(&peer).copied().unwrap_or(0);
        if self.waiting >= settings.opens_max || of_peer >= settings.opens_per_peer_max {
            return Err(OpenError::Busy);
        }
        self.waiting += 1;
        self.waiting_of.insert(peer, of_peer + 1);
        self.next_id += 1;
        let id = self.next_id;
        let (answer, answered) = oneshot::channel();
        self.ready.push_back((peer, Open { id, answer }));
        Ok((id, answered))
    }

    /// A call ended, answered or not.
    pub fn leave(&mut self, peer: PeerId, id: u64) {
        self.waiting -= 1;
        if let Some(of_peer) = self.waiting_of.get_mut(&peer) {
            *of_peer -= 1;
            if *of_peer == 0 {
                self.waiting_of.remove(&peer);
            }
        }
        self.ready.retain(|(_, open)| open.id != id);
        if let Some(opens) = self.dialling.get_mut(&peer) {
            opens.retain(|open| open.id != id);
            if opens.is_empty() {
                self.dialling.remove(&peer);
            }
        }
    }

    /// Whether this call waits for a connection.
    pub fn is_dialling(&self, peer: PeerId, id: u64) -> bool {
        self.dialling.get(&peer).is_some_and(|opens| opens.iter().any(|open| open.id == id))
    }

    pub fn connected(&mut self, peer: PeerId, connection: ConnectionId) {
        self.connections.entry(peer).or_default().push(connection);
        let opens = self.dialling.remove(&peer).unwrap_or_default();
        self.ready.extend(opens.into_iter().map(|open| (peer, open)));
    }

    pub fn closed(&mut self, peer: PeerId, connection: ConnectionId) {
        if let Some(connections) = self.connections.get_mut(&peer) {
            connections.retain(|other| *other != connection);
            if connections.is_empty() {
                self.connections.remove(&peer);
            }
        }
    }

    /// A dial failed. All calls that waited for it fail.
    pub fn dial_failed(&mut self, peer: PeerId, why: &str) {
        for open in self.dialling.remove(&peer).unwrap_or_default() {
            // A call that ended meanwhile needs no answer.
            let _ = open.answer.send(Err(OpenError::Dial(why.to_owned())));
        }
    }

    /// The next thing to do: hands a call to the newest connection of its peer, or dials.
    pub fn next_action(&mut self) -> Option<Action> {
        while let Some((peer, open)) = self.ready.pop_front() {
            if let Some(&connection) = self.connections.get(&peer).and_then(|connections| connections.last()) {
                return Some(Action::Hand { peer, connection, open });
            }
            let opens = self.dialling.entry(peer).or_default();
            opens.push_back(open);
            if opens.len() == 1 {
                return Some(Action::Dial(peer));
            }
        }
        None
    }

    /// Entries in the maps.
    pub fn held(&self) -> usize {
        self.waiting_of.len() + self.ready.len() + self.dialling.len() + self.connections.len()
    }

    /// Drops all calls that wait, and all connections.
    pub fn clear(&mut self) {
        self.ready.clear();
        self.dialling.clear();
        self.connections.clear();
    }
}

/// The place where the answer to a call comes.
pub type Answer = oneshot::Receiver<Result<Stream, OpenError>>;
