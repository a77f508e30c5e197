//! The JSON of every type, field for field: what scripts read.
//!
//! Each check holds a value to its golden text both ways. A test that fails here means that scripts break: fields may
//! be added, never changed.

use lighter_types::{Bytes, BytesPerSecond, DiffId, ImageReference, OciDigest, PeerId, SiteName, TLSH_BYTES, Tlsh};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::*;

const ONE: &str = "sha256:0101010101010101010101010101010101010101010101010101010101010101";
const TWO: &str = "sha256:0202020202020202020202020202020202020202020202020202020202020202";
const PEER: &str = "12D3KooWAMW4eTCs76wSK3JP6eM4gfMghdvhwJiT8vdovs54o6jF";

fn layer(byte: u8) -> DiffId {
    DiffId::new([byte; 32])
}

fn digest(byte: u8) -> OciDigest {
    OciDigest::new([byte; 32])
}

fn peer() -> PeerId {
    PEER.parse().unwrap()
}

fn site() -> SiteName {
    "harbour".parse().unwrap()
}

fn reference() -> ImageReference {
    "demo/app:1".parse().unwrap()
}

/// Holds a value to its JSON, both ways. In `golden`, ONE, TWO and PEER stand for ids.
fn check<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(value: T, golden: &str) {
    let golden = golden.replace("ONE", ONE).replace("TWO", TWO).replace("PEER", PEER);
    assert_eq!(serde_json::to_string(&value).unwrap(), golden);
    assert_eq!(serde_json::from_str::<T>(&golden).unwrap(), value);
}

fn store_status() -> StoreStatus {
    StoreStatus {
        layers: 1,
        layer_bytes: Bytes(2),
        patches: 3,
        patch_bytes: Bytes(4),
        partial_patches: 5,
        blobs: 6,
        images: 7,
        image_bytes_max: Bytes(11),
        staying_bytes: Bytes(12),
        used_bytes: Bytes(8),
        bytes_max: Bytes(9),
        disk_free_bytes: Bytes(10),
    }
}

const STORE: &str = r#"{"layers":1,"layer_bytes":2,"patches":3,"patch_bytes":4,"partial_patches":5,"blobs":6,"images":7,"image_bytes_max":11,"staying_bytes":12,"used_bytes":8,"bytes_max":9,"disk_free_bytes":10}"#;

#[test]
fn status() {
    let traffic = TrafficStatus { protocol: "patch".to_owned(), sent_bytes: Bytes(1), received_bytes: Bytes(2) };
    let pull = PullStatus {
        pull: 5,
        image: "demo/app:1".to_owned(),
        last: Some(PullEvent::Resolved { manifest: digest(1), companions: None }),
    };
    let status = Status {
        version: "0.1.0".to_owned(),
        peer_id: peer(),
        site: Some(site()),
        listen: vec!["/ip4/127.0.0.1/tcp/1".to_owned()],
        uptime_s: 1,
        peers_connected: 2,
        peers_known: 3,
        layers: 4,
        pulls: vec![pull],
        sent_bytes: Bytes(6),
        received_bytes: Bytes(u64::MAX),
        traffic: vec![traffic],
        idle_bytes_per_day: Some(Bytes(7)),
        upload_max: "20 Mbit/s".to_owned(),
        download_max: "unlimited".to_owned(),
        store: store_status(),
        store_read_ms_ago: 9,
        releases_gave_way: 4,
        releases_expired: 6,
        gave_way: vec![GaveWay { reference: reference(), manifest: digest(2), at_s: 5 }],
        streams: StreamsStatus { queued: 1, busy: 2, resets: 3 },
        scrub: ScrubStatus { last_s: Some(1), last_bytes: Bytes(2), damaged: 5, ..ScrubStatus::default() },
        stuck: Some("s".to_owned()),
        races: RacesStatus { decided: 4, won: 5, wasted_bytes: Bytes(6) },
        warnings: vec!["w".to_owned()],
    };
    let golden = r#"{"version":"0.1.0","peer_id":"PEER","site":"harbour","listen":["/ip4/127.0.0.1/tcp/1"],"uptime_s":1,"peers_connected":2,"peers_known":3,"layers":4,"pulls":[{"pull":5,"image":"demo/app:1","last":{"event":"resolved","manifest":"ONE"}}],"sent_bytes":6,"received_bytes":18446744073709551615,"traffic":[{"protocol":"patch","sent_bytes":1,"received_bytes":2}],"idle_bytes_per_day":7,"upload_max":"20 Mbit/s","download_max":"unlimited","store":STORE,"store_read_ms_ago":9,"releases_gave_way":4,"gave_way":[{"reference":"demo/app:1","manifest":"TWO","at_s":5}],"releases_expired":6,"streams":{"queued":1,"busy":2,"resets":3},"scrub":{"last_s":1,"last_bytes":2,"last_damaged":0,"running":false,"read_bytes":0,"damaged":5},"stuck":"s","races":{"decided":4,"won":5,"wasted_bytes":6},"warnings":["w"]}"#;
    check(status.clone(), &golden.replace("STORE", STORE));
    let nowhere = golden.replace("\"harbour\"", "null").replace("STORE", STORE);
    check(Status { site: None, ..status }, &nowhere);
    check(
        LimitsRequest { upload_max: None, download_max: Some("1 B/s".to_owned()) },
        r#"{"upload_max":null,"download_max":"1 B/s"}"#,
    );
}

