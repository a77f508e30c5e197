//! Random operations against a model that is as simple as the promises: what is held, in which order it goes, and what
//! is refused.

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
    let layer = || 0..8u64;
    prop_oneof![
        6 => layer().prop_map(Op::AddLayer),
        3 => (0..5u64).prop_map(Op::AddPatch),
        2 => layer().prop_map(Op::RemoveLayer),
        1 => (0..5u64).prop_map(Op::RemovePatch),
        1 => layer().prop_map(Op::Pin),
        2 => layer().prop_map(Op::Unpin),
        2 => layer().prop_map(Op::Lease),
        1 => Just(Op::EndLeases),
        2 => (0..3u64, prop::collection::vec(layer(), 0..3)).prop_map(|(tag, layers)| Op::Name(tag, layers)),
        1 => (0..3u64).prop_map(Op::RemoveName),
        2 => layer().prop_map(Op::Touch),
        1 => (0..60u64).prop_map(Op::Gc),
        1 => Just(Op::Reopen),
    ]
}

/// Layer `n` has (n + 1) x 500 bytes, patch `n` (n + 1) x 200, and turns something into layer `n`.
fn layer_bytes(n: u64) -> u64 {
    (n + 1) * 500
}

fn patch_bytes(n: u64) -> u64 {
    (n + 1) * 200
}

#[derive(Default)]
struct Model {
    /// Time of last use.
    layers: BTreeMap<u64, u64>,
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

    /// Evicts for `needed` bytes, or refuses and evicts nothing.
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
    /// `None` only while it is opened again.
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
            Op::AddLayer(n) => {
                let added = try_add(self.store(), *n, usize::try_from(layer_bytes(*n)).unwrap(), at);
                assert_eq!(added.is_ok(), self.model.make_room(layer_bytes(*n)), "{added:?}");
                if added.is_ok() {
                    self.model.layers.insert(*n, now);
                    self.model.gone.remove(n);
                }
            }
            Op::AddPatch(n) => {
                let length = usize::try_from(patch_bytes(*n)).unwrap();
                let added = try_add_patch(self.store(), key(id(*n), 0), *n, length, at);
                assert_eq!(added.is_ok(), self.model.make_room(patch_bytes(*n)), "{added:?}");
                if added.is_ok() {
                    self.model.patches.insert(*n, now);
                }
            }
            Op::RemoveLayer(n) => {
                let removed = self.store().remove_layer(&id(*n));
                match (self.model.layers.contains_key(n), self.model.is_free(*n)) {
                    (false, _) => assert!(matches!(removed, Err(StoreError::NotHeld { .. }))),
                    (true, false) => assert!(matches!(removed, Err(StoreError::InUse { .. }))),
                    (true, true) => {
                        removed.unwrap();
                        self.model.layers.remove(n);
                    }
                }
            }
            Op::RemovePatch(n) => {
                let removed = self.store().remove_patch(&patch_id(*n)).is_ok();
                assert_eq!(removed, self.model.patches.remove(n).is_some());
            }
            Op::Reopen => {
                self.readers.clear();
                self.model.leases.clear();
                self.model.gone.clear();
                self.store = None;
                self.store = Some(self.bench.open_with(budget(BUDGET)));
            }
            _ => self.step_of_use(op, at),
        }
    }

    /// The operations that say what is in use, and collection, which heeds it.
    fn step_of_use(&mut self, op: &Op, now: UnixSeconds) {
        let is_held = |n: &u64, model: &Model| model.layers.contains_key(n);
        match op {
            Op::Pin(n) => {
                assert_eq!(self.store().pin(&id(*n)).is_ok(), is_held(n, &self.model));
                if is_held(n, &self.model) {
                    self.model.pins.insert(*n);
                }
            }
            Op::Unpin(n) => {
                self.store().unpin(&id(*n)).unwrap();
                self.model.pins.remove(n);
            }
            Op::Lease(n) => {
                let reader = self.store().open_layer(&id(*n)).unwrap();
                assert_eq!(reader.is_some(), is_held(n, &self.model));
                if reader.is_some() {
                    self.model.leases.insert(*n);
                }
                self.readers.extend(reader);
            }
            Op::EndLeases => {
                self.readers.clear();
                self.model.leases.clear();
            }
            Op::Name(tag, layers) => {
                let blob = OciDigest::new(Sha256::digest([]).into());
                // An empty blob takes no room, so that the model need not know of it.
                self.store().put_blob(&blob, &[], UnixSeconds(u64::MAX)).unwrap();
                let ids = layers.iter().map(|n| id(*n)).collect();
                let image = Image { manifest: blob, config: blob, layers: ids, release_record: Vec::new() };
                let named = self.store().set_reference(&reference(*tag), image).is_ok();
                assert_eq!(named, layers.iter().all(|n| is_held(n, &self.model)));
                if named {
                    self.model.names.insert(*tag, layers.clone());
                }
            }
            Op::RemoveName(tag) => {
                let removed = self.store().remove_reference(&reference(*tag)).is_ok();
                assert_eq!(removed, self.model.names.remove(tag).is_some());
            }
            Op::Touch(n) => {
                assert_eq!(self.store().touch(&id(*n), now).is_ok(), is_held(n, &self.model));
                self.model.layers.entry(*n).and_modify(|used| *used = now.0);
            }
            Op::Gc(since) => {
                let dry = self.store().gc(GcMode::DryRun, UnixSeconds(*since)).unwrap();
                assert_eq!(self.store().gc(GcMode::Remove, UnixSeconds(*since)).unwrap(), dry);
                let Model { layers, .. } = &self.model;
                let unused = layers.iter().filter(|(n, used)| **used < *since && self.model.is_free(**n));
                let unused: Vec<u64> = unused.map(|(n, _)| *n).collect();
                self.model.layers.retain(|n, _| !unused.contains(n));
                self.model.gone.extend(unused);
                let Model { layers, patches, .. } = &mut self.model;
                patches.retain(|n, used| *used >= *since || layers.contains_key(n));
            }
            _ => unreachable!("{op:?} is a step of its own"),
        }
    }

    fn compare(&self) {
        let ids = |numbers: &mut dyn Iterator<Item = u64>| numbers.map(id).collect::<BTreeSet<_>>();
        let held: BTreeSet<DiffId> = self.store().cards().iter().map(|card| card.diff_id).collect();
        assert_eq!(held, ids(&mut self.model.layers.keys().copied()));
        let patches: BTreeSet<PatchId> = self.store().patches().iter().map(|patch| patch.patch_id).collect();
        assert_eq!(patches, self.model.patches.keys().map(|n| patch_id(*n)).collect());
        assert_eq!(self.store().stats().unwrap().used_bytes, Bytes(self.model.used()));
        assert_eq!(self.store().references().len(), self.model.names.len());
        let pins: BTreeSet<DiffId> = self.store().pins().into_iter().collect();
        assert_eq!(pins, ids(&mut self.model.pins.iter().copied()));
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
    fn the_store_does_as_the_model_in_memory(ops in prop::collection::vec(op(), 1..60)) {
        run(&Bench::new(Some(MemoryIndex::new())), &ops);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_store_does_as_the_model_on_disk(ops in prop::collection::vec(op(), 40..60)) {
        run(&Bench::new(None), &ops);
    }
}
