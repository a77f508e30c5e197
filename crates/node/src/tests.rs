//! Nodes in this process, and the fate of a pull when one of their workers panics.
//!
//! Each test starts a hub that holds an image and an edge, injects one panic, and pulls. The panicked worker's answer
//! is a typed failure, after which the same pull goes on and completes. The panic is counted and shown. One test asks a
//! worker itself for what no pull does.

mod floods;

use std::fs;
use std::path::Path;
use std::time::Duration;

use libp2p::Multiaddr;
use lighter_image::Selector;
use lighter_types::{Bytes, ImageReference, OciDigest, PeerId};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::*;
use crate::api::PullEvent;
use crate::defects::Defects;
use crate::driver::pulls;
use crate::event::{Command, Event};
use crate::faults::Worker;

mod machine;

/// How long anything here may take on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);
const IMAGE: &str = "demo/app:1";

/// A node that runs in this process.
struct Running {
    shared: Arc<Shared>,
    stop: CancellationToken,
    ended: JoinHandle<Result<(), RunError>>,
    _place: Place,
}

/// A folder with the key of a node that has not started yet.
pub struct Place {
    folder: tempfile::TempDir,
    pub peer_id: PeerId,
}

impl Place {
    pub fn create() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let peer_id = Identity::create(folder.path()).unwrap().peer_id();
        Self { folder, peer_id }
    }

    /// A node of a fleet of `members`, on a port that the machine chooses. The first member is the publisher.
    pub fn config(&self, members: &[PeerId], bootstrap: Vec<Multiaddr>) -> Config {
        let mut config = Config::default();
        config.data_dir = config::DataDir(self.folder.path().to_owned());
        config.network.listen = vec!["/ip4/127.0.0.1/udp/0/quic-v1".parse().unwrap()];
        config.network.bootstrap = bootstrap;
        config.fleet.members = members.to_vec();
        config.fleet.publishers = members[..1].to_vec();
        config
    }

    /// Runs a node that keeps blobs.
    async fn run(self, members: &[PeerId], bootstrap: Vec<Multiaddr>) -> Running {
        let mut config = self.config(members, bootstrap);
        config.registry.keep_blobs = true;
        let node = Node::start(config).await.unwrap();
        let (shared, stop) = (node.shared.clone(), CancellationToken::new());
        let ended = tokio::spawn(node.run(stop.clone()));
        Running { shared, stop, ended, _place: self }
    }
}

impl Running {
    async fn status(&self) -> api::Status {
        store_reading::refresh(&self.shared).await;
        let (reply, status) = oneshot::channel();
        self.command(Command::Status(reply)).await;
        status.await.unwrap()
    }

    async fn command(&self, command: Command) {
        assert!(self.shared.events.send(Event::Command(command)).await.is_ok(), "the driver ended");
    }

