//! The matrix of faults: each system call by which an import, a pull or a gc touches its data folder, and for each of
//! them SIGKILL before the call, EIO, and ENOSPC where the call can need room. One fault a run, all of them in turn.
//!
//! A node is traced once while it does the job. The points are the calls on each file, by number (`points`). For each
//! point the data folder is put back as it was before the job, so that the next run makes the same calls on the same
//! files. After the fault:
//!
//! - a node that was killed has nothing in its folder but whole items and leftovers; one that met an error lives, and
//!   the command said what failed (exit code 6), or succeeded in spite of it;
//! - a sync that failed is never acknowledged;
//! - the node starts again, has what was acknowledged, does the job, and leaves a clean store.
//!
//! `make faults` runs all of it (`LIGHTER_FAULTS_FROM=N` goes on at a point, `LIGHTER_FAULTS_SHARD=I/N` takes each
//! Nth); the tests that are not ignored take a fixed sample.

mod points;
mod scenes;

use std::fs;
use std::path::Path;

use points::{Fault, Point};
use scenes::{Job, Scene};

use super::strace::Strace;
use crate::support::{NodeProcess, Run};

/// Points of a sample: spread over all of a job.
const SAMPLE: usize = 5;

/// The counts of a run, for the documents.
#[derive(Debug, Default)]
struct Counts {
    /// On files of the data folder, in one run without a fault.
    calls: usize,
    points: usize,
    /// Runs in which the fault happened. In the others, other threads shared the calls on a file.
    struck: usize,
    failed: usize,
}

/// Runs the job under each of the faults at these points.
fn run_points(
    job: Job,
    faults: &[Fault],
    choose: impl Fn(Vec<(Fault, Point)>) -> Vec<(usize, Fault, Point)>,
) -> Counts {
    let mut scene = Scene::create(job);
    let (calls, points) = trace(&mut scene);
    let all: Vec<(Fault, Point)> = faults
        .iter()
        .flat_map(|fault| points.iter().filter(|point| fault.concerns(point)).map(|point| (*fault, point.clone())))
        .collect();
    let mut counts = Counts { calls, points: all.len(), ..Counts::default() };
    for (number, fault, point) in choose(all) {
        println!("{job:?} {number}: {fault:?} at {point}");
        let (has_struck, code) = strike(&mut scene, fault, &point);
        counts.struck += usize::from(has_struck);
        counts.failed += usize::from(code != 0);
        println!("{job:?} {number}: struck {has_struck}, exit code {code}");
    }
    let Counts { calls, points, struck, failed } = &counts;
    println!("{job:?} {faults:?}: {calls} calls, {points} points, {struck} struck, {failed} commands failed");
    counts
}

/// Does the job once without a fault: the number of its calls, and its points.
fn trace(scene: &mut Scene) -> (usize, Vec<Point>) {
    let log = scene.log();
    scene.restore();
    scene.start();
    let watched = Strace::watch(scene.node(), &points::CALLS, &log);
    scene.work().ok();
    drop(watched);
    scene.stop();
    points::of(&fs::read_to_string(log).expect("strace's log"), &scene.node().data_dir)
}

/// One run: whether the fault happened, and how the command ended.
fn strike(scene: &mut Scene, fault: Fault, point: &Point) -> (bool, i32) {
    let log = scene.log();
    scene.restore();
    scene.start();
    let path = scene.node().data_dir.join(&point.path);
    let strace = Strace::attach(scene.node(), &[&fault.injection(point)], &[path.as_path()], &log);
    let run = scene.work();
    let has_struck = match fault {
        Fault::Kill => {
            let has_struck = run.code != 0;
            scene.kill();
            strace.wait();
            has_struck
        }
        Fault::Io | Fault::Full => {
            drop(strace);
            let has_struck = was_injected(&log);
            check_alive(scene.node(), &run, fault, point, has_struck);
            scene.stop();
            has_struck
        }
    };
    check_folder(scene.node(), fault, point);
    scene.start();
    scene.check_held(&run, fault.loses(point));
    scene.mend(fault.loses(point));
    scene.work().ok();
    scene.check_done();
    scene.stop();
    scene.node().fsck();
    (has_struck, run.code)
}

