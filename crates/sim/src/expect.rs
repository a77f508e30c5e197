//! The keys of `[expect]`: the figures that a scenario expects of its run at most.

use serde::{Deserialize, Serialize};

use crate::units::{Size, Span};

/// Limits for the strategy `lighter`; each key is optional.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Expect {
    /// Pulls that may be under way at the end.
    pub unfinished_max: Option<u64>,
    /// From the first pull until the last node is done.
    pub last_done_max: Option<Span>,
    /// Bytes over all uplinks, over those of registry pulls.
    pub registry_uplink_part_max: Option<f64>,
    /// As `uplink_patches` of the report.
    pub uplink_patches_max: Option<f64>,
    /// As `hub_patches` of the report.
    pub hub_patches_max: Option<f64>,
    /// As `slowest_own_uplink` of the report.
    pub slowest_own_uplink_max: Option<f64>,
    /// Bytes over uplinks that are paid for by the byte.
    pub metered_bytes_max: Option<Size>,
}

/// An expectation that does not hold.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Missed {
    pub key: &'static str,
    pub found: f64,
    pub most: f64,
}
