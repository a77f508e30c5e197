//! Everything that is tested through the `lighter` binary, real nodes and the source as it lies in the repository. One
//! binary: it links once, and `tidy` sees that no file is forgotten.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test stops at the first thing that is not as it should be, in its helpers too"
)]

mod support;

mod bench_files;
mod cli;
mod config;
mod damage;
mod faults;
mod fidelity;
mod have_lists;
mod nodes;
mod patch_files;
mod peers;
mod sim;
mod tidy;
