//! Makes patches for their lengths, or takes these from the cache.

use std::ops::ControlFlow;

use lighter_patch::{EncodeError, Settings, Source, encode_to};
use lighter_types::DiffId;

use super::cache::{Cache, Key};
use super::layer::Layer;
use crate::commands::patch::encode_failure;
use crate::exit::Failure;
use crate::interrupt::{Interrupt, cancelled};
use crate::output::Output;

pub struct Patches<'a> {
    pub settings: &'a Settings,
    pub cache: Cache<'a>,
    pub interrupt: &'a Interrupt,
    pub output: &'a Output,
}

impl Patches<'_> {
    /// Bytes of the patch of a target from some bases. Says what it makes, with `place` in front.
    pub fn bytes(&mut self, target: &Layer, bases: &[&Layer], place: &str) -> Result<u64, Failure> {
        let ids: Vec<DiffId> = bases.iter().map(|base| base.card.diff_id).collect();
        let key = Key::new(target.card.diff_id, &ids, self.settings.id());
        if let Some(known) = self.cache.get(&key) {
            return Ok(known);
        }
        let made = self.make(target, bases)?;
        let names: Vec<&str> = bases.iter().map(|base| base.name.as_str()).collect();
        self.output.say(format!("{place}: {} out of {}: {made} bytes", target.name, names.join(", ")));
        self.cache.put(key, made)?;
        Ok(made)
    }

    fn make(&self, target: &Layer, bases: &[&Layer]) -> Result<u64, Failure> {
        let target_file = target.open()?;
        let files = bases.iter().map(|base| base.open()).collect::<Result<Vec<_>, Failure>>()?;
        let sources: Vec<Source<'_>> = bases.iter().zip(&files).map(|(base, file)| base.source(file)).collect();
        let goes_on = |_| if self.interrupt.is_set() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
        let encoded = encode_to(&target.source(&target_file), &sources, self.settings, &goes_on, &mut |_| Ok(()));
        let header = encoded.map_err(|error| match error {
            EncodeError::Cancelled => cancelled(),
            error => encode_failure(&error),
        })?;
        Ok(header.patch_bytes().0)
    }
}
