//! One pull: its state, and what it does next.
//!
//! A pull by name takes in the answers of peers (`take_answer`): the newest release counts, and the documents and
//! offers that came with it. A pull by digest gets the manifest first. From then on both go the same way: they ask for
//! what the disk lacks, want the layers, and commit.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use lighter_types::{Bytes, DiffId, ImageReference, Moment, OciDigest, PeerId, broken};
use lighter_wire::{Documents, ImageAnswer, ImageName, ImageRequest, LayerOffer, Quote, Request, SignedRelease};

use super::round::Round;
use super::sizes::SignedSizes;
use crate::asks::Purpose;
use crate::core::Step;
use crate::event::{AskId, Effect, LayerBlob, PullId, Wanted};
use crate::failure::UnusableImage;
use crate::fetch::Fetcher;
use crate::report::{PullFailure, Report};
use crate::settings::Settings;
use crate::work;

#[derive(Debug)]
pub struct Pull {
    pub reference: Option<ImageReference>,
    pub release: Option<SignedRelease>,
    pub manifest: Option<OciDigest>,
    /// Known with the layers.
    sizes: SignedSizes,
    /// Peers that knew the name or had the manifest: they have the layers too, or are getting them.
    pub sources: Vec<PeerId>,
    /// Documents that came with a release, and the manifest that it names.
    pub documents: Option<(PeerId, OciDigest, Documents)>,
    /// Offers for the layers of a manifest. At most [`Settings::OFFERERS_MAX`].
    pub offers: Vec<(PeerId, OciDigest, Vec<LayerOffer>)>,
    /// Panics of workers that the pull went on after.
    pub panics: u32,
    /// Whether a peer outside the site was asked for documents and offers.
    pub has_asked_far: bool,
    pub state: State,
}

#[derive(Debug)]
pub enum State {
    Resolving { waiting: BTreeSet<AskId>, round: Round },
    Reading,
    GettingBlob { digest: OciDigest, bytes_max: u32, ask: Option<AskId>, round: Round },
    KeepingBlob { digest: OciDigest, from: PeerId },
    Layers { missing: BTreeSet<DiffId> },
    Committing,
}

impl Pull {
    pub fn new(wanted: Wanted, until: Moment) -> Self {
        let (reference, release, manifest) = match wanted {
            Wanted::Name { reference, known } => (Some(reference), known, None),
            Wanted::Manifest(digest) => (None, None, Some(digest)),
        };
        let state = State::Resolving { waiting: BTreeSet::new(), round: Round::new(until) };
        Self {
            reference,
            release,
            manifest,
            sizes: SignedSizes::default(),
            sources: Vec::new(),
            documents: None,
            offers: Vec::new(),
            panics: 0,
            has_asked_far: false,
            state,
        }
    }

    pub fn asks_peers(&self) -> bool {
        matches!(self.state, State::Resolving { .. } | State::GettingBlob { .. })
    }

    pub fn deadline(&self) -> Option<Moment> {
        match &self.state {
            State::Resolving { round, .. } | State::GettingBlob { round, ask: None, .. } => Some(round.deadline()),
            // The caller owes an answer, or the layers have deadlines of their own.
            State::GettingBlob { ask: Some(_), .. }
            | State::Reading
            | State::KeepingBlob { .. }
            | State::Layers { .. }
            | State::Committing => None,
        }
    }

    /// Takes in what a peer knows of the pull's name.
    pub fn take_answer(&mut self, answer: ImageAnswer, from: PeerId) {
        // The caller takes in the handovers: they say whose releases count.
        let ImageAnswer { release, documents, offers, handovers: _ } = answer;
        let Some(release) = release else { return };
        let manifest = release.release.manifest;
        self.take_release(release, from);
        if self.release.as_ref().is_none_or(|newest| newest.release.manifest != manifest) {
            return;
        }
        self.take_offers(from, manifest, offers);
        if let Some(documents) = documents {
            self.documents = Some((from, manifest, documents));
        }
    }

    pub fn take_offers(&mut self, from: PeerId, manifest: OciDigest, offers: Vec<LayerOffer>) {
        if self.offers.len() < Settings::OFFERERS_MAX && !offers.is_empty() {
            self.offers.push((from, manifest, offers));
        }
    }

