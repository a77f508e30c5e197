//! What a scenario expects, and where a run fell short of it.

use serde::{Deserialize, Serialize};

use crate::Strategy;
use crate::report::Report;
use crate::scenario::{Size, Span};

/// All of it for the strategy `lighter`; each key is optional.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Expect {
    /// Nodes that may end without their image.
    pub unfinished_max: Option<u64>,
    pub last_done_max: Option<Span>,
    /// Bytes over all uplinks are at most this part of what registry pulls take.
    pub registry_uplink_part_max: Option<f64>,
    /// What comes to a site over its uplink, over the bytes of the patches that the site needs.
    pub uplink_patches_max: Option<f64>,
    /// Bytes of patches that hubs send, over those of one copy of the patches.
    pub hub_patches_max: Option<f64>,
    /// What the slowest node takes, less the making of the patches, over what its own uplink needs for them.
    pub slowest_own_uplink_max: Option<f64>,
    /// Over uplinks that are paid for by the byte.
    pub metered_bytes_max: Option<Size>,
}

/// An expectation that does not hold.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Missed {
    pub key: &'static str,
    pub found: f64,
    pub most: f64,
}

impl Report {
    /// Notes every expectation that this report does not meet.
    pub(crate) fn hold_against(&mut self, expect: &Expect) {
        let of = |strategy| self.strategies.iter().find(|report| report.strategy == strategy);
        let Some(lighter) = of(Strategy::Lighter) else { return };
        let registry = of(Strategy::Registry).map_or(0, |registry| registry.uplink_bytes);
        let found = [
            ("unfinished_max", lighter.unfinished as f64, expect.unfinished_max.map(|most| most as f64)),
            ("last_done_max", lighter.completion.last_s, expect.last_done_max.map(|most| most.millis as f64 / 1000.0)),
            (
                "registry_uplink_part_max",
                lighter.uplink_bytes as f64 / registry.max(1) as f64,
                expect.registry_uplink_part_max,
            ),
            ("uplink_patches_max", lighter.uplink_patches, expect.uplink_patches_max),
            ("hub_patches_max", lighter.hub_patches, expect.hub_patches_max),
            ("slowest_own_uplink_max", lighter.slowest_own_uplink, expect.slowest_own_uplink_max),
            (
                "metered_bytes_max",
                lighter.metered_bytes as f64,
                expect.metered_bytes_max.as_ref().map(|most| most.0 as f64),
            ),
        ];
        let missed = found.into_iter().filter_map(|(key, found, most)| {
            let most = most?;
            (found > most).then_some(Missed { key, found, most })
        });
        self.missed = missed.collect();
    }
}