#[test]
fn stores() {
    check(store_status(), STORE);
    check(GcRequest { dry_run: true }, r#"{"dry_run":true}"#);
    let report = GcReport { dry_run: false, removed: vec!["layer x".to_owned()], bytes: Bytes(5) };
    check(report, r#"{"dry_run":false,"removed":["layer x"],"bytes":5}"#);
}

#[test]
fn peers() {
    let one = Peer {
        peer_id: peer(),
        site: None,
        connected: true,
        cut_off: false,
        layers: 3,
        last_heard_ms_ago: 4,
        rate: Some(BytesPerSecond(5)),
        rate_up: Some(BytesPerSecond(8)),
        round_trip_ms: Some(9),
        lost_per_mille: Some(10),
        sent_bytes: Bytes(6),
        received_bytes: Bytes(7),
    };
    let golden = r#"{"peer_id":"PEER","site":null,"connected":true,"cut_off":false,"layers":3,"last_heard_ms_ago":4,"rate":5,"rate_up":8,"round_trip_ms":9,"lost_per_mille":10,"sent_bytes":6,"received_bytes":7}"#;
    check(one.clone(), golden);
    check(Peer { rate: None, ..one }, &golden.replace("\"rate\":5", "\"rate\":null"));
}

#[test]
fn layers() {
    let one = Layer {
        diff_id: layer(1),
        tar_bytes: Bytes(1),
        compressed_bytes: Bytes(2),
        tlsh: Some(Tlsh::new([0xab; TLSH_BYTES])),
        images: vec![reference()],
        pinned: true,
        holders: vec![peer()],
    };
    let golden = r#"{"diff_id":"ONE","tar_bytes":1,"compressed_bytes":2,"tlsh":"TLSH","images":["demo/app:1"],"pinned":true,"holders":["PEER"]}"#;
    let golden = golden.replace("TLSH", &Tlsh::new([0xab; TLSH_BYTES]).to_string());
    check(one.clone(), &golden);
    check(Layer { holders: Vec::new(), ..one }, &golden.replace(r#","holders":["PEER"]"#, ""));
    check(PinRequest { diff_id: layer(2), pinned: false }, r#"{"diff_id":"TWO","pinned":false}"#);
}

#[test]
fn images() {
    let one = Image {
        reference: reference(),
        manifest: digest(1),
        config: digest(2),
        layers: vec![layer(1), layer(2)],
        tar_bytes: Bytes(3),
        publisher: Some(peer()),
        issued_s: Some(4),
        expires_s: Some(9),
        cosigners: vec![peer()],
        pinned: true,
        platform: Some("linux/amd64".to_owned()),
        blobs: vec![LayerBlob {
            layer: layer(1),
            blob: digest(2),
            bytes: Bytes(5),
            made_by: "verbatim".to_owned(),
            kept: vec!["tar".to_owned(), "blob".to_owned()],
            at_rest: Some("zstd".to_owned()),
        }],
        index: Some(digest(2)),
        artifacts: vec![ImageArtifact { manifest: digest(1), kind: Some("a/b".to_owned()), bytes: Bytes(6) }],
    };
    let golden = r#"{"reference":"demo/app:1","manifest":"ONE","config":"TWO","layers":["ONE","TWO"],"tar_bytes":3,"publisher":"PEER","issued_s":4,"expires_s":9,"cosigners":["PEER"],"pinned":true,"platform":"linux/amd64","blobs":[{"layer":"ONE","blob":"TWO","bytes":5,"made_by":"verbatim","kept":["tar","blob"],"at_rest":"zstd"}],"index":"TWO","artifacts":[{"manifest":"ONE","kind":"a/b","bytes":6}]}"#;
    check(one.clone(), golden);
    let unsigned = golden.replace(
        r#""publisher":"PEER","issued_s":4,"expires_s":9,"cosigners":["PEER"],"pinned":true,"platform":"linux/amd64","blobs":[{"layer":"ONE","blob":"TWO","bytes":5,"made_by":"verbatim","kept":["tar","blob"],"at_rest":"zstd"}],"index":"TWO","artifacts":[{"manifest":"ONE","kind":"a/b","bytes":6}]"#,
        r#""publisher":null,"issued_s":null,"pinned":false"#,
    );
    let (blobs, index, artifacts) = (Vec::new(), None, Vec::new());
    let signed = Image { publisher: None, issued_s: None, expires_s: None, cosigners: Vec::new(), ..one };
    check(Image { pinned: false, platform: None, blobs, index, artifacts, ..signed }, &unsigned);
    let pin = ImagePinRequest { reference: reference(), pinned: true };
    check(pin, r#"{"reference":"demo/app:1","pinned":true}"#);
    check(RemoveRequest { reference: reference() }, r#"{"reference":"demo/app:1"}"#);
}

#[test]
fn imports_and_exports() {
    let golden = r#"{"path":"/a","name":"demo/app:1","platform":null,"from":null,"all":false,"insecure":false,"unsigned":false}"#;
    let least = ImportRequest {
        path: "/a".to_owned(),
        name: None,
        platform: None,
        from: None,
        all: false,
        insecure: false,
        unsigned: false,
        lifetime_s: None,
    };
    check(ImportRequest { name: Some(reference()), ..least.clone() }, golden);
    assert_eq!(least, serde_json::from_str(r#"{"path":"/a"}"#).unwrap());
    let second = ImportRequest { from: Some("2".to_owned()), all: true, insecure: true, lifetime_s: Some(3), ..least };
    check(
        second,
        r#"{"path":"/a","name":null,"platform":null,"from":"2","all":true,"insecure":true,"unsigned":false,"lifetime_s":3}"#,
    );
    let progress = ImportEvent::Progress {
        layer: 0,
        layers: 2,
        tar_bytes: Bytes(3),
        blob_bytes: Bytes(4),
        blob_bytes_done: Bytes(5),
    };
    check(progress, r#"{"event":"progress","layer":0,"layers":2,"tar_bytes":3,"blob_bytes":4,"blob_bytes_done":5}"#);
    let imported =
        ImportedLayer { diff_id: layer(2), tar_bytes: Bytes(1), compressed_bytes: Bytes(2), held_before: true };
    check(
        ImportEvent::Done {
            reference: reference(),
            manifest: digest(1),
            layers: vec![imported],
            passed_over: vec!["p".to_owned()],
            left: 3,
        },
        r#"{"event":"done","reference":"demo/app:1","manifest":"ONE","layers":[{"diff_id":"TWO","tar_bytes":1,"compressed_bytes":2,"held_before":true}],"passed_over":["p"],"left":3}"#,
    );
    let problem = Problem::new(ProblemKind::NoName, "m");
    let failed = r#"{"event":"failed","problem":{"kind":"no_name","message":"m"}}"#;
    check(ImportEvent::Failed { problem: problem.clone() }, failed);
    let mended = r#"{"event":"failed","problem":{"kind":"no_name","message":"m","remedy":"r"}}"#;
    check(ImportEvent::Failed { problem: problem.clone().remedy("r") }, mended);
    check(
        ExportRequest { reference: reference(), path: "/a".to_owned(), blobs: ExportBlobs::Gzip },
        r#"{"reference":"demo/app:1","path":"/a","blobs":"gzip"}"#,
    );
    let auto: ExportRequest = serde_json::from_str(r#"{"reference":"demo/app:1","path":"/a"}"#).unwrap();
    assert_eq!(auto.blobs, ExportBlobs::Auto);
    check(
        ArchiveRequest { reference: reference(), format: ArchiveFormat::OciArchive, blobs: ExportBlobs::Exact },
        r#"{"reference":"demo/app:1","format":"oci_archive","blobs":"exact"}"#,
    );
    check(ExportEvent::Progress { tar_bytes: Bytes(3) }, r#"{"event":"progress","tar_bytes":3}"#);
    check(
        ExportEvent::Done { manifest: digest(1), exact: true, not_exact: None },
        r#"{"event":"done","manifest":"ONE","exact":true}"#,
    );
    check(
        ExportEvent::Done { manifest: digest(1), exact: false, not_exact: Some("w".to_owned()) },
        r#"{"event":"done","manifest":"ONE","exact":false,"not_exact":"w"}"#,
    );
    check(ExportEvent::Failed { problem }, failed);
}

#[test]
fn pulls() {
    check(PullRequest { image: "sha256:x".to_owned() }, r#"{"image":"sha256:x"}"#);
    check(CancelRequest { image: "demo/app:1".to_owned() }, r#"{"image":"demo/app:1"}"#);
    let (from, bases) = (peer(), vec![layer(2)]);
    let resolved = |companions| PullEvent::Resolved { manifest: digest(1), companions };
    check(resolved(None), r#"{"event":"resolved","manifest":"ONE"}"#);
    check(resolved(Some(layer(2))), r#"{"event":"resolved","manifest":"ONE","companions":"TWO"}"#);
    check(
        PullEvent::Layers { layers: vec![layer(1), layer(2)], held: vec![layer(1)] },
        r#"{"event":"layers","layers":["ONE","TWO"],"held":["ONE"]}"#,
    );
    check(
        PullEvent::Fetching { layer: layer(1), from, bases: bases.clone(), bytes: Bytes(3), exact: true },
        r#"{"event":"fetching","layer":"ONE","from":"PEER","bases":["TWO"],"bytes":3,"exact":true}"#,
    );
    check(
        PullEvent::Progress { layer: layer(1), received_bytes: Bytes(1), total_bytes: Bytes(2) },
        r#"{"event":"progress","layer":"ONE","received_bytes":1,"total_bytes":2}"#,
    );
    check(PullEvent::Unpacking { layer: layer(1) }, r#"{"event":"unpacking","layer":"ONE"}"#);
    check(
        PullEvent::Retrying { layer: layer(1), from, why: "slow".to_owned() },
        r#"{"event":"retrying","layer":"ONE","from":"PEER","why":"slow"}"#,
    );
    let arrived = PullEvent::Layer {
        layer: layer(1),
        from,
        bases,
        tar_bytes: Bytes(1),
        compressed_bytes: Bytes(2),
        patch_bytes: Bytes(3),
        received_bytes: Bytes(4),
        took_ms: 5,
    };
    check(
        arrived,
        r#"{"event":"layer","layer":"ONE","from":"PEER","bases":["TWO"],"tar_bytes":1,"compressed_bytes":2,"patch_bytes":3,"received_bytes":4,"took_ms":5}"#,
    );
    check(
        PullEvent::Done { manifest: digest(1), sent_bytes: Bytes(1), received_bytes: Bytes(2), took_ms: 3 },
        r#"{"event":"done","manifest":"ONE","sent_bytes":1,"received_bytes":2,"took_ms":3}"#,
    );
    check(
        PullEvent::Failed { problem: Problem::new(ProblemKind::Network, "m") },
        r#"{"event":"failed","problem":{"kind":"network","message":"m"}}"#,
    );
}

#[test]
fn plans() {
    let plan = Plan {
        peer: peer(),
        bases: vec![layer(2)],
        tlsh_distance: Some(1),
        tlsh_bytes: Bytes(2),
        sketch_bytes: Some(Bytes(3)),
        sketch_error_percent: Some(4),
        counted: Predictor::Sketch,
        listed: vec![layer(1)],
        predicted_bytes: Bytes(5),
        effort: "fast".to_owned(),
        predicted_ms: 6,
        why: "chosen".to_owned(),
    };
    let image = ImagePlan {
        image: "demo/app:1".to_owned(),
        manifest: digest(1),
        layers: vec![LayerPlan { layer: layer(1), held: false, plans: vec![plan] }],
    };
    check(
        image,
        r#"{"image":"demo/app:1","manifest":"ONE","layers":[{"layer":"ONE","held":false,"plans":[{"peer":"PEER","bases":["TWO"],"tlsh_distance":1,"tlsh_bytes":2,"sketch_bytes":3,"sketch_error_percent":4,"counted":"sketch","listed":["ONE"],"predicted_bytes":5,"effort":"fast","predicted_ms":6,"why":"chosen"}]}]}"#,
    );
    for (predictor, golden) in
        [(Predictor::Sketch, "\"sketch\""), (Predictor::Tlsh, "\"tlsh\""), (Predictor::Quote, "\"quote\"")]
    {
        check(predictor, golden);
    }
}

#[test]
fn rollouts() {
    let image = RolloutImage {
        reference: reference(),
        manifest: digest(1),
        layers: vec![layer(2)],
        documents: [Bytes(1), Bytes(2)],
    };
    let rollout = Rollout {
        from: image.clone(),
        to: image,
        layers: vec![RolloutLayer { layer: layer(2), tar_bytes: Bytes(1), compressed_bytes: Bytes(2) }],
        patches: vec![RolloutPatch {
            layer: layer(2),
            bases: vec![layer(1)],
            bytes: Bytes(1),
            exact: false,
            encode_ms: 2,
            apply_ms: 3,
        }],
        sites: vec![
            RolloutSite { site: None, nodes: 1, hold_from: 2, hold_to: 3 },
            RolloutSite { site: Some(site()), nodes: 1, hold_from: 0, hold_to: 0 },
        ],
    };
    let image = r#"{"reference":"demo/app:1","manifest":"ONE","layers":["TWO"],"documents":[1,2]}"#;
    let golden = r#"{"from":IMAGE,"to":IMAGE,"layers":[{"layer":"TWO","tar_bytes":1,"compressed_bytes":2}],"patches":[{"layer":"TWO","bases":["ONE"],"bytes":1,"exact":false,"encode_ms":2,"apply_ms":3}],"sites":[{"site":null,"nodes":1,"hold_from":2,"hold_to":3},{"site":"harbour","nodes":1,"hold_from":0,"hold_to":0}]}"#;
    check(rollout, &golden.replace("IMAGE", image));
}

#[test]
fn problem_kinds() {
    let names = [
        "request",
        "no_name",
        "no_single_image",
        "exists",
        "not_found",
        "bad_data",
        "network",
        "registry",
        "machine",
        "disk_full",
        "budget_full",
        "store_damaged",
        "cancelled",
    ];
    for (kind, name) in ProblemKind::ALL.into_iter().zip(names) {
        check(Problem::new(kind, "m"), &format!(r#"{{"kind":"{name}","message":"m"}}"#));
    }
}

#[test]
fn an_id_that_is_none_is_refused_with_its_text() {
    let error = serde_json::from_str::<RemoveRequest>(r#"{"reference":"NOT A NAME"}"#).unwrap_err();
    assert!(error.to_string().contains("\"NOT A NAME\" is not"), "{error}");
}

#[test]
fn parameters_are_escaped() {
    assert_eq!(paths::layer(layer(1)), format!("/v1/layers/{ONE}"));
    assert_eq!(paths::image(&reference()), "/v1/images/show?reference=demo/app:1");
    assert_eq!(paths::plan("a b&c=%\u{e9}"), "/v1/plan?image=a%20b%26c%3D%25%C3%A9");
    assert_eq!(paths::rollout(&reference(), &reference()), "/v1/rollout?from=demo/app:1&to=demo/app:1");
}
