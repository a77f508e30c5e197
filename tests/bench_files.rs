//! The command `lighter bench` on plain files, without a node.
//!
//! The tests replace the stock tools by small scripts, so that they need none of them and can let a tool fail. They
//! check the figures of the JSON report against patches that `lighter patch` makes, the report of tools that fail or
//! are missing, exit codes, and that no temporary file stays.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::support::{Run, SOON, command, finish, folder, images, run, until};

/// A folder with layers (two releases of one, one of another), a folder for tools, and one for temporary files.
struct Files(tempfile::TempDir);

impl Files {
    fn new() -> Self {
        let files = Self(folder());
        for dir in ["layers", "tools", "temporary"] {
            fs::create_dir(files.0.path().join(dir)).unwrap();
        }
        let (first, second) = images::two_releases(8, 1 << 20);
        files.put("layers/app-r9.tar", &first);
        files.put("layers/app-r10.tar", &second);
        files.put("layers/other-r1.tar", &images::two_releases(9, 1 << 19).0);
        files
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_owned()
    }

    fn put(&self, name: &str, bytes: &[u8]) -> String {
        fs::write(self.path(name), bytes).unwrap();
        self.path(name)
    }

    /// Installs a script under the name of a stock tool.
    fn tool(&self, name: &str, script: &str) {
        let path = self.put(&format!("tools/{name}"), format!("#!/bin/sh\n{script}\n").as_bytes());
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// The command `lighter bench` with only these tools on PATH.
    fn command(&self, args: &[&str]) -> Command {
        let mut command = command();
        command.env("PATH", self.path("tools")).env("TMPDIR", self.path("temporary"));
        command.args(["-o", "json", "bench"]).args(args);
        command
    }

    fn bench(&self, args: &[&str]) -> Run {
        finish(&mut self.command(args))
    }

    #[track_caller]
    fn nothing_is_left(&self) {
        assert_eq!(fs::read_dir(self.path("temporary")).unwrap().count(), 0, "temporary files are left");
    }
}

/// The row of a tool in the first pair.
#[track_caller]
fn row(report: &Value, tool: &str) -> Value {
    let rows = report["pairs"][0]["results"].as_array().expect("rows");
    rows.iter().find(|row| row["tool"] == tool).unwrap_or_else(|| panic!("no {tool} in {report}")).clone()
}

#[test]
fn bench_patch_measures_each_release_from_the_one_before() {
    let files = Files::new();
    let layers = files.path("layers");
    let ended = files.bench(&["patch", &layers, "--no-peers", "--runs", "2", "--effort", "fast,vcdiff,fast"]).ok();
    assert!(ended.stderr.contains("app r9 r10, lighter fast, run 2 of 2: "), "{ended:?}");
    let report = ended.json();
    assert_eq!((&report["runs"], &report["peers_missing"]), (&Value::from(2), &Value::Array(Vec::new())));
    let pair = &report["pairs"][0];
    assert_eq!((&pair["name"], report["pairs"].as_array().unwrap().len()), (&Value::from("app r9 r10"), 1));
    assert_eq!(pair["target_bytes"], fs::metadata(files.path("layers/app-r10.tar")).unwrap().len());
    assert_eq!(pair["results"].as_array().unwrap().len(), 2);
    for (tool, effort) in [("lighter fast", "--effort=fast"), ("lighter vcdiff", "--vcdiff")] {
        let row = row(&report, tool);
        assert_eq!((&row["status"], &row["is_peer"]), (&Value::from("measured"), &Value::from(false)), "{row}");
        let (target, base) = (files.path("layers/app-r10.tar"), files.path("layers/app-r9.tar"));
        let args = ["patch", "create", "--target", &target, "--base", &base, "--out", &files.path("patch"), effort];
        run(&args).ok();
        assert_eq!(row["patch_bytes"], fs::metadata(files.path("patch")).unwrap().len(), "{row}");
        assert_eq!(row["runs"].as_array().unwrap().len(), 2);
        for figure in ["encode_s", "apply_s", "apply_mb_per_s", "encode_peak_bytes", "apply_peak_bytes"] {
            assert!(row[figure].as_f64().unwrap() > 0.0, "{figure} of {row}");
        }
        let summary = report["summary"].as_array().unwrap().iter().find(|summary| summary["tool"] == tool).unwrap();
        assert_eq!((&summary["pairs"], &summary["pairs_failed"]), (&Value::from(1), &Value::from(0)));
        assert!(summary["bytes_to_hdiffz"].is_null() && summary["bytes_to_smallest"].is_null(), "{summary}");
    }
    files.nothing_is_left();
}

#[test]
fn bench_patch_takes_a_list_of_pairs_with_several_bases() {
    let files = Files::new();
    let pair = "[[pair]]\nname = 'both'\ntarget = 'layers/app-r10.tar'\n";
    let list =
        files.put("pairs.toml", format!("{pair}bases = ['layers/app-r9.tar', 'layers/other-r1.tar']").as_bytes());
    // This stands for a tool: the patch is the target, and the base must be both files.
    files.tool("hdiffz", "[ $(/usr/bin/wc -c < \"$5\") = \"$BASE_BYTES\" ] && /bin/cp \"$6\" \"$7\"");
    files.tool("hpatchz", "/bin/cp \"$3\" \"$4\"");
    let bytes = |name: &str| fs::metadata(files.path(name)).unwrap().len();
    let base_bytes = bytes("layers/app-r9.tar") + bytes("layers/other-r1.tar");
    let mut bench = files.command(&["patch", &list, "--runs", "1", "--effort", "fast"]);
    let report = finish(bench.env("BASE_BYTES", base_bytes.to_string())).ok().json();
    assert_eq!(report["pairs"][0]["base_bytes"], base_bytes);
    let peer = row(&report, "hdiffz");
    assert_eq!((&peer["status"], &peer["patch_bytes"]), (&"measured".into(), &bytes("layers/app-r10.tar").into()));
    let ratio = report["summary"][0]["bytes_to_hdiffz"]["worst"].as_f64().unwrap();
    let ours = row(&report, "lighter fast")["patch_bytes"].as_f64().unwrap();
    assert!((ratio - ours / peer["patch_bytes"].as_f64().unwrap()).abs() < 1e-9, "{report}");
    files.nothing_is_left();
}

#[test]
fn bench_patch_reports_tools_that_fail_or_are_missing() {
    let files = Files::new();
    files.tool("hdiffz", "echo starting >&2; echo no room for that >&2; exit 9");
    files.tool("hpatchz", "exit 0");
    files.tool("xdelta3", "for last; do :; done; echo wrong > \"$last\"");
    files.tool("bsdiff", "exit 0");
    files.tool("bspatch", "exit 0");
    let ended = files.bench(&["patch", &files.path("layers"), "--runs", "2", "--effort", "fast"]).ok();
    let report = ended.json();
    let missing = ["gzip", "zstd", "casync", "zck", "zck_delta_size", "unzck", "rdiff", "ostree", "zucchini", "xz"];
    assert_eq!(report["peers_missing"], serde_json::json!(missing));
    assert_eq!(ended.stderr.matches("not on PATH").count(), 1, "{ended:?}");
    for (tool, why) in [
        ("hdiffz", "encode: no room for that"),
        ("xdelta3 -9", "apply: the result is not the target"),
        ("bsdiff", "encode: it made no patch"),
    ] {
        let row = row(&report, tool);
        assert_eq!((&row["status"], &row["why"]), (&"failed".into(), &why.into()), "{row}");
    }
    assert_eq!(row(&report, "lighter fast")["status"], "measured");
    assert!(report["summary"][0]["bytes_to_hdiffz"].is_null(), "{report}");
    // The model of changed files needs no program, so it is the only peer with bytes.
    let ratio = report["summary"][0]["bytes_to_smallest"]["worst"].as_f64().unwrap();
    let bytes = |tool: &str| row(&report, tool)["patch_bytes"].as_f64().unwrap();
    assert!((ratio - bytes("lighter fast") / bytes("changed files, zstd -19")).abs() < 1e-9, "{report}");
    let args = ["-o", "table", "bench", "patch", &files.path("layers"), "--runs", "1", "--effort", "fast"];
    let table = finish(command().env("PATH", files.path("tools")).args(args)).ok().stdout;
    assert!(table.contains("hdiffz FAILED: encode: no room for that"), "{table}");
    files.nothing_is_left();
}

/// This stands for Zucchini: its patch is the target, and the base must be the one before.
#[test]
fn bench_patch_runs_zucchini_and_compresses_its_patch() {
    let files = Files::new();
    files.tool(
        "zucchini",
        "if [ $1 = -gen ]; then [ $(/usr/bin/wc -c < \"$2\") = \"$BASE_BYTES\" ] && /bin/cp \"$3\" \"$4\"; else /bin/cp \"$3\" \"$4\"; fi",
    );
    files.tool("xz", "exec /usr/bin/xz \"$@\"");
    let bytes = |name: &str| fs::metadata(files.path(name)).unwrap().len();
    let layers = files.path("layers");
    let mut bench = files.command(&["patch", &layers, "--runs", "1", "--effort", "fast", "--peers", "zucchini"]);
    let report = finish(bench.env("BASE_BYTES", bytes("layers/app-r9.tar").to_string())).ok().json();
    let peer = row(&report, "Zucchini, xz -9e");
    assert_eq!(peer["status"], "measured", "{report}");
    let patch = peer["patch_bytes"].as_u64().unwrap();
    assert!(patch < bytes("layers/app-r10.tar"), "{patch} bytes");
    files.nothing_is_left();
}

/// Stand-ins for tools whose bytes on the wire are not one file: a store of chunks, and a count that is printed.
#[test]
fn bench_patch_counts_the_bytes_that_cross_the_wire_and_draws_them() {
    let files = Files::new();
    let target = files.path("layers/app-r10.tar");
    files.tool("gzip", "for last; do :; done; exec /bin/cat \"$last\"");
    // Chunk a is in both stores, chunk b (90 bytes) and an index of 50 bytes cross the wire.
    let make = "/bin/mkdir -p $3/aaaa $3/bbbb; echo > $3/aaaa/aaaa.cacnk; /usr/bin/head -c 50 /dev/zero > $4
        case $3 in */target) /usr/bin/head -c 90 /dev/zero > $3/bbbb/bbbb.cacnk;; esac";
    let casync = format!("case $1 in make) {make};; *) /bin/cp \"$TARGET\" \"$7\";; esac");
    files.tool("casync", &casync);
    files.tool("zck", "/bin/cp \"$3\" \"$2\"");
    files.tool("zck_delta_size", "echo Would download 123 of 456 bytes");
    files.tool("unzck", "exec /bin/cat \"$2\"");
    let (layers, svg) = (files.path("layers"), files.path("picture.svg"));
    let peers = "whole-gzip,changed-files,casync,zchunk";
    let args = ["patch", &layers, "--runs", "1", "--effort", "fast", "--peers", peers, "--svg", &svg];
    let report = finish(files.command(&args).env("TARGET", &target)).ok().json();
    assert_eq!(report["peers_missing"], serde_json::json!([]));
    let bytes = |tool: &str| row(&report, tool)["patch_bytes"].as_u64().unwrap_or_else(|| panic!("{report}"));
    assert_eq!(bytes("whole, gzip -6"), fs::metadata(target).unwrap().len());
    assert_eq!((bytes("casync"), bytes("zchunk")), (140, 123));
    let model = row(&report, "changed files, zstd -19");
    assert!(model["status"] == "modelled" && model["encode_s"].is_null(), "{model}");
    let svg = fs::read_to_string(svg).unwrap();
    for text in ["app r9 r10", "changed files, zstd -19", ">123 B<", ">140 B<", "lighter fast"] {
        assert!(svg.contains(text), "no {text} in {svg}");
    }
    files.nothing_is_left();
}

