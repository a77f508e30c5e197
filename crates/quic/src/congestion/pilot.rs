//! Bandwidth-and-delay based congestion control for far, lossy and shared links.
//!
//! It follows BBR (draft-ietf-ccwg-bbr): the model of the path is its bandwidth (the largest delivery rate of the last
//! rounds) and its round trip (the smallest of the last ten seconds); the connection sends at that bandwidth, tries a
//! quarter more now and then, and has at most twice bandwidth x round trip in flight. It departs from BBR 3 like this:
//!
//! - **Loss is no sign of congestion until a round loses more than a fifth.** BBR 3 gives way above 2 %, and took 7 to
//!   15 times the bytes' time at 10 % (docs/decisions/0017-quic-and-congestion-control.md).
//! - **The first growth ends when packets begin to wait**, as in HyStart++ (RFC 9406), so that it fills no queue.
//! - **The first growth goes to the rate that a train of packets found** ([`Trains`]), and little beyond it.
//!
//! As in BBR, the window has room for acknowledgements that come together ([`Bursts`]), and a phase lasts so many
//! rounds: on a busy machine a response takes many times the shortest round trip.
//!
//! Pure: it has no clock and no randomness.

use std::time::{Duration, Instant};

use super::bursts::Bursts;
use super::delivery::{Delivery, Sample};
use super::maximum::Maximum;
use super::phase::Phase;
use super::train::Trains;
use super::waiting::Waiting;

/// Bytes in flight before anything is known: 32 packets, as browsers send. At 1 Mbit/s this is 0.3 s.
pub const INITIAL_WINDOW: u64 = 32 * 1200;
/// The bandwidth is the maximum of this many rounds, and of this time at least: a machine that is busy sends late.
const BANDWIDTH_ROUNDS: u32 = 10;
const BANDWIDTH_TIME_MIN: Duration = Duration::from_millis(2500);
/// Parts that this time has for the maximum.
const BANDWIDTH_PARTS: u64 = 10;
/// The shortest round trip is measured anew after this time without one as short.
const ROUND_TRIP_LIFE: Duration = Duration::from_secs(10);
/// The smallest gain at which a rate that is estimated too low doubles in a round (draft-ietf-ccwg-bbr, 2.4: 2.773).
const STARTUP_GAIN: f64 = 2.773;
/// A train shows the path's rate. Startup goes there at once if that is no more than so many times what is in flight.
const LEAP_MAX: u64 = 16;
/// A train that is so much faster than the limit that an earlier one found shows that the limit is none.
const FASTER: f64 = 1.1;
/// Startup ends at a queue only if at least this part of the limit shows in the bandwidth.
const LIMIT_SHOWN: f64 = 0.7;
/// The part of it that counts as bandwidth then: what a train shows too much would stand in the queue for ten rounds.
const SEED: f64 = 0.95;
/// The time in which the first window is sent: a twentieth of the round trip within these bounds.
const FIRST_TIME_MIN: Duration = Duration::from_millis(4);
const FIRST_TIME_MAX: Duration = Duration::from_millis(12);
const DRAIN_GAIN: f64 = 0.5;
/// After this many rounds, what the first growth or a try left in the queue is gone.
const DRAIN_ROUNDS: u32 = 3;
const UP_GAIN: f64 = 1.25;
const DOWN_GAIN: f64 = 0.75;
const WINDOW_GAIN: f64 = 2.0;
/// Round trips between two tries of more bandwidth, and the longest time.
const CRUISE_ROUNDS: u32 = 6;
const CRUISE_MAX: Duration = Duration::from_secs(2);
/// Rounds of such a try. The first shows nothing yet: its acknowledgements are of packets that were sent before.
const UP_ROUNDS: u32 = 2;
/// For how long, at least, little is in flight while the round trip is measured.
const MEASURE_TIME: Duration = Duration::from_millis(200);
/// Startup ends after this many rounds without a quarter more bandwidth.
const FULL_ROUNDS: u32 = 3;
/// A round that loses more than this is one that the path has no room for.
const LOSS_MAX: f64 = 0.2;
const LOSS_GAIN: f64 = 0.8;
/// Acknowledgements that come together stand for no more than what the path delivers in this time.
const BURST_MAX: Duration = Duration::from_millis(100);
/// Timers fire late and the stack keeps no more than 10 ms of what it did not send: at low rates a fifth got lost. The
/// pilot asks for more the later packets leave, twice its rate at most.
const LATE_MAX: Duration = Duration::from_millis(25);
/// The smallest rate, in bytes a second: one packet in 1.2 s.
const RATE_MIN: u64 = 1000;

