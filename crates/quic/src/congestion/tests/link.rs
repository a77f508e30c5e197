//! A link in virtual time: a queue that drops its tail, random loss, a delay; and senders that share it.
//!
//! Packets have one size. The receiver acknowledges every second packet, or one after 25 ms. A packet is lost when one
//! three later is acknowledged, or when nothing was acknowledged for long. Lost bytes are sent again as new packets.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::time::{Duration, Instant};

use super::super::pilot::Pilot;
use super::cubic::Cubic;

pub const PACKET: u64 = 1200;
/// With the headers of IP and UDP.
const ACKNOWLEDGEMENT: u64 = 62;

#[derive(Clone, Copy, Debug)]
pub struct Link {
    pub kbit_s: u64,
    pub round_trip: Duration,
    pub queue: Duration,
    pub loss: f64,
    /// The way back, which carries acknowledgements alone; `None`: no limit.
    pub up_kbit_s: Option<u64>,
    /// The receiver acknowledges this many packets of ours at once, or what came in 25 ms. TCP has two.
    pub acknowledged_at_once: usize,
    /// A radio link delivers what came in this time at once; zero for a wire.
    pub burst: Duration,
}

impl Link {
    /// When a packet leaves that the link has sent at this time.
    fn burst_end(&self, sent: Duration) -> Duration {
        let burst = self.burst.as_nanos().max(1);
        Duration::from_nanos(u64::try_from(sent.as_nanos().div_ceil(burst) * burst).unwrap_or(u64::MAX))
    }
}

pub enum Control {
    Ours(Box<Pilot>),
    Cubic(Cubic),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Send(usize),
    Arrive(usize, u64),
    AckDelay(usize, u64),
    Acknowledge(usize),
    Stalled(usize),
}

pub struct Flow {
    pub control: Control,
    /// Bytes to send; `u64::MAX` without end.
    bytes: u64,
    next: u64,
    outstanding: BTreeMap<u64, Instant>,
    paced_until: Instant,
    progress_at: Instant,
    round_trip: Duration,
    /// Packets that arrived and are not acknowledged yet.
    arrived: Vec<u64>,
    /// Packets of the acknowledgements that are under way.
    acknowledgements: VecDeque<Vec<u64>>,
    pub delivered: u64,
    /// Bytes that the sender knows to be delivered.
    acknowledged: u64,
    pub finished_at: Option<Instant>,
    /// Waits in the queue, in ms.
    pub waits: Vec<f64>,
}

impl Flow {
    pub fn mean_wait(&self) -> f64 {
        self.waits.iter().sum::<f64>() / self.waits.len() as f64
    }
}

pub struct Simulation {
    link: Link,
    pub start: Instant,
    pub now: Instant,
    events: BinaryHeap<Reverse<(Instant, u64, Event)>>,
    order: u64,
    link_free_at: Instant,
    up_free_at: Instant,
    random: u64,
    pub flows: Vec<Flow>,
}

impl Simulation {
    pub fn new(link: Link, seed: u64) -> Self {
        let start = Instant::now();
        Self {
            link,
            start,
            now: start,
            events: BinaryHeap::new(),
            order: 0,
            link_free_at: start,
            up_free_at: start,
            random: seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1,
            flows: Vec::new(),
        }
    }

    /// Adds a sender of `bytes` that starts now. Its handshake took a round trip.
    pub fn add(&mut self, mut control: Control, bytes: u64) {
        if let Control::Ours(pilot) = &mut control {
            let sent = self.now - self.link.round_trip;
            pilot.sent(sent, PACKET);
            pilot.acknowledged(self.now, sent, PACKET);
            pilot.acknowledgement_ended(self.now, 0, true);
        }
        let flow = self.flows.len();
        self.flows.push(Flow {
            control,
            bytes,
            next: 0,
            outstanding: BTreeMap::new(),
            paced_until: self.now,
            progress_at: self.now,
            round_trip: self.link.round_trip,
            arrived: Vec::new(),
            acknowledgements: VecDeque::new(),
            delivered: 0,
            acknowledged: 0,
            finished_at: None,
            waits: Vec::new(),
        });
        self.after(Duration::ZERO, Event::Send(flow));
        self.after(Duration::from_secs(1), Event::Stalled(flow));
    }

    pub fn set_link(&mut self, link: Link) {
        self.link = link;
    }

    /// Goes on until `end`, or until every sender with an end has ended.
    pub fn run(&mut self, end: Instant) {
        while self.events.peek().is_some_and(|Reverse((at, ..))| *at <= end) {
            let Some(Reverse((at, _, event))) = self.events.pop() else { return };
            self.now = at;
            self.happen(event);
            if self.flows.iter().all(|flow| flow.finished_at.is_some()) {
                return;
            }
        }
        self.now = end;
    }

    fn after(&mut self, delay: Duration, event: Event) {
        self.order += 1;
        self.events.push(Reverse((self.now + delay, self.order, event)));
    }

