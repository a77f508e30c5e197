//! The outcomes that the fetcher gives to the pulls, and its caps.
//!
//! A fetcher, a core and a clock that stands still: no other part of the engine takes part. The fleet in
//! `sim/tests/engine` shows what a fetcher does over time.

use lighter_types::{BytesPerSecond, Card};
use lighter_wire::Refusal;

use super::claims::Claims;
use super::*;
use crate::core::Core;
use crate::failure::{AskFailure, FetchFailure};

const LAYER: DiffId = DiffId::new([1; 32]);
const PULL: PullId = PullId(1);

fn card() -> Card {
    Card { diff_id: LAYER, tar_bytes: Bytes::MIB, compressed_bytes: Bytes::MIB, tlsh: None }
}

/// A fetcher whose pull wants a layer that one connected peer holds.
struct Fetching {
    fetcher: Fetcher,
    core: Core,
}

impl Fetching {
    fn begin() -> (Self, FetchId) {
        let mut fetching = Self { fetcher: Fetcher::default(), core: Core::new(Settings::default()) };
        let peer = PeerId::new([9; 32]);
        let incarnation = lighter_wire::Incarnation(1);
        let holdings = lighter_wire::Holdings::all(incarnation, 1, None, vec![card()]);
        fetching.core.directory.connected(peer, Moment(1));
        fetching.core.directory.answered(peer, holdings, Moment(1));
        let asked = fetching.step(|fetcher, step| {
            fetcher.want(PULL, LAYER, Vec::new(), step).unwrap();
            fetcher.signed(LAYER, Some(Bytes::MIB));
            assert_eq!(fetcher.advance(step), []);
        });
        let [Effect::Ask { ask, .. }] = asked[..] else { panic!("{asked:?}") };
        let offer = lighter_wire::Offer::Predicted { bytes: Bytes::MIB };
        let quote = lighter_wire::Quote { offer, bases: Vec::new(), wait: std::time::Duration::ZERO, effort: None };
        let begun = fetching.step(|fetcher, step| fetcher.quoted(LAYER, ask, Ok(Answer::Quote(quote)), step));
        let Effect::Fetch { fetch, signed_bytes: Some(Bytes::MIB), .. } = begun[0] else { panic!("{begun:?}") };
        (fetching, fetch)
    }

