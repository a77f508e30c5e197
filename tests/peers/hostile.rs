//! A peer that speaks the node's protocols and says whatever a test tells it to: a libp2p swarm on a thread of its own.
//!
//! A script holds the answers to questions and the bytes of streams; deeds are sent at once. The peer counts what it
//! sees, so that a test can wait for it. It writes and reads gossip by hand (`pubsub`), so that it can say what
//! gossipsub would not.

pub mod pubsub;

use std::io;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, StreamExt};
use libp2p::identity::Keypair;
use libp2p::request_response::{self, Codec, ProtocolSupport};
use libp2p::swarm::{NetworkBehaviour, SwarmEvent};
use libp2p::{Multiaddr, StreamProtocol, SwarmBuilder};
use lighter_types::{Bytes, Card, DiffId, PatchId, SiteName};
use lighter_wire::{Answer, Holdings, Incarnation, Message, Offer, PatchRequest, Quote, Refusal, Request};
use tokio::sync::mpsc;

/// Raw bytes on the ask protocol.
#[derive(Clone, Default)]
struct Raw;

impl Codec for Raw {
    type Protocol = StreamProtocol;
    type Request = Vec<u8>;
    type Response = Vec<u8>;

    async fn read_request<T: AsyncRead + Unpin + Send>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
    ) -> io::Result<Vec<u8>> {
        read(io).await
    }

    async fn read_response<T: AsyncRead + Unpin + Send>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
    ) -> io::Result<Vec<u8>> {
        read(io).await
    }

    async fn write_request<T: AsyncWrite + Unpin + Send>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        bytes: Vec<u8>,
    ) -> io::Result<()> {
        io.write_all(&bytes).await?;
        io.close().await
    }

    async fn write_response<T: AsyncWrite + Unpin + Send>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        bytes: Vec<u8>,
    ) -> io::Result<()> {
        io.write_all(&bytes).await?;
        io.close().await
    }
}

