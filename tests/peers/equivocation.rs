//! A publisher whose key signs two images under one name and date, and one that dates back.

use libp2p::identity::Keypair;
use lighter_types::{ImageReference, OciDigest};
use lighter_wire::{Answer, ImageAnswer, ImageName, Message, Release, Request, SignedRelease};

use super::harness::{is_cut_off, layer, members};
use super::hostile::{Hostile, Script};
use crate::support::images;
use crate::support::{NodeProcess, SOON, until};

const NAME: &str = "demo/app:1";

/// A release of the name, by this key.
fn release(key: &Keypair, manifest: &str, issued_s: u64) -> SignedRelease {
    let manifest: OciDigest = manifest.parse().expect("a digest");
    let reference: ImageReference = NAME.parse().expect("a reference");
    let release = Release { reference, manifest, issued_s, companions: None, bounds: None };
    let signature = key.sign(&release.signed_bytes()).expect("a key that signs");
    let publisher = lighter_node::identity::from_libp2p(&key.public().to_peer_id()).expect("an ed25519 key");
    let signature = signature.try_into().expect("64 bytes");
    SignedRelease { release, publisher, signature, cosignatures: Vec::new() }
}

/// Knows this release, and holds nothing.
fn tells(release: SignedRelease) -> Script {
    let mut script = Script::bargain(Vec::new(), |_| Vec::new());
    let mut bargain = script.answer;
    script.answer = Box::new(move |request| match request {
        Request::Image(asked) if matches!(&asked.name, ImageName::Reference(name) if name.to_string() == NAME) => {
            let answer = ImageAnswer { release: Some(release.clone()), ..ImageAnswer::default() };
            Some(Answer::Image(Box::new(answer)).encode().expect("a small answer"))
        }
        Request::Image(_)
        | Request::Holdings { .. }
        | Request::Quote { .. }
        | Request::Blob { .. }
        | Request::Sketches(_)
        | Request::Arrival { .. } => bargain(request),
    });
    script
}

/// The manifest that the name stands for, once the node has pulled it while `messenger` tells this release too.
#[track_caller]
fn pull_told(node: &NodeProcess, messenger: Keypair, told: SignedRelease) -> (String, Hostile) {
    let liar = Hostile::start(messenger, node.address(), tells(told));
    until("the liar to connect", SOON, || node.peer(&liar.peer_id).filter(|peer| peer["connected"] == true));
    let questions = liar.seen().questions;
    // A release that does not count leaves the one that the node has.
    let _ = node.cli(&["-o", "json", "image", "pull", NAME]);
    assert!(liar.seen().questions > questions, "it was asked");
    assert!(!is_cut_off(node, &liar.peer_id), "an opinion is no offence");
    (shown(node), liar)
}

fn shown(node: &NodeProcess) -> String {
    node.ask(&["image", "show", NAME])["manifest"].as_str().expect("a digest").to_owned()
}

#[test]
fn of_two_releases_of_one_date_each_node_keeps_the_first_and_a_later_one_ends_that() {
    let publisher = Keypair::generate_ed25519();
    let messengers = [(); 6].map(|()| Keypair::generate_ed25519());
    let mut fleet = members(&messengers);
    let publishers = [fleet.nodes[0].peer_id.clone(), publisher.public().to_peer_id().to_string()];
    fleet.nodes.iter_mut().for_each(|node| node.set(format!("fleet.publishers={publishers:?}")));
    fleet.start();
    let folder = fleet.folder.path().to_owned();
    let [hub, victim] = &mut fleet.nodes[..] else { panic!("two nodes") };
    let [one, other] =
        [1, 2].map(|seed| hub.import(&folder, &images::layout(&[layer(seed)]), &format!("demo/other:{seed}")));
    let now_s = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs();
    let signs = |manifest: &str, ago_s: u64| release(&publisher, manifest, now_s - ago_s);
    let [first, second, older, at_hub, later, later_at_hub] = messengers;
    let (of_victim, _first) = pull_told(victim, first, signs(&one, 100));
    assert_eq!(of_victim, one);
    for (messenger, told) in [(second, signs(&other, 100)), (older, signs(&other, 200))] {
        assert_eq!(pull_told(victim, messenger, told).0, one);
    }
    // The hub hears the other one first. Each keeps its own, and neither cuts the other off.
    assert_eq!(victim.stop(), 0);
    let (of_hub, _at_hub) = pull_told(hub, at_hub, signs(&other, 100));
    assert_eq!(of_hub, other);
    victim.start();
    victim.wait_holdings(&hub.peer_id, 2);
    let _ = victim.cli(&["-o", "json", "image", "pull", NAME]);
    assert_eq!(shown(victim), one);
    for (node, messenger) in [(&*hub, later_at_hub), (&*victim, later)] {
        assert_eq!(pull_told(node, messenger, signs(&other, 50)).0, other);
    }
    assert!(!is_cut_off(victim, &hub.peer_id) && !is_cut_off(hub, &victim.peer_id));
}
