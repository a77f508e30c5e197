//! kill -9 at many points of an import and of a pull: before each system call that changes the disk or sends. The node
//! must start again without repair, have everything that it acknowledged, and list no partial item. fsck may find only
//! the files of an interrupted commit.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::Value;

use super::strace::Strace;
use crate::support::images::{self, ImageFiles, noise};
use crate::support::{Fleet, NodeProcess, Run, SOON, run, until};

/// The number of points of each test: `LIGHTER_KILL_POINTS`, or 100.
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

/// An image with two layers, one of which is similar for all seeds.
fn image(seed: u64) -> ImageFiles {
    let (kept, new) = (noise(1, 40_000), noise(1000 + seed, 3000));
    let similar = images::tar(&[("lib", &kept), ("version", &new)]);
    images::layout(&[similar, images::tar(&[("app", &noise(2000 + seed, 5000))])])
}

/// The points of a trace: a call and its number. strace numbers the calls of each thread. If there are more than `max`
/// points, these are spread over all.
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

/// Runs fsck between a kill and the next start. It may find files without a row and leftovers, which an interrupted
/// commit leaves. The next start removes or reuses them.
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

/// Kills the node at the point while `work` runs, checks its store, and starts it again. Returns the result of `work`.
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

/// Asserts that the node holds the layers of every listed image. fsck has checked their bytes.
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

/// Imports the image of this number.
fn import(node: &NodeProcess, folder: &Path, index: usize) -> Run {
    let path = folder.join(format!("image{index}"));
    image(index as u64).write_to(&path);
    node.cli(&["image", "import", path.to_str().unwrap(), "--name", &format!("demo/app:{index}")])
}

/// Pulls the image of this number.
fn pull(node: &NodeProcess, index: usize) -> Run {
    node.cli(&["-o", "jsonl", "image", "pull", &format!("demo/app:{index}")])
}

#[test]
fn an_import_that_is_killed_anywhere_leaves_an_intact_store() {
    let mut fleet = Fleet::single();
    let folder = fleet.folder.path().to_owned();
    let node = &mut fleet.nodes[0];
    let log = folder.join("strace.log");
    let watched = Strace::watch(node, &CALLS, &log);
    import(node, &folder, 0).ok();
    drop(watched);
    let points = points(&log, points_max());
    println!("{} points: {points:?}", points.len());
    let mut killed = 0;
    for (index, point) in points.iter().enumerate().map(|(index, point)| (index + 1, point)) {
        let run = kill_at(node, point, &log, |node| import(node, &folder, index));
        killed += usize::from(run.code != 0);
        check_listed(node, point, index + usize::from(run.code == 0));
        import(node, &folder, index).ok();
    }
    println!("{killed} imports were cut off");
    assert!(killed * 4 >= points.len() * 3, "only {killed} of {} imports were cut off", points.len());
    assert_eq!(node.stop(), 0);
    assert_eq!(node.fsck()["images"], points.len() + 1);
}

#[test]
fn a_pull_that_is_killed_anywhere_continues_by_itself() {
    // Over TCP the hub learns at once that an edge was killed. Over QUIC it takes seconds.
    let mut fleet = Fleet::create_tcp(2);
    fleet.start();
    let folder = fleet.folder.path().to_owned();
    let log = folder.join("strace.log");
    let [hub, edge] = &mut fleet.nodes[..] else { panic!("two nodes") };
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
            // The node was killed before it accepted the pull.
            edge.wait_peers(1);
            pull(edge, index).ok();
        }
        until("the pull to continue by itself", SOON, || edge.has_image(&name).then_some(()));
    }
    println!("{killed} pulls were cut off");
    assert!(killed * 2 >= points.len(), "only {killed} of {} pulls were cut off", points.len());
    assert_eq!(edge.stop(), 0);
    assert_eq!(edge.fsck()["images"], points.len() + 2);
}
