//! Pulls an image: name, manifest, config, layers, commit.
//!
//! ```text
//! Resolving -> Reading <-> GettingBlob -> KeepingBlob -> Reading ... -> Layers -> Committing -> done
//! ```
//!
//! A name is resolved only by a release that a trusted publisher signed; the caller checks signatures. Among several
//! releases the one issued last counts. Manifest and config come from any peer. The caller checks them against their
//! digest before they are written, and the pull reads them back from disk.
//!
//! After a panic of a worker that reads, keeps or commits, the pull goes on from what is on disk, at most
//! [`Settings::PANICS_MAX`] times.
//!
//! A pull ends when it is committed, fails, or is cancelled. An answer that comes later finds no pull: that is no
//! fault.

mod round;

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use lighter_types::{Blame, DiffId, ImageReference, Moment, OciDigest, PeerId, broken};
use lighter_wire::{
    Answer, Documents, ImageAnswer, ImageName, ImageRequest, LayerOffer, Quote, Request, SignedRelease,
};

use self::round::Round;
use crate::asks::Purpose;
use crate::core::Step;
use crate::event::{AskId, Effect, ImageRead, PullId, Wanted};
use crate::failure::{AskFailure, BlobFailure, LocalFailure, Offence};
use crate::fetch::{Fetcher, Outcome};
use crate::report::{PullFailure, Report};
use crate::settings::Settings;

/// All pulls under way.
#[derive(Debug, Default)]
pub struct Pulls {
    /// At most [`Settings::PULLS_MAX`]. Boxed: a leaf of the map has room for eleven values.
    pulls: BTreeMap<PullId, Box<Pull>>,
}

#[derive(Debug)]
struct Pull {
    reference: Option<ImageReference>,
    release: Option<SignedRelease>,
    manifest: Option<OciDigest>,
    /// Peers that knew the name or had the manifest: they have the layers too, or are getting them.
    sources: Vec<PeerId>,
    /// Documents that came with a release, and the manifest that it names.
    documents: Option<(PeerId, OciDigest, Documents)>,
    /// Offers for the layers of a manifest. At most [`Settings::OFFERERS_MAX`].
    offers: Vec<(PeerId, OciDigest, Vec<LayerOffer>)>,
    /// Panics of workers that the pull went on after.
    panics: u32,
    /// Whether a peer outside the site was asked for documents and offers.
    has_asked_far: bool,
    state: State,
}

#[derive(Debug)]
enum State {
    Resolving { waiting: BTreeSet<AskId>, round: Round },
    Reading,
    GettingBlob { digest: OciDigest, bytes_max: u32, ask: Option<AskId>, round: Round },
    KeepingBlob { digest: OciDigest, from: PeerId },
    Layers { missing: BTreeSet<DiffId> },
    Committing,
}

impl Pulls {
    pub fn len(&self) -> usize {
        self.pulls.len()
    }

    pub fn begin(&mut self, id: PullId, wanted: Wanted, step: &mut Step<'_>) {
        if self.pulls.len() >= Settings::PULLS_MAX {
            let why = PullFailure::TooMany { max: Settings::PULLS_MAX };
            return step.report(id, Report::Failed { why });
        }
        let until = step.now + step.core.patience(&wanted);
        let mut pull = Box::new(Pull::new(wanted, until));
        pull.read(id, step);
        self.pulls.insert(id, pull);
        self.advance(step);
    }

    /// The release of a name whose image is being pulled. So the site gets the manifest from here before the image is
    /// whole.
    pub fn release_of(&self, name: &ImageReference) -> Option<&SignedRelease> {
        let pulls = self.pulls.values().filter(|pull| pull.reference.as_ref() == Some(name));
        pulls.filter(|pull| pull.manifest.is_some()).find_map(|pull| pull.release.as_ref())
    }

    /// Ends a pull with this failure, if it is under way.
    pub fn fail(&mut self, id: PullId, why: PullFailure, fetcher: &mut Fetcher, step: &mut Step<'_>) {
        if self.pulls.remove(&id).is_some() {
            fetcher.abandon(id, step.effects);
            step.report(id, Report::Failed { why });
        }
    }

    pub fn fail_all(&mut self, why: &PullFailure, fetcher: &mut Fetcher, step: &mut Step<'_>) {
        for id in self.pulls.keys().copied().collect::<Vec<_>>() {
            self.fail(id, why.clone(), fetcher, step);
        }
    }

