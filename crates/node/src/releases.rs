//! Which releases count, and the newest that were seen of each name.
//!
//! A release comes from a peer, which may have made it up, kept it back, or put it together from others. [`judge`]
//! says whether it counts here, in this order: the signatures over it; the publishers' rights by the configuration
//! and by handovers; its date; the newest release of the same name that this node has seen; its end. Each attack has
//! an error of its own. The rights are worked out anew each time: whatever the operator takes out of the
//! configuration, nothing counts that rested on it.
//!
//! The newest releases lie in files of their own ([`kept`]): they survive the removal of the image and the loss of the
//! index.
//! `lighter release forget` is the way to forget one.
//!
//! Source of the classes of attacks: The Update Framework Specification 1.0.33, section 1.5.2.

mod due;
pub mod file;
mod kept;
mod rights;
mod time;
mod warnings;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use lighter_store::{Store, UnixSeconds};
use lighter_types::{ImageReference, PeerId};
use lighter_wire::{HANDOVERS_MAX, Handover, Message, SignedHandover, SignedRelease};

use crate::clock::{self, shown, span};
use crate::config::{Config, WhenExpired};
use crate::identity::{has_signed, is_handed_over};
pub use due::Due;
pub use rights::Rights;
pub use time::Time;
pub use warnings::Warnings;

/// Why a release does not count. The text follows "a release".
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReleaseError {
    /// Arbitrary software: nobody signed it.
    #[error("in the name of {publisher}, which did not sign it")]
    NotSigned { publisher: PeerId },
    /// Mix and match: the signature is over another statement.
    #[error("with a signature that {publisher} made for something else")]
    Mixed { publisher: PeerId },
    #[error("by {publisher}, which is not in fleet.publishers")]
    Unlisted { publisher: PeerId },
    #[error("by {publisher}, which has no right to sign for {repository}")]
    WrongScope { publisher: PeerId, repository: String },
    /// A key that was stolen is not enough.
    #[error("with {signed} of the {needed} signatures that {repository} needs")]
    BelowThreshold { repository: String, signed: usize, needed: usize },
    #[error("by {publisher}, which handed {repository} over to {to}")]
    HandedOver { publisher: PeerId, to: PeerId, repository: String },
    /// Fast-forward: it would hide all that come after it.
    #[error("by {publisher} that is dated {} ahead of this node's clock, which shows {}: one of the two clocks is wrong", span(*ahead_s), shown(*now))]
    Ahead { publisher: PeerId, ahead_s: u64, now: UnixSeconds },
    /// Rollback, or two releases of the same second.
    #[error("by {publisher} of {} that is not newer than one seen here, of {}: `lighter release forget {reference}` forgets that one", shown(UnixSeconds(*issued_s)), shown(UnixSeconds(*seen_s)))]
    Older { publisher: PeerId, reference: ImageReference, issued_s: u64, seen_s: u64 },
    /// Freeze: newer ones may be kept back.
    #[error("by {publisher} that expired on {}, by this node's clock, which shows {}", shown(UnixSeconds(*expired_s)), shown(*now))]
    Expired { publisher: PeerId, expired_s: u64, now: UnixSeconds },
}

/// A release that counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub release: SignedRelease,
    /// Its date was compared with a clock that was in no doubt.
    pub is_checked: bool,
}

/// The most names whose newest release is remembered, and the most handovers. The oldest gives way.
pub const KEPT_MAX: usize = 16_384;

/// See the module.
pub struct Releases {
    folder: PathBuf,
    state: Mutex<State>,
    /// Held while a file is written, so that the last state is the one on disk.
    writing: Mutex<()>,
}

#[derive(Default)]
struct State {
    seen: BTreeMap<ImageReference, Seen>,
    handovers: BTreeMap<(String, PeerId), SignedHandover>,
    /// The files of these that are not on disk: at most as many as there are of both.
    due: BTreeSet<Due>,
    /// Why the clock must be wrong, as the driver found.
    trouble: Option<String>,
}

impl State {
    fn rights(&self, config: &Config, own: PeerId, repository: &str) -> Rights {
        Rights::of(config, own, repository, self.handovers_of(repository).map(|signed| &signed.handover))
    }

    fn handovers_of(&self, repository: &str) -> impl Iterator<Item = &SignedHandover> {
        self.handovers.values().filter(move |signed| signed.handover.repository == repository)
    }

    /// The time by the wall clock, the trouble with it, and the dates that were checked.
    fn time(&self, wall: UnixSeconds) -> Time {
        let checked = self.seen.values().filter(|seen| seen.is_checked);
        let signed = checked.map(|seen| seen.release.release.issued_s).max();
        // The driver looks once a second: a clock that was never set shows by itself.
        let trouble = self.trouble.clone().or_else(|| clock::trouble(wall, &[]));
        Time::reckon(wall, trouble, signed.unwrap_or_default())
    }
}

