//! The log of all that engines asked for: two runs with one hash are one run.

use lighter_engine::Effect;

use super::{Fleet, node_of};

impl Fleet<'_> {
    /// Into the log: moment, node, kind and number of the effect.
    pub(super) fn note(&mut self, node: usize, effect: &Effect) {
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
            Effect::KeepPace(pace) => (11, pace.to_part().into()),
            Effect::WakeAt(at) => (12, at.0),
            Effect::Ask { ask, .. } => (13, ask.0),
            Effect::Fetch { fetch, .. } => (14, fetch.0),
            Effect::Encode { encode, effort, .. } => (15, encode.0 << 2 | *effort as u64),
            Effect::ReadImage { pull, .. } => (16, pull.0),
            Effect::KeepBlob { pull, .. } => (17, pull.0),
            Effect::CommitImage { pull, .. } => (18, pull.0),
            Effect::Refer { stream, .. } => (19, stream.0),
            Effect::Connect(peer) => (20, node_of(*peer) as u64),
        };
        for part in [self.network.now, node as u64, kind, number] {
            self.log.update(&part.to_le_bytes());
        }
    }
}
