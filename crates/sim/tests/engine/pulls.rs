//! Pulls from their beginning to their end: names and digests, quotes, caps, and the reports that operators hear.
//!
//! Some tests give one engine of the fleet inputs as if they came from its peers (`step_alone`), and look at its
//! effects. Nothing performs those.

use std::time::Duration;

use lighter_engine::{
    AskFailure, CachedPatch, DiskInput, Effect, EncodeId, Input, LocalFailure, Open, PeerInput, PullFailure,
    QuestionId, Report, Settings, StreamId, WorkInput,
};
use lighter_sim::test_fleet::{NoRoom, TestFleet, peer};
use lighter_types::{Bytes, Card, DiffId, Effort, OciDigest};
use lighter_wire::{Answer, ImageName, ImageRequest, Offer, Refusal, Request, Terms};

use super::{check_done, fleet, layer, new, new_from_old, old, received, request, seeds};

fn failure(fleet: &TestFleet, node: usize) -> &PullFailure {
    match fleet.end(node, 1) {
        Some(Report::Failed { why }) => why,
        end => panic!("node {node}: {end:?}"),
    }
}

/// The question for the image brings its documents and the cost of its layers. The requests for patches come next.
#[test]
fn a_pull_asks_one_question() {
    let mut fleet = fleet(1, 2, 1);
    fleet.start();
    let before = fleet.seen(1).asked.len();
    fleet.pull(1, 1, "app:new");
    fleet.run_pulls();
    check_done(&fleet, 1);
    let asked = &fleet.seen(1).asked[before..];
    assert!(matches!(asked, [Request::Image(_)]), "{asked:?}");
}

/// A peer that holds the layer and made no offer may have a better base: the node asks it for a quote.
#[test]
fn a_peer_with_a_better_base_is_asked_beside_the_one_that_made_an_offer() {
    let near = layer(2, 1, 40);
    let mut fleet = fleet(1, 3, 2);
    fleet.put(1, &[near]);
    fleet.put(2, &[layer(2, 2, 40), near]);
    fleet.publish(0, "app:two", 3, &[layer(2, 2, 40)]);
    fleet.put(0, &[layer(2, 2, 40)]);
    fleet.start();
    fleet.pull(1, 1, "app:two");
    fleet.run_pulls();
    assert!(matches!(fleet.end(1, 1), Some(Report::Done { .. })), "{:?}", fleet.end(1, 1));
    let asked = &fleet.seen(1).asked;
    assert!(asked.iter().any(|request| matches!(request, Request::Quote { .. })), "{asked:?}");
    assert_eq!(fleet.seen(2).served, 1);
}

/// All small layers are fetched at once, beside the large ones, and without a question for each.
#[test]
fn many_small_layers_come_at_once() {
    let small: Vec<Card> = (0..15).map(small_layer).collect();
    let mut fleet = fleet(1, 2, 1);
    fleet.publish(0, "app:small", 3, &small);
    fleet.put(0, &small);
    fleet.start();
    let before = fleet.seen(1).asked.len();
    fleet.pull(1, 1, "app:small");
    fleet.run_until(|fleet| fleet.streams().count() == small.len());
    fleet.run_pulls();
    assert!(matches!(fleet.end(1, 1), Some(Report::Done { .. })), "{:?}", fleet.end(1, 1));
    assert_eq!(fleet.seen(1).asked.len(), before + 1, "{:?}", fleet.seen(1).asked);
}

/// A layer of 3 KB.
fn small_layer(number: u8) -> Card {
    Card { tar_bytes: Bytes(4096), compressed_bytes: Bytes(3000), ..layer(7, number, 1) }
}

/// The companions of an image come with its layers, before the large ones although those take all places.
#[test]
fn companions_come_with_an_image_and_before_its_layers() {
    let large: Vec<Card> = (0..6).map(|number| layer(3, number, 40)).collect();
    let companions = layer(0xfe, 1, 1);
    let mut fleet = fleet(1, 2, 1);
    let manifest = fleet.publish_with(0, "app:signed", 3, &large, Some(companions));
    fleet.start();
    fleet.pull(1, 1, "app:signed");
    fleet.run_until(|fleet| fleet.disk(1).layers.contains(&companions.diff_id));
    assert!(large.iter().all(|card| !fleet.disk(1).layers.contains(&card.diff_id)));
    fleet.run_pulls();
    assert_eq!(fleet.end(1, 1), Some(&Report::Done { manifest }));
    let resolved = Report::Resolved { manifest, companions: Some(companions.diff_id) };
    assert!(fleet.seen(1).reports.iter().any(|(_, report)| *report == resolved));
    // A later release with the same layers and other companions: the next pull brings those alone.
    let later = layer(0xfe, 2, 1);
    fleet.publish_with(0, "app:signed", 4, &large, Some(later));
    fleet.step(0, DiskInput::LayerHeld { card: later, sketch: None }.into());
    fleet.pull(1, 2, "app:signed");
    fleet.run_pulls();
    assert!(matches!(fleet.end(1, 2), Some(Report::Done { .. })), "{:?}", fleet.end(1, 2));
    assert!(fleet.disk(1).layers.contains(&later.diff_id));
}

