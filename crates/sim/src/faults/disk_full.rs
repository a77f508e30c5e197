//! Nodes whose disk is full until a moment. Under the other strategies no disk is full.

use std::rc::Rc;

use lighter_engine::{FetchFailure, LocalFailure};
use lighter_types::Bytes;
use serde::Deserialize;

use super::{Drawn, Flaw, Kind, Places, check_percent};
use crate::error::ScenarioError;
use crate::queue::Micros;
use crate::random::Random;
use crate::units::Span;

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DiskFull {
    /// The share of the nodes.
    percent: u64,
    until: Span,
}

impl Kind for DiskFull {
    fn check(&self, _hubs: u64) -> Result<(), ScenarioError> {
        check_percent(self.percent)
    }

    fn draw(&self, places: &Places, random: &mut Random, drawn: &mut Drawn) {
        for node in places.site_nodes.clone().filter(|_| random.happens(self.percent * 10)) {
            drawn.flaw(node, Rc::new(NoRoom { until: self.until.micros() }));
        }
    }
}

/// A node that has no room for a layer until this moment.
pub struct NoRoom {
    pub until: Micros,
}

impl Flaw for NoRoom {
    fn reserve(&self, now: Micros) -> Result<(), FetchFailure> {
        if now < self.until {
            let (path, needed, free) = ("/data".into(), Bytes::MIB, Bytes::ZERO);
            return Err(FetchFailure::Local(LocalFailure::DiskFull { path, needed, free }));
        }
        Ok(())
    }
}
