//! Faults of the machine: damaged files that the scrub finds, and workers that a disk holds up.

use std::os::unix::fs::FileExt;
use std::sync::mpsc;

use lighter_store::Item;

use super::*;

/// Flips a bit in the middle of a file below a folder of the node's data.
fn flip_a_bit(node: &Running, folder: &str, name: &str) {
    let shard = node.shared.config.data_dir.0.join(folder).join("sha256").join(&name[..2]);
    let file = fs::File::options().read(true).write(true).open(shard.join(name)).unwrap();
    let middle = file.metadata().unwrap().len() / 2;
    let mut byte = [0];
    file.read_exact_at(&mut byte, middle).unwrap();
    file.write_all_at(&[byte[0] ^ 1], middle).unwrap();
}

impl Running {
    async fn scrub(&self) -> api::ScrubStatus {
        let passes = self.status().await.scrub.read_bytes;
        let (reply, status) = oneshot::channel();
        self.command(Command::Scrub(reply)).await;
        assert!(status.await.unwrap().running);
        self.until(|status| !status.scrub.running && status.scrub.read_bytes > passes).await.scrub
    }

    /// The answer to `GET` of a path that needs no token: its status line and its text.
    async fn get(&self, path: &str) -> String {
        let request = format!("GET {path} HTTP/1.1\r\nhost: node\r\nconnection: close\r\n\r\n");
        let mut socket = UnixStream::connect(self.shared.config.admin_socket()).await.unwrap();
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        timeout(LIMIT, socket.read_to_string(&mut answer)).await.unwrap().unwrap();
        answer
    }
}

/// The damage of a layer, of a manifest and of a config, each found by a scrub of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_scrub_finds_what_is_damaged_and_the_node_fetches_it_again() {
    let (hub, edge) = hub_and_edge().await;
    assert!(edge.pull().await);
    let whole = edge.scrub().await;
    assert_eq!((whole.last_damaged, whole.damaged), (0, 0));
    assert!(whole.last_s.is_some() && whole.last_bytes.0 > 100_000, "{whole:?}");
    let (_, image) = edge.shared.store.references().remove(0);
    let damages = [
        ("layers", image.layers[0].to_hex(), Item::Layer(image.layers[0])),
        ("blobs", image.manifest.to_hex(), Item::Blob(image.manifest)),
        ("blobs", image.config.to_hex(), Item::Blob(image.config)),
    ];
    for (count, (folder, name, item)) in damages.into_iter().enumerate() {
        flip_a_bit(&edge, folder, &name);
        let found = edge.scrub().await;
        assert_eq!((found.last_damaged, found.damaged), (1, count as u64 + 1), "{item}");
        let store = edge.shared.store.clone();
        edge.until(|_| store_reading::lacking(&store).is_empty()).await;
        let quarantine = edge.shared.config.data_dir.0.join("quarantine").join(format!("{name}.0"));
        assert!(quarantine.is_file(), "{item}");
        assert_eq!(edge.scrub().await.last_damaged, 0, "{item}");
    }
    let metrics = metrics::text(&edge.status().await, &metrics::RegistryFigures::default());
    assert!(metrics.contains("lighter_scrub_damaged_total 3"), "{metrics}");
    edge.end().await;
    hub.end().await;
}

/// A scrub that is stopped goes on behind the last item, in the next life of the node.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scrub_goes_on_where_it_was_stopped() {
    let (hub, edge) = hub_and_edge().await;
    let stopping = CancellationToken::new();
    let first = hub.shared.store.next_item(None).unwrap();
    assert!(!scrub::is_due(&hub.shared), "a new node waits for an interval");
    hub.shared.scrub.set_after(Some(first));
    assert!(scrub::is_due(&hub.shared), "a pass is under way");
    let shared = hub.shared.clone();
    let found = tokio::task::spawn_blocking(move || scrub::pass(&stopping, &shared)).await.unwrap();
    let status = hub.shared.scrub.status();
    assert_eq!(found, 0);
    assert!(status.last_bytes.0 > 0 && status.last_bytes.0 < 100_000, "the layer was not read again: {status:?}");
    let kept = Scrub::of(&hub.shared.store, hub.shared.uses.now()).status();
    assert_eq!((kept.last_s, kept.last_bytes), (status.last_s, status.last_bytes));
    edge.end().await;
    hub.end().await;
}

/// Takes a thread for work that blocks, until what is returned is dropped.
fn occupied_thread() -> mpsc::Sender<()> {
    let (release, held) = mpsc::channel::<()>();
    drop(tokio::task::spawn_blocking(move || held.recv()));
    release
}

/// All threads for work that blocks are taken, as by a disk that hangs. The node still answers, and says that it is not
/// ready; it is ready again when they are free.
#[test]
fn a_node_with_stuck_workers_is_not_ready() {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.worker_threads(2).max_blocking_threads(4).enable_all().build().unwrap();
    runtime.block_on(async {
        let place = Place::create();
        let mut config = place.config(&[place.peer_id], Vec::new());
        config.timing.stuck_s = 0;
        let node = Node::start(config).await.unwrap();
        let held: Vec<mpsc::Sender<()>> = (0..4).map(|_| occupied_thread()).collect();
        let (shared, stop) = (node.shared.clone(), CancellationToken::new());
        let ended = tokio::spawn(node.run(stop.clone()));
        let node = Running { shared, stop, ended, _place: place };
        node.until(|status| !status.listen.is_empty()).await;
        let stuck = node.until(|status| status.stuck.is_some()).await;
        assert!(stuck.stuck.unwrap().contains("a worker is stuck"));
        assert!(stuck.warnings.iter().any(|warning| warning.contains("stuck")), "{:?}", stuck.warnings);
        // The store's figures are those from before, and as old as that.
        let seen = node.get(api::paths::STATUS).await;
        let seen: api::Status = serde_json::from_str(seen.split_once("\r\n\r\n").unwrap().1).unwrap();
        assert!(seen.store_read_ms_ago > 0 && seen.store.disk_free_bytes.0 > 0, "{seen:?}");
        let answer = node.get(api::paths::READINESS).await;
        assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("a worker is stuck"), "{answer}");
        assert!(node.get(api::paths::HEALTH).await.starts_with("HTTP/1.1 200"));
        drop(held);
        node.until(|status| status.stuck.is_none()).await;
        assert!(node.get(api::paths::READINESS).await.starts_with("HTTP/1.1 200"));
        node.end().await;
    });
}
