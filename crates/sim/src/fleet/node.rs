//! One node of the fleet: its engine, its disk, and the effects that wait for their answer.
//!
//! The disk survives the end of a life, as a node's does; the rest begins anew.

use std::collections::{BTreeMap, BTreeSet};

use lighter_engine::{
    CachedPatch, DiskInput, Effect, EncodeId, Engine, FetchId, Input, KeptList, Open, Part, Scope, Settings, Work,
};
use lighter_similarity::Calibration;
use lighter_types::{Card, DiffId, ImageReference, Link, Moment, OciDigest, Pace, PatchId, PeerId};
use lighter_wire::{FrameOrder, SignedRelease};

/// Ticks in a row that bring nothing but the next wake moment. A timer that was moved brings some.
const IDLE_WAKES_MAX: u8 = 8;

/// The state that survives a restart.
#[derive(Default)]
pub struct Disk {
    pub layers: BTreeSet<DiffId>,
    pub patches: BTreeMap<PatchId, CachedPatch>,
    pub parts: BTreeMap<DiffId, Part>,
    pub blobs: BTreeSet<OciDigest>,
    pub releases: BTreeMap<ImageReference, Box<SignedRelease>>,
    pub calibrations: BTreeMap<Scope, Calibration>,
    pub paces: BTreeMap<Work, Pace>,
    pub links: BTreeMap<PeerId, Link>,
    /// The lists of other nodes.
    pub lists: BTreeMap<PeerId, Vec<Card>>,
    /// Pulls that were acknowledged and did not end.
    pub pulls: BTreeSet<usize>,
}

impl Disk {
    /// The bytes of a patch that came from its first frame up; all of them if all is there.
    fn first_bytes(&self, patch: &CachedPatch) -> u64 {
        if self.patches.contains_key(&patch.patch) {
            return u64::MAX;
        }
        let part = self.parts.get(&patch.target).filter(|part| part.patch == patch.patch);
        part.map_or(0, |part| part.bytes.0)
    }

    /// Keeps lists of other nodes in place of those kept for these nodes.
    pub fn keep_lists(&mut self, lists: Vec<KeptList>) {
        for KeptList { peer, cards } in lists {
            if cards.is_empty() {
                self.lists.remove(&peer);
            } else {
                self.lists.insert(peer, cards);
            }
        }
    }

    /// The inputs by which a starting engine learns of the disk, but for the layers.
    pub fn inputs(&self) -> Vec<Input> {
        let mut inputs = Vec::new();
        for (&scope, &calibration) in &self.calibrations {
            inputs.push(DiskInput::CalibrationHeld { scope, calibration });
        }
        inputs.extend(self.paces.iter().map(|(&work, &pace)| DiskInput::PaceHeld(work, pace)));
        inputs.extend(self.links.iter().map(|(&peer, &link)| DiskInput::LinkHeld { peer, link }));
        let lists = self.lists.iter().map(|(&peer, cards)| KeptList { peer, cards: cards.clone() });
        inputs.extend(lists.map(DiskInput::ListHeld));
        inputs.extend(self.patches.values().cloned().map(DiskInput::PatchHeld));
        for (&target, part) in &self.parts {
            inputs.push(DiskInput::PartHeld { target, part: part.clone() });
        }
        inputs.into_iter().map(Input::Disk).collect()
    }
}

pub struct Node {
    pub engine: Engine,
    pub disk: Disk,
    /// Whole frames that came from the end of a patch, by the layer: the patch, and their bytes. They do not survive
    /// the end of a life.
    pub tails: BTreeMap<DiffId, (PatchId, u64)>,
    pub is_online: bool,
    /// Whether it wants the compressed blobs of layers beside them.
    pub wants_blobs: bool,
    idle_wakes: u8,
    /// Grows with each start and each end: what is meant for an earlier life does not arrive.
    pub life: u32,
    /// The last moment that the engine asked to be woken at, until it is.
    pub wake: Option<Moment>,
    open: BTreeSet<Open>,
}

impl Node {
    pub fn new(settings: Settings, disk: Disk) -> Self {
        Self {
            engine: Engine::new(settings),
            disk,
            tails: BTreeMap::new(),
            is_online: false,
            wants_blobs: false,
            idle_wakes: 0,
            life: 0,
            wake: None,
            open: BTreeSet::new(),
        }
    }

