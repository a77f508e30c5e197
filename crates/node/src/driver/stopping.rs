//! The end of a node: it says so to its peers, ends what is under way, and closes its connections.

use std::time::Duration;

use futures::StreamExt as _;
use lighter_engine::OperatorInput;

use super::Driver;

/// How long a stopping node waits for its tasks.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the last announcement has to leave, and then the ends of the connections.
const LEAVE_TIMEOUT: Duration = Duration::from_millis(300);

impl Driver {
    pub(super) async fn stop(&mut self) {
        tracing::info!("stopping");
        self.engine.push(OperatorInput::Stop);
        self.settle();
        self.stopping.cancel();
        self.work.stop_fetches();
        // The last announcement leaves while the swarm is polled; tasks end while their events are taken, and what the
        // engine has learned is written.
        let leaving = tokio::time::sleep(LEAVE_TIMEOUT);
        tokio::pin!(leaving);
        let ending = tokio::time::sleep(STOP_TIMEOUT);
        tokio::pin!(ending);
        let mut has_left = false;
        while !has_left || self.work.is_fetching() || self.work.is_keeping() {
            tokio::select! {
                _ = self.swarm.select_next_some() => {}
                Some(event) = self.events.recv() => self.event(event),
                ended = self.work.next_ended() => self.task_ended(ended),
                () = &mut leaving, if !has_left => has_left = true,
                () = &mut ending => break,
            }
            self.settle();
        }
        self.close_connections().await;
        let open = self.engine.open();
        if !open.is_empty() {
            tracing::info!(?open, "the node stops before these are answered");
        }
        self.work.abort();
    }

    /// Closes all connections, so that a peer that the last announcement did not reach learns that this node is gone.
    async fn close_connections(&mut self) {
        let peers: Vec<_> = self.swarm.connected_peers().copied().collect();
        for peer in peers {
            // Fails only if it is gone.
            let _ = self.swarm.disconnect_peer_id(peer);
        }
        let closing = async {
            while self.swarm.connected_peers().next().is_some() {
                let _ = self.swarm.select_next_some().await;
            }
        };
        let _ = tokio::time::timeout(LEAVE_TIMEOUT, closing).await;
    }
}
