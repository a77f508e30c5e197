//! A scan gives the same results as its parts alone, and fails when its sink or its source fails.

use sha2::{Digest, Sha256};

use super::*;
use crate::imported::Selector;
use crate::limits::Limits;
use crate::media::LayerMedia;
use crate::open::open_image;
use crate::sink::Hashed;
use crate::testing::{layout, small_tar};

fn noise(bytes: usize) -> Vec<u8> {
    let mut noise = vec![0; bytes];
    blake3::Hasher::new().finalize_xof().fill(&mut noise);
    noise
}

#[test]
fn a_scan_equals_each_hash_alone() {
    for bytes in [0, 1, 49, 50, 1000, BUFFER_BYTES - 1, BUFFER_BYTES, BUFFER_BYTES + 1, 20 * BUFFER_BYTES + 7] {
        let tar = noise(bytes);
        let mut kept = Vec::new();
        let mut last = ScanProgress::default();
        let scanned =
            scan_tar("x", &mut &tar[..], None, &mut Hashed::new(&mut kept), &mut |progress| last = progress).unwrap();
        let mut tlsh = TlshHasher::new();
        tlsh.update(&tar);
        assert!(kept == tar);
        assert_eq!(scanned.card.diff_id.as_bytes()[..], Sha256::digest(&tar)[..]);
        assert_eq!(scanned.card.tlsh, tlsh.finish(), "{bytes}");
        let mut sketch = SketchBuilder::new();
        sketch.push(&tar);
        assert_eq!(scanned.sketch, sketch.finish());
        for (hashes, sketch) in
            [(Hashes::Sketch, scanned.sketch.clone()), (Hashes::None, SketchBuilder::new().finish())]
        {
            let sink = &mut Hashed::new(io::sink());
            let other = scan_tar_with(hashes, "x", &mut &tar[..], None, sink).unwrap();
            assert_eq!(other, TarScan { card: Card { tlsh: None, ..scanned.card }, sketch });
        }
        assert_eq!(scanned.card.tar_bytes, Bytes(bytes as u64));
        assert!(scanned.card.compressed_bytes <= scanned.card.tar_bytes);
        assert_eq!(last, ScanProgress { blob_bytes: Bytes(bytes as u64), tar_bytes: Bytes(bytes as u64) });
    }
}

#[test]
fn a_compressed_layers_card_has_the_blobs_length() {
    let tar = small_tar("card");
    for media in [LayerMedia::Gzip, LayerMedia::Zstd, LayerMedia::Plain] {
        let mut image = open_image(layout(&[(tar.clone(), media)]), &Selector::default(), Limits::default()).unwrap();
        let blob = image.image().layers[0].blob.bytes;
        let card = image.scan_layer(0, &mut Hashed::new(io::sink()), &mut |_| {}).unwrap().card;
        assert_eq!(card.compressed_bytes == blob, media != LayerMedia::Plain);
        assert!(card.compressed_bytes < card.tar_bytes);
    }
}

#[test]
fn a_full_sink_ends_the_scan() {
    struct Full(usize);
    impl TarSink for Full {
        fn take(&mut self, bytes: &[u8]) -> io::Result<()> {
            self.0 = self.0.checked_sub(bytes.len()).ok_or(io::ErrorKind::StorageFull)?;
            Ok(())
        }
        fn end(&mut self) -> io::Result<DiffId> {
            Ok(DiffId::new([0; 32]))
        }
    }
    let tar = noise(40 * BUFFER_BYTES);
    for room in [0, BUFFER_BYTES, 30 * BUFFER_BYTES] {
        let error = scan_tar("x", &mut &tar[..], None, &mut Full(room), &mut |_| {}).unwrap_err();
        assert!(matches!(error, ImageError::Write { .. }), "{error}");
    }
}

#[test]
fn a_failing_source_ends_the_scan() {
    struct Failing;
    impl Read for Failing {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("the disk is gone"))
        }
    }
    let tar = noise(3 * BUFFER_BYTES);
    let error =
        scan_tar("x", &mut (&tar[..]).chain(Failing), None, &mut Hashed::new(io::sink()), &mut |_| {}).unwrap_err();
    assert_eq!(error.to_string(), "cannot read x");
}

#[test]
fn a_missing_layer_is_an_error() {
    let mut image = open_image(layout(&[]), &Selector::default(), Limits::default()).unwrap();
    assert!(image.scan_layer(0, &mut Hashed::new(io::sink()), &mut |_| {}).is_err());
}

/// The import treats a layer as bytes, whatever its tar contains.
#[test]
fn hostile_tars_are_imported_as_bytes() {
    let tars = [
        lighter_tar::entry("../../../etc/passwd", b'0', b"root::0:0", ""),
        lighter_tar::entry("a", b'2', b"", "/etc/shadow"),
        lighter_tar::entry("a", b'S', &[0; 2000], ""),
        lighter_tar::entry("l", b'L', &vec![b'a'; 70_000], ""),
        [lighter_tar::entry("a", b'0', b"x", ""), vec![0; 1024], noise(3000)].concat(),
        noise(5000),
        Vec::new(),
    ];
    for tar in tars {
        for media in [LayerMedia::Plain, LayerMedia::Gzip, LayerMedia::Zstd] {
            let files = layout(&[(tar.clone(), media)]);
            assert_eq!(crate::testing::import(files, Limits::default()).unwrap(), vec![tar.clone()]);
        }
    }
}
