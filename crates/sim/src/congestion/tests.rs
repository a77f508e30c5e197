//! The model beside the controllers themselves, which crates/quic runs on links in virtual time.

use super::*;

/// A transfer that is alone on its path: the time until its last byte is there, from the first byte on, without the
/// latency.
fn took_ms(control: Control, route: &Route, bytes: u64) -> u64 {
    let (mut pace, mut sent, mut free) = (Pace::new(control), 0, 0);
    while sent < bytes {
        let piece = (route.bytes_per_second / 10).max(PACKET).min(bytes - sent).min(pace.room());
        sent += piece;
        let wire = part_of(MILLION, piece, MILLION - route.loss_ppm);
        free = pace.admit(route, 0, piece).max(free) + part_of(MILLION, wire, route.bytes_per_second);
    }
    (free + route.mending(bytes)) / 1000
}

/// Rows of kbit/s, round trip in ms, packets lost of a million, bytes, and the milliseconds that the controller took:
/// the median of five. The model may be so much off.
fn check(control: Control, off_percent: u64, rows: &[[u64; 5]]) {
    for &[kbit_s, round_trip_ms, loss_ppm, bytes, measured_ms] in rows {
        let round_trip = round_trip_ms * 1000;
        let route = Route { bytes_per_second: kbit_s * 125, round_trip, loss_ppm, queue: 300_000 };
        let model_ms = took_ms(control, &route, bytes);
        let row = [kbit_s, round_trip_ms, loss_ppm, bytes];
        assert!(
            model_ms.abs_diff(measured_ms) * 100 <= measured_ms * off_percent,
            "{row:?}: {model_ms}, {measured_ms}"
        );
    }
}

const LAYER: u64 = 3_722_445;

/// `cargo test -p lighter-quic table_of_the_simulator -- --ignored --nocapture` prints the rows. There a transfer ends
/// with any bytes, four packets ahead, so losses at its end cost less.
#[test]
fn the_pilot_takes_what_the_model_says() {
    check(
        PILOT,
        20,
        &[
            [1000, 80, 0, 270_000, 2172],
            [1000, 80, 0, LAYER, 30_068],
            [1000, 80, 10_000, LAYER, 30_023],
            [1000, 600, 0, 270_000, 2488],
            [1000, 600, 0, LAYER, 30_141],
            [1000, 600, 10_000, LAYER, 30_235],
            [8000, 20, 0, 270_000, 275],
            [8000, 20, 0, 1_000_000, 1006],
            [8000, 20, 0, LAYER, 3729],
            [8000, 20, 10_000, LAYER, 3727],
            [8000, 80, 0, 270_000, 331],
            [8000, 80, 0, 1_000_000, 1068],
            [8000, 80, 0, LAYER, 3791],
            [8000, 80, 10_000, LAYER, 3797],
            [8000, 600, 0, 270_000, 852],
            [8000, 600, 0, 1_000_000, 1662],
            [8000, 600, 0, LAYER, 4387],
            [8000, 600, 10_000, LAYER, 4589],
            [8000, 600, 20_000, LAYER, 4882],
            [20_000, 80, 0, 270_000, 190],
            [20_000, 80, 0, 1_000_000, 484],
            [20_000, 80, 0, LAYER, 1573],
            [20_000, 80, 10_000, LAYER, 1577],
            [20_000, 600, 0, 270_000, 828],
            [20_000, 600, 0, 1_000_000, 1585],
            [20_000, 600, 0, LAYER, 2813],
            [20_000, 600, 10_000, LAYER, 3223],
            [100_000, 20, 0, 270_000, 49],
            [100_000, 20, 0, 1_000_000, 107],
            [100_000, 20, 0, LAYER, 325],
            [100_000, 20, 10_000, LAYER, 326],
        ],
    );
}

