//! The jobs of the matrix, each with the node that does it and the folder that it begins with.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::nodes::clocks;
use crate::support::images::{self, ImageFiles, noise};
use crate::support::{Fleet, NodeProcess, Run, SOON, until};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Job {
    Import,
    /// From a hub, by a patch from the release before.
    Pull,
    /// For the layers and documents of an image that lost its name hours ago.
    Gc,
}

/// A node whose folder can be put back to the moment before the job.
pub struct Scene {
    job: Job,
    /// The node that does the job is the last one; the hub of a pull stands before it.
    fleet: Fleet,
    before: PathBuf,
}

const OLD: &str = "demo/app:0";
const NEW: &str = "demo/app:1";

/// A release of two layers that share most of their bytes with those of other releases.
fn image(release: u64) -> ImageFiles {
    let similar = images::tar(&[("lib", &noise(1, 40_000)), ("version", &noise(1000 + release, 3000))]);
    images::layout(&[similar, images::tar(&[("app", &noise(2000 + release, 5000))])])
}

impl Scene {
    pub fn create(job: Job) -> Self {
        // Over TCP the hub learns at once that an edge was killed.
        let mut fleet = Fleet::create_tcp(if job == Job::Pull { 2 } else { 1 });
        let folder = fleet.folder.path().to_owned();
        image(1).write_to(&folder.join("new"));
        match job {
            Job::Import | Job::Pull => fleet.start(),
            Job::Gc => {
                let node = &mut fleet.nodes[0];
                let mut command = node.run_command();
                command.env("LD_PRELOAD", clocks::library()).env("FAKETIME", "-5h");
                node.spawn(command);
                node.wait_ready();
            }
        }
        let first = &fleet.nodes[0];
        first.import(&folder, &image(0), OLD);
        match job {
            Job::Import => {}
            Job::Pull => {
                first.import(&folder, &image(1), NEW);
                fleet.nodes[1].pull(OLD);
            }
            Job::Gc => {
                first.import(&folder, &image(1), NEW);
                first.cli(&["image", "remove", NEW]).ok();
            }
        }
        let before = folder.join("before");
        let mut scene = Self { job, fleet, before };
        scene.stop();
        copy(&scene.node().data_dir, &scene.before);
        scene
    }

    pub fn node(&self) -> &NodeProcess {
        self.fleet.nodes.last().expect("a node")
    }

    fn node_mut(&mut self) -> &mut NodeProcess {
        self.fleet.nodes.last_mut().expect("a node")
    }

    /// The file of strace's log.
    pub fn log(&self) -> PathBuf {
        self.fleet.folder.path().join("strace.log")
    }

    /// Puts the folder back to the moment before the job.
    pub fn restore(&self) {
        let data_dir = &self.node().data_dir;
        fs::remove_dir_all(data_dir).expect("the folder to go");
        copy(&self.before, data_dir);
    }

    pub fn start(&mut self) {
        self.node_mut().start();
        if self.job == Job::Pull {
            let (hub, edge) = (&self.fleet.nodes[0], self.node());
            edge.wait_peers(1);
            edge.wait_holdings(&hub.peer_id, 4);
        }
    }

    #[track_caller]
    pub fn stop(&mut self) {
        assert_eq!(self.node_mut().stop(), 0);
    }

    pub fn kill(&mut self) {
        self.node_mut().kill9();
    }

    /// Does the job.
    pub fn work(&self) -> Run {
        let path = self.fleet.folder.path().join("new");
        match self.job {
            Job::Import => self.node().cli(&["image", "import", path.to_str().expect("UTF-8"), "--name", NEW]),
            Job::Pull => self.node().cli(&["--quiet", "image", "pull", NEW]),
            Job::Gc => self.node().cli(&["store", "gc"]),
        }
    }

    /// The node lists what was acknowledged, and holds the layers of what it lists, unless the fault makes it take a
    /// layer for damaged.
    #[track_caller]
    pub fn check_held(&self, run: &Run, may_lack: bool) {
        let node = self.node();
        assert!(node.has_image(OLD), "{run:?}");
        if run.code == 0 && self.job != Job::Gc {
            assert!(node.has_image(NEW), "{run:?}");
        }
        // The images first: a pull that was under way goes on meanwhile.
        let images = node.ask(&["image", "list"]);
        let held = node.ask(&["layer", "list"]);
        let held: Vec<&str> =
            held.as_array().expect("a list").iter().filter_map(|row| row["diff_id"].as_str()).collect();
        for image in images.as_array().expect("a list") {
            for layer in image["layers"].as_array().expect("layers") {
                let is_held = held.contains(&layer.as_str().expect("a text"));
                assert!(is_held || may_lack, "{layer} of {image} is not held after {run:?}");
            }
        }
    }

    /// Brings back what the node took for damaged.
    #[track_caller]
    pub fn mend(&self, may_lack: bool) {
        if may_lack {
            match self.job {
                Job::Import | Job::Gc => drop(self.node().import(self.fleet.folder.path(), &image(0), OLD)),
                Job::Pull => drop(self.node().pull(OLD)),
            }
        }
    }

    /// The job is done.
    #[track_caller]
    pub fn check_done(&self) {
        let node = self.node();
        let layers = node.ask(&["layer", "list"]).as_array().expect("a list").len();
        match self.job {
            Job::Import | Job::Pull => assert!(node.has_image(NEW) && layers == 4, "{layers} layers"),
            Job::Gc => assert!(!node.has_image(NEW) && layers == 2, "{layers} layers"),
        }
        if self.job == Job::Pull {
            until("the pull to be over", SOON, || node.status()["pulls"].as_array()?.is_empty().then_some(()));
        }
    }
}

/// Copies a folder with its modes.
fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").args(["-a", "--"]).arg(from).arg(to).status().expect("cp");
    assert!(copied.success(), "cp -a {} {}", from.display(), to.display());
}
