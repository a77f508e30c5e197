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

/// The processor time that a process has taken, of its ended threads too.
pub fn processor_seconds(pid: u32) -> Option<f64> {
    let stat = read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in brackets, may have spaces. Fields 14 and 15 are in ticks.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let ticks: f64 = fields.next()?.parse::<f64>().ok()? + fields.next()?.parse::<f64>().ok()?;
    // USER_HZ of Linux, on the architectures that Lighter is built for.
    Some(ticks / 100.0)
}