/// The controller of one path.
#[derive(Clone, Debug)]
pub struct Pilot {
    mtu: u64,
    delivery: Delivery,
    in_flight: u64,
    /// When the next packet should leave, and how late the last one left.
    due: Instant,
    late: Duration,
    bandwidth: Maximum,
    /// The part of the time that the maximum is of, and when it began.
    part: u64,
    part_from: Instant,
    /// The shortest round trip, and when one as short was last seen.
    round_trip: Option<Duration>,
    round_trip_at: Instant,
    /// The shortest of this [`Phase::Measure`].
    measured: Duration,
    phase: Phase,
    phase_from: Instant,
    /// The bandwidth when the phase began.
    phase_bandwidth: u64,
    /// The round ends when a packet is acknowledged that was sent after this much was delivered.
    round_ends_at: u64,
    round_delivered: u64,
    round_lost: u64,
    /// The bandwidth that startup compares with, and the rounds since it grew.
    full_bandwidth: u64,
    full_rounds: u32,
    waiting: Waiting,
    /// Rounds that ended in this phase.
    phase_rounds: u32,
    bursts: Bursts,
    /// The part of the bytes that is lost, over about eight rounds.
    loss: f64,
    trains: Trains,
    /// The rate of the path as the last train found it that met a limit.
    limit: Option<u64>,
    /// Bytes of the acknowledgement that is being told.
    acknowledged: u64,
    /// As of the latest sample.
    is_app_limited: bool,
    /// Below 1 after rounds that lost too much.
    loss_gain: f64,
}

impl Pilot {
    pub fn new(now: Instant, mtu: u64) -> Self {
        Self {
            mtu,
            delivery: Delivery::new(now),
            in_flight: 0,
            due: now,
            late: Duration::ZERO,
            bandwidth: Maximum::new(BANDWIDTH_PARTS),
            part: 0,
            part_from: now,
            round_trip: None,
            round_trip_at: now,
            measured: Duration::MAX,
            phase: Phase::Startup,
            phase_from: now,
            phase_bandwidth: 0,
            round_ends_at: 0,
            round_delivered: 0,
            round_lost: 0,
            full_bandwidth: 0,
            full_rounds: 0,
            waiting: Waiting::default(),
            phase_rounds: 0,
            bursts: Bursts::new(now),
            loss: 0.0,
            trains: Trains::default(),
            limit: None,
            acknowledged: 0,
            is_app_limited: true,
            loss_gain: 1.0,
        }
    }

    pub fn phase(&self) -> Phase {
        self.phase
    }

    pub fn set_mtu(&mut self, mtu: u64) {
        self.mtu = mtu;
    }

    pub fn sent(&mut self, now: Instant, bytes: u64) {
        self.delivery.sent(now, self.in_flight == 0);
        self.in_flight += bytes;
        let due = self.due.max(now.checked_sub(LATE_MAX).unwrap_or(now));
        self.late = now.saturating_duration_since(due);
        self.due = due + Duration::from_secs_f64(bytes as f64 / self.rate() as f64);
    }

    pub fn acknowledged(&mut self, now: Instant, sent: Instant, bytes: u64) {
        self.in_flight = self.in_flight.saturating_sub(bytes);
        self.round_delivered += bytes;
        self.acknowledged += bytes;
        self.delivery.acknowledged(now, sent, bytes);
    }

    pub fn lost(&mut self, bytes: u64) {
        self.in_flight = self.in_flight.saturating_sub(bytes);
        self.round_lost += bytes;
    }

    /// All packets of an acknowledgement are told.
    pub fn acknowledgement_ended(&mut self, now: Instant, in_flight: u64, is_app_limited: bool) {
        self.in_flight = in_flight;
        let acknowledged = std::mem::take(&mut self.acknowledged);
        if let Some(sample) = self.delivery.sample(now) {
            self.learn(now, sample);
            self.bursts.acknowledged(now, acknowledged, self.bandwidth());
            self.trains.acknowledged(now, sample.sent_at, acknowledged);
            self.limit = match self.trains.hint() {
                Some(hint) if hint.is_limit => Some(hint.rate),
                Some(hint) => self.limit.filter(|&limit| hint.rate < scale(limit, FASTER)),
                None => self.limit,
            };
            self.steer(now);
        }
        if is_app_limited {
            self.delivery.app_limited(in_flight);
        }
    }

    /// Nothing came through for long: what was known of the path may hold no more.
    pub fn start_again(&mut self, now: Instant) {
        let (mtu, in_flight) = (self.mtu, self.in_flight);
        let round_trip = self.round_trip;
        *self = Self { in_flight, round_trip, ..Self::new(now, mtu) };
    }

