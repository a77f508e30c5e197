//! Nodes that send a few bytes a second, so that a fetch from them never stalls. Nobody drips under the other
//! strategies.

use std::rc::Rc;

use serde::Deserialize;

use super::{Drawn, Flaw, Kind, Places};
use crate::error::ScenarioError;
use crate::queue::Micros;
use crate::random::Random;

/// Just over what a stall timeout asks for: 4 KiB in 20 s.
const DRIP: u64 = 210;

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Drips {
    /// Nodes of each site.
    per_site: u64,
}

impl Kind for Drips {
    fn check(&self, _hubs: u64) -> Result<(), ScenarioError> {
        Ok(())
    }

    fn draw(&self, places: &Places, _random: &mut Random, drawn: &mut Drawn) {
        for site in &places.sites {
            let nodes = site.clone().take(self.per_site as usize);
            nodes.for_each(|node| drawn.flaw(node, Rc::new(Dripping::default())));
        }
    }
}

/// A node that sends no more than so many bytes a second on each stream, after it sent some at once.
pub struct Dripping {
    pub at_once: u64,
    pub bytes_per_second: u64,
}

impl Default for Dripping {
    fn default() -> Self {
        Self { at_once: 0, bytes_per_second: DRIP }
    }
}

impl Flaw for Dripping {
    fn sent_by(&self, time: Micros) -> u64 {
        self.at_once + self.bytes_per_second * (time / 1_000_000)
    }
}
