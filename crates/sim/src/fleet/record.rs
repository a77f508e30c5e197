//! The record of a run: the log of all effects, the violations of the contract, and counts for the report.
//!
//! Two runs with the same hash of the log are one run.

use std::collections::BTreeMap;

use lighter_engine::Effect;
use lighter_types::DiffId;

use super::node::node_of;
use crate::queue::Micros;

/// Violations that a report names.
const VIOLATIONS_MAX: usize = 10;

#[derive(Default)]
pub struct Record {
    log: blake3::Hasher,
    pub violations: Vec<String>,
    pub talk_bytes: u64,
    /// Bytes of patches that hubs sent.
    pub hub_stream_bytes: u64,
    /// The longest that making a patch of each layer took.
    pub encodes: BTreeMap<DiffId, Micros>,
    /// The effects that a test has not looked at yet, each with its node; absent where no test looks.
    pub seen: Option<Vec<(usize, Effect)>>,
}

impl Record {
    /// Adds an effect to the log: its moment, node, kind and number.
    pub fn effect(&mut self, now: Micros, node: usize, effect: &Effect) {
        let (kind, number) = match effect {
            Effect::Announce(announcement) => (1, announcement.sequence),
            Effect::Answer { question, .. } => (2, question.0),
            Effect::AnswerFromStore { question, .. } => (3, question.0),
            Effect::Working { stream, .. } => (4, stream.0),
            Effect::Serve { stream, .. } => (5, stream.0),
            Effect::Refuse { stream, .. } => (6, stream.0),
            Effect::CutOff { peer, .. } => (7, node_of(*peer) as u64),
            Effect::StopFetch(fetch) => (8, fetch.0),
            Effect::Report { pull, .. } => (9, pull.0),
            Effect::KeepCalibration { .. } => (10, 0),
            Effect::KeepPace(_, pace) => (11, pace.to_part().into()),
            Effect::WakeAt(at) => (12, at.0),
            Effect::Ask { ask, .. } => (13, ask.0),
            Effect::Fetch { fetch, .. } => (14, fetch.0),
            Effect::Encode { encode, effort, .. } => (15, encode.0 << 2 | *effort as u64),
            Effect::ReadImage { pull, .. } => (16, pull.0),
            Effect::KeepBlob { pull, .. } => (17, pull.0),
            Effect::CommitImage { pull, .. } => (18, pull.0),
            Effect::Refer { stream, .. } => (19, stream.0),
            Effect::Connect(peer) => (20, node_of(*peer) as u64),
            Effect::LookUpImage { question, .. } => (21, question.0),
            Effect::KeepLists(lists) => (22, lists.len() as u64),
            Effect::KeepLink { peer, .. } => (23, node_of(*peer) as u64),
            Effect::StopEncode(encode) => (24, encode.0),
            Effect::Unpack { layer, .. } => (25, layer.as_bytes()[0].into()),
        };
        for part in [now, node as u64, kind, number] {
            self.log.update(&part.to_le_bytes());
        }
        if let Some(seen) = &mut self.seen {
            seen.push((node, effect.clone()));
        }
    }

    /// Notes what must never happen and did.
    pub fn violation(&mut self, now: Micros, node: usize, what: &str) {
        if self.violations.len() < VIOLATIONS_MAX {
            self.violations.push(format!("after {} ms, node {node}: {what}", now / 1000));
        }
    }

    pub fn log_hash(&self) -> String {
        self.log.finalize().to_hex().to_string()
    }
}