    /// Begins a life with nothing in memory.
    pub fn start(&mut self, settings: Settings) {
        self.life += 1;
        self.is_online = true;
        self.renew(settings);
    }

    /// Ends a life.
    pub fn stop(&mut self) {
        self.life += 1;
        self.is_online = false;
        self.tails.clear();
        self.open.clear();
    }

    /// The bytes that are here from the end of a patch.
    pub fn tail_bytes(&self, patch: &CachedPatch) -> u64 {
        let tail = self.tails.get(&patch.target).filter(|(of, _)| *of == patch.patch);
        tail.map_or(0, |(_, bytes)| *bytes)
    }

    /// Whether all of a patch is here, from one end or from both.
    pub fn has_all_of(&self, patch: &CachedPatch) -> bool {
        self.disk.first_bytes(patch).saturating_add(self.tail_bytes(patch)) >= patch.bytes.0
    }

    /// The bytes of a patch that can be sent from here, in this order of its frames.
    pub fn sendable_bytes(&self, patch: &CachedPatch, order: FrameOrder) -> u64 {
        match order {
            _ if self.has_all_of(patch) => u64::MAX,
            FrameOrder::Up => self.disk.first_bytes(patch),
            FrameOrder::Down => self.tail_bytes(patch),
        }
    }

    /// Takes a new engine in place of the old one, within the same life.
    pub fn renew(&mut self, settings: Settings) {
        self.engine = Engine::new(settings);
        self.wake = None;
        self.open.clear();
    }

    /// The effects that wait for their answer.
    pub fn open(&self) -> impl Iterator<Item = Open> {
        self.open.iter().copied()
    }

    /// Notes an effect that wants an answer.
    ///
    /// # Errors
    /// The breach of the contract, if the engine may not ask for it now.
    pub fn ask(&mut self, open: Open) -> Result<(), String> {
        if !self.open.insert(open) {
            return Err(format!("{open:?} is asked for twice"));
        }
        let settings = self.engine.settings();
        let (all, max) = match open {
            Open::Fetch(_) => (
                Open::Fetch(FetchId(0))..=Open::Fetch(FetchId(u64::MAX)),
                settings.fetches_max + Settings::SMALL_FETCHES_MAX + Settings::RACES_MAX + Settings::TAILS_MAX,
            ),
            Open::Encode(_) => (Open::Encode(EncodeId(0))..=Open::Encode(EncodeId(u64::MAX)), settings.encodes_max),
            Open::Ask(_) | Open::Read(_) | Open::Keep(_) | Open::Commit(_) | Open::Unpack(_) | Open::LookUp(_) => {
                return Ok(());
            }
        };
        if self.open.range(all).count() > max {
            return Err("more fetches or encodes than allowed".to_owned());
        }
        Ok(())
    }

    /// Notes the answer to an effect; whether the effect waited for it.
    pub fn take_answer(&mut self, answered: Open) -> bool {
        self.open.remove(&answered)
    }

    /// Notes the effects of a tick. Returns whether the engine has now been woken for nothing too often in a row.
    pub fn note_tick(&mut self, effects: &[Effect]) -> bool {
        let is_idle = effects.iter().all(|effect| matches!(effect, Effect::WakeAt(_)));
        self.idle_wakes = if is_idle { self.idle_wakes.saturating_add(1) } else { 0 };
        self.idle_wakes == IDLE_WAKES_MAX
    }

    /// Notes an input other than a tick.
    pub fn note_input(&mut self) {
        self.idle_wakes = 0;
    }
}

/// A node's name. It does not follow the order of the nodes, as keys do not.
pub fn peer(node: usize) -> PeerId {
    let mut id = [0x5a; 32];
    id[..8].copy_from_slice(&(node as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes());
    id[8..16].copy_from_slice(&(node as u64).to_le_bytes());
    PeerId::new(id)
}

/// The node that has this name.
pub fn node_of(peer: PeerId) -> usize {
    peer.as_bytes()[8..16].iter().rev().fold(0, |sum, &byte| sum << 8 | usize::from(byte))
}
