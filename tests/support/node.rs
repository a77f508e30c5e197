//! Real nodes as child processes on loopback.
//!
//! No test chooses a port. A node asks the machine for one (port 0) when it first starts, the test reads the address
//! back from the node's status, and gives it to the nodes that start later.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use serde_json::Value;

use super::{Run, command, finish, folder, run, until};

/// How long a node may take to be ready or to end on a busy machine.
const START_LIMIT: Duration = Duration::from_secs(30);

/// This process's own loopback address: all of 127.0.0.0/8 is this machine.
pub fn loopback() -> String {
    let pid = std::process::id();
    format!("127.{}.{}.{}", 64 + ((pid >> 16) & 63), (pid >> 8) & 255, pid & 255)
}

/// Where a node listens, ending in /p2p/<PeerId>. Known from its first start on: the machine chooses the port when the
/// node binds it, and later starts ask for the same one.
#[derive(Clone, Default)]
pub struct Address(Arc<OnceLock<String>>);

impl Address {
    /// An address that stands before a node, such as a relay's.
    pub fn of(address: String) -> Self {
        Self(Arc::new(address.into()))
    }
}

/// A node's folder, and its process while it runs. Dropping it kills the process.
pub struct NodeProcess {
    pub data_dir: PathBuf,
    pub peer_id: String,
    /// Also for others' [`Self::bootstrap`].
    pub address: Address,
    /// The nodes that it dials: those that have started when it starts.
    pub bootstrap: Vec<Address>,
    /// `--set` of every start. The first are those of [`Self::create`]; the last of a key wins.
    pub settings: Vec<String>,
    child: Option<Child>,
}

impl NodeProcess {
    /// `lighter node init` in `data_dir`. Listens on one QUIC port; no members, no bootstrap, no mDNS.
    pub fn create(data_dir: &Path, role: &str) -> Self {
        let dir = data_dir.to_str().expect("a path of UTF-8");
        let made = run(&["node", "init", "--quiet", "--dir", dir, "--role", role]).ok();
        let peer_id = made.stdout.trim().to_owned();
        let settings = [
            format!("network.listen=[\"/ip4/{}/udp/0/quic-v1\"]", loopback()),
            "network.mdns=false".to_owned(),
            "network.upload_max=unlimited".to_owned(),
            "log.filter=info,lighter_node=debug".to_owned(),
        ];
        let (address, bootstrap) = (Address::default(), Vec::new());
        Self { data_dir: data_dir.to_owned(), peer_id, address, bootstrap, settings: settings.into(), child: None }
    }

    /// Adds a setting for starts to come.
    pub fn set(&mut self, setting: impl Into<String>) {
        self.settings.push(setting.into());
    }

    pub fn config(&self) -> PathBuf {
        self.data_dir.join("node.toml")
    }

    pub fn socket(&self) -> PathBuf {
        self.data_dir.join("admin.sock")
    }

    /// `lighter node run` with this node's settings, not started yet.
    pub fn run_command(&self) -> Command {
        let mut command = command();
        command.args(["node", "run", "--config"]).arg(self.config());
        let bootstrap: Vec<&String> = self.bootstrap.iter().filter_map(|address| address.0.get()).collect();
        command.arg("--set").arg(format!("network.bootstrap={bootstrap:?}"));
        for setting in &self.settings {
            command.args(["--set", setting]);
        }
        command
    }

    /// Where it listens.
    #[track_caller]
    pub fn address(&self) -> &str {
        self.address.0.get().expect("a node that has started")
    }

    /// Starts the process and waits until it is ready.
    #[track_caller]
    pub fn start(&mut self) {
        self.spawn(self.run_command());
        self.wait_ready();
    }

    /// Starts the process and waits until its admin API answers: a node whose bootstrap peers are all gone is alive,
    /// and not ready.
    #[track_caller]
    pub fn start_alone(&mut self) {
        self.spawn(self.run_command());
        self.wait_for("/healthz");
    }

    /// Starts the process with a command of the caller's (as of [`Self::run_command`]); stderr is added to the log.
    #[track_caller]
    pub fn spawn(&mut self, mut command: Command) {
        assert!(self.child.is_none(), "it runs already");
        let log = File::options().create(true).append(true).open(self.log_path()).expect("a log file");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        self.child = Some(command.spawn().expect("a node process"));
    }

    /// Waits until `/readyz` says yes; panics with the log if the process ends first.
    #[track_caller]
    pub fn wait_ready(&mut self) {
        self.wait_for("/readyz");
    }

    #[track_caller]
    fn wait_for(&mut self, path: &str) {
        until(path, START_LIMIT, || {
            if let Some(code) = self.ended() {
                panic!("the node ended with {code}:\n{}", self.log());
            }
            self.http(path).filter(|(status, _)| *status == 200)
        });
        if self.address.0.get().is_none() {
            let listen = until("the port that it listens on", START_LIMIT, || {
                let status: Value = serde_json::from_str(&self.http("/v1/status")?.1).ok()?;
                Some(status["listen"][0].as_str()?.to_owned())
            });
            self.set(format!("network.listen=[{listen:?}]"));
            self.address.0.set(format!("{listen}/p2p/{}", self.peer_id)).expect("a first start");
        }
    }

