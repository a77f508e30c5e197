//! A scenario: one question in TOML. Every key is in docs/SIMULATION.md; what is not known or not possible is refused with
//! its line.

mod units;

use std::collections::{BTreeMap, BTreeSet};

use lighter_engine::{Effort, EffortChoice};
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
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Image {
    pub name: String,
    pub layers: Vec<String>,
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
    #[error("trace {path:?}: {why}; `lighter sim measure` makes one")]
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

    pub(crate) fn check(&self) -> Result<(), ScenarioError> {
        let layers = names("layers", self.layers.iter().map(|layer| &layer.name))?;
        let images = names("images", self.images.iter().map(|image| &image.name))?;
        for image in &self.images {
            for layer in &image.layers {
                known(&layers, layer, "layer", || format!("[[image]] {:?}", image.name))?;
            }
            if image.name.parse::<lighter_types::ImageReference>().is_err() {
                let place = "[[image]] name".to_owned();
                let found = format!("{:?}", image.name);
                return Err(ScenarioError::Range { place, found, expected: "a reference such as demo/nginx:2" });
            }
        }
        for patch in &self.patches {
            let place = || format!("[[patch]] to {:?}", patch.target);
            known(&layers, &patch.target, "layer", place)?;
            known(&layers, &patch.base, "layer", place)?;
        }
        for image in self.sites.iter().flat_map(|sites| &sites.holds) {
            known(&images, image, "image", || "[[sites]] holds".to_owned())?;
        }
        for pull in &self.pulls {
            known(&images, &pull.image, "image", || "[[pull]]".to_owned())?;
            in_range("[[pull]] sites_to_percent", pull.sites_to_percent, 1, 100, "1 to 100")?;
            in_range("[[pull]] sites_from_percent", pull.sites_from_percent, 0, 99, "0 to 99")?;
        }
        self.check_numbers()
    }

    fn check_numbers(&self) -> Result<(), ScenarioError> {
        in_range("[hub] count", self.hub.count, 1, 64, "1 to 64")?;
        in_range("the number of nodes", self.site_nodes(), 1, NODES_MAX, "1 to 1,000,000")?;
        for sites in &self.sites {
            in_range("[[sites]] loss_percent", sites.loss_percent, 0, 50, "0 to 50")?;
            for [slowest, fastest] in [Some(sites.uplink), sites.upload].into_iter().flatten() {
                if slowest.bytes_per_second > fastest.bytes_per_second {
                    let (place, found) = ("[[sites]] uplink".to_owned(), "a faster rate before a slower".to_owned());
                    let expected = "the slowest and the fastest, in this order";
                    return Err(ScenarioError::Range { place, found, expected });
                }
            }
        }
        for layer in &self.layers {
            let place = format!("[[layer]] {:?}: gzip", layer.name);
            in_range(&place, layer.gzip.0, 1, layer.tar.0, "1 to the bytes of the tar")?;
        }
        for percent in [self.gossip.lost_percent, self.gossip.repeated_percent, self.gossip.late_percent] {
            in_range("[gossip] percent", percent, 0, 100, "0 to 100")?;
        }
        if let Some(window) = self.window {
            in_range("[window] outside_percent", window.outside_percent, 1, 100, "1 to 100")?;
            in_range(
                "[window] to",
                window.to.millis,
                window.from.millis + 1,
                DAY.millis,
                "after `from`, and 24 h at most",
            )?;
        }
        for fault in &self.faults {
            match fault {
                Fault::Off { percent, .. }
                | Fault::PowerCuts { percent, .. }
                | Fault::DiskFull { percent, .. }
                | Fault::Churn { percent, .. }
                | Fault::Partition { percent, .. } => {
                    in_range("[[fault]] percent", *percent, 0, 100, "0 to 100")?;
                }
                Fault::HubLost { hub, .. } => {
                    in_range("[[fault]] hub", *hub, 0, self.hub.count - 1, "one of the hubs, from 0 on")?;
                }
                Fault::Lies { .. } | Fault::Stalls { .. } => {}
            }
        }
        Ok(())
    }
}

fn names<'a>(what: &'static str, all: impl Iterator<Item = &'a String>) -> Result<BTreeSet<&'a str>, ScenarioError> {
    let mut known = BTreeSet::new();
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for name in all {
        known.insert(name.as_str());
        *counts.entry(name).or_default() += 1;
    }
    if let Some((name, _)) = counts.iter().find(|(_, count)| **count > 1) {
        return Err(ScenarioError::Twice { what, name: (*name).to_owned() });
    }
    in_range(&format!("the number of {what}"), known.len() as u64, 1, NAMES_MAX as u64, "1 to 1024")?;
    Ok(known)
}

fn known(
    all: &BTreeSet<&str>,
    name: &str,
    what: &'static str,
    place: impl Fn() -> String,
) -> Result<(), ScenarioError> {
    if all.contains(name) {
        return Ok(());
    }
    let known = all.iter().copied().collect::<Vec<_>>().join(", ");
    Err(ScenarioError::Unknown { place: place(), what, name: name.to_owned(), known })
}

fn in_range(place: &str, found: u64, least: u64, most: u64, expected: &'static str) -> Result<(), ScenarioError> {
    if (least..=most).contains(&found) {
        return Ok(());
    }
    Err(ScenarioError::Range { place: place.to_owned(), found: found.to_string(), expected })
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
