//! Turns the swarm's events into inputs of the engine, and keeps the connections to known peers.
//!
//! Connections, gossip and questions of peers become inputs; a question of this node ends with an answer or a failure
//! of libp2p's, one of the two and once. The dialer connects to the peers whose addresses are known, with pauses that
//! double with each failure.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use libp2p::gossipsub::{self, MessageAcceptance};
use libp2p::multiaddr::Protocol;
use libp2p::request_response::{self, OutboundFailure};
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{DialError, SwarmEvent};
use libp2p::{Multiaddr, Swarm, identify, mdns, ping};
use lighter_engine::{AskFailure, PeerInput, QuestionId, WorkInput};
use lighter_types::{PeerId, broken};
use lighter_wire::{Announcement, Answer, Message, OtherVersion, Request};

use super::Driver;
use super::answering::Way;
use crate::identity::from_libp2p;
use crate::network::{Behaviour, BehaviourEvent, StandingEvent, is_member};
use crate::peer_access;

impl Driver {
    pub(super) fn swarm_event(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::Behaviour(BehaviourEvent::Home(event)) => self.standing_event(event),
            SwarmEvent::Behaviour(BehaviourEvent::Ask(event)) => self.ask_event(event),
            SwarmEvent::Behaviour(BehaviourEvent::Mdns(mdns::Event::Discovered(found))) => {
                for (peer, address) in found {
                    if from_libp2p(&peer).is_some_and(|peer| is_member(&self.shared.config, peer)) {
                        self.connections.dialer.add(peer, address);
                    }
                }
            }
            SwarmEvent::NewListenAddr { address, .. } => tracing::info!(%address, "listening"),
            SwarmEvent::ListenerError { error, .. } => tracing::warn!(%error, "a listener has trouble"),
            SwarmEvent::ListenerClosed { addresses, reason, .. } => {
                tracing::error!(?addresses, ?reason, "a listener closed");
            }
            SwarmEvent::ConnectionEstablished { peer_id, connection_id, num_established, endpoint, .. } => {
                self.connections.dialer.connected(&peer_id);
                let Some(peer) = from_libp2p(&peer_id) else { return };
                self.connections.meetings.connected(peer, connection_id, &endpoint, Instant::now());
                if num_established.get() == 1 {
                    tracing::info!(%peer, address = %endpoint.get_remote_address(), "connected");
                    self.connections.begin(peer);
                    let link = self.shared.links.seen(peer);
                    self.engine.push(PeerInput::LinkSeen { peer, link });
                    self.engine.push(PeerInput::Connected(peer));
                } else if self.connections.is_late(peer) {
                    tracing::info!(%peer, "it came back before its old connection ended: both are closed");
                    let _ = self.swarm.disconnect_peer_id(peer_id);
                }
            }
            SwarmEvent::ConnectionClosed { peer_id, num_established: 0, cause, .. } => {
                if let Some(peer) = from_libp2p(&peer_id) {
                    let why = cause.map_or_else(|| "closed in good order".to_owned(), |cause| cause.to_string());
                    tracing::info!(%peer, why, "disconnected");
                    self.connections.end(peer);
                    self.engine.push(PeerInput::Lost(peer));
                }
            }
            SwarmEvent::ConnectionClosed { peer_id, connection_id, .. } => {
                if let Some(peer) = from_libp2p(&peer_id) {
                    self.connections.meetings.closed(peer, connection_id);
                }
            }
            SwarmEvent::OutgoingConnectionError { error: DialError::LocalPeerId { address }, .. } => {
                tracing::debug!(%address, "this is one of our own addresses, or a node with our identity");
            }
            SwarmEvent::OutgoingConnectionError { peer_id: Some(peer), error, .. } => {
                if self.connections.dialer.failed(&peer, &error) {
                    tracing::warn!(%peer, %error, "could not connect to a peer of network.bootstrap");
                } else {
                    tracing::debug!(%peer, %error, "could not connect");
                }
                if let Some(peer) = from_libp2p(&peer).filter(|_| !self.swarm.is_connected(&peer)) {
                    self.connect(peer);
                }
            }
            SwarmEvent::IncomingConnectionError { send_back_addr, error, peer_id, .. } => {
                let peer = peer_id.map(|peer| peer.to_string());
                tracing::debug!(address = %send_back_addr, ?peer, %error, "a connection was refused or failed");
            }
            _ => {}
        }
    }

    fn standing_event(&mut self, event: StandingEvent) {
        match event {
            StandingEvent::Gossip(event) => self.gossip_event(event),
            StandingEvent::Identify(identify::Event::Received { peer_id, info, .. }) => {
                warn_of_other_versions(&info);
                if let Some(peer) = from_libp2p(&peer_id) {
                    self.connections.meetings.identified(peer, info.listen_addrs);
                }
            }
            StandingEvent::Ping(ping::Event { peer, connection, result: Err(ping::Failure::Timeout) }) => {
                tracing::info!(%peer, "it does not answer over TCP: the connection is closed");
                self.swarm.close_connection(connection);
            }
            StandingEvent::Identify(_) | StandingEvent::Ping(_) => {}
        }
    }

    fn gossip_event(&mut self, event: gossipsub::Event) {
        if let gossipsub::Event::Subscribed { peer_id, .. } = &event
            && from_libp2p(peer_id).is_some_and(|peer| self.connections.hears(peer))
        {
            self.engine.push(PeerInput::Missed);
        }
        let gossipsub::Event::Message { propagation_source, message_id, message } = event else { return };
        let announcement = Announcement::decode(&message.data).ok();
        let sender = from_libp2p(&propagation_source);
        let source = message.source.as_ref().and_then(from_libp2p);
        // One hop: a node says what it has to say itself, and passes nothing on. So nobody can repeat what a member
        // once signed, and have it count as that member's.
        let is_own = source.is_some() && source == sender;
        let is_sound =
            announcement.is_some() && is_own && source.is_some_and(|from| is_member(&self.shared.config, from));
        let acceptance = if is_sound { MessageAcceptance::Ignore } else { MessageAcceptance::Reject };
        let gossip = &mut self.swarm.behaviour_mut().home.inner.gossip;
        gossip.report_message_validation_result(&message_id, &propagation_source, acceptance);
        match (announcement, source) {
            (Some(announcement), Some(from)) if is_sound => {
                self.engine.push(PeerInput::Announced { from, announcement });
            }
            _ => {
                tracing::debug!(from = %propagation_source, "refused gossip that its sender did not sign, or no announcement");
                // It costs as much as a stream that nothing comes of.
                sender.into_iter().for_each(|sender| self.shared.accountant.openings.count(sender));
            }
        }
    }

    fn ask_event(&mut self, event: request_response::Event<Request, Answer>) {
        match event {
            request_response::Event::Message { peer, message, .. } => match message {
                request_response::Message::Request { request, channel, request_id } => {
                    let Some(from) = from_libp2p(&peer) else { return };
                    let (question, way) = (QuestionId(self.next_id()), Way { request: request_id, channel });
                    let admitted = peer_access::admit(&self.shared, from, request);
                    // The engine does not know what comes from a registry.
                    let coming = admitted.as_ref().ok().and_then(|request| match request {
                        Request::Arrival { target, number } => self.shared.site_downloads.answer(*target, *number),
                        Request::Holdings { .. }
                        | Request::Image(_)
                        | Request::Quote { .. }
                        | Request::Sketches(_)
                        | Request::Blob { .. } => None,
                    });
                    let admitted = coming.map_or(admitted, |arrival| Err(Answer::Arrival(arrival)));
                    match admitted {
                        Ok(request) => self.questions.add(question, from, request, way),
                        Err(answer) => {
                            self.questions.add_open(question, from, way);
                            self.answer(question, answer);
                        }
                    }
                    self.tell_questions();
                }
                request_response::Message::Response { request_id, response } => {
                    if let Some(reply) = self.asks_beside.remove(&request_id) {
                        // The asker may have stopped waiting.
                        return drop(reply.send(response));
                    }
                    let Some(ask) = self.asks.remove(&request_id) else {
                        return broken("an answer to no question of this node");
                    };
                    let believes = match &response {
                        Answer::Image(image) => self.believes(image),
                        _ => true,
                    };
                    let answer = if believes { Ok(response) } else { Err(AskFailure::NotTrusted) };
                    self.engine.push(WorkInput::Answered { ask, answer });
                    self.review_plans();
                }
            },
            request_response::Event::OutboundFailure { peer, request_id, error, .. } => {
                tracing::debug!(%peer, %error, "a question got no answer");
                if self.asks_beside.remove(&request_id).is_some() {
                    return;
                }
                let Some(ask) = self.asks.remove(&request_id) else {
                    return broken("a failure of no question of this node");
                };
                let failure = match &error {
                    OutboundFailure::Io(error) if error.kind() == std::io::ErrorKind::InvalidData => {
                        AskFailure::Malformed
                    }
                    _ => AskFailure::Unreachable,
                };
                self.engine.push(WorkInput::Answered { ask, answer: Err(failure) });
            }
            request_response::Event::InboundFailure { request_id, .. }
            | request_response::Event::ResponseSent { request_id, .. } => {
                self.questions.ended(request_id);
                self.tell_questions();
            }
        }
    }

    /// Tells the engine the questions whose answers have room.
    pub(super) fn tell_questions(&mut self) {
        while let Some((question, from, request)) = self.questions.take_ready() {
            self.engine.push(PeerInput::Asked { question, from, request });
        }
    }
}

