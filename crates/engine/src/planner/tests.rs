//! Plans and their order.
//!
//! Each test builds what a node believes of some peers, and looks at the plans for one layer of 40 MiB: which there
//! are, which comes first, and what each costs.

use lighter_types::{BytesPerSecond, Link, Moment, Prefer, Tlsh};
use lighter_wire::Incarnation;

use super::*;
use crate::directory::Directory;
use crate::effort::soon_enough;

fn card(name: u8, family: u8, mib: u64) -> Card {
    Card {
        diff_id: DiffId::new([name; 32]),
        tar_bytes: Bytes::MIB.times(mib),
        compressed_bytes: Bytes::MIB.times(mib / 2),
        tlsh: Some(Tlsh::new([family; 35])),
    }
}

fn target() -> Card {
    card(1, 7, 40)
}

fn peer(name: u8) -> PeerId {
    PeerId::new([name; 32])
}

/// A directory of connected peers with these layers and sites.
fn directory(peers: &[(u8, Option<&str>, &[Card])]) -> Directory {
    let mut directory = Directory::new(99);
    for &(name, site, cards) in peers {
        directory.connected(peer(name), Moment(1));
        let site = site.map(|site| site.parse().unwrap());
        let holdings = lighter_wire::Holdings::all(Incarnation(1), 1, site, cards.to_vec());
        directory.answered(peer(name), holdings, Moment(1));
    }
    directory
}

fn own(cards: &[Card]) -> Holdings {
    let mut own = Holdings::default();
    for &card in cards {
        own.add(card);
    }
    own
}

/// A node with these layers that believes this of its peers, with no sketches and nothing learned.
fn knowing(own: Holdings, directory: Directory) -> Core {
    Core { holdings: own, directory, ..Core::default() }
}

fn plans_of(core: &Core) -> Vec<Plan> {
    plans(target().diff_id, core, &|_| false, &[])
}

#[test]
fn a_base_that_both_hold_comes_before_the_whole_layer() {
    let base = card(2, 7, 40);
    let directory = directory(&[(1, None, &[target(), base]), (2, None, &[target()]), (3, None, &[base])]);
    let plans = plans_of(&knowing(own(&[base]), directory));
    let first = &plans[0];
    assert_eq!((first.peer, &first.bases[..], first.distance), (peer(1), &[base.diff_id][..], Some(0)));
    assert!(first.bytes < target().compressed_bytes);
    let mut rest: Vec<_> = plans[1..].iter().map(|plan| (plan.peer, plan.bases.len(), plan.effort)).collect();
    rest.sort();
    assert_eq!(rest, [(peer(1), 0, Effort::Fast), (peer(2), 0, Effort::Fast)]);
    // At fast it takes about as much as gzip makes of it.
    let whole = target().compressed_bytes;
    assert!(plans[1..].iter().all(|plan| plan.bytes.0.abs_diff(whole.0) < 2), "{plans:?}");
}

#[test]
fn a_base_that_does_not_help_is_no_plan() {
    let base = card(2, 0xf8, 40);
    let directory = directory(&[(1, None, &[target(), base])]);
    let plans = plans_of(&knowing(own(&[base]), directory));
    assert_eq!(plans.iter().map(|plan| plan.bases.len()).collect::<Vec<_>>(), [0]);
}

#[test]
fn neither_the_excluded_nor_the_unconnected_nor_the_damaged_are_used() {
    let base = card(2, 7, 40);
    let mut directory = directory(&[(1, None, &[target(), base]), (2, None, &[target(), base])]);
    directory.disconnected(peer(1));
    let core = knowing(own(&[base]), directory);
    assert!(plans_of(&core).iter().all(|plan| plan.peer == peer(2)));
    assert_eq!(plans(target().diff_id, &core, &|id| id == peer(2), &[]), []);
    let whole = plans(target().diff_id, &core, &|_| false, &[base.diff_id]);
    assert_eq!(whole.iter().map(|plan| plan.bases.len()).collect::<Vec<_>>(), [0]);
}

