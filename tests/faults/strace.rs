//! Faults in the system calls of a running node, by `strace -e inject`. Without strace these tests fail; `make setup`
//! installs it.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::support::NodeProcess;

/// Traces a node until this is dropped or the node ends.
pub struct Strace(Child);

impl Strace {
    /// Injects faults, such as `fsync:error=EIO`, into the calls of the node's threads. If `paths` has any, only calls
    /// on these paths fail. Writes the traced calls to `log`.
    #[track_caller]
    pub fn attach(node: &NodeProcess, faults: &[&str], paths: &[&Path], log: &Path) -> Self {
        let calls: Vec<&str> = faults.iter().map(|fault| fault.split(':').next().expect("a call")).collect();
        Self::start(node, &calls, faults, paths, log)
    }

    /// Writes these calls to `log` without faults, with the paths of their files.
    #[track_caller]
    pub fn watch(node: &NodeProcess, calls: &[&str], log: &Path) -> Self {
        Self::start(node, calls, &[], &[], log)
    }

    #[track_caller]
    fn start(node: &NodeProcess, calls: &[&str], faults: &[&str], paths: &[&Path], log: &Path) -> Self {
        let pid = node.pid().expect("a running node").to_string();
        let mut command = Command::new("strace");
        command.args(["-f", "-y", "-p", &pid, "-o"]).arg(log).args(["-e", &format!("trace={}", calls.join(","))]);
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
            let read = lines.read_line(&mut line).expect("strace's output");
            assert!(read > 0, "strace did not attach to {pid}");
        }
        // strace may print more. A pipe without a reader would end it.
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
            // On SIGTERM, strace detaches from the node. After SIGKILL, the node would stay stopped.
            let _ = Command::new("sh").args(["-c", &format!("kill -TERM {}", self.0.id())]).status();
            let _ = self.0.wait();
        }
    }
}
