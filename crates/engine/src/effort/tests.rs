//! The choice of effort by link, receivers and queue, and learning from encodes.

use super::*;

/// An update that weighs 2 MB at the default effort, of a layer of 80 MB.
const PATCH: Undertaking = Undertaking {
    bytes: Bytes(2_000_000),
    content: Content::Update,
    tar_bytes: Bytes(80_000_000),
    rate: BytesPerSecond(1_250_000),
    copies: 1,
    slowest: None,
    waiting: 0,
    terms: TERMS,
};

const TERMS: Terms = Terms { applying: Pace::USUAL, prefer: Prefer::Balanced };

const SATELLITE: BytesPerSecond = BytesPerSecond(16_000);
const LAN: BytesPerSecond = BytesPerSecond(125_000_000);

fn chosen(undertaking: Undertaking) -> Effort {
    undertaking.best(undertaking.content.efforts(), Pace::default())
}

#[test]
fn the_link_decides() {
    assert_eq!(chosen(Undertaking { rate: SATELLITE, ..PATCH }), Effort::Max);
    assert_eq!(chosen(PATCH), Effort::Default);
    assert_eq!(chosen(Undertaking { rate: LAN, ..PATCH }), Effort::Fast);
}

#[test]
fn many_receivers_are_worth_more_work() {
    assert_eq!(chosen(Undertaking { copies: 40, ..PATCH }), Effort::Max);
    let lan = Undertaking { rate: LAN, ..PATCH };
    assert_eq!(chosen(Undertaking { copies: 1, ..lan }), Effort::Fast);
    assert_eq!(chosen(Undertaking { copies: 300, ..lan }), Effort::Default);
}

#[test]
fn the_slowest_uplink_of_who_passes_it_on_counts_once() {
    let shared = Undertaking { rate: LAN, copies: 3, ..PATCH };
    assert_eq!(chosen(Undertaking { slowest: Some(SATELLITE), ..shared }), Effort::Max);
    assert_eq!(chosen(Undertaking { slowest: Some(BytesPerSecond(1_250_000)), ..shared }), Effort::Default);
    assert_eq!(chosen(Undertaking { slowest: Some(LAN), ..shared }), chosen(shared));
}

#[test]
fn a_queue_is_worth_less_work() {
    let efforts = [0, 5, 60].map(|waiting| chosen(Undertaking { waiting, rate: BytesPerSecond(40_000), ..PATCH }));
    assert_eq!(efforts, [Effort::Max, Effort::Default, Effort::Fast]);
}

#[test]
fn a_slow_machine_works_less() {
    let mut pace = Pace::default();
    assert_eq!(PATCH.best(&Effort::WITH_BASES, pace), Effort::Default);
    let usual = PATCH.encoding(Effort::Default, Pace::USUAL);
    (0..20).for_each(|_| pace.learn(usual, Duration::from_secs(30)));
    assert_eq!(PATCH.best(&Effort::WITH_BASES, pace), Effort::Fast);
    let expected = PATCH.encoding(Effort::Default, pace).as_secs();
    assert!((27..=33).contains(&expected), "{expected} s");
}

#[test]
fn time_that_nobody_notices_is_spent_on_fewer_bytes() {
    let small = Undertaking { bytes: Bytes(20_000), tar_bytes: Bytes(2_000_000), rate: LAN, ..PATCH };
    let [max, fast] = [Effort::Max, Effort::Fast].map(|effort| small.making(effort, Pace::USUAL).time);
    assert!(max > fast);
    assert_eq!(chosen(small), Effort::Max);
}

#[test]
fn a_fixed_effort_is_used_and_the_least_is_a_floor() {
    assert_eq!(EffortChoice::Always(Effort::Max).from(Content::Update, Effort::Fast), [Effort::Max]);
    assert_eq!(EffortChoice::Auto.from(Content::Layer, Effort::Plain), Effort::ALL);
    // No base is read at *plain*, and what does not compress needs no other.
    assert_eq!(EffortChoice::Auto.from(Content::Update, Effort::Plain), Effort::WITH_BASES);
    assert_eq!(EffortChoice::Always(Effort::Max).from(Content::Packed, Effort::Plain), [Effort::Plain]);
    assert_eq!(EffortChoice::Auto.from(Content::Packed, Effort::Fast), []);
    let lan = Undertaking { rate: LAN, ..PATCH };
    assert_eq!(lan.best(EffortChoice::Auto.from(Content::Update, Effort::Default), Pace::USUAL), Effort::Default);
}

#[test]
fn the_receiver_says_what_it_wants_more() {
    assert_eq!(chosen_by_preference(LAN), [Effort::Fast, Effort::Fast, Effort::Max]);
    assert_eq!(chosen_by_preference(BytesPerSecond(500_000)), [Effort::Default, Effort::Default, Effort::Max]);
    assert_eq!(chosen_by_preference(SATELLITE), [Effort::Max; 3]);
}

/// The effort over a link of this rate for each of [`Prefer::ALL`].
fn chosen_by_preference(rate: BytesPerSecond) -> [Effort; 3] {
    Prefer::ALL.map(|prefer| chosen(Undertaking { rate, terms: Terms { prefer, ..TERMS }, ..PATCH }))
}

