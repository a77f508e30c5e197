//! Signing releases by this node.
//!
//! A release is dated by the clock, and later than all releases of its repository that this node has or has seen: the
//! order of releases is the order of imports, whatever the clock shows, and if several are imported within a second. A
//! date that nodes would refuse, because it lies ahead, does not count: a clock that was years ahead would otherwise
//! date all that comes after it in those years.

use lighter_store::{Store, UnixSeconds};
use lighter_types::{Bytes, DiffId, ImageReference, OciDigest};
use lighter_wire::{Bounds, Release, SignedRelease};

use super::released_at;
use crate::releases::Releases;
use crate::shared::Shared;

/// The statement of a release before it is dated.
#[derive(Clone, Debug)]
pub struct Unsigned {
    pub reference: ImageReference,
    pub manifest: OciDigest,
    pub companions: Option<DiffId>,
    /// The sizes of the image's layers in their order, and of the companions.
    pub tar_bytes: Vec<Bytes>,
    /// The release expires after so many seconds.
    pub lifetime_s: Option<u64>,
}

/// Signs a release by this node.
pub fn sign(shared: &Shared, unsigned: Unsigned, wall: UnixSeconds) -> SignedRelease {
    let Unsigned { reference, manifest, companions, tar_bytes, lifetime_s } = unsigned;
    let issued_s = next_date(&shared.store, &shared.releases, &reference, wall);
    let expires_s = lifetime_s.map(|lifetime_s| issued_s.saturating_add(lifetime_s));
    let bounds = Some(Bounds { tar_bytes, expires_s });
    shared.identity.sign(Release { reference, manifest, issued_s, companions, bounds })
}

/// The date of a new release, or of a handover: what is signed before it counts on, what comes after it is later.
pub fn next_date(store: &Store, releases: &Releases, reference: &ImageReference, wall: UnixSeconds) -> u64 {
    let time = releases.time(wall);
    let counts = |date: u64| time.doubt.is_some() || !time.is_ahead(date);
    let images = store.references();
    let of_repository = images.iter().filter(|(name, _)| name.repository() == reference.repository());
    let held = of_repository.filter_map(|(_, image)| released_at(&image.release_record)).map(|date| date.0);
    let last = held.filter(|date| counts(*date)).max().unwrap_or_default();
    let seen = releases.latest(reference.repository(), counts);
    wall.0.max(last.max(seen).saturating_add(1))
}
