//! The queue of patches to be made: the peers take turns (`turns.rs`), and each has its share of the places.
//!
//! An encode under way is interrupted only if nobody waits for it any more and other patches wait for their turn. So
//! the work that one peer asks for delays that of another by one patch at most for each encode that runs at a time.

use std::collections::BTreeMap;
use std::time::Duration;

use lighter_types::{PeerId, broken};
use lighter_wire::Refusal;

use super::jobs::Job;
use super::{Serve, StreamId};
use crate::core::{Core, Step};
use crate::event::{Effect, EncodeId};
use crate::settings::Settings;
use crate::work;

impl Serve {
    /// Has the stream of a peer wait for the encode that makes this patch, which may be under way already.
    pub(super) fn enqueue(
        &mut self,
        job: Job,
        (from, stream): (PeerId, StreamId),
        effects: &mut Vec<Effect>,
    ) -> Result<(), Refusal> {
        if let Some(same) = self.jobs.values_mut().find(|other| other.is_same(&job) && !other.is_stopped) {
            same.waiting.push(stream);
            return Ok(());
        }
        if self.queue.len() >= Settings::ENCODES_QUEUED_MAX {
            self.make_room(from, effects)?;
        }
        let encode = EncodeId(self.next_encode);
        self.next_encode += 1;
        self.jobs.insert(encode, Job { waiting: vec![stream], ..job });
        self.queue.push_back(encode);
        Ok(())
    }

    /// Takes the last place of the peer that has the most places in the full queue, if this peer has fewer even with
    /// it. Patches for which several peers wait belong to none.
    fn make_room(&mut self, from: PeerId, effects: &mut Vec<Effect>) -> Result<(), Refusal> {
        let mut places: BTreeMap<PeerId, Vec<EncodeId>> = BTreeMap::new();
        for &encode in &self.queue {
            if let Some([peer]) = self.jobs.get(&encode).map(|job| self.payers(job)).as_deref() {
                places.entry(*peer).or_default().push(encode);
            }
        }
        let own = places.get(&from).map_or(0, Vec::len);
        let most = places.into_values().max_by_key(Vec::len).filter(|most| most.len() > own + 1);
        let Some(last) = most.as_ref().and_then(|most| most.last()) else { return Err(Refusal::BUSY) };
        self.queue.retain(|encode| encode != last);
        let waiting = self.jobs.remove(last).map(|job| job.waiting).unwrap_or_default();
        effects.extend(waiting.into_iter().map(|stream| Effect::Refuse { stream, refusal: Refusal::BUSY }));
        Ok(())
    }

    pub(super) fn start_queued(&mut self, step: &mut Step<'_>) {
        while self.running < step.core.settings.encodes_max {
            let Some(encode) = self.take_next() else { return };
            let Some(job) = self.jobs.get(&encode) else { return broken("a queued encode without its job") };
            let effort = self.effort(job, None, step.core);
            let cost = self.undertaking(job, None, step.core).encoding(effort, self.pace);
            step.effects.push(Effect::Encode { encode, target: job.target, bases: job.bases.clone(), effort });
            let payers = self.payers(job);
            self.turns.begin(&payers, cost);
            if let Some(job) = self.jobs.get_mut(&encode) {
                job.running = Some(effort);
                job.charged = (payers, cost);
            }
            self.running += 1;
        }
    }

    /// Ends encodes that nobody waits for any more, if other patches wait for their turn. If none does, the patch may
    /// be of use to the next peer that asks for it.
    pub(super) fn stop_unwanted(&mut self, effects: &mut Vec<Effect>) {
        if self.queue.is_empty() {
            return;
        }
        for (&encode, job) in &mut self.jobs {
            if job.running.is_some() && job.waiting.is_empty() && !std::mem::replace(&mut job.is_stopped, true) {
                effects.push(Effect::StopEncode(encode));
            }
        }
    }

    /// An encode ended: those that waited for it when it began pay for what it took. Debts end with the work.
    pub(super) fn settle(&mut self, job: &Job, took: Duration) {
        let (payers, cost) = &job.charged;
        self.turns.correct(payers, *cost, took);
        if self.jobs.is_empty() {
            self.turns = super::Turns::default();
        }
    }

    /// The time that the encodes before a new job of this peer take. A job that makes the same patch for another peer
    /// is none of them.
    pub(super) fn encoding_before(&self, job: &Job, from: PeerId, core: &Core) -> Duration {
        let mut turns = self.turns.clone();
        let own = turns.of(&[from]);
        let mut time = Duration::ZERO;
        for other in work::counting(self.jobs.values()).filter(|other| !other.is_same(job)) {
            let payers = self.payers(other);
            if other.running.is_none() && turns.of(&payers) > own {
                continue;
            }
            let encoding = self.encoding_of(other, core);
            if other.running.is_none() {
                turns.charge(&payers, encoding);
            }
            time += encoding;
        }
        time
    }

    /// Takes the job whose turn it is out of the queue; of several, the one that came first.
    fn take_next(&mut self) -> Option<EncodeId> {
        let turn = |encode: &EncodeId| {
            let payers = self.jobs.get(encode).map(|job| self.payers(job)).unwrap_or_default();
            (self.turns.of(&payers), *encode)
        };
        let next = self.queue.iter().copied().min_by_key(turn)?;
        self.queue.retain(|&encode| encode != next);
        Some(next)
    }

    /// The peers that wait for a job, each once.
    fn payers(&self, job: &Job) -> Vec<PeerId> {
        let streams = work::counting(job.waiting.iter()).filter_map(|stream| self.streams.get(stream));
        let mut peers: Vec<PeerId> = streams.map(|stream| stream.from).collect();
        peers.sort_unstable();
        peers.dedup();
        peers
    }
}