fn was_injected(log: &Path) -> bool {
    fs::read_to_string(log).expect("strace's log").contains("(INJECTED)")
}

/// The node lives, and the command tells of the error or did its work in spite of it. A sync that failed counts as an
/// error: nobody knows which bytes the kernel dropped, so what was to be synced is not acknowledged.
#[track_caller]
fn check_alive(node: &NodeProcess, run: &Run, fault: Fault, point: &Point, has_struck: bool) {
    assert_eq!(node.http("/healthz").map(|(status, _)| status), Some(200), "{fault:?} at {point}");
    assert!(matches!(run.code, 0 | 6), "{fault:?} at {point}: {run:?}");
    assert!(!(has_struck && point.is_sync() && run.code == 0), "{fault:?} at {point} was acknowledged: {run:?}");
}

/// Nothing in the folder is damaged. There may be whole files without a row, and leftovers, which an interrupted commit
/// leaves and the next start removes; an error of reading may have set a layer aside.
#[track_caller]
fn check_folder(node: &NodeProcess, fault: Fault, point: &Point) {
    let config = node.config();
    let checked =
        crate::support::run(&["-o", "json", "store", "fsck", "--config", config.to_str().expect("a path of UTF-8")]);
    assert!(matches!(checked.code, 0 | 3), "{fault:?} at {point}: {checked:?}");
    for finding in checked.json()["findings"].as_array().expect("findings") {
        let damage = finding["damage"].as_str().expect("a text");
        let is_leftover = ["not in the index", "left over"].contains(&damage);
        let is_lost = fault.loses(point) && damage.contains("not held");
        assert!(is_leftover || is_lost, "{fault:?} at {point}: {checked:?}");
    }
}

/// All points, from `LIGHTER_FAULTS_FROM` on, or a share of them.
fn whole(all: Vec<(Fault, Point)>) -> Vec<(usize, Fault, Point)> {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<usize>().expect("a number"));
    let from = number("LIGHTER_FAULTS_FROM").unwrap_or(0);
    let shard = std::env::var("LIGHTER_FAULTS_SHARD").unwrap_or_else(|_| "0/1".to_owned());
    let (index, count) = shard.split_once('/').expect("I/N");
    let [index, count] = [index, count].map(|text| text.parse::<usize>().expect("a number"));
    let numbered = all.into_iter().enumerate().map(|(number, (fault, point))| (number, fault, point));
    numbered.filter(|(number, ..)| *number >= from && number % count == index).collect()
}

/// A few points, spread over all.
fn sample(all: Vec<(Fault, Point)>) -> Vec<(usize, Fault, Point)> {
    let pick = |index: usize| (2 * index + 1) * all.len() / (2 * SAMPLE);
    (0..SAMPLE).map(pick).map(|number| (number, all[number].0, all[number].1.clone())).collect()
}

/// One test for each job and fault, so that nextest runs them side by side.
macro_rules! whole_matrix {
    ($($name:ident: $job:ident under $fault:ident;)*) => {
        $(
            #[test]
            #[ignore = "make faults"]
            fn $name() {
                let counts = run_points(Job::$job, &[Fault::$fault], whole);
                assert!(counts.struck > 0, "{counts:?}");
            }
        )*
    };
}

whole_matrix! {
    every_call_of_an_import_killed: Import under Kill;
    every_call_of_an_import_with_eio: Import under Io;
    every_call_of_an_import_with_a_full_disk: Import under Full;
    every_call_of_a_pull_killed: Pull under Kill;
    every_call_of_a_pull_with_eio: Pull under Io;
    every_call_of_a_pull_with_a_full_disk: Pull under Full;
    every_call_of_a_gc_killed: Gc under Kill;
    every_call_of_a_gc_with_eio: Gc under Io;
    every_call_of_a_gc_with_a_full_disk: Gc under Full;
}

#[test]
fn a_sample_of_faults_in_an_import() {
    assert!(run_points(Job::Import, &Fault::ALL, sample).struck > 0);
}

#[test]
fn a_sample_of_faults_in_a_pull() {
    assert!(run_points(Job::Pull, &Fault::ALL, sample).struck > 0);
}

#[test]
fn a_sample_of_faults_in_a_gc() {
    assert!(run_points(Job::Gc, &Fault::ALL, sample).struck > 0);
}