#[test]
fn bench_patch_ends_a_peer_that_takes_too_long() {
    let files = Files::new();
    files.tool("hdiffz", "exec /bin/sleep 600");
    files.tool("hpatchz", "exit 0");
    let layers = files.path("layers");
    let args = ["patch", &layers, "--runs", "2", "--effort", "fast", "--peers", "hdiffz", "--peer-limit-s", "1"];
    let report = files.bench(&args).ok().json();
    let row = row(&report, "hdiffz");
    assert_eq!((&row["status"], &row["over_s"]), (&"too_slow".into(), &1.into()), "{row}");
    assert!(row["patch_bytes"].is_null() && report["summary"][0]["bytes_to_hdiffz"].is_null(), "{report}");
    files.nothing_is_left();
}

#[test]
fn bench_patch_ends_with_3_if_lighter_fails_and_still_reports() {
    let files = Files::new();
    let bench = files.command(&["patch", &files.path("layers"), "--no-peers", "--runs", "1", "--effort", "fast"]);
    // Files are limited to 256 KiB, so Lighter cannot rebuild the target.
    let mut limited = Command::new("/bin/sh");
    limited
        .args(["-c", "ulimit -c 0; ulimit -f 512; exec \"$0\" \"$@\""])
        .arg(bench.get_program())
        .args(bench.get_args());
    let ended = finish(limited.env("TMPDIR", files.path("temporary")).env_remove("LIGHTER_OUTPUT"));
    assert_eq!(ended.code, 3, "{ended:?}");
    let row = row(&ended.json(), "lighter fast");
    assert!(row["status"] == "failed" && row["why"].as_str().unwrap().starts_with("apply: "), "{row}");
    assert_eq!(ended.json()["summary"][0]["pairs_failed"], 1);
    assert!(ended.stderr.contains("patches of our own that failed: 1"), "{ended:?}");
    files.nothing_is_left();
}

