//! Measures wall time and peak memory of a process.

use std::ffi::OsStr;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};

/// The time and the memory of a process.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    pub seconds: f64,
    /// The peak memory of the process or of its largest child. It is at least the memory of this program, because the
    /// kernel starts a child's peak with its parent's memory.
    pub peak_mib: f64,
}

/// Runs a command to its end.
///
/// # Errors
/// The command does not start, or it fails. Its stderr has the reason.
pub fn measure(command: &mut Command) -> Result<Cost> {
    let text = command_text_of(command);
    let start = Instant::now();
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().with_context(|| format!("{text}: start"))?;
    let pid = i32::try_from(child.id())?;
    let mut status = 0;
    // SAFETY: rusage has only integers, so all zeros are a valid value. Both pointers live through the call. Nothing
    // else waits for this child, because `Child` does not wait when it is dropped.
    let (waited, usage) = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        (libc::wait4(pid, &raw mut status, 0, &raw mut usage), usage)
    };
    let seconds = start.elapsed().as_secs_f64();
    ensure!(waited == pid, "{text}: waiting for it failed");
    ensure!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0, "{text}: it failed");
    Ok(Cost { seconds, peak_mib: usage.ru_maxrss as f64 / 1024.0 })
}

/// Runs a command to its end. Returns its output.
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
