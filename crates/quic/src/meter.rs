//! Bytes that idle connections cost, with every header.
//!
//! Once a minute, the meter looks at each connection. A minute in which the connection carried no part of a stream was
//! idle: what it sent and received then are keep-alives, their acknowledgements, and what else QUIC says by itself.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use noq::{Connection, ConnectionStats, WeakConnectionHandle};

/// Between two looks. A keep-alive falls into most of them.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// Headers of a datagram: UDP with IPv4, UDP with IPv6.
const HEADERS_IP4: u64 = 28;
const HEADERS_IP6: u64 = 48;

/// The meter of a transport. Cloning gives another handle to the same.
#[derive(Clone, Default)]
pub struct Meter(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    connections: Vec<Metered>,
    looked_at: Option<Instant>,
    idle: Idle,
}

/// Idle time of all connections together, and what it cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Idle {
    pub time: Duration,
    /// Both directions, with the headers of IP and UDP.
    pub bytes: u64,
}

impl Idle {
    /// Bytes that an idle connection costs in a day; `None` before anything was measured.
    pub fn bytes_per_day(&self) -> Option<u64> {
        const DAY_S: f64 = 86_400.0;
        let seconds = self.time.as_secs_f64();
        (seconds > 0.0).then(|| (self.bytes as f64 * DAY_S / seconds) as u64)
    }
}

struct Metered {
    connection: WeakConnectionHandle,
    headers: u64,
    /// At the last look; `None` before the first.
    last: Option<Reading>,
}

/// The counts of a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Reading {
    bytes: u64,
    stream_frames: u64,
}

impl Reading {
    fn of(stats: &ConnectionStats, headers: u64) -> Self {
        let datagrams = stats.udp_tx.datagrams + stats.udp_rx.datagrams;
        Self {
            bytes: stats.udp_tx.bytes + stats.udp_rx.bytes + datagrams * headers,
            stream_frames: stats.frame_tx.stream + stats.frame_rx.stream,
        }
    }
}

impl Meter {
    /// Idle connections since the transport was made.
    pub fn idle(&self) -> Idle {
        self.state().idle
    }

    /// Looks at the connections if the last look was a minute ago. Cheap enough to be called every second.
    pub fn look(&self, now: Instant) {
        let mut state = self.state();
        let State { connections, looked_at, idle } = &mut *state;
        let elapsed = looked_at.map(|at| now.saturating_duration_since(at));
        if elapsed.is_some_and(|elapsed| elapsed < LOOK_EVERY) {
            return;
        }
        *looked_at = Some(now);
        connections.retain_mut(|metered| {
            let Some(connection) = metered.connection.upgrade() else { return false };
            let reading = Reading::of(&connection.stats(), metered.headers);
            idle.add(metered.last.replace(reading), reading, elapsed.unwrap_or_default());
            true
        });
    }

    /// The meter holds no connection open. The endpoint's own limits bound how many there are.
    pub(crate) fn add(&self, connection: &Connection, is_ip6: bool) {
        let headers = if is_ip6 { HEADERS_IP6 } else { HEADERS_IP4 };
        let metered = Metered { connection: connection.weak_handle(), headers, last: None };
        let mut state = self.state();
        // Those that ended go when the list would grow, so that it is bounded where nobody looks.
        if state.connections.len() == state.connections.capacity() {
            state.connections.retain(|metered| metered.connection.is_alive());
        }
        state.connections.push(metered);
    }

    /// Nothing panics with the lock held but for a defect elsewhere, and counts stay usable.
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Idle {
    /// Adds the time between two looks at a connection if no stream was used in it.
    fn add(&mut self, last: Option<Reading>, now: Reading, elapsed: Duration) {
        if let Some(last) = last.filter(|last| last.stream_frames == now.stream_frames) {
            self.time += elapsed;
            self.bytes += now.bytes.saturating_sub(last.bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_minutes_without_a_stream_are_idle() {
        let (mut idle, minute) = (Idle::default(), LOOK_EVERY);
        assert_eq!(idle.bytes_per_day(), None);
        idle.add(None, reading(5000, 9), minute);
        idle.add(Some(reading(5000, 9)), reading(9000, 12), minute);
        assert_eq!(idle, Idle::default());
        idle.add(Some(reading(9000, 12)), reading(9250, 12), minute);
        idle.add(Some(reading(9250, 12)), reading(9500, 12), minute);
        assert_eq!(idle, Idle { time: minute * 2, bytes: 500 });
        assert_eq!(idle.bytes_per_day(), Some(360_000));
    }

    fn reading(bytes: u64, stream_frames: u64) -> Reading {
        Reading { bytes, stream_frames }
    }
}
