//! Nodes that stop in the midst of what they send. Nobody stalls under the other strategies.

use std::rc::Rc;

use serde::Deserialize;

use super::{Drawn, Flaw, Kind, Places};
use crate::error::ScenarioError;
use crate::random::Random;

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stalls {
    /// Nodes of each site.
    per_site: u64,
}

impl Kind for Stalls {
    fn check(&self, _hubs: u64) -> Result<(), ScenarioError> {
        Ok(())
    }

    fn draw(&self, places: &Places, _random: &mut Random, drawn: &mut Drawn) {
        for site in &places.sites {
            let nodes = site.clone().take(self.per_site as usize);
            nodes.for_each(|node| drawn.flaw(node, Rc::new(Stalling { after_bytes: 1 })));
        }
    }
}

/// A node that sends no more on a stream of which so many bytes arrived. Bytes that are on their way then still arrive.
pub struct Stalling {
    pub after_bytes: u64,
}

impl Flaw for Stalling {
    fn sends_on(&self, arrived: u64) -> bool {
        arrived < self.after_bytes
    }
}