#[test]
fn bench_patch_stopped_by_a_signal_leaves_nothing_behind() {
    let files = Files::new();
    files.tool(
        "hdiffz",
        "echo $$ > \"$STARTED.partial\"; /bin/mv \"$STARTED.partial\" \"$STARTED\"; exec /bin/sleep 600",
    );
    files.tool("hpatchz", "exit 0");
    let started = files.path("started");
    let mut bench = files.command(&["patch", &files.path("layers"), "--runs", "1", "--effort", "fast"]);
    let bench = bench.env("STARTED", &started).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let tool = until("the tool to start", SOON, || fs::read_to_string(&started).ok());
    // The standard library can send only SIGKILL, but every sh has kill.
    let sent = Command::new("sh").args(["-c", &format!("kill -TERM {}", bench.id())]).status().unwrap();
    assert!(sent.success());
    let ended = bench.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(9), "{}", String::from_utf8_lossy(&ended.stderr));
    assert!(!Path::new("/proc").join(tool.trim()).exists(), "the tool runs on");
    files.nothing_is_left();
}

#[test]
fn bench_names_the_fault_of_its_input() {
    let files = Files::new();
    let nowhere = files.path("nowhere");
    files.bench(&["patch", &nowhere]).fails(4, &[&nowhere]);
    files.bench(&["patch", &files.path("tools")]).fails(2, &["no two releases", "NAME-rN.tar"]);
    files.bench(&["predict", &nowhere]).fails(4, &[&nowhere]);
    files.bench(&["predict", &files.path("tools")]).fails(2, &["0 files", "*.tar"]);
    files.bench(&["predict", &files.path("layers/app-r9.tar")]).fails(2, &["no folder"]);
    files.bench(&["patch", &files.path("layers/app-r9.tar")]).fails(8, &["1 MiB", "[[pair]]"]);
    let list = |text: &str| files.bench(&["patch", &files.put("pairs.toml", text.as_bytes())]);
    let pair = "[[pair]]\nname = 'a'\ntarget = 'layers/app-r10.tar'\n";
    let bases = "bases = ['layers/app-r9.tar']\n";
    list("no TOML").fails(8, &["pairs.toml", "a list has, for each pair"]);
    list("").fails(8, &["`pair`"]);
    list("pair = []").fails(8, &["no pair"]);
    list(&format!("{pair}{bases}runs = 3")).fails(8, &["`runs`", "line 5"]);
    list(&format!("runs = 3\n{pair}{bases}")).fails(8, &["`runs`"]);
    list(pair).fails(8, &["`bases`"]);
    list(&format!("{pair}bases = []")).fails(8, &["\"a\" has 0 bases"]);
    list(&format!("{pair}{bases}{pair}{bases}")).fails(8, &["two pairs", "\"a\""]);
    list(&format!("{pair}bases = ['missing.tar']")).fails(4, &["missing.tar"]);
    list(&format!("{pair}bases = ['layers']")).fails(2, &["layers is no file"]);
    files.nothing_is_left();
    let mut unwritable = files.command(&["patch", &files.path("layers")]);
    finish(unwritable.env("TMPDIR", &nowhere)).fails(4, &[&nowhere, "TMPDIR"]);
    for args in [&["bench", "patch", "x", "--effort", "most"][..], &["bench", "patch", "x", "--runs", "0"], &["bench"]]
    {
        assert_eq!(run(args).code, 2, "{args:?}");
    }
}

