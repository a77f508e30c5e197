//! Many edges that ask one hub at once, all on this machine and without a limit.

use anyhow::{Context as _, Error, Result};
use lighter_tests::forecast::forecast;
use lighter_tests::link::Conditions;

use super::site::{IMAGE, Site, noise_image};
use super::times::add_forecast;
use crate::nodes::{Node, Pulled};
use crate::report::{Row, Section, median};
use crate::{Bencher, machine};

/// The figures of one storm.
struct Storm {
    /// Streams that got no reply, at the hub and at all nodes.
    dropped: u64,
    dropped_by_hub: u64,
    /// Streams that the hub told to come back later.
    busy: u64,
    retries: usize,
    slowest_seconds: f64,
    /// By all edges, as they count: without the headers of packets.
    received_bytes: u64,
    hub_mib: f64,
}

pub fn storm(bencher: &Bencher, name: &str, section: &mut Section) -> Result<()> {
    let storms = storms(bencher, name, 30, 8, 300_000)?;
    add_dropped(&storms, format!("{name}: 30 edges, 8 layers of 300 KB: requests dropped"), section);
    let slowest = median(storms.iter().map(|storm| storm.slowest_seconds));
    let figure = format!("{name}: 30 edges, 8 layers of 300 KB: slowest edge");
    section.add(Row::new(figure, slowest, "s").at_most(3.0).goal(1.5));
    let forecast = forecast(&noise_image(3, 8, 300_000), 30, &Conditions::default()).map_err(Error::msg)?;
    let received = median(storms.iter().map(|storm| storm.received_bytes as f64));
    add_forecast(name, &forecast, slowest, received, section);
    Ok(())
}

pub fn crowd(bencher: &Bencher, name: &str, section: &mut Section) -> Result<()> {
    let storms = storms(bencher, name, 150, 1, 400_000)?;
    add_dropped(&storms, format!("{name}: 150 edges, a layer of 400 KB: requests dropped"), section);
    let slowest = median(storms.iter().map(|storm| storm.slowest_seconds));
    section.add(Row::new(format!("{name}: 150 edges, a layer of 400 KB: slowest edge"), slowest, "s"));
    Ok(())
}

fn add_dropped(storms: &[Storm], figure: String, section: &mut Section) {
    let of = |value: &dyn Fn(&Storm) -> f64| median(storms.iter().map(value));
    let note = format!(
        "{} of them by the hub, which told {} to come back; {} retries told to the edges; hub's peak {:.0} MiB",
        of(&|storm| storm.dropped_by_hub as f64),
        of(&|storm| storm.busy as f64),
        of(&|storm| storm.retries as f64),
        of(&|storm| storm.hub_mib)
    );
    section.add(Row::new(figure, of(&|storm| storm.dropped as f64), "").at_most(0.0).goal(0.0).note(note));
}

fn storms(bencher: &Bencher, name: &str, edges: usize, layers: usize, bytes: usize) -> Result<Vec<Storm>> {
    let image = noise_image(3, layers, bytes);
    (0..bencher.link_runs)
        .map(|run| {
            let site = Site::start(bencher, &format!("{name}-{run}"), &vec![None; edges])?;
            site.release(&image)?;
            let pulled = pull_at_once(&site.edges)?;
            let hub = site.hub.status()?.streams;
            let edges = site.edges.iter().map(|edge| Ok(edge.status()?.streams.resets)).sum::<Result<u64>>()?;
            let storm = Storm {
                dropped: hub.resets + edges,
                dropped_by_hub: hub.resets,
                busy: hub.busy,
                retries: pulled.iter().map(|pulled| pulled.trouble.len()).sum(),
                slowest_seconds: pulled.iter().map(|pulled| pulled.seconds).fold(0.0, f64::max),
                received_bytes: pulled.iter().map(|pulled| pulled.received_bytes).sum(),
                hub_mib: machine::memory_mib(site.hub.pid(), "VmHWM").context("the hub's peak cannot be read")?,
            };
            eprintln!("bench: links: {name}: {} dropped, slowest {:.1} s", storm.dropped, storm.slowest_seconds);
            site.end()?;
            Ok(storm)
        })
        .collect()
}

fn pull_at_once(edges: &[Node]) -> Result<Vec<Pulled>> {
    std::thread::scope(|scope| {
        let pulls: Vec<_> = edges.iter().map(|edge| scope.spawn(|| edge.pull(IMAGE))).collect();
        let join = |pull: std::thread::ScopedJoinHandle<'_, Result<Pulled>>| {
            pull.join().map_err(|_| anyhow::anyhow!("a pull's thread panicked"))?
        };
        pulls.into_iter().map(join).collect()
    })
}
