//! A layer with its card and its sketch, which predictions need.

use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;

use lighter_image::{Hashed, scan_tar};
use lighter_node::FileBase;
use lighter_patch::Source;
use lighter_similarity::Sketch;
use lighter_types::Card;

use super::super::releases::Release;
use crate::exit::{Failure, Kind};
use crate::interrupt::{Interrupt, cancelled};

pub struct Layer {
    pub name: String,
    pub package: String,
    pub path: PathBuf,
    pub card: Card,
    pub sketch: Sketch,
}

impl Layer {
    /// Reads the tar once.
    pub fn read(release: &Release, interrupt: &Interrupt) -> Result<Self, Failure> {
        let path = release.path.clone();
        let mut file = File::open(&path).map_err(|error| Failure::file("read", &path, &error))?;
        let mut sink = Hashed::new(Stoppable(interrupt));
        let scan = scan_tar(&path.display().to_string(), &mut file, None, &mut sink, &mut |_| ());
        let scan =
            scan.map_err(
                |error| {
                    if interrupt.is_set() { cancelled() } else { Failure::from_error(Kind::Machine, &error) }
                },
            )?;
        Ok(Self { name: release.name(), package: release.package.clone(), path, card: scan.card, sketch: scan.sketch })
    }

    pub fn open(&self) -> Result<FileBase<File>, Failure> {
        let opened = File::open(&self.path).and_then(FileBase::new);
        opened.map_err(|error| Failure::file("read", &self.path, &error))
    }

    pub fn source<'a>(&self, file: &'a FileBase<File>) -> Source<'a> {
        Source { diff_id: self.card.diff_id, bytes: file }
    }
}

/// A sink that discards bytes, and fails after a signal.
struct Stoppable<'a>(&'a Interrupt);

impl Write for Stoppable<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.is_set() {
            return Err(io::Error::other("stopped by a signal"));
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
