//! Nodes that say to their neighbours that every layer comes through them, and send nothing. The other strategies have
//! no such word.

use std::rc::Rc;

use lighter_types::Bytes;
use serde::Deserialize;

use super::{Drawn, Flaw, Kind, Places};
use crate::error::ScenarioError;
use crate::queue::Micros;
use crate::random::Random;

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pretends {
    /// Nodes of each site.
    per_site: u64,
}

impl Kind for Pretends {
    fn check(&self, _hubs: u64) -> Result<(), ScenarioError> {
        Ok(())
    }

    fn draw(&self, places: &Places, _random: &mut Random, drawn: &mut Drawn) {
        for site in &places.sites {
            let nodes = site.clone().take(self.per_site as usize);
            nodes.for_each(|node| drawn.flaw(node, Rc::new(Pretender::default())));
        }
    }
}

/// A node that says that so many bytes come to it every second, of every layer.
#[derive(Default)]
pub struct Pretender {
    pub bytes_per_second: u64,
}

impl Flaw for Pretender {
    fn pretended(&self, time: Micros) -> Option<Bytes> {
        Some(Bytes(self.bytes_per_second * (time / 1_000_000)))
    }
}
