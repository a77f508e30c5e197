//! Random operations on the store and on a simple model of it.
//!
//! The model knows layers, patches, pins, leases and images by small numbers, and the eviction order. After each
//! operation, the store and the model must agree on success or failure, on the held items, on the used bytes, and at
//! the end on the layers that were evicted or collected. The budget is small, so that many operations evict.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::{GcMode, LayerReader, StoreError};

const BUDGET: u64 = 10_000;

#[derive(Clone, Debug)]
enum Op {
    AddLayer(u64),
    AddPatch(u64),
    RemoveLayer(u64),
    RemovePatch(u64),
    Pin(u64),
    Unpin(u64),
    Lease(u64),
    EndLeases,
    Name(u64, Vec<u64>),
    RemoveName(u64),
    Touch(u64),
    Gc(u64),
    Reopen,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => any_layer().prop_map(Op::AddLayer),
        3 => (0..5u64).prop_map(Op::AddPatch),
        2 => any_layer().prop_map(Op::RemoveLayer),
        1 => (0..5u64).prop_map(Op::RemovePatch),
        1 => any_layer().prop_map(Op::Pin),
        2 => any_layer().prop_map(Op::Unpin),
        2 => any_layer().prop_map(Op::Lease),
        1 => Just(Op::EndLeases),
        2 => (0..3u64, prop::collection::vec(any_layer(), 0..3)).prop_map(|(tag, layers)| Op::Name(tag, layers)),
        1 => (0..3u64).prop_map(Op::RemoveName),
        2 => any_layer().prop_map(Op::Touch),
        1 => (0..60u64).prop_map(Op::Gc),
        1 => Just(Op::Reopen),
    ]
}

fn any_layer() -> std::ops::Range<u64> {
    0..8
}

/// Layer `n` has (n + 1) x 500 bytes. Patch `n` has (n + 1) x 200 bytes, and its target is layer `n`.
fn layer_bytes(n: u64) -> u64 {
    (n + 1) * 500
}

fn patch_bytes(n: u64) -> u64 {
    (n + 1) * 200
}

#[derive(Default)]
struct Model {
    /// The held layers, and their time of last use.
    layers: BTreeMap<u64, u64>,
    /// The cached patches, and their time of last use.
    patches: BTreeMap<u64, u64>,
    pins: BTreeSet<u64>,
    leases: BTreeSet<u64>,
    names: BTreeMap<u64, Vec<u64>>,
    gone: BTreeSet<u64>,
}

impl Model {
    fn used(&self) -> u64 {
        let layers: u64 = self.layers.keys().map(|n| layer_bytes(*n)).sum();
        layers + self.patches.keys().map(|n| patch_bytes(*n)).sum::<u64>()
    }

    fn is_free(&self, n: u64) -> bool {
        !(self.pins.contains(&n) || self.leases.contains(&n) || self.names.values().any(|layers| layers.contains(&n)))
    }

    /// Evicts items for `needed` bytes. Returns false, and evicts nothing, if there cannot be enough room.
    fn make_room(&mut self, needed: u64) -> bool {
        let free: Vec<u64> = self.layers.keys().copied().filter(|n| self.is_free(*n)).collect();
        let kept: u64 = self.used()
            - free.iter().map(|n| layer_bytes(*n)).sum::<u64>()
            - self.patches.keys().map(|n| patch_bytes(*n)).sum::<u64>();
        if kept + needed > BUDGET {
            return false;
        }
        while self.used() + needed > BUDGET {
            let patch = self.patches.iter().min_by_key(|(n, used)| (**used, patch_id(**n))).map(|(n, _)| *n);
            if let Some(n) = patch {
                self.patches.remove(&n);
                continue;
            }
            let free = self.layers.iter().filter(|(n, _)| self.is_free(**n));
            let oldest = free.min_by_key(|(n, used)| (**used, id(**n))).map(|(n, _)| *n).unwrap();
            self.layers.remove(&oldest);
            self.gone.insert(oldest);
        }
        true
    }
}

fn id(n: u64) -> DiffId {
    layer(n, usize::try_from(layer_bytes(n)).unwrap()).1.diff_id
}

struct Run<'a> {
    bench: &'a Bench,
    /// `None` only while the store is reopened.
    store: Option<Store>,
    readers: Vec<LayerReader>,
    model: Model,
}

