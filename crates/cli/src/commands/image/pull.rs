//! `lighter image pull`: follows the events of a pull and sums them up.

use lighter_api::{PullEvent, PullRequest, paths};
use lighter_types::Bytes;
use serde::Serialize;

use crate::client::Client;
use crate::exit::Failure;
use crate::output::{Output, right, short, shorts, table};
use crate::progress::{Progress, duration, saved};

/// The result of a pull.
#[derive(Serialize)]
struct Pulled {
    image: String,
    manifest: String,
    layers: Vec<PulledLayer>,
    layers_held_before: usize,
    /// All traffic of the node during the pull.
    sent_bytes: u64,
    received_bytes: u64,
    took_ms: u64,
}

/// A layer that arrived: the event `layer` without its tag.
#[derive(Serialize)]
struct PulledLayer {
    layer: String,
    from: String,
    bases: Vec<String>,
    tar_bytes: u64,
    compressed_bytes: u64,
    patch_bytes: u64,
    received_bytes: u64,
    took_ms: u64,
}

pub fn pull(client: &Client, output: &Output, request: &PullRequest) -> Result<(), Failure> {
    let mut follower =
        Follower { image: &request.image, output, progress: Progress::new(output), layers: Vec::new(), held: 0 };
    let pulled = client.follow(paths::IMAGES_PULL, request, |event: PullEvent| {
        output.event(&event)?;
        follower.take(event)
    })?;
    output.summary(&pulled, pulled_text)
}

/// The state of a pull, by its events so far.
struct Follower<'a> {
    image: &'a str,
    output: &'a Output,
    progress: Progress,
    layers: Vec<PulledLayer>,
    held: usize,
}

impl Follower<'_> {
    /// Shows an event. The last one gives the result.
    fn take(&mut self, event: PullEvent) -> Result<Option<Pulled>, Failure> {
        match event {
            PullEvent::Resolved { manifest, .. } => self.say(&format!("{} is {manifest}", self.image)),
            PullEvent::Layers { layers, held } => {
                self.held = held.len();
                self.say(&format!("{} layers, {} of them here", layers.len(), self.held));
            }
            PullEvent::Fetching { layer, from, bases, bytes, exact } => {
                let about = if exact { "" } else { "about " };
                let how = match shorts(&bases, " and ") {
                    Some(bases) => format!("as a patch to {bases}"),
                    None => "whole".to_owned(),
                };
                self.say(&format!("{}: {about}{bytes} {how} from {from}", short(layer)));
            }
            PullEvent::Progress { layer, received_bytes, total_bytes } => {
                self.progress.set(&layer.to_string(), received_bytes.0, total_bytes.0, "");
            }
            PullEvent::Unpacking { layer } => {
                self.say(&format!("{}: its compressed blob is here, and is unpacked", short(layer)));
            }
            PullEvent::Retrying { layer, from, why } => {
                self.say(&format!("{}: {from} failed: {why}; another peer follows", short(layer)));
            }
            PullEvent::Layer {
                layer,
                from,
                bases,
                tar_bytes,
                compressed_bytes,
                patch_bytes,
                received_bytes,
                took_ms,
            } => {
                self.progress.finish(&layer.to_string(), &saved(received_bytes, compressed_bytes));
                self.layers.push(PulledLayer {
                    layer: layer.to_string(),
                    from: from.to_string(),
                    bases: bases.iter().map(ToString::to_string).collect(),
                    tar_bytes: tar_bytes.0,
                    compressed_bytes: compressed_bytes.0,
                    patch_bytes: patch_bytes.0,
                    received_bytes: received_bytes.0,
                    took_ms,
                });
            }
            PullEvent::Done { manifest, sent_bytes, received_bytes, took_ms } => {
                return Ok(Some(Pulled {
                    image: self.image.to_owned(),
                    manifest: manifest.to_string(),
                    layers: std::mem::take(&mut self.layers),
                    layers_held_before: self.held,
                    sent_bytes: sent_bytes.0,
                    received_bytes: received_bytes.0,
                    took_ms,
                }));
            }
            PullEvent::Failed { problem } => return Err(problem.into()),
        }
        Ok(None)
    }

    fn say(&self, text: &str) {
        self.progress.say(self.output, text);
    }
}

fn pulled_text(pulled: &Pulled) -> String {
    let mut rows = table(&["layer", "tar", "gzip", "received", "of gzip", "time", "how"]);
    for layer in &pulled.layers {
        let how = match shorts(&layer.bases, " and ") {
            Some(bases) => format!("patch to {bases}"),
            None => "whole".to_owned(),
        };
        let share = 100.0 * layer.received_bytes as f64 / layer.compressed_bytes.max(1) as f64;
        rows.add_row([
            short(&layer.layer).into(),
            right(Bytes(layer.tar_bytes)),
            right(Bytes(layer.compressed_bytes)),
            right(Bytes(layer.received_bytes)),
            right(format!("{share:.1} %")),
            right(duration(layer.took_ms)),
            how.into(),
        ]);
    }
    let layers = if pulled.layers.is_empty() { String::new() } else { format!("\n{rows}") };
    format!(
        "{} is {}: {} layers were here, {} received{layers}\nall traffic: {} received, {} sent, {}",
        pulled.image,
        pulled.manifest,
        pulled.layers_held_before,
        pulled.layers.len(),
        Bytes(pulled.received_bytes),
        Bytes(pulled.sent_bytes),
        duration(pulled.took_ms),
    )
}