/// A machine with an eighth of a core applies *max* for as long as a thin link takes.
#[test]
fn a_slow_receiver_gets_what_it_can_apply() {
    let thin = Undertaking { rate: BytesPerSecond(25_000), ..PATCH };
    assert_eq!(chosen(thin), Effort::Max);
    let mut applying = Pace::USUAL;
    (0..20).for_each(|_| applying.learn(Duration::from_secs(1), Duration::from_secs(16)));
    assert_eq!(chosen(Undertaking { terms: Terms { applying, ..TERMS }, ..thin }), Effort::Default);
}

#[test]
fn fewer_bytes_win_among_those_that_are_soon_enough() {
    let ways = [way(100, 10), way(70, 12), way(50, 40), way(10, 3600)];
    let found = Prefer::ALL.map(|prefer| best(ways, prefer).unwrap());
    assert_eq!(found, [(100, 10), (70, 12), (50, 40)]);
    assert_eq!(best([way(7, 1)].into_iter().filter(|_| false), Prefer::Time), None);
}

/// A way with its figures as its name.
fn way(bytes: u64, seconds: u64) -> (Cost, (u64, u64)) {
    (Cost { bytes: Bytes(bytes), time: Duration::from_secs(seconds) }, (bytes, seconds))
}

/// docs/BENCHMARKS.md, "patch": seconds to make are within a factor of 2.25 of the model's.
#[test]
fn the_model_is_that_of_the_benchmarks() {
    check_model(121_425_920, 236_188, [0.29, 0.61, 1.42]);
    check_model(17_592_320, 267_289, [0.11, 0.37, 1.71]);
    check_model(12_083_200, 1_644_158, [0.26, 1.22, 3.31]);
    check_model(31_436_800, 2_734_780, [0.77, 1.90, 10.09]);
    check_model(124_098_560, 19_061_689, [2.76, 20.63, 43.91]);
}

/// `seconds` is the measured time for each of [`Effort::WITH_BASES`].
fn check_model(tar_bytes: u64, bytes: u64, seconds: [f64; 3]) {
    let undertaking = Undertaking { bytes: Bytes(bytes), tar_bytes: Bytes(tar_bytes), ..PATCH };
    for (effort, measured) in Effort::WITH_BASES.into_iter().zip(seconds) {
        let ratio = undertaking.encoding(effort, Pace::default()).as_secs_f64() / measured;
        assert!((0.45..2.25).contains(&ratio), "{effort:?} of {bytes}: {ratio}");
    }
}

#[test]
fn bytes_of_one_effort_tell_those_of_another() {
    let found = [(Effort::Default, 1000), (Effort::Fast, 1479), (Effort::Max, 864)];
    let at_default = found.map(|(effort, bytes)| to_default(Content::Update, effort, Bytes(bytes)).0);
    assert_eq!(at_default, [1000, 1024, 1024]);
    for content in [Content::Update, Content::Layer] {
        for effort in Effort::WITH_BASES {
            let back = to_default(content, effort, from_default(content, effort, Bytes(1 << 30)));
            assert!(back.0.abs_diff(1 << 30) < 2, "{content:?} {effort:?} {back}");
        }
    }
}

/// A whole layer gains little by work.
#[test]
fn whole_layers_get_more_work_the_dearer_bytes_are() {
    let layer = Undertaking { bytes: Bytes(20_000_000), content: Content::Layer, ..PATCH };
    assert_eq!(chosen(Undertaking { rate: LAN, ..layer }), Effort::Plain);
    assert_eq!(chosen(layer), Effort::Fast);
    assert_eq!(chosen(Undertaking { rate: SATELLITE, ..layer }), Effort::Default);
    // No work makes it smaller.
    let packed = Undertaking { bytes: Bytes(80_000_000), content: Content::Packed, ..layer };
    assert_eq!(chosen(Undertaking { rate: SATELLITE, ..packed }), Effort::Plain);
}

#[test]
fn a_layer_that_does_not_compress_is_known_by_its_card() {
    let card = |compressed| Card {
        diff_id: DiffId::new([1; 32]),
        tar_bytes: Bytes(3200),
        compressed_bytes: Bytes(compressed),
        tlsh: None,
    };
    assert_eq!(Content::of(&card(3099), &[]), Content::Layer);
    assert_eq!(Content::of(&card(3100), &[]), Content::Packed);
    assert_eq!(Content::of(&card(3200), &[DiffId::new([2; 32])]), Content::Update);
}

#[test]
fn absurd_figures_do_not_overflow() {
    let absurd = Undertaking {
        bytes: Bytes(u64::MAX),
        content: Content::Layer,
        tar_bytes: Bytes(u64::MAX),
        rate: BytesPerSecond(1),
        copies: u64::MAX,
        slowest: Some(BytesPerSecond(1)),
        waiting: u64::MAX,
        terms: TERMS,
    };
    let nothing = Undertaking { bytes: Bytes(0), tar_bytes: Bytes(0), ..PATCH };
    for undertaking in [absurd, nothing] {
        for prefer in Prefer::ALL {
            chosen(Undertaking { terms: Terms { prefer, ..TERMS }, ..undertaking });
        }
    }
}