impl Releases {
    /// Reads what was seen, and takes in the releases of the store's images: an earlier program did not keep them
    /// apart.
    pub fn open(data_dir: &Path, store: &Store, wall: UnixSeconds) -> Self {
        let releases = Self { folder: data_dir.join(kept::FOLDER), state: Mutex::default(), writing: Mutex::default() };
        let (seen, handovers) = kept::read(&releases.folder);
        {
            let mut state = releases.lock();
            state.seen = seen;
            state.handovers = handovers;
        }
        for (_, image) in store.references() {
            let Ok(release) = SignedRelease::decode(&image.release_record) else { continue };
            if check_signatures(&release).is_ok() && releases.see(&release, wall) {
                releases.keep(&release.release.reference);
            }
        }
        releases
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in why the clock must be wrong, if it must.
    pub fn set_trouble(&self, trouble: Option<String>) {
        self.lock().trouble = trouble;
    }

    /// Whether a release counts at the node with the key `own`, whose clock shows `wall`.
    ///
    /// # Errors
    /// Why it does not.
    pub fn judge(
        &self,
        config: &Config,
        own: PeerId,
        wall: UnixSeconds,
        release: &SignedRelease,
    ) -> Result<(), ReleaseError> {
        check_signatures(release)?;
        let state = self.lock();
        let (publisher, statement) = (release.publisher, &release.release);
        let rights = state.rights(config, own, statement.reference.repository());
        rights.check(config, release)?;
        let time = state.time(wall);
        if time.doubt.is_none() && time.is_ahead(statement.issued_s) {
            let ahead_s = statement.issued_s.saturating_sub(wall.0);
            return Err(ReleaseError::Ahead { publisher, ahead_s, now: wall });
        }
        let seen = state.seen.get(&statement.reference).map(|seen| &seen.release);
        // A release that would be refused now does not stand in the way of what counts.
        let counts = |seen: &&SignedRelease| {
            rights.check(config, seen).is_ok() && (time.doubt.is_some() || !time.is_ahead(seen.release.issued_s))
        };
        if let Some(seen) = seen.filter(counts).map(|seen| &seen.release) {
            let is_another = seen.signed_bytes() != statement.signed_bytes();
            if statement.issued_s < seen.issued_s || statement.issued_s == seen.issued_s && is_another {
                let (reference, issued_s) = (statement.reference.clone(), statement.issued_s);
                return Err(ReleaseError::Older { publisher, reference, issued_s, seen_s: seen.issued_s });
            }
        }
        drop(state);
        match config.images.expired {
            WhenExpired::Warn => Ok(()),
            WhenExpired::Hold => self.check_end(wall, release),
        }
    }

    /// # Errors
    /// [`ReleaseError::Expired`] if the release has ended.
    pub fn check_end(&self, wall: UnixSeconds, release: &SignedRelease) -> Result<(), ReleaseError> {
        let Some(expired_s) = release.release.expires_s() else { return Ok(()) };
        let now = self.time(wall);
        if !now.has_passed(expired_s) {
            return Ok(());
        }
        Err(ReleaseError::Expired { publisher: release.publisher, expired_s, now: now.now })
    }

    /// Whether the name of an image with this record stands for nothing, because its release has ended.
    pub fn is_held_back(&self, config: &Config, wall: UnixSeconds, release_record: &[u8]) -> bool {
        let release = || SignedRelease::decode(release_record).ok();
        config.images.expired == WhenExpired::Hold
            && release().is_some_and(|release| self.check_end(wall, &release).is_err())
    }

    pub fn time(&self, wall: UnixSeconds) -> Time {
        self.lock().time(wall)
    }

    /// Remembers a release that counts. Whether it is the newest of its name: then the caller owes a [`Self::keep`].
    pub fn see(&self, release: &SignedRelease, wall: UnixSeconds) -> bool {
        let mut state = self.lock();
        let time = state.time(wall);
        let reference = &release.release.reference;
        // One that was taken while the clock was in doubt, and turns out to lie ahead, gives way to what counts now.
        let stays = |seen: &Seen| time.doubt.is_some() || !time.is_ahead(seen.release.release.issued_s);
        let seen = state.seen.get(reference).filter(|seen| stays(seen));
        if seen.is_some_and(|seen| !is_news(&seen.release, release)) {
            return false;
        }
        let is_checked = time.doubt.is_none() && !time.is_ahead(release.release.issued_s);
        state.seen.insert(reference.clone(), Seen { release: release.clone(), is_checked });
        state.due.insert(Due::Seen(reference.clone()));
        if state.seen.len() > KEPT_MAX {
            let oldest = state.seen.iter().min_by_key(|(_, seen)| seen.release.release.issued_s);
            if let Some(oldest) = oldest.map(|(reference, _)| reference.clone()) {
                state.seen.remove(&oldest);
                state.due.remove(&Due::Seen(oldest));
            }
        }
        true
    }

    /// Forgets what was seen of a name, and the handovers of its repository if asked to. Whether there was something.
    /// Blocks.
    ///
    /// # Errors
    /// If the disk fails. It is forgotten until the node starts again.
    pub fn forget(&self, reference: &ImageReference, with_handovers: bool) -> std::io::Result<bool> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut state = self.lock();
        let was_seen = state.seen.remove(reference).is_some();
        state.due.remove(&Due::Seen(reference.clone()));
        let of_repository = |_: &(String, PeerId), signed: &mut SignedHandover| {
            with_handovers && signed.handover.repository == reference.repository()
        };
        let handovers: Vec<_> = state.handovers.extract_if(.., of_repository).collect();
        for (key, _) in &handovers {
            state.due.remove(&Due::Handover(key.clone()));
        }
        drop(state);
        kept::remove_seen(&self.folder, reference)?;
        for (_, signed) in &handovers {
            kept::remove_handover(&self.folder, &signed.handover)?;
        }
        Ok(was_seen || !handovers.is_empty())
    }

