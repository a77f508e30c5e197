//! Pulling an image: name, manifest, config, layers, commit.
//!
//! ```text
//! Resolving -> Reading <-> GettingBlob -> KeepingBlob -> Reading ... -> Layers -> Committing -> done
//! ```
//!
//! A name is resolved only by a release that a trusted publisher signed (the caller checks signatures); of several, the
//! one issued last holds. Manifest and config come from any peer and are checked against their digest on the way to
//! disk, and are read back from there.

mod round;

use std::collections::{BTreeMap, BTreeSet};

use lighter_types::{DiffId, ImageReference, Moment, OciDigest, PeerId};
use lighter_wire::{Answer, Request, SignedRelease};

use self::round::Round;
use crate::asks::Purpose;
use crate::core::Step;
use crate::event::{AskFailure, AskId, BlobFailure, Effect, ImageRead, Offence, PullId, Wanted};
use crate::fetch::{Fetcher, Outcome};
use crate::{PullFailure, Report, Settings};

/// All pulls under way.
#[derive(Debug, Default)]
pub struct Pulls {
    /// In boxes, since a map keeps room for eleven of what it held once.
    pulls: BTreeMap<PullId, Box<Pull>>,
}

#[derive(Debug)]
struct Pull {
    reference: Option<ImageReference>,
    release: Option<SignedRelease>,
    manifest: Option<OciDigest>,
    /// Peers that knew the name or had the manifest: they have the layers too, or get them.
    sources: Vec<PeerId>,
    state: State,
}

#[derive(Debug)]
enum State {
    Resolving { waiting: BTreeSet<AskId>, round: Round },
    Reading,
    GettingBlob { digest: OciDigest, bytes_max: u32, ask: Option<AskId>, round: Round },
    KeepingBlob { from: PeerId },
    Layers { missing: BTreeSet<DiffId> },
    Committing,
}

impl Pulls {
    pub fn len(&self) -> usize {
        self.pulls.len()
    }

    pub fn begin(&mut self, pull: PullId, wanted: Wanted, step: &mut Step<'_>) {
        if self.pulls.len() >= Settings::PULLS_MAX {
            let why = PullFailure::TooMany { max: Settings::PULLS_MAX };
            step.effects.push(Effect::Report { pull, report: Report::Failed { why } });
            return;
        }
        let until = step.now + step.core.patience(&wanted);
        let resolving = State::Resolving { waiting: BTreeSet::new(), round: Round::new(until) };
        let new = match wanted {
            Wanted::Name { reference, known } => Pull {
                reference: Some(reference),
                release: known,
                manifest: None,
                sources: Vec::new(),
                state: resolving,
            },
            Wanted::Manifest(digest) => Pull {
                reference: None,
                release: None,
                manifest: Some(digest),
                sources: Vec::new(),
                state: State::Reading,
            },
        };
        if let Some(manifest) = new.manifest {
            step.effects.push(Effect::ReadImage { pull, manifest });
        }
        self.pulls.insert(pull, Box::new(new));
        self.advance(step);
    }

    /// What a name stands for whose image is being pulled: the site has its manifest from here before it is all there.
    pub fn release_of(&self, name: &ImageReference) -> Option<&SignedRelease> {
        let mut pulls =
            self.pulls.values().filter(|pull| pull.reference.as_ref() == Some(name) && pull.manifest.is_some());
        pulls.find_map(|pull| pull.release.as_ref())
    }

    /// Ends a pull with this failure. False if there is no such pull.
    pub fn fail(&mut self, pull: PullId, why: PullFailure, fetcher: &mut Fetcher, step: &mut Step<'_>) -> bool {
        let known = self.pulls.remove(&pull).is_some();
        if known {
            fetcher.abandon(pull, step.effects);
            step.effects.push(Effect::Report { pull, report: Report::Failed { why } });
        }
        known
    }

    pub fn fail_all(&mut self, why: &PullFailure, fetcher: &mut Fetcher, step: &mut Step<'_>) {
        for pull in self.pulls.keys().copied().collect::<Vec<_>>() {
            self.fail(pull, why.clone(), fetcher, step);
        }
    }

    pub fn next_deadline(&self) -> Option<Moment> {
        let deadline = |pull: &Pull| match &pull.state {
            State::Resolving { round, .. } | State::GettingBlob { round, ask: None, .. } => Some(round.deadline()),
            _ => None,
        };
        self.pulls.values().filter_map(|pull| deadline(pull)).min()
    }

