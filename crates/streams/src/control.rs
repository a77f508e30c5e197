//! The user's ends: opening streams, and taking those that come.

use std::task::{Context, Poll};

use libp2p::PeerId;
use libp2p::swarm::Stream;

use crate::outbox::{OpenError, OpenStep};
use crate::shared::{Counts, Shared};

/// Opens streams, and tells counts. Clones are the same control.
#[derive(Clone)]
pub struct Control {
    shared: Shared,
}

impl Control {
    pub(crate) fn new(shared: Shared) -> Self {
        Self { shared }
    }

    /// Opens a stream to a peer, over its newest connection. Dials the peer if it has none. Streams come in the order
    /// of the calls. A call that is dropped midway gives up its place, and its stream goes to the next one.
    ///
    /// # Errors
    /// [`OpenError`], within `Settings::open_timeout`.
    pub async fn open(&self, peer: PeerId) -> Result<Stream, OpenError> {
        let (call, answer) = Call::begin(&self.shared, peer)?;
        match tokio::time::timeout(self.shared.settings.open_timeout, answer).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) if self.shared.lock().is_stopped => Err(OpenError::Stopped),
            Ok(Err(_)) => Err(OpenError::ConnectionClosed),
            Err(_) => Err(OpenError::TimedOut { step: call.step() }),
        }
    }

    pub fn counts(&self) -> Counts {
        self.shared.counts()
    }

    /// Entries in all maps: 0 when nothing is connected and nothing waits.
    pub fn held(&self) -> usize {
        self.shared.held()
    }
}

/// A call that waits for its stream.
struct Call {
    shared: Shared,
    peer: PeerId,
    id: u64,
}

impl Call {
    fn begin(shared: &Shared, peer: PeerId) -> Result<(Self, crate::outbox::Answer), OpenError> {
        let mut state = shared.lock();
        if state.is_stopped {
            return Err(OpenError::Stopped);
        }
        let (id, answer) = state.outbox.enter(peer, &shared.settings)?;
        drop(state);
        shared.wake_behaviour();
        Ok((Self { shared: shared.clone(), peer, id }, answer))
    }

    fn step(&self) -> OpenStep {
        match self.shared.lock().outbox.is_dialling(self.peer, self.id) {
            true => OpenStep::Dialling,
            false => OpenStep::Opening,
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.shared.lock().outbox.leave(self.peer, self.id);
    }
}

/// Takes the streams that peers open. When it is dropped, those that wait are reset and peers are not offered the
/// protocol any more.
pub struct Incoming {
    shared: Shared,
}

impl Incoming {
    pub(crate) fn new(shared: Shared) -> Self {
        Self { shared }
    }

    /// The next stream: the oldest of the peer whose turn it is. `None` when the behaviour is gone. A call that is
    /// dropped midway takes no stream.
    pub async fn next(&mut self) -> Option<Inbound> {
        std::future::poll_fn(|cx| self.poll_next(cx)).await
    }

    /// As [`Incoming::next`].
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Inbound>> {
        let taken = std::task::ready!(self.shared.poll_take(cx));
        Poll::Ready(taken.map(|(peer, stream)| {
            let place = Place { shared: self.shared.clone(), peer };
            Inbound { peer, stream, place }
        }))
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        self.shared.stop_accepting();
    }
}

/// A stream that a peer opened.
pub struct Inbound {
    pub peer: PeerId,
    pub stream: Stream,
    pub place: Place,
}

/// A place among the streams of one peer that were taken. While all of them are held, further streams of that peer
/// wait: hold it as long as the stream costs something.
pub struct Place {
    shared: Shared,
    peer: PeerId,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.shared.release(self.peer);
    }
}
