//! Links and the pieces on their way over them, in virtual time.
//!
//! A message or a piece of a stream crosses the links of its path one after the other. A link carries one piece at a
//! time, in the order in which pieces come to it. A stream has at most [`WINDOW`] pieces on its way ([`Flow`]), so that
//! streams share a link evenly. A lossy link charges the bytes that are sent again. When a piece may enter its path,
//! and how late the end of a stream is, congestion control decides (`congestion.rs`). Time is in microseconds; events
//! of the same moment happen in the order in which they were put into the queue.

use crate::congestion::{Pace, Route};
use crate::queue::{Micros, Queue};

/// Pieces of one stream that are on their way at a time.
const WINDOW: u32 = 2;
/// Least and most bytes of a piece.
const PIECE_BYTES_MIN: u64 = 16 << 10;
const PIECE_BYTES_MAX: u64 = 16 << 20;
/// The most pieces of one stream, and of all streams together: they bound the cost of a run. A stream may always have
/// [`PIECES_MIN`], so that it is done less than a fiftieth late.
const PIECES_MAX: u64 = 1024;
const PIECES_IN_ALL: u64 = 1 << 24;
const PIECES_MIN: u64 = 64;
/// Bytes on the wire for 1,000 bytes of a stream: headers of QUIC and IP (docs/BENCHMARKS.md, "wire").
const WIRE_PERMILLE: u64 = 1043;

/// The bytes on a wire without loss for so many bytes of a stream.
pub fn on_wire(bytes: u64) -> u64 {
    bytes * WIRE_PERMILLE / 1000
}

/// Width of a bin of [`Counts`].
const BIN: Micros = 1_000_000;
/// Bins that are kept: more than three months of seconds.
const BINS_MAX: usize = 1 << 23;

/// A kind of link. Bytes are counted by kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkClass {
    /// The link of a hub, or of the registry.
    Origin,
    /// Between a site and the rest.
    Uplink,
    /// An uplink that is paid for by the byte.
    Metered,
    /// Within a site.
    Lan,
}

const CLASSES: usize = 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkId(pub u32);

/// The properties of one direction of a link.
#[derive(Clone, Copy, Debug)]
pub struct Line {
    pub bytes_per_second: u64,
    /// One way.
    pub latency: Micros,
    /// Packets that get lost, of a million.
    pub loss_ppm: u64,
    /// The longest that bytes wait before the link.
    pub queue: Micros,
}

/// The queue of a link of which nothing else is said.
pub const QUEUE: Micros = 200_000;
const LOSS_PPM_MAX: u64 = 900_000;

impl Line {
    /// A link that loses nothing.
    pub fn clean(bytes_per_second: u64, latency: Micros) -> Self {
        Self { bytes_per_second, latency, loss_ppm: 0, queue: QUEUE }
    }
}

#[derive(Clone, Debug)]
struct Link {
    class: LinkClass,
    line: Line,
    free: Micros,
    bytes: u64,
}

/// One or two links.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Path {
    links: [LinkId; 2],
    count: u8,
}

impl Path {
    pub fn one(link: LinkId) -> Self {
        Self { links: [link, link], count: 1 }
    }

    /// Whether the path leaves a site.
    pub fn is_far(&self) -> bool {
        self.count > 1
    }

    pub fn two(first: LinkId, second: LinkId) -> Self {
        Self { links: [first, second], count: 2 }
    }
}

/// Bytes that crossed links.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    bytes: [u64; CLASSES],
    /// For each second.
    series: [Vec<u64>; CLASSES],
}

impl Counts {
    pub fn of(&self, class: LinkClass) -> u64 {
        self.bytes[class as usize]
    }

    /// Bytes over links of these classes, for each second.
    pub fn series(&self, classes: &[LinkClass]) -> Vec<u64> {
        let all: Vec<&Vec<u64>> = classes.iter().map(|class| &self.series[*class as usize]).collect();
        let seconds = all.iter().map(|series| series.len()).max().unwrap_or_default();
        (0..seconds).map(|second| all.iter().filter_map(|series| series.get(second)).sum()).collect()
    }

    fn add(&mut self, class: LinkClass, bytes: u64, at: Micros) {
        self.bytes[class as usize] += bytes;
        let (series, bin) = (&mut self.series[class as usize], (at / BIN) as usize);
        if bin < BINS_MAX {
            series.resize(series.len().max(bin + 1), 0);
            series[bin] += bytes;
        }
    }
}

struct Waiting<C> {
    /// Absent for an event that is only due.
    piece: Option<Piece>,
    cargo: C,
}

/// Bytes on their way.
#[derive(Clone, Copy)]
struct Piece {
    path: Path,
    /// Links that it has crossed.
    behind: u8,
    bytes: u64,
    /// How much later than its last packet what was lost of it arrives.
    late: Micros,
}

