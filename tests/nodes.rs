//! Real nodes on loopback: what an operator of a fleet is promised.

mod archives;
mod behind;
mod clocks;
mod exports;
mod full;
mod have;
mod life;
mod list;
mod names;
mod patches;
mod races;
mod referrals;
mod registry;
mod rollout;
mod site;
mod slow;
mod storm;
