//! The checks of a scenario: names that exist, numbers in range.

use std::collections::{BTreeMap, BTreeSet};

use super::{DAY, NAMES_MAX, NODES_MAX, Scenario};
use crate::error::{ScenarioError, in_range};

/// The longest time of a packet on a link.
const MINUTE_MS: u64 = 60_000;

impl Scenario {
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
            for layer in [&patch.target, &patch.base] {
                known(&layers, layer, "layer", || format!("[[patch]] to {:?}", patch.target))?;
            }
            let payloads = patch.frames.iter().map(|[payload, _]| *payload).fold(0, u64::saturating_add);
            in_range("[[patch]] frames, payloads together", payloads, 0, patch.bytes.0, "at most the patch's bytes")?;
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
            in_range("[[sites]] latency in ms", sites.latency.millis, 0, MINUTE_MS, "at most a minute")?;
            in_range("[[sites]] queue in ms", sites.queue.millis, 0, MINUTE_MS, "at most a minute")?;
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
            fault.kind().check(self.hub.count)?;
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
