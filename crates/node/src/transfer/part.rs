//! The part of a patch that is on disk while the patch is not whole.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use lighter_engine::Part;
use lighter_patch::Header;
use lighter_store::{PartialPatch, PatchWriter, Store};
use lighter_types::{Bytes, PatchId};
use lighter_wire::Resume;

use crate::part_layout::PartLayout;

/// Describes a partial patch to the engine; `None` if its header is not whole.
pub fn part_on_disk(store: &Store, partial: &PartialPatch) -> Option<Part> {
    let writer = store.resume_patch(&partial.patch_id).ok()??;
    let header = header_of(store, &writer, partial.patch_id)?;
    let layout = PartLayout::of(&header);
    let frames = layout.frames_in(&header, writer.written());
    let bases = header.bases().iter().map(|base| base.diff_id).collect();
    let (bytes, bytes_total) = (layout.patch_bytes(&header, partial.synced_bytes), header.patch_bytes());
    Some(Part { patch: partial.patch_id, settings: header.settings_id(), bases, frames, bytes, bytes_total })
}

/// Where to go on, if the frames on disk are what they were when they came: a disk may have changed them since, and the
/// peer that sends the rest would be taken for a liar. A part that is damaged, or cannot be read, is discarded.
pub fn checked(store: &Store, resume: Resume) -> Option<Resume> {
    let writer = store.resume_patch(&resume.patch).ok()??;
    let damaged = match header_of(store, &writer, resume.patch) {
        Some(header) => changed_frame(&header, writer.written(), writer.file()),
        None => Some(0),
    };
    let Some(frame) = damaged else { return Some(resume) };
    drop(writer);
    tracing::error!(patch = %resume.patch, frame, "a partial patch is damaged on disk; it is dropped and begun anew");
    if let Err(error) = store.discard_patch(&resume.patch) {
        tracing::warn!(patch = %resume.patch, %error, "a damaged partial patch stays on disk");
    }
    None
}

/// The first frame in so many bytes of a part that is not what it was when it came.
pub fn changed_frame(header: &Header, written: Bytes, file: &File) -> Option<u32> {
    let layout = PartLayout::of(header);
    (0..layout.frames_in(header, written)).find(|frame| !is_whole(header, *frame, file, layout))
}

/// The header of the patch, if it is on disk as a whole, and where its layout has it.
fn header_of(store: &Store, writer: &PatchWriter, patch: PatchId) -> Option<Header> {
    let (header, layout) = match store.layer_part_header(&patch).ok()? {
        Some(bytes) => (Header::decode(&bytes).ok()?, PartLayout::Layer),
        None => {
            let mut file = writer.file().try_clone().ok()?;
            io::Seek::rewind(&mut file).ok()?;
            (Header::read_from(&mut file).ok()?, PartLayout::Patch)
        }
    };
    (header.id() == patch && PartLayout::of(&header) == layout).then_some(header)
}

fn is_whole(header: &Header, index: u32, file: &File, layout: PartLayout) -> bool {
    let Some(frame) = header.frame(index) else { return false };
    let mut payload = vec![0; frame.payload_bytes as usize];
    let read = file.read_exact_at(&mut payload, layout.place(frame));
    read.is_ok() && lighter_patch::verify_frame(header, index, &payload).is_ok()
}

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;

    use lighter_patch::{Method, Settings, Source, encode};
    use lighter_store::{Options, PatchKey};
    use lighter_types::{DiffId, Effort};
    use lighter_wire::FrameOrder;

    use super::*;
    use crate::tests::tar_of_a_file;

    /// A store with the first frames of a patch of three, and where to go on.
    fn begun(folder: &std::path::Path) -> (Store, Resume, u64) {
        let store = Store::open_memory(folder, Options::default()).unwrap();
        let tar = tar_of_a_file(2_500_000);
        let target = Source { diff_id: DiffId::new([1; 32]), bytes: &tar };
        let settings = Settings { method: Method::Delta(Effort::Plain), threads: 1, ..Settings::default() };
        let patch = encode(&target, &[], &settings, &|_| ControlFlow::Continue(())).unwrap();
        let header = &patch.header;
        assert!(header.frames().len() >= 3, "{} frames", header.frames().len());
        let key = PatchKey { target: target.diff_id, bases: Vec::new(), settings: header.settings_id() };
        let mut writer = store.create_patch(key, header.id(), header.patch_bytes()).unwrap();
        writer.append(&header.encode()).unwrap();
        patch.payloads[..2].iter().for_each(|payload| writer.append(payload).unwrap());
        writer.sync().unwrap();
        let second = header.frame(1).unwrap().payload_offset;
        let (patch, settings, order) = (header.id(), header.settings_id(), FrameOrder::Up);
        (store, Resume { patch, first_frame: 2, settings, order }, second)
    }

    #[test]
    fn a_whole_part_is_resumed_and_a_damaged_one_is_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let (store, resume, second) = begun(folder.path());
        assert_eq!(checked(&store, resume), Some(resume));
        let partial = store.partial_patches().remove(0);
        assert_eq!(part_on_disk(&store, &partial).unwrap().frames, 2);
        let path = folder.path().join("partial").join(format!("{}.patch", resume.patch.to_hex()));
        let file = std::fs::File::options().read(true).write(true).open(path).unwrap();
        let mut byte = [0];
        file.read_exact_at(&mut byte, second + 77).unwrap();
        file.write_all_at(&[byte[0] ^ 1], second + 77).unwrap();
        assert_eq!(checked(&store, resume), None);
        assert!(store.partial_patches().is_empty());
        assert_eq!(checked(&store, resume), None, "there is nothing to go on from");
        assert_eq!(store.stats().unwrap().used_bytes, Bytes::ZERO);
    }

    /// The first two frames of a layer that comes as it is, in its own file.
    #[test]
    fn a_part_of_a_layer_has_the_layers_bytes_and_is_resumed_too() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open_memory(folder.path(), Options::default()).unwrap();
        let tar = tar_of_a_file(17 << 20);
        let target = Source { diff_id: DiffId::new([1; 32]), bytes: &tar };
        let settings = Settings { method: Method::Delta(Effort::Plain), threads: 1, ..Settings::default() };
        let header = lighter_patch::plain_header(&target, &settings, &|_| ControlFlow::Continue(())).unwrap();
        assert_eq!(PartLayout::of(&header), PartLayout::Layer);
        let key = PatchKey { target: target.diff_id, bases: Vec::new(), settings: header.settings_id() };
        let (patch, settings, order) = (header.id(), header.settings_id(), FrameOrder::Up);
        let resume = Resume { patch, first_frame: 2, settings, order };
        let begin = |header: &Header, damage: u8| {
            let bytes = header.target_bytes();
            let mut writer = store.create_layer_part(key.clone(), patch, &header.encode(), bytes).unwrap();
            let mut frames = tar[..2 << 20].to_vec();
            frames[77] ^= damage;
            writer.append(&frames).unwrap();
            writer.sync().unwrap();
        };
        begin(&header, 0);
        assert_eq!(checked(&store, resume), Some(resume));
        let part = part_on_disk(&store, &store.partial_patches()[0]).unwrap();
        assert_eq!((part.frames, part.bytes), (2, header.header_bytes() + Bytes(2 << 20)));
        begin(&header, 1);
        assert_eq!(checked(&store, resume), None, "a frame changed on the disk");
        assert!(store.partial_patches().is_empty());
    }
}
