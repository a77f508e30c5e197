//! Brings what is written of a layer to the disk while more of it is written, so that the commit has little left to
//! sync: a second thread syncs every [`EVERY_BYTES`].

use std::fs::File;
use std::io;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

/// A disk that syncs more slowly is asked for larger steps: one step waits at most.
const EVERY_BYTES: usize = 16 << 20;

/// See the module. If it is dropped before [`Self::finish`], the thread ends with its current step.
pub struct Flusher {
    wake: SyncSender<()>,
    thread: JoinHandle<io::Result<()>>,
    bytes: usize,
}

impl Flusher {
    /// Begins with this file.
    ///
    /// # Errors
    /// If the file cannot be opened once more, or no thread can be had.
    pub fn new(file: &File) -> io::Result<Self> {
        let file = file.try_clone()?;
        let (wake, steps) = sync_channel(1);
        let sync = move || steps.iter().try_for_each(|()| file.sync_data());
        let thread = thread::Builder::new().name("flusher".to_owned()).spawn(sync)?;
        Ok(Self { wake, thread, bytes: 0 })
    }

    /// So many bytes more were written.
    pub fn wrote(&mut self, bytes: usize) {
        self.bytes += bytes;
        if self.bytes >= EVERY_BYTES {
            self.bytes = 0;
            // A step that waits already covers these bytes, and `finish` tells of a thread that ended.
            let _ = self.wake.try_send(());
        }
    }

    /// Waits for the last step. A kernel reports a failed write once: it may have done so here, so the layer must not
    /// be committed after an error.
    ///
    /// # Errors
    /// The first sync that failed.
    pub fn finish(self) -> io::Result<()> {
        drop(self.wake);
        self.thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_file_is_synced_on_the_way_and_a_failure_is_told() {
        let mut file = tempfile::tempfile().unwrap();
        let mut flusher = Flusher::new(&file).unwrap();
        for _ in 0..3 {
            file.write_all(&[7; 1000]).unwrap();
            flusher.wrote(EVERY_BYTES);
        }
        flusher.finish().unwrap();
        // A pipe cannot be synced.
        let (_reader, writer) = io::pipe().unwrap();
        let mut flusher = Flusher::new(&File::from(std::os::fd::OwnedFd::from(writer))).unwrap();
        flusher.wrote(EVERY_BYTES);
        flusher.finish().unwrap_err();
    }
}