    /// Takes in a handover, and obeys it from then on. Whether it is new: then the caller owes a [`Self::settle`].
    ///
    /// # Errors
    /// If it is not signed, is dated ahead, or its key has no right to the repository now. A key hands over once.
    pub fn obey(
        &self,
        config: &Config,
        own: PeerId,
        wall: UnixSeconds,
        signed: &SignedHandover,
    ) -> Result<bool, ReleaseError> {
        let Handover { repository, from, to, issued_s } = &signed.handover;
        if !is_handed_over(signed) {
            return Err(ReleaseError::NotSigned { publisher: *from });
        }
        let mut state = self.lock();
        let key = (repository.clone(), *from);
        if let Some(known) = state.handovers.get(&key) {
            let first = known.handover.to;
            let is_same = first == *to;
            let (publisher, repository) = (*from, repository.clone());
            return if is_same {
                Ok(false)
            } else {
                Err(ReleaseError::HandedOver { publisher, to: first, repository })
            };
        }
        let time = state.time(wall);
        if time.doubt.is_none() && time.is_ahead(*issued_s) {
            let ahead_s = issued_s.saturating_sub(wall.0);
            return Err(ReleaseError::Ahead { publisher: *from, ahead_s, now: wall });
        }
        // The node's own key has a right at this node alone: what it hands over, it hands over here.
        if !state.rights(config, own, repository).has(*from) {
            return Err(ReleaseError::WrongScope { publisher: *from, repository: repository.clone() });
        }
        if state.handovers.len() < KEPT_MAX {
            state.handovers.insert(key, signed.clone());
            state.due.insert(Due::handover(signed));
        }
        Ok(true)
    }

    /// The handovers of a repository that peers get.
    pub fn handovers(&self, repository: &str) -> Vec<SignedHandover> {
        self.lock().handovers_of(repository).take(HANDOVERS_MAX).cloned().collect()
    }

    /// The latest date among the releases of a repository that were seen and among its handovers, of those that
    /// `counts` says count.
    pub fn latest(&self, repository: &str, counts: impl Fn(u64) -> bool) -> u64 {
        let state = self.lock();
        let seen = state.seen.iter().filter(|(reference, _)| reference.repository() == repository);
        let seen = seen.map(|(_, seen)| seen.release.release.issued_s);
        let handed_over = state.handovers_of(repository).map(|signed| signed.handover.issued_s);
        seen.chain(handed_over).filter(|date| counts(*date)).max().unwrap_or_default()
    }
}

/// Whether a release says more than the one that was seen: it is later, or more publishers signed the same.
fn is_news(seen: &SignedRelease, release: &SignedRelease) -> bool {
    let (before, after) = (&seen.release, &release.release);
    let is_same = before.signed_bytes() == after.signed_bytes();
    after.issued_s > before.issued_s || is_same && release.cosignatures.len() > seen.cosignatures.len()
}

/// Checks every signature of a release over its statement.
///
/// # Errors
/// [`ReleaseError::NotSigned`] or [`ReleaseError::Mixed`].
pub fn check_signatures(release: &SignedRelease) -> Result<(), ReleaseError> {
    let statement = release.release.signed_bytes();
    for (place, (publisher, signature)) in release.signatures().enumerate() {
        if !has_signed(publisher, &statement, signature) {
            return match place {
                0 => Err(ReleaseError::NotSigned { publisher }),
                _ => Err(ReleaseError::Mixed { publisher }),
            };
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
