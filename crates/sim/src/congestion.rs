//! Congestion control on a path: how a connection grows, how much it may have under way, and what loss costs.
//!
//! A [`Pace`] is the state of one connection, one way. It lets the bytes of a stream enter the path when the sender's
//! window has room for them. There are two controllers: [`PILOT`], that of this project's QUIC, and [`CUBIC`], the
//! kernel's default over TCP. Each is a few figures; a third would be one more constant. docs/SIMULATION.md
//! ("Congestion control") has the source of every number, and what was compared with the controllers themselves.

use crate::queue::Micros;

/// Bytes of a packet of QUIC, and of a segment of TCP.
const PACKET: u64 = 1200;
const SEGMENT: u64 = 1448;
/// A millionth part of the packets is lost: the unit of loss.
const MILLION: u64 = 1_000_000;
/// Above this loss our controller takes it for congestion, and has a tenth of the path.
const PILOT_LOSS_MAX: u64 = 150_000;
/// An acknowledgement waits for this at most (RFC 9000, `max_ack_delay`).
const ACK_DELAY: Micros = 25_000;
/// The longest time between two probes (Linux, `TCP_RTO_MAX`).
const PROBE_GAP_MAX: Micros = 120_000_000;

/// A way across links, as a sender finds it.
#[derive(Clone, Copy, Debug)]
pub struct Route {
    /// The rate of the slowest link.
    pub bytes_per_second: u64,
    pub round_trip: Micros,
    pub loss_ppm: u64,
    /// The longest that bytes wait before the slowest link.
    pub queue: Micros,
}

impl Route {
    /// The bytes that fill the path for a round trip.
    fn fills(&self) -> u64 {
        (u128::from(self.bytes_per_second) * u128::from(self.round_trip) / u128::from(MILLION)) as u64
    }

    /// How much later the end of so many bytes arrives on average, because packets of it were lost. Losses before the
    /// last round trip are made good meanwhile. The latest of those in it decides, and what is sent again may be lost
    /// again.
    pub fn mending(&self, bytes: u64) -> Micros {
        let packets = bytes.min(self.fills().max(PACKET)).div_ceil(PACKET);
        let (mut lost_ppm, mut late) = (packets.saturating_mul(self.loss_ppm), 0);
        while lost_ppm > MILLION / 1000 {
            late += self.round_trip * lost_ppm / (MILLION + lost_ppm);
            lost_ppm = lost_ppm * self.loss_ppm / MILLION;
        }
        late
    }
}

/// A congestion controller, as its connections show it.
#[derive(Clone, Copy, Debug)]
pub struct Control {
    /// Bytes under way before anything is known of the path.
    first: u64,
    /// The window that a round trip makes of 1,000 bytes while it grows: of the first window, and of a later one.
    growth_permille: [u64; 2],
    /// The part of a round trip that goes to the queue which the growth made.
    settling_permille: u64,
    /// The longest that its bytes stand in a queue.
    pub stands: Micros,
    /// The most that it has under way, once it has grown.
    most: fn(&Route) -> u64,
    /// The time between two probes doubles, and grows by this at most.
    probe_step: Micros,
}

impl Control {
    /// How long after the end of an outage the first probe goes out (RFC 9002, 6.2.1; RFC 6298, 5.5).
    pub fn silence_after(&self, outage: Micros, route: &Route) -> Micros {
        let mut gap = route.round_trip + ACK_DELAY;
        let mut probe = gap;
        while probe < outage {
            gap = (gap + gap.min(self.probe_step)).min(PROBE_GAP_MAX);
            probe += gap;
        }
        probe - outage
    }
}

/// crates/quic/src/congestion/pilot.rs: `INITIAL_WINDOW`, `LEAP_MAX`, `STARTUP_GAIN`, and the windows of decision 17;
/// noq 1.4: `MAX_PTO_INTERVAL`. The part for settling was fitted.
pub const PILOT: Control = Control {
    first: 38_400,
    growth_permille: [16_000, 2773],
    settling_permille: 250,
    stands: 200_000,
    most: |route| if route.loss_ppm > PILOT_LOSS_MAX { (route.fills() / 10).max(4 * PACKET) } else { 3 << 20 },
    probe_step: 2_000_000,
};

