//! The state that the behaviour, the handlers of its connections and its controls share.
//!
//! It lies behind a lock that nobody holds across an await. A stream or a waker that leaves the state is dropped or
//! woken after the lock is free, so that no foreign code runs under it.

use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use libp2p::swarm::{ConnectionId, Stream};
use libp2p::{PeerId, StreamProtocol};

use crate::inbox::Inbox;
use crate::outbox::{Action, Outbox};
use crate::settings::Settings;

/// Makes the bytes that go to a peer whose stream finds no place. It is told how many streams wait before that one.
pub type BusyReply = Arc<dyn Fn(usize) -> Vec<u8> + Send + Sync>;

/// Resets are logged at most this often.
const WARN_EVERY: Duration = Duration::from_secs(60);

/// Counts for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Inbound streams that wait now.
    pub queued: usize,
    /// Inbound streams that got the busy reply, or were about to when their connection ended.
    pub busy: u64,
    /// Inbound streams that were reset without a reply.
    pub resets: u64,
}

/// See the module.
#[derive(Clone)]
pub struct Shared {
    pub protocol: StreamProtocol,
    pub settings: Arc<Settings>,
    busy: BusyReply,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
pub struct State {
    pub inbox: Inbox<Stream>,
    pub outbox: Outbox,
    /// Whether there is an `Incoming`: the protocol is offered to peers.
    pub is_accepting: bool,
    pub is_stopped: bool,
    /// Waits for an inbound stream.
    taker: Option<Waker>,
    /// The behaviour waits for something to do.
    behaviour: Option<Waker>,
    refusals: usize,
    busy: u64,
    resets: u64,
    warned: Option<Instant>,
}

/// The place that an inbound stream found.
pub enum Placed {
    Queued,
    /// None. Write this and close.
    Refuse {
        stream: Box<Stream>,
        reply: Vec<u8>,
        place: RefusalPlace,
    },
    /// None, and no reply: the stream was dropped, which resets it.
    Reset,
}

impl Shared {
    pub fn new(protocol: StreamProtocol, settings: Settings, busy: BusyReply) -> Self {
        Self { protocol, settings: Arc::new(settings), busy, state: Arc::default() }
    }

    pub fn lock(&self) -> MutexGuard<'_, State> {
        // No code of others runs under the lock: the state is whole even after a panic.
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Queues an inbound stream. `refusals` are those being written on its connection.
    pub fn queue(&self, peer: PeerId, connection: ConnectionId, stream: Stream, refusals: usize) -> Placed {
        let mut state = self.lock();
        if !state.is_accepting {
            drop(state);
            return Placed::Reset;
        }
        let Err(stream) = state.inbox.push(peer, connection, stream, &self.settings) else {
            let taker = state.taker.take();
            drop(state);
            taker.into_iter().for_each(Waker::wake);
            return Placed::Queued;
        };
        if refusals >= self.settings.refusals_per_connection_max || state.refusals >= self.settings.refusals_max {
            state.reset(peer);
            drop(state);
            return Placed::Reset;
        }
        state.refusals += 1;
        state.busy += 1;
        let queued = state.inbox.queued();
        drop(state);
        Placed::Refuse { stream: Box::new(stream), reply: (self.busy)(queued), place: RefusalPlace(self.clone()) }
    }

    /// Takes the next inbound stream, or has the caller woken when there is one. `None` when the behaviour is gone.
    pub fn poll_take(&self, cx: &mut Context<'_>) -> Poll<Option<(PeerId, Stream)>> {
        let mut state = self.lock();
        if state.is_stopped {
            return Poll::Ready(None);
        }
        match state.inbox.take(&self.settings) {
            Some(taken) => Poll::Ready(Some(taken)),
            None => {
                state.taker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    /// A stream that was taken gives up its place.
    pub fn release(&self, peer: PeerId) {
        let mut state = self.lock();
        state.inbox.release(peer, &self.settings);
        let taker = state.taker.take();
        drop(state);
        taker.into_iter().for_each(Waker::wake);
    }

    /// The next thing for the behaviour to do, or has it woken when there is one.
    pub fn poll_action(&self, cx: &mut Context<'_>) -> Poll<Action> {
        let mut state = self.lock();
        match state.outbox.next_action() {
            Some(action) => Poll::Ready(action),
            None => {
                state.behaviour = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    /// Wakes the behaviour: there is something to do.
    pub fn wake_behaviour(&self) {
        let waker = self.lock().behaviour.take();
        waker.into_iter().for_each(Waker::wake);
    }

    /// No more streams are taken: those that wait are dropped, and the protocol is not offered any more.
    pub fn stop_accepting(&self) {
        let mut state = self.lock();
        state.is_accepting = false;
        let dropped = state.inbox.clear();
        drop(state);
        drop(dropped);
    }

    /// The behaviour is gone: all that waits ends.
    pub fn stop(&self) {
        let mut state = self.lock();
        state.is_stopped = true;
        state.outbox.clear();
        let taker = state.taker.take();
        drop(state);
        self.stop_accepting();
        taker.into_iter().for_each(Waker::wake);
    }

    pub fn counts(&self) -> Counts {
        let state = self.lock();
        Counts { queued: state.inbox.queued(), busy: state.busy, resets: state.resets }
    }

    /// Entries in all maps.
    pub fn held(&self) -> usize {
        let state = self.lock();
        state.inbox.held() + state.outbox.held() + state.refusals
    }
}

impl State {
    fn reset(&mut self, peer: PeerId) {
        self.resets += 1;
        let now = Instant::now();
        if self.warned.is_none_or(|warned| now.duration_since(warned) >= WARN_EVERY) {
            self.warned = Some(now);
            let resets = self.resets;
            tracing::warn!(%peer, resets, "streams were reset: too many wait, and too many are being refused");
        }
    }
}

/// A place for a busy reply that is being written.
pub struct RefusalPlace(Shared);

impl Drop for RefusalPlace {
    fn drop(&mut self) {
        self.0.lock().refusals -= 1;
    }
}