/// Links, and the events to come.
pub struct Network<C> {
    links: Vec<Link>,
    queue: Queue<Waiting<C>>,
    pieces_max: u64,
    pub now: Micros,
    pub counts: Counts,
    pub events: u64,
}

impl<C> Network<C> {
    /// A network without links, for about so many streams.
    pub fn new(streams: usize) -> Self {
        Self {
            pieces_max: (PIECES_IN_ALL / (streams as u64).max(1)).clamp(PIECES_MIN, PIECES_MAX),
            links: Vec::new(),
            queue: Queue::new(),
            now: 0,
            counts: Counts::default(),
            events: 0,
        }
    }

    pub fn link(&mut self, class: LinkClass, line: Line) -> LinkId {
        self.links.push(Link { class, line, free: 0, bytes: 0 });
        let link = LinkId(self.links.len() as u32 - 1);
        self.set_rate(link, line.bytes_per_second);
        self.set_loss(link, line.loss_ppm);
        link
    }

    /// Pieces that come to a link from now on cross it at this rate.
    pub fn set_rate(&mut self, link: LinkId, bytes_per_second: u64) {
        self.links[link.0 as usize].line.bytes_per_second = bytes_per_second.max(1);
    }

    /// A link loses so many of a million packets from now on.
    pub fn set_loss(&mut self, link: LinkId, loss_ppm: u64) {
        self.links[link.0 as usize].line.loss_ppm = loss_ppm.min(LOSS_PPM_MAX);
    }

    /// The bytes that a link carried.
    pub fn carried(&self, link: LinkId) -> u64 {
        self.links[link.0 as usize].bytes
    }

    /// A path as its senders find it.
    pub fn route(&self, path: Path) -> Route {
        let lines = path.links[..usize::from(path.count)].iter().map(|link| self.links[link.0 as usize].line);
        let mut route = Route { bytes_per_second: u64::MAX, round_trip: 0, loss_ppm: 0, queue: QUEUE };
        for line in lines {
            if line.bytes_per_second < route.bytes_per_second {
                (route.bytes_per_second, route.queue) = (line.bytes_per_second, line.queue);
            }
            route.round_trip += 2 * line.latency;
            route.loss_ppm += line.loss_ppm * (1_000_000 - route.loss_ppm) / 1_000_000;
        }
        route
    }

    /// `cargo` is due at this moment.
    pub fn due(&mut self, at: Micros, cargo: C) {
        self.push(at, None, cargo);
    }

    /// `cargo` arrives when a message of so many bytes has crossed the path.
    pub fn send(&mut self, path: Path, bytes: u64, cargo: C) {
        let late = self.route(path).mending(bytes);
        self.push(self.now, Some(Piece { path, behind: 0, bytes, late }), cargo);
    }

    /// The next event that is due or arrives; time passes until then.
    pub fn next(&mut self) -> Option<C> {
        while let Some((at, waiting)) = self.queue.pop() {
            self.now = at;
            self.events += 1;
            match waiting.piece {
                Some(Piece { path, behind, bytes, late }) if behind < path.count => {
                    let at = self.cross(path.links[usize::from(behind)], bytes);
                    let behind = behind + 1;
                    let late_here = if behind == path.count { late } else { 0 };
                    self.push(at + late_here, Some(Piece { path, behind, bytes, late }), waiting.cargo);
                }
                Some(_) | None => return Some(waiting.cargo),
            }
        }
        None
    }

    /// Takes bytes over a link; returns the moment at which they arrive.
    fn cross(&mut self, id: LinkId, bytes: u64) -> Micros {
        let link = &mut self.links[id.0 as usize];
        let line = link.line;
        let wire = on_wire(bytes) * 1_000_000 / (1_000_000 - line.loss_ppm) + 1;
        let took = (u128::from(wire) * 1_000_000 / u128::from(line.bytes_per_second)) as u64;
        let end = link.free.max(self.now) + took;
        link.free = end;
        link.bytes += wire;
        let arrives = end + line.latency;
        self.counts.add(link.class, wire, end);
        arrives
    }

    fn push(&mut self, at: Micros, piece: Option<Piece>, cargo: C) {
        self.queue.push(at, Waiting { piece, cargo });
    }
}

/// The bytes of a stream, in pieces.
#[derive(Clone, Debug)]
pub struct Flow {
    pub path: Path,
    unsent: u64,
    pub arrived: u64,
    /// All bytes of the stream.
    pub total: u64,
    on_the_way: u32,
    piece: u64,
}

