//! A scenario: one question in TOML.
//!
//! docs/SIMULATION.md lists every key. [`Scenario::parse`] refuses an unknown key or a value of the wrong form with its
//! line, and whatever does not fit together with its place (`scenario/check.rs`). The keys of a fault are in the
//! fault's own file (`faults.rs`), those of `[expect]` in `expect.rs`.

mod check;

use lighter_engine::EffortChoice;
use lighter_types::Effort;
use serde::{Deserialize, Serialize};

use crate::error::ScenarioError;
use crate::expect::Expect;
use crate::faults::Fault;
use crate::network::QUEUE;
use crate::units::{Loss, Rate, Size, Span};

/// Nodes of a fleet: enough for any question, and a run still ends.
pub const NODES_MAX: u64 = 1_000_000;
/// Layers, and images, of a scenario.
const NAMES_MAX: usize = 1024;

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    pub name: String,
    /// One sentence.
    pub question: String,
    #[serde(default = "one")]
    pub seed: u64,
    /// A run ends after so much virtual time, whatever is under way then.
    pub ends_after: Span,
    /// The effort at which nodes make patches.
    #[serde(default)]
    pub effort: EffortKey,
    pub hub: Hub,
    pub registry: Registry,
    pub sites: Vec<Sites>,
    /// A file of [`Trace`], whose layers, patches and images are added.
    pub trace: Option<String>,
    #[serde(rename = "layer", default)]
    pub layers: Vec<Layer>,
    #[serde(rename = "patch", default)]
    pub patches: Vec<Patch>,
    #[serde(rename = "image", default)]
    pub images: Vec<Image>,
    #[serde(rename = "pull")]
    pub pulls: Vec<Pull>,
    #[serde(rename = "fault", default)]
    pub faults: Vec<Fault>,
    #[serde(default)]
    pub gossip: Gossip,
    /// The time of day in which uplinks have all of their rate; absent, they always have.
    pub window: Option<Window>,
    #[serde(default)]
    pub expect: Expect,
}

/// The measured costs of releases, in JSON: `lighter sim measure` writes it.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Trace {
    #[serde(rename = "layer")]
    pub layers: Vec<Layer>,
    #[serde(rename = "patch")]
    pub patches: Vec<Patch>,
    #[serde(rename = "image")]
    pub images: Vec<Image>,
}

/// The values of `limits.encode_effort` of a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EffortKey {
    #[default]
    Auto,
    Fast,
    Default,
    Max,
}

impl EffortKey {
    pub(crate) fn choice(self) -> EffortChoice {
        match self {
            Self::Auto => EffortChoice::Auto,
            Self::Fast => EffortChoice::Always(Effort::Fast),
            Self::Default => EffortChoice::Always(Effort::Default),
            Self::Max => EffortChoice::Always(Effort::Max),
        }
    }
}

/// The nodes that hold all images from the beginning. Each site is connected to one of them.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hub {
    #[serde(default = "one")]
    pub count: u64,
    /// The rate of each hub, in either direction.
    pub rate: Rate,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Registry {
    pub rate: Rate,
}

/// Sites that are alike.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sites {
    pub count: u64,
    /// Nodes in each site.
    pub nodes: u64,
    /// The slowest and the fastest uplink. Sites lie between them, evenly by their logarithm.
    pub uplink: [Rate; 2],
    /// The rates from the sites, if they differ from those to the sites.
    pub upload: Option<[Rate; 2]>,
    /// The latency of the uplink, one way.
    #[serde(default)]
    pub latency: Span,
    /// Packets that get lost on the uplink, in percent.
    #[serde(default)]
    pub loss_percent: Loss,
    /// The longest that bytes wait before the uplink.
    #[serde(default = "default_queue")]
    pub queue: Span,
    #[serde(default = "default_lan")]
    pub lan: Rate,
    /// Whether the uplink is paid for by the byte. Then its nodes pass nothing on to other sites, and its bytes are
    /// counted apart.
    #[serde(default)]
    pub metered: bool,
    /// Whether nodes of other sites can connect to its nodes; behind most NATs they cannot.
    #[serde(default = "yes")]
    pub reachable: bool,
    /// Images that the nodes hold from the beginning.
    #[serde(default)]
    pub holds: Vec<String>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Layer {
    pub name: String,
    pub tar: Size,
    pub gzip: Size,
    /// Layers of one family are releases of one another.
    pub family: String,
    /// The times to make the whole layer for sending, and to take it in, where they were measured. Such a layer has the
    /// bytes of `gzip` at every effort: one that does not compress, or whose blob is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encode: Option<Span>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub apply: Option<Span>,
    /// The time to rebuild the exact blob from the tar, before a runtime can unpack it; absent if no runtime asks for
    /// it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rebuild: Option<Span>,
}

