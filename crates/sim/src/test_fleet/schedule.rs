//! Scheduling: nodes start, pulls begin, engines get inputs, time passes.

use std::ops::ControlFlow;
use std::rc::Rc;
use std::time::Duration;

use lighter_engine::{Effect, Input, Open, OperatorInput, PullId};
use lighter_types::OciDigest;
use lighter_wire::Incarnation;

use super::{TestFleet, reference};
use crate::fleet::due::Due;
use crate::fleet::pulls::{Goal, Pull};

/// Until announcements and questions have settled after the start.
const SETTLING: Duration = Duration::from_secs(5);
/// Every question has failed by then, and a fetch or an encode that nobody waits for is over.
const ANSWERS_TAKE_MAX: Duration = Duration::from_secs(60);
/// Pulls that take longer never end.
const PULLS_TAKE_MAX: Duration = Duration::from_secs(3600);

impl TestFleet {
    /// Starts all nodes, and gives gossip and questions the time to settle.
    pub fn start(&mut self) {
        (0..self.len()).for_each(|node| self.boot(node));
        self.run(SETTLING);
    }

    /// Starts a node from its disk; pulls that did not end go on.
    pub fn boot(&mut self, node: usize) {
        self.fleet.boot(node);
        self.look();
    }

    /// The same under this incarnation, whatever those before were.
    pub fn boot_as(&mut self, node: usize, incarnation: Incarnation) {
        self.fleet.boot_as(node, incarnation);
        self.look();
    }

    /// A node pulls a name. `number` is the test's name of the pull, different for each pull of a node.
    pub fn pull(&mut self, node: usize, number: u64, name: &str) {
        self.begin(node, number, Goal::Name(Rc::new(reference(name))));
    }

    pub fn pull_manifest(&mut self, node: usize, number: u64, manifest: OciDigest) {
        self.begin(node, number, Goal::Manifest(Box::new(manifest)));
    }

    fn begin(&mut self, node: usize, number: u64, goal: Goal) {
        let pull = Pull { node, goal, at: self.fleet.wires.now(), again: None, is_ended: false, rebuilding: 0 };
        let pull = self.fleet.pulls.add(pull);
        let before = self.pulls.insert((node, number), PullId(pull as u64));
        assert!(before.is_none(), "node {node} has two pulls {number}");
        self.fleet.begin_pull(pull);
        self.look();
    }

    pub fn cancel(&mut self, node: usize, number: u64) {
        let pull = self.pulls[&(node, number)];
        self.step(node, Input::Operator(OperatorInput::PullCancelled(pull)));
    }

    /// Gives an engine an input now; its effects are performed.
    pub fn step(&mut self, node: usize, input: Input) {
        self.fleet.step(node, input);
        self.look();
    }

    /// Gives an engine an input now, and returns its effects but for `WakeAt`. They are not performed: nobody else
    /// hears.
    pub fn step_alone(&mut self, node: usize, input: Input) -> Vec<Effect> {
        let mut effects = Vec::new();
        let now = self.now();
        self.fleet.nodes[node].engine.step(now, input, &mut effects);
        effects.retain(|effect| !matches!(effect, Effect::WakeAt(_)));
        effects
    }

    /// Lets so much time pass.
    pub fn run(&mut self, time: Duration) {
        self.fleet.wires.after(time.as_micros() as u64, Due::Pause);
        while self.next().is_continue() {}
    }

    /// Lets time pass until no node that is online has a pull.
    pub fn run_pulls(&mut self) {
        let end = self.now() + PULLS_TAKE_MAX;
        self.run_until(|fleet| fleet.now() > end || !(0..fleet.len()).any(|node| fleet.is_pulling(node)));
        let left: Vec<usize> = (0..self.len()).filter(|&node| self.is_pulling(node)).collect();
        assert!(left.is_empty(), "pulls that never end at nodes {left:?}");
    }

    /// Lets a minute pass and checks that every effect which wanted an answer got one. No pull may be under way.
    pub fn check_answered(&mut self) {
        self.run(ANSWERS_TAKE_MAX);
        for node in (0..self.len()).filter(|&node| self.is_online(node)) {
            let open: Vec<Open> = self.open(node).collect();
            assert!(open.is_empty(), "node {node} still waits for {open:?}");
        }
    }

    fn is_pulling(&self, node: usize) -> bool {
        self.is_online(node) && self.engine(node).pulls() > 0
    }

    /// Lets time pass until something is so.
    pub fn run_until(&mut self, is_so: impl Fn(&Self) -> bool) {
        while !is_so(self) {
            let _ = self.next();
        }
    }

    /// Lets the next event happen, unless it is a pause.
    fn next(&mut self) -> ControlFlow<()> {
        match self.fleet.wires.network.next() {
            None => unreachable!("an engine that runs has a timer"),
            Some(Due::Pause) => ControlFlow::Break(()),
            Some(due) => {
                self.fleet.happen(due);
                self.look();
                ControlFlow::Continue(())
            }
        }
    }
}
