//! A bad link between real nodes, for UDP (QUIC).
//!
//! The relay stands before a node, its target. A node that dials the relay's address with the target's PeerId is at the
//! far end of the link: *up* is towards the target, *down* is back to the dialling node. Like a NAT, the relay has a
//! socket of its own towards the target for each address that sends to it. It can rebind these sockets in the middle,
//! and forget the idle ones. The fate of each datagram is decided in [`link`](crate::link); this file has sockets, the
//! clock and a thread. The thread ends when the relay is dropped.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::link::{Conditions, Counts, Link};
use crate::waiting::Waiting;

/// Addresses that may send to one relay.
const CLIENTS_MAX: usize = 1024;
/// Datagrams taken from one socket before the others have their turn.
const TURN: usize = 64;
/// The kernel may give less (net.core.rmem_max).
const RECEIVE_BUFFER: usize = 4 << 20;
/// An order to the relay takes effect within this time.
const TICK: Duration = Duration::from_millis(10);

/// Both directions of a link.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    pub up: Conditions,
    pub down: Conditions,
    /// A NAT's memory: a client that sent nothing for so long gets a new port, and is unreachable until it sends.
    pub forgets_after: Option<Duration>,
    pub seed: u64,
}

impl Settings {
    /// The same in both directions.
    pub fn both(conditions: &Conditions) -> Self {
        Self { up: conditions.clone(), down: conditions.clone(), forgets_after: None, seed: 1 }
    }
}

/// The counts of both directions.
#[derive(Clone, Debug)]
pub struct Both {
    pub up: Counts,
    pub down: Counts,
}

/// A running relay.
pub struct Relay {
    address: SocketAddr,
    shared: Arc<Mutex<Shared>>,
    thread: Option<JoinHandle<()>>,
}

/// The state that the thread and its owner share.
struct Shared {
    up: Link,
    down: Link,
    forgets_after: Option<Duration>,
    must_rebind: bool,
    must_end: bool,
    /// Ports towards the target that were given up.
    rebound: u64,
}

impl Relay {
    /// Starts a relay before a node that listens at `target`. The machine chooses the port.
    ///
    /// # Errors
    /// No socket can be bound.
    pub fn start(target: SocketAddr, settings: Settings) -> io::Result<Self> {
        let near = bind(target)?;
        let address = near.local_addr()?;
        let Settings { up, down, forgets_after, seed } = settings;
        let shared = Arc::new(Mutex::new(Shared {
            up: Link::new(up, seed),
            down: Link::new(down, seed ^ 0xd0),
            forgets_after,
            must_rebind: false,
            must_end: false,
            rebound: 0,
        }));
        let mut shell = Shell {
            near,
            target,
            clients: Vec::new(),
            waiting: Waiting::default(),
            started: Instant::now(),
            shared: shared.clone(),
        };
        let thread = std::thread::Builder::new().name("relay".to_owned()).spawn(move || shell.run())?;
        Ok(Self { address, shared, thread: Some(thread) })
    }

    /// The address to dial instead of the target's.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The same for a node's `network.bootstrap`.
    pub fn multiaddress(&self, peer_id: &str) -> String {
        format!("/ip4/{}/udp/{}/quic-v1/p2p/{peer_id}", self.address.ip(), self.address.port())
    }

    /// Changes both directions for the datagrams to come.
    pub fn change(&self, up: Conditions, down: Conditions) {
        let mut shared = lock(&self.shared);
        shared.up.change(up);
        shared.down.change(down);
    }

    /// Gives every client a new port towards the target, as a NAT does that was restarted.
    pub fn rebind(&self) {
        lock(&self.shared).must_rebind = true;
    }

    /// How many ports towards the target were given up.
    pub fn rebound(&self) -> u64 {
        lock(&self.shared).rebound
    }

    pub fn counts(&self) -> Both {
        let shared = lock(&self.shared);
        Both { up: shared.up.counts().clone(), down: shared.down.counts().clone() }
    }

    pub fn reset_counts(&self) {
        let mut shared = lock(&self.shared);
        shared.up.reset_counts();
        shared.down.reset_counts();
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        lock(&self.shared).must_end = true;
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been printed.
            let _ = thread.join();
        }
    }
}

/// The address in a node's own multiaddress, as in `/ip4/127.0.0.1/udp/4410/quic-v1`.
pub fn udp_address(multiaddress: &str) -> Option<SocketAddr> {
    let mut parts = multiaddress.split('/').skip(1);
    let ip: Ipv4Addr = match (parts.next()?, parts.next()?) {
        ("ip4", ip) => ip.parse().ok()?,
        _ => return None,
    };
    match (parts.next()?, parts.next()?) {
        ("udp", port) => Some((ip, port.parse().ok()?).into()),
        _ => None,
    }
}

