//! kill -9 at many points of an import and of a pull: before every system call that changes the disk, or sends, in its
//! turn. A new start needs no hand, what was acknowledged is there, nothing partial is shown, and fsck finds nothing but
//! what a commit that was cut off leaves.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::Value;

use super::strace::Strace;
use crate::support::images::{self, ImageFiles, noise};
use crate::support::{Fleet, NodeProcess, Run, SOON, run, until};

/// How many points of each: `LIGHTER_KILL_POINTS`, or 100.
fn points_max() -> usize {
    std::env::var("LIGHTER_KILL_POINTS").map_or(100, |text| text.parse().expect("a number"))
}

const CALLS: [&str; 12] = [
    "openat",
    "write",
    "pwrite64",
    "fallocate",
    "ftruncate",
    "fsync",
    "fdatasync",
    "rename",
    "unlink",
    "mkdir",
    "sendto",
    "sendmsg",
];

/// Two layers, one of them much like those of other seeds.
fn image(seed: u64) -> ImageFiles {
    let (kept, new) = (noise(1, 40_000), noise(1000 + seed, 3000));
    let like = images::tar(&[("lib", &kept), ("version", &new)]);
    images::layout(&[like, images::tar(&[("app", &noise(2000 + seed, 5000))])])
}

/// The points of what was watched: call and number, as strace counts: of each thread. Spread over all if there are more
/// than `max`.
fn points(log: &Path, max: usize) -> Vec<(String, usize)> {
    let text = fs::read_to_string(log).expect("strace's log");
    let mut counts: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for line in text.lines() {
        let (thread, rest) = line.split_once(' ').expect("a thread's number");
        let call = rest.trim_start().split('(').next().unwrap_or_default();
        if let Some(call) = CALLS.iter().find(|known| **known == call) {
            *counts.entry((call, thread)).or_default() += 1;
        }
    }
    let mut most: BTreeMap<&str, usize> = BTreeMap::new();
    for ((call, _), count) in counts {
        let most = most.entry(call).or_default();
        *most = count.max(*most);
    }
    let all: Vec<(String, usize)> =
        most.into_iter().flat_map(|(call, count)| (1..=count).map(move |number| (call.to_owned(), number))).collect();
    let count = max.min(all.len());
    (0..count).map(|index| all[index * all.len() / count].clone()).collect()
}

/// Offline, between a kill and the next start. Files without a row and leftovers are what a cut commit leaves; the next
/// start clears or reuses them.
#[track_caller]
fn check_store(node: &NodeProcess, point: &(String, usize)) {
    let config = node.config();
    let checked = run(&["-o", "json", "store", "fsck", "--config", config.to_str().unwrap()]);
    assert!(matches!(checked.code, 0 | 3), "{point:?}: {checked:?}");
    for finding in checked.json()["findings"].as_array().expect("findings") {
        let damage = finding["damage"].as_str().unwrap();
        assert!(["not in the index", "left over"].contains(&damage), "{point:?}: {checked:?}");
    }
}

/// Kills the node at the point while `work` runs, checks its store, and starts it again. What `work` got.
fn kill_at(node: &mut NodeProcess, point: &(String, usize), log: &Path, work: impl FnOnce(&NodeProcess) -> Run) -> Run {
    let (call, number) = point;
    let fault = format!("{call}:signal=SIGKILL:when={number}");
    let strace = Strace::attach(node, &[&fault], &[], log);
    let run = work(node);
    assert!(matches!(run.code, 0 | 7), "{point:?}: {run:?}");
    node.kill9();
    strace.wait();
    check_store(node, point);
    node.start();
    run
}

fn layers_of(image: &Value) -> usize {
    image["layers"].as_array().map_or(0, Vec::len)
}