    /// Bytes a second that the path delivers; 0 if nothing is known.
    pub fn bandwidth(&self) -> u64 {
        self.bandwidth.get()
    }

    /// Bytes a second that the path delivers, if packets waited in its queue or a train of them showed it; `None` as
    /// long as there was too little to send to find out.
    pub fn path_rate(&self) -> Option<u64> {
        let found = Some(self.bandwidth()).filter(|_| self.phase != Phase::Startup);
        found.max(self.limit).filter(|rate| *rate > 0)
    }

    /// The shortest of the last ten seconds in which something was sent.
    pub fn round_trip(&self) -> Option<Duration> {
        self.round_trip
    }

    /// Bytes a second to ask of the stack, so that [`rate`](Self::rate) comes out.
    pub fn pacing_rate(&self) -> u64 {
        scale(self.rate(), 1.0 + self.late.as_secs_f64() / LATE_MAX.as_secs_f64())
    }

    /// Bytes a second to send at.
    pub fn rate(&self) -> u64 {
        let gain = match self.phase {
            Phase::Startup => return self.startup_rate(),
            Phase::Drain => DRAIN_GAIN,
            // So much more that the bandwidth arrives.
            Phase::Cruise => 1.0 + self.loss.min(LOSS_MAX),
            Phase::Measure => 1.0,
            Phase::Up => UP_GAIN,
            Phase::Down => DOWN_GAIN,
        };
        scale(self.bandwidth(), gain * self.loss_gain).max(RATE_MIN)
    }

    /// Bytes that may be in flight.
    pub fn window(&self) -> u64 {
        let Some(path) = self.path_bytes() else { return INITIAL_WINDOW };
        // Acknowledgements come in bursts, and sending does too.
        let burst = self.bursts.bytes().min(scale(self.bandwidth(), BURST_MAX.as_secs_f64())).max(4 * self.mtu);
        match self.phase {
            Phase::Startup => (self.startup_window(path) + burst).max(INITIAL_WINDOW),
            Phase::Measure => (path / 2).max(burst),
            Phase::Drain | Phase::Cruise | Phase::Up | Phase::Down => scale(path, WINDOW_GAIN * self.loss_gain) + burst,
        }
    }

    /// The first window goes out at once, but for what a queue would not take. Then the rate is what the window needs,
    /// and little more than what a train found to be the path's.
    fn startup_rate(&self) -> u64 {
        let trip = self.round_trip.unwrap_or(FIRST_TIME_MAX);
        let path = self.path_bytes().unwrap_or(0);
        let hint = self.trains.hint();
        if path < INITIAL_WINDOW / 2 && hint.is_none() {
            return rate(INITIAL_WINDOW, (trip / 20).clamp(FIRST_TIME_MIN, FIRST_TIME_MAX));
        }
        let wanted = rate(self.startup_window(path).max(INITIAL_WINDOW), trip);
        let limit = self.limit.map_or(u64::MAX, |limit| limit.max(self.bandwidth()));
        wanted.min(scale(limit, UP_GAIN)).max(RATE_MIN)
    }

    fn startup_window(&self, path: u64) -> u64 {
        let trip = self.round_trip.unwrap_or(FIRST_TIME_MAX);
        let hinted = self.trains.hint().map_or(0, |hint| scale(hint.rate, trip.as_secs_f64()));
        let limit = self.limit.map(|limit| limit.max(self.bandwidth()));
        let most = limit.map_or(u64::MAX, |limit| scale(limit, trip.as_secs_f64() * UP_GAIN));
        scale(path, STARTUP_GAIN).max(hinted.min(path.max(INITIAL_WINDOW) * LEAP_MAX)).min(most)
    }

    /// Bandwidth x round trip; `None` if they are not known.
    fn path_bytes(&self) -> Option<u64> {
        let bandwidth = self.bandwidth();
        self.round_trip.filter(|_| bandwidth > 0).map(|trip| scale(bandwidth, trip.as_secs_f64()))
    }

    fn learn(&mut self, now: Instant, sample: Sample) {
        if sample.delivered_before >= self.round_ends_at {
            self.end_round();
        }
        let time = (sample.round_trip * BANDWIDTH_ROUNDS).max(BANDWIDTH_TIME_MIN);
        if now.saturating_duration_since(self.part_from) * u32::try_from(BANDWIDTH_PARTS).unwrap_or(1) >= time {
            self.part += 1;
            self.part_from = now;
        }
        if !sample.is_app_limited || sample.rate > self.bandwidth() {
            self.bandwidth.add(self.part, sample.rate);
        }
        let trip = sample.round_trip;
        let shortest = self.round_trip.unwrap_or(Duration::MAX);
        self.measured = self.measured.min(trip);
        self.is_app_limited = sample.is_app_limited;
        if trip <= shortest {
            self.round_trip = Some(trip);
            self.round_trip_at = now;
        } else if trip <= shortest + shortest / 16 + Duration::from_millis(1) {
            // As good as the shortest: the path is what it was.
            self.round_trip_at = now;
        }
        self.waiting.add(trip);
    }