/// A poisoned lock means a panic elsewhere, which has been printed. Counts and orders stay usable.
fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A socket at a port of the machine's choice, at the target's own address of this machine.
fn bind(target: SocketAddr) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind((target.ip(), 0))?;
    socket.set_nonblocking(true)?;
    // A smaller buffer loses what comes in a burst; the benchmark's figures would show it.
    rustix::net::sockopt::set_socket_recv_buffer_size(&socket, RECEIVE_BUFFER)?;
    Ok(socket)
}

/// An address that sends to the relay, and the relay's port towards the target for it.
struct Client {
    address: SocketAddr,
    /// `None`: the NAT has forgotten it.
    far: Option<UdpSocket>,
    last_sent: Instant,
}

/// Where a datagram goes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Way {
    Up,
    Down,
}

/// The thread's own things.
struct Shell {
    near: UdpSocket,
    target: SocketAddr,
    clients: Vec<Client>,
    /// With the client whose datagram it is.
    waiting: Waiting<(Way, usize)>,
    started: Instant,
    shared: Arc<Mutex<Shared>>,
}

impl Shell {
    fn run(&mut self) {
        while self.obey() {
            self.deliver();
            let timeout = self.waiting.next(self.started.elapsed(), TICK);
            if self.wait(timeout) {
                self.take();
            }
        }
    }

    /// Follows the owner's orders. False: the relay ends.
    fn obey(&mut self) -> bool {
        let mut shared = lock(&self.shared);
        let is_forced = std::mem::take(&mut shared.must_rebind);
        for client in &mut self.clients {
            let is_forgotten = shared.forgets_after.is_some_and(|limit| client.last_sent.elapsed() > limit);
            if (is_forced || is_forgotten) && client.far.take().is_some() {
                shared.rebound += 1;
            }
        }
        !shared.must_end
    }

    fn deliver(&mut self) {
        let now = self.started.elapsed();
        while let Some(((way, client), bytes)) = self.waiting.take(now) {
            let client = &mut self.clients[client];
            // A send that fails is a lost datagram, as on a real link.
            let _ = match way {
                Way::Down => self.near.send_to(&bytes, client.address),
                Way::Up => match open(&mut client.far, self.target) {
                    Ok(far) => far.send_to(&bytes, self.target),
                    Err(error) => Err(error),
                },
            };
        }
    }

    /// Waits until a socket has something. False: the time is over.
    fn wait(&self, timeout: Duration) -> bool {
        let far = self.clients.iter().filter_map(|client| client.far.as_ref());
        let mut polled: Vec<PollFd> =
            std::iter::once(&self.near).chain(far).map(|socket| PollFd::new(socket, PollFlags::IN)).collect();
        let timeout = Timespec { tv_sec: 0, tv_nsec: i64::from(timeout.min(TICK).subsec_nanos()) };
        poll(&mut polled, Some(&timeout)).is_ok_and(|ready| ready > 0)
    }

    /// Takes what has come, and gives it to the link.
    fn take(&mut self) {
        let mut buffer = vec![0; 65_536];
        for _ in 0..TURN {
            let Ok((length, sender)) = self.near.recv_from(&mut buffer) else { break };
            if let Some(client) = self.client(sender) {
                self.clients[client].last_sent = Instant::now();
                self.give(Way::Up, client, buffer[..length].to_vec());
            }
        }
        for client in 0..self.clients.len() {
            for _ in 0..TURN {
                let Some(far) = &self.clients[client].far else { break };
                let Ok((length, _)) = far.recv_from(&mut buffer) else { break };
                self.give(Way::Down, client, buffer[..length].to_vec());
            }
        }
    }

    fn client(&mut self, address: SocketAddr) -> Option<usize> {
        if let Some(known) = self.clients.iter().position(|client| client.address == address) {
            return Some(known);
        }
        (self.clients.len() < CLIENTS_MAX).then(|| {
            self.clients.push(Client { address, far: None, last_sent: Instant::now() });
            self.clients.len() - 1
        })
    }

    fn give(&mut self, way: Way, client: usize, bytes: Vec<u8>) {
        let now = self.started.elapsed();
        let mut shared = lock(&self.shared);
        let link = if way == Way::Up { &mut shared.up } else { &mut shared.down };
        let deliveries = link.send(now, bytes);
        drop(shared);
        for delivery in deliveries {
            self.waiting.add(delivery.at, (way, client), delivery.bytes);
        }
    }
}

/// The socket towards the target, bound anew where there is none.
fn open(far: &mut Option<UdpSocket>, target: SocketAddr) -> io::Result<&UdpSocket> {
    match far {
        Some(socket) => Ok(socket),
        None => Ok(far.insert(bind(target)?)),
    }
}
