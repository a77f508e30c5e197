//! Passing on what is just coming: a peer that was referred here gets the patch as far as it is here, and the rest as it
//! comes. It named the patch, so that whoever checks a frame by its hash checks it by what the first provider promised.

use lighter_types::{Bytes, DiffId, PeerId};
use lighter_wire::{PatchRequest, Refusal};

use super::{Effect, Serve, Stream, StreamId};
use crate::event::Part;

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
        stream: StreamId,
        from: PeerId,
        request: &PatchRequest,
        coming: Coming<'_>,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Refusal> {
        if request.resume.is_none() || matches!(coming, Coming::No) {
            return Err(Refusal::NotHeld);
        }
        let follower = Stream { follows: Some(request.target), ..Stream::new(from, request) };
        self.streams.insert(stream, follower);
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
        for (&id, stream) in &mut self.streams {
            let resume = stream.resume.filter(|resume| resume.patch == part.patch);
            if let (true, Some(resume)) = (stream.waits_for(target), resume) {
                stream.served = Some(part.patch);
                effects.push(Effect::Serve { stream: id, patch: part.patch, first_frame: resume.first_frame });
            }
        }
    }

    /// A layer is held, or will not be: those who still wait for a patch of it get it if it is the one they named.
    pub fn stopped_coming(&mut self, target: DiffId, effects: &mut Vec<Effect>) {
        for (&id, stream) in self.streams.iter_mut().filter(|(_, stream)| stream.waits_for(target)) {
            stream.follows = None;
            match stream.resume.filter(|resume| self.cache.contains_key(&resume.patch)) {
                Some(resume) => {
                    stream.served = Some(resume.patch);
                    let (patch, first_frame) = (resume.patch, resume.first_frame);
                    effects.push(Effect::Serve { stream: id, patch, first_frame });
                }
                None => effects.push(Effect::Refuse { stream: id, refusal: Refusal::NotHeld }),
            }
        }
    }

    /// The layers that somebody waits for while they come.
    pub fn followed(&self) -> impl Iterator<Item = DiffId> {
        self.streams.values().filter(|stream| stream.served.is_none()).filter_map(|stream| stream.follows)
    }
}

impl Stream {
    fn waits_for(&self, target: DiffId) -> bool {
        self.follows == Some(target) && self.served.is_none()
    }
}