async fn read(io: &mut (impl AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    io.read_to_end(&mut bytes).await?;
    // Nothing is a stream that was dropped without a word.
    if bytes.is_empty() { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(bytes) }
}

#[derive(NetworkBehaviour)]
struct Behaviour {
    ask: request_response::Behaviour<Raw>,
    gossip: lighter_streams::Behaviour,
    stream: lighter_streams::Behaviour,
}

/// Answers a question, or never does.
pub type Answers = Box<dyn FnMut(&Request) -> Option<Vec<u8>> + Send>;
/// All that is sent on a patch stream after the request.
pub type Says = Arc<dyn Fn(&PatchRequest) -> Vec<u8> + Send + Sync>;

/// The site of a hostile peer.
pub const SITE: &str = "harbour";

/// The answers of a peer.
pub struct Script {
    /// The answer to a question; `None`: it never answers.
    pub answer: Answers,
    /// All that it sends on a patch stream after the request.
    pub stream: Says,
    pub then: Then,
}

/// The end of a patch stream on which a peer has said all of that.
#[derive(Clone)]
pub enum Then {
    Closes,
    /// It leaves the stream open.
    Hangs,
    /// It sends this over and over, with this pause between.
    Repeats(Vec<u8>, Duration),
}

impl Script {
    /// Claims to hold these layers and to have a patch of a hundred bytes for each, ready; and to be of [`SITE`]. Nodes
    /// of that site ask it for quotes also where a peer outside made an offer.
    pub fn bargain(cards: Vec<Card>, stream: impl Fn(&PatchRequest) -> Vec<u8> + Send + Sync + 'static) -> Self {
        Self::bargain_at(SITE, cards, stream)
    }

    /// The same, of another site.
    pub fn bargain_at(
        site: &str,
        cards: Vec<Card>,
        stream: impl Fn(&PatchRequest) -> Vec<u8> + Send + Sync + 'static,
    ) -> Self {
        let site: Option<SiteName> = site.parse().ok();
        let answer = move |request: &Request| {
            let answer = match request {
                Request::Holdings { .. } => {
                    Answer::Holdings(Holdings::all(Incarnation(1), 1, site.clone(), cards.clone()))
                }
                Request::Quote { .. } => Answer::Quote(Quote {
                    offer: Offer::Ready { patch: PatchId::new([7; 32]), bytes: Bytes(100) },
                    bases: Vec::new(),
                    wait: Duration::ZERO,
                    effort: None,
                }),
                Request::Image(_) | Request::Blob { .. } | Request::Sketches(_) | Request::Arrival { .. } => {
                    Answer::Refused(Refusal::NotHeld)
                }
            };
            Some(answer.encode().expect("a small answer"))
        };
        Self { answer: Box::new(answer), stream: Arc::new(stream), then: Then::Closes }
    }
}

/// A card of a layer as its holder tells it.
pub fn card(tar: &[u8], diff_id: &str) -> Card {
    Card {
        diff_id: diff_id.parse::<DiffId>().expect("a DiffId"),
        tar_bytes: Bytes(tar.len() as u64),
        compressed_bytes: Bytes(tar.len() as u64),
        tlsh: None,
    }
}

/// An action that a peer takes of its own accord.
pub enum Deed {
    Ask(Vec<u8>),
    /// Signs this as its own announcement, and publishes it.
    Gossip(Vec<u8>),
    /// Sends these bytes on its gossip stream.
    GossipRaw(Vec<u8>),
    /// Opens a patch stream, sends this, and keeps it open.
    Stream(Vec<u8>),
}

/// Counts of the messages that a peer saw.
#[derive(Clone, Copy, Debug, Default)]
pub struct Seen {
    pub connected: bool,
    pub disconnected: bool,
    /// Answers to its questions, and questions that failed.
    pub answers: usize,
    pub failures: usize,
    /// Answers that the victim did not read to their end.
    pub unread: usize,
    /// Questions and patch streams of the victim's.
    pub questions: usize,
    pub streams: usize,
    /// Gossip streams of its own that the victim ended.
    pub gossip_ends: usize,
}

/// Runs until it is dropped.
pub struct Hostile {
    pub peer_id: String,
    seen: Arc<Mutex<Seen>>,
    deeds: Option<mpsc::UnboundedSender<Deed>>,
    thread: Option<JoinHandle<()>>,
}

impl Hostile {
    /// Connects to the victim.
    pub fn start(key: Keypair, victim: &str, script: Script) -> Self {
        let peer_id = key.public().to_peer_id().to_string();
        let seen = Arc::new(Mutex::new(Seen::default()));
        let (deeds, to_do) = mpsc::unbounded_channel();
        let victim: Multiaddr = victim.parse().expect("an address");
        let thread = std::thread::spawn({
            let seen = seen.clone();
            move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
                runtime.block_on(live(key, victim, script, &seen, to_do));
            }
        });
        Self { peer_id, seen, deeds: Some(deeds), thread: Some(thread) }
    }

    pub fn seen(&self) -> Seen {
        *self.seen.lock().expect("no panic while it is held")
    }

    pub fn does(&self, deed: Deed) {
        let sent = self.deeds.as_ref().map(|deeds| deeds.send(deed));
        assert!(matches!(sent, Some(Ok(()))), "the peer ended");
    }
}

impl Drop for Hostile {
    fn drop(&mut self) {
        self.deeds = None;
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(ended.is_ok() || std::thread::panicking(), "the hostile peer panicked");
        }
    }
}

fn behaviour(_: &Keypair) -> Behaviour {
    let asks = [(StreamProtocol::new(lighter_wire::ASK_PROTOCOL), ProtocolSupport::Full)];
    let streams = |protocol| {
        lighter_streams::Behaviour::new(
            StreamProtocol::new(protocol),
            lighter_streams::Settings { opens_per_peer_max: 1024, ..Default::default() },
            Arc::new(|_| Vec::new()),
        )
    };
    Behaviour {
        ask: request_response::Behaviour::with_codec(Raw, asks, request_response::Config::default()),
        gossip: streams(lighter_wire::GOSSIP_PROTOCOL),
        stream: streams(lighter_wire::PATCH_PROTOCOL),
    }
}

