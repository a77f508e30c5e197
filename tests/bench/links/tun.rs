//! A bad link for all IP packets between two network namespaces.
//!
//! Each namespace has a TUN device. A thread carries the packets between the two, through the model of
//! `tests/shared/link.rs`: so TCP of the kernel and QUIC of a node share one queue, one rate and one loss. The rate
//! counts IP packets. The kernel of many machines has no netem, which would do the same.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use lighter_tests::link::{Conditions, Link};
use lighter_tests::waiting::Waiting;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::namespaces::Namespace;
use crate::process;

/// The name of the device in both namespaces.
pub const DEVICE: &str = "link0";
/// The end of the link takes effect within this time.
const TICK: Duration = Duration::from_millis(10);
/// Packets taken from one side before the other has its turn.
const TURN: usize = 64;
/// The place of the protocol's number in an IPv4 header (RFC 791, 3.1), and the numbers of TCP and UDP.
const PROTOCOL_AT: usize = 9;
const TCP: u8 = 6;
const UDP: u8 = 17;

/// Bytes of packets that came from the first end to the second.
#[derive(Clone, Copy, Debug, Default)]
pub struct Carried {
    pub tcp: u64,
    pub udp: u64,
}

/// A running link. Dropping it ends its thread; the devices end with it.
pub struct TunLink {
    shared: Arc<Mutex<Shared>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    carried: Carried,
    must_end: bool,
}

impl TunLink {
    /// Connects two namespaces by devices with these addresses.
    pub fn start(ends: [(&Namespace, &str); 2], conditions: &Conditions, seed: u64) -> Result<Self> {
        let [first, second] = [(ends[0], 'a'), (ends[1], 'b')].map(|((namespace, ip), end)| device(namespace, ip, end));
        let shared = Arc::new(Mutex::new(Shared::default()));
        let mut carrier = Carrier {
            devices: [first?, second?],
            links: [Link::new(conditions.clone(), seed), Link::new(conditions.clone(), seed ^ 0xd0)],
            waiting: Waiting::default(),
            started: Instant::now(),
            shared: shared.clone(),
        };
        let thread = std::thread::Builder::new().name("tun".to_owned()).spawn(move || carrier.run())?;
        Ok(Self { shared, thread: Some(thread) })
    }

    pub fn carried(&self) -> Carried {
        lock(&self.shared).carried
    }
}

impl Drop for TunLink {
    fn drop(&mut self) {
        lock(&self.shared).must_end = true;
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been printed.
            let _ = thread.join();
        }
    }
}

/// A poisoned lock means a panic elsewhere, which has been printed.
fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A TUN device in a namespace. It ends when the file is closed.
fn device(namespace: &Namespace, ip: &str, end: char) -> Result<File> {
    // Unique on this machine until the device is in its namespace.
    let name = format!("lb{}{end}", std::process::id());
    let file = File::options().read(true).write(true).custom_flags(libc::O_NONBLOCK).open("/dev/net/tun");
    let file = file.context("cannot open /dev/net/tun")?;
    // SAFETY: ifreq has only integers and a union of them, so all zeros are a valid value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_TUN | libc::IFF_NO_PI) as libc::c_short;
    // SAFETY: the file is open, and TUNSETIFF reads and writes one ifreq, which lives through the call.
    let made = unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF as libc::Ioctl, &raw mut request) };
    if made < 0 {
        return Err(std::io::Error::last_os_error()).context("cannot create a TUN device");
    }
    let moved = ["link", "set", &name, "netns", &namespace.name];
    process::output(std::process::Command::new("ip").args(moved))?;
    namespace.ip(&["link", "set", &name, "name", DEVICE])?;
    namespace.ip(&["link", "set", DEVICE, "addrgenmode", "none"])?;
    namespace.address(DEVICE, ip)?;
    namespace.ip(&["link", "set", DEVICE, "up"])?;
    Ok(file)
}

/// The thread's own things. Index 0 is the first end, and the direction from it.
struct Carrier {
    devices: [File; 2],
    links: [Link; 2],
    /// With the end where a packet comes out.
    waiting: Waiting<usize>,
    started: Instant,
    shared: Arc<Mutex<Shared>>,
}

impl Carrier {
    fn run(&mut self) {
        while !lock(&self.shared).must_end {
            self.deliver();
            let timeout = self.waiting.next(self.started.elapsed(), TICK);
            let mut polled = self.devices.each_ref().map(|device| PollFd::new(device, PollFlags::IN));
            let timeout = Timespec { tv_sec: 0, tv_nsec: timeout.subsec_nanos().into() };
            // An error is a signal: the next turn comes at once.
            let _ = poll(&mut polled, Some(&timeout));
            self.take();
        }
    }

    fn deliver(&mut self) {
        while let Some((end, packet)) = self.waiting.take(self.started.elapsed()) {
            if end == 1 {
                let mut shared = lock(&self.shared);
                match packet.get(PROTOCOL_AT) {
                    Some(&TCP) => shared.carried.tcp += packet.len() as u64,
                    Some(&UDP) => shared.carried.udp += packet.len() as u64,
                    _ => {}
                }
            }
            // A write that fails is a lost packet, as on a real link.
            let _ = self.devices[end].write(&packet);
        }
    }

    fn take(&mut self) {
        let mut buffer = vec![0; 65_536];
        for (index, device) in self.devices.iter_mut().enumerate() {
            for _ in 0..TURN {
                let Ok(length) = device.read(&mut buffer) else { break };
                let now = self.started.elapsed();
                for delivery in self.links[index].send(now, buffer[..length].to_vec()) {
                    self.waiting.add(delivery.at, 1 - index, delivery.bytes);
                }
            }
        }
    }
}
