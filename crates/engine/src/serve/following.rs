//! Passing on what is just coming: a peer that was referred here, or is behind the same uplink, gets the patch as far as it
//! is here, and the rest as it comes. Who was referred named the patch, so that whoever checks a frame by its hash checks it
//! by what the first provider promised; a neighbour takes what comes.

use lighter_types::{Bytes, DiffId, Moment};
use lighter_wire::Refusal;

use super::{Effect, Opened, Serve, Stream, View};
use crate::event::Part;
use crate::planner::is_near;

/// Whether a layer that is not held comes here.
#[derive(Clone, Copy, Debug)]
pub enum Coming<'a> {
    No,
    /// It is wanted.
    Wanted,
    /// So much of this patch is on disk, and more of it comes.
    Part(&'a Part),
}

impl Serve {
    /// A stream for a layer that is not held.
    pub(super) fn follow(
        &mut self,
        opened: Opened<'_>,
        view: View<'_>,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Refusal> {
        let Opened { stream, from, request, coming } = opened;
        let may_follow = request.resume.is_some() || is_near(from, view);
        if !may_follow || matches!(coming, Coming::No) {
            return Err(Refusal::NotHeld);
        }
        self.streams.insert(stream, Stream { follows: true, ..Stream::new(from, request) });
        effects.push(Effect::Working { stream, target_bytes_done: Bytes::ZERO });
        if let Coming::Part(part) = coming {
            self.came(request.target, part, effects);
        }
        Ok(())
    }

    /// A fetch goes on, and nothing is on disk yet: those who wait for it are told that they still have to.
    pub fn still_coming(&self, target: DiffId, effects: &mut Vec<Effect>) {
        let waiting = self.streams.iter().filter(|(_, stream)| stream.waits_for(target));
        effects.extend(waiting.map(|(&stream, _)| Effect::Working { stream, target_bytes_done: Bytes::ZERO }));
    }

    /// More of a patch is on disk: those who wait for it get it.
    pub fn came(&mut self, target: DiffId, part: &Part, effects: &mut Vec<Effect>) {
        if part.frames == 0 {
            return self.still_coming(target, effects);
        }
        for (&id, stream) in self.streams.iter_mut().filter(|(_, stream)| stream.waits_for(target)) {
            let request = &stream.request;
            let can_apply = part.bases.iter().all(|base| request.bases.contains(base));
            let is_it = request.resume.map_or(can_apply, |resume| resume.patch == part.patch);
            if is_it {
                let first_frame = request.resume.map_or(0, |resume| resume.first_frame);
                stream.served = Some(part.patch);
                effects.push(Effect::Serve { stream: id, patch: part.patch, first_frame });
            }
        }
    }

    /// A layer is held, or will not be: who still waits for it asks anew.
    pub fn stopped_coming(&mut self, target: DiffId, now: Moment, view: View<'_>, effects: &mut Vec<Effect>) {
        let waits = self.streams.iter().filter(|(_, stream)| stream.waits_for(target));
        for id in waits.map(|(&id, _)| id).collect::<Vec<_>>() {
            if let Some(Stream { from, request, .. }) = self.streams.remove(&id) {
                let opened = Opened { stream: id, from, request: &request, coming: Coming::No };
                self.stream_opened(opened, now, view, effects);
            }
        }
    }

    /// The layers that somebody waits for while they come.
    pub fn followed(&self) -> impl Iterator<Item = DiffId> {
        let waiting = self.streams.values().filter(|stream| stream.follows && stream.served.is_none());
        waiting.map(|stream| stream.request.target)
    }
}

impl Stream {
    fn waits_for(&self, target: DiffId) -> bool {
        self.follows && self.served.is_none() && self.request.target == target
    }
}
