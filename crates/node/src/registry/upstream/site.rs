//! One download for a site: a node that is about to download a blob from upstream asks its neighbours first whether it
//! comes through one of them. If so it waits, and gets the layer from that neighbour when it is there.
//!
//! A neighbour is believed no further than its answers show: the blob must keep coming, and a wait ends with the time
//! that a client waits for a blob. Then this node downloads the blob itself. The blob's recipe comes with the documents
//! of the neighbour, which are asked for again: the recipe is younger than the image's documents here.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::join_all;
use lighter_image::{ImportedImage, LayerDescriptor};
use lighter_registry::server::Refusal;
use lighter_types::{Bytes, OciDigest, PeerId};
use lighter_wire::{Answer, Arrival, ImageName, ImageRequest, Request, Terms};
use tokio::sync::{oneshot, watch};
use tokio::time::{sleep, timeout};

use super::Upstreams;
use crate::event::{Command, Event};
use crate::images::upstream::Opened;
use crate::images::{self, recipes};
use crate::registry::course::Course;
use crate::registry::work::blocking;
use crate::shared::Shared;
use crate::site_downloads::{Claim, number};

/// A neighbour that does not answer within this is not waited for.
const ANSWER_MAX: Duration = Duration::from_secs(2);
/// Between two looks whether a neighbour announced a layer.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Between two questions whether a blob comes still.
const ASK_EVERY: Duration = Duration::from_secs(4);
/// A neighbour must have more of a blob within this time: the floor of progress of a download (docs/IMAGES.md). So
/// must its announcement of a layer that it holds come.
const STALL_MAX: Duration = Duration::from_secs(20);

/// The node that downloads a blob.
pub(super) enum Turn {
    /// This one. Neighbours hear of it by the claim.
    Own(Claim),
    /// This one, which asks nobody.
    Alone,
    /// A neighbour, or another flight of this node; so many bytes of it are there.
    Other { received: Bytes },
}

/// A wait for a blob that comes through another node.
pub(super) struct Wait {
    began: Instant,
    asked: Instant,
    /// When the neighbours were last asked for its recipe.
    learned: Option<Instant>,
    moved: Instant,
    received: Option<Bytes>,
}

impl Wait {
    pub(super) fn new(now: Instant) -> Self {
        Self { began: now, asked: now, learned: None, moved: now, received: None }
    }

    /// Takes in an answer; whether the wait goes on. A neighbour cannot have more than the whole blob, which it reads
    /// once more for the recipe.
    fn goes_on(&mut self, received: Bytes, whole: Bytes, now: Instant, wait_max: Duration) -> bool {
        self.asked = now;
        let received = Some(received.min(whole.times(2)));
        if self.received < received {
            (self.received, self.moved) = (received, now);
        }
        now - self.moved < STALL_MAX && now - self.began < wait_max
    }
}

impl Upstreams {
    /// Finds out which node of the site downloads the blob of a layer.
    pub(super) async fn turn(&self, layer: &LayerDescriptor) -> Turn {
        let blob = recipes::as_layer(&layer.blob.digest);
        let number = number(self.shared.identity.peer_id(), blob);
        let claim = match self.shared.site_downloads.claim(blob, number) {
            Ok(claim) => claim,
            // Another flight of this node is at it.
            Err(received) => return Turn::Other { received },
        };
        let request = Request::Arrival { target: blob, number };
        let neighbours = self.neighbours().await;
        let answers = join_all(neighbours.into_iter().map(|peer| ask(&self.shared, peer, request.clone()))).await;
        let coming = answers.into_iter().flatten().filter_map(|answer| match answer {
            Answer::Arrival(Arrival::Coming { received }) => Some(received),
            Answer::Arrival(Arrival::Held) => Some(layer.blob.bytes.times(2)),
            _ => None,
        });
        match coming.max() {
            Some(received) => Turn::Other { received },
            None if claim.begins() => Turn::Own(claim),
            None => Turn::Other { received: Bytes::ZERO },
        }
    }

    /// Gets the layers that come through neighbours; downloads those that do not come after all.
    pub(super) async fn await_site(
        &self,
        mut opened: Opened,
        mut waits: BTreeMap<usize, Wait>,
        state: &watch::Sender<Course>,
    ) -> Result<(), Refusal> {
        let image = opened.image().clone();
        while !waits.is_empty() {
            sleep(LOOK_EVERY).await;
            let missing = self.missing(&image.layers).await?;
            waits.retain(|index, _| missing.contains(index));
            let there = self.held_with_recipes(&image, &mut waits).await?;
            if !there.is_empty() {
                self.get_from_peers(&image, &there, state).await?;
            }
            let missing = self.missing(&image.layers).await?;
            waits.retain(|index, _| missing.contains(index) && !there.contains(index));
            // A peer has it, and it did not come.
            let failed = there.into_iter().filter(|index| missing.contains(index)).map(|index| (index, None));
            let own = self.own_turns(&image, &mut waits).await;
            for (index, claim) in failed.chain(own) {
                opened = self.download_one(opened, index, claim, state).await?;
            }
        }
        Ok(())
    }

