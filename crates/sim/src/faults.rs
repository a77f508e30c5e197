//! Kinds of faults, each in a file of its own.
//!
//! A fault is a table `[[fault]]` of a scenario. Its file has its keys, their check, and [`Kind::draw`], which draws
//! from the scenario's seed what happens. There are two forms of what can happen:
//!
//! - A [`Happening`] hits the nodes and links of every strategy: power goes, sites are cut off. The fleet of engines
//!   and the strategies beside it each perform it, in a `match` without a wildcard.
//! - A [`Flaw`] is what one node does wrong from then on. The fault's file implements the points of the trait at which
//!   the flaw shows. The fleet asks the flaws of a node at each of these points. The strategies beside ours have no
//!   flaws: each is taken at its best, so nobody lies to them or stalls, and their disks are never full.
//!
//! A new kind of fault is a new file and its line in `faults!` below (docs/SIMULATION.md, "Adding a fault").

mod churn;
mod claims;
mod disk_full;
mod drips;
mod fades;
mod false_cards;
mod floods;
mod hub_lost;
mod lies;
mod off;
mod outages;
mod partition;
mod per_site;
mod power_cuts;
mod pretends;
mod stale;
mod stalls;
mod truncates;
mod wrong_results;

use std::collections::BTreeMap;
use std::ops::Range;
use std::rc::Rc;

use lighter_engine::FetchFailure;
use lighter_similarity::Sketch;
use lighter_types::{Bytes, Card, DiffId, PatchId};

use crate::error::ScenarioError;
use crate::queue::Micros;
use crate::random::Random;
use crate::units::{Loss, Span};

pub use claims::Claiming;
pub use disk_full::NoRoom;
pub use drips::Dripping;
pub use false_cards::Misdescribing;
pub use floods::Flooding;
pub use lies::Liar;
pub use pretends::Pretender;
pub use stale::DatingBack;
pub use stalls::Stalling;
pub use wrong_results::OtherBase;

/// Declares [`Fault`]: its variants, and the one `match` that finds what a fault does.
macro_rules! faults {
    ($($module:ident::$kind:ident),* $(,)?) => {
        /// A fault of a scenario, by its key `kind`.
        #[derive(Clone, Debug, serde::Deserialize)]
        #[serde(tag = "kind", rename_all = "kebab-case")]
        pub enum Fault {
            $($kind($module::$kind)),*
        }

        impl Fault {
            pub(crate) fn kind(&self) -> &dyn Kind {
                match self {
                    $(Self::$kind(fault) => fault),*
                }
            }
        }
    };
}

faults! {
    off::Off,
    lies::Lies,
    stalls::Stalls,
    disk_full::DiskFull,
    power_cuts::PowerCuts,
    hub_lost::HubLost,
    churn::Churn,
    partition::Partition,
    outages::Outages,
    fades::Fades,
    drips::Drips,
    pretends::Pretends,
    claims::Claims,
    floods::Floods,
    stale::Stale,
    wrong_results::WrongResults,
    false_cards::FalseCards,
    truncates::Truncates,
}

/// The part of a fault that its file provides.
pub(crate) trait Kind {
    /// Refuses values that are out of range, in a fleet with so many hubs.
    fn check(&self, hubs: u64) -> Result<(), ScenarioError>;

    /// Draws what happens to which nodes and sites, and when.
    fn draw(&self, places: &Places, random: &mut Random, drawn: &mut Drawn);
}

/// The nodes and sites that a fault may hit. Hubs have the lowest numbers.
pub(crate) struct Places {
    /// All nodes but the hubs.
    pub site_nodes: Range<usize>,
    /// The nodes of each site.
    pub sites: Vec<Range<usize>>,
}

/// The outcome of drawing all faults of a scenario.
#[derive(Default)]
pub(crate) struct Drawn {
    pub happenings: Vec<(Micros, Happening)>,
    /// By node; most nodes have none.
    pub flaws: BTreeMap<usize, Vec<Rc<dyn Flaw>>>,
}

