//! Shared by the tests and the benchmarks: images made in memory, and a bad link between real nodes.

#![allow(clippy::expect_used, reason = "a failed expectation ends a test or a benchmark")]

pub mod images;
pub mod link;
pub mod relay;
pub mod waiting;
