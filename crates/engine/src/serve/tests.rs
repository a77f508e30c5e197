//! The cache, the queue and the caps of the serving side.
//!
//! Each test drives one `Serve` by hand: it opens streams, ends encodes, and compares the effects with those expected,
//! in their order.

mod gathering;
mod queue;

use lighter_types::{Effort, Moment, Prefer};
use lighter_wire::{FrameOrder, Resume};

use super::uploads::Receivers;
use super::*;
use crate::holdings::Holdings;
use crate::{EffortChoice, Work};

fn id(name: u8) -> DiffId {
    DiffId::new([name; 32])
}

/// Layers 1 to 9, of `mib` MiB each.
fn own(mib: u64) -> Holdings {
    let mut own = Holdings::default();
    for name in 1..10 {
        let bytes = Bytes::MIB.times(mib);
        own.add(Card { diff_id: id(name), tar_bytes: bytes, compressed_bytes: Bytes(bytes.0 / 2), tlsh: None });
    }
    own
}

fn patch(name: u8, target: u8, bases: &[u8], bytes: u64) -> CachedPatch {
    let bases = bases.iter().map(|&base| id(base)).collect();
    CachedPatch { patch: PatchId::new([name; 32]), target: id(target), bases, bytes: Bytes(bytes), effort: None }
}

#[derive(Default)]
struct Server {
    serve: Serve,
    core: Core,
    next: u64,
    took: Duration,
}

impl Server {
    fn new() -> Self {
        let settings = Settings { effort: EffortChoice::Always(Effort::Default), ..Settings::default() };
        let core = Core { holdings: own(40), ..Core::new(settings) };
        Self { core, took: Duration::from_secs(1), ..Self::default() }
    }

