//! The tree that referrals make of many requesters, by the number of copies, the branches of a relay and the levels.

use super::*;

const UPLINK: BytesPerSecond = BytesPerSecond(10_000_000);
/// Six seconds, and a second, over such an uplink.
const LONG: Bytes = Bytes(60_000_000);
const SHORT: Bytes = Bytes(10_000_000);
/// Long enough to come from both ends.
const SPLIT: Bytes = Bytes(100_000_000);

fn peer(number: u32) -> PeerId {
    let mut id = [0; 32];
    id[..4].copy_from_slice(&number.to_be_bytes());
    PeerId::new(id)
}

fn patch(bytes: Bytes) -> CachedPatch {
    let (patch, target) = (PatchId::new([7; 32]), DiffId::new([1; 32]));
    CachedPatch { patch, target, bases: Vec::new(), bytes, effort: None }
}

/// Sends so many requesters of the same uplink to relays, all at once. `None` is this node.
fn refer(count: u32, bytes: Bytes, uplink: BytesPerSecond) -> BTreeMap<PeerId, Option<PeerId>> {
    refer_sorted((0..count).collect(), FrameOrder::Up, bytes, uplink)
}

/// The same for requesters in this order, and for one order of frames.
fn refer_sorted(
    requesters: Vec<u32>,
    order: FrameOrder,
    bytes: Bytes,
    uplink: BytesPerSecond,
) -> BTreeMap<PeerId, Option<PeerId>> {
    let mut core = Core::new(Settings::default());
    requesters.iter().for_each(|&number| core.directory.connected(peer(number), Moment(1)));
    let mut referrals = Referrals::default();
    let here = Here { now: Moment(1), uplink };
    let asked = Asked::new(&patch(bytes), order, UPLINK);
    let ask = |number| {
        let referable = Referable { uplink: UPLINK, passes_on: true };
        let relay = referrals.relay_for(Requester::new(peer(number), referable, asked.is_split), asked, here, &core);
        if relay.is_none() {
            referrals.spread((asked.patch, order), here.now).copies += 1;
        }
        (peer(number), relay)
    };
    requesters.into_iter().map(ask).collect()
}

/// The peers that each source sends to.
fn branches(sources: &BTreeMap<PeerId, Option<PeerId>>) -> BTreeMap<Option<PeerId>, usize> {
    let mut branches = BTreeMap::new();
    sources.values().for_each(|source| *branches.entry(*source).or_default() += 1);
    branches
}

fn levels(sources: &BTreeMap<PeerId, Option<PeerId>>) -> usize {
    let level = |peer: &PeerId| std::iter::successors(Some(*peer), |peer| sources[peer]).count();
    sources.keys().map(level).max().unwrap_or_default()
}

#[test]
fn a_long_patch_goes_through_a_tree_of_two_branches() {
    let sources = refer(2600, LONG, UPLINK);
    let branches = branches(&sources);
    assert_eq!(branches.values().max(), Some(&2), "each source sends at half of its rate at least");
    assert_eq!(branches[&None], 2);
    let levels = levels(&sources);
    // 2,600 in a full tree of two branches are 11 levels.
    assert!(levels <= 13, "{levels} levels");
}

/// The peers that pass on this order of frames come first.
#[test]
fn a_split_patch_goes_through_two_trees_and_each_uplink_carries_one_copy() {
    let mut sends = BTreeMap::new();
    for order in [FrameOrder::Up, FrameOrder::Down] {
        let mut requesters: Vec<u32> = (0..2600).map(|number: u32| number.swap_bytes() | number).collect();
        requesters.sort_by_key(|&number| split::order_of(peer(number)) != order);
        let sources = refer_sorted(requesters, order, SPLIT, UPLINK);
        for (source, count) in branches(&sources) {
            assert!(source.is_none_or(|source| split::order_of(source) == order), "{source:?} passes on the other");
            *sends.entry(source).or_insert(0) += count;
        }
        let levels = levels(&sources);
        assert!(levels <= 14, "{levels} levels");
    }
    assert_eq!(sends[&None], 2, "one copy in all: half of the patch each way");
    assert!(sends.values().all(|&count| count <= 2), "each source sends to two, half of the patch each");
}

#[test]
fn a_hub_with_a_faster_uplink_sends_more_copies() {
    let copies = |bytes, uplink| branches(&refer(100, bytes, BytesPerSecond(uplink)))[&None];
    assert_eq!(copies(LONG, 25_000_000), 2);
    assert_eq!(copies(LONG, 35_000_000), 3);
    assert_eq!(copies(LONG, 1_000_000_000), 3, "`limits.copies_max`");
    assert_eq!(copies(LONG, 1), 2, "one would make a chain");
    assert_eq!(copies(SHORT, 10_000_000), 3);
}

#[test]
fn one_more_branch_costs_others_what_they_lose() {
    let relay = |whole_at| Relay {
        uplink: UPLINK,
        has_failed: false,
        referrals: 0,
        first_frame_at: Moment(0),
        whole_at: Moment(whole_at),
    };
    let seconds = |relay: Relay, others| relay.loss_of_others(others, SPLIT, Moment(0)).as_secs();
    assert_eq!([0, 1, 2].map(|others| seconds(relay(0), others)), [0, 10, 10]);
    // It has its own patch at half of the rate: a second branch loses nothing.
    assert_eq!([0, 1, 2].map(|others| seconds(relay(20_000), others)), [0, 0, 10]);
    assert_eq!(seconds(relay(60_000), 3), 0);
    assert_eq!(relay(0).loss_of_others(u64::MAX - 1, SPLIT, Moment(0)), Duration::ZERO, "no division by zero");
}