/// The cost of a patch from one base. From several bases, a patch costs as much as the smallest that is listed; without
/// any that is listed, the compressed layer.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Patch {
    pub target: String,
    pub base: String,
    /// At the effort *default*.
    pub bytes: Size,
    pub encode: Span,
    pub apply: Span,
    /// Bytes of the content-defined chunks of the target that the base lacks, compressed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chunks: Option<Size>,
    /// For each frame, the bytes of its payload and the bytes of the target that it rebuilds; absent, fourths of both.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub frames: Vec<[u64; 2]>,
    /// Whether the figures come from sketches and the effort model, and no patch was made.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub predicted: bool,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Image {
    pub name: String,
    pub layers: Vec<String>,
    /// Bytes of its manifest and of its config.
    #[serde(default = "Image::usual_documents")]
    pub documents: [u64; 2],
}

impl Image {
    fn usual_documents() -> [u64; 2] {
        [2048; 2]
    }
}

/// The nodes of some sites pull an image.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pull {
    pub image: String,
    pub at: Span,
    /// Each node begins at some moment of this span.
    #[serde(default)]
    pub spread: Span,
    /// A node whose pull failed asks again after this, as clients do.
    #[serde(default = "half_a_minute")]
    pub again: Span,
    /// The share of the sites that takes part, in percent of all sites in their order.
    #[serde(default)]
    pub sites_from_percent: u64,
    #[serde(default = "hundred")]
    pub sites_to_percent: u64,
}

/// The fate of announcements, in percent.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gossip {
    #[serde(default)]
    pub lost_percent: u64,
    #[serde(default)]
    pub repeated_percent: u64,
    /// Announcements that come up to ten seconds late, and so after later ones.
    #[serde(default)]
    pub late_percent: u64,
}

/// A time of every day, by virtual time from 0 on, in which releases may use the uplinks.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Window {
    pub from: Span,
    pub to: Span,
    /// The share of their rate that releases have outside the window.
    pub outside_percent: u64,
}

impl Scenario {
    /// Reads a scenario and checks all of it. `read` gets the trace that the scenario names, if it names one.
    ///
    /// # Errors
    /// Whatever is unknown, out of range or missing.
    pub fn parse(text: &str, read: impl FnOnce(&str) -> std::io::Result<String>) -> Result<Self, ScenarioError> {
        let mut scenario: Self = toml::from_str(text)?;
        if let Some(path) = &scenario.trace {
            let trace = read_trace(path, read).map_err(|why| ScenarioError::Trace { path: path.clone(), why })?;
            scenario.layers.extend(trace.layers);
            scenario.patches.extend(trace.patches);
            scenario.images.extend(trace.images);
        }
        scenario.check()?;
        Ok(scenario)
    }

    /// The nodes of all sites.
    pub fn site_nodes(&self) -> u64 {
        self.sites.iter().map(|sites| sites.count.saturating_mul(sites.nodes)).fold(0, u64::saturating_add)
    }
}

/// Reads the trace that a scenario names. The error is the reason in words.
fn read_trace(path: &str, read: impl FnOnce(&str) -> std::io::Result<String>) -> Result<Trace, String> {
    let text = read(path).map_err(|error| error.to_string())?;
    serde_json::from_str(&text).map_err(|error| error.to_string())
}

pub(crate) const DAY: Span = Span { millis: 86_400_000 };

fn one() -> u64 {
    1
}

fn yes() -> bool {
    true
}

fn hundred() -> u64 {
    100
}

fn half_a_minute() -> Span {
    Span { millis: 30_000 }
}

pub(crate) fn default_queue() -> Span {
    Span { millis: QUEUE / 1000 }
}

pub(crate) fn default_lan() -> Rate {
    Rate { bytes_per_second: 125_000_000 }
}

#[cfg(test)]
mod tests;
