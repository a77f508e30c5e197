//! A scenario: one question in TOML. Every key is in docs/SIMULATION.md; what is not known or not possible is refused with
//! its line.

mod check;
mod units;

use lighter_engine::EffortChoice;
use lighter_types::Effort;
use serde::{Deserialize, Serialize};

use crate::expect::Expect;
pub use units::{Rate, Size, Span};

/// Nodes of a fleet, and kinds of other things in a scenario: enough for any question, and no run that cannot end.
pub const NODES_MAX: u64 = 1_000_000;
const NAMES_MAX: usize = 1024;

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    pub name: String,
    /// What the scenario asks, in a sentence.
    pub question: String,
    #[serde(default = "one")]
    pub seed: u64,
    /// A run ends after so much virtual time, whatever is still under way.
    pub ends_after: Span,
    /// At which effort nodes make patches.
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
    /// When uplinks have all of their rate; without, always.
    pub window: Option<Window>,
    #[serde(default)]
    pub expect: Expect,
}

/// What releases were measured to cost, in JSON: `lighter sim measure` writes it.
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

/// As `limits.encode_effort` of a node.
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

/// The nodes that hold everything from the beginning. Each site is connected to one of them.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hub {
    #[serde(default = "one")]
    pub count: u64,
    /// Of each hub, in either direction.
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
    /// In each site.
    pub nodes: u64,
    /// Slowest and fastest uplink. Sites lie between them, evenly by their logarithm.
    pub uplink: [Rate; 2],
    /// The same from the site, if it is another rate than to it.
    pub upload: Option<[Rate; 2]>,
    #[serde(default)]
    pub latency: Span,
    /// Of packets on the uplink, in percent.
    #[serde(default)]
    pub loss_percent: u64,
    #[serde(default = "default_lan")]
    pub lan: Rate,
    /// The uplink is paid for by the byte: its nodes pass nothing on to other sites, and its bytes are counted apart.
    #[serde(default)]
    pub metered: bool,
    /// Whether nodes of other sites can connect to its nodes; not behind most NATs.
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
}

/// What a patch is known to cost. What is not listed costs as much as the best that is, or the compressed layer.
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
    /// Of each frame, the bytes of its payload and those of the target that it rebuilds. Without them, fourths of both.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub frames: Vec<[u64; 2]>,
    /// Nobody made it: sketches and the effort model say so.
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

/// Who pulls what when.
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
    /// Sites that take part, in percent; those of waves before come first.
    #[serde(default)]
    pub sites_from_percent: u64,
    #[serde(default = "hundred")]
    pub sites_to_percent: u64,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, tag = "kind", rename_all = "kebab-case")]
pub enum Fault {
    /// So many of the nodes, in percent, are off until then.
    Off { percent: u64, until: Span },
    /// So many nodes of every site send wrong bytes.
    Lies { per_site: u64 },
    /// So many nodes of every site stop in the midst of what they send.
    Stalls { per_site: u64 },
    /// The disks of so many of the nodes, in percent, are full until then.
    DiskFull { percent: u64, until: Span },
    /// So many of the nodes lose power at a moment of this span, and start again after `down`.
    PowerCuts { percent: u64, from: Span, to: Span, down: Span },
    /// A hub is gone from then on; with more than one hub, sites turn to the next.
    HubLost { hub: u64, at: Span },
    /// So many of the nodes, in percent, go off for `down` again and again between these moments, about every `every`.
    Churn { percent: u64, from: Span, to: Span, every: Span, down: Span },
    /// So many of the sites, in percent, are cut off from everybody else meanwhile.
    Partition { percent: u64, from: Span, to: Span },
}

/// What gossip does to messages, in percent.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gossip {
    #[serde(default)]
    pub lost_percent: u64,
    #[serde(default)]
    pub repeated_percent: u64,
    /// Come up to ten seconds later than others, and so after what was sent later.
    #[serde(default)]
    pub late_percent: u64,
}

/// A time of every day, by virtual time from 0 on, in which releases may use the uplinks.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Window {
    pub from: Span,
    pub to: Span,
    /// Of their rate, that is left to releases outside the window.
    pub outside_percent: u64,
}

/// Why a scenario cannot be run.
#[derive(Debug, thiserror::Error)]
pub enum ScenarioError {
    /// Says line, column and key.
    #[error("{0}")]
    Toml(#[from] toml::de::Error),
    #[error("trace {path:?}: {why}")]
    Trace { path: String, why: String },
    #[error("{place} names {what} {name:?}, which the scenario does not have; it has {known}")]
    Unknown { place: String, what: &'static str, name: String, known: String },
    #[error("{place} is {found}, and must be {expected}")]
    Range { place: String, found: String, expected: &'static str },
    #[error("two {what} are called {name:?}; names are given once")]
    Twice { what: &'static str, name: String },
}

impl Scenario {
    /// Reads a scenario and checks all that it says. `read` gets the trace that it names, if it names one.
    ///
    /// # Errors
    /// Whatever is unknown, out of range or missing.
    pub fn parse(text: &str, read: impl FnOnce(&str) -> std::io::Result<String>) -> Result<Self, ScenarioError> {
        let mut scenario: Self = toml::from_str(text)?;
        if let Some(path) = &scenario.trace {
            let failed = |why: String| ScenarioError::Trace { path: path.clone(), why };
            let text = read(path).map_err(|error| failed(error.to_string()))?;
            let trace: Trace = serde_json::from_str(&text).map_err(|error| failed(error.to_string()))?;
            scenario.layers.extend(trace.layers);
            scenario.patches.extend(trace.patches);
            scenario.images.extend(trace.images);
        }
        scenario.check()?;
        Ok(scenario)
    }

    /// Nodes of all sites.
    pub fn site_nodes(&self) -> u64 {
        self.sites.iter().map(|sites| sites.count.saturating_mul(sites.nodes)).fold(0, u64::saturating_add)
    }
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

pub(crate) fn default_lan() -> Rate {
    Rate { bytes_per_second: 125_000_000 }
}

#[cfg(test)]
mod tests;
