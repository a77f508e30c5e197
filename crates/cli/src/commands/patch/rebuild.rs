//! Rebuilds a target from a patch file: several frames at once, their ranges in order.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::thread;

use lighter_node::FileBase;
use lighter_patch::{Frame, Header, Moves, RebuiltRange, Weight};
use lighter_types::{Bytes, ReadAt};

use super::line::{EndOnDrop, EndOnPanic, Line};
use super::{GET_AGAIN, apply_failure};
use crate::exit::{Failure, Kind};

/// Frames rebuilt at once: each takes up to about 25 MiB. If a patch has heavy frames, which take up to 40 MiB, all of
/// its frames are rebuilt one by one.
const FRAMES_AT_ONCE: usize = 2;
/// While more rebuilt bytes than this wait for their turn, no thread begins a further frame. Some frames take ten times
/// as long as others; the other thread continues meanwhile. A frame of the full tier has at most 4.5 MiB, so that its
/// models have room beside them.
const AHEAD_BYTES_MAX: usize = 6 << 20;

/// Bytes of the target in one write.
const PIECE_BYTES: usize = 256 << 10;

/// With the bytes of memory that it takes.
type Rebuilt = Result<(RebuiltRange, usize), Failure>;

/// A patch file.
pub struct PatchFile<'a> {
    pub path: &'a Path,
    pub file: &'a File,
    pub header: &'a Header,
}

impl PatchFile<'_> {
    /// Writes the target into `file`, whose path is `out`. The file is empty and can be read as well: patches copy from
    /// earlier parts of the target. `bases` are those of the header, in its order. Gives each piece to `seen`, which
    /// returns a buffer for another one.
    pub fn rebuild(
        &self,
        bases: &[&dyn ReadAt],
        (out, file): (&Path, &File),
        seen: &mut dyn FnMut(Vec<u8>) -> Vec<u8>,
    ) -> Result<(), Failure> {
        let frames = self.header.frames().len();
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let (threads, ahead_max) = match self.weight()? {
            Weight::Light | Weight::Full => (cores.min(FRAMES_AT_ONCE), AHEAD_BYTES_MAX),
            Weight::Earlier => (cores.min(FRAMES_AT_ONCE), 0),
            Weight::Heavy => (1, 0),
        };
        // A payload that cannot be read fails when its frame is rebuilt.
        let work = |index: usize| {
            let frame = &self.header.frames()[index];
            self.payload(frame).map_or(0, |payload| lighter_patch::frame_work(frame, &payload))
        };
        let moves = &self.moves()?;
        let line = &Line::new(frames, ahead_max, &work);
        thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(move || {
                    let _end = EndOnPanic(line);
                    while let Some(index) = line.take() {
                        line.put(index, self.frame(index, bases, moves));
                    }
                });
            }
            let _end = EndOnDrop(line);
            let mut buffer = Vec::new();
            let mut done = Bytes::ZERO;
            for index in 0..frames {
                // The frame is missing only if a thread panicked; the scope passes that on.
                let Some(range) = line.get(index) else { break };
                let mut range = range?;
                loop {
                    buffer.resize(PIECE_BYTES, 0);
                    let read = range.read(self.header, bases, &FileBase::up_to(file, done), &mut buffer);
                    let count = read.map_err(|error| apply_failure(self.path, &error))?;
                    if count == 0 {
                        break;
                    }
                    buffer.truncate(count);
                    let write = file.write_all_at(&buffer, done.0);
                    write.map_err(|error| Failure::file("write", out, &error))?;
                    done += Bytes(count as u64);
                    buffer = seen(buffer);
                }
            }
            Ok(())
        })
    }

    /// The moves, from the first frame.
    fn moves(&self) -> Result<Moves, Failure> {
        let Some(first) = self.header.frame(0) else { return Ok(Moves::default()) };
        Moves::read(self.header, &self.payload(first)?).map_err(|error| apply_failure(self.path, &error))
    }

    fn frame(&self, index: usize, bases: &[&dyn ReadAt], moves: &Moves) -> Rebuilt {
        let payload = self.payload(&self.header.frames()[index])?;
        let rebuilt = lighter_patch::apply_frame(self.header, index as u32, &payload, bases, moves);
        let range = rebuilt.map_err(|error| apply_failure(self.path, &error))?;
        let held_bytes = range.held_bytes();
        Ok((range, held_bytes))
    }

    /// The weight of the heaviest frame.
    fn weight(&self) -> Result<Weight, Failure> {
        let mut heaviest = Weight::Light;
        for frame in self.header.frames() {
            heaviest = heaviest.max(lighter_patch::frame_weight(frame, &self.payload(frame)?));
        }
        Ok(heaviest)
    }

    fn payload(&self, frame: &Frame) -> Result<Vec<u8>, Failure> {
        let mut payload = vec![0; frame.payload_bytes as usize];
        let read = self.file.read_exact_at(&mut payload, frame.payload_offset);
        read.map(|()| payload).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => {
                let end = frame.payload_offset + u64::from(frame.payload_bytes);
                let message = format!("{} ends before byte {end}: it was cut short", self.path.display());
                Failure::new(Kind::BadData, message).hint(GET_AGAIN)
            }
            _ => Failure::file("read", self.path, &error),
        })
    }
}
