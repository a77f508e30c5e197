//! Bounds of the behaviour.

use std::time::Duration;

/// Bounds of the behaviour. Each connection and each call also has its own share of a bound in all, so that one peer
/// cannot use up what others need.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Inbound streams that wait to be taken: of all peers, and of one.
    pub queued_max: usize,
    pub queued_per_peer_max: usize,
    /// Streams of one peer that were taken and whose [`crate::Inbound`] still has its place. Streams beyond wait.
    pub taken_per_peer_max: usize,
    /// Busy replies that are being written: on all connections, and on one.
    pub refusals_max: usize,
    pub refusals_per_connection_max: usize,
    /// A busy reply ends after this time, whatever the peer does.
    pub refusal_timeout: Duration,
    /// Bytes of the peer's that are read and dropped after a busy reply, until the peer ends its side. At least the
    /// largest request, or a peer that sends all of it before it reads may wait for room in yamux's window for ever.
    pub refusal_read_bytes_max: usize,
    /// Calls of [`crate::Control::open`] that wait: to all peers, and to one.
    pub opens_max: usize,
    pub opens_per_peer_max: usize,
    /// Streams that one connection opens at a time.
    pub opening_per_connection_max: usize,
    /// A call of [`crate::Control::open`] fails after this time.
    pub open_timeout: Duration,
}

impl Default for Settings {
    /// Room for 1,024 streams, as many as the engine has wait for a patch; 64 of one peer are eight images of eight
    /// layers at once. A stream that waits has no buffers of its own but what the transport received for it.
    fn default() -> Self {
        Self {
            queued_max: 1024,
            queued_per_peer_max: 64,
            taken_per_peer_max: 64,
            refusals_max: 1024,
            refusals_per_connection_max: 64,
            refusal_timeout: Duration::from_secs(10),
            refusal_read_bytes_max: 64 << 10,
            opens_max: 4096,
            opens_per_peer_max: 256,
            opening_per_connection_max: 16,
            open_timeout: Duration::from_secs(10),
        }
    }
}