/// Ten segments (RFC 6928), twice as many each round trip, and what losses leave. Linux sends 4 MiB ahead at most. The
/// part for settling was fitted.
pub const CUBIC: Control = Control {
    first: 10 * SEGMENT,
    growth_permille: [2000; 2],
    settling_permille: 500,
    stands: Micros::MAX,
    most: |route| cubic_window(route.round_trip, route.loss_ppm).min(4 << 20),
    probe_step: PROBE_GAP_MAX,
};

/// The mean window of Cubic where so many packets are lost by chance, in bytes: (RTT / p)^(3/4) segments with RFC
/// 9438's factor (section 5.1: 1.054) times 1.4, as measured, or Reno's sqrt(1.5 / p) where that is larger.
fn cubic_window(round_trip: Micros, loss_ppm: u64) -> u64 {
    let Some(ratio) = (u128::from(round_trip) * 100_000_000).checked_div(u128::from(loss_ppm)) else {
        return u64::MAX;
    };
    // The ratio is 10^8 too large, its root 10^4 and its power 10^6.
    let power = (ratio * ratio.isqrt()).isqrt();
    let cubic = power * 1476 / 1_000_000;
    let reno = (1_500_000_000_000 / u128::from(loss_ppm)).isqrt();
    (cubic.max(reno) * u128::from(SEGMENT) / 1000) as u64
}

/// One way of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    control: Control,
    /// The window while it grows, and what of it was used; `None` once it has grown.
    growing: Option<(u64, u64)>,
    /// The moment from which the window has room.
    free: Micros,
}

impl Pace {
    pub fn new(control: Control) -> Self {
        Self { control, growing: Some((control.first, 0)), free: 0 }
    }

    /// The longest that bytes stand in the queue of a path.
    pub fn stands(&self, route: &Route) -> Micros {
        route.queue.min(self.control.stands)
    }

    /// The bytes that may go in one piece.
    pub fn room(&self) -> u64 {
        self.growing.map_or(u64::MAX, |(window, used)| window - used)
    }

    /// The moment at which the next bytes enter the path. A window is spread over a round trip, so its bytes leave
    /// when the last of them may.
    pub fn admit(&mut self, route: &Route, now: Micros, bytes: u64) -> Micros {
        let mut begins = self.free.max(now);
        let most = (self.control.most)(route);
        if self.overflows(route, bytes) {
            begins += route.round_trip;
            self.growing = Some((self.larger(), 0));
        }
        let window = self.growing.map_or(most, |(window, _)| window.min(most));
        if window >= route.fills() {
            self.growing = None;
            return begins;
        }
        let took = part_of(route.round_trip, bytes, window);
        self.free = begins + took;
        self.grow(bytes, route, most);
        begins + took.saturating_sub(part_of(MILLION, bytes, route.bytes_per_second))
    }

    /// Whether a queue has no room for half of the first window. The bytes that it drops come a round trip later.
    fn overflows(&self, route: &Route, bytes: u64) -> bool {
        self.growing.is_some_and(|(window, used)| {
            window == self.control.first && part_of(MILLION, used + bytes, route.bytes_per_second) > 2 * route.queue
        })
    }

    /// The window that comes after the one that grows.
    fn larger(&self) -> u64 {
        let Some((window, _)) = self.growing else { return 0 };
        let [first, later] = self.control.growth_permille;
        let growth_permille = if window == self.control.first { first } else { later };
        window * growth_permille / 1000
    }

    fn grow(&mut self, bytes: u64, route: &Route, most: u64) {
        let larger = self.larger();
        let Some((window, used)) = &mut self.growing else { return };
        *used += bytes;
        if *used < *window {
            return;
        }
        (*window, *used) = (larger, 0);
        if *window >= route.fills().min(most) {
            self.growing = None;
            self.free += route.round_trip * self.control.settling_permille / 1000;
        }
    }
}

/// `whole` times `bytes` over `of`.
fn part_of(whole: u64, bytes: u64, of: u64) -> u64 {
    (u128::from(whole) * u128::from(bytes) / u128::from(of.max(1))) as u64
}

#[cfg(test)]
mod tests;
