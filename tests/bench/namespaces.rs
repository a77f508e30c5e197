//! Networks to measure on: namespaces that virtual cables connect. The counters of the interfaces see every byte.
//!
//! Segmentation offload is off, because a counter would otherwise see one header for many packets. IPv6 is off, because
//! its neighbour discovery adds traffic. The counters count Ethernet frames without preamble and checksum.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::process;

/// A network namespace. Dropping it removes the namespace with its interfaces.
pub struct Namespace {
    pub name: String,
}

/// The prefix of the names of all namespaces of this program. The process id follows.
const PREFIX: &str = "lighter-bench-";
/// The size of two addresses and a type (IEEE 802.3).
const ETHERNET_HEADER: u64 = 14;

/// The bytes and packets of an interface.
#[derive(Clone, Copy, Debug)]
pub struct Counters {
    pub received: u64,
    pub sent: u64,
    pub packets_received: u64,
    pub packets_sent: u64,
}

/// Removes the namespaces of killed runs, whose names have ids of processes that no longer exist.
fn remove_abandoned() -> Result<()> {
    let listed = process::output(Command::new("ip").args(["netns", "list"]))?;
    for name in listed.lines().filter_map(|line| line.split(' ').next()) {
        let owner = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next()?.parse::<u32>().ok());
        if owner.is_some_and(|pid| !std::path::Path::new(&format!("/proc/{pid}")).exists()) {
            process::output(Command::new("ip").args(["netns", "del", name]))?;
        }
    }
    Ok(())
}

impl Counters {
    pub fn since(self, before: Self) -> Self {
        Self {
            received: self.received - before.received,
            sent: self.sent - before.sent,
            packets_received: self.packets_received - before.packets_received,
            packets_sent: self.packets_sent - before.packets_sent,
        }
    }

    /// The bytes of both directions.
    pub fn total(self) -> u64 {
        self.received + self.sent
    }

    pub fn packets(self) -> u64 {
        self.packets_received + self.packets_sent
    }

    /// Received and sent bytes without the Ethernet headers, which a cellular or satellite link does not have.
    pub fn ip(self) -> (u64, u64) {
        let (received, sent) = (ETHERNET_HEADER * self.packets_received, ETHERNET_HEADER * self.packets_sent);
        (self.received - received, self.sent - sent)
    }
}

/// The reason why this machine cannot create namespaces, if there is one.
pub fn obstacle() -> Option<String> {
    if let Some(tool) = ["ip", "tc"].into_iter().find(|tool| !process::is_there(tool)) {
        return Some(format!("{tool} (of iproute2) is missing"));
    }
    if let Err(error) = remove_abandoned() {
        eprintln!("bench: namespaces of an earlier run may be left: {error:#}");
    }
    let tried = Namespace::create("try").and_then(|namespace| {
        namespace.ip(&["link", "add", "try0", "type", "veth", "peer", "name", "try1"])?;
        let shaped = ["qdisc", "add", "dev", "try0", "root", "tbf", "rate", "1mbit", "burst", "4kb", "latency", "1s"];
        process::output(Command::new("tc").args(["-n", &namespace.name]).args(shaped))
    });
    tried.err().map(|error| format!("network namespaces need root and the kernel's veth and tbf ({error:#})"))
}

impl Namespace {
    /// Creates a namespace. `role` is unique among the namespaces of this process.
    pub fn create(role: &str) -> Result<Self> {
        let name = format!("{PREFIX}{}-{role}", std::process::id());
        process::output(Command::new("ip").args(["netns", "add", &name]))?;
        let namespace = Self { name };
        namespace.ip(&["link", "set", "lo", "up"])?;
        Ok(namespace)
    }

    pub fn ip(&self, arguments: &[&str]) -> Result<String> {
        process::output(Command::new("ip").args(["-n", &self.name]).args(arguments))
    }

    /// A command inside, not started yet. `ip` replaces itself by it.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name, program]);
        command
    }

    pub fn run(&self, program: &str, arguments: &[&str]) -> Result<String> {
        process::output(self.command(program).args(arguments))
    }

    /// Connects `device` of this namespace with `other_device` of the other namespace.
    pub fn cable(&self, device: &str, other: &Self, other_device: &str) -> Result<()> {
        let peer = ["peer", "name", other_device, "netns", &other.name];
        self.ip(&[&["link", "add", device, "type", "veth"][..], &peer].concat())?;
        self.prepare(device)?;
        other.prepare(other_device)
    }

    fn prepare(&self, device: &str) -> Result<()> {
        self.ip(&["link", "set", device, "addrgenmode", "none", "gso_max_segs", "1"])?;
        self.ip(&["link", "set", device, "up"]).map(drop)
    }

    /// Switches segmentation offload on, as it is by default. The counters of the device are no longer right.
    pub fn offload(&self, device: &str) -> Result<()> {
        self.ip(&["link", "set", device, "gso_max_segs", "65535"]).map(drop)
    }

    /// Creates a switch of these devices.
    pub fn switch(&self, name: &str, devices: &[&str]) -> Result<()> {
        self.ip(&["link", "add", name, "type", "bridge", "mcast_snooping", "0"])?;
        self.ip(&["link", "set", name, "addrgenmode", "none"])?;
        self.ip(&["link", "set", name, "up"])?;
        devices.iter().try_for_each(|device| self.ip(&["link", "set", device, "master", name]).map(drop))
    }

    pub fn address(&self, device: &str, address: &str) -> Result<()> {
        self.ip(&["address", "add", &format!("{address}/24"), "dev", device]).map(drop)
    }

    /// Limits the rate at which `device` sends, with a burst and a queue of these sizes.
    pub fn shape(&self, device: &str, rate: &str, burst: &str, queue: &str) -> Result<()> {
        let shaped = ["qdisc", "add", "dev", device, "root", "tbf", "rate", rate, "burst", burst, "latency", queue];
        process::output(Command::new("tc").args(["-n", &self.name]).args(shaped)).map(drop)
    }

    /// The number of UDP datagrams that the kernel dropped because a socket was full.
    pub fn lost_datagrams(&self) -> Result<u64> {
        let shown = self.run("cat", &["/proc/net/snmp"])?;
        let mut lines = shown.lines().filter_map(|line| line.strip_prefix("Udp: ")).map(|line| line.split(' '));
        let (names, values) = (lines.next().unwrap_or("".split(' ')), lines.next().unwrap_or("".split(' ')));
        let lost = names.zip(values).find(|(name, _)| *name == "RcvbufErrors").context("no count of lost datagrams")?;
        Ok(lost.1.parse()?)
    }

    pub fn counters(&self, device: &str) -> Result<Counters> {
        let shown: Value = serde_json::from_str(&self.ip(&["-s", "-j", "link", "show", "dev", device])?)?;
        let stats = &shown[0]["stats64"];
        let count = |direction: &str, what: &str| {
            stats[direction][what].as_u64().with_context(|| format!("{device} has no counter of {direction} {what}"))
        };
        let counters = Counters {
            received: count("rx", "bytes")?,
            sent: count("tx", "bytes")?,
            packets_received: count("rx", "packets")?,
            packets_sent: count("tx", "packets")?,
        };
        let largest_frame = 1514;
        ensure!(
            counters.total() <= counters.packets() * largest_frame,
            "offload is on at {device}: counters are wrong"
        );
        Ok(counters)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        if let Err(error) = process::output(Command::new("ip").args(["netns", "del", &self.name])) {
            eprintln!("bench: {} is left behind: {error:#}", self.name);
        }
    }
}
