//! The keys of `[expect]`: the figures that a scenario expects of its run at most.

use serde::{Deserialize, Serialize};

use crate::units::{Size, Span};

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