#[test]
fn the_newest_release_wins() {
    for seed in seeds(5) {
        let mut fleet = fleet(seed, 20, 5);
        for node in 1..10 {
            fleet.publish(node, "app:new", 3, &[old()]);
        }
        fleet.start();
        fleet.pull(15, 1, "app:new");
        fleet.run_pulls();
        check_done(&fleet, 15);
    }
}

#[test]
fn an_older_release_than_the_one_on_disk_is_not_believed() {
    let mut fleet = fleet(1, 3, 2);
    let newer = fleet.publish(2, "app:new", 9, &[old()]);
    fleet.start();
    fleet.pull(2, 1, "app:new");
    fleet.run_pulls();
    assert_eq!(fleet.end(2, 1), Some(&Report::Done { manifest: newer }));
}

#[test]
fn a_release_that_is_not_trusted_resolves_nothing() {
    let mut fleet = fleet(1, 2, 1);
    fleet.start();
    fleet.lose_asks(100);
    fleet.pull(1, 1, "app:new");
    let ask = fleet.open(1).find_map(|open| {
        let Open::Ask(ask) = open else { return None };
        Some(ask)
    });
    let answer = Err(AskFailure::NotTrusted);
    fleet.step(1, Input::Work(WorkInput::Answered { ask: ask.unwrap(), answer }));
    fleet.run_pulls();
    let reference = "app:new".parse().unwrap();
    assert_eq!(failure(&fleet, 1), &PullFailure::NotResolved { reference, asked: 1 });
}

#[test]
fn a_pull_by_digest_needs_no_name() {
    let mut fleet = fleet(1, 20, 19);
    let manifest = fleet.publish(13, "other:1", 5, &[new()]);
    fleet.start();
    fleet.pull_manifest(7, 1, manifest);
    fleet.run_pulls();
    check_done(&fleet, 7);
    let is_by_name = |request: &ImageRequest| matches!(request.name, ImageName::Reference(_));
    let by_name =
        fleet.seen(7).asked.iter().filter(|asked| matches!(asked, Request::Image(image) if is_by_name(image)));
    assert_eq!(by_name.count(), 0);
}

#[test]
fn a_digest_that_nobody_has_is_not_found() {
    let mut fleet = fleet(1, 12, 11);
    fleet.start();
    let digest = OciDigest::new([0xee; 32]);
    fleet.pull_manifest(7, 1, digest);
    fleet.run_pulls();
    assert_eq!(failure(&fleet, 7), &PullFailure::BlobNotFound { digest, asked: fleet.neighbours(7).len() });
}

#[test]
fn a_layer_that_nobody_holds_ends_the_pull_after_patience() {
    let mut fleet = fleet(1, 3, 2);
    fleet.start();
    fleet.step(0, Input::Disk(DiskInput::LayerGone(new().diff_id)));
    fleet.run(Duration::from_secs(2));
    let before = fleet.now();
    fleet.pull(1, 1, "app:new");
    fleet.run_pulls();
    assert_eq!(failure(&fleet, 1), &PullFailure::NoSource { target: new().diff_id });
    let took = fleet.now().since(before);
    assert!(took >= Duration::from_secs(30) && took < Duration::from_secs(35), "{took:?}");
}

/// More layers than fetches at a time, none of which has a source: nobody wakes up for nothing (checked by the fleet).
#[test]
fn layers_that_wait_for_a_free_fetch_do_not_spin() {
    let mut fleet = fleet(1, 3, 2);
    let layers: Vec<_> = (0..9).map(|release| layer(3, release, 40)).collect();
    fleet.publish(0, "big:1", 8, &layers);
    fleet.set_rate(100_000);
    fleet.start();
    fleet.pull(1, 1, "big:1");
    fleet.run_pulls();
    assert!(matches!(fleet.end(1, 1), Some(Report::Done { .. })), "{:?}", fleet.end(1, 1));
}

