//! `lighter sim` as people use it: reports, pages, exit codes, the same events again.

use std::fs;

use crate::support::{folder, images, repository, run};

fn scenario(name: &str) -> String {
    repository().join(format!("simulations/{name}.toml")).display().to_string()
}

#[test]
fn a_report_is_printed_replayed_and_compared() {
    let folder = folder();
    let (page, json) = (folder.path().join("page.html"), folder.path().join("report.json"));
    let smoke = scenario("smoke");
    let ran = run(&["--output", "json", "sim", "run", &smoke, "--html", page.to_str().unwrap()]).ok();
    let report: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!((report["schema"].as_u64(), report["nodes"].as_u64()), (Some(3), Some(61)));
    let strategies = report["strategies"].as_array().unwrap();
    assert!(strategies.iter().all(|strategy| strategy["done"] == 60), "{strategies:?}");
    let html = fs::read_to_string(&page).unwrap();
    assert!(html.contains("<svg") && html.contains("lighter") && !html.contains("http"), "{html}");

    fs::write(&json, &ran.stdout).unwrap();
    let json = json.to_str().unwrap();
    assert!(run(&["sim", "replay", &smoke, json]).ok().stdout.contains("the same: seed 1"));
    let compared = run(&["sim", "compare", json, json]).ok();
    assert!(compared.stdout.contains("uplink_bytes") && compared.stdout.contains("1.000"), "{}", compared.stdout);
}

#[test]
fn another_scenario_is_no_replay() {
    let folder = folder();
    let json = folder.path().join("report.json");
    let smoke = scenario("smoke");
    fs::write(&json, run(&["-q", "--output", "json", "sim", "run", &smoke]).ok().stdout).unwrap();
    let other = folder.path().join("other.toml");
    fs::write(&other, fs::read_to_string(&smoke).unwrap().replace("count = 20", "count = 21")).unwrap();
    let failed = run(&["sim", "replay", other.to_str().unwrap(), json.to_str().unwrap()]);
    failed.fails(3, &["the run differs"]);
}

#[test]
fn a_report_of_another_schema_is_refused_with_both_numbers() {
    let folder = folder();
    let json = folder.path().join("report.json");
    fs::write(&json, r#"{"schema":2,"seed":1,"strategies":[]}"#).unwrap();
    let json = json.to_str().unwrap();
    let words = ["report schema 2; this program reads schema 3", "run the scenario again"];
    run(&["sim", "replay", &scenario("smoke"), json]).fails(3, &words);
    run(&["sim", "compare", json, json]).fails(3, &words);
}

#[test]
fn what_is_not_met_and_what_cannot_be_read_are_told() {
    let folder = folder();
    let changed = |from: &str, to: &str| {
        let path = folder.path().join("changed.toml");
        let text = fs::read_to_string(scenario("smoke")).unwrap();
        assert!(text.contains(from), "{from}");
        fs::write(&path, text.replacen(from, to, 1)).unwrap();
        path.display().to_string()
    };
    let path = changed("last_done_max = \"10 min\"", "last_done_max = \"1 s\"");
    let again = format!("lighter sim run {path} --seed 3");
    run(&["sim", "run", &path, "--seed", "3"]).fails(10, &["last_done_max", "at most 1.0", &again]);
    let path = changed("nodes = 3", "nodez = 3");
    run(&["sim", "run", &path]).fails(8, &["changed.toml", "line 15", "nodez", "docs/SIMULATION.md"]);
    run(&["sim", "run", "nowhere.toml"]).fails(4, &["nowhere.toml"]);
}

#[test]
fn a_rollout_of_measured_releases_is_simulated() {
    let folder = folder();
    let (old, new) = images::two_releases(1, 2_000_000);
    let paths = [("old", old), ("new", new)].map(|(name, tar)| {
        let path = folder.path().join(name);
        images::layout(&[tar]).write_to(&path);
        path.display().to_string()
    });
    let trace = folder.path().join("trace.json");
    run(&["sim", "measure", &paths[0], &paths[1], "--out", trace.to_str().unwrap()]).ok();
    let measured: serde_json::Value = serde_json::from_str(&fs::read_to_string(&trace).unwrap()).unwrap();
    let [layers, patches] = ["layer", "patch"].map(|key| measured[key].as_array().unwrap());
    let bytes = patches[0]["bytes"].as_u64().unwrap();
    assert_eq!((layers.len(), patches.len()), (2, 2));
    // The way back is predicted.
    assert_eq!((&patches[0]["predicted"], &patches[1]["predicted"]), (&serde_json::Value::Null, &true.into()));
    assert_eq!((&patches[1]["target"], &patches[1]["base"]), (&patches[0]["base"], &patches[0]["target"]));
    assert!((1..100_000).contains(&patches[1]["bytes"].as_u64().unwrap()), "of two megabytes: {measured}");
    assert!((1..1_000_000).contains(&bytes), "{measured}");

    let smoke = fs::read_to_string(scenario("smoke")).unwrap();
    let own = smoke.find("[[layer]]").unwrap();
    let (fleet, pull) = (smoke.find("[[image]]").unwrap(), smoke.find("[[pull]]").unwrap());
    let text = format!("trace = \"trace.json\"\n{}{}", &smoke[..fleet], &smoke[pull..own]);
    let text = text.replace("demo/nginx:", "measured/image:");
    let path = folder.path().join("rollout.toml");
    fs::write(&path, text).unwrap();
    let path = path.to_str().unwrap();
    let report: serde_json::Value =
        serde_json::from_str(&run(&["-q", "--output", "json", "sim", "run", path]).ok().stdout).unwrap();
    let strategies = report["strategies"].as_array().unwrap();
    let ours = strategies.iter().find(|strategy| strategy["strategy"] == "lighter").unwrap();
    assert_eq!(ours["done"], 60);
    // Twenty sites, each of which takes the patch once; at `max` it may weigh less.
    let carried = ours["uplink_bytes"].as_u64().unwrap();
    assert!((20 * bytes / 2..40 * bytes + 4_000_000).contains(&carried), "{carried} bytes, a patch has {bytes}");

    fs::remove_file(&trace).unwrap();
    run(&["sim", "run", path]).fails(8, &["trace.json", "lighter sim measure"]);
    run(&["sim", "measure", &paths[0]]).fails(2, &["IMAGE"]);
    run(&["-q", "sim", "measure", &paths[0], "nowhere"]).fails(4, &["nowhere"]);
    fs::write(&trace, "no image").unwrap();
    run(&["-q", "sim", "measure", &paths[0], trace.to_str().unwrap()]).fails(3, &["trace.json"]);
}
