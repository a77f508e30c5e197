//! The behaviour and its handler without a swarm: what is kept, and the order of calls.

use std::task::{Context, Poll};

use futures::FutureExt;
use futures::task::noop_waker_ref;
use libp2p::core::{ConnectedPoint, Endpoint, transport::PortUse};
use libp2p::swarm::behaviour::{ConnectionClosed, ConnectionEstablished};
use libp2p::swarm::handler::{ConnectionEvent, DialUpgradeError};
use libp2p::swarm::{
    ConnectionHandler, ConnectionHandlerEvent, ConnectionId, DialError, DialFailure, FromSwarm, NetworkBehaviour,
    NotifyHandler, StreamUpgradeError, ToSwarm,
};

use super::*;
use crate::OpenError;
use crate::handler::Handler;

fn behaviour() -> Behaviour {
    Behaviour::new(PROTOCOL, Settings::default(), Arc::new(|_| BUSY.to_vec()))
}

fn endpoint() -> ConnectedPoint {
    let address = "/memory/1".parse().unwrap();
    ConnectedPoint::Dialer { address, role_override: Endpoint::Dialer, port_use: PortUse::Reuse }
}

fn connect(behaviour: &mut Behaviour, peer: PeerId, id: usize) -> Handler {
    let (connection_id, endpoint) = (ConnectionId::new_unchecked(id), endpoint());
    let address = "/memory/1".parse().unwrap();
    let handler = behaviour.handle_established_inbound_connection(connection_id, peer, &address, &address).unwrap();
    behaviour.on_swarm_event(FromSwarm::ConnectionEstablished(ConnectionEstablished {
        peer_id: peer,
        connection_id,
        endpoint: &endpoint,
        failed_addresses: &[],
        other_established: 0,
    }));
    handler
}

fn disconnect(behaviour: &mut Behaviour, peer: PeerId, id: usize) {
    behaviour.on_swarm_event(FromSwarm::ConnectionClosed(ConnectionClosed {
        peer_id: peer,
        connection_id: ConnectionId::new_unchecked(id),
        endpoint: &endpoint(),
        cause: None,
        remaining_established: 0,
    }));
}

/// The connection that the next call is handed to, and the call.
fn handed(behaviour: &mut Behaviour) -> Option<(ConnectionId, crate::outbox::Open)> {
    match behaviour.poll(&mut Context::from_waker(noop_waker_ref())) {
        Poll::Ready(ToSwarm::NotifyHandler { handler: NotifyHandler::One(connection), event, .. }) => {
            Some((connection, event))
        }
        _ => None,
    }
}

fn asks_for_a_stream(handler: &mut Handler) -> bool {
    let polled = handler.poll(&mut Context::from_waker(noop_waker_ref()));
    matches!(polled, Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest { .. }))
}

#[tokio::test]
async fn ten_thousand_connections_leave_nothing() {
    let mut behaviour = behaviour();
    let control = behaviour.control();
    for id in 0..10_000 {
        let peer = PeerId::random();
        // One call comes before the connection, one while it is there, one that its connection does not outlive.
        let mut early = Box::pin(control.open(peer));
        assert!(early.as_mut().now_or_never().is_none());
        assert!(matches!(
            behaviour.poll(&mut Context::from_waker(noop_waker_ref())),
            Poll::Ready(ToSwarm::Dial { .. })
        ));
        let mut handler = connect(&mut behaviour, peer, id);
        let (_, open) = handed(&mut behaviour).unwrap();
        handler.on_behaviour_event(open);
        assert!(asks_for_a_stream(&mut handler));
        let mut late = Box::pin(control.open(peer));
        assert!(late.as_mut().now_or_never().is_none());
        disconnect(&mut behaviour, peer, id);
        drop(handler);
        assert_eq!(early.await.unwrap_err(), OpenError::ConnectionClosed);
        drop(late);
    }
    assert_eq!(control.held(), 0);
}

#[tokio::test]
async fn the_newest_connection_gets_the_call() {
    let mut behaviour = behaviour();
    let (control, peer) = (behaviour.control(), PeerId::random());
    let _first = connect(&mut behaviour, peer, 1);
    let _second = connect(&mut behaviour, peer, 2);
    let mut call = Box::pin(control.open(peer));
    assert!(call.as_mut().now_or_never().is_none());
    assert_eq!(handed(&mut behaviour).unwrap().0, ConnectionId::new_unchecked(2));
    disconnect(&mut behaviour, peer, 2);
    let mut call = Box::pin(control.open(peer));
    assert!(call.as_mut().now_or_never().is_none());
    assert_eq!(handed(&mut behaviour).unwrap().0, ConnectionId::new_unchecked(1));
}

#[tokio::test]
async fn results_go_to_the_oldest_call_that_still_waits() {
    let mut behaviour = behaviour();
    let (control, peer) = (behaviour.control(), PeerId::random());
    let mut handler = connect(&mut behaviour, peer, 1);
    let mut calls: Vec<_> = (0..4).map(|_| Box::pin(control.open(peer))).collect();
    for call in &mut calls {
        assert!(call.as_mut().now_or_never().is_none());
        handler.on_behaviour_event(handed(&mut behaviour).unwrap().1);
    }
    assert!((0..4).all(|_| asks_for_a_stream(&mut handler)), "four at once");
    assert!(!asks_for_a_stream(&mut handler));
    drop(calls.remove(0));
    let mut answered = Vec::new();
    for _ in 0..3 {
        let error = StreamUpgradeError::NegotiationFailed;
        handler.on_connection_event(ConnectionEvent::DialUpgradeError(DialUpgradeError { info: (), error }));
        answered.extend(calls.iter_mut().position(|call| call.as_mut().now_or_never().is_some()));
        drop(calls.remove(0));
    }
    assert_eq!(answered, [0, 0, 0], "always the oldest that is left");
}

#[tokio::test]
async fn another_dial_under_way_is_waited_for() {
    let mut behaviour = behaviour();
    let (control, peer) = (behaviour.control(), PeerId::random());
    let mut call = Box::pin(control.open(peer));
    assert!(call.as_mut().now_or_never().is_none());
    assert!(handed(&mut behaviour).is_none());
    let condition = libp2p::swarm::dial_opts::PeerCondition::DisconnectedAndNotDialing;
    fail_dial(&mut behaviour, peer, &DialError::DialPeerConditionFalse(condition));
    assert!(call.as_mut().now_or_never().is_none());
    fail_dial(&mut behaviour, peer, &DialError::NoAddresses);
    assert!(matches!(call.await, Err(OpenError::Dial(_))));
}

fn fail_dial(behaviour: &mut Behaviour, peer: PeerId, error: &DialError) {
    let connection_id = ConnectionId::new_unchecked(1);
    behaviour.on_swarm_event(FromSwarm::DialFailure(DialFailure { peer_id: Some(peer), error, connection_id }));
}
