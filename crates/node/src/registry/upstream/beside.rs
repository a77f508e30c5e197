//! The companions of an image at upstream: gathered with the image, and asked for again later.

use lighter_registry::server::Refusal;
use lighter_store::Lease;
use lighter_types::{DiffId, ImageReference};
use tokio::sync::watch;

use super::{Upstreams, by_digest, stopping};
use crate::images::upstream::{self, Opened};
use crate::images::upstream_record::{Beside, UpstreamRecord};
use crate::registry::course::{Course, Gathering};
use crate::registry::work::blocking;

impl Upstreams {
    /// Asks the registry what there is beside an image, and keeps it. `known` are the companions of before.
    pub(super) async fn gather(
        &self,
        mut opened: Opened,
        known: Option<DiffId>,
    ) -> Result<(Beside, Option<Lease>), Refusal> {
        let _place = self.gathering.acquire().await.map_err(|_| stopping())?;
        blocking(&self.shared, move |shared| opened.gather(shared, known)).await
    }

    /// Asks upstream again what there is beside an image that is here. The course says that it is over once the image
    /// names the answer.
    ///
    /// # Errors
    /// As [`Self::fetch`]. The image keeps what it has.
    ///
    /// Dropped midway, the image keeps what it has.
    pub async fn gather_again(&self, name: &ImageReference, state: &watch::Sender<Course>) -> Result<(), Refusal> {
        let gathered = self.replace_beside(name).await;
        state.send_modify(|state| match &gathered {
            Ok(()) => state.gathering = Gathering::Idle,
            Err(refusal) => state.gathering = Gathering::Failed(refusal.clone()),
        });
        gathered
    }

    async fn replace_beside(&self, name: &ImageReference) -> Result<(), Refusal> {
        let Some(held) = self.shared.store.reference(name) else { return Ok(()) };
        let Some(UpstreamRecord { checked, beside: Some(beside) }) = UpstreamRecord::read(&held.release_record) else {
            return Ok(());
        };
        let opened = self.open(&by_digest(name.repository(), beside.top)?).await?;
        let image = opened.image().clone();
        let (beside, _lease) = self.gather(opened, beside.companions).await?;
        let (name, record) = (name.clone(), UpstreamRecord { checked, beside: Some(beside) });
        blocking(&self.shared, move |shared| {
            // The name may stand for another image meanwhile.
            let is_same = shared.store.reference(&name).is_some_and(|now| now == held);
            if is_same { upstream::name(shared, &name, &image, record) } else { Ok(()) }
        })
        .await
    }
}
