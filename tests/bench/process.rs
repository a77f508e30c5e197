//! Processes that are measured to their end: wall time and peak memory.

use std::ffi::OsStr;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};

/// What a process took.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    pub seconds: f64,
    /// Of the largest of the process and its children. Not below what this program has itself: the kernel starts a
    /// child's account with its parent's.
    pub peak_mib: f64,
}

/// Runs a command to its end.
///
/// # Errors
/// If it cannot be started or fails; its stderr says why.
pub fn measure(command: &mut Command) -> Result<Cost> {
    let text = command_text_of(command);
    let start = Instant::now();
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().with_context(|| format!("{text}: start"))?;
    let pid = i32::try_from(child.id())?;
    let mut status = 0;
    // SAFETY: an all-zero rusage is a valid value of plain integers, and both pointers live through the call. The child
    // is ours and is waited for nowhere else: `Child` does not wait when dropped.
    let (waited, usage) = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        (libc::wait4(pid, &raw mut status, 0, &raw mut usage), usage)
    };
    let seconds = start.elapsed().as_secs_f64();
    ensure!(waited == pid, "{text}: waiting for it failed");
    ensure!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0, "{text}: it failed");
    Ok(Cost { seconds, peak_mib: usage.ru_maxrss as f64 / 1024.0 })
}

/// Runs a command to its end and returns what it printed.
pub fn output(command: &mut Command) -> Result<String> {
    let text = command_text_of(command);
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("{text}: start"))?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{text}: {}", errors.trim());
    Ok(String::from_utf8(output.stdout)?)
}

/// Whether a tool is on PATH.
pub fn is_there(tool: &str) -> bool {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&paths).any(|folder| folder.join(tool).is_file())
}

fn command_text_of(command: &Command) -> String {
    let words: Vec<_> = std::iter::once(command.get_program()).chain(command.get_args()).collect();
    words.join(OsStr::new(" ")).to_string_lossy().into_owned()
}
