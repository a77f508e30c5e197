//! Faults in a running node's system calls, by `strace -e inject`. A test that needs it fails where strace is missing:
//! `make setup` installs it.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::support::NodeProcess;

/// Watches a node until it is dropped, or until the node ends.
pub struct Strace(Child);

impl Strace {
    /// Injects faults, as in `fsync:error=EIO`, into calls of the node's threads from now on; into those on `paths` alone
    /// if there are any. What it sees of the calls goes to `log`.
    #[track_caller]
    pub fn attach(node: &NodeProcess, faults: &[&str], paths: &[&Path], log: &Path) -> Self {
        let calls: Vec<&str> = faults.iter().map(|fault| fault.split(':').next().expect("a call")).collect();
        Self::start(node, &calls, faults, paths, log)
    }

    /// Only writes down these calls.
    #[track_caller]
    pub fn watch(node: &NodeProcess, calls: &[&str], log: &Path) -> Self {
        Self::start(node, calls, &[], &[], log)
    }

    #[track_caller]
    fn start(node: &NodeProcess, calls: &[&str], faults: &[&str], paths: &[&Path], log: &Path) -> Self {
        let pid = node.pid().expect("a running node").to_string();
        let mut command = Command::new("strace");
        command.args(["-f", "-p", &pid, "-o"]).arg(log).args(["-e", &format!("trace={}", calls.join(","))]);
        for fault in faults {
            command.args(["-e", &format!("inject={fault}")]);
        }
        for path in paths {
            command.arg("-P").arg(path);
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("strace is installed: make setup");
        let mut lines = BufReader::new(child.stderr.take().expect("its stderr"));
        let mut line = String::new();
        while !line.contains("attached") {
            line.clear();
            let read = lines.read_line(&mut line).expect("what strace says");
            assert!(read > 0, "strace did not attach to {pid}");
        }
        // It may say more; a pipe that nobody reads would end it.
        std::thread::spawn(move || std::io::copy(&mut lines, &mut std::io::sink()));
        Self(child)
    }

    /// Waits for the end of strace, which follows the end of the node.
    pub fn wait(mut self) {
        self.0.wait().expect("strace to end");
    }
}

impl Drop for Strace {
    fn drop(&mut self) {
        if self.0.try_wait().expect("strace's status").is_none() {
            // SIGTERM lets the node go; SIGKILL would leave it as it is.
            let _ = Command::new("sh").args(["-c", &format!("kill -TERM {}", self.0.id())]).status();
            let _ = self.0.wait();
        }
    }
}
