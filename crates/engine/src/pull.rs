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

mod pulling;
mod round;
mod sizes;

use std::collections::BTreeMap;

use lighter_types::{Blame, DiffId, ImageReference, Moment, PeerId, broken};
use lighter_wire::{Answer, Documents, SignedRelease};

use self::pulling::{Pull, State};
use self::round::Round;
use crate::core::Step;
use crate::event::{AskId, ImageRead, PullId, Wanted};
use crate::failure::{AskFailure, BlobFailure, LocalFailure, Offence};
use crate::fetch::{Fetcher, Outcome};
use crate::planner;
use crate::report::{PullFailure, Report};
use crate::settings::Settings;

/// All pulls under way.
#[derive(Debug, Default)]
pub struct Pulls {
    /// At most [`Settings::PULLS_MAX`]. Boxed: a leaf of the map has room for eleven values.
    pulls: BTreeMap<PullId, Box<Pull>>,
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
        let mut connected: Vec<PeerId> = usable.map(|(id, _)| id).collect();
        // Each node has another order, so that a fleet does not go to one hub for documents and offers.
        connected.sort_by_key(|&id| (!step.core.is_near(id), planner::spread(step.core.settings.seed, id)));
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
            Ok(Answer::Blob { bytes, config }) => {
                (Some(Documents { manifest: bytes, config, recipes: None }), Vec::new())
            }
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
            ImageRead::Layers { layers, sizes, blobs } => pull.want_layers(id, layers, (&sizes, &blobs), fetcher, step),
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
                        self.layer_held(id, target, fetcher, step);
                    }
                }
            }
        }
    }

    fn layer_held(&mut self, id: PullId, layer: DiffId, fetcher: &mut Fetcher, step: &mut Step<'_>) {
        let Some(pull) = self.pulls.get_mut(&id) else { return broken("a layer for a pull that is over") };
        let State::Layers { missing } = &mut pull.state else { return broken("a layer for a pull that wants none") };
        missing.remove(&layer);
        match pull.check_size(layer, step) {
            Ok(()) => pull.commit_if_complete(id, step),
            Err(why) => self.fail(id, PullFailure::Unusable(why), fetcher, step),
        }
    }
}
