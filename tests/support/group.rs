//! Control groups: processes with less of the machine. They need root.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use super::{SOON, until};

/// A control group. Ends with this value, after its processes.
pub struct ControlGroup(PathBuf);

impl ControlGroup {
    /// Processes with an eighth of a core.
    #[track_caller]
    pub fn of_an_eighth_of_a_core(name: &str) -> Self {
        let old = [("cpu.cfs_period_us", "100000".to_owned()), ("cpu.cfs_quota_us", "12500".to_owned())];
        Self::create(name, "cpu", ("cpu.max", "12500 100000".to_owned()), &old)
    }

    /// Processes that the kernel ends when they take more memory together.
    #[track_caller]
    pub fn of_memory(name: &str, mebibytes: u64) -> Self {
        let bytes = (mebibytes << 20).to_string();
        Self::create(name, "memory", ("memory.max", bytes.clone()), &[("memory.limit_in_bytes", bytes)])
    }

    /// A group of a controller, with its limit in version 2 of control groups and its limits in version 1.
    #[track_caller]
    fn create(name: &str, controller: &str, new: (&str, String), old: &[(&str, String)]) -> Self {
        let root = PathBuf::from("/sys/fs/cgroup");
        let name = format!("lighter-{name}-{}", std::process::id());
        let is_unified = root.join("cgroup.controllers").exists();
        let group = Self(root.join(if is_unified { "" } else { controller }).join(name));
        if is_unified {
            // It may be there already.
            let _ = fs::write(root.join("cgroup.subtree_control"), format!("+{controller}"));
        }
        fs::create_dir(&group.0).expect("a control group: this test needs root");
        let limits = if is_unified { &[new] } else { old };
        for (file, limit) in limits {
            fs::write(group.0.join(file), limit).expect("a limit");
        }
        group
    }

    /// The command, to be run in this group.
    pub fn command(&self, command: &Command) -> Command {
        let mut within = Command::new("sh");
        within.args(["-c", "echo $$ > \"$0\" && exec \"$@\""]).arg(self.0.join("cgroup.procs"));
        within.arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => within.env(name, value),
                None => within.env_remove(name),
            };
        }
        within
    }
}

impl Drop for ControlGroup {
    fn drop(&mut self) {
        // The kernel refuses while the last process is ending.
        until("the control group to be empty", SOON, || fs::remove_dir(&self.0).ok());
    }
}
