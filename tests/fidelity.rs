//! The simulator against a real fleet of eight nodes, six of them in two sites behind slow uplinks. The bytes over each
//! uplink must agree within 3 %. `make bench BENCH=fidelity` prints the same figures, and judges the time until each
//! site is done (10 %) too: on a machine that does other work, times tell of that work.
//!
//! The test needs root, `ip` and `tc` for network namespaces. CI has them. Elsewhere the test prints the missing part
//! and tests nothing. It runs alone (.config/nextest.toml), because it compares times of a few seconds.

use std::process::Command;

use serde_json::Value;

use crate::support::{finish, lighter};

#[test]
fn a_simulated_fleet_agrees_with_a_real_one() {
    let mut bench = Command::new(env!("CARGO_BIN_EXE_bench"));
    bench.arg("--lighter").arg(lighter()).args(["--runs", "1", "--output", "json", "fidelity"]);
    let report = finish(&mut bench).ok().json();
    let section = &report["sections"][0];
    assert_eq!(section["failed"], Value::Null);
    let skipped = section["skipped"].as_array().unwrap();
    if !skipped.is_empty() {
        return eprintln!("nothing was tested: {skipped:?}");
    }
    let rows = section["rows"].as_array().unwrap();
    let judged: Vec<&Value> = rows.iter().filter(|row| row["is_met"].is_boolean()).collect();
    assert_eq!(judged.len(), 4, "bytes and seconds of two sites: {section:#}");
    let is_of_bytes = |row: &&&Value| row["figure"].as_str().is_some_and(|figure| figure.contains("bytes"));
    let of_bytes: Vec<&&Value> = judged.iter().filter(is_of_bytes).collect();
    assert_eq!(of_bytes.len(), 2, "{section:#}");
    for row in of_bytes {
        assert_eq!(row["is_met"], true, "{section:#}");
    }
}
