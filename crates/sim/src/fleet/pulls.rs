//! The pulls that operators ask for, and the reports that they hear.

use std::rc::Rc;

use lighter_engine::{Input, OperatorInput, PullId, Report, Wanted};
use lighter_types::{ImageReference, OciDigest, broken};

use super::Fleet;
use super::due::Due;
use super::node::Disk;
use crate::queue::Micros;
use crate::report::Times;
use crate::topology::Topology;

/// A node whose pull failed asks again after this at the earliest.
const AGAIN_MIN: Micros = 1_000_000;

/// The image that a pull is to get.
pub enum Goal {
    Name(Rc<ImageReference>),
    /// Boxed: few pulls have one, and a fleet has many pulls.
    Manifest(Box<OciDigest>),
}

pub struct Pull {
    pub node: usize,
    pub goal: Goal,
    /// The moment at which it begins.
    pub at: Micros,
    /// From a failure until the operator asks again; absent if the operator does not.
    pub again: Option<Micros>,
    pub is_ended: bool,
    /// The time to rebuild the exact blobs of the layers that it brought: a runtime asks for one after the other.
    pub rebuilding: Micros,
}

/// All pulls of a run; the engines know each by its place here.
#[derive(Default)]
pub struct Pulls {
    pulls: Vec<Pull>,
    pub times: Times,
    /// By site: when the last of its pulls ended.
    pub site_ended: Vec<Micros>,
    pub unfinished: usize,
    pub failed: u64,
    pub retries: u64,
    /// Second sources that were tried, and bytes of no use.
    pub races: u64,
    pub wasted_bytes: u64,
}

impl Pulls {
    /// The pulls of a topology, whose images have these names.
    pub fn new(topology: &Topology, names: &[Rc<ImageReference>]) -> Self {
        let mut pulls = Self {
            pulls: Vec::with_capacity(topology.pulls.len()),
            site_ended: vec![0; topology.sites.len()],
            ..Self::default()
        };
        for pull in &topology.pulls {
            let goal = Goal::Name(names[pull.image].clone());
            let again = Some(pull.again.max(AGAIN_MIN));
            pulls.add(Pull { node: pull.node, goal, at: pull.at, again, is_ended: false, rebuilding: 0 });
        }
        pulls
    }

    /// Adds a pull; returns its number.
    pub fn add(&mut self, pull: Pull) -> usize {
        self.pulls.push(pull);
        self.unfinished += 1;
        self.pulls.len() - 1
    }

    /// The moment at which each pull begins.
    pub fn begins(&self) -> impl Iterator<Item = Micros> {
        self.pulls.iter().map(|pull| pull.at)
    }
}

impl Goal {
    /// The goal in the engine's form, with the newest release on disk.
    fn wanted(&self, disk: &Disk) -> Wanted {
        match self {
            Self::Name(reference) => {
                let known = disk.releases.get(&**reference).map(|release| (**release).clone());
                Wanted::Name { reference: (**reference).clone(), known }
            }
            Self::Manifest(manifest) => Wanted::Manifest(**manifest),
        }
    }
}

impl Fleet {
    /// The operator asks for a pull. A node that is off remembers it until it starts.
    pub fn begin_pull(&mut self, pull: usize) {
        let node = self.pulls.pulls[pull].node;
        if self.trouble.flaws_of(node).iter().any(|flaw| flaw.floods() > 0) {
            // Others refuse what it asks for beside its flood.
            self.pulls.unfinished -= usize::from(!std::mem::replace(&mut self.pulls.pulls[pull].is_ended, true));
            return;
        }
        self.nodes[node].disk.pulls.insert(pull);
        if self.nodes[node].is_online {
            self.ask_pull(pull);
        }
    }

    /// Gives a pull to the engine of its node.
    pub fn ask_pull(&mut self, pull: usize) {
        let Pull { node, goal, .. } = &self.pulls.pulls[pull];
        let wanted = goal.wanted(&self.nodes[*node].disk);
        self.step(*node, Input::Operator(OperatorInput::PullAsked { pull: PullId(pull as u64), wanted }));
    }

    /// The operator hears of a pull.
    pub fn heard(&mut self, node: usize, id: PullId, report: &Report) {
        let now = self.wires.now();
        let index = id.0 as usize;
        let pulls = &mut self.pulls;
        let Some(pull) = pulls.pulls.get_mut(index) else { return broken("a report of a pull that nobody asked for") };
        match report {
            Report::Retrying { .. } => pulls.retries += 1,
            Report::Done { .. } => {
                let usable = now + pull.rebuilding;
                pulls.times.ended.push((pull.at, usable, index));
                if let Some(site) = self.topology.nodes[node].site {
                    pulls.site_ended[site] = pulls.site_ended[site].max(usable);
                }
                self.nodes[node].disk.pulls.remove(&index);
                if std::mem::replace(&mut pull.is_ended, true) {
                    self.violation(node, "a pull ended twice");
                } else {
                    pulls.unfinished -= 1;
                }
            }
            Report::Failed { .. } => {
                pulls.failed += 1;
                self.nodes[node].disk.pulls.remove(&index);
                if let Some(again) = pull.again {
                    self.wires.after(again, Due::Begin(index));
                }
            }
            Report::Raced { .. } => pulls.races += 1,
            Report::Layer { target, wasted, .. } => {
                pulls.wasted_bytes += wasted.0;
                pull.rebuilding += self.content.rebuilding(*target);
            }
            Report::Resolved { .. }
            | Report::Layers { .. }
            | Report::Fetching { .. }
            | Report::Progress { .. }
            | Report::Unpacking { .. } => {}
        }
    }
}
