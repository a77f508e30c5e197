//! Real nodes under measurement, and what they say of themselves.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use lighter_api::{Peer, PullEvent, Status};
use serde::de::DeserializeOwned;

use crate::process;

/// A node that has an identity and may run.
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

/// A running node; dropping it ends it.
pub struct Node {
    lighter: PathBuf,
    dir: PathBuf,
    child: Child,
}

/// A pull, as its events told it.
pub struct Pulled {
    pub patch_bytes: u64,
    pub tar_bytes: u64,
    pub seconds: f64,
    /// Retries, if any.
    pub trouble: Vec<String>,
}

/// How long a node may take for what takes seconds.
const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(100);

impl Node {
    /// Starts a node with these settings, in a network namespace or in ours, and waits until it answers.
    pub fn start(lighter: &Path, identity: &Identity, namespace: Option<&str>, settings: &[String]) -> Result<Self> {
        let mut command = match namespace {
            // It replaces itself by the node: the process id is the node's.
            Some(namespace) => {
                let mut command = Command::new("ip");
                command.args(["netns", "exec", namespace]).arg(lighter);
                command
            }
            None => Command::new(lighter),
        };
        command.args(["node", "run", "--config"]).arg(identity.dir.join("node.toml"));
        // It is the bench's, and no key of a node.
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

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.join("log")).unwrap_or_default()
    }

    /// `lighter`, talking to this node.
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

    /// Pulls an image, timed as the user sees it.
    pub fn pull(&self, image: &str) -> Result<Pulled> {
        let start = Instant::now();
        let printed = process::output(self.client().args(["--output", "jsonl", "image", "pull", image]))
            .with_context(|| self.log())?;
        let mut pulled =
            Pulled { patch_bytes: 0, tar_bytes: 0, seconds: start.elapsed().as_secs_f64(), trouble: Vec::new() };
        for line in printed.lines() {
            match serde_json::from_str(line)? {
                PullEvent::Layer { patch_bytes, tar_bytes, .. } => {
                    pulled.patch_bytes += patch_bytes.0;
                    pulled.tar_bytes += tar_bytes.0;
                }
                PullEvent::Retrying { why, .. } => pulled.trouble.push(why),
                _ => {}
            }
        }
        Ok(pulled)
    }

    /// Waits until this many peers are connected, each known to hold this many layers.
    pub fn wait_for_peers(&self, peers: usize, layers: usize) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let known = self.peers()?;
            if known.iter().filter(|peer| peer.connected && peer.layers >= layers).count() >= peers {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!("{peers} peers with {layers} layers were expected, {known:?} came:\n{}", self.log());
            }
            std::thread::sleep(POLL);
        }
    }

    /// What making patches took, as the log says.
    pub fn encode_seconds(&self) -> f64 {
        let milliseconds = |line: &str| -> Option<f64> {
            let fields = serde_json::from_str::<serde_json::Value>(line).ok()?["fields"].take();
            if fields["message"] != "made a patch" {
                return None;
            }
            // 128-bit integers are logged as text.
            let took = &fields["took_ms"];
            took.as_f64().or_else(|| took.as_str()?.parse().ok())
        };
        self.log().lines().filter_map(milliseconds).sum::<f64>() / 1000.0
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let Ok(pid) = i32::try_from(self.child.id()) else { return };
        // SAFETY: a signal to our own child, which has not been waited for, so that its id is still its own.
        unsafe { libc::kill(pid, libc::SIGTERM) };
        let deadline = Instant::now() + Duration::from_secs(10);
        while Instant::now() < deadline {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(POLL);
        }
        // It may have ended meanwhile, which is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