    /// Waits until `condition` holds of the node's status.
    async fn until(&self, condition: impl Fn(&api::Status) -> bool) -> api::Status {
        let waiting = async {
            loop {
                let status = self.status().await;
                if condition(&status) {
                    return status;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(LIMIT, waiting).await.unwrap()
    }

    /// Where it listens, for others' bootstrap.
    async fn address(&self) -> Multiaddr {
        let status = self.until(|status| !status.listen.is_empty()).await;
        format!("{}/p2p/{}", status.listen[0], self.shared.identity.peer_id()).parse().unwrap()
    }

    /// Pulls the image: whether that succeeded.
    async fn pull(&self) -> bool {
        let (listener, mut events) = tokio::sync::mpsc::channel(pulls::EVENTS_WAITING);
        let wanted = pulls::wanted(&self.shared.store, IMAGE).unwrap();
        self.command(Command::Pull { image: IMAGE.to_owned(), wanted, listener: Some(listener) }).await;
        let ending = async {
            loop {
                let event = events.recv().await.unwrap();
                if let PullEvent::Done { .. } | PullEvent::Failed { .. } = event {
                    return matches!(event, PullEvent::Done { .. });
                }
            }
        };
        timeout(LIMIT, ending).await.unwrap()
    }

    /// Asks the admin API: the body of its answer.
    async fn post(&self, path: &str, body: &impl serde::Serialize) -> String {
        let body = serde_json::to_string(body).unwrap();
        let head =
            format!("POST {path} HTTP/1.1\r\nhost: node\r\nconnection: close\r\ncontent-type: application/json\r\n");
        let request = format!("{head}content-length: {}\r\n\r\n{body}", body.len());
        let mut socket = UnixStream::connect(self.shared.config.admin_socket()).await.unwrap();
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        timeout(LIMIT, socket.read_to_string(&mut answer)).await.unwrap().unwrap();
        answer
    }

    async fn end(self) {
        self.stop.cancel();
        self.ended.await.unwrap().unwrap();
    }
}

/// A hub that holds the image, and an edge that is connected to it.
async fn hub_and_edge() -> (Running, Running) {
    hub_and_edge_with(Vec::new()).await
}

/// The same with these tars as further layers, whose blobs no recipe makes.
async fn hub_and_edge_with(packed: Vec<Vec<u8>>) -> (Running, Running) {
    let (hub, edge) = (Place::create(), Place::create());
    let members = [hub.peer_id, edge.peer_id];
    let hub = hub.run(&members, Vec::new()).await;
    let image = tempfile::tempdir().unwrap();
    write_image(image.path(), &packed);
    let (shared, path) = (hub.shared.clone(), image.path().to_owned());
    let name: ImageReference = IMAGE.parse().unwrap();
    let import = tokio::task::spawn_blocking(move || {
        images::import(
            &shared,
            &images::ImageSource::Path(path),
            images::Naming::Release { name: Some(name), lifetime_s: None },
            &Selector::default(),
            &mut |_| {},
        )
        .unwrap()
    });
    import.await.unwrap();
    let edge = edge.run(&members, vec![hub.address().await]).await;
    edge.until(|status| status.peers_connected == 1).await;
    (hub, edge)
}

/// An OCI layout of a plain tar with one file, and of these tars in blobs that no recipe makes.
fn write_image(folder: &Path, packed: &[Vec<u8>]) {
    let blobs = folder.join("blobs/sha256");
    fs::create_dir_all(&blobs).unwrap();
    let layer = write_blob(&blobs, "layer.v1.tar", &tar_of_a_file(100_000));
    let (mut diff_ids, mut layers) = (vec![layer["digest"].clone()], vec![layer]);
    for tar in packed {
        diff_ids.push(OciDigest::new(Sha256::digest(tar).into()).to_string().into());
        layers.push(write_blob(&blobs, "layer.v1.tar+zstd", &raw_zstd(tar)));
    }
    let root = serde_json::json!({ "type": "layers", "diff_ids": diff_ids });
    let config = serde_json::json!({ "architecture": "amd64", "os": "linux", "rootfs": root }).to_string();
    let config = write_blob(&blobs, "config.v1+json", config.as_bytes());
    let kind = "application/vnd.oci.image.manifest.v1+json";
    let manifest =
        serde_json::json!({ "schemaVersion": 2, "mediaType": kind, "config": config, "layers": layers }).to_string();
    let manifest = write_blob(&blobs, "manifest.v1+json", manifest.as_bytes());
    let index = serde_json::json!({ "schemaVersion": 2, "manifests": [manifest] });
    fs::write(folder.join("index.json"), index.to_string()).unwrap();
    fs::write(folder.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
}

/// A zstd frame of raw blocks, of a size that no tool chooses (RFC 8878, sections 3.1.1.1 and 3.1.1.2).
fn raw_zstd(bytes: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0xa0];
    frame.extend(u32::try_from(bytes.len()).unwrap().to_le_bytes());
    let mut blocks = bytes.chunks(999).peekable();
    while let Some(block) = blocks.next() {
        let header = (block.len() as u32) << 3 | u32::from(blocks.peek().is_none());
        frame.extend(&header.to_le_bytes()[..3]);
        frame.extend(block);
    }
    frame
}

/// Writes a blob, and returns its descriptor.
fn write_blob(blobs: &Path, kind: &str, bytes: &[u8]) -> serde_json::Value {
    let digest = OciDigest::new(Sha256::digest(bytes).into()).to_string();
    fs::write(blobs.join(digest.trim_start_matches("sha256:")), bytes).unwrap();
    let media_type = format!("application/vnd.oci.image.{kind}");
    serde_json::json!({ "mediaType": media_type, "digest": digest, "size": bytes.len() })
}

/// A tar of one file of noise.
pub fn tar_of_a_file(bytes: usize) -> Vec<u8> {
    let mut header = [0u8; 512];
    header[..4].copy_from_slice(b"file");
    header[124..135].copy_from_slice(format!("{bytes:011o}").as_bytes());
    header[156] = b'0';
    header[257..265].copy_from_slice(b"ustar\x0000");
    let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum::<u32>() + 8 * 32;
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let mut state = 1u64;
    let noise = (0..bytes).map(|_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    });
    let padding = bytes.next_multiple_of(512) - bytes;
    header.into_iter().chain(noise).chain(std::iter::repeat_n(0, padding + 1024)).collect()
}

/// A worker of the hub or of the edge panics once. The pull completes in spite of it. The panic is counted and shown.
async fn check_panic(worker: Worker, victim: fn(&Running, &Running) -> Arc<Shared>) {
    let (hub, edge) = hub_and_edge_with(vec![tar_of_a_file(50_000)]).await;
    let victim = victim(&hub, &edge);
    let before = Defects::counted();
    victim.faults.arm(worker);
    assert!(edge.pull().await, "the pull in which {worker:?} panicked");
    assert!(!victim.faults.is_armed(worker), "{worker:?} was not at work");
    assert!(Defects::counted().panics > before.panics, "the panic of {worker:?} was not counted");
    let status = edge.status().await;
    assert!(status.warnings.iter().any(|warning| warning.contains("panicked")), "{:?}", status.warnings);
    let metrics = metrics::text(&status, &metrics::RegistryFigures::default());
    assert!(
        metrics.lines().any(|line| line.starts_with("lighter_panics_total ") && !line.ends_with(" 0")),
        "{metrics}"
    );
    assert_eq!(Defects::counted().broken_invariants, before.broken_invariants);
    edge.end().await;
    hub.end().await;
}

/// The blob of the image's second layer is in the hub's store.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blob_is_unpacked_as_the_layer_that_an_image_names_and_no_further() {
    let tar = tar_of_a_file(50_000);
    let (hub, edge) = hub_and_edge_with(vec![tar.clone()]).await;
    let images = hub.shared.store.references();
    let [first, second, blob] = images[0].1.layers[..] else { panic!("{images:?}") };
    let (manifest, whole) = (images[0].1.manifest, Bytes(tar.len() as u64));
    for (layer, tar_bytes_max, is_stopped, is_unpacked) in [
        (first, whole, false, false),
        (second, Bytes(whole.0 - 1), false, false),
        (second, whole, true, false),
        (second, whole, false, true),
    ] {
        let (shared, stopping) = (hub.shared.clone(), CancellationToken::new());
        if is_stopped {
            stopping.cancel();
        }
        let unpack =
            move || images::unpack(&shared, (layer, blob), &[manifest], tar_bytes_max, &stopping).map(|(card, _)| card);
        let unpacked = tokio::task::spawn_blocking(unpack).await.unwrap();
        assert_eq!(unpacked.map(|card| card.diff_id), is_unpacked.then_some(layer), "{layer} of {tar_bytes_max}");
    }
    edge.end().await;
    hub.end().await;
}

/// One test for each kind of worker, so that each has a process of its own under nextest.
macro_rules! panics {
    ($($name:ident: $worker:ident of $victim:ident;)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                check_panic(Worker::$worker, $victim).await;
            }
        )*
    };
}

