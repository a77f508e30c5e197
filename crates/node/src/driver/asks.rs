//! Questions to peers that the engine does not know of: those of the registry endpoint.

use lighter_engine::Settings;
use lighter_types::PeerId;
use lighter_wire::{Answer, Request};
use tokio::sync::oneshot;

use super::Driver;
use crate::identity::to_libp2p;

/// Questions that wait for an answer. One more gets none.
const WAITING_MAX: usize = 1024;

impl Driver {
    /// The connected nodes behind the same uplink; none without a site.
    pub(super) fn neighbours(&self) -> Vec<PeerId> {
        let site = self.engine.settings().site.as_ref();
        let peers = self.engine.directory().peers();
        let near = peers.filter(|(_, peer)| site.is_some() && peer.is_connected() && peer.site() == site);
        near.map(|(id, _)| id).take(Settings::NEIGHBOURS_MAX).collect()
    }

    /// Asks a peer. Without an answer, `reply` is dropped.
    pub(super) fn ask_beside(&mut self, to: PeerId, request: Request, reply: oneshot::Sender<Answer>) {
        self.asks_beside.retain(|_, reply| !reply.is_closed());
        let Some(peer) = to_libp2p(to).filter(|_| self.asks_beside.len() < WAITING_MAX) else { return };
        let id = self.swarm.behaviour_mut().ask.send_request(&peer, request);
        self.asks_beside.insert(id, reply);
    }
}
