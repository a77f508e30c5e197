//! Nodes that go off and come back repeatedly. The other strategies lose what was on its way, each time.

use serde::Deserialize;

use super::{Drawn, Happening, Kind, Places, check_percent};
use crate::error::ScenarioError;
use crate::random::Random;
use crate::units::Span;

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Churn {
    /// The share of the nodes.
    percent: u64,
    from: Span,
    to: Span,
    /// The average time between a start and the next cut.
    every: Span,
    down: Span,
}

impl Kind for Churn {
    fn check(&self, _hubs: u64) -> Result<(), ScenarioError> {
        check_percent(self.percent)
    }

    fn draw(&self, places: &Places, random: &mut Random, drawn: &mut Drawn) {
        let pause = self.every.micros().max(1);
        for node in places.site_nodes.clone() {
            if !random.happens(self.percent * 10) {
                continue;
            }
            let mut at = self.from.micros() + random.below(pause);
            while at < self.to.micros() {
                drawn.happens(at, Happening::Off(node));
                drawn.happens(at + self.down.micros(), Happening::On(node));
                at += self.down.micros() + pause / 2 + random.below(pause);
            }
        }
    }
}