#[test]
fn bench_predict_compares_predictions_with_patches_and_caches_them() {
    let files = Files::new();
    let (layers, cache) = (files.path("layers"), files.path("cache"));
    let args = ["predict", &layers, "--effort", "fast", "--cache", &cache];
    let first = files.bench(&args).ok();
    assert!(first.stderr.contains("6 of 6: "), "{first:?}");
    let second = files.bench(&args).ok();
    assert!(!second.stderr.contains(" of 6: "), "made again: {second:?}");
    assert_eq!(first.stdout, second.stdout);
    let report = first.json();
    assert_eq!(report["pairs"].as_array().unwrap().len(), 6);
    let names: Vec<&str> =
        report["layers"].as_array().unwrap().iter().map(|layer| layer["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["app-r9", "app-r10", "other-r1"]);
    let (target, base) = (files.path("layers/app-r10.tar"), files.path("layers/app-r9.tar"));
    let patch = files.path("patch");
    run(&["patch", "create", "--target", &target, "--base", &base, "--out", &patch, "--effort", "fast"]).ok();
    let pairs = report["pairs"].as_array().unwrap();
    let pair = pairs.iter().find(|pair| pair["target"] == "app-r10" && pair["base"] == "app-r9").unwrap();
    assert_eq!(pair["patch_bytes"], fs::metadata(&patch).unwrap().len());
    let scores = report["scores"].as_array().unwrap();
    let score = |by: &str, bases: &str| scores.iter().find(|score| score["by"] == by && score["bases"] == bases);
    let (all, others) = (score("sketch", "all").unwrap(), score("sketch", "other packages").unwrap());
    assert_eq!((&all["pairs"], &others["pairs"]), (&6.into(), &4.into()));
    assert!(all["regret_mean"].as_f64().is_some_and(|regret| regret >= 1.0), "{all}");
    assert_eq!(scores.len(), 4);
    assert!(report.get("sets").is_none(), "{report}");
    let sets = files.bench(&[&args[..], &["--sets"]].concat()).ok().json();
    let rows = sets["sets"]["rows"].as_array().unwrap();
    assert_eq!(rows.iter().map(|row| row["target"].as_str().unwrap()).collect::<Vec<_>>(), names);
    let row = rows.iter().find(|row| row["target"] == "app-r10").unwrap();
    assert_eq!((&row["chosen"][0], &row["best"][0]), (&"app-r9".into(), &"app-r9".into()), "{row}");
    assert!(row["best_bytes"].as_u64() <= pair["patch_bytes"].as_u64(), "{row}");
    assert!(sets["sets"]["regret_mean"].as_f64().is_some_and(|regret| regret >= 1.0), "{sets}");
    files.put("cache", b"something else");
    files.bench(&args).fails(3, &["cache:1: ", "--cache"]);
}
