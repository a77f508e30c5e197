//! The command line as scripts and people meet it: help, exit codes, output formats, stdout and stderr.
//!
//! Tests run the program as a child process. Data must stand on stdout and talk on stderr; with `--output json`,
//! results and errors are JSON of one schema (docs/CLI.md).

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use crate::support::{Fleet, NodeProcess, Run, command, finish, folder, images, run, run_in};

const FORMATS: [&str; 2] = ["json", "jsonl"];

/// The subcommands that a help text lists.
fn subcommands(help: &str) -> Vec<String> {
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let names = listed.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    names.filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help").map(str::to_owned).collect()
}

/// Every command path, from the help texts themselves.
fn command_paths() -> Vec<Vec<String>> {
    let mut paths = vec![Vec::new()];
    let mut next = 0;
    while next < paths.len() {
        let path = paths[next].clone();
        let args = [path.clone(), vec!["--help".to_owned()]].concat();
        let help = run(&args).ok();
        assert!(help.stderr.is_empty(), "{help:?}");
        assert!(help.stdout.contains("Usage: lighter"), "{help:?}");
        let about = help.stdout.lines().next().unwrap_or_default();
        assert!(about.len() > 10 && !about.starts_with("Usage"), "no purpose in the help of {path:?}: {about:?}");
        paths.extend(subcommands(&help.stdout).into_iter().map(|name| [path.clone(), vec![name]].concat()));
        next += 1;
    }
    paths
}

#[test]
fn help_is_there_for_every_command_and_lists_the_exit_codes() {
    let paths = command_paths();
    for wanted in ["node run", "node init", "config check", "image pull", "layer show", "patch export", "store fsck"] {
        assert!(paths.iter().any(|path| path.join(" ") == wanted), "{wanted}");
    }
    assert!(paths.len() >= 34, "{paths:?}");
    let help = run(&["--help"]).ok().stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    for code in [
        "0 done",
        "1 failed",
        "2 wrong usage",
        "3 data failed",
        "4 not found",
        "5 no peer",
        "6 this machine",
        "7 no node answers",
        "8 wrong configuration",
        "9 cancelled",
        "10 an expectation",
    ] {
        assert!(help.contains(code), "no {code:?} in {help}");
    }
    assert!(run(&["--version"]).ok().stdout.starts_with("lighter 0."));
}

#[test]
fn wrong_usage_is_told_as_such() {
    for args in [
        &["--nonsense"][..],
        &["status", "--nonsense"],
        &["nonsense"],
        &["image"],
        &["image", "show"],
        &["image", "show", "NOT A NAME"],
        &["layer", "show", "sha256:00"],
        &["--output", "xml", "status"],
        &["completions", "cmd"],
        &["patch", "export", "--patch", "p", "--out", "o"],
        &["patch", "create", "--target", "t", "--out", "o", "--memory", "much"],
        &["patch", "create", "--target", "t", "--out", "o", "--threads", "-1"],
    ] {
        let ended = run(args);
        assert_eq!(ended.code, 2, "{args:?}: {ended:?}");
        assert!(ended.stdout.is_empty() && !ended.stderr.is_empty(), "{ended:?}");
    }
    assert!(run(&["stauts"]).stderr.contains("'status'"), "a suggestion");
}

#[test]
fn without_a_node_the_exit_code_is_7_and_the_hint_says_how_to_start_one() {
    let folder = folder();
    let digest = format!("sha256:{}", "ab".repeat(32));
    for args in [
        &["status"][..],
        &["image", "list"],
        &["image", "show", "demo/app:1"],
        &["image", "import", "/nowhere"],
        &["image", "pull", "demo/app:1"],
        &["image", "pull", "demo/app:1", "--dry-run"],
        &["image", "export", "demo/app:1", "out"],
        &["image", "pin", "demo/app:1"],
        &["image", "remove", "demo/app:1"],
        &["layer", "list"],
        &["layer", "show", &digest],
        &["layer", "pin", &digest],
        &["peer", "list"],
        &["plan", "demo/app:1"],
        &["node", "limit"],
    ] {
        let ended =
            run_in(folder.path(), args).fails(7, &["lighter-data/admin.sock", "hint: start one with", "--socket"]);
        assert!(ended.stdout.is_empty(), "{ended:?}");
    }
    run_in(folder.path(), &["--socket", "else.sock", "store", "stats"]).fails(7, &["else.sock"]);
    run_in(folder.path(), &["--socket", "else.sock", "store", "gc"]).fails(7, &["else.sock"]);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is left behind");
}

