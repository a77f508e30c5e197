//! Bytes of the list of what a hub holds, after a restart of the hub or of an edge.
//!
//! The list is unchanged, or the hub got one layer more while the two were apart. The figures are the bytes that the
//! edge receives by all protocols but identify, from the restart until nothing comes any more.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use lighter_tests::link::{Conditions, Outage};
use lighter_tests::relay::Settings;

use super::site::{Site, noise_image};
use crate::Bencher;
use crate::nodes::Node;
use crate::report::{Row, Section, median};

const LAYERS: usize = 3000;
const LAYERS_OF_AN_IMAGE: usize = 125;
/// Nothing is under way where nothing came for so long.
const QUIET: Duration = Duration::from_secs(4);
const PATIENCE: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(200);
/// The promise: unchanged, and with one layer more.
const BARS: [f64; 2] = [1024.0, 1536.0];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Restarted {
    Hub,
    Edge,
}

pub fn hub(bencher: &Bencher, name: &str, section: &mut Section) -> Result<()> {
    measure(bencher, name, Restarted::Hub, section)
}

pub fn edge(bencher: &Bencher, name: &str, section: &mut Section) -> Result<()> {
    measure(bencher, name, Restarted::Edge, section)
}

fn measure(bencher: &Bencher, name: &str, restarted: Restarted, section: &mut Section) -> Result<()> {
    let mut site = Site::start(bencher, name, &[Some(Settings::default())])?;
    for image in 0..LAYERS / LAYERS_OF_AN_IMAGE {
        let files = noise_image(10 + image as u64, LAYERS_OF_AN_IMAGE, 600);
        site.import(&site.hub, &files, &format!("bench/list:{image}"))?;
    }
    site.wait_until_known()?;
    wait_until_quiet(&site.edges[0])?;
    let mut measured = [Vec::new(), Vec::new()];
    let mut notes = [String::new(), String::new()];
    for run in 0..bencher.link_runs {
        for more in 0..2 {
            let received = restart(&mut site, restarted, (more == 1).then_some(100 + u64::from(run)))?;
            measured[more].push(received.values().sum::<u64>() as f64);
            notes[more] =
                received.iter().map(|(protocol, bytes)| format!("{protocol} {bytes}")).collect::<Vec<_>>().join(", ");
        }
    }
    for (((values, note), bar), what) in measured.into_iter().zip(notes).zip(BARS).zip(["unchanged", "one layer more"])
    {
        let node = if restarted == Restarted::Hub { "hub" } else { "edge" };
        let figure = format!("{name}: list of {LAYERS} layers after a restart of the {node}, {what}");
        section.add(Row::new(figure, median(values), "bytes").at_most(bar).note(note));
    }
    site.end()
}

/// Restarts a node, with a layer that the hub gets meanwhile: the bytes of each protocol that the edge then received.
fn restart(site: &mut Site, restarted: Restarted, more: Option<u64>) -> Result<BTreeMap<String, u64>> {
    let import = |site: &Site| match more {
        Some(seed) => site.import(&site.hub, &noise_image(seed, 1, 600), &format!("bench/more:{seed}")),
        None => Ok(()),
    };
    let before = match restarted {
        Restarted::Hub => {
            let before = received(&site.edges[0])?;
            site.hub.stop();
            until("the edge to notice", || Ok(site.edges[0].status()?.peers_connected == 0))?;
            let down = Outage::Between { from: Duration::ZERO, until: Duration::MAX };
            let down = Conditions { outages: vec![down], ..Conditions::default() };
            site.relays[0].change(down.clone(), down);
            site.restart_hub()?;
            import(site)?;
            site.relays[0].change(Conditions::default(), Conditions::default());
            before
        }
        Restarted::Edge => {
            site.stop_edge(0);
            import(site)?;
            site.start_edge(0)?;
            BTreeMap::new()
        }
    };
    site.wait_until_known()?;
    wait_until_quiet(&site.edges[0])?;
    let mut after = received(&site.edges[0])?;
    after.iter_mut().for_each(|(protocol, bytes)| *bytes -= before.get(protocol).copied().unwrap_or(0));
    after.retain(|protocol, bytes| *bytes > 0 && protocol != "identify");
    Ok(after)
}

fn until(what: &str, mut condition: impl FnMut() -> Result<bool>) -> Result<()> {
    let start = Instant::now();
    while !condition()? {
        ensure!(start.elapsed() < PATIENCE, "waited {PATIENCE:?} for {what}");
        std::thread::sleep(POLL);
    }
    Ok(())
}

fn received(node: &Node) -> Result<BTreeMap<String, u64>> {
    Ok(node.status()?.traffic.into_iter().map(|row| (row.protocol, row.received_bytes.0)).collect())
}

fn wait_until_quiet(node: &Node) -> Result<()> {
    let mut last = (received(node)?, Instant::now());
    until("the edge to be quiet", || {
        let now = received(node)?;
        if now != last.0 {
            last = (now, Instant::now());
        }
        Ok(last.1.elapsed() > QUIET)
    })
}