    /// Does what is due: asks peers that connected since, and ends what waited too long.
    pub fn advance(&mut self, step: &mut Step<'_>) {
        let asks = |pull: &Pull| matches!(pull.state, State::Resolving { .. } | State::GettingBlob { .. });
        if !self.pulls.values().any(|pull| asks(pull)) {
            return;
        }
        let connected: Vec<PeerId> = step
            .core
            .directory
            .peers()
            .filter(|(id, peer)| peer.is_connected() && !step.is_cut_off(*id))
            .map(|(id, _)| id)
            .collect();
        let mut failed = Vec::new();
        for (&id, pull) in &mut self.pulls {
            pull.advance_resolving(id, &connected, step);
            pull.advance_blob(id, &connected, step);
            if let Some(why) = pull.overdue(step.now) {
                failed.push((id, why));
            }
        }
        for (pull, why) in failed {
            self.pulls.remove(&pull);
            step.effects.push(Effect::Report { pull, report: Report::Failed { why } });
        }
    }

    pub fn resolved(
        &mut self,
        id: PullId,
        ask: AskId,
        from: PeerId,
        answer: Result<Answer, AskFailure>,
        step: &mut Step<'_>,
    ) {
        let Some(pull) = self.pulls.get_mut(&id) else { return };
        let State::Resolving { waiting, round } = &mut pull.state else { return };
        waiting.remove(&ask);
        round.answered(from, &answer);
        if let Ok(Answer::Release(release)) = answer
            && Some(&release.release.reference) == pull.reference.as_ref()
        {
            let newest = pull.release.as_ref().map(|known| known.release.issued_s);
            match newest.map(|newest| release.release.issued_s.cmp(&newest)) {
                None | Some(std::cmp::Ordering::Greater) => {
                    pull.sources = vec![from];
                    pull.release = Some(release);
                }
                Some(std::cmp::Ordering::Equal) => pull.sources.push(from),
                Some(std::cmp::Ordering::Less) => {}
            }
        }
        self.advance(step);
    }

    pub fn blob_answered(&mut self, id: PullId, from: PeerId, answer: Result<Answer, AskFailure>, step: &mut Step<'_>) {
        let Some(pull) = self.pulls.get_mut(&id) else { return };
        let State::GettingBlob { digest, bytes_max, ask, round } = &mut pull.state else { return };
        *ask = None;
        round.answered(from, &answer);
        if let Ok(Answer::Blob { bytes, config }) = answer
            && bytes.len() <= *bytes_max as usize
        {
            step.effects.push(Effect::KeepBlob { pull: id, digest: *digest, bytes, config });
            pull.state = State::KeepingBlob { from };
        }
        self.advance(step);
    }

    pub fn blob_kept(
        &mut self,
        id: PullId,
        result: Result<(), BlobFailure>,
        fetcher: &mut Fetcher,
        step: &mut Step<'_>,
    ) {
        let Some(pull) = self.pulls.get_mut(&id) else { return };
        let State::KeepingBlob { from } = pull.state else { return };
        match result {
            Err(BlobFailure::Local(why)) => {
                self.fail(id, PullFailure::Local(why), fetcher, step);
                return;
            }
            Err(BlobFailure::WrongDigest) => {
                let what = "a manifest or config whose sha256 is not its name".to_owned();
                step.cut_off(from, Offence::WrongBytes(what));
            }
            Ok(()) if !pull.sources.contains(&from) => pull.sources.push(from),
            Ok(()) => {}
        }
        // Whatever is missing now, the disk knows.
        pull.read(id, step);
    }

    pub fn image_read(&mut self, id: PullId, read: ImageRead, fetcher: &mut Fetcher, step: &mut Step<'_>) {
        let Some(pull) = self.pulls.get_mut(&id) else { return };
        let until = step.now + step.core.settings.patience;
        let failure = match read {
            ImageRead::Missing { digest, bytes_max } => {
                pull.state = State::GettingBlob { digest, bytes_max, ask: None, round: Round::new(until) };
                None
            }
            ImageRead::Layers(layers) => pull.layers(id, layers, fetcher, step).err(),
            ImageRead::Unusable(why) => Some(PullFailure::Unusable(why)),
            ImageRead::Local(why) => Some(PullFailure::Local(why)),
        };
        match failure {
            Some(why) => {
                self.fail(id, why, fetcher, step);
            }
            None => self.advance(step),
        }
    }

