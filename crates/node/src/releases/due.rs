//! The files of releases and handovers that are not on disk yet. A write that failed stays due: it is done anew with
//! the next one, and before an image is removed, whose row is the other place of its release. So a disk that fails for
//! a while costs no memory.

use std::io;
use std::sync::PoisonError;

use lighter_types::{ImageReference, PeerId};
use lighter_wire::SignedHandover;

use super::{Releases, kept};

/// A file that has to be written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Due {
    Seen(ImageReference),
    /// The key: repository and publisher.
    Handover((String, PeerId)),
}

impl Due {
    pub fn handover(signed: &SignedHandover) -> Self {
        Self::Handover((signed.handover.repository.clone(), signed.handover.from))
    }
}

impl Releases {
    /// Writes what was seen of a name, if that is due. Blocks. If it fails, what comes after the next start is worse,
    /// unless a later write succeeds.
    pub fn keep(&self, reference: &ImageReference) {
        if let Err(error) = self.settle(&Due::Seen(reference.clone())) {
            tracing::warn!(%reference, %error, "the newest release of a name is forgotten when this node stops");
        }
    }

    /// Writes a file if it is due, and then what could not be written before. Blocks.
    ///
    /// # Errors
    /// If the disk fails: the file stays due. Other files that stay due are no failure.
    pub fn settle(&self, due: &Due) -> io::Result<()> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        self.write_due(due)?;
        loop {
            let Some(other) = self.lock().due.first().cloned() else { return Ok(()) };
            if self.write_due(&other).is_err() {
                return Ok(());
            }
        }
    }

    fn write_due(&self, due: &Due) -> io::Result<()> {
        let (seen, handover) = {
            let mut state = self.lock();
            // Taken out before the record is looked up: what is seen while it is written is due again.
            if !state.due.remove(due) {
                return Ok(());
            }
            match due {
                Due::Seen(reference) => (state.seen.get(reference).cloned(), None),
                Due::Handover(key) => (None, state.handovers.get(key).cloned()),
            }
        };
        let written = seen.iter().try_for_each(|seen| kept::write_seen(&self.folder, seen));
        let written =
            written.and_then(|()| handover.iter().try_for_each(|signed| kept::write_handover(&self.folder, signed)));
        if written.is_err() {
            self.lock().due.insert(due.clone());
        }
        written
    }
}
