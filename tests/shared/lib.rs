//! Shared by the tests and the benchmarks: images made in memory, a bad link between real nodes, and what the simulator
//! says of the same.

#![allow(clippy::expect_used, reason = "a failed expectation ends a test or a benchmark")]

pub mod forecast;
pub mod images;
pub mod link;
pub mod relay;
pub mod waiting;
