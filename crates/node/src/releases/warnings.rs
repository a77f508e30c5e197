//! The releases of this node's images that the operator should look at: those that have ended, and those whose date or
//! end cannot be checked because the clock is in doubt.

use std::collections::BTreeMap;

use lighter_store::UnixSeconds;
use lighter_types::ImageReference;

use super::Releases;
use crate::clock::shown;
use crate::config::{Config, WhenExpired};

/// Ended releases that are told one by one; the rest are counted.
const TOLD_MAX: usize = 8;

/// The warnings of one look.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Warnings {
    /// Images of this node whose release has ended.
    pub expired: u64,
    /// By their subject.
    pub texts: BTreeMap<String, String>,
}

impl Releases {
    /// Looks at the newest releases of the images that are held.
    pub fn warnings(&self, config: &Config, wall: UnixSeconds, is_held: impl Fn(&ImageReference) -> bool) -> Warnings {
        let state = self.lock();
        let time = state.time(wall);
        let mut warnings = Warnings::default();
        let mut unchecked = 0;
        for (reference, seen) in state.seen.iter().filter(|(reference, _)| is_held(reference)) {
            let statement = &seen.release.release;
            let Some(end) = statement.expires_s() else {
                unchecked += usize::from(time.doubt.is_some() && time.is_ahead(statement.issued_s));
                continue;
            };
            if !time.has_passed(end) {
                unchecked += usize::from(time.doubt.is_some());
                continue;
            }
            warnings.expired += 1;
            if warnings.texts.len() < TOLD_MAX {
                let effect = match config.images.expired {
                    WhenExpired::Warn => "it counts all the same (images.expired)",
                    WhenExpired::Hold => "its name is held back (images.expired)",
                };
                let (publisher, end) = (seen.release.publisher, shown(UnixSeconds(end)));
                let text = format!(
                    "the release of {reference} by {publisher} expired on {end}, by this node's clock, which shows {}: \
                     {effect}. Pull a newer release, or sign one: `lighter release sign`",
                    shown(time.now)
                );
                warnings.texts.insert(format!("expired {reference}"), text);
            }
        }
        let told = warnings.texts.len() as u64;
        if warnings.expired > told {
            let text = format!("the releases of {} further images expired", warnings.expired - told);
            warnings.texts.insert("expired".to_owned(), text);
        }
        if let (Some(doubt), true) = (&time.doubt, unchecked > 0) {
            let text = format!("the dates of the releases of {unchecked} images cannot be checked: {doubt}");
            warnings.texts.insert("unchecked".to_owned(), text);
        }
        warnings
    }
}