    pub fn committed(&mut self, id: PullId, result: Result<(), String>, step: &mut Step<'_>) {
        // The operator may have cancelled the pull.
        let Some(pull) = self.pulls.remove(&id) else { return };
        let report = match (result, pull.manifest) {
            (Ok(()), Some(manifest)) => Report::Done { manifest },
            (Ok(()), None) => Report::Failed { why: PullFailure::Local("a pull without a manifest".to_owned()) },
            (Err(why), _) => Report::Failed { why: PullFailure::Local(why) },
        };
        step.report(id, report);
    }

    /// What became of layers.
    pub fn layers_ended(
        &mut self,
        outcomes: impl IntoIterator<Item = Outcome>,
        fetcher: &mut Fetcher,
        step: &mut Step<'_>,
    ) {
        outcomes.into_iter().for_each(|outcome| self.outcome(outcome, fetcher, step));
    }

    fn outcome(&mut self, outcome: Outcome, fetcher: &mut Fetcher, step: &mut Step<'_>) {
        match outcome {
            Outcome::Failed { pulls, why } => {
                for pull in pulls {
                    self.fail(pull, why.clone(), fetcher, step);
                }
            }
            Outcome::Held { pulls, target } => {
                for id in pulls {
                    let Some(pull) = self.pulls.get_mut(&id) else { continue };
                    if let State::Layers { missing } = &mut pull.state {
                        missing.remove(&target);
                    }
                    pull.commit_if_complete(id, step);
                }
            }
        }
    }
}

impl Pull {
    fn advance_resolving(&mut self, id: PullId, connected: &[PeerId], step: &mut Step<'_>) {
        let State::Resolving { waiting, round } = &mut self.state else { return };
        let Some(reference) = &self.reference else { return };
        while waiting.len() < Settings::RESOLVERS_MAX
            && let Some(peer) = round.next(step.now, connected.iter())
        {
            waiting.insert(step.ask(peer, Purpose::Resolve(id), Request::Resolve(reference.clone())));
        }
        let complete = waiting.is_empty() && !round.asked.is_empty();
        if complete {
            round.exhausted(step.now);
        }
        if let (Some(release), true) = (&self.release, complete || round.until <= step.now) {
            let manifest = release.release.manifest;
            self.manifest = Some(manifest);
            step.effects.push(Effect::Report { pull: id, report: Report::Resolved { manifest } });
            self.read(id, step);
        }
    }

    /// Asks one peer after the other for a blob: first those who knew the name, and of these those of the site.
    fn advance_blob(&mut self, id: PullId, connected: &[PeerId], step: &mut Step<'_>) {
        let State::GettingBlob { digest, bytes_max, ask, round } = &mut self.state else { return };
        if ask.is_some() {
            return;
        }
        let sources = self.sources.iter().filter(|peer| connected.contains(peer));
        let (near, far): (Vec<PeerId>, Vec<PeerId>) = sources.partition(|&&peer| step.core.is_near(peer));
        let Some(peer) = round.next(step.now, near.iter().chain(&far).chain(connected)) else {
            if !round.asked.is_empty() {
                round.exhausted(step.now);
            }
            return;
        };
        let request = Request::Blob { digest: *digest, bytes_max: *bytes_max };
        *ask = Some(step.ask(peer, Purpose::Blob(id), request));
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
            _ => None,
        }
    }

    fn read(&mut self, id: PullId, step: &mut Step<'_>) {
        if let Some(manifest) = self.manifest {
            self.state = State::Reading;
            step.effects.push(Effect::ReadImage { pull: id, manifest });
        }
    }

    fn layers(
        &mut self,
        id: PullId,
        layers: Vec<DiffId>,
        fetcher: &mut Fetcher,
        step: &mut Step<'_>,
    ) -> Result<(), PullFailure> {
        let (held, missing): (Vec<DiffId>, Vec<DiffId>) =
            layers.iter().partition(|&&layer| step.core.holdings.holds(layer));
        step.effects.push(Effect::Report { pull: id, report: Report::Layers { layers, held } });
        for &layer in &missing {
            fetcher.want(id, layer, step)?;
        }
        // Gossip of a new release may be on its way, or lost.
        if missing.iter().any(|&layer| !step.core.directory.is_reachable(layer)) {
            self.sources.iter().for_each(|&peer| step.ask_holdings(peer));
        }
        self.state = State::Layers { missing: missing.into_iter().collect() };
        self.commit_if_complete(id, step);
        Ok(())
    }

    fn commit_if_complete(&mut self, id: PullId, step: &mut Step<'_>) {
        if let (State::Layers { missing }, Some(manifest)) = (&self.state, self.manifest)
            && missing.is_empty()
        {
            self.state = State::Committing;
            step.effects.push(Effect::CommitImage { pull: id, manifest, release: self.release.clone() });
        }
    }
}
