//! The paths of layers: list, show, pin.

use axum::Json;
use axum::extract::{Path, State as Extract};
use lighter_api as api;
use lighter_store::{Image, Item, StoreError};
use lighter_types::{Card, DiffId, ImageReference};

use crate::admin::State;
use crate::admin::answers::{Answer, Body, ask, blocking};
use crate::event::Command;

pub async fn list(Extract(state): Extract<State>) -> Answer<Vec<api::Layer>> {
    let store = state.shared.store.clone();
    let layers = blocking(move || {
        let (references, pins) = (store.references(), store.pins());
        store.cards().iter().map(|card| view(card, &references, &pins)).collect()
    });
    layers.await.map(Json)
}

pub async fn show(Extract(state): Extract<State>, Path(text): Path<String>) -> Answer<api::Layer> {
    let diff_id: DiffId = text.parse()?;
    let store = &state.shared.store;
    let card = store.card(&diff_id).ok_or(StoreError::NotHeld { item: Item::Layer(diff_id) })?;
    let mut layer = view(&card, &store.references(), &store.pins());
    layer.holders = ask(&state, |reply| Command::Holders(diff_id, reply)).await?;
    Ok(Json(layer))
}

fn view(card: &Card, references: &[(ImageReference, Image)], pins: &[DiffId]) -> api::Layer {
    let with_layer = references.iter().filter(|(_, image)| image.layers.contains(&card.diff_id));
    api::Layer {
        diff_id: card.diff_id,
        tar_bytes: card.tar_bytes,
        compressed_bytes: card.compressed_bytes,
        tlsh: card.tlsh,
        images: with_layer.map(|(reference, _)| reference.clone()).collect(),
        pinned: pins.contains(&card.diff_id),
        holders: Vec::new(),
    }
}

pub async fn pin(Extract(state): Extract<State>, Body(request): Body<api::PinRequest>) -> Answer<api::PinRequest> {
    let api::PinRequest { diff_id, pinned } = request;
    let store = state.shared.store.clone();
    blocking(move || if pinned { store.pin(&diff_id) } else { store.unpin(&diff_id) }).await??;
    Ok(Json(request))
}
