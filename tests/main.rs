//! All tests that need the `lighter` binary, real nodes or the source files of the repository. They form one binary, so
//! that it links only once. `tidy` checks that no file is left out.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failed expectation ends a test, in its helpers too"
)]

mod support;

mod artifacts;
mod bench_files;
mod cli;
mod config;
mod damage;
mod faults;
mod fidelity;
mod have_lists;
mod links;
mod memory;
mod mirror;
mod nodes;
mod patch_files;
mod peers;
mod recipe_files;
mod registry;
mod sim;
mod tidy;
