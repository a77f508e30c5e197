//! A member that uses up what it can of a hub, and the other members.

use futures::{AsyncReadExt, AsyncWriteExt, StreamExt};
use libp2p::swarm::SwarmEvent;
use lighter_types::DiffId;
use lighter_wire::{Message, PatchReply, PatchRequest, Refusal, Terms};

use super::*;
use crate::identity::to_libp2p;
use crate::links::Links;
use crate::network;
use crate::traffic::Accountant;

/// Streams that the member opens.
const STREAMS: usize = 70;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_opens_streams_without_end_is_cut_off() {
    let (hub, edge) = hub_and_edge().await;
    for _ in 0..=lighter_engine::Settings::MESSAGES_MAX * 10 {
        hub.shared.accountant.openings.count(edge.shared.identity.peer_id());
    }
    hub.until(|status| status.peers_connected == 0).await;
    edge.end().await;
    hub.end().await;
}

/// The bytes of a request that says that a have-list comes behind it.
fn request_with_list() -> Vec<u8> {
    let request = PatchRequest {
        target: DiffId::new([1; 32]),
        bases: Vec::new(),
        have: Some(DiffId::new([2; 32])),
        resume: None,
        referable: None,
        terms: Terms::default(),
    };
    let bytes = request.encode().unwrap();
    [&(bytes.len() as u16).to_le_bytes()[..], &bytes].concat()
}

/// Sends a request on a new stream and not the list behind it. The stream, if the hub gave it up; `None` if it is busy.
async fn hold(control: lighter_streams::Control, hub: libp2p::PeerId) -> Option<libp2p::Stream> {
    let mut stream = control.open(hub).await.unwrap();
    stream.write_all(&request_with_list()).await.unwrap();
    stream.flush().await.unwrap();
    let mut reply = [0; 2];
    // A hub that waits for the list says nothing until it gives the stream up.
    if timeout(LIMIT, stream.read_exact(&mut reply)).await.is_ok_and(|read| read.is_ok()) {
        let mut bytes = vec![0; usize::from(u16::from_le_bytes(reply))];
        stream.read_exact(&mut bytes).await.unwrap();
        let reply = PatchReply::decode(&bytes).unwrap();
        assert!(matches!(reply, PatchReply::Refused(Refusal::Busy { .. })), "{reply:?}");
        return None;
    }
    Some(stream)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_holds_streams_open_leaves_places_for_lists() {
    let (hub, loud) = (Place::create(), Place::create());
    let members = [hub.peer_id, loud.peer_id];
    let config = loud.config(&members, Vec::new());
    let identity = Identity::open(loud.folder.path()).unwrap();
    let hub = hub.run(&members, Vec::new()).await;
    let accountant = Accountant::new(config.network.upload_max, config.network.download_max);
    let mut swarm = network::swarm(&config, &identity, &accountant, &Links::default()).unwrap();
    let control = swarm.behaviour().stream.control();
    swarm.dial(hub.address().await).unwrap();
    while !matches!(swarm.next().await, Some(SwarmEvent::ConnectionEstablished { .. })) {}
    let driving = tokio::spawn(async move { while swarm.next().await.is_some() {} });
    let hub_id = to_libp2p(hub.shared.identity.peer_id()).unwrap();
    let mut holding: Vec<_> = (0..STREAMS).map(|_| Box::pin(hold(control.clone(), hub_id))).collect();
    // As soon as one is refused, the member has all the places that it gets.
    loop {
        let (held, _, others) = futures::future::select_all(holding).await;
        holding = others;
        if held.is_none() {
            break;
        }
    }
    let others = (10..20).map(|name| hub.shared.lists.place(PeerId::new([name; 32])));
    assert!(others.collect::<Option<Vec<_>>>().is_some(), "ten others find places");
    driving.abort();
    hub.end().await;
}