    /// Has documents checked against their digest and kept.
    pub fn keep(&mut self, id: PullId, from: PeerId, digest: OciDigest, documents: Documents, step: &mut Step<'_>) {
        step.effects.push(Effect::KeepBlob { pull: id, digest, documents });
        self.state = State::KeepingBlob { digest, from };
    }

    /// Takes the offers for the image, by the places of its layers.
    fn take_offers_by_place(&mut self) -> BTreeMap<usize, Vec<(PeerId, Quote)>> {
        let mut by_place: BTreeMap<usize, Vec<(PeerId, Quote)>> = BTreeMap::new();
        for (peer, manifest, offers) in std::mem::take(&mut self.offers) {
            if Some(manifest) != self.manifest {
                continue;
            }
            for LayerOffer { layer, quote } in work::counting(offers.into_iter()) {
                let of_layer = by_place.entry(layer.into()).or_default();
                if of_layer.len() < Settings::OFFERERS_MAX {
                    of_layer.push((peer, quote));
                }
            }
        }
        by_place
    }

    /// Takes in a release of the pull's name, if it was issued no earlier than the newest so far.
    pub fn take_release(&mut self, release: SignedRelease, from: PeerId) {
        if Some(&release.release.reference) != self.reference.as_ref() {
            return;
        }
        let newest = self.release.as_ref().map(|known| known.release.issued_s);
        match newest.map(|newest| release.release.issued_s.cmp(&newest)) {
            None | Some(Ordering::Greater) => {
                self.sources = vec![from];
                self.release = Some(release);
            }
            Some(Ordering::Equal) => self.sources.push(from),
            Some(Ordering::Less) => {}
        }
    }

    pub fn advance_resolving(&mut self, id: PullId, connected: &[PeerId], step: &mut Step<'_>) {
        let State::Resolving { waiting, round } = &mut self.state else { return };
        let Some(reference) = &self.reference else { return broken("a pull resolves without a name") };
        let known = self.release.as_ref().map(|release| release.release.manifest);
        let has_neighbours = connected.iter().any(|&peer| step.core.is_near(peer));
        while waiting.len() < Settings::RESOLVERS_MAX
            && let Some(peer) = round.next(step.now, connected.iter())
        {
            // Documents and offers from one peer outside the site are enough. In a site they come once, through one of
            // its nodes: `GettingBlob` asks the neighbours first.
            let is_far = !step.core.is_near(peer);
            let documents = !is_far || !has_neighbours && !self.has_asked_far;
            self.has_asked_far |= is_far;
            let name = ImageName::Reference(reference.clone());
            let list = step.core.holdings.settled_digest();
            let terms = step.core.terms(!is_far);
            let request = Request::Image(ImageRequest { name, known, documents, list, terms });
            waiting.insert(step.ask(peer, Purpose::Resolve(id), request));
        }
        let is_complete = waiting.is_empty() && !round.asked.is_empty();
        if is_complete {
            round.exhausted(step.now);
        }
        if let (Some(release), true) = (&self.release, is_complete || round.until <= step.now) {
            let manifest = release.release.manifest;
            self.manifest = Some(manifest);
            step.report(id, Report::Resolved { manifest, companions: self.companions() });
            match self.documents.take() {
                Some((from, of, documents)) if of == manifest => self.keep(id, from, manifest, documents, step),
                Some(_) | None => self.read(id, step),
            }
        }
    }

    /// Asks one peer after the other for a blob: first the peers that knew the name, then all; those of the site first.
    pub fn advance_blob(&mut self, id: PullId, connected: &[PeerId], step: &mut Step<'_>) {
        let State::GettingBlob { digest, bytes_max, ask, round } = &mut self.state else { return };
        if ask.is_some() {
            return;
        }
        let sources = connected.iter().filter(|peer| self.sources.contains(peer));
        if let Some(peer) = round.next(step.now, sources.chain(connected)) {
            let request = if Some(*digest) == self.manifest {
                let name = ImageName::Manifest(*digest);
                let list = step.core.holdings.settled_digest();
                let terms = step.core.terms(step.core.is_near(peer));
                Request::Image(ImageRequest { name, known: None, documents: true, list, terms })
            } else {
                Request::Blob { digest: *digest, bytes_max: *bytes_max }
            };
            *ask = Some(step.ask(peer, Purpose::Blob(id), request));
        } else if !round.asked.is_empty() {
            round.exhausted(step.now);
        }
    }

