//! A process measured to its end: wall time and peak memory.
//!
//! The peak is read from /proc every millisecond while the process runs. The alternative, ru_maxrss of wait4, would
//! count this program's memory for a child that takes less, and needs unsafe code. So growth in the last millisecond is
//! missed, and a time is up to a millisecond too long.

use std::fmt;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::exit::{Failure, Kind};
use crate::interrupt::{Interrupt, cancelled};

const LOOK_EVERY: Duration = Duration::from_millis(1);
const SIGINT: i32 = 2;
/// Most characters of a tool's error message: as many as fit a table.
const MESSAGE_CHARS_MAX: usize = 200;

/// The cost of a process.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cost {
    pub seconds: f64,
    /// Most resident memory. `None` if the process ended before the first reading.
    pub peak_bytes: Option<u64>,
}

impl Cost {
    /// The cost of two processes, one after the other.
    pub fn and(self, next: Self) -> Self {
        Self { seconds: self.seconds + next.seconds, peak_bytes: self.peak_bytes.max(next.peak_bytes) }
    }
}

/// The reason why a process has no cost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Its own error message.
    Failed(String),
    /// It ran until the deadline and was ended then.
    TooSlow,
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(why) => f.write_str(why),
            Self::TooSlow => f.write_str("it took too long"),
        }
    }
}

/// Runs a command to its end: its cost, or its error message. Its stdout is discarded, its stderr goes to the file
/// `errors`.
///
/// # Errors
/// `Cancelled` after a signal, when the process has been ended; `Machine` if `errors` cannot be written.
pub fn measure(command: &mut Command, errors: &Path, interrupt: &Interrupt) -> Result<Result<Cost, Stop>, Failure> {
    measure_until(command.stdout(Stdio::null()), errors, None, interrupt)
}

/// As `measure`, but with the stdout that the command has, and ended at a deadline.
pub fn measure_until(
    command: &mut Command,
    errors: &Path,
    deadline: Option<Instant>,
    interrupt: &Interrupt,
) -> Result<Result<Cost, Stop>, Failure> {
    interrupt.check()?;
    let stderr = File::create(errors).map_err(|error| Failure::file("write", errors, &error))?;
    let started = Instant::now();
    let mut child = match command.stdin(Stdio::null()).stderr(stderr).spawn() {
        Ok(child) => child,
        Err(error) => return Ok(Err(Stop::Failed(format!("cannot be started: {error}")))),
    };
    let watched = watch(&mut child, deadline, interrupt);
    let seconds = started.elapsed().as_secs_f64();
    if !matches!(watched, Ok(Some(_))) {
        // Ends the process whatever went wrong. It may have ended by itself.
        let _ = child.kill();
        let _ = child.wait();
    }
    let Some((status, peak_bytes)) = watched? else { return Ok(Err(Stop::TooSlow)) };
    // A terminal's Ctrl-C reaches the child first.
    if status.signal() == Some(SIGINT) {
        return Err(cancelled());
    }
    Ok(if status.success() { Ok(Cost { seconds, peak_bytes }) } else { Err(Stop::Failed(message(errors, status))) })
}

/// Waits for the process. `None` at the deadline: it runs on.
fn watch(
    child: &mut Child,
    deadline: Option<Instant>,
    interrupt: &Interrupt,
) -> Result<Option<(ExitStatus, Option<u64>)>, Failure> {
    // Held open, so that a later process with the same id is not read.
    let memory = File::open(format!("/proc/{}/status", child.id())).ok();
    let mut peak_bytes = None;
    loop {
        peak_bytes = peak_bytes.max(memory.as_ref().and_then(high_water));
        let ended = child.try_wait();
        if let Some(status) = ended.map_err(|error| Failure::from_error(Kind::Machine, &error))? {
            return Ok(Some((status, peak_bytes)));
        }
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            return Ok(None);
        }
        interrupt.check()?;
        sleep(LOOK_EVERY);
    }
}

/// `VmHWM` of an open /proc/PID/status, in bytes. A process that has ended has none.
fn high_water(status: &File) -> Option<u64> {
    let mut text = [0; 4096];
    let count = status.read_at(&mut text, 0).ok()?;
    let text = String::from_utf8_lossy(&text[..count]);
    let kib = text.lines().find_map(|line| line.strip_prefix("VmHWM:"))?.trim().strip_suffix(" kB")?;
    kib.parse::<u64>().ok()?.checked_mul(1024)
}

/// The last line of the error output, or else the exit status.
fn message(errors: &Path, status: ExitStatus) -> String {
    let said = std::fs::read(errors).unwrap_or_default();
    let said = String::from_utf8_lossy(&said);
    let last = said.lines().map(str::trim).rfind(|line| !line.is_empty() && !line.starts_with("hint: "));
    last.map_or_else(|| status.to_string(), |line| line.chars().take(MESSAGE_CHARS_MAX).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Result<Cost, Stop> {
        let folder = tempfile::tempdir().unwrap();
        let interrupt = Interrupt::watch().unwrap();
        measure(Command::new("sh").args(["-c", script]), &folder.path().join("errors"), &interrupt).unwrap()
    }

    fn failed(why: &str) -> Result<Cost, Stop> {
        Err(Stop::Failed(why.to_owned()))
    }

    #[test]
    fn time_and_memory_are_those_of_the_process() {
        let idle = shell("sleep 0.05").unwrap();
        assert!(idle.seconds >= 0.05 && idle.peak_bytes.is_some_and(|bytes| bytes < 64 << 20), "{idle:?}");
        let large = shell("exec dd if=/dev/zero of=/dev/null bs=128M count=2").unwrap();
        assert!(large.peak_bytes.is_some_and(|bytes| bytes > 128 << 20), "{large:?}");
    }

    #[test]
    fn the_message_of_a_failing_tool_is_kept() {
        assert_eq!(shell("echo first >&2; echo it is full >&2; echo >&2; exit 3"), failed("it is full"));
        assert_eq!(shell("exit 3"), failed("exit status: 3"));
        let cost = measure(
            &mut Command::new("/nowhere/tool"),
            &tempfile::tempdir().unwrap().path().join("errors"),
            &Interrupt::watch().unwrap(),
        );
        let Err(Stop::Failed(why)) = cost.unwrap() else { panic!("it was started") };
        assert!(why.starts_with("cannot be started: "), "{why}");
    }

    #[test]
    fn a_process_is_ended_at_its_deadline() {
        let folder = tempfile::tempdir().unwrap();
        let (errors, interrupt) = (folder.path().join("errors"), Interrupt::watch().unwrap());
        let mut endless = Command::new("sleep");
        let ended = measure_until(endless.arg("infinity"), &errors, Some(Instant::now()), &interrupt);
        assert_eq!(ended.unwrap(), Err(Stop::TooSlow));
    }

    #[test]
    fn costs_of_processes_in_a_row_are_seconds_together_and_the_higher_peak() {
        let (one, other) = (Cost { seconds: 1.0, peak_bytes: Some(7) }, Cost { seconds: 0.5, peak_bytes: None });
        assert_eq!(one.and(other), Cost { seconds: 1.5, peak_bytes: Some(7) });
    }
}
