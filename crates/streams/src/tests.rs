//! Real swarms over the memory transport, QUIC, and TCP with yamux; and the behaviour driven by hand.
//!
//! Every swarm runs in a task of its own and negotiates lazily, as the node's does. A request is a line of bytes, a
//! reply the byte `o` (served) or `b` (busy). A test waits for counts by yielding: the swarms run beside it.

mod by_hand;
mod inbound;
mod outbound;

use std::sync::Arc;

use futures::{AsyncReadExt, AsyncWriteExt, StreamExt};
use libp2p::core::transport::MemoryTransport;
use libp2p::core::upgrade::Version;
use libp2p::swarm::dial_opts::DialOpts;
use libp2p::swarm::{Stream, SwarmEvent};
use libp2p::{Multiaddr, PeerId, StreamProtocol, Swarm, SwarmBuilder, Transport, noise, tcp, yamux};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::{Behaviour, Control, Incoming, Settings};

const PROTOCOL: StreamProtocol = StreamProtocol::new("/test/1");
const SERVED: &[u8] = b"o";
const BUSY: &[u8] = b"b";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Memory,
    Quic,
    Tcp,
}

const KINDS: [Kind; 3] = [Kind::Memory, Kind::Quic, Kind::Tcp];

fn swarm(kind: Kind, settings: Settings, version: Version) -> Swarm<Behaviour> {
    let behaviour = Behaviour::new(PROTOCOL, settings, Arc::new(|_| BUSY.to_vec()));
    let builder = SwarmBuilder::with_new_identity().with_tokio();
    match kind {
        Kind::Memory => builder
            .with_other_transport(|keys| {
                let noise = noise::Config::new(keys).unwrap();
                MemoryTransport::default()
                    .upgrade(Version::V1Lazy)
                    .authenticate(noise)
                    .multiplex(yamux::Config::default())
            })
            .unwrap()
            .with_behaviour(|_| behaviour)
            .unwrap()
            .with_swarm_config(|config| config.with_substream_upgrade_protocol_override(version))
            .build(),
        Kind::Quic => builder
            .with_quic()
            .with_behaviour(|_| behaviour)
            .unwrap()
            .with_swarm_config(|config| config.with_substream_upgrade_protocol_override(version))
            .build(),
        Kind::Tcp => builder
            .with_tcp(tcp::Config::new().nodelay(true), noise::Config::new, yamux::Config::default)
            .unwrap()
            .with_behaviour(|_| behaviour)
            .unwrap()
            .with_swarm_config(|config| config.with_substream_upgrade_protocol_override(version))
            .build(),
    }
}

type Deed = Box<dyn FnOnce(&mut Swarm<Behaviour>) + Send>;

/// A swarm that runs until this is dropped.
struct Peer {
    id: PeerId,
    address: Multiaddr,
    control: Control,
    deeds: mpsc::Sender<Deed>,
    task: JoinHandle<()>,
}

impl Peer {
    async fn start(kind: Kind, settings: Settings) -> Self {
        Self::run(kind, swarm(kind, settings, Version::V1Lazy)).await
    }

    async fn accepting(kind: Kind, settings: Settings) -> (Self, Incoming) {
        let swarm = swarm(kind, settings, Version::V1Lazy);
        let incoming = swarm.behaviour().accept().unwrap();
        (Self::run(kind, swarm).await, incoming)
    }

    async fn run(kind: Kind, mut swarm: Swarm<Behaviour>) -> Self {
        let listen = match kind {
            Kind::Memory => "/memory/0",
            Kind::Quic => "/ip4/127.0.0.1/udp/0/quic-v1",
            Kind::Tcp => "/ip4/127.0.0.1/tcp/0",
        };
        swarm.listen_on(listen.parse().unwrap()).unwrap();
        let address = loop {
            if let SwarmEvent::NewListenAddr { address, .. } = swarm.select_next_some().await {
                break address;
            }
        };
        let (id, control) = (*swarm.local_peer_id(), swarm.behaviour().control());
        let (deeds, mut to_do) = mpsc::channel::<Deed>(16);
        let task = tokio::spawn(async move {
            loop {
                tokio::select! {
                    _ = swarm.select_next_some() => {}
                    deed = to_do.recv() => match deed {
                        Some(deed) => deed(&mut swarm),
                        None => return,
                    },
                }
            }
        });
        Self { id, address, control, deeds, task }
    }

    async fn does(&self, deed: impl FnOnce(&mut Swarm<Behaviour>) + Send + 'static) {
        assert!(self.deeds.send(Box::new(deed)).await.is_ok());
    }

    /// Dials; calls that are made now wait for that.
    async fn dials(&self, id: PeerId, address: Multiaddr) {
        let (told, known) = oneshot::channel();
        self.does(move |swarm| {
            swarm.dial(DialOpts::peer_id(id).addresses(vec![address]).build()).unwrap();
            told.send(()).unwrap();
        })
        .await;
        known.await.unwrap();
    }

    async fn meets(&self, other: &Peer) {
        self.dials(other.id, other.address.clone()).await;
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Yields until it holds.
async fn until(holds: impl Fn() -> bool) {
    while !holds() {
        tokio::task::yield_now().await;
    }
}

/// Sends a request and reads to the end.
async fn ask(mut stream: Stream) -> std::io::Result<Vec<u8>> {
    stream.write_all(b"request\n").await?;
    stream.flush().await?;
    read(stream).await
}

async fn read(mut stream: Stream) -> std::io::Result<Vec<u8>> {
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply).await?;
    Ok(reply)
}

/// Serves whatever comes, `held` streams of a peer at a time.
async fn serve(mut incoming: Incoming) {
    let mut serving = futures::stream::FuturesUnordered::new();
    loop {
        tokio::select! {
            inbound = incoming.next() => {
                let Some(mut inbound) = inbound else { return };
                serving.push(async move {
                    let mut request = [0; 8];
                    inbound.stream.read_exact(&mut request).await.unwrap();
                    inbound.stream.write_all(SERVED).await.unwrap();
                    inbound.stream.close().await.unwrap();
                });
            }
            Some(()) = serving.next() => {}
        }
    }
}
