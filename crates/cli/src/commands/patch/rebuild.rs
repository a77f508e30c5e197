//! Rebuilds a target from a patch file: several frames at once, their ranges in order.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use lighter_node::FileBase;
use lighter_patch::{Frame, Header, ReadAt, RebuiltRange};
use lighter_types::Bytes;

use super::apply_failure;
use crate::exit::{Code, Failure};

/// Frames rebuilt at once: each takes up to some 25 MiB. Those of `max`, which take up to 35, are rebuilt one by one.
const FRAMES_AT_ONCE: usize = 2;

/// A patch file.
pub struct PatchFile<'a> {
    pub path: &'a Path,
    pub file: &'a File,
    pub header: &'a Header,
}

impl PatchFile<'_> {
    /// Writes the target into `file`, which is called `out`, is empty, and can be read as well: patches copy from what
    /// stands earlier in it. `bases` are those of the header, in its order. Shows each piece to `seen` on the way.
    pub fn rebuild(
        &self,
        bases: &[&dyn ReadAt],
        (out, file): (&Path, &File),
        seen: &mut dyn FnMut(&[u8]),
    ) -> Result<(), Failure> {
        let frames = self.header.frames().len();
        let threads = if self.takes_full_model()? {
            1
        } else {
            thread::available_parallelism().map_or(1, usize::from).min(FRAMES_AT_ONCE)
        };
        thread::scope(|scope| {
            let queues: Vec<Receiver<Result<RebuiltRange, Failure>>> = (0..threads)
                .map(|first| {
                    let (sender, receiver) = sync_channel(0);
                    scope.spawn(move || self.every((first, threads), bases, &sender));
                    receiver
                })
                .collect();
            let mut buffer = vec![0; 256 << 10];
            let mut done = Bytes::ZERO;
            for index in 0..frames {
                // A queue ends early only after an error, which ends this loop first.
                let Ok(range) = queues[index % threads].recv() else { break };
                let mut range = range?;
                loop {
                    let read = range.read(self.header, bases, &FileBase::up_to(file, done), &mut buffer);
                    let count = read.map_err(|error| apply_failure(self.path, &error))?;
                    if count == 0 {
                        break;
                    }
                    let write = file.write_all_at(&buffer[..count], done.0);
                    write.map_err(|error| Failure::file("write", out, &error))?;
                    done += Bytes(count as u64);
                    seen(&buffer[..count]);
                }
            }
            Ok(())
        })
    }

    /// Rebuilds every so many-th frame, until nobody wants more.
    fn every(
        &self,
        (first, step): (usize, usize),
        bases: &[&dyn ReadAt],
        ranges: &SyncSender<Result<RebuiltRange, Failure>>,
    ) {
        for (index, frame) in self.header.frames().iter().enumerate().skip(first).step_by(step) {
            let range = self.payload(frame).and_then(|payload| {
                let rebuilt = lighter_patch::apply_frame(self.header, index as u32, &payload, bases);
                rebuilt.map_err(|error| apply_failure(self.path, &error))
            });
            let failed = range.is_err();
            if ranges.send(range).is_err() || failed {
                return;
            }
        }
    }

    fn takes_full_model(&self) -> Result<bool, Failure> {
        for frame in self.header.frames() {
            if lighter_patch::takes_full_model(frame, &self.front(frame, 1)?) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn payload(&self, frame: &Frame) -> Result<Vec<u8>, Failure> {
        self.front(frame, frame.payload_bytes)
    }

    /// The first bytes of a payload, as far as there are so many.
    fn front(&self, frame: &Frame, bytes: u32) -> Result<Vec<u8>, Failure> {
        let mut payload = vec![0; bytes.min(frame.payload_bytes) as usize];
        let read = self.file.read_exact_at(&mut payload, frame.payload_offset);
        read.map(|()| payload).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => {
                let end = frame.payload_offset + u64::from(frame.payload_bytes);
                let message = format!("{} ends before byte {end}: it was cut short", self.path.display());
                Failure::new(Code::BadData, message).hint("get the patch again")
            }
            _ => Failure::file("read", self.path, &error),
        })
    }
}
