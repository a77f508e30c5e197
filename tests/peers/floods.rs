//! Members that flood a hub with work and with connections, and strangers that open connections and say nothing: an
//! honest node's pull goes on beside them.

use std::net::TcpStream;

use libp2p::identity::Keypair;
use libp2p::multiaddr::Protocol;
use lighter_types::{BytesPerSecond, DiffId};
use lighter_wire::{PatchRequest, Referable, Terms};

use super::harness::{Memory, diff_id, framed, is_cut_off, layer_from, members, pull_events};
use super::hostile::{Deed, Hostile, Script};
use crate::support::images::{self, noise, text};
use crate::support::{NodeProcess, SOON, loopback, until};

/// Patches that the flood asks for, each some tenths of a second of work.
const PATCHES: usize = 20;
const LAYER_BYTES: usize = 200_000;
/// Strangers' connections, and members' that come and go.
const HALF_OPEN: usize = 300;
const CHURN: usize = 100;

fn quiet() -> Script {
    Script::bargain(Vec::new(), |_| Vec::new())
}

/// The layers whose patches a node made, in their order.
fn made(node: &NodeProcess) -> Vec<String> {
    let log = node.log();
    let lines = log.lines().filter(|line| line.contains("made a patch"));
    lines.filter_map(|line| Some(line.split_once("target=")?.1.split(' ').next()?.to_owned())).collect()
}

fn asks_for(target: DiffId) -> Vec<u8> {
    let referable = Some(Referable { uplink: BytesPerSecond(1_000_000), passes_on: false });
    let request =
        PatchRequest { target, bases: Vec::new(), have: None, resume: None, referable, terms: Terms::default() };
    framed(&request)
}

#[test]
fn a_flood_of_encodes_delays_an_honest_pull_by_some_patches_and_not_by_all() {
    let key = Keypair::generate_ed25519();
    let mut fleet = members(std::slice::from_ref(&key));
    fleet.nodes[0].set("limits.encode_effort=\"default\"");
    fleet.start();
    let [hub, edge] = &fleet.nodes[..] else { panic!("two nodes") };
    let folder = fleet.folder.path();
    let tars: Vec<Vec<u8>> =
        (0..PATCHES as u64).map(|seed| images::tar(&[("app", &text(seed, LAYER_BYTES))])).collect();
    hub.import(folder, &images::layout(&tars), "demo/many:1");
    let wanted = images::tar(&[("app", &noise(99, 100_000))]);
    hub.import(folder, &images::layout(std::slice::from_ref(&wanted)), "demo/app:1");
    edge.wait_holdings(&hub.peer_id, PATCHES as u64 + 1);
    let liar = Hostile::start(key, hub.address(), quiet());
    hub.wait_peers(2);
    tars.iter().for_each(|tar| liar.does(Deed::Stream(asks_for(diff_id(tar)))));
    until("the hub to be at work", SOON, || (!made(hub).is_empty()).then_some(()));
    let before = made(hub).len();
    assert_eq!(layer_from(&pull_events(edge, "demo/app:1")), hub.peer_id);
    let name = images::sha256(&wanted);
    let made = made(hub);
    let place = made.iter().position(|layer| *layer == name).unwrap_or_else(|| panic!("{name} in {made:?}"));
    assert!(place - before < PATCHES / 2, "place {place} after {before}, of {PATCHES}: {made:?}");
    assert!(!is_cut_off(hub, &edge.peer_id) && !is_cut_off(edge, &hub.peer_id));
}

#[test]
fn connections_that_come_and_go_or_say_nothing_hold_up_no_pull() {
    let churns = Keypair::generate_ed25519();
    let mut fleet = members(std::slice::from_ref(&churns));
    let address = loopback();
    fleet.nodes[0].set(format!("network.listen=[\"/ip4/{address}/udp/0/quic-v1\", \"/ip4/{address}/tcp/0\"]"));
    let [hub, edge] = &mut fleet.nodes[..] else { panic!("two nodes") };
    hub.start();
    hub.import(fleet.folder.path(), &images::layout(&[images::tar(&[("app", &noise(1, 300_000))])]), "demo/app:1");
    let listen = hub.status()["listen"].as_array().expect("addresses").clone();
    let tcp = listen.iter().find_map(|text| text.as_str().filter(|text| text.contains("/tcp/"))).expect("TCP");
    let tcp: libp2p::Multiaddr = tcp.parse().expect("an address");
    let port = tcp.iter().find_map(|part| if let Protocol::Tcp(port) = part { Some(port) } else { None });
    let port = port.expect("a port");
    let memory = Memory::of(hub);
    let half_open: Vec<TcpStream> =
        (0..HALF_OPEN).map(|_| TcpStream::connect((address.as_str(), port)).expect("the kernel accepts")).collect();
    for _ in 0..CHURN {
        let peer = Hostile::start(churns.clone(), hub.address(), quiet());
        until("a connection or a refusal", SOON, || {
            let seen = peer.seen();
            (seen.connected || seen.disconnected).then_some(())
        });
    }
    edge.start();
    edge.wait_holdings(&hub.peer_id, 1);
    assert_eq!(layer_from(&pull_events(edge, "demo/app:1")), hub.peer_id);
    memory.check("connections");
    assert!(!is_cut_off(hub, &edge.peer_id) && !is_cut_off(edge, &hub.peer_id));
    assert!(hub.is_running() && !hub.log().contains("panicked"));
    drop(half_open);
}
