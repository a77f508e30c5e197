//! What scenarios may say, and what is said of those that may not.

use super::*;

const GOOD: &str = include_str!("../../../../simulations/smoke.toml");

fn error(change: impl Fn(&str) -> String) -> String {
    match Scenario::parse(&change(GOOD)) {
        Ok(_) => "accepted".to_owned(),
        Err(error) => error.to_string(),
    }
}

fn check(from: &str, to: &str, expected: &[&str]) {
    assert!(GOOD.contains(from), "{from}");
    let found = error(|text| text.replacen(from, to, 1));
    for part in expected {
        assert!(found.contains(part), "{found:?} lacks {part:?}");
    }
}

#[test]
fn the_smoke_scenario_is_good() {
    assert!(Scenario::parse(GOOD).is_ok());
}

#[test]
fn what_is_wrong_is_told_with_its_line_or_its_place() {
    check("question = ", "questoin = ", &["line 3", "questoin", "question"]);
    check("ends_after = \"2 h\"", "ends_after = \"2 moons\"", &["line", "2 moons", "ms, s, min, h or d"]);
    check("rate = \"100 Mbit/s\"", "rate = \"0 Mbit/s\"", &["line", "20 Mbit/s"]);
    check(
        "holds = [\"demo/nginx:1\"]",
        "holds = [\"demo/nginx:0\"]",
        &["[[sites]] holds", "demo/nginx:0", "demo/nginx:1"],
    );
    check("layers = [\"debian12-r2\"", "layers = [\"debian13\"", &["[[image]]", "debian13", "debian12-r2"]);
    check("count = 20", "count = 0", &["number of nodes", "1 to 1,000,000"]);
    check("[\"1 Mbit/s\", \"20 Mbit/s\"]", "[\"20 Mbit/s\", \"1 Mbit/s\"]", &["uplink", "slowest"]);
}
