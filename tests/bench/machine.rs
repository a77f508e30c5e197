//! Facts about this machine and its processes, from /proc.

use std::fs::read_to_string;

/// A line about processor, memory and kernel.
pub fn describe() -> String {
    let text = |path| read_to_string(path).unwrap_or_default();
    let field = |file: &str, name: &str| {
        let line = file.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        line.split_once(':').map_or("unknown", |(_, value)| value.trim()).to_owned()
    };
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let memory_kib: u64 = field(&text("/proc/meminfo"), "MemTotal").trim_end_matches(" kB").parse().unwrap_or(0);
    let processor = field(&text("/proc/cpuinfo"), "model name");
    let kernel = text("/proc/sys/kernel/osrelease");
    format!("{processor}, {cores} cores, {} MiB, Linux {}", memory_kib / 1024, kernel.trim())
}

/// The load average of the last minute.
pub fn load() -> f64 {
    let text = read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().and_then(|load| load.parse().ok()).unwrap_or(f64::NAN)
}

/// A value of /proc/PID/status in MiB: `VmRSS` or `VmHWM`.
pub fn memory_mib(pid: u32, name: &str) -> Option<f64> {
    let status = read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    let kib: f64 = line.trim().trim_end_matches(" kB").parse().ok()?;
    Some(kib / 1024.0)
}