panics! {
    a_fetch_that_panics_is_answered: Fetch of the_edge;
    an_applier_that_panics_is_answered: Apply of the_edge;
    a_reading_of_an_image_that_panics_is_answered: ReadImage of the_edge;
    a_keeping_of_a_blob_that_panics_is_answered: KeepBlob of the_edge;
    a_commit_that_panics_is_answered: CommitImage of the_edge;
    an_unpacking_that_panics_is_answered: Unpack of the_edge;
    an_encode_that_panics_is_answered: Encode of the_hub;
    a_served_stream_that_panics_is_closed: ServeStream of the_hub;
    a_look_up_of_an_image_that_panics_is_a_refusal: LookUpImage of the_hub;
}

fn the_hub(hub: &Running, _: &Running) -> Arc<Shared> {
    hub.shared.clone()
}

fn the_edge(_: &Running, edge: &Running) -> Arc<Shared> {
    edge.shared.clone()
}

/// The admin API's own workers: the client hears of the failure, the panic is counted, and the next request succeeds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_import_or_export_that_panics_is_answered_and_counted() {
    let place = Place::create();
    let members = [place.peer_id];
    let node = place.run(&members, Vec::new()).await;
    let folder = tempfile::tempdir().unwrap();
    let [image, out] = ["image", "out.tar"].map(|name| folder.path().join(name).to_str().unwrap().to_owned());
    write_image(Path::new(&image), &[]);
    let import = api::ImportRequest {
        path: image,
        name: Some(IMAGE.parse().unwrap()),
        platform: None,
        from: None,
        all: false,
        insecure: false,
        unsigned: false,
        lifetime_s: None,
    };
    let export = api::ExportRequest { reference: IMAGE.parse().unwrap(), path: out, blobs: api::ExportBlobs::Auto };
    for worker in [Worker::Import, Worker::Export] {
        let panics = Defects::counted().panics;
        node.shared.faults.arm(worker);
        for expected in ["the work ended in a panic", "\"done\""] {
            let answer = match worker {
                Worker::Import => node.post(api::paths::IMAGES_IMPORT, &import).await,
                _ => node.post(api::paths::IMAGES_EXPORT, &export).await,
            };
            assert!(answer.contains(expected), "{worker:?}: {answer}");
        }
        assert_eq!(Defects::counted().panics, panics + 1);
    }
    node.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_driver_that_panics_ends_the_node_with_an_error() {
    let place = Place::create();
    let members = [place.peer_id];
    let node = place.run(&members, Vec::new()).await;
    node.shared.faults.arm(Worker::Driver);
    let ended = timeout(LIMIT, node.ended).await.unwrap().unwrap();
    assert!(matches!(ended, Err(RunError::Panicked)));
    assert!(node.stop.is_cancelled(), "the admin API ends with it");
}
