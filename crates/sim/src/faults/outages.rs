//! Uplinks that are away for a while, time and again, as radio links are. Bytes on their way wait. Connections live on
//! if the link is back before they notice.

use serde::Deserialize;

use super::{Drawn, Happening, Kind, Places, check_percent, check_spells, spells};
use crate::error::ScenarioError;
use crate::random::Random;
use crate::units::Span;

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Outages {
    /// The share of the sites.
    percent: u64,
    from: Span,
    to: Span,
    /// From the beginning of an outage to that of the next.
    every: Span,
    /// How long an outage lasts.
    down: Span,
}

impl Kind for Outages {
    fn check(&self, _hubs: u64) -> Result<(), ScenarioError> {
        check_percent(self.percent)?;
        check_spells(self.every, "[[fault]] down in ms", self.down)
    }

    fn draw(&self, places: &Places, random: &mut Random, drawn: &mut Drawn) {
        for site in 0..places.sites.len() {
            if !random.happens(self.percent * 10) {
                continue;
            }
            for at in spells(random, [self.from, self.to], self.every) {
                drawn.happens(at, Happening::Cut(site));
                drawn.happens(at + self.down.micros(), Happening::Healed(site));
            }
        }
    }
}
