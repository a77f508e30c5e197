//! Names, digests, quotes, caps and ends of pulls.

use crate::input::{DiskInput, Input, OperatorInput, PeerInput, WorkInput};
use std::time::Duration;

use lighter_types::{Bytes, DiffId, Moment, OciDigest};
use lighter_wire::{Answer, Offer, Refusal, Request};

use super::fleet::{Fault, Fleet, layer, peer, request, seeds};
use super::{check_done, fleet, new, old, received};
use crate::*;

fn failure(fleet: &Fleet, node: usize) -> &PullFailure {
    match fleet.nodes[node].end(1) {
        Some(Report::Failed { why }) => why,
        end => panic!("node {node}: {end:?}"),
    }
}

/// The effects of one step of a node that nobody else sees.
fn step(fleet: &mut Fleet, node: usize, input: Input) -> Vec<Effect> {
    let mut effects = Vec::new();
    fleet.nodes[node].engine.step(fleet.now, input, &mut effects);
    effects.retain(|effect| !matches!(effect, Effect::WakeAt(_)));
    effects
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
    assert_eq!(fleet.nodes[2].end(1), Some(&Report::Done { manifest: newer }));
}

#[test]
fn a_release_that_is_not_trusted_resolves_nothing() {
    let mut fleet = fleet(1, 2, 1);
    fleet.start();
    fleet.asks_lost = 100;
    fleet.pull(1, 1, "app:new");
    let ask = fleet.nodes[1].open.iter().find_map(|open| match open {
        Open::Ask(ask) => Some(*ask),
        _ => None,
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
    fleet.step(7, Input::Operator(OperatorInput::PullAsked { pull: PullId(1), wanted: Wanted::Manifest(manifest) }));
    fleet.run_pulls();
    check_done(&fleet, 7);
    assert!(!fleet.nodes[7].asked.iter().any(|request| matches!(request, Request::Resolve(_))));
}

#[test]
fn a_digest_that_nobody_has_is_not_found() {
    let mut fleet = fleet(1, 12, 11);
    fleet.start();
    let digest = OciDigest::new([0xee; 32]);
    fleet.step(7, Input::Operator(OperatorInput::PullAsked { pull: PullId(1), wanted: Wanted::Manifest(digest) }));
    fleet.run_pulls();
    assert_eq!(failure(&fleet, 7), &PullFailure::BlobNotFound { digest, asked: fleet.nodes[7].neighbours.len() });
}

#[test]
fn a_layer_that_nobody_holds_ends_the_pull_after_patience() {
    let mut fleet = fleet(1, 3, 2);
    fleet.start();
    fleet.step(0, Input::Disk(DiskInput::LayerGone(new().diff_id)));
    fleet.run(Duration::from_secs(2));
    let before = fleet.now;
    fleet.pull(1, 1, "app:new");
    fleet.run_pulls();
    assert_eq!(failure(&fleet, 1), &PullFailure::NoSource { target: new().diff_id });
    let took = fleet.now.since(before);
    assert!(took >= Duration::from_secs(30) && took < Duration::from_secs(35), "{took:?}");
}

/// More layers than fetches at a time, none of which has a source: nobody wakes up for nothing (checked by the fleet).
#[test]
fn layers_that_wait_for_a_free_fetch_do_not_spin() {
    let mut fleet = fleet(1, 3, 2);
    let layers: Vec<_> = (0..9).map(|release| layer(3, release, 40)).collect();
    fleet.publish(0, "big:1", 8, &layers);
    fleet.rate = 100_000;
    fleet.start();
    fleet.pull(1, 1, "big:1");
    fleet.run_pulls();
    assert!(matches!(fleet.nodes[1].end(1), Some(Report::Done { .. })), "{:?}", fleet.nodes[1].end(1));
}

#[test]
fn without_a_base_the_whole_layer_comes() {
    let mut fleet = fleet(1, 2, 1);
    fleet.nodes[1].disk.layers.clear();
    fleet.start();
    fleet.pull(1, 1, "app:new");
    fleet.run_pulls();
    check_done(&fleet, 1);
    assert_eq!(received(&fleet, 1), new().compressed_bytes);
}

#[test]
fn a_cancelled_pull_stops_its_fetch_and_frees_its_place() {
    let mut fleet = fleet(1, 2, 1);
    fleet.rate = 100_000;
    fleet.nodes[1].disk.layers.clear();
    fleet.start();
    fleet.pull(1, 1, "app:new");
    fleet.run(Duration::from_secs(30));
    fleet.step(1, Input::Operator(OperatorInput::PullCancelled(PullId(1))));
    assert_eq!(failure(&fleet, 1), &PullFailure::Cancelled);
    assert!(fleet.transfers.is_empty());
    fleet.pull(1, 2, "app:new");
    fleet.run_pulls();
    assert!(matches!(fleet.nodes[1].end(2), Some(Report::Done { .. })));
    assert!(received(&fleet, 1) < new().compressed_bytes, "what was on disk was bought again");
}

#[test]
fn a_layer_that_comes_another_way_ends_its_fetch() {
    let mut fleet = fleet(1, 2, 1);
    fleet.rate = 100_000;
    fleet.start();
    fleet.pull(1, 1, "app:new");
    fleet.run_until(|fleet| !fleet.transfers.is_empty());
    fleet.put(1, &[new()]);
    fleet.step(1, Input::Disk(DiskInput::LayerHeld { card: new(), sketch: None }));
    assert!(fleet.transfers.is_empty());
    fleet.run_pulls();
    check_done(&fleet, 1);
    assert_eq!(fleet.nodes[1].engine.part(new().diff_id), None);
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
        let effects = step(&mut fleet, 0, input);
        encodes += effects.iter().filter(|effect| matches!(effect, Effect::Encode { .. })).count();
    }
    assert_eq!(encodes, 1);
    let patch = super::transfer::patch(&new(), vec![old().diff_id]);
    let ended =
        Input::Work(WorkInput::EncodeEnded { encode: EncodeId(0), took: Duration::from_secs(2), result: Ok(patch) });
    let effects = step(&mut fleet, 0, ended);
    assert_eq!(effects.iter().filter(|effect| matches!(effect, Effect::Serve { first_frame: 0, .. })).count(), 9);
}

#[test]
fn streams_have_caps_for_one_peer_and_for_all() {
    let mut fleet = fleet(1, 20, 1);
    fleet.start();
    let patch = super::transfer::patch(&new(), vec![old().diff_id]);
    step(&mut fleet, 0, Input::Disk(DiskInput::PatchHeld(patch)));
    let mut open = |stream: u64, from: usize| {
        let request = request(new().diff_id, &[old().diff_id]);
        step(
            &mut fleet,
            0,
            Input::Peer(PeerInput::StreamOpened { stream: StreamId(1_000_000 + stream), from: peer(from), request }),
        )
    };
    let busy = |stream: u64| [Effect::Refuse { stream: StreamId(1_000_000 + stream), refusal: Refusal::Busy }];
    assert!((0..4).all(|stream| matches!(open(stream, 1)[..], [Effect::Serve { .. }])));
    assert_eq!(open(4, 1), busy(4));
    assert!((8..36).all(|stream| matches!(open(stream, stream as usize / 4)[..], [Effect::Serve { .. }])));
    assert_eq!(open(36, 15), busy(36));
    step(&mut fleet, 0, Input::Peer(PeerInput::StreamClosed(StreamId(1_000_000))));
    let request = request(new().diff_id, &[]);
    let again = Input::Peer(PeerInput::StreamOpened { stream: StreamId(1_000_037), from: peer(15), request });
    assert!(!step(&mut fleet, 0, again).iter().any(|effect| matches!(effect, Effect::Refuse { .. })));
}

#[test]
fn a_quote_is_exact_once_the_patch_is_there() {
    let mut fleet = fleet(1, 2, 1);
    fleet.start();
    let mut quote = |question: u64, target: DiffId| {
        let request = Request::Quote { target, bases: vec![old().diff_id] };
        let question = QuestionId(1_000_000 + question);
        match step(&mut fleet, 0, Input::Peer(PeerInput::Asked { question, from: peer(1), request })).pop() {
            Some(Effect::Answer { answer, .. }) => answer,
            other => panic!("{other:?}"),
        }
    };
    let Answer::Quote(predicted) = quote(1, new().diff_id) else { panic!("no quote") };
    assert!(matches!(predicted.offer, Offer::Predicted { bytes } if bytes < new().compressed_bytes));
    assert!(predicted.wait > Duration::ZERO);
    assert_eq!(quote(2, layer(8, 8, 1).diff_id), Answer::Refused(Refusal::NotHeld));
    let patch = super::transfer::patch(&new(), vec![old().diff_id]);
    step(&mut fleet, 0, Input::Disk(DiskInput::PatchHeld(patch.clone())));
    let request = Request::Quote { target: new().diff_id, bases: vec![old().diff_id] };
    let effects =
        step(&mut fleet, 0, Input::Peer(PeerInput::Asked { question: QuestionId(1_000_003), from: peer(1), request }));
    let expected = lighter_wire::Quote {
        offer: Offer::Ready { patch: patch.patch, bytes: Bytes::MIB },
        bases: vec![old().diff_id],
        wait: Duration::ZERO,
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
        let asked = Input::Peer(PeerInput::Asked { question, from: peer(1), request: Request::Holdings });
        let effects = step(&mut fleet, 0, asked);
        refused += effects
            .iter()
            .filter(|effect| matches!(effect, Effect::Answer { answer: Answer::Refused(Refusal::Busy), .. }))
            .count();
    }
    assert!(refused > Settings::MESSAGES_MAX as usize * 9 - 100);
    assert!(fleet.nodes[0].engine.is_cut_off(peer(1), fleet.now));
    assert!(!fleet.nodes[0].engine.directory().is_held_by(old().diff_id, peer(1)));
    assert!(!fleet.nodes[0].engine.is_cut_off(peer(2), fleet.now));
}

#[test]
fn pulls_have_a_cap() {
    let mut fleet = fleet(1, 2, 1);
    fleet.start();
    fleet.asks_lost = 100;
    for pull in 0..=Settings::PULLS_MAX as u64 {
        fleet.pull(1, pull, "app:new");
    }
    let why = PullFailure::TooMany { max: Settings::PULLS_MAX };
    assert_eq!(fleet.nodes[1].end(Settings::PULLS_MAX as u64), Some(&Report::Failed { why }));
    assert_eq!(fleet.nodes[1].engine.pulls(), Settings::PULLS_MAX);
}

#[test]
fn a_full_disk_is_told_to_the_operator_at_once() {
    let mut fleet = fleet(1, 3, 2);
    fleet.nodes[1].fault = Fault::FullDisk;
    fleet.start();
    fleet.pull(1, 1, "app:new");
    fleet.run_pulls();
    assert_eq!(failure(&fleet, 1), &PullFailure::Local(LocalFailure::Io("no space left on device".to_owned())));
    assert_eq!(fleet.nodes[1].cut_off, []);
}

#[test]
fn two_pulls_of_one_image_share_the_transfer() {
    let mut fleet = fleet(1, 2, 1);
    fleet.start();
    fleet.pull(1, 1, "app:new");
    fleet.pull(1, 2, "app:new");
    fleet.run_pulls();
    assert!((1..=2).all(|pull| matches!(fleet.nodes[1].end(pull), Some(Report::Done { .. }))));
    assert_eq!(fleet.nodes[0].served, 1);
}

#[test]
fn a_site_is_asked_before_the_uplink() {
    for seed in seeds(5) {
        let mut fleet = fleet(seed, 6, 5);
        for node in [2, 3] {
            fleet.nodes[node].settings.site = Some("quay".parse().unwrap());
            fleet.nodes[node].neighbours.insert(5 - node);
        }
        fleet.put(3, &[new()]);
        fleet.start();
        fleet.pull(2, 1, "app:new");
        fleet.run_pulls();
        check_done(&fleet, 2);
        assert_eq!((fleet.nodes[3].served, fleet.nodes[0].served), (1, 0));
    }
}

/// Applying a patch of `max` can take longer than a stall: it is fetched once all the same.
#[test]
fn a_patch_that_is_all_here_does_not_stall() {
    for (bytes, stops_after_s) in [(99_999, 20), (100_000, 30 * 60)] {
        let mut engine = Engine::new(Settings::default());
        let mut step = |now: u64, input| {
            let mut effects = Vec::new();
            engine.step(Moment(now), input, &mut effects);
            effects
        };
        step(1, Input::Disk(DiskInput::LayerHeld { card: old(), sketch: None }));
        step(1, Input::Peer(PeerInput::Connected(peer(1))));
        let incarnation = lighter_wire::Incarnation(1);
        let told = lighter_wire::Holdings { incarnation, version: 1, site: None, cards: vec![new()] };
        step(1, Input::Work(WorkInput::Answered { ask: AskId(0), answer: Ok(Answer::Holdings(told)) }));
        step(
            1,
            Input::Operator(OperatorInput::PullAsked {
                pull: PullId(1),
                wanted: Wanted::Manifest(OciDigest::new([1; 32])),
            }),
        );
        step(1, Input::Work(WorkInput::ImageRead { pull: PullId(1), read: ImageRead::Layers(vec![new().diff_id]) }));
        step(1, Input::Work(WorkInput::Answered { ask: AskId(1), answer: Ok(Answer::Sketches(vec![None])) }));
        let offer = Offer::Predicted { bytes: Bytes(100_000) };
        let quote = lighter_wire::Quote { offer, bases: vec![], wait: Duration::ZERO };
        let effects = step(1, Input::Work(WorkInput::Answered { ask: AskId(2), answer: Ok(Answer::Quote(quote)) }));
        assert!(effects.iter().any(|effect| matches!(effect, Effect::Fetch { .. })), "{effects:?}");
        let part = Part {
            patch: lighter_types::PatchId::new([1; 32]),
            settings: 1,
            bases: vec![],
            frames: 1,
            bytes: Bytes(bytes),
            bytes_total: Bytes(100_000),
        };
        step(1000, Input::Work(WorkInput::FetchProgress { fetch: FetchId(0), part }));
        let stops = |effects: &[Effect]| effects.contains(&Effect::StopFetch(FetchId(0)));
        assert!(!stops(&step(1000 * stops_after_s, Input::Tick)));
        assert!(stops(&step(1000 + 1000 * stops_after_s, Input::Tick)), "{bytes} bytes");
    }
}

#[test]
fn a_quote_for_bases_that_are_not_here_is_not_taken() {
    let mut engine = Engine::new(Settings::default());
    let mut step = |now: u64, input| {
        let mut effects = Vec::new();
        engine.step(Moment(now), input, &mut effects);
        effects
    };
    step(1, Input::Disk(DiskInput::LayerHeld { card: old(), sketch: None }));
    step(1, Input::Peer(PeerInput::Connected(peer(1))));
    let told = lighter_wire::Holdings {
        incarnation: lighter_wire::Incarnation(1),
        version: 1,
        site: None,
        cards: vec![old(), new()],
    };
    step(2, Input::Work(WorkInput::Answered { ask: AskId(0), answer: Ok(Answer::Holdings(told)) }));
    let wanted = Wanted::Manifest(OciDigest::new([1; 32]));
    step(3, Input::Operator(OperatorInput::PullAsked { pull: PullId(1), wanted }));
    step(4, Input::Work(WorkInput::ImageRead { pull: PullId(1), read: ImageRead::Layers(vec![new().diff_id]) }));
    let effects = step(4, Input::Work(WorkInput::Answered { ask: AskId(1), answer: Ok(Answer::Sketches(vec![None])) }));
    let bases = vec![old().diff_id];
    let request = Request::Quote { target: new().diff_id, bases };
    assert!(effects.contains(&Effect::Ask { ask: AskId(2), to: peer(1), request }));
    let quote = lighter_wire::Quote {
        offer: Offer::Predicted { bytes: Bytes(1) },
        bases: vec![layer(9, 9, 1).diff_id],
        wait: Duration::ZERO,
    };
    let effects = step(5, Input::Work(WorkInput::Answered { ask: AskId(2), answer: Ok(Answer::Quote(quote)) }));
    assert!(!effects.iter().any(|effect| matches!(effect, Effect::Fetch { .. })), "{effects:?}");
}