async fn live(
    key: Keypair,
    victim: Multiaddr,
    mut script: Script,
    seen: &Arc<Mutex<Seen>>,
    mut to_do: mpsc::UnboundedReceiver<Deed>,
) {
    let mut swarm = SwarmBuilder::with_existing_identity(key.clone())
        .with_tokio()
        .with_quic()
        .with_behaviour(behaviour)
        .expect("a behaviour")
        .with_swarm_config(|config| config.with_idle_connection_timeout(Duration::from_secs(60)))
        .build();
    let Some(libp2p::multiaddr::Protocol::P2p(victim_id)) = victim.iter().last() else { panic!("no PeerId") };
    let control = swarm.behaviour().stream.control();
    let mut streams = swarm.behaviour().stream.accept().expect("one acceptor");
    let mut gossip = swarm.behaviour().gossip.accept().expect("one acceptor");
    let publisher = {
        let seen = seen.clone();
        let ends = move || seen.lock().expect("no panic while it is held").gossip_ends += 1;
        pubsub::Publisher::start(swarm.behaviour().gossip.control(), victim_id, key, ends)
    };
    swarm.dial(victim).expect("to dial");
    let see = |change: &dyn Fn(&mut Seen)| change(&mut seen.lock().expect("no panic while it is held"));
    loop {
        tokio::select! {
            event = swarm.select_next_some() => match event {
                SwarmEvent::ConnectionEstablished { .. } => see(&|seen| seen.connected = true),
                SwarmEvent::ConnectionClosed { .. } | SwarmEvent::OutgoingConnectionError { .. } => {
                    see(&|seen| seen.disconnected = true);
                }
                SwarmEvent::Behaviour(BehaviourEvent::Ask(event)) => match event {
                    request_response::Event::Message { message, .. } => match message {
                        request_response::Message::Request { request, channel, .. } => {
                            see(&|seen| seen.questions += 1);
                            let request = Request::decode(&request).expect("nodes ask well");
                            if let Some(answer) = (script.answer)(&request) {
                                let _ = swarm.behaviour_mut().ask.send_response(channel, answer);
                            } else {
                                // Dropping the channel would close the stream, and that is an answer.
                                std::mem::forget(channel);
                            }
                        }
                        request_response::Message::Response { .. } => see(&|seen| seen.answers += 1),
                    },
                    request_response::Event::OutboundFailure { .. } => see(&|seen| seen.failures += 1),
                    request_response::Event::InboundFailure { .. } => see(&|seen| seen.unread += 1),
                    _ => {}
                },
                _ => {}
            },
            Some(inbound) = streams.next() => {
                see(&|seen| seen.streams += 1);
                tokio::spawn(serve(inbound.stream, script.stream.clone(), script.then.clone()));
            }
            // The victim's gossip is read, so that its streams do not fill up.
            Some(mut inbound) = gossip.next() => drop(tokio::spawn(async move { read(&mut inbound.stream).await })),
            deed = to_do.recv() => match deed {
                None => return,
                Some(Deed::Ask(bytes)) => drop(swarm.behaviour_mut().ask.send_request(&victim_id, bytes)),
                Some(Deed::Gossip(bytes)) => publisher.publish(&bytes),
                Some(Deed::GossipRaw(bytes)) => publisher.send(bytes),
                Some(Deed::Stream(bytes)) => drop(tokio::spawn(hold(control.clone(), victim_id, bytes))),
            },
        }
    }
}

/// Opens a patch stream, sends this, and keeps it open.
async fn hold(control: lighter_streams::Control, victim: libp2p::PeerId, bytes: Vec<u8>) {
    let Ok(mut stream) = control.open(victim).await else { return };
    let _ = stream.write_all(&bytes).await;
    let _ = stream.flush().await;
    let _ = read(&mut stream).await;
}

async fn serve(mut stream: libp2p::Stream, says: Says, then: Then) {
    let mut length = [0; 2];
    if stream.read_exact(&mut length).await.is_err() {
        return;
    }
    let mut request = vec![0; usize::from(u16::from_le_bytes(length))];
    if stream.read_exact(&mut request).await.is_err() {
        return;
    }
    let request = PatchRequest::decode(&request).expect("nodes ask well");
    // The victim may hang up at any time: that is what is tested.
    let _ = stream.write_all(&says(&request)).await;
    let _ = stream.flush().await;
    match then {
        Then::Closes => {}
        Then::Hangs => drop(read(&mut stream).await),
        Then::Repeats(bytes, pause) => {
            while stream.write_all(&bytes).await.is_ok() && stream.flush().await.is_ok() {
                tokio::time::sleep(pause).await;
            }
        }
    }
    let _ = stream.close().await;
}