/// Where much is lost on a long way, the first growth of Cubic before the first loss saves a small transfer some time.
#[test]
fn cubic_takes_what_the_model_says() {
    check(
        CUBIC,
        20,
        &[
            [1000, 80, 0, 270_000, 2163],
            [1000, 80, 0, LAYER, 29_792],
            [1000, 80, 10_000, LAYER, 30_649],
            [1000, 600, 0, 270_000, 3753],
            [1000, 600, 0, LAYER, 30_974],
            [1000, 600, 10_000, LAYER, 48_043],
            [8000, 20, 0, 270_000, 280],
            [8000, 20, 0, 1_000_000, 1011],
            [8000, 20, 0, LAYER, 3734],
            [8000, 20, 10_000, LAYER, 4883],
            [8000, 80, 0, 270_000, 433],
            [8000, 80, 0, 1_000_000, 1164],
            [8000, 80, 0, LAYER, 3886],
            [8000, 80, 10_000, LAYER, 17_576],
            [8000, 600, 0, 270_000, 2499],
            [8000, 600, 0, 1_000_000, 3859],
            [8000, 600, 0, LAYER, 6951],
            [8000, 600, 10_000, LAYER, 57_169],
            [20_000, 80, 0, 270_000, 359],
            [20_000, 80, 0, 1_000_000, 656],
            [20_000, 80, 0, LAYER, 1745],
            [20_000, 80, 10_000, LAYER, 15_930],
            [20_000, 600, 0, 270_000, 2439],
            [20_000, 600, 0, 1_000_000, 3703],
            [20_000, 600, 0, LAYER, 5414],
            [20_000, 600, 10_000, LAYER, 46_490],
            [100_000, 20, 0, 270_000, 87],
            [100_000, 20, 0, 1_000_000, 151],
            [100_000, 20, 0, LAYER, 369],
            [100_000, 20, 10_000, LAYER, 4300],
        ],
    );
}

#[test]
fn a_connection_that_has_grown_sends_at_the_rate_of_the_path() {
    let route = Route { bytes_per_second: 2_000_000, round_trip: 600_000, loss_ppm: 0, queue: 200_000 };
    let mut pace = Pace::new(PILOT);
    assert_eq!(pace.room(), 38_400);
    let first = pace.admit(&route, 0, 38_400);
    assert_eq!(first, 600_000 - 38_400 / 2, "the last byte leaves after a round trip");
    assert_eq!(pace.room(), 38_400 * 16);
    while pace.room() < u64::MAX {
        pace.admit(&route, 0, pace.room());
    }
    assert_eq!(pace.admit(&route, 60_000_000, 10_000_000), 60_000_000);
    assert_eq!(pace.admit(&route, 60_000_000, 10_000_000), 60_000_000);
}

#[test]
fn a_queue_that_is_too_short_for_the_first_window_costs_a_round_trip() {
    for (queue, enters) in [(160_000, 0), (150_000, 80_000)] {
        let route = Route { bytes_per_second: 125_000, round_trip: 80_000, loss_ppm: 0, queue };
        assert_eq!(Pace::new(PILOT).admit(&route, 0, 38_400), enters, "{queue}");
    }
}

/// Small talk does not grow a window.
#[test]
fn a_window_that_is_not_used_does_not_grow() {
    let route = Route { bytes_per_second: 1_000_000, round_trip: 600_000, loss_ppm: 0, queue: 200_000 };
    let mut pace = Pace::new(CUBIC);
    for minute in 0..10 {
        pace.admit(&route, minute * 60_000_000, 100);
    }
    assert_eq!(pace.room(), 10 * SEGMENT - 1000);
}

#[test]
fn probes_come_less_and_less_often() {
    let route = Route { bytes_per_second: 1_000_000, round_trip: 75_000, loss_ppm: 0, queue: 200_000 };
    // Probes after 100, 300, 700, 1,500, 3,100, 6,300, 12,700 ms.
    for (outage_ms, silence_ms) in [(50, 50), (300, 0), (301, 399), (8000, 4700)] {
        assert_eq!(CUBIC.silence_after(outage_ms * 1000, &route), silence_ms * 1000, "{outage_ms} ms");
    }
    // After 6,300, 11,500, 18,700 ms.
    assert_eq!(PILOT.silence_after(8_000_000, &route), 3_500_000);
    assert_eq!(PILOT.silence_after(12_000_000, &route), 6_700_000);
}

#[test]
fn the_end_of_a_stream_waits_for_what_was_lost() {
    assert_eq!(lossy_route(0).mending(LAYER), 0);
    // One packet of a hundred is lost, and waits for a round trip.
    assert_eq!(lossy_route(10_000).mending(100), 600_000 / 101);
    // Five of the 500 packets of the last round trip are.
    assert!((500_000..600_000).contains(&lossy_route(10_000).mending(LAYER)));
    assert!(lossy_route(100_000).mending(LAYER) > 2 * 600_000);
}

fn lossy_route(loss_ppm: u64) -> Route {
    Route { bytes_per_second: 1_000_000, round_trip: 600_000, loss_ppm, queue: 200_000 }
}
