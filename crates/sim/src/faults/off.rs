//! Nodes that are off until a moment. Under the other strategies they are off too, and pull when they are on.

use serde::Deserialize;

use super::{Drawn, Happening, Kind, Places, check_percent};
use crate::error::ScenarioError;
use crate::random::Random;
use crate::units::Span;

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Off {
    /// The share of the nodes.
    percent: u64,
    until: Span,
}

impl Kind for Off {
    fn check(&self, _hubs: u64) -> Result<(), ScenarioError> {
        check_percent(self.percent)
    }

    fn draw(&self, places: &Places, random: &mut Random, drawn: &mut Drawn) {
        for node in places.site_nodes.clone().filter(|_| random.happens(self.percent * 10)) {
            drawn.happens(0, Happening::Off(node));
            drawn.happens(self.until.micros(), Happening::On(node));
        }
    }
}