    pub fn next_deadline(&self) -> Option<Moment> {
        self.pulls.values().filter_map(|pull| pull.deadline()).min()
    }

    /// Does what is due: asks peers that connected since, and ends the pulls that waited too long.
    pub fn advance(&mut self, step: &mut Step<'_>) {
        if !self.pulls.values().any(|pull| pull.asks_peers()) {
            return;
        }
        let peers = step.core.directory.peers();
        let usable = peers.filter(|(id, peer)| peer.is_connected() && !step.is_cut_off(*id));
        let connected: Vec<PeerId> = usable.map(|(id, _)| id).collect();
        let mut failed = Vec::new();
        for (&id, pull) in &mut self.pulls {
            pull.advance_resolving(id, &connected, step);
            pull.advance_blob(id, &connected, step);
            if let Some(why) = pull.overdue(step.now) {
                failed.push((id, why));
            }
        }
        for (id, why) in failed {
            self.pulls.remove(&id);
            step.report(id, Report::Failed { why });
        }
    }

    /// A peer answers what a name stands for.
    pub fn resolved(
        &mut self,
        id: PullId,
        ask: AskId,
        from: PeerId,
        answer: Result<Answer, AskFailure>,
        step: &mut Step<'_>,
    ) {
        let Some(pull) = self.pulls.get_mut(&id) else { return };
        // A pull whose patience is over goes on with the release that it has.
        let State::Resolving { waiting, round } = &mut pull.state else { return };
        waiting.remove(&ask);
        round.answered(from, &answer);
        if let Ok(Answer::Image(answer)) = answer {
            pull.take_answer(*answer, from);
        }
        self.advance(step);
    }

    /// A peer answers with a manifest or config, or not.
    pub fn blob_answered(&mut self, id: PullId, from: PeerId, answer: Result<Answer, AskFailure>, step: &mut Step<'_>) {
        let Some(pull) = self.pulls.get_mut(&id) else { return };
        let State::GettingBlob { digest, bytes_max, ask, round } = &mut pull.state else {
            return broken("an answer with a blob that the pull does not ask for");
        };
        *ask = None;
        round.answered(from, &answer);
        let (documents, offers) = match answer {
            Ok(Answer::Blob { bytes, config }) => (Some(Documents { manifest: bytes, config }), Vec::new()),
            Ok(Answer::Image(answer)) => (answer.documents, answer.offers),
            Ok(_) | Err(_) => (None, Vec::new()),
        };
        if let Some(documents) = documents.filter(|documents| documents.manifest.len() <= *bytes_max as usize) {
            let digest = *digest;
            pull.take_offers(from, digest, offers);
            pull.keep(id, from, digest, documents, step);
        }
        self.advance(step);
    }

    /// A blob is on disk, or is not what its digest says.
    pub fn blob_kept(
        &mut self,
        id: PullId,
        result: Result<(), BlobFailure>,
        fetcher: &mut Fetcher,
        step: &mut Step<'_>,
    ) {
        let Some(pull) = self.pulls.get_mut(&id) else { return };
        let State::KeepingBlob { digest, from } = pull.state else {
            return broken("a blob was kept that the pull does not have");
        };
        match result {
            Err(BlobFailure::Local(why)) => return self.disk_failed(id, why, fetcher, step),
            Err(BlobFailure::WrongDigest) => step.cut_off(from, Offence::WrongDigest(digest)),
            Ok(()) if !pull.sources.contains(&from) => pull.sources.push(from),
            Ok(()) => {}
        }
        // The disk says what is missing now.
        pull.read(id, step);
    }

    /// The disk says what it has of the image.
    pub fn image_read(&mut self, id: PullId, read: ImageRead, fetcher: &mut Fetcher, step: &mut Step<'_>) {
        let Some(pull) = self.pulls.get_mut(&id) else { return };
        let until = step.now + step.core.settings.patience;
        let result = match read {
            ImageRead::Missing { digest, bytes_max } => {
                pull.state = State::GettingBlob { digest, bytes_max, ask: None, round: Round::new(until) };
                Ok(())
            }
            ImageRead::Layers(layers) => pull.want_layers(id, layers, fetcher, step),
            ImageRead::Unusable(why) => Err(PullFailure::Unusable(why)),
            ImageRead::Local(why) => return self.disk_failed(id, why, fetcher, step),
        };
        match result {
            Ok(()) => self.advance(step),
            Err(why) => self.fail(id, why, fetcher, step),
        }
    }

