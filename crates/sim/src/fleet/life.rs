//! Nodes start, stop, and are cut off.

use lighter_engine::{DiskInput, EncodeId, Engine, FetchId, Input, PeerInput};
use lighter_wire::{Release, SignedRelease};

use super::{Disk, Due, Fleet, Micros, Node, Open, StrategyReport, peer};
use crate::topology::Happening;

/// Until the others notice that a node is gone, or cannot be reached: QUIC's idle timeout as libp2p sets it.
const NOTICED_AFTER: Micros = 10_000_000;

impl Fleet<'_> {
    pub(super) fn node(&self, node: usize, seed: u64) -> Node {
        let settings = self.settings(node, seed);
        let mut disk = Disk::default();
        let images = self.scenario.images.iter().zip(&self.content.images).enumerate();
        for (index, (image, content)) in images {
            let holds = match self.topology.nodes[node].site {
                None => true,
                Some(site) => self.scenario.sites[self.topology.sites[site].group].holds.contains(&image.name),
            };
            if let (true, Ok(reference)) = (holds, image.name.parse::<lighter_types::ImageReference>()) {
                disk.layers.extend(&content.layers);
                disk.blobs.extend([content.manifest, content.config]);
                let release =
                    Release { reference: reference.clone(), manifest: content.manifest, issued_s: index as u64 + 1 };
                let signed = SignedRelease { release, publisher: peer(0), signature: [0; 64] };
                disk.releases.insert(reference, Box::new(signed));
            }
        }
        Node { engine: Engine::new(settings), disk, is_online: false, life: 0, wake: None, open: Default::default() }
    }

    pub(super) fn start(&mut self) {
        for (index, (at, _)) in self.topology.happenings.iter().enumerate() {
            self.network.due(*at, Due::Happens(index));
        }
        for (index, pull) in self.topology.pulls.iter().enumerate() {
            self.network.due(pull.at, Due::Begin(index));
        }
        let off: std::collections::BTreeSet<usize> = self
            .topology
            .happenings
            .iter()
            .filter_map(|(at, happening)| match happening {
                Happening::Off(node) if *at == 0 => Some(*node),
                _ => None,
            })
            .collect();
        (0..self.nodes.len()).filter(|node| !off.contains(node)).for_each(|node| self.boot(node));
    }

    /// Starts a node from its disk and connects it.
    fn boot(&mut self, node: usize) {
        let this = &mut self.nodes[node];
        this.life += 1;
        this.is_online = true;
        this.wake = None;
        this.open.clear();
        let settings = lighter_engine::Settings {
            incarnation: lighter_wire::Incarnation(1_000 + u64::from(this.life)),
            ..this.engine.settings().clone()
        };
        this.engine = Engine::new(settings);
        let cards = this.disk.layers.iter().filter_map(|layer| self.content.cards.get(layer));
        let mut inputs: Vec<Input> =
            cards.map(|card| Input::Disk(DiskInput::LayerHeld { card: *card, sketch: None })).collect();
        let learned = this.disk.calibrations.iter();
        inputs.extend(learned.map(|(&(rule, settings), &calibration)| {
            Input::Disk(DiskInput::CalibrationHeld { rule, settings, calibration })
        }));
        inputs.extend(this.disk.pace.map(|pace| Input::Disk(DiskInput::PaceHeld(pace))));
        inputs.extend(this.disk.patches.values().cloned().map(|patch| Input::Disk(DiskInput::PatchHeld(patch))));
        let parts = this.disk.parts.iter();
        inputs.extend(parts.map(|(&target, part)| Input::Disk(DiskInput::PartHeld { target, part: part.clone() })));
        inputs.into_iter().for_each(|input| self.step(node, input));
        for other in self.neighbours(node) {
            self.connect(node, other);
        }
        let unfinished: Vec<usize> = self.nodes[node].disk.pulls.iter().copied().collect();
        unfinished.into_iter().for_each(|pull| self.pull(pull));
    }

    pub(super) fn connect(&mut self, node: usize, other: usize) {
        if self.nodes[node].is_online && self.nodes[other].is_online && self.is_reachable(node, other) {
            self.step(node, Input::Peer(PeerInput::Connected(peer(other))));
            self.step(other, Input::Peer(PeerInput::Connected(peer(node))));
        }
    }

    pub(super) fn befall(&mut self, happening: Happening) {
        match happening {
            Happening::Off(node) if self.nodes[node].is_online => {
                let this = &mut self.nodes[node];
                this.is_online = false;
                this.life += 1;
                this.open.clear();
                let life = this.life;
                self.network.due(self.network.now + NOTICED_AFTER, Due::Noticed { node, life });
            }
            Happening::On(node) if !self.nodes[node].is_online => {
                self.notice(node);
                self.boot(node);
            }
            Happening::Off(_) | Happening::On(_) => {}
            Happening::Percent(percent) => self.links.throttle(self.topology, &mut self.network, percent),
            Happening::Cut(site) => {
                self.is_cut[site] = true;
                self.network.due(self.network.now + NOTICED_AFTER, Due::CutNoticed(site));
            }
            Happening::Healed(site) => {
                self.is_cut[site] = false;
                for node in self.topology.sites[site].nodes.clone() {
                    self.connect(node, self.hub_of[site]);
                    self.pump_streams(node);
                }
            }
        }
    }

    /// Those who were connected to a node learn that it is gone; sites whose hub it was turn to the next.
    pub(super) fn notice(&mut self, node: usize) {
        for other in self.neighbours(node) {
            if self.nodes[other].is_online {
                self.step(other, Input::Peer(PeerInput::Lost(peer(node))));
            }
        }
        self.acquaintances(node, |_| true).into_iter().for_each(|other| self.part(node, other));
        self.break_streams(node, |_| true);
        let next = (1..self.topology.hubs)
            .map(|step| (node + step) % self.topology.hubs)
            .find(|hub| node < self.topology.hubs && self.nodes[*hub].is_online);
        if let (Some(next), None) = (next, self.topology.nodes[node].site) {
            let moved = std::mem::take(&mut self.members[node]);
            self.hub_of.iter_mut().filter(|hub| **hub == node).for_each(|hub| *hub = next);
            self.members[next].extend(&moved);
            moved.into_iter().for_each(|member| self.connect(member, next));
        }
    }

    pub(super) fn notice_cut(&mut self, site: usize) {
        if !self.is_cut[site] {
            return;
        }
        let hub = self.hub_of[site];
        for node in self.topology.sites[site].nodes.clone() {
            if self.nodes[node].is_online && self.nodes[hub].is_online {
                self.step(node, Input::Peer(PeerInput::Lost(peer(hub))));
                self.step(hub, Input::Peer(PeerInput::Lost(peer(node))));
            }
            let topology = self.topology;
            let strangers = self.acquaintances(node, |other| topology.nodes[other].site != Some(site));
            strangers.into_iter().for_each(|other| self.part(node, other));
            self.break_streams(node, |other| topology.nodes[other].site != Some(site));
        }
    }

    /// In a box that is there already, if one is.
    pub(super) fn boxed(&mut self, input: Input) -> Box<Input> {
        match self.boxes.pop() {
            Some(mut empty) => {
                *empty = input;
                empty
            }
            None => Box::new(input),
        }
    }

    pub(super) fn unboxed(&mut self, mut input: Box<Input>) -> Input {
        let content = std::mem::replace(&mut *input, Input::Tick);
        self.boxes.push(input);
        content
    }

    pub(super) fn soon(&mut self, node: usize, delay: Micros, input: Input) {
        let life = self.nodes[node].life;
        let input = self.boxed(input);
        self.network.due(self.network.now + delay, Due::Input { node, life, input });
    }

    pub(super) fn open_effect(&mut self, node: usize, open: Open) {
        let this = &mut self.nodes[node];
        if !this.open.insert(open) {
            return self.violation(node, &format!("{open:?} is asked for twice"));
        }
        let settings = this.engine.settings();
        let (all, max) = match open {
            Open::Fetch(_) => (Open::Fetch(FetchId(0))..=Open::Fetch(FetchId(u64::MAX)), settings.fetches_max),
            Open::Encode(_) => (Open::Encode(EncodeId(0))..=Open::Encode(EncodeId(u64::MAX)), settings.encodes_max),
            _ => return,
        };
        if this.open.range(all).count() > max {
            self.violation(node, "more fetches or encodes than allowed");
        }
    }

    pub(super) fn report(self, is_partial: bool) -> StrategyReport {
        super::outcome::report(self, is_partial)
    }
}
