//! Real nodes on loopback: what an operator of a fleet is promised.

mod archives;
mod behind;
mod both_ends;
pub mod clocks;
mod exports;
mod full;
mod have;
mod kept_blobs;
mod life;
mod list;
mod names;
mod patches;
mod races;
mod referrals;
mod registry;
mod releases;
mod rollout;
mod site;
mod slow;
mod storm;
mod whole;