#[test]
fn without_a_base_the_whole_layer_comes() {
    let mut fleet = fleet(1, 2, 1);
    fleet.disk_mut(1).layers.clear();
    fleet.start();
    fleet.pull(1, 1, "app:new");
    fleet.run_pulls();
    check_done(&fleet, 1);
    assert_eq!(received(&fleet, 1), new().compressed_bytes);
}

#[test]
fn a_cancelled_pull_stops_its_fetch_and_frees_its_place() {
    let mut fleet = fleet(1, 2, 1);
    fleet.set_rate(100_000);
    fleet.disk_mut(1).layers.clear();
    fleet.start();
    fleet.pull(1, 1, "app:new");
    fleet.run(Duration::from_secs(30));
    fleet.cancel(1, 1);
    assert_eq!(failure(&fleet, 1), &PullFailure::Cancelled);
    assert!(fleet.streams().next().is_none());
    fleet.pull(1, 2, "app:new");
    fleet.run_pulls();
    assert!(matches!(fleet.end(1, 2), Some(Report::Done { .. })));
    assert!(received(&fleet, 1) < new().compressed_bytes, "what was on disk was bought again");
}

#[test]
fn a_layer_that_comes_another_way_ends_its_fetch() {
    let mut fleet = fleet(1, 2, 1);
    fleet.set_rate(100_000);
    fleet.start();
    fleet.pull(1, 1, "app:new");
    fleet.run_until(|fleet| fleet.streams().next().is_some());
    fleet.put(1, &[new()]);
    fleet.step(1, Input::Disk(DiskInput::LayerHeld { card: new(), sketch: None }));
    assert!(fleet.streams().next().is_none());
    fleet.run_pulls();
    check_done(&fleet, 1);
    assert_eq!(fleet.engine(1).part(new().diff_id), None);
}

#[test]
fn one_encode_for_all_who_want_the_same() {
    let mut fleet = fleet(1, 10, 9);
    fleet.start();
    let mut encodes = 0;
    for stream in 0..9 {
        let request = request(new().diff_id, &[old().diff_id]);
        let input = Input::Peer(PeerInput::StreamOpened {
            stream: StreamId(1_000_000 + stream),
            from: peer(stream as usize + 1),
            request,
        });
        let effects = fleet.step_alone(0, input);
        encodes += effects.iter().filter(|effect| matches!(effect, Effect::Encode { .. })).count();
    }
    assert_eq!(encodes, 1);
    let patch = new_from_old();
    let ended =
        Input::Work(WorkInput::EncodeEnded { encode: EncodeId(0), took: Duration::from_secs(2), result: Ok(patch) });
    let effects = fleet.step_alone(0, ended);
    assert_eq!(effects.iter().filter(|effect| matches!(effect, Effect::Serve { first_frame: 0, .. })).count(), 9);
}

#[test]
fn streams_have_caps_for_one_peer_and_for_all() {
    let mut fleet = fleet(1, 20, 1);
    fleet.start();
    let patch = CachedPatch { effort: Some(Effort::Max), ..new_from_old() };
    fleet.step_alone(0, Input::Disk(DiskInput::PatchHeld(patch)));
    let mut open = |stream: u64, from: usize| {
        let request = request(new().diff_id, &[old().diff_id]);
        fleet.step_alone(
            0,
            Input::Peer(PeerInput::StreamOpened { stream: StreamId(1_000_000 + stream), from: peer(from), request }),
        )
    };
    let busy = |stream: u64| [Effect::Refuse { stream: StreamId(1_000_000 + stream), refusal: Refusal::BUSY }];
    assert!((0..4).all(|stream| matches!(open(stream, 1)[..], [Effect::Serve { .. }])));
    assert_eq!(open(4, 1), busy(4));
    assert!((8..36).all(|stream| matches!(open(stream, stream as usize / 4)[..], [Effect::Serve { .. }])));
    assert_eq!(open(36, 15), busy(36));
    fleet.step_alone(0, Input::Peer(PeerInput::StreamClosed(StreamId(1_000_000))));
    let request = request(new().diff_id, &[]);
    let again = Input::Peer(PeerInput::StreamOpened { stream: StreamId(1_000_037), from: peer(15), request });
    assert!(!fleet.step_alone(0, again).iter().any(|effect| matches!(effect, Effect::Refuse { .. })));
}

