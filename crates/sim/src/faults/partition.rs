//! Sites that are cut off from everybody else for a while. Under the other strategies, bytes on their way over
//! the uplink wait.

use serde::Deserialize;

use super::{Drawn, Happening, Kind, Places, check_percent};
use crate::error::ScenarioError;
use crate::random::Random;
use crate::units::Span;

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Partition {
    /// The share of the sites.
    percent: u64,
    from: Span,
    to: Span,
}

impl Kind for Partition {
    fn check(&self, _hubs: u64) -> Result<(), ScenarioError> {
        check_percent(self.percent)
    }

    fn draw(&self, places: &Places, random: &mut Random, drawn: &mut Drawn) {
        for site in (0..places.sites.len()).filter(|_| random.happens(self.percent * 10)) {
            drawn.happens(self.from.micros(), Happening::Cut(site));
            drawn.happens(self.to.micros(), Happening::Healed(site));
        }
    }
}
