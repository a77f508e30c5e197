//! Figures of the registry endpoint, and of what makes the blobs of this node's images.

use std::collections::{BTreeMap, BTreeSet};

use lighter_registry::server::{BlobClass, Origin, ServerStats};
use lighter_store::Store;
use lighter_types::Bytes;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use super::signed;
use crate::images::recipes;

/// The counts of the endpoint, and the blobs that it could serve.
#[derive(Clone, Debug, Default)]
pub struct RegistryFigures {
    pub stats: ServerStats,
    pub shares: BlobShares,
}

/// The blobs of all images here by what makes them: how many there are, and their bytes. A blob counts once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BlobShares(BTreeMap<String, (u64, Bytes)>);

impl BlobShares {
    /// Reads the documents of all images: two small files for each.
    pub fn read(store: &Store) -> Self {
        let mut shares = Self::default();
        let mut seen = BTreeSet::new();
        let manifests: BTreeSet<_> = store.references().into_iter().map(|(_, image)| image.manifest).collect();
        for manifest in manifests {
            // An image whose documents cannot be read is no blob.
            for layer in recipes::layers_of(store, manifest).ok().flatten().unwrap_or_default() {
                if seen.insert(layer.blob.digest) {
                    let made_by = recipes::made_by(store, &layer);
                    let (count, bytes) = shares.0.entry(made_by).or_default();
                    *count += 1;
                    *bytes += layer.blob.bytes;
                }
            }
        }
        shares
    }
}

/// Adds the figures to an exposition. The families are new: what is added is the value.
pub fn register(registry: &mut Registry, figures: &RegistryFigures) {
    let requests = Family::<[(&str, &str); 3], Counter>::default();
    for ((subject, outcome, origin), count) in &figures.stats.requests {
        let source = origin.map_or("none", Origin::as_str);
        let labels = [("subject", subject.as_str()), ("outcome", outcome.as_str()), ("source", source)];
        requests.get_or_create(&labels).inc_by(*count);
    }
    registry.register("registry_requests", "Requests of container runtimes", requests);
    let bodies = Family::<[(&str, &str); 1], Counter>::default();
    for (class, bytes) in &figures.stats.body_bytes {
        bodies.get_or_create(&[("blob", class.map_or("none", BlobClass::as_str))]).inc_by(*bytes);
    }
    let help = "Bodies sent to container runtimes, by what makes the blob";
    registry.register_with_unit("registry_body", help, Unit::Bytes, bodies);
    let counts = Family::<[(&str, String); 1], Gauge>::default();
    let sizes = Family::<[(&str, String); 1], Gauge>::default();
    for (made_by, (count, bytes)) in &figures.shares.0 {
        let labels = [("made_by", made_by.clone())];
        counts.get_or_create(&labels).set(signed(*count));
        sizes.get_or_create(&labels).set(signed(bytes.0));
    }
    registry.register("image_blobs", "Compressed layers of this node's images, by what makes them", counts);
    registry.register_with_unit("image_blob", "The same in bytes", Unit::Bytes, sizes);
}

#[cfg(test)]
mod tests {
    use lighter_registry::server::{Outcome, Subject};
    use prometheus_client::encoding::text::encode;

    use super::*;

    #[test]
    fn figures_have_their_labels() {
        let mut figures = RegistryFigures::default();
        figures.stats.requests.insert((Subject::Blob, Outcome::Served, Some(Origin::Upstream)), 3);
        figures.stats.requests.insert((Subject::Manifest, Outcome::NotFound, None), 4);
        figures.stats.body_bytes.insert(Some(BlobClass::Recipe), 5);
        figures.shares.0.insert("unknown".to_owned(), (6, Bytes(7)));
        let mut registry = Registry::with_prefix("lighter");
        register(&mut registry, &figures);
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        for line in [
            "lighter_registry_requests_total{subject=\"blob\",outcome=\"served\",source=\"upstream\"} 3",
            "lighter_registry_requests_total{subject=\"manifest\",outcome=\"not-found\",source=\"none\"} 4",
            "lighter_registry_body_bytes_total{blob=\"recipe\"} 5",
            "lighter_image_blobs{made_by=\"unknown\"} 6",
            "lighter_image_blob_bytes{made_by=\"unknown\"} 7",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }
}