    pub fn overdue(&self, now: Moment) -> Option<PullFailure> {
        match &self.state {
            State::Resolving { round, .. } if round.until <= now => {
                let reference = self.reference.clone()?;
                Some(PullFailure::NotResolved { reference, asked: round.asked.len() })
            }
            State::GettingBlob { digest, ask: None, round, .. } if round.until <= now => {
                Some(PullFailure::BlobNotFound { digest: *digest, asked: round.asked.len() })
            }
            State::Resolving { .. }
            | State::Reading
            | State::GettingBlob { .. }
            | State::KeepingBlob { .. }
            | State::Layers { .. }
            | State::Committing => None,
        }
    }

    /// Has the disk say what it has of the image, if its manifest is known.
    pub fn read(&mut self, id: PullId, step: &mut Step<'_>) {
        if let Some(manifest) = self.manifest {
            self.state = State::Reading;
            step.effects.push(Effect::ReadImage { pull: id, manifest });
        }
    }

    /// The layer with the image's companions, as the release names it. Offers are for the layers of the documents only.
    fn companions(&self) -> Option<DiffId> {
        self.release.as_ref().and_then(|release| release.release.companions)
    }

    pub fn want_layers(
        &mut self,
        id: PullId,
        mut layers: Vec<DiffId>,
        (sizes, blobs): (&BTreeMap<DiffId, Bytes>, &BTreeMap<DiffId, LayerBlob>),
        fetcher: &mut Fetcher,
        step: &mut Step<'_>,
    ) -> Result<(), PullFailure> {
        if let Some(release) = &self.release {
            self.sizes = SignedSizes::of(release, &layers).map_err(PullFailure::Unusable)?;
        }
        let companions = self.companions().filter(|companions| !layers.contains(companions));
        layers.extend(companions);
        let mut offers = self.take_offers_by_place();
        let places = work::counting(layers.iter().copied().enumerate());
        let (held, wanted): (Vec<_>, Vec<_>) = places.partition(|&(_, layer)| step.core.holdings.holds(layer));
        let held: Vec<DiffId> = held.into_iter().map(|(_, layer)| layer).collect();
        held.iter().try_for_each(|&layer| self.check_size(layer, step)).map_err(PullFailure::Unusable)?;
        step.report(id, Report::Layers { layers, held });
        let mut missing = BTreeSet::new();
        for (place, layer) in wanted {
            missing.insert(layer);
            if Some(layer) == companions {
                fetcher.want_first(id, layer, step)?;
            } else {
                fetcher.want(id, layer, offers.remove(&place).unwrap_or_default(), step)?;
            }
            if let Some(blob) = blobs.get(&layer) {
                fetcher.may_come_as(layer, *blob);
            }
            fetcher.signed(layer, self.sizes.signed_bytes(layer).or(sizes.get(&layer).copied()));
        }
        // Gossip about a new release may be on its way, or lost.
        if missing.iter().any(|&layer| !step.core.directory.is_reachable(layer)) {
            for &peer in &self.sources {
                step.ask_holdings(peer);
            }
        }
        self.state = State::Layers { missing };
        self.commit_if_complete(id, step);
        Ok(())
    }

    /// Compares a layer that is here with the size that the publisher signed for it.
    ///
    /// # Errors
    /// If they differ.
    pub fn check_size(&self, layer: DiffId, step: &Step<'_>) -> Result<(), UnusableImage> {
        self.release.as_ref().map_or(Ok(()), |release| self.sizes.check(layer, &step.core.holdings, release))
    }

    pub fn commit_if_complete(&mut self, id: PullId, step: &mut Step<'_>) {
        if let State::Layers { missing } = &self.state
            && missing.is_empty()
        {
            self.commit(id, step);
        }
    }

    /// Has the image committed under its name, if its manifest is known.
    pub fn commit(&mut self, id: PullId, step: &mut Step<'_>) {
        if let Some(manifest) = self.manifest {
            self.state = State::Committing;
            step.effects.push(Effect::CommitImage { pull: id, manifest, release: self.release.clone() });
        }
    }
}
