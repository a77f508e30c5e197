//! Measures the time that planning spends on similarity.
//!
//! First by cards: compares one target with 500,000 cards (10,000 peers of 50 layers) and with the 5,000 different
//! cards that such a fleet may have. Prints the time of distances, of predictions, and of the best three. Then by
//! sketches, which a planner has for a short list: predictions from one base and from eight, and a choice of four.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a program that measures reads files and clocks"
)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::hint::black_box;
use std::time::Instant;

use lighter_similarity::{Sketch, SketchBuilder, choose_bases, distance, predict, predict_with_bases, rank_bases};
use lighter_types::{Bytes, Card, DiffId, TLSH_BYTES, Tlsh};

const CARDS: usize = 500_000;
const DIFFERENT_CARDS: usize = 5_000;
/// The number of bases with sketches on the short list.
const SKETCHES: usize = 64;

fn main() {
    let mut state = 1u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let mut card = || {
        let tlsh: [u8; TLSH_BYTES] = std::array::from_fn(|_| next() as u8);
        let diff_id: [u8; 32] = std::array::from_fn(|_| next() as u8);
        Card {
            diff_id: DiffId::new(diff_id),
            tar_bytes: Bytes(next() % (1 << 28)),
            compressed_bytes: Bytes(next() % (1 << 26)),
            tlsh: Some(Tlsh::new(tlsh)),
        }
    };
    let target = card();
    let cards: Vec<Card> = (0..CARDS).map(|_| card()).collect();
    for cards in [&cards[..], &cards[..DIFFERENT_CARDS]] {
        println!("{} cards", cards.len());
        measure(&target, cards);
    }
    let sketches: Vec<Sketch> = (1..=SKETCHES as u64).map(sketch).collect();
    let bases: Vec<(&Card, Option<&Sketch>)> = cards.iter().zip(sketches.iter().map(Some)).collect();
    measure_sketches(&target, &sketch(0), &bases);
}

/// The sketch of 16 MB, half of which are the same for all seeds.
fn sketch(seed: u64) -> Sketch {
    let mut builder = SketchBuilder::new();
    for seed in [1, seed + 2] {
        let mut state = seed;
        for _ in 0..1 << 20 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            builder.push(&state.to_le_bytes());
        }
    }
    builder.finish()
}

fn measure_sketches(target: &Card, sketch: &Sketch, bases: &[(&Card, Option<&Sketch>)]) {
    println!("{} sketches", bases.len());
    let time = |what: &str, rounds: u32, work: &dyn Fn()| {
        work();
        let begin = Instant::now();
        (0..rounds).for_each(|_| work());
        println!("  {what}: {:.1?}", begin.elapsed() / rounds);
    };
    for count in [1, 8] {
        time(&format!("predict from {count}"), 1000, &|| {
            black_box(predict(target, Some(sketch), &bases[..count]));
        });
    }
    time("choose_bases of 4", 20, &|| {
        black_box(choose_bases(target, Some(sketch), bases, 4));
    });
}

fn measure(target: &Card, cards: &[Card]) {
    let time = |what: &str, work: &dyn Fn()| {
        work();
        let begin = Instant::now();
        work();
        let elapsed = begin.elapsed();
        println!("  {what}: {:.1} ns a card, {:.2?} in all", elapsed.as_nanos() as f64 / cards.len() as f64, elapsed);
    };
    let tlsh = target.tlsh.unwrap_or(Tlsh::new([0; TLSH_BYTES]));
    time("distance", &|| {
        black_box(cards.iter().flat_map(|card| &card.tlsh).map(|other| distance(&tlsh, other).0).sum::<u32>());
    });
    time("predict_with_bases", &|| {
        black_box(predict_with_bases(target, cards));
    });
    time("rank_bases of 3", &|| {
        black_box(rank_bases(target, cards, 3));
    });
}
