//! Rebuilds a target from a patch file: several frames at once, their ranges in order.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread;

use lighter_patch::{Frame, Header, ReadAt, RebuiltRange};

use super::apply_failure;
use crate::exit::{Code, Failure};

/// Frames rebuilt at once: each takes up to some 25 MiB. Those of `max`, which take up to 35, are decoded one by one.
const FRAMES_AT_ONCE: usize = 2;

/// A patch file.
pub struct PatchFile<'a> {
    pub path: &'a Path,
    pub file: &'a File,
    pub header: &'a Header,
}

impl PatchFile<'_> {
    /// Gives the target's bytes to `out`, piece by piece. `bases` are those of the header, in its order.
    pub fn rebuild(
        &self,
        bases: &[&dyn ReadAt],
        out: &mut dyn FnMut(&[u8]) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let frames = self.header.frames().len();
        let full_model = Mutex::new(());
        let full_model = &full_model;
        let threads = thread::available_parallelism().map_or(1, usize::from).min(FRAMES_AT_ONCE);
        thread::scope(|scope| {
            let queues: Vec<Receiver<Result<RebuiltRange, Failure>>> = (0..threads)
                .map(|first| {
                    let (sender, receiver) = sync_channel(0);
                    scope.spawn(move || self.every((first, threads), bases, full_model, &sender));
                    receiver
                })
                .collect();
            let mut buffer = vec![0; 256 << 10];
            for index in 0..frames {
                // A queue ends early only after an error, which ends this loop first.
                let Ok(range) = queues[index % threads].recv() else { break };
                let mut range = range?;
                loop {
                    let read = range.read(self.header, bases, &mut buffer);
                    let count = read.map_err(|error| apply_failure(self.path, &error))?;
                    if count == 0 {
                        break;
                    }
                    out(&buffer[..count])?;
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
        full_model: &Mutex<()>,
        ranges: &SyncSender<Result<RebuiltRange, Failure>>,
    ) {
        for (index, frame) in self.header.frames().iter().enumerate().skip(first).step_by(step) {
            let range = self.payload(frame).and_then(|payload| {
                let takes_it = lighter_patch::takes_full_model(frame, &payload);
                let _alone = takes_it.then(|| full_model.lock().unwrap_or_else(PoisonError::into_inner));
                let rebuilt = lighter_patch::apply_frame(self.header, index as u32, &payload, bases);
                rebuilt.map_err(|error| apply_failure(self.path, &error))
            });
            let failed = range.is_err();
            if ranges.send(range).is_err() || failed {
                return;
            }
        }
    }

    fn payload(&self, frame: &Frame) -> Result<Vec<u8>, Failure> {
        let mut payload = vec![0; frame.payload_bytes as usize];
        let read = self.file.read_exact_at(&mut payload, frame.payload_offset);
        read.map(|()| payload).map_err(|error| match error.kind() {
            std::io::ErrorKind::UnexpectedEof => {
                let end = frame.payload_offset + u64::from(frame.payload_bytes);
                let message = format!("{} ends before byte {end}: it was cut short", self.path.display());
                Failure::new(Code::BadData, message).hint("get the patch again")
            }
            _ => Failure::file("read", self.path, &error),
        })
    }
}
