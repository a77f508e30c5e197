//! The steps of the pilot: it grows until packets wait, then holds the rate and tries more now and then.

/// The step that the pilot is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It grows by the gain each round.
    Startup,
    /// It lets the queue go that startup made.
    Drain,
    Cruise,
    /// It tries a quarter more.
    Up,
    /// It lets the queue go that the try made.
    Down,
    /// It has little in flight, so that the round trip shows without its own queue.
    Measure,
}