/// Every image that is listed is whole: its layers are held. Fsck has looked at their bytes.
#[track_caller]
fn check_listed(node: &NodeProcess, point: &(String, usize), at_least: usize) {
    let images = node.ask(&["image", "list"]);
    let images = images.as_array().unwrap();
    assert!(images.len() >= at_least, "{point:?}: {} images of {at_least}", images.len());
    let layers = node.ask(&["layer", "list"]);
    let held: Vec<&str> = layers.as_array().unwrap().iter().map(|layer| layer["diff_id"].as_str().unwrap()).collect();
    for image in images {
        assert_eq!(layers_of(image), 2);
        for layer in image["layers"].as_array().unwrap() {
            assert!(held.contains(&layer.as_str().unwrap()), "{point:?}: {layer} of {image} is not held");
        }
    }
}

#[test]
fn an_import_that_is_killed_anywhere_leaves_a_good_store() {
    let mut fleet = Fleet::single();
    let folder = fleet.folder.path().to_owned();
    let node = &mut fleet.nodes[0];
    let log = folder.join("strace.log");
    let path = |index: usize| {
        let path = folder.join(format!("image{index}"));
        image(index as u64).write_to(&path);
        path
    };
    let import = |node: &NodeProcess, path: &Path, index: usize| {
        let name = format!("demo/app:{index}");
        node.cli(&["image", "import", path.to_str().unwrap(), "--name", &name])
    };
    let watched = Strace::watch(node, &CALLS, &log);
    import(node, &path(0), 0).ok();
    drop(watched);
    let points = points(&log, points_max());
    println!("{} points: {points:?}", points.len());
    let mut killed = 0;
    for (index, point) in points.iter().enumerate().map(|(index, point)| (index + 1, point)) {
        let path = path(index);
        let run = kill_at(node, point, &log, |node| import(node, &path, index));
        killed += usize::from(run.code != 0);
        check_listed(node, point, index + usize::from(run.code == 0));
        import(node, &path, index).ok();
    }
    println!("{killed} imports were cut off");
    assert!(killed * 4 >= points.len() * 3, "only {killed} of {} imports were cut off", points.len());
    assert_eq!(node.stop(), 0);
    assert_eq!(node.fsck()["images"], points.len() + 1);
}

#[test]
fn a_pull_that_is_killed_anywhere_goes_on_by_itself() {
    // Over TCP the hub learns of a killed edge at once; over QUIC after seconds.
    let mut fleet = Fleet::create_tcp(2);
    fleet.start();
    let folder = fleet.folder.path().to_owned();
    let log = folder.join("strace.log");
    let [hub, edge] = &mut fleet.nodes[..] else { panic!("two nodes") };
    let pull =
        |node: &NodeProcess, index: usize| node.cli(&["-o", "jsonl", "image", "pull", &format!("demo/app:{index}")]);
    for index in [0, 1] {
        hub.import(&folder, &image(index as u64), &format!("demo/app:{index}"));
    }
    pull(edge, 0).ok();
    let watched = Strace::watch(edge, &CALLS, &log);
    pull(edge, 1).ok();
    drop(watched);
    let points = points(&log, points_max());
    println!("{} points: {points:?}", points.len());
    let mut killed = 0;
    for (index, point) in points.iter().enumerate().map(|(index, point)| (index + 2, point)) {
        let name = format!("demo/app:{index}");
        hub.import(&folder, &image(index as u64), &name);
        let run = kill_at(edge, point, &log, |node| pull(node, index));
        killed += usize::from(run.code != 0);
        check_listed(edge, point, index + usize::from(run.code == 0));
        if run.stdout.is_empty() {
            // It was killed before it said that it took the order.
            edge.wait_peers(1);
            pull(edge, index).ok();
        }
        until("the pull to go on by itself", SOON, || edge.has_image(&name).then_some(()));
    }
    println!("{killed} pulls were cut off");
    assert!(killed * 2 >= points.len(), "only {killed} of {} pulls were cut off", points.len());
    assert_eq!(edge.stop(), 0);
    assert_eq!(edge.fsck()["images"], points.len() + 2);
}
