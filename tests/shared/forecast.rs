//! The simulator's forecast of a pull that real nodes make too: edges that hold nothing, each behind its own link to
//! one hub, pull an image at once.

use std::ops::ControlFlow;

use lighter_sim::{Scenario, Strategy};

use crate::images::ImageFiles;
use crate::link::Conditions;

/// The simulator's answer.
#[derive(Clone, Copy, Debug)]
pub struct Forecast {
    /// The time of the slowest edge.
    pub seconds: f64,
    /// Over all links to the edges, with the headers of IP and UDP, from the start of the nodes on.
    pub down_bytes: u64,
    /// Pulls that failed, so that an operator asked again.
    pub retries: u64,
}

/// Simulates so many edges that pull `image`, whose layers do not compress.
///
/// # Errors
/// The simulator refuses the scenario, or the fleet does not end well.
pub fn forecast(image: &ImageFiles, edges: usize, link: &Conditions) -> Result<Forecast, String> {
    let scenario = scenario(image, edges, link);
    let parsed = Scenario::parse(&scenario, |_| Err(std::io::ErrorKind::NotFound.into()));
    let parsed = parsed.map_err(|error| format!("{error}\n{scenario}"))?;
    let report = lighter_sim::run(&parsed, 1, &mut |_, _| ControlFlow::Continue(()));
    let ours = report.strategies.iter().find(|ran| ran.strategy == Strategy::Lighter).ok_or("no engine ran")?;
    if ours.unfinished > 0 || !ours.violations.is_empty() {
        return Err(format!("the fleet did not end well: {:?}", ours.violations));
    }
    let down_bytes = ours.sites.iter().map(|site| site.down_bytes).sum();
    Ok(Forecast { seconds: ours.completion.slowest_s, down_bytes, retries: ours.retries })
}

fn scenario(image: &ImageFiles, edges: usize, link: &Conditions) -> String {
    let manifest = image.manifest();
    let sizes = manifest["layers"].as_array().map_or(&[][..], Vec::as_slice);
    let blobs = sizes.iter().filter_map(|layer| layer["size"].as_u64());
    let layer = |(index, bytes): (usize, u64)| {
        format!("[[layer]]\nname = \"{index}\"\nfamily = \"{index}\"\ntar = {bytes}\ngzip = {bytes}\n")
    };
    let layers: Vec<String> = blobs.enumerate().map(layer).collect();
    let names: Vec<String> = (0..layers.len()).map(|index| index.to_string()).collect();
    let documents = [manifest.to_string().len() as u64, manifest["config"]["size"].as_u64().unwrap_or_default()];
    let kbit_s = link.bits_per_second.map_or(1_000_000, |bits| bits / 1000);
    // A relay's rate counts the payload of UDP, 1,452 bytes of a full packet of 1,480. The simulator counts all of it.
    let kbit_s = kbit_s * 1480 / 1452;
    let queue_ms = link.queue.as_millis().min(60_000);
    format!(
        "name = \"forecast\"\nquestion = \"As the real nodes?\"\nends_after = \"1 h\"\n\n\
         [hub]\nrate = \"10 Gbit/s\"\n\n[registry]\nrate = \"10 Gbit/s\"\n\n\
         [[sites]]\ncount = {edges}\nnodes = 1\nuplink = [\"{kbit_s} kbit/s\", \"{kbit_s} kbit/s\"]\n\
         latency = \"{} ms\"\nloss_percent = {}\nqueue = \"{queue_ms} ms\"\n\n\
         {}\n[[image]]\nname = \"bench/links:1\"\nlayers = {names:?}\ndocuments = {documents:?}\n\n\
         [[pull]]\nimage = \"bench/links:1\"\nat = \"60 s\"\n",
        link.delay.as_millis(),
        link.loss * 100.0,
        layers.join("\n"),
    )
}