impl Drawn {
    fn happens(&mut self, at: Micros, happening: Happening) {
        self.happenings.push((at, happening));
    }

    fn flaw(&mut self, node: usize, flaw: Rc<dyn Flaw>) {
        self.flaws.entry(node).or_default().push(flaw);
    }
}

/// An event of nodes and links.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Happening {
    Off(usize),
    On(usize),
    Cut(usize),
    Healed(usize),
    /// From now on uplinks have this percentage of their rate.
    Percent(u64),
    /// From now on the uplink of a site loses so much; `None`: as much as the site's table says.
    Loses(usize, Option<Loss>),
}

/// A way in which a node does wrong. Each function is a point at which the fleet asks; the default is a node without
/// fault.
pub trait Flaw {
    /// The bytes that the node sends for a document.
    fn document(&self, bytes: Vec<u8>) -> Vec<u8> {
        bytes
    }

    /// Checks what arrived of a patch, of all the bytes that the node is to send of it.
    ///
    /// # Errors
    /// The failure of the requester's fetch.
    fn sent(&self, _arrived: u64, _of: u64) -> Result<(), FetchFailure> {
        Ok(())
    }

    /// Whether the node goes on sending a patch of which these bytes arrived.
    fn sends_on(&self, _arrived: u64) -> bool {
        true
    }

    /// The most that the node has sent of a patch so long after it began.
    fn sent_by(&self, _time: Micros) -> u64 {
        u64::MAX
    }

    /// The bytes of any layer that the node says it has so long after it was asked for it. It sends nothing. `None`: it
    /// does not pretend.
    fn pretended(&self, _time: Micros) -> Option<Bytes> {
        None
    }

    /// Reserves room for a layer at `now`, for a fetch of the node itself.
    ///
    /// # Errors
    /// The failure of the node's fetch.
    fn reserve(&self, _now: Micros) -> Result<(), FetchFailure> {
        Ok(())
    }

    /// Applies a patch that reads from these bases, for a fetch of the node itself.
    ///
    /// # Errors
    /// The failure of the node's fetch.
    fn apply(&self, _bases: &[DiffId]) -> Result<(), FetchFailure> {
        Ok(())
    }

    /// Checks the layer that a patch gives which the node made, and sent.
    ///
    /// # Errors
    /// The failure of the requester's fetch.
    fn result(&self, _patch: PatchId) -> Result<(), FetchFailure> {
        Ok(())
    }

    /// The messages that the node sends each second to each node that it is connected to. A node that floods others
    /// pulls nothing.
    fn floods(&self) -> u32 {
        0
    }

    /// Whether the node tells an old release of every name.
    fn dates_back(&self) -> bool {
        false
    }

    /// The card of a layer that the node tells others; `card` is the right one.
    fn card(&self, card: Card) -> Card {
        card
    }

    /// The sketch that the node has of a layer when it starts; `sketch` is the right one.
    fn sketch(&self, _layer: DiffId, sketch: Option<Sketch>) -> Option<Sketch> {
        sketch
    }
}

/// Refuses more than a hundred percent.
fn check_percent(percent: u64) -> Result<(), ScenarioError> {
    crate::error::in_range("[[fault]] percent", percent, 0, 100, "0 to 100")
}

/// The moments of a span at which something begins, always as far apart, the first of them drawn.
fn spells(random: &mut Random, [from, to]: [Span; 2], every: Span) -> impl Iterator<Item = Micros> + use<> {
    let first = from.micros() + random.below(every.micros());
    (first..to.micros()).step_by(every.micros().max(1) as usize)
}

/// Refuses spells that do not end before the next begins.
fn check_spells(every: Span, place: &str, lasts: Span) -> Result<(), ScenarioError> {
    let most = every.millis.saturating_sub(1);
    crate::error::in_range(place, lasts.millis, 1, most, "at least 1 ms, and less than `every`")
}
