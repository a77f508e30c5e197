//! The choice of effort by link, receivers and queue, and learning from encodes.

use super::*;

/// An update that weighs 2 MB at the default effort, of a layer of 80 MB.
const UPDATE: Undertaking = Undertaking {
    bytes: Bytes(2_000_000),
    tar_bytes: Bytes(80_000_000),
    rate: BytesPerSecond(1_250_000),
    copies: 1,
    uplink: None,
    waiting: 0,
};

const SATELLITE: BytesPerSecond = BytesPerSecond(16_000);
const LAN: BytesPerSecond = BytesPerSecond(125_000_000);

fn chosen(undertaking: Undertaking) -> Effort {
    EffortChoice::Auto.choose(&undertaking, Pace::default(), Effort::Fast)
}

#[test]
fn the_link_decides() {
    assert_eq!(chosen(Undertaking { rate: SATELLITE, ..UPDATE }), Effort::Max);
    assert_eq!(chosen(UPDATE), Effort::Default);
    assert_eq!(chosen(Undertaking { rate: LAN, ..UPDATE }), Effort::Fast);
}

#[test]
fn many_receivers_are_worth_more_work() {
    let shared = |copies| Undertaking { copies, ..UPDATE };
    assert_eq!(chosen(shared(40)), Effort::Max);
    let lan = |copies| Undertaking { rate: LAN, ..shared(copies) };
    assert_eq!((chosen(lan(1)), chosen(lan(300))), (Effort::Fast, Effort::Default));
}

#[test]
fn the_slowest_uplink_of_who_passes_it_on_counts_once() {
    let behind = |uplink| chosen(Undertaking { rate: LAN, copies: 3, uplink: Some(uplink), ..UPDATE });
    assert_eq!(behind(SATELLITE), Effort::Max);
    assert_eq!(behind(BytesPerSecond(1_250_000)), Effort::Default);
    assert_eq!(behind(LAN), chosen(Undertaking { rate: LAN, copies: 3, ..UPDATE }));
}

#[test]
fn a_queue_is_worth_less_work() {
    let queued = |waiting| chosen(Undertaking { waiting, rate: BytesPerSecond(40_000), ..UPDATE });
    assert_eq!([queued(0), queued(5), queued(40)], [Effort::Max, Effort::Default, Effort::Fast]);
}

#[test]
fn a_slow_machine_works_less() {
    let mut pace = Pace::default();
    let choose = |pace| EffortChoice::Auto.choose(&UPDATE, pace, Effort::Fast);
    assert_eq!(choose(pace), Effort::Default);
    (0..20).for_each(|_| pace.learn(&UPDATE, Effort::Default, Duration::from_secs(30)));
    assert_eq!(choose(pace), Effort::Fast);
    let expected = UPDATE.encoding(Effort::Default, pace).as_secs();
    assert!((27..=33).contains(&expected), "{expected} s");
}

#[test]
fn time_that_nobody_notices_is_spent_on_fewer_bytes() {
    let small = Undertaking { bytes: Bytes(20_000), tar_bytes: Bytes(2_000_000), rate: LAN, ..UPDATE };
    assert!(small.until_done(Effort::Max, Pace::default()) > small.until_done(Effort::Fast, Pace::default()));
    assert_eq!(chosen(small), Effort::Max);
}

#[test]
fn a_fixed_effort_is_used_and_the_least_is_a_floor() {
    let fixed = EffortChoice::Always(Effort::Max).choose(&UPDATE, Pace::default(), Effort::Fast);
    assert_eq!(fixed, Effort::Max);
    let lan = Undertaking { rate: LAN, ..UPDATE };
    assert_eq!(EffortChoice::Auto.choose(&lan, Pace::default(), Effort::Default), Effort::Default);
}

/// docs/BENCHMARKS.md, "patch": seconds to make are within a factor of 2.25 of the model's.
#[test]
fn the_model_is_that_of_the_benchmarks() {
    let check = |tar_bytes, bytes, seconds: [f64; 3]| {
        let undertaking = Undertaking { bytes: Bytes(bytes), tar_bytes: Bytes(tar_bytes), ..UPDATE };
        for (effort, measured) in Effort::ALL.into_iter().zip(seconds) {
            let ratio = undertaking.encoding(effort, Pace::default()).as_secs_f64() / measured;
            assert!((0.45..2.25).contains(&ratio), "{effort:?} of {bytes}: {ratio}");
        }
    };
    check(121_425_920, 236_188, [0.29, 0.61, 1.42]);
    check(17_592_320, 267_289, [0.11, 0.37, 1.71]);
    check(12_083_200, 1_644_158, [0.26, 1.22, 3.31]);
    check(31_436_800, 2_734_780, [0.77, 1.90, 10.09]);
    check(124_098_560, 19_061_689, [2.76, 20.63, 43.91]);
}

#[test]
fn bytes_of_one_effort_tell_those_of_another() {
    assert_eq!(to_default(Effort::Default, Bytes(1000)), Bytes(1000));
    assert_eq!(to_default(Effort::Fast, Bytes(1479)), Bytes(1024));
    assert_eq!(to_default(Effort::Max, Bytes(864)), Bytes(1024));
}

#[test]
fn absurd_figures_do_not_overflow() {
    let absurd = Undertaking {
        bytes: Bytes(u64::MAX),
        tar_bytes: Bytes(u64::MAX),
        rate: BytesPerSecond(1),
        copies: u64::MAX,
        uplink: Some(BytesPerSecond(1)),
        waiting: u64::MAX,
    };
    let mut pace = Pace::default();
    let nothing = Undertaking { bytes: Bytes(0), tar_bytes: Bytes(0), ..UPDATE };
    for took in [Duration::MAX, Duration::ZERO] {
        for undertaking in [absurd, nothing].repeat(200) {
            pace.learn(&undertaking, Effort::Max, took);
        }
        assert_eq!(Pace::from_part(pace.to_part()), Some(pace));
        chosen(absurd);
    }
    assert_eq!((Pace::from_part(0), Pace::from_part(u32::MAX)), (None, None));
}