impl Flow {
    /// A stream of so many bytes, over a connection with this pace.
    pub fn new<C>(network: &Network<C>, pace: &Pace, path: Path, bytes: u64) -> Self {
        let route = network.route(path);
        let time = route.round_trip + pace.stands(&route);
        let full = u128::from(route.bytes_per_second) * u128::from(time) / 1_000_000;
        let piece =
            (full as u64 / u64::from(WINDOW)).clamp(PIECE_BYTES_MIN, PIECE_BYTES_MAX).max(bytes / network.pieces_max);
        Self { path, unsent: bytes, arrived: 0, total: bytes, on_the_way: 0, piece }
    }

    pub fn is_done(&self) -> bool {
        self.arrived >= self.total
    }

    /// Sends as many pieces as may be on their way, of the first `there` bytes of the stream, at the pace of its
    /// connection. `cargo` makes the event of a piece from its bytes.
    pub fn pump<C>(&mut self, network: &mut Network<C>, pace: &mut Pace, there: u64, cargo: impl Fn(u64) -> C) {
        let held_back = self.total.saturating_sub(there);
        let route = network.route(self.path);
        while self.on_the_way < WINDOW && self.unsent > held_back {
            let bytes = self.piece.min(self.unsent - held_back).min(pace.room());
            self.unsent -= bytes;
            self.on_the_way += 1;
            let late = if self.unsent == 0 { route.mending(self.total) } else { 0 };
            let enters = pace.admit(&route, network.now, bytes);
            network.push(enters, Some(Piece { path: self.path, behind: 0, bytes, late }), cargo(bytes));
        }
    }

    /// A piece of so many bytes has arrived.
    pub fn take(&mut self, bytes: u64) {
        self.on_the_way = self.on_the_way.saturating_sub(1);
        self.arrived += bytes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::congestion::{PILOT, Pace};

    fn new_pace() -> Pace {
        Pace::new(PILOT)
    }

    /// The moment at which each of these streams is done, in milliseconds.
    fn ends(network: &mut Network<(usize, u64)>, mut flows: Vec<Flow>) -> Vec<u64> {
        let mut ends = vec![0; flows.len()];
        let mut paces = vec![new_pace(); flows.len()];
        for (index, flow) in flows.iter_mut().enumerate() {
            flow.pump(network, &mut paces[index], u64::MAX, |bytes| (index, bytes));
        }
        while let Some((index, bytes)) = network.next() {
            flows[index].take(bytes);
            flows[index].pump(network, &mut paces[index], u64::MAX, |bytes| (index, bytes));
            ends[index] = network.now / 1000;
        }
        ends
    }

    #[test]
    fn a_link_carries_its_rate() {
        let mut network = Network::new(1);
        let link = network.link(LinkClass::Uplink, Line::clean(125_000, 40_000));
        let flow = Flow::new(&network, &new_pace(), Path::one(link), 1_250_000);
        let ends = ends(&mut network, vec![flow]);
        // 10 s, 4.3 % of headers, and the latency.
        assert!((10_460..10_500).contains(&ends[0]), "{ends:?}");
        assert_eq!(network.carried(link), network.counts.of(LinkClass::Uplink));
        assert!(network.carried(link).abs_diff(1_303_750) < 100);
    }

    #[test]
    fn streams_share_a_link_evenly() {
        let mut network = Network::new(1);
        let shared = network.link(LinkClass::Origin, Line::clean(1_250_000, 0));
        let own = [0; 3].map(|_| network.link(LinkClass::Uplink, Line::clean(12_500_000, 10_000)));
        let flows = own.map(|link| Flow::new(&network, &new_pace(), Path::two(shared, link), 6_250_000)).to_vec();
        let ends = ends(&mut network, flows);
        assert!(ends.iter().all(|end| (14_900..16_200).contains(end)), "{ends:?}");
    }

    #[test]
    fn a_slow_link_does_not_hold_up_streams_that_do_not_use_it() {
        let mut network = Network::new(1);
        let shared = network.link(LinkClass::Origin, Line::clean(12_500_000, 0));
        let slow = network.link(LinkClass::Uplink, Line::clean(12_500, 0));
        let fast = network.link(LinkClass::Uplink, Line::clean(12_500_000, 0));
        let flows = [(slow, 1_250_000), (fast, 12_500_000)]
            .map(|(link, bytes)| Flow::new(&network, &new_pace(), Path::two(shared, link), bytes));
        let ends = ends(&mut network, flows.to_vec());
        assert!(ends[0] > 100_000 && ends[1] < 1_400, "{ends:?}");
    }

    #[test]
    fn loss_is_sent_again() {
        let mut network: Network<(usize, u64)> = Network::new(1);
        let link = network.link(LinkClass::Uplink, Line { loss_ppm: 100_000, ..Line::clean(125_000, 0) });
        let flow = Flow::new(&network, &new_pace(), Path::one(link), 1_000_000);
        ends(&mut network, vec![flow]);
        assert!(network.carried(link).abs_diff(1_158_889) < 100, "{}", network.carried(link));
    }
}
