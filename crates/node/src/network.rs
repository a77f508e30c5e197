//! The libp2p swarm: transports, behaviours and who may connect.
//!
//! QUIC first, TCP with noise and yamux for networks that drop UDP. Only members of the fleet connect, unless the
//! operator asked for open mode. Gossip is signed and validated before it is passed on. Gossipsub's peer scoring stays
//! off: its defaults punish honest peers on a topic as rare as ours (docs/decisions/0005-libp2p.md).

mod ask_codec;
mod doors;
mod gathering;
mod home;
mod names;
mod tcp_ping;

use std::net::{IpAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::transport::timeout::TransportTimeout;
use libp2p::core::upgrade::Version;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::NetworkBehaviour;
use libp2p::swarm::behaviour::toggle::Toggle;
use libp2p::{Multiaddr, StreamProtocol, Swarm, SwarmBuilder, Transport, gossipsub, identify, mdns, request_response};
use libp2p_allow_block_list::{AllowedPeers, BlockedPeers};
use lighter_types::PeerId;

use crate::config::Config;
use crate::identity::{Identity, from_libp2p, to_libp2p};
use crate::links::Links;
use crate::traffic::{Accountant, MeteredMuxer};
use crate::transfer::{REQUEST_BYTES_MAX, busy_reply};
pub use ask_codec::AskCodec;
use doors::Doors;
use gathering::GatheringYamux;
use home::Home;
use names::Names;
use tcp_ping::TcpPing;

/// The behaviours of the swarm.
#[derive(NetworkBehaviour)]
pub struct Behaviour {
    /// First, so that a stranger's connection is denied before anything else is told of it.
    pub fleet: Toggle<libp2p_allow_block_list::Behaviour<AllowedPeers>>,
    pub cut_off: libp2p_allow_block_list::Behaviour<BlockedPeers>,
    doors: Doors,
    pub home: Home<Standing>,
    pub ask: request_response::Behaviour<AskCodec>,
    pub stream: lighter_streams::Behaviour,
    pub mdns: Toggle<mdns::tokio::Behaviour>,
}

/// The protocols of standing connections.
#[derive(NetworkBehaviour)]
pub struct Standing {
    identify: identify::Behaviour,
    ping: TcpPing,
    pub gossip: gossipsub::Behaviour,
}

/// Why the network could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    #[error("cannot set up {what}: {why}")]
    Setup { what: &'static str, why: String },
    #[error("cannot listen on {address}")]
    Listen {
        address: Multiaddr,
        #[source]
        why: std::io::Error,
    },
}

/// A connection on which no stream is open for this long is closed. Gossip keeps its streams open, so that only visits
/// end.
const IDLE_TIMEOUT: Duration = Duration::from_secs(10);
/// A connection over QUIC from which nothing came for this long is lost: the link may be away for most of a minute, or
/// lose a keep-alive and what repeats it. With a keep-alive that is longer, so many of them.
const SILENCE_MIN: Duration = Duration::from_secs(60);
const SILENCE_KEEP_ALIVES: f64 = 2.4;
/// Between two tellings of who this node is. A change is told at once.
const IDENTIFY_INTERVAL: Duration = Duration::from_secs(86_400);
/// A handshake over TCP of a peer that came fails after this time: three of a satellite's round trips, and a packet
/// that is repeated once. Until then it has a place (`doors`).
const TCP_HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// Questions of all peers that wait for an answer.
const ASKS_MAX: usize = 256;

/// Builds the swarm; it listens nowhere yet.
///
/// # Errors
/// If a transport or a behaviour refuses its settings.
pub fn swarm(
    config: &Config,
    identity: &Identity,
    accountant: &Accountant,
    links: &Links,
) -> Result<Swarm<Behaviour>, NetworkError> {
    let swarm = SwarmBuilder::with_existing_identity(identity.keypair())
        .with_tokio()
        .with_other_transport(|keys| transport(config, keys, accountant, links))
        .map_err(|error| NetworkError::Setup { what: "the transports", why: error.to_string() })?
        .with_behaviour(|keys| behaviour(config, keys))
        .map_err(|error| NetworkError::Setup { what: "the behaviours", why: error.to_string() })?
        .with_swarm_config(|swarm| {
            swarm
                .with_idle_connection_timeout(IDLE_TIMEOUT)
                .with_smart_dial()
                // A question goes with the protocol's name, and its answer is back a round trip sooner.
                .with_substream_upgrade_protocol_override(Version::V1Lazy)
        })
        .build();
    Ok(swarm)
}

/// A boxed error as libp2p's builder wants it.
type SetupError = Box<dyn std::error::Error + Send + Sync>;

fn transport(
    config: &Config,
    keys: &libp2p::identity::Keypair,
    accountant: &Accountant,
    links: &Links,
) -> Result<libp2p::core::transport::Boxed<(libp2p::PeerId, StreamMuxerBox)>, SetupError> {
    let quic = lighter_quic::Transport::new(&quic_config(config), keys)?;
    accountant.set_meter(quic.meter());
    let links = links.clone();
    let quic = quic.map(move |(peer, connection), _| {
        if let Some(peer) = from_libp2p(&peer) {
            links.opened(peer, connection.monitor());
        }
        (peer, StreamMuxerBox::new(connection))
    });
    let tcp = libp2p::tcp::tokio::Transport::new(libp2p::tcp::Config::new().nodelay(true))
        .upgrade(Version::V1Lazy)
        .authenticate(libp2p::noise::Config::new(keys)?)
        .multiplex(GatheringYamux::default());
    let tcp = TransportTimeout::with_ingoing_timeout(tcp, TCP_HANDSHAKE_TIMEOUT)
        .map(|(peer, connection), _| (peer, StreamMuxerBox::new(connection)));
    let either = quic.or_transport(tcp).map(|either, _| either.into_inner());
    let named = Names::new(either.boxed());
    let accountant = accountant.clone();
    Ok(named
        .map(move |(peer, connection), _| {
            let metered = MeteredMuxer::new(connection, from_libp2p(&peer), accountant);
            (peer, StreamMuxerBox::new(metered))
        })
        .boxed())
}

fn keep_alive(config: &Config) -> Duration {
    Duration::from_secs(config.timing.keep_alive_s.into())
}

fn quic_config(config: &Config) -> lighter_quic::Config {
    let keep_alive = keep_alive(config);
    let idle_timeout = SILENCE_MIN.max(keep_alive.mul_f64(SILENCE_KEEP_ALIVES));
    lighter_quic::Config { keep_alive, idle_timeout, ..lighter_quic::Config::default() }
}

fn behaviour(config: &Config, keys: &libp2p::identity::Keypair) -> Result<Behaviour, SetupError> {
    let fleet = (!config.fleet.open).then(|| {
        let mut fleet = libp2p_allow_block_list::Behaviour::<AllowedPeers>::default();
        config.fleet.members.iter().copied().filter_map(to_libp2p).for_each(|peer| {
            fleet.allow_peer(peer);
        });
        fleet
    });
    let local = keys.public().to_peer_id();
    let mdns = config.network.mdns.then(|| mdns::tokio::Behaviour::new(mdns::Config::default(), local)).transpose()?;
    let ask = request_response::Config::default()
        .with_request_timeout(Duration::from_secs(config.timing.ask_timeout_s.into()))
        .with_max_concurrent_streams(ASKS_MAX);
    let asks = [(StreamProtocol::new(lighter_wire::ASK_PROTOCOL), request_response::ProtocolSupport::Full)];
    Ok(Behaviour {
        fleet: fleet.into(),
        cut_off: libp2p_allow_block_list::Behaviour::default(),
        doors: Doors::new(config.network.connections_max),
        home: Home::new(Standing {
            identify: identify::Behaviour::new(
                identify::Config::new("/lighter/1".to_owned(), keys.public())
                    .with_agent_version(concat!("lighter/", env!("CARGO_PKG_VERSION")).to_owned())
                    .with_interval(IDENTIFY_INTERVAL),
            ),
            ping: TcpPing::new(keep_alive(config)),
            gossip: gossip(keys)?,
        }),
        ask: request_response::Behaviour::with_codec(AskCodec, asks, ask),
        stream: lighter_streams::Behaviour::new(
            StreamProtocol::new(lighter_wire::PATCH_PROTOCOL),
            lighter_streams::Settings { refusal_read_bytes_max: REQUEST_BYTES_MAX, ..Default::default() },
            Arc::new(busy_reply),
        ),
        mdns: mdns.into(),
    })
}

fn gossip(keys: &libp2p::identity::Keypair) -> Result<gossipsub::Behaviour, SetupError> {
    let config = gossipsub::ConfigBuilder::default()
        .validation_mode(gossipsub::ValidationMode::Strict)
        .validate_messages()
        // One hop: a node tells its own peers. So there is no mesh to keep, and nothing to say of what was heard.
        .mesh_outbound_min(0)
        .mesh_n_low(0)
        .mesh_n(0)
        .mesh_n_high(0)
        .gossip_lazy(0)
        .gossip_factor(0.0)
        // An announcement waits while a patch fills a thin link.
        .publish_queue_duration(Duration::from_secs(60))
        .max_transmit_size(65_536)
        // One name, so that it goes with the first message.
        .protocol_id(lighter_wire::GOSSIP_PROTOCOL, gossipsub::Version::V1_1)
        .build()?;
    let authenticity = gossipsub::MessageAuthenticity::Signed(keys.clone());
    let mut gossip = gossipsub::Behaviour::new(authenticity, config)?;
    gossip.subscribe(&gossipsub::IdentTopic::new(lighter_wire::ANNOUNCE_TOPIC))?;
    Ok(gossip)
}

/// Whether a TCP address can be listened on. libp2p shares ports between processes (`SO_REUSEPORT`), and would not tell
/// that another node has this one.
///
/// # Errors
/// The machine's error if the address is taken.
pub fn check_free(address: &Multiaddr) -> std::io::Result<()> {
    let mut parts = address.iter();
    let ip = match parts.next() {
        Some(Protocol::Ip4(ip)) => IpAddr::from(ip),
        Some(Protocol::Ip6(ip)) => IpAddr::from(ip),
        _ => return Ok(()),
    };
    match parts.next() {
        Some(Protocol::Tcp(port)) => TcpListener::bind((ip, port)).map(drop),
        _ => Ok(()),
    }
}

/// Whether the configuration lets this peer in.
pub fn is_member(config: &Config, peer: PeerId) -> bool {
    config.fleet.open || config.fleet.members.contains(&peer)
}
