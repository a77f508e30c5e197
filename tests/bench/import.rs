//! The import of gzip layers into a real node: decompress them, compute every digest, write and sync them.

use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, Result};

use crate::inputs::largest_blob;
use crate::nodes::{Identity, Node};
use crate::report::{Row, Section, median};
use crate::{Bencher, machine, process};

/// The promise: MB of tar for each second.
const RATE: f64 = 120.0;

pub fn run(bencher: &Bencher, section: &mut Section) -> Result<()> {
    for pair in bencher.inputs.pairs() {
        let layout = bencher.inputs.layout(&format!("{}-r2", pair.name), std::slice::from_ref(&pair.new))?;
        let megabytes = std::fs::metadata(&pair.new)?.len() as f64 / 1e6;
        let blob = largest_blob(&layout)?;
        let (mut rates, mut ratios, mut peaks, mut stock_rates) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for run in 0..bencher.runs {
            // A node does not import a held layer again, so every run has a node of its own.
            let dir = bencher.work.join(format!("import-{}-{run}", pair.name));
            let identity = Identity::create(&bencher.lighter, dir.clone())?;
            let settings = [r#"network.listen=["/ip4/127.0.0.1/udp/0/quic-v1"]"#.to_owned()];
            let node = Node::start(&bencher.lighter, &identity, None, &settings)?;
            let start = Instant::now();
            node.import(&layout, "bench/layer:1")?;
            let seconds = start.elapsed().as_secs_f64();
            peaks.push(machine::memory_mib(node.pid(), "VmHWM").context("the node's peak cannot be read")?);
            drop(node);
            std::fs::remove_dir_all(dir)?;
            let start = Instant::now();
            let stock = r#"gzip -dc -- "$0" | sha256sum"#;
            process::output(Command::new("sh").args(["-c", stock]).arg(&blob))?;
            let stock_seconds = start.elapsed().as_secs_f64();
            rates.push(megabytes / seconds);
            stock_rates.push(megabytes / stock_seconds);
            ratios.push(stock_seconds / seconds);
        }
        let note = format!(
            "gzip -dc into sha256sum: {:.0} MB/s, ours {:.2} times as fast",
            median(stock_rates),
            median(ratios)
        );
        section.add(Row::new(format!("{}: import", pair.name), median(rates), "MB/s").at_least(RATE).note(note));
        section.add(Row::new(format!("{}: import, node's peak", pair.name), median(peaks), "MiB"));
    }
    Ok(())
}
