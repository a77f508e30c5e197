//! Releases of a node: signing, records on their way between publishers, handovers, and what was seen.

use lighter_types::{ImageReference, PeerId};
use serde::{Deserialize, Serialize};

use crate::text;

/// A signed record as hexadecimal text. Publishers pass it on in a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SignedRecord {
    Release(String),
    Handover(String),
}

/// The body of [`RELEASES_SIGN`](crate::paths::RELEASES_SIGN): the node signs a new release of an image that it holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleaseSignRequest {
    #[serde(with = "text")]
    pub reference: ImageReference,
    /// The release expires after so many seconds; absent: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifetime_s: Option<u64>,
}

/// The body of [`RELEASES_HANDOVER`](crate::paths::RELEASES_HANDOVER): the node's key hands a repository over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HandoverRequest {
    pub repository: String,
    #[serde(with = "text")]
    pub to: PeerId,
}

/// The body and the answer of [`RELEASES_FORGET`](crate::paths::RELEASES_FORGET).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForgetRequest {
    #[serde(with = "text")]
    pub reference: ImageReference,
    /// The handovers of its repository too.
    #[serde(default)]
    pub handovers: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check<T: Serialize + for<'de> Deserialize<'de> + PartialEq + std::fmt::Debug>(value: T, golden: &str) {
        assert_eq!(serde_json::to_string(&value).unwrap(), golden);
        assert_eq!(serde_json::from_str::<T>(golden).unwrap(), value);
    }

    #[test]
    fn records_and_requests() {
        check(SignedRecord::Release("0a".to_owned()), r#"{"release":"0a"}"#);
        check(SignedRecord::Handover("0b".to_owned()), r#"{"handover":"0b"}"#);
        let reference: ImageReference = "demo/app:1".parse().unwrap();
        let sign = ReleaseSignRequest { reference: reference.clone(), lifetime_s: Some(3) };
        check(sign, r#"{"reference":"demo/app:1","lifetime_s":3}"#);
        check(ForgetRequest { reference, handovers: true }, r#"{"reference":"demo/app:1","handovers":true}"#);
        let to = PeerId::new([1; 32]);
        let golden = format!(r#"{{"repository":"demo/app","to":"{to}"}}"#);
        check(HandoverRequest { repository: "demo/app".to_owned(), to }, &golden);
    }
}
