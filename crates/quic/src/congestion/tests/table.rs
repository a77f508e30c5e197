//! The table that the simulator's model of congestion control is held against.

use super::super::pilot::Pilot;
use super::cubic::Cubic;
use super::link::{Control, PACKET, Simulation};
use super::{LAYER, link, run};

/// The rows of crates/sim/src/congestion/tests.rs. The simulator's model of both controllers is compared with them.
#[test]
#[ignore = "it prints figures, and checks nothing"]
fn table_of_the_simulator() {
    for (kbit_s, round_trip_ms) in
        [(1000, 80), (1000, 600), (8000, 20), (8000, 80), (8000, 600), (20_000, 80), (20_000, 600), (100_000, 20)]
    {
        for loss in [0.0, 0.01, 0.02] {
            for bytes in [270_000, 1_000_000, LAYER] {
                let row = [true, false].map(|is_ours| median_ms(is_ours, kbit_s, round_trip_ms, loss, bytes));
                let loss_ppm = (loss * 1e6) as u64;
                println!("[{kbit_s}, {round_trip_ms}, {loss_ppm}, {bytes}, {}] cubic {}", row[0], row[1]);
            }
        }
    }
}

/// The median of five: a transfer's milliseconds from its first byte, without the latency, before a queue of 300 ms.
fn median_ms(is_ours: bool, kbit_s: u64, round_trip_ms: u64, loss: f64, bytes: u64) -> u128 {
    let mut times = [1, 2, 3, 4, 5].map(|seed| {
        let mut simulation = Simulation::new(link(kbit_s, round_trip_ms, 300, loss), seed);
        let control = if is_ours {
            Control::Ours(Box::new(Pilot::new(simulation.now, PACKET)))
        } else {
            Control::Cubic(Cubic::new(simulation.now))
        };
        simulation.add(control, bytes);
        run(&mut simulation, 6000);
        let finished_at = simulation.flows[0].finished_at.expect("it ends in a hundred minutes");
        (finished_at - simulation.start).as_millis() - u128::from(round_trip_ms / 2)
    });
    times.sort_unstable();
    times[2]
}
