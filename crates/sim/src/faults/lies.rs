//! Nodes that send wrong bytes, for documents and for patches. Nobody lies to the other strategies.

use std::rc::Rc;

use lighter_engine::{FetchFailure, Lie};
use lighter_types::Cause;
use serde::Deserialize;

use super::{Drawn, Flaw, Kind, Places};
use crate::error::ScenarioError;
use crate::random::Random;

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lies {
    /// Nodes of each site.
    per_site: u64,
}

impl Kind for Lies {
    fn check(&self, _hubs: u64) -> Result<(), ScenarioError> {
        Ok(())
    }

    fn draw(&self, places: &Places, _random: &mut Random, drawn: &mut Drawn) {
        for site in &places.sites {
            site.clone().take(self.per_site as usize).for_each(|node| drawn.flaw(node, Rc::new(Liar)));
        }
    }
}

/// A node whose bytes fail their hashes.
pub struct Liar;

impl Flaw for Liar {
    fn document(&self, _bytes: Vec<u8>) -> Vec<u8> {
        b"not that".to_vec()
    }

    fn sent(&self) -> Result<(), FetchFailure> {
        Err(FetchFailure::Lied(Lie::Unreadable(Cause::new(OtherHash))))
    }
}

/// The lie of a [`Liar`].
#[derive(Debug, thiserror::Error)]
#[error("a frame of other bytes")]
struct OtherHash;
