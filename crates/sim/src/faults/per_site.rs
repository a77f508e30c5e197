//! The shape of faults that are a flaw of some nodes of each site.

use std::marker::PhantomData;
use std::rc::Rc;

use serde::Deserialize;

use super::{Drawn, Flaw, Kind, Places};
use crate::error::ScenarioError;
use crate::random::Random;

/// So many nodes of each site have the flaw `F`. Nobody has it under the other strategies.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, bound = "")]
pub struct PerSite<F> {
    per_site: u64,
    /// The first nodes of each site are passed over, so that they can have other flaws.
    #[serde(default)]
    after: u64,
    #[serde(skip)]
    flaw: PhantomData<F>,
}

impl<F: Flaw + Default + 'static> Kind for PerSite<F> {
    fn check(&self, _hubs: u64) -> Result<(), ScenarioError> {
        Ok(())
    }

    fn draw(&self, places: &Places, _random: &mut Random, drawn: &mut Drawn) {
        for site in &places.sites {
            let nodes = site.clone().skip(self.after as usize).take(self.per_site as usize);
            nodes.for_each(|node| drawn.flaw(node, Rc::new(F::default())));
        }
    }
}