    /// The image is known under its name, or the disk failed.
    pub fn committed(
        &mut self,
        id: PullId,
        result: Result<(), LocalFailure>,
        fetcher: &mut Fetcher,
        step: &mut Step<'_>,
    ) {
        if let Err(why) = result {
            return self.disk_failed(id, why, fetcher, step);
        }
        let Some(pull) = self.pulls.remove(&id) else { return };
        match pull.manifest {
            Some(manifest) => step.report(id, Report::Done { manifest }),
            None => broken("an image was committed without a manifest"),
        }
    }

    /// A worker of the disk failed. After a panic the pull goes on from what is on disk.
    fn disk_failed(&mut self, id: PullId, why: LocalFailure, fetcher: &mut Fetcher, step: &mut Step<'_>) {
        let Some(pull) = self.pulls.get_mut(&id) else { return };
        if why.blame() != Blame::Bug || pull.panics == Settings::PANICS_MAX {
            return self.fail(id, PullFailure::Local(why), fetcher, step);
        }
        pull.panics += 1;
        match pull.state {
            State::Committing => pull.commit(id, step),
            State::Resolving { .. }
            | State::Reading
            | State::GettingBlob { .. }
            | State::KeepingBlob { .. }
            | State::Layers { .. } => pull.read(id, step),
        }
    }

    /// Layers are held, or cannot be had.
    pub fn layers_ended(
        &mut self,
        outcomes: impl IntoIterator<Item = Outcome>,
        fetcher: &mut Fetcher,
        step: &mut Step<'_>,
    ) {
        for outcome in outcomes {
            match outcome {
                Outcome::Failed { pulls, why } => {
                    for id in pulls {
                        self.fail(id, why.clone(), fetcher, step);
                    }
                }
                Outcome::Held { pulls, target } => {
                    for id in pulls {
                        self.layer_held(id, target, step);
                    }
                }
            }
        }
    }

    fn layer_held(&mut self, id: PullId, layer: DiffId, step: &mut Step<'_>) {
        let Some(pull) = self.pulls.get_mut(&id) else { return broken("a layer for a pull that is over") };
        let State::Layers { missing } = &mut pull.state else { return broken("a layer for a pull that wants none") };
        missing.remove(&layer);
        pull.commit_if_complete(id, step);
    }
}

impl Pull {
    fn new(wanted: Wanted, until: Moment) -> Self {
        let (reference, release, manifest) = match wanted {
            Wanted::Name { reference, known } => (Some(reference), known, None),
            Wanted::Manifest(digest) => (None, None, Some(digest)),
        };
        let state = State::Resolving { waiting: BTreeSet::new(), round: Round::new(until) };
        Self {
            reference,
            release,
            manifest,
            sources: Vec::new(),
            documents: None,
            offers: Vec::new(),
            panics: 0,
            has_asked_far: false,
            state,
        }
    }

    fn asks_peers(&self) -> bool {
        matches!(self.state, State::Resolving { .. } | State::GettingBlob { .. })
    }