#[test]
fn every_format_is_what_it_says() {
    let mut fleet = Fleet::create(2);
    fleet.start();
    let (hub, edge) = (&fleet.nodes[0], &fleet.nodes[1]);
    let image = fleet.folder.path().join("image");
    let (first, second) = images::two_releases(1, 1 << 20);
    images::layout(&[first]).write_to(&image.join("1"));
    images::layout(&[second]).write_to(&image.join("2"));
    let path = |name: &str| image.join(name).to_str().unwrap().to_owned();
    let imported = edge.cli(&["-o", "json", "image", "import", &path("1"), "--name", "demo/app:1"]).ok().json();
    assert_eq!(imported["reference"], "demo/app:1");
    let diff_id = imported["layers"][0]["diff_id"].as_str().unwrap().to_owned();
    let events = hub.cli(&["-o", "jsonl", "image", "import", &path("2"), "--name", "demo/app:2"]).ok().json_lines();
    assert_eq!(events.last().unwrap()["event"], "done");
    hub.cli(&["image", "import", &path("1"), "--name", "demo/app:1"]).ok();
    for format in FORMATS {
        let check = |node: &NodeProcess, args: &[&str], key: &str| {
            let ended = node.cli(&[&["--output", format], args].concat()).ok();
            let values = if format == "json" { vec![ended.json()] } else { ended.json_lines() };
            let value = match values.first().unwrap_or_else(|| panic!("{args:?}: {ended:?}")) {
                serde_json::Value::Array(rows) => rows.first().unwrap_or_else(|| panic!("{args:?}: {ended:?}")).clone(),
                value => value.clone(),
            };
            assert!(value.get(key).is_some(), "no {key} in {value} ({args:?})");
            assert!(ended.stderr.is_empty(), "{ended:?}");
        };
        check(edge, &["image", "list"], "reference");
        check(edge, &["image", "show", "demo/app:1"], "manifest");
        check(edge, &["layer", "list"], "diff_id");
        check(edge, &["layer", "show", &diff_id], "tar_bytes");
        check(edge, &["peer", "list"], "peer_id");
        check(edge, &["status"], "peers_connected");
        check(edge, &["plan", "demo/app:1"], "layers");
        check(edge, &["image", "pull", "--dry-run", "demo/app:1"], "layers");
        check(edge, &["store", "stats"], "layer_bytes");
        check(edge, &["store", "gc", "--dry-run"], "removed");
        check(edge, &["store", "gc"], "removed");
        check(edge, &["node", "limit"], "upload_max");
    }
    let pulled = edge.cli(&["-o", "json", "image", "pull", "demo/app:2"]).ok().json();
    assert_eq!(pulled["layers"][0]["from"], hub.peer_id.as_str(), "{pulled}");
    let out = path("out");
    assert_eq!(edge.cli(&["-o", "json", "image", "export", "demo/app:2", &out]).ok().json()["path"], out.as_str());
    let lines = edge.cli(&["-o", "jsonl", "image", "pull", "demo/app:2"]).ok().json_lines();
    assert_eq!(lines.last().unwrap()["event"], "done");
    edge.cli(&["image", "export", "demo/app:2", &out]).fails(2, &[&out, "new folder"]);
}

/// The error of a command that was asked for JSON: the last line of stderr. All lines are JSON, and stdout is empty.
#[track_caller]
fn json_error(ended: &Run) -> serde_json::Value {
    assert!(ended.stdout.is_empty(), "{ended:?}");
    let lines: Vec<serde_json::Value> = ended
        .stderr
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {line:?}: {ended:?}")))
        .collect();
    let error = lines.last().unwrap_or_else(|| panic!("no error in {ended:?}"))["error"].clone();
    assert_eq!(error["exit_code"], ended.code, "{ended:?}");
    let mut fields: Vec<&String> = error.as_object().unwrap().keys().collect();
    fields.sort();
    assert_eq!(fields, ["exit_code", "hint", "kind", "message"], "{ended:?}");
    error
}

