//! Layers that come as their compressed blobs.
//!
//! A container runtime wants the blob of a layer, and the layer is what later patches read from. Where no base helps
//! and the link is fast, the exact blob comes in the place of the layer: nobody encodes it, and the runtime gets it
//! before the layer is unpacked. A blob that comes anyway, because no recipe makes it, brings its layer over every
//! link.
//!
//! A blob is a layer to all that this crate does: its name is its digest. The layer waits for it ([`State::Blob`]), and
//! its target stands for the layer: it has the same pulls, which hear of the layer alone. Where the blob cannot be had,
//! or is not that layer, the layer comes by itself.

use std::collections::BTreeSet;

use lighter_types::{Bytes, DiffId, Effort, broken};

use super::blob::{ByBlob, Came};
use super::fetching::Stop;
use super::target::{State, Target};
use super::{Fetcher, Outcome};
use crate::core::Step;
use crate::event::{Effect, LayerBlob, PullId};
use crate::planner::{self, Plan};
use crate::report::{PullFailure, Report};
use crate::settings::Settings;
use crate::work;

impl Fetcher {
    /// This node wants the blob of a layer too, if it comes. To be called after [`Self::want`].
    pub fn may_come_as(&mut self, layer: DiffId, blob: LayerBlob) {
        if let Some(target) = self.targets.get_mut(&layer)
            && layer != blob.name
        {
            target.blob.get_or_insert(blob);
        }
    }

    /// Chooses which of the layers that wait come as their blobs.
    pub(super) fn choose_blobs(&mut self, step: &mut Step<'_>) {
        self.leave_lost_blobs(step);
        let targets = || work::counting(self.targets.iter());
        let waits = |target: &Target| target.blob.filter(|_| matches!(target.state, State::Waiting { .. }));
        let waiting: Vec<_> = targets().filter_map(|(&id, target)| Some((id, waits(target)?))).collect();
        if waiting.is_empty() {
            return;
        }
        // A layer that is another one's blob comes by itself: what an image names for blobs may lead round in a circle.
        let mut awaited: BTreeSet<DiffId> = targets().filter_map(|(_, target)| target.waits_for()).collect();
        let mut places = self.places(step.core);
        for (id, blob) in waiting {
            if awaited.contains(&id) {
                continue;
            }
            let Some(target) = self.targets.get(&id) else { return broken("a listed target is gone") };
            let comes_anyway = self.targets.get(&blob.name).is_some_and(|target| target.comes_by_itself());
            if !step.core.holdings.holds(blob.name) && !comes_anyway {
                let place = places.of(id, target.goes_first, step.core);
                let may_begin = *place > 0 && !step.core.sketches.is_awaited(id, step.now);
                if !may_begin || !self.is_better_as(id, blob, step) {
                    continue;
                }
                *place -= 1;
            }
            self.wait_for(id, blob, step);
            awaited.insert(blob.name);
        }
    }

    /// Whether the best way to get a layer is all of it, as quickly as it can be encoded, and its blob takes no longer,
    /// with hardly more bytes.
    fn is_better_as(&self, id: DiffId, blob: LayerBlob, step: &Step<'_>) -> bool {
        let Some(target) = self.targets.get(&id) else { return false };
        let is_free = !self.parts.contains_key(&id) && !self.targets.contains_key(&blob.name);
        // A card alone may not show the base that a provider would choose by its sketches.
        let knows_bases = match &target.offers[..] {
            [] => step.core.sketches.get(id).is_some() || step.core.holdings.cards().next().is_none(),
            offers => offers.iter().all(|(_, quote)| quote.bases.is_empty()),
        };
        // A peer that says another size than the manifest does not have that blob.
        let is_that = step.core.directory.card(blob.name).is_some_and(|card| card.tar_bytes == blob.bytes);
        if !is_free || !is_that || !knows_bases {
            return false;
        }
        let as_it_is = |layer| planner::plans(layer, step.core, &|peer| !target.may_ask(peer, step), &[]).into_iter();
        let Some(best) = target.plans(id, step).into_iter().next() else { return false };
        let is_whole = best.bases.is_empty() && best.effort == Effort::Plain;
        let bytes_max = Bytes(best.bytes.0.saturating_add(best.bytes.0 / Settings::BLOB_MORE_MAX));
        let is_as_good = |plan: Plan| plan.bytes <= bytes_max && plan.time() <= best.time();
        is_whole && as_it_is(blob.name).next().is_some_and(is_as_good)
    }

