//! Shared by the tests: the binary, commands and their output, nodes as processes. tests/shared has
//! the things that the benchmarks use as well.
//!
//! Nothing here sleeps for a fixed time: [`until`] polls with an end. A node process ends when its [`NodeProcess`] is
//! dropped. Each test process has a loopback address of its own, so that tests side by side cannot take each other's
//! ports.

// Each test file uses its part of this.
#![allow(dead_code, unused_imports, reason = "a library for several test modules")]

mod calls;
pub mod group;
mod node;
pub mod registry;
mod run;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

pub use calls::SOON;
pub use lighter_tests::images;
pub use node::{Address, Fleet, NodeProcess, loopback};
pub use run::{Run, command, finish, run, run_in};

/// The `lighter` binary: `LIGHTER_BIN`, or the one beside this test in the target folder (`make test` builds it first).
pub fn lighter() -> PathBuf {
    if let Some(path) = std::env::var_os("LIGHTER_BIN") {
        return path.into();
    }
    let test = std::env::current_exe().expect("the test's own path");
    // target/release/deps/all-<hash> -> target/release/lighter
    let path = test.parent().and_then(Path::parent).expect("a target folder").join("lighter");
    assert!(path.is_file(), "{} is not built: cargo build --release -p lighter-cli", path.display());
    path
}

/// The repository's root.
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ is in the repository").to_owned()
}

/// A folder that goes with its value.
pub fn folder() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("lighter-test-").tempdir().expect("a temporary folder")
}

/// Polls until `condition` holds a value; panics after `limit` with `what`.
pub fn until<T>(what: &str, limit: Duration, mut condition: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(started.elapsed() < limit, "waited {limit:?} for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
