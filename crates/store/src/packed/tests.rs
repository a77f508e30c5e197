//! Packed tars: what goes in comes out at any position, and damage is told.

use super::*;

/// Lines of text and some noise, which make frames of different lengths.
fn tar(bytes: usize) -> Vec<u8> {
    let mut state = 1u64;
    let mut tar = Vec::new();
    while tar.len() < bytes {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        tar.extend(format!("line {} of the log {state}\n", tar.len()).bytes());
    }
    tar.truncate(bytes);
    tar
}

fn packed(tar: &[u8], piece: usize) -> Vec<u8> {
    let mut writer = PackedWriter::new(Vec::new());
    tar.chunks(piece).for_each(|piece| writer.append(piece).unwrap());
    writer.finish().unwrap()
}

fn open(bytes: &[u8]) -> io::Result<PackedFile> {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    PackedFile::open(file)
}

#[test]
fn any_position_is_read_and_the_pieces_do_not_matter() {
    let frame = FRAME_BYTES as usize;
    for bytes in [0, 1, frame - 1, frame, frame + 1, 20 * frame + 77] {
        let tar = tar(bytes);
        let file = packed(&tar, frame * 3 + 5);
        assert_eq!(file, packed(&tar, 1000));
        assert!(bytes < frame || file.len() < tar.len() / 2);
        let opened = open(&file).unwrap();
        assert_eq!(opened.tar_bytes(), Bytes(bytes as u64));
        for (offset, length) in [(0, bytes), (bytes / 3, bytes / 2), (frame - 10, 20), (bytes, 0)] {
            let Some(expected) = tar.get(offset..offset + length) else { continue };
            let mut read = vec![0; length];
            opened.read_exact_at(&mut read, offset as u64).unwrap();
            assert!(read == expected, "{length} bytes from {offset} of {bytes}");
        }
        let beyond = opened.read_exact_at(&mut [0], bytes as u64).unwrap_err();
        assert_eq!(beyond.kind(), io::ErrorKind::UnexpectedEof);
        let mut streamed = Vec::new();
        Tar::Packed(opened).stream().read_to_end(&mut streamed).unwrap();
        assert!(streamed == tar);
    }
}

/// The last frame, the table and the footer of docs/STORE.md.
#[test]
fn the_table_is_laid_out_as_documented() {
    let tar = tar(FRAME_BYTES as usize + 10);
    let file = packed(&tar, tar.len());
    let table = &file[file.len() - 8 - 16 - FOOTER_BYTES..];
    assert_eq!(table[..8], [0x5e, 0x2a, 0x4d, 0x18, 64, 0, 0, 0]);
    let ends = [&table[8..16], &table[16..24]].map(|end| u64::from_le_bytes(end.try_into().unwrap()));
    assert_eq!(ends[1] as usize, file.len() - table.len());
    assert_eq!(zstd::bulk::decompress(&file[..ends[0] as usize], tar.len()).unwrap(), tar[..FRAME_BYTES as usize]);
    assert_eq!(zstd::bulk::decompress(&file[ends[0] as usize..ends[1] as usize], 10).unwrap(), tar[tar.len() - 10..]);
    assert_eq!(table[24..32], *b"LTRTAR01");
    assert_eq!(table[32..40], (tar.len() as u64).to_le_bytes());
    assert_eq!(table[40..], Sha256::digest(&table[8..40])[..]);
    // The stock tool takes all of it for frames.
    assert_eq!(zstd::stream::decode_all(&file[..]).unwrap(), tar);
}

#[test]
fn damage_is_told_and_never_read() {
    let tar = tar(3 * FRAME_BYTES as usize);
    let file = packed(&tar, tar.len());
    let is_read = |file: &[u8]| {
        let mut read = vec![0; tar.len()];
        open(file).and_then(|opened| opened.read_exact_at(&mut read, 0)).is_ok_and(|()| read == tar)
    };
    assert!(is_read(&file));
    for end in [0, 1, FOOTER_BYTES, file.len() / 2, file.len() - FOOTER_BYTES, file.len() - 1] {
        assert!(open(&file[..end]).is_err(), "cut at {end}");
    }
    // Every byte of the table, but for the head of the skippable frame.
    let table_at = file.len() - FOOTER_BYTES - 3 * 8;
    for at in table_at..file.len() {
        let mut flipped = file.clone();
        flipped[at] ^= 4;
        assert!(open(&flipped).is_err(), "byte {at}");
    }
    // A length that would be a bomb.
    let mut huge = file.clone();
    let length_at = file.len() - 40;
    huge[length_at..length_at + 8].fill(0xff);
    assert!(open(&huge).is_err());
    // A frame has no checksum: it decodes to other bytes, which the layer's sha256 shows, or not at all.
    for at in (0..table_at - 8).step_by(997) {
        let mut flipped = file.clone();
        flipped[at] ^= 4;
        assert!(!is_read(&flipped), "byte {at}");
    }
}
