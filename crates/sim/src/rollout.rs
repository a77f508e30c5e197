//! A rollout that is about to begin, made into a scenario.
//!
//! The operator gives a fleet in TOML ([`FleetFile`]). A running hub gives the costs of the patches as a [`Trace`], and
//! the nodes that it knows of each named site ([`Known`]). [`FleetFile::scenario`] puts them together: every node that
//! does not hold the new image pulls it.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::error::ScenarioError;
use crate::expect::Expect;
use crate::faults::Fault;
use crate::scenario::{
    EffortKey, Gossip, Hub, Pull, Registry, Scenario, Sites, Trace, Window, default_lan, default_queue,
};
use crate::units::{Loss, Rate, Span};

/// A fleet. docs/SIMULATION.md lists the keys.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FleetFile {
    #[serde(default = "one")]
    pub seed: u64,
    /// Each node begins at some moment of this span.
    #[serde(default)]
    pub spread: Span,
    #[serde(default = "a_week")]
    pub ends_after: Span,
    #[serde(default)]
    pub effort: EffortKey,
    pub hub: Hub,
    pub registry: Registry,
    pub sites: Vec<FleetSites>,
    #[serde(rename = "fault", default)]
    pub faults: Vec<Fault>,
    #[serde(default)]
    pub gossip: Gossip,
    pub window: Option<Window>,
    #[serde(default)]
    pub expect: Expect,
}

/// Sites that are alike, or one that the hub knows by its name.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FleetSites {
    /// The site's name in the configuration of its nodes. The hub knows which nodes it has.
    pub name: Option<String>,
    #[serde(default = "one")]
    pub count: u64,
    /// Nodes in each site; absent, the nodes that the hub knows of the site with this name.
    pub nodes: Option<u64>,
    pub uplink: [Rate; 2],
    pub upload: Option<[Rate; 2]>,
    #[serde(default)]
    pub latency: Span,
    #[serde(default)]
    pub loss_percent: Loss,
    #[serde(default = "default_queue")]
    pub queue: Span,
    #[serde(default = "default_lan")]
    pub lan: Rate,
    #[serde(default)]
    pub metered: bool,
    #[serde(default = "yes")]
    pub reachable: bool,
}

/// The nodes that a hub knows of a site.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Known {
    pub nodes: u64,
    /// Nodes that hold the new image already.
    pub done: u64,
}

impl FleetFile {
    /// Reads a fleet.
    ///
    /// # Errors
    /// An unknown key or a value of the wrong form, with its line. [`Self::scenario`] finds values that are out of
    /// range.
    pub fn parse(text: &str) -> Result<Self, ScenarioError> {
        Ok(toml::from_str(text)?)
    }

    /// The rollout of `to` to nodes that hold `from`; both are images of the trace. `None` if every node is done
    /// already.
    ///
    /// # Errors
    /// A value that is out of range or missing.
    pub fn scenario(
        self,
        from: &str,
        to: &str,
        trace: Trace,
        known: &BTreeMap<String, Known>,
    ) -> Result<Option<Scenario>, ScenarioError> {
        let sites = self.sites.into_iter().filter_map(|site| site.left(from, known).transpose());
        let sites = sites.collect::<Result<Vec<_>, _>>()?;
        if sites.is_empty() {
            return Ok(None);
        }
        let whole = Pull {
            image: to.to_owned(),
            // By then, gossip has told every node what its neighbours hold.
            at: Span { millis: 60_000 },
            spread: self.spread,
            again: Span { millis: 30_000 },
            sites_from_percent: 0,
            sites_to_percent: 100,
        };
        let scenario = Scenario {
            name: format!("{from} to {to}"),
            question: format!("What does it take to bring {to} to a fleet that holds {from}?"),
            seed: self.seed,
            ends_after: self.ends_after,
            effort: self.effort,
            hub: self.hub,
            registry: self.registry,
            sites,
            trace: None,
            layers: trace.layers,
            patches: trace.patches,
            images: trace.images,
            pulls: vec![whole],
            faults: self.faults,
            gossip: self.gossip,
            window: self.window,
            expect: self.expect,
        };
        scenario.check()?;
        Ok(Some(scenario))
    }
}