#[test]
fn a_quote_is_exact_once_the_patch_is_there() {
    let mut fleet = fleet(1, 2, 1);
    fleet.start();
    let mut quote = |question: u64, target: DiffId| {
        let (bases, terms) = (vec![old().diff_id], Terms::default());
        let request = Request::Quote { target, bases, terms };
        let question = QuestionId(1_000_000 + question);
        match fleet.step_alone(0, Input::Peer(PeerInput::Asked { question, from: peer(1), request })).pop() {
            Some(Effect::Answer { answer, .. }) => answer,
            other => panic!("{other:?}"),
        }
    };
    let Answer::Quote(predicted) = quote(1, new().diff_id) else { panic!("no quote") };
    assert!(matches!(predicted.offer, Offer::Predicted { bytes } if bytes < new().compressed_bytes));
    assert!(predicted.wait > Duration::ZERO);
    assert_eq!(quote(2, layer(8, 8, 1).diff_id), Answer::Refused(Refusal::NotHeld));
    let patch = new_from_old();
    fleet.step_alone(0, Input::Disk(DiskInput::PatchHeld(patch.clone())));
    let (target, bases, terms) = (new().diff_id, vec![old().diff_id], Terms::default());
    let request = Request::Quote { target, bases, terms };
    let effects =
        fleet.step_alone(0, Input::Peer(PeerInput::Asked { question: QuestionId(1_000_003), from: peer(1), request }));
    let expected = lighter_wire::Quote {
        offer: Offer::Ready { patch: patch.patch, bytes: Bytes::MIB },
        bases: vec![old().diff_id],
        wait: Duration::ZERO,
        effort: patch.effort,
    };
    assert_eq!(effects, [Effect::Answer { question: QuestionId(1_000_003), answer: Answer::Quote(expected) }]);
}

#[test]
fn a_flood_is_refused_and_then_cut_off() {
    let mut fleet = fleet(1, 3, 2);
    fleet.start();
    let mut refused = 0;
    for question in 0..=u64::from(Settings::MESSAGES_MAX) * 10 {
        let question = QuestionId(1_000_000 + question);
        let asked =
            Input::Peer(PeerInput::Asked { question, from: peer(1), request: Request::Holdings { known: None } });
        let effects = fleet.step_alone(0, asked);
        refused += effects
            .iter()
            .filter(|effect| matches!(effect, Effect::Answer { answer: Answer::Refused(Refusal::BUSY), .. }))
            .count();
    }
    assert!(refused > Settings::MESSAGES_MAX as usize * 9 - 100);
    assert!(fleet.engine(0).is_cut_off(peer(1), fleet.now()));
    assert!(!fleet.engine(0).directory().is_held_by(old().diff_id, peer(1)));
    assert!(!fleet.engine(0).is_cut_off(peer(2), fleet.now()));
}

#[test]
fn pulls_have_a_cap() {
    let mut fleet = fleet(1, 2, 1);
    fleet.start();
    fleet.lose_asks(100);
    for pull in 0..=Settings::PULLS_MAX as u64 {
        fleet.pull(1, pull, "app:new");
    }
    let why = PullFailure::TooMany { max: Settings::PULLS_MAX };
    assert_eq!(fleet.end(1, Settings::PULLS_MAX as u64), Some(&Report::Failed { why }));
    assert_eq!(fleet.engine(1).pulls(), Settings::PULLS_MAX);
}

#[test]
fn a_full_disk_is_told_to_the_operator_at_once() {
    let mut fleet = fleet(1, 3, 2);
    fleet.add_flaw(1, NoRoom { until: u64::MAX });
    fleet.start();
    fleet.pull(1, 1, "app:new");
    fleet.run_pulls();
    assert_eq!(
        failure(&fleet, 1),
        &PullFailure::Local(LocalFailure::DiskFull { path: "/data".into(), needed: Bytes::MIB, free: Bytes::ZERO })
    );
    assert_eq!(fleet.seen(1).cut_off, []);
}

#[test]
fn two_pulls_of_one_image_share_the_transfer() {
    let mut fleet = fleet(1, 2, 1);
    fleet.start();
    fleet.pull(1, 1, "app:new");
    fleet.pull(1, 2, "app:new");
    fleet.run_pulls();
    assert!((1..=2).all(|pull| matches!(fleet.end(1, pull), Some(Report::Done { .. }))));
    assert_eq!(fleet.seen(0).served, 1);
}

#[test]
fn a_site_is_asked_before_the_uplink() {
    for seed in seeds(5) {
        let mut fleet = fleet(seed, 6, 5);
        for node in [2, 3] {
            fleet.change_settings(node, |settings| settings.site = Some("quay".parse().unwrap()));
        }
        fleet.befriend(2, 3);
        fleet.put(3, &[new()]);
        fleet.start();
        fleet.pull(2, 1, "app:new");
        fleet.run_pulls();
        check_done(&fleet, 2);
        assert_eq!((fleet.seen(3).served, fleet.seen(0).served), (1, 0));
    }
}