#[test]
fn errors_are_json_where_results_are() {
    let folder = folder();
    let file = folder.path().join("file");
    fs::write(&file, "x = [").unwrap();
    let file = file.to_str().unwrap();
    let digest = format!("sha256:{}", "ab".repeat(32));
    let cases: [(&[&str], &str); 29] = [
        (&["--nonsense"], "usage"),
        (&["nonsense"], "usage"),
        (&["image"], "usage"),
        (&["image", "show"], "usage"),
        (&["image", "show", "NOT A NAME"], "usage"),
        (&["layer", "show", "sha256:xyz"], "usage"),
        (&["patch", "create", "--target", "t", "--out", "o", "--memory", "much"], "usage"),
        (&["status"], "no_node"),
        (&["peer", "list"], "no_node"),
        (&["plan", "demo/app:1"], "no_node"),
        (&["layer", "list"], "no_node"),
        (&["layer", "pin", &digest], "no_node"),
        (&["image", "list"], "no_node"),
        (&["image", "import", "/nowhere"], "no_node"),
        (&["image", "pull", "demo/app:1"], "no_node"),
        (&["image", "cancel", "demo/app:1"], "no_node"),
        (&["image", "remove", "demo/app:1"], "no_node"),
        (&["node", "limit"], "no_node"),
        (&["store", "stats"], "not_found"),
        (&["store", "gc"], "not_found"),
        (&["store", "fsck", "--config", file], "config"),
        (&["node", "id"], "not_found"),
        (&["node", "run"], "not_found"),
        (&["config", "check", file], "config"),
        (&["config", "show", "/nowhere/node.toml"], "not_found"),
        (&["patch", "show", file], "bad_data"),
        (&["bench", "predict", "/nowhere"], "not_found"),
        (&["sim", "run", file], "config"),
        (&["man", file], "machine"),
    ];
    for format in FORMATS {
        for (args, kind) in cases {
            let ended = run_in(folder.path(), &[args, &["--output", format]].concat());
            assert_eq!(json_error(&ended)["kind"], kind, "{args:?}: {ended:?}");
        }
    }
    let by_environment = finish(command().env("LIGHTER_OUTPUT", "json").arg("stauts"));
    let error = json_error(&by_environment);
    assert!(error["message"].as_str().unwrap().contains("'stauts'"), "{error}");
    assert!(error["hint"].as_str().unwrap().contains("'status'"), "{error}");
}

#[test]
fn commands_without_a_table_say_in_json_what_they_did() {
    let fleet = Fleet::single();
    let node = &fleet.nodes[0];
    let path = |name: &str| fleet.folder.path().join(name).to_str().unwrap().to_owned();
    images::layout(&[images::tar(&[("a", b"b")])]).write_to(&fleet.folder.path().join("image"));
    let unnamed = node.cli(&["-o", "json", "image", "import", &path("image")]);
    assert_eq!(json_error(&unnamed)["kind"], "no_name");
    assert!(json_error(&unnamed)["hint"].as_str().unwrap().contains("--name"), "{unnamed:?}");
    let import = ["-o", "json", "image", "import", &path("image"), "--name", "demo/app:1"];
    let layer = node.cli(&import).ok().json()["layers"][0]["diff_id"].as_str().unwrap().to_owned();
    let check = |ended: Run, expected: serde_json::Value| assert_eq!(ended.ok().json(), expected);
    for (action, pinned) in [("pin", true), ("unpin", false)] {
        let done = node.cli(&["-o", "json", "layer", action, &layer]);
        check(done, serde_json::json!({ "diff_id": layer, "pinned": pinned }));
    }
    for (action, pinned) in [("pin", true), ("unpin", false)] {
        let done = node.cli(&["-o", "json", "image", action, "demo/app:1"]);
        check(done, serde_json::json!({ "reference": "demo/app:1", "pinned": pinned }));
    }
    let missing = node.cli(&["-o", "json", "image", "cancel", "demo/app:1"]);
    assert_eq!(json_error(&missing)["kind"], "not_found");
    let remove = ["-o", "json", "image", "remove", "demo/app:1"];
    check(node.cli(&remove), serde_json::json!({ "reference": "demo/app:1" }));
    let again = node.cli(&remove);
    assert_eq!(json_error(&again)["kind"], "not_found");
    let failed = node.cli(&["-o", "jsonl", "image", "import", "/nowhere/image", "--name", "demo/app:1"]);
    assert_eq!(failed.json_lines().last().unwrap()["problem"]["kind"], "not_found", "{failed:?}");
    let config = node.config().to_str().unwrap().to_owned();
    check(run(&["-o", "json", "config", "check", &config]), serde_json::json!({ "file": config }));
    check(run(&["-o", "json", "man", &path("man")]), serde_json::json!({ "dir": path("man") }));
    let script = run(&["-o", "json", "completions", "bash"]).ok().json();
    assert_eq!(script["shell"], "bash");
    assert!(script["script"].as_str().unwrap().contains("complete -F"));
}

