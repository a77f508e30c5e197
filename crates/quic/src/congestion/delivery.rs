//! How fast the path delivers: the rate over the time between a packet's sending and its acknowledgement.
//!
//! The method is that of "Delivery Rate Estimation" (draft-ietf-ccwg-bbr, section 4.1): bytes that were acknowledged
//! since the packet was sent, over the longer of two times: in which they were sent, and in which they were
//! acknowledged. So neither a burst of packets nor a burst of acknowledgements makes the path seem faster than it is.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Times of sending that are kept. Packets sent at once share one.
const SENDINGS_MAX: usize = 4096;

/// The state when packets were sent.
#[derive(Clone, Copy, Debug)]
struct Sending {
    at: Instant,
    /// Bytes acknowledged until then, and when the last of them was.
    delivered: u64,
    delivered_at: Instant,
    /// When the packet was sent that was acknowledged last.
    first_sent_at: Instant,
    is_app_limited: bool,
}

/// A measurement.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// Bytes a second.
    pub rate: u64,
    pub round_trip: Duration,
    /// When the newest acknowledged packet was sent.
    pub sent_at: Instant,
    /// Bytes that had been acknowledged when the packet was sent.
    pub delivered_before: u64,
    /// There was too little to send, so the path may be faster.
    pub is_app_limited: bool,
}

#[derive(Clone, Debug)]
pub struct Delivery {
    /// Bytes acknowledged so far.
    delivered: u64,
    delivered_at: Instant,
    first_sent_at: Instant,
    /// Until this much is delivered, samples are of packets that were sent while there was too little to send.
    app_limited_until: u64,
    sendings: VecDeque<Sending>,
    /// The state at the sending of the newest packet that this acknowledgement names.
    newest: Option<Sending>,
}

impl Delivery {
    pub fn new(now: Instant) -> Self {
        Self {
            delivered: 0,
            delivered_at: now,
            first_sent_at: now,
            app_limited_until: 0,
            sendings: VecDeque::new(),
            newest: None,
        }
    }

    pub fn delivered(&self) -> u64 {
        self.delivered
    }

    /// A packet is sent; `is_idle` if nothing was in flight.
    pub fn sent(&mut self, now: Instant, is_idle: bool) {
        if is_idle {
            self.first_sent_at = now;
            self.delivered_at = now;
        }
        if self.sendings.back().is_some_and(|last| last.at >= now) {
            return;
        }
        if self.sendings.len() == SENDINGS_MAX {
            self.sendings.pop_front();
        }
        self.sendings.push_back(Sending {
            at: now,
            delivered: self.delivered,
            delivered_at: self.delivered_at,
            first_sent_at: self.first_sent_at,
            is_app_limited: self.delivered < self.app_limited_until,
        });
    }

    /// A packet that was sent at `sent` is acknowledged.
    pub fn acknowledged(&mut self, now: Instant, sent: Instant, bytes: u64) {
        self.delivered += bytes;
        self.delivered_at = now;
        let index = self.sendings.partition_point(|sending| sending.at <= sent);
        let Some(sending) = index.checked_sub(1).and_then(|index| self.sendings.get(index)) else { return };
        if self.newest.is_none_or(|newest| newest.at <= sending.at) {
            self.newest = Some(*sending);
        }
    }

    /// The acknowledgement is read to its end.
    pub fn sample(&mut self, now: Instant) -> Option<Sample> {
        let newest = self.newest.take()?;
        // Older packets may still be acknowledged late: a round trip's worth of them stays.
        let round_trip = now.saturating_duration_since(newest.at);
        let keep_from = newest.at.checked_sub(round_trip * 2);
        while self.sendings.front().is_some_and(|first| keep_from.is_some_and(|from| first.at < from)) {
            self.sendings.pop_front();
        }
        self.first_sent_at = newest.at;
        let sending = newest.at.saturating_duration_since(newest.first_sent_at);
        let acknowledging = now.saturating_duration_since(newest.delivered_at);
        let seconds = sending.max(acknowledging).as_secs_f64().max(1e-4);
        Some(Sample {
            rate: ((self.delivered - newest.delivered) as f64 / seconds) as u64,
            round_trip,
            sent_at: newest.at,
            delivered_before: newest.delivered,
            is_app_limited: newest.is_app_limited,
        })
    }

    /// There is too little to send while `in_flight` bytes are under way.
    pub fn app_limited(&mut self, in_flight: u64) {
        self.app_limited_until = self.delivered + in_flight.max(1);
    }
}
