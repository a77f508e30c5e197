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

/// A link without a NAT allows this (configs/node.toml).
const KEEP_ALIVE_WITHOUT_NAT_S: u64 = 180;

pub fn run(bencher: &Bencher, name: &str, section: &mut Section) -> Result<()> {
    let nat = Settings { forgets_after: Some(Duration::from_secs(30)), ..Settings::default() };
    let without = [format!("timing.keep_alive_s={KEEP_ALIVE_WITHOUT_NAT_S}")];
    let sites = [
        Site::start(bencher, &format!("{name}-nat"), &[Some(nat)])?,
        Site::start_set(bencher, name, &[Some(Settings::default())], &without)?,
    ];
    sites.iter().try_for_each(|site| site.release(&noise_image(6, 1, 3000)))?;
    std::thread::sleep(SETTLE);
    let start = Instant::now();
    sites.iter().flat_map(|site| &site.relays).for_each(lighter_tests::relay::Relay::reset_counts);
    std::thread::sleep(Duration::from_secs(bencher.idle_s));
    let days = start.elapsed().as_secs_f64() / DAY_S;
    let promises = [("behind a NAT that forgets after 30 s", 1e6, 500e3), ("without a NAT", 300e3, 60e3)];
    for (site, (what, bar, goal)) in sites.iter().zip(promises) {
        let (relay, edge) = (&site.relays[0], &site.edges[0]);
        let Both { up, down } = relay.counts();
        let bytes = up.offered.ip_bytes() + down.offered.ip_bytes();
        let status = edge.status()?;
        let note = format!(
            "{} datagrams up, {} down in {} s; {} ports given up; status says {:?}",
            up.offered.datagrams,
            down.offered.datagrams,
            bencher.idle_s,
            relay.rebound(),
            status.idle_bytes_per_day.map(|bytes| bytes.0)
        );
        ensure!(status.peers_connected == 1, "the idle connection {what} was lost");
        let figure = format!("{name}: a connection in a day, {what}");
        section.add(Row::new(figure, bytes as f64 / days, "bytes").at_most(bar).goal(goal).note(note));
    }
    sites.into_iter().try_for_each(Site::end)
}
