//! An archive imports as the same image, whatever its format; a wrong layer ends it.

use std::io::Cursor;

use super::*;
use crate::imported::Selector;
use crate::limits::Limits;
use crate::media::LayerMedia::{Gzip, Plain, Zstd};
use crate::open::open_image;
use crate::testing::{layout, small_tar};
use crate::{ArchiveFiles, LayerFormat};

fn tars() -> Vec<Vec<u8>> {
    vec![small_tar("one"), small_tar("two"), small_tar("one")]
}

/// An image, its blobs, and the lengths of its tars.
fn image() -> (ImportedImage, Vec<Vec<u8>>, Vec<Bytes>) {
    let media = [Gzip, Zstd, Plain];
    let files = layout(&tars().into_iter().zip(media).collect::<Vec<_>>());
    let image = open_image(files.clone(), &Selector::default(), Limits::default()).unwrap().image().clone();
    let blobs = image.layers.iter().map(|layer| files.0[&blob_path(&layer.blob.digest)].clone()).collect();
    (image, blobs, tars().iter().map(|tar| Bytes(tar.len() as u64)).collect())
}

fn written(archive: &ImageArchive, contents: &[Vec<u8>]) -> Result<Vec<u8>, ImageError> {
    let mut bytes = Vec::new();
    archive.write(&mut bytes, &mut |index, _| Ok(Box::new(Cursor::new(contents[index].clone()))), &mut |_| {})?;
    assert_eq!(archive.bytes(), Bytes(bytes.len() as u64));
    Ok(bytes)
}

fn opened(bytes: Vec<u8>) -> ImportedImage {
    let files = ArchiveFiles::open("test.tar", Cursor::new(bytes)).unwrap();
    let mut opened = open_image(files, &Selector::default(), Limits::default()).unwrap();
    for index in 0..opened.image().layers.len() {
        opened.check_layer(index, None, &mut |_| {}).unwrap();
    }
    opened.image().clone()
}

#[test]
fn an_exact_archive_has_the_manifest_and_the_blobs_of_the_image() {
    let (image, blobs, tar_bytes) = image();
    let archive =
        ImageArchive::new(&image, None, "demo/app:1", ArchiveFormat::Oci, LayerFormat::Exact, &tar_bytes).unwrap();
    let found = opened(written(&archive, &blobs).unwrap());
    assert_eq!((found.manifest_digest, archive.manifest_digest), (image.manifest_digest, image.manifest_digest));
    assert_eq!((found.layers, found.names), (image.layers.clone(), vec!["demo/app:1".to_owned()]));
    // The tars are not the blobs.
    assert!(matches!(written(&archive, &tars()), Err(ImageError::Digest { .. })));
}

#[test]
fn plain_archives_of_both_formats_have_the_same_tars_and_config() {
    let (image, _, tar_bytes) = image();
    for format in [ArchiveFormat::Oci, ArchiveFormat::Docker] {
        let archive = ImageArchive::new(&image, None, "demo/app:1", format, LayerFormat::Plain, &tar_bytes).unwrap();
        let bytes = written(&archive, &tars()).unwrap();
        // The layer that occurs twice is written once.
        assert!(bytes.len() < 3 * small_tar("one").len() + 8 * 1024, "{}", bytes.len());
        let found = opened(bytes);
        let diff_ids = |image: &ImportedImage| image.layers.iter().map(|layer| layer.diff_id).collect::<Vec<_>>();
        assert_eq!(diff_ids(&found), diff_ids(&image));
        assert_eq!((found.config_digest, found.names), (image.config_digest, vec!["demo/app:1".to_owned()]));
    }
}

#[test]
fn a_layer_that_is_wrong_or_short_ends_the_archive() {
    let (image, _, tar_bytes) = image();
    let archive =
        ImageArchive::new(&image, None, "a:1", ArchiveFormat::Docker, LayerFormat::Plain, &tar_bytes).unwrap();
    let mut wrong = tars();
    wrong[1][600] ^= 1;
    assert!(matches!(written(&archive, &wrong), Err(ImageError::Digest { .. })));
    wrong[1].truncate(100);
    assert!(matches!(written(&archive, &wrong), Err(ImageError::Digest { .. })));
}

#[test]
fn forms_without_known_lengths_and_names_that_are_none_are_refused() {
    let (image, _, tar_bytes) = image();
    for (archive, format, name) in [
        (ArchiveFormat::Oci, LayerFormat::Gzip, "a:1"),
        (ArchiveFormat::Docker, LayerFormat::Exact, "a:1"),
        (ArchiveFormat::Docker, LayerFormat::Plain, "a b"),
    ] {
        let made = ImageArchive::new(&image, None, name, archive, format, &tar_bytes);
        assert!(matches!(made, Err(ImageError::Unsupported { .. })), "{archive:?} {format:?} {name}");
    }
}

#[test]
fn long_layers_have_a_length_in_base_256() {
    let block = header("x", (1 << 33) + 5);
    assert_eq!(block[124..136], [0x80, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 5]);
    assert_eq!(&header("x", (1 << 33) - 1)[124..136], b"77777777777\0");
}