    fn chance(&mut self) -> f64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Send(flow) => self.send(flow),
            Event::Arrive(index, packet) => {
                let flow = &mut self.flows[index];
                flow.delivered += PACKET;
                if flow.delivered >= flow.bytes && flow.finished_at.is_none() {
                    flow.finished_at = Some(self.now);
                }
                let is_gap = flow.arrived.last().is_some_and(|last| packet != last + 1);
                flow.arrived.push(packet);
                let at_once = match flow.control {
                    Control::Ours(_) => self.link.acknowledged_at_once,
                    Control::Cubic(_) => 2,
                };
                if flow.arrived.len() >= at_once || is_gap {
                    self.acknowledge(index);
                } else {
                    self.after(Duration::from_millis(25), Event::AckDelay(index, packet));
                }
            }
            Event::AckDelay(flow, packet) if self.flows[flow].arrived.first() == Some(&packet) => {
                self.acknowledge(flow);
            }
            Event::AckDelay(..) => {}
            Event::Acknowledge(flow) => self.acknowledged(flow),
            Event::Stalled(flow) => self.stalled(flow),
        }
    }

    fn acknowledge(&mut self, index: usize) {
        let mut sent = Duration::ZERO;
        if let Some(kbit_s) = self.link.up_kbit_s {
            let free = self.up_free_at.max(self.now);
            if free - self.now > self.link.queue {
                // The next acknowledgement names these packets too.
                return;
            }
            self.up_free_at = free + Duration::from_secs_f64(ACKNOWLEDGEMENT as f64 * 8.0 / (kbit_s as f64 * 1e3));
            sent = self.up_free_at - self.now;
        }
        let flow = &mut self.flows[index];
        let arrived = std::mem::take(&mut flow.arrived);
        flow.acknowledgements.push_back(arrived);
        self.after(sent + self.link.round_trip / 2, Event::Acknowledge(index));
    }

    fn send(&mut self, index: usize) {
        loop {
            let lost = self.chance() < self.link.loss;
            let now = self.now;
            let flow = &mut self.flows[index];
            let in_flight = flow.outstanding.len() as u64 * PACKET;
            let window = match &flow.control {
                Control::Ours(pilot) => pilot.window(),
                Control::Cubic(cubic) => cubic.window(),
            };
            if in_flight + PACKET > window || flow.acknowledged + in_flight >= flow.bytes.saturating_add(PACKET * 4) {
                return;
            }
            if flow.paced_until > now {
                return;
            }
            if let Control::Ours(pilot) = &mut flow.control {
                pilot.sent(now, PACKET);
                let gap = Duration::from_secs_f64(PACKET as f64 / pilot.pacing_rate() as f64);
                // As the stack does: what is not sent in time is lost but for 10 ms, and timers fire late by 1 ms.
                flow.paced_until = flow.paced_until.max(now - Duration::from_millis(10)) + gap;
                let wait = flow.paced_until.saturating_duration_since(now);
                let late = if wait.is_zero() { wait } else { Duration::from_millis(1) };
                self.after(wait + late, Event::Send(index));
            }
            let flow = &mut self.flows[index];
            let packet = flow.next;
            flow.next += 1;
            flow.outstanding.insert(packet, now);
            let free = self.link_free_at.max(now);
            let wait = free - now;
            if lost || wait > self.link.queue {
                continue;
            }
            flow.waits.push(wait.as_secs_f64() * 1e3);
            self.link_free_at = free + Duration::from_secs_f64(PACKET as f64 * 8.0 / (self.link.kbit_s as f64 * 1e3));
            let arrives = self.link.burst_end(self.link_free_at - self.start) + self.link.round_trip / 2;
            self.after(arrives.saturating_sub(now - self.start), Event::Arrive(index, packet));
        }
    }

    fn acknowledged(&mut self, index: usize) {
        let now = self.now;
        let flow = &mut self.flows[index];
        flow.progress_at = now;
        let packets = flow.acknowledgements.pop_front().unwrap_or_default();
        let last = packets.last().copied().unwrap_or_default();
        for packet in packets {
            let Some(sent) = flow.outstanding.remove(&packet) else { continue };
            flow.round_trip = now - sent;
            flow.acknowledged += PACKET;
            match &mut flow.control {
                Control::Ours(pilot) => pilot.acknowledged(now, sent, PACKET),
                Control::Cubic(cubic) => cubic.acknowledged(now, now - sent),
            }
        }
        let later = flow.outstanding.split_off(&last.saturating_sub(3));
        let lost = std::mem::replace(&mut flow.outstanding, later);
        let in_flight = flow.outstanding.len() as u64 * PACKET;
        match &mut flow.control {
            Control::Ours(pilot) => {
                lost.iter().for_each(|_| pilot.lost(PACKET));
                pilot.acknowledgement_ended(now, in_flight, false);
            }
            Control::Cubic(cubic) => lost.values().for_each(|&sent| cubic.lost(now, sent)),
        }
        self.send(index);
    }

    fn stalled(&mut self, index: usize) {
        let now = self.now;
        let flow = &mut self.flows[index];
        let patience = flow.round_trip * 2 + Duration::from_millis(500);
        if now - flow.progress_at > patience && !flow.outstanding.is_empty() {
            let lost = std::mem::take(&mut flow.outstanding);
            flow.progress_at = now;
            match &mut flow.control {
                Control::Ours(pilot) => {
                    lost.iter().for_each(|_| pilot.lost(PACKET));
                    pilot.start_again(now);
                }
                Control::Cubic(cubic) => lost.values().for_each(|&sent| cubic.lost(now, sent)),
            }
        }
        self.send(index);
        self.after(Duration::from_millis(100), Event::Stalled(index));
    }
}
