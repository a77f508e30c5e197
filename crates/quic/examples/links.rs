//! Measures the transport over bad links: `links RELAY.py`.
//!
//! RELAY.py takes LISTEN TARGET DELAY_MS RATE_KBIT QUEUE_MS LOSS_PERCENT and forwards UDP on loopback under these. For
//! each link this prints how long a layer of 3.55 MiB takes, over (bytes / rate + 3 round trips): the median of five
//! runs through this crate, all five, and one through libp2p's own QUIC transport.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::net::UdpSocket;
use std::pin::Pin;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use futures::future::poll_fn;
use futures::{AsyncReadExt, AsyncWriteExt};
use libp2p::core::muxing::{StreamMuxer as _, StreamMuxerBox};
use libp2p::core::transport::{Boxed, DialOpts, ListenerId, PortUse, TransportEvent};
use libp2p::core::{Endpoint, Transport as _};
use libp2p::identity::Keypair;
use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId};

const LAYER: usize = 3_722_445;
const QUEUE_MS: u32 = 1000;
const RUNS: usize = 5;

/// Kbit/s, round trip in ms, loss in percent, and the most that the ratio may be.
const LINKS: [(u32, u32, f64, f64); 7] = [
    (8000, 600, 1.0, 1.4),
    (8000, 80, 1.0, 1.3),
    (1000, 600, 2.0, 1.3),
    (8000, 80, 5.0, 1.6),
    (8000, 80, 10.0, 2.2),
    (8000, 600, 0.0, 1.2),
    (8000, 20, 0.0, 1.1),
];

type Any = Boxed<(PeerId, StreamMuxerBox)>;

fn ours(keys: &Keypair) -> Any {
    let transport = lighter_quic::Transport::new(&lighter_quic::Config::default(), keys).unwrap();
    transport.map(|(peer, connection), _| (peer, StreamMuxerBox::new(connection))).boxed()
}

fn libp2ps(keys: &Keypair) -> Any {
    let transport = libp2p::quic::tokio::Transport::new(libp2p::quic::Config::new(keys));
    transport.map(|(peer, connection), _| (peer, StreamMuxerBox::new(connection))).boxed()
}

/// A process that ends with its owner.
struct Relay(Child);

impl Drop for Relay {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Serves one layer to the one who asks first; ends when the connection does.
async fn serve(mut transport: Any, address: tokio::sync::oneshot::Sender<Multiaddr>) {
    let mut address = Some(address);
    loop {
        match poll_fn(|cx| Pin::new(&mut transport).poll(cx)).await {
            TransportEvent::NewAddress { listen_addr, .. } => {
                if let Some(sender) = address.take() {
                    sender.send(listen_addr).unwrap();
                }
            }
            TransportEvent::Incoming { upgrade, .. } => {
                let (_, mut connection) = upgrade.await.unwrap();
                let mut stream = poll_fn(|cx| Pin::new(&mut connection).poll_inbound(cx)).await.unwrap();
                stream.read_exact(&mut [0]).await.unwrap();
                let piece = vec![7; 1 << 16];
                for start in (0..LAYER).step_by(piece.len()) {
                    stream.write_all(&piece[..piece.len().min(LAYER - start)]).await.unwrap();
                }
                stream.close().await.unwrap();
                let _ = poll_fn(|cx| Pin::new(&mut connection).poll_inbound(cx)).await;
                return;
            }
            other => panic!("{other:?}"),
        }
    }
}

/// Seconds from the dial to the last byte.
async fn measure(
    relay: &str,
    make: fn(&Keypair) -> Any,
    (kbit_s, round_trip_ms, loss, _): (u32, u32, f64, f64),
) -> f64 {
    let mut server = make(&Keypair::generate_ed25519());
    server.listen_on(ListenerId::next(), "/ip4/127.0.0.1/udp/0/quic-v1".parse().unwrap()).unwrap();
    let (sender, address) = tokio::sync::oneshot::channel();
    let serving = tokio::spawn(serve(server, sender));
    let target =
        address.await.unwrap().iter().find_map(|part| if let Protocol::Udp(port) = part { Some(port) } else { None });
    // The relay takes a port by number; this one was free a moment ago.
    let listen = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let numbers = [f64::from(listen), f64::from(target.unwrap()), f64::from(round_trip_ms) / 2.0, f64::from(kbit_s)];
    let arguments = numbers.into_iter().chain([f64::from(QUEUE_MS), loss]).map(|number| number.to_string());
    let _relay = Relay(Command::new("python3").arg(relay).args(arguments).spawn().unwrap());
    tokio::time::sleep(Duration::from_secs(1)).await;
    let mut client = make(&Keypair::generate_ed25519());
    let options = DialOpts { role: Endpoint::Dialer, port_use: PortUse::Reuse };
    let start = Instant::now();
    let dialing = client.dial(format!("/ip4/127.0.0.1/udp/{listen}/quic-v1").parse().unwrap(), options).unwrap();
    let (_, mut connection) = dialing.await.unwrap();
    let mut stream = poll_fn(|cx| Pin::new(&mut connection).poll_outbound(cx)).await.unwrap();
    stream.write_all(b"?").await.unwrap();
    let mut layer = Vec::with_capacity(LAYER);
    stream.read_to_end(&mut layer).await.unwrap();
    assert_eq!(layer.len(), LAYER);
    let took = start.elapsed().as_secs_f64();
    poll_fn(|cx| Pin::new(&mut connection).poll_close(cx)).await.unwrap();
    serving.abort();
    took
}

#[tokio::main]
async fn main() {
    let relay = std::env::args().nth(1).unwrap_or_else(|| panic!("links RELAY.py"));
    println!("kbit/s  ms  loss %  bar   ours  all              libp2p");
    for link in LINKS {
        let (kbit_s, round_trip_ms, loss, bar) = link;
        let needed = LAYER as f64 * 8.0 / f64::from(kbit_s * 1000) + 3.0 * f64::from(round_trip_ms) / 1e3;
        let mut ratios = futures::future::join_all((0..RUNS).map(|_| measure(&relay, ours, link))).await;
        ratios.iter_mut().for_each(|took| *took /= needed);
        ratios.sort_by(f64::total_cmp);
        let theirs = measure(&relay, libp2ps, link).await / needed;
        println!("{kbit_s} {round_trip_ms} {loss} {bar} {:.2} {ratios:.2?} {theirs:.2}", ratios[RUNS / 2]);
    }
}
