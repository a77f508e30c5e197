//! A hub that is gone for good. With more than one hub, its sites turn to the next. A central server's patches then
//! come from the next hub too; without a hub its pulls wait for ever. The registry stays.

use serde::Deserialize;

use super::{Drawn, Happening, Kind, Places};
use crate::error::{ScenarioError, in_range};
use crate::random::Random;
use crate::units::Span;

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HubLost {
    /// From 0 on.
    hub: u64,
    at: Span,
}

impl Kind for HubLost {
    fn check(&self, hubs: u64) -> Result<(), ScenarioError> {
        in_range("[[fault]] hub", self.hub, 0, hubs - 1, "one of the hubs, from 0 on")
    }

    fn draw(&self, _places: &Places, _random: &mut Random, drawn: &mut Drawn) {
        drawn.happens(self.at.micros(), Happening::Off(self.hub as usize));
    }
}
