//! Peers that promise a layer and never send it: a lying neighbour, and a provider that works on the patch without end.

use std::process::Stdio;
use std::time::Duration;

use libp2p::identity::Keypair;
use lighter_types::Bytes;
use lighter_wire::{Answer, Arrival, Message, PatchReply, Request};

use super::harness::{
    Memory, check_turned_away, fleet, framed, is_cut_off, layer, layer_from, pull_events, wait_heard,
};
use super::hostile::{Hostile, SITE, Script, Then, card};
use crate::support::Fleet;
use crate::support::images;

/// Says that every layer comes through it, and more of it each time.
fn lying_neighbour() -> Script {
    let mut script = Script::bargain(Vec::new(), |_| Vec::new());
    let mut bargain = script.answer;
    let mut received = Bytes::ZERO;
    script.answer = Box::new(move |request| match request {
        Request::Arrival { .. } => {
            received += Bytes(100_000);
            Some(Answer::Arrival(Arrival::Coming { received }).encode().expect("a small answer"))
        }
        Request::Holdings { .. }
        | Request::Quote { .. }
        | Request::Image(_)
        | Request::Blob { .. }
        | Request::Sketches(_) => bargain(request),
    });
    Script { then: Then::Repeats(working(1), Duration::from_secs(1)), ..script }
}

/// So many replies of a peer that it makes the patch.
fn working(count: usize) -> Vec<u8> {
    framed(&PatchReply::Working { done: Bytes(1) }).repeat(count)
}

/// Quotes a patch of a hundred bytes, at once.
fn endless_worker(tar: &[u8], site: &str, then: Then) -> Script {
    let claimed = card(tar, &images::sha256(tar));
    Script { then, ..Script::bargain_at(site, vec![claimed], |_| Vec::new()) }
}

/// Two victims at once, since the node gives each kind of liar a quarter of a minute.
#[test]
fn peers_that_promise_a_layer_and_never_send_it_are_left_for_others() {
    let liars = [Keypair::generate_ed25519(), Keypair::generate_ed25519()];
    let mut fleet = Fleet::create(3);
    let ids = fleet.nodes.iter().map(|node| node.peer_id.clone());
    let members: Vec<String> = ids.chain(liars.iter().map(|key| key.public().to_peer_id().to_string())).collect();
    fleet.nodes.iter_mut().for_each(|node| node.set(format!("fleet.members={members:?}")));
    fleet.nodes[1].set(format!("site={SITE}"));
    fleet.nodes[2].set("site=dock");
    fleet.start();
    let [hub, neighbour, lonely] = &fleet.nodes[..] else { panic!("three nodes") };
    let tar = layer(1);
    let [of_site, outside] = liars;
    let liars = [
        Hostile::start(of_site, neighbour.address(), lying_neighbour()),
        Hostile::start(
            outside,
            lonely.address(),
            endless_worker(&tar, "dock", Then::Repeats(working(1), Duration::from_secs(1))),
        ),
    ];
    neighbour.wait_peers(3);
    wait_heard(lonely, &liars[1]);
    hub.import(fleet.folder.path(), &images::layout(&[tar]), "demo/app:1");
    [neighbour, lonely].iter().for_each(|victim| victim.wait_holdings(&hub.peer_id, 1));
    let memory = [neighbour, lonely].map(Memory::of);
    let pulls = [neighbour, lonely].map(|victim| {
        let mut pull = victim.cli_command();
        pull.args(["-o", "jsonl", "image", "pull", "demo/app:1"]).stdin(Stdio::null()).stdout(Stdio::piped());
        pull.spawn().expect("a process")
    });
    for (((pull, victim), liar), memory) in pulls.into_iter().zip([neighbour, lonely]).zip(&liars).zip(memory) {
        let output = pull.wait_with_output().expect("its end");
        assert!(output.status.success(), "{output:?}");
        let lines = String::from_utf8(output.stdout).expect("UTF-8");
        let events: Vec<_> = lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        // The other victim may have it sooner than the hub sends it.
        assert_ne!(layer_from(&events), liar.peer_id, "{lines}");
        assert!(liar.seen().streams > 0, "the liar was asked: {:?}", liar.seen());
        memory.check("promises without end");
        assert!(!is_cut_off(victim, &hub.peer_id));
    }
}

#[test]
fn a_peer_that_says_without_end_that_it_works_is_cut_off() {
    let key = Keypair::generate_ed25519();
    let fleet = fleet(std::slice::from_ref(&key));
    let [hub, victim] = &fleet.nodes[..] else { panic!("two nodes") };
    let tar = layer(1);
    let script = endless_worker(&tar, SITE, Then::Repeats(working(1000), Duration::ZERO));
    let liar = Hostile::start(key, victim.address(), script);
    wait_heard(victim, &liar);
    hub.import(fleet.folder.path(), &images::layout(&[tar]), "demo/app:1");
    victim.wait_holdings(&hub.peer_id, 1);
    let memory = Memory::of(victim);
    let events = pull_events(victim, "demo/app:1");
    check_turned_away(&events, &liar, hub, "endless replies", "times that it makes the patch");
    memory.check("endless replies");
    assert!(is_cut_off(victim, &liar.peer_id) && !is_cut_off(victim, &hub.peer_id));
}
