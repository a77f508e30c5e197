//! Bytes of an idle connection, at the level of IP, with and without a NAT that forgets.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use lighter_tests::relay::{Both, Settings};

use super::site::{Site, noise_image};
use crate::Bencher;
use crate::report::{Row, Section};

/// The time until the traffic of the start is over.
const SETTLE: Duration = Duration::from_secs(20);
const DAY_S: f64 = 86_400.0;

pub fn run(bencher: &Bencher, name: &str, section: &mut Section) -> Result<()> {
    let nat = Settings { forgets_after: Some(Duration::from_secs(30)), ..Settings::default() };
    let site = Site::start(bencher, name, &[Some(nat), Some(Settings::default())])?;
    site.release(&noise_image(6, 1, 3000))?;
    std::thread::sleep(SETTLE);
    let start = Instant::now();
    site.relays.iter().for_each(lighter_tests::relay::Relay::reset_counts);
    std::thread::sleep(Duration::from_secs(bencher.idle_s));
    let days = start.elapsed().as_secs_f64() / DAY_S;
    let promises = [("behind a NAT that forgets after 30 s", 1e6, 500e3), ("without a NAT", 300e3, 60e3)];
    for ((relay, edge), (what, bar, goal)) in site.relays.iter().zip(&site.edges).zip(promises) {
        let Both { up, down } = relay.counts();
        let bytes = up.offered.ip_bytes() + down.offered.ip_bytes();
        let note = format!(
            "{} datagrams up, {} down in {} s; {} ports given up",
            up.offered.datagrams,
            down.offered.datagrams,
            bencher.idle_s,
            relay.rebound()
        );
        ensure!(edge.status()?.peers_connected == 1, "the idle connection {what} was lost");
        let figure = format!("{name}: a connection in a day, {what}");
        section.add(Row::new(figure, bytes as f64 / days, "bytes").at_most(bar).goal(goal).note(note));
    }
    site.end()
}