impl Run<'_> {
    fn store(&self) -> &Store {
        self.store.as_ref().unwrap()
    }

    fn step(&mut self, op: &Op, now: u64) {
        let at = UnixSeconds(now);
        match op {
            Op::AddLayer(n) => self.add_layer(*n, now),
            Op::AddPatch(n) => self.add_patch(*n, now),
            Op::RemoveLayer(n) => self.remove_layer(*n),
            Op::RemovePatch(n) => {
                let removed = self.store().remove_patch(&patch_id(*n)).is_ok();
                assert_eq!(removed, self.model.patches.remove(n).is_some());
            }
            Op::Pin(n) => self.pin(*n),
            Op::Unpin(n) => {
                self.store().unpin(&id(*n)).unwrap();
                self.model.pins.remove(n);
            }
            Op::Lease(n) => self.lease(*n),
            Op::EndLeases => {
                self.readers.clear();
                self.model.leases.clear();
            }
            Op::Name(tag, layers) => self.name(*tag, layers),
            Op::RemoveName(tag) => {
                let removed = self.store().remove_reference(&reference(*tag)).is_ok();
                assert_eq!(removed, self.model.names.remove(tag).is_some());
            }
            Op::Touch(n) => {
                assert_eq!(self.store().touch(&id(*n), at).is_ok(), self.model.layers.contains_key(n));
                self.model.layers.entry(*n).and_modify(|used| *used = now);
            }
            Op::Gc(since) => self.collect_garbage(*since),
            Op::Reopen => self.reopen(),
        }
    }

    fn add_layer(&mut self, n: u64, now: u64) {
        let added = try_add(self.store(), n, usize::try_from(layer_bytes(n)).unwrap(), UnixSeconds(now));
        assert_eq!(added.is_ok(), self.model.make_room(layer_bytes(n)), "{added:?}");
        if added.is_ok() {
            self.model.layers.insert(n, now);
            self.model.gone.remove(&n);
        }
    }

    fn add_patch(&mut self, n: u64, now: u64) {
        let length = usize::try_from(patch_bytes(n)).unwrap();
        // A patch that does not fit may find room for its first bytes, and others give way for them.
        if !self.model.make_room(patch_bytes(n)) {
            assert!(self.store().check_room(Bytes(patch_bytes(n))).is_err());
            return;
        }
        try_add_patch(self.store(), key(id(n), 0), n, length, UnixSeconds(now)).unwrap();
        self.model.patches.insert(n, now);
    }

    fn remove_layer(&mut self, n: u64) {
        let removed = self.store().remove_layer(&id(n));
        match (self.model.layers.contains_key(&n), self.model.is_free(n)) {
            (false, _) => assert!(matches!(removed, Err(StoreError::NotHeld { .. }))),
            (true, false) => assert!(matches!(removed, Err(StoreError::InUse { .. }))),
            (true, true) => {
                removed.unwrap();
                self.model.layers.remove(&n);
            }
        }
    }

    fn pin(&mut self, n: u64) {
        let is_held = self.model.layers.contains_key(&n);
        assert_eq!(self.store().pin(&id(n)).is_ok(), is_held);
        if is_held {
            self.model.pins.insert(n);
        }
    }

    fn lease(&mut self, n: u64) {
        let reader = self.store().open_layer(&id(n)).unwrap();
        assert_eq!(reader.is_some(), self.model.layers.contains_key(&n));
        if reader.is_some() {
            self.model.leases.insert(n);
        }
        self.readers.extend(reader);
    }

    /// Sets a reference. Its manifest and config are an empty blob, which takes no room, so that the model can leave it
    /// out.
    fn name(&mut self, tag: u64, layers: &[u64]) {
        let blob = OciDigest::new(Sha256::digest([]).into());
        self.store().put_blob(&blob, &[], UnixSeconds(u64::MAX)).unwrap();
        let ids = layers.iter().map(|n| id(*n)).collect();
        let image = Image { manifest: blob, config: blob, layers: ids, release_record: Vec::new() };
        let is_named = self.store().set_reference(&reference(tag), image).is_ok();
        assert_eq!(is_named, layers.iter().all(|n| self.model.layers.contains_key(n)));
        if is_named {
            self.model.names.insert(tag, layers.to_vec());
        }
    }

    fn collect_garbage(&mut self, since: u64) {
        let dry = self.store().gc(GcMode::DryRun, UnixSeconds(since)).unwrap();
        assert_eq!(self.store().gc(GcMode::Remove, UnixSeconds(since)).unwrap(), dry);
        let Model { layers, .. } = &self.model;
        let unused = layers.iter().filter(|(n, used)| **used < since && self.model.is_free(**n));
        let unused: Vec<u64> = unused.map(|(n, _)| *n).collect();
        self.model.layers.retain(|n, _| !unused.contains(n));
        self.model.gone.extend(unused);
        let Model { layers, patches, .. } = &mut self.model;
        patches.retain(|n, used| *used >= since || layers.contains_key(n));
    }

    fn reopen(&mut self) {
        self.readers.clear();
        self.model.leases.clear();
        self.model.gone.clear();
        self.store = None;
        self.store = Some(self.bench.open_with(budget(BUDGET)));
    }

    fn compare(&self) {
        let held: BTreeSet<DiffId> = self.store().cards().iter().map(|card| card.diff_id).collect();
        assert_eq!(held, self.model.layers.keys().map(|n| id(*n)).collect());
        let patches: BTreeSet<PatchId> = self.store().patches().iter().map(|patch| patch.patch_id).collect();
        assert_eq!(patches, self.model.patches.keys().map(|n| patch_id(*n)).collect());
        assert_eq!(self.store().stats().unwrap().used_bytes, Bytes(self.model.used()));
        assert_eq!(self.store().references().len(), self.model.names.len());
        let pins: BTreeSet<DiffId> = self.store().pins().into_iter().collect();
        assert_eq!(pins, self.model.pins.iter().map(|n| id(*n)).collect());
    }
}

fn run(bench: &Bench, ops: &[Op]) {
    let store = Some(bench.open_with(budget(BUDGET)));
    let mut run = Run { bench, store, readers: Vec::new(), model: Model::default() };
    for (now, op) in (1..).zip(ops) {
        run.step(op, now);
        run.compare();
    }
    let gone: BTreeSet<DiffId> = run.store().take_gone_layers().into_iter().collect();
    assert_eq!(gone, run.model.gone.iter().map(|n| id(*n)).collect());
    run.readers.clear();
    assert_sound(run.store());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_store_matches_the_model_in_memory(ops in prop::collection::vec(op(), 1..60)) {
        run(&Bench::new(Some(MemoryIndex::new())), &ops);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_store_matches_the_model_on_disk(ops in prop::collection::vec(op(), 40..60)) {
        run(&Bench::new(None), &ops);
    }
}
