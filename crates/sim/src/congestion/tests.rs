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
            [1000, 80, 0, 270_000, 2175],
            [1000, 80, 0, LAYER, 30_031],
            [1000, 80, 10_000, LAYER, 30_161],
            [1000, 600, 0, 270_000, 3475],
            [1000, 600, 0, LAYER, 30_732],
            [1000, 600, 10_000, LAYER, 30_831],
            [8000, 20, 0, 270_000, 285],
            [8000, 20, 0, 1_000_000, 1015],
            [8000, 20, 0, LAYER, 3738],
            [8000, 20, 10_000, LAYER, 3739],
            [8000, 80, 0, 270_000, 370],
            [8000, 80, 0, 1_000_000, 1096],
            [8000, 80, 0, LAYER, 3819],
            [8000, 80, 10_000, LAYER, 3830],
            [8000, 600, 0, 270_000, 1525],
            [8000, 600, 0, 1_000_000, 2389],
            [8000, 600, 0, LAYER, 5131],
            [8000, 600, 10_000, LAYER, 5152],
            [8000, 600, 20_000, LAYER, 5767],
            [20_000, 80, 0, 270_000, 222],
            [20_000, 80, 0, 1_000_000, 542],
            [20_000, 80, 0, LAYER, 1631],
            [20_000, 80, 10_000, LAYER, 1634],
            [20_000, 600, 0, 270_000, 1505],
            [20_000, 600, 0, 1_000_000, 2165],
            [20_000, 600, 0, LAYER, 4026],
            [20_000, 600, 10_000, LAYER, 4028],
            [100_000, 20, 0, 270_000, 54],
            [100_000, 20, 0, 1_000_000, 117],
            [100_000, 20, 0, LAYER, 335],
            [100_000, 20, 10_000, LAYER, 335],
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
            [1000, 80, 0, 270_000, 2185],
            [1000, 80, 0, LAYER, 29_792],
            [1000, 80, 10_000, LAYER, 30_649],
            [1000, 600, 0, 270_000, 4190],
            [1000, 600, 0, LAYER, 31_296],
            [1000, 600, 10_000, LAYER, 48_547],
            [8000, 20, 0, 270_000, 293],
            [8000, 20, 0, 1_000_000, 1024],
            [8000, 20, 0, LAYER, 3746],
            [8000, 20, 10_000, LAYER, 4883],
            [8000, 80, 0, 270_000, 476],
            [8000, 80, 0, 1_000_000, 1206],
            [8000, 80, 0, LAYER, 3929],
            [8000, 80, 10_000, LAYER, 17_584],
            [8000, 600, 0, 270_000, 2500],
            [8000, 600, 0, 1_000_000, 3993],
            [8000, 600, 0, LAYER, 6884],
            [8000, 600, 10_000, LAYER, 57_291],
            [20_000, 80, 0, 270_000, 360],
            [20_000, 80, 0, 1_000_000, 697],
            [20_000, 80, 0, LAYER, 1786],
            [20_000, 80, 10_000, LAYER, 15_930],
            [20_000, 600, 0, 270_000, 2440],
            [20_000, 600, 0, 1_000_000, 3757],
            [20_000, 600, 0, LAYER, 5420],
            [20_000, 600, 10_000, LAYER, 47_115],
            [100_000, 20, 0, 270_000, 88],
            [100_000, 20, 0, 1_000_000, 161],
            [100_000, 20, 0, LAYER, 379],
            [100_000, 20, 10_000, LAYER, 4300],
        ],
    );
}

#[test]
fn a_connection_that_has_grown_sends_at_the_rate_of_the_path() {
    let route = Route { bytes_per_second: 1_000_000, round_trip: 600_000, loss_ppm: 0, queue: 200_000 };
    let mut pace = Pace::new(PILOT);
    assert_eq!(pace.room(), 38_400);
    let first = pace.admit(&route, 0, 38_400);
    assert_eq!(first, 600_000 - 38_400, "the last byte leaves after a round trip");
    assert_eq!(pace.room(), 38_400 * 2773 / 1000);
    while pace.room() < u64::MAX {
        pace.admit(&route, 0, pace.room());
    }
    assert_eq!(pace.admit(&route, 60_000_000, 10_000_000), 60_000_000);
    assert_eq!(pace.admit(&route, 60_000_000, 10_000_000), 60_000_000);
}

#[test]
fn a_queue_that_is_too_short_for_the_first_window_costs_a_round_trip() {
    let enters = |queue| {
        let route = Route { bytes_per_second: 125_000, round_trip: 80_000, loss_ppm: 0, queue };
        Pace::new(PILOT).admit(&route, 0, 38_400)
    };
    assert_eq!([310_000, 300_000].map(enters), [0, 80_000]);
}

/// Small talk does not grow a window.
#[test]
fn what_is_not_used_does_not_grow() {
    let route = Route { bytes_per_second: 1_000_000, round_trip: 600_000, loss_ppm: 0, queue: 200_000 };
    let mut pace = Pace::new(CUBIC);
    for minute in 0..10 {
        pace.admit(&route, minute * 60_000_000, 100);
    }
    assert_eq!(pace.room(), 10 * SEGMENT - 1000);
}

#[test]
fn senders_double_the_time_between_probes() {
    let route = Route { bytes_per_second: 1_000_000, round_trip: 75_000, loss_ppm: 0, queue: 200_000 };
    // Probes after 100, 300, 700, 1,500, 3,100, 6,300, 12,700 ms.
    for (outage_ms, silence_ms) in [(50, 50), (300, 0), (301, 399), (8000, 4700)] {
        assert_eq!(route.silence_after(outage_ms * 1000), silence_ms * 1000, "{outage_ms} ms");
    }
}

#[test]
fn the_end_of_a_stream_waits_for_what_was_lost() {
    let route = |loss_ppm| Route { bytes_per_second: 1_000_000, round_trip: 600_000, loss_ppm, queue: 200_000 };
    assert_eq!(route(0).mending(LAYER), 0);
    // One packet of a hundred is lost, and waits for a round trip.
    assert_eq!(route(10_000).mending(100), 600_000 / 101);
    // Of 500 packets of the last round trip, five are.
    assert!((500_000..600_000).contains(&route(10_000).mending(LAYER)));
    assert!(route(100_000).mending(LAYER) > 2 * 600_000);
}