    fn end_round(&mut self) {
        self.trains.end_round();
        self.phase_rounds += 1;
        self.bursts.end_round();
        self.round_ends_at = self.delivery.delivered();
        let all = self.round_lost + self.round_delivered;
        let is_lossy = all > 20 * self.mtu && self.round_lost as f64 > all as f64 * LOSS_MAX;
        self.loss_gain = if is_lossy { (self.loss_gain * LOSS_GAIN).max(0.1) } else { (self.loss_gain * 1.1).min(1.0) };
        if all > 0 {
            self.loss += (self.round_lost as f64 / all as f64 - self.loss) / 8.0;
        }
        self.round_lost = 0;
        self.round_delivered = 0;
        if self.phase == Phase::Startup && !self.is_app_limited {
            if self.bandwidth() as f64 >= self.full_bandwidth as f64 * 1.25 {
                self.full_bandwidth = self.bandwidth();
                self.full_rounds = 0;
            } else {
                self.full_rounds += 1;
            }
        }
    }

    /// Whether packets wait in a queue.
    fn is_waiting(&self) -> bool {
        self.round_trip.is_some_and(|shortest| self.waiting.is_beyond(shortest))
    }

    fn enter(&mut self, phase: Phase, now: Instant) {
        self.phase = phase;
        self.phase_from = now;
        self.phase_bandwidth = self.bandwidth();
        self.phase_rounds = 0;
        // Packets that are sent from now on make a round.
        self.round_ends_at = self.delivery.delivered();
    }

    fn steer(&mut self, now: Instant) {
        let Some(trip) = self.round_trip else { return };
        let path = self.path_bytes().unwrap_or(INITIAL_WINDOW);
        let elapsed = now.saturating_duration_since(self.phase_from);
        let is_old = now.saturating_duration_since(self.round_trip_at) > ROUND_TRIP_LIFE;
        if is_old && self.phase != Phase::Measure && self.phase != Phase::Startup {
            self.measured = Duration::MAX;
            self.enter(Phase::Measure, now);
            return;
        }
        match self.phase {
            Phase::Startup if self.is_app_limited => {}
            // The first window may wait in a queue of its own making, before the bandwidth shows.
            Phase::Startup if self.is_waiting() && self.bandwidth() >= scale(self.limit.unwrap_or(0), LIMIT_SHOWN) => {
                // A round trip passes before the bandwidth shows all of it.
                self.bandwidth.add(self.part, scale(self.limit.unwrap_or(0), SEED));
                self.enter(Phase::Drain, now);
            }
            Phase::Startup if self.full_rounds >= FULL_ROUNDS => self.enter(Phase::Drain, now),
            // Without a limit, a round trip passes before the bandwidth shows that the last growth met.
            Phase::Drain if self.in_flight <= path && (elapsed >= trip || self.limit.is_some()) => {
                self.enter(Phase::Cruise, now);
            }
            Phase::Drain | Phase::Down if self.phase_rounds >= DRAIN_ROUNDS => self.enter(Phase::Cruise, now),
            Phase::Cruise if self.phase_rounds >= CRUISE_ROUNDS || elapsed >= CRUISE_MAX => self.enter(Phase::Up, now),
            Phase::Up if self.phase_rounds >= UP_ROUNDS || self.is_waiting() => {
                let has_more = self.bandwidth() as f64 > self.phase_bandwidth as f64 * 1.15 && !self.is_waiting();
                if has_more {
                    self.limit = None;
                    self.full_bandwidth = self.bandwidth();
                    self.full_rounds = 0;
                }
                self.enter(if has_more { Phase::Startup } else { Phase::Down }, now);
            }
            Phase::Down if self.in_flight <= path => self.enter(Phase::Cruise, now),
            Phase::Measure if elapsed >= MEASURE_TIME.max(trip) => {
                self.round_trip = Some(self.measured);
                self.round_trip_at = now;
                self.enter(Phase::Cruise, now);
            }
            Phase::Startup | Phase::Drain | Phase::Cruise | Phase::Up | Phase::Down | Phase::Measure => {}
        }
    }
}

/// Bytes a second.
fn rate(bytes: u64, time: Duration) -> u64 {
    (bytes as f64 / time.as_secs_f64().max(1e-4)) as u64
}

fn scale(bytes: u64, factor: f64) -> u64 {
    (bytes as f64 * factor) as u64
}
