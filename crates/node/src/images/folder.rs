//! OCI layouts in folders. Links out of the folder are not followed; a write is durable before it is renamed.

use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use lighter_image::{Files, ImageError, LayoutWriter, OpenFile};
use lighter_store::LayerReader;
use lighter_types::ReadAt;
use rustix::io::Errno;

/// Reads a layout's files.
pub struct FolderFiles {
    root: PathBuf,
}

impl FolderFiles {
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }
}

impl Files for FolderFiles {
    fn open(&mut self, path: &str) -> io::Result<Option<OpenFile<'_>>> {
        let path = self.root.join(path);
        let real = match path.canonicalize() {
            Ok(real) => real,
            Err(error) => return none_if_absent(&path, error),
        };
        if !real.starts_with(self.root.canonicalize()?) {
            return Err(damaged(&path, "is a link out of the layout"));
        }
        // Looked at before it is opened: opening a pipe waits for its writer.
        if !fs::metadata(&real)?.is_file() {
            return Err(damaged(&path, "is no file"));
        }
        let file = match File::open(&real) {
            Ok(file) => file,
            Err(error) => return none_if_absent(&path, error),
        };
        let bytes = file.metadata()?.len();
        Ok(Some(OpenFile { reader: Box::new(file), bytes }))
    }
}

fn none_if_absent<'a>(path: &Path, error: io::Error) -> io::Result<Option<OpenFile<'a>>> {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Ok(None),
        _ if error.raw_os_error() == Some(Errno::LOOP.raw_os_error()) => Err(damaged(path, "is a link to itself")),
        _ => Err(error),
    }
}

/// The layout is to blame, not this machine.
fn damaged(path: &Path, problem: &str) -> io::Error {
    ImageError::Damaged { path: path.display().to_string(), offset: 0, problem: format!("it {problem}") }.into()
}

/// Writes a layout's files.
pub struct FolderWriter {
    root: PathBuf,
}

impl FolderWriter {
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }
}

impl LayoutWriter for FolderWriter {
    fn create(&mut self, path: &str) -> io::Result<Box<dyn Write + '_>> {
        let path = self.root.join(path);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        Ok(Box::new(BufWriter::with_capacity(1 << 20, File::create(path)?)))
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        let (from, to) = (self.root.join(from), self.root.join(to));
        File::open(&from)?.sync_all()?;
        if let Some(folder) = to.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::rename(&from, &to)?;
        match to.parent() {
            Some(folder) => File::open(folder)?.sync_all(),
            None => Ok(()),
        }
    }
}

/// A held layer from its first byte to its last.
pub struct LayerStream {
    reader: LayerReader,
    offset: u64,
}

impl LayerStream {
    pub fn new(reader: LayerReader) -> Self {
        Self { reader, offset: 0 }
    }
}

impl Read for LayerStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.reader.len().0.saturating_sub(self.offset);
        let count = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        self.reader.read_exact_at(&mut buffer[..count], self.offset)?;
        self.offset += count as u64;
        Ok(count)
    }
}