    fn step(&mut self, act: impl FnOnce(&mut Fetcher, &mut Step<'_>)) -> Vec<Effect> {
        let mut effects = Vec::new();
        act(&mut self.fetcher, &mut Step { now: Moment(2), core: &mut self.core, effects: &mut effects });
        effects
    }

    fn end(&mut self, fetch: FetchId, failure: FetchFailure) -> Option<Outcome> {
        let mut outcome = None;
        self.step(|fetcher, step| outcome = fetcher.ended(fetch, Err(failure), step));
        outcome
    }
}

#[test]
fn a_fetch_that_no_pull_wants_any_more_ends_without_an_outcome() {
    let (mut fetching, fetch) = Fetching::begin();
    let stopped = fetching.step(|fetcher, step| fetcher.abandon(PULL, step.effects));
    assert_eq!(stopped, [Effect::StopFetch(fetch)]);
    assert_eq!(fetching.end(fetch, FetchFailure::Stopped), None, "the layer is not held");
    assert!(fetching.fetcher.targets.is_empty() && fetching.fetcher.fetches.is_empty());
}

/// A layer's name by number.
fn layer(number: usize) -> DiffId {
    let mut id = [0; 32];
    id[..8].copy_from_slice(&number.to_be_bytes());
    DiffId::new(id)
}

#[test]
fn as_many_layers_are_wanted_as_may_be_and_one_of_them_by_more_pulls() {
    let mut fetching = Fetching { fetcher: Fetcher::default(), core: Core::new(Settings::default()) };
    fetching.step(|fetcher, step| {
        for number in 0..Settings::TARGETS_MAX {
            fetcher.want(PULL, layer(number), Vec::new(), step).unwrap();
        }
        let too_many = Err(PullFailure::TooMany { max: Settings::TARGETS_MAX });
        assert_eq!(fetcher.want(PULL, layer(Settings::TARGETS_MAX), Vec::new(), step), too_many);
        assert_eq!(fetcher.want(PullId(2), layer(7), Vec::new(), step), Ok(()));
        assert_eq!(fetcher.targets.len(), Settings::TARGETS_MAX);
    });
}

#[test]
fn parts_have_a_cap_and_those_that_no_pull_wants_make_room() {
    let mut fetching = Fetching { fetcher: Fetcher::default(), core: Core::new(Settings::default()) };
    let part = |frames| Part {
        patch: lighter_types::PatchId::new([1; 32]),
        settings: 0,
        bases: Vec::new(),
        frames,
        bytes: Bytes(1),
        bytes_total: Bytes(2),
    };
    fetching.step(|fetcher, step| {
        fetcher.want(PULL, layer(0), Vec::new(), step).unwrap();
        let (fits, further) = (0..Settings::TARGETS_MAX, Settings::TARGETS_MAX);
        fits.for_each(|number| fetcher.part_held(layer(number), part(1)));
        // One that is known takes no more room.
        fetcher.part_held(layer(0), part(2));
        assert_eq!(fetcher.parts.len(), Settings::TARGETS_MAX);
        fetcher.part_held(layer(further), part(1));
        assert_eq!(fetcher.parts.len(), Settings::TARGETS_MAX);
        assert_eq!(fetcher.part(layer(0)), Some(&part(2)), "it is wanted");
        assert_eq!((fetcher.part(layer(further)), fetcher.part(layer(1))), (Some(&part(1)), None));
    });
    // All that are there are wanted: the new part is not remembered.
    fetching.step(|fetcher, step| {
        let held: Vec<DiffId> = fetcher.parts.keys().copied().collect();
        for target in held {
            fetcher.want(PULL, target, Vec::new(), step).unwrap();
        }
        fetcher.part_held(layer(1), part(1));
        assert_eq!((fetcher.parts.len(), fetcher.part(layer(1))), (Settings::TARGETS_MAX, None));
    });
}

#[test]
fn a_local_failure_reaches_the_pull_unchanged() {
    let (mut fetching, fetch) = Fetching::begin();
    let (path, needed, free) = ("/data".into(), Bytes(9), Bytes(1));
    let full = crate::failure::LocalFailure::DiskFull { path, needed, free };
    let outcome = fetching.end(fetch, FetchFailure::Local(full.clone()));
    assert_eq!(outcome, Some(Outcome::Failed { pulls: [PULL].into(), why: PullFailure::Local(full) }));
}

fn full() -> crate::failure::LocalFailure {
    let (needed, available, budget) = (Bytes::GIB.times(39), Bytes(1), Bytes::GIB);
    crate::failure::LocalFailure::BudgetFull { needed, available, budget }
}

#[test]
fn a_claim_without_room_ends_no_pull() {
    let (mut fetching, fetch) = Fetching::begin();
    let effects = fetching.step(|fetcher, step| {
        assert_eq!(fetcher.ended(fetch, Err(FetchFailure::NoRoom(full())), step), None);
    });
    let retrying = |effect: &Effect| matches!(effect, Effect::Report { report: Report::Retrying { .. }, .. });
    assert!(effects.iter().all(retrying), "the claim may be true: the peer is not cut off: {effects:?}");
    let target = &fetching.fetcher.targets[&LAYER];
    assert_eq!(target.attempts, 1);
    assert!(target.next_deadline(Moment(2), &fetching.core.settings).is_some_and(|at| at > Moment(1000)));
}

#[test]
fn only_what_all_holders_claim_ends_a_pull_for_want_of_room() {
    let (mut fetching, _) = Fetching::begin();
    let (liar, hub) = (PeerId::new([9; 32]), PeerId::new([8; 32]));
    let holdings = lighter_wire::Holdings::all(lighter_wire::Incarnation(1), 1, None, vec![card()]);
    fetching.core.directory.connected(hub, Moment(1));
    fetching.core.directory.answered(hub, holdings, Moment(1));
    fetching.step(|fetcher, step| {
        let target = fetcher.targets.get_mut(&LAYER).unwrap();
        target.attempts = Settings::ROOMLESS_MIN;
        assert!(!target.claims.end_the_pull(LAYER, liar, target.attempts, step), "the hub may claim less");
        assert!(target.claims.end_the_pull(LAYER, hub, target.attempts, step));
        target.attempts = Settings::ROOMLESS_MIN - 1;
        assert!(!target.claims.end_the_pull(LAYER, hub, target.attempts, step), "another peer may connect");
    });
    // A liar that is cut off has no word in it.
    fetching.step(|fetcher, step| {
        let target = fetcher.targets.get_mut(&LAYER).unwrap();
        (target.attempts, target.claims) = (Settings::ROOMLESS_MIN, Claims::default());
        step.core.cut_offs.add(liar, Moment(1000), 10);
        assert!(target.claims.end_the_pull(LAYER, hub, target.attempts, step));
    });
}

#[test]
fn two_signed_sizes_that_differ_are_both_not_believed() {
    let (mut fetching, _) = Fetching::begin();
    let signed = |fetcher: &Fetcher| fetcher.targets[&LAYER].signed_bytes;
    assert_eq!(signed(&fetching.fetcher), Some(Bytes::MIB));
    fetching.fetcher.signed(LAYER, Some(Bytes::MIB));
    fetching.fetcher.signed(LAYER, None);
    assert_eq!(signed(&fetching.fetcher), Some(Bytes::MIB));
    fetching.fetcher.signed(LAYER, Some(Bytes(7)));
    assert_eq!(signed(&fetching.fetcher), None);
    fetching.fetcher.signed(DiffId::new([77; 32]), Some(Bytes(7)));
}

#[test]
fn a_busy_peer_is_asked_again_after_the_time_that_it_names_within_a_bound() {
    for (retry_after_ms, least, most) in [(0, 2, 3), (10_000, 10, 15), (600_000, 60, 90)] {
        let (mut fetching, fetch) = Fetching::begin();
        assert_eq!(fetching.end(fetch, FetchFailure::Refused(Refusal::Busy { retry_after_ms })), None);
        let target = &fetching.fetcher.targets[&LAYER];
        assert_eq!(target.attempts, 0);
        let deadline = target.next_deadline(Moment(2), &fetching.core.settings).expect("it waits for the peer");
        let waited = deadline.since(Moment(2)).as_millis();
        assert!((least * 1000..=most * 1000).contains(&waited), "{retry_after_ms}: {waited}");
    }
}

/// A provider that was chosen by its quote has the whole patch: between frames there is nothing for it to wait for.
#[test]
fn a_provider_with_the_patch_gains_no_time_by_its_word() {
    let (mut fetching, fetch) = Fetching::begin();
    let part = Part {
        patch: lighter_types::PatchId::new([7; 32]),
        settings: 1,
        bases: Vec::new(),
        frames: 0,
        bytes: Bytes::KIB,
        bytes_total: Bytes::MIB,
    };
    fetching.step(|fetcher, step| fetcher.progress(fetch, part, step));
    let before = fetching.fetcher.next_deadline(Moment(2), &fetching.core.settings);
    for done in [Bytes::KIB.times(200), Bytes(u64::MAX)] {
        fetching.step(|fetcher, step| fetcher.working(fetch, (done, Some(Bytes::MIB)), Moment(step.now.0 + 9000)));
    }
    assert_eq!(fetching.fetcher.next_deadline(Moment(2), &fetching.core.settings), before);
    fetching.step(|fetcher, step| {
        let stall = step.core.settings.stall_timeout;
        fetcher.advance(&mut Step { now: step.now + stall, core: step.core, effects: step.effects });
        assert!(step.effects.contains(&Effect::StopFetch(fetch)), "{:?}", step.effects);
    });
}

/// Both sources of a race may bring nothing: when the link is down, or when neither means to. The node goes on to hold
/// others against an uplink, and the next transfer from outside shows it.
#[test]
fn two_sources_without_a_byte_do_not_show_the_uplink() {
    let (mut fetching, _) = Fetching::begin();
    let assumed = fetching.core.settings.uplink_rate;
    let from = PeerId::new([9; 32]);
    fetching.step(|_, step| {
        step.core.saw_uplink(BytesPerSecond(0));
        assert_eq!(step.core.uplink(), BytesPerSecond(assumed.0 / Settings::UPLINK_SEEN_PART));
        step.learn_link(from, lighter_types::Link { down: Some(assumed), ..Default::default() });
        assert_eq!(step.core.uplink(), assumed);
    });
    fetching.core.settings.uplink_rate = BytesPerSecond(0);
    fetching.core.saw_uplink(BytesPerSecond(0));
    assert_eq!(fetching.core.uplink(), BytesPerSecond(1));
}

#[test]
fn late_news_of_a_fetch_and_late_quotes_change_nothing() {
    let (mut fetching, fetch) = Fetching::begin();
    fetching.end(fetch, FetchFailure::Refused(Refusal::BUSY));
    let effects = fetching.step(|fetcher, step| {
        fetcher.working(fetch, (Bytes::ZERO, None), step.now);
        fetcher.quoted(LAYER, AskId(77), Err(AskFailure::Unreachable), step);
        fetcher.quoted(DiffId::new([2; 32]), AskId(77), Err(AskFailure::Unreachable), step);
    });
    assert_eq!(effects, []);
}