#[test]
fn patch_commands_say_in_json_what_they_wrote() {
    let folder = folder();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (base, target) = images::two_releases(2, 1 << 18);
    fs::write(path("base"), &base).unwrap();
    fs::write(path("target"), &target).unwrap();
    let done = |args: &[&str]| run(&[&["-o", "json"], args].concat()).ok().json();
    let (patch, base_path, out) = (path("p"), path("base"), path("out"));
    done(&["patch", "create", "--vcdiff", "--target", &path("target"), "--base", &base_path, "--out", &patch]);
    let applied = done(&["patch", "apply", "--patch", &patch, "--base", &base_path, "--out", &out]);
    assert_eq!(applied["out"], out.as_str());
    assert_eq!(applied["target"], images::sha256(&target));
    assert_eq!(applied["target_bytes"], target.len());
    let vcdiff = path("vcdiff");
    let exported = done(&["patch", "export", "--vcdiff", "--patch", &patch, "--out", &vcdiff]);
    assert_eq!(exported["base"], images::sha256(&base));
    let imported = done(&["patch", "import", "--vcdiff", &vcdiff, "--base", &base_path, "--out", &out]);
    assert_eq!(imported, serde_json::json!({ "out": out, "target_bytes": target.len() }));
    let other = run(&["-o", "json", "patch", "apply", "--patch", &patch, "--out", &out]);
    assert_eq!(json_error(&other)["kind"], "usage");
}

#[test]
fn a_missing_item_is_named() {
    let fleet = Fleet::single();
    let node = &fleet.nodes[0];
    let nothing = format!("sha256:{}", "ab".repeat(32));
    node.cli(&["image", "show", "demo/none:1"]).fails(4, &["demo/none:1"]);
    node.cli(&["image", "remove", "demo/none:1"]).fails(4, &["demo/none:1"]);
    node.cli(&["image", "export", "demo/none:1", "out"]).fails(4, &["demo/none:1"]);
    node.cli(&["layer", "show", &nothing]).fails(4, &[&nothing]);
    node.cli(&["image", "import", "/nowhere/image"]).fails(4, &["/nowhere/image"]);
    node.cli(&["layer", "show", "sha256:xyz"]).fails(2, &["sha256:xyz"]);
    node.cli(&["image", "show", "NOT A NAME"]).fails(2, &["NOT A NAME"]);
    node.cli(&["node", "limit", "--upload", "fast"]).fails(2, &["fast", "Mbit/s"]);
    for (flag, key) in [("--upload", "upload_max"), ("--download", "download_max")] {
        let limits = node.cli(&["-o", "json", "node", "limit", flag, "3 Mbit/s"]).ok().json();
        assert_eq!(limits[key], "3 Mbit/s");
    }
}

