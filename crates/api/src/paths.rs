//! The paths of the API. Those with a parameter have a function that fills it in.

use lighter_types::{DiffId, ImageReference};

pub const HEALTH: &str = "/healthz";
pub const READINESS: &str = "/readyz";
pub const METRICS: &str = "/metrics";
pub const STATUS: &str = "/v1/status";
pub const PEERS: &str = "/v1/peers";
pub const LAYERS: &str = "/v1/layers";
/// A pattern of the router; [`layer`] fills it in.
pub const LAYER: &str = "/v1/layers/{diff_id}";
pub const LAYERS_PIN: &str = "/v1/layers/pin";
pub const IMAGES: &str = "/v1/images";
/// With a query: see [`image`].
pub const IMAGE: &str = "/v1/images/show";
pub const IMAGES_IMPORT: &str = "/v1/images/import";
pub const IMAGES_EXPORT: &str = "/v1/images/export";
pub const IMAGES_ARCHIVE: &str = "/v1/images/archive";
pub const IMAGES_PULL: &str = "/v1/images/pull";
pub const IMAGES_CANCEL: &str = "/v1/images/cancel";
pub const IMAGES_PIN: &str = "/v1/images/pin";
pub const IMAGES_REMOVE: &str = "/v1/images/remove";
/// With a query: see [`plan`].
pub const PLAN: &str = "/v1/plan";
/// With a query: see [`rollout`].
pub const ROLLOUT: &str = "/v1/rollout";
pub const RELEASES_SIGN: &str = "/v1/releases/sign";
/// With a query: see [`release`].
pub const RELEASES_RECORD: &str = "/v1/releases/record";
pub const RELEASES_COSIGN: &str = "/v1/releases/cosign";
pub const RELEASES_ADD: &str = "/v1/releases/add";
pub const RELEASES_HANDOVER: &str = "/v1/releases/handover";
pub const RELEASES_FORGET: &str = "/v1/releases/forget";
pub const LIMITS: &str = "/v1/limits";
pub const STORE: &str = "/v1/store";
pub const STORE_GC: &str = "/v1/store/gc";
pub const STORE_SCRUB: &str = "/v1/store/scrub";

/// `GET` one layer.
pub fn layer(diff_id: DiffId) -> String {
    format!("{LAYERS}/{diff_id}")
}

/// `GET` one image.
pub fn image(reference: &ImageReference) -> String {
    format!("{IMAGE}?reference={}", escaped(reference.as_str()))
}

/// `GET` the record of an image's release.
pub fn release(reference: &ImageReference) -> String {
    format!("{RELEASES_RECORD}?reference={}", escaped(reference.as_str()))
}

/// `GET` the plans of an image, named as in [`PullRequest`](crate::PullRequest).
pub fn plan(image: &str) -> String {
    format!("{PLAN}?image={}", escaped(image))
}

/// `GET` what a rollout needs.
pub fn rollout(from: &ImageReference, to: &ImageReference) -> String {
    format!("{ROLLOUT}?from={}&to={}", escaped(from.as_str()), escaped(to.as_str()))
}

/// Text as part of a query (RFC 3986, section 3.4).
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/:@".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    escaped
}