impl FleetSites {
    /// The sites with the nodes that do not hold the new image; `None` if all nodes hold it.
    fn left(self, from: &str, known: &BTreeMap<String, Known>) -> Result<Option<Sites>, ScenarioError> {
        let known_here = self.name.as_ref().map(|name| known.get(name).copied().unwrap_or_default());
        let nodes = self.nodes.or(known_here.map(|known| known.nodes)).unwrap_or_default();
        if nodes == 0 {
            let names = known.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
            let (place, found) = match self.name {
                Some(name) => (format!("[[sites]] {name:?}: nodes"), format!("not given, and the hub knows {names}")),
                None => ("[[sites]] nodes".to_owned(), "not given".to_owned()),
            };
            let expected = "given, or the site's name one that the hub knows";
            return Err(ScenarioError::Range { place, found, expected });
        }
        let left = nodes.saturating_sub(known_here.map_or(0, |known| known.done));
        Ok((left > 0).then(|| Sites {
            count: self.count,
            nodes: left,
            uplink: self.uplink,
            upload: self.upload,
            latency: self.latency,
            loss_percent: self.loss_percent,
            queue: self.queue,
            lan: self.lan,
            metered: self.metered,
            reachable: self.reachable,
            holds: vec![from.to_owned()],
        }))
    }
}

fn one() -> u64 {
    1
}

fn yes() -> bool {
    true
}

fn a_week() -> Span {
    Span { millis: 7 * 86_400_000 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::{Image, Layer, Patch};
    use crate::units::Size;

    const FLEET: &str = r#"
spread = "2 min"

[hub]
rate = "100 Mbit/s"

[registry]
rate = "1 Gbit/s"

[[sites]]
count = 4
nodes = 2
uplink = ["1 Mbit/s", "8 Mbit/s"]

[[sites]]
name = "berlin"
uplink = ["2 Mbit/s", "2 Mbit/s"]
"#;

    fn trace() -> Trace {
        let (encode, apply) = (Span { millis: 100 }, Span { millis: 10 });
        let (target, base) = ("new".to_owned(), "old".to_owned());
        Trace {
            layers: vec![layer("old"), layer("new")],
            patches: vec![Patch {
                target,
                base,
                bytes: Size(9_000),
                encode,
                apply,
                chunks: None,
                frames: Vec::new(),
                predicted: false,
            }],
            images: vec![image("app:1", "old"), image("app:2", "new")],
        }
    }

    fn layer(name: &str) -> Layer {
        Layer {
            name: name.to_owned(),
            tar: Size(1_000_000),
            gzip: Size(400_000),
            family: "app".to_owned(),
            encode: None,
            apply: None,
            rebuild: None,
        }
    }

    fn image(name: &str, layer: &str) -> Image {
        Image { name: name.to_owned(), layers: vec![layer.to_owned()], documents: [2048; 2] }
    }

    fn known(nodes: u64, done: u64) -> BTreeMap<String, Known> {
        [("berlin".to_owned(), Known { nodes, done })].into()
    }

    #[test]
    fn a_fleet_and_two_images_are_a_scenario() {
        let scenario =
            FleetFile::parse(FLEET).unwrap().scenario("app:1", "app:2", trace(), &known(3, 1)).unwrap().unwrap();
        assert_eq!(scenario.site_nodes(), 4 * 2 + 2, "one of berlin's three is done");
        let report = crate::run(&scenario, 1, &mut |_, _| std::ops::ControlFlow::Continue(()));
        let lighter = report.strategies.iter().find(|report| report.strategy == crate::Strategy::Lighter).unwrap();
        assert_eq!((lighter.done, lighter.unfinished), (10, 0));
        let alone = FLEET.find("[[sites]]\ncount").unwrap()..FLEET.find("[[sites]]\nname").unwrap();
        let only_berlin = FLEET.replace(&FLEET[alone], "");
        let done = FleetFile::parse(&only_berlin).unwrap().scenario("app:1", "app:2", trace(), &known(3, 3)).unwrap();
        assert!(done.is_none());
    }

    #[test]
    fn a_mistake_is_named_with_its_place() {
        let unknown = error(FLEET, &BTreeMap::from([("paris".to_owned(), Known { nodes: 1, done: 0 })]));
        assert!(unknown.contains("berlin") && unknown.contains("paris"), "{unknown}");
        let misspelt = error(&FLEET.replace("uplink =", "uplnik ="), &known(1, 0));
        assert!(misspelt.contains("uplnik") && misspelt.contains("line 13"), "{misspelt}");
        let holds = error(&FLEET.replace("nodes = 2", "nodes = 2\nholds = []"), &known(1, 0));
        assert!(holds.contains("holds"), "{holds}");
        let many = error(&FLEET.replace("count = 4", "count = 4000000"), &known(1, 0));
        assert!(many.contains("1,000,000"), "{many}");
    }

    fn error(text: &str, known: &BTreeMap<String, Known>) -> String {
        let made = FleetFile::parse(text).and_then(|fleet| fleet.scenario("app:1", "app:2", trace(), known));
        made.unwrap_err().to_string()
    }
}