#[test]
fn the_own_site_is_cheaper_and_slow_peers_dearer() {
    let site = Some("quay".parse().unwrap());
    let directory = directory(&[(1, Some("sea"), &[target()]), (2, Some("quay"), &[target()])]);
    let settings = Settings { site, ..Settings::default() };
    let mut core = Core { directory, settings, ..Core::default() };
    assert_eq!(plans_of(&core)[0].peer, peer(2));
    // A measured rate counts, whether it is lower than what is assumed or higher.
    measured(&mut core, 2, 1000);
    assert_eq!(plans_of(&core)[0].peer, peer(1));
    measured(&mut core, 2, 10_000_000);
    measured(&mut core, 1, 1_000_000_000);
    assert_eq!(plans_of(&core)[0].peer, peer(1), "sooner by more than half a second");
}

fn measured(core: &mut Core, name: u8, rate: u64) {
    core.links.hold(peer(name), Link { down: Some(BytesPerSecond(rate)), ..Link::default() });
}

#[test]
fn predictions_that_were_too_low_are_corrected() {
    let base = card(2, 7, 40);
    let directory = directory(&[(1, None, &[target(), base])]);
    let mut core = knowing(own(&[base]), directory);
    let before = plans_of(&core)[0].clone();
    assert_eq!(before.raw_prediction(), Some((Rule::Tlsh, before.bytes)));
    core.calibrations.learn(Rule::Tlsh, 1, Bytes(1000), Bytes(2000));
    core.calibrations.learn(Rule::Sketch, 1, Bytes(1000), Bytes(1));
    let after = plans_of(&core)[0].clone();
    assert!(after.bytes > before.bytes && after.bytes < before.bytes.times(2));
    assert_eq!(after.raw_prediction(), before.raw_prediction(), "what is learned from is not what was corrected");
}

#[test]
fn a_release_is_predicted_by_what_the_one_before_it_was() {
    let base = card(2, 7, 40);
    let mut core = knowing(own(&[base]), directory(&[(1, None, &[target(), base])]));
    core.holdings.add_sketch(base.diff_id, sketch(0..40));
    core.sketches.keep(target().diff_id, sketch(4..44), peer(1));
    let before = plans_of(&core)[0].clone();
    assert_eq!(before.raw_prediction(), Some((Rule::Sketch, before.bytes)));
    core.calibrations.learn_lineage(card(3, 7, 40).diff_id, &[], Bytes(1000), Bytes(3000));
    assert_eq!(plans_of(&core)[0].bytes, before.bytes, "of another layer");
    core.calibrations.learn_lineage(base.diff_id, &[], Bytes(1000), Bytes(3000));
    let after = plans_of(&core)[0].clone();
    assert_eq!(after.bases, [base.diff_id]);
    assert!(after.bytes.times(2) > before.bytes.times(3), "{} and {}", after.bytes, before.bytes);
    assert_eq!(after.raw_prediction(), before.raw_prediction(), "what is learned from is not what was corrected");
}

/// The sketch of a file of these blocks.
fn sketch(blocks: std::ops::Range<u64>) -> Sketch {
    crate::tests::sketches::sketch(blocks)
}

#[test]
fn many_plans_are_in_the_order_of_their_ranks() {
    let base = card(2, 7, 40);
    let both = [target(), base];
    let peers: Vec<_> = (1..=200).map(|name| (name, Some("quay"), &both[..1 + usize::from(name % 3) / 2])).collect();
    let directory = directory(&peers);
    let settings = Settings { seed: 5, ..Settings::default() };
    let mut core = Core { settings, ..knowing(own(&[base]), directory) };
    (1..=200).for_each(|name| measured(&mut core, name, 100_000 + 300_000 * u64::from(name % 7)));
    let plans = plans_of(&core);
    assert_eq!(plans.len(), 200 + 67);
    for plan in &plans {
        assert_eq!(plan.transfer, plan.bytes.at(core.links.get(plan.peer).down.unwrap()));
    }
    // The order of kinds is that of single plans.
    assert_eq!(best_plan(plans.clone(), &core).as_ref(), plans.first());
    let soonest = plans.iter().map(Plan::time).min().unwrap();
    let latest = soon_enough(core.settings.prefer, soonest);
    let first_late = plans.iter().position(|plan| plan.time() > latest).unwrap();
    let (soon, late) = plans.split_at(first_late);
    assert!(soon.iter().all(|plan| plan.time() <= latest) && soon.is_sorted_by_key(|plan| plan.bytes));
    assert!(late.is_sorted_by_key(Plan::time));
}