    /// Runs one step of the serving side, and returns its effects.
    fn step(&mut self, act: impl FnOnce(&mut Serve, &mut Step<'_>)) -> Vec<Effect> {
        let mut effects = Vec::new();
        act(&mut self.serve, &mut Step { now: Moment(1), core: &mut self.core, effects: &mut effects });
        effects
    }

    fn open(&mut self, target: u8, bases: &[u8], resume: Option<Resume>) -> Vec<Effect> {
        self.open_from(PeerId::new([self.next as u8; 32]), target, bases, resume)
    }

    fn open_from(&mut self, from: PeerId, target: u8, bases: &[u8], resume: Option<Resume>) -> Vec<Effect> {
        let request = PatchRequest {
            target: id(target),
            bases: bases.iter().map(|&base| id(base)).collect(),
            have: None,
            resume,
            referable: None,
            terms: Terms::default(),
        };
        let stream = StreamId(self.next);
        self.next += 1;
        let opened = Opened { stream, from, request: &request, coming: Coming::No };
        self.step(|serve, step| serve.stream_opened(opened, step))
    }

    fn ended(&mut self, encode: u64, result: Option<CachedPatch>) -> Vec<Effect> {
        let took = self.took;
        let mut effects = self.step(|serve, step| serve.encode_ended(EncodeId(encode), took, result, step));
        effects.retain(|effect| !matches!(effect, Effect::KeepPace(..)));
        effects
    }

    fn closed(&mut self, stream: u64) -> Vec<Effect> {
        self.step(|serve, step| serve.stream_closed(StreamId(stream), step))
    }

    /// A patch went over the first stream to its end.
    fn served(&mut self, link: Link) {
        self.step(|serve, step| serve.stream_served(StreamId(0), link, step));
    }

    /// The receivers of a patch of layer 1 from layer 2.
    fn receivers(&self, waiting: &[Receiver]) -> Receivers {
        self.serve.uploads.receivers(id(1), &[id(2)], waiting, &self.core)
    }

    fn quote(&self, target: u8, bases: &[u8]) -> Result<Quote, Refusal> {
        let bases: Vec<DiffId> = bases.iter().map(|&base| id(base)).collect();
        self.serve.quote(PeerId::new([77; 32]), Terms::default(), id(target), &bases, &self.core)
    }
}

/// A receiver that may be referred if it names its uplink.
fn receiver(name: u8, uplink: Option<u64>) -> Receiver {
    let referable = uplink.map(|uplink| Referable { uplink: BytesPerSecond(uplink), passes_on: true });
    Receiver { peer: PeerId::new([name; 32]), referable, terms: Terms::default() }
}

fn serve(stream: u64, patch: u8, first_frame: u32) -> Effect {
    Effect::Serve { stream: StreamId(stream), patch: PatchId::new([patch; 32]), first_frame }
}

fn working(stream: u64, done: u64) -> Effect {
    Effect::Working { stream: StreamId(stream), done: Bytes(done) }
}

fn refuse(stream: u64, refusal: Refusal) -> Effect {
    Effect::Refuse { stream: StreamId(stream), refusal }
}

fn encode(encode: u64, target: u8, bases: &[u8]) -> Effect {
    encode_at(Effort::Default, encode, target, bases)
}

fn encode_at(effort: Effort, encode: u64, target: u8, bases: &[u8]) -> Effect {
    let bases = bases.iter().map(|&base| id(base)).collect();
    Effect::Encode { encode: EncodeId(encode), target: id(target), bases, effort }
}

#[test]
fn the_smallest_patch_that_can_be_applied_is_served() {
    let mut server = Server::new();
    for (name, bases, bytes) in [(11, &[2][..], 300), (12, &[3], 200), (13, &[], 900)] {
        server.serve.patch_held(patch(name, 1, bases, bytes));
    }
    assert_eq!(server.open(1, &[2, 3], None), [serve(0, 12, 0)]);
    assert_eq!(server.open(1, &[2], None), [serve(1, 11, 0)]);
    assert_eq!(server.open(1, &[], None), [serve(2, 13, 0)]);
    // A base that this node does not hold is none that a patch could be made from.
    assert_eq!(server.open(1, &[77], None), [serve(3, 13, 0)]);
    server.serve.patch_gone(PatchId::new([12; 32]));
    assert_eq!(server.open(1, &[2, 3], None), [serve(4, 11, 0)]);
}

#[test]
fn a_resume_is_served_from_where_it_was_or_from_the_start() {
    let mut server = Server::new();
    server.serve.patch_held(patch(11, 1, &[2], 300));
    assert_eq!(server.open(1, &[2], Some(resume(11, 3))), [serve(0, 11, 4)]);
    assert_eq!(server.open(1, &[2], Some(resume(99, 3))), [serve(1, 11, 0)]);
}

fn resume(patch: u8, settings: u32) -> Resume {
    Resume { patch: PatchId::new([patch; 32]), first_frame: 4, settings, order: FrameOrder::Up }
}

#[test]
fn a_layer_that_is_not_held_is_refused() {
    let mut server = Server::new();
    assert_eq!(server.open(50, &[], None), [refuse(0, Refusal::NotHeld)]);
    assert_eq!(server.quote(50, &[]), Err(Refusal::NotHeld));
}

#[test]
fn one_is_made_at_a_time_and_all_who_wait_are_told() {
    let mut server = Server::new();
    assert_eq!(server.open(1, &[2], None), [working(0, 0), encode(0, 1, &[2])]);
    assert_eq!(server.open(1, &[2, 3], None), [working(1, 0)]);
    assert_eq!(server.open(1, &[], None), [working(2, 0)]);
    let mut effects = Vec::new();
    server.serve.encode_progress(EncodeId(0), Bytes(7), &mut effects);
    assert_eq!(effects, [working(0, 7), working(1, 7), working(2, 0)]);
    let ended = server.ended(0, Some(patch(11, 1, &[2], 300)));
    assert_eq!(ended, [serve(0, 11, 0), serve(1, 11, 0), encode(1, 1, &[])]);
    assert_eq!(server.ended(1, None), [refuse(2, Refusal::Failed)]);
}

#[test]
fn work_that_nobody_waits_for_is_not_begun() {
    let mut server = Server::new();
    server.open(1, &[], None);
    server.open(2, &[], None);
    server.open(3, &[], None);
    assert_eq!((server.closed(1), server.closed(0)), (vec![], vec![Effect::StopEncode(EncodeId(0))]));
    assert_eq!(server.ended(0, Some(patch(11, 1, &[], 300))), [encode(2, 3, &[])]);
    // The patch of an encode that ran to its end is kept, though no stream waited.
    assert_eq!(server.open(1, &[], None), [serve(3, 11, 0)]);
}

#[test]
fn the_queue_has_a_cap() {
    let mut server = Server::new();
    server.core.settings.streams_max = 1000;
    for target in 10..100 {
        let bytes = Bytes::MIB;
        server.core.holdings.add(Card { diff_id: id(target), tar_bytes: bytes, compressed_bytes: bytes, tlsh: None });
    }
    for stream in 0..=Settings::ENCODES_QUEUED_MAX as u64 {
        assert!(server.open(10 + stream as u8, &[], None).contains(&working(stream, 0)));
    }
    let over = Settings::ENCODES_QUEUED_MAX as u64 + 1;
    assert_eq!(server.open(99, &[], None), [refuse(over, Refusal::BUSY)]);
}

#[test]
fn an_encoder_that_found_a_base_useless_is_not_asked_again() {
    let mut server = Server::new();
    server.core.settings.uplink_rate = BytesPerSecond(SLOW);
    server.open(1, &[2], None);
    assert_eq!(server.ended(0, Some(patch(11, 1, &[], 25_000_000))), [serve(0, 11, 0)]);
    assert_eq!(server.open(1, &[2], None), [serve(1, 11, 0)]);
    assert!(matches!(server.quote(1, &[2]).unwrap().offer, Offer::Ready { .. }));
    // With another base it is tried.
    assert_eq!(server.open(1, &[3], None), [working(2, 0), encode(1, 1, &[3])]);
    server.serve.patch_gone(PatchId::new([11; 32]));
    assert_eq!(server.open(1, &[2], None), [working(3, 0)]);
}

#[test]
fn a_quote_counts_the_work_before_it_once() {
    let mut server = Server::new();
    let alone = server.quote(1, &[2]).unwrap().wait;
    server.open(1, &[2], None);
    assert_eq!(server.quote(1, &[2]).unwrap().wait, alone);
    let both = server.quote(3, &[2]).unwrap().wait;
    assert_eq!(both.as_secs(), (alone * 2).as_secs());
}

#[test]
fn small_layers_do_not_teach_the_pace() {
    let mut server = Server { took: Duration::from_secs(999), ..Server::new() };
    server.core.holdings = own(0);
    server.open(1, &[], None);
    server.ended(0, Some(patch(11, 1, &[], 300)));
    assert_eq!(server.serve.pace, Pace::default());
    server.core.holdings = own(40);
    server.open(2, &[], None);
    let before = server.quote(3, &[]).unwrap().wait;
    let (made, took) = (Some(patch(12, 2, &[], 300)), server.took);
    let effects = server.step(|serve, step| serve.encode_ended(EncodeId(1), took, made, step));
    assert_ne!(server.serve.pace, Pace::default());
    assert!(effects.contains(&Effect::KeepPace(Work::Encode, server.serve.pace)));
    assert!(server.quote(3, &[]).unwrap().wait > before / 2);
}

#[test]
fn a_stopping_node_takes_on_nothing() {
    let mut server = Server::new();
    server.open(1, &[], None);
    server.open(2, &[], None);
    let mut effects = Vec::new();
    server.serve.stop(&mut effects);
    assert_eq!(effects, [refuse(0, Refusal::Stopping), refuse(1, Refusal::Stopping)]);
    assert_eq!(server.open(3, &[], None), [refuse(2, Refusal::Stopping)]);
    assert_eq!(server.quote(3, &[]), Err(Refusal::Stopping));
    // The encode that runs ends, and nothing follows it.
    assert_eq!(server.ended(0, Some(patch(11, 1, &[], 300))), []);
}

/// A server with sketches: layer 1 has the blocks 0 to 31, layer 2 and 3 parts of it, layer 4 none.
fn sketched() -> Server {
    let mut server = Server::new();
    for (name, blocks) in [(1, 0..32), (2, 0..20), (3, 20..32), (4, 90..120)] {
        let mut builder = lighter_similarity::SketchBuilder::new();
        for block in blocks {
            let mut state: u64 = block;
            let words = std::iter::repeat_with(|| {
                state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
                (state ^ state >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9 + 2 * block)
            });
            builder.push(&words.take(8 << 10).flat_map(u64::to_le_bytes).collect::<Vec<u8>>());
        }
        server.core.holdings.add_sketch(id(name), builder.finish());
    }
    server
}

#[test]
fn bases_that_help_are_kept_in_the_order_that_was_asked_for() {
    let server = sketched();
    assert_eq!(server.quote(1, &[2, 3]).unwrap().bases, [id(2), id(3)]);
    assert_eq!(server.quote(1, &[3, 2]).unwrap().bases, [id(3), id(2)]);
    assert_eq!(server.quote(1, &[2, 4, 77, 3]).unwrap().bases, [id(2), id(3)]);
    assert_eq!(server.quote(1, &[4, 2, 3]).unwrap().bases, [id(4), id(2), id(3)], "the first is taken at its word");
    let bytes = [&[2, 3][..], &[2], &[]].map(|offered| server.quote(1, offered).unwrap().offer.bytes());
    assert!(bytes[0] < bytes[1] && bytes[1] < bytes[2], "{bytes:?}");
}

#[test]
fn a_cached_patch_makes_way_for_one_that_is_surely_smaller() {
    let mut server = sketched();
    server.serve.patch_held(patch(11, 1, &[2], 9_000_000));
    assert_eq!(server.open(1, &[2], None), [serve(0, 11, 0)]);
    assert_eq!(server.open(1, &[2, 3], None), [working(1, 0), encode(0, 1, &[2, 3])]);
    server.ended(0, Some(patch(12, 1, &[2, 3], 50_000)));
    assert_eq!(server.open(1, &[2, 3], None), [serve(2, 12, 0)]);
}

/// The patch that was made is served, even if it is larger than predicted.
#[test]
fn a_patch_that_was_made_is_not_made_again() {
    let mut server = sketched();
    server.open(1, &[2, 3], None);
    server.ended(0, Some(patch(12, 1, &[2, 3], 19_000_000)));
    assert_eq!(server.open(1, &[2, 3], None), [serve(1, 12, 0)]);
}

/// A server that chooses the effort itself, over a link of this rate.
fn choosing(rate: u64) -> Server {
    let settings = Settings { effort: EffortChoice::Auto, uplink_rate: BytesPerSecond(rate), ..Settings::default() };
    let mut server = Server::new();
    server.core.settings = settings;
    server
}

fn made_at(effort: Effort, patch: CachedPatch) -> CachedPatch {
    CachedPatch { effort: Some(effort), ..patch }
}

const SLOW: u64 = 20_000;
const FAST: u64 = 1_000_000_000;

#[test]
fn the_link_decides_at_which_effort_a_patch_is_made() {
    assert_eq!(choosing(SLOW).open(1, &[2], None)[1], encode_at(Effort::Max, 0, 1, &[2]));
    assert_eq!(choosing(FAST).open(1, &[2], None)[1], encode_at(Effort::Fast, 0, 1, &[2]));
    let mut capped = choosing(FAST);
    capped.core.settings.upload_max = Some(BytesPerSecond(SLOW));
    assert_eq!(capped.open(1, &[2], None)[1], encode_at(Effort::Max, 0, 1, &[2]));
}

#[test]
fn the_measured_upload_rate_replaces_the_assumed_one() {
    let mut server = choosing(FAST);
    server.serve.patch_held(patch(11, 1, &[2], 9_000_000));
    assert_eq!(server.open(1, &[2], None), [serve(0, 11, 0)]);
    // Too short to tell, then long enough.
    server.served(Link::default());
    assert_eq!(server.open(3, &[2], None)[1], encode_at(Effort::Fast, 0, 3, &[2]));
    server.ended(0, None);
    server.served(Link { up: Some(BytesPerSecond(SLOW)), ..Link::default() });
    assert_eq!(server.open(4, &[2], None)[1], encode_at(Effort::Max, 1, 4, &[2]));
}

#[test]
fn a_patch_of_little_effort_makes_way_once_where_the_link_is_slow() {
    let mut server = choosing(SLOW);
    let fast = made_at(Effort::Fast, patch(11, 1, &[2], 3_000_000));
    server.serve.patch_held(fast.clone());
    assert!(matches!(server.quote(1, &[2]).unwrap().offer, Offer::Predicted { .. }));
    assert_eq!(server.open(1, &[2], None), [working(0, 0), encode_at(Effort::Max, 0, 1, &[2])]);
    // It is not smaller after all: what was there is served, and it is not tried again.
    let max = made_at(Effort::Max, patch(12, 1, &[2], 3_000_001));
    assert_eq!(server.ended(0, Some(max)), [serve(0, 11, 0)]);
    assert_eq!(server.open(1, &[2], None), [serve(1, 11, 0)]);
    assert!(matches!(server.quote(1, &[2]).unwrap().offer, Offer::Ready { .. }));
    // On a fast link, or when the effort is fixed, it is good enough.
    for mut other in [choosing(FAST), Server::new()] {
        other.serve.patch_held(fast.clone());
        assert_eq!(other.open(1, &[2], None), [serve(0, 11, 0)]);
    }
}

/// A hub has it before anybody asks. Over a fast link it is sent at once; over others, fewer bytes are worth a second.
#[test]
fn a_whole_layer_that_is_there_at_plain_binds_nobody() {
    let plain = made_at(Effort::Plain, patch(11, 1, &[], 22_000_000));
    let mut server = choosing(FAST);
    server.serve.patch_held(plain.clone());
    assert_eq!(server.open(1, &[], None), [serve(0, 11, 0)]);
    let mut server = choosing(1_000_000);
    server.serve.patch_held(plain);
    assert_eq!(server.open(1, &[], None), [working(0, 0), encode_at(Effort::Fast, 0, 1, &[])]);
    let fast = made_at(Effort::Fast, patch(12, 1, &[], 19_800_000));
    assert_eq!(server.ended(0, Some(fast)), [serve(0, 12, 0)]);
    assert_eq!(server.open(1, &[], None), [serve(1, 12, 0)], "it is not made again");
}

#[test]
fn a_better_patch_that_cannot_be_made_leaves_the_one_that_is_there() {
    let mut server = choosing(SLOW);
    server.serve.patch_held(made_at(Effort::Fast, patch(11, 1, &[2], 3_000_000)));
    server.open(1, &[2], None);
    assert_eq!(server.ended(0, None), [serve(0, 11, 0)]);
}

#[test]
fn peers_that_hold_a_base_and_lack_the_target_count_as_receivers() {
    let mut server = choosing(FAST);
    let waiting = [receiver(10, None)];
    assert_eq!(server.receivers(&waiting).copies, 1);
    tell_holdings(&mut server, 10..31, &[2]);
    assert_eq!(server.receivers(&waiting).copies, 1 + 20, "who waits is counted once");
    // Three others serve it too.
    tell_holdings(&mut server, 40..43, &[1, 2]);
    assert_eq!(server.receivers(&waiting).copies, 1 + 5);
    server.core.settings.streams_max = 4;
    assert_eq!(server.receivers(&waiting).copies, 4);
}

/// Each of these peers tells that it holds these layers.
fn tell_holdings(server: &mut Server, peers: std::ops::Range<u8>, layers: &[u8]) {
    for name in peers {
        let cards = layers.iter().map(|&layer| *server.core.holdings.card(id(layer)).unwrap()).collect();
        let holdings = lighter_wire::Holdings::all(lighter_wire::Incarnation(1), 1, None, cards);
        server.core.directory.answered(PeerId::new([name; 32]), holdings, Moment(1));
    }
}

#[test]
fn a_relay_counts_as_no_copy_but_has_an_uplink() {
    let mut server = choosing(FAST);
    let uplinks = [500, 300, 900, 700].into_iter().zip(10..);
    let mut waiting: Vec<Receiver> = uplinks.map(|(uplink, name)| receiver(name, Some(uplink))).collect();
    assert_eq!(copies_and_slowest(&server, &waiting), (3, Some(BytesPerSecond(300))));
    assert_eq!(copies_and_slowest(&server, &waiting[..3]), (3, None), "none of them gets it from another");
    // One that is not to be referred: each has its copy.
    waiting[3].referable = None;
    assert_eq!(copies_and_slowest(&server, &waiting), (4, None));
    waiting.pop();
    server.core.settings.copies_max = 0;
    assert_eq!(copies_and_slowest(&server, &waiting), (3, None));
}

fn copies_and_slowest(server: &Server, waiting: &[Receiver]) -> (u64, Option<BytesPerSecond>) {
    let receivers = server.receivers(waiting);
    (receivers.copies, receivers.slowest)
}

#[test]
fn no_receiver_alone_decides_for_the_others() {
    let slow = Pace::from_part(Pace::PART_MAX).unwrap();
    let mut server = choosing(FAST);
    let usual = Terms { applying: Pace::default(), prefer: Prefer::Time };
    assert_eq!(common_terms(&server, &[Prefer::Bytes, Prefer::Time, Prefer::Time], slow), usual);
    assert_eq!(common_terms(&server, &[Prefer::Bytes], slow), Terms { applying: slow, prefer: Prefer::Bytes });
    assert_eq!(common_terms(&server, &[], slow), Terms::default());
    // Within the site, bytes cost nothing.
    server.core.settings.site = Some("quay".parse().unwrap());
    let near = lighter_wire::Holdings::all(lighter_wire::Incarnation(1), 1, Some("quay".parse().unwrap()), Vec::new());
    server.core.directory.answered(PeerId::new([10; 32]), near, Moment(1));
    assert_eq!(common_terms(&server, &[Prefer::Bytes], slow), Terms { applying: slow, prefer: Prefer::Time });
}

/// The terms that count for receivers with these preferences. Those that prefer few bytes apply at the pace `slow`.
fn common_terms(server: &Server, prefers: &[Prefer], slow: Pace) -> Terms {
    let waiting = prefers.iter().zip(10..).map(|(&prefer, name)| {
        let applying = if prefer == Prefer::Bytes { slow } else { Pace::default() };
        Receiver { terms: Terms { applying, prefer }, ..receiver(name, None) }
    });
    server.serve.uploads.link(&waiting.collect::<Vec<_>>(), &server.core).terms
}

#[test]
fn a_site_is_one_receiver() {
    let mut server = choosing(FAST);
    let base = *server.core.holdings.card(id(2)).unwrap();
    for (name, site) in [(10, Some("quay")), (11, Some("quay")), (12, Some("pier")), (13, Some("pier")), (14, None)] {
        let site = site.map(|site| site.parse().unwrap());
        let incarnation = lighter_wire::Incarnation(1);
        let holdings = lighter_wire::Holdings::all(incarnation, 1, site, vec![base]);
        server.core.directory.answered(PeerId::new([name; 32]), holdings, Moment(1));
    }
    let [one, other] = [10, 11].map(|name| receiver(name, None));
    assert_eq!(server.receivers(&[one]).copies, 3, "one of quay, one of pier, and one without a site");
    assert_eq!(server.receivers(&[one, other]).copies, 4, "who waits counts each");
    server.core.settings.site = Some("quay".parse().unwrap());
    assert_eq!(server.receivers(&[one]).copies, 2, "within the site, each");
}

#[test]
fn a_patch_of_which_a_part_is_there_is_made_again_as_it_was() {
    let mut server = choosing(FAST);
    assert_eq!(server.open(1, &[2], Some(resume(99, 3)))[1], encode_at(Effort::Max, 0, 1, &[2]));
    // By an encoder that this node does not have, and where the effort is fixed: as always.
    assert_eq!(choosing(FAST).open(1, &[2], Some(resume(99, 77)))[1], encode_at(Effort::Fast, 0, 1, &[2]));
    assert_eq!(Server::new().open(1, &[2], Some(resume(99, 3)))[1], encode_at(Effort::Default, 0, 1, &[2]));
}