    /// The layers that a peer holds and whose blobs can be made here then. The neighbours are asked for the recipes: a
    /// layer is announced before its recipe is found.
    async fn held_with_recipes(
        &self,
        image: &ImportedImage,
        waits: &mut BTreeMap<usize, Wait>,
    ) -> Result<Vec<usize>, Refusal> {
        let (mut held, mut is_due) = (Vec::new(), false);
        for (&index, wait) in waits.iter_mut() {
            if self.has_holder([&image.layers[index]].into_iter()).await {
                held.push(index);
                if wait.learned.is_none_or(|learned| learned.elapsed() >= ASK_EVERY) {
                    wait.learned = Some(Instant::now());
                    is_due = true;
                }
            }
        }
        if is_due {
            self.learn_recipes(image.manifest_digest).await?;
        }
        Ok(self.awaited_from_peers(&image.layers, &held).await?.into_keys().collect())
    }

    /// The layers that this node downloads now, out of those that it waits for.
    async fn own_turns(&self, image: &ImportedImage, waits: &mut BTreeMap<usize, Wait>) -> Vec<(usize, Option<Claim>)> {
        let wait_max = Duration::from_secs(self.shared.config.registry.wait_s.into());
        let mut own = Vec::new();
        for (&index, wait) in waits.iter_mut().filter(|(_, wait)| wait.asked.elapsed() >= ASK_EVERY) {
            let blob = &image.layers[index].blob;
            match self.turn(&image.layers[index]).await {
                Turn::Own(claim) => own.push((index, Some(claim))),
                Turn::Alone => own.push((index, None)),
                Turn::Other { received } if wait.goes_on(received, blob.bytes, Instant::now(), wait_max) => {}
                Turn::Other { .. } => {
                    tracing::info!(blob = %blob.digest, "it does not come through the site: downloading it");
                    own.push((index, None));
                }
            }
        }
        waits.retain(|index, _| own.iter().all(|(taken, _)| taken != index));
        own
    }

    /// Gets layers that peers announce.
    async fn get_from_peers(
        &self,
        image: &ImportedImage,
        held: &[usize],
        state: &watch::Sender<Course>,
    ) -> Result<(), Refusal> {
        let Some(pull) = self.ask_peers(image.manifest_digest, &image.layers, held).await? else { return Ok(()) };
        let awaited = self.awaited_from_peers(&image.layers, held).await?;
        self.follow_peers(pull, &awaited, state).await;
        Ok(())
    }

    /// Asks the neighbours for an image's documents, which have the recipes of its blobs.
    async fn learn_recipes(&self, manifest: OciDigest) -> Result<(), Refusal> {
        let neighbours = self.neighbours().await;
        let (name, terms) = (ImageName::Manifest(manifest), Terms::default());
        let request = Request::Image(ImageRequest { name, known: None, documents: true, list: None, terms });
        let answers = join_all(neighbours.into_iter().map(|peer| ask(&self.shared, peer, request.clone()))).await;
        let documents = answers.into_iter().flatten().filter_map(|answer| match answer {
            Answer::Image(image) => image.documents,
            _ => None,
        });
        let documents: Vec<_> = documents.collect();
        blocking(&self.shared, move |shared| {
            for documents in documents {
                // A neighbour that sends other documents has no recipes either.
                let _ = images::keep(shared, manifest, &documents);
            }
            Ok(())
        })
        .await
    }

    async fn neighbours(&self) -> Vec<PeerId> {
        let (reply, neighbours) = oneshot::channel();
        let asked = self.shared.events.send(Event::Command(Command::Neighbours(reply))).await;
        if asked.is_err() { Vec::new() } else { neighbours.await.unwrap_or_default() }
    }
}

async fn ask(shared: &Arc<Shared>, to: PeerId, request: Request) -> Option<Answer> {
    let (reply, answer) = oneshot::channel();
    shared.events.send(Event::Command(Command::Ask { to, request, reply })).await.ok()?;
    timeout(ANSWER_MAX, answer).await.ok()?.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_ends_without_progress_and_after_its_time_whatever_a_neighbour_says() {
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let wait_max = second * 600;
        let mut idle = Wait::new(start);
        assert!(idle.goes_on(Bytes(5), Bytes(100), start + second, wait_max));
        assert!(idle.goes_on(Bytes(5), Bytes(100), start + second * 20, wait_max));
        assert!(!idle.goes_on(Bytes(5), Bytes(100), start + second * 21, wait_max));
        // Each answer has more, beyond the end of the blob.
        let mut liar = Wait::new(start);
        let more = |at: u32| Bytes(u64::from(at) * 10);
        let goes_on = (1..).find(|&at| !liar.goes_on(more(at), Bytes(100), start + second * at, wait_max));
        assert_eq!(goes_on, Some(20 + 20));
        let mut slow = Wait::new(start);
        let goes_on = (1..).find(|&at| !slow.goes_on(more(at), Bytes(1 << 40), start + second * at, wait_max));
        assert_eq!(goes_on, Some(600));
    }
}
