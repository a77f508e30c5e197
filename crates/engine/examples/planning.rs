//! The cost of planning in a large fleet: 10,000 connected peers, 50 layers each, 500 different layers in all.
//!
//! `cargo run --release -p lighter-engine --example planning` prints the median time of planning for a layer, the time
//! of taking in an announcement, and the memory that a known peer costs (by a counting allocator: allocator overhead
//! is not in it).

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a program that measures reads files and clocks"
)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use lighter_engine::{DiskInput, Effect, Engine, Input, OperatorInput, PeerInput, Settings, WorkInput};
use lighter_similarity::{Sketch, SketchBuilder};
use lighter_types::{Bytes, Card, DiffId, Moment, PeerId, Tlsh};
use lighter_wire::{Announcement, Answer, Incarnation, News, Request};

const PEERS: u64 = 10_000;
const LAYERS_PER_PEER: u64 = 50;
const LAYERS: u64 = 500;

struct Counting;
static IN_USE: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        IN_USE.fetch_add(layout.size(), Ordering::Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        IN_USE.fetch_sub(layout.size(), Ordering::Relaxed);
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The finaliser of splitmix64.
fn mix(number: u64) -> u64 {
    let mut mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ mixed >> 31
}

fn bytes32(number: u64) -> [u8; 32] {
    let mut bytes = [0; 32];
    for (place, part) in bytes.chunks_exact_mut(8).enumerate() {
        part.copy_from_slice(&mix(number * 4 + place as u64 + 1).to_le_bytes());
    }
    bytes
}

/// Ten releases each of fifty families, so that bases help.
fn layer(number: u64) -> Card {
    let mut tlsh = [0; 35];
    tlsh[3..].copy_from_slice(&bytes32(1_000_000 + number / 10));
    tlsh[34] ^= (number % 10) as u8;
    let tar_bytes = Bytes((1 << 20) + mix(number) % (100 << 20));
    Card {
        diff_id: DiffId::new(bytes32(number)),
        tar_bytes,
        compressed_bytes: Bytes(tar_bytes.0 * 2 / 5),
        tlsh: Some(Tlsh::new(tlsh)),
    }
}

/// A sketch of content whose first four fifths the family shares; the last fifth is the layer's own.
fn sketch(number: u64) -> Sketch {
    let words = |seed: u64, count: u64| (0..count).flat_map(move |word| mix(seed << 32 | word).to_le_bytes());
    let content: Vec<u8> = words(1_000 + number / 10, 8192).chain(words(2_000 + number, 2048)).collect();
    let mut builder = SketchBuilder::new();
    builder.push(&content);
    builder.finish()
}

/// The predictions that planning uses.
#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    Tlsh,
    Sketches,
}

/// Lets the engine ask for the sketch of the layer, and answers.
fn answer_sketch(engine: &mut Engine, number: u64) {
    let mut effects = Vec::new();
    engine.step(Moment(2), Input::Operator(OperatorInput::SketchesWanted(vec![layer(number).diff_id])), &mut effects);
    let ask = effects.iter().find_map(|effect| match effect {
        Effect::Ask { ask, request: Request::Sketches(_), .. } => Some(*ask),
        _ => None,
    });
    let answer = Ok(Answer::Sketches(vec![Some(sketch(number).to_bytes())]));
    engine.step(Moment(2), Input::Work(WorkInput::Answered { ask: ask.expect("a question"), answer }), &mut effects);
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

/// `holders` of the layer that is planned for: everybody, or as many as any layer has.
fn measure(what: &str, everybody: bool, by: By) -> Duration {
    let mut engine = Engine::new(Settings::default());
    let mut effects = Vec::new();
    let target = layer(7);
    for number in 100..100 + LAYERS_PER_PEER {
        let number = number * 9 % LAYERS;
        let sketch = (by == By::Sketches).then(|| sketch(number));
        engine.step(Moment(1), Input::Disk(DiskInput::LayerHeld { card: layer(number), sketch }), &mut effects);
    }
    let sketch = (by == By::Sketches).then(|| sketch(8));
    engine.step(Moment(1), Input::Disk(DiskInput::LayerHeld { card: layer(8), sketch }), &mut effects);
    let before = IN_USE.load(Ordering::Relaxed);
    let mut announcing = Vec::new();
    for name in 0..PEERS {
        let peer = PeerId::new(bytes32(5_000_000 + name));
        let mut cards: Vec<Card> =
            (0..LAYERS_PER_PEER).map(|place| layer(mix(name * LAYERS_PER_PEER + place) % LAYERS)).collect();
        if everybody {
            cards[0] = target;
        }
        let announcement = Announcement {
            incarnation: Incarnation(1),
            version: 1,
            sequence: 1,
            site: Some("harbour".parse().expect("a site")),
            digest: cards.iter().map(|card| card.diff_id).collect(),
            news: News::Full(cards),
        };
        engine.step(Moment(2), Input::Peer(PeerInput::Connected(peer)), &mut Vec::new());
        let start = Instant::now();
        engine.step(Moment(2), Input::Peer(PeerInput::Announced { from: peer, announcement }), &mut Vec::new());
        announcing.push(start.elapsed());
    }
    if by == By::Sketches {
        answer_sketch(&mut engine, 7);
    }
    let used = IN_USE.load(Ordering::Relaxed) - before;
    let times = (0..101).map(|_| {
        let start = Instant::now();
        std::hint::black_box(engine.plans(target.diff_id, Moment(3)));
        start.elapsed()
    });
    let planning = median(times.collect());
    println!("{what}: {} plans", engine.plans(target.diff_id, Moment(3)).len());
    println!("  planning, median of 101:      {planning:?}");
    println!("  a full announcement, median:  {:?}", median(announcing));
    println!("  memory per known peer:        {} bytes", used as u64 / PEERS);
    planning
}

fn main() {
    println!("{PEERS} connected peers x {LAYERS_PER_PEER} layers, {LAYERS} different layers, 51 layers of our own");
    let slowest = [
        measure("a layer held by as many as any other, by TLSH", false, By::Tlsh),
        measure("a layer held by everybody, by TLSH", true, By::Tlsh),
        measure("a layer held by as many as any other, by sketches", false, By::Sketches),
        measure("a layer held by everybody, by sketches", true, By::Sketches),
    ]
    .into_iter()
    .fold(Duration::ZERO, Ord::max);
    assert!(slowest < Duration::from_millis(5) || cfg!(debug_assertions), "planning took {slowest:?}");
}
