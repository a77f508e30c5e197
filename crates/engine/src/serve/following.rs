//! Passes on a patch that is still coming: the peer gets the frames that are here, and the others as they come.
//!
//! Two kinds of peers follow a patch like this: a peer that another provider referred here, and a peer behind the same
//! uplink. A referred peer names the patch, so it checks each frame by the hash that the first provider promised. A
//! neighbour takes the patch that comes.

use lighter_types::{Bytes, DiffId};
use lighter_wire::Refusal;

use super::{Effect, Opened, Serve, Step, Stream, StreamId};
use crate::event::Part;

/// Whether a layer that is not held comes here.
#[derive(Clone, Copy, Debug)]
pub enum Coming<'a> {
    No,
    /// The node wants it.
    Wanted,
    /// This part of a patch is on disk, and more of it comes.
    Part(&'a Part),
}

impl Serve {
    /// Admits a stream for a layer that is not held.
    pub(super) fn follow(&mut self, opened: Opened<'_>, step: &mut Step<'_>) -> Result<(), Refusal> {
        let Opened { stream, from, request, coming } = opened;
        let may_follow = request.resume.is_some() || step.core.is_near(from);
        if !may_follow || matches!(coming, Coming::No) {
            return Err(Refusal::NotHeld);
        }
        self.streams.insert(stream, Stream { follows: true, ..Stream::new(from, request, step.core) });
        step.effects.push(Effect::Working { stream, done: Bytes::ZERO });
        if let Coming::Part(part) = coming {
            self.part_grew(request.target, part, step.effects);
        }
        Ok(())
    }

    /// The patch is not there yet: tells the streams that follow it how far it is where it comes from.
    pub fn still_coming(&self, target: DiffId, done: Bytes, effects: &mut Vec<Effect>) {
        let waiting = self.streams.iter().filter(|(_, stream)| stream.waits_for(target));
        effects.extend(waiting.map(|(&stream, _)| Effect::Working { stream, done }));
    }

    /// More of a patch is here: the streams that wait for this patch get its header, and the frames as they come.
    pub fn part_grew(&mut self, target: DiffId, part: &Part, effects: &mut Vec<Effect>) {
        for (&id, stream) in self.streams.iter_mut().filter(|(_, stream)| stream.waits_for(target)) {
            if stream.can_use(part) {
                let first_frame = stream.request.resume.map_or(0, |resume| resume.first_frame);
                stream.served = Some(part.patch);
                effects.push(Effect::Serve { stream: id, patch: part.patch, first_frame });
            }
        }
    }

    /// A layer is held, or does not come any more: each stream that waits for it is treated as if it opened now.
    pub fn stopped_coming(&mut self, target: DiffId, step: &mut Step<'_>) {
        let waits = self.streams.iter().filter(|(_, stream)| stream.waits_for(target));
        for id in waits.map(|(&id, _)| id).collect::<Vec<_>>() {
            self.open_anew(id, step);
        }
    }

    /// Treats a stream as if it opened now, for a layer that does not come here.
    pub(super) fn open_anew(&mut self, id: StreamId, step: &mut Step<'_>) {
        if let Some(Stream { from, request, .. }) = self.streams.remove(&id) {
            self.stream_opened(Opened { stream: id, from, request: &request, coming: Coming::No }, step);
        }
    }

    /// The layers that a stream waits for while they come.
    pub fn followed(&self) -> impl Iterator<Item = DiffId> {
        let waiting = self.streams.values().filter(|stream| stream.follows && stream.served.is_none());
        waiting.map(|stream| stream.request.target)
    }
}

impl Stream {
    fn waits_for(&self, target: DiffId) -> bool {
        self.follows && self.served.is_none() && self.request.target == target
    }

    /// Whether the part is of the patch that the request names. A request that names none takes any patch that its peer
    /// can apply.
    fn can_use(&self, part: &Part) -> bool {
        match self.request.resume {
            Some(resume) => resume.patch == part.patch,
            None => part.bases.iter().all(|base| self.request.bases.contains(base)),
        }
    }
}