    /// The exit code, if the process has ended; -1 for a signal.
    pub fn ended(&mut self) -> Option<i32> {
        let status = self.child.as_mut()?.try_wait().expect("the child's status")?;
        self.child = None;
        Some(status.code().unwrap_or(-1))
    }

    pub fn is_running(&mut self) -> bool {
        self.ended().is_none() && self.child.is_some()
    }

    /// Waits for the process to end by itself: its exit code.
    #[track_caller]
    pub fn wait(&mut self) -> i32 {
        assert!(self.child.is_some(), "it does not run");
        until("a node to end", START_LIMIT, || self.ended())
    }

    /// SIGTERM, and waits: the exit code.
    #[track_caller]
    pub fn stop(&mut self) -> i32 {
        self.signal("TERM");
        self.wait()
    }

    /// SIGKILL, and waits.
    pub fn kill9(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("a child to kill");
            child.wait().expect("a child that ends");
        }
    }

    /// Any signal, such as "STOP", "CONT".
    #[track_caller]
    pub fn signal(&self, name: &str) {
        let pid = self.pid().expect("a running node");
        // std sends only SIGKILL, and every sh has kill.
        let sent = Command::new("sh").args(["-c", &format!("kill -{name} {pid}")]).status().expect("sh");
        assert!(sent.success(), "kill -{name} {pid}");
    }

    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Runs `lighter --socket <this node's> args...`.
    pub fn cli<A: AsRef<OsStr>>(&self, args: &[A]) -> Run {
        finish(self.cli_command().args(args))
    }

    /// The same, not started yet.
    pub fn cli_command(&self) -> Command {
        let mut command = command();
        command.arg("--socket").arg(self.socket());
        command
    }

    /// `GET path` on the admin socket: status and body; `None` if nobody answers.
    pub fn http(&self, path: &str) -> Option<(u16, String)> {
        let mut stream = UnixStream::connect(self.socket()).ok()?;
        stream.set_read_timeout(Some(START_LIMIT)).ok()?;
        write!(stream, "GET {path} HTTP/1.1\r\nhost: lighter\r\nconnection: close\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let status = answer.split(' ').nth(1)?.parse().ok()?;
        let (_, body) = answer.split_once("\r\n\r\n")?;
        Some((status, body.to_owned()))
    }

    /// Its stderr, over all starts.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    /// Beside the data folder, whose every file is the node's.
    fn log_path(&self) -> PathBuf {
        self.data_dir.with_extension("log")
    }
}

impl Drop for NodeProcess {
    fn drop(&mut self) {
        self.kill9();
        if std::thread::panicking() {
            eprintln!("--- log of {}:\n{}", self.data_dir.display(), self.log());
        }
    }
}

/// Some nodes that are members of one fleet. Node 0 is the hub: everybody's bootstrap and publisher.
pub struct Fleet {
    pub nodes: Vec<NodeProcess>,
    /// Also for the tests' own files.
    pub folder: tempfile::TempDir,
}

impl Fleet {
    /// Makes the nodes; none runs. Each also knows the addresses of those before it.
    pub fn create(count: usize) -> Self {
        let folder = folder();
        let name = |index: usize| if index == 0 { "hub".to_owned() } else { format!("edge{index}") };
        let role = |index: usize| if index == 0 { "hub" } else { "edge" };
        let mut nodes: Vec<NodeProcess> =
            (0..count).map(|index| NodeProcess::create(&folder.path().join(name(index)), role(index))).collect();
        let members: Vec<String> = nodes.iter().map(|node| node.peer_id.clone()).collect();
        let addresses: Vec<Address> = nodes.iter().map(|node| node.address.clone()).collect();
        for (index, node) in nodes.iter_mut().enumerate() {
            node.set(format!("fleet.members={members:?}"));
            node.set(format!("fleet.publishers={:?}", &members[..1]));
            node.bootstrap = addresses[..index].to_vec();
            node.set("timing.announce_interval_s=1");
        }
        Self { nodes, folder }
    }

    /// The same, over TCP instead of QUIC.
    pub fn create_tcp(count: usize) -> Self {
        let mut fleet = Self::create(count);
        for node in &mut fleet.nodes {
            node.set(format!("network.listen=[\"/ip4/{}/tcp/0\"]", loopback()));
        }
        fleet
    }

    /// One node that runs.
    pub fn single() -> Self {
        let mut fleet = Self::create(1);
        fleet.nodes[0].start();
        fleet
    }

    /// Starts all and waits until each is connected to each.
    #[track_caller]
    pub fn start(&mut self) {
        for node in &mut self.nodes {
            node.start();
        }
        let others = self.nodes.len() as u64 - 1;
        for node in &self.nodes {
            until("all nodes to be connected", START_LIMIT, || {
                (node.cli(&["-o", "json", "status"]).ok().json()["peers_connected"].as_u64()? >= others).then_some(())
            });
        }
    }
}
