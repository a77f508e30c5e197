//! Scenarios that are accepted, and the errors of those that are refused.

use super::*;

fn no_trace(path: &str) -> std::io::Result<String> {
    panic!("no trace is named, and {path} was read")
}

const GOOD: &str = include_str!("../../../../simulations/smoke.toml");

fn error(change: impl Fn(&str) -> String) -> String {
    match Scenario::parse(&change(GOOD), no_trace) {
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
    assert!(Scenario::parse(GOOD, no_trace).is_ok());
}

#[test]
fn a_mistake_is_named_with_its_line_or_place() {
    check("question = ", "questoin = ", &["line 3", "questoin", "question"]);
    check("ends_after = \"2 h\"", "ends_after = \"2 moons\"", &["line", "2 moons", "ms, s, min, h or d"]);
    check("rate = \"100 Mbit/s\"", "rate = \"0 Mbit/s\"", &["line", "20 Mbit/s"]);
    check(
        "holds = [\"demo/nginx:1\"]",
        "holds = [\"demo/nginx:0\"]",
        &["[[sites]] holds", "demo/nginx:0", "demo/nginx:1"],
    );
    check("layers = [\"debian12-r2\"", "layers = [\"debian13\"", &["[[image]]", "debian13", "debian12-r2"]);
    check(
        "apply = \"150 ms\"",
        "apply = \"150 ms\"\nframes = [[1, 1], [999999999, 1]]",
        &["[[patch]] frames", "1000000000", "the patch's bytes"],
    );
    check(
        "[[pull]]",
        &fault("kind = \"off\"\npercent = 101\nuntil = \"1 s\""),
        &["[[fault]] percent", "101", "0 to 100"],
    );
    check("[[pull]]", &fault("kind = \"hub-lost\"\nhub = 1\nat = \"1 s\""), &["[[fault]] hub", "one of the hubs"]);
    check("[[pull]]", &fault("kind = \"lies\"\nper_site = 1\npercent = 1"), &["line", "unknown field `percent`"]);
    check("[[pull]]", &fault("kind = \"flood\""), &["line", "flood", "disk-full"]);
    check("latency = \"40 ms\"", &link("loss_percent = 51"), &["line 18", "51 is not a loss", "0 to 50"]);
    check("latency = \"40 ms\"", &link("loss_percent = \"1 %\""), &["line 18", "loss_percent = \"1 %\""]);
    check(
        "latency = \"40 ms\"",
        &link("loss_percent = 0.125\nqueue = \"1 h\""),
        &["[[sites]] queue", "at most a minute"],
    );
    check(
        "[[pull]]",
        &fault("kind = \"outages\"\npercent = 1\nfrom = \"0 s\"\nto = \"1 h\"\nevery = \"5 s\"\ndown = \"5 s\""),
        &["[[fault]] down", "5000", "less than `every`"],
    );
    check("count = 20", "count = 0", &["number of nodes", "1 to 1,000,000"]);
    check("[\"1 Mbit/s\", \"20 Mbit/s\"]", "[\"20 Mbit/s\", \"1 Mbit/s\"]", &["uplink", "slowest"]);
}

/// A fault with these keys before the pull.
fn fault(keys: &str) -> String {
    format!("[[fault]]\n{keys}\n\n[[pull]]")
}

/// A link with one more key.
fn link(key: &str) -> String {
    format!("latency = \"40 ms\"\n{key}")
}

#[test]
fn a_trace_brings_layers_patches_and_images() {
    let patch = Patch {
        target: "r2".to_owned(),
        base: "r1".to_owned(),
        bytes: Size(100),
        encode: Span { millis: 20 },
        apply: Span { millis: 10 },
        chunks: None,
        frames: Vec::new(),
        predicted: false,
    };
    let written =
        Trace { layers: vec![layer("r1"), layer("r2")], patches: vec![patch], images: vec![image(1), image(2)] };
    let text = serde_json::to_string(&written).unwrap();
    let read = with_trace(&text).unwrap();
    assert_eq!((read.layers.len(), read.patches[0].encode.millis, read.images.len()), (2, 20, 2));
    for (text, words) in
        [("{", "EOF"), (&text.replace("400", "4000"), "gzip"), (&text.replace("\"r1\"]", "\"r3\"]"), "r3")]
    {
        let error = with_trace(text).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
    let gone = Scenario::parse(&format!("trace = \"gone.json\"\n{GOOD}"), |_| Err(std::io::ErrorKind::NotFound.into()));
    let error = gone.unwrap_err().to_string();
    assert!(error.contains("gone.json"), "{error}");
}

fn layer(name: &str) -> Layer {
    Layer {
        name: name.to_owned(),
        tar: Size(1000),
        gzip: Size(400),
        family: "app".to_owned(),
        encode: None,
        apply: None,
        rebuild: None,
    }
}

fn image(release: u32) -> Image {
    Image { name: format!("demo/nginx:{release}"), layers: vec![format!("r{release}")], documents: [2048; 2] }
}

/// The good scenario with its layers, patches and images from this trace.
fn with_trace(text: &str) -> Result<Scenario, ScenarioError> {
    let cut = GOOD.find("[[layer]]").unwrap();
    let scenario = format!("trace = \"releases.json\"\n{}", &GOOD[..cut]).replace("[[image]]", "[[ignored]]");
    // Images come from the trace too.
    let scenario: String =
        scenario.split("[[ignored]]").take(1).chain([&GOOD[GOOD.find("[[pull]]").unwrap()..cut]]).collect();
    Scenario::parse(&scenario, |path| {
        assert_eq!(path, "releases.json");
        Ok(text.to_owned())
    })
}