    /// The layer comes as its blob, which is wanted by the same pulls unless it is here or wanted by itself.
    fn wait_for(&mut self, id: DiffId, blob: LayerBlob, step: &mut Step<'_>) {
        let Some(target) = self.targets.get_mut(&id) else { return broken("a chosen target is gone") };
        target.state = State::Blob(ByBlob { blob: blob.name, is_here: false, came: None });
        let pulls = target.pulls.clone();
        if step.core.holdings.holds(blob.name) {
            self.unpack_from(blob.name, None, step.effects);
        } else if !self.targets.contains_key(&blob.name) {
            // If there are too many targets already, the next round finds that the blob does not come.
            let are_wanted = pulls.iter().all(|&pull| self.want(pull, blob.name, Vec::new(), step).is_ok());
            if let (true, Some(target)) = (are_wanted, self.targets.get_mut(&blob.name)) {
                target.stands_for = Some(id);
                target.signed_bytes = Some(blob.bytes);
            }
        }
    }

    /// One more pull wants a layer, and so the blob that comes for it.
    pub(super) fn want_blob_too(&mut self, pull: PullId, layer: DiffId) {
        let Some(State::Blob(by_blob)) = self.targets.get(&layer).map(|target| &target.state) else { return };
        let name = by_blob.blob;
        if let Some(blob) = self.targets.get_mut(&name).filter(|blob| blob.stands_for == Some(layer)) {
            blob.pulls.insert(pull);
        }
    }

    /// Layers whose blob neither is here nor comes any more come by themselves. Whether there were any.
    pub(super) fn leave_lost_blobs(&mut self, step: &Step<'_>) -> bool {
        let is_lost = |target: &Target| target.waits_for().is_some_and(|blob| !self.targets.contains_key(&blob));
        let targets = work::counting(self.targets.iter());
        let lost: Vec<DiffId> = targets.filter(|(_, target)| is_lost(target)).map(|(&id, _)| id).collect();
        for id in &lost {
            if let Some(target) = self.targets.get_mut(id) {
                target.blob = None;
                target.wait(step);
            }
        }
        !lost.is_empty()
    }

    /// A layer is here that may be the blob of others: they are unpacked out of it.
    pub(super) fn unpack_from(&mut self, blob: DiffId, came: Option<Came>, effects: &mut Vec<Effect>) {
        for (&layer, target) in &mut self.targets {
            if let State::Blob(by_blob) = &mut target.state
                && by_blob.blob == blob
                && !by_blob.is_here
            {
                (by_blob.is_here, by_blob.came) = (true, came);
                let report = Report::Unpacking { target: layer };
                effects.extend(target.pulls.iter().map(|&pull| Effect::Report { pull, report: report.clone() }));
                // One that nobody wanted any more may go on.
                if self.unpacking.insert(layer) {
                    effects.push(Effect::Unpack { layer, blob, signed_bytes: target.signed_bytes });
                }
            }
        }
    }

    /// A layer was unpacked out of its blob, and is held; or not, and comes by itself.
    pub fn unpacked(&mut self, layer: DiffId, is_held: bool, step: &mut Step<'_>) -> Option<Outcome> {
        self.unpacking.remove(&layer);
        let target = self.targets.get_mut(&layer)?;
        let came = if let State::Blob(by_blob) = &target.state { Some(by_blob.came) } else { None };
        if is_held {
            if let Some(Some(Came { from, patch_bytes, received, wasted })) = came {
                let report = Report::Layer { target: layer, from, bases: Vec::new(), patch_bytes, received, wasted };
                step.report_all(&target.pulls, &report);
            }
            return self.layer_held(layer, step.effects);
        }
        if came.is_some() {
            target.blob = None;
            target.wait(step);
        }
        None
    }

    /// The layer does not wait for its blob any more: a blob that comes for it alone is left.
    pub(super) fn leave_blob(&mut self, layer: DiffId, effects: &mut Vec<Effect>) {
        let Some(State::Blob(by_blob)) = self.targets.get(&layer).map(|target| &target.state) else { return };
        let blob = by_blob.blob;
        let Some(target) = self.targets.get_mut(&blob).filter(|target| target.stands_for == Some(layer)) else {
            return;
        };
        target.pulls.clear();
        if let State::Fetching(fetching) = &mut target.state {
            fetching.stop(Stop::Abandoned, effects);
            target.stop_second(effects);
            self.leave_tail(blob, effects);
        } else {
            drop(self.remove(blob, effects));
        }
    }
}

impl Target {
    /// The layer that the pulls hear of.
    pub fn name(&self, id: DiffId) -> DiffId {
        self.stands_for.unwrap_or(id)
    }

    /// The blob that the layer waits for, until it is here.
    fn waits_for(&self) -> Option<DiffId> {
        let State::Blob(by_blob) = &self.state else { return None };
        (!by_blob.is_here).then_some(by_blob.blob)
    }

    /// Whether it is wanted by itself, and does not wait for a blob of its own.
    fn comes_by_itself(&self) -> bool {
        self.stands_for.is_none() && !matches!(self.state, State::Blob(_))
    }

    /// The end of the wait for a layer that cannot be had. Nobody waits for a blob that stands for its layer.
    pub fn failed(self, why: PullFailure) -> Option<Outcome> {
        self.stands_for.is_none().then_some(Outcome::Failed { pulls: self.pulls, why })
    }
}
