//! Uplinks that lose more packets for a while, time and again, as radio links do.

use serde::Deserialize;

use super::{Drawn, Happening, Kind, Places, check_percent, check_spells, spells};
use crate::error::ScenarioError;
use crate::random::Random;
use crate::units::{Loss, Span};

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fades {
    /// The share of the sites.
    percent: u64,
    from: Span,
    to: Span,
    /// From the beginning of a fade to that of the next.
    every: Span,
    /// How long a fade lasts.
    lasts: Span,
    /// Packets that get lost meanwhile, in percent, in place of the site's own loss.
    loss_percent: Loss,
}

impl Kind for Fades {
    fn check(&self, _hubs: u64) -> Result<(), ScenarioError> {
        check_percent(self.percent)?;
        check_spells(self.every, "[[fault]] lasts in ms", self.lasts)
    }

    fn draw(&self, places: &Places, random: &mut Random, drawn: &mut Drawn) {
        for site in 0..places.sites.len() {
            if !random.happens(self.percent * 10) {
                continue;
            }
            for at in spells(random, [self.from, self.to], self.every) {
                drawn.happens(at, Happening::Loses(site, Some(self.loss_percent)));
                drawn.happens(at + self.lasts.micros(), Happening::Loses(site, None));
            }
        }
    }
}