#[test]
fn data_goes_to_stdout_and_talk_to_stderr_unless_quiet() {
    let mut fleet = Fleet::create(1);
    // A pull asks the fleet for a newer release, and there is no fleet.
    fleet.nodes[0].set("timing.patience_s=1");
    fleet.nodes[0].start();
    let node = &fleet.nodes[0];
    let image = fleet.folder.path().join("image");
    images::layout(&[images::tar(&[("a", b"b")])]).write_to(&image);
    let image = image.to_str().unwrap();
    let check = |loud: Run, quiet: Run, has_data: bool| {
        assert_eq!(quiet.stderr, "", "{quiet:?}");
        assert_eq!(!loud.stdout.is_empty(), has_data, "{loud:?}");
        assert_eq!(!quiet.stdout.is_empty(), has_data, "{quiet:?}");
        loud
    };
    let import = ["image", "import", image, "--name", "demo/app:1"];
    check(node.cli(&import).ok(), node.cli(&[&["--quiet"][..], &import].concat()).ok(), true);
    let pull = ["image", "pull", "demo/app:1"];
    let loud = check(node.cli(&pull).ok(), node.cli(&[&["--quiet"][..], &pull].concat()).ok(), true);
    assert!(loud.stderr.contains("1 layers, 1 of them here"), "{loud:?}");
    let remove = ["image", "remove", "demo/app:1"];
    let loud = node.cli(&remove).ok();
    node.cli(&import).ok();
    let loud = check(loud, node.cli(&[&["-q"][..], &remove].concat()).ok(), false);
    assert!(loud.stderr.contains("removed demo/app:1"), "{loud:?}");
    let failed = node.cli(&[&["-q"][..], &remove].concat()).fails(4, &["demo/app:1"]);
    assert!(failed.stdout.is_empty(), "errors are said even so, and on stderr");
    let config = node.config();
    let config = config.to_str().unwrap();
    check(run(&["config", "check", config]).ok(), run(&["-q", "config", "check", config]).ok(), false);
}

#[test]
fn patches_are_described_in_every_format() {
    let folder = folder();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (base, target) = images::two_releases(2, 1 << 18);
    fs::write(path("base"), &base).unwrap();
    fs::write(path("target"), &target).unwrap();
    let create = ["patch", "create", "--target", &path("target"), "--base", &path("base"), "--out", &path("p")];
    for format in FORMATS {
        let created = run(&[&["-o", format][..], &create].concat()).ok();
        let shown = run(&["-o", format, "patch", "show", &path("p")]).ok();
        for json in [created.json(), shown.json()] {
            assert_eq!(json["target"], images::sha256(&target));
            assert_eq!(json["patch_bytes"], fs::metadata(path("p")).unwrap().len());
        }
        assert_eq!(shown.json()["bases"][0]["diff_id"], images::sha256(&base));
        assert_eq!(format == "jsonl", created.stdout.lines().count() == 1);
        for args in [&["config", "show"][..], &["config", "show", "--origin"]] {
            let shown = run(&[&["-o", format][..], args].concat()).ok();
            let lines = if format == "json" { vec![shown.json()] } else { shown.json_lines() };
            assert!(!lines.is_empty() && shown.stderr.is_empty(), "{shown:?}");
        }
    }
    let frames = run(&["patch", "show", "--frames", &path("p")]).ok();
    assert!(frames.stdout.contains("TARGET OFFSET"), "{frames:?}");
}

#[test]
fn completions_are_taken_by_their_shells() {
    let folder = folder();
    for (shell, mark) in [("bash", "complete -F"), ("zsh", "#compdef lighter"), ("fish", "complete -c lighter")] {
        let script = run(&["completions", shell]).ok();
        assert!(script.stdout.contains(mark) && script.stderr.is_empty(), "{shell}");
        for word in ["import", "fsck", "vcdiff"] {
            assert!(script.stdout.contains(word), "no {word} for {shell}");
        }
        let file = folder.path().join(shell);
        fs::write(&file, script.stdout).unwrap();
        // A shell that is not here cannot say.
        if let Ok(parsed) = Command::new(shell).arg("-n").arg(&file).output() {
            assert!(parsed.status.success(), "{shell}: {parsed:?}");
        }
    }
}

