//! An archive that comes as a stream, in a file that the node can read: an archive is read more than once.
//!
//! The file lies in the folder of temporary files (TMPDIR), with mode 0600. Where this command runs as root and the
//! node as another user, the file is given to that user.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, chown};
use std::path::Path;

use lighter_types::Bytes;
use tempfile::NamedTempFile;

use crate::client::Client;
use crate::exit::Failure;
use crate::output::Output;
use crate::progress::Progress;

pub fn from_stdin(client: &Client, output: &Output) -> Result<NamedTempFile, Failure> {
    keep(client, output, "standard input", &mut std::io::stdin())
}

/// Keeps the archive as long as the result lives. `name` is that of the stream.
///
/// # Errors
/// If the stream breaks or the disk is full.
pub fn keep(client: &Client, output: &Output, name: &str, stream: &mut dyn Read) -> Result<NamedTempFile, Failure> {
    let folder = std::env::temp_dir();
    let mut file = NamedTempFile::new_in(&folder).map_err(|error| Failure::file("write in", &folder, &error))?;
    give_to_node(client, file.path());
    let mut progress = Progress::new(output);
    let mut buffer = vec![0; 1 << 20];
    let mut bytes = 0;
    loop {
        let count = match stream.read(&mut buffer) {
            Ok(0) => return Ok(file),
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(Failure::file("read", Path::new(name), &error)),
        };
        file.write_all(&buffer[..count]).map_err(|error| Failure::file("write", file.path(), &error))?;
        bytes += count as u64;
        progress.set(name, bytes, 0, &Bytes(bytes).to_string());
    }
}

/// The node's user owns its socket. Only root may give a file away; for anybody else, the node has the same user or the
/// import says that it cannot read the file.
fn give_to_node(client: &Client, path: &Path) {
    let (Ok(socket), Ok(file)) = (fs::metadata(client.socket()), fs::metadata(path)) else { return };
    if socket.uid() != file.uid() {
        let _ = chown(path, Some(socket.uid()), Some(socket.gid()));
    }
}