/// Keeps the connections to the peers whose addresses come from the operator or from multicast DNS.
pub struct Dialer {
    peers: BTreeMap<libp2p::PeerId, Known>,
}

struct Known {
    addresses: Vec<Multiaddr>,
    next: Instant,
    failures: u32,
    /// Its address is the operator's.
    is_configured: bool,
    /// Why the last attempt failed; empty if it did not.
    trouble: String,
}

/// Between two attempts: doubled with each failure, up to this.
const DIAL_PAUSE_MAX: Duration = Duration::from_secs(60);
const DIAL_PAUSE_MIN: Duration = Duration::from_secs(1);
/// Peers and addresses for each that are remembered.
const KNOWN_MAX: usize = 4096;
const ADDRESSES_MAX: usize = 8;
/// Longer texts about a failure are cut.
const TROUBLE_CHARS_MAX: usize = 500;

impl Dialer {
    pub fn new(bootstrap: &[Multiaddr]) -> Self {
        let mut dialer = Self { peers: BTreeMap::new() };
        for address in bootstrap {
            if let Some(Protocol::P2p(peer)) = address.iter().last() {
                dialer.add(peer, address.clone());
                dialer.peers.entry(peer).and_modify(|known| known.is_configured = true);
            }
        }
        dialer
    }

