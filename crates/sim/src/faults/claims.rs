//! Nodes that lie about sizes in the headers of their patches. Nobody lies to the other strategies.

use std::rc::Rc;

use lighter_engine::{FetchFailure, Lie, LocalFailure};
use lighter_types::{Bytes, Cause};
use serde::Deserialize;

use super::{Drawn, Flaw, Kind, Places};
use crate::error::ScenarioError;
use crate::random::Random;

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claims {
    /// The last nodes of each site, so that those with other flaws are not among them.
    per_site: u64,
    of: Claiming,
}

impl Kind for Claims {
    fn check(&self, _hubs: u64) -> Result<(), ScenarioError> {
        Ok(())
    }

    fn draw(&self, places: &Places, _random: &mut Random, drawn: &mut Drawn) {
        for site in &places.sites {
            let nodes = site.clone().rev().take(self.per_site as usize);
            nodes.for_each(|node| drawn.flaw(node, Rc::new(self.of)));
        }
    }
}

/// A node whose headers claim a wrong size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Claiming {
    /// Payloads that are far longer than the layer. Any requester sees that.
    Payloads,
    /// Another size of the layer than the one that its publisher signed.
    SignedLayer,
    /// A larger layer than the requester has room for, where no size is signed.
    UnsignedLayer,
}

impl Flaw for Claiming {
    fn sent(&self, _arrived: u64, _of: u64) -> Result<(), FetchFailure> {
        let (found, signed) = (Bytes::GIB.times(39), Bytes::GIB);
        Err(match self {
            Self::Payloads => FetchFailure::Lied(Lie::Unreadable(Cause::new(LongPayloads))),
            Self::SignedLayer => FetchFailure::Lied(Lie::OtherSize { found, signed }),
            Self::UnsignedLayer => {
                let (available, budget) = (Bytes::GIB, Bytes::GIB.times(20));
                FetchFailure::NoRoom(LocalFailure::BudgetFull { needed: found, available, budget })
            }
        })
    }
}

/// The lie of [`Claiming::Payloads`].
#[derive(Debug, thiserror::Error)]
#[error("payloads that are far longer than the layer")]
struct LongPayloads;
