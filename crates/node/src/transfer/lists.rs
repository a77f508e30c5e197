//! Have-lists on a stream: a requester makes and sends the list of its files, a provider receives one.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use lighter_patch::{Gathered, HAVE_LIST_BYTES_MAX, HaveList};
use lighter_types::{DiffId, ReadAt};
use tokio::time::timeout;

use crate::damage::OpenLayer;
use crate::shared::{FileBase, Shared};

/// Threads that hash files for a list, as many as make a patch.
pub(super) const THREADS: usize = 2;
/// A provider gets this much of a list in this time, or gives it up: 3.3 kbit/s. An uplink of 64 kbit/s that brings
/// three lists at a time has six times as much.
const PIECE_BYTES: usize = 4096;
const PIECE_TIMEOUT: Duration = Duration::from_secs(10);

/// A list of this node's, and the layers that have its files.
pub struct Listed {
    pub id: DiffId,
    list: HaveList,
    pub layers: Vec<OpenLayer>,
}

impl Listed {
    /// Lists the files of these layers; reads all of them. `None` if one of them cannot be read or there is nothing to
    /// tell.
    pub fn new(layers: &[DiffId], shared: &Shared) -> Option<Self> {
        let layers = layers.iter().map(|layer| open(*layer, shared)).collect::<Option<Vec<OpenLayer>>>()?;
        let list = HaveList::of(&readers(&layers), THREADS).ok()?;
        (list.files() > 0).then(|| Self { id: list.id(), list, layers })
    }

    /// The base that the list stands for.
    pub fn base(&self) -> io::Result<Gathered<'_>> {
        self.list.gather(&readers(&self.layers), THREADS)
    }

    /// Sends the list.
    pub async fn send(&self, stream: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
        let bytes = self.list.encode();
        let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
        stream.write_all(&length.to_le_bytes()).await?;
        stream.write_all(&bytes).await?;
        stream.flush().await
    }
}

fn open(layer: DiffId, shared: &Shared) -> Option<OpenLayer> {
    let reader = shared.store.open_layer(&layer).ok()??;
    Some((layer, FileBase::new(reader).ok()?))
}

fn readers(layers: &[OpenLayer]) -> Vec<&dyn ReadAt> {
    layers.iter().map(|(_, file)| file as &dyn ReadAt).collect()
}

/// Takes the list of this name off a stream. A list that comes too slowly is given up: its place is for others.
pub async fn receive(stream: &mut (impl AsyncRead + Unpin), name: DiffId) -> io::Result<Arc<HaveList>> {
    let mut length = [0; 4];
    in_time(stream.read_exact(&mut length)).await?;
    let length = u32::from_le_bytes(length) as usize;
    if length > HAVE_LIST_BYTES_MAX {
        return Err(invalid("a have-list that is too long"));
    }
    let mut bytes = vec![0; length];
    for piece in bytes.chunks_mut(PIECE_BYTES) {
        in_time(stream.read_exact(piece)).await?;
    }
    let list = HaveList::decode(&bytes).map_err(|error| invalid(&error.to_string()))?;
    if list.id() != name {
        return Err(invalid("another have-list than the request names"));
    }
    Ok(Arc::new(list))
}

async fn in_time(reading: impl Future<Output = io::Result<()>>) -> io::Result<()> {
    let read = timeout(PIECE_TIMEOUT, reading).await;
    read.map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "a have-list that comes too slowly"))?
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}

#[cfg(test)]
mod tests {
    use futures::{StreamExt, TryStreamExt, stream};

    use super::*;

    #[tokio::test]
    async fn a_list_is_taken_under_its_own_name_and_no_other() {
        let tar = tar_of_a_file();
        let list = HaveList::of(&[&tar], 1).unwrap();
        let listed = Listed { id: list.id(), list: list.clone(), layers: Vec::new() };
        let mut bytes = Vec::new();
        listed.send(&mut bytes).await.unwrap();
        let taken = receive(&mut bytes.as_slice(), list.id()).await.unwrap();
        assert_eq!(*taken, list);
        check_refused(&bytes, DiffId::new([1; 32])).await;
        for end in 0..bytes.len() {
            check_refused(&bytes[..end], list.id()).await;
        }
        // One that promises gigabytes is refused before anything of it is read.
        check_refused(&[&[255; 4], &bytes[4..]].concat(), list.id()).await;
        check_refused(&[&10u32.to_le_bytes()[..], &[7; 10]].concat(), list.id()).await;
    }

    async fn check_refused(mut bytes: &[u8], name: DiffId) {
        assert!(receive(&mut bytes, name).await.is_err());
    }

    /// How a list that comes in pieces of so many bytes ends, if each takes so long. The clock stands still but for
    /// waits.
    async fn receive_slowly(piece: usize, pause: Duration) -> io::Result<Arc<HaveList>> {
        let list = HaveList::of(&[&tar_of_a_file()], 1).unwrap();
        let mut bytes = Vec::new();
        Listed { id: list.id(), list: list.clone(), layers: Vec::new() }.send(&mut bytes).await.unwrap();
        let pieces: Vec<io::Result<Vec<u8>>> = bytes.chunks(piece).map(|piece| Ok(piece.to_vec())).collect();
        let paused = stream::iter(pieces).then(|piece| async move {
            tokio::time::sleep(pause).await;
            piece
        });
        receive(&mut Box::pin(paused).into_async_read(), list.id()).await
    }

    #[tokio::test(start_paused = true)]
    async fn a_list_that_comes_too_slowly_is_given_up() {
        assert!(receive_slowly(usize::MAX, PIECE_TIMEOUT - Duration::from_secs(1)).await.is_ok());
        let began = tokio::time::Instant::now();
        let error = receive_slowly(1, PIECE_TIMEOUT / 5).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        // The length comes in four bytes.
        assert!(began.elapsed() <= PIECE_TIMEOUT * 2);
    }

    /// A tar of one file of 1,000 bytes.
    fn tar_of_a_file() -> Vec<u8> {
        let mut header = [0u8; 512];
        header[..4].copy_from_slice(b"file");
        header[124..135].copy_from_slice(b"00000001750");
        header[156] = b'0';
        header[257..265].copy_from_slice(b"ustar\x0000");
        let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum::<u32>() + 8 * 32;
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        [&header[..], &[5; 1000], &[0; 24 + 1024]].concat()
    }
}