    pub fn add(&mut self, peer: libp2p::PeerId, address: Multiaddr) {
        if self.peers.len() >= KNOWN_MAX && !self.peers.contains_key(&peer) {
            return;
        }
        let entry = self.peers.entry(peer);
        let known = entry.or_insert_with(|| Known {
            addresses: Vec::new(),
            next: Instant::now(),
            failures: 0,
            is_configured: false,
            trouble: String::new(),
        });
        if known.addresses.len() < ADDRESSES_MAX && !known.addresses.contains(&address) {
            known.addresses.push(address);
        }
    }

    /// Whether a peer is to stay connected.
    pub fn keeps(&self, peer: &libp2p::PeerId) -> bool {
        self.peers.contains_key(peer)
    }

    pub fn connected(&mut self, peer: &libp2p::PeerId) {
        if let Some(known) = self.peers.get_mut(peer) {
            known.failures = 0;
            known.next = Instant::now() + DIAL_PAUSE_MIN;
            known.trouble.clear();
        }
    }

    /// Remembers why a peer whose address is the operator's could not be dialled. Whether that is news.
    pub fn failed(&mut self, peer: &libp2p::PeerId, error: &DialError) -> bool {
        let Some(known) = self.peers.get_mut(peer).filter(|known| known.is_configured) else { return false };
        let trouble: String = error.to_string().chars().take(TROUBLE_CHARS_MAX).collect();
        let is_news = known.trouble != trouble;
        known.trouble = trouble;
        is_news
    }

    /// The peers of the operator's addresses that cannot be dialled, and why.
    pub fn troubles(&self) -> impl Iterator<Item = (&libp2p::PeerId, &str)> {
        let troubled = self.peers.iter().filter(|(_, known)| !known.trouble.is_empty());
        troubled.map(|(peer, known)| (peer, known.trouble.as_str()))
    }

    pub fn dial_due(&mut self, swarm: &mut Swarm<Behaviour>) {
        let now = Instant::now();
        for (peer, known) in &mut self.peers {
            if known.next > now || swarm.is_connected(peer) {
                continue;
            }
            let pause = DIAL_PAUSE_MIN * 2u32.saturating_pow(known.failures);
            known.next = now + pause.min(DIAL_PAUSE_MAX);
            known.failures = (known.failures + 1).min(6);
            let options = DialOpts::peer_id(*peer)
                .addresses(known.addresses.clone())
                .condition(PeerCondition::DisconnectedAndNotDialing)
                .build();
            if let Err(error) = swarm.dial(options) {
                tracing::debug!(%peer, %error, "did not dial");
            }
        }
    }
}

/// The peers that a configuration names but does not let in: a likely mistake.
pub fn bootstrap_strangers(bootstrap: &[Multiaddr], members: &[PeerId]) -> Vec<Multiaddr> {
    bootstrap.iter().filter(|address| is_of_stranger(address, members)).cloned().collect()
}

fn is_of_stranger(address: &Multiaddr, members: &[PeerId]) -> bool {
    match address.iter().last() {
        Some(Protocol::P2p(peer)) => !from_libp2p(&peer).is_some_and(|peer| members.contains(&peer)),
        _ => false,
    }
}

/// Writes to the log which protocols the peer speaks in another version than this node.
fn warn_of_other_versions(info: &identify::Info) {
    let peer = info.public_key.to_peer_id();
    for differs in OtherVersion::find(info.protocols.iter().map(AsRef::as_ref)) {
        tracing::warn!(%peer, agent = ?info.agent_version, "{differs}");
    }
}
