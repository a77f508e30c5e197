//! Nodes that lose power once, at a moment of a span, and start again. Under the other strategies, transfers under way
//! begin anew.

use serde::Deserialize;

use super::{Drawn, Happening, Kind, Places, check_percent};
use crate::error::ScenarioError;
use crate::random::Random;
use crate::units::Span;

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PowerCuts {
    /// The share of the nodes.
    percent: u64,
    from: Span,
    to: Span,
    /// From the cut until the node starts again.
    down: Span,
}

impl Kind for PowerCuts {
    fn check(&self, _hubs: u64) -> Result<(), ScenarioError> {
        check_percent(self.percent)
    }

    fn draw(&self, places: &Places, random: &mut Random, drawn: &mut Drawn) {
        for node in places.site_nodes.clone() {
            if !random.happens(self.percent * 10) {
                continue;
            }
            let at = self.from.micros() + random.below(self.to.micros().saturating_sub(self.from.micros()));
            drawn.happens(at, Happening::Off(node));
            drawn.happens(at + self.down.micros(), Happening::On(node));
        }
    }
}