/// A whole layer that peer 1 sends within a second.
fn plan_of_a_second() -> Plan {
    Plan {
        peer: peer(1),
        bases: Vec::new(),
        distance: None,
        forecast: Forecast::new(&target(), &[], None),
        quoted: None,
        effort: Effort::Default,
        bytes: Bytes(1000),
        is_near: false,
        round_trip: Duration::ZERO,
        wait: Duration::ZERO,
        transfer: Duration::from_secs(1),
        applying: Duration::ZERO,
        ready: None,
    }
}

#[test]
fn a_peer_is_asked_where_the_patch_may_be_there_already() {
    let plan = plan_after(9000, 1000);
    assert!(!may_beat(&plan, &plan_after(0, 1000), Prefer::Balanced));
    assert!(!may_beat(&plan, &plan_after(400, 1000), Prefer::Balanced), "half a second is not worth a question");
    assert!(may_beat(&plan, &plan_after(600, 1000), Prefer::Balanced));
    assert!(may_beat(&plan, &plan_after(0, 1001), Prefer::Balanced));
}

fn plan_after(wait_ms: u64, bytes: u64) -> Plan {
    Plan { bytes: Bytes(bytes), wait: Duration::from_millis(wait_ms), ..plan_of_a_second() }
}

#[test]
fn equal_plans_are_in_another_order_on_every_node() {
    let firsts: std::collections::BTreeSet<PeerId> = (0..20).map(first_of_equals).collect();
    assert!(firsts.len() > 8, "{} of 20", firsts.len());
    assert_eq!(first_of_equals(3), first_of_equals(3));
}

/// The peer of a node's first plan, where 19 peers are equal.
fn first_of_equals(seed: u64) -> PeerId {
    let cards = [target()];
    let peers: Vec<(u8, Option<&str>, &[Card])> = (1..20).map(|name| (name, None, &cards[..])).collect();
    let settings = Settings { seed, ..Settings::default() };
    plans_of(&Core { directory: directory(&peers), settings, ..Core::default() })[0].peer
}

#[test]
fn the_time_of_a_plan_counts_all_of_it_and_never_overflows() {
    let plan = Plan {
        bytes: Bytes::MIB,
        round_trip: Duration::from_millis(500),
        wait: Duration::from_secs(8),
        transfer: Duration::from_secs(2),
        applying: Duration::from_secs(1),
        ..plan_of_a_second()
    };
    assert_eq!(plan.time(), Duration::from_secs(11));
    assert_eq!(Plan { applying: Duration::from_secs(20), ..plan.clone() }.time(), Duration::from_millis(28_500));
    assert_eq!(Plan { transfer: Duration::MAX, ..plan }.time(), Duration::MAX);
}

/// Two peers: one sends little in a long time, the other much in a short time.
#[test]
fn the_operator_chooses_between_bytes_and_time() {
    let base = card(2, 7, 40);
    let directory = directory(&[(1, None, &[target(), base]), (2, None, &[target()])]);
    let mut core = knowing(own(&[base]), directory);
    measured(&mut core, 1, 20_000);
    measured(&mut core, 2, 1_000_000_000);
    for (prefer, first) in Prefer::ALL.into_iter().zip([peer(2), peer(2), peer(1)]) {
        core.settings.prefer = prefer;
        assert_eq!(plans_of(&core)[0].peer, first, "{prefer:?}");
    }
}

#[test]
fn the_plans_base_is_named_first_and_others_that_help_after_it() {
    let (near, far, useless) = (card(2, 7, 40), card(3, 7, 30), card(4, 0xf8, 40));
    let directory = directory(&[(1, None, &[target(), far])]);
    let core = knowing(own(&[near, far, useless]), directory);
    let plan = &plans_of(&core)[0];
    assert_eq!(plan.bases, [far.diff_id]);
    assert_eq!(offered_bases(&target(), plan, &core.holdings, &[]), [far.diff_id, near.diff_id]);
    assert_eq!(offered_bases(&target(), plan, &core.holdings, &[near.diff_id]), [far.diff_id]);
}