#[test]
fn man_pages_are_written_for_every_command() {
    let folder = folder();
    let dir = folder.path().join("new/man1");
    run(&["man", dir.to_str().unwrap()]).ok();
    for path in command_paths() {
        let name = [vec!["lighter".to_owned()], path].concat().join("-");
        let page = fs::read_to_string(dir.join(format!("{name}.1"))).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(page.contains(".TH"), "{name}");
    }
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    run(&["man", file.to_str().unwrap()]).fails(6, &[file.to_str().unwrap()]);
}

#[test]
fn init_makes_a_node_once_and_keeps_its_key_secret() {
    let folder = folder();
    let dir = folder.path().join("deep/node");
    let path = dir.to_str().unwrap();
    let made = run(&["node", "init", "--dir", path]).ok();
    let peer_id = made.stdout.trim();
    assert!(peer_id.starts_with("12D3KooW"), "{made:?}");
    assert!(made.stderr.contains("node.toml") && made.stderr.contains("node run"), "{made:?}");
    for (path, expected) in [(dir.join("identity.key"), 0o600), (dir.clone(), 0o700)] {
        let mode = fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, expected, "{mode:o}");
    }
    let config = dir.join("node.toml");
    let config = config.to_str().unwrap();
    run(&["config", "check", config]).ok();
    assert_eq!(run(&["node", "id", "--config", config]).ok().stdout.trim(), peer_id);
    let json = run(&["-o", "json", "node", "id", "--config", config]).ok().json();
    assert_eq!(json, peer_id);

    run(&["node", "init", "--dir", path]).fails(2, &["node.toml", "already there"]);
    fs::remove_file(config).unwrap();
    run(&["node", "init", "--dir", path]).fails(6, &["identity.key", "already there"]);
    let kept = run(&["node", "id", "--set", &format!("data_dir={path:?}")]).ok();
    assert_eq!(kept.stdout.trim(), peer_id, "the key is the old one");
    run(&["node", "init", "--dir", "/proc/no"]).fails(4, &["/proc/no"]);
}

#[test]
fn init_writes_the_role_that_was_asked_for() {
    let folder = folder();
    for (role, upload_max) in [("hub", "unlimited"), ("edge", "2 Mbit/s")] {
        let dir = folder.path().join(role);
        run(&["node", "init", "--dir", dir.to_str().unwrap(), "--role", role]).ok();
        let config = dir.join("node.toml");
        let shown = run(&["-o", "json", "config", "show", config.to_str().unwrap()]).ok().json();
        assert_eq!(shown["network"]["upload_max"], upload_max);
        assert_eq!(shown["data_dir"], dir.to_str().unwrap());
        assert!(fs::read_to_string(config).unwrap().contains("# All keys with their defaults"));
    }
}

/// As in `lighter ... | head -1`, once head is gone.
#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let folder = folder();
    let file = folder.path().join("file");
    fs::write(&file, images::text(1, 1 << 20)).unwrap();
    let patch = folder.path().join("patch");
    let (file, patch) = (file.to_str().unwrap(), patch.to_str().unwrap());
    run(&["patch", "create", "--target", file, "--out", patch]).ok();
    for args in [
        &["config", "show", "--origin"][..],
        &["-o", "json", "patch", "show", patch],
        &["completions", "bash"],
        &["--help"],
        &["image", "import", "--help"],
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let ended = command().args(args).stdout(writer).stderr(Stdio::piped()).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&ended.stderr), "", "{args:?}");
        assert_eq!(ended.status.code(), Some(0), "{args:?}");
    }
}

#[test]
fn environment_stands_in_for_flags() {
    let fleet = Fleet::single();
    let node = &fleet.nodes[0];
    let status =
        finish(command().env("LIGHTER_SOCKET", node.socket()).env("LIGHTER_OUTPUT", "json").arg("status")).ok();
    assert_eq!(status.json()["peer_id"], node.peer_id.as_str());
    let id = finish(command().env("LIGHTER_CONFIG", node.config()).args(["node", "id"])).ok();
    assert_eq!(id.stdout.trim(), node.peer_id);
}
