//! Real nodes to measure, and their reports about themselves.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use lighter_api::{Peer, PullEvent, Status};
use serde::de::DeserializeOwned;

use crate::process;

/// The folder and the identity of a node.
pub struct Identity {
    pub dir: PathBuf,
    pub peer_id: String,
}

impl Identity {
    pub fn create(lighter: &Path, dir: PathBuf) -> Result<Self> {
        let printed = process::output(Command::new(lighter).args(["-q", "node", "init", "--dir"]).arg(&dir))?;
        Ok(Self { peer_id: printed.trim().to_owned(), dir })
    }
}

/// A running node. Dropping it ends the process.
pub struct Node {
    lighter: PathBuf,
    dir: PathBuf,
    child: Child,
}

/// The figures of a pull, from its events.
pub struct Pulled {
    pub patch_bytes: u64,
    pub tar_bytes: u64,
    /// All traffic of the node during the pull.
    pub received_bytes: u64,
    pub seconds: f64,
    /// The reasons of retries.
    pub trouble: Vec<String>,
}

/// The time limit for an operation of a node that should take seconds.
const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(100);

impl Node {
    /// Starts a node with these settings, in the given network namespace if there is one. Waits until the node answers.
    pub fn start(lighter: &Path, identity: &Identity, namespace: Option<&str>, settings: &[String]) -> Result<Self> {
        let mut command = match namespace {
            // `ip` replaces itself by the node, so the process id is the node's.
            Some(namespace) => {
                let mut command = Command::new("ip");
                command.args(["netns", "exec", namespace]).arg(lighter);
                command
            }
            None => Command::new(lighter),
        };
        command.args(["node", "run", "--config"]).arg(identity.dir.join("node.toml"));
        // This variable is an option of the benchmark, not a key of a node.
        command.env_remove("LIGHTER_CORPUS");
        for setting in settings {
            command.args(["--set", setting]);
        }
        let log = File::options().create(true).append(true).open(identity.dir.join("log"))?;
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().context("cannot start")?;
        let mut node = Self { lighter: lighter.to_owned(), dir: identity.dir.clone(), child };
        let deadline = Instant::now() + PATIENCE;
        while node.status().is_err() {
            if node.child.try_wait()?.is_some() || Instant::now() > deadline {
                bail!("a node did not start: {}", node.log());
            }
            std::thread::sleep(POLL);
        }
        Ok(node)
    }

    /// Its data folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.join("log")).unwrap_or_default()
    }

    /// The command `lighter`, as a client of this node.
    pub fn client(&self) -> Command {
        let mut command = Command::new(&self.lighter);
        command.arg("--quiet").arg("--socket").arg(self.dir.join("admin.sock"));
        command
    }

    pub fn status(&self) -> Result<Status> {
        self.get(&["status"])
    }

    pub fn peers(&self) -> Result<Vec<Peer>> {
        self.get(&["peer", "list"])
    }

    fn get<T: DeserializeOwned>(&self, arguments: &[&str]) -> Result<T> {
        let printed = process::output(self.client().args(["--output", "json"]).args(arguments))?;
        Ok(serde_json::from_str(&printed)?)
    }

    pub fn import(&self, layout: &Path, name: &str) -> Result<()> {
        process::output(self.client().args(["image", "import"]).arg(layout).args(["--name", name])).map(drop)
    }

    /// Pulls an image. Measures the time from the user's point of view.
    pub fn pull(&self, image: &str) -> Result<Pulled> {
        let start = Instant::now();
        let printed = process::output(self.client().args(["--output", "jsonl", "image", "pull", image]))
            .with_context(|| self.log())?;
        let seconds = start.elapsed().as_secs_f64();
        let mut pulled = Pulled { patch_bytes: 0, tar_bytes: 0, received_bytes: 0, seconds, trouble: Vec::new() };
        for line in printed.lines() {
            match serde_json::from_str(line)? {
                PullEvent::Layer { patch_bytes, tar_bytes, .. } => {
                    pulled.patch_bytes += patch_bytes.0;
                    pulled.tar_bytes += tar_bytes.0;
                }
                PullEvent::Done { received_bytes, .. } => pulled.received_bytes = received_bytes.0,
                PullEvent::Retrying { why, .. } => pulled.trouble.push(why),
                _ => {}
            }
        }
        Ok(pulled)
    }

    /// Waits until this many peers are connected and have announced this many layers each.
    pub fn wait_for_peers(&self, peers: usize, layers: usize) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let known = self.peers()?;
            if known.iter().filter(|peer| peer.connected && peer.layers >= layers).count() >= peers {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!("{peers} peers with {layers} layers were expected, found {known:?}:\n{}", self.log());
            }
            std::thread::sleep(POLL);
        }
    }

    /// The time that the node spent on making patches, from its log.
    pub fn encode_seconds(&self) -> f64 {
        let milliseconds = |line: &str| -> Option<f64> {
            let fields = serde_json::from_str::<serde_json::Value>(line).ok()?["fields"].take();
            if fields["message"] != "made a patch" {
                return None;
            }
            // The log has 128-bit integers as text.
            let took = &fields["took_ms"];
            took.as_f64().or_else(|| took.as_str()?.parse().ok())
        };
        self.log().lines().filter_map(milliseconds).sum::<f64>() / 1000.0
    }

    /// Ends the process, kindly at first.
    pub fn stop(&mut self) {
        let Ok(pid) = i32::try_from(self.child.id()) else { return };
        if !matches!(self.child.try_wait(), Ok(None)) {
            return;
        }
        // SAFETY: the process is a child that nobody has waited for, so the id is still its own.
        unsafe { libc::kill(pid, libc::SIGTERM) };
        let deadline = Instant::now() + Duration::from_secs(10);
        while Instant::now() < deadline {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(POLL);
        }
        // An error means that the process has ended in the meantime.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.stop();
    }
}
