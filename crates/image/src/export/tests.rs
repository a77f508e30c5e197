//! An exported image imports as the same image. A wrong or failing source leaves no layout.

use std::io::Cursor;

use super::*;
use crate::imported::Selector;
use crate::limits::Limits;
use crate::media::LayerMedia::{Gzip, Plain, Zstd};
use crate::open::open_image;
use crate::testing::{MemoryFiles, docker_archive, import, layout, small_tar};

fn tars() -> Vec<Vec<u8>> {
    vec![small_tar("one"), small_tar("two"), small_tar("one")]
}

fn export(
    image: &ImportedImage,
    tars: &[Vec<u8>],
    name: &str,
    format: LayerFormat,
) -> (MemoryFiles, Result<ExportedImage, ImageError>) {
    let mut files = MemoryFiles::default();
    let exported = export_image(
        &mut files,
        image,
        None,
        name,
        format,
        &mut |index, _| Ok(Box::new(Cursor::new(tars[index].clone()))),
        &mut |_| {},
    );
    (files, exported)
}

fn opened(files: &MemoryFiles) -> ImportedImage {
    open_image(files.clone(), &Selector::default(), Limits::default()).unwrap().image().clone()
}

#[test]
fn an_exported_image_can_be_imported() {
    let mut sources = vec![docker_archive(&tars())];
    for media in [Plain, Gzip, Zstd] {
        sources.push(layout(&tars().into_iter().map(|tar| (tar, media)).collect::<Vec<_>>()));
    }
    for source in sources {
        let original = opened(&source);
        for format in [LayerFormat::Plain, LayerFormat::Gzip] {
            let (files, exported) = export(&original, &tars(), "demo/app:1.0", format);
            let image = opened(&files);
            assert_eq!(import(files, Limits::default()).unwrap(), tars());
            assert_eq!(image.config_bytes, original.config_bytes);
            assert_eq!(image.manifest_digest, exported.unwrap().manifest_digest);
            assert_eq!(image.names, ["demo/app:1.0"]);
            assert_eq!(image.platform, original.platform);
        }
    }
}

#[test]
fn plain_layers_keep_the_manifest() {
    let source = layout(&tars().into_iter().map(|tar| (tar, Plain)).collect::<Vec<_>>());
    let original = opened(&source);
    let (_, exported) = export(&original, &tars(), "1", LayerFormat::Plain);
    assert_eq!(exported.unwrap().manifest_digest, original.manifest_digest);
}

#[test]
fn exact_blobs_keep_the_manifest_and_nothing_else_is_taken_for_them() {
    let media = [Gzip, Zstd, Gzip];
    let source = layout(&tars().into_iter().zip(media).collect::<Vec<_>>());
    let original = opened(&source);
    let blobs: Vec<Vec<u8>> =
        original.layers.iter().map(|layer| source.0[&blob_path(&layer.blob.digest)].clone()).collect();
    let (files, exported) = export(&original, &blobs, "1", LayerFormat::Exact);
    assert_eq!(exported.unwrap().manifest_digest, original.manifest_digest);
    assert_eq!(import(files, Limits::default()).unwrap(), tars());
    let (files, exported) = export(&original, &tars(), "1", LayerFormat::Exact);
    assert!(matches!(exported, Err(ImageError::Digest { .. })));
    assert!(!files.0.contains_key("index.json"));
}

#[test]
fn a_wrong_layer_leaves_no_layout() {
    let original = opened(&docker_archive(&tars()));
    let (files, exported) = export(&original, &[small_tar("one"), small_tar("x")], "1", LayerFormat::Plain);
    assert!(matches!(exported, Err(ImageError::Digest { .. })));
    assert!(!files.0.contains_key("index.json") && !files.0.contains_key("oci-layout"));
}

#[test]
fn names_that_no_layout_may_have_are_refused() {
    let original = opened(&docker_archive(&tars()));
    for name in ["", "a b", "/a", "a:", "a\"", &"a".repeat(400)] {
        let (files, exported) = export(&original, &tars(), name, LayerFormat::Plain);
        assert!(matches!(exported, Err(ImageError::Unsupported { .. })), "{name}");
        assert_eq!(files, MemoryFiles::default());
    }
}