    fn deadline(&self) -> Option<Moment> {
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
    fn take_answer(&mut self, answer: ImageAnswer, from: PeerId) {
        let ImageAnswer { release, documents, offers } = answer;
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

    fn take_offers(&mut self, from: PeerId, manifest: OciDigest, offers: Vec<LayerOffer>) {
        if self.offers.len() < Settings::OFFERERS_MAX && !offers.is_empty() {
            self.offers.push((from, manifest, offers));
        }
    }

    /// Has documents checked against their digest and kept.
    fn keep(&mut self, id: PullId, from: PeerId, digest: OciDigest, documents: Documents, step: &mut Step<'_>) {
        let Documents { manifest: bytes, config } = documents;
        step.effects.push(Effect::KeepBlob { pull: id, digest, bytes, config });
        self.state = State::KeepingBlob { digest, from };
    }

    /// The offers for the layer at this place of the image.
    fn offers_for(&self, place: usize) -> Vec<(PeerId, Quote)> {
        let of_image = self.offers.iter().filter(|(_, manifest, _)| Some(*manifest) == self.manifest);
        let of_layer = of_image.flat_map(|(peer, _, offers)| {
            offers.iter().filter(|offer| usize::from(offer.layer) == place).map(|offer| (*peer, offer.quote.clone()))
        });
        of_layer.take(Settings::OFFERERS_MAX).collect()
    }

    /// Takes in a release of the pull's name, if it was issued no earlier than the newest so far.
    fn take_release(&mut self, release: SignedRelease, from: PeerId) {
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

    fn advance_resolving(&mut self, id: PullId, connected: &[PeerId], step: &mut Step<'_>) {
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
            let request = Request::Image(ImageRequest { name, known, documents });
            waiting.insert(step.ask(peer, Purpose::Resolve(id), request));
        }
        let is_complete = waiting.is_empty() && !round.asked.is_empty();
        if is_complete {
            round.exhausted(step.now);
        }
        if let (Some(release), true) = (&self.release, is_complete || round.until <= step.now) {
            let manifest = release.release.manifest;
            self.manifest = Some(manifest);
            step.report(id, Report::Resolved { manifest });
            match self.documents.take() {
                Some((from, of, documents)) if of == manifest => self.keep(id, from, manifest, documents, step),
                Some(_) | None => self.read(id, step),
            }
        }
    }

    /// Asks one peer after the other for a blob: first the peers of the site that knew the name, then other peers that
    /// knew it, then all.
    fn advance_blob(&mut self, id: PullId, connected: &[PeerId], step: &mut Step<'_>) {
        let State::GettingBlob { digest, bytes_max, ask, round } = &mut self.state else { return };
        if ask.is_some() {
            return;
        }
        let sources = self.sources.iter().filter(|peer| connected.contains(peer));
        let (near, far): (Vec<PeerId>, Vec<PeerId>) = sources.partition(|&&peer| step.core.is_near(peer));
        if let Some(peer) = round.next(step.now, near.iter().chain(&far).chain(connected)) {
            let request = if Some(*digest) == self.manifest {
                let name = ImageName::Manifest(*digest);
                Request::Image(ImageRequest { name, known: None, documents: true })
            } else {
                Request::Blob { digest: *digest, bytes_max: *bytes_max }
            };
            *ask = Some(step.ask(peer, Purpose::Blob(id), request));
        } else if !round.asked.is_empty() {
            round.exhausted(step.now);
        }
    }

    fn overdue(&self, now: Moment) -> Option<PullFailure> {
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
    fn read(&mut self, id: PullId, step: &mut Step<'_>) {
        if let Some(manifest) = self.manifest {
            self.state = State::Reading;
            step.effects.push(Effect::ReadImage { pull: id, manifest });
        }
    }

    fn want_layers(
        &mut self,
        id: PullId,
        layers: Vec<DiffId>,
        fetcher: &mut Fetcher,
        step: &mut Step<'_>,
    ) -> Result<(), PullFailure> {
        let (held, missing): (Vec<DiffId>, Vec<DiffId>) =
            layers.iter().partition(|&&layer| step.core.holdings.holds(layer));
        let is_missing = |(_, layer): &(usize, &DiffId)| missing.contains(layer);
        let wanted = layers.iter().enumerate().filter(is_missing);
        let wanted: Vec<_> = wanted.map(|(place, &layer)| (layer, self.offers_for(place))).collect();
        self.offers.clear();
        step.report(id, Report::Layers { layers, held });
        for (layer, offers) in wanted {
            fetcher.want(id, layer, offers, step)?;
        }
        // Gossip about a new release may be on its way, or lost.
        if missing.iter().any(|&layer| !step.core.directory.is_reachable(layer)) {
            for &peer in &self.sources {
                step.ask_holdings(peer);
            }
        }
        self.state = State::Layers { missing: missing.into_iter().collect() };
        self.commit_if_complete(id, step);
        Ok(())
    }

    fn commit_if_complete(&mut self, id: PullId, step: &mut Step<'_>) {
        if let State::Layers { missing } = &self.state
            && missing.is_empty()
        {
            self.commit(id, step);
        }
    }

    /// Has the image committed under its name, if its manifest is known.
    fn commit(&mut self, id: PullId, step: &mut Step<'_>) {
        if let Some(manifest) = self.manifest {
            self.state = State::Committing;
            step.effects.push(Effect::CommitImage { pull: id, manifest, release: self.release.clone() });
        }
    }
}
