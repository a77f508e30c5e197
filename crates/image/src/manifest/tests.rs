//! Documents as a node receives them from a peer. layout/tests.rs has more faulty documents.

use super::*;

const MANIFEST: &str = r#"{"schemaVersion":2,"mediaType":"application/vnd.docker.distribution.manifest.v2+json",
    "config":{"mediaType":"application/vnd.docker.container.image.v1+json","size":9,"digest":"sha256:DIGEST"},
    "layers":[{"mediaType":"application/vnd.docker.image.rootfs.diff.tar.gzip","size":7,"digest":"sha256:DIGEST"}],
    "annotations":{"a":"b"}}"#;
const CONFIG: &str = r#"{"os":"linux","architecture":"arm","variant":"v7","unknown":{"x":[1,2]},
    "rootfs":{"type":"layers","diff_ids":["sha256:DIGEST"]}}"#;

fn filled(text: &str) -> Vec<u8> {
    text.replace("DIGEST", &"ab".repeat(32)).into_bytes()
}

#[test]
fn documents_of_docker_are_read() {
    let (manifest, config) = (filled(MANIFEST), filled(CONFIG));
    let manifest = parse_manifest(&manifest, &digest_of(&manifest)).unwrap();
    let config = parse_config(&config, &digest_of(&config)).unwrap();
    let layers = image_layers(&manifest, &config).unwrap();
    assert_eq!(layers.len(), 1);
    assert_eq!((layers[0].diff_id.to_hex(), layers[0].blob.bytes), ("ab".repeat(32), Bytes(7)));
    assert_eq!(config.platform, Some("linux/arm/v7".parse().unwrap()));
    assert_eq!(manifest.annotations["a"], "b");
}

#[test]
fn bytes_that_do_not_match_the_digest_are_refused() {
    let (manifest, config) = (filled(MANIFEST), filled(CONFIG));
    let wrong = digest_of(b"x");
    assert!(matches!(parse_manifest(&manifest, &wrong), Err(ImageError::Digest { .. })));
    assert!(matches!(parse_config(&config, &wrong), Err(ImageError::Digest { .. })));
    let large = vec![b' '; (4 << 20) + 1];
    assert!(matches!(parse_manifest(&large, &digest_of(&large)), Err(ImageError::TooLarge { .. })));
    assert!(matches!(parse_config(&large, &digest_of(&large)), Err(ImageError::TooLarge { .. })));
}

#[test]
fn truncated_documents_never_panic() {
    let (manifest, config) = (filled(MANIFEST), filled(CONFIG));
    for cut in 0..manifest.len() {
        assert!(parse_manifest(&manifest[..cut], &digest_of(&manifest[..cut])).is_err());
    }
    for cut in 0..config.len() {
        assert!(parse_config(&config[..cut], &digest_of(&config[..cut])).is_err());
    }
}
